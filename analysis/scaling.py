"""How the step at which runs memorise or generalise depends on their hyperparameters: a law of powers.

    log step = constant + exponents . log(axes) + scale e

A logged step tells that it happened after the logged step before; a run that has not come there until it was
watched no longer is known to be later (`analysis.failure_times`).
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis.cells import check_axis
from analysis.failure_times import DISTRIBUTIONS, Errors, Runs, fitted
from analysis.load import need, unclaimed
from analysis.resampling import ends, resamples
from analysis.times import EVENTS, times
from analysis.words import plural

FOLDS = 10  # of cells that are held out together
LEAST = 10  # runs that came there, for each number that is found
CONSTANT, SCALE = "constant", "scale"
COLUMNS = ["term", "value", "low", "high"]
CELLS = ["median", "low", "high", "last_step", "law", "held_out"]


def scaling(
    phases: pd.DataFrame, found: pd.DataFrame, event: str, by: Sequence[str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The law of `event` (memorize_step or generalize_step) in the axes `by`, and what it says of each cell.

    `found`: of the same runs, as `steps` gives it. The law, a row per term (constant, each axis, scale):
    value (an axis: its exponent; constant: the log of the step where all axes are 1), low and high, its
    interval of 95 % by 1,000 resamples of the cells with all their runs, as what the law does not say of a
    cell is the same for these (C. A. Field and A. H. Welsh, Journal of the Royal Statistical Society B 69,
    2007, 369-390): percentiles, wider for few cells as those of `boundaries`. attrs: event, axes,
    distribution (that of the least AIC; H. Akaike, IEEE Transactions on Automatic Control 19, 1974, 716-723),
    aic of each, runs, reached, diverged (before they came there, and left out), factor, by which the law is
    off on cells with a median that it was not made from (e to the root mean square of the difference of the
    logs of medians), without, the same without axes. A run that was ended early counts as watched until then.

    Cells, a row per combination of `by`: median, low, high, last_step as `times` has them; law, the median by
    the law; held_out, that by a law of nine tenths of the cells, the others, nan where they tell none. Raises
    ValueError where a column is missing, an axis is none of numbers above 0, or the runs cannot tell one axis
    from another.
    """
    by = [*by]
    _check(phases, event, by)
    # One that diverged after it had come there has come there.
    came = found.set_index("run_id")[event].reindex(phases["run_id"]).notna().to_numpy()
    alive = phases[phases["diverged_step"].isna() | came]
    cells = times(alive, found, by).query("event == @event").drop(columns="event").reset_index(drop=True)
    of_runs = alive[["run_id", "log_every", *by]].merge(found[["run_id", "last_step", event]], on="run_id")
    runs = _runs(of_runs, event, by)
    reached = np.isfinite(runs.until_R)
    if why := _unknown(runs.x_RK[reached], runs.until_R[reached], by, event):
        raise ValueError(f"scaling: {why}")

    weight_R = np.ones(len(reached))
    fits = {name: fitted(runs, errors, weight_R) for name, errors in DISTRIBUTIONS.items()}
    aic = {name: 2 * (len(terms) - loglik) for name, (terms, loglik) in fits.items()}
    best = min(aic, key=lambda name: aic[name])
    errors, terms_K = DISTRIBUTIONS[best], fits[best][0]
    low_K, high_K = _interval(runs, errors, terms_K)
    law = pd.DataFrame({"term": [CONSTANT, *by, SCALE], "value": terms_K, "low": low_K, "high": high_K})
    law.iloc[-1, 1:] = np.exp(law.iloc[-1, 1:].to_numpy(float))
    log_CK = _logs(cells, by)
    cells["law"] = _medians(log_CK, terms_K, errors)
    fold_R, fold_C = _fold(of_runs, cells, by)
    held_out, without = np.full((2, len(cells)), np.nan)
    flat = runs._replace(x_RK=runs.x_RK[:, :1])
    for fold in range(FOLDS):
        others, here = fold_R != fold, fold_C == fold
        if not here.any() or _flat(runs.x_RK[others & reached]):
            continue  # the other cells say nothing of these
        held_out[here] = _medians(log_CK[here], fitted(runs, errors, others.astype(float))[0], errors)
        of_none = fitted(flat, errors, others.astype(float))[0]
        without[here] = _medians(log_CK[here][:, :1], of_none, errors)
    cells["held_out"] = held_out
    law.attrs = {
        **{"event": event, "axes": by, "distribution": best, "aic": aic},
        **{"runs": len(reached), "reached": int(reached.sum()), "diverged": len(phases) - len(alive)},
        **{"factor": _off(cells["median"], held_out), "without": _off(cells["median"], without)},
    }
    cells.attrs = dict(law.attrs)
    return law, cells


def _check(phases: pd.DataFrame, event: str, by: list[str]) -> None:
    """Raise ValueError where there is no such event, or no such axes."""
    if event not in EVENTS:
        raise ValueError(f"scaling: {event!r} is none of {', '.join(EVENTS)}")
    need(phases, ["run_id", "diverged_step", "log_every"], "a table of phases")
    if not by or len({*by}) < len(by):
        raise ValueError("scaling: give one axis or more, each once")
    for name in by:
        check_axis(phases, name, "scaling")
        if not (phases[name] > 0).all():
            raise ValueError(f"scaling: {name} is not above 0 in all runs, and has no logarithm there")
    unclaimed(by, [*COLUMNS, *CELLS, CONSTANT, SCALE])


