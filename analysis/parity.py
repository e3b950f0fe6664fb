"""What the weights of parity networks say: which digits they look at, and how many neurons do the work.

Networks are logit = relu(x W_in) w_out. Of S snapshots w_out has shape (S, H) and w_in (S, D, H): of its
D = n_bits + 1 rows the first n_parity_bits are the signal digits, which make the label, then come the
distractors, and the bias is last.
"""

import math

import numpy as np
import pandas as pd

VANISHED = 0.02
"""A distractor weight is gone under this share of the snapshot's largest signal weight."""

FALLEN = math.log(2) / 2
"""Nats: half the loss of a network that knows nothing and so says one half."""


def last_distractor_step(step_S: np.ndarray, w_in_SDH: np.ndarray, n_parity_bits: int) -> int | None:
    """The first snapshot's step from which on every distractor weight is small (VANISHED); None for never.

    What a small weight is depends on the decay and the initial scale, and Adam keeps moving a weight around
    zero by steps of about the learning rate, so none gets to zero itself. None too where there are no
    distractors, and for a network that has died. Raises ValueError where the shape does not fit.
    """
    rows = digits(w_in_SDH, n_parity_bits)
    size_SDH = np.abs(w_in_SDH)
    largest_S = size_SDH[:, rows["signal"]].max(axis=(1, 2))
    distractor_S = size_SDH[:, rows["distractors"]].max(axis=(1, 2), initial=0)
    gone_S = distractor_S < VANISHED * largest_S
    since_S = np.logical_and.accumulate(gone_S[::-1])[::-1]  # gone then and ever after
    there = n_parity_bits < rows["bias"].start
    return int(step_S[since_S.argmax()]) if there and since_S.any() else None


def loss_fall_step(curve: pd.DataFrame) -> int | None:
    """The first logged step of one run's curve at which test loss is under FALLEN; None for never.

    This does not depend on how high the loss rose while the run memorised, nor on the noise of tiny losses,
    where the steepest fall of the logarithm may be. From the first loss on that is not finite no step counts.
    """
    curve = curve.sort_values("step")
    loss_T = curve["eval_loss"].to_numpy()
    under_T = np.logical_and.accumulate(np.isfinite(loss_T)) & (loss_T < FALLEN)
    return int(curve["step"].to_numpy()[under_T.argmax()]) if under_T.any() else None


def smallest_subnetwork(w_in_DH: np.ndarray, w_out_H: np.ndarray, x_ND: np.ndarray) -> np.ndarray:
    """Indices, in order, of few neurons that alone predict as the whole network on all rows x_ND.

    A prediction is whether the logit is over 0. After Merrill et al. (arXiv 2303.11873, 2023), who prune by
    weight magnitude: neurons are ranked by |w_out| times the norm of their column of W_in and as few of the
    first as agree are kept; then, the least first, those are left out without which the others still agree,
    until there are none. Greedy: none of them can be spared alone, yet another set may be smaller. None at
    all where the whole network never predicts 1.
    """
    w_in_DH, w_out_H = w_in_DH.astype(np.float64), w_out_H.astype(np.float64)
    rank_H = np.argsort(-np.abs(w_out_H) * np.linalg.norm(w_in_DH, axis=0), kind="stable")
    w_in_DH, w_out_H = w_in_DH[:, rank_H], w_out_H[rank_H]
    part_NH = np.maximum(x_ND.astype(np.float64) @ w_in_DH, 0) * w_out_H  # what a neuron adds to the logit
    # K = H + 1: of the first 0, 1, ..., H neurons.
    sum_NK = np.cumsum(np.pad(part_NH, ((0, 0), (1, 0))), axis=1)
    whole_N = sum_NK[:, -1] > 0

    def agrees(logit_N: np.ndarray) -> bool:
        return bool(((logit_N > 0) == whole_N).all())

    kept = list(range(next(k for k, logit_N in enumerate(sum_NK.T) if agrees(logit_N))))
    before = None
    while kept != before:
        before = kept.copy()
        logit_N = part_NH[:, kept].sum(axis=1)
        for neuron in reversed(before):
            if agrees(logit_N - part_NH[:, neuron]):
                kept.remove(neuron)
                logit_N = part_NH[:, kept].sum(axis=1)
    return np.sort(rank_H[kept])


def digits(w_in_SDH: np.ndarray, n_parity_bits: int) -> dict[str, slice]:
    """Which rows of w_in are the signal digits, which the distractors, which the bias.

    Raises ValueError where the shape does not fit.
    """
    rows = w_in_SDH.shape[1] if w_in_SDH.ndim == 3 else 0
    if not 0 < n_parity_bits < rows:
        raise ValueError(f"w_in of shape {w_in_SDH.shape} does not fit {n_parity_bits} digits and a bias")
    return {
        "signal": slice(0, n_parity_bits),
        "distractors": slice(n_parity_bits, rows - 1),
        "bias": slice(rows - 1, rows),
    }
