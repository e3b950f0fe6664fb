"""The phase diagram: every run a mark of its phase, at the place of its hyperparameters.

After the figure of "Do Machine Learning Models Memorize or Generalize?" (Pearce et al., 2023).
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.markers import MarkerStyle
from matplotlib.patches import Patch
from matplotlib.transforms import Affine2D, AffineDeltaTransform

from analysis import boundary_lines
from analysis.arrange import MAX_SLOTS, Places, arrange, unsure
from analysis.expected import with_missing
from analysis.layout import LETTER, mosaic, page, ruler
from analysis.load import need
from analysis.phases import looks
from analysis.pixels import coloured, dimension, most_common
from analysis.style import INK, MARKS, MISSING, PALE_INK, TILE, plain_style
from analysis.words import definition, plural
from grok_sweep.core.look import Look

# Inches of a panel of cells, and the bounds of a cell; the longer side of a panel of pixels.
GRID, SMALLEST, LARGEST, FINE = 2.1, 0.12, 0.75, 6.0

ABSENT = Look(MISSING, "circle", MISSING)  # a run that is not there yet
UNSURE = Look("none", "square", PALE_INK)  # a cell whose most common phase less than half may have
NO_RUN: dict[str, Any] = {"facecolor": "white", "edgecolor": MISSING, "hatch": "xxxxx", "linewidth": 0}
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
    bounds: pd.DataFrame | None = None,
) -> Figure:
    """Draw `phases` (see `classify`): a panel for each combination of `panels`, in each a grid of x by y.

    In a cell each seed has a dot in the colour and shape of its phase, at the same place in every cell.
    `expected`: a row for each run that the sweep has in the end, its axes and `seed` (see
    `analysis.expected_runs`); one that is not in `phases` yet is a faint point. `bounds`: boundaries along y
    (see `analysis.boundaries`), drawn as lines with bands. Above 64 seeds, or where dots
    would be too small, a cell is filled by the shares of its phases. Where x or y has more than 64 values a
    cell is a pixel in the colour of its most common phase: of phases with a `shade` the darker the higher its
    runs rank in that column, hatched where there is no run; the caption says `box_dimension` of one panel.

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
    with plain_style():
        return _draw(phases, places, title, bounds)


def _draw(phases: pd.DataFrame, places: Places, title: str, bounds: pd.DataFrame | None) -> Figure:
    across, up, spots = places.x, places.y, places.spots
    longest = max(len(across), len(up))
    cell = FINE / longest if places.fine else float(np.clip(GRID / longest, SMALLEST, LARGEST))
    dot = 72 * cell * BLOCK_SHARE / math.ceil(math.sqrt(places.slots))
    dots = places.slots <= MAX_SLOTS and dot >= SMALLEST_DOT and not places.fine
    phase_PYX = most_common(phases, places)
    unsure_C, how_sure = unsure(phases, places)

    lines = "\n".join(places.panel.texts).split("\n")
    rows, longest_text = spots[-1][0] + 1, LETTER * max(map(len, across.texts))
    turned = not places.fine and longest_text > cell
    names = LETTER * max(map(len, [*lines, across.name]))  # above and below a panel
    above = 0.45 + 0.2 * len(lines) / len(places.panel)
    figure, plots = page(
        title,
        _caption(phases, places, dots, phase_PYX)
        + (f"; {how_sure}" if how_sure else "")
        + ("" if bounds is None else boundary_lines.CAPTION),
        mosaic(spots),
        width=max(len(across) * cell, 1.5 if places.fine else 0, names) + 0.3,
        heights=[max(len(up) * cell, 1.5 if places.fine else 0.4)] * rows,
        room=above + longest_text / rows if turned else above,
        keys=_keys(phases, places, dots, int((phase_PYX < 0).sum()))
        | ({} if bounds is None else boundary_lines.keys(bounds)),
        compress=names <= len(across) * cell,  # else what is written over narrow panels would meet
    )
    image_PYX4 = coloured(phase_PYX, phases, places) if places.fine else None
    for index, (plot, (row, column)) in enumerate(zip(plots.values(), spots, strict=True)):
        plot.set_title(places.panel.texts[index], size=10, color=INK, linespacing=1.3)
        plot.spines[:].set_visible(False)
        plot.set(xticks=[], yticks=[], xlim=(-0.5, len(across) - 0.5), ylim=(-0.5, len(up) - 0.5))
        plot.set_aspect("auto" if places.fine and not 1 / 3 < len(across) / len(up) < 3 else "equal")
        if (row + 1, column) not in spots:
            ruler(plot.xaxis, across, places.fine)
            plot.tick_params(axis="x", rotation=90 if turned else 0)
        if column == 0:
            ruler(plot.yaxis, up, places.fine)
        here = np.flatnonzero(places.panel.places == index)
        if image_PYX4 is not None:
            plot.imshow(image_PYX4[index], origin="lower", aspect=plot.get_aspect(), interpolation="nearest")
            plot.patch.set(**NO_RUN)  # seen where a pixel is transparent: a phase may be white or grey
            continue
        x, y = np.unique(np.stack([across.places[here], up.places[here]]), axis=1)
        _marks(plot, "cells", Look(TILE, "square", TILE), x, y, TILE_SHARE / MARKS["square"].size)
        if dots:
            _dots(plot, phases.iloc[here], places, here, dot)
        else:
            _shares(plot, phases.iloc[here], places, here)
        which = unsure_C[(index * len(up) + y) * len(across) + x]
        if which.any():
            _marks(plot, "unsure", UNSURE, x[which], y[which], TILE_SHARE / MARKS["square"].size, 0.8)
    if bounds is not None:
        boundary_lines.draw([*plots.values()], phases, places, bounds)
    return figure


