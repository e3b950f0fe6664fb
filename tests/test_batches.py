"""Mini-batches: which rows are in them, what a step does, and what a run of them is called."""

import jax
import numpy as np
import pandas as pd
import pytest
import yaml

import analysis
from grok_sweep.cli import main
from grok_sweep.core.grid import expand
from grok_sweep.core.plan import make_plan
from grok_sweep.core.registry import find
from grok_sweep.errors import ConfigError

SMALL = ["task.n_bits=6", "task.n_parity_bits=2", "task.test_size=10", "seeds=[3]"]
ONE = ["grid.weight_decay=[1]", "grid.hidden_size=[4]", "grid.train_size=[20]"]
STEPS = ["train.steps=12", "train.log_every=1", "train.snapshot_every=1"]


def order_by_hand(seed, epoch, rows):
    """The permutation of an epoch, as documented: of the run's seed, stream 1, and the epoch."""
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), 1), epoch)
    return np.asarray(jax.random.permutation(key, rows))


def run(out, *overrides, folder):
    return main(
        ["sweeps=quickstart", "cluster=inline", f"out={folder / out}", *SMALL, *STEPS, *ONE, *overrides]
    )


@pytest.mark.parametrize("hidden", [4, 64])  # features first, and rows first
def test_each_step_is_one_of_its_batch(tmp_path, hidden, capsys):
    """By AdamW in float64, from one recorded step to the next: 20 rows in batches of 6, so 3 an epoch."""
    lines = [f"grid.hidden_size=[{hidden}]", "train.batch_size=6"]
    assert run("out", *lines, "optimizer.b1=0", "optimizer.b2=0", "optimizer.eps=0.001", folder=tmp_path) == 0
    (one,) = pd.read_parquet(tmp_path / "out" / "runs").to_dict("records")
    assert one["batch_size"] == 6
    told = "train.batch_size leaves 2 of 20 training rows out of each epoch, others each time"
    assert told in capsys.readouterr().err
    assert run("out2", *lines, "dry_run=true", folder=tmp_path) == 0
    assert told in capsys.readouterr().err
    weights = analysis.load_weights(tmp_path / "out", one["run_id"]).arrays
    data = find("task", "parity").data(
        {k: one[k] for k in ("n_bits", "n_parity_bits", "train_size", "test_size")}, 3
    )
    x, y = data.x_train_ND.astype(float), data.y_train_N
    seen = []
    for step in range(12):
        epoch, k = divmod(step, 3)
        batch = order_by_hand(3, epoch, 20)[6 * k : 6 * k + 6]
        seen.append(batch)
        w_in, w_out = (weights[name][step].astype(float) for name in ("w_in", "w_out"))
        hidden_B = np.maximum(x[batch] @ w_in, 0)
        slope = (1 / (1 + np.exp(-hidden_B @ w_out)) - y[batch]) / 6
        gradient = {"w_in": x[batch].T @ (np.outer(slope, w_out) * (hidden_B > 0)), "w_out": slope @ hidden_B}
        for name, w in (("w_in", w_in), ("w_out", w_out)):
            g = gradient[name]
            after = w - one["learning_rate"] * (g / (np.abs(g) + 0.001) + one["weight_decay"] * w)
            np.testing.assert_allclose(weights[name][step + 1], after, rtol=1e-3, atol=1e-5)
    for epoch in range(4):
        rows = np.concatenate(seen[3 * epoch : 3 * epoch + 3])
        assert len(set(rows.tolist())) == 18  # none twice, two left out
    assert sorted(seen[0]) != sorted(seen[3])


def test_a_run_is_the_same_beside_whichever_others(tmp_path, capsys):
    assert (
        run("many", "train.batch_size=6", "grid.weight_decay=[0.1,1]", "seeds=[1,2,3]", folder=tmp_path) == 0
    )
    assert run("one", "train.batch_size=6", folder=tmp_path) == 0
    (alone,) = pd.read_parquet(tmp_path / "one" / "runs")["run_id"]
    curves = (pd.read_parquet(tmp_path / name / "curves") for name in ("many", "one"))
    many, one = (table[table["run_id"] == alone] for table in curves)
    assert len(one) == 13
    for name in one.columns[1:]:
        np.testing.assert_allclose(one[name], many[name], rtol=1e-4, atol=1e-6)


def test_a_batch_of_all_rows_is_full_batch(tmp_path, capsys):
    """In another order of the rows: equal but for rounding, and another run all the same."""
    assert run("whole", folder=tmp_path) == 0
    assert run("batch", "train.batch_size=20", folder=tmp_path) == 0
    whole, batch = (pd.read_parquet(tmp_path / name / "curves") for name in ("whole", "batch"))
    np.testing.assert_allclose(whole["train_loss"], batch["train_loss"], rtol=1e-4)
    assert set(whole["run_id"]).isdisjoint(batch["run_id"])
    assert "batch_size" not in pd.read_parquet(tmp_path / "whole" / "runs")


def test_sizes_of_training_sets_have_batches_of_their_own(tiny):
    sweep = tiny("train.batch_size=7")
    programs = make_plan(sweep, expand(sweep)).programs
    assert sorted(program.rows for program in programs) == [20, 20, 30, 30]
    assert {program.blocks for program in programs} == {1}
    assert {program.step_rows for program in programs} == {7}


def test_a_batch_of_more_rows_than_there_are_is_refused(tiny, tmp_path, capsys):
    with pytest.raises(ConfigError) as caught:
        tiny("train.batch_size=21")
    assert caught.value.problems == [
        "train.batch_size=21: must be at most the training rows of a run, here 20"
    ]
    assert tiny("train.batch_size=20").batch_size == 20
    for value in ("0", "1.5", "all", "-1"):
        with pytest.raises(ConfigError, match=r"^train.batch_size=\S+ must be a whole number from 1 to"):
            tiny(f"train.batch_size={value}")


def test_a_folder_keeps_its_batches(tmp_path, capsys):
    assert run("out", "train.batch_size=6", folder=tmp_path) == 0
    capsys.readouterr()
    assert run("out", folder=tmp_path) == 2
    assert "train.batch_size=6 (now None)" in capsys.readouterr().err
    record = yaml.safe_load((tmp_path / "out" / "sweep.yaml").read_text())
    assert record["config"]["train"]["batch_size"] == 6
