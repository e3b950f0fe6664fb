"""Which runs of a grid are asked for, by what is known of their cells: only=QUERY."""

import pandas as pd

from analysis import cells, load_curves, load_runs
from grok_sweep.core.grid import Grid
from grok_sweep.core.sweep import Sweep
from grok_sweep.errors import ConfigError
from grok_sweep.session import sorting
from grok_sweep.store import Store


def left_out(sweep: Sweep, results: Store, grid: Grid) -> tuple[set[str], str]:
    """The run_ids of the cells that `sweep.only` does not choose, and what to say of it.

    A query of pandas on the cells of the folder (see `analysis.cells`): the axes, runs, n_ and share_ of each
    phase, majority. Raises ConfigError where it cannot be asked, or chooses nothing.
    """
    runs = load_runs(sweep.out) if results.exists() else pd.DataFrame()
    if runs.empty:
        raise ConfigError([f"only={sweep.only}: {results.place()} has no finished runs to choose by"])
    axes = [*sweep.axes]
    table = cells(sorting.phases(sweep, runs, lambda: load_curves(sweep.out)), axes)
    try:
        picked = table.eval(str(sweep.only))
        if not isinstance(picked, pd.Series) or picked.dtype != bool:
            raise TypeError("it gives no yes or no for each cell")
    except Exception as error:  # whatever pandas makes of what a person has written
        said = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise ConfigError([f"only={sweep.only}: {said}; there are {', '.join(map(str, table))}"]) from None
    chosen = table.loc[picked, axes]
    if not picked.any():
        none = f"chooses none of the {len(table):,} cells of {results.place()}"
        raise ConfigError([f"only={sweep.only}: {none}"])
    every = pd.DataFrame({name: grid.columns[name] for name in axes}, index=range(len(grid)))
    if axes:
        every = every.merge(chosen.assign(chosen=True), how="left", on=axes)
        out_R = every["chosen"].isna().to_numpy()
    else:
        out_R = every.index < 0
    return {*grid.columns["run_id"][out_R].tolist()}, f"only: {len(chosen):,} of {len(table):,} cells"
