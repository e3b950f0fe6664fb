"""One run of a program, from its initial weights to its curves: a pure function, which `compiled` vmaps.

Knows nothing of Ray, files or Hydra.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from grok_sweep.core import engines
from grok_sweep.core.models import Params
from grok_sweep.core.moment import Metrics, Moment, Rows, State, Trained
from grok_sweep.core.parts import PartError
from grok_sweep.core.program import Program

BATCHES = 1  # which stream of a seed's random numbers; initial weights have the seed itself
Logged = tuple[Metrics, dict[str, jax.Array]]


def make_train(program: Program) -> Callable[[Mapping[str, jax.Array], Params, Rows], Trained]:
    """train(hparams, params, rows) -> Trained, of T metrics: one run from its initial weights, pure."""
    return lambda hparams, params, rows: _Run(program, hparams, rows).train(params)


def make_pieces(program: Program, segments: int) -> tuple[Callable[..., Any], ...]:
    """(begin, go_on, end) of a run that may be ended early, each pure, of (hparams, params or State, rows).

    begin gives its State; go_on, `segments` segments of log_every steps, (State, what they log); end what is
    logged last.
    """
    return (
        lambda hparams, params, rows: _Run(program, hparams, rows).first(params),
        lambda hparams, state, rows: _Run(program, hparams, rows).segments(
            state, segments * program.log_every
        ),
        lambda hparams, state, rows: _Run(program, hparams, rows).evaluate(state),
    )


class _Run:
    """One run while it is traced: its parts at its hyperparameters, and its rows."""

    def __init__(self, program: Program, hparams: Mapping[str, jax.Array], rows: Rows) -> None:
        self.program, self.rows = program, rows
        self.h = h = program.h(hparams)
        self.task = program.part("task")
        self.model = model = program.network(h)
        # Built here, of traced numbers: a Python float would be compiled in.
        self.transform = program.transform(h)
        self.engine = engines.engine(program, model, self.losses)
        self.x_train, self.x_test = map(self.engine.inputs, (rows.x_train_ND, rows.x_test_ND))
        # Padded rows weigh nothing, in the loss and so in the gradient.
        self.counts_N = jnp.arange(program.rows) < rows.train_size
        self.weight_N = jnp.where(self.counts_N, 1 / rows.train_size.astype(program.sum_dtype), 0)
        if program.blocks > 1:
            blocks = (_in_blocks(a, program.blocks) for a in (self.x_train, rows.y_train_N))
            # A row that is there twice counts once.
            missing = jnp.zeros(-program.rows % program.blocks, self.weight_N.dtype)
            self.blocks = (*blocks, jnp.append(self.weight_N, missing).reshape(program.blocks, -1))

    def train(self, params: Params) -> Trained:
        program, model = self.program, self.model
        state = self.first(params)
        weights: dict[str, jax.Array] = {}
        if program.snapshot_every:
            count = program.steps // program.snapshot_every
            state, (logged, weights) = jax.lax.scan(self.recorded, state, None, length=count)
            logged = jax.tree.map(jnp.ravel, logged)
            last = model.weights(state.params)
            weights = {name: jnp.append(a_S, last[name][None], axis=0) for name, a_S in weights.items()}
        else:
            state, logged = self.segments(state, program.steps)
        metrics, own = jax.tree.map(jnp.append, logged, self.evaluate(state))
        return Trained(metrics, own, weights)

    def first(self, params: Params) -> State:
        program = self.program
        starts = {name: one.start for name, one in program.metrics.items() if one.start is not None}
        return State(
            params,
            self.transform.init(params),
            jnp.int32(0) if program.batch_size or program.metrics else None,
            jnp.arange(program.rows) if program.batch_size else None,
            {name: jnp.asarray(start, program.sum_dtype) for name, start in starts.items()},
        )

    # Steps: a run is segments of log_every steps, each logged before its first.

    def recorded(self, state: State, _: None) -> tuple[State, tuple[Logged, dict[str, jax.Array]]]:
        weights = self.model.weights(state.params)
        state, logged = self.segments(state, self.program.snapshot_every)
        return state, (logged, weights)

    def segments(self, state: State, steps: int) -> tuple[State, Logged]:
        return jax.lax.scan(self.segment, state, None, length=steps // self.program.log_every)

    def segment(self, state: State, _: None) -> tuple[State, Logged]:
        logged = self.evaluate(state)
        # Where a metric asks for the step there is more to a step than its update.
        if state.t is None and engines.knows_adamw(self.program):
            inputs = (self.x_train, self.rows.y_train_N, self.weight_N)
            params, moments = self.engine.adamw(self.h, self.program.log_every, state[:2], *inputs)
            return state._replace(params=params, moments=moments), logged
        state, _ = jax.lax.scan(self.step, state, None, length=self.program.log_every)
        return state, logged

    def step(self, state: State, _: None) -> tuple[State, None]:
        params, moments, t, order_N, so_far = state
        if t is not None and order_N is not None:
            slope, order_N = self.batch_gradient(params, t, order_N)
        else:
            slope = self.gradient(params)
        if so_far:
            so_far = self.gone_on(state, self.moment(state))
        updates, moments = self.transform.update(slope, moments, params)
        t = None if t is None else t + 1
        return State(optax.apply_updates(params, updates), moments, t, order_N, so_far), None

    # Losses and their gradients.

    def losses(self, output: jax.Array, y_N: jax.Array) -> jax.Array:
        loss_N = _per_row("loss", self.program, self.task.loss(self.h, output, y_N), len(y_N))
        return loss_N.astype(self.program.sum_dtype)

    def gradient(self, params: Params) -> Params:
        if self.program.blocks == 1:
            return self.engine.gradient(params, self.x_train, self.rows.y_train_N, self.weight_N)

        def add(total: Params, block: tuple[jax.Array, ...]) -> tuple[Params, None]:
            return jax.tree.map(jnp.add, total, self.engine.gradient(params, *block)), None

        return jax.lax.scan(add, jax.tree.map(jnp.zeros_like, params), self.blocks)[0]

    def batch_gradient(self, params: Params, t: jax.Array, order_N: jax.Array) -> tuple[Params, jax.Array]:
        """Of the batch of step t; the order of the rows is another at the first of each epoch."""
        size = self.program.batch_size
        batches = self.program.rows // size
        # All lanes are at the same step: what is not asked for is not computed.
        order_N = jax.lax.cond(
            t % batches == 0, self.reordered, lambda order_N, _: order_N, order_N, t // batches
        )
        of_B = jax.lax.dynamic_slice(order_N, (t % batches * size,), (size,))
        x = jnp.take(self.x_train, of_B, axis=-1 if self.model.features_first else 0)
        y_B = jnp.take(self.rows.y_train_N, of_B, axis=0)
        weight_B = jnp.full(size, 1 / size, self.program.sum_dtype)
        return self.engine.gradient(params, x, y_B, weight_B), order_N

    def reordered(self, order_N: jax.Array, epoch: jax.Array) -> jax.Array:
        key = jax.random.fold_in(jax.random.key(self.rows.seed), BATCHES)
        return jax.random.permutation(jax.random.fold_in(key, epoch), order_N.shape[0])

    # What is logged.

    def evaluate(self, state: State) -> Logged:
        rows, program = self.rows, self.program
        at = self.moment(state)
        own = self.gone_on(state, at)
        own |= {name: one.make(self.h, at) for name, one in program.metrics.items() if one.start is None}
        metrics = Metrics(
            self.weight_N @ self.losses(at.output_train, rows.y_train_N),
            jnp.mean(self.losses(at.output_test, rows.y_test_N)),
            # Counted and divided, so that all of them are exactly 1.
            self.share(at.output_train, rows.y_train_N, self.counts_N, rows.train_size),
            self.share(at.output_test, rows.y_test_N, True, rows.test_size),
            optax.tree.norm(optax.tree.cast(state.params, program.sum_dtype)),
        )
        kind = program.sum_dtype
        return metrics, {name: _number(name, value, kind) for name, value in sorted(own.items())}

    def share(self, output: jax.Array, y_N: jax.Array, counts_N: Any, size: jax.Array) -> jax.Array:
        if self.task.correct is None:
            return jnp.full((), jnp.nan, self.program.sum_dtype)
        right_N = _per_row("correct", self.program, self.task.correct(self.h, output, y_N), len(y_N))
        return jnp.sum(right_N & counts_N) / size

    def moment(self, state: State) -> Moment:
        rows = self.rows
        output_train, output_test = (
            self.engine.outputs(state.params, x) for x in (self.x_train, self.x_test)
        )
        return Moment(
            *(state.t, state.params, rows.x_train_ND, rows.y_train_N, rows.x_test_ND, rows.y_test_N),
            *(output_train, output_test, rows.train_size, self.losses, self.gradient),
        )

    def gone_on(self, state: State, at: Moment) -> dict[str, jax.Array]:
        """The metrics that go on from step to step, with the step of `state` too."""
        metrics, kind = self.program.metrics, self.program.sum_dtype
        made = {name: metrics[name].make(self.h, at, before) for name, before in state.so_far.items()}
        return {name: _number(name, value, kind) for name, value in made.items()}


def _number(name: str, value: Any, kind: str) -> jax.Array:
    """In fractions of a kind. Raises PartError where a metric does not give one number."""
    if not isinstance(value, int | float | np.generic | np.ndarray | jax.Array):
        raise PartError(f"metric {name}: gives {type(value).__name__}; give one number")
    if jnp.iscomplexobj(value):
        raise PartError(f"metric {name}: gives a complex number; give its size, or one of its parts")
    if jnp.shape(value) != ():
        raise PartError(f"metric {name}: gives shape {jnp.shape(value)}; give one number")
    return jnp.asarray(value, kind)


def _per_row(what: str, program: Program, values_N: jax.Array, rows: int) -> jax.Array:
    """Raises PartError where a task does not give one number a row."""
    shape = None if values_N is None else jnp.shape(values_N)
    if shape != (rows,):
        given = "nothing" if shape is None else f"shape {shape}"
        hints = {
            (): ", one number each and not their mean",
            (rows, rows): f"; of an output of shape ({rows}, 1) take output[:, 0]",
        }
        wanted = f"of {rows} rows give ({rows},){hints.get(shape, '')}"
        raise PartError(f"task {program.task}: {what} gives {given}; {wanted}")
    if what == "loss" and not jnp.issubdtype(values_N.dtype, jnp.floating):
        raise PartError(
            f"task {program.task}: loss gives {values_N.dtype}, which has no slope; give fractions"
        )
    if what == "correct" and values_N.dtype != bool:
        raise PartError(
            f"task {program.task}: correct gives {values_N.dtype}; give bool, which rows are right"
        )
    return values_N


def _in_blocks(a: jax.Array, blocks: int) -> jax.Array:
    """The rows of `a`, its first axis, as (blocks, rows of a block, ...); for missing ones the last again."""
    size = -(-len(a) // blocks)
    index = jnp.minimum(jnp.arange(blocks * size), len(a) - 1)
    return (a[index] if blocks * size > len(a) else a).reshape(blocks, size, *a.shape[1:])
