"""A sweep into a columnar table of runs: axes x seeds, the seed fastest.

A run is one training, known by its run_id: 16 hex digits of sha256 over the canonical JSON (sorted keys, no
spaces) of every scientific field and a schema version. So a run has the same id in whatever grid it stands.
Of combinations that are one training, as they differ in nothing that has an effect, the first is the run.
"""

import hashlib
import itertools
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from grok_sweep.core import effects, registry
from grok_sweep.core.sweep import Sweep

SCHEMA_VERSION = 1  # of what a run is: raise it when the same fields would give other numbers


def identity(sweep: Sweep, values: Mapping[str, float], seed: int) -> dict[str, Any]:
    """The scientific fields of one run."""
    versions = registry.versions(sweep.task, sweep.model, sweep.optimizer, sweep.source)
    return {
        "schema": SCHEMA_VERSION,
        "task": sweep.task,
        "model": sweep.model,
        "optimizer": sweep.optimizer,
        "steps": sweep.steps,
        "log_every": sweep.log_every,
        "seed": seed,
        **({"versions": versions} if versions else {}),
        # Left out of where it is not used, as it was before there was one: the ids of those runs stay.
        **({"batch_size": sweep.batch_size} if sweep.batch_size else {}),
        # The same of a hyperparameter that came later, at the value that all runs had before.
        **{key: value for key, value in values.items() if sweep.numbers[key].since != value},
    }


def canonical(fields: Mapping[str, Any]) -> str:
    """The JSON that is hashed."""
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), allow_nan=False)


@dataclass(frozen=True)
class Grid:
    """The runs of a sweep as columns, R runs long: every hyperparameter, `seed` and `run_id`.

    `copies`: the other combinations, which would repeat runs of it: the id of each -> that of its run.
    """

    columns: Mapping[str, np.ndarray]
    copies: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.columns["run_id"])

    def rows(self, index_R: np.ndarray, names: Collection[str] | None = None) -> dict[str, np.ndarray]:
        """The columns of some runs, or those among `names`."""
        wanted = self.columns if names is None else self.columns.keys() & names
        return {name: self.columns[name][index_R] for name in wanted}

    def standing(self, run_ids: Iterable[str]) -> list[str]:
        """For each id the id of the run that stands for it: its own, unless it is that of a copy."""
        return [self.copies.get(run_id, run_id) for run_id in run_ids] if self.copies else [*run_ids]


def expand(sweep: Sweep) -> Grid:
    """The table of runs of `sweep`, in the order of its axes, the seed fastest."""
    lengths = [len(sweep.axes[loop[0]]) for loop in sweep.loops] + [len(sweep.seeds)]
    index = np.indices(lengths, dtype=np.int32).reshape(len(lengths), -1)
    at = {key: index[i] for i, loop in enumerate([*sweep.loops, ("seed",)]) for key in loop}
    run_id_R = _run_ids(sweep, at)
    copies: dict[str, str] = {}
    copy_C, run_C = _copies(sweep, index, lengths)
    if len(copy_C):
        copies = dict(zip(run_id_R[copy_C].tolist(), run_id_R[run_C].tolist(), strict=True))
        run_id_R = np.delete(run_id_R, copy_C)
        index = np.delete(index, copy_C, axis=1)
        at = {key: index[i] for i, loop in enumerate([*sweep.loops, ("seed",)]) for key in loop}
    columns: dict[str, np.ndarray] = {}
    for key, value in sweep.values.items():
        kind = np.int64 if sweep.numbers[key].kind is int else np.float64
        # A constant is a column that takes no room.
        columns[key] = np.broadcast_to(np.asarray(value, kind), index.shape[1])
    for key, values in sweep.axes.items():
        columns[key] = np.asarray(values, columns[key].dtype)[at[key]]
    columns["seed"] = np.asarray(sweep.seeds, np.int64)[at["seed"]]
    columns["run_id"] = run_id_R
    return Grid(columns, copies)


def _copies(sweep: Sweep, index: np.ndarray, lengths: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Which combinations repeat others, and which those are, the first of the grid: int, shape (C,) each.

    `index`: which value each combination has in each loop, the seed last; `lengths`: how many there are.
    """
    loops = [{key: sweep.axes[key] for key in loop} for loop in sweep.loops]
    among = effects.concerned(sweep.model, loops)
    if not among:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    # The same for every value of the other loops, in whose order the first stays the first.
    sizes = [lengths[i] for i in among]
    first_P = effects.first_alike(sweep.model, sweep.values, loops)
    place_R = np.ravel_multi_index([*index[among]], sizes)
    copy_C = np.flatnonzero(first_P[place_R] != place_R)
    run_LC = index[:, copy_C]
    run_LC[among] = np.unravel_index(first_P[place_R[copy_C]], sizes)
    return copy_C, np.ravel_multi_index([*run_LC], lengths)


def _run_ids(sweep: Sweep, at: Mapping[str, np.ndarray]) -> np.ndarray:
    """The ids of all runs, `at` which of its values each axis and the seed are."""
    # Which axes are at the value at which they stay out of the id.
    off = {
        key: np.asarray(values)[at[key]] == sweep.numbers[key].since
        for key, values in sweep.axes.items()
        if sweep.numbers[key].since in values
    }
    ids_R = np.empty(len(at["seed"]), dtype="U16")
    for flags in itertools.product((False, True), repeat=len(off)):
        these_R = np.full(len(ids_R), True)
        for flag, off_R in zip(flags, off.values(), strict=True):
            these_R &= off_R == flag
        without = {key for key, flag in zip(off, flags, strict=True) if flag}
        ids_R[these_R] = _ids_with(sweep, {k: a[these_R] for k, a in at.items() if k not in without}, without)
    return ids_R


def _ids_with(sweep: Sweep, at: Mapping[str, np.ndarray], without: Collection[str]) -> np.ndarray:
    """The ids of runs that have no field for some axes. The JSON is cut once where the values of the others
    stand, and filled in per run: ten times faster than a json.dumps each.
    """
    values: dict[str, Sequence[float]] = {k: v for k, v in sweep.axes.items() if k not in without}
    values["seed"] = sweep.seeds
    constant = {key: value for key, value in sweep.values.items() if key not in without}
    holes = {name: f"\0{name}\0" for name in values}
    template = canonical({**identity(sweep, constant, 0), **holes})
    pieces, order = [], []
    for part in template.split('"\\u0000'):
        name, hole, rest = part.partition('\\u0000"')
        if hole:
            order.append(name)
        pieces.append(rest if hole else part)
    # Every value's text, with the constant text that follows it.
    texts = [
        np.array([canonical_value(value) + piece for value in values[axis]], dtype=object)[at[axis]]
        for axis, piece in zip(order, pieces[1:], strict=True)
    ]
    sha, head = hashlib.sha256, pieces[0]
    return np.array(
        [sha((head + "".join(parts)).encode()).hexdigest()[:16] for parts in zip(*texts, strict=True)],
        dtype="U16",
    )


def canonical_value(value: float) -> str:
    """One number as it stands in the canonical JSON."""
    return json.dumps(value, allow_nan=False)
