"""Shards on the nodes of a Ray cluster, one actor per core or accelerator.

Actors and not tasks, because the driver then knows which worker has which shard, and since when: it can say
so, end the one that hangs, and refuse the one that would compute other numbers. A worker keeps its compiled
programs from shard to shard, and results come back through the object store, so no shared file system is
needed. Ray retries nothing: what a failure means is for the driver to say.
"""

import contextlib
import signal
import socket
import time
from collections.abc import Callable, Iterator

import ray

from grok_sweep.core.costs import COSTS
from grok_sweep.core.sweep import Cluster
from grok_sweep.executors import Done, Failure, Job, LaunchError, Queue, Say, failure
from grok_sweep.executors.crew import Crew, Worker
from grok_sweep.executors.head import Head
from grok_sweep.stop import SIGNALS, is_main

QUEUED = 1  # calls per worker beyond the one it does, so that none waits for the driver
START_SECONDS = 10.0  # for all workers to be there before the first shard is handed out
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
CLUSTERS = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"  # 0: Ray dials 127.0.0.1 as it stands
WAITING = "no worker is ready; waiting for one to start, or for a node to join (Ctrl-C ends)"


@contextlib.contextmanager
def ray_executor(
    cluster: Cluster, say: Say, ended: Callable[[], bool], head: Head | None
) -> Iterator["RayExecutor"]:
    """The workers of the Ray of `head`, or of one joined at cluster.address. See `executors.executor`."""
    # Ray takes SIGTERM for itself, and prints a stack at it.
    handlers = {number: signal.getsignal(number) for number in SIGNALS} if is_main() else {}
    try:
        _knock(cluster.address)
        address = cluster.address if head is None else head.address(ended)
        if address is not None:
            ray.init(address, logging_level="ERROR", log_to_driver=False)
    except (OSError, RuntimeError, ValueError, OverflowError) as error:
        reason = " ".join(str(error).split())[:300]
        where = f"cluster.address={cluster.address}" if cluster.address else "cluster=local"
        token = "; is its token in ~/.ray/auth_token?" if cluster.address else ""
        raise LaunchError(f"{where}: Ray cannot be reached: {reason}{token}") from None
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    try:
        workers = RayExecutor(cluster, say)
        workers.start(ended)
        yield workers
    finally:
        ray.shutdown()
        if head is not None:
            head.end()


def _knock(address: str | None) -> None:
    """Raises OSError where nobody listens at HOST:PORT: Ray itself would try for minutes, in silence."""
    if not address or address == "auto":
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    # For a loopback address Ray dials that of this machine, where a head at 127.0.0.1 does not listen.
    is_own = host in LOOPBACK and not address.startswith("ray://")
    dialled = ray.util.get_node_ip_address() if is_own else host.strip("[]")
    try:
        socket.create_connection((dialled, int(port)), timeout=10).close()
    except OSError as error:
        if not is_own or dialled == LOOPBACK[0]:
            raise
        how = f"set {CLUSTERS}=0 where its head is at {LOOPBACK[0]}"
        raise OSError(f"Ray dials {dialled}:{port} for it: {error}; {how}") from None


