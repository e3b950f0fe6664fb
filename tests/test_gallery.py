"""From a sweep to what its networks learned: the table of circuits and the pictures that apply."""

import re
import shutil

import numpy as np
import pandas as pd
import pytest

import analysis
from analysis.cli import main
from analysis.gallery import NAMES, chosen
from grok_sweep.cli import main as grok_sweep

CIRCLE = ["sweeps=modular_circle", "cluster=inline", "task.modulus=11", "train.steps=300", "seeds=2"]
CIRCLE += ["train.log_every=50", "train.snapshot_every=150"]
PARITY = ["sweeps=quickstart", "cluster=inline", "grid={}", "train.steps=20", "train.log_every=10", "seeds=1"]


@pytest.fixture(scope="module")
def circle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("circle") / "out"
    assert grok_sweep([*CIRCLE, f"out={folder}"]) == 0
    return folder


@pytest.fixture
def mine(circle, tmp_path):
    return shutil.copytree(circle, tmp_path / "mine")


def pictures(folder):
    return {path.stem for path in (folder / "figures").glob("*.png")}


def said(svg):
    """The text of a picture, whose lines may be wrapped."""
    return " ".join(re.findall("<text[^>]*>([^<]*)</text>", svg.read_text()))


def test_what_applies_is_drawn_and_the_table_says_what_was_learned(mine, capsys):
    assert main([str(mine), "--figures"]) == 0
    out = capsys.readouterr().out
    assert str(mine / "figures" / "stars.png") in out
    assert str(mine / "circuits.parquet") in out
    more = {f"{name}_{k}" for name in ("weights", "trajectories") for k in (2, 3, 4)}
    assert (
        pictures(mine) == set(NAMES) - {"trajectories", "frequencies"} - more
    )  # the circle has one by construction
    assert {path.stem for path in (mine / "figures").glob("*.svg")} == pictures(mine)
    table = pd.read_parquet(mine / "circuits.parquet")
    assert len(table) == 2
    # The embedding has one frequency, so every neuron has it.
    assert table["frequencies"].tolist() == ["1", "1"]
    assert table["neurons_per_frequency"].tolist() == ["5", "5"]
    assert table["energy_share"].tolist() == pytest.approx([1, 1])
    runs = analysis.load_runs(mine)
    for run_id, weights in analysis.each_weights(mine):
        # With all its frequencies the network is itself: its test loss is the restricted one, nearly.
        w_in, w_out = (weights.arrays[name][-1].astype(float) for name in ("w_in", "w_out"))
        run = runs.set_index("run_id").loc[run_id]
        a, b = np.divmod(np.arange(121), 11)
        logits = np.maximum(w_in[a] + w_in[b], 0) @ w_out
        log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        every = -log_p[np.arange(121), (a + b) % 11].reshape(11, 11) / 11
        upper = every[np.triu_indices(11)]
        train, test = 20, 46  # of 66 pairs a <= b, 30 %
        mean = (train * run["final_train_loss"] + test * run["final_eval_loss"]) / 66
        assert upper.mean() == pytest.approx(mean, rel=1e-4)


def test_one_run_is_opened_by_its_name(mine, capsys):
    run_id = analysis.load_runs(mine)["run_id"].iloc[-1]
    assert main([str(mine), "--run", run_id]) == 0
    drawn = said(mine / "figures" / "run_curves.svg")
    assert f"run {run_id} · seed" in drawn
    phase = pd.read_parquet(mine / "phases.parquet").set_index("run_id")["phase"][run_id]
    assert f"hidden_size 5, weight_decay 0.001 · {phase} (liu) · chosen by --run" in drawn
    assert "loss, nats per row / 11" in drawn
    assert main([str(mine), "--run", "nonsense"]) == 2
    assert "run nonsense is not there" in capsys.readouterr().err
    shutil.rmtree(mine / "weights")
    assert main([str(mine), "--run", run_id]) == 0  # its curves can be drawn all the same
    assert pictures(mine) == {"curves", "run_curves", "constructed"}


def test_the_sweeps_own_definition_is_the_default(mine, capsys):
    assert main([str(mine)]) == 0
    assert pd.read_parquet(mine / "phases.parquet").attrs == {"definition": "liu"}
    assert not (mine / "figures").exists()
    assert main([str(mine), "--definition", "pair", "--min-loss", "1e-3"]) == 0
    assert pd.read_parquet(mine / "phases.parquet").attrs["min_loss"] == 1e-3
    capsys.readouterr()
    assert main([str(mine), "--min-loss", "1e-3"]) == 2
    assert "min_loss: no part of definition liu" in capsys.readouterr().err


