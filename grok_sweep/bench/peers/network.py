"""One run in jax: a scan of steps within a scan of logged ones, to be jitted."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from grok_sweep.bench.peers.work import B1, B2, EPS, RATE, Run, rows
from grok_sweep.core.networks import ReluMLP
from grok_sweep.core.tasks.parity import CLIP

Shape = tuple[int, int, int]  # neurons, steps, and every how many of these are logged


def initial_weights(hidden_size: int, seed: Any) -> Any:
    """As grok_sweep draws them, so that curves can be compared."""
    network = ReluMLP(hidden_size, 1.0)
    return network.init(jax.random.key(seed), network.inputs(jnp.zeros((1, 31)), jnp.float32))["params"]


def loss(weights: Any, x: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The mean over rows, and the share of rows that are right."""
    logit = jax.nn.relu(x @ weights["w_in"]) @ weights["w_out"]
    p = jnp.clip(jax.nn.sigmoid(logit), CLIP, 1 - CLIP)
    return -jnp.mean(jnp.where(y == 1, jnp.log(p), jnp.log1p(-p))), jnp.mean((logit > 0) == (y == 1))


def train(shape: Shape, seed: Any, weight_decay: Any, *of_run: Any) -> jax.Array:
    """The curves of a run from its `rows`: (logged steps, METRICS)."""
    hidden_size, steps, log_every = shape
    x_train, y_train, x_test, y_test = of_run
    x_train, x_test = x_train.astype(jnp.float32), x_test.astype(jnp.float32)
    optimizer = optax.adamw(RATE, b1=B1, b2=B2, eps=EPS, weight_decay=weight_decay)

    def evaluate(weights: Any) -> jax.Array:
        both = loss(weights, x_train, y_train), loss(weights, x_test, y_test)
        return jnp.stack([both[0][0], both[1][0], both[0][1], both[1][1]])

    def step(state: Any, _: None) -> tuple[Any, None]:
        weights, moments = state
        slope, _ = jax.grad(loss, has_aux=True)(weights, x_train, y_train)
        updates, moments = optimizer.update(slope, moments, weights)
        return (optax.apply_updates(weights, updates), moments), None

    def segment(state: Any, _: None) -> tuple[Any, jax.Array]:
        return jax.lax.scan(step, state, None, length=log_every)[0], evaluate(state[0])

    weights = initial_weights(hidden_size, seed)
    first = weights, optimizer.init(weights)
    last, logged = jax.lax.scan(segment, first, None, length=steps // log_every)
    return jnp.append(logged, evaluate(last[0])[None], axis=0)


@partial(jax.jit, static_argnums=0)
def train_lanes(shape: Shape, *lanes: Any) -> jax.Array:
    """`train` of several runs, a leading axis of all."""
    return jax.vmap(partial(train, shape))(*lanes)


train_one = jax.jit(train, static_argnums=0)  # compiled once a process for each shape


def train_run(run: Run, steps: int, log_every: int, test_size: int) -> np.ndarray:
    """The curves of a run, its rows made first."""
    shape = run.hidden_size, steps, log_every
    return np.asarray(train_one(shape, run.seed, run.weight_decay, *rows(run, test_size)))
