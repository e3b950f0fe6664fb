"""How the step at which runs memorise or generalise depends on their hyperparameters: a law of powers.

    log step = constant + exponents . log(axes) + scale e

An accelerated-failure-time model (J. D. Kalbfleisch and R. L. Prentice, The Statistical Analysis of Failure
Time Data, 2nd ed. 2002, chapter 3), e of one of three distributions: of normal e the step is log-normal, of
logistic log-logistic, of the smallest extreme value Weibull. A logged step tells that it happened after the
logged step before; a run that has not come there until it was watched no longer is known to be later.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.read import need, unclaimed
from analysis.times import EVENTS, times
from analysis.words import plural

RESAMPLES = 1000
FOLDS = 10  # of cells that are held out together
LEAST = 10  # runs that came there, for each number that is found
FARTHEST, SCALES = 30, 10  # of a run from the law, in scales; of a scale's logarithm: a search may try more
CONSTANT, SCALE = "constant", "scale"
COLUMNS = ["term", "value", "low", "high"]
CELLS = ["median", "low", "high", "last_step", "law", "held_out"]


class Errors(NamedTuple):
    """A distribution of e: log P(e > z), log of its density, its median, half of its quartiles' distance."""

    log_after: Callable[[np.ndarray], np.ndarray]
    log_density: Callable[[np.ndarray], np.ndarray]
    median: float
    spread: float


class Runs(NamedTuple):
    """log of the axes of R runs with a leading 1, and of the steps between which each came there."""

    x_RK: np.ndarray
    after_R: np.ndarray
    until_R: np.ndarray


def _normal(z: np.ndarray) -> np.ndarray:
    from scipy.special import log_ndtr  # which takes its time to load

    found: np.ndarray = log_ndtr(-z)
    return found


DISTRIBUTIONS = {
    "log-normal": Errors(_normal, lambda z: -(z**2) / 2 - np.log(2 * np.pi) / 2, 0.0, 0.6745),
    "log-logistic": Errors(
        lambda z: -np.logaddexp(0, z), lambda z: -np.logaddexp(0, z) - np.logaddexp(0, -z), 0.0, np.log(3)
    ),
    "Weibull": Errors(
        lambda z: -np.exp(z),
        lambda z: z - np.exp(z),
        np.log(np.log(2)),
        np.log(np.log(4) / np.log(4 / 3)) / 2,
    ),
}


