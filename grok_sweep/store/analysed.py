"""The tables of an analysis. Phases by a definition of the user's own are kept when others replace them."""

from collections.abc import Iterator

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from grok_sweep.store.files import Files
from grok_sweep.store.tables import reading

PHASES, CELLS, CIRCUITS = "phases.parquet", "cells.parquet", "circuits.parquet"
KEPT = f"parts/{PHASES}"  # those by the user's own definition, while phases.parquet is by a built-in one


def table(files: Files, name: str, columns: list[str] | None = None) -> pa.Table | None:
    """Some columns of a table; None where there is none to be read."""
    try:
        with reading(files):
            # Its own threads may outlive the process: pyarrow 26 then aborts.
            return pq.read_table(pa.BufferReader(files.read(name)), columns=columns, use_threads=False)
    except (FileNotFoundError, IsADirectoryError, pa.ArrowException, OSError, ValueError):
        return None


def phases(files: Files, definition: str) -> pd.DataFrame | None:
    """The last phases by a definition of the user's own: run_id and phase; `attrs` have all else of it."""
    for _, frame in _own(files):
        if frame.attrs["definition"] == definition:
            return frame
    return None


def replaced(files: Files, by: pd.DataFrame) -> str | None:
    """The table that is lost if `by` is written, and cannot be made again without the user's file."""
    for name, frame in _own(files):
        return name if name == PHASES and frame.attrs["definition"] != by.attrs.get("definition") else None
    return None


def _own(files: Files) -> Iterator[tuple[str, pd.DataFrame]]:
    for name in (PHASES, KEPT):
        found = table(files, name, ["run_id", "phase"])
        frame = None if found is None else found.to_pandas()
        if frame is not None and {"definition", "phases"} <= set(frame.attrs):
            yield name, frame
