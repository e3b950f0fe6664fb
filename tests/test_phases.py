"""The phase of a run by either definition, and what classify refuses."""

import re
import time
from itertools import product

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pages import PARITY

import analysis
from analysis import MAX_RATIO, MIN_LOSS, PHASES, classify, looks
from grok_sweep.core.definitions import FOUR
from grok_sweep.core.look import Look
from grok_sweep.core.parts import definition, real
from grok_sweep.store import CURVES_SCHEMA, RESULTS, runs_schema

SCHEMA = runs_schema(
    {
        "n_bits": int,
        "train_size": int,
        "test_size": int,
        "hidden_size": int,
        "init_scale": float,
        "learning_rate": float,
        "weight_decay": float,
        "b1": float,
        "b2": float,
        "eps": float,
    }
)
DEFAULTS = {
    "sweep": "made_up",
    "task": "parity",
    "seed": 0,
    "n_bits": 30,
    "train_size": 1000,
    "test_size": 5000,
    "hidden_size": 64,
    "init_scale": 1.0,
    "learning_rate": 3e-3,
    "weight_decay": 0.1,
    "b1": 0.99,
    "b2": 0.98,
    "eps": 1e-8,
    "steps": 20_000,
    "log_every": 100,
    "model": "relu_mlp",
    "optimizer": "adamw",
    **dict.fromkeys(RESULTS, 0.0),
    "diverged_step": None,
    "device": "cpu",
}
# (min_train_loss, min_eval_loss, max_loss_ratio) of a run well inside each phase.
TYPICAL = {
    "fail": (0.5, 0.6, 2.0),
    "memorize": (1e-7, 0.4, 1e6),
    "generalize": (1e-7, 2e-7, 50.0),
    "grok": (1e-7, 2e-7, 2e6),
}


def runs_table(rows):
    """The runs table of some runs, each a dict of what differs from DEFAULTS; `phase` sets its losses."""
    filled = []
    for index, row in enumerate(rows):
        losses = dict(zip(list(RESULTS)[:3], TYPICAL[row.get("phase", "grok")], strict=True))
        filled.append({"run_id": f"{index:016x}"} | DEFAULTS | losses | row)
    columns = {name: [row.get(name) for row in filled] for name in SCHEMA.names}
    return pa.table(columns, schema=SCHEMA).to_pandas()


