"""Which runs of a grid are asked for, by what is known of its cells or runs: only=QUERY, redo=true."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis import cells, load_curves
from analysis.load import first_trainings, in_order
from grok_sweep.core import effects
from grok_sweep.core.grid import Grid
from grok_sweep.core.sweep import Sweep
from grok_sweep.errors import ConfigError
from grok_sweep.session import provenance, sorting
from grok_sweep.store import REPEAT, SESSION, Store, StoreError


@dataclass(frozen=True)
class Selection:
    """What `only` chooses of a grid: without it, all, and nothing is said.

    `left_out`: run_ids of the grid that it does not choose. `again`: those of finished runs, as the folder
    has them, that are still to be trained again. `words`: what to say of it.
    """

    left_out: frozenset[str] = frozenset()
    again: frozenset[str] = frozenset()
    words: str = ""


def select(sweep: Sweep, config: Mapping[str, Any], results: Store, grid: Grid) -> Selection:
    """What `sweep.only` chooses: of cells, or with `redo` of finished runs, which are trained again.

    A query of pandas on the cells of the folder (see `analysis.cells`): every hyperparameter, runs, n_ and
    share_ of each phase, majority; with `redo` on its runs, which have what is known of their cells too. A
    command that is given again chooses what it chose at first: by the runs as they were before the first
    session that asked for the same. Raises ConfigError where the query cannot be asked, or chooses nothing
    of the grid.
    """
    if not sweep.only:
        return Selection()
    first = provenance.first_asked(results.sweep(), config, sweep) if results.exists() else None
    runs = _runs(sweep, results, first)
    names = [*sweep.values]
    table = cells(first_trainings(runs), names)
    if sweep.redo:
        return _again(sweep, results, grid, first, _with_cells(runs, table, names))
    picked = _asked(sweep, table)
    every = _effective(sweep, {name: grid.columns[name] for name in names}, len(grid))
    every = every.merge(table.loc[picked, names].assign(chosen=True), how="left", on=names)
    out_R = every["chosen"].isna().to_numpy()
    if out_R.all():
        raise _none(sweep, f"{len(table):,} cells", results)
    words = f"only: {picked.sum():,} of {len(table):,} cells"
    return Selection(frozenset(grid.columns["run_id"][out_R].tolist()), words=words)


def _again(sweep: Sweep, results: Store, grid: Grid, first: int | None, runs: pd.DataFrame) -> Selection:
    """Of `runs`, as they were before session `first` (None: are), what the query chooses."""
    ids = {*grid.columns["run_id"].tolist()}
    picked = ids.intersection(grid.standing(runs.loc[_asked(sweep, runs), "run_id"]))
    if not picked:
        raise _none(sweep, f"{len(runs):,} runs", results)
    now = results.runs()
    old = now if first is None else now[sessions_of(now) < first]
    # Under the ids of copies too: else these would stand for them.
    stand = zip(old["run_id"], grid.standing(old["run_id"]), strict=True)
    again = frozenset(run_id for run_id, stands_for in stand if stands_for in picked)
    done = "" if again else ", which were all replaced before"
    words = f"only: {len(picked):,} of {len(runs):,} runs are trained again{done}"
    return Selection(frozenset(ids - picked), again, words)


def _asked(sweep: Sweep, table: pd.DataFrame) -> "pd.Series[bool]":
    """Which rows of a table the query chooses."""
    try:
        picked = table.eval(str(sweep.only))
        if not isinstance(picked, pd.Series) or picked.dtype != bool:
            raise TypeError(f"it gives no yes or no for each {'run' if sweep.redo else 'cell'}")
    except Exception as error:  # whatever pandas makes of what a person has written
        said = f"{type(error).__name__}: {' '.join(str(error).split())}"
        there = ", ".join([*sweep.axes, *(str(name) for name in table if name not in sweep.axes)])
        raise ConfigError([f"only={sweep.only}: {said}; there are {there}"]) from None
    return picked


def _none(sweep: Sweep, of: str, results: Store) -> ConfigError:
    where = f"the {of} of {results.place()} that are in the grid"
    return ConfigError([f"only={sweep.only}: chooses none of {where}"])


def _runs(sweep: Sweep, results: Store, first: int | None) -> pd.DataFrame:
    """The runs with their phases, as they were before session `first` (None: as they are).

    All hyperparameters are floats, nan where one has no effect.
    """
    try:
        there: dict[str, pd.DataFrame] = {}
        for store in _folders(results, first):
            mine = store.runs()
            mine = mine if first is None else mine[sessions_of(mine) < first]
            # A run that was replaced twice is here as it was first, and as whole as it is in one of them.
            earlier = [run_id for runs in there.values() for run_id in runs["run_id"]]
            if len(mine := mine[~mine["run_id"].isin(earlier)]):
                there[store.root] = mine
        if not there:
            raise ConfigError([f"only={sweep.only}: {results.place()} has no finished runs to choose by"])
        every = pd.concat([*there.values()], ignore_index=True)
        # What came later is in the newer of these tables alone.
        later = {REPEAT: 0} | {name: number.since for name, number in sweep.numbers.items()}
        runs = in_order(every.fillna({k: v for k, v in later.items() if k in every and v is not None}))

        def curves() -> pd.DataFrame:
            return pd.concat([load_curves(root, mine["run_id"]) for root, mine in there.items()])

        phases = sorting.phases(sweep, runs, curves)
    except StoreError as error:
        raise ConfigError([f"only={sweep.only}: {error}; give the command without only= first"]) from None
    # A column that an older folder lacks is of a hyperparameter that came later.
    known = {name: phases[name] if name in phases else sweep.numbers[name].since for name in sweep.values}
    return phases.assign(**_effective(sweep, known, len(phases)).set_index(phases.index))


def _folders(results: Store, first: int | None) -> list[Store]:
    """Where the runs of before a session are: what it and later ones replaced, and what is there now."""
    if not results.exists():
        return []
    return [results] if first is None else [*results.replaced_since(first), results]


def sessions_of(runs: pd.DataFrame) -> "pd.Series[int]":
    """Of each run; 0 for those of before sessions were counted."""
    return runs[SESSION].fillna(0) if SESSION in runs else pd.Series(0, runs.index)


def _with_cells(runs: pd.DataFrame, table: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """The runs with what is known of the cell of each."""
    more = [name for name in table if name not in runs]
    return runs.merge(table[[*names, *more]], how="left", on=names)


def _effective(sweep: Sweep, columns: Mapping[str, Any], runs: int) -> pd.DataFrame:
    """Hyperparameters of runs as floats, nan where one has no effect: equal in the runs of one cell."""
    table = pd.DataFrame({key: np.broadcast_to(np.asarray(of), runs) for key, of in columns.items()})
    return effects.effective(sweep.model, table).astype(float)
