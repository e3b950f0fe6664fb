"""Executors: one interface, in this process or on Ray. The only place that imports ray."""

import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from grok_sweep.core.parts import PartError
from grok_sweep.core.sweep import Cluster
from grok_sweep.errors import ConfigError
from grok_sweep.errors import LaunchError as LaunchError
from grok_sweep.executors.head import Head as Head
from grok_sweep.worker.environment import cores, environment, unknown_flags

if TYPE_CHECKING:  # they load jax and pandas: a worker sets its environment before, and Ray starts meanwhile
    from grok_sweep.core.plan import Shard
    from grok_sweep.worker import Order, Result

READ_AT_IMPORT = {"RAY_AUTH_MODE", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"}  # by ray; a Head sets them
Say = Callable[[str], None]  # told what a person should know


@dataclass(frozen=True)
class Job:
    """A shard to be done: its place in the plan, how to make the order that a worker gets, and how many
    workers have died or hung over it.
    """

    shard: "Shard"
    order: "Callable[[], Order]"
    deaths: int = 0

    def __str__(self) -> str:
        program, runs = self.shard.program, len(self.shard.index_R)
        # The first shape of the model tells shards apart best; some have none.
        shapes = [key for key in program.part("model").numbers if key in program.values][:1]
        first = "".join(f"{key} {program.values[key]} · " for key in shapes)
        return f"{first}{program.rows} rows · {runs} run{'s' if runs > 1 else ''}"


@dataclass(frozen=True)
class Failure:
    """Why there is no result. `reason`: one line; `log`: all that is known.

    error: it raised; memory: there was not enough; death: the worker's process or node ended; hang: it
    missed its deadline.
    """

    kind: Literal["error", "memory", "death", "hang"]
    reason: str
    log: str


@dataclass(frozen=True)
class Done:
    """A job that came back, with its result or with why there is none."""

    job: Job
    outcome: "Result | Failure"


class Queue:
    """The jobs that are to be done. What is put back comes first; after `ended()` none is given out."""

    def __init__(self, jobs: Iterable[Job], ended: Callable[[], bool] = lambda: False) -> None:
        self._jobs = iter(jobs)
        self._again: deque[Job] = deque()
        self.ended = ended

    def next(self) -> Job | None:
        """The next job, or None where there is none now."""
        if self.ended():
            return None
        return self._again.popleft() if self._again else next(self._jobs, None)

    def peek(self) -> Job | None:
        """What `next` will give, unless the end comes before."""
        if (job := self.next()) is not None:
            self._again.appendleft(job)
        return job

    def put_back(self, jobs: Iterable[Job]) -> None:
        """To be done before all others."""
        self._again.extend(jobs)


class Executor(Protocol):
    """Runs jobs on workers."""

    @property
    def workers(self) -> int:
        """How many there are now."""

    def run(self, queue: Queue) -> Iterator[Done]:
        """Each job once, in the order in which they finish; a job that fails does not stop the others.

        What is put back into the queue meanwhile is done too. After `queue.ended()` what has already come
        back is still given, and the rest is abandoned.
        """


def failure(error: BaseException, log: str) -> Failure:
    """What an exception of a training means."""
    text = str(error).strip()
    # XLA says it this way on every device.
    memory = isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in text
    first = text.partition("\n")[0]
    # A PartError says itself in which file and line.
    reason = first if isinstance(error, PartError) else f"{type(error).__name__}: {first}".removesuffix(": ")
    return Failure("memory" if memory else "error", reason, log.strip())


def start_ray(cluster: Cluster, begun: Head | None = None) -> Head | None:
    """The Ray that `cluster` needs on this machine, being started; None where it needs none.

    That which is `begun`, if it is such a one; else that is ended. Raises ConfigError where this process has
    imported ray before.
    """
    cpus, preload = cluster.workers or cores(), cluster.device == "cpu"
    needed = cluster.executor == "ray" and cluster.address is None
    if begun is not None:
        if needed and (begun.cpus, begun.preload) == (cpus, preload):
            return begun
        begun.end()
    if not needed:
        return None
    if "ray" in sys.modules and not os.environ.keys() >= READ_AT_IMPORT:
        # It would dial another address than the one that Head binds, without a token, for minutes.
        why = "this process has imported ray, which read its settings then"
        how = "run grok-sweep in a process of its own, as a notebook does at !grok-sweep"
        raise ConfigError([f"cluster.executor=ray: {why}; {how}"])
    _quiet()
    return Head(cpus, environment(cluster.device, cluster.workers_per_gpu), preload)


def executor(
    cluster: Cluster, say: Say, ended: Callable[[], bool] = lambda: False, begun: Head | None = None
) -> AbstractContextManager[Executor]:
    """The executor that `cluster` describes; entering it starts or joins what it needs.

    `say` is told, at any time, of nodes that cannot be used and of waiting for one; what it waits for at the
    start it waits for until `ended()`. `begun`: what `start_ray` gave, if it was called before. Raises
    LaunchError where there is no such cluster, or its workers could not compute, or with other versions;
    ConfigError as `start_ray`.
    """
    if cluster.executor == "inline":
        from grok_sweep.executors.inline import InlineExecutor

        return nullcontext(InlineExecutor(cluster))
    if cluster.device == "cpu" and (flags := unknown_flags()):
        raise LaunchError(f"XLA_FLAGS: XLA does not know {flags}, and would end every worker; take that out")
    _quiet()
    if cluster.address is None:
        begun = begun or start_ray(cluster)
    # A Ray started here has its token on. To one joined by HOST:PORT Ray shows the token only if told to.
    elif "RAY_AUTH_TOKEN" in os.environ or (Path.home() / ".ray" / "auth_token").is_file():
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    from grok_sweep.executors.on_ray import ray_executor

    return ray_executor(cluster, say, ended, begun)


def _quiet() -> None:
    """What Ray reads when it is imported."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # else it asks its makers' server for the version
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # it warns of GPUs it will one day hide
    # It prints what it thinks of dead workers, and of autoscaling; the driver says what matters.
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")
    os.environ.setdefault("RAY_SCHEDULER_EVENTS", "0")
