"""What the engine asks of a network, and any flax module as one. The built-in ones are in `networks`."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from grok_sweep.core.number import Values
from grok_sweep.core.parts import PartError

Params = Any  # flax's tree of arrays
Row = tuple[tuple[int, ...], str]  # the shape and the type of a row of x


class Network:
    """A flax module, by its `init` and `apply`, and what the planner must know of it: at first, estimates.

    `init(key, x)` gives initial weights, `apply(params, x)` the output as the task's loss wants it; x is rows
    as `inputs` gives them. Where a hyperparameter has no effect, effects.py says, which needs no jax.
    """

    init: Callable[..., Params]
    apply: Callable[..., Any]

    @property
    def features_first(self) -> bool:
        """Whether `inputs` are x_DN, as few neurons want it; such rows cannot be gone through in blocks."""
        return False

    def inputs(self, x: jax.Array, dtype: Any) -> jax.Array:
        """Rows of the task as `apply` wants them: once, before training.

        Those of bool and of 8 bits as fractions, other whole numbers (tokens) as they are.
        """
        fraction = jnp.issubdtype(x.dtype, jnp.floating) or x.dtype.itemsize == 1
        return x.astype(dtype) if fraction else x

    def weights(self, params: Params) -> dict[str, jax.Array]:
        """What is recorded of the weights: each array by its path, Dense_0/kernel."""
        leaves = jax.tree_util.tree_leaves_with_path(params)
        return {
            "/".join(str(step.key) for step in path).removeprefix("params/"): leaf for path, leaf in leaves
        }

    def weight_shapes(self, row: Row) -> dict[str, tuple[int, ...]]:
        """Their shapes."""
        weights = jax.eval_shape(self.weights, self._params(row))
        return {name: leaf.shape for name, leaf in weights.items()}

    def operations(self, row: Row) -> int:
        """Floating-point operations of one row in one step, multiplications and additions counted apart.

        Each weight is multiplied and added once, and twice backward; in a convolution it is more often.
        """
        return 6 * sum(math.prod(shape) for shape in self.weight_shapes(row).values())

    def step_operations(self, row: Row) -> int:
        """Those of one step that are there whatever its rows. What the optimizer does is not counted."""
        return 0

    def sizes(self, row: Row) -> tuple[int, int]:
        """How many numbers are trained, and how many come out for a row."""
        params = self._params(row)
        outputs = jax.eval_shape(lambda params: self.apply(params, self._row(row)), params)
        return sum(leaf.size for leaf in jax.tree.leaves(params)), outputs.size

    def bytes_per_row(self, row: Row) -> int:
        """Float32 memory that one row takes in a step: what is computed of it, and its gradient."""
        # The row is made within: made here it would start jax's threads, and no process may fork then.
        jaxpr = jax.make_jaxpr(lambda params: self.apply(params, self._row(row)))(self._params(row))
        return 2 * 4 * sum(out.aval.size for step in jaxpr.eqns for out in step.outvars)

    def _row(self, row: Row) -> jax.Array:
        shape, kind = row
        return self.inputs(jnp.zeros((1, *shape), kind), jnp.float32)

    def _params(self, row: Row) -> Params:
        return jax.eval_shape(lambda: self.init(jax.random.key(0), self._row(row)))


class Plain(Network):
    """Any flax module, its rows first; `rows_axis`: that of the output that the task's loss wants.

    `init` raises PartError where it has more than params.
    """

    def __init__(self, module: nn.Module, rows_axis: int) -> None:
        self.module, self.rows_axis = module, rows_axis
        self.init, self.apply = self._init, self._apply

    def _init(self, key: jax.Array, x: jax.Array) -> Params:
        variables = self.module.init(key, x)
        if more := sorted(set(variables) - {"params"}):
            what = f"{type(self.module).__name__}: has the collection {more[0]} beside params"
            raise PartError(f"{what}; only params are trained and recorded, so make do with these")
        return variables

    def _apply(self, params: Params, x: jax.Array) -> jax.Array:
        return jnp.moveaxis(self.module.apply(params, x), 0, self.rows_axis)


def build(part: Any, h: Mapping[str, Any], rows_axis: int = 0) -> Network:
    """The network of a model's part at these hyperparameters. Raises PartError where it makes none."""
    made = part.make(h if isinstance(h, Values) else Values(h))
    if not isinstance(made, nn.Module):
        raise PartError(
            f"model {part.name}: gives {type(made).__name__}; give a flax module (flax.linen.Module)"
        )
    return made if isinstance(made, Network) else Plain(made, rows_axis)
