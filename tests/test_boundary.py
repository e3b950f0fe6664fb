"""Boundaries between phases: steps, slopes, chance, no bound at all, and how often intervals are right."""

import numpy as np
import pandas as pd
import pytest
from pages import PARITY
from scipy.optimize import minimize

import analysis
from analysis import boundary
from analysis.cli import main
from analysis.logistic import fit
from analysis.phases import PHASES
from grok_sweep.store import Store


def table(phase_SJ, values):
    """Runs of seeds S at values J of weight_decay, and their phases."""
    seeds, count = len(phase_SJ), len(values)
    settings = {"seed": np.repeat(np.arange(seeds), count), "weight_decay": np.tile(values, seeds)}
    phase = pd.Categorical(np.ravel(phase_SJ), categories=PHASES)
    same = {"train_size": 5, "hidden_size": 3, "min_train_loss": 0.1}
    return pd.DataFrame({"sweep": "s", "task": "t", **settings, **same, "phase": phase})


def of(*stretches, seeds=9):
    """The same phases for all seeds."""
    return np.tile([name for name, count in stretches for _ in range(count)], (seeds, 1))


def row(found):
    (one,) = found.to_dict("records")
    return one


VALUES = [0.01, 0.03, 0.1, 0.3, 1.0]


def test_a_clean_step_is_between_two_values_and_nobody_knows_where():
    found = row(analysis.boundaries(table(of(("memorize", 2), ("grok", 3)), VALUES), "weight_decay"))
    assert (found["below"], found["above"], found["train_size"]) == ("memorize", "grok", 5)
    assert 0.03 < found["value"] < 0.1
    assert (found["low"], found["high"]) == pytest.approx((0.03, 0.1))


def test_there_and_back_are_two_and_a_cell_of_chance_is_none():
    there = table(of(("memorize", 2), ("grok", 2), ("memorize", 1)), VALUES)
    found = analysis.boundaries(there, "weight_decay")
    assert found[["below", "above"]].to_numpy().tolist() == [["memorize", "grok"], ["grok", "memorize"]]
    assert found["value"].between([0.03, 0.3], [0.1, 1.0]).all()
    chance = of(("memorize", 5), seeds=9)
    chance[:5, 2] = "grok"
    found = row(analysis.boundaries(table(chance, VALUES), "weight_decay"))
    assert (found["below"], found["above"]) == ("memorize", "memorize")
    assert np.isnan(found["value"])


def test_one_phase_everywhere_has_bounds_where_it_is_sure():
    phases = of(("grok", 5))
    phases[:4, 0] = "fail"  # 5 of 9: the majority, but who knows
    found = row(analysis.boundaries(table(phases, VALUES), "weight_decay"))
    assert (found["below"], found["above"]) == ("grok", "grok")
    assert (found["low"], found["high"]) == (0.03, 1.0)
    said = (
        "grok is the majority at every weight_decay in 1 combination: "
        "a boundary would be below 0.03 or above 1"
    )
    whole = table(phases, VALUES)
    bounds = analysis.boundaries(whole, "weight_decay")
    assert boundary.told(bounds) == [said]
    figure = analysis.phase_diagram(whole, y="weight_decay", x="hidden_size", panels=[], bounds=bounds)
    (plot,) = figure.axes
    marks = {line.get_marker(): line.get_xydata().tolist() for line in plot.lines}
    assert marks == {"v": [[0, 1 - 0.47]], "^": [[0, 4 + 0.47]]}
    assert "none up to here" in [text.get_text() for text in figure.legends[0].get_texts()]
    found = row(analysis.boundaries(table(of(("grok", 5), seeds=3), VALUES), "weight_decay"))
    assert np.isnan([found["low"], found["high"]]).all()


def test_few_seeds_bound_nothing_and_doubt_is_said():
    found = row(analysis.boundaries(table(of(("memorize", 2), ("grok", 3), seeds=3), VALUES), "weight_decay"))
    assert (found["low"], found["high"]) == (0, np.inf)
    weak = of(("memorize", 1), ("grok", 1), seeds=9)
    weak[:4, 0], weak[:4, 1] = "grok", "memorize"  # 5 of 9, then the other 5 of 9
    found = row(analysis.boundaries(table(weak, [0.1, 1.0]), "weight_decay"))
    assert (found["below"], found["above"]) == ("memorize", "grok")
    assert np.isnan(found["value"])


