"""Where each run stands in the phase diagram: its panel, its cell in it, and its place in the cell."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.cells import axes, wilson
from analysis.load import need
from analysis.words import in_words
from grok_sweep.core.axes import ACROSS, chosen

MAX_PANELS = 30
MOST_COLUMNS = 6  # panels side by side
MAX_VALUES = 64
"""Values of x or y for which there is room in a grid of cells; of more a cell is a pixel."""
MAX_PIXELS = 8192
MAX_SLOTS = 64
"""Dots of one cell that can be told apart."""


@dataclass(frozen=True)
class Axis:
    """Where the runs are along one column, or along the product of several.

    `places`: int, by run; `texts`: what is written at places 0, 1, ...; `values`: of one column, ascending,
    whatever the places; `descending`: these go the other way.
    """

    name: str
    places: np.ndarray
    texts: list[str]
    values: Sequence[Any] = ()
    descending: bool = False

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True)
class Places:
    """Where each run stands.

    `spots`: the row and column of each panel; `cell`: which of all, counted through panels, y and x, int, by
    run; `slot`: the run's place within it, int, by run, one of `slots`; `pooled`: the columns that differ
    within a cell.
    """

    panel: Axis
    x: Axis
    y: Axis
    spots: list[tuple[int, int]]
    cell: np.ndarray
    slot: np.ndarray
    slots: int
    pooled: list[str]

    @property
    def fine(self) -> bool:
        """Whether there are more values than cells that dots or shares can be drawn in."""
        return max(len(self.x), len(self.y)) > MAX_VALUES


def arrange(phases: pd.DataFrame, panels: Sequence[str] | None, x: str | None, y: str | None) -> Places:
    """Choose the axes that the caller did not and place every run; see `analysis.phase_diagram`.

    Raises ValueError where a column is missing or named twice, or there is no room.
    """
    named = [name for name in (*(panels or ()), x, y) if name is not None]
    need(phases, named, "this diagram")
    twice = sorted({name for name in named if named.count(name) > 1})
    if twice:
        raise ValueError(f"{', '.join(twice)}: named twice; panels, x and y are different columns")
    counts = {name: phases[name].nunique(dropna=False) for name in axes(phases)}
    x, y, panels = chosen(counts, x, y, panels)
    parts = [_axis(phases, name) for name in panels]
    panel = _product(parts, runs=len(phases))
    across, up = _axis(phases, x, descending=x == ACROSS), _axis(phases, y)
    for axis in (across, up):
        if len(axis) > MAX_PIXELS:
            raise ValueError(
                f"{axis.name} has {len(axis):,} values, at most {MAX_PIXELS:,} can be drawn; "
                "filter the runs or choose other axes"
            )
    # A row has the values of the last axis, or an equal part of them: then it is one story.
    spots = rows_of(len(panel), len(parts[-1]) if parts else 1, MOST_COLUMNS)
    cell = (panel.places * len(up) + up.places) * len(across) + across.places
    slot, slots = _slots(cell, phases["seed"])
    pooled = [name for name, count in counts.items() if name not in {*panels, x, y} and count > 1]
    return Places(panel, across, up, spots, cell, slot, slots, pooled)


def unsure(phases: pd.DataFrame, places: Places) -> tuple[np.ndarray, str]:
    """Which cells have no phase that is sure to be that of more than half of their runs, and what to say.

    Bool, by cell, by `wilson`; none, and "", where so few runs could not tell, cells are pixels, or they pool
    runs that differ, of which nobody asks for one phase.
    """
    found = np.zeros(len(places.panel) * len(places.y) * len(places.x), bool)
    if places.fine or places.pooled:
        return found, ""
    there = phases["phase"].notna().to_numpy()
    counts = pd.crosstab(places.cell[there], phases["phase"].to_numpy()[there])
    runs_C, most_C = counts.to_numpy().sum(axis=1), counts.to_numpy().max(axis=1, initial=0)
    runs = int(runs_C.max(initial=1))
    least = float(wilson(np.array([runs]), np.array([runs]))[0][0])
    if least <= 0.5:
        return found, ""
    found[counts.index] = wilson(most_C, runs_C)[0] <= 0.5
    alike = f"of {runs:,} alike a share is {100 * least:.0f} % or more (95 %)"
    outlined = "; outlined: that of the most common phase may be below a half"
    return found, alike + outlined * bool(found.any())


def rows_of(panels: int, values: int, most: int) -> list[tuple[int, int]]:
    """The (row, column) of each of `panels`, of which `most` at most stand side by side.

    They are the product of some axes, the last of which has `values` and runs fastest. Its values are one
    row, or rows of equal lengths as far as it goes, and a new round of them begins a new row.
    """
    parts = math.ceil(values / most)
    columns = math.ceil(values / parts)
    return [(i // values * parts + i % values // columns, i % values % columns) for i in range(panels)]


def _axis(phases: pd.DataFrame, name: str | None, *, descending: bool = False) -> Axis:
    """The values of a column in order, or one place for all where there is no column."""
    if name is None:
        return Axis("", np.zeros(len(phases), dtype=int), [""])
    places, values = pd.factorize(phases[name], sort=True, use_na_sentinel=False)
    texts = [in_words(value) for value in values]
    if descending:
        places, texts = len(texts) - 1 - places, texts[::-1]
    return Axis(name, places, texts, list(values), descending)


def _product(parts: Sequence[Axis], runs: int) -> Axis:
    """Several axes as one, the last running fastest; each text has a line for each of them."""
    count = math.prod(map(len, parts))
    if count > MAX_PANELS:
        sizes = " x ".join(f"{len(part)} {part.name}" for part in parts)
        raise ValueError(
            f"{sizes} would be {count} panels, at most {MAX_PANELS} can be drawn; filter the runs or choose "
            "panels, x and y of analysis.phase_diagram"
        )
    product = Axis("", np.zeros(runs, dtype=int), [""])
    for part in parts:
        product = Axis(
            name=f"{product.name} {part.name}".lstrip(),
            places=product.places * len(part) + part.places,
            texts=[
                f"{text}\n{part.name.replace('_', ' ')} {own}".lstrip()
                for text in product.texts
                for own in part.texts
            ],
        )
    return product


def _slots(cell: np.ndarray, seed: pd.Series) -> tuple[np.ndarray, int]:
    """Each run's place within its cell, and how many places a cell has.

    A seed has one place in all cells, unless cells pool runs of equal seeds or each has seeds of its own.
    """
    frame = pd.DataFrame({"cell": cell, "seed": seed.to_numpy()})
    place, seeds = pd.factorize(frame["seed"], sort=True)
    if len(seeds) <= MAX_SLOTS and not frame.duplicated().any():
        return place, len(seeds)
    rank = frame.sort_values("seed", kind="stable").groupby("cell").cumcount().sort_index().to_numpy()
    return rank, int(rank.max()) + 1
