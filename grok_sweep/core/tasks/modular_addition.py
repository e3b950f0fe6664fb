"""Modular addition: the label of a pair (a, b) is a + b mod modulus.

The recipe is E3 of "Do Machine Learning Models Memorize or Generalize?" (Pearce et al., PAIR, 2023): all
pairs a <= b, or all ordered ones, a share of them for training and the rest for the test.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from grok_sweep.core.parts import LEAST_LOSS, Data, Task, real, whole

if TYPE_CHECKING:
    import jax


class ModularAddition(Task):
    """The label of a pair (a, b) is a + b mod modulus.

    All pairs a <= b, or with ordered_pairs 1 all ordered ones: a share of them is trained on, the rest is the
    test.
    """

    models = ("modular_mlp", "modular_circle")
    unit = "nats per row / {modulus}"  # a mean over the classes, too
    opens = "addition"
    rows_axis = -1  # of the logits: the fastest layout for few neurons
    numbers = {  # noqa: RUF012
        "modulus": whole(67, "of modular addition, odd", 3, 1_001),
        "ordered_pairs": whole(0, "1: (a, b) and (b, a) are two rows; 0: only a <= b", among=(0, 1)),
        "train_share": real(
            0.4, "share of all pairs that is trained on", 0, 1, above=True, below=True, rows=True
        ),
    }

    def check(self, h: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Problems of a run's hyperparameters taken together, as (key, message)."""
        modulus = int(h["modulus"])
        if modulus % 2 == 0:
            yield (
                "modulus",
                "must be odd: an even one has a frequency without a sine, which nothing here expects",
            )
            return
        train, test = self.rows(h)
        if not train or not test:
            yield (
                "train_share",
                f"of {train + test:,} pairs must leave at least one to train on and one to test",
            )

    def row(self, h: Any) -> tuple[tuple[int, ...], str]:
        """The numbers a and b, one-hot, one after the other."""
        return (2 * int(h["modulus"]),), "int8"

    def rows(self, h: Any) -> tuple[int, int]:
        """See `Task`."""
        modulus = int(h["modulus"])
        pairs = modulus * modulus if h["ordered_pairs"] == 1 else modulus * (modulus + 1) // 2
        train = int(np.rint(float(h["train_share"]) * pairs))
        return train, pairs - train

    def pairs(self, h: Any, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """The pairs (a, b) of the training and of the test rows, int64 of shape (rows, 2), as in the data.

        The order of all pairs is one permutation per seed, modulus and kind of pairs, so the training rows of
        a smaller share are the first of those of a larger one.
        """
        modulus = int(h["modulus"])
        every_PP = np.ones((modulus, modulus), bool)
        all_P2 = np.argwhere(every_PP if h["ordered_pairs"] == 1 else np.triu(every_PP))
        shuffled_P2 = np.random.default_rng(seed).permutation(all_P2)
        train, _ = self.rows(h)
        return shuffled_P2[:train], shuffled_P2[train:]

    def data(self, h: Any, seed: int) -> Data:
        """The rows of a run: x of shape (rows, 2 modulus) in {0, 1}; y in 0, ..., modulus - 1."""
        modulus = int(h["modulus"])
        train_N2, test_N2 = self.pairs(h, seed)
        return Data(
            _one_hot(train_N2, modulus),
            (train_N2.sum(axis=1) % modulus).astype(np.int32),
            _one_hot(test_N2, modulus),
            (test_N2.sum(axis=1) % modulus).astype(np.int32),
        )

    def loss_floor(self, h: Mapping[str, Any]) -> float:
        """The floor of parity's loss, as a mean over the classes, which `loss` is."""
        return LEAST_LOSS / int(h["modulus"])

    def loss(self, h: Any, logits_CN: "jax.Array", y_N: "jax.Array") -> "jax.Array":
        """Cross entropy of each row in nats, over the classes a mean: modulus times smaller than usual."""
        import jax
        import jax.numpy as jnp

        log_p_CN = jax.nn.log_softmax(logits_CN, axis=0)
        return -jnp.take_along_axis(log_p_CN, y_N[None], axis=0)[0] / logits_CN.shape[0]

    def correct(self, h: Any, logits_CN: "jax.Array", y_N: "jax.Array") -> "jax.Array":
        """Whether the largest logit of each row is that of its class."""
        import jax.numpy as jnp

        return jnp.argmax(logits_CN, axis=0) == y_N


def _one_hot(pairs_N2: np.ndarray, modulus: int) -> np.ndarray:
    x_ND = np.zeros((len(pairs_N2), 2 * modulus), np.int8)
    row_N = np.arange(len(pairs_N2))
    x_ND[row_N, pairs_N2[:, 0]] = 1
    x_ND[row_N, modulus + pairs_N2[:, 1]] = 1
    return x_ND
