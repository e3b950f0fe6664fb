"""How long runs take, as a picture: medians with their intervals."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.curve_pictures import shade_of
from analysis.panels import TEST, head, mosaic, page
from analysis.places import MAX_PANELS, MOST_COLUMNS, rows_of
from analysis.read import need
from analysis.style import INK, plain_style
from analysis.times import COLUMNS, EVENTS
from analysis.words import in_words
from grok_sweep.core.axes import chosen

ASIDE = 0.11  # from one line's marks to the next's, where neighbouring values are 1 apart
OVER = 1.6  # times the last step: where what is later stands


@plain_style()
def times_picture(table: pd.DataFrame, title: str = "") -> Figure:
    """The medians of `times` on a log axis of steps, a line for each value of the axis that is across in a
    phase diagram, along the one that is up, a panel for each combination of the others.

    Raises ValueError where a column is missing, there are no rows or more than 30 panels.
    """
    need(table, COLUMNS, "a table of times")
    if table.empty:
        raise ValueError("there are no runs to draw: the table of times is empty")
    by = [str(name) for name in table if name not in COLUMNS]
    lines, along, panels = chosen({name: table[name].nunique(dropna=False) for name in by})
    combinations = table[panels].drop_duplicates().sort_values(panels) if panels else pd.DataFrame([{}])
    if len(combinations) > MAX_PANELS:
        raise ValueError(
            f"{', '.join(panels)} would be {len(combinations)} panels, at most {MAX_PANELS} are drawn"
        )
    last = table[panels[-1]].nunique(dropna=False) if panels else 1
    spots = rows_of(len(combinations), last, MOST_COLUMNS)
    names = {name: f"{lines} {in_words(name)}".replace("_", " ") for name in _values(table, lines)}
    shades = {name: shade_of(TEST, place, len(names)) for place, name in enumerate(names)}
    figure, plots = page(
        title,
        "median step at which runs come to 95 % accuracy, by Kaplan and Meier, with intervals of 95 %; "
        "hollow: later than the last step",
        mosaic(spots, tuple(EVENTS)),
        width=2.3,
        heights=[1.5] * (2 * (spots[-1][0] + 1)),
        keys={
            text: Line2D([], [], marker="o", markersize=4, color=shades[name]) for name, text in names.items()
        },
    )
    for index, (_, combination) in enumerate(combinations.iterrows()):
        here = table
        for name in panels:
            here = here[here[name] == combination[name]]
        for event, word in EVENTS.items():
            plot = plots[f"{index} {event}"]
            _medians(plot, here[here["event"] == event], lines, along, shades)
            where = ", ".join(f"{name} {in_words(combination[name])}" for name in panels).replace("_", " ")
            head(plot, f"{word}; {where}" if where else word)
            if spots[index][1] == 0:
                plot.set_ylabel("step", size=9, color=INK)
    for event in EVENTS:
        row = [plots[f"{index} {event}"] for index in range(len(spots))]
        least, most = zip(*(plot.get_ylim() for plot in row), strict=True)
        for plot in row:
            plot.set_ylim(min(least), max(most))
    return figure


def _values(table: pd.DataFrame, name: str | None) -> list[Any]:
    return sorted(table[name].dropna().unique()) if name else [""]


def _medians(
    plot: Axes, here: pd.DataFrame, lines: str | None, along: str | None, shades: dict[Any, Any]
) -> None:
    """Of one event in one combination."""
    places = {value: place for place, value in enumerate(_values(here, along))}
    for number, (value, colour) in enumerate(shades.items()):
        of_one = here[here[lines] == value] if lines else here
        if of_one.empty:
            continue
        x = of_one[along].map(places).to_numpy(float) if along else np.zeros(len(of_one))
        x = x + ASIDE * (number - (len(shades) - 1) / 2)
        late = OVER * of_one["last_step"].to_numpy(float)
        y, low, high = (np.minimum(of_one[name], late) for name in ("median", "low", "high"))
        is_late = np.isinf(of_one["median"].to_numpy())
        plot.vlines(x, np.maximum(low, 1), high, color=colour, linewidth=1)
        plot.plot(x[~is_late], y[~is_late], "o-", color=colour, markersize=4, linewidth=0.8)
        plot.plot(x[is_late], y[is_late], "o", color=colour, markersize=4, markerfacecolor="white")
    plot.set(yscale="log", xticks=[*places.values()] or [0])
    plot.set_xticklabels([in_words(value) for value in places] or [""])
    plot.set_xlabel((along or "").replace("_", " "), size=9, color=INK)
