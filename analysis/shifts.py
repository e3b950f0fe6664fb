"""How far the boundaries of two sweeps are from each other, and how sure that is."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.boundary import FEWEST, checked, each_bend
from analysis.load import unclaimed
from analysis.phases import looks
from analysis.resampling import ends, resamples
from analysis.words import plural
from grok_sweep.core.spans import is_log

COLUMNS = ["below", "above", "value_a", "value_b", "shift", "low", "high"]


def shifts(one: pd.DataFrame, other: pd.DataFrame, axis: str, by: Sequence[str]) -> pd.DataFrame:
    """Of two tables of phases by one definition: how much farther along `axis` a boundary of the other is.

    A row for each combination of `by` (without the axis) and each pair of phases with one boundary between
    them in either, as `boundaries` finds them. Columns: `by`; below and above; value_a and value_b; shift,
    value_b / value_a of an axis that is spaced more evenly in its logarithm, else value_b - value_a; low and
    high, its interval of 95 %, by resamples of the seeds, the same of those that are in both: at least what
    the gaps between values of the axis leave open, and none with fewer than four seeds in either. attrs:
    axis, log. Raises ValueError as `boundaries` does.
    """
    by = [name for name in by if name != axis]
    unclaimed([axis, *by], COLUMNS)
    sides = [checked(phases, axis, by)[0] for phases in (one, other)]
    seeds_a, seeds_b = (phases["seed"].unique() for phases in sides)
    strata = [
        np.intersect1d(seeds_a, seeds_b),
        np.setdiff1d(seeds_a, seeds_b),
        np.setdiff1d(seeds_b, seeds_a),
    ]
    weights_BS = np.hstack([resamples(len(some), stratum) for stratum, some in enumerate(strata)])
    seeds = np.concatenate(strata)
    use_log = is_log(np.unique(np.concatenate([phases[axis].unique() for phases in sides])))
    found: list[dict[tuple[Any, ...], list[Any]]] = [{}, {}]
    for side, phases in zip(found, sides, strict=True):
        for key, bend in each_bend(phases, axis, by, use_log, (seeds, weights_BS)):
            if not np.isnan(bend.value):
                told_apart = (None if pd.isna(value) else value for value in key)  # nan is not itself
                side.setdefault((*told_apart, bend.below, bend.above), []).append(bend)
    back = np.exp if use_log else np.asarray
    rows = []
    for key, (a, *more) in found[0].items():
        b, *others = found[1].get(key, [None])
        if b is None or more or others:
            continue
        n_seeds = min(a.seeds, b.seeds)
        # Where either is beyond all values, nobody knows how far.
        with np.errstate(invalid="ignore"):
            apart_B = b.each_B - a.each_B
        first, last = ends(apart_B, n_seeds)
        low, high = min(float(first), b.gap[0] - a.gap[1]), max(float(last), b.gap[1] - a.gap[0])
        if n_seeds < FEWEST:
            low, high = -np.inf, np.inf
        shift = b.value / a.value if use_log else b.value - a.value
        rows.append([*key, a.value, b.value, shift, float(back(low)), float(back(high))])
    table = pd.DataFrame(rows, columns=[*by, *COLUMNS])
    for name in ("below", "above"):
        table[name] = pd.Categorical(table[name], categories=[*looks(one)])
    table.attrs = {**one.attrs, "axis": axis, "log": use_log}
    return table


def told(table: pd.DataFrame) -> list[str]:
    """What a table of `shifts` says, in lines."""
    axis, use_log = table.attrs["axis"], table.attrs["log"]
    nowhere = 1.0 if use_log else 0.0
    lines = []
    for (below, above), rows in table.groupby(["below", "above"], observed=True):
        moved = rows[(rows["low"] > nowhere) | (rows["high"] < nowhere)]
        by = f"a factor of {rows['shift'].median():.2f}" if use_log else f"{rows['shift'].median():+.3g}"
        lines.append(
            f"{below} becomes {above} along {axis} in both, in {plural(len(rows), 'place')}: the median "
            f"shift is {by}, beyond what seeds and grid leave open in {len(moved):,}"
        )
    return lines or [f"along {axis} no boundary is in both"]
