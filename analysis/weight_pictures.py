"""Pictures of the input weights over training, from first to last.

They are E2 of "Do Machine Learning Models Memorize or Generalize?" (Pearce et al., 2023): one parity model
in detail. Modular addition has the first as well.
"""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D

from analysis.fourier import neurons
from analysis.panels import (
    RULE,
    UNKNOWN,
    bare,
    head,
    page,
    step_axis,
    thin_lines,
)
from analysis.parity import digits
from analysis.read import Weights
from analysis.style import INK, PALE_INK, plain_style
from analysis.words import plural

# Three colours that differ for every kind of colour blindness (Okabe and Ito), the last in black.
KINDS = {"signal": "#0072B2", "distractors": "#DD8A00", "bias": "#222222"}
SNAPSHOTS = 6
MOST_ARRAYS = 8
WEIGHT_COLOURS = "RdBu_r"


@plain_style()
def weights_over_training(
    weights: Weights, steps: Sequence[int] | None = None, n_parity_bits: int | None = None, title: str = ""
) -> Figure:
    """Heat maps of w_in, a panel for each of `steps`: of the snapshots nearest to them, by default about six
    from first to last. Each step has its own scale, whose end is its largest weight: those of the first steps
    are small.

    With `n_parity_bits` of a parity network its rows are named; neurons stand in order of their size at the
    last snapshot drawn. Otherwise w_in (S, P, H) or (S, 2P, H) is that of modular addition, and neurons stand
    in order of frequency and phase. Raises ValueError where there are no snapshots or no steps, or w_in does
    not fit `n_parity_bits`.
    """
    w_in_SDH = weights.arrays["w_in"]
    if steps is None:
        chosen = np.unique(np.linspace(0, len(w_in_SDH) - 1, SNAPSHOTS).round().astype(int))
    else:
        chosen = np.unique([np.abs(weights.step_S - step).argmin() for step in steps])
    if not w_in_SDH.size or not chosen.size:
        raise ValueError("there are no weights to draw: no snapshots, or no steps")
    rows, size = w_in_SDH.shape[1:]
    last_DH = np.nan_to_num(w_in_SDH[chosen[-1]], posinf=0, neginf=0)
    groups = {} if n_parity_bits is None else digits(w_in_SDH, n_parity_bits)
    if groups:
        order_H = np.argsort(-np.linalg.norm(last_DH, axis=0), kind="stable")
        across = "columns are neurons, the largest at the last step first"
    else:
        modulus = _modulus(weights)
        order_H = neurons(last_DH, modulus)["neuron"].to_numpy()
        across = "columns are neurons, in the order of their frequencies and phases at the last step"
        groups = {"input": slice(0, rows)}
        if rows == 2 * modulus:
            groups = {"input a": slice(0, modulus), "input b": slice(modulus, rows)}
    drawn_SDH = np.ma.masked_invalid(w_in_SDH[chosen][:, :, order_H])

    figure, plots = page(
        title,
        f"{across}\neach step has its own scale: the number below is its largest weight",
        rows=[(0.3, float(np.clip(0.085 * rows, 1.2, 3.4)))],
        columns=len(chosen),
        width=float(np.clip(0.05 * size, 0.85, 1.45)),
        left=0.85 if n_parity_bits is not None else 0.6,
        right=0.85,
        gap=0.1,
        foot=0.25,
    )
    for plot, place, w_DH in zip(plots, chosen, drawn_SDH, strict=True):
        colours = mpl.colormaps[WEIGHT_COLOURS].with_extremes(bad=UNKNOWN)
        largest = float(np.abs(w_DH.compressed()).max(initial=0))
        end = largest or 1.0
        image = plot.imshow(w_DH, cmap=colours, vmin=-end, vmax=end, aspect="auto")
        bare(plot)
        plot.set_xlabel(
            f"± {largest:.2g}" if w_DH.count() else "no numbers", size=8, color=PALE_INK, labelpad=4
        )
        head(plot, f"{'step ' if plot is plots[0] else ''}{weights.step_S[place]:,}")
        for group in list(groups.values())[1:]:
            plot.axhline(group.start - 0.5, color="white", linewidth=2.5)
    for name, group in groups.items():
        _row_name(plots[0], name, (group.start + group.stop) / 2 - 0.5)
    _scale(figure, plots[-1], image, end)
    return figure


def _row_name(plot: Axes, name: str, row: float) -> None:
    """What some rows are, to the left of them; `row`: their middle."""
    plot.annotate(
        name,
        (0, row),
        xycoords=("axes fraction", "data"),
        xytext=(-5, 0),
        textcoords="offset points",
        ha="right",
        va="center",
        size=8,
        color=KINDS.get(name, INK),
    )