def test_an_axis_with_a_zero_is_taken_as_it_is():
    assert boundary.is_log([0.01, 0.1, 1.0])
    assert not boundary.is_log([0.0, 0.1, 1.0])
    assert not boundary.is_log([750, 1000, 1250])
    found = row(analysis.boundaries(table(of(("memorize", 2), ("grok", 1)), [0.0, 0.1, 1.0]), "weight_decay"))
    assert (found["low"], found["high"]) == pytest.approx((0.1, 1.0))


def test_seeds_that_only_some_cells_have_do_not_count_elsewhere():
    both = [table(of(("memorize", 2), ("grok", 3), seeds=n), VALUES).assign(train_size=n) for n in (9, 30)]
    found = analysis.boundaries(pd.concat(both), "weight_decay").set_index("train_size")
    assert found["low"].to_numpy() == pytest.approx([0.03, 0.03])
    few = pd.concat([both[1], both[0].query("seed < 3")])
    assert analysis.boundaries(few, "weight_decay").set_index("train_size").loc[9, "high"] == np.inf


def test_the_curve_is_that_of_the_largest_penalised_likelihood():
    """Found by another method: of the likelihood times the root of the determinant of its information."""
    random = np.random.default_rng(0)
    u_J = np.array([-2.0, -1.0, 0.5, 1.0, 3.0])
    runs_BJ = random.integers(1, 10, (20, 5))
    hits_BJ = random.binomial(runs_BJ, 1 / (1 + np.exp(-(u_J - 0.3))))
    middle_B, slope_B = fit(u_J, hits_BJ, runs_BJ)
    for hits_J, runs_J, middle, slope in zip(hits_BJ, runs_BJ, middle_B, slope_B, strict=True):

        def loss(weights, hits_J=hits_J, runs_J=runs_J):
            z_J = weights[0] + weights[1] * u_J
            p_J = 1 / (1 + np.exp(-z_J))
            x_J2 = np.stack([np.ones(5), u_J], axis=1)
            information = x_J2.T @ (x_J2 * (runs_J * p_J * (1 - p_J))[:, None])
            likelihood = hits_J @ z_J - runs_J @ np.logaddexp(0, z_J)
            return -likelihood - 0.5 * np.linalg.slogdet(information)[1]

        best = minimize(loss, [0.0, 0.5], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12})
        assert slope == pytest.approx(best.x[1], abs=1e-4)
        assert middle == pytest.approx(-best.x[0] / best.x[1], rel=1e-3, abs=1e-3)


@pytest.mark.parametrize("width", [0.01, 0.5, 1.0])  # of the step, in spaces of the axis
def test_intervals_hold_the_truth_as_often_as_they_say(width, monkeypatch):
    """Each seed has a threshold of its own, as networks of one seed share their data and initial weights."""
    monkeypatch.setattr("analysis.resampling.RESAMPLES", 300)
    random, u_J, held, tried = np.random.default_rng(1), np.arange(5.0), 0, 0
    for _ in range(150):
        truth = random.uniform(1, 3)
        above_SJ = u_J > (truth + width * random.logistic(size=9))[:, None]
        found = analysis.boundaries(table(np.where(above_SJ, "grok", "memorize"), u_J), "weight_decay")
        shown = found[found["value"].notna()]
        tried += len(shown)
        held += int((shown["low"].le(truth) & shown["high"].ge(truth)).sum())
    assert tried >= 140
    assert held / tried >= 0.93  # 0.95 and more in longer simulations; where the step is clean, all


