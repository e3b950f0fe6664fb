"""Whether two sweeps differ, cell by cell: the distance of their shares, and what chance makes of it."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.cells import axes, wilson
from analysis.load import need, unclaimed
from analysis.phases import looks
from analysis.words import definition, plural, setting

PERMUTATIONS, PERMUTATIONS_A_CELL = 2000, 40  # so that one cell of all can be told from chance, by its seeds
SIDE = "of which sweep"  # no axis is called so
OF_SHARES = ("share", "low", "high")
COLUMNS = ["runs_a", "runs_b", "distance", "by_chance", "p", "q"]
SURE = 0.05  # of the cells that are called different this share may be by chance
MOST_NAMED = 5


class Comparison(NamedTuple):
    """What `compare` found: a row for each cell; of all of them the mean distance, that of chance, and p."""

    table: pd.DataFrame
    distance: float
    by_chance: float
    p: float
    left_out: tuple[int, int]  # cells of the one that the other does not have
    least_p: float  # that a cell can have, by the seeds


def compare(one: pd.DataFrame, other: pd.DataFrame, by: Sequence[str] | None = None) -> Comparison:
    """Two tables of phases (see `classify`), by the same definition and thresholds.

    The table has a row for each combination of `by` that is in both (default: the axes of `cells` of either).
    Columns: `by`; runs_a and runs_b; for each phase share_a_, with low_a_ and high_a_, its 95 % interval of
    `wilson`, and the same of b; distance, the total variation sum |share_a - share_b| / 2 of the two, in
    [0, 1]; by_chance, its mean where the runs of a seed are given to either sweep at random; p, how often
    that is as far or farther; q, p corrected for many cells (Y. Benjamini and Y. Hochberg, Journal of the
    Royal Statistical Society B 57, 1995, 289-300).

    Chance is by permutation of seeds, in all cells at once as their runs share data and initial weights: of a
    seed that is in both sweeps the two sides are swapped or not; of the others as many are drawn for either
    sweep as it has. So with few seeds no p is small: 9 that are in both have 256 different swaps, and p is
    0.004 at least.

    Raises ValueError where a column is missing, the definitions differ, an axis of one is not known to the
    other, or no cell is in both.
    """
    from scipy.stats import false_discovery_control  # which takes a second to load

    for phases in (one, other):
        need(phases, ["phase", "seed"], "a table of phases")
    if (attrs := dict(one.attrs)) != dict(other.attrs):
        raise ValueError(f"compare: phases by {definition(one)} and by {definition(other)}: give both by one")
    by = _shared(one, other) if by is None else [*by]
    shown = [f"{what}_{side}_{name}" for what in OF_SHARES for side in "ab" for name in looks(one)]
    unclaimed(by, [*COLUMNS, *shown])
    both = pd.concat([one.assign(**{SIDE: 0}), other.assign(**{SIDE: 1})], ignore_index=True)
    both = both[both["phase"].notna()]
    cell_R, keys = _cells(both, by)
    side_R = both[SIDE].to_numpy()
    there_C2 = np.stack([np.bincount(cell_R[side_R == s], minlength=len(keys)) > 0 for s in (0, 1)], axis=1)
    in_both_C = np.logical_and(there_C2[:, 0], there_C2[:, 1])
    if not in_both_C.any():
        raise ValueError(f"compare: no cell of {', '.join(by)} is in both, with finished runs")
    kept_R = in_both_C[cell_R]
    both, side_R = both.loc[kept_R], side_R[kept_R]
    cell_R = (np.cumsum(in_both_C) - 1)[cell_R[kept_R]]
    names = [*looks(one)]
    phase_R = pd.Categorical(both["phase"], categories=names).codes.astype(int)
    shares_2CP, runs_2C = _shares(cell_R, phase_R, side_R, len(names))
    distance_C = _distance(shares_2CP, runs_2C)
    chance_BC = _by_chance(both["seed"].to_numpy(), cell_R, phase_R, side_R, len(names))
    table: pd.DataFrame = keys.loc[in_both_C].reset_index(drop=True)
    table["runs_a"], table["runs_b"] = runs_2C
    for side, letter in enumerate("ab"):
        for number, name in enumerate(names):
            share_C, runs_C = shares_2CP[side, :, number], runs_2C[side]
            each = (share_C, *wilson(share_C * runs_C, runs_C))
            for what, values in zip(OF_SHARES, each, strict=True):
                table[f"{what}_{letter}_{name}"] = values
    table["distance"], table["by_chance"] = distance_C, chance_BC.mean(axis=0)
    table["p"] = _p(distance_C, chance_BC)
    table["q"] = false_discovery_control(table["p"])
    table.attrs = attrs
    mean_B = chance_BC.mean(axis=1)
    p = float(_p(np.array([distance_C.mean()]), mean_B[:, None])[0])
    only = tuple(int((there_C2[:, s] & ~in_both_C).sum()) for s in (0, 1))
    least = _least_p(both["seed"].to_numpy(), side_R, len(chance_BC))
    return Comparison(table, float(distance_C.mean()), float(mean_B.mean()), p, (only[0], only[1]), least)


def told(found: Comparison, names: tuple[str, str]) -> list[str]:
    """What a comparison says, in lines."""
    table, (a, b) = found.table, names
    by = axes_of(table)
    are = "is" if len(table) == 1 else "are"
    far = table[table["q"] < SURE].sort_values(["q", "distance"], ascending=[True, False])
    lines = [
        f"{plural(len(table), 'cell')} {are} in both {a} and {b}, phases by {definition(table)}: "
        f"on average shares are {found.distance:.3f} apart (total variation), "
        f"{found.by_chance:.3f} by chance, p {found.p:.2g}",
        f"differ, corrected for {plural(len(table), 'cell')} (q < {SURE:g}): {len(far):,}",
    ]
    for _, cell in far.head(MOST_NAMED).iterrows():
        lines.append(f"  {setting(cell, by)}: {cell['distance']:.2f} apart, q {cell['q']:.2g}")
    if len(far) > MOST_NAMED:
        lines.append(f"  ... and {len(far) - MOST_NAMED:,} more")
    if (least := found.least_p * len(table)) > SURE:
        lines.append(
            f"so few seeds tell no cell that differs alone from chance: its q would be {min(1, least):.2g}"
        )
    for name, count in zip(names, found.left_out, strict=True):
        lines += [f"left out: {plural(count, 'cell')} of {name} alone"] * bool(count)
    return lines


def axes_of(table: pd.DataFrame) -> list[str]:
    """The columns of a comparison's table that tell its cells apart: those before the counts."""
    return [str(name) for name in table.columns[: table.columns.get_loc("runs_a")]]


