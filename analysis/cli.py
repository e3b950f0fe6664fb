"""grok-analyze: sort the finished runs of a sweep into phases again, without training."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from analysis import compare_cli
from analysis.phases import DEFINITIONS, problems
from analysis.report import analyze
from grok_sweep.store import Store, StoreError

MOST_RECORDED = 100_000  # runs of a record, which is committed or mailed


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command: 0 where tables were written, 2 with a message on stderr where something was wrong.

    `compare A B` is a command of its own (`analysis.compare_cli`).
    """
    argv = sys.argv[1:] if argv is None else argv
    if argv[:1] == ["compare"]:
        arguments, run = compare_cli.parser().parse_args(argv[1:]), compare_cli.compared
    else:
        arguments, run = _parser().parse_args(argv), _analyzed
    try:
        for said in run(arguments):
            print(said)
    except (StoreError, ValueError) as error:
        print(f"grok-analyze: {error}", file=sys.stderr)
    except OSError as error:
        print(
            f"grok-analyze: {error.filename or arguments.folder}: {error.strerror or error}", file=sys.stderr
        )
    else:
        return 0
    return 2


def _analyzed(arguments: argparse.Namespace) -> Iterator[str]:
    """Analyse a folder, and make a record of it where that is asked for; what to say."""
    folder, record = arguments.folder, arguments.record
    options, wrong = _options(arguments)
    wrong += [] if record is None else _target_problems(record, folder)
    if wrong:
        raise ValueError("; ".join(wrong))
    done = analyze(folder, **options)
    yield str(done)
    if record is None:
        return
    Path(record).mkdir(parents=True, exist_ok=True)
    store, target = Store(folder), Store(record)
    runs, said = sum(done.counts.values()), ""
    if runs <= MOST_RECORDED:
        store.copy_record(target)
        analyze(record, **options)
    else:
        store.copy_cells(target)
        said = f": cells and picture alone; {runs:,} runs themselves are too many for a record"
    yield f"record: {record}{said}"


def _options(arguments: argparse.Namespace) -> tuple[dict[str, Any], list[str]]:
    """The arguments of `analyze`, and what is wrong with them; what is not given is as in the sweep's config.

    A definition of the sweep's own file has thresholds of its own, and is not run here.
    """
    own = Store(arguments.folder).sweep()["config"].get("phases", {})
    name = arguments.definition or own.get("definition", "pair")
    thresholds = {key: getattr(arguments, key) for key in ("min_loss", "max_ratio")}
    given = {key: value for key, value in thresholds.items() if value is not None}
    wrong = problems(definition="pair" if name == own.get("definition") else name, **given)
    if name == "pair":
        given = {key: own[key] for key in thresholds if key in own} | given
    elif given and not wrong:
        wrong = [f"{', '.join(given)}: no part of definition {name}; leave it out"]
    figures = arguments.figures or arguments.run is not None
    options = {"definition": name, "figures": figures, "run_id": arguments.run}
    options |= {
        name: getattr(arguments, name)
        for name in ("report", "sensitivity", "boundary", "times", "scaling", "joint")
    }
    return options | given, wrong


def _target_problems(record: str, folder: str) -> list[str]:
    """Why a record of the sweep in `folder` cannot go to `record`. Raises StoreError as `check_usable`."""
    target, source = Path(record), Store(folder).path
    inside = source is not None and target.resolve().is_relative_to(source.resolve())
    if "://" in record or inside or (target.exists() and any(target.iterdir())):
        return [f"--record {record}: give a new or empty folder on this machine, outside {folder}"]
    Store(record).check_usable()
    return []


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="grok-analyze",
        description=__doc__,
        epilog="grok-analyze compare A B: whether two sweeps differ, cell by cell; see its --help.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("folder", metavar="DIR", help="the results folder that grok-sweep wrote: a path or a URI")
    of_pair = "of definition pair (default: the sweep's own)"
    add("--min-loss", type=float, metavar="LOSS", help=f"nats; a loss above it is high; {of_pair}")
    add(
        "--max-ratio",
        type=float,
        metavar="RATIO",
        help=f"eval over train loss from which it groks; {of_pair}",
    )
    add("--definition", help=f"whose phases: {' or '.join(DEFINITIONS)} (default: the sweep's own)")
    add("--figures", action="store_true", help="also what the networks learned: circuits.parquet, figures/")
    add("--run", metavar="RUN_ID", help="the run to open in the figures (default: the first to generalise)")
    add(
        "--sensitivity", action="store_true", help="also the counts over thresholds, and by other definitions"
    )
    add(
        "--boundary",
        metavar="AXIS",
        help="also where along AXIS one phase becomes another, and how sure that is",
    )
    add("--times", action="store_true", help="also how long runs take to generalise, those that have not too")
    add(
        "--scaling",
        nargs="+",
        default=(),
        metavar=("EVENT", "AXIS"),
        help="also by what power of each AXIS the step of EVENT (memorize_step or generalize_step) goes, "
        "by those not there yet too; DIR stands before it",
    )
    add("--joint", action="store_true", help="also intervals that hold all shares of a cell at once")
    add("--report", action="store_true", help="also report.html: the sweep as a page to explore")
    add(
        "--record",
        metavar="TARGET",
        help="also the whole sweep, one file per table, in this new or empty folder on this machine; "
        f"of more than {MOST_RECORDED:,} runs cells and picture",
    )
    return parser
