"""Runs that end when their phase is decided: they leave the beginning of what they would have left."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import TINY
from hypothesis import given, settings
from hypothesis import strategies as st
from own import HEAD

from analysis import analyze, classify, load_curves, load_runs
from grok_sweep.cli import main
from grok_sweep.core.compiled import compiled
from grok_sweep.core.definitions import pair
from grok_sweep.core.parts import Values
from grok_sweep.core.program import Program
from grok_sweep.core.tasks.parity import Parity
from grok_sweep.worker import Order, summarise, train_shard
from grok_sweep.worker.deciding import PIECES, By, train_until_decided
from grok_sweep.worker.inputs import rows_of
from grok_sweep.worker.native import register

ROOT = Path(__file__).parent.parent
RUNS, STEPS, EVERY = 10, 1200, 10
PIECE = STEPS // PIECES  # steps between two times of asking
STATIC = (("n_bits", 30), ("n_parity_bits", 3), ("hidden_size", 16), ("float_bits", 32))


def order(engine, lanes, by=None):
    program = Program("parity", "relu_mlp", "adamw", STATIC, 100, 60, STEPS, EVERY, lanes, engine=engine)
    columns = {key: np.full(RUNS, number.default) for key, number in program.numbers.items()}
    columns |= {key: np.full(RUNS, value) for key, value in program.values.items()}
    columns |= {"train_size": np.full(RUNS, 100), "test_size": np.full(RUNS, 60), "seed": np.arange(RUNS)}
    columns["weight_decay"] = np.geomspace(0.01, 1, RUNS)
    return Order("s", program, columns | {"run_id": np.array([f"{run:016x}" for run in range(RUNS)])}, by)


@pytest.fixture(scope="module", params=["xla", "native"])
def whole(request):
    """(engine, curves of runs that go to their last step, thresholds that about half of them reach)."""
    assert register("relu") == ""
    curves = train_shard(order(request.param, 5)).curves.to_pandas()
    lowest = curves.groupby("run_id")[["train_loss", "eval_loss"]].min().max(axis=1)
    return request.param, curves, By("pair", {"min_loss": float(lowest.median()), "max_ratio": 1.5})


def last_steps(curves, by):
    """When each run ends: the first time of asking at which what was logged before decides. By hand."""
    found = {}
    for run_id, curve in curves.groupby("run_id"):
        found[run_id] = STEPS
        for asked in range(PIECE, STEPS, PIECE):
            before = curve[curve["step"] < asked]
            least = before[["train_loss", "eval_loss"]].min()
            ratio = (before["eval_loss"] / before["train_loss"]).max()
            if least.max() <= by.thresholds["min_loss"] and ratio >= by.thresholds["max_ratio"]:
                found[run_id] = asked
                break
    return found


@pytest.mark.parametrize("lanes", [1, 3, 10])
def test_it_leaves_the_beginning_of_the_whole_run_up_to_when_it_was_decided(whole, lanes):
    engine, curves, by = whole
    result = train_shard(order(engine, lanes, by))
    ended = last_steps(curves, by)
    assert len(set(ended.values())) >= 4  # some to the end, and lanes are free at several times
    kept = curves[curves["step"] <= curves["run_id"].map(ended)].set_index(["run_id", "step"]).sort_index()
    found = result.curves.to_pandas().set_index(["run_id", "step"]).sort_index()
    pd.testing.assert_frame_equal(found, kept, rtol=1e-3)
    runs = result.runs.to_pandas().set_index("run_id").sort_index()
    stopped = {run_id: step for run_id, step in ended.items() if step < STEPS}
    assert runs["stopped_step"].dropna().to_dict() == stopped
    last = found.groupby("run_id").tail(1).reset_index("step")
    assert (runs["final_eval_loss"].astype("float32") == last["eval_loss"]).all()
    assert (runs["steps"] == STEPS).all()


def test_phases_are_those_of_whole_runs(whole):
    engine, _, by = whole
    phases = [
        classify(train_shard(order(engine, 4, who)).runs.to_pandas(), definition="pair", **by.thresholds)
        for who in (None, by)
    ]
    before, after = (one.set_index("run_id")["phase"].sort_index() for one in phases)
    pd.testing.assert_series_equal(before, after)
    assert before.nunique() > 1


def test_lanes_that_are_left_over_are_given_up(whole):
    engine, curves, by = whole
    asked = order(engine, 8, by)
    seen = []

    def functions_of(program):
        seen.append(program.lanes)
        return compiled(program)

    for _ in range(2):  # the second time nothing is to be compiled, so that fewer lanes cost nothing
        seen.clear()
        rows = ((run, rows_of(asked.program, asked.columns, run)) for run in range(8))
        found, _ = train_until_decided(asked.program, asked.columns, rows, by, functions_of)
    assert seen == sorted(seen, reverse=True)
    assert seen[0] == 8
    assert seen[-1] < 8
    ended = last_steps(curves, by)
    assert {run: (len(curve["train_loss"]) - 1) * EVERY for run, curve in found.items()} == {
        run: ended[f"{run:016x}"] for run in range(8)
    }


losses = st.floats(1e-7, 1e3)


def summary(train_T, eval_T):
    curves = {"train_loss": train_T[None], "eval_loss": eval_T[None]}
    accuracies = dict.fromkeys(("train_accuracy", "eval_accuracy"), np.ones((1, len(train_T))))
    (step,) = (found := summarise(curves | accuracies, 1, 1e-7)).pop("diverged_step").tolist()
    return pd.DataFrame({**found, "diverged_step": pd.array([step], "Int64")})


@settings(max_examples=200)
@given(
    st.lists(st.tuples(losses, losses), min_size=2, max_size=12),
    st.integers(1, 11),
    st.floats(1e-6, 10),
    st.floats(0.1, 1e4),
)
def test_what_pair_calls_decided_never_changes(steps, begin, min_loss, max_ratio):
    train_T, eval_T = np.array(steps).T
    h = Values(min_loss=min_loss, max_ratio=max_ratio)

    def runs(until):
        return summary(train_T[:until], eval_T[:until])

    begin = min(begin, len(steps))
    if pair.decided(runs(begin), h)[0]:
        assert {pair.make(runs(until), None, h)[0] for until in range(begin, len(steps) + 1)} == {"grok"}


def test_a_diverged_run_is_decided():
    runs = summary(np.array([1.0, np.nan, 0.0]), np.ones(3))
    assert pair.decided(runs, Values(min_loss=1e-5, max_ratio=5e4)).tolist() == [True]


ENDS = ["stop_when_decided=true", "train.steps=400", "phases.min_loss=0.69", "phases.max_ratio=1.2"]


def test_a_sweep_says_by_whom_its_runs_were_ended(tmp_path, capfd):
    out = tmp_path / "out"
    assert main([*TINY, *ENDS, f"out={out}"]) == 0
    (session,) = yaml.safe_load((out / "sweep.yaml").read_text())["sessions"]
    by = {"definition": "pair", "min_loss": 0.69, "max_ratio": 1.2}
    assert session["stopped_by"] == by
    runs = load_runs(out)
    stopped = runs[runs["stopped_step"].notna()]
    assert 0 < len(stopped) < len(runs)
    assert session["stopped_runs"] == len(stopped)
    assert session["stopped_steps"] == (400 - stopped["stopped_step"]).sum()
    assert "ended early" not in "".join(analyze(out, min_loss=0.69, max_ratio=1.2).lines)
    told = f"{len(stopped)} runs ended early, when the phase was decided by definition=pair, min_loss=0.69, "
    assert told in "".join(analyze(out).lines)
    capfd.readouterr()
    assert main([*TINY, *ENDS, "stop_when_decided=false", f"out={out}"]) == 0  # what is finished is finished
    assert "all 16 runs are finished already" in capfd.readouterr().err


def test_a_definition_that_cannot_say_ends_none(tmp_path, capfd):
    out = tmp_path / "out"
    assert main([*TINY, *ENDS, "phases.definition=liu", f"out={out}"]) == 0
    assert (
        "definition liu does not say when a phase can no longer change: no run is ended"
        in capfd.readouterr().err
    )
    assert "stopped_step" not in load_runs(out)


def test_recorded_weights_go_to_their_end(tmp_path, capfd):
    assert main([*TINY, *ENDS, "train.snapshot_every=100", f"out={tmp_path / 'out'}"]) == 2
    assert "stop_when_decided=true: runs whose weights are recorded" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


HALVES = """
from grok_sweep.core.parts import Look, definition


