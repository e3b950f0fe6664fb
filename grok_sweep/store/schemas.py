"""The columns of the tables in a results folder."""

import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

# The columns of runs: what a run is (its hyperparameters stand between BEFORE and AFTER), and what came out.
BEFORE = {"run_id": pa.string(), "sweep": pa.string(), "task": pa.string(), "seed": pa.int64()}
AFTER = {
    "steps": pa.int64(),
    "log_every": pa.int64(),
    "model": pa.string(),
    "optimizer": pa.string(),
}
RESULTS = {
    "min_train_loss": pa.float64(),
    "min_eval_loss": pa.float64(),
    "max_loss_ratio": pa.float64(),
    "final_train_loss": pa.float64(),
    "final_eval_loss": pa.float64(),
    "final_train_accuracy": pa.float64(),
    "final_eval_accuracy": pa.float64(),
    "diverged_step": pa.int64(),
    "device": pa.string(),
    "seconds": pa.float64(),
}
STOPPED = "stopped_step"  # the last of a run that was ended when its phase was decided; null: all its steps
REPEAT = "repeat"  # which training of a run it is, of sweeps that repeat them: 0, then those in other orders
SESSION = "session"  # which of the sessions of sweep.yaml a run was trained in, from 1 on
CURVES_SCHEMA = pa.schema(
    {
        "run_id": pa.string(),
        "step": pa.int32(),
        "train_loss": pa.float32(),
        "eval_loss": pa.float32(),
        "train_accuracy": pa.float32(),
        "eval_accuracy": pa.float32(),
        "weight_norm": pa.float32(),
    }
)


def curves_schema(metrics: Iterable[str]) -> pa.Schema:
    """The columns of curves: those that all have, and more numbers that are logged."""
    more = [name for name in metrics if name not in CURVES_SCHEMA.names]
    return pa.schema([*CURVES_SCHEMA, *(pa.field(name, pa.float32()) for name in more)])


SINCE = "since"  # metadata of a column
CRASHED_SCHEMA = pa.schema(dict.fromkeys(["run_id", "reason", "log", "time"], pa.string()))
CURVE_METRICS = tuple(CURVES_SCHEMA.names[2:])

_ARROW = {int: pa.int64(), float: pa.float64()}


def runs_schema(
    hyperparameters: Mapping[str, type],
    metrics: Iterable[str] = (),
    *,
    since: Mapping[str, float | None] = MappingProxyType({}),
    batches: bool = False,
    stops: bool = False,
    repeats: bool = False,
) -> pa.Schema:
    """The columns of the runs table, hyperparameters (name -> int or float) in the middle.

    `since`: of those that came later the value of runs before them, which the table tells; `metrics`: the
    user's own, whose last values are columns too; `batches`: with the size of mini-batches, of
    runs that have them; `stops`: with the step at which each was ended, of sweeps that end some; `repeats`:
    with which training of its run it is, of sweeps that repeat them.
    """
    middle = {name: _ARROW[kind] for name, kind in hyperparameters.items()}
    middle |= {"batch_size": pa.int64()} if batches else {}
    own = {f"final_{name}": pa.float64() for name in metrics}
    stopped = {STOPPED: pa.int64()} if stops else {}
    repeat = {REPEAT: pa.int64()} if repeats else {}
    schema = pa.schema(BEFORE | middle | AFTER | RESULTS | stopped | own | repeat)
    for name, value in since.items():
        if value is not None and name in middle:
            field = schema.field(name).with_metadata({SINCE: json.dumps(value)})
            schema = schema.set(schema.get_field_index(name), field)
    return schema


def own_finals(columns: Iterable[str]) -> list[str]:
    """Of the columns of runs those of the last values of the user's own metrics."""
    return [name for name in columns if name.startswith("final_") and name not in RESULTS]


def together(tables: Sequence[pa.Table], since: Mapping[str, float | None]) -> pa.Table:
    """Runs tables as one, hyperparameters before the results whichever table has them first.

    `since`: of hyperparameters that came later, what runs before them had, where no table tells.
    """
    told = [field for table in tables for field in table.schema if SINCE.encode() in (field.metadata or {})]
    since = {**since, **{field.name: json.loads(field.metadata[SINCE.encode()]) for field in told}}
    whole = pa.concat_tables(tables, promote_options="default")
    last = [*AFTER, *RESULTS, *[STOPPED] * (STOPPED in whole.column_names), *own_finals(whole.column_names)]
    last += [name for name in (REPEAT, SESSION) if name in whole.column_names]
    middle = [name for name in whole.column_names if name not in {*BEFORE, *last}]
    for name in {*middle, *last} & {*since}:
        column = pc.fill_null(whole.column(name), since[name])
        whole = whole.set_column(whole.column_names.index(name), whole.schema.field(name), column)
    return whole.select([*BEFORE, *middle, *last])


def in_session(runs: pa.Table, session: int) -> pa.Table:
    """A runs table with the session that its runs were trained in."""
    return runs.append_column(SESSION, pa.array(np.full(len(runs), session, np.int64)))


# The columns of weights: one row per run and snapshot; after these a column for each array, a list of all its
# numbers in C order. The field's metadata say the shape. Which arrays there are is the model's affair.
WEIGHTS_BEFORE = {"run_id": pa.string(), "step": pa.int32()}


def weights_table(run_id_R: np.ndarray, arrays_RS: Mapping[str, np.ndarray], snapshot_every: int) -> pa.Table:
    """The table of R runs from their arrays of shape (R, S, ...), of the steps 0, snapshot_every, ..."""
    runs, snapshots = next(iter(arrays_RS.values())).shape[:2]
    fields = [pa.field(name, kind) for name, kind in WEIGHTS_BEFORE.items()]
    steps = np.tile(np.arange(snapshots, dtype=np.int32) * snapshot_every, runs)
    columns = [np.repeat(run_id_R, snapshots), steps]
    for name, array_RS in arrays_RS.items():
        shape = array_RS.shape[2:]
        kind = pa.list_(pa.float32(), math.prod(shape))
        fields.append(pa.field(name, kind, metadata={"shape": json.dumps(shape)}))
        numbers = np.ascontiguousarray(array_RS, np.float32).ravel()
        columns.append(pa.FixedSizeListArray.from_arrays(numbers, type=kind))
    return pa.table(columns, schema=pa.schema(fields))


def weights_arrays(table: pa.Table) -> dict[str, np.ndarray]:
    """name -> float32 array of shape (rows, ...) of a weights table."""
    arrays = {}
    for field in list(table.schema)[len(WEIGHTS_BEFORE) :]:
        numbers = table.column(field.name).combine_chunks().flatten().to_numpy(zero_copy_only=False)
        arrays[field.name] = numbers.reshape(len(table), *json.loads(field.metadata[b"shape"]))
    return arrays


# The folders of tables, and which columns those in it have at least.
FOLDERS: Mapping[str, Collection[str]] = {
    "runs": [*BEFORE, *AFTER, *RESULTS],
    "curves": CURVES_SCHEMA.names,
    "weights": [*WEIGHTS_BEFORE],
    "crashed": CRASHED_SCHEMA.names,
}
