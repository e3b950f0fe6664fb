"""The results folder: the only owner of its paths and schemas.

    DIR/sweep.yaml           the resolved config and where it ran
    DIR/runs/*.parquet       one row per run, one file per finished shard
    DIR/curves/*.parquet     one row per run and logged step
    DIR/phases.parquet, cells.parquet, phase_diagram.png, phase_diagram.svg

Every file is written under a hidden name, flushed to disk and renamed: that a file is there means it is
whole. A shard's curves are published before its runs, so a run that is there has its curve.
This module imports no jax, ray or hydra: results can be read on any laptop.
"""

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import yaml

# The columns of runs: what a run is (its hyperparameters stand between BEFORE and AFTER), and what came out.
BEFORE = {"run_id": pa.string(), "sweep": pa.string(), "task": pa.string(), "seed": pa.int64()}
AFTER = {
    "steps": pa.int64(),
    "log_every": pa.int64(),
    "model": pa.string(),
    "optimizer": pa.string(),
}
RESULTS = {
    "min_train_loss": pa.float64(),
    "min_eval_loss": pa.float64(),
    "max_loss_ratio": pa.float64(),
    "final_train_loss": pa.float64(),
    "final_eval_loss": pa.float64(),
    "final_train_accuracy": pa.float64(),
    "final_eval_accuracy": pa.float64(),
    "diverged_step": pa.int64(),
    "device": pa.string(),
    "seconds": pa.float64(),
}
CURVES_SCHEMA = pa.schema(
    {
        "run_id": pa.string(),
        "step": pa.int32(),
        "train_loss": pa.float32(),
        "eval_loss": pa.float32(),
        "train_accuracy": pa.float32(),
        "eval_accuracy": pa.float32(),
        "weight_norm": pa.float32(),
    }
)
OWN = ("runs", "curves", ".lock")  # what a session that ended before its first record leaves
CURVE_METRICS = tuple(CURVES_SCHEMA.names[2:])

_ARROW = {int: pa.int64(), float: pa.float64()}


class StoreError(Exception):
    """A results folder that cannot be used: says which, why, and what to do."""


def runs_schema(hyperparameters: Mapping[str, type]) -> pa.Schema:
    """The columns of the runs table, hyperparameters (name -> int or float) in the middle."""
    middle = {name: _ARROW[kind] for name, kind in hyperparameters.items()}
    return pa.schema(BEFORE | middle | AFTER | RESULTS)


