"""What a sweep would need, estimated before its grid is expanded: the driver's memory, a worker's, and disk.

Only `CERTAIN` of an estimate is held against what is free: what is refused here would not have fitted, and
what is not may still turn out too large.
"""

import contextlib
import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from grok_sweep.core import registry
from grok_sweep.core.grid import expand
from grok_sweep.core.plan import make_plan
from grok_sweep.core.program import Program
from grok_sweep.core.sweep import Sweep
from grok_sweep.errors import in_bytes
from grok_sweep.session import sorting
from grok_sweep.worker.environment import cores

CERTAIN = 0.5  # share of an estimate that is needed for sure: workers took 0.58 to 1.6 of theirs

# On disk, measured, zstd.
RUN_BYTES, LOG_BYTES = 250, 20  # of a run, and of one of its logged steps

SHAPES = 500  # of a sweep's networks that are looked at to tell the size of their weights

# In memory, measured at 90,000 to 1,000,000 runs.
RUN_MEMORY = 800  # of a run on the driver: grid and plan take 210 to 330, then the analysis 800 to 1150
COPY_MEMORY = 300  # of a combination that repeats another, on the driver: its id and that of its run
PROGRAM_MEMORY = 1600  # of a program on the driver, beside its runs
CURVE_MEMORY = 100  # of a logged step of a run on its worker: its metrics thrice, and its row of the table
READ_CURVE_MEMORY = 75  # of one on the driver, where the phases need the curves of all runs at once
JAX_MEMORY = 500e6  # of a worker beside its programs
OPERATION_MEMORY = 4  # of one in a row: a weight takes 4 operations, and 4 times 4 bytes with its moments


def problems(sweep: Sweep, free_disk: int | None, *, disk: bool = True) -> list[str]:
    """What `sweep` needs and this machine does not have, a line each; nothing is expanded.

    `free_disk`: bytes that are free for the results; None: not known, or not all of the grid is to be
    written. `disk` False: nothing will be written. What is free is that of this machine, so the workers of
    a cluster elsewhere are not judged.
    """
    lines = []
    free_memory = available_memory()
    planning = driver_bytes(sweep)
    if CERTAIN * planning > free_memory:
        runs = f"grid: {sweep.n_runs:,} runs need about {in_bytes(planning)} of memory on the driver"
        lines.append(f"{runs}; {in_bytes(free_memory)} are free; split the sweep")
    if sweep.cluster.address is None:
        lines += _worker_problems(sweep, free_memory)
    weights = weights_bytes(sweep)
    writing = disk_bytes(sweep, sweep.n_runs) + weights
    if disk and free_disk is not None and CERTAIN * writing > free_disk:
        runs = f"{sweep.n_runs:,} runs of {_logged(sweep):,} logged steps need about {in_bytes(writing)}"
        of_weights = f", {in_bytes(weights)} of them weights (train.snapshot_every)" if weights else ""
        lines.append(
            f"out={sweep.out}: {runs}{of_weights}; {in_bytes(free_disk)} are free there; "
            "log less often (train.log_every), split the sweep, or choose another folder"
        )
    return lines


def disk_bytes(sweep: Sweep, runs: int) -> int:
    """Of the tables of `runs` runs, about; recorded weights apart."""
    own = len(registry.metrics(sweep.source))
    return runs * (RUN_BYTES + 8 * own + (LOG_BYTES + 4 * own) * _logged(sweep))


def weights_bytes(sweep: Sweep) -> int:
    """Of the recorded weights of all runs: the mean of their shapes, or of SHAPES of them, for each."""
    if not sweep.snapshot_every:
        return 0
    loops = [loop for loop in sweep.loops if any(sweep.numbers[key].static for key in loop)]
    sizes = [len(sweep.axes[loop[0]]) for loop in loops]
    count = math.prod(sizes)
    taken = np.unique(np.linspace(0, count - 1, SHAPES).astype(np.int64))
    places_TL = np.stack(np.unravel_index(taken, sizes or (1,)), axis=1)
    total = 0
    for place_L in places_TL:
        at = {key: sweep.axes[key][i] for loop, i in zip(loops, place_L, strict=False) for key in loop}
        total += _program(sweep, at).snapshot_bytes
    return sweep.n_runs * total // len(places_TL)


