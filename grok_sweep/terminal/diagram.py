"""The phase diagram on a terminal, as it fills up: the majority phase of each cell so far."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from rich.text import Text

from grok_sweep.core import effects
from grok_sweep.core.axes import one_panel
from grok_sweep.core.definitions import pair
from grok_sweep.core.look import Look
from grok_sweep.core.parts import Definition

# mark -> glyph of a complete cell and of a partial one: a tile in the phase's colour, and an outline. Shapes
# differ so that the diagram reads without colour; a tile, so that white is seen on white.
GLYPHS = {
    "square": ("■", "□"),
    "triangle": ("▲", "△"),
    "circle": ("●", "○"),
    "cross": ("X", "x"),
    "diamond": ("◆", "◇"),
    "pentagon": ("⬟", "⬠"),
    "star": ("★", "☆"),
    "plus": ("✚", "+"),
    "hexagon": ("⬢", "⬡"),
    "triangle_down": ("▼", "▽"),
    "triangle_left": ("◄", "◅"),
    "triangle_right": ("►", "▻"),
}
PALE, DARK = 0.93, 0.15  # brightness beyond which a colour is not seen on every terminal
ROLES = {"x": "columns", "y": "rows", "panel": "panels"}


def complete(look: Look) -> tuple[str, str]:
    """Glyph and style of a phase where all runs of a cell are there, and of its legend."""
    ink = "black" if look.brightness > 0.5 else "white"
    return GLYPHS[look.mark][0], f"bold {ink} on {look.colour}"


def partial(look: Look) -> tuple[str, str]:
    """Glyph and style of a phase where some runs of a cell are not there yet."""
    return GLYPHS[look.mark][1], look.colour if DARK < look.brightness < PALE else "default"


class Diagram:
    """The phase diagram as it fills up: the majority phase of each cell so far.

    `runs`: the columns of all runs of the sweep, which tell how many each cell has; all are of `model`. A
    run counts at every value of an axis that has no effect on it: it is what would be trained there.
    `definition`: that of the phases.
    """

    def __init__(
        self,
        axes: Mapping[str, Sequence[Any]],
        model: str,
        runs: Mapping[str, Any],
        definition: Definition = pair,
    ) -> None:
        self._model, self._definition = model, definition
        chosen = one_panel({name: len(values) for name, values in axes.items()})
        self._roles = {ROLES[of]: name for of, name in chosen.items()}  # the other axes are pooled
        self._values = {role: _ordered(role, axes[name]) for role, name in self._roles.items()}
        # By place along each axis; the last place along one is of the runs that stand at all of its values.
        shape = [len(values) + 1 for values in self._values.values()]
        self._runs = np.zeros(shape, np.int32)
        self._phases = np.zeros((len(definition.ties), *shape), np.int32)
        if self._roles:
            np.add.at(self._runs, self._places(runs), 1)

    def count(self, phases: pd.DataFrame) -> None:
        """Count one shard's runs, but for those that have no phase."""
        phases = phases[phases["phase"].notna()]
        np.add.at(self._phases, (_index(self._definition.ties, phases["phase"]), *self._places(phases)), 1)

    def _places(self, runs: Mapping[str, Any] | pd.DataFrame) -> tuple[np.ndarray, ...]:
        """Where runs stand along each axis of the diagram, an int by run."""
        off = effects.without_effect(self._model, runs)
        return tuple(
            np.where(off.get(name, False), -1, _index(self._values[role], runs[name]))
            for role, name in self._roles.items()
        )

    def lines(self, width: int, height: int) -> list[Text]:
        """The diagram in at most `height` lines; no lines where it does not fit."""
        if not self._roles:
            return []
        columns, rows, panels = (self._values.get(role, [""]) for role in ROLES.values())
        titles, labels = [_short(value) for value in panels], [_short(value) for value in rows]
        captions = [f"{role}: {name}" for role, name in self._roles.items()]
        if "columns" in self._roles:
            captions[0] += f" {_short(columns[0])} to {_short(columns[-1])}"
        caption = flow([Text(text, "dim") for text in captions], width)
        indent = max(map(len, labels))

        headings = 1 if "panels" in self._roles else 0
        fits = []
        for tile in (3, 2, 1):
            panel = max(tile * len(columns), *map(len, titles))
            across = (width - indent) // (tile + panel)  # a gap as wide as a tile precedes each panel
            bands = math.ceil(len(panels) / across) if across > 0 else math.inf
            if bands * (headings + len(rows)) + len(caption) <= height:
                fits.append((bands, -tile, panel))
        if not fits:
            return []
        bands, tile, panel = min(fits)  # as few bands of panels as can be, then as large a tile
        across, tile = math.ceil(len(panels) / bands), -tile
        tiles = self._tiles(tile)

        lines = []
        for first in range(0, len(panels), across):
            band = range(len(panels))[first : first + across]
            if headings:
                heads = (" " * tile + f"{titles[i]:^{panel}}" for i in band)
                lines.append(Text(" " * indent + "".join(heads), "bold"))
            for k, label in enumerate(labels):
                line = Text(f"{label:>{indent}}")
                for i in band:
                    line.append(" " * tile)
                    for j in range(len(columns)):
                        at = {"columns": j, "rows": k, "panels": i}
                        line.append_text(tiles[tuple(at[role] for role in self._roles)])
                    line.append(" " * (panel - tile * len(columns)))
                lines.append(line)
        return [*lines, *caption]

    def _tiles(self, width: int) -> dict[tuple[int, ...], Text]:
        """The look of every cell, by its place along each axis."""
        runs, phases = _spread(self._runs), np.stack([_spread(counts) for counts in self._phases])
        landed, majority = phases.sum(axis=0), phases.argmax(axis=0)
        tiles = {}
        for cell in np.ndindex(runs.shape):
            look = self._definition.phases[self._definition.ties[majority[cell]]]
            drawn = complete(look) if landed[cell] >= runs[cell] else partial(look)
            glyph, style = drawn if landed[cell] else ("·", "dim")
            tiles[cell] = Text(f"{glyph:^{width}}", style)
        return tiles


def _index(values: Sequence[Any], column: Any) -> np.ndarray:
    """Which of the values each of the column is."""
    index: np.ndarray = pd.Index(values).get_indexer(column)
    return index


def _spread(counts: np.ndarray) -> np.ndarray:
    """Counts by place, those that are of all places along an axis, its last, added to each of them."""
    for axis in range(counts.ndim):
        own, everywhere = np.split(counts, [-1], axis)
        counts = own + everywhere
    return counts


def _ordered(role: str, values: Sequence[Any]) -> list[Any]:
    """Columns from large to small as in the article, rows too as on any chart; what is no number as given."""
    numbers = all(isinstance(value, int | float) for value in values)
    return sorted(values, reverse=role != "panels") if numbers else list(values)


def flow(items: Iterable[Text], width: int) -> list[Text]:
    """Items side by side, as many as fit in each line of `width`."""
    lines: list[Text] = []
    for item in items:
        if lines and lines[-1].cell_len + 3 + item.cell_len <= width:
            lines[-1].append("   ").append_text(item)
        else:
            lines.append(Text().append_text(item))
    return lines


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else one_line(str(value))


def one_line(text: str) -> str:
    """Text of a config or a worker without line breaks and control codes, which would tear the display."""
    return "".join(letter if letter.isprintable() else "?" for letter in " ".join(text.split()))
