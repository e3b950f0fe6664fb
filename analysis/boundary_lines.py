"""Boundaries between phases as lines with bands, in a phase diagram."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from analysis.boundary import COLUMNS, is_log, shown
from analysis.places import Axis, Places
from analysis.style import INK

STYLES: Any = ("-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)))  # of lines, by pair of phases
CAPTION = "; lines: where one phase becomes another, with intervals of 95 %"


def keys(table: pd.DataFrame) -> dict[str, Any]:
    """The legend of `draw`."""
    return {
        f"{below} to {above}": Line2D([], [], color=INK, linestyle=style)
        for ((below, above), _), style in zip(shown(table), STYLES * len(table), strict=False)
    }


def draw(plots: Sequence[Axes], phases: pd.DataFrame, places: Places, table: pd.DataFrame) -> None:
    """A line with its band across each cell's column of a diagram whose y is the axis of `table`."""
    by = [name for name in table if name not in COLUMNS]
    where = phases[by].assign(panel=places.panel.places, across=places.x.places).drop_duplicates(by)
    for (_, rows), style in zip(shown(table), STYLES * len(table), strict=False):
        at = rows.merge(where, on=by)
        value, low, high = (_height(places.y, at[name].to_numpy()) for name in ("value", "low", "high"))
        for index, plot in enumerate(plots):
            here = (at["panel"] == index).to_numpy()
            x = at["across"].to_numpy()[here]
            plot.bar(x, (high - low)[here], 0.9, low[here], color=INK, alpha=0.16, linewidth=0)
            lines = plot.hlines(value[here], x - 0.45, x + 0.45, color=INK, linewidth=1.4, linestyle=style)
            lines.set_path_effects([withStroke(linewidth=3, foreground="white")])


def _height(axis: Axis, values: np.ndarray) -> np.ndarray:
    """Where values are among the places of an axis; beyond them half a cell further."""
    of_log = is_log(axis.values)
    with np.errstate(divide="ignore"):
        u, known = (np.log(values), np.log(axis.values)) if of_log else (values, axis.values)
    heights = np.interp(u, known, np.arange(len(known)), left=-0.5, right=len(known) - 0.5)
    return len(known) - 1 - heights if axis.descending else heights
