"""All shards in this process, one after the other: for debugging, and where there is no Ray."""

import traceback
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from grok_sweep.core.sweep import Cluster
from grok_sweep.executors import Done, Failure, LaunchError, Queue, failure
from grok_sweep.worker import Result, native, prepare, train_shard
from grok_sweep.worker.environment import cores

if TYPE_CHECKING:  # it loads jax
    from grok_sweep.core.program import Program


class InlineExecutor:
    """One worker: this process, where the native engine has all cores.

    Raises LaunchError where it has no such device.
    """

    workers = 1

    def __init__(self, cluster: Cluster) -> None:
        import jax

        try:
            jax.devices(cluster.device)
        except (RuntimeError, AssertionError):  # the latter where jax lacks the plugin
            raise LaunchError(
                f"cluster.device={cluster.device}: jax {jax.__version__} finds none in this process; "
                "install grok-sweep[gpu] or grok-sweep[tpu] on a machine that has one, or use cluster=local"
            ) from None
        native.threads = cores()

    def run(self, queue: Queue) -> Iterator[Done]:
        """Each job once, in the order given. The next one's program is compiled while one trains."""
        compiled: set[Program] = set()
        ahead: Future[None] | None = None
        with ThreadPoolExecutor(1, "compile") as beside:
            while job := queue.next():
                if ahead is not None:
                    ahead.result()
                compiled.add(job.shard.program)
                following = queue.peek()
                if following is not None and following.shard.program not in compiled:
                    ahead = beside.submit(prepare, following.order())
                outcome: Result | Failure
                try:
                    outcome = train_shard(job.order())
                except Exception as error:  # the other shards go on; it is reported at the end
                    outcome = failure(error, traceback.format_exc())
                yield Done(job, outcome)
