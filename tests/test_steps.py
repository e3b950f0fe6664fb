"""When runs memorised and generalised, what is censored, and every label on each side of its thresholds."""

import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.steps import LABELS, steps

LN = 4.2
"""The test loss of a network that knows nothing, in the curves made here."""


def curve(run_id, train, test, loss=None, every=100, train_loss=1.0):
    """A run's curve from its accuracies, those of the test one a logged step, and test losses."""
    count = len(test)
    loss = np.where(np.arange(count) > 0, 0.9 * LN, LN) if loss is None else loss  # says nothing
    return pd.DataFrame(
        {
            "run_id": run_id,
            "step": np.arange(count, dtype=np.int32) * every,
            "train_loss": np.broadcast_to(np.float32(train_loss), count),
            "eval_loss": np.array(loss, np.float32),
            "train_accuracy": np.broadcast_to(np.array(train, np.float32), count),
            "eval_accuracy": np.array(test, np.float32),
            "weight_norm": np.float32(1),
        }
    ).astype({"train_loss": "float32", "eval_loss": "float32"})


def one(train, test, test_loss=None, **made):
    """The row of a single run."""
    return steps(pd.DataFrame({"run_id": ["a"]}), curve("a", train, test, test_loss, **made)).iloc[0]


def phases(*pieces):
    """Values one after the other: (value, how many logged steps)."""
    return np.repeat([value for value, _ in pieces], [count for _, count in pieces])


def test_a_run_that_groks():
    row = one(phases((0.5, 3), (1, 97)), phases((0.5, 40), (1, 60)))
    assert (row.memorize_step, row.generalize_step, row.grok_delay, row.last_step) == (300, 4000, 3700, 9900)
    assert not row[["memorize_censored", "generalize_censored", "grok_delay_censored"]].any()
    assert row.label == "plain"


def test_a_run_that_has_not_generalised_is_censored_and_one_that_never_memorised_is_not_at_risk():
    row = one(1, [0.5] * 50)
    assert (row.memorize_step, row.last_step) == (0, 4900)
    assert row.generalize_step is pd.NA
    assert row.grok_delay is pd.NA
    assert not row.memorize_censored
    assert row.generalize_censored
    assert row.grok_delay_censored
    row = one(0.6, [0.5] * 50)
    assert row.memorize_censored
    assert row.generalize_censored
    assert not row.grok_delay_censored
    row = one(0.6, [1.0] * 50)  # the test passes, the training rows never do
    assert row.memorize_censored
    assert not row.generalize_censored
    assert not row.grok_delay_censored
    assert row.grok_delay is pd.NA


def test_the_test_may_pass_first():
    assert one(phases((0.5, 30), (1, 30)), phases((0.5, 10), (1, 50))).grok_delay == -2000


@pytest.mark.parametrize(
    ("value", "step"), [(0.95, 200), (0.96, 200), (np.nextafter(np.float32(0.95), np.float32(0)), None)]
)
def test_an_accuracy_of_float32_reaches_its_threshold(value, step):
    row = one([0, 0, value], [0, 0, value])
    expected = pd.NA if step is None else step
    assert row.memorize_step is expected or row.memorize_step == expected
    assert row.generalize_step is expected or row.generalize_step == expected


