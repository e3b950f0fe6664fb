"""Waves, coefficients over training, and logits by frequency."""

import numpy as np
import pytest
from drawn import INPUT_A, INPUT_B, P, assert_inside, evenly, heads, key, noisy_waves, texts, wave_neurons
from matplotlib.colors import to_hex

from analysis import Weights
from analysis.circuit_pictures import stars
from analysis.style import picture
from analysis.wave_pictures import coefficients_over_training, logits_picture, waves


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
    assert figure.get_supxlabel().endswith("a wave of frequency f is one period; n where there is none")
    assert_inside(figure)


def test_a_wave_of_any_frequency_is_one_period():
    (plot,) = waves(wave_neurons((11, 0.4))[0], P).axes  # half of P: a zigzag over n
    x, y = plot.lines[1].get_data()
    assert y == pytest.approx(np.cos(2 * np.pi * x / P - 0.4))
    assert "none" not in plot.figure.get_supxlabel()


def test_waves_of_a_and_of_b():
    w_a, _ = wave_neurons(*evenly(7, 3))
    w_b, _ = wave_neurons(*evenly(7, 3), size=0.5)
    (plot,) = waves(np.concatenate([w_a, w_b]), P).axes
    for colour, w in ((INPUT_A, w_a), (INPUT_B, w_b)):
        lines = [line for line in plot.lines if to_hex(line.get_color()) == colour]
        drawn = np.array([line.get_ydata() for line in lines])
        assert drawn[:, 7 * np.arange(P) % P] == pytest.approx(w.T)
    assert key(plot.figure) == ["input a", "input b"]
    assert [line.get_color().lower() for line in plot.figure.legends[0].get_lines()] == [INPUT_A, INPUT_B]
    assert_inside(plot.figure)


@pytest.mark.parametrize(("count", "columns", "rows"), [(1, 1, 1), (4, 2, 2), (5, 3, 2), (11, 3, 4)])
def test_panels_of_waves_wrap(count, columns, rows):
    figure = waves(wave_neurons(*[(f, 0.3) for f in range(1, count + 1)])[0], P)
    assert len(figure.axes) == count
    figure.draw_without_rendering()
    assert len({plot.get_position().x0.round(6) for plot in figure.axes}) == columns
    assert len({plot.get_position().y0.round(6) for plot in figure.axes}) == rows
    with_inputs = [plot for plot in figure.axes if texts(plot.get_xticklabels())]
    assert with_inputs == figure.axes[-columns:]
    assert_inside(figure)


def test_waves_where_no_neuron_has_a_frequency():
    assert heads(waves(wave_neurons((0, 0), (0, 0))[0], P)) == ["no frequency · 2 neurons"]


def shares_drawn(plot):
    """(frequencies, snapshots)"""
    return plot.collections[0].get_array()


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
    assert plot.collections[0].get_clim()[0] == 0
    assert texts(plot.get_yticklabels()) == ["3", "5"]
    assert plot.get_yticks().tolist() == [3, 5]
    assert "at each of 4 snapshots" in figure.get_supxlabel()
    assert_inside(figure)


def test_coefficients_of_both_inputs():
    w_in, w_out = wave_neurons(*evenly(5, 4), (0, 0))
    arrays = {"w_in": np.concatenate([w_in, 0 * w_in]), "w_out": w_out}
    both = Weights(np.array([0, 9]), {name: np.stack([array, array]) for name, array in arrays.items()})
    figure = coefficients_over_training(both, P)
    # A constant 1 has the energy P, a wave half of it.
    assert figure.axes[0].collections[0].get_array().filled()[[0, 5], 0] == pytest.approx([1 / 3, 2 / 3])
    assert texts(figure.axes[0].get_yticklabels()) == ["constant", "5"]
    assert_inside(figure)


def test_coefficients_of_a_run_that_diverged_are_grey():
    weights = noisy_waves()
    weights.arrays["w_in"][2:, 0, 0] = np.nan
    figure = coefficients_over_training(weights, P)
    assert (shares_drawn(figure.axes[0]).mask == [[False, False, True, True]] * 12).all()
    assert texts(figure.axes[0].get_yticklabels()) == []
    picture(figure, "png")


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
        assert plot.get_title("left") == f"{named.pop(0)} · {count}"
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
    assert figure.get_supxlabel().startswith("logits of 20 + 9 = 6 mod 23")
    assert_inside(figure)


@pytest.mark.parametrize("count", [1, 4, 11])
def test_logits_have_one_scale_and_say_it(count):
    w_in, w_out = wave_neurons(*[neuron for f in range(1, count + 1) for neuron in evenly(f, 5)], size=3)
    figure = logits_picture(w_in, w_out, P, 3, 4, "l")
    figure.draw_without_rendering()
    high = [plot.get_window_extent().height / np.ptp(plot.get_ylim()) for plot in figure.axes]
    assert high == pytest.approx([high[0]] * (count + 1), rel=0.02)
    for plot in figure.axes:
        assert len(plot.get_yticks()) >= 2
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
