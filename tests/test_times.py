"""How long runs take: medians and intervals of censored steps, as a table, in words and drawn."""

import numpy as np
import pandas as pd
import pytest
from pages import PARITY, tables
from scipy.stats import binomtest

import analysis
from analysis.cli import main
from analysis.time_pictures import survival_picture, times_picture
from analysis.times import _median, _product_limit
from grok_sweep.store import Store

# Weeks of remission with 6-mercaptopurine: E. J. Freireich et al., Blood 21 (1963), 699-716.
CAME = [6, 6, 6, 7, 10, 13, 16, 22, 23]
NOT_YET = [6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35]


def median(came, not_yet):
    step_R = pd.array([*came, *[pd.NA] * len(not_yet)], "Int64")
    return _median(pd.Series(step_R), pd.Series(pd.array([*came, *not_yet], "Int64")))


def by_hand(came, not_yet):
    """Median and interval by the formulas: the product of what is left, Greenwood's sum, log(-log)."""
    at, share, sum_, found = sorted({*came}), 1.0, 0.0, []
    for t in at:
        at_risk, events = sum(u >= t for u in [*came, *not_yet]), came.count(t)
        share *= 1 - events / at_risk
        if share > 0:
            sum_ += events / (at_risk * (at_risk - events))
            half = 1.959964 * np.sqrt(sum_) / abs(np.log(share))
            found.append((t, share, share ** np.exp(half), share ** np.exp(-half)))
        else:
            found.append((t, 0.0, 0.0, binomtest(0, len(came)).proportion_ci(0.95, "exact").high))
    return [min((row[0] for row in found if row[k] <= 0.5 + 1e-9), default=np.inf) for k in (1, 2, 3)]


def test_of_known_data_the_median_is_the_known_one():
    runs, reached, middle, low, high, last = median(CAME, NOT_YET)
    assert (runs, reached, middle, last) == (21, 9, 23, 35)
    assert [middle, low, high] == by_hand(CAME, NOT_YET)
    assert (low, high) == (13, np.inf)


def test_medians_are_those_by_hand():
    random = np.random.default_rng(0)
    for _ in range(60):
        all_ = (100 * random.integers(1, 30, random.integers(1, 12))).tolist()
        cut = int(random.integers(0, len(all_) + 1))
        came, not_yet = all_[:cut], all_[cut:]
        if came:
            middle, low, high = by_hand(came, not_yet)
            low = low if len(all_) > 5 else 0
            assert median(came, not_yet)[2:5] == pytest.approx([middle, low, high])


@pytest.mark.parametrize("end", [1.2, 3.0, 30.0])  # when all are watched no longer, in medians
@pytest.mark.parametrize("runs", [1, 3, 9])
def test_intervals_hold_the_truth_as_often_as_they_say(runs, end):
    random, held, tries = np.random.default_rng(1), 0, 600
    for _ in range(tries):
        t = random.exponential(1000 / np.log(2), runs)
        is_there = t <= 1000 * end
        came = t[is_there].astype(int).tolist()
        _, _, _, low, high, _ = median(came, [int(1000 * end)] * (runs - len(came)))
        held += low <= 1000 <= high
    assert 0.93 <= held / tries <= 1


def test_where_all_came_at_once_the_median_is_there():
    assert median([300] * 9, [])[2:5] == [300, 300, 300]
    assert median([300] * 5, [])[2:5] == [300, 0, np.inf]  # of five nobody knows


def test_where_nobody_came_the_bound_is_the_end_for_enough_runs():
    assert median([], [500] * 9) == [9, 0, np.inf, np.inf, np.inf, 500]
    assert median([], [500] * 3) == [3, 0, np.inf, 0, np.inf, 500]
    assert median([], [])[:2] == [0, 0]


def test_curves_are_the_known_ones():
    """Of the weeks above: D. Collett, Modelling Survival Data in Medical Research, of such data by hand."""
    at, at_risk, share, low, high = _product_limit(np.array(CAME, float), np.array(NOT_YET, float))
    known = {6: (21, 18 / 21), 7: (17, 18 / 21 * 16 / 17), 10: (15, 0.7529), 23: (6, 0.4482), 35: (1, 0.4482)}
    for t, (risk, left) in known.items():
        (i,) = np.flatnonzero(at == t)
        assert at_risk[i] == risk
        assert share[i] == pytest.approx(left, abs=1e-4)
    greenwood = sum(n / (r * (r - n)) for r, n in [(21, 3), (17, 1), (15, 1)])
    half = np.exp(1.959964 * np.sqrt(greenwood) / abs(np.log(0.75294)))
    (i,) = np.flatnonzero(at == 10)
    assert (low[i], high[i]) == pytest.approx((0.75294**half, 0.75294 ** (1 / half)), abs=1e-4)


