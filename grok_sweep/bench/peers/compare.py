"""All contestants beside each other: what they took as a record, and the record as a table."""

import itertools
import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from grok_sweep.bench.peers import measure as how
from grok_sweep.bench.peers.measure import OURS, PEERS, TUNE, Measures
from grok_sweep.bench.peers.work import Slice
from grok_sweep.session.provenance import git_commit, machine
from grok_sweep.versions import code, versions

CACHES = ("cold", "warm")  # with an empty home; and the same command again
PACKAGES = ("torch", "hydra-joblib-launcher", "joblib")  # beside those that are ours too
COLUMNS = {"seconds": "s", "cpu_seconds": "CPU s", "runs_per_second": "runs/s", "peak_gb": "GB"}

OVER = "more_than_seconds"  # all that is known of a command that took longer than it may
SAME = ("machine", "code", "versions", "compared")  # what times must have in common to be beside each other

Record = dict[str, Any]


def compare(
    slices: Mapping[str, Slice],
    repeats: int,
    limit: float,
    record: Record | None = None,
    peers: Iterable[str] = tuple(PEERS),
) -> Iterator[Record]:
    """The record after each go of a contestant, cold and warm: of all with each slice, then once more.

    Goes of a slice that the `record` has, of the same machine and code, count; those of other slices stay.
    Who took over `limit` seconds is not asked again. Raises PeersError where a contestant fails, or trains
    something else than we do.
    """
    now, record = about(), dict(record or {})
    for name, wanted in slices.items():
        kept = record.get(name)
        if isinstance(kept, dict) and all(kept.get(key) == now[key] for key in SAME):
            continue
        if kept:
            print(f"{name}: of other code or another machine: measured anew", file=sys.stderr, flush=True)
        record[name] = no_goes(wanted, now)
    ours: dict[str, np.ndarray | None] = {}
    for go, (name, wanted), who in itertools.product(range(repeats), slices.items(), (OURS, *peers)):
        goes = [record[name][cache][who] for cache in CACHES]
        if len(goes[0]) > go or any(OVER in one for times in goes for one in times):
            continue
        with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            if name not in ours:
                _, ours[name] = _train(OURS, wanted, math.inf, Path(folder, "ours"), "cold")
            taken = []
            for cache in CACHES:
                measures, trained = _train(who, wanted, limit, Path(folder), cache)
                if trained is not None and (beside := ours[name]) is not None:
                    measures["loss_apart"] = how.apart(trained, beside, wanted.log_every)
                print(name, who, cache, measures, file=sys.stderr, flush=True)
                taken.append({key: float(f"{value:.4g}") for key, value in measures.items()})
        for times, measures in zip(goes, taken, strict=True):
            times.append(measures)
        yield record


def _train(
    who: str, wanted: Slice, limit: float, folder: Path, cache: str
) -> tuple[Measures, np.ndarray | None]:
    """What a contestant takes, and its curves. Its home is cold where nobody was there before."""
    out = folder / cache
    out.mkdir(parents=True)
    home = how.environment(folder / "home")
    measures = how.measure(how.command(who, wanted, out), home, limit, folder / "log")
    return ({OVER: limit}, None) if measures is None else (measures, how.curves(who, wanted, out))


def about() -> Record:
    """When and with what it is measured."""
    found = {"date": datetime.now(UTC).date().isoformat(), "commit": git_commit()}
    packages = versions()
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            packages[package] = version(package)
    compared = {"steps": how.SAME_STEPS, "loss": how.SAME_LOSS, "accuracy": how.SAME_ACCURACY}
    return {**found, "machine": machine(), "code": code(), "versions": packages, "compared": compared}


def no_goes(wanted: Slice, now: Record) -> Record:
    """Of a slice that nobody has trained yet: what each took stands in a list."""
    about_it = {"runs": len(wanted.runs()), "steps": wanted.steps, "hidden_size": [*wanted.hidden_size]}
    return about_it | now | {cache: {who: [] for who in (OURS, *PEERS)} for cache in CACHES}


def medians(goes: Sequence[Measures], runs: int) -> Measures:
    """The row of a contestant: of one over the limit, that it was; of one not asked yet, nothing."""
    if not goes or OVER in goes[-1]:
        return dict(goes[-1]) if goes else {}
    row = {key: median(one[key] for one in goes) for key in goes[0]}
    row["runs_per_second"] = runs / row["seconds"]
    return {key: float(f"{value:.3g}") for key, value in row.items()}


def rows_of(one: Record, cache: str) -> dict[str, Measures]:
    """The medians of a slice by contestant."""
    return {who: medians(goes, one["runs"]) for who, goes in one[cache].items()}


def first(rows: Mapping[str, Measures], among: Sequence[str] = (OURS, *PEERS)) -> str:
    """Who took the least time."""
    return min(among, key=lambda who: rows[who].get("seconds", math.inf))


def table(record: Record) -> str:
    """In Markdown: a table for each slice, who is first in bold, and below it how far ahead we are."""
    lines: list[str] = []
    heads = [f"{cache}: {unit}" for cache in CACHES for unit in COLUMNS.values()]
    for name, one in record.items():
        widths = ", ".join(map(str, one["hidden_size"]))
        lines += [f"### {name}: {one['runs']:,} runs of {one['steps']:,} steps, hidden {widths}", ""]
        most = max(len(goes) for cache in CACHES for goes in one[cache].values())
        lines += [f"{one['machine']}, {one['date']}, medians of {most}", ""]
        lines += [f"| | {' | '.join(heads)} |", "|---|" + "--:|" * len(heads)]
        rows = {cache: rows_of(one, cache) for cache in CACHES}
        for who in (OURS, *PEERS):
            cells = (cell for of in rows.values() for cell in _cells(of[who], first(of) == who))
            lines.append(f"| {who} | {' | '.join(cells)} |")
        lines += ["", *(f"{cache}: {_ahead(of)}  " for cache, of in rows.items()), ""]
    return "\n".join(lines)


def _cells(row: Measures, is_first: bool) -> list[str]:
    if "seconds" not in row:
        return [f"more than {row[OVER]:,g}" if OVER in row else "", *["" for _ in COLUMNS][1:]]
    seconds, *others = (f"{row[key]:,g}" for key in COLUMNS)
    return [f"**{seconds}**" if is_first else seconds, *others]


def _ahead(rows: Mapping[str, Measures]) -> str:
    """Who is first, and how many times as fast as the best of the peers, and as Ray Tune, we are."""
    words = []
    for who in dict.fromkeys([first(rows, [*PEERS]), TUNE]):
        if rows[who] and "seconds" in rows[OURS]:
            more, seconds = (
                ("more than ", rows[who][OVER]) if OVER in rows[who] else ("", rows[who]["seconds"])
            )
            words.append(f"{more}{seconds / rows[OURS]['seconds']:.2f} times as fast as {who}")
    some = " of those asked" if not all(rows.values()) else ""
    return f"{first(rows)} is first{some}; {OURS} is {' and '.join(words) or 'alone'}."
