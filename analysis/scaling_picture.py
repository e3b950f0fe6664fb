"""A law of powers as a picture: what it says of cells that it was not made from, beside what they did."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.curve_pictures import shade_of
from analysis.panels import RULE, TEST, page
from analysis.read import need
from analysis.scaling import CELLS
from analysis.style import INK, plain_style
from analysis.time_pictures import OVER
from analysis.times import EVENTS
from analysis.words import in_words

MOST_KEYS = 12  # values of an axis that are told in the legend


@plain_style()
def scaling_picture(law: pd.DataFrame, cells: pd.DataFrame, title: str = "") -> Figure:
    """The medians of each cell, with their intervals, over those by the law of the others; both as `scaling`.

    Shades are values of the first axis. Raises ValueError where a column is missing or there is no row.
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
    told = values if len(values) <= MOST_KEYS else [values[0], values[-1]]
    keys = {
        f"{shown} {in_words(value)}".replace("_", " "): Line2D(
            [], [], marker="o", markersize=4, color=shades[value], linewidth=0
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
    said, colours = cells["held_out"].to_numpy(float), [shades[value] for value in cells[shown]]
    ends = np.array([np.nanmin([said, median]), np.nanmax([said, late])])
    plot.plot(ends, ends, color=RULE, linewidth=1, zorder=0)
    plot.vlines(said, np.maximum(low, 1), high, color=colours, linewidth=0.8, alpha=0.6)
    plot.scatter(
        said,
        median,
        s=16,
        c=["white" if hollow else c for hollow, c in zip(is_late, colours, strict=True)],
        edgecolors=colours,
        linewidths=1,
        zorder=3,
    )
    plot.set(xscale="log", yscale="log")
    plot.set_xlabel("median step by the law", size=9, color=INK)
    plot.set_ylabel("median step", size=9, color=INK)
    return figure
