"""What the engine asks of a network, and any flax module as one. The built-in ones are in `networks`.

A model says, beside its flax module, what the planner must know (its operations, its memory, its layout) and
which arrays are recorded of its weights. Where one of its hyperparameters has no effect it says so in
effects.py, which is read without jax.
"""

import math
from collections.abc import Mapping
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from flax import linen as nn

from grok_sweep.core.number import Values
from grok_sweep.core.parts import PartError

Params = Any  # flax's tree of arrays
Row = tuple[tuple[int, ...], str]  # the shape and the type of a row of x


class Model(Protocol):
    """What the engine asks of a model, beside flax's `init` and `apply`.

    D is the features of an input row. `features_first`: whether `apply` wants x_DN; then its rows cannot be
    gone through in blocks.
    """

    @property
    def features_first(self) -> bool:
        """Which layout of x is fastest on a CPU: few neurons want rows contiguous (x_DN)."""

    def init(self, key: jax.Array, x: jax.Array, init_scale: jax.Array) -> Params:
        """Initial weights."""

    def apply(self, params: Params, x: jax.Array) -> jax.Array:
        """The output of each row of `inputs`, rows last: output_N, or logits_CN of C classes."""

    def inputs(self, x_ND: jax.Array, dtype: Any) -> jax.Array:
        """Rows of the task as `apply` wants them: once, before training."""

    def weights(self, params: Params) -> dict[str, jax.Array]:
        """What is recorded of the weights: the arrays in which rows are multiplied, by name."""

    def weight_shapes(self, row: Row) -> dict[str, tuple[int, ...]]:
        """Their shapes."""

    def operations(self, row: Row) -> int:
        """Floating-point operations of one row in one step, multiplications and additions counted apart."""

    def step_operations(self, row: Row) -> int:
        """Those of one step that are there whatever its rows."""

    def bytes_per_row(self, row: Row) -> int:
        """Float32 memory that one row takes in a step."""


class Plain:
    """Any flax module as a `Model`: rows of x as they are, weights by their names, costs from their sizes.

    Rows of bool and of 8 bits come as fractions, other whole numbers (tokens) as they are. `rows_axis`: that
    of the output that the task's loss wants; the module has its rows first.
    """

    features_first = False

    def __init__(self, module: Any, rows_axis: int) -> None:
        self.module, self.rows_axis = module, rows_axis

    def init(self, key: jax.Array, x: jax.Array, init_scale: jax.Array) -> Params:
        """See `Model`. The scale is the module's own affair.

        Raises PartError where it has more than params.
        """
        variables = self.module.init(key, x)
        if more := sorted(set(variables) - {"params"}):
            what = f"{type(self.module).__name__}: has the collection {more[0]} beside params"
            raise PartError(f"{what}; only params are trained and recorded, so make do with these")
        return variables

    def apply(self, params: Params, x: jax.Array) -> jax.Array:
        """See `Model`."""
        return jnp.moveaxis(self.module.apply(params, x), 0, self.rows_axis)

    def inputs(self, x: jax.Array, dtype: Any) -> jax.Array:
        """See `Model`."""
        fraction = jnp.issubdtype(x.dtype, jnp.floating) or x.dtype.itemsize == 1
        return x.astype(dtype) if fraction else x

    def weights(self, params: Params) -> dict[str, jax.Array]:
        """See `Model`: each array by its path, Dense_0/kernel."""
        leaves = jax.tree_util.tree_leaves_with_path(params)
        return {
            "/".join(str(step.key) for step in path).removeprefix("params/"): leaf for path, leaf in leaves
        }

    def weight_shapes(self, row: Row) -> dict[str, tuple[int, ...]]:
        """See `Model`."""
        return {name: leaf.shape for name, leaf in self.weights(self._params(row)).items()}

    def operations(self, row: Row) -> int:
        """See `Model`: each weight is multiplied and added once a row, and twice backward. An estimate: in a
        convolution, say, it is more often.
        """
        return 6 * sum(math.prod(shape) for shape in self.weight_shapes(row).values())

    def step_operations(self, row: Row) -> int:
        """See `Model`."""
        return 0

    def bytes_per_row(self, row: Row) -> int:
        """See `Model`: what is computed of one row, and its gradient."""
        # The row is made within: made here it would start jax's threads, and no process may fork then.
        jaxpr = jax.make_jaxpr(lambda params: self.module.apply(params, self._row(row)))(self._params(row))
        return 2 * 4 * sum(out.aval.size for step in jaxpr.eqns for out in step.outvars)

    def _row(self, row: Row) -> jax.Array:
        shape, kind = row
        return self.inputs(jnp.zeros((1, *shape), kind), jnp.float32)

    def _params(self, row: Row) -> Params:
        return jax.eval_shape(lambda: self.init(jax.random.key(0), self._row(row), jnp.ones(())))


def build(part: Any, h: Mapping[str, Any], rows_axis: int = 0) -> Model:
    """The network of a model's part at these hyperparameters. Raises PartError where it makes none."""
    made = part.make(h if isinstance(h, Values) else Values(h))
    if not isinstance(made, nn.Module):
        raise PartError(
            f"model {part.name}: gives {type(made).__name__}; give a flax module (flax.linen.Module)"
        )
    return made if hasattr(made, "features_first") else Plain(made, rows_axis)