def _shared(one: pd.DataFrame, other: pd.DataFrame) -> list[str]:
    """The axes of either. Raises ValueError where the other does not know one, or there are none."""
    of_each = [axes(one), axes(other)]
    for mine, theirs in ((of_each[0], other), (of_each[1], one)):
        if missing := [name for name in mine if name not in theirs]:
            raise ValueError(f"compare: {', '.join(missing)} is an axis of one that the other does not have")
    names = {*of_each[0], *of_each[1]}
    return [str(name) for name in one if name in names]


def _cells(both: pd.DataFrame, by: Sequence[str]) -> tuple[np.ndarray, pd.DataFrame]:
    """Which cell each run is in, and a row for each cell."""
    if not by:
        return np.zeros(len(both), int), pd.DataFrame(index=[0])
    cell_R = both.groupby([*by], dropna=False, sort=True).ngroup().to_numpy()
    _, first_C = np.unique(cell_R, return_index=True)
    return cell_R, both[[*by]].iloc[first_C].reset_index(drop=True)


def _shares(
    cell_R: np.ndarray, phase_R: np.ndarray, side_R: np.ndarray, phases: int
) -> tuple[np.ndarray, np.ndarray]:
    """Of each side: the shares of its phases in each cell, and its runs there."""
    cells = int(cell_R.max()) + 1
    place_R = (side_R * cells + cell_R) * phases + phase_R
    count_2CP = np.bincount(place_R, minlength=2 * cells * phases).reshape(2, cells, phases)
    runs_2C = count_2CP.sum(axis=2)
    return count_2CP / np.maximum(1, runs_2C)[:, :, None], runs_2C


def _distance(shares_2CP: np.ndarray, runs_2C: np.ndarray) -> np.ndarray:
    """Of each cell; 1 where a side has no run, as a permutation may leave it: that claims least."""
    distance_C: np.ndarray = np.abs(shares_2CP[0] - shares_2CP[1]).sum(axis=1) / 2
    return np.where(runs_2C.min(axis=0) > 0, distance_C, 1.0)


def _by_chance(
    seed_R: np.ndarray, cell_R: np.ndarray, phase_R: np.ndarray, side_R: np.ndarray, phases: int
) -> np.ndarray:
    """The distance of each cell, in each permutation of the seeds."""
    seeds, place_R = np.unique(seed_R, return_inverse=True)
    of_one_S, of_other_S = (np.isin(seeds, seed_R[side_R == side]) for side in (0, 1))
    paired_S, alone = of_one_S & of_other_S, np.flatnonzero(of_one_S ^ of_other_S)
    random = np.random.default_rng(0)
    found = []
    for _ in range(max(PERMUTATIONS, PERMUTATIONS_A_CELL * (int(cell_R.max()) + 1))):
        swap_S = random.integers(0, 2, len(seeds)).astype(bool) & paired_S
        new_S = of_other_S.astype(int)  # the side of a seed that is alone
        new_S[alone] = random.permutation(new_S[alone])
        new_R = np.where(paired_S[place_R], side_R ^ swap_S[place_R], new_S[place_R])
        found.append(_distance(*_shares(cell_R, phase_R, new_R, phases)))
    return np.array(found)


def _least_p(seed_R: np.ndarray, side_R: np.ndarray, permutations: int) -> float:
    """Of a cell where all seeds differ: the permutations that change nothing, or swap all, of all of them."""
    one, other = ({*seed_R[side_R == side].tolist()} for side in (0, 1))
    alone = len(one - other), len(other - one)
    ways = 2.0 ** len(one & other) * math.comb(sum(alone), alone[0])
    return max(2 / ways, 1 / (permutations + 1))


def _p(found_C: np.ndarray, chance_BC: np.ndarray) -> np.ndarray:
    """How often chance is as far or farther; what was found is one of its ways."""
    p_C: np.ndarray = (1 + (chance_BC >= found_C - 1e-12).sum(axis=0)) / (1 + len(chance_BC))
    return p_C