def driver_bytes(sweep: Sweep) -> int:
    """Memory of the driver, from planning to analysis, about."""
    # Those that differ in their training rows only may share a program.
    shapes = (
        len(sweep.axes[loop[0]]) for loop in sweep.loops if any(sweep.numbers[key].static for key in loop)
    )
    curves = READ_CURVE_MEMORY * _logged(sweep) if sorting.chosen(sweep).reads_curves else 0
    copies = sweep.n_combinations - sweep.n_runs
    return sweep.n_runs * (RUN_MEMORY + curves) + copies * COPY_MEMORY + PROGRAM_MEMORY * math.prod(shapes)


def available_memory(root: Path = Path("/")) -> float:
    """Bytes of memory that this process may still take, or inf where nothing tells: no Linux.

    The least of what the kernel calls available and what the control groups of this process leave, of either
    version; `root` is where /proc and /sys are looked for.
    """
    free = [math.inf]
    meminfo = _lines(root / "proc/meminfo")
    free += [1024 * int(line.split()[1]) for line in meminfo if line.startswith("MemAvailable:")]
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        if not controllers:
            mount = root / "sys/fs/cgroup"
            names = ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            mount = root / "sys/fs/cgroup/memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        group = mount / path.lstrip("/")
        for folder in (group, *group.parents):
            free += _left(folder, *names)
            if folder == mount:
                break
    return max(0.0, min(free))


def _left(group: Path, limit: str, usage: str, cache: str) -> Iterator[float]:
    """What a control group leaves, files that the kernel may forget counted as left; nothing: no limit."""
    with contextlib.suppress(OSError, ValueError):  # there is no such file; the limit is the word max
        most = int((group / limit).read_text())
        used = int((group / usage).read_text())
        kept = dict(line.split() for line in _lines(group / "memory.stat")).get(cache, "0")
        yield most - used + int(kept)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []


def _worker_problems(sweep: Sweep, free: float) -> Iterator[str]:
    """Why the largest run does not fit a worker, or the workers do not fit this machine."""
    program = _largest(sweep)
    on_host = sweep.cluster.device == "cpu"
    run = CURVE_MEMORY * _logged(sweep) + (
        program.bytes + OPERATION_MEMORY * program.step_operations(1) if on_host else 0
    )
    workers = 1 if sweep.cluster.executor == "inline" else sweep.cluster.workers or cores()
    if CERTAIN * (run + JAX_MEMORY) > free:
        sizes = {**program.values, "rows": program.rows, "test rows": program.test_rows}
        shape = " x ".join(f"{key}={value}" for key, value in sizes.items())
        yield (
            f"grid: one run of {shape} with {_logged(sweep):,} logged steps needs about "
            f"{in_bytes(run + JAX_MEMORY)} of memory on a worker; {in_bytes(free)} are free; "
            "make it smaller, or log less often (train.log_every)"
        )
    elif on_host and CERTAIN * workers * (run + JAX_MEMORY) > free:
        given = "null" if sweep.cluster.workers is None else str(sweep.cluster.workers)
        yield (
            f"cluster.workers={given}: {workers:,} workers with a run each need about "
            f"{in_bytes(workers * (run + JAX_MEMORY))} of memory; {in_bytes(free)} are free; "
            f"use at most {int(free / (run + JAX_MEMORY)) or 1}"
        )


def _largest(sweep: Sweep) -> Program:
    """The program of a run with every shape at its largest, alone in its call.

    A network is larger with some switches on and with others off, so all are tried.
    """
    most = {key: max(axis) for key, axis in sweep.axes.items()}
    numbers = sweep.numbers
    switches = [key for key in most if numbers[key].static and numbers[key].among == (0, 1)]
    settings = (
        dict(zip(switches, values, strict=True))
        for values in itertools.product(*(sorted(set(sweep.axes[key])) for key in switches))
    )
    return max((_program(sweep, most | setting) for setting in settings), key=lambda program: program.bytes)


def _program(sweep: Sweep, at: Mapping[str, float]) -> Program:
    """The program of one run of the sweep, alone in its call, at these values of its axes or others."""
    one = replace(sweep, axes={}, values={**sweep.values, **at}, together=(), seeds=(0,))
    return make_plan(one, expand(one)).shards[0].program


def _logged(sweep: Sweep) -> int:
    return sweep.steps // sweep.log_every + 1
