"""A sweep into a columnar table of runs: axes x seeds (x repeats), the last fastest.

A run is one training, known by its run_id: 16 hex digits of sha256 over the canonical JSON (sorted keys, no
spaces) of every scientific field and a schema version. So a run has the same id in whatever grid it stands.
Of combinations that are one training, as they differ in nothing that has an effect, the first is the run.
A repeat is a run of its own, with the same rows in another order: but for rounding the same training.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from grok_sweep.core import effects, registry
from grok_sweep.core.sweep import Sweep

SCHEMA_VERSION = 1  # of what a run is: raise it when the same fields would give other numbers


def identity(sweep: Sweep, values: Mapping[str, float], seed: int, repeat: int = 0) -> dict[str, Any]:
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
        **({"repeat": repeat} if repeat else {}),
        # The same of a hyperparameter that came later, at the value that all runs had before.
        **{key: value for key, value in values.items() if sweep.numbers[key].since != value},
    }


def canonical(fields: Mapping[str, Any]) -> str:
    """The JSON that is hashed."""
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), allow_nan=False)


@dataclass(frozen=True)
class Grid:
    """The runs of a sweep as columns, R runs long: every hyperparameter, `seed` and `run_id`.

    Where runs are repeated also `repeat`, from 0 on.

    `copies`: the other combinations, which would repeat runs of it: the id of each -> that of its run.
    """

    columns: Mapping[str, np.ndarray]
    copies: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.columns["run_id"])

    def rows(self, index_R: np.ndarray) -> dict[str, np.ndarray]:
        """The columns of some runs."""
        return {name: column[index_R] for name, column in self.columns.items()}

    def standing(self, run_ids: Iterable[str]) -> list[str]:
        """For each id the id of the run that stands for it: its own, unless it is that of a copy."""
        return [self.copies.get(run_id, run_id) for run_id in run_ids] if self.copies else [*run_ids]


def expand(sweep: Sweep) -> Grid:
    """The table of runs of `sweep`, in the order of its axes, then seeds, then repeats."""
    axes = [{key: sweep.axes[key] for key in loop} for loop in sweep.loops]
    beside: dict[str, Sequence[int]] = {"seed": sweep.seeds}
    beside |= {"repeat": range(sweep.repeats)} if sweep.repeats > 1 else {}
    loops: list[Mapping[str, Sequence[float]]] = [*axes, *({key: of} for key, of in beside.items())]
    sizes = [len(next(iter(loop.values()))) for loop in loops]
    index = np.indices(sizes, dtype=np.int32).reshape(len(sizes), -1)
    run_id_R = _run_ids(sweep, loops, index)
    copies: dict[str, str] = {}
    copy_C, run_C = _copies(sweep, axes, index, sizes)
    if len(copy_C):
        copies = dict(zip(run_id_R[copy_C].tolist(), run_id_R[run_C].tolist(), strict=True))
        run_id_R, index = np.delete(run_id_R, copy_C), np.delete(index, copy_C, axis=1)
    columns: dict[str, np.ndarray] = {}
    for key, value in {**sweep.values, **dict.fromkeys(beside, 0)}.items():
        kind = np.int64 if key not in sweep.numbers or sweep.numbers[key].kind is int else np.float64
        # A constant is a column that takes no room.
        columns[key] = np.broadcast_to(np.asarray(value, kind), index.shape[1])
    for loop, index_R in zip(loops, index, strict=True):
        columns |= {key: np.asarray(of, columns[key].dtype)[index_R] for key, of in loop.items()}
    return Grid({**columns, "run_id": run_id_R}, copies)


def _copies(
    sweep: Sweep, loops: Sequence[Mapping[str, Sequence[float]]], index: np.ndarray, sizes: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Which combinations repeat others, and which those are, the first of the grid: int, shape (C,) each.

    `index`: which value each combination has in each loop, the axes first; `sizes`: how many there are.
    """
    among = effects.concerned(sweep.model, loops)
    if not among:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    # The same for every value of the other loops, in whose order the first stays the first.
    sizes_among = [sizes[i] for i in among]
    first_P = effects.first_alike(sweep.model, sweep.values, loops)
    place_R = np.ravel_multi_index([*index[among]], sizes_among)
    copy_C = np.flatnonzero(first_P[place_R] != place_R)
    run_LC = index[:, copy_C]
    run_LC[among] = np.unravel_index(first_P[place_R[copy_C]], sizes_among)
    return copy_C, np.ravel_multi_index([*run_LC], sizes)


def _run_ids(sweep: Sweep, loops: Sequence[Mapping[str, Sequence[float]]], index: np.ndarray) -> np.ndarray:
    """The ids of all runs, of `canonical` of their `identity`: the text of each value is made once."""
    at = {key: (values, of) for loop, of in zip(loops, index, strict=True) for key, values in loop.items()}
    fields = identity(sweep, sweep.values, 0)
    texts: list[np.ndarray] = []
    before = ""  # the text of constants, which goes with that of the next axis
    for key in sorted({*fields, *at}):
        values, index_R = at.get(key, ([fields.get(key)], None))
        since = sweep.numbers[key].since if key in sweep.numbers else 0 if key == "repeat" else None
        text = ["" if value == since else "," + canonical({key: value})[1:-1] for value in values]
        if index_R is None:
            before += text[0]
        else:
            texts.append(np.array([before + one for one in text], object)[index_R])
            before = ""
    jsons = ("{" + "".join(parts)[1:] + before + "}" for parts in zip(*texts, strict=True))
    return np.array([hashlib.sha256(json.encode()).hexdigest()[:16] for json in jsons], dtype="U16")
