"""Which runs a sweep has in the end: the combinations of its grids, as its sweep.yaml says."""

import math
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

import numpy as np
import pandas as pd

from analysis.load import settings, without_effect
from grok_sweep.core import effects
from grok_sweep.core.sweep import loops_of

MOST_RUNS = 500_000  # of which a table is made; pictures of more know only what is there
# What a config that is none raises.
SAYS_NOTHING = (AttributeError, KeyError, OverflowError, TypeError, ValueError, StopIteration)


def configs(stored: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What the sessions of a folder asked for, each once, the last first; `stored`: its sweep.yaml."""
    found = [stored["config"]]
    for session in stored.get("sessions", []):
        asked = session.get("asked")
        one = stored["config"] | (asked if isinstance(asked, Mapping) else {})
        for kind in ("task", "model", "optimizer"):  # to which keys may have been added since, but no other
            one[kind] = stored["config"].get(kind, {}) | one.get(kind, {})
        if one not in found:
            found.append(one)
    # With `only` they asked for a part of their grid, which nobody waits for once it is there.
    return [one for one in found if not one.get("only")] or found


def expected_runs(*configs: Mapping[str, Any]) -> pd.DataFrame | None:
    """A row for each run of the grids of a sweep's `configs`: task, model, optimizer, hyperparameters, seed.

    Axes that change together do so, and combinations that repeat others (see `core.effects`) are left
    out. None where a config does not say, or has more than MOST_RUNS combinations.
    """
    try:
        runs = pd.concat(map(_combinations, configs), ignore_index=True)
        model = str(configs[0].get("model", {}).get("name"))
        return runs[~effects.effective(model, runs).duplicated()]
    except SAYS_NOTHING:
        return None


def _combinations(config: Mapping[str, Any]) -> pd.DataFrame:
    """Of the grid of one config, those included that repeat others; raises one of SAYS_NOTHING."""
    loops = [*_loops(config), {"seed": _seeds(config)}]
    if not 0 < math.prod(len(next(iter(loop.values()))) for loop in loops) <= MOST_RUNS:
        raise ValueError(f"none, or more than {MOST_RUNS:,} runs")
    runs = reduce(lambda left, right: left.merge(right, how="cross"), map(pd.DataFrame, loops))
    for kind in ("task", "model", "optimizer"):
        block = dict(config.get(kind, {}))
        named = {kind: block.pop("name")} if "name" in block else {}
        runs = runs.assign(**named, **{key: value for key, value in block.items() if key not in runs})
    return runs


def n_expected(*configs: Mapping[str, Any]) -> int:
    """How many runs a sweep has in the end; 0 where its configs do not say.

    Of several that are too many for a table: those of the largest.
    """
    if len(configs) > 1 and (runs := expected_runs(*configs)) is not None:
        return len(runs)
    return max(map(_n_expected, configs))


def _n_expected(config: Mapping[str, Any]) -> int:
    try:
        model = config.get("model", {})
        return effects.n_cells(str(model.get("name")), model, _loops(config)) * len(_seeds(config))
    except SAYS_NOTHING:
        return 0


def with_missing(phases: pd.DataFrame, expected: pd.DataFrame) -> pd.DataFrame:
    """`phases` with a row of no phase for each run that is expected and not there.

    Runs are the same where all that both tables say of their settings is, but for what has no effect.
    """
    names = [str(name) for name in expected if name in phases]
    there = set(_keys(phases, names))
    missing = expected[[key not in there for key in _keys(expected, names)]]
    if missing.empty:
        return phases
    # What is not said of them is what all runs share: the sweep's name, its steps.
    others = [name for name in ("sweep", "task", *settings(phases)) if name in phases and name not in names]
    missing = missing.assign(**{name: phases[name].iloc[0] for name in others})
    whole = pd.concat([phases, missing.reindex(columns=phases.columns)], ignore_index=True)
    whole["phase"] = pd.Categorical(whole["phase"], categories=phases["phase"].cat.categories)
    whole.attrs = dict(phases.attrs)
    return whole


def _keys(runs: pd.DataFrame, names: Sequence[str]) -> list[tuple[Any, ...]]:
    """The settings of each run, as far as they have an effect; 1 and 1.0 are equal."""
    off = without_effect(runs)
    anywhere = np.zeros(len(runs), bool)
    columns = (runs[name].astype(object).mask(off.get(name, anywhere), None) for name in names)
    return list(zip(*columns, strict=True))


def _loops(config: Mapping[str, Any]) -> list[Mapping[str, Sequence[Any]]]:
    """The axes of the grid, those that change together in one."""
    grid = {key: tuple(values) for key, values in (config.get("grid") or {}).items()}
    return [{name: grid[name] for name in loop} for loop in loops_of(grid, config.get("zip") or [])]


def _seeds(config: Mapping[str, Any]) -> Sequence[int]:
    seeds = config.get("seeds", 1)
    return list(seeds) if isinstance(seeds, list) else range(int(seeds))
