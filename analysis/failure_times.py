"""Times that are known to lie between two, or after one, and their law: log time = terms . x + scale e.

An accelerated-failure-time model (J. D. Kalbfleisch and R. L. Prentice, The Statistical Analysis of Failure
Time Data, 2nd ed. 2002, chapter 3), e of one of three distributions: of normal e the time is log-normal, of
logistic log-logistic, of the smallest extreme value Weibull. The fits of lifelines 0.30.3 are the same, and
take 0.3 to 0.6 s each of the 1125 runs, where these take about 0.01: an interval is of a thousand.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

TINY = 1e-250  # of what lies between two times far from the law
FARTHEST, SCALES = 30, 10  # of a run from the law, in scales; of a scale's logarithm: a search may try more


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


def fitted(
    runs: Runs, errors: Errors, weight_R: np.ndarray, begin_K: np.ndarray | None = None
) -> tuple[np.ndarray, float]:
    """(constant, exponents and log of the scale, the log-likelihood), of the largest likelihood."""
    from scipy.optimize import minimize

    if begin_K is None:
        begin_K = fitted(runs, errors, weight_R, _begin(runs))[0]
    runs, weight_R = Runs(*(a[weight_R > 0] for a in runs)), weight_R[weight_R > 0]
    # In coordinates in which the likelihood is about round, it is found in a few steps.
    _, slope_RK = likelihood(runs, errors, begin_K)
    information_KK = np.einsum("r,rk,rl->kl", weight_R, slope_RK, slope_RK)
    information_KK += 1e-9 * np.diag(np.maximum(np.diag(information_KK), 1))
    round_KK = np.linalg.inv(np.linalg.cholesky(information_KK)).T

    def lost(u_K: np.ndarray) -> tuple[float, np.ndarray]:
        likelihood_R, slope_RK = likelihood(runs, errors, begin_K + round_KK @ u_K)
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


def likelihood(runs: Runs, errors: Errors, terms_K: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
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
    log_R = log_a + np.log(-np.expm1(np.minimum(log_b - log_a, -TINY)))
    of_a = np.exp(errors.log_density(a_R) - log_R)
    of_b = np.where(later, 0, np.exp(errors.log_density(b_R) - log_R))
    by_scale = a_R * of_a - b_R * of_b
    return log_R, np.column_stack([((of_a - of_b) / scale)[:, None] * runs.x_RK, by_scale])
