"""Installed from a wheel and used from another folder: configs and sweeps travel inside."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml
from conftest import TINY, in_browser
from nodes import Nodes

from grok_sweep.worker import native

ROOT = Path(__file__).parent.parent


def run(*arguments, **kwargs):
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=250, check=False, **kwargs)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder that holds nothing but the wheel, installed."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    # From a copy without leftovers of other builds, as on a clean checkout.
    source = folder / "source"
    run("git", "clone", "--quiet", str(ROOT), str(source))
    run(*pip, "wheel", "--no-deps", "--wheel-dir", str(folder), str(source))
    (wheel,) = folder.glob("*.whl")
    run(*pip, "install", "--no-deps", "--target", str(folder / "site"), str(wheel))
    shutil.rmtree(source)
    return folder / "site"


@pytest.mark.slow
def test_the_wheel_works_in_a_folder_of_its_own(site, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "sweeps").mkdir(parents=True)
    for folder, patterns in (("sweeps", ("*.yaml", "*.py")), ("conf", ("**/*.yaml", "README.md"))):
        packed = {
            p.relative_to(site / "grok_sweep" / "configs")
            for p in site.glob(f"grok_sweep/configs/{folder}/**/*")
        }
        assert {p for p in packed if p.suffix and p.parent.name != "__pycache__"} == {
            p.relative_to(ROOT) for pattern in patterns for p in (ROOT / folder).glob(pattern)
        }
    assert not (site / "grok_sweep" / "bench").exists()
    for source in (*native.SHARED, *native.SOURCES.values()):  # each machine builds its own
        assert (site / source.relative_to(ROOT)).read_bytes() == source.read_bytes()
    # The editable install of this checkout is on the path too: the wheel's must come first.
    at = {"cwd": elsewhere, "env": os.environ | {"PYTHONPATH": str(site)}}
    where = run(
        sys.executable,
        "-c",
        "import grok_sweep, analysis; print(grok_sweep.__file__, analysis.__file__)",
        **at,
    )
    assert where.split() == [str(site / "grok_sweep" / "__init__.py"), str(site / "analysis" / "__init__.py")]

    sweep, analyze = str(site / "bin" / "grok-sweep"), str(site / "bin" / "grok-analyze")
    assert "125 cells x 9 seeds" in run(sweep, "sweeps=parity_1125", "dry_run=true", **at)
    run(sweep, *TINY, **at)
    assert len(pd.read_parquet(elsewhere / "results" / "tiny" / "runs")) == 16
    (session,) = yaml.safe_load((elsewhere / "results" / "tiny" / "sweep.yaml").read_text())["sessions"]
    assert session["engines"] == ["native"]  # built from what the wheel carries
    assert "16 fail" in run(analyze, "results/tiny", "--min-loss", "1e-6", "--report", **at)
    assert (elsewhere / "results" / "tiny" / "report.html").stat().st_size > 1_000_000
    assert "hidden_size: 64" in run(sweep, "sweeps=quickstart", "--cfg", "job", **at)

    # The user's own sweep, beside the packaged ones.
    (elsewhere / "sweeps" / "mine.yaml").write_text(
        "# @package _global_\nname: mine\ngrid: {b1: [0.9, 0.95]}\n"
    )
    assert "2 runs to train (2 cells x 1 seed," in run(sweep, "sweeps=mine", "dry_run=true", **at)

    # A beginning for one with parts of their own; the file of parts finds the package that runs it.
    assert "wrote sweeps/first.yaml and sweeps/first.py" in run(sweep, "init", "first", **at)
    assert "runs to train" in run(sweep, "sweeps=first", "dry_run=true", **at)


PARTS = """
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from grok_sweep.core.parts import Data, Look, Task, definition, metric, model, optimizer, real, whole


class Signs(Task):
    numbers = {
        "size": whole(4, "numbers of a row", 1, 100),
        "train_size": whole(12, "rows", 1, 100, rows=True),
    }

    def data(self, h, seed):
        x = np.random.default_rng(seed).normal(size=(h.train_size + 20, h.size))
        y = x.sum(axis=1) > 0
        return Data(x[: h.train_size], y[: h.train_size], x[h.train_size :], y[h.train_size :])

    def loss(self, h, output, y):
        return optax.sigmoid_binary_cross_entropy(output, y.astype(output.dtype))

    def correct(self, h, output, y):
        return (output > 0) == y


