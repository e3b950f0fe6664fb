"""A grid into programs and shards, by a cost model. Pure: reads nothing, writes nothing.

A **program** is compiled once: its runs share every static hyperparameter and the number of test rows, and
are lanes of one vmap. Runs that differ in their training rows only may share a program: rows are padded to
the most and masked. Whether they do is decided by compile time against padded work.

A **shard** is what a worker does between two reports: some calls of one program. Shards are cut from the
whole grid and the finished runs dropped afterwards, so a resumed sweep has the shards of one never stopped.
"""

import dataclasses
import itertools
import math
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from grok_sweep.core import effects, engines, registry
from grok_sweep.core.costs import COSTS, Costs
from grok_sweep.core.grid import Grid, expand
from grok_sweep.core.parts import Values
from grok_sweep.core.program import Program
from grok_sweep.core.sweep import Sweep

PILOT_SECONDS = 3.0  # of the first shard, so that a person soon sees results, or that there will be none
SHARDS_AT_LEAST = 64  # of a sweep that is long enough for them
CALLS_THAT_END = 3  # of a shard whose runs are ended early: so that some wait for the lanes of others
MOST_FILES = 10_000  # of a sweep, about: beyond, its shards are longer than cluster.shard_seconds
SNAPSHOT_BYTES = 32_000_000  # of recorded weights in a shard at most: they go through memory as a whole


@dataclass(frozen=True)
class Shard:
    """Runs `index_R` of the grid, all of one program, and what they are estimated to cost."""

    program: Program
    index_R: np.ndarray
    work: float  # useful operations
    padded_work: float  # operations with padded rows and empty lanes
    seconds: float  # on one worker, compilation apart
    shared_seconds: float  # of these, what threads of a worker may share


@dataclass(frozen=True)
class Plan:
    """All shards of a sweep, in the order in which they are handed out."""

    grid: Grid
    rows_R: np.ndarray  # training rows of each run of the grid
    shards: tuple[Shard, ...]
    costs: Costs

    @property
    def programs(self) -> list[Program]:
        """The distinct programs, in order of first use."""
        return list(dict.fromkeys(shard.program for shard in self.shards))

    @property
    def work(self) -> float:
        """Useful operations of all shards."""
        return sum(shard.work for shard in self.shards)

    @property
    def n_runs(self) -> int:
        """Runs of all shards."""
        return sum(len(shard.index_R) for shard in self.shards)

    @property
    def run_ids(self) -> set[str]:
        """Of the runs of all shards."""
        ids = self.grid.columns["run_id"]
        return {run_id for shard in self.shards for run_id in ids[shard.index_R].tolist()}

    @property
    def snapshot_bytes(self) -> int:
        """Of the recorded weights of all runs."""
        return sum(len(shard.index_R) * shard.program.snapshot_bytes for shard in self.shards)

    def seconds(self, workers: int, threads: int = 1) -> float:
        """Estimated time on `workers` workers of `threads` each, with a compilation per program.

        The work spread evenly, but no less than the longest shard.
        """
        shards = [self._seconds(shard, threads) for shard in self.shards]
        spread = (sum(shards) + self.costs.compile_seconds * len(self.programs)) / workers
        return max(spread, max(shards) + self.costs.compile_seconds) if shards else 0.0

    def _seconds(self, shard: Shard, threads: int) -> float:
        """Of a shard on a worker of some threads, which share the lanes of a native call."""
        lanes = shard.program.lanes
        return shard.seconds - shard.shared_seconds * (1 - math.ceil(lanes / threads) / lanes)


