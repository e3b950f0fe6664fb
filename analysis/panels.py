"""What the pictures of single runs share: a page of panels measured in inches, and plain axes.

A page has its title and a pale caption at the top left, and below them rows of panels. Panels keep their
size whatever their number, and the page grows.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from analysis.style import INK, MARGIN, PALE_INK, text_width

TRAIN, TEST = "#9730c9", "#4CB769"  # the article's colours, as are those of the inputs
INPUT_A, INPUT_B = "#2979FF", "#FF6D00"
UNKNOWN = "#dddddd"  # weights that are no numbers: the run has diverged
RULE = "#cfcfca"  # frames and other lines that are not data

POINTS = 72  # in an inch
TITLE, CAPTION = 0.27, 0.17  # inches that they take
STEP = 0.62  # the same for a step such as 10,000 below an axis


def page(
    title: str,
    caption: str = "",
    *,
    rows: Sequence[tuple[float, float]],
    columns: int = 1,
    width: float,
    left: float = 0.5,
    right: float = 0.0,
    gap: float = 0.25,
    foot: float = 0.45,
) -> tuple[Figure, list[Axes]]:
    """A figure and its panels, row after row. All lengths in inches.

    title: of several lines the first is bold, and the others stand above the caption, which may have several.
    rows: of each, the room above its panels and their height. left, right, foot: room for what stands beside
    and below all panels. gap: between columns.
    """
    inner = left + columns * width + (columns - 1) * gap + right
    title, *more = title.split("\n")
    lines = [*more, *(caption.split("\n") if caption else [])]
    wide = 2 * MARGIN + max(inner, 1.5 * text_width([title]), text_width(["", *lines]))
    above = MARGIN + (TITLE if title else 0) + CAPTION * len(lines)
    high = above + sum(room + height for room, height in rows) + foot + MARGIN / 2
    figure = Figure(figsize=(wide, high), facecolor="white")
    if title:
        figure.text(MARGIN / wide, 1 - MARGIN / high, title, va="top", size=13, weight="bold", color=INK)
    for place, line in enumerate(lines):
        y = 1 - (above - CAPTION * (len(lines) - place)) / high
        figure.text(MARGIN / wide, y, line, va="top", size=9, color=PALE_INK)

    axes: list[Axes] = []
    y = high - above
    for room, height in rows:
        y -= room + height
        for column in range(columns):
            x = MARGIN + left + column * (width + gap)
            plot = figure.add_axes((x / wide, y / high, width / wide, height / high))
            plain(plot)
            axes.append(plot)
    return figure, axes


def plain(plot: Axes) -> None:
    """Two pale spines, small pale tick labels without ticks."""
    plot.spines[["top", "right"]].set_visible(False)
    plot.spines[["left", "bottom"]].set(color=RULE, linewidth=0.8)
    plot.tick_params(which="both", length=0, pad=3, labelsize=8, labelcolor=PALE_INK)


def bare(plot: Axes) -> None:
    """Neither spines nor ticks."""
    plot.spines[:].set_visible(False)
    plot.set(xticks=[], yticks=[])


def head(plot: Axes, text: str) -> None:
    """The title of a panel, above its left edge."""
    plot.set_title(text, loc="left", size=9, color=INK, pad=4)


def thin_lines(
    plot: Axes,
    lines: Sequence[np.ndarray],
    colour: str,
    label: str,
    *,
    rasterized: bool = False,
    **look: Any,
) -> None:
    """Lines of points (T, 2) of one colour, with gaps at NaN; what has one point only is a dot.

    The limits of the axes are left to the caller.
    """
    drawn = LineCollection(list(lines), colors=colour, label=label, rasterized=rasterized, **look)
    plot.add_collection(drawn, autolim=False)
    alone = [line for line in lines if len(line) == 1]
    if alone:
        x, y = np.concatenate(alone).T
        plot.plot(x, y, "o", color=colour, markersize=2.5, alpha=look.get("alpha"), clip_on=False)


def step_axis(plot: Axes, steps: np.ndarray, *, name: str = "step", log: bool = False) -> None:
    """The x axis of a panel from the first of `steps` to the last, in numbers such as 10,000.

    log: in powers of ten, linear below the first step over 0, so that step 0 has a place.
    """
    first, last = float(np.min(steps)), float(np.max(steps))
    if log:
        least = float(np.min(steps[steps > 0]))
        plot.set_xscale("symlog", linthresh=least, linscale=0.3)
        plot.xaxis.set_minor_locator(NullLocator())
    plot.set_xlim(first, last if last > first else first + 1)
    wide = plot.get_window_extent().width / plot.figure.dpi
    if log:
        powers = [10.0**power for power in range(math.ceil(math.log10(least)), math.ceil(math.log10(last)))]
        ticks, room = [last], STEP / wide
        for step in [*powers[::-1], first]:
            at = [
                plot.transAxes.inverted().transform(plot.transData.transform((x, 1)))[0]
                for x in (step, ticks[-1], first)
            ]
            if step == first or (at[1] - at[0] >= room and at[0] - at[2] >= room / 2):
                ticks.append(step)
        plot.set_xticks(ticks[::-1])
    else:
        plot.xaxis.set_major_locator(MaxNLocator(min(5, int(wide / STEP)), integer=True))
    plot.xaxis.set_major_formatter(FuncFormatter(lambda step, _: f"{step:,.0f}"))
    plot.set_xlabel(name, size=9, color=INK, labelpad=3)


def log_axis(plot: Axes, values: np.ndarray) -> None:
    """A log y axis around those of `values` that are numbers over 0, with few ticks, at decades if it can."""
    known = values[np.isfinite(values) & (values > 0)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.1, 1.0)
    room = 1.1 * (high / low) ** 0.04
    plot.set_yscale("log")
    plot.set_ylim(low / room, high * room)
    decades = high / low >= 30
    plot.yaxis.set_major_locator(LogLocator(numticks=6) if decades else LogLocator(subs=(1, 2, 5)))
    plot.yaxis.set_major_formatter(
        FuncFormatter(lambda value, _: _decade(value) if decades else f"{value:g}")
    )
    plot.yaxis.set_minor_locator(NullLocator())


def _decade(value: float) -> str:
    """A power of ten: `0.01`, and `10⁻⁶` where that is shorter."""
    power = round(math.log10(value))
    if abs(power) < 3:
        return f"{value:g}"
    return "10" + str(power).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def end_labels(plot: Axes, ends: Mapping[str, tuple[float, str]], *, size: float = 9) -> None:
    """Name lines where they end, at the right edge. `ends`: text -> (y in data, colour).

    Call it when the limits of the axes are set. Labels that would overlap are pushed apart.
    """
    known = {text: end for text, end in ends.items() if np.isfinite(end[0])}
    if not known:
        return
    at = [(0.0, y) for y, _ in known.values()]
    share = plot.transAxes.inverted().transform(plot.transData.transform(at))[:, 1]
    high = plot.get_window_extent().height / plot.figure.dpi * POINTS
    for (text, (_, colour)), y in zip(known.items(), apart(share, 1.25 * size / high), strict=True):
        plot.annotate(
            text,
            (1, y),
            xycoords="axes fraction",
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            size=size,
            color=colour,
            annotation_clip=False,
        )


def apart(places: np.ndarray, least: float) -> np.ndarray:
    """`places`, moved as little as pushing neighbours takes, until they are `least` apart or more."""
    moved = np.sort(np.asarray(places, float))
    for _ in range(200):
        short = least - np.diff(moved)
        if (short <= 1e-9).all():
            break
        push = np.clip(short, 0, None) / 2
        moved[:-1] -= push
        moved[1:] += push
    spread = np.empty_like(moved)
    spread[np.argsort(places, kind="stable")] = moved
    return spread


def need_numbers(*arrays: np.ndarray) -> None:
    """Raise ValueError where a weight is not finite."""
    if not all(np.isfinite(array).all() for array in arrays):
        raise ValueError("there are weights that are no numbers: the run has diverged")