class Store:
    """One results folder.

    Nothing is written before `create`; reading a folder that is not one raises StoreError.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self.sweep_file = self.root / "sweep.yaml"
        self.runs_dir = self.root / "runs"
        self.curves_dir = self.root / "curves"
        self.phases_file = self.root / "phases.parquet"
        self.cells_file = self.root / "cells.parquet"

    def figure(self, name: str, extension: str) -> Path:
        """The path of a figure, such as phase_diagram.png."""
        return self.root / f"{name}.{extension}"

    def exists(self) -> bool:
        """Whether the folder holds a sweep."""
        return self.sweep_file.is_file()

    def make_folders(self) -> None:
        """Make the folder and those in it, as far as they are not there. Raises OSError."""
        for folder in (self.runs_dir, self.curves_dir):
            folder.mkdir(parents=True, exist_ok=True)

    def create(self, sweep: Mapping[str, Any], schema: pa.Schema) -> None:
        """Make the folder if need be, record `sweep` in it, and make its tables readable while empty.

        Raises OSError where the folder cannot be written.
        """
        self.make_folders()
        text = yaml.safe_dump(dict(sweep), sort_keys=False, allow_unicode=True)
        _atomically(self.sweep_file, lambda path: path.write_text(text, encoding="utf-8"))
        for folder, of in ((self.runs_dir, schema), (self.curves_dir, CURVES_SCHEMA)):
            if not (folder / "empty.parquet").exists():
                self._write(folder / "empty.parquet", of.empty_table())

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep the folder, which must be there, to this process; let go even when the process is killed.

        Raises StoreError where another process has it.
        """
        import fcntl  # not on Windows, where results can be read all the same

        with (self.root / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StoreError(
                    f"{self.root}: another grok-sweep is working in it; wait for it, or choose another folder"
                ) from None
            yield

    def sweep(self) -> dict[str, Any]:
        """What `create` recorded. Raises StoreError where there is none or it cannot be read."""
        if not self.exists():
            raise StoreError(
                f"{self.root}: no sweep here (sweep.yaml is missing); give the folder that grok-sweep wrote"
            )
        try:
            sweep = yaml.safe_load(self.sweep_file.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
            raise StoreError(f"{self.sweep_file}: cannot be read: {str(error).splitlines()[0]}") from None
        if not isinstance(sweep, dict):
            raise StoreError(f"{self.sweep_file}: not the record of a sweep")
        return sweep

    def finished(self) -> set[str]:
        """The run_ids whose results are in the folder; none where there is no folder or no table yet."""
        if not any(self.runs_dir.glob("[!.]*.parquet")):
            return set()
        return set(self._read(self.runs_dir, columns=["run_id"]).column("run_id").to_pylist())

    def publish(self, runs: pa.Table, curves: pa.Table) -> None:
        """Add one shard's results. Atomic and idempotent: the file's name is a hash of its run_ids."""
        ids = "".join(runs.column("run_id").to_pylist())
        name = hashlib.sha256(ids.encode()).hexdigest()[:16] + ".parquet"
        self._write(self.curves_dir / name, curves)
        self._write(self.runs_dir / name, runs)

    def runs(self) -> pd.DataFrame:
        """One row per finished run."""
        self.sweep()
        return self._read(self.runs_dir).to_pandas()

    def curves(self, run_ids: Iterable[str] | None = None) -> pd.DataFrame:
        """One row per run and logged step, by run and step; of `run_ids` only, where given."""
        self.sweep()
        only = None if run_ids is None else ds.field("run_id").isin(list(run_ids))
        table = self._read(self.curves_dir, only=only)
        return table.sort_by([("run_id", "ascending"), ("step", "ascending")]).to_pandas()

    def write_phases(self, phases: pd.DataFrame, cells: pd.DataFrame) -> None:
        """Replace the two tables of an analysis."""
        for path, frame in ((self.phases_file, phases), (self.cells_file, cells)):
            self._write(path, pa.Table.from_pandas(frame, preserve_index=False))

    def copy_record(self, target: "Store") -> None:
        """Write the whole sweep to `target`, one file per table: what one commits or mails."""
        target.create(self.sweep(), self._read(self.runs_dir).schema)
        runs = self._read(self.runs_dir).sort_by("run_id")
        curves = self._read(self.curves_dir).sort_by([("run_id", "ascending"), ("step", "ascending")])
        target.publish(runs, curves)
        for folder in (target.runs_dir, target.curves_dir):
            (folder / "empty.parquet").unlink()

    @staticmethod
    def write_figure(path: Path, save: Callable[[Path], Any]) -> None:
        """Write a picture atomically: `save` gets a path with the same extension."""
        _atomically(path, save)

    def _read(
        self, folder: Path, columns: list[str] | None = None, only: ds.Expression | None = None
    ) -> pa.Table:
        try:
            return ds.dataset(folder, format="parquet").to_table(columns=columns, filter=only)
        except (pa.ArrowException, OSError) as error:
            raise StoreError(f"{folder}: cannot be read: {str(error).splitlines()[0]}") from None

    def _write(self, path: Path, table: pa.Table) -> None:
        # Neighbouring losses differ in their low bytes only: split by byte they compress best.
        floats = [field.name for field in table.schema if pa.types.is_floating(field.type)]
        _atomically(
            path,
            lambda temporary: pq.write_table(
                table,
                temporary,
                compression="zstd",
                compression_level=9,
                use_dictionary=[n for n in table.schema.names if n not in floats],
                column_encoding=dict.fromkeys(floats, "BYTE_STREAM_SPLIT"),
            ),
        )


def _atomically(path: Path, write: Callable[[Path], Any]) -> None:
    """Let `write` fill a hidden neighbour of `path`, flush it to disk, and rename it to `path`."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
