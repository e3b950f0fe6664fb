"""The columns of the tables in a results folder."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence

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


def is_curves(schema: pa.Schema) -> bool:
    """Whether these are the columns of curves, with whatever other numbers."""
    fields = list(schema)
    first = len(CURVES_SCHEMA)
    return fields[:first] == list(CURVES_SCHEMA) and all(f.type == pa.float32() for f in fields[first:])


FAILED_SCHEMA = pa.schema(dict.fromkeys(["run_id", "reason", "log", "time"], pa.string()))
CURVE_METRICS = tuple(CURVES_SCHEMA.names[2:])

_ARROW = {int: pa.int64(), float: pa.float64()}


def runs_schema(
    hyperparameters: Mapping[str, type], metrics: Iterable[str] = (), *, batches: bool = False
) -> pa.Schema:
    """The columns of the runs table, hyperparameters (name -> int or float) in the middle.

    `metrics`: the user's own, whose last values are columns too; `batches`: with the size of mini-batches, of
    runs that have them.
    """
    middle = {name: _ARROW[kind] for name, kind in hyperparameters.items()}
    middle |= {"batch_size": pa.int64()} if batches else {}
    own = {f"final_{name}": pa.float64() for name in metrics}
    return pa.schema(BEFORE | middle | AFTER | RESULTS | own)


def own_finals(columns: Iterable[str]) -> list[str]:
    """Of the columns of runs those of the last values of the user's own metrics."""
    return [name for name in columns if name.startswith("final_") and name not in RESULTS]


def together(tables: Sequence[pa.Table], since: Mapping[str, float | None]) -> pa.Table:
    """Runs tables as one, hyperparameters before the results whichever table has them first.

    `since`: of hyperparameters that came later, what runs before them were computed with.
    """
    whole = pa.concat_tables(tables, promote_options="default")
    last = [*AFTER, *RESULTS, *own_finals(whole.column_names)]
    last += [SESSION] * (SESSION in whole.column_names)
    middle = [name for name in whole.column_names if name not in {*BEFORE, *last}]
    for name in set(middle) & set(since):
        column = pc.fill_null(whole.column(name), since[name])
        whole = whole.set_column(whole.column_names.index(name), whole.schema.field(name), column)
    return whole.select([*BEFORE, *middle, *last])


def in_session(runs: pa.Table, session: int) -> pa.Table:
    """A runs table with the session that its runs were trained in."""
    return runs.append_column(SESSION, pa.array(np.full(len(runs), session, np.int64)))


def is_runs(schema: pa.Schema) -> bool:
    """Whether these are the columns of a runs table, of whatever hyperparameters and metrics."""
    first, last, fields = list(pa.schema(BEFORE)), list(pa.schema(AFTER | RESULTS)), list(schema)
    begin = schema.get_field_index(last[0].name)  # -1 where there is none, or two
    end = begin + len(last)
    return (
        fields[: len(first)] == first
        and fields[begin:end] == last
        and all(field.type in _ARROW.values() for field in fields[len(first) : begin])
        and all(
            field.type == pa.float64() if field.name.startswith("final_") else field.name == SESSION
            for field in fields[end:]
        )
    )


# The columns of weights: one row per run and snapshot; after these a column for each array, a list of all its
# numbers in C order. The field's metadata say the shape. Which arrays there are is the model's affair.
WEIGHTS_BEFORE = {"run_id": pa.string(), "step": pa.int32()}


def weights_schema(shapes: Mapping[str, tuple[int, ...]]) -> pa.Schema:
    """The columns of a weights table of arrays of these shapes."""
    arrays = [
        pa.field(name, pa.list_(pa.float32(), math.prod(shape)), metadata={"shape": json.dumps(shape)})
        for name, shape in shapes.items()
    ]
    return pa.schema([*map(pa.field, WEIGHTS_BEFORE.keys(), WEIGHTS_BEFORE.values()), *arrays])


def weights_table(run_id_R: np.ndarray, arrays_RS: Mapping[str, np.ndarray], snapshot_every: int) -> pa.Table:
    """The table of R runs from their arrays of shape (R, S, ...), of the steps 0, snapshot_every, ..."""
    runs, snapshots = next(iter(arrays_RS.values())).shape[:2]
    schema = weights_schema({name: array.shape[2:] for name, array in arrays_RS.items()})
    lists = [
        pa.FixedSizeListArray.from_arrays(
            np.ascontiguousarray(arrays_RS[name], np.float32).ravel(), type=schema.field(name).type
        )
        for name in arrays_RS
    ]
    steps = np.tile(np.arange(snapshots, dtype=np.int32) * snapshot_every, runs)
    return pa.table([np.repeat(run_id_R, snapshots), steps, *lists], schema=schema)


def weights_arrays(table: pa.Table) -> dict[str, np.ndarray]:
    """name -> float32 array of shape (rows, ...) of a weights table."""
    arrays = {}
    for field in list(table.schema)[len(WEIGHTS_BEFORE) :]:
        numbers = table.column(field.name).combine_chunks().flatten().to_numpy(zero_copy_only=False)
        arrays[field.name] = numbers.reshape(len(table), *_shape(field))
    return arrays


def is_weights(schema: pa.Schema) -> bool:
    """Whether these are the columns of a weights table: arrays of whatever names and shapes."""
    before, arrays = pa.schema(WEIGHTS_BEFORE), list(schema)[len(WEIGHTS_BEFORE) :]
    return (
        list(schema)[: len(before)] == list(before)
        and len(arrays) > 0
        and all(
            pa.types.is_fixed_size_list(field.type)
            and field.type.value_type == pa.float32()
            and math.prod(_shape(field)) == field.type.list_size
            for field in arrays
        )
    )


def _shape(field: pa.Field) -> tuple[int, ...]:
    """That of an array; of one number too many where the metadata do not say."""
    try:
        shape = json.loads((field.metadata or {})[b"shape"])
        return tuple(int(size) for size in shape)
    except (KeyError, TypeError, ValueError, OverflowError):
        return (-1,)
