"""The pictures of runs: what is drawn is what is in the curves, weights and circuits."""

import inspect
import itertools
import subprocess
import sys
from functools import partial
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import to_hex

import analysis
from analysis import Weights
from analysis.circuit_pictures import constructed_circle, frequency_distribution, stars
from analysis.constructed import constructed
from analysis.curve_pictures import curves_picture
from analysis.panels import apart
from analysis.style import picture
from analysis.wave_pictures import coefficients_over_training, logits_picture, waves
from analysis.weight_pictures import trajectories, weights_over_training
from analysis.words import loss_unit

TRAIN, TEST = "#9730c9", "#4cb769"
INPUT_A, INPUT_B = "#2979ff", "#ff6d00"
P = 23


def run_curves(run_id="a", steps=(0, 100, 200, 300), loss=0.5):
    count = len(steps)
    return pd.DataFrame(
        {
            "run_id": run_id,
            "step": np.array(steps, np.int32),
            "train_loss": loss * 10.0 ** -np.arange(count),
            "eval_loss": loss * 2.0 ** -np.arange(count),
            "train_accuracy": np.linspace(0.5, 1, count),
            "eval_accuracy": np.linspace(0.4, 0.9, count),
        }
    )


def wave_neurons(*neurons, size=1.0):
    """w_in (P, H), w_out (H, P) of (frequency, phase); frequency 0 is a constant."""
    x = np.arange(P)
    w_in = [np.cos(2 * np.pi * f * x / P - phase) for f, phase in neurons]
    w_out = [np.cos(2 * np.pi * f * x / P - 2 * phase) for f, phase in neurons]
    return size * np.array(w_in).T, size * np.array(w_out)


def evenly(frequency, count):
    return [(frequency, 2 * np.pi * i / count - np.pi + 0.1) for i in range(count)]


def parity_weights(snapshots=11, digits=5, hidden=4, bits=2):
    """Weights whose distractors shrink to nothing, and whose neurons are larger the higher their index."""
    shrink = np.linspace(1, 0, snapshots)[:, None, None]
    w = np.random.default_rng(0).normal(size=(1, digits + 1, hidden)).repeat(snapshots, axis=0)
    w[:, bits:digits] *= shrink
    w = w / np.linalg.norm(w, axis=1, keepdims=True) * np.arange(1, hidden + 1)
    return Weights(1000 * np.arange(snapshots), {"w_in": w.astype(np.float32), "w_out": w[:, 0]})


def noisy_waves(snapshots=4):
    """From noise to four neurons of frequency 5 and two of frequency 3."""
    w_in, w_out = wave_neurons(*evenly(5, 4), *evenly(3, 2))
    share = np.linspace(0, 1, snapshots)[:, None, None]
    noise = np.random.default_rng(1).normal(size=w_in.shape)
    arrays = {"w_in": (1 - share) * noise + share * w_in, "w_out": np.stack([w_out] * snapshots)}
    return Weights(500 * np.arange(snapshots), arrays)


def texts(artists):
    return [text.get_text() for text in artists]


def heads(figure):
    return [plot.get_title("left") for plot in figure.axes]


def collection(plot, label):
    (found,) = (c for c in plot.collections if c.get_label() == label)
    return found


def assert_inside(figure):
    """All that is drawn is within the page."""
    box = figure.get_tightbbox()
    width, height = figure.get_size_inches()
    assert 0 <= box.x0 < box.x1 <= width
    assert 0 <= box.y0 < box.y1 <= height


# --- accuracy and loss


def test_one_run_has_its_four_curves():
    curves = run_curves()
    figure = curves_picture(curves, "mine")
    assert texts(figure.texts) == ["mine"]
    assert heads(figure) == ["accuracy", "loss"]
    for plot, metric in zip(figure.axes, ("accuracy", "loss"), strict=True):
        for label, side, colour in (("train", "train", TRAIN), ("test", "eval", TEST)):
            lines = collection(plot, label)
            (points,) = lines.get_segments()
            assert points == pytest.approx(curves[["step", f"{side}_{metric}"]].to_numpy(float))
            assert to_hex(lines.get_color()[0]) == colour
        assert sorted(texts(plot.texts)) == ["test", "train"]
        assert {to_hex(text.get_color()) for text in plot.texts} == {TRAIN, TEST}
    assert figure.axes[0].get_yscale() == "linear"
    assert figure.axes[1].get_yscale() == "log"
    low, high = figure.axes[1].get_ylim()
    assert low < curves["train_loss"].min()
    assert high > 0.5
    assert_inside(figure)


