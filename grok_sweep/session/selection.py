"""Which runs of a grid are asked for, by what is known of their cells: only=QUERY."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from analysis import cells, load_curves, load_runs
from grok_sweep.core import effects
from grok_sweep.core.grid import Grid
from grok_sweep.core.sweep import Sweep
from grok_sweep.errors import ConfigError
from grok_sweep.session import provenance, sorting
from grok_sweep.store import SESSION, Store, StoreError


def left_out(sweep: Sweep, config: Mapping[str, Any], results: Store, grid: Grid) -> tuple[set[str], str]:
    """The run_ids of the cells that `sweep.only` does not choose, and what to say of it.

    A query of pandas on the cells of the folder (see `analysis.cells`): every hyperparameter, runs, n_ and
    share_ of each phase, majority. A command that is given again chooses what it chose at first: by the runs
    from before the first session that asked for the same. Raises ConfigError where the query cannot be
    asked, or chooses nothing of the grid.
    """
    table = _cells(sweep, config, results)
    names = [*sweep.values]
    try:
        picked = table.eval(str(sweep.only))
        if not isinstance(picked, pd.Series) or picked.dtype != bool:
            raise TypeError("it gives no yes or no for each cell")
    except Exception as error:  # whatever pandas makes of what a person has written
        said = f"{type(error).__name__}: {' '.join(str(error).split())}"
        there = ", ".join([*sweep.axes, *(str(name) for name in table if name not in sweep.axes)])
        raise ConfigError([f"only={sweep.only}: {said}; there are {there}"]) from None
    every = _effective(sweep, {name: grid.columns[name] for name in names}, len(grid))
    every = every.merge(table.loc[picked, names].assign(chosen=True), how="left", on=names)
    out_R = every["chosen"].isna().to_numpy()
    if out_R.all():
        where = f"the {len(table):,} cells of {results.place()} that are in the grid"
        raise ConfigError([f"only={sweep.only}: chooses none of {where}"])
    return {*grid.columns["run_id"][out_R].tolist()}, f"only: {picked.sum():,} of {len(table):,} cells"


def _cells(sweep: Sweep, config: Mapping[str, Any], results: Store) -> pd.DataFrame:
    """The table of cells that is asked: by all hyperparameters, nan where one has no effect."""
    try:
        runs = load_runs(sweep.out) if results.exists() else pd.DataFrame()
        if not runs.empty and (first := provenance.first_asked(results.sweep(), config)) and SESSION in runs:
            runs = runs[runs[SESSION].fillna(0) < first]
        if runs.empty:
            raise ConfigError([f"only={sweep.only}: {results.place()} has no finished runs to choose by"])
        phases = sorting.phases(sweep, runs, lambda: load_curves(sweep.out, runs["run_id"]))
    except StoreError as error:
        raise ConfigError([f"only={sweep.only}: {error}; give the command without only= first"]) from None
    # A column that an older folder lacks is of a hyperparameter that came later.
    known = {name: phases[name] if name in phases else sweep.numbers[name].since for name in sweep.values}
    return cells(phases.assign(**_effective(sweep, known, len(phases)).set_index(phases.index)), [*known])


def _effective(sweep: Sweep, columns: Mapping[str, Any], runs: int) -> pd.DataFrame:
    """Hyperparameters of runs as floats, nan where one has no effect: equal in the runs of one cell."""
    table = pd.DataFrame({key: np.broadcast_to(np.asarray(of), runs) for key, of in columns.items()})
    return effects.effective(sweep.model, table).astype(float)