def test_of_none_or_all_the_interval_of_a_curve_is_that_of_clopper_and_pearson():
    _, at_risk, share, low, high = _product_limit(np.array([]), np.array([5.0, 7, 7]))
    assert (at_risk.tolist(), share.tolist(), high.tolist()) == ([3, 2], [1, 1], [1, 1])
    exact = [binomtest(n, n).proportion_ci(0.95, "exact").low for n in (3, 2)]
    assert low == pytest.approx(exact)
    _, _, share, low, high = _product_limit(np.array([5.0] * 4), np.array([]))
    assert (share.tolist(), low.tolist()) == ([0], [0])
    assert high == pytest.approx([binomtest(0, 4).proportion_ci(0.95, "exact").high])


@pytest.fixture(scope="module")
def record():
    phases = analysis.classify(analysis.load_runs(PARITY))
    return phases, analysis.steps(phases, analysis.load_curves(PARITY))


def test_each_cell_has_its_own(record):
    phases, found = record
    table = analysis.times(phases, found)
    assert len(table) == 125 * 2
    one = table.query("hidden_size == 64 and train_size == 1500 and weight_decay == 0.1").set_index("event")
    ids = phases.query("hidden_size == 64 and train_size == 1500 and weight_decay == 0.1")["run_id"]
    steps = found[found["run_id"].isin(ids)]["generalize_step"]
    assert one.loc["generalize_step", "median"] == steps.median()  # of nine that all came there: the fifth
    assert one.loc["generalize_step", ["runs", "reached"]].tolist() == [9, 9]
    with pytest.raises(ValueError, match="9 of 1,125 runs are in no row of steps"):
        analysis.times(phases, found[~found["run_id"].isin(ids)])
    diverged = phases["diverged_step"].mask(phases["run_id"].isin(ids.iloc[:5]), 100)
    early = found.assign(
        generalize_step=found["generalize_step"].mask(found["run_id"].isin(ids.iloc[:5])),
        last_step=found["last_step"].mask(found["run_id"].isin(ids.iloc[:5]), 0),
    )
    again = analysis.times(phases.assign(diverged_step=diverged), early)
    four = again.query("hidden_size == 64 and train_size == 1500 and weight_decay == 0.1").set_index("event")
    assert four.loc["generalize_step", ["reached", "median"]].tolist() == [4, np.inf]  # of nine, five never
    nothing_right = found.assign(best_eval_accuracy=np.nan, end_eval_accuracy=np.nan)
    with pytest.raises(ValueError, match="nothing is right or wrong"):
        analysis.times(phases, nothing_right)


def test_a_curve_ends_at_the_share_that_never_came_and_begins_at_all(record):
    phases, found = record
    table, by = analysis.survival(phases, found), ["train_size", "hidden_size", "weight_decay", "event"]
    ends = table.sort_values("step").groupby(by).tail(1).set_index(by).sort_index()
    medians = analysis.times(phases, found).set_index(by).sort_index()
    assert ends["survival"].to_numpy() == pytest.approx(1 - medians["reached"] / medians["runs"])
    begin = table[table["step"] == 0]
    assert len(begin) == 250
    assert (begin[["at_risk", "survival", "high"]] == [9, 1, 1]).all(axis=None)
    halved = table[table["survival"] <= 0.5].groupby(by)["step"].min()
    assert medians.loc[halved.index, "median"].tolist() == halved.tolist()
    assert table["low"].le(table["survival"]).all()
    assert table["high"].ge(table["survival"]).all()


def test_curves_are_drawn_in_a_panel_of_each_cell_but_for_one_axis(record):
    table = analysis.survival(*record)
    figure = survival_picture(table, "p")
    assert len(figure.axes) == 25
    lines = [line for plot in figure.axes for line in plot.lines]
    assert len(lines) == 250
    drawn = sorted(line.get_ydata()[-1] for line in lines)
    by = ["train_size", "hidden_size", "weight_decay", "event"]
    ends = table.sort_values("step").groupby(by)["survival"].last()
    assert drawn == pytest.approx(sorted(1 - ends))
    assert "of 9 of which none has yet, at most 0.34 do" in figure.get_supxlabel()


