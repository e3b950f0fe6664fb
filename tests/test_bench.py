"""The benchmark at a tiny size: that every part gives figures, and that `sweep` needs neither Ray nor Hydra.

How fast anything is is not asserted: `make bench` prints it.
"""

import math
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from grok_sweep.bench import cores
from grok_sweep.bench import workers as simulated
from grok_sweep.bench.__main__ import show
from grok_sweep.bench.device import parity_1125
from grok_sweep.bench.process import numpy_product, peak_gb, processes
from grok_sweep.compose import compose
from grok_sweep.core.config import parse
from grok_sweep.store import Store

TINY = ["grid.train_size=[8]", "grid.hidden_size=[2,3]", "grid.weight_decay=[0.1]", "seeds=1"]
TINY += ["task.test_size=8", "train.steps=20", "train.log_every=10", "cluster=inline"]
# Of the native engine each would build one of its own.
ONE = ["train.steps=1", "train.log_every=1", "grid.hidden_size=[2]", "grid.train_size=[8]", "engine=xla"]

# A process where what `sweep` must do without cannot be imported, as if it were not installed.
WITHOUT = """
import sys
from pathlib import Path
from pathlib import Path
for name in ("ray", "hydra", "omegaconf", "matplotlib"):
    sys.modules[name] = None
from grok_sweep.bench import __main__, device
device.PRODUCT = (64, 0.01)
config = device.parity_1125()
config["grid"] = {"train_size": [8, 9], "hidden_size": [2, 3], "weight_decay": [0.1, 0.2]}
config["task"]["test_size"], config["train"], config["seeds"] = 8, {"steps": 20, "log_every": 10}, 2
__main__.parity_1125 = lambda device, engine: config
sys.exit(__main__.main(["sweep", "--engine", "xla", *sys.argv[1:]]))
"""


def check(figures):
    """Every number in a part's figures, those in its tables too, is one, and there are some."""
    tables = [table.to_numpy().ravel() for table in figures.values() if isinstance(table, pd.DataFrame)]
    every = [*figures.values(), *(value for table in tables for value in table)]
    numbers = [value for value in every if isinstance(value, int | float)]
    assert len(numbers) >= 4
    assert all(math.isfinite(number) and number > 0 for number in numbers), figures


def test_training_gives_a_row_per_hidden_size_and_one_for_the_grid(monkeypatch, capsys):
    monkeypatch.setattr(cores, "CORES", 1)  # the machine may have a hundred
    monkeypatch.setattr(cores, "PRODUCTS", [(numpy_product, 1, {"OPENBLAS_CORETYPE": None})])
    config, _ = compose(["sweeps=parity_1125", *TINY])
    figures = cores.training(config, seconds=1e-6, size=32)
    check(figures)
    *rows, whole = figures["by_hidden_size"].to_dict("records")
    assert [row["hidden_size"] for row in rows] == ["2", "3"]
    for engine in ("native", "xla"):
        minutes = sum(row[f"minutes_{engine}"] for row in rows)
        assert whole[f"minutes_{engine}"] == pytest.approx(minutes)
        rates = [row[engine] for row in rows]
        assert min(rates) <= whole[engine] <= max(rates)
    assert whole["times_xla"] == pytest.approx(whole["minutes_xla"] / whole["minutes_native"])
    assert whole["of_the_product"] == pytest.approx(whole["native"] / figures["product_gflops"])
    show("training", figures)
    assert "all, by work" in capsys.readouterr().out


def test_modular_trains_the_networks_of_modular_addition_by_both_engines(monkeypatch):
    monkeypatch.setattr(cores, "CORES", 1)
    monkeypatch.setattr(cores, "PRODUCTS", [(numpy_product, 1, {"OPENBLAS_CORETYPE": None})])
    small = ["task.modulus=5", "grid.hidden_size=[2]", "train.steps=20", "train.log_every=10", "seeds=1"]
    figures = cores.modular(*small, seconds=1e-6, size=32)
    check(figures)
    assert figures["by_hidden_size"]["hidden_size"].tolist() == ["2", "all, by work"]


def test_plan_counts_the_runs_it_was_asked_for():
    figures = cores.plan(2000)
    check(figures)
    assert figures["runs"] == 2000


def test_waiting_is_for_the_first_row_and_the_prompt():
    (table,) = cores.waiting(*ONE, clusters=["inline"], repeats=1).values()
    assert [*zip(table["cluster"], table["cache"], strict=True)] == [("inline", "cold"), ("inline", "warm")]
    assert (table["seconds_to_first_row"] > 0.1).all()
    assert (table["seconds_to_prompt"] > 0).all()


def test_short_runs_counts_all_runs():
    figures = cores.short_runs(20, "cluster=inline", "engine=xla")
    assert figures["runs"] == 20
    assert 0 < figures["seconds_to_first_row"] <= figures["seconds"]
    assert figures["peak_gb_of_driver"] > 0.05


