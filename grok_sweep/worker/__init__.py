"""One shard: data and initial weights, training, summaries, tables. What a worker does, on any executor."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from grok_sweep import store
from grok_sweep.core import parts
from grok_sweep.core.parts import PartError
from grok_sweep.core.source import blaming
from grok_sweep.worker.environment import compilation_cache
from grok_sweep.worker.inputs import LostError, arguments

if TYPE_CHECKING:  # it loads jax, which must not be before `environment` is set
    from grok_sweep.core.program import Program


@dataclass(frozen=True)
class Order:
    """One shard as sent to a worker: its program, and its runs as columns of the grid."""

    sweep: str
    program: "Program"
    columns: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Result:
    """One shard as it comes back: rows for the tables, and where the worker's seconds went."""

    runs: pa.Table
    curves: pa.Table
    train_seconds: float
    other_seconds: float  # compilation, data, tables
    weights: pa.Table | None = None  # where they are recorded
    lost: Mapping[str, str] = field(default_factory=dict)  # run_id -> why its data could not be made


def train_shard(order: Order) -> Result:
    """Train every run of `order`, `program.lanes` at a time.

    Raises PartError where a part of a user's file does not work.
    """
    with blaming(order.program.source):
        return _train(order)


def _train(order: Order) -> Result:
    """See `train_shard`."""
    import jax

    from grok_sweep.core.compiled import compiled

    started = time.perf_counter()
    compilation_cache()
    program, columns = order.program, order.columns
    functions = compiled(program)
    calls, train_seconds = [], 0.0
    left = [*range(len(columns["run_id"]))]
    kept: list[int] = []
    lost: dict[str, str] = {}
    while left:
        these = left[: program.lanes]
        # Lanes left over repeat the last run: the shape is compiled in.
        index_L = np.array(these + these[-1:] * (program.lanes - len(these)))
        with jax.enable_x64(program.dtype == "float64"):
            try:
                inputs = arguments(program, columns, index_L, functions.init)
            except LostError as found:
                wrong = {error.run: str(error) for error in found.errors}
                left = [run for run in left if run not in wrong]
                lost |= {str(columns["run_id"][run]): why for run, why in wrong.items()}
                continue
            train = functions.train_for(*inputs)
            call_started = time.perf_counter()
            trained = jax.device_get(train(*inputs))
        train_seconds += time.perf_counter() - call_started
        named = (trained.metrics._asdict(), trained.own, trained.weights)
        calls.append([{name: a_L[: len(these)] for name, a_L in arrays.items()} for arrays in named])
        left, kept = left[len(these) :], kept + these
    if not kept:
        raise PartError(next(iter(lost.values())))
    order = replace(order, columns={name: column[kept] for name, column in columns.items()})
    curves_RT, own_RT, weights_RS = (
        {name: np.concatenate([arrays[name] for arrays in each]) for name in each[0]}
        for each in zip(*calls, strict=True)
    )
    device = jax.devices()[0].device_kind
    task = program.part("task")
    results = summarise(curves_RT, program.log_every, task.loss_floor(program.values))
    results |= {f"final_{name}": own_RT[name][:, -1].astype(np.float64) for name in own_RT}
    ids = order.columns["run_id"]
    weights = store.weights_table(ids, weights_RS, program.snapshot_every) if weights_RS else None
    elapsed = time.perf_counter() - started
    return Result(
        _runs_table(order, results, device, elapsed / len(ids)),
        _curves_table(ids, curves_RT | own_RT, program.log_every),
        train_seconds,
        time.perf_counter() - started - train_seconds,
        weights,
        lost,
    )


def summarise(
    curves_RT: Mapping[str, np.ndarray], log_every: int, loss_floor: float
) -> dict[str, np.ndarray]:
    """The result columns of R runs from their curves over T logged steps.

    A run has diverged at the first logged step where a loss or a norm is not finite; minima and the largest
    ratio of test to train loss are over the steps before that, and are nan where there are none. In the ratio
    a loss under `loss_floor` (nats, over 0) counts as that: in float32 it may be 0, and 0 / 0 is no ratio.
    """
    # An accuracy is a share, and nan only where a task has none.
    numbers = [name for name in curves_RT if not name.endswith("accuracy")]
    finite_RT = np.logical_and.reduce([np.isfinite(curves_RT[name]) for name in numbers])
    kept_RT = np.logical_and.accumulate(finite_RT, axis=1)
    diverged_R = ~kept_RT[:, -1]
    first_R = np.argmin(kept_RT, axis=1) * log_every
    train_RT, eval_RT = (curves_RT[k].astype(np.float64) for k in ("train_loss", "eval_loss"))
    with np.errstate(invalid="ignore"):
        ratio_RT = parts.loss_ratio(train_RT, eval_RT, loss_floor)
    none_R = ~kept_RT[:, 0]

    def extreme(values_RT: np.ndarray, sign: int) -> np.ndarray:
        worst = np.where(kept_RT, sign * values_RT, -np.inf).max(axis=1)
        return np.where(none_R, np.nan, sign * worst)

    last = {
        f"final_{name}": curves_RT[name][:, -1].astype(np.float64)
        for name in ("train_loss", "eval_loss", "train_accuracy", "eval_accuracy")
    }
    return {
        "min_train_loss": extreme(train_RT, -1),
        "min_eval_loss": extreme(eval_RT, -1),
        "max_loss_ratio": extreme(ratio_RT, 1),
        **last,
        "diverged_step": np.ma.masked_array(first_R, mask=~diverged_R),
    }


def _runs_table(order: Order, results: Mapping[str, np.ndarray], device: str, seconds: float) -> pa.Table:
    runs = len(order.columns["run_id"])
    program = order.program
    numbers = program.numbers
    kinds = {key: numbers[key].kind for key in order.columns if key in numbers}
    schema = store.runs_schema(kinds, program.metrics, batches=program.batch_size > 0)
    constants = {
        "sweep": order.sweep,
        "task": program.task,
        "model": program.model,
        "optimizer": program.optimizer,
        "steps": program.steps,
        "log_every": program.log_every,
        "batch_size": program.batch_size,
        "device": device,
        "seconds": seconds,
    }
    columns = {**order.columns, **results, **{k: [v] * runs for k, v in constants.items()}}
    return pa.table({name: pa.array(columns[name], schema.field(name).type) for name in schema.names})


def _curves_table(run_id_R: np.ndarray, curves_RT: Mapping[str, np.ndarray], log_every: int) -> pa.Table:
    runs, logs = curves_RT["train_loss"].shape
    with np.errstate(over="ignore"):  # what is more than float32 holds is inf there
        metrics = {name: values_RT.ravel().astype(np.float32) for name, values_RT in curves_RT.items()}
    columns = {
        "run_id": np.repeat(run_id_R, logs),
        "step": np.tile(np.arange(logs, dtype=np.int32) * log_every, runs),
        **metrics,
    }
    return pa.table(columns, schema=store.curves_schema([*curves_RT]))
