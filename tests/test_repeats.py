"""repeats=N: runs are trained again with their rows in another order, and the spread is told."""

import hashlib
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import TINY

import analysis
from analysis.cli import main as analyse
from analysis.expected import configs, n_expected
from analysis.repeat_pictures import repeats_picture
from analysis.repeats import told
from grok_sweep.cli import main
from grok_sweep.core.grid import canonical, expand, identity
from grok_sweep.core.plan import make_plan
from grok_sweep.errors import ConfigError
from grok_sweep.store import Store
from grok_sweep.worker.inputs import rows_of

HERE = Path(__file__).parent
METRICS = ["train_loss", "eval_loss", "train_accuracy", "eval_accuracy", "weight_norm"]


def test_a_repeat_is_a_run_of_its_own_and_the_first_is_the_run_as_ever(tiny):
    once, thrice = expand(tiny()), expand(tiny("repeats=3"))
    assert "repeat" not in once.columns
    assert len(thrice) == 3 * len(once) == tiny("repeats=3").n_runs == 48
    assert len(set(thrice.columns["run_id"])) == 48
    first_R = thrice.columns["repeat"] == 0
    for name, column_R in once.columns.items():
        assert thrice.columns[name][first_R].tolist() == column_R.tolist()
    sweep = tiny("repeats=3")
    for run in range(48):
        values = {key: thrice.columns[key][run].item() for key in sweep.values}
        seed, repeat = (int(thrice.columns[key][run]) for key in ("seed", "repeat"))
        text = canonical(identity(sweep, values, seed, repeat))
        assert thrice.columns["run_id"][run] == hashlib.sha256(text.encode()).hexdigest()[:16]
    five = expand(tiny("repeats=5")).columns["run_id"]
    assert set(thrice.columns["run_id"]) < set(five)


