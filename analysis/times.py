"""How long runs take to memorise or to generalise, where some have not come there: by Kaplan and Meier."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.cells import axes
from analysis.read import need, unclaimed
from analysis.words import plural

EVENTS = {"memorize_step": "memorised", "generalize_step": "generalised"}
CHANCE = 0.025  # at either end of an interval
ROUNDING = 1e-9  # of a product of shares that is one half
COLUMNS = ["event", "runs", "reached", "median", "low", "high", "last_step"]


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
    if found[["best_eval_accuracy", "end_eval_accuracy"]].isna().all(axis=None):
        raise ValueError("times: nothing is right or wrong in this task, so no run comes to 95 % of that")
    by = axes(phases) if by is None else [*by]
    need(phases, ["run_id", "diverged_step", *by], "a table of phases")
    need(found, ["run_id", "last_step", *EVENTS], "a table of steps")
    unclaimed(by, [*COLUMNS, *EVENTS])
    of_runs = phases[["run_id", "diverged_step", *by]].merge(
        found[["run_id", "last_step", *EVENTS]], on="run_id"
    )
    if len(of_runs) != len(phases):
        raise ValueError(
            f"{len(phases) - len(of_runs):,} of {plural(len(phases), 'run')} are in no row of steps"
        )
    groups: Any = of_runs.groupby(by, dropna=False) if by else [((), of_runs)]
    rows = [[*key, event, *_median(here[event], _watched(here))] for key, here in groups for event in EVENTS]
    table = pd.DataFrame(rows, columns=[*by, *COLUMNS])
    table.attrs = dict(phases.attrs)
    return table


def _watched(here: pd.DataFrame) -> pd.Series:
    """Until when each run is known not to have come there: one that diverged never will."""
    last: pd.Series = here["last_step"].mask(here["diverged_step"].notna(), here["last_step"].max())
    return last


def _median(step_R: pd.Series, last_R: pd.Series) -> list[float]:
    """runs, reached, median, low, high and the last step, of runs whose step is <NA> where it is later."""
    from scipy.stats import CensoredData, ecdf  # which takes a second to load

    watched_R = last_R.notna()
    step_R, last_R = step_R[watched_R], last_R[watched_R]
    there = step_R[step_R.notna()].to_numpy(float)
    not_yet = last_R[step_R.isna()].to_numpy(float)
    runs, last = len(step_R), float(last_R.max()) if len(last_R) else np.nan
    if not len(there):
        return [runs, 0, np.inf, np.inf if 0.5**runs <= CHANCE else 0.0, np.inf, last]
    left = ecdf(CensoredData(uncensored=there, right=not_yet)).sf
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The confidence interval is undefined", RuntimeWarning)  # see below
        interval = left.confidence_interval(0.95, method="log-log")
    at, share = left.quantiles, left.probabilities
    few = 0.5**runs > CHANCE  # all of them may be faster than half would be
    low = np.where(share > 0, interval.low.probabilities, 0.0)
    high = np.where(share > 0, interval.high.probabilities, 1 - CHANCE ** (1 / len(there)))
    middle, first, late = (_first(at, shares) for shares in (share, low, high))
    return [runs, len(there), middle, 0.0 if few else first, late, last]


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
