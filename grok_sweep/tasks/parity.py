"""Parity: the label of n_bits random bits is the parity of the first n_parity_bits.

The recipe is E1 of "Do Machine Learning Models Memorize or Generalize?" (Pearce et al., PAIR, 2023).
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from grok_sweep.tasks import LEAST_LOSS, Data

if TYPE_CHECKING:
    import jax

# The loss is -log of a probability clipped to [CLIP, 1 - CLIP]: none is under 1.19e-7, and a clipped row
# has no gradient. Inferred from the minima the article published; the phase threshold on the ratio of the
# two losses depends on this floor.
CLIP = LEAST_LOSS

MODELS = ("relu_mlp",)
TRAIN, TEST = 0, 1  # which stream of a seed's random numbers


def check(values: Mapping[str, float]) -> Iterator[tuple[str, str]]:
    """Problems of a run's hyperparameters taken together, as (key, message)."""
    if values["n_parity_bits"] > values["n_bits"]:
        yield "n_parity_bits", f"must be at most n_bits={values['n_bits']}"


def input_size(values: Mapping[str, float]) -> int:
    """Features of a row: the bits and the constant 1."""
    return int(values["n_bits"]) + 1


def rows(values: Mapping[str, Any]) -> tuple[Any, Any]:
    """Training and test rows of a run; of many, where the values are arrays."""
    return values["train_size"], values["test_size"]


def data(values: Mapping[str, float], seed: int) -> Data:
    """The rows of a run: x of shape (rows, n_bits + 1) in {0, 1}, its last column 1; y in {0, 1}.

    Train and test rows are separate streams of the seed. The first rows of a larger train_size are those
    of a smaller one, so cells of one seed differ in what is changed and in nothing else.
    """
    bits, parity_bits = int(values["n_bits"]), int(values["n_parity_bits"])
    x_train_ND, y_train_N = _rows(bits, parity_bits, int(values["train_size"]), seed, TRAIN)
    x_test_ND, y_test_N = _rows(bits, parity_bits, int(values["test_size"]), seed, TEST)
    return Data(x_train_ND, y_train_N, x_test_ND, y_test_N)


def loss_floor(values: Mapping[str, float]) -> float:
    """That of the loss itself: no ratio is changed by it."""
    return CLIP


@lru_cache(maxsize=64)
def _rows(bits: int, parity_bits: int, rows: int, seed: int, stream: int) -> tuple[np.ndarray, np.ndarray]:
    """`rows` rows of one stream of a seed. Cached: the runs of a shard share few seeds."""
    random = np.random.default_rng([seed, stream])
    # Drawn as one bit stream row after row: numpy fills in C order, so fewer rows are a prefix of more.
    words = -(-bits // 64)
    x = random.integers(0, 2**64, size=(rows, words), dtype=np.uint64, endpoint=False)
    x_NB = np.unpackbits(x.view(np.uint8), axis=1, count=bits).astype(np.int8)
    y_N = x_NB[:, :parity_bits].sum(axis=1, dtype=np.int64) % 2
    x_ND = np.concatenate([x_NB, np.ones((rows, 1), np.int8)], axis=1)
    return x_ND, y_N.astype(np.int8)


def loss(logit_N: "jax.Array", y_N: "jax.Array") -> "jax.Array":
    """Binary cross entropy of each row, on the clipped probability."""
    import jax
    import jax.numpy as jnp

    p_N, y_N = jnp.clip(jax.nn.sigmoid(logit_N), CLIP, 1 - CLIP), y_N.astype(logit_N.dtype)
    return -(y_N * jnp.log(p_N) + (1 - y_N) * jnp.log1p(-p_N))


def correct(logit_N: "jax.Array", y_N: "jax.Array") -> "jax.Array":
    """Whether each row is on the right side of a probability of one half."""
    return (logit_N > 0) == (y_N > 0)