def test_steps_and_losses_are_readable_numbers():
    figure = curves_picture(run_curves(steps=range(0, 50_001, 10_000)), "")
    picture(figure, "png")
    assert texts(figure.axes[1].get_xticklabels())[:3] == ["0", "10,000", "20,000"]
    low, high = figure.axes[1].get_ylim()
    ticks = zip(figure.axes[1].get_yticks(), texts(figure.axes[1].get_yticklabels()), strict=True)
    assert [text for y, text in ticks if low <= y <= high] == ["10⁻⁵", "10⁻⁴", "10⁻³", "0.01", "0.1"]


def test_many_runs_are_thinner_lines_one_each():
    curves = pd.concat([run_curves(f"{i}", loss=0.1 + i) for i in range(9)])
    one, many = curves_picture(run_curves(), ""), curves_picture(curves, "nine")
    assert texts(many.texts) == ["nine", "9 runs"]
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
    assert texts(figure.texts)[:2] == ["two", "3 runs; a panel for each weight_decay and l1_decay"]
    first, _, *below = figure.axes
    assert heads(figure)[:2] == ["weight decay 0\nl1 decay 0.0001", "weight decay 0.3\nl1 decay 0"]
    assert [losses(plot) for plot in below] == [[0.1, 2.1], [1.1]]
    assert (first.get_ylabel(), below[0].get_ylabel()) == ("accuracy", "loss, nats per row")
    assert len({plot.get_ylim() for plot in below}) == 1  # so that they can be compared
    assert texts(figure.texts)[2:] == ["train", "test"]
    assert_inside(figure)


def test_of_many_settings_the_axis_with_most_values_is_told_by_shades():
    zipped = [(decay, 0.0) for decay in (0.01, 0.03, 0.1, 0.3, 1.0)] + [(0.0, 1e-9 * 10**i) for i in range(5)]
    rows = [(a, b, *pair) for a in (0, 1) for b in (0, 1) for pair in zipped]
    columns = dict.fromkeys(["collapsed_input", "collapsed_output", "weight_decay", "l1_decay"])
    settings = settings_table(*rows, **columns)
    figure = curves_picture(many_runs(settings), "many", settings=settings)
    caption = "40 runs; a panel for each collapsed_input and collapsed_output; from pale to dark: "
    assert texts(figure.texts)[1] == caption + "weight_decay, l1_decay"
    assert len(figure.axes) == 8
    # Rows of panels are the values of one of them, accuracy above loss.
    assert heads(figure)[:2] == [
        "collapsed input 0\ncollapsed output 0",
        "collapsed input 0\ncollapsed output 1",
    ]
    key = texts(figure.texts)[2:]
    assert key[:4] == ["train", "test", "0, 1e-09", "0, 1e-08"]
    assert key[-1] == "1, 0"
    assert len(key) == 12
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
    assert texts(figure.texts)[0] == caption
    more = settings_table(b1=range(4), b2=range(4), eps=range(4), hidden_size=range(6))
    figure = curves_picture(many_runs(more), settings=more)
    assert len(figure.axes) == 2 * 16
    assert texts(figure.texts)[0].endswith("from pale to dark: hidden_size; pooled over eps")
    assert_inside(figure)
    alone = settings_table(hidden_size=range(40))
    figure = curves_picture(many_runs(alone), settings=alone)
    assert len(figure.axes) == 2
    assert texts(figure.texts)[2:5] == ["test", "0", "4"]  # ten of forty are named
    assert_inside(figure)


def test_runs_of_one_setting_are_as_before():
    nothing = pd.DataFrame(index=["r0", "r1"])
    figure = curves_picture(many_runs(nothing), "one", settings=nothing)
    assert texts(figure.texts) == ["one", "2 runs"]
    assert heads(figure) == ["accuracy", "loss"]


def test_the_loss_has_its_unit():
    assert heads(curves_picture(run_curves(), unit="nats per row"))[1] == "loss, nats per row"
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


def test_further_lines_of_a_title_are_pale():
    figure = curves_picture(run_curves(), "mine\nhidden_size 24 · grok (liu)")
    bold, pale = figure.texts
    assert (bold.get_text(), bold.get_weight()) == ("mine", "bold")
    assert (pale.get_text(), pale.get_weight()) == ("hidden_size 24 · grok (liu)", "normal")
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
    assert texts(figure.axes[1].texts) == ["test"]  # the training curve has no end
    curves[["train_loss", "eval_loss"]] = np.nan
    picture(curves_picture(curves, ""), "png")


