"""Parity: the label of n_bits random bits is the parity of the first n_parity_bits.

The recipe is E1 of "Do Machine Learning Models Memorize or Generalize?" (Pearce et al., PAIR, 2023).
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from grok_sweep.core.parts import LEAST_LOSS, Data, Task, whole

if TYPE_CHECKING:
    import jax

# The loss is -log of a probability clipped to [CLIP, 1 - CLIP]: none is under 1.19e-7, and a clipped row
# has no gradient. Inferred from the minima the article published; the phase threshold on the ratio of the
# two losses depends on this floor.
CLIP = LEAST_LOSS
TRAIN, TEST = 0, 1  # which stream of a seed's random numbers


class Parity(Task):
    """The label of n_bits random bits is the parity of the first n_parity_bits; the others are distractors.

    The input has a constant 1 appended, the bias.
    """

    models = ("relu_mlp",)
    unit = "nats per row"
    opens = "digits"
    bits = True
    numbers = {  # noqa: RUF012
        "n_bits": whole(30, "random bits of an input", 1, 100_000),
        "n_parity_bits": whole(3, "bits whose parity is the label", 1, 100_000),
        "train_size": whole(1000, "training rows", 1, 10_000_000, rows=True),
        "test_size": whole(5000, "test rows", 1, 10_000_000, rows=True),
    }

    def check(self, h: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Problems of a run's hyperparameters taken together, as (key, message)."""
        if h["n_parity_bits"] > h["n_bits"]:
            yield "n_parity_bits", f"must be at most n_bits={h['n_bits']}"

    def row(self, h: Any) -> tuple[tuple[int, ...], str]:
        """The bits and the constant 1."""
        return (int(h["n_bits"]) + 1,), "int8"

    def rows(self, h: Any) -> tuple[int, int]:
        """See `Task`."""
        return int(h["train_size"]), int(h["test_size"])

    def data(self, h: Any, seed: int) -> Data:
        """The rows of a run: x of shape (rows, n_bits + 1) in {0, 1}, its last column 1; y in {0, 1}.

        Train and test rows are separate streams of the seed. The first rows of a larger train_size are those
        of a smaller one, so cells of one seed differ in what is changed and in nothing else.
        """
        bits, parity_bits = int(h["n_bits"]), int(h["n_parity_bits"])
        x_train_ND, y_train_N = _rows(bits, parity_bits, int(h["train_size"]), seed, TRAIN)
        x_test_ND, y_test_N = _rows(bits, parity_bits, int(h["test_size"]), seed, TEST)
        return Data(x_train_ND, y_train_N, x_test_ND, y_test_N)

    def loss_floor(self, h: Mapping[str, Any]) -> float:
        """That of the loss itself: no ratio is changed by it."""
        return CLIP

    def loss(self, h: Any, logit_N: "jax.Array", y_N: "jax.Array") -> "jax.Array":
        """Binary cross entropy of each row, on the clipped probability."""
        import jax
        import jax.numpy as jnp

        p_N, y_N = jnp.clip(jax.nn.sigmoid(logit_N), CLIP, 1 - CLIP), y_N.astype(logit_N.dtype)
        return -(y_N * jnp.log(p_N) + (1 - y_N) * jnp.log1p(-p_N))

    def correct(self, h: Any, logit_N: "jax.Array", y_N: "jax.Array") -> "jax.Array":
        """Whether each row is on the right side of a probability of one half."""
        return (logit_N > 0) == (y_N > 0)


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
