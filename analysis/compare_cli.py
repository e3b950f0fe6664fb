"""grok-analyze compare: whether two sweeps differ, cell by cell, and what chance makes of it."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from analysis.comparison import compare, told
from analysis.phases import BUILT_IN, DEFINITIONS, classify
from analysis.read import load_curves, load_runs
from grok_sweep.store import Store, StoreError


def main(argv: Sequence[str]) -> int:
    """Run the command: 0, or 2 with a message on stderr where something was wrong."""
    parser = argparse.ArgumentParser(prog="grok-analyze compare", description=__doc__, allow_abbrev=False)
    parser.add_argument("a", metavar="A", help="a results folder: a path or a URI")
    parser.add_argument("b", metavar="B", help="another")
    parser.add_argument("--definition", choices=DEFINITIONS, default="pair", help="of the phases (pair)")
    parser.add_argument("--out", metavar="DIR", help="a folder for the table and the picture")
    arguments = parser.parse_args(argv)
    names = arguments.a, arguments.b
    try:
        one, other = (_phases(folder, arguments.definition) for folder in names)
        found = compare(one, other)
        lines = told(found, names)
        if arguments.out is not None:
            from analysis.comparison_pictures import compare_picture
            from analysis.style import picture

            figure = compare_picture(found, names)
            contents = {f"compare.{kind}": picture(figure, kind) for kind in ("png", "svg")}
            out = Path(arguments.out)
            out.mkdir(parents=True, exist_ok=True)
            for name, content in contents.items():
                (out / name).write_bytes(content)
            found.table.to_parquet(out / "compare.parquet", index=False)
            lines.append(f"table and picture: {out / 'compare.parquet'}, {out / 'compare.png'}, .svg")
        print("\n".join(lines))
    except (StoreError, ValueError) as error:
        print(f"grok-analyze: {error}", file=sys.stderr)
    except OSError as error:
        print(f"grok-analyze: {error.filename or arguments.out}: {error.strerror or error}", file=sys.stderr)
    else:
        return 0
    return 2


def _phases(folder: str, definition: str) -> pd.DataFrame:
    """Those of a folder. Raises StoreError where it holds no sweep, or none of its runs has finished."""
    Store(folder).sweep()
    runs = load_runs(folder)
    if runs.empty:
        raise StoreError(f"{folder}: no finished runs")
    curves = load_curves(folder) if BUILT_IN[definition].reads_curves else None
    return classify(runs, definition=definition, curves=curves)
