"""All contestants beside each other: what they took as a record, and the record as a table."""

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from grok_sweep.bench.peers import measure as how
from grok_sweep.bench.peers.measure import OURS, PEERS, TUNE, Measures
from grok_sweep.bench.peers.work import Slice
from grok_sweep.session.provenance import git_commit, machine
from grok_sweep.versions import versions

CACHES = ("cold", "warm")  # with an empty home; and the same command again
PACKAGES = ("torch", "hydra-joblib-launcher", "joblib")  # beside those that are ours too
COLUMNS = {"seconds": "s", "cpu_seconds": "CPU s", "runs_per_second": "runs/s", "peak_gb": "GB"}

Record = dict[str, Any]
Times = list[Measures | None]  # None: over the limit


def compare(slices: Mapping[str, Slice], repeats: int, limit: float) -> Iterator[Record]:
    """The record after each round of all contestants with all slices.

    Who took over `limit` seconds is not asked again. Raises PeersError where a contestant fails, or trains
    something else than we do.
    """
    taken: dict[str, dict[str, dict[str, Times]]] = {
        name: {cache: {who: [] for who in (OURS, *PEERS)} for cache in CACHES} for name in slices
    }
    for _ in range(repeats):
        for name, wanted in slices.items():
            with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
                for who in (OURS, *PEERS):
                    times = {cache: taken[name][cache][who] for cache in CACHES}
                    if None not in [*times["cold"], *times["warm"]]:
                        for cache, measures in _twice(who, wanted, limit, Path(folder)):
                            print(name, who, cache, measures, file=sys.stderr, flush=True)
                            times[cache].append(measures)
        yield as_record(slices, taken, repeats, limit)


def _twice(who: str, wanted: Slice, limit: float, folder: Path) -> Iterator[tuple[str, Measures | None]]:
    """What a contestant takes cold and warm, its curves checked: beside ours, which are there already."""
    home = folder / who
    for cache in CACHES:
        out = home / cache
        out.mkdir(parents=True)
        words = how.command(who, wanted, out)
        measures = how.measure(words, how.environment(home), limit, home / "log")
        if measures is not None:
            trained, ours = (how.curves(one, wanted, folder / one / cache) for one in (who, OURS))
            measures["loss_apart"] = how.apart(trained, ours, wanted.log_every)
        yield cache, measures


def as_record(
    slices: Mapping[str, Slice],
    taken: Mapping[str, Mapping[str, Mapping[str, Times]]],
    repeats: int,
    limit: float,
) -> Record:
    """What is written down. `taken`: slice, cache, contestant -> what each go took."""
    found = {"date": datetime.now(UTC).date().isoformat(), "machine": machine(), "commit": git_commit()}
    packages = versions()
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            packages[package] = version(package)
    same = {"steps": how.SAME_STEPS, "loss": how.SAME_LOSS, "accuracy": how.SAME_ACCURACY}
    of_slices = {}
    for name, wanted in slices.items():
        runs = len(wanted.runs())
        rows = {c: {who: medians(t, runs, limit) for who, t in taken[name][c].items()} for c in CACHES}
        about = {"runs": runs, "steps": wanted.steps, "hidden_size": [*wanted.hidden_size]}
        of_slices[name] = {**about, "first": {c: first(rows[c]) for c in CACHES}, **rows}
    return {**found, "versions": packages, "medians_of": repeats, "same": same, "slices": of_slices}


def medians(times: Times, runs: int, limit: float) -> Measures:
    """The row of a contestant: of one that took over the limit, that it did."""
    known = [one for one in times if one is not None]
    if len(known) < len(times):
        return {"more_than_seconds": limit}
    row = {key: median(one[key] for one in known) for key in known[0]}
    row["runs_per_second"] = runs / row["seconds"]
    return {key: float(f"{value:.3g}") for key, value in row.items()}


def first(rows: Mapping[str, Measures], among: Sequence[str] = (OURS, *PEERS)) -> str:
    """Who took the least time."""
    return min(among, key=lambda who: rows[who].get("seconds", math.inf))


def table(record: Record) -> str:
    """In Markdown: a table for each slice, who is first in bold, and below it how far ahead we are."""
    lines = [f"{record['machine']}, {record['date']}, medians of {record['medians_of']}"]
    heads = [f"{cache}: {unit}" for cache in CACHES for unit in COLUMNS.values()]
    for name, one in record["slices"].items():
        widths = ", ".join(map(str, one["hidden_size"]))
        lines += ["", f"### {name}: {one['runs']:,} runs of {one['steps']:,} steps, hidden {widths}", ""]
        lines += [f"| | {' | '.join(heads)} |", "|---|" + "--:|" * len(heads)]
        for who in (OURS, *PEERS):
            cells = (cell for cache in CACHES for cell in _cells(one[cache][who], one["first"][cache] == who))
            lines.append(f"| {who} | {' | '.join(cells)} |")
        lines += ["", *(f"{cache}: {_ahead(one[cache])}  " for cache in CACHES)]
    return "\n".join(lines)


def _cells(row: Measures, is_first: bool) -> list[str]:
    if "seconds" not in row:
        return [f"more than {row['more_than_seconds']:,g}", *["" for _ in COLUMNS][1:]]
    seconds, *others = (f"{row[key]:,g}" for key in COLUMNS)
    return [f"**{seconds}**" if is_first else seconds, *others]


def _ahead(rows: Mapping[str, Measures]) -> str:
    """Who is first, and how many times as fast as the best of the peers, and as Ray Tune, we are."""
    words = []
    for who in dict.fromkeys([first(rows, [*PEERS]), TUNE]):
        (seconds,) = (value for key, value in rows[who].items() if key in ("seconds", "more_than_seconds"))
        more = "more than " if "more_than_seconds" in rows[who] else ""
        words.append(f"{more}{seconds / rows[OURS]['seconds']:.2f} times as fast as {who}")
    return f"{first(rows)} is first; {OURS} is {' and '.join(words)}."
