"""What is in a results folder, file by file: what is finished, and what is wrong."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from grok_sweep.store.files import TEMPORARY
from grok_sweep.store.parquet import DamagedError
from grok_sweep.store.schemas import STOPPED
from grok_sweep.store.tables import OURS, Tables, is_shard

RESAVED = "saved by another program; taken as it is: delete it to have its runs trained again"
_OTHERS = ("", "parts", "figures")  # the folders without tables by shard


@dataclass(frozen=True)
class Inspection:
    """What was found; files by their names in the folder.

    `finished`: the run_ids whose results are whole. `damaged`: which files cannot be used, and why.
    `foreign`: files of others. `leftovers`: what sessions that were killed left unfinished. `resaved`: tables
    that another program has saved again, whole as far as their rows say.
    """

    finished: frozenset[str]
    damaged: Mapping[str, str]
    foreign: Sequence[str]
    leftovers: Sequence[str]
    resaved: Sequence[str] = ()

    def lines(self) -> list[str]:
        """For people, one line per file: what it is, and what a session does with it."""
        then = "put aside in damaged/, its runs are trained again"
        return [
            *(f"{name}: damaged ({why}); {then}" for name, why in self.damaged.items()),
            *(f"{name}: left by a session that was killed; removed" for name in self.leftovers),
            *(f"{name}: not a file of grok-sweep; left alone" for name in self.foreign),
            *(f"{name}: {RESAVED}" for name in self.resaved),
        ]


def inspect(tables: Tables, weights: bool) -> Inspection:
    """Look at every file. Raises StoreError where one cannot be read, which does not say what is in it.

    `weights`: whether every run must have some.
    """
    # Runs are listed last: a shard that is published meanwhile then has its curves, or does not count yet.
    names = {folder: tables.names(folder) for folder in (*_OTHERS, "crashed", "weights", "curves", "runs")}
    published = dict.fromkeys(filter(is_shard, names["runs"]))
    with_weights = {*published} if weights else {*names["weights"]}

    def checked(name: str) -> "_Shard | _Damage":
        more = [f"weights/{name}"] if name in with_weights else []
        return _checked(tables, f"runs/{name}", f"curves/{name}", *more)

    finished: dict[str, str] = {}
    damaged: dict[str, str] = {}
    resaved: list[str] = []
    for name, found in zip(published, tables.each(checked, published), strict=True):
        if isinstance(found, _Damage):
            damaged[found.name] = found.why
        elif twice := finished.keys() & found.ids:
            run_id = min(twice)
            damaged[f"runs/{name}"] = f"run {run_id} is in runs/{finished[run_id]} too"
        else:
            finished |= dict.fromkeys(found.ids, name)
            resaved += found.resaved
    for name in filter(is_shard, names["crashed"]):
        if isinstance(found := _checked(tables, f"crashed/{name}"), _Damage):
            damaged[found.name] = found.why

    leftovers, foreign = [], []
    for folder, there in names.items():
        for file in there:
            name = f"{folder}/{file}" if folder else file
            unpublished = folder in ("weights", "curves") and is_shard(file) and file not in published
            if file.startswith(TEMPORARY) or unpublished:
                leftovers.append(name)
            elif folder not in _OTHERS and not OURS.fullmatch(file):
                foreign.append(name)
    return Inspection(frozenset(finished), damaged, foreign, leftovers, resaved)


class _Shard(NamedTuple):
    ids: set[str]
    resaved: list[str]


class _Damage(NamedTuple):
    name: str
    why: str


def _checked(tables: Tables, *names: str) -> _Shard | _Damage:
    """The run_ids of the first table, which must be in the others too; else which is damaged, and why."""
    ids: set[str] | None = None
    resaved = []
    for name in names:
        try:
            table, sealed = tables.read_sealed(name, ["run_id"])
            there = set(table.column("run_id").to_pylist())
            ids = there if ids is None else ids
            if lacking := ids - there:
                return _Damage(name, f"lacks run {min(lacking)}")
            if not sealed:
                resaved.append(name)
                _check_steps(tables, names[0], name)
        except DamagedError as error:
            return _Damage(name, str(error))
    return _Shard(ids or set(), resaved)


def _check_steps(tables: Tables, runs: str, name: str) -> None:
    """Raises DamagedError where the curves of a shard do not have every logged step of its runs."""
    if not name.startswith("curves/"):
        return
    told, logged = tables.read(runs).to_pylist(), tables.read(name, ["run_id", "step"]).to_pandas()
    steps = logged.groupby("run_id")["step"].agg(["count", "max"])
    for run in told:
        last, found = run.get(STOPPED) or run["steps"], steps.loc[run["run_id"]]
        if (found["count"], found["max"]) != (last // run["log_every"] + 1, last):
            lost = f"of run {run['run_id']} it has {found['count']} steps, the last {found['max']} of {last}"
            raise DamagedError(lost)
