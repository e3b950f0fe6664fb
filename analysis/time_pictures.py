"""How long runs take, as pictures: medians with their intervals, and the curves that these are of."""

import itertools
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.arrange import MAX_PANELS, MOST_COLUMNS, rows_of
from analysis.curve_pictures import shade_of
from analysis.layout import TEST, head, mosaic, page, step_axis
from analysis.load import need
from analysis.style import INK, plain_style
from analysis.times import COLUMNS, CURVE, EVENTS
from analysis.words import in_words
from grok_sweep.core.axes import chosen

ASIDE = 0.11  # from one line's marks to the next's, where neighbouring values are 1 apart
STYLES = dict(zip(EVENTS, (":", "-"), strict=True))
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
    lines, along, panels = _axes(table, COLUMNS)
    combinations, spots = _combinations(table, panels)
    looks = _looks(table, lines)
    figure, plots = page(
        title,
        "median step at which runs come to 95 % accuracy, by Kaplan and Meier, with intervals of 95 %; "
        "hollow: later than the last step",
        mosaic(spots, tuple(EVENTS)),
        width=2.3,
        heights=[1.5] * (2 * (spots[-1][0] + 1)),
        keys={
            text: Line2D([], [], marker="o", markersize=4, color=shade) for _, text, shade in looks if text
        },
    )
    for index, (_, combination) in enumerate(combinations.iterrows()):
        here, where = _of(table, combination)
        for event, word in EVENTS.items():
            plot = plots[f"{index} {event}"]
            _medians(plot, here[here["event"] == event], lines, along, looks)
            head(plot, f"{word}; {', '.join(where)}" if where else word)
            if spots[index][1] == 0:
                plot.set_ylabel("step", size=9, color=INK)
    for event in EVENTS:
        row = [plots[f"{index} {event}"] for index in range(len(spots))]
        least, most = zip(*(plot.get_ylim() for plot in row), strict=True)
        for plot in row:
            plot.set_ylim(min(least), max(most))
    return figure


@plain_style()
def survival_picture(table: pd.DataFrame, title: str = "") -> Figure:
    """The curves of `survival`, as shares that have come there: a panel for each combination of all axes but
    the one that is across in a phase diagram, of which each value is a line, with its band where runs
    generalise.

    Raises ValueError where a column is missing, there are no rows or more than 30 panels.
    """
    need(table, CURVE, "a table of survival")
    if table.empty:
        raise ValueError("there are no runs to draw: the table of survival is empty")
    if not table["step"].max():
        raise ValueError("no run was watched beyond step 0")
    lines, along, panels = _axes(table, CURVE)
    combinations, spots = _combinations(table, [*panels, *([along] if along else [])])
    looks = _looks(table, lines)
    none = table[table["survival"] == 1]  # has come there yet
    runs, least = none.sort_values("low")[["at_risk", "low"]].to_numpy()[0] if len(none) else (0, 1)
    figure, plots = page(
        title,
        "share of runs that have come to 95 % accuracy, by Kaplan and Meier: on the training rows (dotted), "
        "and on the test rows,\nwith intervals of 95 % at each step"
        + (
            f" (not drawn: of {runs:.0f} of which none has yet, at most {1 - least:.2f} do so)"
            if runs
            else ""
        )
        + "; a line ends where all have, or none was watched any longer",
        mosaic(spots),
        width=1.75,
        heights=[1.15] * (spots[-1][0] + 1),
        room=0.3 + 0.16 * len(combinations.columns),
        keys={text: Line2D([], [], color=shade) for _, text, shade in looks if text},
    )
    for index, (_, combination) in enumerate(combinations.iterrows()):
        here, where = _of(table, combination)
        plot = plots[f"{index} "]
        head(plot, "\n".join(where))
        for (value, _, colour), event in itertools.product(looks, EVENTS):
            curve = _at(here, lines, value).query("event == @event").sort_values("step")
            x = curve["step"]
            came, low, high = (1 - curve[name] for name in ("survival", "high", "low"))
            plot.step(x, came, where="post", color=colour, linewidth=1, linestyle=STYLES[event])
            if event == "generalize_step":
                some = (came > 0).to_numpy()
                plot.fill_between(x, low, high, some, step="post", color=colour, alpha=0.12, linewidth=0)
        step_axis(plot, table["step"].to_numpy(), log=True)
        plot.set(ylim=(-0.03, 1.03), yticks=[0, 0.5, 1])
        row, column = spots[index]
        if (row + 1, column) in spots:
            plot.set_xlabel("")
    return figure


