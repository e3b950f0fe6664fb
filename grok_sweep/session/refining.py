"""What `refine` trains beyond the grid, in rounds: values and seeds where a boundary is least sure."""

import itertools
import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from analysis import boundaries, load_curves, load_runs
from analysis.boundary import COLUMNS
from analysis.words import in_words, plural
from grok_sweep.core.grid import expand
from grok_sweep.core.number import Number
from grok_sweep.core.parts import PartError
from grok_sweep.core.spans import is_log
from grok_sweep.core.sweep import Refine, Sweep
from grok_sweep.session import provenance, sorting
from grok_sweep.session.left import crashed_runs
from grok_sweep.session.selection import sessions_of
from grok_sweep.store import Store

MOST_NAMED = 5  # boundaries of a round that are said one by one
DIGITS = 4  # of a value between two others: more tell nobody anything
Between = Callable[[float, float], float | None]


@dataclass(frozen=True)
class Wish:
    """What makes a boundary surer: these values of the axis at the combination `at`, so many seeds of each.

    `width`: of the boundary's interval now, a factor of an axis that is logarithmic, else a difference.
    """

    at: Mapping[str, float]
    values: tuple[float, ...]
    seeds: int
    width: float


@dataclass(frozen=True)
class Round:
    """The sweep with all values and seeds of by now, the run_ids trained next, and what to say of it.

    No run_ids: there is none.
    """

    sweep: Sweep
    run_ids: frozenset[str]
    words: str


def next_round(
    sweep: Sweep, results: Store, say: Callable[[str], None], tried: Collection[str] = ()
) -> Round | None:
    """What is to be trained next, but for runs `tried` already: it is said, or why there is nothing.

    None too where nothing is to be refined, and after a crash that is to end the sweep.
    """
    if sweep.refine is None or not (finished := results.finished()):
        return None
    if sweep.fail_fast and len(crashed_runs(results, None, finished)):
        return None
    try:
        found = _planned(sweep, sweep.refine, results, tried)
    except (PartError, ValueError) as error:
        say(f"refine: {error}")
        return None
    say(found.words)
    return found if found.run_ids else None


def _planned(sweep: Sweep, refine: Refine, results: Store, tried: Collection[str]) -> Round:
    """The round that the runs which are there make.

    In the order of the widest interval, until the budget is spent. What crashed in an earlier session is
    tried again where `retry_crashed` says so. It depends on the runs that are there alone: a round that was
    broken off is planned anew with them. Raises PartError where a definition of the user's own does not work,
    ValueError where there are no boundaries to be found.
    """
    axis, all_runs = refine.on, results.runs()
    runs = load_runs(sweep.out)
    values = sorted(sweep.axes[axis])
    runs = runs[runs[axis].between(values[0], values[-1])]  # others are of an earlier grid
    whole = with_more(sweep, axis, runs[axis].tolist(), runs["seed"].tolist())
    runs = runs[runs["run_id"].isin(expand(whole).columns["run_id"])].reset_index(drop=True)
    phases = sorting.phases(sweep, runs, lambda: load_curves(sweep.out, runs["run_id"]))
    log = is_log(values)
    wishes, known = wanted(phases, axis, log, refine.width, between(sweep.numbers[axis], log))
    refined = sessions_of(all_runs).isin(provenance.refined(results.sweep(), axis))
    spent = int((refined & ~all_runs["run_id"].isin(expand(sweep).columns["run_id"])).sum())
    done = {*all_runs["run_id"]}.union(tried, () if sweep.retry_crashed else results.crashed()["run_id"])
    chosen: set[str] = set()
    which: list[str] = []
    for wish in wishes:
        seeds = _seeds(sweep, wish.seeds)
        wider = with_more(whole, axis, wish.values, seeds)
        more = chosen | (_runs_of(wider, axis, wish, seeds) - done)
        if len(more) > len(chosen) and spent + len(more) <= refine.budget:
            which.append(f"  {_named(wish, axis)}: {plural(len(more) - len(chosen), 'run')}")
            whole, chosen = wider, more
    rest = [f"  ... and {len(which) - MOST_NAMED:,} more"] if len(which) > MOST_NAMED else []
    words = [_told(refine, log, wishes, known, len(chosen), spent), *which[:MOST_NAMED], *rest]
    return Round(whole, frozenset(chosen), "\n".join(words))


def _named(wish: Wish, axis: str) -> str:
    """`hidden_size 16: weight_decay 0.055, 9 seeds`, or of several values the first and the last."""
    at = ", ".join(f"{name} {in_words(value)}" for name, value in wish.at.items())
    first, *_, last = wish.values * 2
    between = in_words(first) if first == last else f"{in_words(first)} to {in_words(last)}"
    return f"{at}{': ' * bool(at)}{axis} {between}, {plural(wish.seeds, 'seed')}"


