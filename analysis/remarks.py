"""What a reader of an analysis should know of its runs, where something is unusual."""

import pandas as pd

from analysis.words import plural
from grok_sweep.store import SESSION, STOPPED, Store

ONE = ("sweep", "task", "model", "optimizer", "steps", "log_every")  # in a sweep each has one value


def remarks(store: Store, phases: pd.DataFrame) -> list[str]:
    """Of the runs of a folder, in lines."""
    return [*_too_short(phases), *_merged(phases), *_ended_otherwise(store, phases)]


def _too_short(phases: pd.DataFrame) -> list[str]:
    """That runs may have failed for want of steps, where some have."""
    if "undecided" not in phases or not (count := int(phases["undecided"].sum())):
        return []
    failed = int((phases["phase"] == "fail").sum())
    why = "had all training rows right, and the loss still fell at the last step: too short to tell"
    return [f"undecided: {count:,} of {failed:,} fail {why}"]


def _merged(phases: pd.DataFrame) -> list[str]:
    """That there are runs of several sweeps, where somebody has put their files together."""
    found = {name: phases[name].dropna().unique() for name in ONE if name in phases}
    words = [
        f"{name} {', '.join(map(str, values[:3]))}{', ...' * (len(values) > 3)}"
        for name, values in found.items()
        if len(values) > 1
    ]
    return [f"runs of several sweeps are in this folder, and are taken as one: {'; '.join(words)}"] * bool(
        words
    )


def _ended_otherwise(store: Store, phases: pd.DataFrame) -> list[str]:
    """That runs were ended when another definition than that of `phases`, or other thresholds, decided."""
    if STOPPED not in phases:
        return []
    stopped = phases[phases[STOPPED].notna()]
    now = {"definition": phases.attrs["definition"], **phases.attrs.get("thresholds", phases.attrs)}
    by = {one["session"]: one.get("stopped_by") for one in store.sweep().get("sessions", [])}
    others = [other for session in stopped[SESSION].unique() if (other := by.get(session)) != now]
    told = {", ".join(f"{key}={value}" for key, value in (other or {}).items()) for other in others}
    ended = f"{plural(len(stopped), 'run')} ended early, when the phase was decided by"
    return [f"{ended} {'; '.join(sorted(told))}: by what is asked now it may be another"] if others else []
