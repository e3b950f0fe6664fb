"""The tables of a results folder as data frames. A folder is a path, or a URI of pyarrow.fs."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from grok_sweep.core import effects
from grok_sweep.store import BEFORE, REPEAT, RESULTS, SESSION, STOPPED, Store, StoreError


@dataclass(frozen=True)
class Weights:
    """What was recorded of one run's weights: S snapshots, each before the update of its step.

    `arrays`: name -> float32 array of shape (S, ...). Parity has w_in (S, D, H), the bias its last row, and
    w_out (S, H). Modular addition has w_in (S, P, H), shared by a and b, or (S, 2P, H), first the rows of a
    and then those of b, and w_out (S, H, P), whatever the architecture multiplies them from:
    logits = relu(w_in[a] + w_in[b]) @ w_out.
    """

    step_S: np.ndarray
    arrays: Mapping[str, np.ndarray]


def load_runs(folder: str | Path) -> pd.DataFrame:
    """One row per finished run, ordered by task, settings and seed.

    The order does not depend on how the sweep was cut into shards. Of rows that differ in hyperparameters
    without effect only, which are one run computed again, the first is kept: older folders have some; and
    all seeds of a setting have the same values of these. Of runs that were repeated the first training is
    there. Raises StoreError where `folder` holds no sweep or cannot be read.
    """
    return first_trainings(in_order(Store(folder).runs()))


def load_repeats(folder: str | Path) -> pd.DataFrame:
    """Of runs that were trained more than once, with their rows in another order, one row per training.

    As `load_runs` gives them, with the column `repeat`: 0 is the one that is there. Raises StoreError as that
    does.
    """
    runs = in_order(Store(folder).runs())
    if REPEAT not in runs:
        return runs.iloc[:0].assign(**{REPEAT: 0})
    by = ["task", *settings(runs), "seed"]
    return runs[runs.groupby(by, dropna=False)[REPEAT].transform("size") > 1].reset_index(drop=True)


def first_trainings(runs: pd.DataFrame) -> pd.DataFrame:
    """Of runs that may have been repeated the first training of each."""
    if REPEAT not in runs:
        return runs
    return runs[runs[REPEAT] == 0].drop(columns=REPEAT).reset_index(drop=True)


def in_order(runs: pd.DataFrame) -> pd.DataFrame:
    """All trainings of one folder or of several of a sweep, as `load_runs` orders and dedupes runs."""
    whole = {"diverged_step", STOPPED, SESSION} & {*runs}  # whole numbers, although some are missing
    runs = runs.astype(dict.fromkeys(whole, "Int64"))
    alike = ["seed", *([REPEAT] if REPEAT in runs else [])]
    runs = runs.sort_values(["task", *settings(runs), *alike, "run_id"])
    if off := without_effect(runs):
        names = ["task", *settings(runs)]
        effective = runs[names].assign(**{name: runs[name].mask(off_R) for name, off_R in off.items()})
        # Another order of the grid may have left the seeds of one setting at several values.
        setting_R = effective.groupby(names, sort=False, dropna=False).ngroup()
        for name, off_R in off.items():
            runs[name] = runs[name].mask(off_R, runs.groupby(setting_R)[name].transform("first"))
        runs = runs[~effective.assign(**runs[alike]).duplicated()]
    return runs.reset_index(drop=True)


def select(runs: pd.DataFrame, **values: Any) -> pd.DataFrame:
    """The rows of `runs` (or of phases or circuits) that are at these values of their columns.

    A hyperparameter without effect on a run is at any value: the run is found by all of them, although its
    row holds one. Which these are the column `model` tells; a table without it is taken as it is. Raises
    ValueError where a column is missing.
    """
    need(runs, values, "this table")
    off = without_effect(runs)
    at_R = np.ones(len(runs), dtype=bool)
    for name, value in values.items():
        at_R &= (runs[name] == value).to_numpy(bool, na_value=False) | off.get(name, False)
    return runs[at_R]


def without_effect(runs: pd.DataFrame) -> dict[str, np.ndarray]:
    """Hyperparameter -> on which of `runs` it has no effect: bool, by run. Only those that some run has.

    Raises ValueError where a column that decides about it is missing.
    """
    found: dict[str, np.ndarray] = {}
    for model in runs["model"].unique() if "model" in runs else ():
        need(runs, effects.deciding(model), f"a table of runs of {model}")
        mine_R = (runs["model"] == model).to_numpy()
        for name, off_R in effects.without_effect(model, runs).items():
            found[name] = found.get(name, False) | (mine_R & off_R.to_numpy(bool))
    return {name: off_R for name, off_R in found.items() if name in runs and off_R.any()}


def load_curves(folder: str | Path, run_ids: Iterable[str] | None = None) -> pd.DataFrame:
    """One row per run and logged step, ordered by both; of `run_ids` only, where given.

    Raises StoreError where `folder` holds no sweep or cannot be read.
    """
    return Store(folder).curves(run_ids)


def load_weights(folder: str | Path, run_id: str) -> Weights:
    """The weights that were recorded of a run. Raises StoreError where it or they are not there."""
    for _, weights in each_weights(folder, [run_id]):
        return weights
    store = Store(folder)
    if run_id not in store.finished():
        raise StoreError(f"{store.place()}: run {run_id} is not there; run_ids are in its runs")
    raise StoreError(
        f"{store.place()}: no weights of run {run_id}; sweep with train.snapshot_every to record some"
    )


def each_weights(folder: str | Path, run_ids: Iterable[str] | None = None) -> Iterator[tuple[str, Weights]]:
    """(run_id, weights) of the finished runs that have some, or of those among `run_ids`: one at a time.

    In the order of the files that they are in. Raises StoreError where `folder` holds no sweep or cannot be
    read.
    """
    for run_id, step_S, arrays in Store(folder).weights(run_ids):
        yield run_id, Weights(step_S, arrays)


def settings(runs: pd.DataFrame) -> list[str]:
    """The columns that say how a run was set up: those between its identity and its results, in order.

    Raises ValueError where the columns that they lie between are missing.
    """
    before, after = list(BEFORE)[-1], next(iter(RESULTS))
    need(runs, [before, after], "a runs table")
    names = list(runs.columns)
    return names[names.index(before) + 1 : names.index(after)]


def unclaimed(axes: Iterable[str], columns: Iterable[str]) -> None:
    """Raise ValueError where an axis is called as a column of the table that is to be made."""
    taken = sorted({*axes} & {*columns})
    if taken:
        raise ValueError(
            f"{', '.join(taken)}: a column of this table is called so; rename the axis in the runs"
        )


def need(frame: pd.DataFrame, columns: Iterable[str], what: str) -> None:
    """Raise ValueError unless `frame` has all of `columns`; `what` says which table it should be."""
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise ValueError(
            f"{what} needs the columns {', '.join(missing)}; there are {', '.join(frame.columns)}"
        )


def need_curves(runs: pd.DataFrame, curves: pd.DataFrame, metrics: Iterable[str]) -> None:
    """Raise ValueError unless `curves` has all of `metrics`, and a curve of each run."""
    need(runs, ["run_id"], "a runs table")
    need(curves, ["run_id", "step", *metrics], "a curves table")
    without = runs.loc[~runs["run_id"].isin(curves["run_id"].unique()), "run_id"]
    if len(without):
        raise ValueError(f"{len(without)} of {len(runs)} runs have no curve, the first is {without.iloc[0]}")
