"""One shard: data and initial weights, training, summaries, tables. What a worker does, on any executor."""

import itertools
import operator
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from grok_sweep.core.engines import EngineError
from grok_sweep.core.parts import PartError
from grok_sweep.core.source import RunError, blaming
from grok_sweep.worker import native
from grok_sweep.worker.deciding import By, Curve, train_until_decided
from grok_sweep.worker.environment import compilation_cache
from grok_sweep.worker.inputs import arguments, rows_of
from grok_sweep.worker.summary import summarise

if TYPE_CHECKING:  # they load jax, which must not be before `environment` is set, or pandas
    import pyarrow as pa

    from grok_sweep.core.moment import Rows
    from grok_sweep.core.program import Program


@dataclass(frozen=True)
class Order:
    """One shard as sent to a worker: its program, and its runs as columns of the grid."""

    sweep: str
    program: "Program"
    columns: Mapping[str, np.ndarray]
    by: By | None = None  # by whom runs are ended whose phase is decided


@dataclass(frozen=True)
class Result:
    """One shard as it comes back: rows for the tables, and where the worker's seconds went."""

    runs: "pa.Table"
    curves: "pa.Table"
    train_seconds: float
    other_seconds: float  # compilation, data, tables
    weights: "pa.Table | None" = None  # where they are recorded
    lost: Mapping[str, str] = field(default_factory=dict)  # run_id -> why its data could not be made
    engine: str = "xla"
    not_native: str = ""  # why it is not the engine that was planned


def train_shard(order: Order) -> Result:
    """Train every run of `order`, `program.lanes` at a time.

    Raises PartError where a part of a user's file does not work.
    """
    started = time.perf_counter()
    with blaming(order.program.source):
        try:
            return _train(order, started)
        except EngineError as error:
            native.refused[order.program] = str(error)
            return _train(order, started)


def prepare(order: Order) -> None:
    """Compile the program of `order` ahead of `train_shard`, which says whatever goes wrong with it."""
    if order.by is not None:  # trained in pieces, which are compiled when their lanes are known
        return
    import jax

    from grok_sweep.core.compiled import compiled

    with suppress(Exception), blaming(order.program.source):
        compilation_cache()
        program, _ = native.usable(order.program)
        functions = compiled(program)
        with jax.enable_x64(program.dtype == "float64"):
            rows = dict(itertools.islice(_runs(order, {}), program.lanes))
            functions.train_for(*arguments(program, order.columns, rows, functions.init))


def _train(order: Order, started: float) -> Result:
    """See `train_shard`. Raises EngineError where the native engine does not compile here."""
    import jax
    import pyarrow as pa

    from grok_sweep import store
    from grok_sweep.core.compiled import compiled

    compilation_cache()
    program, not_native = native.usable(order.program)
    lost: dict[str, str] = {}
    runs = _runs(order, lost)
    with jax.enable_x64(program.dtype == "float64"):
        if order.by is None:
            curves, weights_RS, train_seconds = _train_all(program, order.columns, runs)
        else:
            curves, train_seconds = train_until_decided(program, order.columns, runs, order.by, compiled)
            weights_RS = {}
    if not curves:
        raise PartError(next(iter(lost.values())))
    elapsed = time.perf_counter() - started
    tables = [_tables(order, program, group, elapsed / len(curves)) for group in _alike(curves)]
    weights = None
    if weights_RS:
        ids = order.columns["run_id"][[*curves]]
        weights = store.weights_table(ids, weights_RS, program.snapshot_every)
    of_runs, of_curves = zip(*tables, strict=True)
    return Result(
        pa.concat_tables(of_runs),
        pa.concat_tables(of_curves),
        train_seconds,
        time.perf_counter() - started - train_seconds,
        weights,
        lost,
        program.engine,
        not_native,
    )


