"""Executors: one interface, in this process or on Ray. The only place that imports ray."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from grok_sweep.config import Cluster
from grok_sweep.plan import Shard
from grok_sweep.work import Order, Result

Doing = Callable[[Mapping[str, str]], None]  # told what each worker does: name -> words


class LaunchError(Exception):
    """A cluster that cannot be had: which, why, what to do."""


@dataclass(frozen=True)
class Job:
    """A shard to be done: its place in the plan, and how to make the order that a worker gets."""

    shard: Shard
    order: Callable[[], Order]

    def __str__(self) -> str:
        values = self.shard.program.values
        runs = len(self.shard.index_R)
        shape = " · ".join(f"{key} {values[key]}" for key in ("hidden_size", "train_size") if key in values)
        return f"{shape} · {runs} run{'s' if runs > 1 else ''}"


@dataclass(frozen=True)
class Done:
    """A job that came back, with its result or with why there is none."""

    job: Job
    result: Result | None
    error: str = ""


class Executor(Protocol):
    """Runs jobs on `workers` workers."""

    workers: int

    def run(self, jobs: Iterable[Job], doing: Doing) -> Iterator[Done]:
        """Each job once, in the order in which they finish; a job that fails does not stop the others."""


def executor(cluster: Cluster) -> AbstractContextManager[Executor]:
    """The executor that `cluster` describes; entering it starts or joins what it needs.

    Raises LaunchError where that cannot be had.
    """
    if cluster.executor == "inline":
        from grok_sweep.launch.inline import InlineExecutor

        return InlineExecutor(cluster)
    from grok_sweep.launch.on_ray import RayExecutor

    return RayExecutor(cluster)
