"""Runs that another combination of hyperparameters has in common: one run, trained once."""

import pandas as pd
import pytest
import yaml
from test_driver import content, read

from grok_sweep.cli import main

# Where input and output are collapsed, the size of the embedding has no effect.
ALIKE = [
    "sweeps=modular_24",
    "cluster=inline",
    "name=alike",
    "out=out",
    "~grid.float_bits",
    "task.modulus=5",
    "model.hidden_size=4",
    "model.collapsed_output=1",
    "train.steps=20",
    "train.log_every=5",
    "train.snapshot_every=null",
    "grid.collapsed_input=[0,1]",
    "seeds=2",
]


@pytest.fixture
def alike(tmp_path, monkeypatch):
    """Run two architectures with embeddings of these sizes; the exit code. The collapsed one has one run."""
    monkeypatch.chdir(tmp_path)
    return lambda sizes, *overrides: main([*ALIKE, f"grid.embed_size={sizes}", *overrides])


def test_a_run_that_is_there_as_a_copy_is_not_trained_again(alike, tmp_path, capfd):
    """The grid grows to the left: the first of the combinations that are one run is another than before."""
    assert alike("[16]") == 0
    before = content(tmp_path / "out" / "runs")
    capfd.readouterr()
    assert alike("[8,16,32]", "dry_run=true") == 0
    printed = capfd.readouterr().out
    assert "12 combinations, of which 4 would repeat others (embed_size without effect there)" in printed
    assert "4 runs to train (4 cells x 2 seeds, 4 finished)" in printed
    assert alike("[8,16,32]") == 0
    assert "8/8 runs, 100 % of the work" in capfd.readouterr().err
    assert before.items() <= content(tmp_path / "out" / "runs").items()
    runs = read(tmp_path / "out", "runs")
    assert runs.query("collapsed_input == 0")["embed_size"].value_counts().to_dict() == {8: 2, 16: 2, 32: 2}
    assert runs.query("collapsed_input == 1")["embed_size"].tolist() == [16, 16]
    sessions = yaml.safe_load((tmp_path / "out" / "sweep.yaml").read_text())["sessions"]
    assert [session["runs"] for session in sessions] == [4, 4]
    after = content(tmp_path / "out")
    for sizes in ("[8,16,32]", "[32,16,8]"):
        assert alike(sizes) == 0
        assert "all 8 runs are finished already" in capfd.readouterr().err
    assert content(tmp_path / "out") == after


def test_copies_of_an_older_folder_count_once(alike, tmp_path, capfd):
    assert alike("[16]") == alike("[8]") == 0  # each grid knows its own combinations only
    assert len(read(tmp_path / "out", "runs")) == 8
    capfd.readouterr()
    assert alike("[16,8,32]") == 0
    printed = capfd.readouterr()
    assert "8/8 runs, 100 % of the work" in printed.err
    assert printed.out.startswith("8 runs: ")
    assert len(read(tmp_path / "out", "runs")) == 10
    assert len(pd.read_parquet(tmp_path / "out" / "phases.parquet")) == 8


def test_what_failed_as_a_copy_has_failed(alike, tmp_path, capfd, monkeypatch):
    from grok_sweep.executors import inline

    train = inline.train_shard

    def sometimes(order):
        if order.program.values["collapsed_input"]:
            raise ValueError("no luck")
        return train(order)

    monkeypatch.setattr(inline, "train_shard", sometimes)
    assert alike("[16]") == 1
    monkeypatch.setattr(inline, "train_shard", train)
    capfd.readouterr()
    assert alike("[8,16]") == 1
    assert "2 runs crashed" in capfd.readouterr().err
    assert read(tmp_path / "out", "runs")["collapsed_input"].tolist() == [0] * 4
    assert alike("[8,16]", "retry_crashed=true") == 0
    assert read(tmp_path / "out", "runs").query("collapsed_input == 1")["embed_size"].tolist() == [8, 8]
    assert alike("[8,16]") == 0