def _told(refine: Refine, log: bool, wishes: list[Wish], known: int, chosen: int, spent: int) -> str:
    factor = "a factor of " if log else ""
    budget = f"{spent:,} of {refine.budget:,} runs of the budget"
    total = f"{len(wishes) + known:,} boundaries along {refine.on}"
    if not wishes and not known:
        return f"refine: no phase becomes another along {refine.on} here; {budget} are spent"
    if not wishes:
        known_to = f"are known to {factor}{refine.width:g} or better"
        return f"refine: all {total} {known_to}; {budget} were enough"
    wide = f"refine: {len(wishes):,} of {total} could be surer"
    wide += f", the widest known to {factor}{wishes[0].width:.3g}"
    if chosen:
        return f"{wide}: {plural(chosen, 'run')} more; {budget} are spent"
    return f"{wide}; {budget} are spent, and no round of the rest is left"


def wanted(
    phases: pd.DataFrame, axis: str, log: bool, width: float | None, between: Between
) -> tuple[list[Wish], int]:
    """What makes boundaries along `axis` surer wider than `width`, the widest first; how many are not.

    `log`: distances are of logarithms; `width`: a factor then, else a difference; None: none is narrow
    enough. `between`: a value between two, None where there is none. Of each boundary (see
    `analysis.boundaries`) the widest gap that its interval reaches into gets a value in the middle, with as
    many seeds as its ends have. Where no gap is wider than half of `width`, or without that than a quarter of
    the interval, seeds tell more: all values that the interval reaches get half as many again. Raises
    ValueError as `boundaries` does.
    """
    table = boundaries(phases, axis, log=log)
    by = [str(name) for name in table if name not in COLUMNS]
    wishes, known = [], 0
    for row in table[table["below"].astype(str) != table["above"].astype(str)].to_dict("records"):
        at = {name: row[name] for name in by}
        here = phases[np.logical_and.reduce([phases[axis].notna(), *(phases[k] == v for k, v in at.items())])]
        seeds = here.groupby(axis)["seed"].nunique()
        limit = width if not np.isnan(row["value"]) else None  # what is not found is not known
        wish = _wish(at, seeds, (row["low"], row["high"]), log, limit, between)
        known += wish is None
        wishes += [wish] if wish else []
    return sorted(wishes, key=lambda wish: -wish.width), known


def _wish(
    at: Mapping[str, float],
    seeds: pd.Series,
    interval: tuple[float, float],
    log: bool,
    width: float | None,
    between: Between,
) -> Wish | None:
    """Of one boundary; `seeds`: how many each value of the axis has, ascending. None: it is narrow enough."""
    to, back = (np.log, np.exp) if log else (np.asarray, np.asarray)
    u_J = to(seeds.index.to_numpy(float))
    with np.errstate(divide="ignore"):
        low, high = np.clip(to(np.array(interval)), u_J[0], u_J[-1])
    size = high - low
    enough = 0.0 if width is None else float(to(width))
    if width is not None and size <= enough * (1 + 1e-9):
        return None
    first = max(0, int(np.searchsorted(u_J, low, "right")) - 1)
    last = max(first, min(len(u_J) - 1, int(np.searchsorted(u_J, high, "left"))))
    fine = enough / 2 if width is not None else size / 4
    for gap, j in sorted(((u_J[j + 1] - u_J[j], j) for j in range(first, last)), reverse=True):
        middle = between(*seeds.index[j : j + 2]) if gap > fine else None
        if middle is not None:
            return Wish(at, (middle,), int(seeds.iloc[j : j + 2].max()), float(back(size)))
    inside = seeds.iloc[first : last + 1]
    n = int(inside.max())
    return Wish(at, tuple(inside.index), n + max(2, n // 2), float(back(size)))


def between(number: Number, log: bool) -> Between:
    """A value of a hyperparameter in the middle of two, in few digits; None where there is none."""

    def middle(low: float, high: float) -> float | None:
        exact = math.sqrt(low * high) if log else (low + high) / 2
        value = number.canonical(round(exact) if number.kind is int else float(f"{exact:.{DIGITS}g}"))
        return value if low < value < high and not number.problem(value) else None

    return middle


def with_more(sweep: Sweep, axis: str, values: list[float] | tuple[float, ...], seeds: list[int]) -> Sweep:
    """The sweep with these values of an axis and these seeds too."""
    every = sorted({*sweep.axes[axis], *map(sweep.numbers[axis].canonical, values)})
    all_seeds = tuple(dict.fromkeys([*sweep.seeds, *seeds]))
    return replace(sweep, axes={**sweep.axes, axis: tuple(every)}, seeds=all_seeds)


def _seeds(sweep: Sweep, many: int) -> list[int]:
    """The first so many: those of the sweep, then the whole numbers from 0 on that it does not have."""

    def every() -> Iterator[int]:
        yield from sweep.seeds
        yield from (seed for seed in itertools.count() if seed not in sweep.seeds)

    return [*itertools.islice(every(), many)]


def _runs_of(sweep: Sweep, axis: str, wish: Wish, seeds: list[int]) -> set[str]:
    """The run_ids of a wish, of a sweep that has its values and seeds."""
    columns = expand(sweep).columns
    is_in = np.isin(columns[axis], wish.values) & np.isin(columns["seed"], seeds)
    for name, value in wish.at.items():
        is_in &= columns[name] == value
    return {*columns["run_id"][is_in].tolist()}