def grid_table(seeds=9, **axes):
    """A run for each combination of `axes` and seed; which phase is by a rule that gives all four."""
    rows = []
    for values in product(*axes.values()):
        for seed in range(seeds):
            phase = PHASES[(len(rows) // 7 + seed // 4) % 4]
            rows.append(dict(zip(axes, values, strict=True)) | {"seed": seed, "phase": phase})
    return runs_table(rows)


def phase_of(train, evaluation, ratio, **options):
    row = {"min_train_loss": train, "min_eval_loss": evaluation, "max_loss_ratio": ratio}
    return classify(runs_table([row]), **options)["phase"].iloc[0]


def curves_table(curves):
    """Curves of run_id -> rows of (step, train accuracy, eval accuracy)."""
    rows = [
        {"run_id": run_id, "step": step, "train_accuracy": train, "eval_accuracy": evaluation}
        for run_id, points in curves.items()
        for step, train, evaluation in points
    ]
    return pa.Table.from_pylist(rows, schema=CURVES_SCHEMA).to_pandas()


def liu(points, definition="liu", **row):
    curves = curves_table({"0" * 16: points})
    return classify(runs_table([row]), definition=definition, curves=curves)["phase"].iloc[0]


ABOVE, BELOW = np.nextafter(MIN_LOSS, 1), np.nextafter(MIN_LOSS, 0)


@pytest.mark.parametrize(
    ("train", "evaluation", "ratio", "phase"),
    [
        (ABOVE, 0, 0, "fail"),
        (ABOVE, 1, 1e9, "fail"),
        (MIN_LOSS, ABOVE, 0, "memorize"),
        (BELOW, 1, 1e9, "memorize"),
        (MIN_LOSS, MIN_LOSS, np.nextafter(MAX_RATIO, 0), "generalize"),
        (MIN_LOSS, MIN_LOSS, MAX_RATIO, "grok"),
        (0, 0, np.nextafter(MAX_RATIO, np.inf), "grok"),
        (0, 0, np.inf, "grok"),
        (np.inf, np.inf, 0, "fail"),
        (np.nan, 0, 0, "fail"),
        (0, np.nan, 0, "fail"),
        (0, 0, np.nan, "fail"),
    ],
)
def test_pair_on_each_side_of_each_threshold(train, evaluation, ratio, phase):
    assert phase_of(train, evaluation, ratio) == phase


def test_thresholds_are_those_of_the_article_and_can_be_moved():
    assert (MIN_LOSS, MAX_RATIO) == (1e-5, 5e4)
    assert phase_of(1e-3, 1e-3, 10) == "fail"
    assert phase_of(1e-3, 1e-3, 10, min_loss=1e-3) == "generalize"
    assert phase_of(1e-3, 1e-3, 10, min_loss=1e-3, max_ratio=10) == "grok"


def test_a_diverged_run_fails_by_either_definition():
    runs = runs_table([{"phase": "grok", "diverged_step": 0}, {"phase": "grok"}])
    assert classify(runs)["phase"].tolist() == ["fail", "grok"]
    assert liu([(100, 1, 1)], diverged_step=100) == "fail"


LOSSES = st.floats(0, 1e9) | st.sampled_from([MIN_LOSS, np.nan, np.inf])


@given(st.lists(st.tuples(LOSSES, LOSSES, LOSSES), min_size=1))
def test_pair_is_the_table_read_from_the_top(losses):
    def by_hand(train, evaluation, ratio):
        if np.isnan([train, evaluation, ratio]).any() or train > 1e-5:
            return "fail"
        if evaluation > 1e-5:
            return "memorize"
        return "generalize" if ratio < 5e4 else "grok"

    runs = runs_table([dict(zip(list(RESULTS)[:3], row, strict=True)) for row in losses])
    assert classify(runs)["phase"].tolist() == [by_hand(*row) for row in losses]


@pytest.mark.parametrize(
    ("points", "phase"),
    [
        ([(0, 0.5, 0.5), (100, 0.9, 0.9)], "fail"),  # not more than 0.9
        ([(0, 0.5, 0.5), (100, 0.91, 0.9)], "memorize"),
        ([(0, 0.5, 0.5), (100, 0.5, 0.91)], "fail"),
        ([(100, 0.91, 0.5), (1000, 1, 1)], "generalize"),
        ([(100, 0.91, 0.5), (1100, 1, 1)], "grok"),  # apart by 1e3 is not less than 1e3
        ([(100, 0.5, 0.95), (5000, 1, 1)], "generalize"),  # eval first
        ([(100, 1, 0.5), (100_000, 1, 1)], "grok"),
        ([(100, 1, 0.5), (100_100, 1, 1)], "memorize"),  # too late
        ([(100_100, 1, 1)], "fail"),
        ([(100, np.nan, np.nan), (200, 1, np.nan)], "memorize"),
        ([(100, 1, 1), (200, 0.2, 0.2)], "generalize"),  # the first step counts
    ],
)
def test_liu_on_each_side_of_each_threshold(points, phase):
    assert liu(points) == phase
    assert liu(points[::-1]) == phase


OVER = [(100 * i, 1, 1) for i in range(10)]  # train and test accuracy over 90 % at ten logged steps


@pytest.mark.parametrize(
    ("points", "first", "lasting"),
    [
        (OVER, "generalize", "generalize"),
        ([*OVER, *((1000 + 100 * i, 1, 0.8) for i in range(2))], "generalize", "generalize"),  # two of five
        ([*OVER, *((1000 + 100 * i, 1, 0.8) for i in range(3))], "generalize", "memorize"),
        (
            [*OVER, *((1000 + 100 * i, 1, 0.9) for i in range(3))],
            "generalize",
            "memorize",
        ),  # not over 0.9
        ([*OVER, *((1000 + 100 * i, 0.8, 0.8) for i in range(3))], "generalize", "fail"),
        ([(0, 1, 0), *((9000 + i, 1, 1) for i in range(9))], "grok", "grok"),
        # Lost, and found again: when it first was is what counts.
        ([*OVER, (2000, 1, 0.5), *((5000 + i, 1, 1) for i in range(5))], "generalize", "generalize"),
        ([*OVER, *((200_000 + i, 1, 0.5) for i in range(9))], "generalize", "generalize"),  # after the end
        ([(0, 1, 1), (100, 1, 0.5)], "generalize", "memorize"),  # of two the lower
    ],
)
def test_a_crossing_may_have_to_last(points, first, lasting):
    assert liu(points) == first
    assert liu(points[::-1], "liu_lasting") == lasting


def test_liu_takes_each_run_s_own_curve():
    runs = runs_table([{}, {}, {}])
    a, b, c = runs["run_id"]
    curves = curves_table(
        {b: [(0, 1, 1)], "another": [(0, 0, 0)], c: [(0, 1, 0)], a: [(0, 1, 0), (9000, 1, 1)]}
    )
    phases = classify(runs, definition="liu", curves=curves)
    assert phases["phase"].tolist() == ["grok", "generalize", "memorize"]
    assert phases.attrs == {"definition": "liu"}


def test_the_table_is_a_copy_with_phases_in_one_order():
    runs = runs_table([{"phase": name} for name in ("fail", "grok")])
    before = runs.copy(deep=True)
    phases = classify(runs)
    pd.testing.assert_frame_equal(runs, before)
    pd.testing.assert_frame_equal(phases[runs.columns], runs)
    assert tuple(phases["phase"].cat.categories) == PHASES
    assert phases.attrs == {"definition": "pair", "min_loss": 1e-5, "max_ratio": 5e4}
    # Classifying again replaces the phases.
    assert classify(phases, min_loss=1.0)["phase"].tolist() == ["generalize", "grok"]


def test_no_runs_have_no_phases():
    assert classify(runs_table([]))["phase"].tolist() == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"min_loss": 0.0}, "min_loss: 0.0 is not allowed; give a finite number greater than 0"),
        ({"min_loss": float("nan")}, "min_loss: nan is not allowed"),
        ({"min_loss": "1e-5"}, "min_loss: '1e-5' is not allowed"),
        ({"max_ratio": -1}, "max_ratio: -1 is not allowed"),
        ({"max_ratio": float("inf")}, "max_ratio: inf is not allowed"),
        ({"definition": "pairs"}, "definition: 'pairs' is not allowed; give one of pair, liu, liu_lasting"),
        ({"apart": 3}, "apart: is no threshold of this definition; there are min_loss, max_ratio"),
        ({"min_loss": 0, "definition": ""}, "min_loss: 0 is .*; definition: '' is"),
        ({"definition": "liu"}, "needs curves"),
        ({"definition": "liu", "curves": curves_table({})}, "1 of 1 runs have no curve, the first is 0{16}$"),
        (
            {"definition": "liu", "curves": pd.DataFrame({"run_id": ["a"]})},
            "needs the columns step, train_acc",
        ),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        classify(runs_table([{}]), **arguments)


