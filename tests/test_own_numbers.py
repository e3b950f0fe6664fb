"""What is computed with parts of one's own, by other means."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from own import HEAD, LINE, METRICS, OWN, RATIO, REGRESSION, SGD, SHORT, of_ratio, read, run, sweep_file

import analysis
from analysis.cli import main as grok_analyze
from grok_sweep.core.registry import find


def softmax(z):
    z = np.exp(z - z.max(axis=1, keepdims=True))
    return z / z.sum(axis=1, keepdims=True)


def pairs_by_hand(largest, share, noise, seed):
    """The rows of `Larger`: x and y of training and test."""
    rng = np.random.default_rng(seed)
    every = np.array([(a, b) for a in range(largest + 1) for b in range(largest + 1)])
    x = rng.permutation(every)
    y = np.array([int(a > b) for a, b in x])
    train = round(share * len(every))
    turned = rng.random(train) < noise
    y[:train] = np.where(turned, 1 - y[:train], y[:train])
    return x[:train], y[:train], x[train:], y[train:]


def momentum_by_hand(w, gradient, *, rate, momentum, warmup, steps):
    """The weights before each step and after the last, by SGD with momentum and a warm-up: float64."""
    w = {name: np.asarray(array, np.float64) for name, array in w.items()}
    trace = {name: np.zeros_like(array) for name, array in w.items()}
    every = [w]
    for t in range(steps):
        g = gradient(w)
        trace = {name: g[name] + momentum * trace[name] for name in w}
        w = {name: w[name] - rate * min(1, (t + 1) / warmup) * trace[name] for name in w}
        every.append(w)
    return every


@pytest.mark.usefixtures("one_run")
@pytest.mark.parametrize("momentum", [0.0, 0.8])
def test_training_of_own_parts_against_float64(momentum):
    """Gradients written out, from the recorded initial weights: every logged number, all snapshots."""
    lines = ["train.steps=12", "train.log_every=1", "train.snapshot_every=6"]
    lines += ["task.largest=4", "task.share=0.6", "task.noise=0.3", "model.width=5", "model.temperature=0.7"]
    lines += ["optimizer.learning_rate=0.5", f"optimizer.momentum={momentum}", "optimizer.warmup=5"]
    assert run(*lines) == 0
    x, y, x_test, y_test = pairs_by_hand(4, 0.6, 0.3, 3)
    assert len(y) == 15

    def forward(w, x):
        a = w["Embed_0/embedding"][x].reshape(len(x), -1)
        t = np.tanh(a @ w["Dense_0/kernel"] + w["Dense_0/bias"])
        return a, t, (t @ w["Dense_1/kernel"] + w["Dense_1/bias"]) / 0.7

    def gradient(w):
        a, t, z = forward(w, x)
        d_z = (softmax(z) - np.eye(2)[y]) / len(y) / 0.7
        d_t = (d_z @ w["Dense_1/kernel"].T) * (1 - t**2)
        d_e = np.zeros_like(w["Embed_0/embedding"])
        np.add.at(d_e, x, (d_t @ w["Dense_0/kernel"].T).reshape(len(x), 2, -1))
        return {
            "Embed_0/embedding": d_e,
            "Dense_0/kernel": a.T @ d_t,
            "Dense_0/bias": d_t.sum(axis=0),
            "Dense_1/kernel": t.T @ d_z,
            "Dense_1/bias": d_z.sum(axis=0),
        }

    (run_id,) = read("runs")["run_id"]
    recorded = analysis.load_weights("out", run_id)
    initial = {name: array[0] for name, array in recorded.arrays.items()}
    every = momentum_by_hand(initial, gradient, rate=0.5, momentum=momentum, warmup=5, steps=12)
    assert recorded.step_S.tolist() == [0, 6, 12]
    for i, step in enumerate((0, 6, 12)):
        for name, array in recorded.arrays.items():
            np.testing.assert_allclose(array[i], every[step][name], rtol=1e-4, atol=1e-5)
    curves = read("curves")
    for step, w in enumerate(every):
        logged = curves.iloc[step]
        assert logged["step"] == step
        for side, (of_x, of_y) in {"train": (x, y), "eval": (x_test, y_test)}.items():
            p = softmax(forward(w, of_x)[2])
            loss = -np.log(p[np.arange(len(of_y)), of_y]).mean()
            assert logged[f"{side}_loss"] == pytest.approx(loss, rel=1e-4)
            assert logged[f"{side}_accuracy"] == pytest.approx((p.argmax(axis=1) == of_y).mean())
        norm = np.sqrt(sum((array**2).sum() for array in w.values()))
        assert logged["weight_norm"] == pytest.approx(norm, rel=1e-5)
    assert not np.allclose(every[0]["Dense_1/kernel"], every[-1]["Dense_1/kernel"], rtol=0.05)


def test_an_own_optimizer_on_a_built_in_task_and_model(files):
    """Parity by relu_mlp, against float64."""
    files(HEAD + SGD, sweep_file("override /optimizer: sgd", grid={}, seeds=[5]))
    lines = ["task.n_bits=6", "task.n_parity_bits=2", "task.train_size=20", "task.test_size=10"]
    lines += ["model.hidden_size=4", "train.steps=10", "train.log_every=5", "train.snapshot_every=5"]
    assert run(*lines, "optimizer.momentum=0.5", "optimizer.warmup=1", "optimizer.learning_rate=0.3") == 0
    (one,) = read("runs").to_dict("records")
    assert (one["task"], one["model"], one["optimizer"]) == ("parity", "relu_mlp", "sgd")
    assert one["momentum"] == 0.5
    assert "weight_decay" not in one
    recorded = analysis.load_weights("out", one["run_id"])
    values = {"n_bits": 6, "n_parity_bits": 2, "train_size": 20, "test_size": 10}
    data = find("task", "parity").data(values, 5)
    x, y = data.x_train_ND.astype(float), data.y_train_N

    def gradient(w):
        hidden = np.maximum(x @ w["w_in"], 0)
        slope = (1 / (1 + np.exp(-hidden @ w["w_out"])) - y) / 20
        return {"w_in": x.T @ (np.outer(slope, w["w_out"]) * (hidden > 0)), "w_out": slope @ hidden}

    initial = {name: array[0] for name, array in recorded.arrays.items()}
    every = momentum_by_hand(initial, gradient, rate=0.3, momentum=0.5, warmup=1, steps=10)
    for name, array in recorded.arrays.items():
        np.testing.assert_allclose(array, [every[step][name] for step in (0, 5, 10)], rtol=1e-4, atol=1e-5)


LINEAR = """
class Linear(nn.Module):
    outputs: int

    @nn.compact
    def __call__(self, x):
        return nn.Dense(self.outputs)(x)