def test_workers_that_train_nothing_are_kept_up_with_or_not():
    table = simulated.workers([1500, 3000], seconds=0.1)["by_workers"]
    assert table["workers"].tolist() == [1500, 3000]
    assert table["due_per_second"].tolist() == [50, 100]
    assert (table["shards"] >= [5, 10]).all()
    assert (table["shards_per_second"] > 0).all()
    assert table[["busy", "cpu"]].gt(0).all(axis=None)


def test_a_sweep_that_fails_says_why(capfd):
    with pytest.raises(subprocess.CalledProcessError, match="non-zero exit status 2"):
        cores.command("sweeps=quickstart", "grid.weight_decay=[-1]")
    assert "weight_decay" in capfd.readouterr().err


def test_processes_all_answer_and_raise():
    with processes(2, {"OPENBLAS_NUM_THREADS": "1"}) as call:
        assert len(call(numpy_product, 8, 0.001)) == 2
        assert all(memory > 0.01 for memory in call(peak_gb))
        with pytest.raises(ValueError, match="negative dimensions"):
            call(numpy_product, -1, 0.0)


def test_sweep_needs_neither_ray_nor_hydra(tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", WITHOUT, "--out", str(tmp_path / "out")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "of_the_product" in done.stdout
    results = Store(tmp_path / "out")
    assert len(results.runs()) == 16
    assert len(results.curves()) == 16 * 3


def test_the_recorded_config_is_what_hydra_composes():
    composed, problems = compose(["sweeps=parity_1125", "cluster=inline"])
    assert problems == []
    assert parse(parity_1125()) == parse(composed)


def test_a_device_that_is_not_there_is_one_message():
    command = [sys.executable, "-m", "grok_sweep.bench", "sweep", "--device", "tpu"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("bench: --device tpu: jax ")
    assert done.stderr.count("\n") == 1


def test_the_readme_has_what_was_measured():
    told = yaml.safe_load((Path(__file__).parent / "bench.yaml").read_text(encoding="utf-8"))
    text = (Path(__file__).parent.parent / "grok_sweep" / "README.md").read_text(encoding="utf-8")

    def row(name, xla, native, times_xla, of_the_product, minutes_xla, minutes_native):
        speeds = f"{xla:.0f} | {native:.0f} | {times_xla:.1f} | {of_the_product:.2f}"
        return f"| {name} | {speeds} | {minutes_xla:.1f} | {minutes_native:.1f} |"

    training, plan, short, waiting = (told[name] for name in ("training", "plan", "short_runs", "waiting"))
    for row_of in (*training["rows"], ["all, by work", *training["all"]]):
        assert row(*row_of) in text
    assert f"product ({training['product_gflops']:.0f} GFLOP/s)" in text
    (_, _, small, times, *_), (_, _, large, of_large, *_) = told["modular"]["rows"]
    both = told["modular"]["all"]
    assert f"{small:.0f} GFLOP/s, {times:.1f} times XLA, of 128 {large:.0f} and {of_large:.1f} times;" in text
    assert f"both by work {both[2]:.1f} times XLA and {both[3]:.2f} times the product." in text
    one_json = f"({plan['times_one_json_per_run']:.2f} of the time of one JSON per run alone)"
    assert f"| {plan['seconds']:.1f} s, {plan['peak_gb']:.2f} GB {one_json} |" in text
    assert f"| {short['runs_per_second_after_first']:,} runs/s | 500 |" in text
    assert f"| {short['peak_gb_of_driver']:.2f} GB | 2 GB |" in text
    for name, of in waiting.items():
        first, last = (f"{of['cold'][i]:.1f} s, {of['warm'][i]:.1f} s" for i in (0, 1))
        assert f"| `{name}` | {first} | {last} |" in text
    thousand, ten = told["workers"][1000], told["workers"][10_000]
    words = " ".join(text.split())
    assert f"takes {thousand['done']:.1f}, is busy {thousand['busy']:.2f} of the time, and has" in words
    assert (
        f"{thousand['peak_gb']:.2f} GB; of 10,000 workers' {ten['due']:.0f} it takes {ten['done']:.0f}"
        in words
    )
    assert f"(`{told['slice']['command']}`) took {told['slice']['seconds']:.0f} s" in words
    whole = told["whole"]
    minutes, seconds = divmod(round(whole["seconds"]), 60)
    share = f"{whole['training_share_of_worker_time']:.1%}"
    assert f"the whole of `parity_1125` {minutes} min {seconds} s, {share} of the workers' time" in words
    stopped = whole["stop_when_decided"]["seconds"]
    assert f"the whole took {stopped:.0f} s instead of {whole['seconds']:.0f} (`tests/bench.yaml`)" in words
