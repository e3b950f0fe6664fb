"""What frequencies networks add with: modular addition in the Fourier basis of the numbers 0, ..., P - 1.

Networks are logits_NP = relu(w_in[a] + w_in[b]) @ w_out. w_in has shape (P, H), shared by a and b, or
(2P, H), the rows of a before those of b; w_out has shape (H, P). The modulus P is odd. The frequency of a
neuron is that of its largest |coefficient| in w_in, numbered 1, ..., (P - 1) / 2, where it holds a share of
the neuron's energy that chance does not reach (`least_share`); 0 stands for none.
"""

from collections.abc import Callable, Collection
from functools import lru_cache

import numpy as np
import pandas as pd

BLOCK = 2**22  # logits in memory at once
CHANCE = 0.01  # of networks of noise, the share in which any neuron has a frequency


@lru_cache(maxsize=8)
def basis(modulus: int) -> np.ndarray:
    """Orthonormal rows of shape (P, P): constant, cos 1, sin 1, ..., cos (P - 1) / 2, sin (P - 1) / 2.

    Raises ValueError where the modulus is not an odd number of at least 3.
    """
    if modulus < 3 or modulus % 2 == 0:
        raise ValueError(f"modulus: {modulus} is not allowed; give an odd number of at least 3")
    angle_FP = 2 * np.pi * np.outer(np.arange(1, (modulus + 1) // 2), np.arange(modulus)) / modulus
    waves_FP = np.stack([np.cos(angle_FP), np.sin(angle_FP)], axis=1).reshape(modulus - 1, modulus)
    rows_PP = np.vstack([np.full((1, modulus), modulus**-0.5), np.sqrt(2 / modulus) * waves_FP])
    rows_PP.flags.writeable = False  # it is shared
    return rows_PP


def coefficients(w_in: np.ndarray, modulus: int) -> np.ndarray:
    """Of the columns of w_in in `basis`: shape (K, P, H), K = 1 where a and b share w_in, else 2.

    Raises ValueError where the shape does not fit.
    """
    return basis(modulus) @ _parts(w_in, modulus)


def energies(w_in: np.ndarray, modulus: int) -> np.ndarray:
    """The squared coefficients of each frequency, summed over neurons and inputs: shape (1 + (P - 1) / 2,).

    The constant stands first, as frequency 0.
    """
    return _by_frequency((coefficients(w_in, modulus) ** 2).sum(axis=(0, 2))[:, None])[:, 0]


def least_share(modulus: int, columns: int) -> float:
    """The share of its energy that the frequency of a neuron must exceed: more than chance gives.

    The null model is white noise: independent normal weights of one size. The energies of its F = (P - 1) / 2
    frequencies are then independent and exponential, and the largest share g of their sum exceeds x with a
    probability of at most F (1 - x)^(F - 1), exactly so from x = 1/2 on (R. A. Fisher, Proc. Royal Society A
    125 (1929), 54-59). Returned is the x at which that is CHANCE / `columns`: of networks of noise, with so
    many columns of weights that are looked at, at most the share CHANCE has a neuron with a frequency.
    For modulus 67 and 24 neurons it is 0.30. Few frequencies leave chance much: 0.995 for modulus 5, and for
    modulus 3, with one, 1, which tells nothing. Of a network whose embedding has one frequency by
    construction (modular_circle) it tells nothing either.
    """
    many = (modulus - 1) // 2
    return 1.0 if many == 1 else float(1 - (CHANCE / columns / many) ** (1 / (many - 1)))


def neurons(w_in: np.ndarray, modulus: int) -> pd.DataFrame:
    """One row per neuron, sorted by frequency and phase, those of no frequency last.

    Columns: neuron; frequency, that of the largest coefficient, 0 where that is the constant, all are zero or
    its share is no more than `least_share`; share, of the energy that is not the constant's, in the largest
    coefficient's frequency (nan where that is none); amplitude, sqrt(cos^2 + sin^2) of its coefficients;
    phase, atan2(sin, cos) of them in radians. Where a and b have weights of their own, those of the input
    with the largest coefficient count.
    """
    every_KPH = coefficients(w_in, modulus)
    hidden = every_KPH.shape[2]
    largest_H = np.abs(every_KPH).max(axis=1).argmax(axis=0)  # which input
    c_PH = every_KPH[largest_H, :, np.arange(hidden)].T
    frequency_H = (np.abs(c_PH).argmax(axis=0) + 1) // 2
    energy_FH = _by_frequency(c_PH**2)[1:]
    total_H = energy_FH.sum(axis=0)
    largest_share_H = np.divide(
        energy_FH[frequency_H - 1, np.arange(hidden)],
        total_H,
        out=np.full(hidden, np.nan),
        where=(frequency_H > 0) & (total_H > 0),
    )
    # nan is no more than anything.
    frequency_H = np.where(largest_share_H > least_share(modulus, every_KPH[:, 0].size), frequency_H, 0)
    cos_H, sin_H = (c_PH[np.maximum(2 * frequency_H - 1 + i, 0), np.arange(hidden)] for i in (0, 1))
    some_H = frequency_H > 0
    table = pd.DataFrame(
        {
            "neuron": np.arange(hidden),
            "frequency": frequency_H,
            "share": largest_share_H,
            "amplitude": np.where(some_H, np.hypot(cos_H, sin_H), np.abs(c_PH[0])),
            "phase": np.where(some_H, np.arctan2(sin_H, cos_H), 0.0),
        }
    )
    order = np.lexsort([table["phase"].to_numpy(), frequency_H, ~some_H])
    return table.iloc[order].reset_index(drop=True)


def groups(w_in: np.ndarray, modulus: int) -> dict[int, np.ndarray]:
    """frequency -> its neurons, by phase; frequencies ascend, and last come those of none, as 0."""
    table = neurons(w_in, modulus)
    frequency_H, neuron_H = table["frequency"].to_numpy(), table["neuron"].to_numpy()
    return {int(f): neuron_H[frequency_H == f] for f in dict.fromkeys(frequency_H)}


def frequencies(w_in: np.ndarray, modulus: int) -> dict[int, np.ndarray]:
    """frequency -> its neurons, by phase; frequencies ascend, and neurons of none are not in it."""
    return {f: neuron_H for f, neuron_H in groups(w_in, modulus).items() if f > 0}


def logits(w_in: np.ndarray, w_out: np.ndarray, pairs_N2: np.ndarray) -> np.ndarray:
    """The logits of pairs (a, b): shape (N, P), float64. Raises ValueError where w_in does not fit w_out."""
    parts_KPH = _parts(w_in, w_out.shape[1])
    hidden_NH = parts_KPH[0, pairs_N2[:, 0]] + parts_KPH[-1, pairs_N2[:, 1]]
    return np.maximum(hidden_NH, 0) @ w_out.astype(np.float64)


def contribution(w_in: np.ndarray, w_out: np.ndarray, pairs_N2: np.ndarray, frequency: int) -> np.ndarray:
    """The logits (N, P) that the neurons of one frequency give, all others masked; 0: those of none."""
    table = neurons(w_in, w_out.shape[1])
    mine = table.loc[table["frequency"] == frequency, "neuron"].to_numpy()
    return logits(w_in[:, mine], w_out[mine], pairs_N2)


def energy_share(w_in: np.ndarray, modulus: int, keys: Collection[int]) -> float:
    """The share of the weights' energy, the constant's included, in the frequencies `keys`; nan of none."""
    energy_F = energies(w_in, modulus)
    return float(energy_F[sorted(keys)].sum() / energy_F.sum()) if energy_F.any() else float("nan")


def gini(values: np.ndarray) -> float:
    """Gini coefficient of nonnegative values: 0 where all are equal, 1 - 1/n where one of n has all.

    Half the mean absolute difference over the mean, by the sorted values x_1 <= ... <= x_n:
    sum (2 i - n - 1) x_i / (n sum x). It is that of Hurley and Rickard (arXiv 0811.4706), where it measures
    sparsity. Nan where all are zero.
    """
    sorted_F = np.sort(np.asarray(values, np.float64))
    count = len(sorted_F)
    weight_F = 2 * np.arange(1, count + 1) - count - 1
    return float(weight_F @ sorted_F / (count * sorted_F.sum())) if sorted_F.any() else float("nan")


def inverse_participation_ratio(values: np.ndarray) -> float:
    """sum p^2 of the shares p of nonnegative values: 1/n where all of n are equal, 1 where one has all.

    Its inverse is how many of them take part. F. Wegner, Zeitschrift für Physik B 36 (1980), 209-214, where p
    are the probabilities of the places of a particle. Nan where all are zero.
    """
    values_F = np.asarray(values, np.float64)
    return float(((values_F / values_F.sum()) ** 2).sum()) if values_F.any() else float("nan")


def restricted_loss(
    w_in: np.ndarray, w_out: np.ndarray, keys: Collection[int], pairs_N2: np.ndarray
) -> float:
    """The loss on pairs where of the logits only the key frequencies are kept (Nanda et al., 2301.05217).

    Of the logits over all P x P inputs the constant and the directions cos and sin of 2 pi k (a + b) / P
    stay, k in `keys`. Cross entropy, mean over the pairs and the P classes, nats.
    """
    mean_C, key_DC = _key_part(w_in, w_out, keys)
    modulus = len(mean_C)
    return _loss(lambda of_N2: mean_C + _directions(keys, of_N2, modulus).T @ key_DC, pairs_N2, modulus)


def excluded_loss(w_in: np.ndarray, w_out: np.ndarray, keys: Collection[int], pairs_N2: np.ndarray) -> float:
    """The loss on pairs where the key frequencies are taken out of the logits; see `restricted_loss`."""
    mean_C, key_DC = _key_part(w_in, w_out, keys)
    modulus = len(mean_C)

    def rest(of_N2: np.ndarray) -> np.ndarray:
        return logits(w_in, w_out, of_N2) - _directions(keys, of_N2, modulus).T @ key_DC

    return _loss(rest, pairs_N2, modulus)


def _key_part(w_in: np.ndarray, w_out: np.ndarray, keys: Collection[int]) -> tuple[np.ndarray, np.ndarray]:
    """Of the logits over all pairs the mean (P,), and the coefficients in the key directions (D, P)."""
    modulus = w_out.shape[1]
    sum_C, key_DC = np.zeros(modulus), np.zeros((2 * len(keys), modulus))
    for of_N2 in _blocks(np.argwhere(np.ones((modulus, modulus), bool)), modulus):
        logits_NC = logits(w_in, w_out, of_N2)
        sum_C += logits_NC.sum(axis=0)
        key_DC += _directions(keys, of_N2, modulus) @ logits_NC
    return sum_C / modulus**2, key_DC


def _directions(keys: Collection[int], pairs_N2: np.ndarray, modulus: int) -> np.ndarray:
    """cos and sin of 2 pi k (a + b) / P at some pairs, orthonormal over all P x P: shape (D, N)."""
    angle_KN = 2 * np.pi * np.outer(sorted(keys), pairs_N2.sum(axis=1)) / modulus
    # Over all pairs the mean of cos^2, and of sin^2, is one half.
    return np.sqrt(2) / modulus * np.vstack([np.cos(angle_KN), np.sin(angle_KN)])


def _loss(logits_of: Callable[[np.ndarray], np.ndarray], pairs_N2: np.ndarray, modulus: int) -> float:
    """Cross entropy of the logits of pairs, mean over the pairs and the classes, nats."""
    total = 0.0
    for of_N2 in _blocks(pairs_N2, modulus):
        logits_NC = logits_of(of_N2)
        logits_NC = logits_NC - logits_NC.max(axis=1, keepdims=True)
        log_sum_N = np.log(np.exp(logits_NC).sum(axis=1))
        right_N = logits_NC[np.arange(len(of_N2)), of_N2.sum(axis=1) % modulus]
        total += float((log_sum_N - right_N).sum())
    return total / len(pairs_N2) / modulus


def _blocks(pairs_N2: np.ndarray, modulus: int) -> list[np.ndarray]:
    """The pairs in parts whose logits take little memory."""
    return np.array_split(pairs_N2, -(-len(pairs_N2) * modulus // BLOCK))


def _parts(w_in: np.ndarray, modulus: int) -> np.ndarray:
    """The weights of each input: shape (K, P, H), K = 1 where a and b share them, else 2."""
    if w_in.ndim != 2 or w_in.shape[0] not in (modulus, 2 * modulus):
        raise ValueError(f"w_in of shape {w_in.shape} does not fit modulus {modulus}")
    # Not -1: numpy cannot infer a size where there are no neurons.
    return w_in.astype(np.float64).reshape(w_in.shape[0] // modulus, modulus, w_in.shape[1])


def _by_frequency(values_PH: np.ndarray) -> np.ndarray:
    """Sums over the cos and the sin of each frequency, the constant first."""
    return np.concatenate([values_PH[:1], values_PH[1::2] + values_PH[2::2]])
