"""A grid into programs and shards, by a cost model. Pure: reads nothing, writes nothing.

A **program** is compiled once: its runs share every static hyperparameter, and are lanes of one vmap. Runs
that differ in train_size only may share a program: their rows are padded to the largest and masked. Whether
they do is decided by compile time against padded work.

A **shard** is what a worker does between two reports: some calls of one program. Shards are cut from the
whole grid and the finished runs dropped afterwards, so a resumed sweep has the shards of one never stopped.
"""

import dataclasses
import functools
import itertools
import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from grok_sweep import models, tasks
from grok_sweep.config import Sweep
from grok_sweep.grid import Grid
from grok_sweep.hyperparameters import HYPERPARAMETERS

PILOT_SECONDS = 3.0  # of the first shard, so that a person soon sees results, or that there will be none
SHARDS_AT_LEAST = 64  # of a sweep that is long enough for them


@dataclass(frozen=True)
class Costs:
    """What a device is good for. Measured on the machines of `make bench`; only their ratios matter."""

    operations_per_second: float
    step_seconds: float  # of one step of one call, whatever it holds: kernel launches, loops
    compile_seconds: float
    run_seconds: float  # of one run beside its training: data, initial weights, its rows of the tables
    call_bytes: float  # memory that the hidden layers of all lanes of a call may take together in a step
    logged_bytes: float  # and in a logged one, with the test rows
    block_bytes: float  # and that of one lane at a time; more rows are gone through in blocks


COSTS = {
    # One core. Hidden layers that leave the cache halve the speed, so a call has few lanes.
    "cpu": Costs(50e9, 15e-6, 2.0, 1e-3, 2**17, 2**30, 2**18),
    # All lanes at once: memory traffic and kernel launches are the cost. Not measured on one yet.
    "gpu": Costs(5e12, 100e-6, 10.0, 1e-3, 16e9, 16e9, math.inf),
    "tpu": Costs(5e12, 100e-6, 20.0, 1e-3, 8e9, 8e9, math.inf),
}


@dataclass(frozen=True)
class Program:
    """One compiled program. `rows`: training rows, padded; `lanes`: runs per call.

    `blocks`: parts in which a lane's rows are gone through, their gradients added up.
    """

    task: str
    model: str
    optimizer: str
    static: tuple[tuple[str, int], ...]  # every static hyperparameter but train_size
    rows: int
    steps: int
    log_every: int
    lanes: int
    blocks: int = 1

    @functools.cached_property
    def values(self) -> dict[str, float]:
        """The static hyperparameters, train_size as compiled."""
        return {**dict(self.static), "train_size": self.rows}

    @functools.cached_property
    def operations_per_row(self) -> int:
        """Of one training row in one step."""
        model = models.build(self.model, self.values)
        return model.operations(tasks.load(self.task).input_size(self.values))

    @property
    def bytes(self) -> int:
        """Memory of one call: hidden layers of training or test rows, and the rows themselves."""
        values = self.values
        rows = max(self.rows, values["test_size"])
        width = tasks.load(self.task).input_size(values)
        hidden = models.build(self.model, values).bytes_per_row()
        return int(self.lanes * (rows * hidden + 4 * width * (self.rows + values["test_size"])))


@dataclass(frozen=True)
class Shard:
    """Runs `index_R` of the grid, all of one program, and what they are estimated to cost."""

    program: Program
    index_R: np.ndarray
    work: float  # useful operations
    padded_work: float  # operations with padded rows and empty lanes
    seconds: float  # on one worker, compilation apart


@dataclass(frozen=True)
class Plan:
    """All shards of a sweep, in the order in which they are handed out."""

    grid: Grid
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

    def seconds(self, workers: int) -> float:
        """Estimated time on `workers` workers: the work spread evenly, and a compilation per program."""
        work = sum(shard.seconds for shard in self.shards)
        return (work + self.costs.compile_seconds * len(self.programs)) / workers


def make_plan(sweep: Sweep, grid: Grid) -> Plan:
    """Cut the whole grid into shards."""
    costs = COSTS[sweep.cluster.device]
    groups = [
        (_program(sweep, static, rows, len(group_R), costs), group_R)
        for static, index_R in _by_static(sweep, grid)
        for rows, group_R in _by_rows(sweep, static, grid.columns["train_size"], index_R, costs)
    ]
    # A short sweep has shards short enough that no worker is left idle for long at its end.
    total = sum(_shard(program, grid, group_R, costs).seconds for program, group_R in groups)
    shard_seconds = min(sweep.cluster.shard_seconds, max(PILOT_SECONDS, total / SHARDS_AT_LEAST))
    shards = [
        shard for program, group_R in groups for shard in _cut(program, grid, group_R, costs, shard_seconds)
    ]
    # Largest first, so that no long one is left for the end; but the very first is a small one.
    shards.sort(key=lambda shard: -shard.seconds)
    pilot = min(range(len(shards)), key=lambda i: shards[i].seconds)
    shards.insert(0, shards.pop(pilot))
    return Plan(grid, tuple(shards), costs)


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
            shards.append(_shard(shard.program, plan.grid, index_R, plan.costs))
    return Plan(plan.grid, tuple(shards), plan.costs)


