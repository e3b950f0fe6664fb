"""The tables of a results folder as files: one per shard, named by a hash of its run_ids.

A file named otherwise is not ours and not read. A table that is not the one that was written is DamagedError.
"""

import hashlib
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from grok_sweep.core.parts import FLOAT_BITS
from grok_sweep.store.files import Files, StoreError
from grok_sweep.store.parquet import DamagedError, decode
from grok_sweep.store.schemas import (
    CURVES_SCHEMA,
    FAILED_SCHEMA,
    is_curves,
    is_runs,
    is_weights,
    runs_schema,
    together,
)

FITS: Mapping[str, Callable[[pa.Schema], bool]] = {  # the folders of tables, and the columns of those in it
    "runs": is_runs,
    "curves": is_curves,
    "weights": is_weights,
    "failed": FAILED_SCHEMA.equals,
}
BYTES = 32_000_000  # of weights in memory at once, where one shard has no more
EMPTY = "empty.parquet"  # in runs/ and curves/: they can be read before the first shard
_SHARD = re.compile(r"[0-9a-f]{16}\.parquet")
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

    def entries(self, folder: str) -> dict[str, bool]:
        """All that is in a folder, in order: its name, whether it is a file; none where it is not there."""
        with reading(self._files):
            return self._files.entries(folder)

    def shards(self, folder: str = "runs") -> list[str]:
        """The files of a folder that are a shard's."""
        return [name for name, is_file in self.entries(folder).items() if is_file and is_shard(name)]

    def read(self, name: str, columns: list[str] | None = None) -> pa.Table:
        """A table, such as runs/0123456789abcdef.parquet, or some of its columns. Raises DamagedError."""
        try:
            with reading(self._files):
                data = self._files.read(name)
        except (FileNotFoundError, IsADirectoryError):
            raise DamagedError("is not there") from None
        return decode(data, FITS[name.partition("/")[0]], columns)

    def each(self, function: Callable[[A], B], items: Iterable[A]) -> list[B]:
        """The function of each item, in order, of several at once."""
        with ThreadPoolExecutor(self._files.readers) as pool:
            return list(pool.map(function, items))

    def places(self) -> dict[str, str]:
        """The file of each finished run."""
        shards = self.shards()
        tables = self.each(lambda name: self._whole(f"runs/{name}", ["run_id"]), shards)
        found: dict[str, str] = {}
        for name, table in zip(shards, tables, strict=True):
            for run_id in table.column("run_id").to_pylist():
                if run_id in found:
                    why = f"run {run_id} is in runs/{found[run_id]} too"
                    raise self._damaged(f"runs/{name}", why)
                found[run_id] = name
        return found

    def runs(self) -> pa.Table:
        """All runs, without order."""
        names = [EMPTY] if self.entries("runs").get(EMPTY) else []
        tables = self.each(lambda name: self._whole(f"runs/{name}"), [*names, *self.shards()])
        runs = together(tables or [runs_schema({}).empty_table()], {"float_bits": FLOAT_BITS.since})
        if pc.count_distinct(runs.column("run_id")).as_py() < len(runs):
            self.places()  # says which file
        return runs

    def curves(self, run_ids: Iterable[str] | None = None) -> pa.Table:
        """The curves of all finished runs, or of those among `run_ids`, by run and step."""
        places = self.places()
        wanted = places.keys() if run_ids is None else places.keys() & set(run_ids)

        def of_shard(name: str) -> pa.Table:
            table = self._whole(f"curves/{name}")
            return table if run_ids is None else of_runs(table, wanted)

        tables = self.each(of_shard, sorted({places[run_id] for run_id in wanted}))
        table = pa.concat_tables([CURVES_SCHEMA.empty_table(), *tables], promote_options="default")
        return table.sort_by([("run_id", "ascending"), ("step", "ascending")])

    def weights(self, run_ids: Iterable[str] | None = None) -> Iterator[tuple[str, pa.Table]]:
        """(run_id, table of its snapshots by step) of the finished runs that have some.

        Of those among `run_ids`, where given. One shard after the other: never all in memory at once.
        """
        there = set(self.shards("weights"))
        of_shard: dict[str, list[str]] = {}
        places = self.places()
        for run_id in places if run_ids is None else run_ids:
            if places.get(run_id) in there:
                of_shard.setdefault(places[run_id], []).append(run_id)
        for name, wanted in of_shard.items():
            table = self._whole(f"weights/{name}")
            for run_id in wanted:
                mine = of_runs(table, {run_id}).sort_by("step")
                if not len(mine):
                    raise self._damaged(f"weights/{name}", f"lacks run {run_id}")
                yield run_id, mine

    def all_weights(self) -> Iterator[pa.Table]:
        """All weights, in tables of one kind of arrays and about BYTES at most, each by run and step."""
        of_shard: dict[str, set[str]] = {}
        for run_id, name in self.places().items():
            of_shard.setdefault(name, set()).add(run_id)
        kinds: dict[str, list[pa.Table]] = {}
        order = [("run_id", "ascending"), ("step", "ascending")]
        for name in self.shards("weights"):
            if name in of_shard:
                table = self._whole(f"weights/{name}")
                if lacking := of_shard[name] - set(table.column("run_id").to_pylist()):
                    raise self._damaged(f"weights/{name}", f"lacks run {min(lacking)}")
                kind = kinds.setdefault(str(table.schema), [])
                if kind and sum(other.nbytes for other in kind) + table.nbytes > BYTES:
                    yield pa.concat_tables(kind).sort_by(order)
                    kind.clear()
                kind.append(of_runs(table, of_shard[name]))
        for tables in kinds.values():
            yield pa.concat_tables(tables).sort_by(order)

    def _whole(self, name: str, columns: list[str] | None = None) -> pa.Table:
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


@contextmanager
def reading(files: Files) -> Iterator[None]:
    """Say as a StoreError that a file cannot be read, unless it is not there, or is a folder."""
    try:
        yield
    except (FileNotFoundError, IsADirectoryError):
        raise
    except OSError as error:
        raise StoreError(
            f"{error.filename or files.place()}: cannot be read: {error.strerror or error}"
        ) from None
