"""The phase diagram: every run a mark of its phase, at the place of its hyperparameters.

After the figure of "Do Machine Learning Models Memorize or Generalize?" (Pearce et al., 2023).
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, PathPatch
from matplotlib.path import Path as Outline

from analysis.expected import with_missing
from analysis.phases import looks
from analysis.pixels import pixels
from analysis.places import MAX_SLOTS, Axis, Places, arrange
from analysis.read import need
from analysis.style import (
    HATCHES,
    INK,
    MARGIN,
    MARKERS,
    MISSING,
    PALE_INK,
    TILE,
    plain_style,
    text_width,
)
from analysis.words import definition, plural
from grok_sweep.core.look import Look

# Lengths in inches. The figure is laid out by hand, so that dots fill their cells whatever the grid.
GAP = 0.28
TITLE, LEGEND, LINE = 0.34, 0.32, 0.19
GRID, SMALLEST, LARGEST = 2.1, 0.12, 0.75  # a panel, and the bounds of a cell

ABSENT = Look(MISSING, "circle", MISSING)  # a run that is not there yet
TILE_SHARE = 0.9  # of a cell's width; the rest is the gap to its neighbour
BLOCK_SHARE = 0.94 * TILE_SHARE  # the same for the block of dots
SMALLEST_DOT = 2.5  # points from dot to dot below which shares are drawn


def phase_diagram(
    phases: pd.DataFrame,
    *,
    panels: str | Sequence[str] | None = None,
    x: str | None = None,
    y: str | None = None,
    title: str | None = None,
    expected: pd.DataFrame | None = None,
) -> Figure:
    """Draw `phases` (see `classify`): a panel for each combination of `panels`, in each a grid of x by y.

    In a cell each seed has a dot in the colour and shape of its phase, at the same place in every cell.
    `expected`: a row for each run that the sweep has in the end, its axes and `seed` (see
    `analysis.expected_runs`); one that is not in `phases` yet is a faint point. Above 64 seeds, or where dots
    would be too small, a cell is filled by the shares of its phases. Where x or y has more than 64 values a
    cell is a pixel (see `analysis.pixels`).

    By default x is hidden_size, from large to small, y train_size, and the panels are all other axes that
    vary, or weight_decay. Where x or y would not vary another axis takes its place, weight_decay last. Axes
    named by the caller are taken as they are: where `panels` is named, cells pool what is left over, and the
    caption says so. The default title is the name of the sweep.

    Raises ValueError where the table is empty, a column is missing or named twice, there would be more than
    30 panels, or x or y has more than 8192 values.
    """
    need(phases, ["phase", "seed"], "a table of phases")
    if phases.empty:
        raise ValueError("there are no runs to draw: the table of phases is empty")
    if expected is not None:
        phases = with_missing(phases, expected)
    places = arrange(phases, [panels] if isinstance(panels, str) else panels, x, y)
    if title is None:
        title = ", ".join(map(str, phases["sweep"].unique()[:3])) if "sweep" in phases else ""
    if places.fine:
        return pixels(phases, places, title)
    with plain_style():
        return _draw(phases, places, title)


def _draw(phases: pd.DataFrame, places: Places, title: str) -> Figure:
    panel, across, up, columns = places.panel, places.x, places.y, places.columns
    cell = float(np.clip(GRID / max(len(across), len(up)), SMALLEST, LARGEST))
    dot = 72 * cell * BLOCK_SHARE / math.ceil(math.sqrt(places.slots))
    dots = places.slots <= MAX_SLOTS and dot >= SMALLEST_DOT

    handles = _legend(phases, dots=dots)
    caption = _caption(phases, dots, places)
    turned = text_width(across.texts) > 0.9 * cell
    below = (text_width(across.texts) if turned else LINE) + LINE + 0.08
    beside = text_width(up.texts) + LINE + 0.12
    head = LINE * (panel.texts[0].count("\n") + 1) if panel.name else 0.0
    wide, high = len(across) * cell, len(up) * cell
    # Panel titles are rarely wider than panels; where they are, panels stand further apart.
    pitch = max(wide, 1.1 * text_width([line for text in panel.texts for line in text.split("\n")])) + GAP
    rows = places.spots[-1][0] + 1

    left = MARGIN + beside
    inner = max(
        columns * pitch - GAP,
        sum(1.15 * text_width([str(handle.get_label())]) + 0.45 for handle in handles),
        1.5 * text_width([title]),
        0.9 * text_width([caption]),
    )
    above = MARGIN + (TITLE if title else 0) + LEGEND
    width = left + inner + MARGIN
    height = above + rows * (head + high + GAP) - GAP + below + LINE + 0.1

    figure = Figure(figsize=(width, height), facecolor="white")
    if title:
        figure.text(left / width, 1 - MARGIN / height, title, va="top", size=13, weight="bold", color=INK)
    figure.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(left / width, 1 - (above - LEGEND) / height),
        ncols=len(handles),
        frameon=False,
        borderpad=0,
        borderaxespad=0,
        handlelength=1,
        handletextpad=0.4,
        columnspacing=1.6,
        fontsize=10,
        labelcolor=INK,
    )
    figure.text(left / width, 0.6 * MARGIN / height, caption, va="bottom", size=8, color=PALE_INK)

    phase = phases["phase"].to_numpy()
    for index, text in enumerate(panel.texts):
        row, column = places.spots[index]
        foot = height - above - row * (head + high + GAP) - head - high
        plot = figure.add_axes(
            ((left + column * pitch) / width, foot / height, wide / width, high / height),
            xlim=(-0.5, len(across) - 0.5),
            ylim=(-0.5, len(up) - 0.5),
            facecolor="none",
        )
        lowest = (row, column) == max(spot for spot in places.spots if spot[1] == column)
        here = np.flatnonzero(panel.places == index)
        cells = sorted(set(zip(across.places[here].tolist(), up.places[here].tolist(), strict=True)))
        _frame(plot, text, across, up, cells, lowest=lowest, first=column == 0, turned=turned)
        if dots:
            _dots(plot, places, here, phase[here], dot, looks(phases))
        else:
            _shares(plot, across.places[here], up.places[here], phase[here], looks(phases))
    return figure


def _legend(phases: pd.DataFrame, dots: bool) -> list[Artist]:
    """A mark and a count for each phase, and for the runs that are not there, if any."""
    handles: list[Artist] = []
    for name, look in looks(phases).items():
        label = f"{name} {int((phases['phase'] == name).sum()):,}"
        if dots:
            handles.append(_marker(label, 8.0, look, 0.7))
        else:
            handles.append(Patch(**_area(look), label=label))
    if missing := int(phases["phase"].isna().sum()):
        handles.append(_marker(f"not finished {missing:,}", 3.0, ABSENT, outline=0))
    return handles


def _area(look: Look) -> dict[str, Any]:
    """How a part of a cell that is in one phase is filled."""
    filled = {"facecolor": look.colour, "edgecolor": look.edge, "hatch": HATCHES[look.mark]}
    return {**filled, "linewidth": 0.5}


def _marker(label: str, size: float, look: Look, outline: float) -> Line2D:
    marker, larger = MARKERS[look.mark]
    return Line2D(
        [],
        [],
        linestyle="none",
        marker=marker,
        markersize=larger * size,
        markerfacecolor=look.colour,
        markeredgecolor=look.edge,
        markeredgewidth=outline,
        label=label,
    )


def _caption(phases: pd.DataFrame, dots: bool, places: Places) -> str:
    """What a reader must know: what a mark is, of how many runs, the definition of the phases, what a cell
    pools.
    """
    mark = "each mark is one run" if dots else "each cell shows the shares of its runs"
    cell_R = places.cell
    finished = np.bincount(cell_R[phases["phase"].notna()], minlength=cell_R.max() + 1)[np.unique(cell_R)]
    least, most = int(finished.min()), int(finished.max())
    runs = plural(most, "run") if least == most else f"{least:,} to {plural(most, 'run')}"
    said = [f"{mark}, {runs} per cell"]
    if by := definition(phases):
        said.append(f"phases: {by}")
    if places.pooled:
        said.append(f"pooled over {', '.join(places.pooled)}")
    return "; ".join(said)


def _frame(
    plot: Axes,
    text: str,
    across: Axis,
    up: Axis,
    cells: Sequence[tuple[int, int]],
    *,
    lowest: bool,
    first: bool,
    turned: bool,
) -> None:
    """Title of one panel and a tile for each of its cells, those that the sweep has; ticks and names only at
    the left and at the foot of the figure.
    """
    plot.set_title(text, size=10, color=INK, pad=5, linespacing=1.3)
    plot.spines[:].set_visible(False)
    plot.tick_params(length=0, pad=2, labelsize=8, labelcolor=PALE_INK)
    plot.set(xticks=[], yticks=[])
    if lowest:
        plot.set_xticks(range(len(across)), across.texts, rotation=90 if turned else 0)
        plot.set_xlabel(across.name.replace("_", " "), size=9, color=INK, labelpad=3)
    if first:
        plot.set_yticks(range(len(up)), up.texts)
        plot.set_ylabel(up.name.replace("_", " "), size=9, color=INK, labelpad=4)
    if not cells:
        return
    # One path for all cells: an SVG is half the size.
    tiles = Outline.make_compound_path(*(Outline(_rectangle(i, j, 0, 1), closed=True) for i, j in cells))
    plot.add_patch(PathPatch(tiles, facecolor=TILE, edgecolor="none", label="cells", zorder=0, clip_on=False))


def _rectangle(i: float, j: float, low: float, high: float) -> np.ndarray:
    """The outline (5 points by x and y, closed) of cell (i, j) between two shares of its height."""
    left, right = i - TILE_SHARE / 2, i + TILE_SHARE / 2
    foot, head = (j + TILE_SHARE * (share - 0.5) for share in (low, high))
    return np.array([(left, foot), (right, foot), (right, head), (left, head), (left, foot)])


def _block(slots: int) -> tuple[np.ndarray, np.ndarray]:
    """How far right of a cell's middle, and how far up, each of its dots is: rows from the top left."""
    side = math.ceil(math.sqrt(slots))
    rows = math.ceil(slots / side)
    row, column = np.divmod(np.arange(slots), side)
    in_row = np.where(row == rows - 1, slots - side * (rows - 1), side)  # the last row may be short
    step = BLOCK_SHARE / side
    return (column - (in_row - 1) / 2) * step, ((rows - 1) / 2 - row) * step