def _scale(figure: Figure, plot: Axes, image: AxesImage, end: float) -> None:
    """The colours of weights from -end to end, beside a plot."""
    key = plot.inset_axes((1.12, 0, 0.07, 1))
    bar = figure.colorbar(image, cax=key, ticks=[-end, 0, end])
    bar.ax.set_yticklabels(["− largest", "0", "+ largest"])
    bar.outline.set_visible(False)
    key.tick_params(length=0, pad=2, labelsize=8, labelcolor=PALE_INK)


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
    largest = sorted(arrays, key=lambda name: -arrays[name][:1].size)[:MOST_ARRAYS]
    drawn = [name for name in arrays if name in largest]
    if not drawn or not len(weights.step_S):
        raise ValueError("there are no weights to draw: no snapshots")
    chosen = np.unique(np.linspace(0, len(weights.step_S) - 1, SNAPSHOTS).round().astype(int))
    left_out = len(arrays) - len(drawn)
    figure, plots = page(
        title,
        "each panel has its own scale: below it the step and its largest weight"
        + (f"\nthe {len(drawn)} largest of {len(arrays)} arrays" if left_out else ""),
        rows=[(0.42, float(np.clip(0.05 * arrays[name].shape[1], 0.3, 1.6))) for name in drawn],
        columns=len(chosen),
        width=1.15,
        left=0.2,
        gap=0.12,
        foot=0.25,
    )
    colours = mpl.colormaps[WEIGHT_COLOURS].with_extremes(bad=UNKNOWN)
    for index, plot in enumerate(plots):
        row, column = divmod(index, len(chosen))
        w = np.ma.masked_invalid(arrays[drawn[row]][chosen[column]])
        end = float(np.abs(w.compressed()).max(initial=0))
        plot.imshow(w, cmap=colours, vmin=-(end or 1), vmax=end or 1, aspect="auto")
        bare(plot)
        said = f"± {end:.2g}" if w.count() else "no numbers"
        plot.set_xlabel(
            f"step {weights.step_S[chosen[column]]:,} · {said}", size=8, color=PALE_INK, labelpad=2
        )
        head(plot, "" if column else drawn[row])
    return figure


@plain_style()
def trajectories(weights: Weights, n_parity_bits: int, title: str = "") -> Figure:
    """Every weight of w_in (S, D, H) over training, a line each, coloured by what its digit is.

    Raises ValueError where there are no snapshots, or w_in does not fit `n_parity_bits`.
    """
    w_in_SDH = weights.arrays["w_in"]
    groups = digits(w_in_SDH, n_parity_bits)
    if not w_in_SDH.size:
        raise ValueError("there are no weights to draw: no snapshots")
    figure, (plot,) = page(title, rows=[(0.3, 3.2)], width=6.2, left=0.45)
    handles = []
    for kind in ("distractors", "bias", "signal"):  # the few lines on top of the many
        w_SK = w_in_SDH[:, groups[kind]].reshape(len(w_in_SDH), -1).astype(float)
        w_SK[~np.isfinite(w_SK)] = np.nan
        points_KS2 = np.stack(np.broadcast_arrays(weights.step_S[:, None], w_SK), axis=-1).swapaxes(0, 1)
        many = kind == "distractors"
        thin_lines(
            plot,
            list(points_KS2),
            KINDS[kind],
            kind,
            linewidth=0.5 if many else 0.8,
            alpha=0.35 if many else 0.8,
            rasterized=True,  # thousands of lines would make an SVG of megabytes
        )
        many_rows = groups[kind].stop - groups[kind].start
        count = "" if kind == "bias" else f", {plural(many_rows, 'digit')}"
        handles.append(Line2D([], [], color=KINDS[kind], linewidth=2, label=f"{kind}{count}"))
    largest = float(np.abs(w_in_SDH, where=np.isfinite(w_in_SDH), out=np.zeros(w_in_SDH.shape)).max())
    plot.set_ylim(-1.05 * (largest or 1), 1.05 * (largest or 1))
    plot.axhline(0, color=RULE, linewidth=0.8, zorder=0)
    head(plot, "weights of the input layer")
    step_axis(plot, weights.step_S)
    plot.legend(
        handles=handles[::-1],
        loc="lower right",
        bbox_to_anchor=(1, 1),
        ncols=3,
        frameon=False,
        borderpad=0,
        borderaxespad=0.2,
        handlelength=1,
        handletextpad=0.5,
        columnspacing=1.4,
        fontsize=9,
        labelcolor="linecolor",
    )
    return figure


def _modulus(weights: Weights) -> int:
    """Of modular addition: the classes are the remainders."""
    return int(weights.arrays["w_out"].shape[-1])