def _axes(table: pd.DataFrame, columns: list[str]) -> tuple[str | None, str | None, list[str]]:
    """What is told by lines, what is up in a phase diagram, and what by panels."""
    by = [str(name) for name in table if name not in columns]
    return chosen({name: table[name].nunique(dropna=False) for name in by})


def _combinations(table: pd.DataFrame, panels: list[str]) -> tuple[pd.DataFrame, list[tuple[int, int]]]:
    """The values of each panel, and where it stands."""
    if not panels:
        return pd.DataFrame([{}]), [(0, 0)]
    found = table[panels].drop_duplicates().sort_values(panels)
    if len(found) > MAX_PANELS:
        raise ValueError(f"{', '.join(panels)} would be {len(found)} panels, at most {MAX_PANELS} are drawn")
    return found, rows_of(len(found), table[panels[-1]].nunique(dropna=False), MOST_COLUMNS)


def _looks(table: pd.DataFrame, lines: str | None) -> list[tuple[Any, str, Any]]:
    """The value, the name and the shade of each line; of one alone no name."""
    values = _values(table, lines)
    names = [f"{lines} {in_words(value)}".replace("_", " ") if lines else "" for value in values]
    shades = [shade_of(TEST, place, len(values)) for place in range(len(values))]
    return [*zip(values, names, shades, strict=True)]


def _of(table: pd.DataFrame, combination: pd.Series) -> tuple[pd.DataFrame, list[str]]:
    """The rows of one combination, and what it is, in words."""
    where = [f"{name} {in_words(value)}".replace("_", " ") for name, value in combination.items()]
    for name, value in combination.items():
        table = _at(table, str(name), value)
    return table, where


def _at(table: pd.DataFrame, name: str | None, value: Any) -> pd.DataFrame:
    """The rows at a value of a column, which may be none."""
    if name is None:
        return table
    return table[table[name].isna() if pd.isna(value) else table[name] == value]


def _values(table: pd.DataFrame, name: str | None) -> list[Any]:
    """Of a column, in order, none as the last; of no column one that is nothing."""
    if name is None:
        return [""]
    return [*sorted(table[name].dropna().unique()), *[np.nan] * bool(table[name].isna().any())]


def _medians(
    plot: Axes, here: pd.DataFrame, lines: str | None, along: str | None, looks: list[tuple[Any, str, Any]]
) -> None:
    """Of one event in one combination."""
    values = _values(here, along)
    for number, (value, _, colour) in enumerate(looks):
        of_one = _at(here, lines, value)
        if of_one.empty:
            continue
        x = np.zeros(len(of_one))
        if along:
            known = [one for one in values if pd.notna(one)]
            codes = pd.Categorical(of_one[along], categories=known).codes  # of none -1, the last place
            x = codes.astype(float) % len(values)
        x = x + ASIDE * (number - (len(looks) - 1) / 2)
        late = OVER * of_one["last_step"].to_numpy(float)
        y, low, high = (np.minimum(of_one[name], late) for name in ("median", "low", "high"))
        is_late = np.isinf(of_one["median"].to_numpy())
        plot.vlines(x, np.maximum(low, 1), high, color=colour, linewidth=1)
        plot.plot(x[~is_late], y[~is_late], "o-", color=colour, markersize=4, linewidth=0.8)
        plot.plot(x[is_late], y[is_late], "o", color=colour, markersize=4, markerfacecolor="white")
    plot.set(yscale="log", xticks=[*range(len(values))])
    plot.set_xticklabels([in_words(value) for value in values])
    plot.set_xlabel((along or "").replace("_", " "), size=9, color=INK)