class Net(nn.Module):
    width: int

    @nn.compact
    def __call__(self, x):
        return nn.Dense(1)(nn.tanh(nn.Dense(self.width)(x)))[:, 0]


@model(width=whole(3, "neurons", 1, 100))
def small(h):
    return Net(h.width)


@optimizer(rate=real(0.1, "step size", 0, above=True), beta=real(0.9, "of the momentum", 0, 1, below=True))
def lion(h):
    return optax.lion(h.rate, b1=h.beta)


@metric
def slope(h, at):
    return optax.tree.norm(at.gradient)


PHASES = {"steep": Look("#d55e00", "plus"), "flat": Look("#7CB9DF", "diamond")}


@definition(PHASES, most=real(0.05, "of the gradient where it is flat", 0))
def slopes(runs, curves, h):
    last = curves.sort_values("step").groupby("run_id")["slope"].last()
    return np.where(runs["run_id"].map(last) > h.most, "steep", "flat")
"""
SWEEP = """
defaults: [{override /task: signs}, {override /model: small}, {override /optimizer: lion}]
parts: five.py
name: five
grid:
  width: [2, 6]
  rate: log(0.001, 0.1, 3)
seeds: 2
train: {steps: 40, log_every: 10, snapshot_every: 20, batch_size: 5}
phases: {definition: slopes}
cluster: {shard_seconds: 0.001}
"""


@in_browser
@pytest.mark.slow
def test_parts_of_all_five_kinds_from_a_wheel_on_two_nodes(site, tmp_path, look):
    """The nodes have the package and not the file: it travels with the work."""
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps" / "five.py").write_text(PARTS)
    (tmp_path / "sweeps" / "five.yaml").write_text(SWEEP)
    sweep, analyze = str(site / "bin" / "grok-sweep"), str(site / "bin" / "grok-analyze")
    with Nodes(PYTHONPATH=str(site)) as nodes:
        first, second = nodes.join(), nodes.join()
        at = {"cwd": tmp_path, "env": nodes.environment}
        command = [sweep, "sweeps=five", "cluster=ray", f"cluster.address={nodes.address}"]
        run(*command, **at)
        assert set(nodes.raylets()) >= {first, second}
        runs = pd.read_parquet(tmp_path / "results" / "five" / "runs")
        assert len(runs) == 12
        assert set(runs["batch_size"]) == {5}
        before = content(tmp_path / "results" / "five" / "runs")
        run(*command, "seeds=3", **at)  # it goes on
        assert content(tmp_path / "results" / "five" / "runs").items() > before.items()
        assert len(pd.read_parquet(tmp_path / "results" / "five" / "runs")) == 18

        (tmp_path / "sweeps" / "five.py").write_text(PARTS.replace("h.beta", "h.beta / 2"))
        done = subprocess.run([*command, "seeds=4"], capture_output=True, text=True, check=False, **at)
        assert done.returncode == 2
        assert "five.py has changed since the session of" in done.stderr
    (tmp_path / "sweeps" / "five.py").unlink()  # results are read without it

    told = run(analyze, "results/five", "--figures", "--report", "--record", "small", **at)
    phases = pd.read_parquet(tmp_path / "results" / "five" / "phases.parquet")
    counts = phases["phase"].value_counts()
    assert set(counts.index) == {"steep", "flat"}
    assert f"18 runs: {counts['steep']} steep, {counts['flat']} flat" in told
    curves = pd.read_parquet(tmp_path / "results" / "five" / "curves")
    last = curves[curves["step"] == 40].set_index("run_id")["slope"].reindex(phases["run_id"])
    assert ((last > 0.05).to_numpy() == (phases["phase"] == "steep").to_numpy()).all()
    assert (tmp_path / "results" / "five" / "phase_diagram.png").stat().st_size > 10_000
    assert len(pd.read_parquet(tmp_path / "small" / "phases.parquet")) == 18
    shown = look(tmp_path / "results" / "five" / "report.html")
    assert "steep" in shown.inner_text("body")
    assert "flat" in shown.inner_text("body")


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}
