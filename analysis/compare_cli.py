"""grok-analyze compare: whether two sweeps differ, cell by cell, and what chance makes of it."""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from analysis.comparison import axes_of, compare, told
from analysis.comparison_pictures import compare_picture, shifts_picture
from analysis.extras import picture_of
from analysis.load import load_runs
from analysis.page.comparing import compare_page
from analysis.phases import BUILT_IN, DEFINITIONS
from analysis.report import EXTENSIONS, phases_of
from analysis.shifts import shifts
from analysis.shifts import told as shifts_told
from analysis.style import picture
from grok_sweep.store import Store, StoreError

PAGE = "compare.html"


def parser() -> argparse.ArgumentParser:
    """Of what stands behind the word compare."""
    parser = argparse.ArgumentParser(prog="grok-analyze compare", description=__doc__, allow_abbrev=False)
    parser.add_argument("folder", metavar="A", help="a results folder: a path or a URI")
    parser.add_argument("other", metavar="B", help="another")
    parser.add_argument("--definition", choices=DEFINITIONS, help="of the phases (default: the sweeps' own)")
    parser.add_argument(
        "--boundary", metavar="AXIS", help="also how far apart their boundaries along AXIS are"
    )
    parser.add_argument("--out", metavar="DIR", help="a folder here for tables, pictures and a page")
    return parser


def compared(arguments: argparse.Namespace) -> Iterator[str]:
    """Compare the two; what to say. Raises StoreError, ValueError and OSError as `analyze` does."""
    if "://" in (arguments.out or ""):
        raise ValueError(f"--out {arguments.out}: give a folder on this machine")
    folders = arguments.folder, arguments.other
    one, other = (_phases(folder, arguments.definition) for folder in folders)
    found, names = compare(one, other), (Store(folders[0]).place(), Store(folders[1]).place())
    lines, moved = told(found, names), None
    made: dict[str, tuple[pd.DataFrame, Callable[[], Figure]]] = {
        "compare": (found.table, lambda: compare_picture(found, names))
    }
    if arguments.boundary is not None:
        moved = shifts(one, other, arguments.boundary, axes_of(found.table))
        lines += shifts_told(moved)
        made["shifts"] = moved, lambda: shifts_picture(moved, names)
    if arguments.out is not None:
        out, content = Path(arguments.out), compare_page(found, names, lines, moved)
        for name, (table, draw) in made.items():
            lines += _write(out, name, table, *picture_of(draw))
        (out / PAGE).write_bytes(content)
        lines.append(f"page: {out / PAGE}")
    yield "\n".join(lines)


def _write(out: Path, name: str, table: pd.DataFrame, figure: Figure | None, not_drawn: str) -> list[str]:
    """A table and its picture into a folder; what to say of it."""
    contents = {} if figure is None else {f"{name}.{kind}": picture(figure, kind) for kind in EXTENSIONS}
    out.mkdir(parents=True, exist_ok=True)
    for file, content in contents.items():
        (out / file).write_bytes(content)
    table.to_parquet(out / f"{name}.parquet", index=False)
    drawn = ", ".join(str(out / file) for file in contents)
    return [f"table: {out / name}.parquet", f"picture: {drawn or not_drawn}"]


def _phases(folder: str, definition: str | None) -> pd.DataFrame:
    """Those of a folder, by its own definition where none is asked for. Raises StoreError: there are none."""
    own = Store(folder).sweep()["config"].get("phases", {})
    runs, name = load_runs(folder), definition or own.get("definition", "pair")
    if runs.empty:
        raise StoreError(f"{Store(folder).place()}: no finished runs")
    numbers = BUILT_IN[name].numbers if definition is None and name in BUILT_IN else {}
    return phases_of(folder, runs, name, {key: own[key] for key in numbers if key in own})
