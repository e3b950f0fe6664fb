"""A sweep of the user's own task, model, optimizer and metrics: from the file to the tables."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

import analysis
from analysis.cli import main as grok_analyze
from grok_sweep.cli import main
from grok_sweep.core.registry import find
from grok_sweep.core.source import Source
from grok_sweep.store import Store

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


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Write sweeps/mine.py and sweeps/mine.yaml of the folder that is the current one."""
    (tmp_path / "sweeps").mkdir()
    monkeypatch.chdir(tmp_path)

    def write(code: str = OWN, sweep: str | None = None) -> None:
        (tmp_path / "sweeps" / "mine.py").write_text(code, encoding="utf-8")
        (tmp_path / "sweeps" / "mine.yaml").write_text(sweep or sweep_file(), encoding="utf-8")

    write()
    return write


@pytest.fixture
def one_run(files: Callable[[str, str], None]) -> Callable[[str], None]:
    """Write them with a sweep of one run, of seed 3, and whatever code."""

    def write(code: str = OWN, *parts: str, **changes: object) -> None:
        files(code, sweep_file(*parts, **{"grid": {}, "seeds": [3], **changes}))

    write()
    return write


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


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the sweep, trained once, of tests that only read."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "sweeps").mkdir()
    (folder / "sweeps" / "mine.py").write_text(OWN)
    (folder / "sweeps" / "mine.yaml").write_text(sweep_file())
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert run() == 0
    return folder / "out"


# The whole way


@pytest.mark.usefixtures("files")
def test_a_dry_run_says_what_would_be_trained_and_writes_nothing(capfd):
    before = content(Path())
    assert run("dry_run=true") == 0
    out, err = capfd.readouterr()
    heading, *rows = out.split("\n\n")[0].splitlines()
    assert heading.split()[:3] == ["width", "rows", "runs"]
    assert [row.split()[:3] for row in rows] == [["4", "18", "8"], ["8", "18", "8"]]
    assert "16 runs to train (8 cells x 2 seeds, 0 finished)" in out
    assert err == ""
    assert content(Path()) == before


def test_the_tables_have_a_column_for_every_hyperparameter(trained):
    runs = read("runs", trained)
    assert len(runs) == 16
    assert runs["run_id"].is_unique
    keys = [key for of_part in KEYS.values() for key in of_part]
    names = runs.columns.tolist()
    begin = names.index("seed") + 1
    assert names[begin : begin + len(keys)] == keys
    kinds = {key: runs[key].dtype.kind for key in keys}
    assert kinds == {key: "i" if key in ("largest", "width", "warmup", "float_bits") else "f" for key in keys}
    assert (runs[["task", "model", "optimizer", "sweep"]] == ["larger", "net", "sgd", "mine"]).all(axis=None)
    assert runs.groupby(["width", "noise", "momentum"])["seed"].agg(list).map(sorted).tolist() == [[0, 1]] * 8
    assert (runs[["largest", "share", "temperature", "warmup"]] == [5, 0.5, 1.0, 10]).all(axis=None)
    assert runs["final_train_loss"].nunique() == 16


def test_the_curves_are_those_of_every_run(trained):
    curves = read("curves", trained)
    assert curves.columns.tolist() == CURVES
    assert len(curves) == 16 * 5
    start = curves[curves["step"] == 0].merge(read("runs", trained), on="run_id")
    assert np.isfinite(curves[CURVES[2:]]).all(axis=None)
    # Neither noise nor momentum is felt before the first step but in the training labels.
    assert start.groupby(["width", "seed"])["eval_loss"].nunique().eq(1).all()
    assert start.groupby(["width", "seed", "noise"])["train_loss"].nunique().eq(1).all()
    assert start.groupby(["width", "seed"])["train_loss"].nunique().eq(2).all()


