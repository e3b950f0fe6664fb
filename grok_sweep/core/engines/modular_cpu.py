"""The networks of modular addition by a kernel on a CPU; how is said in modular.cpp.

Their two products of weights, and the gradients through them, are XLA's: they are taken once a step, however
many rows there are. jax calls the kernel by name, which `worker.native` tells it.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from grok_sweep.core.engines.relu import MOST_HIDDEN
from grok_sweep.core.models import Params
from grok_sweep.core.networks import ModularCircle, ModularMLP
from grok_sweep.core.program import Program
from grok_sweep.core.tasks.modular_addition import ModularAddition

TARGETS = ("modular_outputs", "modular_gradient")
NETWORKS = (ModularMLP, ModularCircle)


class ModularCpu:
    """See `engines`."""

    def __init__(self, model: ModularMLP | ModularCircle) -> None:
        self.model = model

    def inputs(self, x_ND: jax.Array) -> jax.Array:
        """pairs_N2: which two rows of W_in make up the hidden layer of each row."""
        a_N, b_N = (jnp.argmax(x_NP, axis=1).astype(jnp.int32) for x_NP in jnp.split(x_ND, 2, axis=1))
        return jnp.stack([a_N, b_N if self.model.inputs_shared else b_N + self.model.modulus], axis=1)

    def outputs(self, params: Params, pairs_N2: jax.Array) -> jax.Array:
        """The logits of each row, of shape (P, N)."""
        shape = jax.ShapeDtypeStruct((len(pairs_N2), self.model.modulus), jnp.float32)
        z_NP: jax.Array = _call("modular_outputs", shape, pairs_N2, *self._products(params))
        return z_NP.T

    def gradient(self, params: Params, pairs_N2: jax.Array, y_N: jax.Array, weight_N: jax.Array) -> Params:
        """Of the sum of the rows' losses, each times its weight."""
        products, back = jax.vjp(self._products, params)
        shapes = [jax.ShapeDtypeStruct(w.shape, jnp.float32) for w in products]
        (slope,) = back(_call("modular_gradient", tuple(shapes), pairs_N2, y_N, weight_N, *products))
        return slope

    def _products(self, params: Params) -> tuple[jax.Array, jax.Array]:
        weights = self.model.weights(params)
        return weights["w_in"], weights["w_out"]


def unknown(program: Program) -> str:
    """Why a program is none for it; "" where it is one."""
    task, network = type(program.part("task")), program.built
    if not isinstance(network, NETWORKS) or type(network) not in NETWORKS:
        return f"it knows the networks of modular_mlp and modular_circle, not that of {program.model}"
    same = all(getattr(task, name) is getattr(ModularAddition, name) for name in ("data", "checked", "loss"))
    if not same or program.row[0] != (2 * network.modulus,):
        return f"it knows the rows and the loss of modular_addition, not those of {program.task}"
    if program.device != "cpu":
        return f"it knows the network of {program.model} on a CPU only"
    if program.dtype != "float32" or program.batch_size:
        return "it trains in float32, by all rows in each step"
    if network.hidden_size > MOST_HIDDEN:
        return f"it knows at most {MOST_HIDDEN} neurons"
    return ""


def _call(target: str, shapes: Any, *arguments: jax.Array) -> Any:
    """Lanes are one axis more, at the front of all."""
    call: Callable[..., Any] = jax.ffi.ffi_call(f"grok_sweep_{target}", shapes, vmap_method="broadcast_all")
    return call(*arguments)