def test_one_logged_step_is_a_dot():
    figure = curves_picture(run_curves(steps=(0,)), "")
    assert [line.get_xydata().tolist() for line in figure.axes[0].lines] == [[[0, 0.5]], [[0, 0.4]]]
    assert_inside(figure)


def test_curves_without_rows_or_columns_are_refused():
    with pytest.raises(ValueError, match="there are no runs to draw"):
        curves_picture(run_curves().iloc[:0], "")
    with pytest.raises(ValueError, match="a table of curves needs the columns eval_loss"):
        curves_picture(run_curves().drop(columns="eval_loss"), "")


def test_labels_are_pushed_apart_no_further_than_needed():
    assert apart(np.array([0.5, 0.5]), 0.1) == pytest.approx([0.45, 0.55])
    assert apart(np.array([0.9, 0.1]), 0.1) == pytest.approx([0.9, 0.1])
    moved = apart(np.array([3.0, 1.0, 1.1, 1.2]), 0.5)
    assert moved[0] == 3
    assert np.diff(moved[1:]) == pytest.approx([0.5, 0.5])
    assert moved[1:].mean() == pytest.approx(1.1)


# --- weights over training


def test_heat_maps_of_a_parity_network():
    weights = parity_weights()
    figure = weights_over_training(weights, n_parity_bits=2, title="w")
    plots = figure.axes
    assert heads(figure) == ["step 0", "2,000", "4,000", "6,000", "8,000", "10,000"]
    # Each step has the scale of its own largest weight, and says it.
    for plot, snapshot in zip(plots, (0, 2, 4, 6, 8, 10), strict=True):
        largest = np.abs(weights.arrays["w_in"][snapshot]).max()
        low, high = plot.images[0].get_clim()
        assert -low == high == pytest.approx(largest)
        assert plot.get_xlabel() == f"± {largest:.2g}"
    assert "each step has its own scale" in texts(figure.texts)[-1]
    for plot, snapshot in zip(plots, (0, 2, 4, 6, 8, 10), strict=True):
        # The neurons stand from the largest, the last of four, to the smallest.
        drawn = plot.images[0].get_array().filled()
        assert drawn == pytest.approx(weights.arrays["w_in"][snapshot][:, ::-1])
    assert texts(plots[0].texts) == ["signal", "distractors", "bias"]
    assert [text.xy[1] for text in plots[0].texts] == [0.5, 3, 5]
    assert [line.get_ydata()[0] for line in plots[0].lines] == [1.5, 4.5]
    rgba = plots[0].images[0].to_rgba(np.array([[low, 0.0, high]]))[0]
    assert rgba[1][:3].min() > 0.95  # nothing is white
    assert rgba[0][2] > rgba[0][0]
    assert rgba[2][0] > rgba[2][2]
    assert_inside(figure)


def test_heat_maps_of_named_steps_take_the_nearest_snapshots():
    figure = weights_over_training(parity_weights(), steps=[1_100, 900, 4_000], n_parity_bits=2)
    assert heads(figure) == ["step 1,000", "4,000"]


def test_heat_maps_of_modular_addition_sort_neurons_by_frequency_and_phase():
    weights = noisy_waves()
    w_in = weights.arrays["w_in"]
    figure = weights_over_training(weights)
    assert len(figure.axes) == 4
    order = [4, 5, 0, 1, 2, 3]
    assert figure.axes[0].images[0].get_array().filled() == pytest.approx(w_in[0][:, order])
    assert texts(figure.axes[0].texts) == ["input"]
    both = Weights(weights.step_S, {**weights.arrays, "w_in": np.concatenate([w_in, -w_in], axis=1)})
    plot = weights_over_training(both).axes[0]
    assert texts(plot.texts) == ["input a", "input b"]
    assert plot.images[0].get_array().shape == (2 * P, 6)


def test_heat_maps_of_one_snapshot_and_one_neuron():
    weights = parity_weights(snapshots=1, hidden=1)
    figure = weights_over_training(weights, n_parity_bits=2, title="a title that is rather longer")
    assert heads(figure) == ["step 0"]
    assert_inside(figure)


