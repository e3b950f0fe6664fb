"""Stars, trained and constructed, and the frequencies of a sweep."""

import numpy as np
import pytest
from drawn import (
    INPUT_A,
    INPUT_B,
    P,
    assert_inside,
    circuits_table,
    evenly,
    heads,
    key,
    texts,
    title,
    wave_neurons,
)
from matplotlib.collections import PathCollection
from matplotlib.colors import to_hex

from analysis.circuit_pictures import constructed_circle, frequency_distribution, stars
from analysis.constructed import constructed
from analysis.steps import ACCURACY
from analysis.wave_pictures import logits_picture, waves


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
    assert "each panel has its own scale: r is the radius" in figure.get_supxlabel()
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
    assert "blue: input a, orange: b" in figure.get_supxlabel()
    assert_inside(figure)


def test_many_stars_wrap():
    modulus = 67
    x = np.arange(modulus)
    w_in = np.array([np.cos(2 * np.pi * f * x / modulus) for f in range(1, 32)]).T
    figure = stars(w_in, w_in.T, modulus)
    assert sum(map(len, map(points, figure.axes))) == len(figure.axes) == 2 * 31
    assert [head for head in heads(figure) if head] == [f"frequency {f}" for f in range(1, 32)]
    assert_inside(figure)
    assert len({plot.get_position().x0.round(6) for plot in figure.axes}) == 6
    assert_inside(waves(w_in, modulus))
    assert_inside(logits_picture(w_in, w_in.T, modulus, 3, 4))


def test_the_constructed_circle():
    figure = constructed_circle([5, 6, 7], 67, title="c")
    assert heads(figure)[:3] == ["5 neurons · 100 %", "6 neurons · 19.4 %", "7 neurons · 100 %"]
    turn = 2 * np.pi * np.arange(5) / 5
    (inside,), (outside,) = points(figure.axes[0]), points(figure.axes[3])
    assert inside == pytest.approx(np.column_stack([np.cos(turn), np.sin(turn)]))
    assert outside == pytest.approx(np.column_stack([np.cos(2 * turn), np.sin(2 * turn)]))
    (circle,) = figure.axes[0].patches
    assert circle.radius == pytest.approx(1)
    assert_inside(figure)
    assert heads(constructed_circle([1], 5))[0].startswith("1 neuron · ")
    with pytest.raises(ValueError, match="neurons_list is empty"):
        constructed_circle([], 67)


def test_a_network_that_was_constructed_has_one_star():
    figure = stars(*constructed(5, P), P)
    assert heads(figure) == ["frequency 1", ""]
    assert len(points(figure.axes[0])[0]) == 5


def heights(plot, label):
    bars = plot.containers[["generalised", "not generalised"].index(label)]
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
    assert key(figure) == ["generalised 2", "not generalised 2"]
    meaning = f"generalised: a test accuracy of {100 * ACCURACY:g} % or more at a logged step"
    assert (title(figure), figure.get_supxlabel()) == ("d", meaning)
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
