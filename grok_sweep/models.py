"""Flax modules, one function of their hyperparameters each, named as in conf/model/.

A model says, beside its flax module, what the planner must know: its operations, its memory, its layout.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from flax import linen as nn


class ReluMLP(nn.Module):
    """output_N = relu(x W_in) w_out: one hidden layer, no bias but what the input brings.

    Initial weights are truncated normal (2 sd) with sd = init_scale * sqrt(1 / fan_in), not corrected for
    the truncation.
    """

    hidden_size: int

    @property
    def features_first(self) -> bool:
        """Which layout of x is fastest on a CPU: few neurons want rows contiguous (x_DN).

        Measured on one core, 1250 rows: hidden 16: 48 against 22 GFLOP/s; 32: 46 against 36; 64: 54
        against 67; 128: 72 against 77; 258: 52 against 64.
        """
        return self.hidden_size < 48

    @nn.compact
    def __call__(self, x: jax.Array, init_scale: jax.Array | float = 1.0) -> jax.Array:
        """The output of each row of x, laid out as `features_first` says; init_scale matters to init only."""
        axis = 0 if self.features_first else 1
        w_in_DH = self.param("w_in", _truncated_normal, (x.shape[axis], self.hidden_size), init_scale)
        w_out_H = self.param("w_out", _truncated_normal, (self.hidden_size,), init_scale)
        if self.features_first:
            return w_out_H @ nn.relu(w_in_DH.T @ x)
        return nn.relu(x @ w_in_DH) @ w_out_H

    def operations(self, input_size: int) -> int:
        """Floating-point operations of one row in one step, multiplications and additions counted apart.

        Forward 2 D H + 3 H (product, relu, w_out), backward 2 D H (W_in) + 2 H (w_out): 129 H for the 31
        inputs of the parity task.
        """
        return self.hidden_size * (4 * input_size + 5)

    def bytes_per_row(self) -> int:
        """Float32 memory that one row takes in a step: the hidden layer and its gradient."""
        return 2 * 4 * self.hidden_size


def _truncated_normal(key: jax.Array, shape: tuple[int, ...], scale: jax.Array | float) -> jax.Array:
    """Truncated normal over the first axis as fan_in."""
    return scale * jax.random.truncated_normal(key, -2, 2, shape) / jnp.sqrt(shape[0])


def build(name: str, values: Mapping[str, float]) -> ReluMLP:
    """The module that conf/model/`name`.yaml stands for."""
    return {"relu_mlp": lambda: ReluMLP(hidden_size=int(values["hidden_size"]))}[name]()