def test_weights_that_are_no_numbers_are_grey():
    weights = parity_weights(snapshots=2)
    weights.arrays["w_in"][1] = np.inf
    figure = weights_over_training(weights, n_parity_bits=2)
    image = figure.axes[1].images[0]
    assert image.get_array().mask.all()
    assert to_hex(image.to_rgba(image.get_array())[0, 0]) == "#dddddd"
    assert np.isfinite(image.get_clim()).all()
    assert figure.axes[1].get_xlabel() == "no numbers"
    picture(figure, "png")


def test_weights_that_do_not_fit_are_refused():
    weights = parity_weights()
    with pytest.raises(ValueError, match=r"w_in of shape \(11, 6, 4\) does not fit 6 digits and a bias"):
        weights_over_training(weights, n_parity_bits=6)
    with pytest.raises(ValueError, match="does not fit 0 digits"):
        trajectories(weights, 0)
    with pytest.raises(ValueError, match="no snapshots, or no steps"):
        weights_over_training(weights, steps=[], n_parity_bits=2)
    nothing = Weights(np.array([]), {"w_in": np.zeros((0, 6, 4)), "w_out": np.zeros((0, 4))})
    with pytest.raises(ValueError, match="no snapshots"):
        trajectories(nothing, 2)
    with pytest.raises(ValueError, match="no snapshots"):
        weights_over_training(nothing, n_parity_bits=2)


def test_every_weight_has_its_trajectory():
    weights = parity_weights()
    figure = trajectories(weights, 2, "all")
    (plot,) = figure.axes
    w_in = weights.arrays["w_in"]
    colours = set()
    for kind, rows in (("signal", [0, 1]), ("distractors", [2, 3, 4]), ("bias", [5])):
        lines = collection(plot, kind)
        assert isinstance(lines, LineCollection)
        segments = lines.get_segments()
        assert len(segments) == 4 * len(rows)
        expected = [w_in[:, row, neuron] for row in rows for neuron in range(4)]
        assert np.array([segment[:, 1] for segment in segments]) == pytest.approx(np.array(expected))
        assert all((segment[:, 0] == weights.step_S).all() for segment in segments)
        colours.add(to_hex(lines.get_color()[0]))
    assert len(colours) == 3
    legend = plot.get_legend()
    assert texts(legend.get_texts()) == ["signal, 2 digits", "bias", "distractors, 3 digits"]
    assert {to_hex(line.get_color()) for line in legend.get_lines()} == colours
    assert_inside(figure)


def test_a_trajectory_of_one_snapshot_is_a_dot():
    (plot,) = trajectories(parity_weights(snapshots=1), 2).axes
    assert sum(len(line.get_xdata()) for line in plot.lines if line.get_marker() == "o") == 6 * 4


def test_trajectories_of_many_weights_stay_a_small_svg():
    weights = parity_weights(snapshots=50, digits=30, hidden=100)
    assert len(picture(trajectories(weights, 3), "svg")) < 500_000


# --- waves


def test_each_frequency_has_a_panel_of_its_waves():
    w_in, _ = wave_neurons(*evenly(7, 3), (0, 0), *evenly(4, 5))
    figure = waves(w_in, P, "waves")
    assert heads(figure) == ["frequency 4 · 5 neurons", "frequency 7 · 3 neurons", "no frequency · 1 neuron"]
    for plot, members, f in zip(figure.axes, ([4, 5, 6, 7, 8], [0, 1, 2], [3]), (4, 7, 1), strict=True):
        lines = plot.lines[1:]  # the first is at 0
        assert {to_hex(line.get_color()) for line in lines} == {INPUT_A}
        # Input n stands at f n mod P; where there is no frequency, at n.
        drawn = np.array([line.get_ydata() for line in lines])
        assert drawn[:, f * np.arange(P) % P] == pytest.approx(w_in[:, members].T)
        assert all((line.get_xdata() == np.arange(P)).all() for line in lines)
    assert len({plot.get_ylim() for plot in figure.axes}) == 1
    assert texts(figure.texts)[-1].endswith("a wave of frequency f is one period; n where there is none")
    assert_inside(figure)


def test_a_wave_of_any_frequency_is_one_period():
    (plot,) = waves(wave_neurons((11, 0.4))[0], P).axes  # half of P: a zigzag over n
    x, y = plot.lines[1].get_data()
    assert y == pytest.approx(np.cos(2 * np.pi * x / P - 0.4))
    assert "none" not in texts(plot.figure.texts)[-1]


