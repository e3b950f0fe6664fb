"""relu(x W) w of rows of bits, and its gradient, by tables on a CPU; how is said in relu.cpp.

jax calls it by name: `worker.native` builds it for the processor at hand, and tells jax.
"""

from typing import Any

import jax
import jax.numpy as jnp

from grok_sweep.core.engines.relu import Relu
from grok_sweep.core.models import Params

TARGETS = ("relu_outputs", "relu_forward", "relu_backward")
VECTOR = 16  # neurons whose bits are one whole number
MOST_BITS = 6  # of a group: its table has 64 rows then


class ReluCpu(Relu):
    """See `engines`. Of what `relu` knows, with rows of bits."""

    def inputs(self, x_ND: jax.Array) -> jax.Array:
        """Which row of each group's table a row of bits takes, (N, G)."""
        index, begin = [], 0
        for bits in groups(self.features):
            part = x_ND[:, begin : begin + bits].astype(jnp.int32)
            index.append(part @ (1 << jnp.arange(bits)))
            begin += bits
        return jnp.stack(index, axis=1).astype(jnp.uint8)

    def outputs(self, params: Params, index_NG: jax.Array) -> jax.Array:
        """Of each row."""
        shape = jax.ShapeDtypeStruct((len(index_NG),), jnp.float32)
        return _call("relu_outputs", shape, index_NG, *self.weights(params))

    def gradient(self, params: Params, index_NG: jax.Array, y_N: jax.Array, weight_N: jax.Array) -> Params:
        """Of the sum of the rows' losses, each times its weight."""
        rows = len(index_NG)
        words = rows * -(-self.hidden // VECTOR)
        shapes = jax.ShapeDtypeStruct((rows,), jnp.float32), jax.ShapeDtypeStruct((words,), jnp.uint16)
        z_N, on = _call("relu_forward", shapes, index_NG, *self.weights(params))
        shape = jax.ShapeDtypeStruct((self.features, self.hidden), jnp.float32)
        dz_N = self.slope(z_N, y_N, weight_N)
        return self.gradient_of(params, _call("relu_backward", shape, index_NG, dz_N, on))


def groups(features: int) -> list[int]:
    """Bits of each group: about five, which costs least, as evenly as can be."""
    count = max(1, round(features / 5.2), -(-features // MOST_BITS))
    return [features // count + (group < features % count) for group in range(count)]


def _call(target: str, shapes: Any, *arguments: jax.Array) -> Any:
    """Lanes are one axis more, at the front of all."""
    return jax.ffi.ffi_call(f"grok_sweep_{target}", shapes, vmap_method="broadcast_all")(*arguments)
