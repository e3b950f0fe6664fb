"""What the weights of parity networks say: which digits they look at, and how many neurons do the work.

Networks are logit = relu(x W_in) w_out. Of S snapshots w_out has shape (S, H) and w_in (S, D, H): of its
D = n_bits + 1 rows the first n_parity_bits are the signal digits, which make the label, then come the
distractors, and the bias is last.
"""

import math

import numpy as np
import pandas as pd

from analysis.read import need

VANISHED = 0.02
"""A distractor weight is gone under this share of the snapshot's largest signal weight."""

FALLEN = math.log(2) / 2
"""Nats: half the loss of a network that knows nothing and so says one half."""


def digit_weights(w_in_SDH: np.ndarray, w_out_SH: np.ndarray, n_parity_bits: int) -> pd.DataFrame:
    """One row per snapshot: mean and largest |weight| of the signal digits, the distractors, the bias, w_out.

    Columns signal_mean, signal_max, distractor_mean, ..., bias_..., output_...; those of distractors are NaN
    where all digits are signal. Raises ValueError where the shapes do not fit.
    """
    signal_SKH, distractor_SKH, bias_SKH = _split(w_in_SDH, n_parity_bits)
    if w_out_SH.shape != (w_in_SDH.shape[0], w_in_SDH.shape[2]):
        raise ValueError(f"w_out of shape {w_out_SH.shape} does not fit w_in of shape {w_in_SDH.shape}")
    columns = {}
    parts = {"signal": signal_SKH, "distractor": distractor_SKH, "bias": bias_SKH, "output": w_out_SH}
    for name, part in parts.items():
        sizes_SK = np.abs(part.reshape(len(part), -1))
        empty_S = np.full(len(part), np.nan)
        columns[f"{name}_mean"] = sizes_SK.mean(axis=1) if part.size else empty_S
        columns[f"{name}_max"] = sizes_SK.max(axis=1) if part.size else empty_S
    return pd.DataFrame(columns)


def last_distractor_step(
    step_S: np.ndarray, w_in_SDH: np.ndarray, n_parity_bits: int, threshold: float = VANISHED
) -> int | None:
    """The first snapshot's step from which on every |distractor weight| is under `threshold`; None for never.

    `threshold` is a share of the largest |signal weight| of the same snapshot: what a small weight is depends
    on the decay and the initial scale, and Adam keeps moving a weight around zero by steps of about the
    learning rate, so none gets to zero itself. None too where there are no distractors, and for a network
    that has died. Raises ValueError where the shapes do not fit.
    """
    signal_SKH, distractor_SKH, _ = _split(w_in_SDH, n_parity_bits)
    if len(step_S) != len(w_in_SDH):
        raise ValueError(f"{len(step_S)} steps do not fit {len(w_in_SDH)} snapshots")
    if not distractor_SKH.size:
        return None
    largest_S = np.abs(signal_SKH).max(axis=(1, 2))
    gone_S = np.abs(distractor_SKH).max(axis=(1, 2)) < threshold * largest_S
    since_S = np.logical_and.accumulate(gone_S[::-1])[::-1]  # gone then and ever after
    return int(step_S[since_S.argmax()]) if since_S.any() else None


def loss_fall_step(curve: pd.DataFrame, fallen: float = FALLEN) -> int | None:
    """The first logged step of one run's curve at which test loss is under `fallen` nats; None for never.

    The default, half of log 2, does not depend on how high the loss rose while the run memorised, nor on the
    noise of tiny losses, where the steepest fall of the logarithm may be. From the first loss on that is not
    finite no step counts. Raises ValueError where a column is missing.
    """
    need(curve, ["step", "eval_loss"], "a curve")
    curve = curve.sort_values("step")
    kept_T = np.logical_and.accumulate(np.isfinite(curve["eval_loss"].to_numpy()))
    under_T = kept_T & (curve["eval_loss"].to_numpy() < fallen)
    return int(curve["step"].to_numpy()[under_T.argmax()]) if under_T.any() else None


def smallest_subnetwork(
    w_in_DH: np.ndarray, w_out_H: np.ndarray, x_ND: np.ndarray, agreement: float = 1.0
) -> np.ndarray:
    """Indices, in order, of few neurons that alone predict as the whole network on a share of the rows x_ND.

    A prediction is whether the logit is over 0; at least the share `agreement` of them stays. After Merrill
    et al. (arXiv 2303.11873, 2023), who prune by weight magnitude: neurons are ranked by |w_out| times the
    norm of their column of W_in and as few of the first as agree enough are kept; then, the least first,
    those are left out without which the others still agree enough, until there are none. Greedy: none of
    them can be spared alone, yet another set may be smaller. None at all where the whole network never
    predicts 1. Raises ValueError where `agreement` is not allowed.
    """
    if not 0 < agreement <= 1:
        raise ValueError(f"agreement: {agreement!r} is not allowed; give a share greater than 0, at most 1")
    w_in_DH, w_out_H = w_in_DH.astype(np.float64), w_out_H.astype(np.float64)
    rank_H = np.argsort(-np.abs(w_out_H) * np.linalg.norm(w_in_DH, axis=0), kind="stable")
    w_in_DH, w_out_H = w_in_DH[:, rank_H], w_out_H[rank_H]
    part_NH = np.maximum(x_ND.astype(np.float64) @ w_in_DH, 0) * w_out_H  # what a neuron adds to the logit
    sum_NK = np.cumsum(
        np.pad(part_NH, ((0, 0), (1, 0))), axis=1
    )  # K = H + 1: of the first 0, 1, ..., H neurons
    whole_N = sum_NK[:, -1] > 0

    def agrees(logit_N: np.ndarray) -> bool:
        return bool(np.mean((logit_N > 0) == whole_N) >= agreement)

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


def _split(w_in_SDH: np.ndarray, n_parity_bits: int) -> list[np.ndarray]:
    """The rows of the signal digits, of the distractors and of the bias: (S, K, H) each, K of its own."""
    return [w_in_SDH[:, rows] for rows in digits(w_in_SDH, n_parity_bits).values()]