def test_its_rows_are_the_same_in_another_order(tiny):
    sweep = tiny("repeats=3", "seeds=[5]", "grid.train_size=[20,30]")
    grid = expand(sweep)
    plan = make_plan(sweep, grid)
    (program, *_) = plan.programs
    columns = grid.columns
    size_R, repeat_R, seen = columns["train_size"], columns["repeat"], {}
    for run in range(len(grid)):
        rows = rows_of(program, columns, run)
        n = int(rows.train_size)
        assert n == size_R[run]
        x_ND, y_N = np.array(rows.x_train_ND[:n]), np.array(rows.y_train_N[:n])
        rows_together = np.column_stack([x_ND, y_N])
        other = seen.setdefault((size_R[run], repeat_R[run]), rows_together)
        assert np.array_equal(other, rows_together)  # by seed and repeat alone, whatever else the run is
        np.testing.assert_array_equal(rows.x_test_ND, rows_of(program, columns, 0).x_test_ND)
    for size in (20, 30):
        first, *later = (seen[size, repeat] for repeat in range(3))
        for one in later:
            assert not np.array_equal(first, one)
            assert sorted(map(tuple, first)) == sorted(map(tuple, one))
        assert not np.array_equal(*later)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder of 16 runs trained three times, and one of the same runs once, of the same program."""
    folder = tmp_path_factory.mktemp("repeats")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main([*TINY, "train.steps=400", "out=once"]) == 0
        assert main([*TINY, "train.steps=400", "out=out", "repeats=3"]) == 0
    return folder


def test_the_tables_are_of_the_first_trainings(trained):
    once, thrice = trained / "once", trained / "out"
    assert pd.read_parquet(thrice / "runs").groupby("repeat").size().to_dict() == {0: 16, 1: 16, 2: 16}
    one, first = (analysis.load_runs(folder).drop(columns=["seconds"]) for folder in (once, thrice))
    exact = [name for name in one if one[name].dtype.kind not in "f"]
    pd.testing.assert_frame_equal(one[exact], first[exact])
    for table in ("phases", "cells"):
        counts = [pd.read_parquet(folder / f"{table}.parquet") for folder in (once, thrice)]
        assert len(counts[0]) == len(counts[1])
    assert counts[1]["runs"].tolist() == [2] * 8
    assert n_expected(*configs(Store(thrice).sweep())) == 16
    assert not (once / "repeats.parquet").exists()
    assert (thrice / "repeats.png").stat().st_size > 10_000


def test_a_repeat_is_the_same_training_but_for_rounding(trained):
    runs, curves = analysis.load_repeats(trained / "out"), analysis.load_curves(trained / "out")
    assert len(runs) == 48
    by = curves[curves["step"] <= 20].groupby("run_id")
    for _, same in runs.groupby(["weight_decay", "hidden_size", "train_size", "seed"]):
        first, *later = (by.get_group(run_id)[METRICS].to_numpy() for run_id in same["run_id"])
        for other in later:
            np.testing.assert_allclose(first, other, rtol=2e-5)
            assert not np.array_equal(first, other)  # rounding is what it is about


def test_the_spread_is_that_of_the_trainings(trained):
    """Against loops over the tables as they lie there."""
    table = pd.read_parquet(trained / "out" / "repeats.parquet")
    runs = pd.read_parquet(trained / "out" / "runs")
    curves = pd.read_parquet(trained / "out" / "curves")
    assert len(table) == 16
    assert (table["trainings"] == 3).all()
    for row in table.to_dict("records"):
        here = ("weight_decay", "hidden_size", "train_size", "seed")
        mine = runs[np.logical_and.reduce([runs[key] == row[key] for key in here])]
        assert mine.loc[mine["repeat"] == 0, "run_id"].item() == row["run_id"]
        assert row["min_eval_loss_least"] == mine["min_eval_loss"].min()
        assert row["max_loss_ratio_most"] == mine["max_loss_ratio"].max()
        counts = [row[f"n_{phase}"] for phase in ("memorize", "grok", "generalize", "fail")]
        assert sum(counts) == 3
        steps = []
        for run_id in mine["run_id"]:
            curve = curves[curves["run_id"] == run_id].sort_values("step")
            passed = curve.loc[curve["train_accuracy"] >= np.float32(0.95), "step"]
            steps.append(passed.iloc[0] if len(passed) else math.inf)
        told_steps = [row[f"memorize_step_{what}"] for what in ("least", "median", "most")]
        assert [math.inf if pd.isna(step) else step for step in told_steps] == sorted(steps)
        assert row["memorize_step_not_yet"] == steps.count(math.inf)


def trainings(phase, step, ratio):
    """Made-up phases and steps of runs: a list of trainings for each."""
    rows = [
        {"run_id": f"{run}-{repeat}", "sweep": "made", "task": "t", "seed": run, "weight_decay": 0.1}
        | {"min_train_loss": 1e-6, "min_eval_loss": 1e-6, "max_loss_ratio": ratio[run][repeat]}
        | {"phase": one, "repeat": repeat, "step": step[run][repeat]}
        for run, several in enumerate(phase)
        for repeat, one in enumerate(several)
    ]
    table = pd.DataFrame(rows)
    when = table.pop("step").astype("Int64")
    table["phase"] = pd.Categorical(table["phase"], ["memorize", "grok", "generalize", "fail"])
    found = pd.DataFrame({"run_id": table["run_id"], "memorize_step": when, "generalize_step": when})
    return table, found.assign(last_step=pd.array([1000] * len(table), "Int64"))


def test_trainings_that_did_not_come_there_are_later_than_the_last_step():
    phases, found = trainings(
        [["grok", "grok", "fail", "grok"], ["fail", "fail"], ["grok", "generalize", "grok"]],
        [[300, 100, pd.NA, 200], [pd.NA, pd.NA], [500, 400, 700]],
        [[7.0, 5.0, np.nan, 6.0], [1.0, 2.0], [3.0, 3.0, 3.0]],
    )
    table = analysis.repeats(phases.sample(frac=1, random_state=0), found).sort_values("run_id")
    assert table["trainings"].tolist() == [4, 2, 3]
    assert table["phase"].tolist() == ["grok", "fail", "grok"]
    assert table["n_grok"].tolist() == [3, 0, 2]
    shown = table[[f"generalize_step_{what}" for what in ("least", "median", "most", "not_yet")]]
    assert shown.astype(object).where(shown.notna(), None).to_numpy().tolist() == [
        [100, 300, None, 1],
        [None, None, None, 2],
        [400, 500, 700, 0],
    ]
    assert table["max_loss_ratio_most"].tolist() == [7.0, 2.0, 3.0]
    lines = told(table)
    assert lines[0] == (
        "repeats: 3 runs trained 2 to 4 times, their rows in another order each time: "
        "2 (67%, 95 % interval 21% to 94%) in more than one phase"
    )
    assert "generalised in every training: 1 run, largest over smallest step 1.75 in the middle" in lines[2]
    assert lines[2].endswith("in some: 1")
    (_, _, ratio) = repeats_picture(phases, found).axes
    assert sum(len(dots.get_offsets()) for dots in ratio.collections) == 5  # of six, one has none


def test_nothing_is_repeated_and_nothing_missing(trained):
    runs = analysis.load_repeats(trained / "once")
    assert len(runs) == 0
    phases, found = trainings([["grok", "grok"]], [[1, 2]], [[1.0, 1.0]])
    with pytest.raises(ValueError, match="1 of 2 trainings have no steps"):
        analysis.repeats(phases, found.head(1))
    with pytest.raises(ValueError, match="needs the columns repeat"):
        analysis.repeats(phases.drop(columns="repeat"), found)
    with pytest.raises(ValueError, match="no second training"):
        repeats_picture(phases.head(1), found)


def test_a_folder_that_grew_by_repeats_trains_those_alone(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    assert main([*TINY, "out=out"]) == 0
    before = {path: path.read_bytes() for path in Path("out/runs").iterdir() if path.stem != "empty"}
    assert main([*TINY, "out=out", "repeats=2", "dry_run=true"]) == 0
    assert "16 runs to train (8 cells x 2 seeds x 2 repeats, 16 finished)" in capfd.readouterr().out
    assert main([*TINY, "out=out", "repeats=2"]) == 0
    said = capfd.readouterr()
    assert "training 16 runs" in said.err
    assert said.out.startswith("16 runs: ")
    assert "repeats: 16 runs trained 2 times, their rows in another order each time" in said.out
    assert before.items() <= {path: path.read_bytes() for path in Path("out/runs").iterdir()}.items()
    assert len(analysis.load_runs("out")) == 16
    more = [*TINY, "out=out", "repeats=3", "only=runs == 2 and hidden_size == 4"]  # cells of 2 runs, not 4
    assert main(more) == 0
    assert "training 8 runs" in capfd.readouterr().err
    assert analysis.load_repeats("out").groupby(["hidden_size", "repeat"]).size().to_dict() == {
        (4, 0): 8,
        (4, 1): 8,
        (4, 2): 8,
        (8, 0): 8,
        (8, 1): 8,
    }
    assert analyse(["out", "--record", "small"]) == 0
    assert len(analysis.load_repeats("small")) == 40
    assert Path("small/repeats.parquet").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["repeats=0"], "repeats=0: must be a whole number from 1 to 1000"),
        (["repeats=1.5"], "repeats=1.5: must be a whole number from 1 to 1000"),
        (
            ["repeats=2", "train.batch_size=5"],
            "repeats=2: rows in another order are other mini-batches; use 1, or no train.batch_size",
        ),
    ],
)
def test_what_cannot_be_repeated_is_refused(tiny, arguments, said):
    with pytest.raises(ConfigError) as caught:
        tiny(*arguments)
    assert caught.value.problems == [said]


def test_the_readme_says_what_the_record_says():
    """Of `grok-sweep sweeps=parity_1125 seeds=2 repeats=5`, by the native engine."""
    table = pd.read_parquet(HERE / "repeats.parquet")
    text = " ".join((HERE.parent / "README.md").read_text(encoding="utf-8").split())
    phases = ["n_memorize", "n_grok", "n_generalize", "n_fail"]
    assert (table[phases].sum(axis=1) == 5).all()
    several = int(((table[phases] > 0).sum(axis=1) > 1).sum())
    low, high = (end[0] for end in analysis.wilson(pd.Series([several]), pd.Series([len(table)])))
    share = f"{several / len(table):.0%} [{low:.0%}, {high:.0%}]".replace("%", " %")
    assert f"of {len(table)} runs of this sweep (seeds 0 and 1" in text
    assert f"rounding put {several} into more than one phase, {share}" in text
    always = table[table["generalize_step_not_yet"] == 0]
    ratio = (always["generalize_step_most"] / always["generalize_step_least"]).astype(float)
    told = f"the {len(always)} that always generalise the step differs by a factor of {ratio.median():.3g}"
    assert f"{told} in the middle and {ratio.max():.3g} at most" in text
