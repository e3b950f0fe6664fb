"""Cells, the runs that differ in their seed only: how many of each phase, and how sure the shares are."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis.load import need, settings
from analysis.phases import looks, ties

ALWAYS = ("weight_decay", "hidden_size", "train_size")

Z95 = 1.959964
"""The 97.5 % point of the normal distribution, for intervals of 95 %."""
DRAWS = 10_000


def cells(phases: pd.DataFrame, by: Sequence[str] | None = None) -> pd.DataFrame:
    """One row per combination of the columns `by` that occurs in `phases` (see `classify`), in their order.

    Columns: `by`; `runs` and for each phase (see `looks`) n_, such as n_grok (counts); `majority` (of equals
    the one that the definition tests first, so that a tie claims least; of the built-in ones fail, memorize,
    generalize, grok); and for each phase share_, low_ and high_: its share of the cell's runs in [0, 1] with
    the 95 % interval of `wilson`.
    By default `by` is `axes(phases)`. Raises ValueError where a column is missing or a phase is unknown.
    """
    by = axes(phases) if by is None else list(by)
    need(phases, ["phase", *by], "a table of phases")
    names, tested = list(looks(phases)), ties(phases)
    unknown = phases.loc[~phases["phase"].isin(names), "phase"]
    if len(unknown):
        raise ValueError(f"phase: {unknown.iloc[0]!r} is not allowed; give one of {', '.join(names)}")
    hits = {f"n_{name}": (phases["phase"] == name).astype("int64") for name in names}
    keys = phases[by].assign(runs=1, **hits)
    counted = ["runs", *hits]
    if by:
        table = keys.groupby(by, dropna=False)[counted].sum().reset_index()
    else:  # nothing varies
        table = keys[counted].sum().to_frame().T
    most = table[[f"n_{name}" for name in tested]].to_numpy().argmax(axis=1)
    table["majority"] = pd.Categorical(np.array(tested)[most], categories=names)
    for name in names:
        table[f"share_{name}"] = table[f"n_{name}"] / table["runs"]
        table[f"low_{name}"], table[f"high_{name}"] = wilson(table[f"n_{name}"], table["runs"])
    table.attrs = dict(phases.attrs)
    return table


def joint(table: pd.DataFrame) -> pd.DataFrame:
    """Of `cells`: joint_low_ and joint_high_ of each phase, intervals that hold all shares of a cell at once.

    With at least 95 % probability, by its runs and the prior of H. Jeffreys (Proceedings of the Royal Society
    A 186, 1946, 453-461), a Dirichlet of 1/2 for each phase: then shares are Dirichlet of counts + 1/2. Equal
    tails of each share, cut where 95 % of 10,000 draws of all shares are between all; to 0 of a phase that no
    run has, and to 1 of one that all have (as L. D. Brown, T. T. Cai and A. DasGupta, Statistical Science 16,
    2001, 101-133). A row per row of `table`. Raises ValueError where a column is missing.
    """
    from scipy.stats import beta  # which takes a second to load

    names = [*looks(table)]
    need(table, ["runs", *(f"n_{name}" for name in names)], "a table of cells")
    of_each = table[[f"n_{name}" for name in names]].to_numpy(int)
    n_UK, which_C = np.unique(of_each, axis=0, return_inverse=True)
    low_UK, high_UK = np.zeros((2, *n_UK.shape))
    for u, n_K in enumerate(n_UK):
        if len(names) == 1:
            low_UK[u] = high_UK[u] = 1
            continue
        random = np.random.default_rng(0)  # the same for a cell, whatever others there are
        a_K, b_K = n_K + 0.5, n_K.sum() - n_K + 0.5 * (len(names) - 1)
        below_DK = beta.cdf(random.dirichlet(a_K, DRAWS), a_K, b_K)
        out = np.quantile(np.abs(2 * below_DK - 1).max(axis=1), 0.95)
        low_UK[u] = np.where(n_K == 0, 0, beta.ppf((1 - out) / 2, a_K, b_K))
        high_UK[u] = np.where(n_K == n_K.sum(), 1, beta.ppf((1 + out) / 2, a_K, b_K))
    found: dict[str, np.ndarray] = {}
    for k, name in enumerate(names):
        found |= {f"joint_low_{name}": low_UK[which_C, k], f"joint_high_{name}": high_UK[which_C, k]}
    return pd.DataFrame(found, index=table.index)


def axes(phases: pd.DataFrame) -> list[str]:
    """The columns that tell cells apart: task and settings of more than one value, and `ALWAYS`.

    Those of `ALWAYS` that the table lacks are left out. In the order of the table.
    """
    names = ["task", *settings(phases)]
    need(phases, names, "a table of phases")
    return [name for name in names if name in ALWAYS or phases[name].nunique(dropna=False) > 1]


def check_axis(phases: pd.DataFrame, axis: str, who: str) -> None:
    """Raise ValueError, in the name of `who`, where `axis` is no axis of numbers with two or more."""
    known = [
        name
        for name in axes(phases)
        if pd.api.types.is_numeric_dtype(phases[name]) and phases[name].nunique() > 1
    ]
    if axis not in known:
        there = f"there are {', '.join(known)}" if known else "there is none"
        raise ValueError(f"{who}: {axis!r} is no axis of two numbers or more; {there}")


def wilson(hits: pd.Series | np.ndarray, runs: pd.Series | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The lower and upper ends, in [0, 1], of Wilson's 95 % interval for the share `hits` / `runs`.

    The shares p at which |hits / runs - p| <= z sqrt(p (1 - p) / runs): E. B. Wilson, Journal of the American
    Statistical Association 22 (1927), 209-212. Unlike p ± z s it holds at shares of 0 and 1 and for few runs.
    `runs` is at least 1.
    """
    n = np.asarray(runs, dtype=float)
    share = np.asarray(hits, dtype=float) / n
    middle = (share + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
    half = Z95 * np.sqrt(share * (1 - share) / n + Z95**2 / (4 * n**2)) / (1 + Z95**2 / n)
    # At shares of 0 and 1 an end is the share itself, but for rounding.
    return np.clip(middle - half, 0, share), np.clip(middle + half, share, 1)