@pytest.mark.parametrize("metric", ["train_loss", "eval_loss", "weight_norm", "eval_accuracy"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_run_is_watched_until_it_diverges(metric, value):
    curves = curve("a", 1, phases((0.5, 10), (1, 40)))
    curves.loc[curves["step"] == 500, metric] = value
    row = steps(pd.DataFrame({"run_id": ["a"]}), curves).iloc[0]
    assert (row.memorize_step, row.last_step) == (0, 400)
    assert row.generalize_censored
    assert row.grok_delay_censored
    assert row.label == "plain"
    curves.loc[curves["step"] == 0, metric] = value
    row = steps(pd.DataFrame({"run_id": ["a"]}), curves).iloc[0]
    assert row.last_step is pd.NA
    assert row.memorize_censored
    assert row.label == "plain"


OUT = "generalized then memorized"
BACK = "generalized, memorized, generalized"


@pytest.mark.parametrize(
    ("test", "loss", "label"),
    [
        # By accuracy: up at 1, low at 0.2.
        (phases((0, 9), (1, 40), (0.2, 40)), None, OUT),
        (phases((0, 9), (1, 5), (0.2, 5)), None, OUT),
        (phases((0, 9), (1, 4), (0.2, 40)), None, "plain"),  # generalised too briefly to count
        (phases((0, 9), (1, 40), (0.2, 4)), None, "plain"),  # lost too briefly
        (phases((0, 9), (1, 40), (0.2, 1), (1, 40)), None, "plain"),  # a spike
        (phases((0, 9), (1, 40), (0.2, 4), (1, 40)), None, "plain"),
        (phases((0, 9), (1, 40), (0.2, 5), (1, 40)), None, BACK),
        (phases((0, 9), (1, 40), (0.2, 5), (1, 5)), None, BACK),
        (phases((0, 9), (1, 40), (0.2, 9), (1, 4)), None, OUT),  # not back for long enough
        (phases((0, 9), (1, 40), (0.2, 9), (1, 9), (0.2, 9)), None, OUT),
        (phases((0, 9), (1, 40), (0.49, 40)), None, OUT),
        (phases((0, 9), (1, 40), (0.5, 40)), None, "partial"),
        # What has no generalize_step has lost none: E8's networks come to 0.8, their loss falls and rises.
        (phases((0, 9), (0.8, 80)), phases((LN, 9), (LN / 9, 40), (9, 40)), "partial"),
        (phases((0, 9), (0.94, 40), (0.2, 40)), phases((LN, 9), (0.1, 40), (9, 40)), "plain"),
        (phases((0, 9), (0.95, 40), (0.2, 40)), phases((LN, 9), (0.1, 40), (9, 40)), OUT),
        # Lost by loss: accuracy stays at 0.9, and the loss is that of a network that knows nothing.
        (phases((0, 9), (1, 40), (0.9, 40)), phases((LN, 9), (0.1, 40), (LN, 40)), OUT),
        (phases((0, 9), (1, 40), (0.9, 40)), phases((LN, 9), (0.1, 40), (0.99 * LN, 40)), "partial"),
        (phases((0, 9), (1, 40), (0.9, 20), (1, 20)), phases((LN, 9), (0.1, 40), (9, 20), (0.1, 20)), BACK),
        (phases((0, 9), (1, 40), (0.9, 4), (1, 36)), phases((LN, 9), (0.1, 40), (9, 4), (0.1, 36)), "plain"),
        (phases((0, 9), (0.95, 80)), phases((LN, 9), (0.4, 40), (9, 40)), "plain"),  # right, only too sure
    ],
)
def test_generalisation_that_is_lost(test, loss, label):
    assert one(1, test, loss).label == label
    # Whatever is lost together with the training rows is not memorised.
    assert one(0.9, test, loss).label in ("plain", "late")


def test_what_is_lost_is_measured_from_chance():
    assert one(1, phases((0.5, 9), (1, 40), (0.7, 40))).label == OUT
    assert one(1, phases((0.5, 9), (1, 40), (0.8, 40))).label == "partial"


@pytest.mark.parametrize(
    ("train", "test", "label"),
    [
        (1, phases((0.5, 50), (0.74, 50)), "plain"),
        (1, phases((0.5, 50), (0.75, 50)), "partial"),
        (1, phases((0.5, 50), (0.94, 50)), "partial"),
        (1, phases((0.5, 50), (0.95, 50)), "plain"),
        (0.94, phases((0.5, 50), (0.94, 50)), "plain"),
        (0.95, phases((0.5, 50), (0.94, 50)), "partial"),
        (1, phases((0.5, 50), (0.8, 48), (1, 2)), "late"),  # two points of five are not the end, but its sign
        (1, phases((0.5, 50), (0.8, 48), (0.1, 2)), "partial"),
        (1, phases((0.01, 50), (0.6, 50)), "partial"),
        (1, phases((0.01, 50), (0.5, 50)), "plain"),
    ],
)
def test_partial_generalisation(train, test, label):
    assert one(train, test).label == label


@pytest.mark.parametrize(
    ("test", "label"),
    [
        (phases((0.5, 90), (1, 11)), "plain"),  # at step 9000 of 10000
        (phases((0.5, 91), (1, 10)), "late"),
        (phases((0.5, 100), (1, 1)), "plain"),  # may be a spike: the end is not near it
        (phases((0.5, 97), (0.8, 3), (1, 1)), "late"),
        (phases((0.5, 95), (1, 1), (0.5, 5)), "plain"),  # was a spike
    ],
)
def test_late_generalisation(test, label):
    assert one(1, test).label == label


@pytest.mark.parametrize(
    ("test", "best", "end"),
    [
        (phases((0.1, 9), (0.9, 1), (0.8, 40)), 0.9, 0.8),
        (phases((0.1, 9), (0.9, 3), (0.8, 2)), 0.9, 0.9),
        ([0.25, 0.75], 0.75, 0.25),  # fewer than five: the lower of two middle ones
        (phases((0.5, 9), (np.nan, 9)), 0.5, 0.5),
        ([np.nan, 1], None, None),
    ],
)
def test_what_was_found_and_what_was_kept(test, best, end):
    row = one(1, test)
    for value, expected in ((row.best_eval_accuracy, best), (row.end_eval_accuracy, end)):
        assert np.isnan(value) if expected is None else value == np.float32(expected)


def test_curves_may_differ_in_length_and_those_of_other_runs_are_left_out():
    curves = pd.concat([curve("b", 1, [0.5, 1]), curve("c", 1, [1] * 9), curve("a", 1, [0.5] * 7, every=50)])
    table = steps(pd.DataFrame({"run_id": ["a", "b"]}), curves)
    assert table["run_id"].tolist() == ["a", "b"]
    assert table["last_step"].tolist() == [300, 100]
    assert table["generalize_step"].tolist() == [pd.NA, 100]
    assert [str(kind) for kind in table.dtypes[1:]] == [
        *["Int64"] * 3,
        *["bool"] * 3,
        *["Int64", "float64", "float64", "category"],
    ]
    assert tuple(table["label"].cat.categories) == LABELS


def test_no_runs_give_no_rows():
    table = steps(pd.DataFrame({"run_id": []}), curve("a", 1, [1]))
    assert len(table) == 0
    assert str(table["memorize_step"].dtype) == "Int64"


SHARE = st.sampled_from([0, 0.2, 0.5, 0.75, 0.94, 0.95, 1, np.nan])


@settings(max_examples=50)
@given(st.data())
def test_steps_are_those_found_by_going_through_each_curve(data):
    curves = []
    for run_id in "abc":
        points = data.draw(st.lists(st.tuples(SHARE, SHARE), min_size=1, max_size=12))
        curves.append(curve(run_id, [train for train, _ in points], [test for _, test in points]))
    table = pd.concat(curves, ignore_index=True)
    order = data.draw(st.permutations(range(len(table))))
    runs = pd.DataFrame({"run_id": data.draw(st.permutations("abc"))})
    found = steps(runs, table.iloc[order])
    # The order of rows does not matter, nor whose other curves are there.
    pd.testing.assert_frame_equal(found, steps(runs, table))
    for i, run_id in enumerate(runs["run_id"]):
        alone = steps(runs[i : i + 1], curves["abc".index(run_id)])
        pd.testing.assert_frame_equal(found[i : i + 1].reset_index(drop=True), alone)
        memorize = generalize = last = None
        for row in curves["abc".index(run_id)].itertuples():
            if np.isnan(row.train_accuracy) or np.isnan(row.eval_accuracy):
                break
            last = row.step
            if memorize is None and row.train_accuracy > 0.945:
                memorize = row.step
            if generalize is None and row.eval_accuracy > 0.945:
                generalize = row.step
        for name, step in {"memorize": memorize, "generalize": generalize}.items():
            value = found[f"{name}_step"][i]
            assert (value is pd.NA) == (step is None) == found[f"{name}_censored"][i]
            assert step is None or value == step
        assert found["last_step"][i] is pd.NA if last is None else found["last_step"][i] == last


@given(st.lists(st.tuples(SHARE.filter(lambda share: not np.isnan(share)), st.integers(1, 7)), min_size=1))
def test_labels_are_those_of_a_state_machine(pieces):
    test = phases(*pieces)
    state, lost, ups, downs = 0, False, 0, 0
    low = np.float32(test[0]) + np.float32(0.5) * (1 - np.float32(test[0]))
    for value in np.float32(test):
        up = value > 0.945
        down = not up and value < low
        ups, downs = (ups + 1) * up, (downs + 1) * down
        if ups >= 5:
            state = 1
        if downs >= 5:
            lost, state = lost or state == 1, -1
    expected = {1: BACK, -1: OUT}[state] if lost else None
    label = one(1, test).label
    assert label == expected if lost else label not in (OUT, BACK)


def test_bad_tables_are_named():
    runs, curves = pd.DataFrame({"run_id": ["a", "b"]}), curve("a", 1, [1])
    with pytest.raises(ValueError, match="1 of 2 runs have no curve, the first is b"):
        steps(runs, curves)
    with pytest.raises(ValueError, match="a curves table needs the columns eval_loss"):
        steps(runs[:1], curves.drop(columns="eval_loss"))


def test_a_thousand_runs_of_800_steps_take_a_moment():
    ids = [f"{i:016x}" for i in range(1000)]
    alone = curve("", 1, phases((0.5, 400), (1, 400)))
    curves = alone.iloc[np.tile(range(800), 1000)].assign(run_id=np.repeat(ids, 800))
    start = time.perf_counter()
    table = steps(pd.DataFrame({"run_id": ids}), curves)
    assert time.perf_counter() - start < 10  # about one second on an idle core
    assert (table["grok_delay"] == 40_000).all()
