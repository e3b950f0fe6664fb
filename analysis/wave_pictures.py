"""Pictures of modular addition over its inputs and outputs: the waves of neurons, their frequencies over
training, and how the frequencies add up to an answer.

They are E3 of "Do Machine Learning Models Memorize or Generalize?" (Pearce et al., 2023).
P is the modulus; w_in has shape (P, H), shared by a and b, or (2P, H), the rows of a before those of b.
"""

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from analysis.arrange import rows_of
from analysis.fourier import contribution, energies, groups, logits
from analysis.layout import (
    INPUT_A,
    INPUT_B,
    RULE,
    UNKNOWN,
    head,
    key_axis,
    mosaic,
    need_numbers,
    page,
    step_axis,
)
from analysis.load import Weights
from analysis.style import INK, plain_style
from analysis.words import plural

MOST_COLUMNS = 3
COSINE = "#e3b23c"
PART, WHOLE = 0.5, 3.5  # inches: the highest part of the logits, and their sum at most
FINE = 8  # points of a cosine from one answer to the next
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
    spots = rows_of(len(by_frequency), len(by_frequency), MOST_COLUMNS)
    what = f"weights of the inputs n{'' if tied else ' of a and of b'}, a line for each neuron"
    order = f"from left to right f n mod {modulus}, in which a wave of frequency f is one period"
    sides = {"input a": INPUT_A, "input b": INPUT_B}
    figure, plots = page(
        title,
        f"{what}\n{order}{'; n where there is none' if 0 in by_frequency else ''}",
        mosaic(spots),
        width=2.8,
        heights=[1.05] * (spots[-1][0] + 1),
        keys={} if tied else {name: Line2D([], [], color=colour) for name, colour in sides.items()},
    )
    largest = 1.05 * float(np.abs(w_in).max()) or 1.0
    panels = zip(plots.values(), spots, by_frequency.items(), strict=True)
    for plot, (row, column), (frequency, members) in panels:
        plot.axhline(0, color=RULE, linewidth=0.8, zorder=0)
        turned_P = (frequency or 1) * np.arange(modulus) % modulus
        order_P = np.argsort(turned_P, kind="stable")
        for w_PH, colour in zip(np.split(w_in, len(w_in) // modulus), sides.values(), strict=False):
            drawn_PK = w_PH[order_P][:, members]
            plot.plot(turned_P[order_P], drawn_PK, color=colour, linewidth=0.7, alpha=0.75)
        plot.spines["bottom"].set_visible(False)
        plot.set(xlim=(0, modulus - 1), ylim=(-largest, largest))
        plot.set_xticks([] if (row + 1, column) in spots else [0, modulus - 1])
        plot.yaxis.set_major_locator(MaxNLocator(3, symmetric=True))
        plot.tick_params(labelleft=column == 0)
        head(plot, f"{_name(frequency)} · {plural(len(members), 'neuron')}")
    return figure


@plain_style()
def coefficients_over_training(weights: Weights, modulus: int, title: str = "") -> Figure:
    """Which frequencies w_in is made of, over training: of each snapshot's energy the share of each.

    The energy of a frequency is the sum of squares of its Fourier coefficients, of sine and cosine, of all
    neurons (and of both inputs). Frequencies with a share of 4 % or more at the last snapshot are named.
    Snapshots that are no numbers are grey. Raises ValueError where there are no snapshots.
    """
    w_in_SDH = weights.arrays["w_in"]
    if not w_in_SDH.size:
        raise ValueError("there are no weights to draw: no snapshots")
    known_S = np.isfinite(w_in_SDH).all(axis=(1, 2))
    energy_FS = np.stack([energies(w_in, modulus) for w_in in np.nan_to_num(w_in_SDH)], axis=1)
    share_FS = np.ma.array(energy_FS / np.maximum(energy_FS.sum(axis=0), np.finfo(float).tiny))
    share_FS[:, ~known_S] = np.ma.masked
    many = len(share_FS)
    figure, plots = page(
        title,
        "share of each frequency in the energy of the input weights, at each of "
        f"{plural(len(known_S), 'snapshot')}; named are those of {100 * USED:g} % or more at the last",
        [[0]],
        width=7,
        heights=[float(np.clip(0.12 * many, 1.6, 8))],
    )
    image = plots[0].pcolormesh(
        weights.step_S,
        np.arange(many),
        share_FS,
        cmap=mpl.colormaps["BuPu"].with_extremes(bad=UNKNOWN),
        vmin=0,
        shading="nearest",
        rasterized=True,
    )
    step_axis(plots[0], weights.step_S)
    used = np.flatnonzero(share_FS[:, -1].filled(0) >= USED)
    plots[0].set_yticks(used, [str(frequency) if frequency else "constant" for frequency in used])
    plots[0].set_ylabel("frequency", size=9, color=INK)
    key_axis(
        figure, image, list(plots.values()), ticks=MaxNLocator(4), format=PercentFormatter(1, symbol=" %")
    )
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
    members = groups(w_in, modulus)
    if not any(members):
        raise ValueError("there is nothing to draw: no neuron has a frequency")
    sum_P = logits(w_in, w_out, pairs_N2)[0]
    parts = {f: contribution(w_in, w_out, pairs_N2, f)[0] for f in members}
    drawn = [(f"{_name(f)} · {plural(len(members[f]), 'neuron')}", f, part_P) for f, part_P in parts.items()]
    drawn.append((f"their sum, largest at {sum_P.argmax()}", 0, sum_P))
    # Panels are as high as their logits reach, so that all have one scale; the page has an end.
    part, whole = (1.2 * float(max(map(np.ptp, some))) or 1.0 for some in (parts.values(), [sum_P]))
    scale = min(PART / part, WHOLE / whole)
    figure, plots = page(
        title,
        f"logits of {a} + {b} = {answer} mod {modulus} by frequency, all on one scale\n"
        "pale: the cosine that fits; orange dot: the network's answer",
        [[name] for name, *_ in drawn],
        width=6,
        heights=[part * scale] * len(parts) + [whole * scale],
        room=0.3,
    )
    fine = np.linspace(0, modulus - 1, FINE * (modulus - 1) + 1)
    for name, frequency, logits_P in drawn:
        plot = plots[name]
        if frequency:
            phase_P, phase = (2 * np.pi * frequency * (answer - c) / modulus for c in (answers, fine))
            fitted = logits_P.mean() + 2 / modulus * (logits_P @ np.cos(phase_P)) * np.cos(phase)
            plot.plot(fine, fitted, color=COSINE, linewidth=3, alpha=0.55)
        plot.plot(answers, logits_P, color=INK, linewidth=0.8, marker="o", markersize=1.6)
        plot.axvline(answer, color=INPUT_B, linewidth=0.9, alpha=0.7, zorder=0)
        middle = (float(logits_P.min()) + float(logits_P.max())) / 2
        half = (whole if logits_P is sum_P else part) / 2
        plot.set(xlim=(-0.5, modulus - 0.5), ylim=(middle - half, middle + half), xticks=[])
        plot.yaxis.set_major_locator(MaxNLocator(2))
        plot.spines["bottom"].set_visible(False)
        head(plot, name)
    plot.plot([sum_P.argmax()], [sum_P.max()], "o", color=INPUT_B, markersize=5)
    plot.set_xticks(sorted({0, modulus - 1, answer}))
    plot.set_xlabel("answer c", size=9, color=INK)
    return figure


def _name(frequency: int) -> str:
    return f"frequency {frequency}" if frequency else "no frequency"
