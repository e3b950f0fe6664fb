"""Curves of one run and of many: what is drawn is what is in the table."""

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from drawn import TEST, TRAIN, assert_inside, collection, heads, key, run_curves, texts, title
from matplotlib.colors import to_hex

import analysis
from analysis.curve_pictures import curves_picture
from analysis.style import picture
from analysis.words import loss_unit


def names(figure):
    return [plot.get_ylabel() for plot in figure.axes]


def test_one_run_has_its_four_curves():
    curves = run_curves()
    figure = curves_picture(curves, "mine")
    assert (title(figure), figure.get_supxlabel()) == ("mine", "")
    assert names(figure) == ["accuracy", "loss"]
    for plot, metric in zip(figure.axes, ("accuracy", "loss"), strict=True):
        for label, side, colour in (("train", "train", TRAIN), ("test", "eval", TEST)):
            lines = collection(plot, label)
            (points,) = lines.get_segments()
            assert points == pytest.approx(curves[["step", f"{side}_{metric}"]].to_numpy(float))
            assert to_hex(lines.get_color()[0]) == colour
    colours = {line.get_color().lower() for line in figure.legends[0].get_lines()}
    assert (key(figure), colours) == (["train", "test"], {TRAIN, TEST})
    assert figure.axes[0].get_yscale() == "linear"
    assert figure.axes[1].get_yscale() == "log"
    low, high = figure.axes[1].get_ylim()
    assert low < curves["train_loss"].min()
    assert high > 0.5
    assert_inside(figure)


def test_steps_and_losses_are_readable_numbers():
    figure = curves_picture(run_curves(steps=range(0, 50_001, 10_000)), "")
    picture(figure, "png")
    assert texts(figure.axes[1].get_xticklabels())[:3] == ["0", "20,000", "40,000"]
    low, high = figure.axes[1].get_ylim()
    assert len([y for y in figure.axes[1].get_yticks() if low <= y <= high]) >= 3


def test_many_runs_are_thinner_lines_one_each():
    curves = pd.concat([run_curves(f"{i}", loss=0.1 + i) for i in range(9)])
    one, many = curves_picture(run_curves(), ""), curves_picture(curves, "nine")
    assert (title(many), many.get_supxlabel()) == ("nine", "9 runs")
    for plot in many.axes:
        for label in ("train", "test"):
            lines, alone = collection(plot, label), collection(one.axes[0], label)
            assert len(lines.get_segments()) == 9
            assert lines.get_linewidth()[0] < alone.get_linewidth()[0]
    finals = {segment[-1, 1].round(6) for segment in collection(many.axes[1], "test").get_segments()}
    assert finals == set((curves["eval_loss"][curves["step"] == 300]).round(6))


def many_runs(settings):
    """The curves of a run for each row of a table of settings, each with a loss of its own."""
    return pd.concat([run_curves(run_id, loss=0.1 + i) for i, run_id in enumerate(settings.index)])


def settings_table(*rows, **columns):
    """Settings by run_id: each combination of the columns, or the rows that are given."""
    rows = rows or list(itertools.product(*columns.values()))
    return pd.DataFrame(rows, columns=list(columns), index=[f"r{i}" for i in range(len(rows))])


def losses_of(lines):
    """The first training loss of each run, which tells it from others."""
    return [round(float(s[0, 1]), 6) for s in lines.get_segments()] if lines.get_label() == "train" else []


def losses(plot):
    """The same of a panel, in order."""
    return sorted(loss for lines in plot.collections for loss in losses_of(lines))


