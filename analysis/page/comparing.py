"""Two sweeps as one HTML file: each cell's distance, and on asking what it is in either."""

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.colors import to_hex

from analysis.arrange import MAX_PANELS, MAX_VALUES
from analysis.comparison import SURE, Comparison, axes_of
from analysis.comparison_pictures import COLOURS
from analysis.page.packing import filled
from analysis.phases import looks
from analysis.words import in_words
from grok_sweep.core.axes import one_panel

SCRIPTS = ("elements.js", "data.js", "compare.js")


def compare_page(
    found: Comparison, names: tuple[str, str], lines: Sequence[str], moved: pd.DataFrame | None = None
) -> bytes:
    """The page of a comparison, of what it says in `lines`, and of how far boundaries have `moved`.

    `names`: of the two sweeps. A cell is looked at where its axes have room, at most MAX_VALUES values across
    and up: an axis with more is set to one of its values. Without plotly: 31 kB for 125 cells.
    """
    table = found.table
    places: list[np.ndarray] = []
    axes: list[dict[str, Any]] = []
    for name in axes_of(table):
        place_C, values = pd.factorize(table[name], sort=True, use_na_sentinel=False)
        places.append(place_C)
        axes.append({"name": name, "values": [_plain(value) for value in values.tolist()]})
    counts = {axis["name"]: len(axis["values"]) for axis in axes}
    counts_2CP = []
    for side in "ab":
        shares_CP = table[[f"share_{side}_{name}" for name in looks(table)]].to_numpy()
        counts_2CP.append(np.rint(shares_CP * table[[f"runs_{side}"]].to_numpy()).astype(int).tolist())
    start = one_panel({name: count for name, count in counts.items() if count <= MAX_VALUES})
    if counts.get(start.get("panel", ""), 0) > MAX_PANELS:
        del start["panel"]
    about: dict[str, Any] = {
        "title": " and ".join(names),
        "names": names,
        "lines": lines,
        "phases": [
            {"name": name, "colour": look.colour, "edge": look.edge} for name, look in looks(table).items()
        ],
        "axes": axes,
        "places": np.column_stack(places).tolist() if places else [[]],
        "runs": [table[f"runs_{side}"].tolist() for side in "ab"],
        "counts": counts_2CP,
        "distance": table["distance"].tolist(),
        "by_chance": table["by_chance"].tolist(),
        "p": table["p"].tolist(),
        "q": table["q"].tolist(),
        "sure": SURE,
        "scale": [to_hex(colour) for colour in mpl.colormaps[COLOURS](np.linspace(0, 1, 33))],
        "start": start,
        "most": {"x": MAX_VALUES, "y": MAX_VALUES, "panel": MAX_PANELS},
        "shifts": None
        if moved is None
        else {
            "columns": [*map(str, moved)],
            "rows": [_shift(row, [*moved].index("below")) for row in moved.itertuples(index=False)],
        },
    }
    return filled("compare.html", str(about["title"]), about, SCRIPTS, {})


def _plain(value: Any) -> Any:
    return None if pd.isna(value) else value


def _shift(row: Sequence[Any], by: int) -> list[str]:
    """A row of the table of shifts, of which the first `by` are values of axes."""
    return [
        f"{value:.3g}" if at >= by and isinstance(value, float) else in_words(value)
        for at, value in enumerate(row)
    ]
