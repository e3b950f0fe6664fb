"""The phase diagram of a grid too fine for dots, a pixel for each cell; and how rough the boundary is."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from analysis.phases import looks, ties
from analysis.places import Places, arrange
from analysis.style import INK, LETTER, MISSING, PALE_INK, plain_style
from analysis.words import definition, in_words, plural
from grok_sweep.core.look import Look

PANEL = 6.0  # inches of the longer side
TICKS = 6  # at most, of an axis
NO_RUN: dict[str, Any] = {"facecolor": "white", "edgecolor": MISSING, "hatch": "xxxxx", "linewidth": 0}
LIGHTEST, DARKEST = 0.75, 0.5  # how far shades go to white, and to black


def pixels(phases: pd.DataFrame, places: Places, title: str) -> Figure:
    """Draw `phases` at `places`: each cell in the colour of its most common phase.

    Of phases with a `shade` the pixels are the darker the higher their runs rank in that column, so that all
    shades are as frequent. A cell without a run is hatched. The caption says `box_dimension` of one panel.
    """
    known = looks(phases)
    phase_PYX = _most_common(phases, places)
    finished_R = phases["phase"].notna().to_numpy()
    shade_PYX = _mean(shades(phases), finished_R, places, phase_PYX.shape)
    image_PYX4 = _coloured(phase_PYX, shade_PYX, known)
    _, high, wide = phase_PYX.shape
    rows = places.spots[-1][0] + 1
    width, height = (PANEL * size / max(wide, high) for size in (wide, high))
    with plain_style():
        figure = Figure(
            figsize=(max(4.0, width) * places.columns + 1.2, max(1.5, height) * rows + 1.6),
            facecolor="white",
            layout="constrained",
        )
        plots = figure.subplots(rows, places.columns, squeeze=False)
        for plot in plots.flat:
            plot.set_axis_off()
        for spot, text, image_YX4 in zip(places.spots, places.panel.texts, image_PYX4, strict=True):
            _panel(plots[spot], text, places, image_YX4)
        counts, empty = phases["phase"].value_counts(), int((phase_PYX < 0).sum())
        figure.legend(
            handles=[
                Patch(facecolor=of.colour, edgecolor=of.edge, label=f"{name} {int(counts.get(name, 0)):,}")
                for name, of in known.items()
            ]
            + [Patch(**NO_RUN, label=f"no run {empty:,}")] * (empty > 0),
            title=title,
            title_fontproperties={"size": 13, "weight": "bold"},
            alignment="left",
            borderaxespad=0.8,
            loc="outside upper left",
            ncols=min(len(known) + (empty > 0), max(1, int(figure.get_figwidth() / 1.7))),
            frameon=False,
            fontsize=10,
            labelcolor=INK,
        )
        caption = textwrap.fill(
            _caption(phases, places, phase_PYX), int(1.2 * figure.get_figwidth() / LETTER)
        )
        figure.supxlabel(caption, x=0.02, ha="left", size=8, color=PALE_INK)
    return figure


def box_dimension(
    phases: pd.DataFrame, x: str | None = None, y: str | None = None
) -> tuple[float, pd.DataFrame]:
    """How rough the boundary between phases is in the plane of x and y: its box-counting dimension.

    A smooth curve has 1, what fills the plane 2. A cell is on the boundary where its most common phase is
    another than that of its right or its upper neighbour. Counted are boxes of 1, 2, 4, ... cells a side that
    hold a cell of it; the dimension is the median of log2(boxes of one size / boxes of the next), as in
    Sohl-Dickstein 2024 (arXiv 2402.06184). Returned too: that table, `size` (cells) and `boxes`.

    Where it is asked for of a diagram of several panels, or of one without two axes, ValueError is raised;
    the dimension is nan where there is no boundary, or the grid has fewer than 4 cells a side.
    """
    places = arrange(phases, None, x, y)
    if len(places.panel) > 1 or not places.x.name or not places.y.name:
        raise ValueError("a boundary is one of two axes; filter the runs so that no other varies")
    table = _boxes(_most_common(phases, places)[0])
    return _dimension(table), table


def _boxes(phase_YX: np.ndarray) -> pd.DataFrame:
    edge_YX: np.ndarray = np.zeros(phase_YX.shape, bool)

    def differ(here: np.ndarray, beside: np.ndarray) -> np.ndarray:
        # A cell without a run is on no boundary.
        found: np.ndarray = (here != beside) & (here >= 0) & (beside >= 0)
        return found

    edge_YX[:, :-1] |= differ(phase_YX[:, :-1], phase_YX[:, 1:])
    edge_YX[:-1] |= differ(phase_YX[:-1], phase_YX[1:])
    rows, size = [], 1
    while 2 * size <= min(edge_YX.shape):
        high, wide = (-(-length // size) for length in phase_YX.shape)
        padded = np.zeros((high * size, wide * size), bool)
        padded[: edge_YX.shape[0], : edge_YX.shape[1]] = edge_YX
        boxes = int(padded.reshape(high, size, wide, size).any(axis=(1, 3)).sum())
        rows.append({"size": size, "boxes": boxes})
        size *= 2
    return pd.DataFrame(rows, columns=["size", "boxes"])


def _dimension(table: pd.DataFrame) -> float:
    boxes = table["boxes"].to_numpy(float)
    if len(boxes) < 2 or not boxes.all():
        return math.nan
    return float(np.median(np.log2(boxes[:-1] / boxes[1:])))


def _most_common(phases: pd.DataFrame, places: Places) -> np.ndarray:
    """The most common phase of each cell as its place among the phases, of equals that tested first.

    int, (panels, y, x); -1 where there is no run.
    """
    shape = len(places.panel), len(places.y), len(places.x)
    names, size = list(looks(phases)), math.prod(shape)
    of_phase = [places.cell[(phases["phase"] == name).to_numpy()] for name in ties(phases)]
    counts = np.stack([np.bincount(cell_R, minlength=size) for cell_R in of_phase])
    order = np.array([names.index(name) for name in ties(phases)])
    found: np.ndarray = np.where(counts.any(axis=0), order[counts.argmax(axis=0)], -1).reshape(shape)
    return found


def shades(phases: pd.DataFrame) -> np.ndarray:
    """Of each run how dark it is, from 0 to 1: 0.5 where its phase has no shade; a nan ranks highest."""
    shade_R = np.full(len(phases), 0.5)
    for name, of in looks(phases).items():
        here_R = (phases["phase"] == name).to_numpy()
        if of.shade in phases and here_R.any():
            shade_R[here_R] = phases.loc[here_R, of.shade].rank(pct=True, na_option="bottom")
    return shade_R


def _mean(values_R: np.ndarray, finished_R: np.ndarray, places: Places, shape: Sequence[int]) -> np.ndarray:
    cell_R = places.cell[finished_R]
    size = math.prod(shape)
    sums = np.bincount(cell_R, values_R[finished_R], minlength=size)
    return (sums / np.maximum(np.bincount(cell_R, minlength=size), 1)).reshape(shape)


def _coloured(phase_PYX: np.ndarray, shade_PYX: np.ndarray, known: Mapping[str, Look]) -> np.ndarray:
    """The colours of all cells, RGBA, uint8: from light through the phase's colour, at 0.5, to dark."""
    colours = np.array([*(of.parts for of in known.values()), (0, 0, 0)], float)[phase_PYX]
    light = LIGHTEST * np.clip(1 - 2 * shade_PYX, 0, 1)[..., None]
    dark = DARKEST * np.clip(2 * shade_PYX - 1, 0, 1)[..., None]
    opaque = 255.0 * (phase_PYX >= 0)[..., None]
    shaded = (colours * (1 - light) + 255 * light) * (1 - dark)
    return np.rint(np.concatenate([shaded, opaque], axis=-1)).astype(np.uint8)