def test_a_few_settings_have_a_panel_each():
    settings = settings_table((0.0, 1e-4), (0.3, 0.0), (0.0, 1e-4), weight_decay=[], l1_decay=[])
    figure = curves_picture(many_runs(settings), "two", settings=settings, unit="nats per row")
    assert figure.get_supxlabel() == "3 runs; a panel for each weight_decay and l1_decay"
    first, _, *below = figure.axes
    assert heads(figure)[:2] == ["weight decay 0\nl1 decay 0.0001", "weight decay 0.3\nl1 decay 0"]
    assert [losses(plot) for plot in below] == [[0.1, 2.1], [1.1]]
    assert (first.get_ylabel(), below[0].get_ylabel()) == ("accuracy", "loss, nats per row")
    assert len({plot.get_ylim() for plot in below}) == 1  # so that they can be compared
    assert key(figure) == ["train", "test"]
    assert_inside(figure)


def test_a_task_without_accuracy_and_metrics_of_ones_own():
    curves = many_runs(settings_table(width=[1, 2]))
    curves[["train_accuracy", "eval_accuracy"]] = np.nan
    curves["slope"] = np.geomspace(1, 1e5, len(curves))
    curves["shift"] = np.linspace(-2, -1, len(curves))
    figure = curves_picture(curves, unit="nats per row")
    assert names(figure) == ["loss, nats per row", "slope", "shift"]
    loss, slope, shift = figure.axes
    assert (loss.get_yscale(), slope.get_yscale(), shift.get_yscale()) == ("log", "log", "linear")
    assert shift.get_ylim()[0] < -2
    assert -1 < shift.get_ylim()[1] < 0
    for plot, name in ((slope, "slope"), (shift, "shift")):
        drawn = [line for lines in plot.collections for line in lines.get_segments()]
        assert len(drawn) == 2
        for line, (_, run) in zip(drawn, curves.groupby("run_id", sort=False), strict=True):
            np.testing.assert_allclose(line, run[["step", name]])
    assert [plot.get_xlabel() for plot in figure.axes] == ["", "", "step"]
    assert_inside(figure)


def test_of_many_settings_the_axis_with_most_values_is_told_by_shades():
    zipped = [(decay, 0.0) for decay in (0.01, 0.03, 0.1, 0.3, 1.0)] + [(0.0, 1e-9 * 10**i) for i in range(5)]
    rows = [(a, b, *pair) for a in (0, 1) for b in (0, 1) for pair in zipped]
    columns = dict.fromkeys(["collapsed_input", "collapsed_output", "weight_decay", "l1_decay"])
    settings = settings_table(*rows, **columns)
    figure = curves_picture(many_runs(settings), "many", settings=settings)
    caption = "40 runs; a panel for each collapsed_input and collapsed_output; from pale to dark: "
    assert figure.get_supxlabel() == caption + "weight_decay, l1_decay"
    assert len(figure.axes) == 8
    # Rows of panels are the values of one of them, accuracy above loss.
    assert heads(figure)[:2] == [
        "collapsed input 0\ncollapsed output 0",
        "collapsed input 0\ncollapsed output 1",
    ]
    assert key(figure)[:4] == ["train", "test", "0, 1e-09", "0, 1e-08"]
    assert key(figure)[-1] == "1, 0"
    assert len(key(figure)) == 12
    for plot in figure.axes:
        colours = {tuple(c.get_color()[0]) for c in plot.collections if c.get_label() == "train"}
        assert len(colours) == 10
    shades = {}
    for place, run_id in enumerate(settings.index[:10]):
        (mine,) = (c for c in figure.axes[2].collections if losses_of(c) == [round(0.1 + place, 6)])
        shades[tuple(settings.loc[run_id, ["weight_decay", "l1_decay"]])] = np.sum(mine.get_color()[0][:3])
    assert [shades[pair] for pair in sorted(shades)] == sorted(shades.values(), reverse=True)
    assert_inside(figure)


