"""The columns of the tables in a results folder."""

from collections.abc import Mapping

import pyarrow as pa

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
FAILED_SCHEMA = pa.schema(dict.fromkeys(["run_id", "reason", "log", "time"], pa.string()))
CURVE_METRICS = tuple(CURVES_SCHEMA.names[2:])

_ARROW = {int: pa.int64(), float: pa.float64()}


def runs_schema(hyperparameters: Mapping[str, type]) -> pa.Schema:
    """The columns of the runs table, hyperparameters (name -> int or float) in the middle."""
    middle = {name: _ARROW[kind] for name, kind in hyperparameters.items()}
    return pa.schema(BEFORE | middle | AFTER | RESULTS)


def is_runs(schema: pa.Schema) -> bool:
    """Whether these are the columns of a runs table, of whatever hyperparameters."""
    first, last = pa.schema(BEFORE), pa.schema(AFTER | RESULTS)
    fields = list(schema)
    middle = fields[len(first) : len(fields) - len(last)]
    return (
        len(fields) >= len(first) + len(last)
        and fields[: len(first)] == list(first)
        and fields[len(fields) - len(last) :] == list(last)
        and all(field.type in _ARROW.values() for field in middle)
    )
