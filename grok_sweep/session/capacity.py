"""What a sweep would need, estimated: the driver's memory, a worker's, and disk.

Only `CERTAIN` of an estimate is held against what is free: what is refused here would not have fitted, and
what is not may still turn out too large.
"""

import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from grok_sweep.core import registry
from grok_sweep.core.plan import Plan
from grok_sweep.core.sweep import Cluster, Sweep
from grok_sweep.errors import ConfigError, in_bytes
from grok_sweep.session import sorting
from grok_sweep.worker.environment import cores

CERTAIN = 0.5  # share of an estimate that is needed for sure: workers took 0.58 to 1.6 of theirs

INLINE_SECONDS = 20.0  # of a sweep that is done in this process before Ray and its workers would be of use

# On disk, measured, zstd.
RUN_BYTES, LOG_BYTES = 250, 20  # of a run, and of one of its logged steps

# In memory, measured at 90,000 to 1,000,000 runs.
RUN_MEMORY = 800  # of a run on the driver: grid and plan take 210 to 330, then the analysis 800 to 1150
PROGRAM_MEMORY = 1600  # of a program on the driver, beside its runs
CURVE_MEMORY = 100  # of a logged step of a run on its worker: its metrics thrice, and its row of the table
READ_CURVE_MEMORY = 75  # of one on the driver, where the phases need the curves of all runs at once
JAX_MEMORY = 500e6  # of a worker beside its programs
OPERATION_MEMORY = 4  # of one in a row: a weight takes 4 operations, and 4 times 4 bytes with its moments


def settled(sweep: Sweep, plan: Plan) -> Sweep:
    """`sweep` with an executor for `plan`, where none was chosen: a short one is done in this process.

    Who says how many workers, another device or an address has chosen Ray.
    """
    cluster = sweep.cluster
    if cluster.executor != "auto":
        return sweep
    is_plain = (cluster.device, cluster.workers, cluster.address) == ("cpu", None, None)
    inline = replace(cluster, executor="inline")
    short = is_plain and seconds(plan, inline, 1) < INLINE_SECONDS
    return replace(sweep, cluster=inline if short else replace(cluster, executor="ray"))


def check(sweep: Sweep, plan: Plan | None = None, free_disk: int | None = None) -> None:
    """Raises ConfigError where `sweep` needs what this machine does not have, a line for each.

    Without its `plan`, or the outline of one, only the driver is judged. `free_disk`: bytes that are free for
    the results; None: not known, or not all of the grid is to be written. What is free is that of this
    machine, so the workers of a cluster elsewhere are not judged.
    """
    lines = []
    free_memory = available_memory()
    planning = driver_bytes(sweep)
    if CERTAIN * planning > free_memory:
        runs = f"grid: {sweep.n_runs:,} runs need about {in_bytes(planning)} of memory on the driver"
        lines.append(f"{runs}; {in_bytes(free_memory)} are free; split the sweep")
    if plan and sweep.cluster.address is None:
        lines += _worker_problems(sweep, plan, free_memory)
    if plan and free_disk is not None and CERTAIN * (writing := disk_bytes(sweep, plan)) > free_disk:
        runs = f"{sweep.n_runs:,} runs of {_logged(sweep):,} logged steps need about {in_bytes(writing)}"
        lines.append(
            f"out={sweep.out}: {runs}{of_weights(plan)}; {in_bytes(free_disk)} are free there; "
            "log less often (train.log_every), split the sweep, or choose another folder"
        )
    if lines:
        raise ConfigError(lines)


def disk_bytes(sweep: Sweep, plan: Plan) -> int:
    """Of the tables of all runs of `plan`, about."""
    own = len(registry.metrics(sweep.source))
    run = RUN_BYTES + 8 * own + (LOG_BYTES + 4 * own) * _logged(sweep)
    return plan.n_runs * run + plan.snapshot_bytes


def of_weights(plan: Plan) -> str:
    """How many of the `disk_bytes` are recorded weights, if any are."""
    weights = plan.snapshot_bytes
    return f", {in_bytes(weights)} of them weights (train.snapshot_every)" if weights else ""


def driver_bytes(sweep: Sweep) -> int:
    """Memory of the driver, from planning to analysis, about."""
    programs = math.prod(
        len(sweep.axes[loop[0]]) for loop in sweep.loops if any(sweep.numbers[key].static for key in loop)
    )
    curves = READ_CURVE_MEMORY * _logged(sweep) if sorting.chosen(sweep).reads_curves else 0
    return sweep.n_runs * (RUN_MEMORY + curves) + PROGRAM_MEMORY * programs


def available_memory(root: Path = Path("/")) -> float:
    """Bytes of memory that this process may still take, or inf where nothing tells: no Linux.

    The least of what the kernel calls available and what the control groups of this process (version 2)
    leave; `root` is where /proc and /sys are looked for.
    """
    free = [math.inf]
    with suppress(OSError):
        meminfo = (root / "proc/meminfo").read_text().splitlines()
        free += [1024 * float(line.split()[1]) for line in meminfo if line.startswith("MemAvailable:")]
    top, own = root / "sys/fs/cgroup", ""
    with suppress(OSError):
        own = (root / "proc/self/cgroup").read_text().strip().rpartition("0::/")[2]
    for group in (top / own, *(top / own).parents):  # in a container the path is the host's
        with suppress(OSError, ValueError):  # there is no such file; the limit is the word max
            left = float((group / "memory.max").read_text()) - float((group / "memory.current").read_text())
            stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
            free.append(left + float(stat["inactive_file"]))  # files that the kernel may forget
    return max(0.0, min(free))


def workers_of(cluster: Cluster) -> int:
    """How many workers a sweep has as far as is known before they are started: on GPUs and TPUs, one."""
    if cluster.executor == "inline":
        return 1
    return cluster.workers or (cores() if cluster.device == "cpu" else 1)


def seconds(plan: Plan, cluster: Cluster, workers: int) -> float:
    """Estimated time of a plan. In one process the native engine has a thread a core."""
    is_alone = (cluster.executor, cluster.device) == ("inline", "cpu")
    return plan.seconds(workers, cores() if is_alone else 1)


def _worker_problems(sweep: Sweep, plan: Plan, free: float) -> Iterator[str]:
    """Why the largest run does not fit a worker, or the workers do not fit this machine."""
    largest = max(plan.programs, key=lambda program: program.bytes / program.lanes)
    on_host = sweep.cluster.device == "cpu"
    need = JAX_MEMORY + CURVE_MEMORY * _logged(sweep)
    if on_host:
        need += largest.bytes / largest.lanes + OPERATION_MEMORY * largest.step_operations(1)
    workers = workers_of(sweep.cluster)
    if CERTAIN * need > free:
        sizes = {**largest.values, "rows": largest.rows, "test rows": largest.test_rows}
        shape = " x ".join(f"{key}={value}" for key, value in sizes.items())
        yield (
            f"grid: one run of {shape} with {_logged(sweep):,} logged steps needs about {in_bytes(need)} "
            f"of memory on a worker; {in_bytes(free)} are free; "
            "make it smaller, or log less often (train.log_every)"
        )
    elif on_host and CERTAIN * workers * need > free:
        given = "null" if sweep.cluster.workers is None else sweep.cluster.workers
        yield (
            f"cluster.workers={given}: {workers:,} workers with a run each need about "
            f"{in_bytes(workers * need)} of memory; {in_bytes(free)} are free; "
            f"use at most {int(free / need) or 1}"
        )


def _logged(sweep: Sweep) -> int:
    return sweep.steps // sweep.log_every + 1
