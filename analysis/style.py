"""The look of all pictures: how each phase is drawn, the colours of what is no data, how a figure is saved.

Figures are matplotlib objects made without pyplot: no display is needed and no global state is left behind.
"""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

# By the marks of `Look`: plotly's names, which the page takes; matplotlib's, and the sizes at which they look
# as large as a circle; and what areas have, which have no shape.
SHAPES = {
    "square": "square",
    "triangle": "triangle-up",
    "circle": "circle",
    "cross": "x",
    "diamond": "diamond",
    "pentagon": "pentagon",
    "star": "star",
    "plus": "cross",
    "hexagon": "hexagon",
    "triangle_down": "triangle-down",
    "triangle_left": "triangle-left",
    "triangle_right": "triangle-right",
}
MARKERS = {
    "square": ("s", 0.88),
    "triangle": ("^", 1.05),
    "circle": ("o", 1.0),
    "cross": ("X", 1.05),
    "diamond": ("D", 0.82),
    "pentagon": ("p", 1.05),
    "star": ("*", 1.3),
    "plus": ("P", 1.05),
    "hexagon": ("h", 1.05),
    "triangle_down": ("v", 1.05),
    "triangle_left": ("<", 1.05),
    "triangle_right": (">", 1.05),
}
HATCHES = {
    "square": "",
    "triangle": "",
    "circle": "",
    "cross": "//////",
    "diamond": 6 * "\\",
    "pentagon": "...",
}
HATCHES |= {
    "star": "**",
    "plus": "++++",
    "hexagon": "ooo",
    "triangle_down": "-----",
    "triangle_left": "|||||",
}
HATCHES |= {"triangle_right": "xxxxx"}
# Okabe and Ito's colours, which colour-blind readers tell apart.
SAFE = ("#d55e00", "#f0e442", "#0072b2", "#8c8c8c", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
TILE = "#f3f3f1"
MISSING = "#b9b9b4"
INK = "#333333"
PALE_INK = "#777777"

PNG_DPI = 160

MARGIN = 0.2  # inches around a figure
LETTER = 0.075  # inches, about the width of a letter at 9 points


def save(figure: Figure, path: Path) -> None:
    """Write `figure` to `path` in the format of its extension: the same bytes for the same figure.

    Text in an SVG stays text. Raises OSError where the file cannot be written.
    """
    path.write_bytes(picture(figure, path.suffix.removeprefix(".")))


def picture(figure: Figure, extension: str) -> bytes:
    """The content of a file of that extension, such as png or svg; see `save`."""
    file = io.BytesIO()
    with plain_style():
        undated = {"Date": None} if extension == "svg" else {}
        figure.savefig(file, format=extension, dpi=PNG_DPI, metadata=undated)
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


def text_width(texts: Sequence[str]) -> float:
    """Inches that the longest of some texts takes at 9 points, roughly."""
    return LETTER * max(map(len, texts))