def test_missing_columns_are_named():
    runs = runs_table([{}])
    with pytest.raises(ValueError, match=re.escape("needs the columns min_eval_loss, max_loss_ratio; there")):
        classify(runs.drop(columns=["min_eval_loss", "max_loss_ratio"]))
    with pytest.raises(ValueError, match="diverged_step"):
        classify(runs.drop(columns="diverged_step"))


def test_a_million_runs_take_a_moment():
    runs = grid_table(4, weight_decay=(0.1, 1.0)).iloc[np.tile(range(8), 125_000)].reset_index(drop=True)
    start = time.perf_counter()
    phases = classify(runs)
    assert time.perf_counter() - start < 5  # a fifth of a second on an idle core
    assert len(phases) == 1_000_000


FIVE = {
    "confused": Look("#aaaaaa", "cross"),
    "calm": Look("#7CB9DF", "diamond", "#000000"),
    "wild": Look("#d55e00", "plus"),
    "odd": Look("#ffffff", "star"),
    "rest": Look("#F7DB5C", "hexagon"),
}


@definition(FIVE, apart=real(2.0, "of the seeds", 0), most=real(9, "seed that is calm", 0))
def by_seed(runs, curves, h):
    """A definition as in a user's file: by the seed modulo apart; curves are there."""
    assert set(runs["run_id"]) == set(curves["run_id"])
    names = np.array(["calm", "wild", "odd"])[(runs["seed"] % h.apart).astype(int)]
    return np.where(runs["seed"] > h.most, "confused", names)