def _runs(of_runs: pd.DataFrame, event: str, by: list[str]) -> Runs:
    """Of runs that were watched."""
    step, last, every = (
        of_runs[name].to_numpy(float, na_value=np.nan) for name in (event, "last_step", "log_every")
    )
    came = np.isfinite(step)
    with np.errstate(divide="ignore"):
        # What has happened by the first logged step, 0, happened before the next.
        after = np.log(np.maximum(np.where(came, step - every, np.nan_to_num(last)), 0))
        until = np.where(came, np.log(np.where(step > 0, step, every)), np.inf)
    return Runs(_logs(of_runs, by), after, until)


def _logs(table: pd.DataFrame, by: Sequence[str]) -> np.ndarray:
    return np.column_stack([np.ones(len(table)), *(np.log(table[name].to_numpy(float)) for name in by)])


def _unknown(x_RK: np.ndarray, until_R: np.ndarray, by: list[str], event: str) -> str:
    """Why the runs that came there do not tell the exponents; "" where they do."""
    least = LEAST * (len(by) + 2)
    if len(x_RK) < least:
        few = f"{plural(len(x_RK), 'run')} {EVENTS[event]}"
        return f"{few}; a law of {', '.join(by)} needs {least} of them"
    one = [name for name, x_R in zip(by, x_RK[:, 1:].T, strict=True) if np.ptp(x_R) == 0]
    if one:
        return f"all runs that {EVENTS[event]} have one {one[0]}: no exponent can be told"
    if (logged := len(np.unique(until_R))) < len(by) + 2:
        few = f"{plural(logged, 'logged step')}: no law of {', '.join(by)} can be told"
        return f"all runs that {EVENTS[event]} did so by {few}"
    together = f"{', '.join(by)} change together: their exponents cannot be told apart"
    return f"among the runs that {EVENTS[event]}, {together}" if _flat(x_RK) else ""


def _flat(x_RK: np.ndarray) -> bool:
    """Whether runs of these do not tell all terms."""
    if len(x_RK) < x_RK.shape[1]:
        return True
    return bool(np.linalg.matrix_rank(x_RK - [0, *x_RK[:, 1:].mean(axis=0)]) < x_RK.shape[1])


def _interval(runs: Runs, errors: Errors, terms_K: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The ends of each term, of resamples of the cells; one that does not tell the terms is beyond both."""
    came = np.isfinite(runs.until_R)
    x_UK, which_R = np.unique(runs.x_RK, axis=0, return_inverse=True)
    weights_BR = resamples(len(x_UK))[:, which_R]
    of_each = np.full((len(weights_BR), len(terms_K)), np.nan)
    flat: dict[bytes, bool] = {}  # by which of x are there: most resamples have all
    for terms, weight_R in zip(of_each, weights_BR, strict=True):
        there_U = np.bincount(which_R[came & (weight_R > 0)], minlength=len(x_UK)) > 0
        if (key := there_U.tobytes()) not in flat:
            flat[key] = _flat(x_UK[there_U])
        if not flat[key]:
            terms[:] = fitted(runs, errors, weight_R, terms_K)[0]
    return ends(of_each, len(x_UK))


def _medians(x_CK: np.ndarray, terms_K: np.ndarray, errors: Errors) -> np.ndarray:
    """The median step of each cell by a law."""
    return np.exp(x_CK @ terms_K[:-1] + np.exp(terms_K[-1]) * errors.median)


def _fold(of_runs: pd.DataFrame, cells: pd.DataFrame, by: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """In which fold each run and each cell is: all runs of a cell are in one, dealt out at random."""
    order_C = np.random.default_rng(0).permutation(len(cells)) % FOLDS
    numbered = cells[by].assign(fold=order_C)
    return of_runs.merge(numbered, on=by, how="left")["fold"].to_numpy(), order_C


def _off(median: pd.Series, said: np.ndarray) -> float:
    """By which factor medians are off, where there are any."""
    there = np.isfinite(median.to_numpy()) & np.isfinite(said)
    apart = np.log(said[there]) - np.log(median.to_numpy(float)[there])
    return float(np.exp(np.sqrt(np.mean(apart**2)))) if there.any() else np.nan


def told(law: pd.DataFrame, cells: pd.DataFrame) -> list[str]:
    """What a law says, in lines."""
    of, numbers = law.attrs, {row["term"]: row for row in law.to_dict("records")}
    powers = ["{term}^{value:.2f} [{low:.2f}, {high:.2f}]".format_map(numbers[name]) for name in of["axes"]]
    spread = np.exp(DISTRIBUTIONS[of["distribution"]].spread * numbers[SCALE]["value"])
    least, second, *_ = sorted(of["aic"].values())
    late = cells[np.isinf(cells["median"])]
    is_late = (late["held_out"] > late["last_step"]).sum()
    lines = [
        f"{of['event']} ~ {' '.join(powers)}, {of['distribution']}: about half of the runs are within a "
        f"factor of {spread:.2f} of its median",
        f"by {of['reached']:,} of {plural(of['runs'], 'run')} that {EVENTS[of['event']]}, the others later; "
        f"the AIC of the next distribution is {second - least:,.0f} more",
    ]
    known = int((np.isfinite(cells["median"]) & cells["held_out"].notna()).sum())
    if known:
        lines.append(
            f"on cells that it was not made from it is off by a factor of {of['factor']:.2f}, without any "
            f"axis {of['without']:.2f}, in the {known:,} of {plural(len(cells), 'cell')} that have a median"
        )
    if len(late):
        lines.append(f"of {plural(len(late), 'cell')} later than the last step it says so of {is_late:,}")
    if blind := int(cells["held_out"].isna().sum()):
        lines.append(f"{plural(blind, 'cell')} no law of the others can tell")
    if of["diverged"]:
        lines.append(f"{plural(of['diverged'], 'run')} that diverged before they came there are left out")
    return lines
