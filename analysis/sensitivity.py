"""How much of a diagram is the choice of its thresholds, and of its definition."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from analysis.layout import page
from analysis.load import need
from analysis.phases import (
    ACCURACIES,
    BUILT_IN,
    DEFINITIONS,
    LOSSES,
    MAX_RATIO,
    MIN_LOSS,
    PHASES,
    classify,
)
from analysis.style import INK, MARKS, plain_style
from analysis.words import plural
from grok_sweep.core.definitions import FOUR
from grok_sweep.core.number import Values
from grok_sweep.store import STOPPED

NEAR = 2.0  # a run whose phase is another with a threshold this many times as large, or as small, is near it
DECADES = 2  # to both sides of the thresholds
PER_DECADE = 4
FACTORS = 10.0 ** (np.arange(-DECADES * PER_DECADE, DECADES * PER_DECADE + 1) / PER_DECADE)
TOUCHING = 1e-6  # decades between thresholds that are one
COUNTS = [f"n_{name}" for name in PHASES]
ACCURATE, ROUNDING = 0.99, 1e-6  # of the test rows right in the end; of a float32


class Sensitivity(NamedTuple):
    """What depends on thresholds and definition: tables (`sensitivity`, `crossed`), in words, and drawn."""

    table: pd.DataFrame
    crossed: pd.DataFrame
    lines: list[str]
    figure: Figure


def all_of(phases: pd.DataFrame, curves: pd.DataFrame, asked: Mapping[str, Any]) -> Sensitivity:
    """All of it, of a table of phases and the curves of its runs, around the thresholds of the table.

    Where it is by another definition than "pair", around those that the sweep `asked` for, or the usual.
    Raises ValueError where there are no runs.
    """
    if phases.empty:
        raise ValueError("there are no runs: the table of phases is empty")
    at = thresholds_of(phases, asked)
    table, both = sensitivity(phases, **at), crossed(phases, curves, **at)
    picture = sensitivity_picture(table, str(phases["sweep"].iloc[0]), **at)
    return Sensitivity(table, both, told(phases, table, both, **at), picture)


def thresholds_of(phases: pd.DataFrame, asked: Mapping[str, Any]) -> dict[str, float]:
    """Those of definition "pair"; see `all_of`."""
    usual = {"min_loss": MIN_LOSS, "max_ratio": MAX_RATIO}
    return {key: float(phases.attrs.get(key, asked.get(key, value))) for key, value in usual.items()}


def sensitivity(runs: pd.DataFrame, *, min_loss: float, max_ratio: float) -> pd.DataFrame:
    """The counts of definition "pair" over both thresholds, from a hundredth of each to a hundred times it.

    Columns: min_loss (nats) and max_ratio, four values a decade; n_memorize, n_grok, n_generalize, n_fail.
    Raises ValueError where a column is missing.
    """
    need(runs, ["diverged_step", *LOSSES], "a runs table")
    rows = [
        {"min_loss": loss, "max_ratio": ratio, **_counts(_pair(runs, loss, ratio))}
        for loss in min_loss * FACTORS
        for ratio in max_ratio * FACTORS
    ]
    return pd.DataFrame(rows)


def near(runs: pd.DataFrame, *, min_loss: float, max_ratio: float, factor: float = NEAR) -> np.ndarray:
    """Whether each run is in another phase of "pair" with a threshold up to `factor` times larger or smaller.

    Bool, shape (R,). Either threshold is moved, or both: as a run passes one threshold after the other in
    one direction, the ends of the intervals say it all.
    """
    moves = (1 / factor, 1.0, factor)
    now_R = _pair(runs, min_loss, max_ratio)
    others = [_pair(runs, min_loss * a, max_ratio * b) for a in moves for b in moves]
    return np.any([other_R != now_R for other_R in others], axis=0)


def crossed(runs: pd.DataFrame, curves: pd.DataFrame, *, min_loss: float, max_ratio: float) -> pd.DataFrame:
    """How many runs have each pair of phases by two definitions: "pair" and each of those by accuracy.

    Columns: definition (liu, liu_lasting), pair and other (their phases), runs (counts, from 1 on), accurate
    (of these, with at least 99 % of the test rows right at the last step). No rows where nothing is right or
    wrong. Raises ValueError as `classify` does.
    """
    columns = ["definition", "pair", "other", "runs", "accurate"]
    if curves[ACCURACIES].isna().all(axis=None):
        return pd.DataFrame(columns=columns)
    mine = classify(runs, min_loss=min_loss, max_ratio=max_ratio)["phase"].astype(str)
    accurate_R = runs["final_eval_accuracy"].to_numpy() >= ACCURATE - ROUNDING
    tables = []
    for name in DEFINITIONS[1:]:
        other = classify(runs, definition=name, curves=curves)["phase"].astype(str)
        both = pd.DataFrame({"definition": name, "pair": mine.to_numpy(), "other": other.to_numpy()})
        both["accurate"] = accurate_R
        counts = both.groupby(columns[:3])["accurate"].agg(["size", "sum"])
        tables.append(counts.set_axis(columns[3:], axis=1).reset_index())
    order = {name: place for place, name in enumerate((*DEFINITIONS, *PHASES))}
    return pd.concat(tables).sort_values(columns[:3], key=lambda of: of.map(order), ignore_index=True)


def told(runs: pd.DataFrame, table: pd.DataFrame, both: pd.DataFrame, **thresholds: float) -> list[str]:
    """What the two tables say, in lines."""
    close = int(near(runs, **thresholds).sum())
    lines = [f"{close:,} of {plural(len(runs), 'run')} are within a factor of {NEAR:g} of a threshold"]
    for key, other in zip(thresholds, [*thresholds][::-1], strict=True):
        along = table[_within(table, other, thresholds, 0) & _within(table, key, thresholds, 1)]
        ranges = (f"{name} {_range(along[f'n_{name}'])}" for name in PHASES)
        lines.append(f"with a tenth to ten times {key}={thresholds[key]:g}: {', '.join(ranges)}")
    for name, of_one in both.groupby("definition", sort=False):
        apart = of_one[of_one["pair"] != of_one["other"]].sort_values("runs", ascending=False)
        pairs = ", ".join(f"{n:,} {a} are {b}" for a, b, n in apart[["pair", "other", "runs"]].to_numpy())
        others = f"{apart['runs'].sum():,} are in another phase than by pair"
        lines.append(f"by {name} {others}{': ' * bool(pairs)}{pairs}")
    if len(both):  # by either definition they are the same
        of_pair = both[both["definition"] == DEFINITIONS[1]].groupby("pair", sort=False)["accurate"].sum()
        ends = " and ".join(f"{of_pair.get(name, 0):,} {name}" for name in ("memorize", "fail"))
        lines.append(f"by pair {ends} end with {100 * ACCURATE:g} % of the test rows right or more")
    if STOPPED in runs and (count := int(runs[STOPPED].notna().sum())):
        ended = f"{plural(count, 'run')} ended early, when their phase was decided"
        lines.append(f"{ended}: by other thresholds and definitions it may be another")
    return lines


def _range(counts: pd.Series) -> str:
    least, most = counts.min(), counts.max()
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"


def _within(table: pd.DataFrame, key: str, thresholds: Mapping[str, float], decades: float) -> pd.Series:
    """Which rows have a threshold no more than so many `decades` from that in force."""
    apart: pd.Series = np.log10(table[key] / thresholds[key]).abs()
    return apart < decades + TOUCHING


@plain_style()
def sensitivity_picture(table: pd.DataFrame, title: str = "", *, min_loss: float, max_ratio: float) -> Figure:
    """How many runs are in each phase over each threshold of "pair"; see `sensitivity`.

    The band is what a tenth to ten times the other threshold makes of it. Raises ValueError where a column is
    missing.
    """
    need(table, ["min_loss", "max_ratio", *COUNTS], "a table of sensitivity")
    force = {"min_loss": min_loss, "max_ratio": max_ratio}
    runs = int(table[COUNTS].iloc[0].sum())
    looks: dict[str, dict[str, Any]] = {
        name: {"color": FOUR[name].edge, "marker": MARKS[FOUR[name].mark].matplotlib} for name in PHASES
    }
    figure, plots = page(
        title,
        f"how many of {plural(runs, 'run')} are in each phase by definition pair, over both thresholds\n"
        f"lines: where they are, min_loss {min_loss:,g} nats and max_ratio {max_ratio:,g}; "
        "bands: with the other one a tenth to ten times of that",
        [[*force]],
        width=3.6,
        heights=[2.8],
        keys={name: Line2D([], [], markersize=5, **look) for name, look in looks.items()},
    )
    for key, other in zip(force, [*force][::-1], strict=True):
        plot = plots[key]
        for name, look in looks.items():
            count = f"n_{name}"
            at = table[_within(table, other, force, 0)].set_index(key)[count]
            around = table[_within(table, other, force, 1)].groupby(key)[count].agg(["min", "max"])
            plot.fill_between(
                around.index, around["min"], around["max"], color=look["color"], alpha=0.25, lw=0
            )
            plot.plot(at.index, at, linewidth=1.5, markersize=4, **look)
        plot.axvline(force[key], color=INK, linewidth=0.8, linestyle=":")
        plot.set(xscale="log", ylim=(0, None))
        plot.xaxis.set_minor_locator(NullLocator())
        plot.set_xlabel(f"{key}, nats" if key == "min_loss" else key, size=9, color=INK)
    plots["min_loss"].set_ylabel("runs", size=9, color=INK)
    return figure


def _pair(runs: pd.DataFrame, min_loss: float, max_ratio: float) -> np.ndarray:
    found_R: np.ndarray = BUILT_IN["pair"].make(
        runs, None, Values({"min_loss": min_loss, "max_ratio": max_ratio})
    )
    return found_R


def _counts(phase_R: np.ndarray) -> Mapping[str, int]:
    return {f"n_{name}": int((phase_R == name).sum()) for name in PHASES}
