"""What is in a results folder, file by file: what is finished, and what is wrong."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from grok_sweep.store.files import TEMPORARY
from grok_sweep.store.parquet import DamagedError
from grok_sweep.store.tables import OURS, Tables, is_shard

_OTHERS = ("", "parts", "figures")  # the folders without tables by shard


@dataclass(frozen=True)
class Inspection:
    """What was found; files by their names in the folder.

    `finished`: the run_ids whose results are whole. `damaged`: which files cannot be used, and why.
    `foreign`: files of others. `leftovers`: what sessions that were killed left unfinished.
    """

    finished: frozenset[str]
    damaged: Mapping[str, str]
    foreign: Sequence[str]
    leftovers: Sequence[str]

    def lines(self) -> list[str]:
        """For people, one line per file: what it is, and what a session does with it."""
        then = "put aside in damaged/, its runs are trained again"
        return [
            *(f"{name}: damaged ({why}); {then}" for name, why in self.damaged.items()),
            *(f"{name}: left by a session that was killed; removed" for name in self.leftovers),
            *(f"{name}: not a file of grok-sweep; left alone" for name in self.foreign),
        ]


def inspect(tables: Tables, weights: bool) -> Inspection:
    """Look at every file. Raises StoreError where one cannot be read, which does not say what is in it.

    `weights`: whether every run must have some.
    """
    # Runs are listed last: a shard that is published meanwhile then has its curves, or does not count yet.
    names = {folder: tables.names(folder) for folder in (*_OTHERS, "failed", "weights", "curves", "runs")}
    published = dict.fromkeys(filter(is_shard, names["runs"]))
    with_weights = {*published} if weights else {*names["weights"]}

    def checked(name: str) -> set[str] | tuple[str, str]:
        more = [f"weights/{name}"] if name in with_weights else []
        return _checked(tables, f"runs/{name}", f"curves/{name}", *more)

    finished: dict[str, str] = {}
    damaged: dict[str, str] = {}
    for name, ids in zip(published, tables.each(checked, published), strict=True):
        if isinstance(ids, tuple):
            damaged[ids[0]] = ids[1]
        elif twice := finished.keys() & ids:
            run_id = min(twice)
            damaged[f"runs/{name}"] = f"run {run_id} is in runs/{finished[run_id]} too"
        else:
            finished |= dict.fromkeys(ids, name)
    for name in filter(is_shard, names["failed"]):
        if isinstance(trouble := _checked(tables, f"failed/{name}"), tuple):
            damaged[trouble[0]] = trouble[1]

    leftovers, foreign = [], []
    for folder, there in names.items():
        for file in there:
            name = f"{folder}/{file}" if folder else file
            unpublished = folder in ("weights", "curves") and is_shard(file) and file not in published
            if file.startswith(TEMPORARY) or unpublished:
                leftovers.append(name)
            elif folder not in _OTHERS and not OURS.fullmatch(file):
                foreign.append(name)
    return Inspection(frozenset(finished), damaged, foreign, leftovers)


def _checked(tables: Tables, *names: str) -> set[str] | tuple[str, str]:
    """The run_ids of the first table, which must be in the others too; else which is damaged, and why."""
    ids: set[str] | None = None
    for name in names:
        try:
            there = set(tables.read(name, ["run_id"]).column("run_id").to_pylist())
        except DamagedError as error:
            return name, str(error)
        ids = there if ids is None else ids
        if lacking := ids - there:
            return name, f"lacks run {min(lacking)}"
    return ids or set()
