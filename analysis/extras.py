"""What an analysis makes when it is asked for, and keeps up to date from then on."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from analysis.boundary import boundaries
from analysis.boundary import told as boundary_told
from analysis.cells import axes, cells, joint
from analysis.figures import phase_diagram
from analysis.load import load_curves
from analysis.phases import looks
from analysis.repeat_pictures import repeats_picture
from analysis.repeats import repeats
from analysis.repeats import told as repeats_told
from analysis.scaling import scaling as law_of
from analysis.scaling import told as scaling_told
from analysis.scaling_picture import scaling_picture
from analysis.sensitivity import all_of
from analysis.steps import steps
from analysis.time_pictures import survival_picture, times_picture
from analysis.times import survival
from analysis.times import times as times_of
from analysis.times import told as times_told
from grok_sweep.core.spans import is_log
from grok_sweep.store import (
    BOUNDARIES,
    CROSSED,
    JOINT,
    REPEATS,
    SCALED,
    SCALING,
    SENSITIVITY,
    SURVIVAL,
    TIMES,
    Store,
)


@dataclass(frozen=True)
class Extra:
    """Tables by file, words, and a picture or why there is none."""

    name: str
    tables: dict[str, pd.DataFrame]
    lines: list[str]
    picture: tuple[Figure | None, str] | None = None


@dataclass(frozen=True)
class Asked:
    """What of it is asked for; see `analysis.analyze`."""

    sensitivity: bool
    boundary: str | None
    times: bool
    scaling: Sequence[str]
    joint: bool


class Extras:
    """All of it, of one folder and the table of phases of its runs.

    `again`: the phases of all trainings of runs that were repeated (see `load_repeats`); None where they
    cannot be told from here.
    """

    def __init__(
        self,
        store: Store,
        phases: pd.DataFrame,
        configs: Sequence[Mapping[str, Any]],
        expected: pd.DataFrame | None,
        again: pd.DataFrame | None,
    ) -> None:
        self._store, self._phases, self._configs = store, phases, configs
        self._expected, self._again = expected, again
        self._title = str(phases["sweep"].iloc[0])

    def made(self, asked: Asked) -> list[Extra]:
        """What is asked for, and what an earlier call had. Raises ValueError where that cannot be."""
        axis = str(self._store.attrs_of(BOUNDARIES).get("axis") if asked.boundary is None else asked.boundary)
        repeated = self._again is not None and len(self._again) > 0
        extras = []
        for make, is_asked, file in (
            (self._sensitivity, asked.sensitivity, SENSITIVITY),
            (partial(self._boundary, axis), asked.boundary is not None, BOUNDARIES),
            (self._times, asked.times, TIMES),
            (self._survival, asked.times, SURVIVAL),
            (partial(self._scaling, asked.scaling), len(asked.scaling) > 0, SCALING),
            (self._joint, asked.joint, JOINT),
            (self._repeats, repeated, REPEATS),
        ):
            try:
                extras += [make()] if is_asked or self._store.exists(file) else []
            except ValueError as error:
                if is_asked:
                    raise
                extras.append(Extra(file, {}, [], (None, f"is of an earlier analysis, and stays: {error}")))
        return extras

    @cached_property
    def _steps(self) -> pd.DataFrame:
        return steps(self._phases, load_curves(self._store.root))

    def _sensitivity(self) -> Extra:
        curves = load_curves(self._store.root)
        moved = all_of(self._phases, curves, self._configs[0].get("phases") or {})
        made = {SENSITIVITY: moved.table, CROSSED: moved.crossed}
        return Extra("sensitivity", made, moved.lines, (moved.figure, ""))

    def _boundary(self, axis: str) -> Extra:
        # Values that refining has put between others say nothing of how the axis was meant.
        grid = self._configs[0].get("grid", {}).get(axis, [])
        told = len(grid) > 2 and self._phases[axis].min() > 0
        bounds = boundaries(self._phases, axis, log=is_log(sorted(grid)) if told else None)
        drawn = picture_of(phase_diagram, self._phases, expected=self._expected, y=axis, bounds=bounds)
        return Extra("boundary", {BOUNDARIES: bounds}, boundary_told(bounds), drawn)

    def _times(self) -> Extra:
        took = times_of(self._phases, self._steps)
        return Extra("times", {TIMES: took}, times_told(took), picture_of(times_picture, took, self._title))

    def _survival(self) -> Extra:
        left = survival(self._phases, self._steps)
        return Extra("survival", {SURVIVAL: left}, [], picture_of(survival_picture, left, self._title))

    def _scaling(self, asked: Sequence[str]) -> Extra:
        before = self._store.attrs_of(SCALING)
        if not asked and "event" not in before:
            raise ValueError("it no longer says of which event and axes its law is")
        event, *by = asked or [before["event"], *before["axes"]]
        law, by_cell = law_of(self._phases, self._steps, event, by)
        drawn = picture_of(scaling_picture, law, by_cell, self._title)
        return Extra("scaling", {SCALING: law, SCALED: by_cell}, scaling_told(law, by_cell), drawn)

    def _joint(self) -> Extra:
        by_cell = cells(self._phases)
        shares = [f"share_{name}" for name in looks(self._phases)]
        table = by_cell[[*axes(self._phases), "runs", *shares]].join(joint(by_cell))
        table.attrs = by_cell.attrs
        return Extra("joint", {JOINT: table}, [])

    def _repeats(self) -> Extra:
        again = self._again
        if again is None or again.empty:
            raise ValueError("no repeats are there, or the sweep's own command alone tells their phases")
        found = steps(again, load_curves(self._store.root, again["run_id"]))
        table = repeats(again, found)
        drawn = picture_of(repeats_picture, again, found, self._title)
        return Extra("repeats", {REPEATS: table}, repeats_told(table), drawn)


def picture_of(draw: Callable[..., Figure], *of: Any, **how: Any) -> tuple[Figure | None, str]:
    """A picture and "", or None and why there is none."""
    try:
        return draw(*of, **how), ""
    except ValueError as error:
        return None, f"not drawn: {error}"
