"""What a config describes: one frozen object."""

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from grok_sweep.core import effects
from grok_sweep.core.number import Number
from grok_sweep.core.source import Source


@dataclass(frozen=True)
class Cluster:
    """Where and how shards run. `address` None: Ray is started here; `workers` None: one per core.

    `executor`: ray, inline, or auto, which the plan settles (see `session.capacity.settled`).

    A worker that has not answered for `deadline_seconds`, nor for `deadline_factor` times what its shard is
    estimated to take, hangs.
    """

    executor: str
    device: str
    shard_seconds: float
    address: str | None = None
    workers: int | None = None
    workers_per_gpu: int = 1
    max_retries: int = 0
    deadline_factor: float = 10.0
    deadline_seconds: float = 300.0


@dataclass(frozen=True)
class Refine:
    """At most `budget` runs beyond the grid, where boundaries between phases along axis `on` are least sure.

    `width`: of an interval that is narrow enough, a factor of an axis that is spaced evenly in its
    logarithms, else a difference; None: none is, until the budget is spent.
    """

    on: str
    budget: int
    width: float | None = None


@dataclass(frozen=True)
class Sweep:
    """A whole sweep. `values` has every hyperparameter; where it is an axis too, `axes` decides.

    `together`: which axes change together, if any. `definition`: of phases, and its `thresholds`. `numbers`:
    what each hyperparameter is; `source`: the user's file that some of the parts are from.
    """

    name: str
    task: str
    model: str
    optimizer: str
    values: Mapping[str, float]
    axes: Mapping[str, tuple[float, ...]]
    together: tuple[tuple[str, ...], ...]
    seeds: Sequence[int]  # a range where a count was given: it takes no room
    steps: int
    log_every: int
    snapshot_every: int | None
    batch_size: int | None  # rows of a mini-batch; None: all
    out: str  # a path, or a URI of pyarrow.fs
    only: str | None  # a query on the cells of the folder that are trained; None: all
    dry_run: bool
    retry_crashed: bool
    fail_fast: bool
    report: str | None
    cluster: Cluster
    definition: str
    thresholds: Mapping[str, float]
    numbers: Mapping[str, Number]
    source: Source | None = None
    accept_code: bool = False
    stop_when_decided: bool = False
    repeats: int = 1  # how often each run is trained, its training rows in another order each time
    refine: Refine | None = None
    redo: bool = False  # the finished runs that `only`, then a query on runs, chooses are trained again
    engine: str = "auto"  # of its programs: xla, native, or native for those it knows

    @property
    def loops(self) -> list[tuple[str, ...]]:
        """The axes as the grid goes through them: each a tuple of axes that change together."""
        return loops_of(self.axes, self.together)

    @functools.cached_property
    def n_cells(self) -> int:
        """Combinations of the axes but for those that repeat others (see effects); a run of each per seed."""
        loops = [{key: self.axes[key] for key in loop} for loop in self.loops]
        return effects.n_cells(self.model, self.values, loops)

    @property
    def n_combinations(self) -> int:
        """Combinations of the axes, seeds and repeats, those that repeat others too."""
        return math.prod(len(self.axes[loop[0]]) for loop in self.loops) * len(self.seeds) * self.repeats

    @property
    def n_runs(self) -> int:
        """Runs of the whole grid."""
        return self.n_cells * len(self.seeds) * self.repeats


def loops_of(
    axes: Mapping[str, tuple[float, ...]], together: Sequence[Sequence[str]]
) -> list[tuple[str, ...]]:
    """See `Sweep.loops`; in the order of the axes."""
    loops = (next((keys for keys in together if key in keys), [key]) for key in axes)
    return list(dict.fromkeys(tuple(key for key in loop if key in axes) for loop in loops))
