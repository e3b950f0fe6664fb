"""What a training gets, has between two steps, shows to metrics, and leaves."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax

from grok_sweep.core.models import Params


class Rows(NamedTuple):
    """The data of one run as the program gets it: x and y as the task gives them, training rows padded.

    `train_size` is how many of the training rows count, `test_size` how many test rows there are: a number of
    the program itself XLA would divide by as by a constant, with its inverse. `seed`: for mini-batches.
    """

    x_train_ND: Any
    y_train_N: Any
    x_test_ND: Any
    y_test_N: Any
    train_size: Any
    test_size: Any
    seed: Any = None


class Metrics(NamedTuple):
    """What is logged, over T = steps / log_every + 1 steps: 0, log_every, ..., steps.

    Losses are means over rows in nats, accuracies shares of rows, weight_norm the L2 norm of all weights;
    all of the same weights, those before the step's update.
    """

    train_loss: jax.Array
    eval_loss: jax.Array
    train_accuracy: jax.Array
    eval_accuracy: jax.Array
    weight_norm: jax.Array


class State(NamedTuple):
    """What a step begins with: weights, the optimizer's moments and, where they are needed, others.

    `t`: the step; `order_N`: that of the rows in this epoch; `so_far`: of metrics that go on.
    """

    params: Params
    moments: Any
    t: jax.Array | None
    order_N: jax.Array | None
    so_far: dict[str, jax.Array]


class Trained(NamedTuple):
    """What a run leaves: its metrics, and its weights, if they are recorded.

    `own`: the metrics of the user's file by name, over the T logged steps too. `weights`: name -> S
    snapshots, those of the steps 0, snapshot_every, ..., steps; see `Network.weights`.
    """

    metrics: Metrics
    own: dict[str, jax.Array]
    weights: dict[str, jax.Array]


@dataclass
class Moment:
    """A network at a step, as a user's metrics see it; the rows are all training rows and test rows.

    step: that whose update comes next; params: flax's tree; x and y: as the task gives them, `train_size`
    training rows (of a sweep with metrics none is padded); output: as the loss gets it. What is asked for is
    computed, all else is not. `train_loss` and `test_loss`: means over rows; `gradient`: of the former, in
    the shape of params; it costs a step.
    """

    step: Any
    params: Any
    x_train: jax.Array
    y_train: jax.Array
    x_test: jax.Array
    y_test: jax.Array
    output_train: jax.Array
    output_test: jax.Array
    train_size: jax.Array
    _losses: Callable[[Any, Any], Any]
    _gradient: Callable[[Any], Any]

    @functools.cached_property
    def train_loss(self) -> Any:
        """The mean over the training rows, shape ()."""
        return self._losses(self.output_train, self.y_train).mean()

    @functools.cached_property
    def test_loss(self) -> Any:
        """The mean over the test rows, shape ()."""
        return self._losses(self.output_test, self.y_test).mean()

    @functools.cached_property
    def gradient(self) -> Any:
        """Of the training loss."""
        return self._gradient(self.params)
