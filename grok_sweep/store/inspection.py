"""What is in a results folder, file by file: what is finished, and what is wrong."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from grok_sweep.store.files import TEMPORARY, TEMPORARY_FIGURE
from grok_sweep.store.parquet import DamagedError
from grok_sweep.store.tables import EMPTY, Tables, is_shard, shard_name

_LOG = re.compile(r"[0-9a-f]{16}\.log")


@dataclass(frozen=True)
class Inspection:
    """What was found; files by their names in the folder.

    `finished`: the run_ids whose results are whole. `damaged`: which files cannot be used, and why.
    `foreign`: files of others. `leftovers`: what sessions that were killed left unfinished.
    """

    finished: frozenset[str]
    damaged: Mapping[str, str]
    foreign: tuple[str, ...]
    leftovers: tuple[str, ...]

    def lines(self) -> list[str]:
        """For people, one line per file: what it is, and what a session does with it."""
        return [
            *(
                f"{name}: damaged ({why}); put aside in damaged/{_then(name)}"
                for name, why in self.damaged.items()
            ),
            *(f"{name}: left by a session that was killed; removed" for name in self.leftovers),
            *(f"{name}: not a file of grok-sweep; left alone" for name in self.foreign),
        ]


def inspect(tables: Tables, weights: bool) -> Inspection:
    """Look at every file. Raises StoreError where one cannot be read, which does not say what is in it.

    `weights`: whether every run must have some.
    """
    # Runs are listed last: a shard that is published meanwhile then has its curves, or does not count yet.
    entries = {
        folder: tables.entries(folder) for folder in ("", "figures", "failed", "weights", "curves", "runs")
    }
    files = {folder: [name for name, is_file in of.items() if is_file] for folder, of in entries.items()}
    shards = {folder: [name for name in there if is_shard(name)] for folder, there in files.items()}

    finished: dict[str, str] = {}
    damaged: dict[str, str] = {}
    with_weights = set(shards["runs"]) if weights else set(shards["weights"])
    found = tables.each(lambda name: _shard(tables, name, name in with_weights), shards["runs"])
    for name, ids in zip(shards["runs"], found, strict=True):
        if isinstance(ids, tuple):
            file, why = ids
            damaged[file] = why
        elif twice := next((run_id for run_id in ids if run_id in finished), None):
            damaged[f"runs/{name}"] = f"run {twice} is in runs/{finished[twice]} too"
        else:
            finished |= dict.fromkeys(ids, name)

    others = [f"{folder}/{EMPTY}" for folder in ("runs", "curves") if EMPTY in files[folder]]
    others += [f"failed/{name}" for name in shards["failed"]]
    for name, why in zip(others, tables.each(lambda name: _trouble(tables, name), others), strict=True):
        if why:
            damaged[name] = why

    published = set(shards["runs"])
    leftovers = [
        f"{folder}/{name}"
        for folder in ("weights", "curves")
        for name in shards[folder]
        if name not in published
    ]
    foreign = []
    for folder, there in entries.items():
        for file, is_file in there.items():
            name = f"{folder}/{file}" if folder else file
            if is_file and (TEMPORARY_FIGURE if folder == "figures" else TEMPORARY).fullmatch(file):
                leftovers.append(name)
            elif folder not in ("", "figures") and not (
                is_file and (is_shard(file) or name in others or is_log(name))
            ):
                foreign.append(name)
    return Inspection(frozenset(finished), damaged, tuple(foreign), tuple(leftovers))


def is_log(name: str) -> bool:
    """Whether a file is the log of a failure."""
    folder, _, file = name.partition("/")
    return folder == "failed" and _LOG.fullmatch(file) is not None


def _shard(tables: Tables, name: str, weights: bool) -> list[str] | tuple[str, str]:
    """The run_ids of a shard that is whole; else which of its files is damaged, and why."""
    file = f"runs/{name}"
    try:
        ids = _ids(tables, file)
        if f"{shard_name(ids)}.parquet" != name:
            raise DamagedError("its name is not that of its runs")
        for folder in ("curves", "weights") if weights else ("curves",):
            file = f"{folder}/{name}"
            lacking = set(ids) - set(_ids(tables, file))
            if lacking:
                raise DamagedError(f"lacks run {min(lacking)}")
    except DamagedError as error:
        return file, str(error)
    return ids


def _trouble(tables: Tables, name: str) -> str:
    """Why another table cannot be used; empty where it can."""
    try:
        ids = _ids(tables, name)
    except DamagedError as error:
        return str(error)
    right = EMPTY if not ids else f"{shard_name(ids)}.parquet"
    return "" if name.endswith(f"/{right}") else "its name is not that of its runs"


def _ids(tables: Tables, name: str) -> list[str]:
    """The run_ids of a table in order, each once. Raises DamagedError."""
    ids = tables.read(name, ["run_id"]).column("run_id").combine_chunks().unique().to_pylist()
    if None in ids:
        raise DamagedError("a run without its run_id")
    return [str(run_id) for run_id in ids]


def _then(name: str) -> str:
    return "" if name.endswith(EMPTY) else ", its runs are trained again"


def unused(name: str, there: Collection[str]) -> str:
    """The name, or with a number the first that is not there yet."""
    stem, dot, extension = name.partition(".")
    numbered = (f"{stem}-{number}{dot}{extension}" for number in range(2, len(there) + 3))
    return next(new for new in (name, *numbered) if new not in there)
