"""Which runs a sweep has in the end: the combinations of its grid, as its sweep.yaml says."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from analysis.read import settings
from grok_sweep import effects

MOST_RUNS = 500_000  # of which a table is made; no picture shows more


def expected_runs(config: Mapping[str, Any]) -> pd.DataFrame | None:
    """A row for each run of the grid of a sweep's `config`, its columns the axes of the grid and `seed`.

    Axes that change together do so, and combinations that repeat others (see `grok_sweep.effects`) are left
    out. None where the config does not say, or there are more than MOST_RUNS combinations.
    """
    try:
        loops, seeds = _loops(config), _seeds(config)
        sizes = [len(next(iter(loop.values()))) for loop in loops]
        if math.prod(sizes) * len(seeds) > MOST_RUNS:
            return None
        points = [
            [dict(zip(loop, values, strict=True)) for values in zip(*loop.values(), strict=True)]
            for loop in (*loops, {"seed": seeds})
        ]
        rows = [
            dict(itertools.chain.from_iterable(map(dict.items, one))) for one in itertools.product(*points)
        ]
        runs = pd.DataFrame(rows)
        model = config.get("model") or {}
        name = str(model.get("name"))
        fixed = {key: model[key] for key in effects.deciding(name) if key not in runs}
        return runs[~effects.effective(name, runs.assign(**fixed)).duplicated()]
    except (AttributeError, KeyError, TypeError, ValueError, StopIteration):
        return None


def n_expected(config: Mapping[str, Any]) -> int:
    """How many runs a sweep has in the end; 0 where its config does not say."""
    try:
        model = config.get("model") or {}
        return effects.n_cells(str(model.get("name")), model, _loops(config)) * len(_seeds(config))
    except (AttributeError, KeyError, TypeError, ValueError, StopIteration):
        return 0


def with_missing(phases: pd.DataFrame, expected: pd.DataFrame) -> pd.DataFrame:
    """`phases` with a row of no phase for each run that is expected and not there."""
    names = [name for name in expected if name in phases]
    expected = expected[names].astype(phases[names].dtypes.to_dict())
    there = pd.MultiIndex.from_frame(phases[names])
    missing = expected[~pd.MultiIndex.from_frame(expected).isin(there)]
    if missing.empty:
        return phases
    # What is no axis is the same in all runs.
    others = [name for name in ("sweep", "task", *settings(phases)) if name in phases and name not in names]
    missing = missing.assign(**{name: phases[name].iloc[0] for name in others})
    whole = pd.concat([phases, missing.reindex(columns=phases.columns)], ignore_index=True)
    whole["phase"] = pd.Categorical(whole["phase"], categories=phases["phase"].cat.categories)
    whole.attrs = dict(phases.attrs)
    return whole


def _loops(config: Mapping[str, Any]) -> list[Mapping[str, Sequence[Any]]]:
    """The axes of the grid, those that change together in one."""
    grid: dict[str, list[Any]] = {key: list(values) for key, values in (config.get("grid") or {}).items()}
    loops: list[Mapping[str, Sequence[Any]]] = []
    for key in grid:
        together = next((keys for keys in config.get("zip") or [] if key in keys), [key])
        if key == next(name for name in grid if name in together):
            loops.append({name: grid[name] for name in grid if name in together})
    return loops


def _seeds(config: Mapping[str, Any]) -> Sequence[int]:
    seeds = config.get("seeds", 1)
    return list(seeds) if isinstance(seeds, list) else range(int(seeds))
