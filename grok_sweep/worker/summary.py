"""A run's curves in a few numbers: the result columns of the runs table."""

from collections.abc import Mapping

import numpy as np

from grok_sweep.core import parts

FINITE = ("train_loss", "eval_loss", "weight_norm")  # of a run that has not diverged


def summarise(
    curves_RT: Mapping[str, np.ndarray], log_every: int, loss_floor: float
) -> dict[str, np.ndarray]:
    """The result columns of R runs from their curves over T logged steps.

    A run has diverged at the first logged step where a loss or a norm is not finite; minima and the largest
    ratio of test to train loss are over the steps before that, and are nan where there are none. In the ratio
    a loss under `loss_floor` (nats, over 0) counts as that: in float32 it may be 0, and 0 / 0 is no ratio.
    """
    # An accuracy is a share, and nan only where a task has none; a user's own metric may be nan.
    losses = [name for name in FINITE if name in curves_RT]
    finite_RT = np.logical_and.reduce([np.isfinite(curves_RT[name]) for name in losses])
    kept_RT = np.logical_and.accumulate(finite_RT, axis=1)
    train_RT, eval_RT = (curves_RT[name].astype(np.float64) for name in ("train_loss", "eval_loss"))
    with np.errstate(invalid="ignore"):
        ratio_RT = parts.loss_ratio(train_RT, eval_RT, loss_floor)

    def largest(values_RT: np.ndarray) -> np.ndarray:
        most_R = np.where(kept_RT, values_RT, -np.inf).max(axis=1)
        return np.where(kept_RT[:, 0], most_R, np.nan)

    return {
        "min_train_loss": -largest(-train_RT),
        "min_eval_loss": -largest(-eval_RT),
        "max_loss_ratio": largest(ratio_RT),
        **{
            f"final_{name}": curves_RT[name][:, -1].astype(np.float64)
            for name in ("train_loss", "eval_loss", "train_accuracy", "eval_accuracy")
        },
        "diverged_step": np.ma.masked_array(np.argmin(kept_RT, axis=1) * log_every, mask=kept_RT[:, -1]),
    }