def _panel(plot: Axes, text: str, places: Places, image_YX4: np.ndarray) -> None:
    plot.set_axis_on()
    high, wide, _ = image_YX4.shape
    plot.imshow(image_YX4, origin="lower", aspect="equal" if 1 / 3 < high / wide < 3 else "auto")
    plot.patch.set(**NO_RUN)  # seen where a pixel is transparent: a phase may be white or grey
    plot.set_title(text, size=10, color=INK, linespacing=1.3)
    plot.spines[:].set_visible(False)
    plot.tick_params(length=3, labelsize=8, color=PALE_INK, labelcolor=PALE_INK)
    for axis, set_ticks in ((places.x, plot.set_xticks), (places.y, plot.set_yticks)):
        at, texts = ticks(axis.values or [0])
        set_ticks([len(axis) - 1 - place if axis.descending else place for place in at], texts)
    plot.set_xlabel(places.x.name.replace("_", " "), size=9, color=INK)
    plot.set_ylabel(places.y.name.replace("_", " "), size=9, color=INK)


def ticks(ascending: Sequence[Any]) -> tuple[list[float], list[str]]:
    """A few round values of an axis, and where they are between its places: decades where it goes over some.

    Where there is room, or these are no numbers, the values themselves.
    """
    if len(ascending) <= TICKS or not all(isinstance(v, int | float) and math.isfinite(v) for v in ascending):
        few = np.unique(np.linspace(0, len(ascending) - 1, TICKS).astype(int)).tolist()
        return few, [in_words(ascending[place]) for place in few]
    values = np.array(ascending, float)
    low = values[0] or values[1]  # a range over decades may begin with 0
    middle = values[len(values) // 2]  # of decades it is far below the mean of the ends
    log = low > 0 and values[-1] / low >= 100 and middle < 0.3 * values[-1]
    if log and not values[0]:
        at, texts = ticks(ascending[1:])
        return [0, *(1 + place for place in at)], ["0", *texts]
    scaled = np.log10(values) if log else values
    round_T = np.array(MaxNLocator(TICKS, integer=log).tick_values(scaled[0], scaled[-1]))
    slack = 1e-6 * (scaled[-1] - scaled[0])
    round_T = round_T[(round_T >= scaled[0] - slack) & (round_T <= scaled[-1] + slack)]
    at_T = np.interp(round_T, scaled, np.arange(len(scaled)))
    texts = [
        f"{10**value:g}" if log else f"{float(f'{value:.12g}')!r}".removesuffix(".0") for value in round_T
    ]
    return at_T.tolist(), texts


def _caption(phases: pd.DataFrame, places: Places, phase_PYX: np.ndarray) -> str:
    """What a reader must know: what a pixel and its shade are, the definition, what is pooled, how rough."""
    most = int(np.bincount(places.cell).max())
    said = [
        "each pixel is one run" if most == 1 else f"each pixel is a cell of {plural(most, 'run')} at most"
    ]
    if most > 1:
        said[0] += ", in the colour of the most common phase"
    for name, of in looks(phases).items():
        if of.shade in phases:
            said.append(f"{name}: the darker the higher {of.shade.replace('_', ' ')} ranks")
    if by := definition(phases):
        said.append(f"phases: {by}")
    if places.pooled:
        said.append(f"pooled over {', '.join(places.pooled)}")
    whole = len(phase_PYX) == 1 and (phase_PYX >= 0).all()
    if whole and not math.isnan(dimension := _dimension(_boxes(phase_PYX[0]))):
        said.append(f"box dimension of the boundary {dimension:.2f}")
    return "; ".join(said)
