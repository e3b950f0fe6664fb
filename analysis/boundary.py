"""Where along an axis one phase becomes another, and how sure that is."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, pairwise
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from analysis.cells import axes, cells, check_axis
from analysis.load import need, unclaimed
from analysis.logistic import fit
from analysis.phases import looks
from analysis.resampling import resamples, wider
from analysis.words import plural
from grok_sweep.core.spans import is_log

FEWEST = 4  # seeds, by which more than half of the runs can be known to be in a phase
CERTAIN = 0.975  # share of the resamples in which one phase is on the same side of the other
COLUMNS = ["below", "above", "value", "low", "high"]


class Stretch(NamedTuple):
    """Neighbouring values of the axis, by place, at which a phase is the majority."""

    phase: str
    begin: int
    end: int


class Bend(NamedTuple):
    """Of one combination: the phases below and above, the critical value and its interval, in the axis.

    `gap`: from the last value with the one phase in the majority to the first with the other, between which
    any number is as good; `each_B`: the critical value in each resample, in the axis or its logarithm.
    """

    below: str
    above: str
    value: float
    low: float
    high: float
    gap: tuple[float, float] = (-np.inf, np.inf)
    each_B: np.ndarray = np.empty(0)
    seeds: int = 0  # that have runs of either phase


def boundaries(
    phases: pd.DataFrame, axis: str, by: Sequence[str] | None = None, *, log: bool | None = None
) -> pd.DataFrame:
    """Where along `axis` the majority of runs goes from one phase to another, for all combinations of `by`.

    A row for each combination and each place where the majority changes from one value of the axis to the
    next; where it goes there and back, and the two intervals overlap, it does not change. Columns: `by`
    (default: the other axes of `cells`, less those that change together with it); below and above, the phases
    on either side; value, at which a run in one of the two is as likely in one as in the other, by logistic
    regression in the axis, or in its logarithm (`log`; None: where that is spaced more evenly), over the
    values that have the two for majority, with the penalty of D. Firth (Biometrika 80, 1993, 27-38), without
    which a clean step has no slope; low and high, its interval of 95 %.

    That is by 1,000 resamples of the combination's seeds, the same for all that have as many, as they share
    data and initial weights: percentiles, wider by Student's t for few seeds (T. C. Hesterberg, The American
    Statistician 69, 2015, 371-386), and at least from the last value with the one phase in the majority to
    the first with the other. 0 (-inf of an axis that is not logarithmic) or inf where there is no bound, as
    with fewer than four seeds: `wilson`'s interval of three of three reaches below a half. Where the
    resamples do not agree that the majority changes, value is nan. Where no boundary is found, below and
    above are the phase that has the majority but for chance, and value is nan; low and high are the outermost
    values at which its interval is above a half, nan where there are none or it has no majority somewhere.

    Raises ValueError where `axis` is no axis of numbers with two values or more, a column is missing, or a
    combination has several runs of a seed at one value.
    """
    phases, by = checked(phases, axis, by)
    use_log = is_log(np.sort(phases[axis].unique())) if log is None else log
    rows = [[*key, *bend[:5]] for key, bend in each_bend(phases, axis, by, use_log)]
    table = pd.DataFrame(rows, columns=[*by, *COLUMNS])
    names = [*looks(phases)]
    for side in ("below", "above"):
        table[side] = pd.Categorical(table[side], categories=names)
    table.attrs = {**phases.attrs, "axis": axis, "log": use_log}
    return table


def checked(phases: pd.DataFrame, axis: str, by: Sequence[str] | None) -> tuple[pd.DataFrame, list[str]]:
    """(the runs that have a phase and a value of the axis, `by`), or ValueError: see `boundaries`."""
    need(phases, ["phase", "seed"], "a table of phases")
    check_axis(phases, axis, "boundary")
    phases = phases[phases["phase"].notna() & phases[axis].notna()]
    others = (name for name in axes(phases) if name != axis and not _changes_with(phases, name, axis))
    by = [*others] if by is None else [*by]
    unclaimed([axis, *by], COLUMNS)
    if phases.duplicated([*by, axis, "seed"]).any():
        raise ValueError(f"boundary: there are several runs of one seed, {', '.join([axis, *by])}")
    return phases, by


def each_bend(
    phases: pd.DataFrame,
    axis: str,
    by: list[str],
    use_log: bool,
    drawn: tuple[np.ndarray, np.ndarray] | None = None,
) -> Iterator[tuple[tuple[Any, ...], Bend]]:
    """(the values of `by`, a boundary) of each combination.

    `drawn`: seeds, and how often each of them is in each resample; None: those that a combination has, which
    may have more than others where it was refined.
    """
    groups: Any = phases.groupby(by, dropna=False, observed=True) if by else [((), phases)]
    for key, here in groups:
        own = here["seed"].unique()
        for bend in _bends(here, axis, use_log, *(drawn or (own, resamples(len(own))))):
            yield key, bend


def _changes_with(phases: pd.DataFrame, name: str, axis: str) -> bool:
    """Whether a column changes together with the axis: it has one value at each of its."""
    at_each = phases.groupby(axis)[name].nunique(dropna=False)
    return bool(phases[name].nunique(dropna=False) > 1 and at_each.max() == 1)


def _bends(
    here: pd.DataFrame, axis: str, use_log: bool, seeds: np.ndarray, weights_BS: np.ndarray
) -> Iterator[Bend]:
    """Of the runs of one combination."""
    by_value = cells(here, [axis])
    values_J = by_value[axis].to_numpy(float)
    by_seed = here.pivot_table(index="seed", columns=axis, values="phase", aggfunc="first", observed=True)
    phase_SJ: np.ndarray = by_seed.reindex(index=seeds).to_numpy(object)
    u_J, back = (np.log(values_J), np.exp) if use_log else (values_J, np.asarray)

    def between(one: Stretch, other: Stretch) -> Bend:
        here = slice(one.begin, other.end)
        is_one_SJ, is_other_SJ = (phase_SJ[:, here] == name for name in (one.phase, other.phase))
        return _bend(u_J[here], is_one_SJ, is_other_SJ, weights_BS, (one.phase, other.phase))

    stretches = _stretches(by_value["majority"].astype(str))
    while True:
        bends = [between(*pair) for pair in pairwise(stretches)]
        sure = [not np.isnan(bend.value) for bend in bends]
        for i in range(1, len(stretches) - 1):
            before, after = stretches[i - 1], stretches[i + 1]
            apart = sure[i - 1] and sure[i] and bends[i - 1].high <= bends[i].low
            if before.phase == after.phase and not apart:  # there and back may be chance
                stretches[i - 1 : i + 2] = [Stretch(before.phase, before.begin, after.end)]
                break
        else:
            break
    for bend in bends:
        with np.errstate(over="ignore"):  # a curve without a slope has its middle anywhere
            value, low, high = (float(back(number)) for number in (bend.value, bend.low, bend.high))
        yield bend._replace(value=value, low=low, high=high)
    if not bends:
        (only,) = stretches
        sure_J = values_J[by_value[f"low_{only.phase}"] > 0.5]
        is_one = len(sure_J) > 0 and by_value["majority"].nunique() == 1
        low, high = (sure_J[0], sure_J[-1]) if is_one else (np.nan, np.nan)
        yield Bend(only.phase, only.phase, np.nan, low, high)


def _stretches(majority: Iterable[str]) -> list[Stretch]:
    """Of neighbouring values with the same majority."""
    found, begin = [], 0
    for phase, values in groupby(majority):
        end = begin + len([*values])
        found.append(Stretch(phase, begin, end))
        begin = end
    return found


def _bend(
    u_J: np.ndarray, of_a_SJ: np.ndarray, of_b_SJ: np.ndarray, weights_BS: np.ndarray, names: tuple[str, str]
) -> Bend:
    """From a phase a to a phase b; the numbers are in u."""
    n_seeds = int((of_a_SJ | of_b_SJ).any(axis=1).sum())
    all_BS = np.vstack([np.ones(len(of_a_SJ), int), weights_BS])  # the first is what was found
    a_BJ, b_BJ = all_BS @ of_a_SJ, all_BS @ of_b_SJ
    middle_B, slope_B = fit(u_J, b_BJ, a_BJ + b_BJ)
    middle_B[b_BJ.sum(axis=1) == 0], middle_B[a_BJ.sum(axis=1) == 0] = np.inf, -np.inf
    middle_B = np.clip(middle_B, *_mixed(u_J, a_BJ, b_BJ))
    shown = (slope_B[1:] > 0).mean() >= CERTAIN and u_J[0] <= middle_B[0] <= u_J[-1]
    wide = wider(n_seeds)
    low, high = np.quantile(middle_B[1:], [wide, 1 - wide], method="inverted_cdf")
    if n_seeds < FEWEST:
        low, high = -np.inf, np.inf
    if not shown:
        return Bend(*names, np.nan, low, high)
    # No value of the axis is between the last of a and the first of b: any number there is as good.
    of_a_J, of_b_J = u_J[b_BJ[0] < a_BJ[0]], u_J[b_BJ[0] > a_BJ[0]]
    last = min(middle_B[0], of_a_J[of_a_J <= middle_B[0]].max(initial=-np.inf))
    first = max(middle_B[0], of_b_J[of_b_J >= middle_B[0]].min(initial=np.inf))
    gap = float(last), float(first)
    each_B = np.where(a_BJ.sum(axis=1) + b_BJ.sum(axis=1) == 0, np.nan, middle_B)[1:]
    return Bend(*names, middle_B[0], min(low, last), max(high, first), gap, each_B, n_seeds)


def _mixed(u_J: np.ndarray, a_BJ: np.ndarray, b_BJ: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """From the last value of a alone, with all below it, to the first of b alone; inf where there is none.

    Where values are not evenly spaced the penalty may draw a curve's middle out of there, though on neither
    side a run says so.
    """
    before_b = np.cumsum(b_BJ, axis=1) == 0
    after_a = np.cumsum(a_BJ[:, ::-1], axis=1)[:, ::-1] == 0
    low_B = np.where(before_b & (a_BJ > 0), u_J, -np.inf).max(axis=1)
    high_B = np.where(after_a & (b_BJ > 0), u_J, np.inf).min(axis=1)
    return low_B, high_B


def told(table: pd.DataFrame) -> list[str]:
    """What a table of `boundaries` says, in lines."""
    axis, lines = table.attrs["axis"], []
    for (below, above), rows in shown(table):
        at = _range(rows["value"])
        wide = (rows["high"] / rows["low"]).where(rows["low"] > 0, np.inf).median()
        known = f"; half of the intervals are no wider than a factor of {wide:.3g}"
        lines.append(f"{below} becomes {above} at {axis} {at}, in {plural(len(rows), 'place')}")
        if np.isfinite(wide):
            lines[-1] += known
        if no_bound := int((np.isinf(rows["high"]) & (rows["low"] <= 0)).sum()):
            lines[-1] += f"; {no_bound:,} of these have no interval, as of fewer than {FEWEST} seeds"
    for name, rows in one_sided(table).groupby("below", observed=True):
        everywhere = f"the majority at every {axis} in {plural(len(rows), 'combination')}"
        beyond = f"a boundary would be below {_range(rows['low'])} or above {_range(rows['high'])}"
        lines.append(f"{name} is {everywhere}: {beyond}")
    is_one = table["below"].astype(str) == table["above"].astype(str)
    if unknown := int(is_one.sum()) - len(one_sided(table)):
        lines.append(f"no boundary along {axis} can be told in {plural(unknown, 'combination')}")
    if unclear := int((table["value"].isna() & ~is_one).sum()):
        lines.append(f"{unclear:,} more along {axis} cannot be told from chance")
    return lines


def _range(values: pd.Series) -> str:
    least, most = values.min(), values.max()
    return _number(least) if least == most else f"{_number(least)} to {_number(most)}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def one_sided(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of combinations in which one phase is surely the majority from `low` to `high`."""
    return table[(table["below"].astype(str) == table["above"].astype(str)) & table["low"].notna()]


def shown(table: pd.DataFrame) -> list[tuple[tuple[str, str], pd.DataFrame]]:
    """The rows of each pair of phases that have a value."""
    return [*table[table["value"].notna()].groupby(["below", "above"], observed=True)]