def _dots(
    plot: Axes,
    places: Places,
    here: np.ndarray,
    phase: np.ndarray,
    dot: float,
    known: Mapping[str, Look],
) -> None:
    """Draw the runs with the indices `here`, a dot each. `dot`: points from one to the next."""
    right, up = _block(places.slots)
    x, y, slot = places.x.places[here], places.y.places[here], places.slot[here]

    def mark(line: Line2D, of: np.ndarray) -> None:
        line.set_data(x[of] + right[slot[of]], y[of] + up[slot[of]])
        line.set_clip_on(False)
        plot.add_line(line)

    mark(_marker("missing", max(0.22 * dot, 1.2), ABSENT, outline=0), pd.isna(phase))
    for name, look in known.items():
        outline = round(min(0.7, 0.08 * dot), 2)
        mark(_marker(name, 0.8 * dot, look, outline), phase == name)


def _shares(plot: Axes, x: np.ndarray, y: np.ndarray, phase: np.ndarray, known: Mapping[str, Look]) -> None:
    """Fill the cells of one panel from the foot by the shares of the phases of their runs."""
    counts = pd.crosstab([x, y], phase).reindex(columns=list(known), fill_value=0)
    shares = counts.div(counts.sum(axis=1), axis=0)
    ends = shares.cumsum(axis=1)
    for name, look in known.items():
        bars = [
            _rectangle(i, j, end - share, end)
            for (i, j), share, end in zip(shares.index, shares[name], ends[name], strict=True)
            if share > 0
        ]
        plot.add_collection(PolyCollection(bars, label=name, **_area(look), clip_on=False))
