"""Where two sweeps differ, as a picture: the distance of each cell."""

import numpy as np
import pandas as pd
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.arrange import arrange
from analysis.comparison import SURE, Comparison, axes_of
from analysis.layout import RULE, key_axis, mosaic, page
from analysis.phases import looks
from analysis.style import INK, PALE_INK, plain_style
from analysis.words import definition

CELL = 0.32  # inches
COLOURS = "magma_r"


@plain_style()
def compare_picture(found: Comparison, names: tuple[str, str]) -> Figure:
    """A panel and grid of cells as in a phase diagram; a ring where they differ beyond chance.

    Raises ValueError where there is no room, as `phase_diagram`.
    """
    table, (a, b) = found.table, names
    by = axes_of(table)
    cells = pd.DataFrame(
        {"task": [""] * len(table), "seed": 0} | {name: table[name] for name in by} | {"min_train_loss": 0.0}
    )
    places = arrange(cells, None, None, None)
    across, up = places.x, places.y
    figure, plots = page(
        f"{a} and {b}",
        f"total variation of the shares of the phases in each cell, {found.distance:.3f} on average, "
        f"{found.by_chance:.3f} by chance; rings: q < {SURE:g}, corrected for {len(table):,} cells; "
        f"phases: {definition(table)}",
        mosaic(places.spots),
        width=max(1.6, CELL * len(across) + 0.5),
        heights=[max(0.8, CELL * len(up))] * (places.spots[-1][0] + 1),
        room=0.8,
    )
    scale = ScalarMappable(Normalize(0, 1), COLOURS)
    for index, plot in enumerate(plots.values()):
        here = places.panel.places == index
        x, y, distance = across.places[here], up.places[here], table["distance"].to_numpy()[here]
        image_YX = np.full((len(up), len(across)), np.nan)
        image_YX[y, x] = distance
        plot.imshow(image_YX, origin="lower", aspect="auto", norm=Normalize(0, 1), cmap=COLOURS)
        far = table["q"].to_numpy()[here] < SURE
        plot.plot(x[far], y[far], "o", markersize=9, markerfacecolor="none", markeredgecolor=INK)
        plot.set_title(places.panel.texts[index], size=9, color=INK)
        plot.set(xticks=range(len(across)), yticks=range(len(up)))
        plot.set_xticklabels(across.texts, rotation=90 if max(map(len, across.texts)) > 3 else 0)
        plot.set_yticklabels(up.texts)
        plot.set_xlabel(across.name.replace("_", " "), size=9, color=INK)
        if places.spots[index][1] == 0:
            plot.set_ylabel(up.name.replace("_", " "), size=9, color=INK)
    key_axis(figure, scale, [*plots.values()])
    return figure


@plain_style()
def shifts_picture(table: pd.DataFrame, names: tuple[str, str]) -> Figure:
    """The boundaries of one sweep over those of the other, in the colours of the phases that they lead to.

    A line up and down is the interval of the shift. Raises ValueError where no boundary is in both.
    """
    axis, use_log = table.attrs["axis"], table.attrs["log"]
    if table.empty:
        raise ValueError(f"no boundary along {axis} is in both")
    look, (a, b) = looks(table), names
    colours = {name: look[name].colour for name in look if (table["above"] == name).any()}
    figure, plots = page(
        f"{a} and {b}",
        f"boundaries along {axis}, and intervals of 95 % of how far they have moved, by seeds and grid; "
        f"line: not at all; phases: {definition(table)}",
        [["all"]],
        width=4.4,
        heights=[3.8],
        keys={
            f"to {name}": Line2D([], [], marker="o", linewidth=0, markeredgecolor=INK, markerfacecolor=colour)
            for name, colour in colours.items()
        },
    )
    plot, of_each = plots["all"], [colours[str(name)] for name in table["above"]]
    x, y = (table[name].to_numpy(float) for name in ("value_a", "value_b"))
    low, high = (x * table[end] if use_log else x + table[end] for end in ("low", "high"))
    if use_log:
        plot.set(xscale="log", yscale="log")
    every = np.concatenate(
        [x, y, *(end[np.isfinite(end) & (end > 0 if use_log else True)] for end in (low, high))]
    )
    ends = np.array([every.min(), every.max()])
    plot.vlines(x, np.clip(low, *ends), np.clip(high, *ends), color=PALE_INK, linewidth=0.6, alpha=0.6)
    plot.plot(ends, ends, color=RULE, linewidth=1, zorder=0)
    plot.scatter(x, y, s=26, c=of_each, edgecolors=INK, linewidths=0.6, zorder=3)
    plot.set_xlabel(f"{axis} in {a}".replace("_", " "), size=9, color=INK)
    plot.set_ylabel(f"{axis} in {b}".replace("_", " "), size=9, color=INK)
    return figure
