"""Which parts to measure, and the figures as text and JSON.

    python -m grok_sweep.bench                        the parts for which a CPU is enough: all but sweep
    python -m grok_sweep.bench short_runs --runs 5000
    python -m grok_sweep.bench sweep --device gpu     all of parity_1125 in one process, cold cache

`sweep` needs jax, flax, optax, pandas and pyarrow only: Ray, Hydra and matplotlib come with the
command line, which the other parts start as a process.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any, NoReturn

from grok_sweep.bench.cores import orchestration, plan, short_runs, training
from grok_sweep.bench.device import plain_config, sweep
from grok_sweep.bench.process import BenchError, Figures
from grok_sweep.core.config import parse
from grok_sweep.errors import ConfigError
from grok_sweep.session import provenance
from grok_sweep.versions import versions

PARTS = ("training", "plan", "orchestration", "short_runs", "sweep")


def show(figures: Figures) -> None:
    """Print a part's figures: a line each, tables as tables."""
    for key, value in figures.items():
        label = key.replace("_", " ")
        if not isinstance(value, list):
            print(f"  {label:<40} {_text(value)}")
        elif value:
            head = [column.replace("_", " ") for column in value[0]]
            cells = [head, *([_text(cell) for cell in row.values()] for row in value)]
            widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
            print(f"  {label}:")
            for line in cells:
                print(
                    "    " + "  ".join(f"{cell:>{width}}" for cell, width in zip(line, widths, strict=True))
                )
    sys.stdout.flush()


def _text(value: Any) -> str:
    if not isinstance(value, float):
        return f"{value:,}" if isinstance(value, int) else str(value)
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


class _Arguments(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise BenchError(message)


def _count(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number of at least 1")
    return int(text)


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = _Arguments(prog="python -m grok_sweep.bench", description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; none: all but sweep"
    )
    parser.add_argument(
        "--runs", type=_count, metavar="N", help="of plan (1,000,000) and short_runs (100,000)"
    )
    parser.add_argument("--device", choices=["cpu", "gpu", "tpu"], default="cpu", help="of sweep (cpu)")
    parser.add_argument("--steps", type=_count, metavar="N", help="of sweep, a multiple of 100 (20,000)")
    parser.add_argument("--seeds", type=_count, metavar="N", help="of sweep (9)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="new folder for the results of sweep")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to it too")
    arguments = parser.parse_args(argv)
    for part in arguments.parts:
        if part not in PARTS:
            raise BenchError(f"{part!r}: no such part; there are {', '.join(PARTS)}")
    out, file = arguments.out, arguments.json
    if out and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise BenchError(f"--out {out}: is there already; choose a new folder")
    try:  # now, not after an hour
        if out:
            out.mkdir(parents=True, exist_ok=True)
        if file:
            file.open("a").close()
    except OSError as error:
        raise BenchError(f"{error.filename}: cannot be written: {error.strerror}") from None
    return arguments


def main(argv: list[str] | None = None) -> int:
    """Measure, print, and write. Exit code 0, or 2 with one message."""
    try:
        _measure(_arguments(argv))
    except (BenchError, ConfigError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    return 0


def _measure(arguments: argparse.Namespace) -> None:
    cluster = "local" if arguments.device == "cpu" else arguments.device
    config = plain_config("parity_1125")
    swept = plain_config("parity_1125", cluster)
    swept["train"]["steps"] = arguments.steps or swept["train"]["steps"]
    swept["seeds"] = arguments.seeds or swept["seeds"]
    parse(swept)  # so that a bad value is answered before anything is measured
    some = [arguments.runs] if arguments.runs else []
    measure = {
        "training": lambda: training(config),
        "plan": lambda: plan(*some),
        "orchestration": orchestration,
        "short_runs": lambda: short_runs(*some),
        "sweep": lambda: sweep(swept, arguments.device, arguments.out),  # the last: it changes this process
    }
    record: Figures = {"machine": provenance.machine(), "versions": versions()}
    for part in PARTS:
        if part in (arguments.parts or PARTS[:-1]):
            print(f"\n{part}", flush=True)  # it takes minutes
            record[part] = measure[part]()
            show(record[part])
            if arguments.json:
                arguments.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
