"""Pictures of modular addition over its inputs and outputs: the waves of neurons, their frequencies over
training, and how the frequencies add up to an answer.

They are E3 of "Do Machine Learning Models Memorize or Generalize?" (Pearce et al., 2023).
P is the modulus; w_in has shape (P, H), shared by a and b, or (2P, H), the rows of a before those of b.
"""

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.fourier import contribution, energies, frequencies, groups
from analysis.panels import (
    INPUT_A,
    INPUT_B,
    RULE,
    UNKNOWN,
    apart,
    bare,
    head,
    need_numbers,
    page,
    step_axis,
)
from analysis.read import Weights
from analysis.style import INK, PALE_INK, plain_style
from analysis.words import plural

MOST_COLUMNS = 3
COSINE = "#e3b23c"
USED = 0.04  # of the energy at the last snapshot: frequencies with less are not named


@plain_style()
def waves(w_in: np.ndarray, modulus: int, title: str = "") -> Figure:
    """The input weights of the neurons over the inputs 0 to P - 1: a panel per frequency, a line per neuron.

    Neurons of no frequency come last. All panels have the same height in weights. Raises
    ValueError where a weight is not finite.
    """
    need_numbers(w_in)
    by_frequency = groups(w_in, modulus)
    tied = len(w_in) == modulus
    rows = -(-len(by_frequency) // MOST_COLUMNS)
    columns = -(-len(by_frequency) // rows)
    figure, plots = page(
        title,
        "weights over the input" + ("" if tied else ", of a and of b"),
        rows=[(0.36, 1.05)] * rows,
        columns=columns,
        width=2.6,
        left=0.3,
        gap=0.22,
    )
    for plot in plots[len(by_frequency) :]:
        plot.remove()
    plots = plots[: len(by_frequency)]
    largest = float(np.abs(w_in).max()) or 1.0
    inputs = np.arange(modulus)
    for index, (plot, (frequency, members)) in enumerate(zip(plots, by_frequency.items(), strict=True)):
        plot.axhline(0, color=RULE, linewidth=0.8, zorder=0)
        plot.plot(inputs, w_in[:modulus, members], color=INPUT_A, linewidth=0.7, alpha=0.75)
        if not tied:
            plot.plot(inputs, w_in[modulus:, members], color=INPUT_B, linewidth=0.7, alpha=0.75)
        plot.spines["bottom"].set_visible(False)
        plot.set(xlim=(0, modulus - 1), ylim=(-1.05 * largest, 1.05 * largest))
        plot.set_xticks([0, modulus - 1] if index + columns >= len(plots) else [])
        plot.yaxis.set_major_locator(MaxNLocator(3, symmetric=True))
        plot.tick_params(labelleft=index % columns == 0)
        head(plot, f"{_name(frequency)} · {plural(len(members), 'neuron')}")
    if not tied:
        for x, text, colour in ((-44, "a", INPUT_A), (0, "b", INPUT_B)):
            plots[-1].annotate(
                f"input {text}",
                (1, 0),
                xycoords="axes fraction",
                xytext=(x, -24),
                textcoords="offset points",
                ha="right",
                size=8,
                color=colour,
            )
    return figure


@plain_style()
def coefficients_over_training(weights: Weights, modulus: int, title: str = "") -> Figure:
    """Which frequencies w_in is made of, over training: of each snapshot's energy the share of each.

    The energy of a frequency is the sum of squares of its Fourier coefficients, of sine and cosine, of all
    neurons (and of both inputs). Frequencies with a share of 4 % or more at the last snapshot are named.
    Snapshots
    that are no numbers are grey. Raises ValueError where there are no snapshots.
    """
    w_in_SDH = weights.arrays["w_in"]
    if not w_in_SDH.size:
        raise ValueError("there are no weights to draw: no snapshots")
    known_S = np.isfinite(w_in_SDH).all(axis=(1, 2))
    energy_SF = np.stack([energies(w_in, modulus) for w_in in np.where(known_S[:, None, None], w_in_SDH, 0)])
    total_S1 = np.maximum(energy_SF.sum(axis=1, keepdims=True), np.finfo(float).tiny)
    share_SF = np.ma.array(energy_SF / total_S1, mask=np.broadcast_to(~known_S[:, None], energy_SF.shape))
    many = share_SF.shape[1]

    caption = "share of each frequency in the energy of the input weights"
    high = float(np.clip(0.1 * many, 1.6, 5))
    figure, (plot,) = page(title, caption, rows=[(0.15, high)], width=5.6, left=0.65, right=1.15)
    image = plot.pcolormesh(
        _edges(weights.step_S),
        np.arange(many + 1) - 0.5,
        share_SF.T,
        cmap=mpl.colormaps["BuPu"].with_extremes(bad=UNKNOWN),
        vmin=0,
        vmax=float(share_SF.filled(0).max()) or 1.0,
        rasterized=True,
    )
    step_axis(plot, weights.step_S)
    if len(weights.step_S) == 1:
        plot.set(xlim=_edges(weights.step_S), xticks=weights.step_S)
    ticks = range(10, many, 10)
    plot.set_yticks([0, *ticks], ["constant", *map(str, ticks)])
    plot.set_ylabel("frequency", size=9, color=INK, labelpad=3)
    used = np.flatnonzero(share_SF[-1].filled(0) >= USED)
    names = ["constant" if frequency == 0 else str(frequency) for frequency in used]
    for name, y in zip(names, apart(used, 0.11 * many / high), strict=True):
        plot.annotate(
            name,
            (1, y),
            xycoords=("axes fraction", "data"),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            size=8,
            weight="bold",
            color=INK,
            annotation_clip=False,
        )
    key = plot.inset_axes((1.12, 0, 0.016, 1))
    bar = figure.colorbar(image, cax=key, ticks=MaxNLocator(4), format=lambda share, _: f"{100 * share:g} %")
    bar.outline.set_visible(False)
    key.tick_params(length=0, pad=2, labelsize=8, labelcolor=PALE_INK)
    return figure


@plain_style()
def logits_picture(
    w_in: np.ndarray, w_out: np.ndarray, modulus: int, a: int, b: int, title: str = ""
) -> Figure:
    """What the neurons of each frequency f add to the logits of the answers c for the inputs a and b.

    Beside it, pale, the cosine of 2 pi f (a + b - c) / P that fits it best, and at the foot the sum of the
    contributions: the cosines meet at the right answer, where a line stands; a dot is the network's answer.
    The panels of the contributions have one scale. Raises ValueError where no neuron
    has a frequency, a weight is not finite, or a or b is not one of 0 to P - 1.
    """
    if not (0 <= a < modulus and 0 <= b < modulus):
        raise ValueError(f"a = {a} and b = {b}: give two of 0 to {modulus - 1}")
    need_numbers(w_in, w_out)
    pairs_N2 = np.array([[a, b]])
    answer = (a + b) % modulus
    answers = np.arange(modulus)
    parts = {
        frequency: (contribution(w_in, w_out, pairs_N2, frequency)[0], len(members))
        for frequency, members in frequencies(w_in, modulus).items()
    }
    if not parts:
        raise ValueError("there is nothing to draw: no neuron has a frequency")
    span = (
        1.15 * max(float(np.abs(logits_P - logits_P.mean()).max()) for logits_P, _ in parts.values()) or 1.0
    )
    figure, plots = page(
        title,
        f"logits of {a} + {b} = {answer} mod {modulus} by frequency; pale: the cosine that fits",
        rows=[(0.14, 0.5)] * len(parts) + [(0.14, 1.3)],
        width=5.2,
        left=1.0,
        foot=0.4,
    )
    for plot, (frequency, (logits_P, count)) in zip(plots, parts.items(), strict=False):
        cosine_P = np.cos(2 * np.pi * frequency * (answer - answers) / modulus)
        scale = 2 / modulus * logits_P @ cosine_P
        plot.plot(answers, logits_P.mean() + scale * cosine_P, color=COSINE, linewidth=3.5, alpha=0.55)
        plot.plot(answers, logits_P, color=INK, linewidth=1.1)
        plot.set_ylim(logits_P.mean() - span, logits_P.mean() + span)
        _label(plot, f"frequency {frequency}", plural(count, "neuron"))
    sum_P = np.sum([logits_P for logits_P, _ in parts.values()], axis=0)
    plots[-1].plot(answers, sum_P, color=INK, linewidth=1.4)
    plots[-1].plot([sum_P.argmax()], [sum_P.max()], "o", color=INPUT_B, markersize=5)
    plots[-1].margins(y=0.12)
    _label(plots[-1], "their sum", f"largest at {sum_P.argmax()}")
    for plot in plots:
        bare(plot)
        plot.set_xlim(-0.5, modulus - 0.5)
        plot.axvline(answer, color=INPUT_B, linewidth=0.9, alpha=0.7, zorder=0)
    plots[-1].set_xticks(sorted({0, modulus - 1, answer}))
    plots[-1].set_xlabel("answer c", size=9, color=INK, labelpad=3)
    return figure


def _name(frequency: int) -> str:
    return f"frequency {frequency}" if frequency else "no frequency"


def _edges(steps: np.ndarray) -> np.ndarray:
    """S + 1 edges of S snapshots, halfway between them; a snapshot alone is one step wide."""
    steps = np.asarray(steps, float)
    between = np.diff(steps) / 2 if len(steps) > 1 else np.array([0.5])
    return np.concatenate(
        [[steps[0] - between[0]], steps[:-1] + np.diff(steps) / 2, [steps[-1] + between[-1]]]
    )


def _label(plot: Axes, text: str, below: str) -> None:
    """A name at the left of a panel, and a pale line below it."""
    for y, line, size, colour in ((7, text, 9, INK), (-7, below, 8, PALE_INK)):
        plot.annotate(
            line,
            (0, 0.5),
            xycoords="axes fraction",
            xytext=(-8, y),
            textcoords="offset points",
            ha="right",
            va="center",
            size=size,
            color=colour,
        )
