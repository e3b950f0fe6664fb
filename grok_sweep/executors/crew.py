"""The workers of a Ray cluster: one actor per core or accelerator, hired and let go as nodes come and go."""

import importlib
import os
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

import ray

from grok_sweep.core.sweep import Cluster
from grok_sweep.executors import Job
from grok_sweep.executors.head import PRELOADED
from grok_sweep.versions import computing
from grok_sweep.worker import Order, Result, prepare, train_shard
from grok_sweep.worker.environment import environment, set_environment

POLL_SECONDS = 1.0  # between two looks at nodes, deadlines and signals
BESIDE = "beside"  # the one thread of a worker that does not train
STARTS = 3  # of workers on a node, in a row, that may fail before the node is refused


class _Actor:
    """What runs in a worker's process. `variables`: its environment."""

    def __init__(self, variables: dict[str, str]) -> None:
        # Not by Ray, which would start a process for it and take seconds.
        set_environment(variables)

    def load(self) -> None:
        """jax and all that trains, while the first work is prepared."""
        importlib.import_module(PRELOADED)

    def hello(self) -> tuple[int, dict[str, str]]:
        """Its process id, and what it computes with."""
        return os.getpid(), computing()

    def train(self, order: Order) -> Result:
        """One shard."""
        return train_shard(order)

    @ray.method(concurrency_group=BESIDE)
    def prepare(self, order: Order) -> None:
        """Compile the program of the shard after that which trains."""
        prepare(order)


@dataclass
class Worker:
    """An actor as the driver sees it."""

    name: str
    node: str  # Ray's id of it
    host: str
    actor: Any
    hello: Any  # what it is waited for with; None once it is ready
    loading: Any  # the same, for what it trains with
    compiles_ahead: bool  # it has a core, which does nothing while its accelerator trains
    pid: int = 0
    calls: deque[tuple[Any, Job]] = field(default_factory=deque)  # done in this order
    since: float = 0.0  # when it began the first of them, or to load, if it still does

    def __str__(self) -> str:
        return f"{self.name} (process {self.pid} on {self.host})"

    def give(self, job: Job) -> None:
        """Add a job to its calls."""
        order = job.order()
        if not self.calls:
            self.since = time.monotonic()
        elif self.compiles_ahead and job.shard.program != self.calls[-1][1].shard.program:
            self.actor.prepare.remote(order)
        self.calls.append((self.actor.train.remote(order), job))


class Crew:
    """The workers there are, ready or starting, and `refused`: node -> why it gets none.

    `usable`: whether there is a node that can have workers.
    """

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.resource = cluster.device.upper()  # as Ray calls it
        self.workers: list[Worker] = []
        self.refused: dict[str, str] = {}
        self.usable = False
        self.mismatched = False  # whether a node was refused because it would compute other numbers
        self._failed_starts: Counter[str] = Counter()
        self._hired = 0
        self._looked = -POLL_SECONDS  # when, at the nodes
        per_worker: dict[str, dict[str, Any]] = {
            "cpu": {"num_cpus": 1},
            "gpu": {"num_cpus": 0, "num_gpus": 1 / cluster.workers_per_gpu},
            "tpu": {"num_cpus": 0, "resources": {"TPU": 1}},
        }
        self._class = ray.remote(
            **per_worker[cluster.device],
            max_restarts=0,
            max_task_retries=0,
            concurrency_groups={BESIDE: 1},
        )(_Actor)
        self._variables = environment(cluster.device, cluster.workers_per_gpu)

    @property
    def ready(self) -> list[Worker]:
        """Those that can be given jobs."""
        return [worker for worker in self.workers if worker.hello is None]

    def hire(self) -> None:
        """A worker for every core or accelerator that has none; looks every POLL_SECONDS at most.

        Idle workers of nodes that are gone are dropped; one that has a shard is let go when Ray says that the
        shard failed.
        """
        now = time.monotonic()
        if now - self._looked < POLL_SECONDS:
            return
        self._looked = now
        nodes = {n["NodeID"]: n for n in ray.nodes() if n["Alive"] and n["NodeID"] not in self.refused}
        devices = {node: int(found["Resources"].get(self.resource, 0)) for node, found in nodes.items()}
        self.usable = any(devices.values())
        self.workers = [worker for worker in self.workers if worker.calls or worker.node in nodes]
        have = Counter(worker.node for worker in self.workers)
        # The first core of every node, then the second: workers=N takes as many nodes as it can.
        slots = sorted(
            (i, node)
            for node, count in devices.items()
            for i in range(have[node], count * self.cluster.workers_per_gpu)
        )
        if self.cluster.workers is not None:
            slots = slots[: max(0, self.cluster.workers - len(self.workers))]
        for _, node in slots:
            self._hired += 1
            here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node, soft=False)
            actor = self._class.options(scheduling_strategy=here).remote(self._variables)
            name, host = f"worker {self._hired}", nodes[node]["NodeManagerHostname"]
            ahead = self.cluster.device != "cpu"
            hello, loading = actor.hello.remote(), actor.load.remote()
            self.workers.append(Worker(name, node, host, actor, hello, loading, ahead))

    def wait(self) -> set[Any]:
        """The calls that have ended, after POLL_SECONDS at most; workers that said hello become ready."""
        hellos = {worker.hello: worker for worker in self.workers if worker.hello is not None}
        loading = {worker.loading: worker for worker in self.workers if worker.loading is not None}
        waiting = [*hellos, *loading, *(call for worker in self.workers for call, _ in worker.calls)]
        if not waiting:
            time.sleep(POLL_SECONDS)
            return set()
        ended, _ = ray.wait(waiting, num_returns=1, timeout=POLL_SECONDS)
        if ended:
            ended, _ = ray.wait(waiting, num_returns=len(waiting), timeout=0)
        for hello in hellos.keys() & set(ended):
            self._welcome(hellos[hello])
        for loaded in loading.keys() & set(ended):  # on a busy node that alone may take a deadline
            loading[loaded].loading, loading[loaded].since = None, time.monotonic()
        return set(ended) - hellos.keys() - loading.keys()

    def let_go(self, worker: Worker) -> None:
        """End a worker, whatever it does."""
        ray.kill(worker.actor)
        self.workers.remove(worker)

    def _welcome(self, worker: Worker) -> None:
        """Make a worker that said hello ready, or refuse its node."""
        try:
            worker.pid, theirs = ray.get(worker.hello)
        except ray.exceptions.RayError as error:
            self.workers.remove(worker)
            self._failed_starts[worker.node] += 1
            if self._failed_starts[worker.node] == STARTS:
                reason = (str(error).strip() or type(error).__name__).splitlines()[-1].strip()
                self.refused[worker.node] = f"{worker.host}: no worker can be started: {reason}"
            return
        worker.hello = None
        del self._failed_starts[worker.node]
        ours = computing()
        if other := sorted(key for key in ours if theirs.get(key) != ours[key]):
            self.let_go(worker)
            self.mismatched = True
            has = ", ".join(f"{key} {theirs.get(key)} instead of {ours[key]}" for key in other)
            self.refused[worker.node] = f"{worker.host}: has {has}; install the same there as here"
