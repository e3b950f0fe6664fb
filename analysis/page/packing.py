"""The page as one file: what it says, its arrays, its scripts and plotly."""

import base64
import functools
import gzip
import json
import re
from collections.abc import Iterable, Mapping
from importlib import resources
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]  # of a page, by name


def packed(title: str, about: Mapping[str, Any], arrays: Arrays) -> bytes:
    """The page: `about` as JSON, and the arrays, whose places are the item "arrays" of it."""
    places, data = _one_after_the_other(arrays)
    scripts = ("elements.js", "data.js", "diagram.js", "curves.js", "opened.js", "table.js", "page.js")
    parts = {"PLOTLY": _plotly(), "DATA": _packed(data)}
    return filled("page.html", title, {**about, "arrays": places}, scripts, parts)


def filled(
    html: str, title: str, about: Mapping[str, Any], scripts: Iterable[str], more: Mapping[str, str]
) -> bytes:
    """A page by its name, with its scripts, and `about` as JSON; `more`: what else to put in, by name."""

    def part(name: str) -> str:
        return resources.files("analysis.page").joinpath(name).read_text(encoding="utf-8")

    # In a script nothing but its end tag ends it: no < at all cannot be one.
    text = json.dumps(about, allow_nan=False).replace("<", "\\u003c")
    parts = {
        "STYLE": part("page.css"),
        "SCRIPT": "\n".join(map(part, scripts)),
        "ABOUT": text,
        "TITLE": title.replace("&", "&amp;").replace("<", "&lt;"),
        **more,
    }
    # In one pass: what is put in is not looked through again.
    return re.sub(r"@@([A-Z]+)@@", lambda match: parts[match[1]], part(html)).encode()


def ended(content: bytes) -> bytes:
    """A page that says no longer that its sweep is running; else as it was."""
    return re.sub(rb'"live": "[0-9T :.+-]*"', b'"live": null', content, count=1)


def _one_after_the_other(arrays: Arrays) -> tuple[dict[str, tuple[str, int, int]], bytes]:
    """The arrays as the browser gets them, and name -> (kind, first byte, length)."""
    places: dict[str, tuple[str, int, int]] = {}
    data = bytearray()
    for name, array in arrays.items():
        data += bytes(-len(data) % 8)
        word = {"f": "Float", "i": "Int", "u": "Uint"}[array.dtype.kind]
        places[name] = (f"{word}{8 * array.dtype.itemsize}Array", len(data), array.size)
        data += array.astype(array.dtype.newbyteorder("<")).tobytes()
    return places, bytes(data)


@functools.cache
def _plotly() -> str:
    return _packed(resources.files("plotly").joinpath("package_data/plotly.min.js").read_bytes())


def _packed(data: bytes) -> str:
    return base64.b64encode(gzip.compress(data, compresslevel=6, mtime=0)).decode()
