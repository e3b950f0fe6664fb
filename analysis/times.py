"""How long runs take to memorise or to generalise, where some have not come there: by Kaplan and Meier."""

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.cells import axes
from analysis.load import need, unclaimed
from analysis.words import plural

EVENTS = {"memorize_step": "memorised", "generalize_step": "generalised"}
CHANCE = 0.025  # at either end of an interval
ROUNDING = 1e-9  # of a product of shares that is one half
COLUMNS = ["event", "runs", "reached", "median", "low", "high", "last_step"]
CURVE = ["event", "step", "at_risk", "survival", "low", "high"]


def times(phases: pd.DataFrame, found: pd.DataFrame, by: Sequence[str] | None = None) -> pd.DataFrame:
    """A row per combination of `by` (default: the axes of `cells`) and event of EVENTS.

    `found`: of the same runs, as `steps` gives it. Columns: `by`; event; runs (that were watched); reached
    (of these); median, the step by which half of them have come there, and low and high, its 95 % interval,
    inf where that is over last_step, the last at which a run was watched. A run that ended before is known
    not to have come there until then, and taken for one that might as well have as the others; one that
    diverged never comes there. low is 0 where there is no bound, as of fewer than six runs: all of them may
    be faster than half would be.

    The median is that of the product-limit estimate (E. L. Kaplan and P. Meier, Journal of the American
    Statistical Association 53, 1958, 457-481), its interval the steps at which the pointwise log-log interval
    of that has one half (R. Brookmeyer and J. Crowley, Biometrics 38, 1982, 29-41); where nobody is left,
    which has no such interval, that of C. J. Clopper and E. S. Pearson (Biometrika 26, 1934, 404-413). A step
    is a logged one: what it tells happened after the one before. Raises ValueError where a column is missing,
    nothing is right or wrong, or a run of `phases` is not in `found`.
    """
    by = axes(phases) if by is None else [*by]
    unclaimed(by, [*COLUMNS, *EVENTS])
    rows = [[*key, event, *_median(*of_event)] for key, event, of_event in _each(phases, found, by)]
    table = pd.DataFrame(rows, columns=[*by, *COLUMNS])
    table.attrs = dict(phases.attrs)
    return table


def survival(phases: pd.DataFrame, found: pd.DataFrame, by: Sequence[str] | None = None) -> pd.DataFrame:
    """The estimate of Kaplan and Meier that the medians of `times` are of; arguments and errors as there.

    A row per combination of `by`, event, and step: 0, and each at which a run came there or was watched for
    the last time. Columns: `by`; event; step; at_risk, the runs that had not come there before and were
    watched until then; survival, the share that comes there after the step; low and high, its pointwise
    interval of 95 %: log-log, and where none has come there, or none is left, that of Clopper and Pearson.
    """
    by = axes(phases) if by is None else [*by]
    unclaimed(by, [*CURVE, *EVENTS])
    rows = []
    for key, event, of_event in _each(phases, found, by):
        at, at_risk, share, low, high = _product_limit(*_split(*of_event))
        if len(at) and at[0] > 0:
            rows.append([*key, event, 0, at_risk[0], 1.0, _least(at_risk[0]), 1.0])
        rows += [[*key, event, *row] for row in zip(at, at_risk, share, low, high, strict=True)]
    table = pd.DataFrame(rows, columns=[*by, *CURVE]).astype({"step": "int64", "at_risk": "int64"})
    table.attrs = dict(phases.attrs)
    return table


