"""All shards in this process, one after the other: for debugging, and where there is no Ray."""

import traceback
from collections.abc import Iterator

from grok_sweep.core.sweep import Cluster
from grok_sweep.executors import Done, Failure, LaunchError, Queue, failure
from grok_sweep.worker import Result, train_shard


class InlineExecutor:
    """One worker: this process. Raises LaunchError where it has no such device."""

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

    def run(self, queue: Queue) -> Iterator[Done]:
        """Each job once, in the order given."""
        while job := queue.next():
            outcome: Result | Failure
            try:
                outcome = train_shard(job.order())
            except Exception as error:  # whatever it was, the other shards go on; it is reported at the end
                outcome = failure(error, traceback.format_exc())
            yield Done(job, outcome)
