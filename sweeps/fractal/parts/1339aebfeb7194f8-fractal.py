"""Parts of Sohl-Dickstein 2024, "The boundary of neural network trainability is fractal" (arXiv 2402.06184).

One network, one draw of its weights and of its data: what differs from run to run are the learning rates of
its two layers.
"""

import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

from grok_sweep.core.parts import Data, Look, Task, definition, metric, model, optimizer, real, whole

TAIL = 20  # losses whose mean is compared with the first


class Noise(Task):
    """Standard normal targets of standard normal inputs: nothing is to be learnt but these rows by heart."""

    numbers = {
        "inputs": whole(16, "of a row", 1, 10_000),
        "train_size": whole(272, "rows, as many as the network has weights", 1, 1_000_000, rows=True),
    }
    correct = None

    def rows(self, h):
        return h.train_size, 1

    def row(self, h):
        return (h.inputs,), "float32"

    def data(self, h, seed):
        random = np.random.default_rng(seed)
        x = random.normal(size=(h.train_size, h.inputs))
        y = random.normal(size=h.train_size)
        return Data(x, y, x[:1], y[:1])  # there is no test: one row stands where one must

    def loss(self, h, output, y):
        return (output - y) ** 2


class MeanField(nn.Module):
    """tanh(sqrt(2) x W_in / sqrt(fan_in)) w_out / fan_in, all weights standard normal, without biases."""

    width: int

    @nn.compact
    def __call__(self, x):
        normal = nn.initializers.normal(1.0)
        w_in = self.param("w_in", normal, (x.shape[1], self.width))
        w_out = self.param("w_out", normal, (self.width,))
        hidden = jnp.tanh(jnp.sqrt(2.0) * (x @ w_in) / x.shape[1] ** 0.5)
        return hidden @ w_out / self.width


@model(width=whole(16, "neurons of the hidden layer", 1, 10_000))
def mean_field(h):
    return MeanField(h.width)


@optimizer(
    input_learning_rate=real(1.0, "step size of gradient descent for the first layer", 0, above=True),
    output_learning_rate=real(1.0, "step size for the second layer", 0, above=True),
)
def two_sgd(h):
    """Gradient descent with a rate for each layer."""
    rates = {"w_in": h.input_learning_rate, "w_out": h.output_learning_rate}
    return optax.multi_transform(
        {name: optax.sgd(rate) for name, rate in rates.items()},
        lambda params: {"params": {name: name for name in params["params"]}},
    )


# Of the losses of all steps, those before each update.


@metric(start=0.0)
def first_loss(h, at, so_far):
    return jnp.where(at.step == 0, at.train_loss, so_far)


@metric(start=0.0)
def tail_loss(h, at, so_far):
    """The mean of the last losses."""
    counts = (at.step >= h.steps - TAIL) & (at.step < h.steps)
    return so_far + jnp.where(counts, at.train_loss / TAIL, 0.0)


@metric(start=0.0)
def loss_sum(h, at, so_far):
    return so_far + jnp.where(at.step < h.steps, at.train_loss, 0.0)


@metric(start=0.0)
def inverse_sum(h, at, so_far):
    """Of the inverse losses; a loss that is no number any more has none."""
    counts = (at.step < h.steps) & jnp.isfinite(at.train_loss)
    return so_far + jnp.where(counts, 1 / at.train_loss, 0.0)


@definition(
    {
        "converged": Look("#3d85c6", "circle", shade="final_loss_sum"),
        "diverged": Look("#cc4125", "cross", shade="final_inverse_sum"),
    },
    reads_curves=False,
)
def trainable(runs, curves, h):
    """Converged: the mean of the last 20 losses is under the first."""
    return np.where(runs["final_tail_loss"] < runs["final_first_loss"], "converged", "diverged")
