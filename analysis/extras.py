"""What an analysis makes when it is asked for, and keeps up to date from then on."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from analysis.boundary import boundaries
from analysis.boundary import told as boundary_told
from analysis.figures import phase_diagram
from analysis.read import load_curves
from analysis.repeat_pictures import repeats_picture
from analysis.repeats import repeats
from analysis.repeats import told as repeats_told
from analysis.scaling import scaling as law_of
from analysis.scaling import told as scaling_told
from analysis.scaling_picture import scaling_picture
from analysis.sensitivity import all_of
from analysis.steps import steps
from analysis.time_pictures import times_picture
from analysis.times import times as times_of
from analysis.times import told as times_told
from grok_sweep.core.spans import is_log
from grok_sweep.store import BOUNDARIES, CROSSED, REPEATS, SCALED, SCALING, SENSITIVITY, TIMES, Store


@dataclass(frozen=True)
class Extra:
    """Tables by file, words, and a picture or why there is none."""

    name: str
    tables: dict[str, pd.DataFrame]
    lines: list[str]
    picture: tuple[Figure | None, str]


def extras_of(
    store: Store,
    phases: pd.DataFrame,
    asked: Sequence[Mapping[str, Any]],
    expected: pd.DataFrame | None,
    sensitivity: bool,
    boundary: str | None,
    times: bool,
    scaling: Sequence[str],
    again: pd.DataFrame | None,
) -> list[Extra]:
    """What is asked for, and what an earlier call had; see `analysis.analyze`.

    `again`: the phases of all trainings of runs that were repeated (see `load_repeats`); None where they
    cannot be told from here.
    """

    def of_sensitivity() -> Extra:
        moved = all_of(phases, load_curves(store.root), asked[0].get("phases") or {})
        made = {SENSITIVITY: moved.table, CROSSED: moved.crossed}
        return Extra("sensitivity", made, moved.lines, (moved.figure, ""))

    def of_boundary() -> Extra:
        # Values that refining has put between others say nothing of how the axis was meant.
        grid = asked[0].get("grid", {}).get(axis, [])
        told = len(grid) > 2 and phases[axis].min() > 0
        bounds = boundaries(phases, axis, log=is_log(sorted(grid)) if told else None)
        drawn = picture_of(phase_diagram, phases, expected=expected, y=axis, bounds=bounds)
        return Extra("boundary", {BOUNDARIES: bounds}, boundary_told(bounds), drawn)

    def of_times() -> Extra:
        took = times_of(phases, steps(phases, load_curves(store.root)))
        drawn = picture_of(times_picture, took, title=str(phases["sweep"].iloc[0]))
        return Extra("times", {TIMES: took}, times_told(took), drawn)

    def of_scaling() -> Extra:
        before = store.attrs_of(SCALING)
        if not scaling and "event" not in before:
            raise ValueError("it no longer says of which event and axes its law is")
        event, *by = scaling or [before["event"], *before["axes"]]
        law, cells = law_of(phases, steps(phases, load_curves(store.root)), event, by)
        drawn = picture_of(scaling_picture, law, cells, title=str(phases["sweep"].iloc[0]))
        return Extra("scaling", {SCALING: law, SCALED: cells}, scaling_told(law, cells), drawn)

    def of_repeats() -> Extra:
        if again is None or again.empty:
            raise ValueError("no repeats are there, or the sweep's own command alone tells their phases")
        found = steps(again, load_curves(store.root, again["run_id"]))
        table = repeats(again, found)
        drawn = picture_of(repeats_picture, again, found, title=str(again["sweep"].iloc[0]))
        return Extra("repeats", {REPEATS: table}, repeats_told(table), drawn)

    axis = str(store.attrs_of(BOUNDARIES).get("axis") if boundary is None else boundary)
    extras = []
    for make, is_asked, file in (
        (of_sensitivity, sensitivity, SENSITIVITY),
        (of_boundary, boundary is not None, BOUNDARIES),
        (of_times, times, TIMES),
        (of_scaling, len(scaling) > 0, SCALING),
        (of_repeats, again is not None and len(again) > 0, REPEATS),
    ):
        try:
            extras += [make()] if is_asked or store.exists(file) else []
        except ValueError as error:
            if is_asked:
                raise
            extras.append(Extra(file, {}, [], (None, f"is of an earlier analysis, and stays: {error}")))
    return extras


def picture_of(draw: Callable[..., Figure], *of: Any, **how: Any) -> tuple[Figure | None, str]:
    """A picture and "", or None and why there is none."""
    try:
        return draw(*of, **how), ""
    except ValueError as error:
        return None, f"not drawn: {error}"
