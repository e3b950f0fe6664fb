"""Every committed record is what its own sweep.yaml says.

Tables are computed again from runs, curves and weights; the words in pictures are those of pictures drawn
now. What is said of the records: test_claims.
"""

import re

import numpy as np
import pandas as pd
import pytest
from records import EVERY, OPENED, RECORDS, SWEEPS, record

import analysis
from analysis import report
from analysis.gallery import NAMES
from grok_sweep.core.grid import expand
from grok_sweep.core.source import Source
from grok_sweep.session import sorting
from grok_sweep.store import Store
from grok_sweep.worker import summarise

each_record = pytest.mark.parametrize("name", RECORDS)


@each_record
def test_accuracies_are_shares_of_rows(name):
    """Exactly: a whole number of rows over their number, in float32; so == 1 is all of them."""
    one = record(name)
    task = one.task
    rows = {run["run_id"]: [int(n) for n in task.rows(run)] for _, run in one.runs.iterrows()}
    for side, metric in enumerate(("train_accuracy", "eval_accuracy")):
        size_N = one.curves["run_id"].map({run_id: sizes[side] for run_id, sizes in rows.items()})
        share_N = one.curves[metric].to_numpy()
        count_N = np.rint(share_N.astype(float) * size_N.to_numpy())
        assert share_N.min() >= 0
        assert share_N.max() <= 1
        exact_N = count_N.astype(np.float32) / size_N.to_numpy(np.float32)
        if metric == "train_accuracy":
            assert (share_N == exact_N).all()
        else:  # made when it was a mean, which XLA takes as a product with the inverse of the number of rows
            np.testing.assert_allclose(share_N, exact_N, rtol=1.2e-7)
            assert ((share_N == 1) == (exact_N == 1)).all()


@each_record
def test_the_runs_are_those_of_the_grid_and_their_summaries_those_of_their_curves(name):
    one = record(name)
    expected = analysis.expected_runs(one.config)
    names = [column for column in expected if column in one.runs]
    assert {"seed", "task", *one.sweep.axes} <= set(names)
    assert set(zip(*(expected[name] for name in names), strict=True)) == set(
        zip(*(one.runs[name] for name in names), strict=True)
    )
    assert len(expected) == len(one.runs)

    task, curves = one.task, one.curves
    metrics = ("train_loss", "eval_loss", "train_accuracy", "eval_accuracy")
    curves_RT = {metric: one.wide(metric).loc[one.runs["run_id"]].to_numpy() for metric in metrics}
    every = int(one.runs["log_every"].iloc[0])
    assert curves["step"].max() == one.runs["steps"].iloc[0]
    again = summarise(curves_RT, every, task.loss_floor(one.runs.iloc[0]))
    # Curves are kept in float32, also where a run was computed in float64.
    exact = one.runs.get("float_bits", pd.Series(32, one.runs.index)).eq(32).to_numpy()
    for column, values_R in again.items():
        if column == "diverged_step":
            assert one.runs[column].isna().equals(pd.Series(values_R.mask))
            continue
        stored_R = one.runs[column].to_numpy(float)
        np.testing.assert_array_equal(stored_R[exact], values_R[exact], err_msg=column)
        np.testing.assert_allclose(stored_R, values_R, rtol=1e-6, err_msg=column)


@each_record
def test_its_run_ids_come_out_of_its_config(name):
    one = record(name)
    assert {*expand(one.sweep).columns["run_id"]} == {*one.runs["run_id"]}


@each_record
def test_tables_are_those_of_the_sweeps_own_definition(name):
    one = record(name)
    phases = analysis.classify(one.runs, **sorting.how(one.sweep), curves=one.curves)
    stored = one.table("phases")
    pd.testing.assert_frame_equal(stored, phases)
    assert stored.attrs == phases.attrs
    pd.testing.assert_frame_equal(one.table("cells"), analysis.cells(phases))
    if axis := Store(one.folder).attrs_of("boundaries.parquet").get("axis"):
        pd.testing.assert_frame_equal(one.table("boundaries"), analysis.boundaries(phases, axis))
    assert one.table("cells").attrs == stored.attrs


@pytest.mark.parametrize("name", EVERY)
def test_a_record_has_the_file_of_parts_of_each_of_its_sessions(name):
    stored = Store(SWEEPS / name).sweep()
    for digest in {session["parts"] for session in stored["sessions"] if "parts" in session}:
        (kept,) = (SWEEPS / name / "parts").glob(f"{digest}-*.py")
        assert Source(stored["config"]["parts"], kept.read_text(encoding="utf-8")).digest == digest


@pytest.mark.parametrize("name", [name for name in RECORDS if (SWEEPS / name / "circuits.parquet").exists()])
def test_what_networks_learned_is_what_their_weights_say(name):
    one = record(name)
    again = analysis.circuits(one.runs, one.curves, analysis.each_weights(one.folder))
    pd.testing.assert_frame_equal(one.table("circuits"), again, rtol=1e-6)


def words(svg):
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg.read_text(encoding="utf-8"))


@each_record
def test_pictures_say_what_pictures_drawn_now_say(name, tmp_path, monkeypatch):
    """Counts, captions, names of panels and axes; and there is none that no analysis would draw."""
    monkeypatch.setattr(report, "EXTENSIONS", ("svg",))  # those that can be read
    one = record(name)
    mine = tmp_path / name
    Store(one.folder).copy_record(Store(mine))
    figures = (one.folder / "figures").is_dir()
    axis = Store(one.folder).attrs_of("boundaries.parquet").get("axis")
    analysis.analyze(mine, **sorting.how(one.sweep), figures=figures, run_id=OPENED.get(name), boundary=axis)
    drawn = sorted(path.relative_to(mine) for path in mine.rglob("*.svg"))
    assert drawn == sorted(path.relative_to(one.folder) for path in one.folder.rglob("*.svg"))
    assert {path.stem for path in drawn} <= {"phase_diagram", "boundary", *NAMES}
    for path in drawn:
        assert words(mine / path) == words(one.folder / path), path
        assert (one.folder / path).with_suffix(".png").exists()
