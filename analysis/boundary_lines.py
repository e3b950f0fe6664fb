"""Boundaries between phases as lines with bands, in a phase diagram."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from analysis.arrange import Axis, Places
from analysis.boundary import COLUMNS, one_sided, shown
from analysis.style import INK

STYLES: Any = ("-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)))  # of lines, by pair of phases
CAPTION = "\nlines: where one phase becomes another, with intervals of 95 %"
BEYOND = "none up to here"  # where one phase is the majority at every value

PANEL, ACROSS = "its panel", "its place across"  # no axis is called so


def keys(table: pd.DataFrame) -> dict[str, Any]:
    """The legend of `draw`."""
    lines = {
        f"{below} to {above}": Line2D([], [], color=INK, linestyle=style)
        for ((below, above), _), style in zip(shown(table), STYLES * len(table), strict=False)
    }
    ends = {BEYOND: Line2D([], [], color=INK, linestyle="none", marker="^", markersize=4)}
    return lines | (ends if len(one_sided(table)) else {})


def draw(plots: Sequence[Axes], phases: pd.DataFrame, places: Places, table: pd.DataFrame) -> None:
    """A line with its band across each cell's column of a diagram whose y is the axis of `table`.

    Raises ValueError where a combination has several columns of cells, as of axes that change together.
    """
    by = [name for name in table if name not in COLUMNS]
    where = phases[by].assign(**{PANEL: places.panel.places, ACROSS: places.x.places}).drop_duplicates()
    if where.duplicated(by or None).any() or (len(where) > 1 and not by):
        raise ValueError(
            f"an axis changes together with {table.attrs['axis']}: there is no column for its lines"
        )

    def placed(rows: pd.DataFrame) -> Iterator[Any]:
        at = rows.merge(where, on=by) if by else rows.merge(where, how="cross")
        heights = [_height(places.y, at[name].to_numpy(), table.attrs["log"]) for name in COLUMNS[2:]]
        for index, plot in enumerate(plots):
            here = (at[PANEL] == index).to_numpy()
            yield plot, at[ACROSS].to_numpy()[here], *(height[here] for height in heights)

    for plot, x, _, low, high in placed(one_sided(table)):
        for y, marker in ((low - 0.47, "v"), (high + 0.47, "^")):
            if len(x):  # a line of no points has no place, and leaves no room for anything else
                plot.plot(x, y, marker, color=INK, markersize=4, clip_on=False)
    for (_, rows), style in zip(shown(table), STYLES * len(table), strict=False):
        for plot, x, value, low, high in placed(rows):
            plot.bar(x, high - low, 0.9, low, color=INK, alpha=0.16, linewidth=0)
            lines = plot.hlines(value, x - 0.45, x + 0.45, color=INK, linewidth=1.4, linestyle=style)
            lines.set_path_effects([withStroke(linewidth=3, foreground="white")])


def _height(axis: Axis, values: np.ndarray, use_log: bool) -> np.ndarray:
    """Where values are among the places of an axis that goes up; beyond them half a cell further."""
    known = np.array([value for value in axis.values if not np.isnan(value)])  # one that is none is the last
    with np.errstate(divide="ignore"):
        u, known = (np.log(values), np.log(known)) if use_log else (values, known)
    return np.interp(u, known, np.arange(len(known)), left=-0.5, right=len(known) - 0.5)