def test_a_record_has_the_figures_too(mine, tmp_path):
    assert main([str(mine), "--figures", "--record", str(tmp_path / "record")]) == 0
    assert pictures(tmp_path / "record") == pictures(mine)
    one, other = (pd.read_parquet(folder / "circuits.parquet") for folder in (mine, tmp_path / "record"))
    pd.testing.assert_frame_equal(one, other)


def test_figures_that_apply_no_more_go(mine):
    assert main([str(mine), "--figures"]) == 0
    shutil.rmtree(mine / "weights")
    assert main([str(mine), "--figures"]) == 0
    assert pictures(mine) == {"curves", "constructed"}
    assert "n_frequencies" not in pd.read_parquet(mine / "circuits.parquet")


@pytest.mark.parametrize("recorded", [True, False])
def test_parity_has_its_own_pictures(tmp_path, recorded):
    snapshots = ["train.snapshot_every=10"] if recorded else []
    assert grok_sweep([*PARITY, *snapshots, f"out={tmp_path / 'out'}"]) == 0
    assert main([str(tmp_path / "out"), "--figures"]) == 0
    with_weights = {"run_curves", "weights", "trajectories"} if recorded else set()
    assert pictures(tmp_path / "out") == {"curves", *with_weights}
    table = pd.read_parquet(tmp_path / "out" / "circuits.parquet")
    assert ("n_neurons" in table) == recorded


def test_each_of_a_few_settings_has_its_weights(tmp_path):
    out = tmp_path / "out"
    settings = ["grid.weight_decay=[0.1,0.3]", "grid.hidden_size=[16]", "grid.train_size=[750]"]
    settings += ["seeds=2", "train.snapshot_every=10"]
    assert grok_sweep([*PARITY, *settings, f"out={out}"]) == 0
    assert main([str(out), "--figures"]) == 0
    both = {"weights", "weights_2", "trajectories", "trajectories_2"}
    assert pictures(out) == {"curves", "run_curves", *both}
    ids = analysis.load_runs(out).set_index("run_id")
    for one, other in (("weights", "weights_2"), ("trajectories", "trajectories_2")):
        drawn = [said(out / "figures" / f"{name}.svg") for name in (one, other)]
        opened = [next(run_id for run_id in ids.index if f"run {run_id} ·" in text) for text in drawn]
        decays = [ids["weight_decay"][run_id] for run_id in opened]
        assert sorted(decays) == [0.1, 0.3]
        for text, decay in zip(drawn, decays, strict=True):
            assert f"weight_decay {decay:g} · " in text
        # In 20 steps nothing is learned: no picture says that it was.
        assert " · the first of 4 runs, none of which generalised" in drawn[0]
        assert " · the first of 2 runs of this setting, none of which generalised" in drawn[1]
    assert "4 runs; a panel for each weight_decay" in said(out / "figures" / "curves.svg")
    # What was drawn of settings that are there no more goes.
    shutil.rmtree(out / "weights")
    assert main([str(out), "--figures"]) == 0
    assert pictures(out) == {"curves"}


def test_the_first_to_generalise_is_opened():
    table = pd.DataFrame({"run_id": ["a", "b", "c"], "generalize_step": [None, 500, 200]})
    table = table.astype({"generalize_step": "Int64"})
    assert chosen(table, {"a", "b", "c"}) == {"c": "the first of 3 runs at 95 % of the test"}
    assert chosen(table, {"a", "b"}) == {"b": "the first of 2 runs with weights at 95 % of the test"}
    assert chosen(table, {"a"}) == {"a": "the only run with weights"}
    assert chosen(table, set()) == {}
    assert chosen(table, set(), run_id="a") == {"a": "chosen by --run"}
    never = table.assign(generalize_step=pd.array([None] * 3, dtype="Int64"))
    assert chosen(never, {"a", "b", "c"}) == {"a": "the first of 3 runs, none of which generalised"}


def test_the_first_of_each_of_a_few_settings_is_opened():
    table = pd.DataFrame({"run_id": list("abcdef"), "generalize_step": [9, 8, 7, 6, None, None]})
    table = table.astype({"generalize_step": "Int64"}).assign(b1=[1, 1, 2, 2, 3, 3])
    every = set("abcdef")
    assert list(chosen(table, every, ["b1"])) == ["d", "b", "e"]
    assert chosen(table, every, ["b1"])["b"] == "the first of 2 runs of this setting at 95 % of the test"
    assert list(chosen(table, every, ["b1"], "a")) == ["a", "d", "e"]  # b has the setting of a
    assert list(chosen(table.assign(b1=[1, 2, 3, 4, 5, 5]), every, ["b1"])) == ["d"]  # five are too many