@model(outputs=whole(5, "classes", 1, 100))
def linear(h):
    return Linear(h.outputs)


class One(nn.Module):
    depth: int

    @nn.compact
    def __call__(self, x):
        for _ in range(self.depth):
            x = nn.relu(nn.Dense(8)(x))
        return nn.Dense(1)(x)[:, 0]


@model(depth=whole(1, "hidden layers", 0, 10))
def deep(h):
    return One(h.depth)
"""


def test_an_own_model_on_modular_addition(files):
    """Its output is rows first, (N, classes), and the task's loss wants classes first; against float64."""
    files(
        HEAD + LINEAR + SGD,
        sweep_file("override /task: modular_addition", "override /model: linear", "override /optimizer: sgd",
                   grid={"momentum": [0.0, 0.9]}, seeds=[1]),
    )  # fmt: skip
    lines = ["task.modulus=5", "task.ordered_pairs=1", "task.train_share=0.6", "optimizer.warmup=1"]
    lines += ["train.steps=8", "train.log_every=4", "train.snapshot_every=4", "optimizer.learning_rate=2"]
    assert run(*lines) == 0
    data = find("task", "modular_addition").data({"modulus": 5, "ordered_pairs": 1, "train_share": 0.6}, 1)
    x, y = data.x_train_ND.astype(float), data.y_train_N
    assert x.shape == (15, 10)

    def gradient(w):
        slope = (softmax(x @ w["Dense_0/kernel"] + w["Dense_0/bias"]) - np.eye(5)[y]) / 15 / 5
        return {"Dense_0/kernel": x.T @ slope, "Dense_0/bias": slope.sum(axis=0)}

    curves = read("curves").set_index(["run_id", "step"])
    runs = read("runs")
    assert len(runs) == 2
    for _, one in runs.iterrows():
        recorded = analysis.load_weights("out", one["run_id"])
        initial = {name: array[0] for name, array in recorded.arrays.items()}
        assert {name: array.shape for name, array in initial.items()} == {
            "Dense_0/kernel": (10, 5),
            "Dense_0/bias": (5,),
        }
        every = momentum_by_hand(initial, gradient, rate=2, momentum=one["momentum"], warmup=1, steps=8)
        for i, step in enumerate((0, 4, 8)):
            for name, array in recorded.arrays.items():
                np.testing.assert_allclose(array[i], every[step][name], rtol=1e-4, atol=1e-5)
            for side, of_x, of_y in (
                ("train", x, y),
                ("eval", data.x_test_ND.astype(float), data.y_test_N),
            ):
                p = softmax(of_x @ every[step]["Dense_0/kernel"] + every[step]["Dense_0/bias"])
                logged = curves.loc[one["run_id"], step]
                loss = -np.log(p[np.arange(len(of_y)), of_y]).mean() / 5
                assert logged[f"{side}_loss"] == pytest.approx(loss, rel=1e-4)
                assert logged[f"{side}_accuracy"] == pytest.approx((p.argmax(axis=1) == of_y).mean())


