"""A file of parts of one's own, and the sweep that names it, for the tests of them."""

from pathlib import Path

import pandas as pd
import yaml

from grok_sweep.cli import main

HEAD = """\
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

from grok_sweep.core.parts import Data, Task, metric, model, optimizer, real, whole
"""
LARGER = """
class Larger(Task):
    numbers = {
        "largest": whole(5, "numbers are 0 to this", 1, 1000),
        "share": real(0.5, "share of the pairs that is trained on", 0, 1, above=True, below=True, rows=True),
        "noise": real(0.0, "share of the training labels that is turned over", 0, 0.5, rows=True),
    }

    def data(self, h, seed):
        rng = np.random.default_rng(seed)
        pairs = rng.permutation(np.stack(np.divmod(np.arange((h.largest + 1) ** 2), h.largest + 1), axis=1))
        pairs = pairs.astype(np.int32)
        y = (pairs[:, 0] > pairs[:, 1]).astype(np.int32)
        train = int(round(h.share * len(pairs)))
        y[:train] ^= rng.random(train) < h.noise
        return Data(pairs[:train], y[:train], pairs[train:], y[train:])

    def loss(self, h, output, y):
        return optax.softmax_cross_entropy_with_integer_labels(output, y)

    def correct(self, h, output, y):
        return jnp.argmax(output, axis=1) == y
"""
NET = """
class Net(nn.Module):
    symbols: int
    width: int
    temperature: float

    @nn.compact
    def __call__(self, x):
        x = nn.Embed(self.symbols, self.width)(x).reshape(len(x), -1)
        x = nn.tanh(nn.Dense(self.width)(x))
        return nn.Dense(2)(x) / self.temperature


@model(width=whole(4, "neurons", 1, 1000), temperature=real(1.0, "divides the logits", 0, above=True))
def net(h):
    return Net(h.largest + 1, h.width, h.temperature)
"""
METRICS = """
@metric
def bias(h, at):
    return at.params["params"]["Dense_0"]["bias"].sum()

@metric
def gradient_norm(h, at):
    return optax.tree.norm(at.gradient) * h.temperature

@metric
def rows(h, at):
    return at.train_size

@metric
def nowhere(h, at):
    return jnp.nan

@metric
def surest(h, at):
    return jnp.max(jnp.where(at.y_test == 1, at.output_test[:, 1], -jnp.inf)) + 0 * at.x_train.sum()
"""
SGD = """
@optimizer(
    learning_rate=real(0.1, "step size", 0, above=True),
    momentum=real(0.9, "of the gradient", 0, 1, below=True),
    warmup=whole(10, "steps until the rate is whole", 1, 10_000, traced=True),
)
def sgd(h):
    rate = lambda step: h.learning_rate * jnp.minimum(1, (step + 1) / h.warmup)
    return optax.sgd(rate, h.momentum)
"""
OWN = HEAD + LARGER + NET + SGD
PARTS = ["override /task: larger", "override /model: net", "override /optimizer: sgd"]
KEYS = {
    "task": ["largest", "share", "noise"],
    "model": ["width", "temperature", "float_bits"],
    "optimizer": ["learning_rate", "momentum", "warmup"],
}
CURVES = ["run_id", "step", "train_loss", "eval_loss", "train_accuracy", "eval_accuracy", "weight_norm"]


def sweep_file(*parts: str, **changes: object) -> str:
    """The YAML of a sweep: 16 runs of 20 steps."""
    content = {
        "defaults": [{key: name} for key, name in (part.split(": ") for part in parts or PARTS)],
        "parts": "mine.py",
        "name": "mine",
        "grid": {"width": [4, 8], "noise": [0.0, 0.2], "momentum": [0.0, 0.9]},
        "train": {"steps": 20, "log_every": 5, "snapshot_every": 10},
        "phases": {"definition": "liu"},
        "seeds": 2,
        **changes,
    }
    return yaml.safe_dump(content, sort_keys=False)


def run(*arguments: str) -> int:
    """The command, in this process."""
    return main(["sweeps=mine", "cluster=inline", "out=out", *arguments])


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def refused(capfd, *arguments: str) -> str:
    """The one message to a command that ends with exit code 2 and leaves no results."""
    before = content(Path())
    capfd.readouterr()
    assert run(*arguments) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("grok-sweep: ")
    assert "Traceback" not in err
    assert content(Path()) == before
    return err.removeprefix("grok-sweep: ").rstrip("\n")


def read(table: str, out: str = "out") -> pd.DataFrame:
    by = ["run_id", "step"] if table == "curves" else ["run_id"]
    return pd.read_parquet(Path(out) / table).sort_values(by, ignore_index=True)


REGRESSION = """
class Sine(Task):
    numbers = {"points": whole(20, "training rows", 2, 1000, rows=True)}
    correct = None

    def data(self, h, seed):
        x = np.random.default_rng(seed).uniform(-3, 3, (h.points + 30, 1))
        y = np.sin(x)
        return Data(x[: h.points], y[: h.points], x[h.points :], y[h.points :])

    def loss(self, h, output, y):
        return jnp.mean((output - y) ** 2, axis=1)


class Curve(nn.Module):
    width: int

    @nn.compact
    def __call__(self, x):
        return nn.Dense(1)(nn.tanh(nn.Dense(self.width)(x)))


@model(width=whole(4, "neurons", 1, 1000))
def curve(h):
    return Curve(h.width)
"""
RATIO = """
class Ratio(Task):
    numbers = {"n": whole(20, "training rows", 2, 1000, rows=True)}
    correct = None

    def data(self, h, seed):
        x = np.random.default_rng(seed).uniform(1, 3, (h.n + 10, 1))
        return Data(x[: h.n], x[: h.n], x[h.n :], x[h.n :])

    def loss(self, h, output, y):
        return jnp.mean(((output - y) / y) ** 2, axis=1)  # which a row of zeros has not
"""
LINE = REGRESSION[REGRESSION.index("class Curve") :]
SHORT = ["train.steps=100", "train.log_every=50", "train.snapshot_every=null"]


def of_ratio(one_run, code=""):
    parts = ["override /task: ratio", "override /model: curve"]
    one_run(HEAD + RATIO + LINE + code, *parts, phases={"definition": "pair"})
