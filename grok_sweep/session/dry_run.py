"""The plan of a sweep as a table: what would be trained, and what it would cost."""

import sys

from rich.console import Console
from rich.table import Table

from grok_sweep.core import effects
from grok_sweep.core.plan import Plan, Shard
from grok_sweep.core.program import Program
from grok_sweep.core.sweep import Sweep
from grok_sweep.errors import in_bytes
from grok_sweep.session.capacity import (
    JAX_MEMORY,
    disk_bytes,
    driver_bytes,
    of_weights,
    seconds,
    settled,
    workers_of,
)
from grok_sweep.terminal.progress import in_time

MOST_PROGRAMS = 40  # rows of the table; a million programs are counted, not listed


def show(sweep: Sweep, plan: Plan, finished: int = 0, free_disk: int | None = None) -> None:
    """Print programs, shards, lanes, operations, memory and time of `plan`, the part that is left.

    `free_disk`: bytes that are free where the results go, if that is known.
    """
    # Piped, the table keeps its numbers whole.
    console = Console(markup=False, highlight=False, width=None if sys.stdout.isatty() else 160)
    by_program: dict[Program, list[Shard]] = {}
    for shard in plan.shards:
        by_program.setdefault(shard.program, []).append(shard)
    swept = [key for key in sweep.axes if sweep.numbers[key].static]

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in (*swept, "rows", "runs", "shards", "lanes", "engine", "operations", "memory", "time"):
        table.add_column(heading, justify="right")
    in_order = sorted(by_program, key=lambda program: (*map(program.values.get, swept), program.rows))
    for program in in_order[:MOST_PROGRAMS]:
        shards = by_program[program]
        table.add_row(
            *(str(program.values[key]) for key in swept),
            str(program.rows),
            f"{sum(len(shard.index_R) for shard in shards):,}",
            f"{len(shards):,}",
            str(program.lanes),
            program.engine,
            f"{sum(shard.work for shard in shards):.2e}",
            in_bytes(program.bytes),
            in_time(sum(shard.seconds for shard in shards)),
        )
    if by_program:
        console.print(table)
    if len(by_program) > MOST_PROGRAMS:
        console.print(f"... and {len(by_program) - MOST_PROGRAMS:,} more programs")

    cluster = settled(sweep, plan).cluster
    workers = workers_of(cluster)
    where = "this process, without Ray" if cluster.executor == "inline" else "with Ray"
    disk = disk_bytes(sweep, plan)
    short = free_disk is not None and free_disk < disk
    too_little = f"; only {in_bytes(free_disk or 0)} are free there" if short else ""
    most = max((program.bytes for program in by_program), default=0)
    seeds = len(sweep.seeds)
    repeats = f" x {sweep.repeats:,} repeats" if sweep.repeats > 1 else ""
    console.print(
        f"\n{_copies(sweep, plan)}{plan.n_runs:,} runs to train"
        f" ({sweep.n_cells:,} cells x {seeds:,} seed{'s' * (seeds > 1)}{repeats}, {finished:,} finished)"
        f" in {len(by_program):,} program{'s' * (len(by_program) != 1)}, {len(plan.shards):,} shards\n"
        f"operations {plan.work:.2e} (estimate; one multiplication or addition each)\n"
        f"memory     {in_bytes(most)} on a worker at most, beside {in_bytes(JAX_MEMORY)} for jax itself;"
        f" {in_bytes(driver_bytes(sweep))} on the driver (estimate)\n"
        f"disk       {in_bytes(disk)}{of_weights(plan)} in {sweep.out} (estimate){too_little}\n"
        f"time       {in_time(seconds(plan, cluster, workers))} on {workers} {cluster.device}"
        f" worker{'s' * (workers > 1)}, {where} (estimate)"
        f"{_refined(sweep)}",
        soft_wrap=True,
    )


def _refined(sweep: Sweep) -> str:
    """A line of what may come after, where the sweep is refined."""
    if (refine := sweep.refine) is None:
        return ""
    return f"\nrefine     then {refine.budget:,} runs more at most, as boundaries along {refine.on} turn out"


def _copies(sweep: Sweep, plan: Plan) -> str:
    """A line of how many combinations of the grid fall together, and why; nothing where none do."""
    copies = sweep.n_combinations - sweep.n_runs
    if not copies:
        return ""
    off = effects.without_effect(sweep.model, plan.grid.columns)
    names = [name for name, off_R in off.items() if len({*sweep.axes.get(name, ())}) > 1 and off_R.any()]
    return (
        f"{sweep.n_combinations:,} combinations, of which {copies:,} would repeat others"
        f" ({', '.join(names)} without effect there): {sweep.n_runs:,} runs\n"
    )