def test_an_own_model_on_parity_learns_it(files):
    """Depth is an axis; a hidden layer is needed for parity, and none is not enough."""
    files(
        HEAD + LINEAR,
        sweep_file("override /model: deep", grid={"depth": [0, 2]}, phases={"definition": "pair"}, seeds=2),
    )
    lines = ["task.n_bits=2", "task.n_parity_bits=2", "task.train_size=40", "task.test_size=40"]
    lines += ["train.steps=1000", "train.log_every=100", "train.snapshot_every=null"]
    assert run(*lines, "optimizer.learning_rate=0.03", "optimizer.weight_decay=0") == 0
    runs = read("runs").set_index("depth")
    assert (runs.loc[2, "final_eval_accuracy"] == 1).all()
    assert (runs.loc[0, "final_eval_accuracy"] < 1).all()
    assert (runs.loc[2, "final_eval_loss"] < 0.01).all()
    assert set(runs["model"]) == {"deep"}


IMAGES = """
class Stripes(Task):
    numbers = {"size": whole(4, "pixels of a side", 2, 100), "spread": real(0.1, "of the noise", 0)}

    def data(self, h, seed):
        rng = np.random.default_rng(seed)
        y = rng.integers(0, 2, 24)
        stripes = np.arange(h.size) % 2
        x = np.where(y[:, None, None] == 1, stripes[:, None], stripes[None, :])
        x = (x + h.spread * rng.normal(size=x.shape))[..., None].astype(DTYPE)
        y = y.astype(YTYPE)
        return Data(x[:16], y[:16], x[16:], y[16:])

    def loss(self, h, output, y):
        return optax.softmax_cross_entropy_with_integer_labels(output, y)

    def correct(self, h, output, y):
        return jnp.argmax(output, axis=1) == y


class Conv(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(2)(nn.relu(nn.Conv(3, (2, 2))(x)).mean(axis=(1, 2)))


@model()
def conv(h):
    return Conv()
"""


