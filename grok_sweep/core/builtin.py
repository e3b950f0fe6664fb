"""The built-in models and optimizers, as parts: what they are called, and their hyperparameters.

Their modules load jax, so they are imported when one is made. The built-in tasks are in `tasks`.
"""

from dataclasses import replace
from typing import Any

from grok_sweep.core.parts import FLOAT_BITS, model, optimizer, real, whole

NEURONS = "neurons of the hidden layer"
MOST = 1_000_000
SCALE = real(1.0, "factor on the initial weights", 0, above=True)
BITS = replace(FLOAT_BITS, since=None)  # it stands in the ids of all runs of these models


@model(hidden_size=whole(64, NEURONS, 1, MOST), init_scale=SCALE)
def relu_mlp(h: Any) -> Any:
    """logit = relu(x W_in) w_out.

    Truncated normal (2 sd) initial weights of sd init_scale * sqrt(1 / fan_in).
    """
    from grok_sweep.core.networks import ReluMLP

    return ReluMLP(h.hidden_size, h.init_scale)


@model(
    hidden_size=whole(24, NEURONS, 1, MOST),
    embed_size=whole(500, "numbers that stand for one of the modulus", 1, 1_000_000),
    tied_embedding=whole(1, "1: the output has the embedding of the input", among=(0, 1)),
    tied_hidden=whole(1, "1: a and b share their weights", among=(0, 1)),
    collapsed_input=whole(0, "1: embedding times hidden weights is one matrix", among=(0, 1)),
    collapsed_output=whole(0, "1: output weights times embedding is one matrix", among=(0, 1)),
    init_scale=SCALE,
    float_bits=BITS,
)
def modular_mlp(h: Any) -> Any:
    """logits = relu(a E W_h + b E W_h) W_o E^T.

    E embeds the numbers at input and output, W_h is shared by a and b.

    Untied, the output has an embedding of its own, or a and b have hidden weights of their own; collapsed, a
    product is one matrix. Truncated normal (2 sd) initial weights: E of sd init_scale * sqrt(2 / modulus) /
    0.8796, the others init_scale * sqrt(1 / fan_in).
    """
    from grok_sweep.core.networks import ModularMLP

    sizes = (h.modulus, h.hidden_size, h.init_scale, h.embed_size)
    return ModularMLP(*sizes, h.tied_embedding, h.tied_hidden, h.collapsed_input, h.collapsed_output)


@model(hidden_size=whole(5, NEURONS, 1, MOST), init_scale=SCALE, float_bits=BITS, opens="circle")
def modular_circle(h: Any) -> Any:
    """As modular_mlp, with a fixed embedding.

    A number i is the point 2 pi i / modulus of a circle, both columns divided by their norm. Trained are W_h
    (2 x hidden_size) and W_o (hidden_size x 2) alone.
    """
    from grok_sweep.core.networks import ModularCircle

    return ModularCircle(h.modulus, h.hidden_size, h.init_scale)


RATE = real(0.003, "step size of AdamW", 0, above=True)
DECAY = "decoupled decay of AdamW"
MOMENTS: dict[str, Any] = {
    "b1": real(0.99, "decay of AdamW's first moment", 0, 1, below=True),
    "b2": real(0.98, "decay of AdamW's second moment", 0, 1, below=True),
    "eps": real(1e-8, "added to AdamW's denominator", 0, above=True),
}


@optimizer(learning_rate=RATE, weight_decay=real(0.1, DECAY, 0), **MOMENTS)
def adamw(h: Any) -> Any:
    """Full-batch AdamW with decoupled weight decay."""
    import optax

    return optax.adamw(h.learning_rate, b1=h.b1, b2=h.b2, eps=h.eps, weight_decay=h.weight_decay)


@optimizer(
    learning_rate=RATE,
    weight_decay=real(0.0, DECAY, 0),
    l1_decay=real(0.001, "times the sign of each weight, added to its gradient", 0),
    **MOMENTS,
)
def adamw_l1(h: Any) -> Any:
    """Full-batch AdamW that adds l1_decay times the sign of each weight to its gradient."""
    import jax
    import jax.numpy as jnp
    import optax

    def add_signs(updates: Any, params: Any) -> Any:
        return jax.tree.map(lambda g, w: g + h.l1_decay * jnp.sign(w), updates, params)

    return optax.chain(optax.stateless(add_signs), adamw.make(h))
