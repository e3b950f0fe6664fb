"""grok-analyze compare: whether two sweeps differ, cell by cell, and what chance makes of it."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from analysis.comparison import Comparison, compare, told
from analysis.comparison_pictures import compare_picture
from analysis.extras import picture_of
from analysis.phases import BUILT_IN, DEFINITIONS, classify, load_phases
from analysis.read import load_curves, load_runs
from analysis.style import picture
from grok_sweep.store import Store, StoreError


def main(argv: Sequence[str]) -> int:
    """Run the command: 0, or 2 with a message on stderr where something was wrong."""
    parser = argparse.ArgumentParser(prog="grok-analyze compare", description=__doc__, allow_abbrev=False)
    parser.add_argument("a", metavar="A", help="a results folder: a path or a URI")
    parser.add_argument("b", metavar="B", help="another")
    parser.add_argument("--definition", choices=DEFINITIONS, help="of the phases (default: the sweeps' own)")
    parser.add_argument("--out", metavar="DIR", help="a folder on this machine for the table and the picture")
    arguments = parser.parse_args(argv)
    names = Store(arguments.a).place(), Store(arguments.b).place()
    try:
        if "://" in (arguments.out or ""):
            raise ValueError(f"--out {arguments.out}: give a folder on this machine")
        one, other = (_phases(folder, arguments.definition) for folder in (arguments.a, arguments.b))
        found = compare(one, other)
        lines = told(found, names)
        if arguments.out is not None:
            lines += _write(found, names, Path(arguments.out))
        print("\n".join(lines))
    except (StoreError, ValueError) as error:
        print(f"grok-analyze: {error}", file=sys.stderr)
    except OSError as error:
        print(f"grok-analyze: {error.filename or arguments.out}: {error.strerror or error}", file=sys.stderr)
    else:
        return 0
    return 2


def _write(found: Comparison, names: tuple[str, str], out: Path) -> list[str]:
    """The table and the picture into a folder; what to say of it."""
    figure, not_drawn = picture_of(compare_picture, found, names)
    contents = {} if figure is None else {f"compare.{kind}": picture(figure, kind) for kind in ("png", "svg")}
    out.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (out / name).write_bytes(content)
    found.table.to_parquet(out / "compare.parquet", index=False)
    drawn = ", ".join(str(out / name) for name in contents)
    return [f"table: {out / 'compare.parquet'}", f"picture: {drawn or not_drawn}"]


def _phases(folder: str, definition: str | None) -> pd.DataFrame:
    """Those of a folder, by its own definition where none is asked for. Raises StoreError: there are none."""
    own = Store(folder).sweep()["config"].get("phases", {})
    runs, name = load_runs(folder), definition or own.get("definition", "pair")
    if runs.empty:
        raise StoreError(f"{Store(folder).place()}: no finished runs")
    if name not in DEFINITIONS:
        return load_phases(folder, runs, name)
    curves = load_curves(folder) if BUILT_IN[name].reads_curves else None
    numbers = {key: own[key] for key in BUILT_IN[name].numbers if key in own and definition is None}
    return classify(runs, definition=name, curves=curves, **numbers)
