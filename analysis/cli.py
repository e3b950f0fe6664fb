"""grok-analyze: sort the finished runs of a sweep into phases again, without training."""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from analysis.phases import DEFINITIONS, MAX_RATIO, MIN_LOSS, problems
from analysis.report import Analysis, analyze, no_runs
from grok_sweep.store import Store, StoreError

MOST_RECORDED = 100_000  # runs of a record, which is committed or mailed


class _Parser(argparse.ArgumentParser):
    """One line per error, as everywhere in this project."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command: 0 where tables were written, 2 with a message on stderr where something was wrong."""
    arguments = _parser().parse_args(argv)
    try:
        own = _own(arguments.folder)
        definition = own["definition"] if arguments.definition is None else arguments.definition
        thresholds = {
            "min_loss": _number(arguments.min_loss, own["min_loss"]),
            "max_ratio": _number(arguments.max_ratio, own["max_ratio"]),
        }
        # Each begins with the name of its argument. Phases by a user's own definition are there already.
        computed = "pair" if definition == own["own"] else definition
        said = (message.partition(":") for message in problems(**thresholds, definition=computed))
        wrong = [f"--{name.replace('_', '-')}:{rest}" for name, _, rest in said]
        if definition != "pair" and definition in (*DEFINITIONS, own["own"]):
            wrong += [
                f"{flag}: plays no part in --definition {definition}; leave it out"
                for flag, text in (("--min-loss", arguments.min_loss), ("--max-ratio", arguments.max_ratio))
                if text is not None
            ]
        wrong += _folder_problems(arguments.folder)
        if arguments.record is not None:
            wrong += _target_problems(arguments.record, arguments.folder)
        if wrong:
            return _fail(wrong)

        options: dict[str, Any] = {}
        if definition in DEFINITIONS:
            options |= {name: float(value) for name, value in thresholds.items()}
        options |= {"definition": definition, "run_id": arguments.run, "say": _say}
        options["report"] = arguments.report
        options["figures"] = arguments.figures or arguments.run is not None
        done = analyze(arguments.folder, **options)
        _say("")
        print(done)
        if arguments.record is not None:
            print(f"record: {arguments.record}{_record(arguments.folder, arguments.record, done, options)}")
    except (StoreError, ValueError) as error:
        return _fail([str(error)])
    except OSError as error:
        return _fail([f"{error.filename or arguments.folder}: {error.strerror or error}"])
    return 0


def _record(folder: str, target: str, done: Analysis, options: Mapping[str, Any]) -> str:
    """Write the record of an analysis; what to say of it."""
    runs = sum(done.counts.values())
    if runs > MOST_RECORDED:
        Store(folder).copy_cells(Store(target))
        return f": cells and picture alone; {runs:,} runs themselves are too many for a record"
    Store(folder).copy_record(Store(target))
    analyze(target, **options)
    _say("")
    return ""


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="grok-analyze", description=__doc__, allow_abbrev=False)
    parser.add_argument(
        "folder", metavar="DIR", help="the results folder that grok-sweep wrote: a path or a URI"
    )
    # Numbers are read by main, which reports all that is wrong at once.
    parser.add_argument(
        "--min-loss",
        metavar="LOSS",
        help="nats; a loss that stays above it is high (default: the sweep's own)",
    )
    parser.add_argument(
        "--max-ratio",
        metavar="RATIO",
        help="eval over train loss; a run that reaches it groks (default: the sweep's own)",
    )
    parser.add_argument(
        "--definition", help=f"whose phases: {' or '.join(DEFINITIONS)} (default: the sweep's own)"
    )
    parser.add_argument(
        "--figures",
        action="store_true",
        help="also write what the networks learned (circuits.parquet), and draw what applies (figures/)",
    )
    parser.add_argument(
        "--run", metavar="RUN_ID", help="the run to open in the figures (default: the first to generalise)"
    )
    parser.add_argument(
        "--report", action="store_true", help="also write report.html: the sweep as a page to explore"
    )
    parser.add_argument(
        "--record",
        metavar="TARGET",
        help="also write the whole sweep, one file per table, to this new or empty folder on this machine; "
        f"of more than {MOST_RECORDED:,} runs cells and picture",
    )
    return parser


def _own(folder: str) -> dict[str, Any]:
    """How the sweep itself sorts its runs; the article's way where it does not say.

    `own`: the name of its definition, where that is of the user's own file, which is never run here.
    """
    own: dict[str, Any] = {"definition": "pair", "min_loss": MIN_LOSS, "max_ratio": MAX_RATIO, "own": None}
    try:
        given = Store(folder).sweep()["config"].get("phases")
    except StoreError:
        return own  # which is said with the other problems of the folder
    given = given if isinstance(given, dict) else {}
    keys = ("definition", "min_loss", "max_ratio")
    found = {key: given[key] for key in keys if key in given and not problems(**{key: given[key]})}
    name = given.get("definition")
    if isinstance(name, str) and name.isidentifier() and name not in DEFINITIONS:
        found |= {"definition": name, "own": name}
    return own | found


def _say(message: str) -> None:
    """Tell how far it is, in one line of a terminal; a log gets none of it."""
    if sys.stderr.isatty():
        print(f"\r\033[K{message}", end="" if message else "\r", file=sys.stderr, flush=True)


def _number(text: str | None, default: float) -> float | str:
    """What the user typed as a number; as it is where it is none, for the message to quote."""
    if text is None:
        return default
    try:
        return float(text)
    except ValueError:
        return text


def _folder_problems(folder: str) -> list[str]:
    """Why the sweep in `folder` cannot be analysed."""
    store = Store(folder)
    try:
        store.sweep()
        finished = store.finished()
    except StoreError as error:
        return [str(error)]
    if not finished:
        return [f"{store.place()}: {no_runs(store)}"]
    return [] if store.path is None else _unwritable(store.path)


def _target_problems(record: str, folder: str) -> list[str]:
    """Why a record of the sweep in `folder` cannot go to `record`."""
    if "://" in record:
        return [f"--record: {record} is a URI; give the path of a folder on this machine, and copy that"]
    target, source = Path(record), Store(folder).path
    if source is not None and target.resolve().is_relative_to(source.resolve()):
        return [f"--record: {target} is in the sweep's own folder; give a folder outside {folder}"]
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        return [f"--record: {target} is not a new or empty folder; give one"]
    nearest = next(path for path in (target, *target.absolute().parents) if path.exists())
    return [f"--record: {problem}" for problem in _unwritable(nearest)]


def _unwritable(folder: Path) -> list[str]:
    if folder.is_dir() and os.access(folder, os.W_OK | os.X_OK):
        return []
    return [f"{folder}: cannot be written; give a folder that you may write to"]


def _fail(wrong: list[str]) -> int:
    for message in wrong:
        print(f"grok-analyze: {message}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
