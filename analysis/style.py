"""The look of all pictures: how each phase is drawn, the colours of what is no data, how a figure is saved.

Figures are matplotlib objects made without pyplot: no display is needed and no global state is left behind.
"""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

COLOURS = {"memorize": "#ffffff", "grok": "#F7DB5C", "generalize": "#7CB9DF", "fail": "#aaaaaa"}
OUTLINES = {"memorize": "#4d4d4d", "grok": "#c9a92b", "generalize": "#4d8fb8", "fail": "#8a8a8a"}
# As on the terminal, since two of the colours are one grey in print. These are plotly's names, which the page
# takes; matplotlib's, and the sizes at which they look as large as a circle, follow.
SHAPES = {"memorize": "square", "grok": "triangle-up", "generalize": "circle", "fail": "x"}
MARKERS = {"square": ("s", 0.88), "triangle-up": ("^", 1.05), "circle": ("o", 1.0), "x": ("X", 1.05)}
HATCHES = {"memorize": "", "grok": "", "generalize": "", "fail": "//////"}  # of areas, which have no shape
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
