"""Of a grid too fine for dots: the colours and ticks of its pixels, and how rough the boundary is."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.arrange import Places, arrange
from analysis.phases import looks, ties
from analysis.words import in_words

TICKS = 6  # at most, of an axis
LIGHTEST, DARKEST = 0.75, 0.5  # how far shades go to white, and to black


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
    return dimension(most_common(phases, places)[0])


def dimension(phase_YX: np.ndarray) -> tuple[float, pd.DataFrame]:
    """See `box_dimension`; of the phases of the cells of one panel, as `most_common` gives them."""
    edge_YX: np.ndarray = np.zeros(phase_YX.shape, bool)
    # A cell without a run is on no boundary.
    edge_YX[:, :-1] |= (np.diff(phase_YX, axis=1) != 0) & (phase_YX[:, :-1] >= 0) & (phase_YX[:, 1:] >= 0)
    edge_YX[:-1] |= (np.diff(phase_YX, axis=0) != 0) & (phase_YX[:-1] >= 0) & (phase_YX[1:] >= 0)
    y_N, x_N = np.nonzero(edge_YX)
    sizes = [2**power for power in range(int(math.log2(min(phase_YX.shape))))]
    boxes = [len(np.unique(y_N // size * phase_YX.shape[1] + x_N // size)) for size in sizes]
    table = pd.DataFrame({"size": sizes, "boxes": boxes})
    if len(boxes) < 2 or not len(y_N):
        return math.nan, table
    return float(np.median(np.log2(np.divide(boxes[:-1], boxes[1:])))), table


def most_common(phases: pd.DataFrame, places: Places) -> np.ndarray:
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


def coloured(phase_PYX: np.ndarray, phases: pd.DataFrame, places: Places) -> np.ndarray:
    """The colours of all cells, RGBA, uint8: from light through the phase's colour, at 0.5, to dark."""
    finished_R, size = phases["phase"].notna().to_numpy(), phase_PYX.size
    runs = np.maximum(np.bincount(places.cell, finished_R, size), 1)
    shade_PYX = (np.bincount(places.cell, finished_R * shades(phases), size) / runs).reshape(phase_PYX.shape)
    colours = np.array([*(of.parts for of in looks(phases).values()), (0, 0, 0)], float)[phase_PYX]
    light = LIGHTEST * np.clip(1 - 2 * shade_PYX, 0, 1)[..., None]
    dark = DARKEST * np.clip(2 * shade_PYX - 1, 0, 1)[..., None]
    opaque = 255.0 * (phase_PYX >= 0)[..., None]
    shaded = (colours * (1 - light) + 255 * light) * (1 - dark)
    return np.rint(np.concatenate([shaded, opaque], axis=-1)).astype(np.uint8)


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
    from matplotlib.ticker import MaxNLocator  # loaded where there is something to draw

    scaled = np.log10(values) if log else values
    round_T = np.array(MaxNLocator(TICKS, integer=log).tick_values(scaled[0], scaled[-1]))
    slack = 1e-6 * (scaled[-1] - scaled[0])
    round_T = round_T[(round_T >= scaled[0] - slack) & (round_T <= scaled[-1] + slack)]
    at_T = np.interp(round_T, scaled, np.arange(len(scaled)))
    return at_T.tolist(), [f"{10**value if log else value:.10g}" for value in round_T]