def scaling(
    phases: pd.DataFrame, found: pd.DataFrame, event: str, by: Sequence[str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The law of `event` (memorize_step or generalize_step) in the axes `by`, and what it says of each cell.

    `found`: of the same runs, as `steps` gives it. The law, a row per term (constant, each axis, scale):
    value (an axis: its exponent; constant: the log of the step where all axes are 1), low and high, its
    interval of 95 % by 1,000 resamples of the runs (B. Efron, Journal of the American Statistical Association
    76, 1981, 312-319), percentiles. attrs: event, axes, distribution (that of the least AIC; H. Akaike, IEEE
    Transactions on Automatic Control 19, 1974, 716-723), aic of each, runs, reached, diverged (left out: they
    never come there), factor, by which the law is off on cells that it was not made from (e to the root mean
    square of the difference of the logs of medians), without, the same of a law without axes.

    Cells, a row per combination of `by`: median, low, high, last_step as `times` has them; law, the median by
    the law; held_out, that by a law of nine tenths of the cells, the others. Raises ValueError where a column
    is missing, an axis is none of numbers above 0, or the runs cannot tell one axis from another.
    """
    by = [*by]
    if event not in EVENTS:
        raise ValueError(f"scaling: {event!r} is none of {', '.join(EVENTS)}")
    need(phases, ["run_id", "diverged_step", "log_every", *by], "a table of phases")
    unclaimed(by, [*COLUMNS, *CELLS, CONSTANT, SCALE])
    if not by or len({*by}) < len(by):
        raise ValueError("scaling: give one axis or more, each once")
    for name in by:
        if not pd.api.types.is_numeric_dtype(phases[name]) or not (phases[name] > 0).all():
            raise ValueError(f"scaling: {name} is no axis of numbers above 0, which have logarithms")
    cells = times(phases, found, by).query("event == @event").drop(columns="event").reset_index(drop=True)
    alive = phases[phases["diverged_step"].isna()]
    of_runs = alive[["run_id", "log_every", *by]].merge(found[["run_id", "last_step", event]], on="run_id")
    runs = _runs(of_runs, event, by)
    reached = np.isfinite(runs.until_R)
    _identified(runs.x_RK[reached], by, event)

    weight_R = np.ones(len(reached))
    fits = {name: _fitted(runs, errors, weight_R) for name, errors in DISTRIBUTIONS.items()}
    aic = {name: 2 * (len(terms) - loglik) for name, (terms, loglik) in fits.items()}
    best = min(aic, key=lambda name: aic[name])
    errors, terms_K = DISTRIBUTIONS[best], fits[best][0]
    weights_BR = np.random.default_rng(0).multinomial(
        len(reached), np.full(len(reached), 1 / len(reached)), RESAMPLES
    )
    of_each = np.array([_fitted(runs, errors, weight_R, terms_K)[0] for weight_R in weights_BR])
    low_K, high_K = np.quantile(of_each, [0.025, 0.975], axis=0, method="inverted_cdf")
    law = pd.DataFrame({"term": [CONSTANT, *by, SCALE], "value": terms_K, "low": low_K, "high": high_K})
    law.iloc[-1, 1:] = np.exp(law.iloc[-1, 1:].to_numpy(float))
    log_CK = _logs(cells, by)
    cells["law"] = _medians(log_CK, terms_K, errors)
    fold_R, fold_C = _fold(of_runs, cells, by)
    held_out, without = np.full((2, len(cells)), np.nan)
    for fold in range(FOLDS):
        others, here = (fold_R != fold).astype(float), fold_C == fold
        held_out[here] = _medians(log_CK[here], _fitted(runs, errors, others, terms_K)[0], errors)
        flat = _fitted(runs._replace(x_RK=runs.x_RK[:, :1]), errors, others)[0]
        without[here] = _medians(log_CK[here][:, :1], flat, errors)
    cells["held_out"] = held_out
    law.attrs = {
        **{"event": event, "axes": by, "distribution": best, "aic": aic},
        **{"runs": len(reached), "reached": int(reached.sum()), "diverged": len(phases) - len(alive)},
        **{"factor": _off(cells["median"], held_out), "without": _off(cells["median"], without)},
    }
    cells.attrs = dict(law.attrs)
    return law, cells


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


def _identified(x_RK: np.ndarray, by: list[str], event: str) -> None:
    """Raise ValueError where the runs that came there do not tell the exponents."""
    least = LEAST * (len(by) + 2)
    if len(x_RK) < least:
        few = f"{plural(len(x_RK), 'run')} {EVENTS[event]}"
        raise ValueError(f"scaling: {few}; a law of {', '.join(by)} needs {least} of them")
    flat = [name for name, x_R in zip(by, x_RK[:, 1:].T, strict=True) if np.ptp(x_R) == 0]
    if flat:
        raise ValueError(
            f"scaling: all runs that {EVENTS[event]} have one {flat[0]}: no exponent can be told"
        )
    if np.linalg.matrix_rank(x_RK - [0, *x_RK[:, 1:].mean(axis=0)]) < x_RK.shape[1]:
        raise ValueError(
            f"scaling: among the runs that {EVENTS[event]}, {', '.join(by)} change together: "
            "their exponents cannot be told apart"
        )


def _fitted(
    runs: Runs, errors: Errors, weight_R: np.ndarray, begin_K: np.ndarray | None = None
) -> tuple[np.ndarray, float]:
    """(constant, exponents and log of the scale, the log-likelihood), of the largest likelihood."""
    from scipy.optimize import minimize

    if begin_K is None:
        begin_K = _fitted(runs, errors, weight_R, _begin(runs))[0]
    runs, weight_R = Runs(*(a[weight_R > 0] for a in runs)), weight_R[weight_R > 0]
    # In coordinates in which the likelihood is about round, it is found in a few steps.
    _, slope_RK = _likelihood(runs, errors, begin_K)
    information_KK = np.einsum("r,rk,rl->kl", weight_R, slope_RK, slope_RK)
    information_KK += 1e-9 * np.diag(np.diag(information_KK))
    round_KK = np.linalg.inv(np.linalg.cholesky(information_KK)).T

    def lost(u_K: np.ndarray) -> tuple[float, np.ndarray]:
        likelihood_R, slope_RK = _likelihood(runs, errors, begin_K + round_KK @ u_K)
        slope_K = np.einsum("r,rk->k", weight_R, slope_RK)
        return -float(weight_R @ likelihood_R), -(slope_K @ round_KK)

    best = minimize(lost, np.zeros(len(begin_K)), jac=True, method="BFGS", options={"gtol": 1e-3})
    return begin_K + round_KK @ best.x, -float(best.fun)


def _begin(runs: Runs) -> np.ndarray:
    """Terms to look for a law from: of the least squares of the runs that came there."""
    came = np.isfinite(runs.until_R)
    slopes_K, *_ = np.linalg.lstsq(runs.x_RK[came], runs.until_R[came], rcond=None)
    apart_R = runs.until_R[came] - runs.x_RK[came] @ slopes_K
    return np.r_[slopes_K, np.log(max(float(apart_R.std()), 0.1))]


def _likelihood(runs: Runs, errors: Errors, terms_K: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The log of each run's likelihood, and its slopes in the terms."""
    # einsum and not @, which has threads wait for one another over so few numbers.
    middle_R = np.einsum("rk,k->r", runs.x_RK, terms_K[:-1])
    scale = np.exp(np.clip(terms_K[-1], -SCALES, SCALES))
    later = np.isinf(runs.until_R)
    a_R, b_R = (
        np.clip((at_R - middle_R) / scale, -FARTHEST, FARTHEST) for at_R in (runs.after_R, runs.until_R)
    )
    log_a = errors.log_after(a_R)
    log_b = np.where(later, -np.inf, errors.log_after(b_R))
    log_R = log_a + np.log(-np.expm1(np.minimum(log_b - log_a, -1e-12)))
    of_a = np.exp(errors.log_density(a_R) - log_R)
    of_b = np.where(later, 0, np.exp(errors.log_density(b_R) - log_R))
    by_scale = a_R * of_a - b_R * of_b
    return log_R, np.column_stack([((of_a - of_b) / scale)[:, None] * runs.x_RK, by_scale])


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
    there = np.isfinite(median.to_numpy())
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
        f"{of['event']} ~ {' '.join(powers)}, {of['distribution']}: half of the runs are within a factor of "
        f"{spread:.2f}",
        f"by {of['reached']:,} of {plural(of['runs'], 'run')} that {EVENTS[of['event']]}, the others later; "
        f"the AIC of the next distribution is {second - least:,.0f} more",
        f"on cells that it was not made from it is off by a factor of {of['factor']:.2f}, without any axis "
        f"{of['without']:.2f}; of {plural(len(late), 'cell')} later than the last step it says so of "
        f"{is_late:,}",
    ]
    if of["diverged"]:
        lines.append(f"{plural(of['diverged'], 'run')} that diverged, and never come there, are left out")
    return lines