def _keys(phases: pd.DataFrame, places: Places, dots: bool, empty: int) -> dict[str, Any]:
    """The legend: a mark and a count for each phase, and for the runs or pixels that are not there."""
    counts = phases["phase"].value_counts()
    keys: dict[str, Any] = {}
    for name, look in looks(phases).items():
        mark = _mark(look, 8.0) if dots else Patch(**_area(look, hatched=not places.fine))
        keys[f"{name} {int(counts.get(name, 0)):,}"] = mark
    missing = int(phases["phase"].isna().sum())
    if places.fine and empty:
        keys[f"no run {empty:,}"] = Patch(**NO_RUN)
    elif missing and not places.fine:
        keys[f"not finished {missing:,}"] = _mark(ABSENT, 3.0)
    return keys


def _mark(look: Look, size: float) -> Line2D:
    mark = MARKS[look.mark]
    return Line2D(
        [],
        [],
        linestyle="none",
        marker=mark.matplotlib,
        markersize=mark.size * size,
        markerfacecolor=look.colour,
        markeredgecolor=look.edge,
        markeredgewidth=0.7,
    )


def _area(look: Look, hatched: bool = True) -> dict[str, Any]:
    """How a part of a cell that is in one phase is filled."""
    hatch = MARKS[look.mark].hatch if hatched else ""
    return {"facecolor": look.colour, "edgecolor": look.edge, "hatch": hatch, "linewidth": 0.5}


def _caption(phases: pd.DataFrame, places: Places, dots: bool, phase_PYX: np.ndarray) -> str:
    """What a reader must know: what a mark is, of how many runs, the definition of the phases, what a cell
    pools, how rough the boundary is.
    """
    mark = "each mark is one run" if dots else "each cell shows the shares of its runs"
    if places.fine:
        mark = "each pixel is a cell, in the colour of its most common phase"
    finished = np.bincount(places.cell, phases["phase"].notna())[np.unique(places.cell)].astype(int)
    least, most = int(finished.min()), int(finished.max())
    runs = plural(most, "run") if least == most else f"{least:,} to {plural(most, 'run')}"
    said = [f"{mark}, {runs} per cell"]
    if places.fine:
        for name, look in looks(phases).items():
            if look.shade in phases:
                said.append(f"{name}: the darker the higher {look.shade.replace('_', ' ')} ranks")
    if by := definition(phases):
        said.append(f"phases: {by}")
    if places.pooled:
        said.append(f"pooled over {', '.join(places.pooled)}")
    if places.fine and len(phase_PYX) == 1 and (phase_PYX >= 0).all():
        rough, _ = dimension(phase_PYX[0])
        said += [] if math.isnan(rough) else [f"box dimension of the boundary {rough:.2f}"]
    return "; ".join(said)


def _marks(plot: Axes, label: str, look: Look, x: Any, y: Any, size: float, outline: float = 0) -> None:
    """Marks of a look at x and y, as large as `size` cells whatever the size of the panel."""
    known = MARKS[look.mark]
    style = MarkerStyle(known.matplotlib)
    marks = PathCollection(
        [style.get_path().transformed(style.get_transform() + Affine2D().scale(known.size * size))],
        offsets=np.column_stack([x, y]),
        offset_transform=plot.transData,
        facecolors=look.colour,
        edgecolors=look.edge,
        linewidths=outline,
        label=label,
        clip_on=False,
    )
    marks.set_transform(AffineDeltaTransform(plot.transData))  # type: ignore[arg-type]
    plot.add_collection(marks, autolim=False)


def _dots(plot: Axes, phases: pd.DataFrame, places: Places, here: np.ndarray, dot: float) -> None:
    """Draw the runs of one panel, with the indices `here`, a dot each: in rows from the top left of a cell.

    `dot`: points from one to the next.
    """
    side = math.ceil(math.sqrt(places.slots))
    step = BLOCK_SHARE / side
    row, column = np.divmod(places.slot[here], side)
    x = places.x.places[here] + (column - (min(side, places.slots) - 1) / 2) * step
    y = places.y.places[here] + ((math.ceil(places.slots / side) - 1) / 2 - row) * step
    missing = phases["phase"].isna()
    _marks(plot, "missing", ABSENT, x[missing], y[missing], max(0.22, 1.2 / dot) * step)
    for name, look in looks(phases).items():
        of = (phases["phase"] == name).to_numpy()
        _marks(plot, name, look, x[of], y[of], 0.8 * step, round(min(0.7, 0.08 * dot), 2))


def _shares(plot: Axes, phases: pd.DataFrame, places: Places, here: np.ndarray) -> None:
    """Fill the cells of one panel from the foot by the shares of the phases of their runs."""
    known = looks(phases)
    x, y = places.x.places[here], places.y.places[here]
    share = pd.crosstab([x, y], phases["phase"].to_numpy(), normalize="index")
    share = TILE_SHARE * share.reindex(columns=list(known), fill_value=0)
    foot = share.index.get_level_values(1) - TILE_SHARE / 2
    for name, look in known.items():
        plot.bar(share.index.get_level_values(0), share[name], TILE_SHARE, foot, label=name, **_area(look))
        foot = foot + share[name].to_numpy()
