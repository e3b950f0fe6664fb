"""The phase diagram on a terminal, as it fills up: the majority phase of each cell so far."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
from rich.text import Text

# phase -> glyph and style of a cell. Shapes differ so that the diagram reads without colour; the colours are
# the article's. A complete cell is a tile, so that white is seen on white; a partial one is an outline.
COMPLETE = {
    "memorize": ("■", "bold black on #ffffff"),
    "grok": ("▲", "bold black on #F7DB5C"),
    "generalize": ("●", "bold black on #7CB9DF"),
    "fail": ("X", "bold black on #aaaaaa"),
}
PARTIAL = {
    "memorize": ("□", "default"),
    "grok": ("△", "#F7DB5C"),
    "generalize": ("○", "#7CB9DF"),
    "fail": ("x", "#aaaaaa"),
}
PHASES = tuple(COMPLETE)
TIES = (
    "fail",
    "memorize",
    "generalize",
    "grok",
)  # the first of equal phases stands for a cell, as in analysis
# Which axis the diagram is split by, if the sweep has it with more than one value; else the next that has.
PREFERRED = {"columns": "hidden_size", "rows": "train_size", "panels": "weight_decay"}


class Diagram:
    """The phase diagram as it fills up: the majority phase of each cell so far."""

    def __init__(self, axes: Mapping[str, Sequence[Any]], seeds: int) -> None:
        self._roles = _roles(axes)
        self._values = {role: _ordered(role, axes[name]) for role, name in self._roles.items()}
        cells = math.prod(len(values) for values in self._values.values())
        self._runs_per_cell = seeds * math.prod(len(values) for values in axes.values()) // cells
        self._cells: defaultdict[tuple[Any, ...], Counter[str]] = defaultdict(Counter)

    def count(self, phases: pd.DataFrame) -> None:
        """Count one shard's runs."""
        columns = [phases[name].tolist() for name in (*self._roles.values(), "phase")]
        for *cell, phase in zip(*columns, strict=True):
            self._cells[tuple(cell)][phase] += 1

    def lines(self, width: int, height: int) -> list[Text]:
        """The diagram in at most `height` lines; no lines where it does not fit."""
        if not self._roles:
            return []
        columns, rows, panels = (self._values.get(role, [""]) for role in PREFERRED)
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

        lines = []
        for first in range(0, len(panels), across):
            band = range(len(panels))[first : first + across]
            if headings:
                heads = (" " * tile + f"{titles[i]:^{panel}}" for i in band)
                lines.append(Text(" " * indent + "".join(heads), "bold"))
            for row, label in zip(rows, labels, strict=True):
                line = Text(f"{label:>{indent}}")
                for i in band:
                    line.append(" " * tile)
                    for column in columns:
                        at = {"columns": column, "rows": row, "panels": panels[i]}
                        line.append_text(self._tile(tuple(at[role] for role in self._roles), tile))
                    line.append(" " * (panel - tile * len(columns)))
                lines.append(line)
        return [*lines, *caption]

    def _tile(self, cell: tuple[Any, ...], width: int) -> Text:
        counts = self._cells.get(cell)
        if not counts:
            return Text(f"{'·':^{width}}", "dim")
        look = COMPLETE if counts.total() >= self._runs_per_cell else PARTIAL
        glyph, style = look[max(TIES, key=lambda phase: counts[phase])]
        return Text(f"{glyph:^{width}}", style)


def _roles(axes: Mapping[str, Sequence[Any]]) -> dict[str, str]:
    """Which axis the columns, rows and panels of the diagram are; the other axes are pooled."""
    many = [name for name, values in axes.items() if len(values) > 1]
    others = iter([name for name in many if name not in PREFERRED.values()])
    roles = {role: name if name in many else next(others, None) for role, name in PREFERRED.items()}
    return {role: name for role, name in roles.items() if name is not None}


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
