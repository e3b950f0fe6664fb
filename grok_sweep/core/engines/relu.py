"""What the native engines have in common: relu(x W) w, one hidden layer on rows of small whole numbers.

With G = sum over rows of x dz [x W > 0], where dz is the slope of a row's loss in its output, dL/dW is w G,
and dL/dw the sum over features of W G. So backward needs one bit of a neuron and row, not the hidden layer.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from grok_sweep.core.models import Params
from grok_sweep.core.networks import ReluMLP
from grok_sweep.core.program import Program
from grok_sweep.core.tasks.parity import Parity

MOST_ROWS = 2**16 - 1  # on a CPU: they are counted in 16 bits
MOST_FEATURES = {"cpu": 48, "gpu": 64, "tpu": 64}
MOST_HIDDEN = 512  # a kernel holds the hidden layer of some rows at once
# A GPU's holds the weights too, some times over, in what a block of threads shares: (features up to
# which, neurons) that XLA compiles for the 227 KB of an H100; up to 258 of 31 features were trained on one.
MOST_HIDDEN_GPU = ((16, MOST_HIDDEN), (32, 368), (64, 176))

LEAST_HIDDEN_TPU = 32  # below, XLA's own estimates of a TPU's cycles have XLA ahead (tests/aot.yaml)


class Relu:
    """A network's weights, and the gradient of a loss by them. See `engines` for what makes it an engine."""

    def __init__(self, program: Program, losses: Callable[..., jax.Array]) -> None:
        self.losses = losses
        (self.features,), _ = program.row
        (self.hidden,) = program.built.weight_shapes(program.row)["w_out"]

    def weights(self, params: Params) -> tuple[jax.Array, jax.Array]:
        """W, of shape (D, H), and w, of shape (H,)."""
        return params["params"]["w_in"], params["params"]["w_out"]

    def tree(self, w_in_DH: jax.Array, w_out_H: jax.Array) -> Params:
        """Params, or what has their shape, of such two."""
        return {"params": {"w_in": w_in_DH, "w_out": w_out_H}}

    def slope(self, z_N: jax.Array, y_N: jax.Array, weight_N: jax.Array) -> jax.Array:
        """dz: of each row's weighted loss in its output."""
        (dz_N,) = jax.vjp(lambda z_N: self.losses(z_N, y_N), z_N)[1](weight_N)
        return dz_N

    def gradient_of(self, params: Params, g_DH: jax.Array) -> Params:
        """Of all weights, from G."""
        w_in_DH, w_out_H = self.weights(params)
        return self.tree(w_out_H[None, :] * g_DH, jnp.sum(w_in_DH * g_DH, axis=0))


def unknown(program: Program) -> str:
    """Why a program is none for it; "" where it is one."""
    shape, kind = program.row
    if not isinstance(program.built, ReluMLP):
        others = ", modular_mlp and modular_circle" if program.device == "cpu" else ""
        return f"it knows the network of relu_mlp{others}, not that of {program.model}"
    if type(program.part("task")).loss is not Parity.loss:
        return f"it knows the loss of parity, not that of {program.task}"
    if program.device == "cpu" and not program.part("task").bits:
        return f"it knows rows of bits on a CPU, which the task {program.task} does not say that it has"
    if program.dtype != "float32" or program.batch_size:
        return "it trains in float32, by all rows in each step"
    most, features, neurons = MOST_FEATURES[program.device], math.prod(shape), MOST_HIDDEN
    if program.device == "gpu":
        neurons = next((most for up_to, most in MOST_HIDDEN_GPU if features <= up_to), 0)
    if kind != "int8" or features > most:
        return f"it knows rows of at most {most} 8-bit numbers"
    if program.built.hidden_size > neurons:
        return f"it knows at most {neurons} neurons, where a row has {features} numbers"
    if program.device == "cpu" and max(program.rows, program.test_rows) > MOST_ROWS:
        return f"it knows at most {MOST_ROWS} rows"
    return ""


def pays(program: Program) -> bool:
    """Whether it is the faster one, of a program that it knows."""
    return program.device != "tpu" or program.values["hidden_size"] >= LEAST_HIDDEN_TPU
