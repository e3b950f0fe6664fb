"""Pictures of the weights over training, from first to last.

Those of parity are E2 of "Do Machine Learning Models Memorize or Generalize?" (Pearce et al., 2023): one
parity model in detail.
"""

from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.fourier import neurons
from analysis.layout import RULE, UNKNOWN, bare, head, key_axis, page, step_axis, thin_lines
from analysis.load import Weights
from analysis.parity import digits
from analysis.style import INK, PALE_INK, plain_style
from analysis.words import plural

# Three colours that differ for every kind of colour blindness (Okabe and Ito), the last in black.
KINDS = {"signal": "#0072B2", "distractors": "#DD8A00", "bias": "#222222"}
SNAPSHOTS = 6
MOST_ARRAYS = 8
LARGEST = {-1: "− largest", 0: "0", 1: "+ largest"}  # on the bar of colours


@plain_style()
def weights_over_training(weights: Weights, n_parity_bits: int | None = None, title: str = "") -> Figure:
    """Heat maps of w_in, a panel for each of about six snapshots from first to last. Each has its own scale,
    whose end is its largest weight: those of the first steps are small.

    With `n_parity_bits` of a parity network its rows are named; neurons stand in order of their size at the
    last snapshot. Otherwise w_in (S, P, H) or (S, 2P, H) is that of modular addition, and neurons stand in
    order of frequency and phase. Raises ValueError where there are no snapshots, or w_in does not fit
    `n_parity_bits`.
    """
    w_in_SDH = weights.arrays["w_in"]
    rows = w_in_SDH.shape[1]
    groups = {} if n_parity_bits is None else digits(w_in_SDH, n_parity_bits)
    if not w_in_SDH.size:
        raise ValueError("there are no weights to draw: no snapshots")
    last_DH = np.nan_to_num(w_in_SDH[-1], posinf=0, neginf=0)
    if groups:
        order_H = np.argsort(-np.linalg.norm(last_DH, axis=0), kind="stable")
        across = "columns are neurons, the largest at the last step first"
    else:
        modulus = weights.arrays["w_out"].shape[-1]
        order_H = neurons(last_DH, modulus)["neuron"].to_numpy()
        across = "columns are neurons, in the order of their frequencies and phases at the last step"
        groups = {"input": slice(0, rows)}
        if rows == 2 * modulus:
            groups = {"input a": slice(0, modulus), "input b": slice(modulus, rows)}
    figure, (first, *others) = _maps(weights.step_S, {"": w_in_SDH[:, :, order_H]}, title, across)
    first.set_yticks([(of.start + of.stop - 1) / 2 for of in groups.values()], list(groups))
    for name, label in zip(groups, first.get_yticklabels(), strict=True):
        label.set_color(KINDS.get(name, INK))
    for plot in (first, *others):
        for group in list(groups.values())[1:]:
            plot.axhline(group.start - 0.5, color="white", linewidth=2.5)
    return figure


@plain_style()
def arrays_over_training(weights: Weights, title: str = "") -> Figure:
    """Heat maps of all weights of any network: a row of panels for each array, a column for each of about six
    snapshots from first to last. An array's last axis goes across, all others down; each panel has its own
    scale. Of more than MOST_ARRAYS arrays the largest are drawn.

    Raises ValueError where there are no snapshots.
    """
    arrays = {
        name: a_S.reshape(len(a_S), -1, a_S.shape[-1] if a_S.ndim > 1 else 1)
        for name, a_S in weights.arrays.items()
    }
    if not arrays or not len(weights.step_S):
        raise ValueError("there are no weights to draw: no snapshots")
    largest = sorted(arrays, key=lambda name: -arrays[name].size)[:MOST_ARRAYS]
    said = f"the {len(largest)} largest of {len(arrays)} arrays" if len(arrays) > len(largest) else ""
    figure, _ = _maps(weights.step_S, {name: arrays[name] for name in arrays if name in largest}, title, said)
    return figure


def _maps(
    step_S: np.ndarray, arrays: Mapping[str, np.ndarray], title: str, said: str
) -> tuple[Figure, list[Axes]]:
    """Heat maps: a row of panels for each of some arrays (S, D, H), a column for each of some snapshots."""
    chosen = np.unique(np.linspace(0, len(step_S) - 1, SNAPSHOTS).round().astype(int))
    most = 3.4 if len(arrays) == 1 else 1.6
    figure, plots = page(
        title,
        f"{said}\neach panel has its own scale: below it is its largest weight".lstrip(),
        [[f"{name} {place}" for place in chosen] for name in arrays],
        width=float(np.clip(0.05 * max(a_S.shape[2] for a_S in arrays.values()), 1, 1.6)),
        heights=[float(np.clip(0.085 * a_S.shape[1], 0.3, most)) for a_S in arrays.values()],
        room=0.6,
    )
    for name, a_S in arrays.items():
        for place in chosen:
            plot = plots[f"{name} {place}"]
            w = np.ma.masked_invalid(a_S[place])
            end = float(np.abs(w.compressed()).max(initial=0))
            # In shares of the largest, so that all panels have one bar of colours.
            colours = mpl.colormaps["RdBu_r"].with_extremes(bad=UNKNOWN)
            image = plot.imshow(w / (end or 1), cmap=colours, vmin=-1, vmax=1, aspect="auto")
            bare(plot)
            said = f"± {end:.2g}" if w.count() else "no numbers"
            plot.set_xlabel(said, size=8, color=PALE_INK, labelpad=3)
            head(plot, f"{name}\nstep {step_S[place]:,}".lstrip() if place == 0 else f"{step_S[place]:,}")
    key_axis(figure, image, list(plots.values()), ticks=[-1, 0, 1], format=LARGEST.get)
    return figure, list(plots.values())


@plain_style()
def trajectories(weights: Weights, n_parity_bits: int, title: str = "") -> Figure:
    """Every weight of w_in (S, D, H) over training, a line each, coloured by what its digit is.

    Raises ValueError where there are no snapshots, or w_in does not fit `n_parity_bits`.
    """
    w_in_SDH = weights.arrays["w_in"]
    groups = digits(w_in_SDH, n_parity_bits)
    if not w_in_SDH.size:
        raise ValueError("there are no weights to draw: no snapshots")
    keys = {}
    for kind, of in groups.items():
        count = "" if kind == "bias" else f", {plural(of.stop - of.start, 'digit')}"
        keys[f"{kind}{count}"] = Line2D([], [], color=KINDS[kind], linewidth=2)
    figure, plots = page(title, "", [[0]], width=6.6, heights=[3.2], keys=keys)
    plot = plots[0]
    for kind in ("distractors", "bias", "signal"):  # the few lines on top of the many
        w_SK = w_in_SDH[:, groups[kind]].reshape(len(w_in_SDH), -1).astype(float)
        w_SK[~np.isfinite(w_SK)] = np.nan
        many = kind == "distractors"
        thin_lines(
            plot,
            [np.column_stack([weights.step_S, w_S]) for w_S in w_SK.T],
            KINDS[kind],
            kind,
            linewidth=0.5 if many else 0.8,
            alpha=0.35 if many else 0.8,
            rasterized=True,  # thousands of lines would make an SVG of megabytes
        )
    plot.axhline(0, color=RULE, linewidth=0.8, zorder=0)
    head(plot, "weights of the input layer")
    step_axis(plot, weights.step_S)
    return figure
