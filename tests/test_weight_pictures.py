"""Heat maps of weights, and their trajectories."""

import numpy as np
import pytest
from drawn import P, assert_inside, collection, heads, key, noisy_waves, parity_weights, texts
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex

from analysis import Weights
from analysis.style import picture
from analysis.weight_pictures import trajectories, weights_over_training


def test_heat_maps_of_a_parity_network():
    weights = parity_weights()
    figure = weights_over_training(weights, n_parity_bits=2, title="w")
    *plots, bar = figure.axes
    assert heads(figure)[:-1] == ["step 0", "2,000", "4,000", "6,000", "8,000", "10,000"]
    # Each step has the scale of its own largest weight, and says it.
    for plot, snapshot in zip(plots, (0, 2, 4, 6, 8, 10), strict=True):
        largest = np.abs(weights.arrays["w_in"][snapshot]).max()
        assert plot.images[0].get_clim() == (-1, 1)
        assert plot.get_xlabel() == f"± {largest:.2g}"
    assert texts(bar.get_yticklabels()) == ["− largest", "0", "+ largest"]
    assert "each panel has its own scale" in figure.get_supxlabel()
    for plot, snapshot in zip(plots, (0, 2, 4, 6, 8, 10), strict=True):
        # The neurons stand from the largest, the last of four, to the smallest.
        drawn = plot.images[0].get_array().filled()
        w = weights.arrays["w_in"][snapshot][:, ::-1]
        assert drawn == pytest.approx(w / np.abs(w).max())
    assert texts(plots[0].get_yticklabels()) == ["signal", "distractors", "bias"]
    assert plots[0].get_yticks().tolist() == [0.5, 3, 5]
    assert [line.get_ydata()[0] for line in plots[0].lines] == [1.5, 4.5]
    rgba = plots[0].images[0].to_rgba(np.array([[-1, 0, 1]]))[0]
    assert rgba[1][:3].min() > 0.95  # nothing is white
    assert rgba[0][2] > rgba[0][0]
    assert rgba[2][0] > rgba[2][2]
    assert_inside(figure)


def test_heat_maps_of_modular_addition_sort_neurons_by_frequency_and_phase():
    weights = noisy_waves()
    w_in = weights.arrays["w_in"]
    figure = weights_over_training(weights)
    assert len(figure.axes) == 4 + 1  # the bar of colours
    order = [4, 5, 0, 1, 2, 3]
    drawn = figure.axes[0].images[0].get_array().filled()
    assert drawn == pytest.approx(w_in[0][:, order] / np.abs(w_in[0]).max())
    assert texts(figure.axes[0].get_yticklabels()) == ["input"]
    both = Weights(weights.step_S, {**weights.arrays, "w_in": np.concatenate([w_in, -w_in], axis=1)})
    plot = weights_over_training(both).axes[0]
    assert texts(plot.get_yticklabels()) == ["input a", "input b"]
    assert plot.images[0].get_array().shape == (2 * P, 6)


def test_heat_maps_of_one_snapshot_and_one_neuron():
    weights = parity_weights(snapshots=1, hidden=1)
    figure = weights_over_training(weights, n_parity_bits=2, title="a title that is rather longer")
    assert heads(figure)[0] == "step 0"
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
    assert key(figure) == ["signal, 2 digits", "distractors, 3 digits", "bias"]
    assert {to_hex(line.get_color()) for line in figure.legends[0].get_lines()} == colours
    assert_inside(figure)


def test_trajectories_of_many_weights_stay_a_small_svg():
    weights = parity_weights(snapshots=50, digits=30, hidden=100)
    assert len(picture(trajectories(weights, 3), "svg")) < 500_000
