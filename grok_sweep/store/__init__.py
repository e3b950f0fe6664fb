"""The results folder: the only owner of its names.

    DIR/sweep.yaml           the resolved config and where it ran
    DIR/runs/*.parquet       one row per run, one file per finished shard
    DIR/curves/*.parquet     one row per run and logged step
    DIR/weights/*.parquet    one row per run and snapshot, where weights are recorded
    DIR/crashed/*            the runs that crashed: a table and a log per shard, until they are tried again
    DIR/damaged/*            files that were found damaged
    DIR/replaced/SESSION/    a results folder of the runs which that session trained again, as they were
    DIR/phases.parquet, cells.parquet, circuits.parquet
    DIR/phase_diagram.png and .svg, figures/*, report.html

Every file is whole or not there (see files.py). A shard's curves and weights are published before its runs,
so a run that is there has them. A table is named by a hash of its run_ids; a file named otherwise is not ours
and not read. This module imports no jax, ray or hydra: results can be read on any laptop.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import yaml

from grok_sweep.core import uris
from grok_sweep.errors import StoreError
from grok_sweep.store import locks
from grok_sweep.store.files import Files
from grok_sweep.store.inspection import Inspection, inspect
from grok_sweep.store.parquet import DamagedError, decode, encode
from grok_sweep.store.schemas import (
    AFTER,
    BEFORE,
    CRASHED_SCHEMA,
    CURVE_METRICS,
    CURVES_SCHEMA,
    REPEAT,
    RESULTS,
    SESSION,
    STOPPED,
    curves_schema,
    in_session,
    own_finals,
    runs_schema,
    weights_arrays,
    weights_table,
)
from grok_sweep.store.tables import EMPTY, OURS, Tables, of_runs, shard_name

FAST = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # a session reads what all before it were, many times
__all__ = [
    "AFTER",
    "BEFORE",
    "BOUNDARIES",
    "CIRCUITS",
    "CROSSED",
    "CURVES_SCHEMA",
    "CURVE_METRICS",
    "JOINT",
    "LEFT_OUT",
    "PHASES",
    "REPEAT",
    "REPEATS",
    "REPORT",
    "RESULTS",
    "SCALED",
    "SCALING",
    "SENSITIVITY",
    "SESSION",
    "STOPPED",
    "SURVIVAL",
    "TIMES",
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
REPLACED = "replaced"  # the folder of what was trained again
SENSITIVITY, CROSSED = "sensitivity.parquet", "definitions.parquet"
REPEATS, JOINT = "repeats.parquet", "joint.parquet"
BOUNDARIES, TIMES, SURVIVAL = "boundaries.parquet", "times.parquet", "survival.parquet"
SCALING, SCALED = "scaling.parquet", "scaling_cells.parquet"
PHASES, CELLS, CIRCUITS, REPORT = "phases.parquet", "cells.parquet", "circuits.parquet", "report.html"
OWN_PHASES = f"parts/{PHASES}"  # by the user's own definition, while phases.parquet is by a built-in one
LEFT_OUT = "runs_left_out"  # how many, where a record has cells and picture only


class Store:
    """One results folder: `root` is a path, or a URI of pyarrow.fs.

    Nothing is written before `make_folders` or `create`. Whatever reads raises StoreError where the folder is
    no results folder, cannot be reached, or has a damaged file; whatever writes raises OSError where it
    cannot.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = str(root)

    @cached_property
    def _files(self) -> Files:
        return Files(self.root)

    @property
    def _tables(self) -> Tables:
        return Tables(self._files)

    @property
    def path(self) -> Path | None:
        """Where the folder is on this machine; None where it is elsewhere."""
        return self._files.path

    def place(self, name: str = "") -> str:
        """What to call the folder, or a file of it, to a person."""
        return self._files.place(name)

    def exists(self, name: str = SWEEP) -> bool:
        """Whether the folder holds a sweep, or another file of that name."""
        return self._files.is_file(name)

    def check_usable(self) -> None:
        """Raise StoreError where the folder is not, and cannot become, that of a sweep. Writes nothing."""
        names = {*self._files.names()}
        begun = {"runs", "curves"} <= names or names <= {"runs", "curves", locks.LOCK}
        if SWEEP not in names and not begun:
            raise StoreError(f"{self.place()}: is there and is not a results folder; choose another")
        if not self._files.is_writable():
            raise StoreError(f"{self.place()}: cannot be written; choose another folder")

    def free_bytes(self) -> int | None:
        """The room left on the folder's disk; None where that is unknown. Raises StoreError."""
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
        self._write_sweep(sweep)
        self._files.write(f"runs/{EMPTY}", encode(schema.empty_table()))
        self._files.write(f"curves/{EMPTY}", encode(curves.empty_table()))

    def _write_sweep(self, sweep: Mapping[str, Any]) -> None:
        self._files.write(SWEEP, yaml.safe_dump(dict(sweep), sort_keys=False, allow_unicode=True).encode())

    def locked(self) -> AbstractContextManager[None]:
        """Keep the folder, which must be there, to this process (see `locks`), until it ends, in any way.

        Raises StoreError where another process has the folder, OSError where it cannot be locked.
        """
        return locks.locked(self._files)

    def sweep(self) -> dict[str, Any]:
        """What `create` recorded. Raises StoreError where there is none or it cannot be read."""
        try:
            text = self._files.read(SWEEP)
        except FileNotFoundError:
            none = f"no sweep here ({SWEEP} is missing); give the folder of a sweep"
            raise StoreError(f"{self.place()}: {none}") from None
        try:
            sweep = dict(yaml.load(text, FAST))  # noqa: S506 - both are safe ones
            config, sessions = sweep["config"], sweep.get("sessions", [])
            blocks = (config, config.get("grid", {}), config.get("phases", {}))
            whole = isinstance(sessions, list) and all(isinstance(one, dict) for one in [*blocks, *sessions])
        except Exception:  # YAML raises all kinds at values that it cannot make
            whole = False
        if not whole:
            then = "restore it, or move it away (the next session writes a new one)"
            raise StoreError(f"{self.place(SWEEP)}: is not the record of a sweep; {then}")
        return sweep

    def keep_parts(self, name: str, text: str) -> None:
        """Keep a user's file of parts beside the results, as it was run. It is never run from here."""
        self._files.write(f"parts/{name}", text.encode())

    def publish(self, runs: pa.Table, curves: pa.Table, weights: pa.Table | None = None) -> None:
        """Add one shard's results. Atomic and idempotent: the file's name is a hash of its run_ids."""
        name = f"{shard_name(runs.column('run_id').to_pylist())}.parquet"
        self._files.write(f"curves/{name}", encode(curves))
        if weights is not None:
            self._files.write(f"weights/{name}", encode(weights))
        self._files.write(f"runs/{name}", encode(runs))

    def finished(self) -> set[str]:
        """The run_ids whose results are in the folder; none where there is no folder or no table yet."""
        return set().union(*self._tables.run_ids().values())

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
        for ids, table in self._tables.weights(run_ids):
            for run_id in ids:
                mine = of_runs(table, [run_id])
                yield run_id, mine.column("step").to_numpy(), weights_arrays(mine)

    def last_session(self) -> int:
        """The last session of which there are runs, whatever sweep.yaml says; 0 where there is none."""
        sessions = self._tables.runs().to_pandas().get(SESSION, pd.Series([0]))
        return 0 if sessions.isna().all() else int(sessions.max())

    def with_weights(self) -> set[str]:
        """The run_ids of the finished runs whose weights are recorded."""
        there = self._tables.shards("weights")
        ids = self._tables.run_ids() if there else {}
        return {run_id for name in there for run_id in ids.get(name, [])}

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
        for name in inspection.damaged:
            self._files.make_folder("damaged")
            folder, _, file = name.partition("/")
            # Runs last: without them, what is still there of a shard would count as a leftover.
            for part in ("crashed",) if folder == "crashed" else ("curves", "weights", "runs"):
                if self._files.is_file(f"{part}/{file}"):
                    self._files.move(f"{part}/{file}", f"damaged/{part}-{file}")
        for name in inspection.leftovers:
            self._files.remove(name)
        return inspection.lines()

    def crash(self, run_ids: Collection[str], reason: str, log: str) -> str:
        """Record that runs crashed: why, in one line, and the full log. Returns where a person finds it."""
        name = shard_name(run_ids)
        one = {
            "reason": " ".join(reason.split()),
            "log": f"crashed/{name}.log",
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        }
        rows = [{"run_id": run_id, **one} for run_id in run_ids]
        self._files.write(f"crashed/{name}.log", log.encode(errors="replace"))
        self._files.write(f"crashed/{name}.parquet", encode(pa.Table.from_pylist(rows, CRASHED_SCHEMA)))
        return self.place(f"crashed/{name}.log")

    def crashed(self) -> pd.DataFrame:
        """The runs that crashed, finished since or not: run_id, reason, log (in the folder), time (ISO, UTC).

        Damaged records are passed over.
        """
        tables = [CRASHED_SCHEMA.empty_table()]
        for name in self._tables.shards("crashed"):
            with suppress(DamagedError):  # `inspect` names it
                tables.append(self._tables.read(f"crashed/{name}"))
        rows = pa.concat_tables(tables).to_pandas().sort_values("time", kind="stable")
        return rows.drop_duplicates("run_id", keep="last", ignore_index=True)

    def replace(self, run_ids: Collection[str], session: int) -> str:
        """Move finished runs to a results folder of their own in this one: they are not finished any more.

        `session`: which trains them again, and is in `sweep` already. Returns where they are. At any moment a
        run is finished here, or there, or both, and nothing is damaged: of a shard the runs go first, and
        curves of others are passed over. The lock must be held.
        """
        name = f"{REPLACED}/{session}"
        target = self._replaced(session)
        target.make_folders()
        target._write_sweep(self.sweep())
        for shard, ids in self._tables.run_ids(run_ids).items():
            tables = self._tables.shard(shard)
            target.publish(*(of_runs(table, ids) for table in tables))
            staying = {*tables[0].column("run_id").to_pylist()} - {*ids}
            for folder, table in zip(("runs", "curves", "weights"), tables, strict=False):
                if staying:
                    self._files.write(f"{folder}/{shard}", encode(of_runs(table, staying)))
                else:
                    self._files.remove(f"{folder}/{shard}")
        return self.place(name)

    def replaced_since(self, session: int) -> "list[Store]":
        """The results folders of what sessions from this one on have trained again, in their order."""
        return [self._replaced(number) for number in self._replacing() if number >= session]

    def _replaced(self, session: int) -> "Store":
        return Store(uris.below(self.root, f"{REPLACED}/{session}"))

    def _replacing(self) -> list[int]:
        """The sessions that have trained runs again, in their order."""
        names = [name for name in self._files.names(REPLACED) if name.isdecimal()]
        return sorted(int(name) for name in names if self.exists(f"{REPLACED}/{name}/{SWEEP}"))

    def forget_crashed(self, run_ids: Collection[str]) -> None:
        """Remove the records whose runs are all among these: they are tried again."""
        others = self.crashed().query("run_id not in @run_ids")["log"]
        for name in filter(OURS.fullmatch, self._files.names("crashed")):
            if f"crashed/{Path(name).stem}.log" not in {*others}:
                self._files.remove(f"crashed/{name}")

    def write_phases(self, phases: pd.DataFrame, cells: pd.DataFrame) -> tuple[str, ...]:
        """Replace the two tables of an analysis; where they are.

        Phases by a definition of the user's own, which is not run to read results, are kept beside others.
        """
        own = self._own_phases(PHASES)
        if own is not None and own.attrs["definition"] != phases.attrs.get("definition"):
            self._files.write(OWN_PHASES, self._files.read(PHASES))
        return self.write_table(PHASES, phases), self.write_table(CELLS, cells)

    def write_table(self, name: str, frame: pd.DataFrame) -> str:
        """Replace another table of an analysis, such as CIRCUITS; where it is."""
        self._files.write(name, encode(pa.Table.from_pandas(frame, preserve_index=False)))
        return self.place(name)

    def phases(self, definition: str) -> pd.DataFrame | None:
        """run_id and phase by a user's own definition, in `attrs` its looks; None where there are none."""
        tables = [self._own_phases(name) for name in (PHASES, OWN_PHASES)]
        return next((t for t in tables if t is not None and t.attrs["definition"] == definition), None)

    def _own_phases(self, name: str) -> pd.DataFrame | None:
        """A table of phases, if it is by a definition of the user's own."""
        table = self._analysed(name, ["run_id", "phase"])
        return table if table is not None and {"definition", "phases"} <= set(table.attrs) else None

    def circuits_of(self) -> set[str] | None:
        """The run_ids in the table of what the networks learned; None where there is none to be read."""
        table = self._analysed(CIRCUITS, ["run_id"])
        return None if table is None else set(table["run_id"])

    def attrs_of(self, name: str) -> dict[Any, Any]:
        """What a table of an analysis says of itself, as its axis; {} where there is none to be read."""
        table = self._analysed(name, ["value"])
        return {} if table is None else dict(table.attrs)

    def _analysed(self, name: str, columns: list[str]) -> pd.DataFrame | None:
        """These columns of a table of an analysis; None where there is none to be read."""
        try:
            return decode(self._files.read(name), columns, columns).to_pandas()
        except (FileNotFoundError, DamagedError):
            return None

    def write_figure(self, name: str, picture: bytes | None) -> str:
        """Replace a picture, such as phase_diagram.png or figures/waves.png, or remove it (None).

        Returns where it is.
        """
        if picture is None:
            self._files.remove(name)
        else:
            self._files.write(name, picture)
        return self.place(name)

    def page(self) -> bytes | None:
        """The page of the sweep, report.html; None where there is none."""
        try:
            return self._files.read(REPORT)
        except FileNotFoundError:
            return None

    def copy_record(self, target: "Store") -> None:
        """Write the whole sweep to `target`, in one file per table: what one commits or mails.

        Shards with weights stay as they are, so that not all of these are in memory at once. What runs were
        that have been trained again goes with them.
        """
        runs, curves = self._tables.runs().sort_by("run_id"), self._tables.curves()
        target.make_folders()
        target._write_sweep(self.sweep())
        # By a definition of the user's own phases cannot be made from the rest; its file computed the runs.
        kept = [f"parts/{name}" for name in self._files.names("parts") if name.endswith(".py")]
        for name in [PHASES, *kept]:
            with suppress(FileNotFoundError):
                target._files.write(name, self._files.read(name))
        left = {*runs.column("run_id").to_pylist()}
        for ids, weights in self._tables.weights():
            target.publish(of_runs(runs, ids), of_runs(curves, ids), weights)
            left -= {*ids}
        if left:
            target.publish(of_runs(runs, left), of_runs(curves, left))
        for session in self._replacing():
            self._replaced(session).copy_record(target._replaced(session))

    def copy_cells(self, target: "Store") -> None:
        """Write what is kept of very many runs to `target`: how they were run, the cells and the picture."""
        target._files.make_folder()
        target._write_sweep(self.sweep() | {LEFT_OUT: len(self.finished())})
        for name in (CELLS, "phase_diagram.png"):
            with suppress(FileNotFoundError):
                target._files.write(name, self._files.read(name))
