"""The tables of a results folder as files: one per shard, named by a hash of its run_ids.

A file named otherwise is not ours and not read. A table that is not the one that was written is DamagedError.
"""

import hashlib
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from grok_sweep.core.parts import FLOAT_BITS
from grok_sweep.errors import StoreError
from grok_sweep.store.files import Files
from grok_sweep.store.parquet import DamagedError, decode, is_sealed
from grok_sweep.store.schemas import CURVES_SCHEMA, FOLDERS, REPEAT, runs_schema, together

EMPTY = "empty.parquet"  # in runs/ and curves/: they can be read before the first shard
OURS = re.compile(rf"[0-9a-f]{{16}}\.(parquet|log)|{EMPTY}")  # what files in the folders of tables are called
_SHARD = re.compile(r"[0-9a-f]{16}\.parquet")
_ORDER = [("run_id", "ascending"), ("step", "ascending")]
A = TypeVar("A")
B = TypeVar("B")


def shard_name(run_ids: Iterable[str]) -> str:
    """What the files of some runs are called, without extension: the same runs, the same name."""
    return hashlib.sha256("".join(run_ids).encode()).hexdigest()[:16]


def is_shard(name: str) -> bool:
    """Whether a file is called as a shard's are."""
    return _SHARD.fullmatch(name) is not None


class Tables:
    """The tables in a folder. Raises StoreError where it cannot be read, and unless said otherwise where a
    file is damaged."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self.names = files.names

    def shards(self, folder: str = "runs") -> list[str]:
        """The files of a folder that are a shard's."""
        return [name for name in self.names(folder) if is_shard(name)]

    def read(self, name: str, columns: list[str] | None = None) -> pa.Table:
        """A table, such as runs/0123456789abcdef.parquet, or some of its columns. Raises DamagedError."""
        return self.read_sealed(name, columns)[0]

    def read_sealed(self, name: str, columns: list[str] | None = None) -> tuple[pa.Table, bool]:
        """See `read`; and whether it is as it was written here. Raises DamagedError."""
        try:
            data = self._files.read(name)
        except FileNotFoundError:
            raise DamagedError("is not there") from None
        return decode(data, FOLDERS[name.partition("/")[0]], columns), is_sealed(data)

    def each(self, function: Callable[[A], B], items: Iterable[A]) -> list[B]:
        """The function of each item, in order, of several at once."""
        with ThreadPoolExecutor(self._files.readers) as pool:
            return list(pool.map(function, items))

    def run_ids(self, among: Iterable[str] | None = None) -> dict[str, list[str]]:
        """The runs of each finished shard, by the name of its files; those `among` some, where given."""
        shards = self.shards()
        tables = self.each(lambda name: self._whole(f"runs/{name}", ["run_id"]), shards)
        found = {name: table.column("run_id").to_pylist() for name, table in zip(shards, tables, strict=True)}
        where: dict[str, str] = {}
        for name, ids in found.items():
            for run_id in ids:
                if run_id in where:
                    raise self._damaged(f"runs/{name}", f"run {run_id} is in runs/{where[run_id]} too")
                where[run_id] = name
        if among is None:
            return found
        wanted = set(among)
        mine = {name: [run_id for run_id in ids if run_id in wanted] for name, ids in found.items()}
        return {name: ids for name, ids in mine.items() if ids}

    def runs(self) -> pa.Table:
        """All runs, without order."""
        names = self.shards() or [name for name in self.names("runs") if name == EMPTY]
        tables = self.each(lambda name: self._whole(f"runs/{name}"), names)
        runs = together(
            tables or [runs_schema({}).empty_table()], {"float_bits": FLOAT_BITS.since, REPEAT: 0}
        )
        if pc.count_distinct(runs.column("run_id")).as_py() < len(runs):
            self.run_ids()  # says which file
        return runs

    def shard(self, name: str) -> list[pa.Table]:
        """A shard's runs, its curves, and its weights where they are recorded."""
        more = ["weights"] if name in self.names("weights") else []
        return [self._whole(f"{folder}/{name}") for folder in ("runs", "curves", *more)]

    def curves(self, run_ids: Iterable[str] | None = None) -> pa.Table:
        """The curves of all finished runs, or of those among `run_ids`, by run and step."""

        def of_shard(shard: tuple[str, list[str]]) -> pa.Table:
            return of_runs(self._whole(f"curves/{shard[0]}"), shard[1])

        tables = self.each(of_shard, self.run_ids(run_ids).items())
        table = pa.concat_tables([CURVES_SCHEMA.empty_table(), *tables], promote_options="default")
        return table.sort_by(_ORDER)

    def weights(self, run_ids: Iterable[str] | None = None) -> Iterator[tuple[list[str], pa.Table]]:
        """(run_ids, their snapshots by run and step) of each finished shard that has some.

        Of those among `run_ids`, where given. One shard after the other: never all in memory at once.
        """
        ids = self.run_ids(run_ids)
        for name in [name for name in self.shards("weights") if name in ids]:
            table = of_runs(self._whole(f"weights/{name}"), ids[name])
            if lacking := {*ids[name]} - {*table.column("run_id").to_pylist()}:
                raise self._damaged(f"weights/{name}", f"lacks run {min(lacking)}")
            yield ids[name], table.sort_by(_ORDER)

    def _whole(self, name: str, columns: list[str] | None = None) -> pa.Table:
        """See `read`; raises StoreError where it is damaged."""
        try:
            return self.read(name, columns)
        except DamagedError as error:
            raise self._damaged(name, str(error)) from None

    def _damaged(self, name: str, why: str) -> StoreError:
        then = "the sweep's command puts it aside and trains its runs again"
        return StoreError(f"{self._files.place(name)}: damaged ({why}); {then}")


def of_runs(table: pa.Table, run_ids: Collection[str]) -> pa.Table:
    """The rows of some runs."""
    return table.filter(pc.is_in(table.column("run_id"), pa.array(sorted(run_ids), pa.string())))