@pytest.mark.parametrize(
    ("of_x", "of_y"), [("np.float32", "np.int32"), ("np.float64", "np.int64"), ("np.float16", "np.uint8")]
)
def test_rows_of_any_shape_and_type(files, of_x, of_y):
    """Images, by a convolution that has no number of its own; numpy's usual types are as good as jax's."""
    code = HEAD + IMAGES.replace("DTYPE", of_x).replace("YTYPE", of_y)
    files(code, sweep_file("override /task: stripes", "override /model: conv", grid={}, seeds=2))
    lines = ["train.steps=200", "train.log_every=100", "train.snapshot_every=100"]
    assert run(*lines, "optimizer.learning_rate=0.03") == 0
    runs = read("runs")
    assert (runs["final_eval_accuracy"] == 1).all()
    shapes = {k: a.shape[1:] for k, a in analysis.load_weights("out", runs["run_id"][0]).arrays.items()}
    assert shapes["Conv_0/kernel"] == (2, 2, 1, 3)
    assert shapes["Dense_0/kernel"] == (3, 2)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("pairs = pairs.astype(np.int32)", "assert pairs.dtype == np.int64"),
        ("return Data(pairs[:train], y[:train],", "return Data([*pairs[:train]], y[:train].tolist(),"),
    ],
    ids=["64 bits", "lists"],
)
def test_what_numpy_gives_where_nobody_says_otherwise_is_as_good(one_run, old, new):
    assert old in OWN
    one_run(OWN.replace(old, new))
    assert run() == 0
    one_run()
    assert run("out=arrays") == 0
    given, arrays = (read("curves", out) for out in ("out", "arrays"))
    pd.testing.assert_frame_equal(given, arrays, check_exact=True)


def test_static_fractions_and_traced_whole_numbers(one_run, capfd):
    """A static one is Python's number, and other programs; a traced one is not, and one program."""
    code = OWN.replace(
        '"divides the logits", 0, above=True', '"divides the logits", 0, above=True, static=True'
    )
    code = code.replace("    return Net(", "    assert type(h.temperature) is float\n    return Net(")
    code = code.replace(
        "    return optax.sgd", "    assert not isinstance(h.warmup, int)\n    return optax.sgd"
    )
    one_run(code)
    axes = ["grid={temperature:[0.5,1.5],warmup:[1,5,50]}", "train.snapshot_every=null"]
    assert run(*axes, "dry_run=true") == 0
    out = capfd.readouterr().out
    assert out.split()[:2] == ["temperature", "rows"]
    assert "6 runs to train (6 cells x 1 seed, 0 finished) in 2 programs" in out
    assert run(*axes) == 0
    runs = read("runs")
    assert runs["temperature"].dtype.kind == "f"
    assert runs["warmup"].dtype.kind == "i"
    assert runs["final_train_loss"].nunique() == 6


@pytest.mark.parametrize("warmup", [2**31 - 1, 5_000_000_000])
def test_a_traced_whole_number_is_what_was_given_or_refused(one_run, warmup, capfd):
    """It is computed in 32 bits."""
    code = f"{OWN}@metric\ndef given(h, at): return h.warmup\n"
    one_run(code.replace("10_000, traced", "10**12, traced"))
    assert run(f"optimizer.warmup={warmup}") in (0, 2)
    err = capfd.readouterr().err
    if Path("out").exists():
        assert (read("curves")["given"] == np.float32(warmup)).all()
    else:
        assert "warmup" in err


STRANGE = """
class Strange(nn.Module):
    which: int
    width: int

    @nn.compact
    def __call__(self, x):
        first = lambda key, shape: jnp.full(shape, jnp.arange(10.0)[self.which])
        w_in = self.param("w_in", first, (x.shape[1], self.width, 2))
        w_out = self.param("w_out", nn.initializers.normal(), (self.width, 3))
        return (jnp.einsum("nd,dhk->nh", x, w_in) @ w_out).sum(axis=1)


@model(which=whole(3, "of the initial weights", 0, 9, traced=True), width=whole(4, "neurons", 1, 100))
def strange(h):
    return Strange(h.which, h.width)
"""
SMALL = ["task.n_bits=6", "task.n_parity_bits=2", "task.train_size=20", "task.test_size=20"]


def test_a_traced_whole_number_is_whole_in_the_initial_weights_too(one_run):
    one_run(HEAD + STRANGE, "override /model: strange")
    assert run(*SMALL, "grid.which=[3,7]") == 0
    for _, one in read("runs").iterrows():
        assert (analysis.load_weights("out", one["run_id"]).arrays["w_in"][0] == one["which"]).all()


def test_arrays_of_an_own_model_may_be_called_as_ours(one_run, capsys):
    """Of other shapes, they are drawn as those of any network."""
    one_run(HEAD + STRANGE.replace("jnp.arange(10.0)[self.which]", "1.0"), "override /model: strange")
    assert run(*SMALL, "report=live") == 0
    capsys.readouterr()
    assert grok_analyze(["out", "--figures", "--report"]) == 0, capsys.readouterr().err
    drawn = "".join(path.read_text(encoding="utf-8") for path in Path("out/figures").glob("*.svg"))
    assert "w_in" in drawn


