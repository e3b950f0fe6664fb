"""Shards as Ray tasks, handed out as workers come free.

Ray Core, one task per shard: a worker process keeps its compiled programs between tasks, and results come
back through the object store, so no shared file system is needed.
"""

import os
import signal
import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from grok_sweep.config import Cluster
from grok_sweep.launch import Doing, Done, Job, LaunchError
from grok_sweep.work import Order, Result, cores, environment, train_shard

# Ray asks its makers' server for the version unless told not to, and warns of GPUs it will one day hide.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
# A Ray started here has its token on. To one joined by HOST:PORT Ray shows the token only if told to.
if "RAY_AUTH_TOKEN" in os.environ or (Path.home() / ".ray" / "auth_token").is_file():
    os.environ.setdefault("RAY_AUTH_MODE", "token")

import ray

RESOURCE = {"cpu": "CPU", "gpu": "GPU", "tpu": "TPU"}
QUEUED = 1  # tasks per worker beyond the one it does, so that none waits for the driver
OBJECT_STORE_BYTES = 200 * 2**20  # results are a few MB and leave it at once


@contextmanager
def _interrupt_later() -> Iterator[None]:
    """Holds back SIGINT: within ray.init it can be lost, or end the process by a segmentation fault."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals do not come here
        return
    pressed: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: pressed.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if pressed and before is not signal.SIG_IGN:
        raise KeyboardInterrupt


def _knock(address: str | None) -> None:
    """Raises OSError where nobody listens at HOST:PORT: Ray itself would try for minutes, in silence."""
    if address and address != "auto":
        host, _, port = address.removeprefix("ray://").rpartition(":")
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


def _train(order: Order) -> Result:
    return train_shard(order)


class RayExecutor:
    """A worker per core or accelerator of a Ray that is started here, or joined at cluster.address."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.workers = 0

    def __enter__(self) -> "RayExecutor":
        cluster, resource = self.cluster, RESOURCE[self.cluster.device]
        local = {
            "num_cpus": cluster.workers or cores(),
            "object_store_memory": OBJECT_STORE_BYTES,
            "include_dashboard": False,
        }
        try:
            _knock(cluster.address)
            with _interrupt_later():
                ray.init(
                    address=cluster.address or "local",
                    logging_level="ERROR",
                    log_to_driver=False,
                    **({} if cluster.address else local),
                )
        except KeyboardInterrupt:
            ray.shutdown()  # __exit__ is not called where __enter__ raises
            raise
        except (OSError, RuntimeError, ValueError, OverflowError) as error:
            reason = str(error).strip().splitlines()[0]
            where = f"cluster.address={cluster.address}" if cluster.address else "cluster=local"
            raise LaunchError(f"{where}: Ray cannot be reached: {reason}") from None
        present = int(ray.cluster_resources().get(resource, 0))
        if not present:
            ray.shutdown()
            raise LaunchError(
                f"cluster.device={cluster.device}: Ray finds no {resource} in this cluster; "
                "use cluster=local, or start Ray on a machine that has one"
            )
        self.workers = min(present, cluster.workers or present)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        ray.shutdown()

    def run(self, jobs: Iterable[Job], doing: Doing) -> Iterator[Done]:
        """Each job once, in the order in which they finish."""
        amount = {"num_cpus": 1} if self.cluster.device == "cpu" else {"num_cpus": 0, "num_gpus": 1}
        if self.cluster.device == "tpu":
            amount = {"num_cpus": 0, "resources": {"TPU": 1}}  # type: ignore[dict-item]
        task = ray.remote(
            **amount,
            max_retries=self.cluster.max_retries,
            # Ray's default for a GPU task is a new process, so a new compilation, each time.
            max_calls=0,
            runtime_env={"env_vars": environment(self.cluster.device)},
        )(_train)
        waiting = iter(jobs)
        running: dict[Any, Job] = {}  # in the order of submission; Ray starts equal tasks in that order

        def submit() -> None:
            job = next(waiting, None)
            if job is not None:
                running[task.remote(job.order())] = job

        for _ in range(self.workers * (1 + QUEUED)):
            submit()
        while running:
            current = list(running.values())[: self.workers]
            doing({f"worker {i + 1}": str(job) for i, job in enumerate(current)})
            (finished, *_), _ = ray.wait(list(running), num_returns=1)
            job = running.pop(finished)
            submit()
            try:
                yield Done(job, ray.get(finished))
            except ray.exceptions.RayTaskError as error:
                yield Done(job, None, str(error.cause or error).strip())
            except ray.exceptions.RayError as error:
                yield Done(job, None, str(error).strip())