def test_waves_of_a_and_of_b():
    w_a, _ = wave_neurons(*evenly(7, 3))
    w_b, _ = wave_neurons(*evenly(7, 3), size=0.5)
    (plot,) = waves(np.concatenate([w_a, w_b]), P).axes
    for colour, w in ((INPUT_A, w_a), (INPUT_B, w_b)):
        lines = [line for line in plot.lines if to_hex(line.get_color()) == colour]
        drawn = np.array([line.get_ydata() for line in lines])
        assert drawn[:, 7 * np.arange(P) % P] == pytest.approx(w.T)
    assert [(text.get_text(), to_hex(text.get_color())) for text in plot.texts] == [
        ("input a", INPUT_A),
        ("input b", INPUT_B),
    ]
    assert_inside(plot.figure)


@pytest.mark.parametrize(("count", "columns", "rows"), [(1, 1, 1), (4, 2, 2), (5, 3, 2), (11, 3, 4)])
def test_panels_of_waves_wrap(count, columns, rows):
    figure = waves(wave_neurons(*[(f, 0.3) for f in range(1, count + 1)])[0], P)
    assert len(figure.axes) == count
    assert len({plot.get_position().x0.round(6) for plot in figure.axes}) == columns
    assert len({plot.get_position().y0.round(6) for plot in figure.axes}) == rows
    with_inputs = [plot for plot in figure.axes if texts(plot.get_xticklabels())]
    assert with_inputs == figure.axes[-columns:]
    assert_inside(figure)


def test_waves_where_no_neuron_has_a_frequency():
    assert heads(waves(wave_neurons((0, 0), (0, 0))[0], P)) == ["no frequency · 2 neurons"]


# --- coefficients


def shares_drawn(plot):
    """(frequencies, snapshots)"""
    return np.ma.hstack([mesh.get_array() for mesh in plot.collections])