def _train_all(
    program: "Program", columns: Mapping[str, np.ndarray], runs: Iterator[tuple[int, "Rows"]]
) -> tuple[dict[int, Curve], dict[str, np.ndarray], float]:
    """Every run to its last step: their curves by place, recorded weights, seconds without compilation."""
    import jax

    from grok_sweep.core.compiled import compiled

    functions = compiled(program)
    curves: dict[int, Curve] = {}
    weights, seconds = [], 0.0
    while rows := dict(itertools.islice(runs, program.lanes)):
        inputs = arguments(program, columns, rows, functions.init)
        train = functions.train_for(*inputs)
        started = time.perf_counter()
        trained = jax.device_get(train(*inputs))
        seconds += time.perf_counter() - started
        columns_LT = trained.metrics._asdict() | trained.own
        for lane, run in enumerate(rows):
            curves[run] = {name: a_LT[lane] for name, a_LT in columns_LT.items()}
        weights.append(jax.tree.map(operator.itemgetter(slice(len(rows))), trained.weights))
    joined = jax.tree.map(lambda *parts: np.concatenate(parts), *weights) if weights else {}
    return curves, joined, seconds


def _alike(curves: Mapping[int, Curve]) -> Iterator[dict[int, Curve]]:
    """The curves of each length."""
    lengths = {run: len(curve["train_loss"]) for run, curve in curves.items()}
    for length in sorted(set(lengths.values()), reverse=True):
        yield {run: curves[run] for run in curves if lengths[run] == length}


def _tables(
    order: Order, program: "Program", curves: Mapping[int, Curve], seconds: float
) -> "tuple[pa.Table, pa.Table]":
    """The rows of runs and curves of runs whose curves are of one length."""
    import jax

    from grok_sweep import store

    order = replace(order, columns={name: column[[*curves]] for name, column in order.columns.items()})
    names = next(iter(curves.values()))
    curves_RT = {name: np.stack([curve[name] for curve in curves.values()]) for name in names}
    results = summarise(curves_RT, program.log_every, program.part("task").loss_floor(program.values))
    results |= {f"final_{name}": curves_RT[name][:, -1].astype(np.float64) for name in program.metrics}
    if order.by is not None:
        last = (curves_RT["train_loss"].shape[1] - 1) * program.log_every
        results[store.STOPPED] = np.ma.masked_array(np.full(len(curves), last), mask=last == program.steps)
    device = jax.devices()[0].device_kind
    return (
        _runs_table(order, results, device, seconds),
        _curves_table(order.columns["run_id"], curves_RT, program.log_every),
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


def _runs_table(order: Order, results: Mapping[str, np.ndarray], device: str, seconds: float) -> "pa.Table":
    import pyarrow as pa

    from grok_sweep import store

    program = order.program
    kinds = {key: program.numbers[key].kind for key in order.columns if key in program.numbers}
    schema = store.runs_schema(
        kinds,
        program.metrics,
        since={key: program.numbers[key].since for key in kinds},
        batches=program.batch_size > 0,
        stops=order.by is not None,
        repeats=store.REPEAT in order.columns,
    )
    constants = {"sweep": order.sweep, "device": device, "seconds": seconds}
    names = ("task", "model", "optimizer", "steps", "log_every", "batch_size")
    constants |= {name: getattr(program, name) for name in names}
    runs = len(order.columns["run_id"])
    columns = {**order.columns, **results, **{name: [value] * runs for name, value in constants.items()}}
    return pa.table({name: columns[name] for name in schema.names}, schema)


def _curves_table(run_id_R: np.ndarray, curves_RT: Mapping[str, np.ndarray], log_every: int) -> "pa.Table":
    import pyarrow as pa

    from grok_sweep import store

    runs, logs = curves_RT["train_loss"].shape
    with np.errstate(over="ignore"):  # what is more than float32 holds is inf there
        metrics = {name: values_RT.ravel().astype(np.float32) for name, values_RT in curves_RT.items()}
    columns = {
        "run_id": np.repeat(run_id_R, logs),
        "step": np.tile(np.arange(logs, dtype=np.int32) * log_every, runs),
        **metrics,
    }
    return pa.table(columns, schema=store.curves_schema([*curves_RT]))
