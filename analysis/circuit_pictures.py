"""Pictures of the circuits that add: points on circles, as trained and as constructed, and which frequencies
the runs of a sweep use.

They are E3, E5 and E7 of "Do Machine Learning Models Memorize or Generalize?" (Pearce et al., 2023).
"""

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Patch
from matplotlib.ticker import MaxNLocator

from analysis.arrange import rows_of
from analysis.constructed import accuracy, constructed
from analysis.fourier import basis, frequencies
from analysis.layout import INPUT_A, INPUT_B, RULE, bare, head, mosaic, need_numbers, page
from analysis.load import need
from analysis.steps import ACCURACY
from analysis.style import INK, PALE_INK, plain_style
from analysis.words import plural

MOST_COLUMNS = 6
GENERALIZED, OTHERS = "#5BA3D0", "#cfcfca"
THREAD = "#9a9a95"
SCALES = "each panel has its own scale: r is the radius of its pale circle, the mean"

# (cos, sin) points in the order in which they are joined: those of w_in, (K, 2) each, of one input shared by
# a and b or of a and of b; and those of w_out.
Star = tuple[Sequence[np.ndarray], np.ndarray]


@plain_style()
def stars(w_in: np.ndarray, w_out: np.ndarray, modulus: int, title: str = "") -> Figure:
    """The neurons of each frequency on a circle: their (cos, sin) coefficients in w_in and, below, w_out.

    Neurons are joined in the order of their phases in w_in, and have the same colour in both: in w_out the
    phases turn twice as fast, so the same thread draws a star. w_in: (P, H), or (2P, H) with a circle for a
    and one for b; w_out: (H, P). Each panel is scaled to its points. Raises ValueError where no neuron has a
    frequency or a weight is not finite.
    """
    need_numbers(w_in, w_out)
    columns = {}
    for frequency, members in frequencies(w_in, modulus).items():
        inputs = [w_PH[:, members] for w_PH in np.split(w_in, len(w_in) // modulus)]
        columns[f"frequency {frequency}"] = _star(inputs, w_out[members], modulus, frequency)
    if not columns:
        raise ValueError("there is nothing to draw: no neuron has a frequency")
    caption = "cosine and sine of each neuron, joined in the order of their phases"
    return _draw(columns, title, caption if len(w_in) == modulus else f"{caption}; blue: input a, orange: b")


@plain_style()
def constructed_circle(neurons_list: Sequence[int], modulus: int, title: str = "") -> Figure:
    """The solution without training: N neurons evenly on a circle in w_in, turning twice as fast in w_out.

    A column for each N, with the accuracy over all pairs. Raises ValueError where `neurons_list` is empty.
    """
    if not neurons_list:
        raise ValueError("there is nothing to draw: neurons_list is empty")
    columns = {}
    for count in neurons_list:
        w_in_PH, w_out_HP = constructed(count, modulus)
        name = f"{plural(count, 'neuron')} · {_percent(accuracy(count, modulus))}"
        columns[name] = _star([w_in_PH], w_out_HP, modulus, 1)
    return _draw(columns, title, f"accuracy over all pairs mod {modulus}")


@plain_style()
def frequency_distribution(circuits: pd.DataFrame, title: str = "") -> Figure:
    """How many frequencies a run uses, and how many runs use each: those that generalised and the others.

    `circuits`: a row per run with its modulus, n_frequencies, frequencies (a text such as "4 5 7 26") and
    generalize_step, missing where it did not generalise. Runs of unknown n_frequencies are left out. Raises
    ValueError where a column is missing, no run is left, or they have several moduli.
    """
    need(circuits, ["frequencies", "n_frequencies", "generalize_step", "modulus"], "a table of circuits")
    circuits = circuits[circuits["n_frequencies"].notna()].reset_index(drop=True)
    if circuits.empty:
        raise ValueError("there are no runs to draw: the frequencies of none are known")
    moduli = sorted(circuits["modulus"].unique())
    if len(moduli) > 1:
        raise ValueError(f"modulus has the values {', '.join(map(str, moduli))}; filter the table to one")
    counts = circuits["n_frequencies"].astype(int)
    used = circuits["frequencies"].fillna("").str.split().explode().dropna().astype(int)
    panels = {
        "number of frequencies in a run": (counts, np.arange(counts.max() + 1)),
        "frequency": (used, np.arange(1, (int(moduli[0]) - 1) // 2 + 1)),
    }
    generalized = circuits["generalize_step"].notna()
    kinds = {"generalised": (generalized, GENERALIZED), "not generalised": (~generalized, OTHERS)}
    figure, plots = page(
        title,
        f"generalised: a test accuracy of {100 * ACCURACY:g} % or more at a logged step",
        [[name] for name in panels],
        width=6,
        heights=[1.5, 1.5],
        keys={f"{kind} {of.sum():,}": Patch(color=colour) for kind, (of, colour) in kinds.items()},
    )
    for name, (values, bins) in panels.items():
        plots[name].hist(
            # A run has several rows in `used`: the index says whose they are.
            [values[of[values.index].to_numpy()] for of, _ in kinds.values()],
            [*(bins - 0.5), bins[-1] + 0.5],
            stacked=True,
            rwidth=0.8,
            color=[colour for _, colour in kinds.values()],
        )
        plots[name].set_xlim(bins[0] - 0.6, bins[-1] + 0.6)
        plots[name].set_xlabel(name, size=9, color=INK)
        plots[name].xaxis.set_major_locator(MaxNLocator(12, integer=True))
        plots[name].yaxis.set_major_locator(MaxNLocator(4, integer=True))
        plots[name].spines["left"].set_visible(False)
        head(plots[name], "runs")
    return figure


def _star(inputs: Sequence[np.ndarray], w_out_KP: np.ndarray, modulus: int, frequency: int) -> Star:
    cos_sin_2P = basis(modulus)[[2 * frequency - 1, 2 * frequency]]
    return [(cos_sin_2P @ w_PK).T for w_PK in inputs], w_out_KP @ cos_sin_2P.T


def _draw(columns: Mapping[str, Star], title: str, caption: str) -> Figure:
    """Circles above stars, a column each; after MOST_COLUMNS a new pair of rows."""
    spots = rows_of(len(columns), len(columns), MOST_COLUMNS)
    figure, plots = page(
        title,
        f"{caption}\n{SCALES}",
        mosaic(spots, ("w_in", "w_out")),
        width=1.5,
        heights=[1.2, 1.2] * (spots[-1][0] + 1),
        compress=True,
    )
    for index, (name, (inputs, output_K2)) in enumerate(columns.items()):
        circle, star = plots[f"{index} w_in"], plots[f"{index} w_out"]
        _thread(circle, inputs, (THREAD,) if len(inputs) == 1 else (INPUT_A, INPUT_B))
        _thread(star, [output_K2], (THREAD,))
        head(circle, name)
        if spots[index][1] == 0:
            circle.set_ylabel("w_in", size=9, color=PALE_INK)
            star.set_ylabel("w_out", size=9, color=PALE_INK)
    return figure


def _thread(plot: Axes, threads: Sequence[np.ndarray], colours: Sequence[str]) -> None:
    """Points (K, 2) in their order, each thread closed, around a pale circle of their mean radius.

    Their colours go once around the wheel, in that order.
    """
    bare(plot)
    out_N = np.linalg.norm(np.concatenate(threads), axis=1)
    plot.add_patch(Circle((0, 0), out_N.mean(), fill=False, edgecolor=RULE, linewidth=0.8, zorder=0))
    for points_K2, colour in zip(threads, colours, strict=True):
        closed = np.concatenate([points_K2, points_K2[:1]])
        plot.plot(*closed.T, color=colour, linewidth=0.9, label="thread", zorder=1)
        wheel = 0.8 * mpl.colormaps["hsv"](np.arange(len(points_K2)) / len(points_K2))[:, :3]
        plot.scatter(
            points_K2[:, 0], points_K2[:, 1], s=22, c=wheel, edgecolors="white", linewidths=0.6, zorder=2
        )
    plot.text(1, 0, f"r {out_N.mean():.3g}", size=8, color=PALE_INK, ha="right", transform=plot.transAxes)
    end = 1.12 * (out_N.max() or 1)
    plot.set(xlim=(-end, end), ylim=(-end, end), aspect="equal")


def _percent(share: float) -> str:
    """`100 %` only where all is right."""
    return "100 %" if share == 1 else f"{min(100 * share, 99.9):.1f} %"
