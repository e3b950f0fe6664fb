"""relu(x W) w of rows of bits, and its gradient, by tables on a CPU; how is said in relu.cpp.

jax calls it by name: `worker.native` builds it for the processor at hand, and tells jax.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from grok_sweep.core.engines.relu import Relu
from grok_sweep.core.models import Params
from grok_sweep.core.tasks.parity import CLIP

TARGETS = ("relu_inputs", "relu_outputs", "relu_gradient", "relu_adamw")
MOST_BITS = 7  # of a group: its table has 128 rows then
MOST_GROUPS = 8


class Tabled(NamedTuple):
    """Rows as the kernel wants them: which row of each table each takes, and which of them take each row."""

    index_N8: jax.Array
    order_GN: jax.Array
    start_T: jax.Array


class ReluCpu(Relu):
    """See `engines`. Of what `relu` knows, with rows of bits."""

    def inputs(self, x_ND: jax.Array) -> Tabled:
        """Made by the kernel too."""
        rows, bits = len(x_ND), groups(self.features)
        shapes = (
            jax.ShapeDtypeStruct((rows, MOST_GROUPS), jnp.uint8),
            jax.ShapeDtypeStruct((len(bits), rows), jnp.uint16),
            jax.ShapeDtypeStruct((sum(1 << b for b in bits) + 1,), jnp.int32),
        )
        return Tabled(*_call("relu_inputs", shapes, x_ND))

    def outputs(self, params: Params, x: Tabled) -> jax.Array:
        """Of each row."""
        shape = jax.ShapeDtypeStruct((len(x.index_N8),), jnp.float32)
        count = len(groups(self.features))
        return _call("relu_outputs", shape, x.index_N8, *self.weights(params), groups=count)

    def gradient(self, params: Params, x: Tabled, y_N: jax.Array, weight_N: jax.Array) -> Params:
        """Of the sum of the rows' losses, each times its weight."""
        w_in_DH, w_out_H = self.weights(params)
        shapes = [jax.ShapeDtypeStruct(w.shape, jnp.float32) for w in (w_in_DH, w_out_H)]
        arguments = (*x, y_N.astype(jnp.int8), weight_N, w_in_DH, w_out_H)
        return self.tree(*_call("relu_gradient", shapes, *arguments, clip=np.float32(CLIP)))

    def adamw(self, h: Any, steps: int, state: Any, x: Tabled, y_N: jax.Array, weight_N: jax.Array) -> Any:
        """(params, moments) after some steps of optax.adamw, whose state `moments` is, from those before."""
        params, (adam, *rest) = state
        h_5 = jnp.stack([jnp.float32(h[key]) for key in ("learning_rate", "weight_decay", "b1", "b2", "eps")])
        arrays = jax.tree.leaves([self.weights(tree) for tree in (params, adam.mu, adam.nu)])
        shapes = [jax.ShapeDtypeStruct(a.shape, jnp.float32) for a in arrays]
        arguments = (*x, y_N.astype(jnp.int8), weight_N, h_5, adam.count)
        in_place = {len(arguments) + i: i for i in range(len(arrays))}
        numbers = {"clip": np.float32(CLIP), "steps": steps}
        made = _call("relu_adamw", shapes, *arguments, *arrays, in_place=in_place, **numbers)
        params, mu, nu = (self.tree(*made[i : i + 2]) for i in (0, 2, 4))
        return params, (adam._replace(count=adam.count + steps, mu=mu, nu=nu), *rest)


def groups(features: int) -> list[int]:
    """Bits of each group: about six, which costs least, as evenly as can be."""
    count = max(round(features / 6.2), -(-features // MOST_BITS))
    return [features // count + (group < features % count) for group in range(count)]


def _call(
    target: str, shapes: Any, *arguments: jax.Array, in_place: dict[int, int] | None = None, **attributes: Any
) -> Any:
    """Lanes are one axis more, at the front of all. `in_place`: results by the arguments that become them."""
    name = f"grok_sweep_{target}"
    call = jax.ffi.ffi_call(name, shapes, vmap_method="broadcast_all", input_output_aliases=in_place)
    return call(*arguments, **attributes)
