"""Resamples of what is drawn as a whole, such as seeds or cells, and the intervals that they give."""

import numpy as np

RESAMPLES = 1000


def resamples(many: int, stratum: int = 0) -> np.ndarray:
    """How often each of so many is in each resample; of another stratum others."""
    if many == 0:
        return np.zeros((RESAMPLES, 0), int)
    share = np.full(many, 1 / many)
    return np.random.default_rng(stratum).multinomial(many, share, RESAMPLES)


def wider(n: int) -> float:
    """The percentile that takes the place of 2.5 % with few, n, that are drawn.

    T. C. Hesterberg, The American Statistician 69, 2015, 371-386, section 4.5.
    """
    from scipy.special import ndtr, stdtrit  # which takes its time to load

    return float(ndtr(-np.sqrt(n / max(1, n - 1)) * stdtrit(max(1, n - 1), 0.975)))


def ends(each_B: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The interval of 95 %, over the first axis; a resample that tells nothing, nan, is beyond both ends."""
    tail = wider(n)
    low, high = (
        np.quantile(np.where(np.isnan(each_B), worst, each_B), at, axis=0, method="inverted_cdf")
        for at, worst in ((tail, -np.inf), (1 - tail, np.inf))
    )
    return low, high
