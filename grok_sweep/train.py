"""One program: `make_train(program)` gives a pure function of one run, `compiled` vmaps and jits it.

Knows nothing of Ray, files or Hydra.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from grok_sweep import models, tasks
from grok_sweep.plan import Program

Params = Any  # flax's tree of arrays


class Rows(NamedTuple):
    """The data of one run as the program gets it: int8 x_ND and y_N, training rows padded.

    `train_size` is how many of the training rows count.
    """

    x_train_ND: Any
    y_train_N: Any
    x_test_ND: Any
    y_test_N: Any
    train_size: Any


class Metrics(NamedTuple):
    """What is logged, over T = steps / log_every + 1 steps: 0, log_every, ..., steps.

    Losses are means over rows in nats, accuracies shares of rows, weight_norm the L2 norm of all weights;
    all of the same parameters, those before the step's update.
    """

    train_loss: jax.Array
    eval_loss: jax.Array
    train_accuracy: jax.Array
    eval_accuracy: jax.Array
    weight_norm: jax.Array


def adamw(hparams: Mapping[str, jax.Array]) -> optax.GradientTransformation:
    """AdamW with decoupled decay. Built from traced numbers: a Python float would be compiled in."""
    return optax.adamw(
        hparams["learning_rate"],
        b1=hparams["b1"],
        b2=hparams["b2"],
        eps=hparams["eps"],
        weight_decay=hparams["weight_decay"],
    )


OPTIMIZERS = {"adamw": adamw}


def make_train(program: Program) -> Callable[[Mapping[str, jax.Array], Params, Rows], Metrics]:
    """train(hparams, params, rows) -> Metrics of shape (T,): one run from its initial weights, pure."""
    model = models.build(program.model, program.values)
    task = tasks.load(program.task)
    optimizer = OPTIMIZERS[program.optimizer]

    def train(hparams: Mapping[str, jax.Array], params: Params, rows: Rows) -> Metrics:
        transform = optimizer(hparams)
        y_train_N, y_test_N = rows.y_train_N.astype(jnp.float32), rows.y_test_N.astype(jnp.float32)
        x_train, x_test = _layout(model, rows.x_train_ND), _layout(model, rows.x_test_ND)
        # Padded rows weigh nothing, in the loss and so in the gradient.
        weight_N = jnp.where(jnp.arange(program.rows) < rows.train_size, 1 / rows.train_size, 0.0)

        def train_loss(params: Params, x: jax.Array, y_N: jax.Array, weight_N: jax.Array) -> jax.Array:
            return weight_N @ task.loss(model.apply(params, x), y_N)

        blocks = tuple(_in_blocks(a, program.blocks) for a in (x_train, y_train_N, weight_N))

        def gradient(params: Params) -> Params:
            if program.blocks == 1:
                return jax.grad(train_loss)(params, x_train, y_train_N, weight_N)

            def add(total: Params, block: tuple[jax.Array, ...]) -> tuple[Params, None]:
                return jax.tree.map(jnp.add, total, jax.grad(train_loss)(params, *block)), None

            return jax.lax.scan(add, jax.tree.map(jnp.zeros_like, params), blocks)[0]

        def evaluate(params: Params) -> Metrics:
            output_N, output_test_N = model.apply(params, x_train), model.apply(params, x_test)
            return Metrics(
                weight_N @ task.loss(output_N, y_train_N),
                jnp.mean(task.loss(output_test_N, y_test_N)),
                weight_N @ task.correct(output_N, y_train_N),
                jnp.mean(task.correct(output_test_N, y_test_N)),
                optax.tree.norm(params),
            )

        def step(state: tuple[Params, Any], _: None) -> tuple[tuple[Params, Any], None]:
            params, moments = state
            updates, moments = transform.update(gradient(params), moments, params)
            return (optax.apply_updates(params, updates), moments), None

        def segment(state: tuple[Params, Any], _: None) -> tuple[tuple[Params, Any], Metrics]:
            logged = evaluate(state[0])
            state, _ = jax.lax.scan(step, state, None, length=program.log_every)
            return state, logged

        state, logged = jax.lax.scan(
            segment, (params, transform.init(params)), None, length=program.steps // program.log_every
        )
        last = evaluate(state[0])
        return jax.tree.map(jnp.append, logged, last)

    return train


def make_init(program: Program) -> Callable[[jax.Array, jax.Array], Params]:
    """init(seed, init_scale) -> a run's initial weights, jitted for one run and never vmapped.

    So they are bitwise those of the same run in any other shard.
    """
    model = models.build(program.model, program.values)
    # Weights depend on the width of x, not on its rows.
    x_ND = jnp.zeros((1, tasks.load(program.task).input_size(program.values)))

    def init(seed: jax.Array, init_scale: jax.Array) -> Params:
        return model.init(jax.random.key(seed), _layout(model, x_ND), init_scale)

    return jax.jit(init)


class Compiled:
    """A program's two functions, each compiled at most once in a process.

    `init(seed, init_scale)` gives the weights of one run; `train_for(*arguments)` the executable that takes
    hparams, params and rows with a leading lane axis L and gives Metrics of shape (L, T).
    """

    def __init__(self, program: Program) -> None:
        self.init = make_init(program)
        self._train = _lanes(make_train(program), program.lanes)
        self._executable: Callable[..., Metrics] | None = None

    def train_for(self, *arguments: Any) -> Callable[..., Metrics]:
        """The compiled program. Ahead of its first call, so that compiling is not counted as training."""
        if self._executable is None:
            self._executable = self._train.lower(*arguments).compile()
        return self._executable


@lru_cache(maxsize=1024)
def compiled(program: Program) -> Compiled:
    """The program's functions, kept for its other shards."""
    return Compiled(program)


def _lanes(train: Callable[..., Metrics], lanes: int) -> Any:
    """`train` over a leading lane axis, jitted. One lane is not vmapped: on a CPU that is faster."""
    if lanes > 1:
        return jax.jit(jax.vmap(train))

    def only(*arguments: Any) -> Metrics:
        metrics = train(*jax.tree.map(lambda a_L: a_L[0], arguments))
        return Metrics(*(values_T[None] for values_T in metrics))

    return jax.jit(only)


def _in_blocks(a: jax.Array, blocks: int) -> jax.Array:
    """The rows of `a`, its first axis, as (blocks, rows of a block, ...); missing rows are zeros."""
    size = -(-len(a) // blocks)
    padding = [(0, blocks * size - len(a)), *[(0, 0)] * (a.ndim - 1)]
    return jnp.pad(a, padding).reshape(blocks, size, *a.shape[1:])


def _layout(model: models.ReluMLP, x_ND: jax.Array) -> jax.Array:
    """x as float32, rows or features first, whichever the model asks for."""
    x_ND = x_ND.astype(jnp.float32)
    return x_ND.T if model.features_first else x_ND