def test_weights_are_recorded_by_their_names(trained):
    runs, curves = read("runs", trained), read("curves", trained).set_index(["run_id", "step"])
    for _, one in runs.iterrows():
        weights, width = analysis.load_weights(trained, one["run_id"]), one["width"]
        assert weights.step_S.tolist() == [0, 10, 20]
        assert {name: array.shape[1:] for name, array in weights.arrays.items()} == {
            "Embed_0/embedding": (6, width),
            "Dense_0/kernel": (2 * width, width),
            "Dense_0/bias": (width,),
            "Dense_1/kernel": (width, 2),
            "Dense_1/bias": (2,),
        }
        for i, step in enumerate((0, 10, 20)):
            norm = np.sqrt(sum((array[i].astype(float) ** 2).sum() for array in weights.arrays.values()))
            assert curves.loc[one["run_id"], step]["weight_norm"] == pytest.approx(norm, rel=1e-5)
        assert not weights.arrays["Dense_0/bias"][0].any()
        assert weights.arrays["Dense_0/bias"][2].any()


def test_the_folder_keeps_the_file_as_it_was_run(trained):
    digest = Source("mine.py", OWN).digest
    assert content(trained / "parts") == {f"{digest}-mine.py": OWN.encode()}
    record = yaml.safe_load((trained / "sweep.yaml").read_text())
    assert record["config"]["parts"] == "mine.py"
    assert record["config"]["optimizer"] == {
        "name": "sgd",
        "learning_rate": 0.1,
        "momentum": 0.9,
        "warmup": 10,
    }
    assert [session["parts"] for session in record["sessions"]] == [digest]


def test_results_are_read_without_running_the_file(trained, tmp_path, monkeypatch, capsys):
    """Nor is it needed: pictures and page of networks of which nothing is known."""
    mine = tmp_path / "copy"
    Store(trained).copy_record(Store(mine))
    monkeypatch.chdir(tmp_path)
    assert grok_analyze([str(mine), "--figures", "--report"]) == 0
    assert capsys.readouterr().out.startswith("16 runs: ")
    assert len(pd.read_parquet(mine / "phases.parquet")) == 16
    assert (mine / "report.html").stat().st_size > 1_000_000
    drawn = "".join(path.read_text(encoding="utf-8") for path in (mine / "figures").glob("*.svg"))
    assert "Dense_0/kernel" in drawn
    assert "Embed_0/embedding" in drawn


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("largest", [3, 5]),
        ("share", [0.25, 0.5]),
        ("noise", [0.0, 0.5]),
        ("width", [2, 3]),
        ("temperature", [0.5, 2.0]),
        ("learning_rate", [0.01, 1.0]),
        ("momentum", [0.0, 0.9]),
        ("warmup", [1, 100]),
    ],
)
@pytest.mark.usefixtures("one_run")
def test_every_hyperparameter_of_every_part_is_an_axis(key, values):
    short = ["train.steps=4", "train.log_every=2", "train.snapshot_every=null"]
    assert run(f"grid.{key}={values}".replace(" ", ""), *short) == 0
    runs = read("runs")
    assert sorted(runs[key]) == values
    assert runs["final_train_loss"].nunique() == 2
    assert np.isfinite(runs["final_train_loss"]).all()
    assert len(read("curves")) == 2 * 3


@pytest.mark.usefixtures("files")
def test_help_and_config_show_the_parts_of_the_file(capsys, monkeypatch):
    assert main(["sweeps=mine", "--help"]) == 0
    out = capsys.readouterr().out
    for group, name in (("task", "larger"), ("model", "net"), ("optimizer", "sgd")):
        (line,) = [line for line in out.splitlines() if line.startswith(f"  {group} ")]
        assert name in line.split(maxsplit=1)[1].split(", ")
    for key, words in {
        "largest": "numbers are 0 to this; a whole number from 1 to 1000",
        "noise": "share of the training labels that is turned over; a number of at least 0 and at most 0.5",
        "temperature": "divides the logits; a finite number greater than 0",
        "warmup": "steps until the rate is whole; a whole number from 1 to 10000",
    }.items():
        assert f"  {key:23} {words}" in out
    assert max(map(len, out.splitlines())) <= 120
    assert main(["sweeps=quickstart", "--help"]) == 0
    assert "turned over" not in capsys.readouterr().out

    assert main(["sweeps=mine", "optimizer.momentum=0.5", "--cfg", "job"]) == 0
    config = yaml.safe_load(capsys.readouterr().out)
    assert config["task"] == {"name": "larger", "largest": 5, "share": 0.5, "noise": 0.0}
    assert config["model"] == {"name": "net", "width": 4, "temperature": 1.0, "float_bits": 32}
    assert config["optimizer"] == {"name": "sgd", "learning_rate": 0.1, "momentum": 0.5, "warmup": 10}
    assert config["parts"] == "mine.py"

    line = "grok-sweep sweeps=mine optimizer.m"
    monkeypatch.setenv("COMP_LINE", line)
    monkeypatch.setenv("COMP_POINT", str(len(line)))
    assert main(["-sc", "query=bash"]) == 0
    assert capsys.readouterr().out.split() == ["optimizer.momentum="]