def make_plan(sweep: Sweep, grid: Grid, times: int = 1) -> Plan:
    """Cut the whole grid into shards. `times`: how many runs each of the grid stands for (see `outline`)."""
    costs = COSTS[sweep.cluster.device]
    if sweep.stop_when_decided:  # a lane is worth more where others wait for it
        costs = dataclasses.replace(costs, native_lanes=costs.native_lanes / 2)
    rows_R, test_rows_R = _row_counts(sweep, grid)
    groups = [
        (dataclasses.replace(widest, lanes=lanes, blocks=blocks), group_R)
        for program, index_R in _by_static(sweep, grid, rows_R, test_rows_R)
        for widest, group_R in _by_rows(program, rows_R, np.repeat(index_R, times), costs)
        for lanes, blocks in [_call(widest, len(group_R), costs)]
    ]
    # A short sweep has shards short enough that no worker is left idle for long at its end.
    total = sum(_shard(program, rows_R, group_R, costs).seconds for program, group_R in groups)
    most = min(sweep.cluster.shard_seconds, max(PILOT_SECONDS, total / SHARDS_AT_LEAST))
    least = total * (3 if sweep.snapshot_every else 2) / MOST_FILES
    length = most, least, CALLS_THAT_END if sweep.stop_when_decided else 1
    shards = [
        shard for program, group_R in groups for shard in _cut(program, rows_R, group_R, costs, *length)
    ]
    # Largest first, so that no long one is left for the end; but the very first is a small one.
    shards.sort(key=lambda shard: -shard.seconds)
    pilot = min(range(len(shards)), key=lambda i: shards[i].seconds)
    shards.insert(0, shards.pop(pilot))
    return Plan(grid, rows_R, tuple(shards), costs)


