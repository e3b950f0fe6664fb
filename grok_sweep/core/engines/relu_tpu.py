"""relu(x W) w of rows of small whole numbers, and its gradient, in plain jax for a TPU's matrix units.

They multiply bfloat16, and XLA makes six products of them for one of float32. Here x and [x W > 0] are
bfloat16 exactly, and the other factor is the sum of three `pieces`: three products. The three are one, as x
stands in its rows three times, beside each piece once: 31 features fill a quarter of a unit of 128.
"""

import jax
import jax.numpy as jnp

from grok_sweep.core.engines.pieces import pieces, product
from grok_sweep.core.engines.relu import Relu
from grok_sweep.core.models import Params


class ReluTpu(Relu):
    """See `engines`. Of what `relu` knows; it runs on a CPU too, for tests."""

    def inputs(self, x_ND: jax.Array) -> jax.Array:
        """Three times in bfloat16, which holds whole numbers up to 256."""
        return jnp.tile(x_ND.astype(jnp.bfloat16), (1, 3))

    def outputs(self, params: Params, x_NE: jax.Array) -> jax.Array:
        """Of each row."""
        return self.forward(params, x_NE)[0]

    def gradient(self, params: Params, x_NE: jax.Array, y_N: jax.Array, weight_N: jax.Array) -> Params:
        """Of the sum of the rows' losses, each times its weight."""
        z_N, h_NH = self.forward(params, x_NE)
        x_ND = x_NE[:, : self.features].astype(jnp.float32)
        xdz_NE = jnp.concatenate(pieces(x_ND * self.slope(z_N, y_N, weight_N)[:, None]), axis=1)
        g_EH = product(xdz_NE.T, (h_NH > 0).astype(jnp.bfloat16))
        return self.gradient_of(params, g_EH.reshape(3, self.features, self.hidden)[::-1].sum(axis=0))

    def forward(self, params: Params, x_NE: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The output of each row, and the hidden layer before relu."""
        w_in_DH, w_out_H = self.weights(params)
        h_NH = product(x_NE, jnp.concatenate(pieces(w_in_DH)))
        # By a sum and not a product, so that XLA does it where it makes the hidden layer.
        return jnp.sum(jnp.maximum(h_NH, 0) * w_out_H[None, :], axis=1), h_NH
