"""Modular addition: the label of a pair (a, b) is a + b mod modulus.

The recipe is E3 of "Do Machine Learning Models Memorize or Generalize?" (Pearce et al., PAIR, 2023): all
pairs a <= b, or all ordered ones, a share of them for training and the rest for the test.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from grok_sweep.tasks import LEAST_LOSS, Data

if TYPE_CHECKING:
    import jax

MODELS = ("modular_mlp", "modular_circle")


def check(values: Mapping[str, float]) -> Iterator[tuple[str, str]]:
    """Problems of a run's hyperparameters taken together, as (key, message)."""
    modulus = int(values["modulus"])
    if modulus % 2 == 0:
        yield "modulus", "must be odd: an even one has a frequency without a sine, which nothing here expects"
        return
    train, test = rows(values)
    if not train or not test:
        yield "train_share", f"of {train + test:,} pairs must leave at least one to train on and one to test"


def input_size(values: Mapping[str, float]) -> int:
    """Features of a row: a and b, one-hot, one after the other."""
    return 2 * int(values["modulus"])


def rows(values: Mapping[str, Any]) -> tuple[Any, Any]:
    """Training and test rows of a run; of many, where the values are arrays."""
    modulus = np.asarray(values["modulus"], np.int64)
    pairs = np.where(
        np.asarray(values["ordered_pairs"]) == 1, modulus * modulus, modulus * (modulus + 1) // 2
    )
    train = np.rint(np.asarray(values["train_share"], np.float64) * pairs).astype(np.int64)
    return train, pairs - train


def pairs(values: Mapping[str, float], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The pairs (a, b) of the training and of the test rows, int64 of shape (rows, 2), in the data's order.

    The order of all pairs is one permutation per seed, modulus and kind of pairs, so the training rows of a
    smaller share are the first of those of a larger one.
    """
    modulus = int(values["modulus"])
    every_PP = np.ones((modulus, modulus), bool)
    all_P2 = np.argwhere(every_PP if values["ordered_pairs"] == 1 else np.triu(every_PP))
    shuffled_P2 = np.random.default_rng(seed).permutation(all_P2)
    train = int(rows(values)[0])
    return shuffled_P2[:train], shuffled_P2[train:]


def data(values: Mapping[str, float], seed: int) -> Data:
    """The rows of a run: x of shape (rows, 2 modulus) in {0, 1}; y in 0, ..., modulus - 1."""
    modulus = int(values["modulus"])
    train_N2, test_N2 = pairs(values, seed)
    return Data(
        _one_hot(train_N2, modulus),
        (train_N2.sum(axis=1) % modulus).astype(np.int32),
        _one_hot(test_N2, modulus),
        (test_N2.sum(axis=1) % modulus).astype(np.int32),
    )


def loss_floor(values: Mapping[str, float]) -> float:
    """The floor of parity's loss, as a mean over the classes, which `loss` is."""
    return LEAST_LOSS / int(values["modulus"])


def _one_hot(pairs_N2: np.ndarray, modulus: int) -> np.ndarray:
    x_ND = np.zeros((len(pairs_N2), 2 * modulus), np.int8)
    row_N = np.arange(len(pairs_N2))
    x_ND[row_N, pairs_N2[:, 0]] = 1
    x_ND[row_N, modulus + pairs_N2[:, 1]] = 1
    return x_ND


def loss(logits_CN: "jax.Array", y_N: "jax.Array") -> "jax.Array":
    """Cross entropy of each row in nats, as a mean over the classes too: modulus times smaller than usual."""
    import jax
    import jax.numpy as jnp

    log_p_CN = jax.nn.log_softmax(logits_CN, axis=0)
    return -jnp.take_along_axis(log_p_CN, y_N[None], axis=0)[0] / logits_CN.shape[0]


def correct(logits_CN: "jax.Array", y_N: "jax.Array") -> "jax.Array":
    """Whether the largest logit of each row is that of its class."""
    import jax.numpy as jnp

    return jnp.argmax(logits_CN, axis=0) == y_N
