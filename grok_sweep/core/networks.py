"""The built-in networks: flax modules that say what they cost, see `models.Network`."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from grok_sweep.core.models import Network, Params, Row

TRUNCATED_SD = 0.8796  # standard deviation of a standard normal that is cut at 2


class ReluMLP(nn.Module, Network):
    """output_N = relu(x W_in) w_out: one hidden layer, no bias but what the input brings.

    Initial weights are truncated normal (2 sd) with sd = init_scale * sqrt(1 / fan_in), not corrected for
    the truncation.
    """

    hidden_size: int
    init_scale: Any

    @property
    def features_first(self) -> bool:
        """See `Network`.

        Measured on one core, 1250 rows: hidden 16: 48 against 22 GFLOP/s; 32: 46 against 36; 64: 54
        against 67; 128: 72 against 77; 258: 52 against 64.
        """
        return self.hidden_size < 48

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """The output of each row of x, laid out as `features_first` says."""
        axis = 0 if self.features_first else 1
        w_in_DH = self.param("w_in", _truncated_normal, (x.shape[axis], self.hidden_size), self.init_scale)
        w_out_H = self.param("w_out", _truncated_normal, (self.hidden_size,), self.init_scale)
        if self.features_first:
            return w_out_H @ nn.relu(w_in_DH.T @ x)
        return nn.relu(x @ w_in_DH) @ w_out_H

    def inputs(self, x_ND: jax.Array, dtype: Any) -> jax.Array:
        """See `Network`."""
        x_ND = x_ND.astype(dtype)
        return x_ND.T if self.features_first else x_ND

    def operations(self, row: Row) -> int:
        """See `Network`.

        Forward 2 D H + 3 H (product, relu, w_out), backward 2 D H (W_in) + 2 H (w_out): 129 H for the 31
        inputs of the parity task.
        """
        return self.hidden_size * (4 * row[0][0] + 5)

    def sizes(self, row: Row) -> tuple[int, int]:
        """See `Network`."""
        return self.hidden_size * (row[0][0] + 1), 1

    def bytes_per_row(self, row: Row) -> int:
        """See `Network`: the hidden layer and its gradient."""
        return 2 * 4 * self.hidden_size


class _Modular(nn.Module, Network):
    """logits_PN = (relu(x W_in) W_out)^T of pairs x_ND (two one-hot vectors, one after the other).

    W_in_PH and W_out_HP are products of the weights, taken before any row: the same function as multiplying
    row by row, for a tenth of the work. W_in is (2P, H) where a and b have weights of their own.
    """

    modulus: int
    hidden_size: int
    init_scale: Any

    @property
    def features_first(self) -> bool:
        """See `Network`. Measured, 911 rows of modulus 67, 24 neurons: 0.68 ms a step, rows first 1.1."""
        return True

    @property
    def inputs_shared(self) -> bool:
        """Whether a and b have the same weights: then a row is the sum of its two vectors."""
        return True

    def products(self) -> tuple[jax.Array, jax.Array]:
        """W_in and W_out."""
        raise NotImplementedError

    def __call__(self, x_DN: jax.Array) -> jax.Array:
        """The logits of each row of `inputs`."""
        w_in_DH, w_out_HP = self.products()
        return w_out_HP.T @ nn.relu(w_in_DH.T @ x_DN)

    def inputs(self, x_ND: jax.Array, dtype: Any) -> jax.Array:
        """See `Network`."""
        x_DN = x_ND.astype(dtype).T
        return x_DN[: self.modulus] + x_DN[self.modulus :] if self.inputs_shared else x_DN

    def weights(self, params: Params) -> dict[str, jax.Array]:
        """The products: w_in, of shape (P, H) or (2P, H), and w_out, of shape (H, P)."""
        w_in_DH, w_out_HP = self.apply(params, method=self.products)
        return {"w_in": w_in_DH, "w_out": w_out_HP}

    def operations(self, row: Row) -> int:
        """See `Network`.

        Forward 2 D H + H + 2 H P, backward 2 D H (W_in) + 4 H P (W_out, hidden layer) + H; and 10 P for the
        softmax, its exponentials counted as four.
        """
        features = self.modulus if self.inputs_shared else row[0][0]
        return self.hidden_size * (4 * features + 6 * self.modulus + 2) + 10 * self.modulus

    def bytes_per_row(self, row: Row) -> int:
        """See `Network`: the hidden layer, the logits, and their gradients."""
        return 2 * 4 * (self.hidden_size + self.modulus)


class ModularMLP(_Modular):
    """`_Modular` with an embedding E_PM at input and output, or at the input only; see `core.builtin`.

    Which of its hyperparameters have no effect on a collapsed network: see `effects.DECLARED`.

    E is truncated normal (2 sd) with sd = init_scale * sqrt(2 / P) after the truncation, the other weights
    with init_scale * sqrt(1 / fan_in) before it.
    """

    embed_size: int
    tied_embedding: bool
    tied_hidden: bool
    collapsed_input: bool
    collapsed_output: bool

    @property
    def inputs_shared(self) -> bool:
        """See `_Modular`."""
        return self.tied_hidden

    @nn.compact
    def products(self) -> tuple[jax.Array, jax.Array]:
        """See `_Modular`."""
        modulus, hidden, embed = self.modulus, self.hidden_size, self.embed_size
        embeddings: dict[str, jax.Array] = {}

        def embedding(name: str) -> jax.Array:
            if name not in embeddings:
                scale = self.init_scale * np.sqrt(2) / TRUNCATED_SD
                embeddings[name] = self.param(name, _truncated_normal, (modulus, embed), scale)
            return embeddings[name]

        def weights(name: str, shape: tuple[int, ...]) -> jax.Array:
            return self.param(name, _truncated_normal, shape, self.init_scale)

        def into_hidden(suffix: str) -> jax.Array:
            if self.collapsed_input:
                return weights(f"w_in{suffix}", (modulus, hidden))
            return embedding("embedding") @ weights(f"w_h{suffix}", (embed, hidden))

        w_in = into_hidden("") if self.tied_hidden else jnp.vstack([into_hidden("_a"), into_hidden("_b")])
        if self.collapsed_output:
            return w_in, weights("w_out", (hidden, modulus))
        unembedding = embedding("embedding" if self.tied_embedding else "unembedding")
        return w_in, weights("w_o", (hidden, embed)) @ unembedding.T

    def step_operations(self, row: Row) -> int:
        """See `Network`: 2 P M H of each product, and twice that backward."""
        products = (not self.collapsed_input) * (1 if self.tied_hidden else 2) + (not self.collapsed_output)
        return 6 * self.modulus * self.embed_size * self.hidden_size * products


class ModularCircle(_Modular):
    """`_Modular` with a fixed embedding: cos and sin of 2 pi i / P, both of norm 1. Trained are W_h and W_o.

    Their initial weights are truncated normal (2 sd) with sd = init_scale * sqrt(1 / fan_in).
    """

    @nn.compact
    def products(self) -> tuple[jax.Array, jax.Array]:
        """See `_Modular`."""
        w_h_2H = self.param("w_h", _truncated_normal, (2, self.hidden_size), self.init_scale)
        w_o_H2 = self.param("w_o", _truncated_normal, (self.hidden_size, 2), self.init_scale)
        angle_P = 2 * np.pi * np.arange(self.modulus) / self.modulus
        circle_P2 = np.stack([np.cos(angle_P), np.sin(angle_P)], axis=1)
        embedding_P2 = jnp.asarray(circle_P2 / np.linalg.norm(circle_P2, axis=0), w_h_2H.dtype)
        return embedding_P2 @ w_h_2H, w_o_H2 @ embedding_P2.T

    def step_operations(self, row: Row) -> int:
        """See `Network`: 2 P 2 H of each of two products, and twice that backward."""
        return 6 * self.modulus * 2 * self.hidden_size * 2


def _truncated_normal(key: jax.Array, shape: tuple[int, ...], scale: jax.Array | float) -> jax.Array:
    """Truncated normal over the first axis as fan_in."""
    return scale * jax.random.truncated_normal(key, -2, 2, shape) / jnp.sqrt(shape[0])
