"""Networks that add without training: neurons evenly spread on a circle (E5 of the PAIR article's notebooks).

Neuron i of N has the phase t_i = 2 pi i / N: its input weights are cos(2 pi a / P - t_i), its output weights
cos(2 pi c / P - 2 t_i), both divided by a norm. The activations of all N then interfere so that the logit of
a + b is the largest, for those N and P of which `accuracy` is 1.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis.fourier import BLOCK

ACTIVATIONS = ("relu", "square")
TIE = 1e-9  # logits nearer than this, relative to the largest, are equal but for rounding


def constructed(neurons: int, modulus: int) -> tuple[np.ndarray, np.ndarray]:
    """(w_in, w_out) of shapes (P, N) and (N, P), for P of at least 3."""
    angle_P = 2 * np.pi * np.arange(modulus) / modulus
    circle_P2 = np.stack([np.cos(angle_P), np.sin(angle_P)], axis=1)
    circle_P2 /= np.linalg.norm(circle_P2, axis=0)
    phase_N = 2 * np.pi * np.arange(neurons) / neurons
    once_N2, twice_N2 = (np.stack([np.cos(k * phase_N), np.sin(k * phase_N)], axis=1) for k in (1, 2))
    return circle_P2 @ once_N2.T, twice_N2 @ circle_P2.T


def accuracy(neurons: int, modulus: int, activation: str = "relu") -> float:
    """The share of all P x P pairs whose sum has the largest logit; of equal logits the first counts.

    activation: relu, or square for x^2.
    """
    w_in_PN, w_out_NP = constructed(neurons, modulus)
    every_P = np.arange(modulus)
    right = 0
    # A block has at least one a, however large the modulus.
    for a_A in np.array_split(every_P, min(modulus, -(-(modulus**3) // BLOCK))):
        sum_ABN = w_in_PN[a_A, None] + w_in_PN[None]
        hidden_ABN = np.maximum(sum_ABN, 0) if activation == "relu" else sum_ABN**2
        logits_ABC = hidden_ABN @ w_out_NP
        most_AB1 = logits_ABC.max(axis=2, keepdims=True)
        scale = np.abs(logits_ABC).max() or 1.0
        first_AB = (logits_ABC >= most_AB1 - TIE * scale).argmax(axis=2)
        right += int((first_AB == (a_A[:, None] + every_P) % modulus).sum())
    return right / modulus**2


def table(neurons: Sequence[int] = (3, 4, 5, 6, 7, 8), modulus: int = 67) -> pd.DataFrame:
    """The accuracy of each number of neurons: columns neurons, modulus, relu, square."""
    return pd.DataFrame(
        [
            {"neurons": count, "modulus": modulus, **{a: accuracy(count, modulus, a) for a in ACTIVATIONS}}
            for count in neurons
        ]
    )
