"""torch.func: grad under vmap, the runs of a shape as lanes; AdamW by hand, as each lane has its own decay.

Initial weights are jax's, for the same curves: to load it and draw them is 1 to 2 s of each command.
"""

from functools import partial

import jax
import numpy as np
import torch
from torch.func import grad, vmap

from grok_sweep.bench.peers.network import initial_weights
from grok_sweep.bench.peers.work import B1, B2, EPS, RATE, Run, asked, stacked
from grok_sweep.core.tasks.parity import CLIP

Weights = dict[str, torch.Tensor]


def loss(weights: Weights, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Of one lane: the mean over rows, and the share of rows that are right."""
    logit = torch.relu(x @ weights["w_in"]) @ weights["w_out"]
    p = torch.clamp(torch.sigmoid(logit), CLIP, 1 - CLIP)
    losses = y * torch.log(p) + (1 - y) * torch.log1p(-p)
    return -losses.mean(), ((logit > 0) == (y > 0)).float().mean()


@torch.compile(dynamic=False)  # for each shape anew
def step(state: list[Weights], *of_run: torch.Tensor) -> list[Weights]:
    """Weights and both moments of all lanes after step t, the first being 1."""
    x, y, decays, t = of_run
    weights, first, second = state
    slope, _ = vmap(grad(loss, has_aux=True))(weights, x, y)
    after: list[Weights] = [{}, {}, {}]
    for name, w in weights.items():
        m = B1 * first[name] + (1 - B1) * slope[name]
        v = B2 * second[name] + (1 - B2) * slope[name] ** 2
        update = m / (1 - B1**t) / (torch.sqrt(v / (1 - B2**t)) + EPS)
        decayed = decays.reshape(-1, *[1] * (w.ndim - 1)) * w
        after[0][name], after[1][name], after[2][name] = w - RATE * (update + decayed), m, v
    return after


@torch.no_grad()
def train(lanes: list[Run], steps: int, log_every: int, test_size: int) -> np.ndarray:
    """The curves of runs of one shape."""
    seeds, *arrays = stacked(lanes, test_size)
    decays, x_train, y_train, x_test, y_test = (torch.tensor(array).float() for array in arrays)
    drawn = jax.jit(jax.vmap(partial(initial_weights, lanes[0].hidden_size)))(seeds)
    weights = {name: torch.tensor(np.asarray(array)) for name, array in drawn.items()}
    state = [weights, *({name: torch.zeros_like(w) for name, w in weights.items()} for _ in range(2))]
    logged = []
    for t in range(steps + 1):
        if t % log_every == 0:
            both = [vmap(loss)(state[0], x, y) for x, y in ((x_train, y_train), (x_test, y_test))]
            logged.append(torch.stack([both[0][0], both[1][0], both[0][1], both[1][1]], dim=1))
        if t < steps:
            state = step(state, x_train, y_train, decays, torch.tensor(t + 1.0))
    return torch.stack(logged, dim=1).numpy()


if __name__ == "__main__":
    wanted, file = asked()
    np.save(file, np.concatenate([train(lanes, *wanted.how) for lanes in wanted.shapes()]))