@pytest.mark.parametrize("name", ["step", "run_id"])
def test_an_array_called_as_a_column_of_the_weights_is_recorded_or_refused(one_run, name, capfd):
    code = STRANGE.replace("jnp.arange(10.0)[self.which]", "1.0").replace('"w_in"', f'"{name}"')
    one_run(HEAD + code, "override /model: strange")
    assert run(*SMALL) in (0, 2), capfd.readouterr().err
    if Path("out").exists():
        (run_id,) = read("runs")["run_id"]
        assert analysis.load_weights("out", run_id).arrays["w_out"].shape == (3, 4, 3)


def test_a_task_in_which_nothing_is_right(one_run, capsys):
    """Regression: there is no accuracy, which is no divergence; phases by losses, pictures without it."""
    one_run(
        HEAD + REGRESSION + METRICS.replace('["Dense_0"]', '["Dense_1"]').split("@metric\ndef surest")[0]
        .replace(" * h.temperature", ""),
        "override /task: sine",
        "override /model: curve",
        phases={"definition": "pair", "min_loss": 0.05, "max_ratio": 1000},
    )  # fmt: skip
    steps = ["train.steps=1000", "train.log_every=100", "train.snapshot_every=500"]
    assert run(*steps, "optimizer.learning_rate=0.02") == 0
    (one,) = read("runs").to_dict("records")
    assert np.isnan([one["final_train_accuracy"], one["final_eval_accuracy"]]).all()
    assert pd.isna(one["diverged_step"])
    assert one["min_eval_loss"] < 0.05
    assert one["max_loss_ratio"] > 0
    assert read("curves")[["train_accuracy", "eval_accuracy"]].isna().all(axis=None)
    capsys.readouterr()
    assert grok_analyze(["out", "--figures", "--report"]) == 0
    assert "1 generalize" in capsys.readouterr().out
    drawn = Path("out/figures/run_curves.svg").read_text(encoding="utf-8")
    assert "gradient_norm" in drawn
    assert "accuracy" not in drawn
    before = Path("out/phases.parquet").read_bytes()
    assert grok_analyze(["out", "--definition", "liu"]) == 2  # which knows nothing else
    assert "needs accuracies, of which these runs have none" in capsys.readouterr().err
    assert Path("out/phases.parquet").read_bytes() == before


def test_a_target_may_be_nan(one_run):
    """The loss says what becomes of it; and two nans are the same data."""
    masked = RATIO.replace("(h.n + 10, 1))", "(h.n + 10, 1)); y = np.where(x < 1.5, np.nan, x)")
    masked = masked.replace(
        "x[: h.n], x[: h.n], x[h.n :], x[h.n :]", "x[: h.n], y[: h.n], x[h.n :], y[h.n :]"
    )
    masked = masked.replace("((output - y) / y) ** 2", "jnp.where(jnp.isnan(y), 0.0, output - y) ** 2")
    parts = ["override /task: ratio", "override /model: curve"]
    one_run(HEAD + masked + LINE, *parts, phases={"definition": "pair"})
    assert run(*SHORT) == 0
    assert read("runs")["diverged_step"].isna().all()


def test_rows_that_fill_up_are_as_good_as_the_others(one_run):
    """Padded in a program of several sizes, and in blocks: what is computed of them must be a number."""
    of_ratio(one_run)
    assert run(*SHORT, "grid.n=[20,21]") == 0
    assert read("runs")["diverged_step"].isna().all()
    assert run(*SHORT, "grid.n=[20]", "out=alone") == 0
    (alone,), curves = read("runs", "alone")["run_id"], read("curves")
    beside = curves[curves["run_id"] == alone].reset_index(drop=True)
    np.testing.assert_allclose(beside["train_loss"], read("curves", "alone")["train_loss"], rtol=1e-5)
    lines = ["model.width=300", "task.n=999", "out=blocks", "train.steps=50"]
    assert run(*SHORT, *lines) == 0
    assert read("runs", "blocks")["diverged_step"].isna().all()