def outline(sweep: Sweep) -> Plan:
    """The plan of a grid that is not expanded, for its costs: its programs, shards and operations are right.

    Only what shapes and numbers of rows depend on is expanded (see `few`); a run of it stands for all others.
    """
    outlined = few(sweep)
    return make_plan(outlined, expand(outlined), sweep.n_runs // outlined.n_runs)


def few(sweep: Sweep) -> Sweep:
    """The sweep with the first value alone of each axis that neither shapes nor numbers of rows depend on."""
    shapes = {*registry.find("task", sweep.task, sweep.source).numbers}
    shapes |= {key for key, number in sweep.numbers.items() if number.static}
    loops = [{key: sweep.axes[key] for key in loop} for loop in sweep.loops]
    kept = {i for i, loop in enumerate(loops) if shapes & loop.keys()}
    kept |= {*effects.concerned(sweep.model, loops)}
    axes = {key: values for i in kept for key, values in loops[i].items()}
    first = {key: values[0] for key, values in sweep.axes.items()}
    return dataclasses.replace(
        sweep,
        axes={key: values for key, values in sweep.axes.items() if key in axes},
        values={**sweep.values, **first},
        together=tuple(keys for keys in sweep.together if axes.keys() >= {*keys}),
        seeds=sweep.seeds[:1],
        repeats=1,
    )


def unfinished(plan: Plan, finished: Collection[str]) -> Plan:
    """`plan` less the runs whose run_id is in `finished`; the other shards stay as they are."""
    if not finished:
        return plan
    left_R = ~np.isin(plan.grid.columns["run_id"], np.array(sorted(finished), dtype="U16"))
    shards = []
    for shard in plan.shards:
        index_R = shard.index_R[left_R[shard.index_R]]
        if len(index_R) == len(shard.index_R):
            shards.append(shard)
        elif len(index_R):
            shards.append(_shard(shard.program, plan.rows_R, index_R, plan.costs))
    return Plan(plan.grid, plan.rows_R, tuple(shards), plan.costs)


def halve(plan: Plan, shard: Shard) -> list[Shard]:
    """`shard` at half its lanes, in two parts; nothing where it is one run in one lane."""
    runs, lanes = len(shard.index_R), shard.program.lanes
    if runs == lanes == 1:
        return []
    program = dataclasses.replace(shard.program, lanes=max(1, min(runs, lanes) // 2))
    halves = np.array_split(shard.index_R, min(2, runs))
    return [_shard(program, plan.rows_R, index_R, plan.costs) for index_R in halves]


def _by_static(
    sweep: Sweep, grid: Grid, rows_R: np.ndarray, test_rows_R: np.ndarray
) -> Iterator[tuple[Program, np.ndarray]]:
    """The runs by their static hyperparameters and test rows, grid order kept.

    With a program for each of one lane and the rows of the largest: `_by_rows` and `_call` say what it has.
    """
    names = [key for key in sweep.values if sweep.numbers[key].static]
    task = registry.find("task", sweep.task, sweep.source)
    swept = [grid.columns[name] for name in names if name in sweep.axes]
    for index_R in _groups(_codes([*swept, test_rows_R], len(grid))):
        first = index_R[0]
        static = tuple((name, grid.columns[name][first].item()) for name in names)
        program = Program(
            task=sweep.task,
            model=sweep.model,
            optimizer=sweep.optimizer,
            static=static,
            rows=int(rows_R[index_R].max()),
            test_rows=int(test_rows_R[first]),
            steps=sweep.steps,
            log_every=sweep.log_every,
            lanes=1,
            snapshot_every=sweep.snapshot_every or 0,
            batch_size=sweep.batch_size or 0,
            given_row=task.row(_values(sweep, grid, first)),
            source=sweep.source,
            device=sweep.cluster.device,
        )
        yield dataclasses.replace(program, engine=engines.chosen(program, sweep.engine)), index_R


def _codes(columns: Iterable[np.ndarray], runs: int) -> np.ndarray:
    """A whole number for each run, the same where all columns are."""
    code_R = np.zeros(runs, np.int64)
    for column_R in columns:
        if column_R.strides != (0,):  # else it is a constant
            values, inverse_R = np.unique(column_R, return_inverse=True)
            code_R = code_R * len(values) + inverse_R
    return code_R


def _values(sweep: Sweep, grid: Grid, run: int) -> Values:
    """The hyperparameters of a run, Python's numbers."""
    values = {name: grid.columns[name][run].item() for name in sweep.values}
    return Values({**values, "steps": sweep.steps})


def _row_counts(sweep: Sweep, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """The training and test rows of each run; the task is asked once for each of its settings."""
    task = registry.find("task", sweep.task, sweep.source)
    code_R = _codes((grid.columns[name] for name in task.numbers), len(grid))
    _, first_S, setting_R = np.unique(code_R, return_index=True, return_inverse=True)
    counts_S2 = np.array([task.rows(_values(sweep, grid, run)) for run in first_S], np.int64)
    return counts_S2[setting_R, 0], counts_S2[setting_R, 1]


def _groups(code_R: np.ndarray) -> Iterator[np.ndarray]:
    """The positions of each distinct code, ascending within one."""
    order_R = np.argsort(code_R, kind="stable")
    starts = np.flatnonzero(np.diff(code_R[order_R])) + 1
    yield from np.split(order_R, starts)


def _by_rows(
    program: Program, rows_R: np.ndarray, index_R: np.ndarray, costs: Costs
) -> Iterator[tuple[Program, np.ndarray]]:
    """Partition runs by training rows: programs of padded rows. Neighbouring sizes share one where the time
    that padding costs is less than that of another compilation; the cheapest partition overall.
    """
    sizes_S, inverse_R, runs_S = np.unique(rows_R[index_R], return_inverse=True, return_counts=True)
    # An epoch has as many batches as there are rows for, and a user's metric sees the rows: none is padding.
    if program.batch_size or program.metrics:
        for i, size in enumerate(sizes_S):
            yield dataclasses.replace(program, rows=int(size)), index_R[inverse_R == i]
        return
    row_seconds = program.operations_per_row * program.steps / costs.rate(program)
    runs_before = np.concatenate([[0], np.cumsum(runs_S)])
    # cheapest[j]: least seconds of the j smallest sizes, cut[j]: where their last program begins.
    cheapest, cut = [0.0], [0]
    for j in range(1, len(sizes_S) + 1):
        padded = (runs_before[j] - runs_before[:j]) * sizes_S[j - 1] * row_seconds
        totals = np.array(cheapest) + costs.compile_seconds + padded
        cut.append(int(np.argmin(totals)))
        cheapest.append(float(totals[cut[j]]))
    end = len(sizes_S)
    while end:
        begin = cut[end]
        group_R = index_R[(inverse_R >= begin) & (inverse_R < end)]
        yield dataclasses.replace(program, rows=int(sizes_S[end - 1])), group_R
        end = begin


def by_xla(program: Program) -> Program:
    """A program that was planned for the native engine, where there is none: as many lanes as XLA likes."""
    program = dataclasses.replace(program, engine="xla")
    lanes, blocks = _call(program, program.lanes, COSTS[program.device])
    return dataclasses.replace(program, lanes=lanes, blocks=blocks)


def _call(program: Program, runs: int, costs: Costs) -> tuple[int, int]:
    """(lanes, blocks) of a program of `runs` runs: as many lanes as the device likes, evenly filled."""
    row = program.built.bytes_per_row(program.row) * program.number_bytes // 4 + costs.row_bytes
    logged = max(program.test_rows, program.rows if program.batch_size else 0)
    fit = min(costs.call_bytes / (row * program.step_rows), costs.logged_bytes / (row * logged))
    if program.engine == "native" and program.device == "cpu":
        # Of modular addition it gives every logit of all rows where a step is logged.
        every = row * (program.rows + program.test_rows) if engines.of_modular(program) else 0
        fit = min(costs.native_lanes, costs.logged_bytes / max(1, every))
    if program.snapshot_every:
        fit = min(fit, SNAPSHOT_BYTES / program.snapshot_bytes)
    most = max(1, min(runs, int(fit)))
    # Measured for rows first: on one core 258 x 1750 goes from 49 to 65 GFLOP/s, 128 x 1250 from 83 to 93.
    whole = program.built.features_first or program.batch_size or program.engine == "native"
    blocks = 1 if whole else math.ceil(row * program.rows / costs.block_bytes)
    return math.ceil(runs / math.ceil(runs / most)), max(1, min(program.rows, blocks))


def _cut(
    program: Program,
    rows_R: np.ndarray,
    index_R: np.ndarray,
    costs: Costs,
    most_seconds: float,
    least_seconds: float,
    least_calls: int,
) -> list[Shard]:
    """Shards of about `most_seconds`, but of no less than is given; the first of each program is a pilot."""
    call = _shard(program, rows_R, index_R[: program.lanes], costs).seconds
    calls = max(least_calls, int(most_seconds / call), math.ceil(least_seconds / call))
    if program.snapshot_every:
        calls = max(1, min(calls, SNAPSHOT_BYTES // (program.lanes * program.snapshot_bytes)))
    first = max(1, min(calls, int(PILOT_SECONDS / call))) * program.lanes
    starts = [0, *range(first, len(index_R), calls * program.lanes), len(index_R)]
    return [
        _shard(program, rows_R, index_R[begin:end], costs)
        for begin, end in itertools.pairwise(starts)
        if begin < end
    ]


def _shard(program: Program, rows_R: np.ndarray, index_R: np.ndarray, costs: Costs) -> Shard:
    calls = math.ceil(len(index_R) / program.lanes)
    once = program.step_operations(0)
    rows = float(program.batch_size * len(index_R) or rows_R[index_R].sum())
    work = program.steps * (program.operations_per_row * rows + once * len(index_R))
    padded = program.steps * float(program.step_operations(program.step_rows)) * calls * program.lanes
    # A logged step adds a forward pass, less than half of a step's work, over both kinds of rows.
    logged_rows = program.step_operations(program.rows + program.test_rows) * calls * program.lanes
    every_step = any(metric.start is not None for metric in program.metrics.values())
    logged = 0.5 * logged_rows * (program.steps if every_step else program.steps // program.log_every + 1)
    step = costs.step_seconds + program.lanes * costs.beside(program)
    kernel = (padded + logged) / costs.rate(program)
    seconds = kernel + calls * program.steps * step + len(index_R) * costs.run_seconds
    return Shard(program, index_R, work, padded, seconds, kernel if program.engine == "native" else 0.0)
