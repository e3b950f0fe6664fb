"""What other thresholds and definitions would make of the runs."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pages import PARITY, ROOT, tables

import analysis
from analysis import MAX_RATIO, MIN_LOSS, PHASES, sensitivity
from analysis.cli import main
from grok_sweep.store import Store

AT = {"min_loss": MIN_LOSS, "max_ratio": MAX_RATIO}


@pytest.fixture(scope="module")
def record():
    return analysis.load_runs(PARITY), analysis.load_curves(PARITY)


def test_counts_are_those_of_the_runs_sorted_anew(record):
    runs, _ = record
    table = sensitivity.sensitivity(runs, **AT)
    assert len(table) == 17**2
    for row in table.iloc[::24].to_dict("records"):
        phases = analysis.classify(runs, min_loss=row["min_loss"], max_ratio=row["max_ratio"])["phase"]
        assert [row[f"n_{name}"] for name in PHASES] == [(phases == name).sum() for name in PHASES]
    middle = table.loc[len(table) // 2]
    assert (middle["min_loss"], middle["max_ratio"]) == pytest.approx((MIN_LOSS, MAX_RATIO))
    assert middle["n_grok"] == (analysis.classify(runs)["phase"] == "grok").sum()


@settings(max_examples=15)
@given(st.integers(0, 2**32 - 1))
def test_near_a_threshold_is_what_some_threshold_nearby_turns(seed):
    """The corners say what all thresholds between them would."""
    rng = np.random.default_rng(seed)
    losses = 10 ** rng.uniform(-5.7, -4.3, (2, 40))
    runs = pd.DataFrame({"min_train_loss": losses[0], "min_eval_loss": losses[1], "diverged_step": pd.NA})
    runs["max_loss_ratio"] = 10 ** rng.uniform(4, 5.4, 40)
    now = analysis.classify(runs.assign(run_id="x"))["phase"].to_numpy()
    turned = np.zeros(40, bool)
    factors = 2 ** np.linspace(-1, 1, 5)
    for loss in factors:
        for ratio in factors:
            at = {"min_loss": MIN_LOSS * loss, "max_ratio": MAX_RATIO * ratio}
            turned |= analysis.classify(runs.assign(run_id="x"), **at)["phase"].to_numpy() != now
    np.testing.assert_array_equal(sensitivity.near(runs, **AT), turned)


def test_definitions_are_held_against_each_other_run_by_run(record):
    runs, curves = record
    table = sensitivity.crossed(runs, curves, **AT)
    mine = analysis.classify(runs)["phase"]
    for name in ("liu", "liu_lasting"):
        other = analysis.classify(runs, definition=name, curves=curves)["phase"]
        of_one = table[table["definition"] == name]
        assert of_one["runs"].sum() == len(runs)
        for row in of_one.itertuples():
            are = (mine == row.pair) & (other == row.other)
            assert row.runs == are.sum() > 0
            right = (5000 * runs["final_eval_accuracy"][are]).round()  # of 5,000 test rows
            assert row.accurate == (right >= 4950).sum()


def test_what_has_no_accuracy_is_crossed_with_nothing(record):
    runs, curves = record
    none = curves.assign(train_accuracy=np.nan, eval_accuracy=np.nan)
    assert sensitivity.crossed(runs, none, **AT).empty
    table = sensitivity.sensitivity(runs, **AT)
    told = sensitivity.told(runs, table, sensitivity.crossed(runs, none, **AT), **AT)
    assert len(told) == 3


def test_no_runs_have_no_counts():
    runs, _ = (table[:0] for table in tables({"weight_decay": [0.1]}))
    assert sensitivity.sensitivity(runs, **AT)[sensitivity.COUNTS].to_numpy().sum() == 0
    assert sensitivity.near(runs, **AT).shape == (0,)
    with pytest.raises(ValueError, match="there are no runs"):
        sensitivity.all_of(analysis.classify(runs), pd.DataFrame(), {})
    with pytest.raises(ValueError, match="max_loss_ratio"):
        sensitivity.sensitivity(runs.drop(columns="max_loss_ratio"), **AT)


def test_it_is_asked_for_once_and_then_kept_up_to_date(tmp_path, capsys):
    folder = tmp_path / "copy"
    Store(PARITY).copy_record(Store(folder))
    assert main([str(folder), "--sensitivity"]) == 0
    said = capsys.readouterr().out
    assert "64 of 1,125 runs are within a factor of 2 of a threshold" in said
    assert "with a tenth to ten times max_ratio=50000: memorize 390, grok 379 to 481" in said
    assert "by liu 555 are in another phase than by pair: 185 grok are generalize, 157 memorize" in said
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    phrase = (
        "124 of the 390 that memorize by `pair`, and 49 of the 161 that fail, end with 99 % of the test rows"
    )
    assert phrase in readme
    assert "by pair 124 memorize and 49 fail end with 99 % of the test rows right or more" in said
    drawn = (folder / "sensitivity.svg").read_text()
    for words in (*PHASES, "parity_1125", "min_loss, nats", "max_ratio", "how many of 1,125 runs"):
        assert words in drawn
    assert main([str(folder), "--max-ratio=1e4"]) == 0
    assert "with a tenth to ten times max_ratio=10000" in capsys.readouterr().out
    table = pd.read_parquet(folder / "sensitivity.parquet")
    assert np.isclose(table["max_ratio"], 1e4).any()
    assert (folder / "sensitivity.svg").read_text() != drawn
    assert pd.read_parquet(folder / "definitions.parquet")["runs"].sum() == 2 * 1125


def test_thresholds_stay_those_of_the_sweep_where_another_definition_is_asked_for(record):
    runs, curves = record
    by_liu = analysis.classify(runs, definition="liu", curves=curves)
    assert sensitivity.thresholds_of(by_liu, {"min_loss": 0.5, "definition": "pair"}) == AT | {
        "min_loss": 0.5
    }
    assert (
        sensitivity.thresholds_of(analysis.classify(runs, min_loss=0.1), {"min_loss": 0.5})["min_loss"] == 0.1
    )


def test_runs_that_ended_early_are_said_to_be(record):
    runs, curves = record
    runs = runs.assign(stopped_step=pd.array([100] * 3 + [None] * (len(runs) - 3), "Int64"))
    said = sensitivity.all_of(analysis.classify(runs), curves, {}).lines[-1]
    assert said.startswith("3 runs ended early, when their phase was decided")
