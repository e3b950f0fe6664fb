"""One program: `make_train(program)` gives a pure function of one run, `compiled` vmaps and jits it.

Knows nothing of Ray, files or Hydra.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from grok_sweep.core import models
from grok_sweep.core.parts import PartError
from grok_sweep.core.program import Program

Params = models.Params


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


BATCHES = 1  # which stream of a seed's random numbers; initial weights have the seed itself


class State(NamedTuple):
    """What a step begins with: weights, the optimizer's moments and, where they are needed, others.

    `t`: the step; `order_N`: that of the rows in this epoch; `so_far`: of metrics that go on.
    """

    params: Params
    moments: Any
    t: jax.Array | None
    order_N: jax.Array | None
    so_far: dict[str, jax.Array]


Logged = tuple[Metrics, dict[str, jax.Array]]


class Trained(NamedTuple):
    """What a run leaves: its metrics, and its weights, if they are recorded.

    `own`: the metrics of the user's file by name, over the T logged steps too. `weights`: name -> S
    snapshots, those of the steps 0, snapshot_every, ..., steps; see `Model.weights`.
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


def make_train(program: Program) -> Callable[[Mapping[str, jax.Array], Params, Rows], Trained]:
    """train(hparams, params, rows) -> Trained, of T metrics: one run from its initial weights, pure."""
    task = program.part("task")

    def train(hparams: Mapping[str, jax.Array], params: Params, rows: Rows) -> Trained:
        h = program.h(hparams)
        model = program.network(h)
        # Built here, of traced numbers: a Python float would be compiled in.
        transform = program.transform(h)
        y_train_N, y_test_N = rows.y_train_N, rows.y_test_N
        x_train, x_test = (model.inputs(x, program.dtype) for x in (rows.x_train_ND, rows.x_test_ND))
        # Padded rows weigh nothing, in the loss and so in the gradient.
        counts_N = jnp.arange(program.rows) < rows.train_size
        weight_N = jnp.where(counts_N, 1 / rows.train_size.astype(program.sum_dtype), 0)

        def outputs(params: Params, x: jax.Array) -> jax.Array:
            # What is made of them, a softmax say, needs more than 16 bits.
            return model.apply(params, x).astype(program.sum_dtype)

        def losses(output: jax.Array, y_N: jax.Array) -> jax.Array:
            return _per_row("loss", program, task.loss(h, output, y_N), len(y_N)).astype(program.sum_dtype)

        def share(output: jax.Array, y_N: jax.Array, counts_N: Any, size: jax.Array) -> jax.Array:
            if task.correct is None:
                return jnp.full((), jnp.nan, program.sum_dtype)
            right_N = _per_row("correct", program, task.correct(h, output, y_N), len(y_N))
            return jnp.sum(right_N & counts_N) / size

        def train_loss(params: Params, x: jax.Array, y_N: jax.Array, weight_N: jax.Array) -> jax.Array:
            return weight_N @ losses(outputs(params, x), y_N)

        blocks = tuple(_in_blocks(a, program.blocks) for a in (x_train, y_train_N))
        # A row that is there twice counts once.
        missing = jnp.zeros(-program.rows % program.blocks, weight_N.dtype)
        blocks += (jnp.append(weight_N, missing).reshape(program.blocks, -1),)

        def gradient(params: Params) -> Params:
            if program.blocks == 1:
                return jax.grad(train_loss)(params, x_train, y_train_N, weight_N)

            def add(total: Params, block: tuple[jax.Array, ...]) -> tuple[Params, None]:
                return jax.tree.map(jnp.add, total, jax.grad(train_loss)(params, *block)), None

            return jax.lax.scan(add, jax.tree.map(jnp.zeros_like, params), blocks)[0]

        def moment(state: State) -> Moment:
            return Moment(
                *(state.t, state.params, rows.x_train_ND, y_train_N, rows.x_test_ND, y_test_N),
                *(outputs(state.params, x_train), outputs(state.params, x_test), rows.train_size),
                *(losses, gradient),
            )

        def gone_on(state: State, at: Moment) -> dict[str, jax.Array]:
            made = {name: program.metrics[name].make(h, at, before) for name, before in state.so_far.items()}
            return {name: _number(name, value, program.sum_dtype) for name, value in made.items()}

        def evaluate(state: State) -> Logged:
            at = moment(state)
            own = gone_on(state, at)
            own |= {name: one.make(h, at) for name, one in program.metrics.items() if one.start is None}
            metrics = Metrics(
                weight_N @ losses(at.output_train, y_train_N),
                jnp.mean(losses(at.output_test, y_test_N)),
                # Counted and divided, so that all of them are exactly 1.
                share(at.output_train, y_train_N, counts_N, rows.train_size),
                share(at.output_test, y_test_N, True, rows.test_size),
                optax.tree.norm(optax.tree.cast(state.params, program.sum_dtype)),
            )
            return metrics, {name: _number(name, value) for name, value in sorted(own.items())}

        def reordered(order_N: jax.Array, epoch: jax.Array) -> jax.Array:
            key = jax.random.fold_in(jax.random.key(rows.seed), BATCHES)
            return jax.random.permutation(jax.random.fold_in(key, epoch), order_N.shape[0])

        def batch_gradient(params: Params, t: jax.Array, order_N: jax.Array) -> tuple[Params, jax.Array]:
            """Of the batch of step t; the order of the rows is another at the first of each epoch."""
            size, batches = program.batch_size, program.rows // program.batch_size
            # All lanes are at the same step: what is not asked for is not computed.
            order_N = jax.lax.cond(
                t % batches == 0, reordered, lambda order_N, _: order_N, order_N, t // batches
            )
            of_B = jax.lax.dynamic_slice(order_N, (t % batches * size,), (size,))
            x = jnp.take(x_train, of_B, axis=-1 if model.features_first else 0)
            weight_B = jnp.full(size, 1 / size, program.sum_dtype)
            return jax.grad(train_loss)(params, x, jnp.take(y_train_N, of_B, axis=0), weight_B), order_N

        def step(state: State, _: None) -> tuple[State, None]:
            params, moments, t, order_N, so_far = state
            if t is not None and order_N is not None:
                slope, order_N = batch_gradient(params, t, order_N)
            else:
                slope = gradient(params)
            if so_far:
                so_far = gone_on(state, moment(state))
            updates, moments = transform.update(slope, moments, params)
            t = None if t is None else t + 1
            return State(optax.apply_updates(params, updates), moments, t, order_N, so_far), None

        def segment(state: State, _: None) -> tuple[State, Logged]:
            logged = evaluate(state)
            state, _ = jax.lax.scan(step, state, None, length=program.log_every)
            return state, logged

        def segments(state: State, steps: int) -> tuple[State, Logged]:
            return jax.lax.scan(segment, state, None, length=steps // program.log_every)

        def recorded(state: State, _: None) -> tuple[State, tuple[Logged, dict[str, jax.Array]]]:
            weights = model.weights(state.params)
            state, logged = segments(state, program.snapshot_every)
            return state, (logged, weights)

        state = State(
            params,
            transform.init(params),
            jnp.int32(0) if program.batch_size or program.metrics else None,
            jnp.arange(program.rows) if program.batch_size else None,
            {
                name: jnp.asarray(one.start, program.sum_dtype)
                for name, one in program.metrics.items()
                if one.start is not None
            },
        )
        weights: dict[str, jax.Array] = {}
        if program.snapshot_every:
            state, (logged, weights) = jax.lax.scan(
                recorded, state, None, length=program.steps // program.snapshot_every
            )
            logged = jax.tree.map(jnp.ravel, logged)
            last = model.weights(state.params)
            weights = {name: jnp.append(a_S, last[name][None], axis=0) for name, a_S in weights.items()}
        else:
            state, logged = segments(state, program.steps)
        metrics, own = jax.tree.map(jnp.append, logged, evaluate(state))
        return Trained(metrics, own, weights)

    return train


def _number(name: str, value: Any, kind: str = "float32") -> jax.Array:
    """In numbers of a kind. Raises PartError where a metric does not give one number."""
    if jnp.shape(value) != ():
        raise PartError(f"metric {name}: gives shape {jnp.shape(value)}; give one number")
    return jnp.asarray(value, kind)


def _per_row(what: str, program: Program, values_N: jax.Array, rows: int) -> jax.Array:
    """Raises PartError where a task does not give one number a row."""
    if jnp.shape(values_N) != (rows,):
        raise PartError(
            f"task {program.task}: {what} gives shape {jnp.shape(values_N)}; of {rows} rows ({rows},)"
        )
    if what == "loss" and not jnp.issubdtype(values_N.dtype, jnp.floating):
        raise PartError(
            f"task {program.task}: loss gives {values_N.dtype}, which has no slope; give fractions"
        )
    if what == "correct" and values_N.dtype != bool:
        raise PartError(
            f"task {program.task}: correct gives {values_N.dtype}; give bool, which rows are right"
        )
    return values_N


def make_init(program: Program) -> Callable[[jax.Array, Mapping[str, jax.Array]], Params]:
    """init(seed, hparams) -> a run's initial weights, float32, jitted for one run and never vmapped.

    `hparams`: the model's own traced hyperparameters. So the weights are bitwise those of the same run in any
    other shard. Drawn in float32 for a run in float64 too.
    """
    shape, kind = program.row

    def init(seed: jax.Array, hparams: Mapping[str, Any]) -> Params:
        model = program.network(program.h(hparams))
        # Weights depend on the shape of a row, not on how many there are.
        x = model.inputs(jnp.zeros((1, *shape), kind), jnp.float32)
        return model.init(jax.random.key(seed), x, hparams.get("init_scale", 1.0))

    jitted = jax.jit(init)

    def in_float32(seed: jax.Array, hparams: Mapping[str, Any]) -> Params:
        with jax.enable_x64(False):
            return jitted(seed, dict(hparams))

    return in_float32


class Compiled:
    """A program's two functions, each compiled at most once in a process.

    `init(seed, hparams)` gives the weights of one run; `train_for(*arguments)` the executable that takes
    hparams, params and rows with a leading lane axis L and gives Trained with the same.
    """

    def __init__(self, program: Program) -> None:
        self.init = make_init(program)
        self._train = _lanes(make_train(program), program.lanes)
        self._executable: Callable[..., Trained] | None = None

    def train_for(self, *arguments: Any) -> Callable[..., Trained]:
        """The compiled program. Ahead of its first call, so that compiling is not counted as training."""
        if self._executable is None:
            self._executable = self._train.lower(*arguments).compile()
        return self._executable


@lru_cache(maxsize=1024)
def compiled(program: Program) -> Compiled:
    """The program's functions, kept for its other shards."""
    return Compiled(program)


def _lanes(train: Callable[..., Trained], lanes: int) -> Any:
    """`train` over a leading lane axis, jitted. One lane is not vmapped: on a CPU that is faster."""
    if lanes > 1:
        return jax.jit(jax.vmap(train))

    def only(*arguments: Any) -> Trained:
        return jax.tree.map(lambda a: a[None], train(*jax.tree.map(lambda a_L: a_L[0], arguments)))

    return jax.jit(only)


def _in_blocks(a: jax.Array, blocks: int) -> jax.Array:
    """The rows of `a`, its first axis, as (blocks, rows of a block, ...); for missing ones the last again."""
    size = -(-len(a) // blocks)
    index = jnp.minimum(jnp.arange(blocks * size), len(a) - 1)
    return (a[index] if blocks * size > len(a) else a).reshape(blocks, size, *a.shape[1:])
