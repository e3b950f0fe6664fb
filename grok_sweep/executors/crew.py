"""The workers of a Ray cluster: one actor per core or accelerator, hired and let go as nodes come and go."""

import os
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

import ray

from grok_sweep.core.sweep import Cluster
from grok_sweep.executors import Job
from grok_sweep.versions import computing
from grok_sweep.worker import Order, Result, train_shard
from grok_sweep.worker.environment import environment

POLL_SECONDS = 1.0  # between two looks at nodes, deadlines and signals
PATIENCE_SECONDS = 30.0  # for a worker to start, before another is hired elsewhere
STARTS = 3  # of workers on a node, in a row, that may fail before the node is refused
REST_SECONDS = 300.0  # after which such a node is tried again: sweeps take days, and full disks are emptied
RESOURCE = {"cpu": "CPU", "gpu": "GPU", "tpu": "TPU"}


class _Actor:
    """What runs in a worker's process."""

    def hello(self) -> tuple[int, dict[str, str]]:
        """Its process id, and what it computes with."""
        return os.getpid(), computing()

    def train(self, order: Order) -> Result:
        """One shard."""
        return train_shard(order)


@dataclass
class Worker:
    """An actor as the driver sees it."""

    name: str
    node: str  # Ray's id of it
    host: str
    actor: Any
    hello: Any  # what it is waited for with; None once it is ready
    hired: float  # when
    pid: int = 0
    calls: deque[tuple[Any, Job]] = field(default_factory=deque)  # done in this order
    since: float = 0.0  # when it began the first of them

    def __str__(self) -> str:
        return f"{self.name} (process {self.pid} on {self.host})"

    def give(self, job: Job) -> None:
        """Add a job to its calls."""
        if not self.calls:
            self.since = time.monotonic()
        self.calls.append((self.actor.train.remote(job.order()), job))


class Crew:
    """The workers there are, ready or starting, and `refused`: node -> why it gets none.

    Of those, `different` compute with other versions; on the others no worker could be started.
    """

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.resource = RESOURCE[cluster.device]
        self.workers: list[Worker] = []
        self.refused: dict[str, str] = {}
        self.usable = 0  # nodes that are there, have the resource, and are not refused
        self._failed_starts: Counter[str] = Counter()
        self._rests: dict[str, float] = {}  # refused node -> until when
        self._hired = 0
        self._looked = -POLL_SECONDS  # when, at the nodes
        variables = environment(cluster.device, cluster.workers_per_gpu)
        per_worker: dict[str, dict[str, Any]] = {
            "cpu": {"num_cpus": 1},
            "gpu": {"num_cpus": 0, "num_gpus": 1 / cluster.workers_per_gpu},
            "tpu": {"num_cpus": 0, "resources": {"TPU": 1}},
        }
        self._class = ray.remote(
            **per_worker[cluster.device],
            max_restarts=0,
            max_task_retries=0,
            runtime_env={"env_vars": variables},
        )(_Actor)

    @property
    def ready(self) -> list[Worker]:
        """Those that can be given jobs."""
        return [worker for worker in self.workers if worker.hello is None]

    @property
    def different(self) -> list[str]:
        """Of each node whose workers compute with other versions: which."""
        return [why for node, why in self.refused.items() if node not in self._rests]

    def hire(self) -> None:
        """A worker for every core or accelerator that has none; looks every POLL_SECONDS at most.

        Idle workers of nodes that are gone are dropped; one that has a shard is let go when Ray says that the
        shard failed.
        """
        now = time.monotonic()
        if now - self._looked < POLL_SECONDS:
            return
        self._looked = now
        for node in [node for node, until in self._rests.items() if now > until]:
            del self._rests[node], self.refused[node], self._failed_starts[node]
        nodes = {n["NodeID"]: n for n in ray.nodes() if n["Alive"] and n["NodeID"] not in self.refused}
        self.usable = sum(node["Resources"].get(self.resource, 0) > 0 for node in nodes.values())
        self.workers = [worker for worker in self.workers if worker.calls or worker.node in nodes]
        have = Counter(worker.node for worker in self.workers)
        per_device = self.cluster.workers_per_gpu
        slots = [
            (i, node)
            for node, found in nodes.items()
            for i in range(have[node], int(found["Resources"].get(self.resource, 0)) * per_device)
        ]
        room = None
        if self.cluster.workers is not None:
            # One that has not come for long may wait for a node that others keep busy.
            coming = [w for w in self.workers if w.hello is None or now - w.hired < PATIENCE_SECONDS]
            room = max(0, self.cluster.workers - len(coming))
        # The first core of every node, then the second: workers=N takes as many nodes as it can.
        for _, node in sorted(slots)[:room]:
            self._hired += 1
            here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node, soft=False)
            actor = self._class.options(scheduling_strategy=here).remote()
            name, host = f"worker {self._hired}", nodes[node]["NodeManagerHostname"]
            self.workers.append(Worker(name, node, host, actor, actor.hello.remote(), now))

    def wait(self) -> set[Any]:
        """The calls that have ended, after POLL_SECONDS at most; workers that said hello become ready."""
        hellos = {worker.hello: worker for worker in self.workers if worker.hello is not None}
        waiting = [*hellos, *(call for worker in self.workers for call, _ in worker.calls)]
        if not waiting:
            time.sleep(POLL_SECONDS)
            return set()
        ended, _ = ray.wait(waiting, num_returns=1, timeout=POLL_SECONDS)
        if ended:
            ended, _ = ray.wait(waiting, num_returns=len(waiting), timeout=0)
        for hello in hellos.keys() & set(ended):
            self._welcome(hellos[hello])
        return set(ended) - hellos.keys()

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
                self._rests[worker.node] = time.monotonic() + REST_SECONDS
                reason = (str(error).strip() or type(error).__name__).splitlines()[-1].strip()
                self.refused[worker.node] = f"{worker.host}: no worker can be started: {reason}"
            return
        if self.cluster.workers is not None and len(self.ready) >= self.cluster.workers:
            self.let_go(worker)  # it came late: another was hired in its place
            return
        worker.hello = None
        self._failed_starts[worker.node] = 0
        other = [
            f"{key} {theirs.get(key)} instead of {mine}"
            for key, mine in computing().items()
            if theirs.get(key) != mine
        ]
        if other:
            self.let_go(worker)
            self.refused[worker.node] = (
                f"{worker.host}: has {', '.join(other)}; install the same there as here"
            )
