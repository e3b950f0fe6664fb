"""One shard: data and initial weights, training, summaries, tables. What a worker does, on any executor."""

import itertools
import operator
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from grok_sweep import store
from grok_sweep.core import parts
from grok_sweep.core.parts import PartError
from grok_sweep.core.source import RunError, blaming
from grok_sweep.worker import native
from grok_sweep.worker.environment import compilation_cache
from grok_sweep.worker.inputs import arguments, rows_of

if TYPE_CHECKING:  # it loads jax, which must not be before `environment` is set
    from grok_sweep.core.moment import Rows
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
    engine: str = "xla"
    not_native: str = ""  # why it is not the engine that was planned


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
    program, not_native = native.usable(order.program)
    functions = compiled(program)
    calls, train_seconds = [], 0.0
    kept: list[int] = []
    lost: dict[str, str] = {}
    runs = _runs(order, lost)
    with jax.enable_x64(program.dtype == "float64"):
        while rows := dict(itertools.islice(runs, program.lanes)):
            inputs = arguments(program, order.columns, rows, functions.init)
            train = functions.train_for(*inputs)
            call_started = time.perf_counter()
            trained = jax.device_get(train(*inputs))
            train_seconds += time.perf_counter() - call_started
            calls.append(jax.tree.map(operator.itemgetter(slice(len(rows))), trained))
            kept += rows
    if not kept:
        raise PartError(next(iter(lost.values())))
    order = replace(order, columns={name: column[kept] for name, column in order.columns.items()})
    metrics_RT, own_RT, weights_RS = jax.tree.map(lambda *parts: np.concatenate(parts), *calls)
    curves_RT = metrics_RT._asdict()
    device = jax.devices()[0].device_kind
    results = summarise(curves_RT, program.log_every, program.part("task").loss_floor(program.values))
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
        program.engine,
        not_native,
    )


def _runs(order: Order, lost: dict[str, str]) -> Iterator[tuple[int, "Rows"]]:
    """(place, rows) of each run whose data can be made; run_id and reason of the others go to `lost`."""
    for run, run_id in enumerate(order.columns["run_id"].tolist()):
        try:
            rows = rows_of(order.program, order.columns, run)
        except RunError as error:
            lost[run_id] = str(error)
        else:
            yield run, rows


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
    train_RT, eval_RT = (curves_RT[name].astype(np.float64) for name in ("train_loss", "eval_loss"))
    with np.errstate(invalid="ignore"):
        ratio_RT = parts.loss_ratio(train_RT, eval_RT, loss_floor)

    def largest(values_RT: np.ndarray) -> np.ndarray:
        most_R = np.where(kept_RT, values_RT, -np.inf).max(axis=1)
        return np.where(kept_RT[:, 0], most_R, np.nan)

    return {
        "min_train_loss": -largest(-train_RT),
        "min_eval_loss": -largest(-eval_RT),
        "max_loss_ratio": largest(ratio_RT),
        **{
            f"final_{name}": curves_RT[name][:, -1].astype(np.float64)
            for name in ("train_loss", "eval_loss", "train_accuracy", "eval_accuracy")
        },
        "diverged_step": np.ma.masked_array(np.argmin(kept_RT, axis=1) * log_every, mask=kept_RT[:, -1]),
    }


def _runs_table(order: Order, results: Mapping[str, np.ndarray], device: str, seconds: float) -> pa.Table:
    program = order.program
    kinds = {key: program.numbers[key].kind for key in order.columns if key in program.numbers}
    schema = store.runs_schema(kinds, program.metrics, batches=program.batch_size > 0)
    constants = {"sweep": order.sweep, "device": device, "seconds": seconds}
    names = ("task", "model", "optimizer", "steps", "log_every", "batch_size")
    constants |= {name: getattr(program, name) for name in names}
    runs = len(order.columns["run_id"])
    columns = {**order.columns, **results, **{name: [value] * runs for name, value in constants.items()}}
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
