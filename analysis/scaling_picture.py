"""A law of powers as a picture: what it says of cells that it was not made from, beside what they did."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.curve_pictures import shade_of
from analysis.layout import RULE, TEST, page
from analysis.load import need
from analysis.scaling import CELLS
from analysis.style import INK, plain_style
from analysis.time_pictures import OVER
from analysis.times import EVENTS
from analysis.words import in_words

MOST_KEYS = 12  # values of an axis that are told in the legend
MARKERS = "osD^vP"  # of values, where there are so many at most


@plain_style()
def scaling_picture(law: pd.DataFrame, cells: pd.DataFrame, title: str = "") -> Figure:
    """The medians of each cell, with their intervals, over those by the law of the others; both as `scaling`.

    Shades and marks are values of the first axis. Raises ValueError where a column is missing or there is no
    row.
    """
    need(cells, CELLS, "a table of cells by a law")
    if cells.empty:
        raise ValueError("there are no cells to draw")
    of = law.attrs
    powers = " ".join(
        f"{name}$^{{{value:.2f}}}$".replace("_", " ")
        for name, value in law.set_index("term")["value"].items()
        if name in of["axes"]
    )
    off = f", off by a factor of {of['factor']:.2f}" if np.isfinite(of["factor"]) else ""
    shown = of["axes"][0]
    values = sorted(cells[shown].unique())
    shades = {value: shade_of(TEST, place, len(values)) for place, value in enumerate(values)}
    markers = dict(zip(values, MARKERS if len(values) <= len(MARKERS) else "o" * len(values), strict=False))
    told = values if len(values) <= MOST_KEYS else [values[0], values[-1]]
    keys = {
        f"{shown} {in_words(value)}".replace("_", " "): Line2D(
            [], [], marker=markers[value], markersize=4, color=shades[value], linewidth=0
        )
        for value in told
    }
    figure, plots = page(
        title,
        f"median step at which runs {EVENTS[of['event']]}, with intervals of 95 %, and by the law of other "
        f"cells: {powers}{off}; line: as it says; hollow: later than the "
        "last step",
        [["all"]],
        width=4.6,
        heights=[3.6],
        keys=keys,
    )
    plot = plots["all"]
    late = OVER * cells["last_step"].to_numpy(float)
    is_late = np.isinf(cells["median"].to_numpy(float))
    median, low, high = (np.minimum(cells[name].to_numpy(float), late) for name in ("median", "low", "high"))
    said = cells["held_out"].to_numpy(float)
    ends = np.array([np.nanmin([said, median]), np.nanmax([said, late])])
    plot.plot(ends, ends, color=RULE, linewidth=1, zorder=0)
    for value in values:
        of_value = cells[shown].to_numpy() == value
        at, colour = said[of_value], shades[value]
        plot.vlines(at, np.maximum(low, 1)[of_value], high[of_value], color=colour, linewidth=0.8, alpha=0.6)
        for those, face, edge in ((~is_late, colour, "white"), (is_late, "white", colour)):
            here = of_value & those
            plot.scatter(
                said[here],
                median[here],
                s=24,
                marker=markers[value],
                color=face,
                edgecolors=edge,
                linewidths=0.5 if face == colour else 1,
                zorder=3,
            )
    plot.set(xscale="log", yscale="log")
    plot.set_xlabel("median step by the law", size=9, color=INK)
    plot.set_ylabel("median step", size=9, color=INK)
    return figure
