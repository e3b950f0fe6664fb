"""relu(x W) w of rows of bits, and its gradient, by tables on a CPU; how is said in relu.cpp.

jax calls it by name: `worker.native` builds it for the processor at hand, and tells jax.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from grok_sweep.core.models import Params
from grok_sweep.core.program import Program

TARGETS = ("relu_outputs", "relu_forward", "relu_backward")
VECTOR = 16  # neurons whose bits are one whole number
MOST_BITS = 6  # of a group: its table has 64 rows then


class ReluCpu:
    """See `engines`. Of what `relu` knows, with rows of bits."""

    def __init__(self, program: Program, losses: Callable[..., jax.Array]) -> None:
        self.losses = losses
        (self.features,), _ = program.row
        self.bits_G = groups(self.features)
        (self.hidden,) = program.built.weight_shapes(program.row)["w_out"]

    def inputs(self, x_ND: jax.Array) -> jax.Array:
        """Which row of each group's table a row of bits takes, (N, G)."""
        index, begin = [], 0
        for bits in self.bits_G:
            part = x_ND[:, begin : begin + bits].astype(jnp.int32)
            index.append(part @ (1 << jnp.arange(bits)))
            begin += bits
        return jnp.stack(index, axis=1).astype(jnp.uint8)

    def outputs(self, params: Params, index_NG: jax.Array) -> jax.Array:
        """Of each row."""
        shape = jax.ShapeDtypeStruct((len(index_NG),), jnp.float32)
        return _call("relu_outputs", shape, index_NG, *_weights(params))

    def gradient(self, params: Params, index_NG: jax.Array, y_N: jax.Array, weight_N: jax.Array) -> Params:
        """Of the sum of the rows' losses, each times its weight."""
        w_in_DH, w_out_H = _weights(params)
        rows = len(index_NG)
        words = rows * -(-self.hidden // VECTOR)
        shapes = jax.ShapeDtypeStruct((rows,), jnp.float32), jax.ShapeDtypeStruct((words,), jnp.uint16)
        z_N, on = _call("relu_forward", shapes, index_NG, w_in_DH, w_out_H)
        (dz_N,) = jax.vjp(lambda z_N: self.losses(z_N, y_N), z_N)[1](weight_N)
        shape = jax.ShapeDtypeStruct((self.features, self.hidden), jnp.float32)
        g_DH = _call("relu_backward", shape, index_NG, dz_N, on)
        return {"params": {"w_in": w_out_H[None, :] * g_DH, "w_out": jnp.sum(w_in_DH * g_DH, axis=0)}}


def groups(features: int) -> list[int]:
    """Bits of each group: about five, which costs least, as evenly as can be."""
    count = max(1, round(features / 5.2), -(-features // MOST_BITS))
    return [features // count + (group < features % count) for group in range(count)]


def _weights(params: Params) -> tuple[jax.Array, jax.Array]:
    return params["params"]["w_in"], params["params"]["w_out"]


def _call(target: str, shapes: Any, *arguments: jax.Array) -> Any:
    """Lanes are one axis more, at the front of all."""
    return jax.ffi.ffi_call(f"grok_sweep_{target}", shapes, vmap_method="broadcast_all")(*arguments)