def five(seeds, by=by_seed, **options):
    """Runs of these seeds, sorted by a definition of five phases."""
    runs = runs_table([{"seed": seed} for seed in seeds])
    curves = curves_table({run_id: [(0, 0.5, 0.5)] for run_id in runs["run_id"]})
    return classify(runs, definition=by, curves=curves, **options)


def test_a_definition_of_the_user_s_own():
    phases = five([0, 1, 2, 10])
    assert phases["phase"].tolist() == ["calm", "wild", "calm", "confused"]
    assert tuple(phases["phase"].cat.categories) == tuple(looks(phases)) == tuple(FIVE)
    assert phases.attrs["definition"] == "by_seed"
    assert phases.attrs["thresholds"] == {"apart": 2.0, "most": 9.0}
    assert five([0, 1, 2], apart=3)["phase"].tolist() == ["calm", "wild", "odd"]
    with pytest.raises(ValueError, match="apart: -1 is not allowed; give a finite number of at least 0"):
        five([0], apart=-1)
    with pytest.raises(
        ValueError, match=r"aparts: is no threshold of .*; there are min_loss, max_ratio, apart"
    ):
        five([0], aparts=1)
    with pytest.raises(ValueError, match='definition "by_seed" needs curves'):
        classify(runs_table([{}]), definition=by_seed)


def test_a_table_says_which_phases_it_may_have(tmp_path):
    phases = five([0, 1])
    phases.to_parquet(tmp_path / "phases.parquet")
    assert dict(looks(pd.read_parquet(tmp_path / "phases.parquet"))) == FIVE
    assert list(looks(phases)) == list(FIVE)  # and in order
    assert looks(classify(runs_table([{}]))) == looks(pd.DataFrame()) == FOUR
    phases.attrs["phases"]["calm"]["colour"] = "javascript:"
    with pytest.raises(ValueError, match="phase calm has the colour 'javascript:'"):
        looks(phases)


@pytest.mark.parametrize(
    ("colour", "edge"), [("#ffffff", "#999999"), ("#000000", "#000000"), ("#ff8000", "#994c00")]
)
def test_an_outline_is_darker_than_its_colour(colour, edge):
    assert Look(colour, "circle").edge == edge
    assert Look(colour, "circle", "#123456").edge == "#123456"


def test_a_fail_that_was_still_learning_is_undecided():
    runs = runs_table([{}] * 5).assign(
        diverged_step=pd.array([None, None, None, None, 100], "Int64"),
        min_train_loss=[1e-3, 1e-3, 1e-3, 1e-6, 1e-3],
        final_train_loss=[1e-3, 2e-3, 1e-3, 1e-6, 1e-3],
        final_train_accuracy=[1.0, 1.0, 0.99, 1.0, 1.0],
    )
    assert classify(runs)["undecided"].tolist() == [True, False, False, False, False]
    assert "undecided" not in classify(runs.drop(columns="final_train_accuracy"))


def test_of_the_undecided_at_step_2000_most_did_not_fail_in_the_end():
    """And of the other fails that had learnt their training rows, none: the record's curves, cut."""
    runs, curves = analysis.load_runs(PARITY), analysis.load_curves(PARITY)
    cut = curves[curves["step"] <= 2000].groupby("run_id", sort=False)
    last = curves[curves["step"] == 2000].set_index("run_id")
    short = runs.set_index("run_id").assign(
        min_train_loss=cut["train_loss"].min(),
        min_eval_loss=cut["eval_loss"].min(),
        final_train_loss=last["train_loss"],
        final_train_accuracy=last["train_accuracy"],
    )
    found = classify(short.reset_index())
    failed, later = found["phase"] == "fail", classify(runs)["phase"] != "fail"
    decided = failed & ~found["undecided"] & (found["final_train_accuracy"] == 1)
    assert (found["undecided"].sum(), decided.sum()) == (78, 37)
    assert later[found["undecided"]].mean() > 0.5
    assert not later[decided].any()