@pytest.mark.usefixtures("files")
def test_what_is_not_allowed_is_said_at_once_with_what_is(capfd):
    said = refused(
        capfd,
        *("task.largest=0", "model.temperature=0", "optimizer.momentum=1", "grid.noise=[0.1,0.7]"),
        *("optimizer.b1=0.5", "grid.widht=[1]", "task.share=half", "model.hidden_size=3"),
    )
    head, *lines = said.splitlines()
    assert head == "8 problems:"
    assert lines == [
        "  model.hidden_size=3: no such key; allowed are name, width, temperature, float_bits",
        "  optimizer.b1=0.5: no such key; allowed are name, learning_rate, momentum, warmup",
        "  grid.widht=[1]: no such key; did you mean grid.width?",
        "  task.largest=0: must be a whole number from 1 to 1000",
        "  task.share='half': must be a number greater than 0 and less than 1",
        "  model.temperature=0: must be a finite number greater than 0",
        "  optimizer.momentum=1: must be a number of at least 0 and less than 1",
        "  grid.noise=0.7: must be a number of at least 0 and at most 0.5",
    ]


@pytest.mark.usefixtures("files")
def test_the_parts_of_a_file_are_for_its_own_sweep(capfd):
    assert main(["sweeps=quickstart", "task=larger", "dry_run=true"]) == 2
    assert "task=larger: must be one of modular_addition, parity" in capfd.readouterr().err


# Going on


@pytest.mark.usefixtures("files")
def test_what_is_finished_is_not_trained_again(tmp_path, capfd, monkeypatch):
    whole = ["cluster.shard_seconds=0.001", "train.snapshot_every=null"]
    assert run(*whole, "out=whole") == 0
    published = Store.publish
    stop = [1]

    def publish(self, *tables):
        published(self, *tables)
        stop[0] -= 1
        if not stop[0]:
            raise KeyboardInterrupt

    monkeypatch.setattr(Store, "publish", publish)
    assert run(*whole) == 130
    monkeypatch.setattr(Store, "publish", published)
    some = content(tmp_path / "out" / "runs")
    done = set(read("runs")["run_id"])
    assert 0 < len(done) < 16
    capfd.readouterr()
    assert run(*whole) == 0
    assert content(tmp_path / "out" / "runs").items() >= some.items()
    sessions = yaml.safe_load((tmp_path / "out" / "sweep.yaml").read_text())["sessions"]
    assert sessions[-1]["runs"] == 16 - len(done)
    for table in ("runs", "curves"):
        one, other = (read(table, out).drop(columns="seconds", errors="ignore") for out in ("whole", "out"))
        pd.testing.assert_frame_equal(one, other, check_exact=True)
    before = content(tmp_path / "out")
    capfd.readouterr()
    assert run(*whole) == 0
    assert "all 16 runs are finished already" in capfd.readouterr().err
    assert content(tmp_path / "out") == before


def test_a_file_that_has_changed_does_not_go_on_unless_that_is_accepted(one_run, tmp_path, capfd):
    """Two sets of numbers would stand under one run_id."""
    assert run() == 0
    changed = OWN + "# another word\n"
    one_run(changed)
    said = refused(capfd, "seeds=[3,4]")
    assert said.startswith("out=out: mine.py has changed since the session of 2")
    assert said.endswith("choose another folder, or say accept_code=true")
    one_run(OWN)
    assert run("seeds=[3,4]") == 0
    one_run(changed)
    assert run("seeds=[3,4,5]", "accept_code=true") == 0
    assert sorted(read("runs")["seed"]) == [3, 4, 5]
    kept = content(tmp_path / "out" / "parts")
    assert sorted(kept.values()) == sorted([OWN.encode(), changed.encode()])
    assert run("seeds=[3,4,5,6]") == 0  # since then it is the file of the sweep