def halve(plan: Plan, shard: Shard) -> list[Shard]:
    """`shard` at half its lanes, in two parts; nothing where it is one run in one lane."""
    runs, lanes = len(shard.index_R), shard.program.lanes
    if runs == lanes == 1:
        return []
    program = dataclasses.replace(shard.program, lanes=max(1, min(runs, lanes) // 2))
    parts = np.array_split(shard.index_R, min(2, runs))
    return [_shard(program, plan.grid, index_R, plan.costs) for index_R in parts]


def _by_static(sweep: Sweep, grid: Grid) -> Iterator[tuple[dict[str, int], np.ndarray]]:
    """The runs by their static hyperparameters but train_size: (values, indices), grid order kept."""
    names = [key for key in sweep.values if HYPERPARAMETERS[key].static and key != "train_size"]
    code_R = np.zeros(len(grid), np.int64)
    for name in names:
        if name in sweep.axes:
            values, inverse_R = np.unique(grid.columns[name], return_inverse=True)
            code_R = code_R * len(values) + inverse_R
    for index_R in _groups(code_R):
        yield {name: int(grid.columns[name][index_R[0]]) for name in names}, index_R


def _groups(code_R: np.ndarray) -> Iterator[np.ndarray]:
    """The positions of each distinct code, ascending within one."""
    order_R = np.argsort(code_R, kind="stable")
    starts = np.flatnonzero(np.diff(code_R[order_R])) + 1
    yield from np.split(order_R, starts)


def _by_rows(
    sweep: Sweep, static: Mapping[str, int], train_size_R: np.ndarray, index_R: np.ndarray, costs: Costs
) -> Iterator[tuple[int, np.ndarray]]:
    """Partition runs by train_size: (padded rows, indices). Neighbouring sizes share a program where
    the time that padding costs is less than that of another compilation; the cheapest partition overall.
    """
    sizes_S, inverse_R, runs_S = np.unique(train_size_R[index_R], return_inverse=True, return_counts=True)
    one_row = Program(sweep.task, sweep.model, sweep.optimizer, tuple(static.items()), 1, 1, 1, 1)
    row_seconds = one_row.operations_per_row * sweep.steps / costs.operations_per_second
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
        yield int(sizes_S[end - 1]), index_R[(inverse_R >= begin) & (inverse_R < end)]
        end = begin


def _program(sweep: Sweep, static: Mapping[str, int], rows: int, runs: int, costs: Costs) -> Program:
    """The program of `runs` runs, with as many lanes as the device likes, evenly filled."""
    model = models.build(sweep.model, static)
    row = model.bytes_per_row()
    fit = min(costs.call_bytes / (row * rows), costs.logged_bytes / (row * static["test_size"]))
    most = max(1, min(runs, int(fit)))
    # Measured for rows first: on one core 258 x 1750 goes from 49 to 65 GFLOP/s, 128 x 1250 from 83 to 93.
    blocks = 1 if model.features_first else math.ceil(row * rows / costs.block_bytes)
    return Program(
        task=sweep.task,
        model=sweep.model,
        optimizer=sweep.optimizer,
        static=tuple(static.items()),
        rows=rows,
        steps=sweep.steps,
        log_every=sweep.log_every,
        lanes=math.ceil(runs / math.ceil(runs / most)),
        blocks=max(1, min(rows, blocks)),
    )


def _cut(
    program: Program, grid: Grid, index_R: np.ndarray, costs: Costs, shard_seconds: float
) -> list[Shard]:
    """Shards of about `shard_seconds` each; the first of each program small enough to be the pilot."""
    call = _shard(program, grid, index_R[: program.lanes], costs).seconds
    calls = max(1, int(shard_seconds / call))
    first = max(1, min(calls, int(PILOT_SECONDS / call))) * program.lanes
    starts = [0, *range(first, len(index_R), calls * program.lanes), len(index_R)]
    return [
        _shard(program, grid, index_R[begin:end], costs)
        for begin, end in itertools.pairwise(starts)
        if begin < end
    ]


def _shard(program: Program, grid: Grid, index_R: np.ndarray, costs: Costs) -> Shard:
    calls = math.ceil(len(index_R) / program.lanes)
    row = float(program.operations_per_row * program.steps)
    work = row * float(grid.columns["train_size"][index_R].sum())
    padded = row * program.rows * calls * program.lanes
    # A logged step adds a forward pass, less than half of a step's work, over both kinds of rows.
    logged_rows = (program.rows + program.values["test_size"]) * calls * program.lanes
    logged = 0.5 * program.operations_per_row * logged_rows * (program.steps // program.log_every + 1)
    seconds = (padded + logged) / costs.operations_per_second + calls * program.steps * costs.step_seconds
    seconds += len(index_R) * costs.run_seconds
    return Shard(program, index_R, work, padded, seconds)
