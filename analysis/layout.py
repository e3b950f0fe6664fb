"""What all pictures share: a page of panels with its title, legend and caption, and plain axes."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis as Ruler
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.legend_handler import HandlerTuple
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator, StrMethodFormatter

from analysis.arrange import Axis
from analysis.pixels import ticks
from analysis.style import INK, PALE_INK

TRAIN, TEST = "#9730c9", "#4CB769"  # the article's colours, as are those of the inputs
INPUT_A, INPUT_B = "#2979FF", "#FF6D00"
UNKNOWN = "#dddddd"  # weights that are no numbers: the run has diverged
RULE = "#cfcfca"  # frames and other lines that are not data

LETTER = 0.085  # inches, about the width of a letter of the legend
SMALL_LETTER = 0.066  # the same of the caption, which goes on in another line where there is no more room
MOST_POWERS = 3  # of ten, on a log axis of steps


def page(
    title: str,
    caption: str,
    mosaic: list[list[Any]],
    *,
    width: float,
    heights: Sequence[float],
    room: float = 0.45,
    keys: dict[str, Any] | None = None,
    compress: bool = False,
) -> tuple[Figure, dict[Any, Axes]]:
    """A figure and its panels, by their names in `mosaic`, of which None is an empty place.

    title: of several lines the first stands in bold above the panels, the others before the caption below.
    keys: the legend, label -> what stands before it. In inches, roughly: width, of a column with what belongs
    to it (the page is wider where its title or its legend is); heights, of the panels of each row; room, for
    what stands above and below these. compress: panels of a fixed aspect move together.
    """
    title, *more = title.split("\n")
    caption = "\n".join([*more, caption] if caption else more)
    labels = list(keys or ())
    entry = 0.5 + LETTER * max(map(len, labels), default=0)
    wide = max(len(mosaic[0]) * width + 0.5, 1.5 * LETTER * len(title) + 0.3, min(4, len(labels)) * entry)
    across = max(1, min(len(labels), int(wide / entry)))
    high = (
        sum(heights)
        + room * len(heights)
        + 0.6
        + 0.2 * math.ceil(len(labels) / across)
        + 0.16 * sum(max(1, math.ceil(len(line) * SMALL_LETTER / wide)) for line in caption.split("\n"))
    )
    engine = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.08, compress=compress)
    figure = Figure(figsize=(wide, high), facecolor="white", layout=engine)
    figure.legend(
        list((keys or {}).values()),
        labels,
        handler_map={tuple: HandlerTuple(ndivide=None, pad=0.2)},
        title=title,
        title_fontproperties={"size": 13, "weight": "bold"},
        alignment="left",
        loc="outside upper left",
        borderaxespad=0.6,
        ncols=across,
        frameon=False,
        handlelength=2.4 if any(map(_dashed, (keys or {}).values())) else 1.2,
        handletextpad=0.5,
        fontsize=9,
        labelcolor=INK,
    )
    figure.supxlabel(caption, x=0.1 / wide, ha="left", size=8, color=PALE_INK, wrap=True)
    plots = figure.subplot_mosaic(mosaic, empty_sentinel=None, height_ratios=heights)
    for plot in plots.values():
        plain(plot)
    return figure, plots


def _dashed(key: Any) -> bool:
    """Whether a key is a line that is told by its dashes, for which there must be room."""
    return isinstance(key, Line2D) and key.is_dashed()


def plain(plot: Axes) -> None:
    """Two pale spines, small pale tick labels without ticks."""
    plot.spines[["top", "right"]].set_visible(False)
    plot.spines[["left", "bottom"]].set(color=RULE, linewidth=0.8)
    plot.tick_params(which="both", length=0, pad=3, labelsize=8, labelcolor=PALE_INK)


def ruler(plotted: Ruler, axis: Axis, fine: bool) -> None:
    """The name and the values of an axis: all, or a few round ones where a cell is a pixel."""
    at, texts = ticks(axis.values or [0]) if fine else ([*range(len(axis))], axis.texts)
    if fine and axis.descending:
        at = [len(axis) - 1 - place for place in at]
    plotted.set_ticks(at, labels=texts)
    plotted.set_tick_params(length=3 if fine else 0, color=PALE_INK)
    plotted.set_label_text(axis.name.replace("_", " "), size=9, color=INK)


def bare(plot: Axes) -> None:
    """Neither spines nor ticks."""
    plot.spines[:].set_visible(False)
    plot.set(xticks=[], yticks=[])


def head(plot: Axes, text: str) -> None:
    """The title of a panel, above its left edge."""
    plot.set_title(text, loc="left", size=9, color=INK, pad=4)


def mosaic(spots: Sequence[tuple[int, int]], kinds: Sequence[str] = ("",)) -> list[list[Any]]:
    """The places of panels 0, 1, ... that stand at these (row, column), each with its kinds from above to
    below: their names such as "0 loss", with None at places that are free.
    """
    rows, columns = (range(max(at) + 1) for at in zip(*spots, strict=True))
    number = {spot: index for index, spot in enumerate(spots)}
    return [
        [f"{number[row, column]} {kind}" if (row, column) in number else None for column in columns]
        for row in rows
        for kind in kinds
    ]


def thin_lines(plot: Axes, lines: Sequence[np.ndarray], colour: Any, label: str, **look: Any) -> None:
    """Lines of points (T, 2) of one colour, with gaps at NaN."""
    plot.add_collection(LineCollection(list(lines), colors=colour, label=label, **look))
    plot.autoscale_view()


def step_axis(plot: Axes, steps: np.ndarray, *, name: str = "step", log: bool = False) -> None:
    """The x axis of a panel from the first of `steps` to the last, in numbers such as 10,000.

    log: in powers of ten, linear below the first step over 0, so that step 0 has a place.
    """
    first, last = float(np.min(steps)), float(np.max(steps))
    locator: Any = MaxNLocator(4, integer=True, steps=[1, 2, 2.5, 5, 10])
    if log:
        least = float(np.min(steps[steps > 0]))
        plot.set_xscale("symlog", linthresh=least, linscale=0.3)
        # Between the ends, with room for their labels.
        powers = [10**power for power in range(12) if least <= 10**power <= last / 3]
        every = math.ceil(len(powers) / MOST_POWERS) or 1
        locator = FixedLocator([first, *sorted(powers[::-every]), last])
        plot.xaxis.set_minor_locator(NullLocator())
    plot.set_xlim(first, last if last > first else first + 1)
    plot.xaxis.set_major_locator(locator)
    plot.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    plot.set_xlabel(name, size=9, color=INK, labelpad=3)


def key_axis(figure: Figure, image: ScalarMappable, plots: Sequence[Axes], **how: Any) -> None:
    """What the colours of an image mean, at the right of its panels."""
    bar = figure.colorbar(image, ax=plots, fraction=0.03, pad=0.02, aspect=40, **how)
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0, pad=3, labelsize=8, labelcolor=PALE_INK)


def need_numbers(*arrays: np.ndarray) -> None:
    """Raise ValueError where a weight is not finite."""
    if not all(np.isfinite(array).all() for array in arrays):
        raise ValueError("there are weights that are no numbers: the run has diverged")