@pytest.mark.slow
@pytest.mark.usefixtures("files")
def test_workers_of_ray_have_the_parts_from_the_driver(trained, tmp_path, command):
    """They have no file of it: rows and numbers are those of the inline executor."""
    done = subprocess.run(
        [*command, "sweeps=mine", "out=ray", "cluster=local", "cluster.workers=2"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "16/16 runs" in done.stderr
    runs, inline = (read("runs", out).drop(columns=["seconds"]) for out in ("ray", trained))
    keys = [key for of_part in KEYS.values() for key in of_part]
    names = [name for name in runs if runs[name].dtype.kind != "f" or name in keys]
    pd.testing.assert_frame_equal(runs[names], inline[names])
    for metric in CURVES[2:]:
        np.testing.assert_allclose(
            read("curves", "ray")[metric], read("curves", trained)[metric], rtol=1e-4, atol=1e-6
        )
    weights = analysis.load_weights("ray", runs["run_id"][0])
    assert "Embed_0/embedding" in weights.arrays


# Numbers, by other means


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


def test_metrics_are_columns_of_the_curves(one_run):
    """Plain gradient descent, recorded at each step: the gradient is what the weights moved by."""
    one_run(OWN + METRICS)
    steps = ["train.steps=6", "train.log_every=1", "train.snapshot_every=1"]
    plain = ["optimizer.momentum=0", "optimizer.warmup=1", "optimizer.learning_rate=0.25"]
    assert run(*steps, *plain, "model.temperature=0.5", "grid.share=[0.25,0.5]") == 0
    curves = read("curves")
    assert curves.columns.tolist() == [*CURVES, "bias", "gradient_norm", "nowhere", "rows", "surest"]
    assert {curves[name].dtype.name for name in [*CURVES[2:], "bias", "gradient_norm"]} == {"float32"}
    for _, one in read("runs").iterrows():
        curve = curves[curves["run_id"] == one["run_id"]]
        assert curve["step"].tolist() == [*range(7)]
        w = analysis.load_weights("out", one["run_id"]).arrays
        np.testing.assert_allclose(curve["bias"], w["Dense_0/bias"].sum(axis=1), rtol=1e-5, atol=1e-7)
        moved = np.sqrt(
            sum((np.diff(a.astype(float), axis=0) ** 2).reshape(6, -1).sum(axis=1) for a in w.values())
        )
        np.testing.assert_allclose(curve["gradient_norm"][:-1], moved / 0.25 * 0.5, rtol=1e-3)
        assert (curve["rows"] == round(one["share"] * 36)).all()
        assert curve["nowhere"].isna().all()
        assert pd.isna(one["diverged_step"])  # a metric of one's own says nothing of that
        _, _, x_test, y_test = pairs_by_hand(5, one["share"], 0, 3)
        for i in range(7):
            a = w["Embed_0/embedding"][i][x_test].reshape(len(x_test), -1)
            t = np.tanh(a @ w["Dense_0/kernel"][i] + w["Dense_0/bias"][i])
            z = (t @ w["Dense_1/kernel"][i] + w["Dense_1/bias"][i]) / 0.5
            assert curve["surest"].iloc[i] == pytest.approx(z[y_test == 1, 1].max(), rel=1e-4)
    # The table without a run, which is there before the first shard, has the same columns.
    assert pd.read_parquet("out/curves/empty.parquet").columns.tolist() == curves.columns.tolist()
    assert analysis.load_curves("out").columns.tolist() == curves.columns.tolist()


# Own parts beside built-in ones


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


def test_whole_numbers_of_64_bits_are_tokens_too(one_run):
    """What numpy gives where nobody says otherwise."""
    one_run(OWN.replace("pairs = pairs.astype(np.int32)", "assert pairs.dtype == np.int64"))
    assert run() == 0
    one_run()
    assert run("out=narrow") == 0
    wide, narrow = (read("curves", out) for out in ("out", "narrow"))
    pd.testing.assert_frame_equal(wide, narrow, check_exact=True)


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


# What cannot be used


@pytest.mark.usefixtures("files")
def test_nothing_but_the_sweeps_own_file_names_code(tmp_path, capfd):
    (tmp_path / "sweeps" / "other.py").write_text("raise SystemExit('run')\n")
    said = refused(capfd, "parts=other.py")
    assert said == "parts='other.py': is for the sweep's own file to name; it names mine.py"
    assert refused(capfd, "parts=null") == "parts=null: is for the sweep's own file to name; it names mine.py"
    assert refused(capfd, "~parts").startswith("parts")
    assert main(["sweeps=quickstart", "parts=other.py", "dry_run=true"]) == 2
    assert capfd.readouterr().err == (
        "grok-sweep: parts='other.py': is for the sweep's own file to name; it names none\n"
    )
    assert run("parts=mine.py", "dry_run=true") == 0  # as it is


@pytest.mark.parametrize(
    "named",
    [
        *("sub/mine.py", "../mine.py", "/etc/passwd", "./mine.py", "mine.txt", "mine", ".hidden.py", "-m.py"),
        *("", "mine.py\n", 5, True, ["mine.py"]),
    ],
    ids=repr,
)
def test_a_file_of_parts_lies_beside_the_sweep(files, named, capfd):
    files(OWN, sweep_file(parts=named))
    said = refused(capfd)
    assert said.startswith(str(Path("sweeps/mine.yaml").resolve()))
    assert said.endswith(f"parts={named!r}: must be the name of a .py file beside it")


def test_a_file_of_parts_that_cannot_be_read(files, tmp_path, capfd):
    there = tmp_path / "sweeps" / "mine.py"

    def check(words):
        said = refused(capfd)
        assert said.startswith(
            f"{tmp_path / 'sweeps' / 'mine.yaml'}: parts=mine.py: {there} cannot be read: "
        )
        assert words in said
        assert main(["sweeps=mine", "--cfg", "job"]) == main(["sweeps=mine", "--help"]) == 2
        capfd.readouterr()

    there.unlink()
    check("No such file or directory")
    there.mkdir()
    check("Is a directory")
    there.rmdir()
    there.write_bytes(b"# \xff\xfe\n" + OWN.encode())
    check("can't decode byte")
    there.write_text(OWN + "#" * 1_000_000)
    check("it has more than ")
    files()
    assert run("dry_run=true") == 0


def changed(old: str, new: str) -> str:
    assert old in OWN
    return OWN.replace(old, new)


IN_DATA = "        rng = np.random.default_rng(seed)\n"
TO_WORDS = "        y = np.where(y, 'yes', 'no')\n"
IN_LOSS = "        return optax.softmax_cross_entropy_with_integer_labels(output, y)\n"
BROKEN = {
    "syntax": (f"{OWN}def (:\n", r"mine\.py, line \d+: "),
    "an error at once": (f"{OWN}1 / 0\n", r"mine\.py, line \d+ in <module>: ZeroDivisionError"),
    "an end at once": (f"{OWN}raise SystemExit(0)\n", r"mine\.py, line \d+ in <module>: SystemExit"),
    "no part of that name": (changed("class Larger", "class Smaller"), ".*larger"),
    "a default": (
        changed('whole(4, "neurons"', 'whole(0, "neurons"'),
        "mine.py: model net: the default of wi",
    ),
    "a shared name": (
        changed("momentum=real", "width=real").replace("h.momentum", "h.width"),
        "optimizer sgd: width is a hyperparameter of model net too",
    ),
    "data": (changed(IN_DATA, "        1 / 0\n"), r"mine\.py, line \d+ in data: ZeroDivisionError"),
    "data that are none": (
        changed(IN_DATA, "        return 5\n"),
        r"task larger: data gives int; give Data\(",
    ),
    "words for labels": (
        changed("        return Data(", f"{TO_WORDS}        return Data("),
        "task larger: data g",
    ),
    "no rows": (
        changed("        return Data(", "        train = 0\n        return Data("),
        "task larger: data g",
    ),
    "check": (
        changed(IN_LOSS, f"{IN_LOSS}\n    def check(self, h):\n        return 1 / 0\n"),
        r"mine\.py, line \d+ in check: ZeroDivisionError",
    ),
    "a misspelt loss": (
        changed("labels(output", "labels(h.outptu"),
        r"mine\.py, line \d+ in loss: MissingError",
    ),
    "a loss of all rows": (
        changed("labels(output, y)", "labels(output, y).mean()"),
        r"task larger: loss gives shape \(\); of 18 rows \(18,\)",
    ),
    "correct in numbers": (
        changed("axis=1) == y", "axis=1) - y"),
        "task larger: correct gives int32; give bool, which rows are right",
    ),
    "a model of nothing": (changed("return Net(", "Net("), ".*net"),
    "a misspelt number": (
        changed("h.width, h", "h.widht, h"),
        r"mine\.py, line \d+ in net: MissingError: th",
    ),
    "a network": (changed("nn.tanh(", "nn.tanhh("), r"mine\.py, line \d+ in __call__: AttributeError"),
    "an optimizer of nothing": (
        changed("return optax.sgd", "optax.sgd"),
        "optimizer sgd: gives NoneType; give an",
    ),
    "an optimizer": (
        changed("return optax.sgd(", "return optax.sdg("),
        r"mine\.py, line \d+ in sgd: Attribute",
    ),
    "a metric of rows": (
        f"{OWN}@metric\ndef m(h, at): return at.output_test\n",
        r"metric m: gives shape \(18, 2\); give one number",
    ),
    "a metric": (f"{OWN}@metric\ndef m(h, at): return at.nope\n", r"mine\.py, line \d+ in m: AttributeError"),
}


@pytest.mark.parametrize(("code", "words"), BROKEN.values(), ids=BROKEN)
def test_a_mistake_in_the_file_is_one_message_before_anything_is_written(one_run, code, words, capfd):
    one_run(code)
    said = refused(capfd)
    assert "\n" not in said
    assert re.match(words, said), said


def test_lists_are_as_good_as_arrays(one_run):
    one_run(
        changed("return Data(pairs[:train], y[:train],", "return Data([*pairs[:train]], y[:train].tolist(),")
    )
    assert run() == 0
    one_run()
    assert run("out=arrays") == 0
    lists, arrays = (read("curves", out) for out in ("out", "arrays"))
    pd.testing.assert_frame_equal(lists, arrays, check_exact=True)


def test_a_built_in_model_that_needs_what_an_own_task_has_not(files, capfd):
    """The hyperparameter that it asks for is named."""
    files(HEAD + LARGER, sweep_file("override /task: larger", "override /model: modular_mlp", grid={}))
    said = refused(capfd)
    assert "\n" not in said
    assert "modulus" in said


def test_a_task_says_what_does_not_fit_together(files, capfd):
    check = """
    def check(self, h):
        if h.largest * h.share < 1:
            yield "share", f"must be at least 1 / {h.largest}"
"""
    files(changed(IN_LOSS, IN_LOSS + check))
    said = refused(capfd, "task.largest=2", "task.share=0.25")
    assert said == "task.share=0.25: must be at least 1 / 2"
    said = refused(capfd, "grid={share:[0.9,0.1,0.6],largest:[5,9]}")
    assert said == "grid.share=0.1: must be at least 1 / 5"
    files(changed(IN_LOSS, IN_LOSS + check.replace('"share"', '"nowhere"')))
    said = refused(capfd, "task.largest=2", "task.share=0.25")
    assert "nowhere" in said
    assert "\n" not in said


def test_rows_that_depend_on_the_seed_are_said_to(one_run, capfd):
    """How many there are is asked of one seed: the plan, and the compiled program, are of that many."""
    count = "train = int(round(h.share * len(pairs)))"
    one_run(changed(count, f"{count} + seed"))
    assert run("seeds=[0,1]") in (1, 2)
    err = capfd.readouterr().err
    assert "Traceback" not in err
    assert "task larger: data" in err


# The beginning that is given


def test_a_sweep_to_begin_from(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    assert main(["init", "first"]) == 0
    out = capfd.readouterr().out
    assert out == "wrote sweeps/first.yaml and sweeps/first.py\nnext: grok-sweep sweeps=first dry_run=true\n"
    assert sorted(content(tmp_path)) == ["sweeps/first.py", "sweeps/first.yaml"]
    assert main(["sweeps=first", "dry_run=true"]) == 0
    assert "runs to train" in capfd.readouterr().out
    short = ["train.steps=20", "train.log_every=10", "seeds=1", "task.largest=4", "cluster=inline"]
    assert main(["sweeps=first", *short]) == 0
    curves = pd.read_parquet("results/first/curves")
    assert {"train_loss", "gradient_norm"} <= set(curves.columns)
    before = content(tmp_path)
    assert main(["init", "first"]) == 2
    assert "already there; choose another name" in capfd.readouterr().err
    for name in ("../x", "a/b", "", "1st", "a b", "-x", "quick.start"):
        assert main(["init", name]) == 2
        assert "init: goes with a name for the sweep" in capfd.readouterr().err
    assert main(["init"]) == main(["init", "a", "b"]) == 2
    assert content(tmp_path) == before
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    Path("sweeps").write_text("a file\n")
    capfd.readouterr()
    assert main(["init", "first"]) == 2
    assert "cannot be written" in capfd.readouterr().err


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
    assert grok_analyze(["out", "--definition", "liu"]) == 0  # which knows nothing else
    assert "1 fail" in capsys.readouterr().out


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
MEAN = "@metric\ndef mean(h, at): return at.y_train.mean() + 0 * at.output_train.sum()\n"
LINE = REGRESSION[REGRESSION.index("class Curve") :]
SHORT = ["train.steps=100", "train.log_every=50", "train.snapshot_every=null"]


def of_ratio(one_run, code=""):
    parts = ["override /task: ratio", "override /model: curve"]
    one_run(HEAD + RATIO + LINE + code, *parts, phases={"definition": "pair"})


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


def test_a_metric_sees_the_rows_that_there_are(one_run):
    of_ratio(one_run, MEAN)
    assert run(*SHORT, "grid.n=[20,40]") == 0
    for _, one in read("runs").iterrows():
        x = np.random.default_rng(one["seed"]).uniform(1, 3, (one["n"] + 10, 1))[: one["n"]]
        curve = read("curves").query("run_id == @one.run_id")
        np.testing.assert_allclose(curve["mean"], x.mean(), rtol=1e-6)


NONE = "    correct = None\n"
RATIO_PARTS = ("override /task: ratio", "override /model: curve")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("(h.n + 10, 1))", "(h.n + 10, 1))[seed % 2 :]",
         "data gives 20 and 9 training and test rows (seed 3)"),
        ("x[: h.n], x[: h.n]", "x[: h.n - seed], x[: h.n - seed]", "where 20 and 10 are planned"),
        ("axis=1)  #", "axis=1) > 1  #", "task ratio: loss gives bool, which has no slope; give fractions"),
        (NONE, f"{NONE}    def loss_floor(self, h): return None\n", "loss_floor gives None"),
        (NONE, f"{NONE}    def check(self, h):\n        if h.n == 21: yield 'n', 'no'\n", "grid.n=21: no"),
        ("y) ** 2", "y) ** 2 * (2 if h.rate_of > 1 else 1)", "declare a number static=True where it must"),
        ("rng(seed).uniform", "exit(0) or rng(seed).uniform", "SystemExit: 0"),
        ("uniform(1, 3, (h.n + 10, 1))", "uniform(1, 3, (10**9, 10**9))", "not enough memory for its rows"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_task_is_said_before_it_is_trained(one_run, old, new, words, capfd):
    of_ratio(one_run)
    code = (HEAD + RATIO + LINE).replace('"n": whole', '"rate_of": real(1.0, "x"), "n": whole')
    code = code.replace("np.random.default_rng", "rng").replace(
        "class Ratio", "rng = np.random.default_rng\nclass Ratio"
    )
    assert old in code
    one_run(
        code.replace(old, new),
        "override /task: ratio",
        "override /model: curve",
        phases={"definition": "pair"},
    )
    said = refused(capfd, *SHORT, "grid.n=[20,21,22]")
    assert "\n" not in said
    assert words in said


def test_liu_needs_accuracies(one_run, capfd):
    of_ratio(one_run)
    said = refused(capfd, *SHORT, "phases.definition=liu")
    assert said.startswith("phases.definition='liu': needs accuracies, which task ratio has not; choose pair")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("BatchNorm(use_running_average=True)", "Norm: has the collection batch_stats beside params"),
        ("Dropout(0.5, deterministic=False)", "in __call__: InvalidRngError"),
    ],
)
def test_a_module_of_more_than_params_is_refused(one_run, code, words, capfd):
    net = f"""
class Norm(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(1)(nn.{code}(x))


@model()
def norm(h):
    return Norm()
"""
    one_run(
        HEAD + RATIO + net, "override /task: ratio", "override /model: norm", phases={"definition": "pair"}
    )
    assert words in refused(capfd, *SHORT)