def test_no_runs_have_no_times_and_are_not_drawn(record):
    none = [table[:0] for table in record]
    for made, draw in ((analysis.times, times_picture), (analysis.survival, survival_picture)):
        assert made(*none).empty
        with pytest.raises(ValueError, match="no runs to draw"):
            draw(made(*none))
    with pytest.raises(ValueError, match="needs the columns last_step"):
        analysis.survival(record[0], record[1].drop(columns="last_step"))


def test_what_is_later_than_the_last_step_is_drawn_hollow_above_it(record):
    table = analysis.times(*record)
    figure = times_picture(table, "p")
    hollow = [line for plot in figure.axes for line in plot.lines if line.get_markerfacecolor() == "white"]
    drawn = sum(len(line.get_xdata()) for line in hollow)
    assert drawn == np.isinf(table["median"]).sum() > 0
    assert {y for line in hollow for y in line.get_ydata()} == {1.6 * 20_000}
    whole = [line for plot in figure.axes for line in plot.lines if line.get_markerfacecolor() != "white"]
    heights = sorted(y for line in whole for y in line.get_ydata())
    assert heights == sorted(table["median"][np.isfinite(table["median"])])


@pytest.mark.parametrize(
    "axes", [{}, {"weight_decay": [0.1, 1.0]}, {"a": [1, 2, 3], "b": [1, 2], "c": [1, 2]}]
)
def test_any_axes_are_drawn(axes):
    runs, curves = tables(axes, seeds=2)
    phases = analysis.classify(runs)
    found = analysis.steps(phases, curves)
    assert times_picture(analysis.times(phases, found)).axes
    assert survival_picture(analysis.survival(phases, found)).axes


@pytest.mark.parametrize("axis", ["a", "weight_decay"])
def test_an_axis_that_some_runs_have_not_is_drawn(axis):
    runs, curves = tables({"a": [1.0, 2.0, 3.0], "weight_decay": [0.1, 1.0], "b": [1, 2]}, seeds=2)
    runs[axis] = runs[axis].mask(runs[axis] == 1.0)
    phases = analysis.classify(runs)
    found = analysis.steps(phases, curves)
    for made, draw in ((analysis.times, times_picture), (analysis.survival, survival_picture)):
        figure = draw(made(phases, found))
        told = [text.get_text() for text in figure.legends[0].get_texts()]
        told += [text.get_text() for plot in figure.axes for text in (*plot.get_xticklabels(), plot.title)]
        told += [plot.get_title("left") for plot in figure.axes]
        assert any("none" in text for text in told)
        drawn = sum(len(line.get_xdata()) > 0 for plot in figure.axes for line in plot.lines)
        assert drawn >= 6
    assert not survival_picture(analysis.survival(phases, found, by=[])).legends[0].get_texts()


def test_runs_that_were_watched_at_step_0_alone_are_not_drawn(record):
    phases, found = record
    none = found.assign(generalize_step=pd.NA, memorize_step=pd.NA, last_step=0)
    none = none.astype(dict.fromkeys(("generalize_step", "memorize_step", "last_step"), "Int64"))
    with pytest.raises(ValueError, match="no run was watched beyond step 0"):
        survival_picture(analysis.survival(phases, none))


def test_the_command_writes_a_table_and_a_picture(tmp_path, capsys):
    folder = tmp_path / "p"
    Store(PARITY).copy_record(Store(folder))
    assert main([str(folder), "--times"]) == 0
    said = capsys.readouterr().out
    assert "memorize_step: 1,097 of 1,125 runs memorised; medians 200 to 10,700; " in said
    assert len(pd.read_parquet(folder / "times.parquet")) == 250
    assert "hollow: later than the last step" in (folder / "times.svg").read_text().replace("\n", " ")
    assert pd.read_parquet(folder / "survival.parquet").query("step == 0").shape[0] == 250
    drawn = (folder / "survival.svg").read_bytes()
    (folder / "survival.svg").unlink()
    assert main([str(folder)]) == 0  # what an earlier call had
    assert (folder / "survival.svg").read_bytes() == drawn
