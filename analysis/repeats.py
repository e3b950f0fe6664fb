"""What rounding does to a run: it is trained again with its rows in another order, the same mathematics."""

import numpy as np
import pandas as pd

from analysis.cells import wilson
from analysis.load import need, settings, unclaimed
from analysis.phases import looks
from analysis.times import EVENTS
from analysis.words import plural
from grok_sweep.store import REPEAT

NUMBERS = ("min_train_loss", "min_eval_loss", "max_loss_ratio")


def repeats(phases: pd.DataFrame, found: pd.DataFrame) -> pd.DataFrame:
    """A row per run that was trained more than once, in the order of `phases`.

    `phases`: of all trainings (see `load_repeats` and `classify`); `found`: of the same, as `steps` gives it.
    Columns: task, settings, seed; run_id and phase, of the first training; trainings; n_ of each phase; of
    memorize_step and generalize_step the _least, _median and _most logged step of a training, <NA> where that
    is later than the last one (of an even number the later of the two in the middle), and _not_yet, how many
    had not come there; of min_train_loss, min_eval_loss and max_loss_ratio the _least and the _most, without
    those of trainings that have none. Raises ValueError where a column is missing, or a training of `phases`
    is not in `found`.
    """
    need(phases, ["run_id", "phase", "seed", REPEAT, *NUMBERS], "a table of phases of repeated runs")
    by = ["task", *settings(phases), "seed"]
    names = [*looks(phases)]
    spread = [f"{event}_{what}" for event in EVENTS for what in ("least", "median", "most", "not_yet")]
    spread += [f"{name}_{what}" for name in NUMBERS for what in ("least", "most")]
    made = ["run_id", "phase", "trainings", *(f"n_{name}" for name in names), *spread]
    unclaimed(by, made)
    every = phases.merge(found[["run_id", *EVENTS]], on="run_id")
    if len(every) != len(phases):
        raise ValueError(f"{len(phases) - len(every):,} of {plural(len(phases), 'training')} have no steps")
    every = every.sort_values(REPEAT, kind="stable")
    every = every.assign(
        **{f"n_{name}": (every["phase"] == name).astype("int64") for name in names},
        **{event: every[event].astype(float).fillna(np.inf) for event in EVENTS},
        **{f"{event}_not_yet": every[event].isna().astype("int64") for event in EVENTS},
    )
    groups = every.groupby(by, sort=False, dropna=False)
    table = groups.agg(run_id=("run_id", "first"), phase=("phase", "first"), trainings=("run_id", "size"))
    for name in names:
        table[f"n_{name}"] = groups[f"n_{name}"].sum()
    for event in EVENTS:
        middle = groups[event].quantile(0.5, interpolation="higher")
        for what, step in (("least", groups[event].min()), ("median", middle), ("most", groups[event].max())):
            table[f"{event}_{what}"] = step.mask(np.isinf(step)).astype("Int64")
        table[f"{event}_not_yet"] = groups[f"{event}_not_yet"].sum()
    for name in NUMBERS:
        table[f"{name}_least"], table[f"{name}_most"] = groups[name].min(), groups[name].max()
    table = table.reset_index()
    in_order = {run_id: place for place, run_id in enumerate(phases["run_id"])}
    table = table.sort_values("run_id", key=lambda ids: ids.map(in_order), ignore_index=True)
    table = table[[*by, *made]]
    table.attrs = dict(phases.attrs)
    return table


def told(table: pd.DataFrame) -> list[str]:
    """What a table of `repeats` says, in lines."""
    n_RK = table[[f"n_{name}" for name in looks(table)]].to_numpy()
    several = int(((n_RK > 0).sum(axis=1) > 1).sum())
    low, high = (float(end[0]) for end in wilson(pd.Series([several]), pd.Series([len(table)])))
    share = f"{several / len(table):.0%}, 95 % interval {low:.0%} to {high:.0%}"
    times = f"{table['trainings'].min():,} to {table['trainings'].max():,}"
    times = times if table["trainings"].nunique() > 1 else f"{table['trainings'].iloc[0]:,}"
    again = f"{plural(len(table), 'run')} trained {times} times, their rows in another order each time"
    lines = [f"repeats: {again}: {several:,} ({share}) in more than one phase"]
    for event, word in EVENTS.items():
        there = table[table[f"{event}_most"].notna()]
        some = int((table[f"{event}_most"].isna() & table[f"{event}_least"].notna()).sum())
        if there.empty:
            continue
        # A run that was there at the start took no step, in each of its trainings.
        ratio = (there[f"{event}_most"] / there[f"{event}_least"].clip(lower=1)).astype(float)
        spread = f"largest over smallest step {ratio.median():.3g} in the middle, {ratio.max():.3g} at most"
        lines.append(f"{word} in every training: {plural(len(there), 'run')}, {spread}; in some: {some:,}")
    return lines