class RayExecutor:
    """Nodes may come and go: every core or accelerator that is there has a worker."""

    def __init__(self, cluster: Cluster, say: Say) -> None:
        self.cluster = cluster
        self._say = say
        self._said: set[str] = set()
        self._crew = Crew(cluster)
        # The worst ratio so far of a shard's time to its estimate: a slow machine does not hang.
        self._slowness = 1.0

    @property
    def workers(self) -> int:
        """How many there are, those included that are starting."""
        return len(self._crew.workers)

    def start(self, ended: Callable[[], bool]) -> None:
        """Hire, and wait START_SECONDS for all workers, or as long as there is none, but not after `ended()`.

        Raises LaunchError where there can be none, or where a node would compute with other versions.
        """
        crew = self._crew
        crew.hire()
        if not crew.workers:
            raise LaunchError(
                f"cluster.device={self.cluster.device}: Ray finds no {crew.resource} in this cluster; "
                "use cluster=local, or start Ray on a machine that has one"
            )
        late = time.monotonic() + START_SECONDS
        while not (crew.mismatched or (crew.refused and not crew.workers) or ended()):
            is_late = time.monotonic() > late
            if crew.ready and (is_late or len(crew.ready) == len(crew.workers)):
                break
            if is_late:
                self._say_once(WAITING)
            crew.wait()
            crew.hire()
        if crew.mismatched or (crew.refused and not crew.workers):
            raise LaunchError("; ".join(crew.refused.values()))

    def run(self, queue: Queue) -> Iterator[Done]:
        """Each job once, in the order in which they finish.

        Raises LaunchError where every node is refused, or the Ray that was started here has ended.
        """
        crew = self._crew
        while True:
            self._hand_out(queue)
            if not any(worker.calls for worker in crew.workers):
                if (job := queue.next()) is None:
                    return
                queue.put_back([job])
                if not crew.usable and crew.refused:
                    raise LaunchError(f"no node is left: {'; '.join(crew.refused.values())}")
                if not crew.usable and self.cluster.address is None:  # none can join that
                    raise LaunchError("the Ray that was started here has ended: was its raylet killed?")
                self._say_once(WAITING)
            ended = crew.wait()
            for worker in list(crew.workers):
                while worker.calls and worker.calls[0][0] in ended:
                    yield self._done(worker, queue)
                if worker.calls and not queue.ended():
                    deadline = self._deadline(worker.calls[0][1])
                    if time.monotonic() - worker.since > deadline:
                        yield self._hang(worker, queue, deadline)
            if queue.ended():
                return
            crew.hire()
            for why in crew.refused.values():
                self._say_once(f"left alone: {why}")

    def _say_once(self, message: str) -> None:
        if message not in self._said:
            self._said.add(message)
            self._say(message)

    def _hand_out(self, queue: Queue) -> None:
        for depth in range(1 + QUEUED):  # everyone has one before anyone has two
            for worker in self._crew.ready:
                if len(worker.calls) <= depth:
                    if (job := queue.next()) is None:
                        return
                    worker.give(job)

    def _done(self, worker: Worker, queue: Queue) -> Done:
        """What came of the first call of a worker."""
        call, job = worker.calls.popleft()
        worker.since = time.monotonic()
        try:
            result = ray.get(call)
        except ray.exceptions.RayTaskError as error:
            return Done(job, failure(error.cause or error, str(error)))
        except ray.exceptions.OutOfMemoryError as error:
            lost = Failure("memory", f"{worker} was out of memory", str(error))
        except ray.exceptions.RayError as error:
            lost = Failure("death", f"{worker} died", str(error))
        else:
            took = result.train_seconds + result.other_seconds
            self._slowness = max(self._slowness, took / self._estimate(job))
            return Done(job, result)
        self._lose(worker, queue)
        return Done(job, lost)

    def _hang(self, worker: Worker, queue: Queue, deadline: float) -> Done:
        """Take a worker that missed its deadline for dead, and make it so."""
        _, job = worker.calls.popleft()
        reason = f"{worker} did not answer within {deadline:.0f} s"
        self._lose(worker, queue)
        return Done(job, Failure("hang", reason, f"{reason}: see cluster.deadline_seconds and _factor"))

    def _lose(self, worker: Worker, queue: Queue) -> None:
        """Let go of a worker; what it had not begun is put back."""
        queue.put_back([job for _, job in worker.calls])
        worker.calls.clear()
        self._crew.let_go(worker)

    def _deadline(self, job: Job) -> float:
        """Seconds after which a worker that has it hangs."""
        by_estimate = self.cluster.deadline_factor * self._slowness * self._estimate(job)
        return max(self.cluster.deadline_seconds, by_estimate)

    def _estimate(self, job: Job) -> float:
        """Seconds that a worker should take for it, with the compilation that it may need."""
        return job.shard.seconds + COSTS[self.cluster.device].compile_seconds
