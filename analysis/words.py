"""What captions say: values, settings, units and definitions in a few words."""

import math
from collections.abc import Iterable

import pandas as pd

from grok_sweep.core import registry


def in_words(value: object) -> str:
    """A value of a table: `0.1`, `none` where there is none."""
    if isinstance(value, float):
        return "none" if math.isnan(value) else f"{value:g}"
    return "none" if value is None else str(value)


def plural(count: int, noun: str) -> str:
    """`1 neuron`, `2 neurons`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def setting(run: pd.Series, names: Iterable[str]) -> str:
    """Some settings of a run: `weight_decay 0.1, hidden_size 24`."""
    return ", ".join(f"{name} {in_words(run[name])}" for name in names)


def definition(phases: pd.DataFrame) -> str:
    """By which definition a table of phases is, with its thresholds; empty where it does not say."""
    known = phases.attrs
    named = [str(known["definition"])] if "definition" in known else []
    pair = {key: known[key] for key in ("min_loss", "max_ratio") if key in known}
    return ", ".join(named + [f"{key} {value:g}" for key, value in known.get("thresholds", pair).items()])


def loss_unit(runs: pd.DataFrame) -> str:
    """The unit of the losses of some runs, as their task says it; empty where they have none in common."""
    named = {str(task) for task in runs["task"].unique()}
    task = registry.built_in("task", named.pop()) if len(named) == 1 else None
    if task is None:
        return ""
    values = {key: runs[key].unique() for key in task.numbers if key in runs}
    same = {key: value_U[0] if len(value_U) == 1 else key for key, value_U in values.items()}
    return str(task.unit).format_map(same)
