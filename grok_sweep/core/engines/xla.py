"""The engine that does every program: jax's own gradient, compiled by XLA."""

from collections.abc import Callable

import jax

from grok_sweep.core.models import Network, Params
from grok_sweep.core.program import Program


class Xla:
    """See `engines`."""

    def __init__(self, program: Program, model: Network, losses: Callable[..., jax.Array]) -> None:
        self.program, self.model, self.losses = program, model, losses

    def inputs(self, x: jax.Array) -> jax.Array:
        """Rows as the network wants them."""
        return self.model.inputs(x, self.program.dtype)

    def outputs(self, params: Params, x: jax.Array) -> jax.Array:
        """Of each row; what is made of them, a softmax say, needs more than 16 bits."""
        return self.model.apply(params, x).astype(self.program.sum_dtype)

    def gradient(self, params: Params, x: jax.Array, y_N: jax.Array, weight_N: jax.Array) -> Params:
        """Of the sum of the rows' losses, each times its weight."""
        return jax.grad(lambda p: weight_N @ self.losses(self.outputs(p, x), y_N))(params)
