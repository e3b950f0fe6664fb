"""My own parts: which of two numbers is larger, a network that embeds them, and SGD with momentum.

Everything is optional: a sweep may take its task, model or optimizer from here and the others from the
package (grok-sweep --help lists them). h holds all hyperparameters of a run (for a model its own and the
static ones of the others); every number declared here is a key of its block of the config, and an axis:
grid.noise=[0,0.1]. h.steps is how many steps there are: schedules need it.
"""

import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

from grok_sweep.core.parts import Data, Look, Task, definition, metric, model, optimizer, real, whole


class Larger(Task):
    """A task: its name in the config is that of the class in small letters, larger."""

    # whole numbers are shapes: another value is another compiled program. Fractions flow through it, unless
    # they say how many rows there are (rows=True) or are declared static=True.
    numbers = {
        "largest": whole(20, "numbers are 0 to this", 1, 1000),
        "share": real(0.5, "share of the pairs that is trained on", 0, 1, above=True, below=True, rows=True),
        "noise": real(0.0, "share of the training labels that is turned over", 0, 0.5),
    }

    def data(self, h, seed):
        """Rows first, in numpy; of h and seed alone, so that a run is the same in every sweep.

        How many there are may depend on this task's own numbers. Rows of bool and of 8 bits come to the
        model as fractions, other whole numbers as they are.
        """
        random = np.random.default_rng(seed)
        numbers = np.arange(h.largest + 1, dtype=np.int32)
        pairs = random.permutation(np.stack(np.meshgrid(numbers, numbers), axis=-1).reshape(-1, 2))
        larger = (pairs[:, 0] > pairs[:, 1]).astype(np.int32)
        train = round(h.share * len(pairs))
        turned = random.random(train) < h.noise
        return Data(pairs[:train], larger[:train] ^ turned, pairs[train:], larger[train:])

    def loss(self, h, output, y):
        """One number a row."""
        return optax.softmax_cross_entropy_with_integer_labels(output, y)

    def correct(self, h, output, y):
        """Which rows are right."""
        return jnp.argmax(output, axis=1) == y


class Net(nn.Module):
    """Any flax module: rows of x in, rows of what the loss takes out."""

    symbols: int
    width: int

    @nn.compact
    def __call__(self, x):
        x = nn.Embed(self.symbols, self.width)(x).reshape(len(x), -1)
        return nn.Dense(2)(nn.relu(nn.Dense(self.width)(x)))


@model(width=whole(16, "neurons, and numbers of an embedding", 1, 10_000))
def net(h):
    """A model: its name in the config is that of the function."""
    return Net(h.largest + 1, h.width)


@optimizer(
    learning_rate=real(0.1, "step size", 0, above=True),
    momentum=real(0.9, "of the gradient", 0, 1, below=True),
)
def sgd(h):
    """Any optax transform; its numbers are traced, so that runs that differ in them share a program."""
    return optax.sgd(h.learning_rate, h.momentum)


@metric
def gradient_norm(h, at):
    """A number at each logged step: a column of the curves, its last value one of the runs. `at` has step,
    params, gradient, and train_loss, x_train, y_train, output_train and the same of the test.
    """
    return optax.tree.norm(at.gradient)


@metric(start=0.0)
def train_loss_sum(h, at, so_far):
    """One that goes on at every step, also those that are not logged; at first so_far is the start.

    `at` is before the step's update, and the last is that of h.steps, after all of them.
    """
    return so_far + at.train_loss


@definition(
    {"learnt": Look("#7cb9df", "circle"), "not_yet": Look("#aaaaaa", "cross")},
    loss=real(0.1, "least test loss of what has learnt", 0, above=True),
)
def halves(runs, curves, h):
    """Phases of one's own, used where the sweep says phases.definition: halves.

    Gives the name of one for each row of `runs`, which has a column for each hyperparameter, for the least
    and the last losses, and for final_train_loss_sum; `curves` has a row per run and logged step; `h` the
    thresholds, here h.loss.
    """
    return np.where(runs["min_eval_loss"] < h.loss, "learnt", "not_yet")
