"""All shards in this process, one after the other: for debugging, and where there is no Ray."""

import traceback
from collections.abc import Iterator
from types import TracebackType

from grok_sweep.core.sweep import Cluster
from grok_sweep.executors import Doing, Done, LaunchError, Queue, failure
from grok_sweep.worker import train_shard


class InlineExecutor:
    """One worker: this process."""

    workers = 1

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def __enter__(self) -> "InlineExecutor":
        import jax

        try:
            jax.devices(self.cluster.device)
        except (RuntimeError, AssertionError):  # the latter where jax lacks the plugin
            raise LaunchError(
                f"cluster.device={self.cluster.device}: jax {jax.__version__} finds none in this process; "
                "install grok-sweep[gpu] or grok-sweep[tpu] on a machine that has one, or use cluster=local"
            ) from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing was started."""

    def run(self, queue: Queue, doing: Doing) -> Iterator[Done]:
        """Each job once, in the order given."""
        while job := queue.next():
            doing({"here": str(job)})
            try:
                done = Done(job, train_shard(job.order()))
            except Exception as error:  # whatever it was, the other shards go on; it is reported at the end
                done = Done(job, None, failure(error, traceback.format_exc()))
            yield done