def test_as_many_axes_as_fit_are_panels_and_the_rest_is_pooled():
    settings = settings_table(train_size=range(5), hidden_size=range(5), weight_decay=np.arange(5.0))
    figure = curves_picture(many_runs(settings), settings=settings)
    assert len(figure.axes) == 2 * 25
    caption = "125 runs; a panel for each hidden_size and weight_decay; from pale to dark: train_size"
    assert figure.get_supxlabel() == caption
    more = settings_table(b1=range(4), b2=range(4), eps=range(4), hidden_size=range(6))
    figure = curves_picture(many_runs(more), settings=more)
    assert len(figure.axes) == 2 * 16
    assert figure.get_supxlabel().endswith("from pale to dark: hidden_size; pooled over eps")
    assert_inside(figure)
    alone = settings_table(hidden_size=range(40))
    figure = curves_picture(many_runs(alone), settings=alone)
    assert len(figure.axes) == 2
    assert key(figure)[1:4] == ["test", "0", "4"]  # ten of forty are named
    assert_inside(figure)


def test_runs_of_one_setting_are_as_before():
    nothing = pd.DataFrame(index=["r0", "r1"])
    figure = curves_picture(many_runs(nothing), "one", settings=nothing)
    assert (title(figure), figure.get_supxlabel()) == ("one", "2 runs")
    assert names(figure) == ["accuracy", "loss"]


def test_the_loss_has_its_unit():
    assert names(curves_picture(run_curves(), unit="nats per row"))[1] == "loss, nats per row"
    runs = pd.DataFrame({"task": ["modular_addition"] * 2, "modulus": [67, 67]})
    assert loss_unit(runs) == "nats per row / 67"  # a mean over the classes too
    assert loss_unit(runs.assign(modulus=[67, 23])) == "nats per row / modulus"
    assert loss_unit(runs.assign(task="parity")) == "nats per row"
    assert loss_unit(runs.assign(task=["parity", "modular_addition"])) == ""


def test_what_happens_early_has_room():
    folder = Path(__file__).parent.parent / "sweeps" / "modular_returns"
    figure = curves_picture(analysis.load_curves(folder, ["f7cf4b8982022665"]))
    picture(figure, "png")
    for plot in figure.axes:
        low, high = (
            plot.transAxes.inverted().transform(plot.transData.transform((step, 0.5)))[0]
            for step in (2_400, 4_400)
        )
        assert high - low > 0.08  # of the width; of 80,000 steps it was 0.025
        assert plot.get_xlim() == (0, 80_000)
    assert figure.axes[1].get_xlabel() == "step (log)"
    assert texts(figure.axes[1].get_xticklabels()) == ["0", "1,000", "10,000", "80,000"]
    # Where training rows are known late, steps stay as they are.
    late = curves_picture(run_curves(steps=range(0, 50_001, 10_000)))
    assert (late.axes[1].get_xscale(), late.axes[1].get_xlabel()) == ("linear", "step")


def test_further_lines_of_a_title_are_the_caption():
    figure = curves_picture(run_curves(), "mine\nhidden_size 24 · grok (liu)")
    assert (title(figure), figure.get_supxlabel()) == ("mine", "hidden_size 24 · grok (liu)")
    assert_inside(figure)


def test_what_is_no_number_is_a_gap():
    curves = run_curves()
    curves.loc[1, "eval_loss"] = 0
    curves.loc[2:, ["train_loss", "train_accuracy"]] = np.inf, np.nan
    figure = curves_picture(curves, "")
    gaps = {
        side: np.isnan(collection(figure.axes[1], side).get_paths()[0].vertices[:, 1])
        for side in ("train", "test")
    }
    assert gaps["test"].tolist() == [False, True, False, False]
    assert gaps["train"].tolist() == [False, False, True, True]
    assert np.isfinite(figure.axes[1].get_ylim()).all()
    curves[["train_loss", "eval_loss"]] = np.nan
    picture(curves_picture(curves, ""), "png")


def test_curves_without_rows_or_columns_are_refused():
    with pytest.raises(ValueError, match="there are no runs to draw"):
        curves_picture(run_curves().iloc[:0], "")
    with pytest.raises(ValueError, match="a table of curves needs the columns eval_loss"):
        curves_picture(run_curves().drop(columns="eval_loss"), "")