def test_the_command_writes_a_table_and_a_picture_and_keeps_them_up_to_date(tmp_path, capsys):
    runs, folder = analysis.load_runs(PARITY), tmp_path / "p"
    Store(PARITY).copy_record(Store(folder))
    assert main([str(folder), "--boundary", "weight_decay"]) == 0
    said = capsys.readouterr().out
    assert "memorize becomes grok at weight_decay 0.0151 to 0.0548, in 21 places" in said
    stored = pd.read_parquet(folder / "boundaries.parquet")
    found = analysis.boundaries(analysis.classify(runs), "weight_decay")
    pd.testing.assert_frame_equal(stored, found)
    drawn = (folder / "boundary.svg").read_text()
    assert ">grok to memorize<" in drawn
    assert "lines: where one phase becomes another" in drawn
    assert (folder / "boundary.png").exists()
    assert main([str(folder), "--min-loss", "1e-3"]) == 0  # without being asked for again
    assert (folder / "boundary.svg").read_text() != drawn
    assert len(pd.read_parquet(folder / "boundaries.parquet")) != len(stored)


def test_what_is_no_axis_is_named_and_nothing_written(tmp_path, capsys):
    folder = tmp_path / "p"
    Store(PARITY).copy_record(Store(folder))
    with pytest.raises(ValueError, match="no axis of two numbers or more; there is none"):
        analysis.boundaries(table(of(("grok", 5)), VALUES)[:0], "weight_decay")
    for wrong in ("task", "seed", "nope"):
        assert main([str(folder), "--boundary", wrong]) == 2
        said = capsys.readouterr().err
        assert said == (
            f"grok-analyze: boundary: {wrong!r} is no axis of two numbers or more; "
            "there are train_size, hidden_size, weight_decay\n"
        )
    assert not (folder / "boundaries.parquet").exists()


@pytest.mark.parametrize("values", [VALUES, [1, 2, 3, 4, 5]])
def test_lines_stand_where_the_values_are(values):
    phases = table(of(("memorize", 2), ("grok", 3)), values)
    found = analysis.boundaries(phases, "weight_decay")
    figure = analysis.phase_diagram(phases, y="weight_decay", x="hidden_size", panels=[], bounds=found)
    (plot,) = figure.axes
    (line,) = [one for one in plot.collections if one.get_linestyle() and hasattr(one, "get_segments")]
    ((begin, end),) = line.get_segments()
    assert begin[1] == end[1] == pytest.approx(1.5, abs=0.06)  # between the second value and the third
    (band,) = [patch for patch in plot.patches if patch.get_alpha()]
    assert (band.get_y(), band.get_y() + band.get_height()) == pytest.approx((1, 2))


def test_an_axis_that_changes_together_is_none_of_its_own():
    zipped = table(of(("memorize", 2), ("grok", 3)), VALUES)
    zipped.insert(list(zipped).index("min_train_loss"), "learning_rate", zipped["weight_decay"] / 100)
    found = row(analysis.boundaries(zipped, "weight_decay"))
    assert (found["below"], found["above"]) == ("memorize", "grok")
    assert "learning_rate" not in found


def test_what_cannot_be_told_is_said_and_runs_that_repeat_a_seed_are_refused():
    there_and_back = table(of(("memorize", 2), ("grok", 2), ("memorize", 1), seeds=3), VALUES)
    lines = boundary.told(analysis.boundaries(there_and_back, "weight_decay"))
    assert lines == ["no boundary along weight_decay can be told in 1 combination"]
    step = analysis.boundaries(table(of(("memorize", 2), ("grok", 3), seeds=3), VALUES), "weight_decay")
    assert "1 of these have no interval, as of fewer than 4 seeds" in boundary.told(step)[0]
    two = pd.concat([there_and_back, there_and_back.assign(train_size=7)])
    with pytest.raises(ValueError, match="several runs of one seed, weight_decay, hidden_size"):
        analysis.boundaries(two, "weight_decay", ["hidden_size"])


def test_a_table_of_before_that_cannot_be_made_again_stays_and_is_named(tmp_path, capsys):
    folder = tmp_path / "p"
    Store(PARITY).copy_record(Store(folder))
    assert main([str(folder), "--boundary", "weight_decay"]) == 0
    stored = (folder / "boundaries.parquet").read_bytes()
    capsys.readouterr()
    (shard,) = (folder / "runs").glob("[0-9a-f]*.parquet")
    runs = pd.read_parquet(shard)
    runs[runs["weight_decay"] == 1].to_parquet(shard)
    assert main([str(folder)]) == 0
    assert "boundaries.parquet: is of an earlier analysis, and stays: boundary: " in capsys.readouterr().out
    assert (folder / "boundaries.parquet").read_bytes() == stored
