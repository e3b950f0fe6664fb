"""The phase diagram on a terminal, as it fills up: the majority phase of each cell so far."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from rich.columns import Columns
from rich.console import RenderableType
from rich.text import Text

from grok_sweep.core import effects
from grok_sweep.core.axes import ACROSS, one_panel
from grok_sweep.core.definitions import pair
from grok_sweep.core.look import MARKS, Look
from grok_sweep.core.parts import Definition

# Shapes differ so that the diagram reads without colour.
GLYPHS = dict(zip(MARKS, "■▲●X◆⬟★✚⬢▼◄►", strict=True))
PALE, DARK = 0.93, 0.15  # brightness beyond which a colour is not seen on every terminal
ROLES = {"x": "columns", "y": "rows", "panel": "panels"}
GAP = 2  # between panels


def complete(look: Look) -> tuple[str, str]:
    """Glyph and style of a phase where all runs of a cell are there, a tile, and of its legend."""
    ink = "black" if look.brightness > 0.5 else "white"
    return GLYPHS[look.mark], f"bold {ink} on {look.colour}"


def partial(look: Look) -> tuple[str, str]:
    """Glyph and style of a phase where some runs of a cell are not there yet."""
    return GLYPHS[look.mark], look.colour if DARK < look.brightness < PALE else "default"


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
        # Widths across from large to small as in the article, all rows as on any chart.
        self._values = {
            role: sorted(axes[name], reverse=role == "rows" or (role == "columns" and name == ACROSS))
            for role, name in self._roles.items()
        }
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

    def drawn(self, width: int, height: int) -> list[RenderableType]:
        """The diagram, in at most `height` lines; nothing where it does not fit."""
        if not self._roles:
            return []
        columns, rows, panels = (self._values.get(role, [""]) for role in ROLES.values())
        labels = [_short(value) for value in rows]
        longest = max(map(len, labels))
        for tile, indent in ((2, longest), (1, longest + 1)):
            wide = indent + tile * len(columns)
            across = (width + GAP) // (wide + GAP)
            if across and math.ceil(len(panels) / across) * (1 + len(rows)) < height:
                break
        else:
            return []
        looks = self._looks()
        every = []
        for i, title in enumerate(panels):
            panel = Text(no_wrap=True).append(f"{_short(title):^{wide}}", "bold")
            for k, label in enumerate(labels):
                panel.append("\n" + label.rjust(longest).ljust(indent), "default")
                for j in range(len(columns)):
                    at = {"columns": j, "rows": k, "panels": i}
                    glyph, style = looks[tuple(at[role] for role in self._roles)]
                    panel.append(glyph.rjust(tile), style)
            every.append(panel)
        captions = [f"{role}: {name}" for role, name in self._roles.items()]
        captions[0] += f" {_short(columns[0])} to {_short(columns[-1])}"
        return [Columns(every, padding=(0, GAP)), Text("   ".join(captions), "dim")]

    def _looks(self) -> dict[tuple[int, ...], tuple[str, str]]:
        """Glyph and style of every cell, by its place along each axis."""
        runs, phases = _spread(self._runs), np.stack([_spread(counts) for counts in self._phases])
        landed, majority = phases.sum(axis=0), phases.argmax(axis=0)
        found = {}
        for cell in np.ndindex(runs.shape):
            look = self._definition.phases[self._definition.ties[majority[cell]]]
            drawn = complete(look) if landed[cell] >= runs[cell] else partial(look)
            found[cell] = drawn if landed[cell] else ("·", "dim")
        return found


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


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def one_line(text: str) -> str:
    """Text of a worker without line breaks and control codes, which would tear the display."""
    return "".join(letter if letter.isprintable() else "?" for letter in " ".join(text.split()))
