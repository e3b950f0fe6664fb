"""The benchmark at a tiny size: that every part gives figures, and that `sweep` needs neither Ray nor Hydra.

How fast anything is is not asserted: `make bench` prints it.
"""

import json
import math
import subprocess
import sys

import pytest

from grok_sweep.bench import cores
from grok_sweep.bench.__main__ import main
from grok_sweep.bench.device import plain_config
from grok_sweep.bench.process import BenchError, processes
from grok_sweep.compose import compose
from grok_sweep.core.config import parse

TINY = ["grid.train_size=[8]", "grid.hidden_size=[2,3]", "grid.weight_decay=[0.1]", "seeds=1"]
TINY += ["task.test_size=8", "train.steps=20", "train.log_every=10", "cluster=inline"]

# A process where what `sweep` must do without cannot be imported, as if it were not installed.
WITHOUT = """
import sys
for name in ("ray", "hydra", "omegaconf", "matplotlib"):
    sys.modules[name] = None
from grok_sweep.bench import __main__, device
device.PRODUCT = (64, 0.01)
compose = __main__.plain_config
def tiny(name, cluster="local"):
    config = compose(name, cluster)
    config["grid"] = {"train_size": [8, 9], "hidden_size": [2, 3], "weight_decay": [0.1, 0.2]}
    config["task"]["test_size"], config["train"]["log_every"] = 8, 10
    return config
__main__.plain_config = tiny
sys.exit(__main__.main(sys.argv[1:]))
"""


def numbers(figures):
    """Every number in a part's figures, those in its tables too."""
    for value in figures.values():
        if isinstance(value, list):
            for row in value:
                yield from numbers(row)
        elif isinstance(value, int | float):
            yield value


def check(figures):
    found = list(numbers(figures))
    assert len(found) > 3
    assert all(math.isfinite(number) and number > 0 for number in found), figures


def test_training_gives_a_row_per_hidden_size_and_one_for_the_grid(monkeypatch):
    monkeypatch.setattr(cores, "CORES", 1)  # the machine may have a hundred
    config, _ = compose(["sweeps=parity_1125", *TINY])
    figures = cores.training(config, call_seconds=1e-6, calls=2, size=32, seconds=0.001)
    check(figures)
    *rows, whole = figures["by_hidden_size"]
    assert [row["hidden_size"] for row in rows] == ["2", "3"]
    assert whole["minutes_of_sweep"] == pytest.approx(sum(row["minutes_of_sweep"] for row in rows))
    assert min(row["gflops"] for row in rows) <= whole["gflops"] <= max(row["gflops"] for row in rows)


def test_plan_counts_the_runs_it_was_asked_for(tmp_path, capsys):
    assert main(["plan", "--runs", "2000", "--json", str(tmp_path / "bench.json")]) == 0
    record = json.loads((tmp_path / "bench.json").read_text())
    assert list(record) == ["machine", "versions", "plan"]
    check(record["plan"])
    assert record["plan"]["runs"] == 2000
    assert "peak gb" in capsys.readouterr().out


def test_orchestration_reports_first_row_and_share():
    figures = cores.orchestration(*TINY)
    check(figures)
    assert figures["runs"] == 2
    assert figures["seconds_to_first_row"] <= figures["seconds"]
    assert figures["training_share"] < 1


def test_short_runs_counts_all_runs():
    figures = cores.short_runs(20, "cluster=inline")
    assert figures["runs"] == 20
    figures["runs_per_second_after_first"] = (
        figures["runs_per_second_after_first"] or 1.0
    )  # of one file: None
    check(figures)


def test_a_sweep_that_fails_is_one_message():
    with pytest.raises(BenchError, match=r"^grok-sweep sweeps=quickstart .*exit code 2: .*weight_decay"):
        cores.command("sweeps=quickstart", "grid.weight_decay=[-1]")


def test_processes_all_answer():
    with processes(2, {"OPENBLAS_NUM_THREADS": "1"}) as call:
        assert len(call("numpy_product", 8, 0.001)) == 2
        assert all(memory > 0.01 for memory in call("peak_gb"))


def test_a_process_that_fails_is_one_message(capfd):
    with processes(1, {}) as call, pytest.raises(BenchError, match="numpy_product: a process failed"):
        call("numpy_product", -1, 0.0)
    assert "ValueError" in capfd.readouterr().err


def test_sweep_needs_neither_ray_nor_hydra(tmp_path):
    out, record = tmp_path / "out", tmp_path / "bench.json"
    arguments = ["sweep", "--steps", "20", "--seeds", "2", "--out", str(out), "--json", str(record)]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", WITHOUT, *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    figures = json.loads(record.read_text())["sweep"]
    check(figures)
    *programs, whole = figures["programs"]
    assert whole["runs"] == sum(program["runs"] for program in programs) == 16

    from grok_sweep.store import Store

    assert len(Store(out).runs()) == 16
    assert len(Store(out).curves()) == 16 * 3
    assert 0 < Store(out).sweep()["sessions"][-1]["training_share_of_worker_time"] < 1


@pytest.mark.parametrize("name", ["parity_1125", "quickstart"])
@pytest.mark.parametrize("cluster", ["local", "gpu", "inline"])
def test_plain_config_is_what_hydra_composes(name, cluster):
    composed, problems = compose([f"sweeps={name}", f"cluster={cluster}"])
    assert problems == []
    assert plain_config(name, cluster) == composed
    assert parse(plain_config(name, cluster)) == parse(composed)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["plam"], "'plam': no such part; there are training, plan, "),
        (["plan", "--runs", "0"], "argument --runs: '0' must be a whole number of at least 1"),
        (["plan", "--runs", "many"], "argument --runs: 'many' must be a whole number of at least 1"),
        (["--quick"], "unrecognized arguments: --quick"),
        (["sweep", "--device", "abacus"], "argument --device: invalid choice: 'abacus'"),
        (["sweep", "--steps", "150"], "train.steps=150: must be a multiple of train.log_every=100"),
        (["plan", "--json", "{here}/none/x.json"], "{here}/none/x.json: cannot be written: No such file"),
        (["sweep", "--out", "{here}"], "--out {here}: is there already; choose a new folder"),
    ],
)
def test_bad_arguments_exit_2_with_one_message(arguments, message, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert main([argument.format(here=tmp_path) for argument in arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"bench: {message.format(here=tmp_path)}")
    assert err.count("\n") == 1
