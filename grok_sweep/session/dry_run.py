"""The plan of a sweep as a table: what would be trained, and what it would cost."""

import sys

from rich.console import Console
from rich.table import Table

from grok_sweep.core import effects
from grok_sweep.core.plan import Plan, Shard
from grok_sweep.core.sweep import Sweep
from grok_sweep.errors import in_bytes
from grok_sweep.session.capacity import JAX_MEMORY, disk_bytes, driver_bytes
from grok_sweep.worker.environment import cores

MOST_SIZES = 5  # of training sets whose batches are told
MOST_PROGRAMS = 40  # rows of the table; a million programs are counted, not listed


def show(sweep: Sweep, plan: Plan, finished: int = 0, free_disk: int | None = None) -> None:
    """Print programs, shards, lanes, operations, memory and time of `plan`, the part that is left.

    `free_disk`: bytes that are free where the results go, if that is known.
    """
    # Piped, the table keeps its numbers whole.
    console = Console(markup=False, highlight=False, width=None if sys.stdout.isatty() else 160)
    by_program: dict[object, list[Shard]] = {}
    for shard in plan.shards:
        by_program.setdefault(shard.program, []).append(shard)
    swept = [key for key in sweep.axes if _static(plan, key)]

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in (*swept, "rows", "runs", "shards", "lanes", "operations", "padded", "memory", "time"):
        table.add_column(heading, justify="right")
    groups = sorted(by_program.values(), key=lambda shards: _sort_key(shards[0], swept))
    for shards in groups[:MOST_PROGRAMS]:
        program = shards[0].program
        table.add_row(
            *(str(program.values[key]) for key in swept),
            str(program.rows),
            f"{sum(len(shard.index_R) for shard in shards):,}",
            f"{len(shards):,}",
            str(program.lanes),
            _operations(sum(shard.work for shard in shards)),
            _padding(shards),
            in_bytes(program.bytes),
            _time(sum(shard.seconds for shard in shards)),
        )
    if groups:
        console.print(table)
    if len(groups) > MOST_PROGRAMS:
        console.print(f"... and {len(groups) - MOST_PROGRAMS:,} more programs")

    cluster = sweep.cluster
    workers = (
        1 if cluster.executor == "inline" else cluster.workers or (cores() if cluster.device == "cpu" else 1)
    )
    disk = disk_bytes(sweep, plan.n_runs) + plan.snapshot_bytes
    of_weights = f", {in_bytes(plan.snapshot_bytes)} of them weights" if plan.snapshot_bytes else ""
    too_little = (
        f"; only {in_bytes(free_disk)} are free there" if free_disk is not None and free_disk < disk else ""
    )
    most = max((program.bytes for program in plan.programs), default=0)
    seeds = len(sweep.seeds)
    driver = in_bytes(driver_bytes(sweep))
    console.print(
        f"\n{_copies(sweep, plan)}{plan.n_runs:,} runs to train"
        f" ({sweep.n_cells:,} cells x {seeds:,} seed{'s' * (seeds > 1)}, {finished:,} finished)"
        f" in {len(by_program):,} program{'s' * (len(by_program) != 1)}, {len(plan.shards):,} shards\n"
        f"{_batches(sweep, plan)}"
        f"operations {_operations(plan.work)} useful, {_padding(plan.shards)} more in padding"
        f" (estimate; one multiplication or addition each)\n"
        f"memory     {in_bytes(most)} on a worker at most, beside {in_bytes(JAX_MEMORY)} for jax itself;"
        f" {driver} on the driver (estimate)\n"
        f"disk       {in_bytes(disk)}{of_weights} in {sweep.out} (estimate){too_little}\n"
        f"time       {_time(plan.seconds(workers))} on {workers} {sweep.cluster.device} worker"
        f"{'s' * (workers > 1)} (estimate)",
        soft_wrap=True,
    )


def _copies(sweep: Sweep, plan: Plan) -> str:
    """A line of how many combinations of the grid fall together, and why; nothing where none do."""
    runs = sweep.n_runs
    copies = sweep.n_combinations - runs
    if not copies:
        return ""
    off = effects.without_effect(sweep.model, plan.grid.columns)
    names = [name for name, off_R in off.items() if len({*sweep.axes.get(name, ())}) > 1 and off_R.any()]
    return (
        f"{runs + copies:,} combinations, of which {copies:,} would repeat others"
        f" ({', '.join(names)} without effect there): {runs:,} runs\n"
    )


def _batches(sweep: Sweep, plan: Plan) -> str:
    """A line of the mini-batches, and how many rows each epoch leaves out; nothing where there are none."""
    size = sweep.batch_size
    if not size:
        return ""
    rows = sorted({program.rows for program in plan.programs})
    each = [f"{n // size:,} an epoch of {n:,} rows, {n % size:,} of them left out" for n in rows[:MOST_SIZES]]
    return f"batches    {size:,} rows: {'; '.join(each)}{'; ...' * (len(rows) > MOST_SIZES)}\n"


def _static(plan: Plan, key: str) -> bool:
    return bool(plan.shards) and key in plan.shards[0].program.values


def _sort_key(shard: Shard, swept: list[str]) -> tuple[float, ...]:
    return (*(shard.program.values[key] for key in swept), shard.program.rows)


def _operations(count: float) -> str:
    return f"{count:.2e}"


def _padding(shards: list[Shard] | tuple[Shard, ...]) -> str:
    work = sum(shard.work for shard in shards)
    return f"{sum(shard.padded_work for shard in shards) / work - 1:.0%}" if work else "0%"


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
