"""The plan of a sweep as a table: what would be trained, and what it would cost."""

import sys

from rich.console import Console
from rich.table import Table

from grok_sweep.config import Sweep
from grok_sweep.plan import Plan, Shard
from grok_sweep.work import cores

MOST_PROGRAMS = 40  # rows of the table; a million programs are counted, not listed
RUN_BYTES, LOG_BYTES = 250, 20  # of a run, and of one of its logged steps, on disk (measured, zstd)


def show(sweep: Sweep, plan: Plan, finished: int = 0) -> None:
    """Print programs, shards, lanes, operations, memory and time of `plan`, the part that is left."""
    # Piped, the table keeps its numbers whole.
    console = Console(markup=False, highlight=False, width=None if sys.stdout.isatty() else 160)
    by_program: dict[object, list[Shard]] = {}
    for shard in plan.shards:
        by_program.setdefault(shard.program, []).append(shard)
    swept = [key for key in sweep.axes if key != "train_size" and _static(plan, key)]

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
            _bytes(program.bytes),
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
    disk = plan.n_runs * (RUN_BYTES + LOG_BYTES * (sweep.steps // sweep.log_every + 1))
    most = max((program.bytes for program in plan.programs), default=0)
    seeds = len(sweep.seeds)
    console.print(
        f"\n{plan.n_runs:,} runs to train"
        f" ({sweep.n_cells:,} cells x {seeds:,} seed{'s' * (seeds > 1)}, {finished:,} finished)"
        f" in {len(by_program):,} programs, {len(plan.shards):,} shards\n"
        f"operations {_operations(plan.work)} useful, {_padding(plan.shards)} more in padding"
        f" (estimate; one multiplication or addition each)\n"
        f"memory     {_bytes(most)} on a worker at most, beside {_bytes(500e6)} for jax itself (estimate)\n"
        f"disk       {_bytes(disk)} in {sweep.out} (estimate)\n"
        f"time       {_time(plan.seconds(workers))} on {workers} {sweep.cluster.device} worker"
        f"{'s' * (workers > 1)} (estimate)",
        soft_wrap=True,
    )


def _static(plan: Plan, key: str) -> bool:
    return bool(plan.shards) and key in plan.shards[0].program.values


def _sort_key(shard: Shard, swept: list[str]) -> tuple[float, ...]:
    return (*(shard.program.values[key] for key in swept), shard.program.rows)


def _operations(count: float) -> str:
    return f"{count:.2e}"


def _padding(shards: list[Shard] | tuple[Shard, ...]) -> str:
    work = sum(shard.work for shard in shards)
    return f"{sum(shard.padded_work for shard in shards) / work - 1:.0%}" if work else "0%"


def _bytes(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
