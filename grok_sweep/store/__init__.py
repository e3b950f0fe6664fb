"""The results folder: the only owner of its names.

    DIR/sweep.yaml           the resolved config and where it ran
    DIR/runs/*.parquet       one row per run, one file per finished shard
    DIR/curves/*.parquet     one row per run and logged step
    DIR/weights/*.parquet    one row per run and snapshot, where weights are recorded
    DIR/failed/*             the runs that failed: a table and a log per shard; gone once they are tried again
    DIR/damaged/*            files that were found damaged
    DIR/phases.parquet, cells.parquet, circuits.parquet
    DIR/phase_diagram.png and .svg, figures/*, report.html

Every file is whole or not there (see files.py). A shard's curves and weights are published before its runs,
so a run that is there has them. A table is named by a hash of its run_ids; a file named otherwise is not ours
and not read. This module imports no jax, ray or hydra: results can be read on any laptop.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import yaml

from grok_sweep.core.uris import shown
from grok_sweep.store import analysed, locks, record
from grok_sweep.store.analysed import CELLS, CIRCUITS, PHASES
from grok_sweep.store.files import TEMPORARY, Files, Local, StoreError, files_at
from grok_sweep.store.inspection import Inspection, inspect, is_log, unused
from grok_sweep.store.parquet import DamagedError, encode
from grok_sweep.store.schemas import (
    AFTER,
    BEFORE,
    CURVE_METRICS,
    CURVES_SCHEMA,
    FAILED_SCHEMA,
    RESULTS,
    SESSION,
    curves_schema,
    in_session,
    own_finals,
    runs_schema,
    weights_arrays,
    weights_table,
)
from grok_sweep.store.tables import EMPTY, FITS, Tables, of_runs, reading, shard_name

__all__ = [
    "AFTER",
    "BEFORE",
    "CIRCUITS",
    "CURVES_SCHEMA",
    "CURVE_METRICS",
    "LEFT_OUT",
    "PHASES",
    "REPORT",
    "RESULTS",
    "SESSION",
    "Inspection",
    "Store",
    "StoreError",
    "curves_schema",
    "in_session",
    "own_finals",
    "runs_schema",
    "weights_table",
]

SWEEP = "sweep.yaml"
LEFT_OUT = "runs_left_out"  # how many, where a record has cells and picture only
REPORT = "report.html"
OURS = {*FITS, "damaged", "figures", "parts", SWEEP, locks.LOCK, PHASES, CELLS, CIRCUITS}
OURS |= {"phase_diagram.png", "phase_diagram.svg", REPORT}


class Store:
    """One results folder: `root` is a path, or a URI of pyarrow.fs.

    Nothing is written before `make_folders` or `create`. Whatever reads raises StoreError where the folder is
    no results folder, cannot be reached, or has a damaged file; whatever writes raises OSError where it
    cannot.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = str(root)
        self._shown = shown(self.root)

    @cached_property
    def _files(self) -> Files:
        with self._using():
            return files_at(self.root)

    @property
    def _tables(self) -> Tables:
        return Tables(self._files)

    @property
    def path(self) -> Path | None:
        """Where the folder is on this machine; None where it is elsewhere."""
        return self._files.path if isinstance(self._files, Local) else None

    def place(self, name: str = "") -> str:
        """What to call the folder, or a file of it, to a person."""
        return self._files.place(name)

    def exists(self) -> bool:
        """Whether the folder holds a sweep."""
        with self._using():
            return self._files.is_file(SWEEP)

    def check_usable(self) -> None:
        """Raise StoreError where the folder is not, and cannot become, that of a sweep. Writes nothing."""
        with self._using():
            try:
                names = [] if self.exists() else self._files.names()
                foreign = any(name not in OURS and not TEMPORARY.fullmatch(name) for name in names)
                foreign |= "figures" in names and "runs" not in names  # many a folder has some
            except NotADirectoryError:
                foreign = True
            if foreign:
                raise StoreError(f"{self._shown}: is there and is not a results folder; choose another")
            if why := self._files.unusable():
                raise StoreError(f"{self._shown}: {why}; choose another folder")

    def free_bytes(self) -> int | None:
        """The room left on the folder's disk; None where that is unknown. Raises StoreError."""
        with self._using():
            return self._files.free_bytes()

    def make_folders(self) -> None:
        """Make the folder and those in it, as far as they are not there."""
        for folder in ("runs", "curves"):
            self._files.make_folder(folder)

    def create(self, sweep: Mapping[str, Any], schema: pa.Schema, curves: pa.Schema = CURVES_SCHEMA) -> None:
        """Make the folder if need be, record `sweep` in it, and make its tables readable while empty.

        `schema`: of the runs; `curves`: of their curves.
        """
        self.make_folders()
        text = yaml.safe_dump(dict(sweep), sort_keys=False, allow_unicode=True)
        self._write(SWEEP, text.encode())
        for name, of in ((f"runs/{EMPTY}", schema), (f"curves/{EMPTY}", curves)):
            if not self._files.is_file(name):
                self._write(name, encode(of.empty_table()))

    @contextmanager
    def locked(self, command: str) -> Iterator[None]:
        """Keep the folder, which must be there, to this process (see `locks`), until it ends, in any way.

        `command` is what others may read of this process. Raises StoreError where another process has the
        folder, OSError where it cannot be locked.
        """
        with locks.locked(self._files, command):
            yield

    def sweep(self) -> dict[str, Any]:
        """What `create` recorded. Raises StoreError where there is none or it cannot be read."""
        if not self.exists():
            raise StoreError(f"{self._shown}: no sweep here ({SWEEP} is missing); give the folder of a sweep")
        with reading(self._files):
            text = self._files.read(SWEEP)
        try:
            return record.parse(text)
        except ValueError as error:
            then = "restore it, or move it away (the next session writes a new one)"
            raise StoreError(f"{self.place(SWEEP)}: cannot be read: {error}; {then}") from None

    def keep_parts(self, name: str, text: str) -> None:
        """Keep a user's file of parts beside the results, as it was run. It is never run from here."""
        self._files.make_folder("parts")
        self._write(f"parts/{name}", text.encode())

    def publish(self, runs: pa.Table, curves: pa.Table, weights: pa.Table | None = None) -> None:
        """Add one shard's results. Atomic and idempotent: the file's name is a hash of its run_ids."""
        name = f"{shard_name(runs.column('run_id').to_pylist())}.parquet"
        self._write(f"curves/{name}", encode(curves))
        if weights is not None:
            self._files.make_folder("weights")
            self._write(f"weights/{name}", encode(weights))
        self._write(f"runs/{name}", encode(runs))

    def finished(self) -> set[str]:
        """The run_ids whose results are in the folder; none where there is no folder or no table yet."""
        return set(self._tables.places())

    def runs(self) -> pd.DataFrame:
        """One row per finished run."""
        self.sweep()
        return self._tables.runs().to_pandas()

    def curves(self, run_ids: Iterable[str] | None = None) -> pd.DataFrame:
        """One row per run and logged step, by run and step; of `run_ids` only, where given."""
        self.sweep()
        return self._tables.curves(run_ids).to_pandas()

    def weights(
        self, run_ids: Iterable[str] | None = None
    ) -> Iterator[tuple[str, np.ndarray, dict[str, np.ndarray]]]:
        """(run_id, step_S, name -> array (S, ...)) of runs that have weights; see `Tables.weights`."""
        self.sweep()
        for run_id, table in self._tables.weights(run_ids):
            yield run_id, table.column("step").to_numpy(), weights_arrays(table)

    def with_weights(self) -> set[str]:
        """The run_ids of the finished runs whose weights are recorded."""
        there = set(self._tables.shards("weights"))
        return {run_id for run_id, name in self._tables.places().items() if name in there} if there else set()

    def inspect(self, *, weights: bool = False) -> Inspection:
        """Look at every file of the folder: what is finished, and what is wrong. Writes nothing.

        `weights`: a run without recorded weights counts as damaged. Raises StoreError where a file cannot be
        read at all, which does not say what is in it.
        """
        found = inspect(self._tables, weights)
        # Where nothing locks, another session may be about to publish the rest of these; they are in no way.
        return found if self.path is not None else replace(found, leftovers=())

    def put_aside(self, inspection: Inspection) -> list[str]:
        """Move damaged files to damaged/, remove leftovers; `inspection.lines()`. The lock must be held."""
        if inspection.damaged:
            self._files.make_folder("damaged")
        there = {folder: set(self._files.names_of_files(folder)) for folder in FITS}
        there["damaged"] = set(self._files.names("damaged"))
        for name in inspection.damaged:
            folder, _, file = name.partition("/")
            # Runs last: without them, what is still there of a shard would count as a leftover.
            for part in ("failed",) if folder == "failed" else ("curves", "weights", "runs"):
                if file in there[part]:
                    to = unused(f"{part}-{file}", there["damaged"])
                    self._files.move(f"{part}/{file}", f"damaged/{to}")
                    there["damaged"].add(to)
                    there[part].remove(file)
        for name in inspection.leftovers:
            self._files.remove(name)
        return inspection.lines()

    def fail(self, run_ids: Collection[str], reason: str, log: str) -> str:
        """Record that runs failed: why, in one line, and the full log. Returns where a person finds it."""
        name = shard_name(run_ids)
        rows = {
            "run_id": list(run_ids),
            "reason": [" ".join(reason.split())] * len(run_ids),
            "log": [f"failed/{name}.log"] * len(run_ids),
            "time": [datetime.now(UTC).isoformat(timespec="milliseconds")] * len(run_ids),
        }
        self._files.make_folder("failed")
        self._write(f"failed/{name}.log", log.encode(errors="replace"))
        self._write(f"failed/{name}.parquet", encode(pa.table(rows, schema=FAILED_SCHEMA)))
        return self.place(f"failed/{name}.log")

    def failed(self, finished: Collection[str] | None = None) -> pd.DataFrame:
        """The runs that failed and are not finished: run_id, reason, log (in the folder), time (ISO, UTC).

        `finished`: the run_ids that are, where they are known already. Damaged records are passed over.
        """
        tables = [FAILED_SCHEMA.empty_table()]
        for name in self._tables.shards("failed"):
            with suppress(DamagedError):  # `inspect` names it
                tables.append(self._tables.read(f"failed/{name}"))
        rows = pa.concat_tables(tables).to_pandas().sort_values("time", kind="stable")
        rows = rows.drop_duplicates("run_id", keep="last")
        if len(rows):
            rows = rows[~rows["run_id"].isin(self.inspect().finished if finished is None else finished)]
        return rows.reset_index(drop=True)

    def forget_failed(self) -> None:
        """Remove the records of all failures: they are tried again."""
        tables = self._tables.shards("failed")
        logs = [name for name in self._files.names_of_files("failed") if is_log(f"failed/{name}")]
        for name in [*tables, *logs]:
            self._files.remove(f"failed/{name}")

    def write_phases(self, phases: pd.DataFrame, cells: pd.DataFrame) -> tuple[str, ...]:
        """Replace the two tables of an analysis; where they are."""
        if lost := analysed.replaced(self._files, phases):
            self._files.make_folder("parts")
            self._write(analysed.KEPT, self._files.read(lost))
        for name, frame in ((PHASES, phases), (CELLS, cells)):
            self._write(name, encode(pa.Table.from_pandas(frame, preserve_index=False)))
        return self.place(PHASES), self.place(CELLS)

    def write_circuits(self, circuits: pd.DataFrame) -> str:
        """Replace the table of what the networks learned; where it is."""
        self._write(CIRCUITS, encode(pa.Table.from_pandas(circuits, preserve_index=False)))
        return self.place(CIRCUITS)

    def phases(self, definition: str) -> pd.DataFrame | None:
        """run_id and phase by a user's own definition, in `attrs` its looks; None where there are none."""
        return analysed.phases(self._files, definition)

    def circuits_of(self) -> set[str] | None:
        """The run_ids in the table of what the networks learned; None where there is none to be read."""
        table = analysed.table(self._files, CIRCUITS, ["run_id"])
        return None if table is None else set(table.column("run_id").to_pylist())

    def write_figure(self, name: str, picture: bytes | None) -> str:
        """Replace a picture, such as phase_diagram.png or figures/waves.png, or remove it (None).

        Returns where it is.
        """
        if "/" in name and picture is not None:
            self._files.make_folder(name.partition("/")[0])
        if picture is None:
            self._files.remove(name)
        else:
            self._write(name, picture)
        return self.place(name)

    def page(self) -> bytes | None:
        """The page of the sweep, report.html; None where there is none."""
        try:
            with reading(self._files):
                return self._files.read(REPORT)
        except (FileNotFoundError, IsADirectoryError):
            return None

    def copy_record(self, target: "Store") -> None:
        """Write the whole sweep to `target`, one file per table: what one commits or mails.

        Where the weights of some runs are arrays of other shapes, or many, there are several.
        """
        runs, curves = self._tables.runs().sort_by("run_id"), self._tables.curves()
        target.create(self.sweep(), runs.schema)
        if self._files.is_file(PHASES):  # by a definition of the user's own they cannot be made from the rest
            target._write(PHASES, self._files.read(PHASES))
        for name in self._files.names_of_files("parts"):
            if name.endswith(".py"):  # what computed the runs
                target.keep_parts(name, self._files.read(f"parts/{name}").decode())
        left = set(runs.column("run_id").to_pylist())
        for weights in self._tables.all_weights():
            ids = set(weights.column("run_id").to_pylist())
            left -= ids
            target.publish(of_runs(runs, ids), of_runs(curves, ids), weights)
        if left:
            target.publish(of_runs(runs, left), of_runs(curves, left))
        for folder in ("runs", "curves"):
            target._files.remove(f"{folder}/{EMPTY}")

    def copy_cells(self, target: "Store") -> None:
        """Write what is kept of very many runs to `target`: how they were run, the cells and the picture."""
        target._files.make_folder("")
        for name in (CELLS, "phase_diagram.png"):
            if self._files.is_file(name):
                target._write(name, self._files.read(name))
        sweep = self.sweep() | {LEFT_OUT: len(self.finished())}
        target._write(SWEEP, yaml.safe_dump(sweep, sort_keys=False, allow_unicode=True).encode())

    def _write(self, name: str, data: bytes) -> None:
        self._files.write(name, data)

    @contextmanager
    def _using(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = f"cannot be used: {error.strerror or error}"
            raise StoreError(f"{self._shown}: {reason}; choose another folder") from None
