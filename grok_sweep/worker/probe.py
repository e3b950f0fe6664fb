"""One step of each kind of training, without computing it: what a user's parts give fits together, or not."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from grok_sweep.core.compiled import make_init
from grok_sweep.core.moment import Rows
from grok_sweep.core.parts import PartError
from grok_sweep.core.plan import Plan
from grok_sweep.core.program import Program
from grok_sweep.core.source import RunError
from grok_sweep.core.train import make_train
from grok_sweep.worker.inputs import rows_of, traced


def probe(plan: Plan, most: int) -> None:
    """Raises PartError where a run of the first `most` programs cannot be trained, before a worker is to.

    Nothing is computed: jax has no threads afterwards, so that the process may still start others.
    """
    runs: dict[Program, list[int]] = {}
    for shard in plan.shards:
        runs.setdefault(shard.program, [shard.index_R[0]]).append(shard.index_R[-1])
    for program, index in list(runs.items())[:most]:
        columns = plan.grid.rows(np.array([index[0], index[-1]]))
        names = program.built.weight_shapes(program.row).keys() if program.snapshot_every else set()
        if taken := {"run_id", "step"} & names:
            raise PartError(
                f"model {program.model}: an array is called {taken.pop()}, as a column of the weights"
            )
        floor = program.part("task").loss_floor(program.values)
        if not isinstance(floor, float | int) or not 0 < floor < float("inf"):
            raise PartError(f"task {program.task}: loss_floor gives {floor!r}; give a number greater than 0")
        one = dataclasses.replace(program, lanes=1)
        with jax.enable_x64(program.dtype == "float64"):
            rows = _rows(one, columns)
            own = traced(one.part("model").numbers, columns, 0, "float32")
            weights = jax.eval_shape(make_init(one), 0, own)
            params = jax.tree.map(functools.partial(_shape, kind=one.dtype), weights)
            hparams = traced(one.numbers, columns, 0, one.dtype)
            jax.eval_shape(make_train(one), *jax.tree.map(_shape, (hparams, params, rows)))


def _rows(program: Program, columns: Mapping[str, np.ndarray]) -> Rows:
    """Those of the first run whose data can be made, for one that cannot is no reason to train none.

    Raises PartError where they are others when they are made again.
    """
    wrong: list[RunError] = []
    for run in range(len(columns["seed"])):
        try:
            rows, again = (rows_of(program, columns, run) for _ in range(2))
        except RunError as error:
            wrong.append(error)
            continue
        # Bit by bit: a target may be nan.
        if any(one.tobytes() != other.tobytes() for one, other in zip(rows, again, strict=True)):
            how = "draw them from np.random.default_rng(seed)"
            raise PartError(f"task {program.task}: data gives other rows for the same h and seed; {how}")
        return rows
    raise wrong[0]


def _shape(array: Any, kind: str | None = None) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(array.shape, kind or array.dtype)