def early(runs, h):
    return {decided}


@definition({{"low": Look("#ffffff", "square"), "high": Look("#000000", "circle")}}, decided=early)
def halves(runs, curves, h):
    return ["low" if loss < 0.7 else "high" for loss in runs["min_train_loss"]]
"""


@pytest.mark.parametrize(
    ("decided", "why"),
    [
        ('(runs["min_train_loss"] < 0.7).to_numpy()', ""),
        ("True", "definition halves: decided gives bool of shape (); of 1 runs give as many bool"),
        ('runs["seed"]', "definition halves: decided gives int64 of shape (1,); of 1 runs give as many bool"),
        ("1 / 0", "ZeroDivisionError"),
    ],
)
def test_a_definition_of_ones_own_says_it_too(files, capfd, decided, why):
    config = {"parts": "mine.py", "name": "mine"}
    files(
        HEAD + HALVES.format(decided=decided), yaml.safe_dump(config | {"phases": {"definition": "halves"}})
    )
    command = ["sweeps=mine", "cluster=inline", "train.steps=400", "task.train_size=30", "task.test_size=50"]
    assert main([*command, "stop_when_decided=true", "out=out"]) == (1 if why else 0)
    said = capfd.readouterr().err
    assert why in said
    if not why:
        (run,) = load_runs("out").to_dict("records")
        assert run["stopped_step"] < 400


def test_of_the_articles_runs_all_phases_stay_and_as_much_is_saved_as_is_told():
    """By the record: each run ends when it is first asked and what was logged before decides."""
    folder = ROOT / "sweeps" / "parity_1125"
    runs, curves = load_runs(folder).set_index("run_id"), load_curves(folder)
    h = Values({name: number.default for name, number in pair.numbers.items()})
    steps, floor = 20_000, Parity().loss_floor({})
    by_step = curves.pivot(index="run_id", columns="step").loc[runs.index]
    names = by_step.columns.unique(level=0)
    ended_R = np.full(len(runs), steps)
    for asked in range(steps - steps // PIECES, 0, -steps // PIECES):
        until = {name: by_step[name].loc[:, : asked - 1].to_numpy() for name in names}
        found = summarise(until, 100, floor)
        diverged = [None if step is np.ma.masked else int(step) for step in found.pop("diverged_step")]
        there = pd.DataFrame({**found, "diverged_step": pd.array(diverged, "Int64")}, runs.index)
        decided_R = np.asarray(pair.decided(there, h))
        ended_R[decided_R] = asked
        assert (pair.make(there, None, h)[decided_R] == pair.make(runs, None, h)[decided_R]).all()
    work_R = runs["hidden_size"] * runs["train_size"]
    saved, of_work = 1 - ended_R.mean() / steps, 1 - (ended_R * work_R).sum() / (steps * work_R.sum())
    told = f"{saved:.0%} of the steps are saved, {of_work:.0%} of the work".replace("%", " %")
    assert told in re.sub(r"\s+", " ", (ROOT / "grok_sweep" / "README.md").read_text(encoding="utf-8"))