def test_the_coefficients_become_sparse():
    figure = coefficients_over_training(noisy_waves(), P, "f")
    plot = figure.axes[0]
    share = shares_drawn(plot).filled()
    assert share.shape == ((P + 1) // 2, 4)
    assert share.sum(axis=0) == pytest.approx(np.ones(4))
    assert share[:, -1] == pytest.approx(
        np.where(np.arange(12) == 5, 4 / 6, np.where(np.arange(12) == 3, 2 / 6, 0))
    )
    # Of the noise: each frequency is a projection on two directions, the constant on one.
    noise = noisy_waves().arrays["w_in"][0]
    wave = np.exp(2j * np.pi * 7 * np.arange(P) / P) * np.sqrt(2 / P)
    assert share[7, 0] == pytest.approx((np.abs(wave @ noise) ** 2).sum() / (noise**2).sum())
    assert share[0, 0] == pytest.approx((noise.sum(axis=0) ** 2).sum() / P / (noise**2).sum())
    assert all(mesh.get_clim() == pytest.approx((0, 4 / 6)) for mesh in plot.collections)
    assert texts(plot.texts) == ["3", "5"]
    assert [text.xy[1] for text in plot.texts] == pytest.approx([3, 5])
    assert_inside(figure)


def test_what_was_not_recorded_is_not_drawn():
    """A snapshot is a column at its step: no change is drawn where none was seen."""
    for count, step in ((2, 50_000), (4, 500), (101, 500)):
        steps = np.arange(count) * step
        w_in = np.repeat(noisy_waves().arrays["w_in"][:1], count, axis=0)
        figure = coefficients_over_training(Weights(steps, {"w_in": w_in}), P)
        plot = figure.axes[0]
        columns = [mesh.get_coordinates()[0, :, 0] for mesh in plot.collections]
        width = min(step, 0.02 * steps[-1])
        assert np.allclose(columns, [(s - width / 2, s + width / 2) for s in steps])
        assert plot.get_xlim() == pytest.approx((-width / 2, steps[-1] + width / 2))
        said = any(f"{count} snapshots, nothing recorded between them" in t for t in texts(figure.texts))
        assert said == (width < step)
    uneven = coefficients_over_training(Weights(np.array([0, 10, 1000]), {"w_in": w_in[:3]}), P)
    columns = [mesh.get_coordinates()[0, :, 0].tolist() for mesh in uneven.axes[0].collections]
    assert columns == [[-5, 5], [5, 20], [990, 1010]]


def test_coefficients_of_one_snapshot_and_of_both_inputs():
    w_in, w_out = wave_neurons(*evenly(5, 4), (0, 0))
    both = Weights(np.array([0]), {"w_in": np.concatenate([w_in, 0 * w_in])[None], "w_out": w_out[None]})
    figure = coefficients_over_training(both, P)
    # A constant 1 has the energy P, a wave half of it.
    assert figure.axes[0].collections[0].get_array().filled()[[0, 5], 0] == pytest.approx([1 / 3, 2 / 3])
    assert texts(figure.axes[0].texts) == ["constant", "5"]
    assert_inside(figure)


def test_coefficients_of_a_run_that_diverged_are_grey():
    weights = noisy_waves()
    weights.arrays["w_in"][2:, 0, 0] = np.nan
    figure = coefficients_over_training(weights, P)
    assert (shares_drawn(figure.axes[0]).mask == [[False, False, True, True]] * 12).all()
    assert texts(figure.axes[0].texts) == []
    picture(figure, "png")


# --- logits


def test_contributions_meet_at_the_sum():
    w_in, w_out = wave_neurons(*evenly(2, 5), *evenly(9, 7), (0, 0))
    a, b = 20, 9
    figure = logits_picture(w_in, w_out, P, a, b, "l")
    assert len(figure.axes) == 4
    c = np.arange(P)
    total = 0
    named = ["frequency 2", "frequency 9", "no frequency"]
    for plot, frequency, members in zip(figure.axes, (2, 9, 0), (range(5), range(5, 12), [12]), strict=False):
        expected = sum(max(w_in[a, h] + w_in[b, h], 0) * w_out[h] for h in members)
        total = total + expected
        line = next(line for line in plot.lines if line.get_marker() == "o")
        assert line.get_ydata() == pytest.approx(expected)
        cosines = [line for line in plot.lines if len(line.get_xdata()) > P]
        if frequency:
            (cosine,) = cosines
            wave = np.cos(2 * np.pi * frequency * (a + b - c) / P)
            fitted = np.polyfit(wave, expected, 1)  # least squares
            assert cosine.get_ydata()[np.isin(cosine.get_xdata(), c)] == pytest.approx(
                np.polyval(fitted, wave)
            )
        else:
            assert not cosines
        count = f"{len(members)} neurons" if len(members) > 1 else "1 neuron"
        assert texts(plot.texts)[:2] == [named.pop(0), count]
    # The sum is that of the whole network, those of no frequency too: so its largest is the answer.
    dots = [line for line in figure.axes[-1].lines if line.get_marker() == "o"]
    line, dot = sorted(dots, key=lambda line: -len(line.get_xdata()))
    assert line.get_ydata() == pytest.approx(total)
    assert total == pytest.approx(np.maximum(w_in[a] + w_in[b], 0) @ w_out)
    assert dot.get_xdata()[0] == np.argmax(total) == 6
    for plot in figure.axes:
        assert (a + b) % P == 6
        assert [6, 6] in [list(line.get_xdata()) for line in plot.lines]
    assert texts(figure.axes[-1].get_xticklabels()) == ["0", "6", "22"]
    assert texts(figure.texts)[1].startswith("logits of 20 + 9 = 6 mod 23")
    assert_inside(figure)


@pytest.mark.parametrize("count", [1, 4, 11])
def test_logits_have_one_scale_and_say_it(count):
    w_in, w_out = wave_neurons(*[neuron for f in range(1, count + 1) for neuron in evenly(f, 5)], size=3)
    figure = logits_picture(w_in, w_out, P, 3, 4, "l")
    high = [plot.get_window_extent().height / np.ptp(plot.get_ylim()) for plot in figure.axes]
    assert high == pytest.approx([high[0]] * (count + 1))
    for plot in figure.axes:
        (bar,) = (line for line in plot.lines if line.get_label() == "scale")
        assert texts(plot.texts)[-1] == f"{np.ptp(bar.get_ydata()):g}"
        assert f"each bar is {np.ptp(bar.get_ydata()):g}" in texts(figure.texts)[1]
    for plot in figure.axes:
        (line,) = (line for line in plot.lines if line.get_marker() == "o" and len(line.get_xdata()) == P)
        low, top = plot.get_ylim()
        assert low < line.get_ydata().min() <= line.get_ydata().max() < top
    assert figure.get_size_inches()[1] < 12
    assert_inside(figure)


def test_what_has_no_logits_is_refused():
    with pytest.raises(ValueError, match="no neuron has a frequency"):
        logits_picture(*wave_neurons((0, 0)), P, 1, 2)
    with pytest.raises(ValueError, match="a = 1 and b = 23: give two of 0 to 22"):
        logits_picture(*wave_neurons((1, 0)), P, 1, 23)
    with pytest.raises(ValueError, match="no neuron has a frequency"):
        stars(*wave_neurons((0, 0)), P)


def test_a_run_that_diverged_has_no_waves():
    w_in, w_out = wave_neurons((1, 0))
    for make in (
        lambda w: waves(w, P),
        lambda w: stars(w, w_out, P),
        lambda w: logits_picture(w, w_out, P, 1, 2),
    ):
        with pytest.raises(ValueError, match="the run has diverged"):
            make(np.where(w_in == w_in[3], np.nan, w_in))


# --- stars


def points(plot):
    """The dots of a panel, one array for each thread."""
    return [np.asarray(c.get_offsets()) for c in plot.collections if isinstance(c, PathCollection)]


def test_stars_turn_twice_as_fast_as_circles():
    given = evenly(4, 5)
    w_in, w_out = wave_neurons(*given[::-1], *evenly(10, 7))
    figure = stars(w_in, w_out, P, "s")
    assert heads(figure) == ["frequency 4", "frequency 10", "", ""]
    assert [plot.get_ylabel() for plot in figure.axes] == ["w_in", "", "w_out", ""]
    phases = np.array([phase for _, phase in given])  # neurons stand by phase, whatever their order
    for plot, turns in ((figure.axes[0], 1), (figure.axes[2], 2)):
        (dots,) = points(plot)
        size = np.sqrt(P / 2)
        expected = size * np.column_stack([np.cos(turns * phases), np.sin(turns * phases)])
        assert dots == pytest.approx(expected)
        (thread,) = (line for line in plot.lines if line.get_label() == "thread")
        assert thread.get_xydata() == pytest.approx(np.vstack([expected, expected[:1]]))
        assert plot.get_aspect() == 1
        low, high = plot.get_xlim()
        assert low == -high
        assert high > size
    # Panels differ in scale: each says the radius of its circle.
    assert [texts(plot.texts)[-1] for plot in figure.axes] == [f"r {np.sqrt(P / 2):.3g}"] * 4
    assert "each panel has its own scale: r is the radius" in texts(figure.texts)[-1]
    colours = [figure.axes[i].collections[0].get_facecolor() for i in (0, 2)]
    assert (colours[0] == colours[1]).all()
    assert len(np.unique(colours[0], axis=0)) == 5
    assert_inside(figure)


def test_stars_of_a_and_of_b():
    w_a, w_out = wave_neurons(*evenly(4, 5))
    figure = stars(np.concatenate([w_a, 2 * w_a]), w_out, P)
    a, b = points(figure.axes[0])
    assert b == pytest.approx(2 * a)
    threads = [to_hex(line.get_color()) for line in figure.axes[0].lines if line.get_label() == "thread"]
    assert threads == [INPUT_A, INPUT_B]
    assert "blue: input a, orange: b" in texts(figure.texts)[0]
    assert_inside(figure)


def test_many_stars_wrap():
    modulus = 67
    x = np.arange(modulus)
    w_in = np.array([np.cos(2 * np.pi * f * x / modulus) for f in range(1, 32)]).T
    figure = stars(w_in, w_in.T, modulus)
    assert sum(map(len, map(points, figure.axes))) == len(figure.axes) == 2 * 31
    assert [head for head in heads(figure) if head] == [f"frequency {f}" for f in range(1, 32)]
    assert len({plot.get_position().x0.round(6) for plot in figure.axes}) == 6
    assert_inside(figure)
    assert_inside(waves(w_in, modulus))
    assert_inside(logits_picture(w_in, w_in.T, modulus, 3, 4))


def test_the_constructed_circle():
    figure = constructed_circle([5, 6, 7], 67, title="c")
    assert heads(figure)[:3] == ["5 neurons · 100 %", "6 neurons · 19.4 %", "7 neurons · 100 %"]
    turn = 2 * np.pi * np.arange(5) / 5
    (inside,), (outside,) = points(figure.axes[0]), points(figure.axes[3])
    assert inside == pytest.approx(np.column_stack([np.cos(turn), np.sin(turn)]))
    assert outside == pytest.approx(np.column_stack([np.cos(2 * turn), np.sin(2 * turn)]))
    (circle,) = (line for line in figure.axes[0].lines if line.get_label() == "mean radius")
    assert np.hypot(*circle.get_data()) == pytest.approx(np.ones(97))
    assert_inside(figure)
    assert heads(constructed_circle([6], 67, activation="square"))[0] == "6 neurons · 100 %"
    assert heads(constructed_circle([1], 5))[0].startswith("1 neuron · ")
    with pytest.raises(ValueError, match="neurons_list is empty"):
        constructed_circle([], 67)


def test_a_network_that_was_constructed_has_one_star():
    figure = stars(*constructed(5, P), P)
    assert heads(figure) == ["frequency 1", ""]
    assert len(points(figure.axes[0])[0]) == 5


# --- frequencies of a sweep


def circuits_table():
    table = pd.DataFrame(
        {
            "frequencies": ["4 5", "5 9 11", "", "5", None],
            "n_frequencies": [2, 3, 0, 1, None],
            "generalize_step": [100, 200, None, None, 300],
            "modulus": P,
        }
    )
    return table.astype({"n_frequencies": "Int64", "generalize_step": "Int64", "frequencies": "string"})


def heights(plot, label):
    (bars,) = (bars for bars in plot.containers if bars.get_label().startswith(label))
    return {round(bar.get_x() + bar.get_width() / 2): bar.get_height() for bar in bars if bar.get_height()}


def test_frequencies_are_counted_over_runs():
    figure = frequency_distribution(circuits_table(), "d")
    many, which = figure.axes
    assert heights(many, "generalised") == {2: 1, 3: 1}
    assert heights(many, "not generalised") == {0: 1, 1: 1}
    assert heights(which, "generalised") == {4: 1, 5: 2, 9: 1, 11: 1}
    assert heights(which, "not generalised") == {5: 1}
    generalised, others = which.containers
    assert others[4].get_y() == 2  # frequency 5: upon those that generalised
    assert len(generalised) == 11
    colours = {to_hex(bars[0].get_facecolor()) for bars in which.containers}
    assert len(colours) == 2
    # The run of unknown frequencies is left out.
    assert texts(many.get_legend().get_texts()) == ["generalised 2", "not generalised 2"]
    default = inspect.signature(analysis.steps).parameters["accuracy"].default
    meaning = f"generalised: a test accuracy of {100 * default:g} % or more at a logged step"
    assert texts(figure.texts) == ["d", meaning]
    assert_inside(figure)


def test_runs_of_no_frequency_are_drawn():
    figure = frequency_distribution(circuits_table().iloc[2:3])
    assert heights(figure.axes[0], "not generalised") == {0: 1}
    assert heights(figure.axes[1], "not generalised") == {}
    assert_inside(figure)


def test_circuits_that_cannot_be_drawn_are_refused():
    table = circuits_table()
    with pytest.raises(ValueError, match="the frequencies of none are known"):
        frequency_distribution(table.iloc[4:])
    with pytest.raises(ValueError, match="a table of circuits needs the columns frequencies"):
        frequency_distribution(table.drop(columns="frequencies"))
    with pytest.raises(ValueError, match="modulus has the values 23, 67; filter the table to one"):
        frequency_distribution(table.assign(modulus=[23, 23, 67, 67, 67]))


# --- all of them

W_IN, W_OUT = wave_neurons(*evenly(2, 5), *evenly(9, 7))
PICTURES = {
    "curves": partial(curves_picture, run_curves(), "t"),
    "weights": partial(weights_over_training, parity_weights(), n_parity_bits=2),
    "trajectories": partial(trajectories, parity_weights(), 2),
    "waves": partial(waves, W_IN, P),
    "coefficients": partial(coefficients_over_training, noisy_waves(), P),
    "logits": partial(logits_picture, W_IN, W_OUT, P, 3, 4),
    "stars": partial(stars, W_IN, W_OUT, P),
    "circle": partial(constructed_circle, [5], P),
    "frequencies": partial(frequency_distribution, circuits_table()),
}


@pytest.mark.parametrize("name", PICTURES)
def test_files_are_the_same_whatever_the_user_s_style(name):
    before = dict(mpl.rcParams)
    plain = [picture(PICTURES[name](), extension) for extension in ("png", "svg")]
    with mpl.rc_context(
        {"axes.facecolor": "black", "font.size": 30, "savefig.dpi": 30, "lines.linewidth": 9}
    ):
        again = [picture(PICTURES[name](), extension) for extension in ("png", "svg")]
    assert plain == again
    assert dict(mpl.rcParams) == before
    assert b"</text>" in plain[1]


def test_pyplot_is_not_imported():
    rooms = "circuit_pictures", "curve_pictures", "wave_pictures", "weight_pictures"
    code = f"import sys, analysis; from analysis import {', '.join(rooms)}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & {"matplotlib.pyplot", "scipy", "jax", "ray", "hydra"}
