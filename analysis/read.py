"""The tables of a results folder as data frames. A folder is a path, or a URI of pyarrow.fs."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from grok_sweep.store import BEFORE, RESULTS, Store


def load_runs(folder: str | Path) -> pd.DataFrame:
    """One row per finished run, ordered by task, settings and seed.

    The order does not depend on how the sweep was cut into shards. Raises StoreError where `folder` holds no
    sweep or cannot be read.
    """
    runs = Store(folder).runs().astype({"diverged_step": "Int64"})  # whole numbers, although some are missing
    return runs.sort_values(["task", *settings(runs), "seed", "run_id"], ignore_index=True)


def load_curves(folder: str | Path, run_ids: Iterable[str] | None = None) -> pd.DataFrame:
    """One row per run and logged step, ordered by both; of `run_ids` only, where given.

    Raises StoreError where `folder` holds no sweep or cannot be read.
    """
    return Store(folder).curves(run_ids)


def settings(runs: pd.DataFrame) -> list[str]:
    """The columns that say how a run was set up: those between its identity and its results, in order.

    Raises ValueError where the columns that they lie between are missing.
    """
    before, after = list(BEFORE)[-1], next(iter(RESULTS))
    need(runs, [before, after], "a runs table")
    names = list(runs.columns)
    return names[names.index(before) + 1 : names.index(after)]


def need(frame: pd.DataFrame, columns: Iterable[str], what: str) -> None:
    """Raise ValueError unless `frame` has all of `columns`; `what` says which table it should be."""
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise ValueError(
            f"{what} needs the columns {', '.join(missing)}; there are {', '.join(frame.columns)}"
        )
