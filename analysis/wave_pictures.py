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

from analysis.fourier import contribution, energies, groups, logits
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
PART, WHOLE = 0.5, 3.5  # inches: the highest part of the logits, and their sum at most
FINE = 8  # points of a cosine from one answer to the next
WIDEST = 0.02  # of the width of the picture, a snapshot: what lies between two was not recorded
USED = 0.04  # of the energy at the last snapshot: frequencies with less are not named


@plain_style()
def waves(w_in: np.ndarray, modulus: int, title: str = "") -> Figure:
    """The input weights of the neurons over the inputs n: a panel per frequency, a line per neuron.

    In the panel of a frequency f the inputs stand in the order of f n mod P, in which a wave of that
    frequency is one period: in the order of n, 24 periods over 67 inputs cannot be seen. Neurons of no
    frequency come last, in the order of n. All panels have the same height in weights. Raises ValueError
    where a weight is not finite.
    """
    need_numbers(w_in)
    by_frequency = groups(w_in, modulus)
    tied = len(w_in) == modulus
    rows = -(-len(by_frequency) // MOST_COLUMNS)
    columns = -(-len(by_frequency) // rows)
    what = f"weights of the inputs n{'' if tied else ' of a and of b'}, a line for each neuron"
    order = f"from left to right f n mod {modulus}, in which a wave of frequency f is one period"
    figure, plots = page(
        title,
        f"{what}\n{order}{'; n where there is none' if 0 in by_frequency else ''}",
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
    for index, (plot, (frequency, members)) in enumerate(zip(plots, by_frequency.items(), strict=True)):
        plot.axhline(0, color=RULE, linewidth=0.8, zorder=0)
        turned_P = (frequency or 1) * np.arange(modulus) % modulus
        order_P = np.argsort(turned_P, kind="stable")
        for w_PH, colour in zip(np.split(w_in, len(w_in) // modulus), (INPUT_A, INPUT_B), strict=False):
            drawn_PK = w_PH[order_P][:, members]
            plot.plot(turned_P[order_P], drawn_PK, color=colour, linewidth=0.7, alpha=0.75)
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
    Each snapshot is a column at its step; those that are far apart leave the steps between them empty.
    Snapshots that are no numbers are grey. Raises ValueError where there are no snapshots.
    """
    w_in_SDH = weights.arrays["w_in"]
    if not w_in_SDH.size:
        raise ValueError("there are no weights to draw: no snapshots")
    known_S = np.isfinite(w_in_SDH).all(axis=(1, 2))
    energy_SF = np.stack([energies(w_in, modulus) for w_in in np.where(known_S[:, None, None], w_in_SDH, 0)])
    total_S1 = np.maximum(energy_SF.sum(axis=1, keepdims=True), np.finfo(float).tiny)
    share_SF = np.ma.array(energy_SF / total_S1, mask=np.broadcast_to(~known_S[:, None], energy_SF.shape))
    many = share_SF.shape[1]

    edges_S2 = _edges(weights.step_S)
    apart_S = edges_S2[1:, 0] > edges_S2[:-1, 1]
    caption = "share of each frequency in the energy of the input weights"
    if apart_S.any():
        caption += f"; {plural(len(weights.step_S), 'snapshot')}, nothing recorded between them"
    high = float(np.clip(0.1 * many, 1.6, 5))
    figure, (plot,) = page(title, caption, rows=[(0.15, high)], width=5.6, left=0.65, right=1.15)
    colours = mpl.colormaps["BuPu"].with_extremes(bad=UNKNOWN)
    highest = float(share_SF.filled(0).max()) or 1.0
    for edges_2, share_F in zip(edges_S2, share_SF, strict=True):
        image = plot.pcolormesh(
            edges_2,
            np.arange(many + 1) - 0.5,
            share_F[:, None],
            cmap=colours,
            vmin=0,
            vmax=highest,
            rasterized=True,
        )
    step_axis(plot, weights.step_S)
    plot.set_xlim(edges_S2[0, 0], edges_S2[-1, 1])
    if len(weights.step_S) == 1:
        plot.set_xticks(weights.step_S)
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

    Beside it, pale, the cosine of 2 pi f (a + b - c) / P that fits it best; then what neurons of no
    frequency add, and at the foot the sum, the logits of the network: the cosines meet at the right answer,
    where a line stands; a dot is the network's answer. All panels have one scale. Raises ValueError where no
    neuron has a frequency, a weight is not finite, or a or b is not one of 0 to P - 1.
    """
    if not (0 <= a < modulus and 0 <= b < modulus):
        raise ValueError(f"a = {a} and b = {b}: give two of 0 to {modulus - 1}")
    need_numbers(w_in, w_out)
    pairs_N2 = np.array([[a, b]])
    answer = (a + b) % modulus
    answers = np.arange(modulus)
    parts = {
        frequency: (contribution(w_in, w_out, pairs_N2, frequency)[0], len(members))
        for frequency, members in groups(w_in, modulus).items()
    }
    if not any(parts):
        raise ValueError("there is nothing to draw: no neuron has a frequency")
    sum_P = logits(w_in, w_out, pairs_N2)[0]
    span = max(float(np.ptp(logits_P)) for logits_P, _ in parts.values()) or 1.0
    # Inches of one logit: the sum may be several times as high as a part, and the page has an end.
    scale = min(PART / span, WHOLE / (float(np.ptp(sum_P)) or 1.0))
    bar = _round(0.4 / scale)
    figure, plots = page(
        title,
        f"logits of {a} + {b} = {answer} mod {modulus} by frequency, all on one scale: each bar is {bar:g}\n"
        "pale: the cosine that fits; orange dot: the network's answer",
        rows=[(0.14, 1.1 * PART)] * len(parts) + [(0.14, 1.1 * float(np.ptp(sum_P)) * scale + 0.2)],
        width=5.2,
        left=1.15,
        right=0.3,
        foot=0.4,
    )
    fine = np.linspace(0, modulus - 1, FINE * (modulus - 1) + 1)
    drawn = [*((_name(f), plural(count, "neuron"), f, part_P) for f, (part_P, count) in parts.items())]
    drawn.append(("their sum", f"largest at {sum_P.argmax()}", 0, sum_P))
    for plot, (name, below, frequency, logits_P) in zip(plots, drawn, strict=True):
        bare(plot)
        if frequency:
            phase_P, phase = (2 * np.pi * frequency * (answer - c) / modulus for c in (answers, fine))
            fitted = logits_P.mean() + 2 / modulus * (logits_P @ np.cos(phase_P)) * np.cos(phase)
            plot.plot(fine, fitted, color=COSINE, linewidth=3, alpha=0.55)
        plot.plot(answers, logits_P, color=INK, linewidth=0.8, marker="o", markersize=1.6)
        high = plot.get_window_extent().height / figure.dpi / scale / 2
        middle = (float(logits_P.min()) + float(logits_P.max())) / 2
        plot.set(xlim=(-0.5, modulus - 0.5), ylim=(middle - high, middle + high))
        plot.axvline(answer, color=INPUT_B, linewidth=0.9, alpha=0.7, zorder=0)
        _label(plot, name, below)
        _bar(plot, middle, bar)
    plots[-1].plot([sum_P.argmax()], [sum_P.max()], "o", color=INPUT_B, markersize=5)
    plots[-1].set_xticks(sorted({0, modulus - 1, answer}))
    plots[-1].set_xlabel("answer c", size=9, color=INK, labelpad=3)
    return figure


def _round(number: float) -> float:
    """The largest of 1, 2, 5, 10, ... that is at most a number over 0."""
    power = 10.0 ** np.floor(np.log10(number))
    return float(power * max(digit for digit in (1, 2, 5) if digit * power <= number))


def _bar(plot: Axes, middle: float, size: float) -> None:
    """A bar of so many logits at the right of a panel, with its number."""
    at = plot.get_yaxis_transform()
    ends = [middle - size / 2, middle + size / 2]
    plot.plot([1.01, 1.01], ends, color=PALE_INK, linewidth=1.2, transform=at, clip_on=False, label="scale")
    plot.text(1.02, middle, f"{size:g}", size=8, color=PALE_INK, va="center", transform=at)


def _name(frequency: int) -> str:
    return f"frequency {frequency}" if frequency else "no frequency"


def _edges(step_S: np.ndarray) -> np.ndarray:
    """Where the columns of S snapshots begin and end, (S, 2): halfway to their neighbours if near,
    never wider than WIDEST of all steps. A snapshot alone is one step wide.
    """
    steps_S = np.asarray(step_S, float)
    most = WIDEST / 2 * (steps_S[-1] - steps_S[0]) if len(steps_S) > 1 else 0.5
    half = np.minimum(np.diff(steps_S) / 2, most)
    before_S, after_S = np.concatenate([half[:1], half]), np.concatenate([half, half[-1:]])
    if not half.size:
        before_S = after_S = np.array([most])
    return np.stack([steps_S - before_S, steps_S + after_S], axis=1)


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