def _each(
    phases: pd.DataFrame, found: pd.DataFrame, by: list[str]
) -> Iterator[tuple[tuple[Any, ...], str, tuple[pd.Series, pd.Series]]]:
    """(values of `by`, event, the steps of its runs and until when they were watched); errors as `times`."""
    need(phases, ["run_id", "diverged_step", *by], "a table of phases")
    need(
        found, ["run_id", "last_step", "best_eval_accuracy", "end_eval_accuracy", *EVENTS], "a table of steps"
    )
    if len(found) and found[["best_eval_accuracy", "end_eval_accuracy"]].isna().all(axis=None):
        raise ValueError("times: nothing is right or wrong in this task, so no run comes to 95 % of that")
    of_runs = phases[["run_id", "diverged_step", *by]].merge(
        found[["run_id", "last_step", *EVENTS]], on="run_id"
    )
    if len(of_runs) != len(phases):
        raise ValueError(
            f"{len(phases) - len(of_runs):,} of {plural(len(phases), 'run')} are in no row of steps"
        )
    groups: Any = of_runs.groupby(by, dropna=False) if by else [((), of_runs)] * (len(of_runs) > 0)
    for key, here in groups:
        for event in EVENTS:
            yield key, event, (here[event], _watched(here))


def _watched(here: pd.DataFrame) -> pd.Series:
    """Until when each run is known not to have come there: one that diverged never will."""
    last: pd.Series = here["last_step"].mask(here["diverged_step"].notna(), here["last_step"].max())
    return last


def _split(step_R: pd.Series, last_R: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """The steps of the runs that came there, and until when the others were watched."""
    watched_R = last_R.notna()
    step_R, last_R = step_R[watched_R], last_R[watched_R]
    return step_R[step_R.notna()].to_numpy(float), last_R[step_R.isna()].to_numpy(float)


def _median(step_R: pd.Series, last_R: pd.Series) -> list[float]:
    """runs, reached, median, low, high and the last step, of runs whose step is <NA> where it is later."""
    there, not_yet = _split(step_R, last_R)
    runs, last = len(there) + len(not_yet), float(last_R.max()) if last_R.notna().any() else np.nan
    few = 0.5**runs > CHANCE  # all of them may be faster than half would be
    if not len(there):
        return [runs, 0, np.inf, 0.0 if few else np.inf, np.inf, last]
    at, _, share, low, high = _product_limit(there, not_yet)
    some = share < 1  # have come there
    middle, first, late = (_first(at[some], shares[some]) for shares in (share, low, high))
    return [runs, len(there), middle, 0.0 if few else first, late, last]


def _product_limit(there: np.ndarray, not_yet: np.ndarray) -> tuple[np.ndarray, ...]:
    """step, at_risk, survival, low and high: see `survival`."""
    from scipy.stats import CensoredData, ecdf  # which takes a second to load

    every = np.r_[there, not_yet]
    if not len(every):
        return (np.empty(0),) * 5
    left = ecdf(CensoredData(uncensored=there, right=not_yet)).sf
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The confidence interval is undefined", RuntimeWarning)  # see below
        interval = left.confidence_interval(0.95, method="log-log")
    at, share = left.quantiles, left.probabilities
    at_risk = (every >= at[:, None]).sum(axis=1)
    low = np.where(share > 0, interval.low.probabilities, 0.0)
    high = np.where(share > 0, interval.high.probabilities, 1 - _least(max(1, len(there))))
    none = share == 1  # has come there yet
    low, high = np.where(none, _least(at_risk), low), np.where(none, 1.0, high)
    return at, at_risk, share, low, high


def _least(runs: Any) -> Any:
    """The lower end of the share that comes later, where all of so many do."""
    return CHANCE ** (1 / runs)


def _first(at: np.ndarray, shares: np.ndarray) -> float:
    """The step at which half are left, or fewer; inf where there always are more."""
    return float(at[shares <= 0.5 + ROUNDING].min(initial=np.inf))


def told(table: pd.DataFrame) -> list[str]:
    """What a table of `times` says, in lines."""
    lines = []
    for event, cells in table.groupby("event", sort=False):
        there = cells[np.isfinite(cells["median"])]
        runs, reached = int(cells["runs"].sum()), int(cells["reached"].sum())
        found = f"{reached:,} of {plural(runs, 'run')} {EVENTS[str(event)]}"
        least, most = there["median"].min(), there["median"].max()
        medians = f"; medians {least:,.0f} to {most:,.0f}" if len(there) else ""
        over = len(cells) - len(there)
        late = f"; over the last step in {over:,} of {plural(len(cells), 'cell')}" if over else ""
        lines.append(f"{event}: {found}{medians}{late}")
    return lines
