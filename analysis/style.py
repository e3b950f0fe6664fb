"""The look of all pictures: how each phase is drawn, the colours of what is no data, how a figure is saved.

Figures are matplotlib objects made without pyplot: no display is needed and no global state is left behind.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
from matplotlib.figure import Figure


class Mark(NamedTuple):
    """How a mark of `Look` is drawn: plotly's name, which the page takes; matplotlib's, and the size at which
    it looks as large as a circle; and the hatch of areas, which have no shape.
    """

    plotly: str
    matplotlib: str
    size: float
    hatch: str


MARKS = {
    "square": Mark("square", "s", 0.88, ""),
    "triangle": Mark("triangle-up", "^", 1.05, ""),
    "circle": Mark("circle", "o", 1.0, ""),
    "cross": Mark("x", "X", 1.05, "//////"),
    "diamond": Mark("diamond", "D", 0.82, "\\\\\\\\\\\\"),
    "pentagon": Mark("pentagon", "p", 1.05, "..."),
    "star": Mark("star", "*", 1.3, "**"),
    "plus": Mark("cross", "P", 1.05, "++++"),
    "hexagon": Mark("hexagon", "h", 1.05, "ooo"),
    "triangle_down": Mark("triangle-down", "v", 1.05, "-----"),
    "triangle_left": Mark("triangle-left", "<", 1.05, "|||||"),
    "triangle_right": Mark("triangle-right", ">", 1.05, "xxxxx"),
}
# Okabe and Ito's colours, which colour-blind readers tell apart.
SAFE = ("#d55e00", "#f0e442", "#0072b2", "#8c8c8c", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
TILE = "#f3f3f1"
MISSING = "#b9b9b4"
INK = "#333333"
PALE_INK = "#777777"

PNG_DPI = 160


def save(figure: Figure, path: Path) -> None:
    """Write `figure` to `path` in the format of its extension: the same bytes for the same figure.

    Text in an SVG stays text. Raises OSError where the file cannot be written.
    """
    path.write_bytes(picture(figure, path.suffix.removeprefix(".")))


def picture(figure: Figure, extension: str) -> bytes:
    """The content of a file of that extension, such as png or svg; see `save`.

    The figure is laid out for the first, and keeps that layout for the others: it takes as long as drawing.
    """
    file = io.BytesIO()
    with plain_style():
        undated = {"Date": None} if extension == "svg" else {}
        figure.savefig(file, format=extension, dpi=PNG_DPI, metadata=undated)
    figure.set_layout_engine("none")
    return file.getvalue()


@contextmanager
def plain_style() -> Iterator[None]:
    """The same look, and the same bytes, whatever style the user has set."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams["font.family"] = "sans-serif"
        mpl.rcParams["font.sans-serif"] = ["DejaVu Sans"]
        mpl.rcParams["svg.fonttype"] = "none"
        mpl.rcParams["svg.hashsalt"] = "grok_sweep"
        yield
