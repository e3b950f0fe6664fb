"""One shard: data and initial weights, training, summaries, tables. What a worker does, on any executor."""

import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from grok_sweep import store
from grok_sweep.core import parts
from grok_sweep.core.number import Number, Values
from grok_sweep.core.parts import PartError
from grok_sweep.core.source import blaming

if TYPE_CHECKING:  # it loads jax, which must not be before `environment` is set
    from grok_sweep.program import Program


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


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def environment(device: str, workers_per_gpu: int = 1) -> dict[str, str]:
    """Environment variables of a worker, to be set before jax is imported."""
    common = {"JAX_PLATFORMS": {"gpu": "cuda"}.get(device, device), "TF_CPP_MIN_LOG_LEVEL": "2"}
    if device == "cpu":
        # One worker per core: two single-threaded processes do more than one with two threads.
        one_thread = "--xla_cpu_multi_thread_eigen=false"
        given = [flag for flag in os.environ.get("XLA_FLAGS", "").split() if flag != one_thread]
        return {**common, "XLA_FLAGS": " ".join([*given, one_thread])}
    # Left to itself jax rounds the factors of a product to fewer bits there: 19 on a GPU, 16 on a TPU.
    fraction = str(round(0.9 / workers_per_gpu, 3))  # of the GPU's memory, which jax takes at once
    return {**common, "JAX_DEFAULT_MATMUL_PRECISION": "float32", "XLA_CLIENT_MEM_FRACTION": fraction}


def set_environment(variables: Mapping[str, str]) -> None:
    """Set variables of `environment`. jax may be loaded, by a user's file, but must not have computed yet."""
    os.environ.update(variables)
    if "jax" in sys.modules:
        import jax

        for name in variables.keys() & {"JAX_PLATFORMS", "JAX_DEFAULT_MATMUL_PRECISION"}:
            jax.config.update(name.lower(), variables[name])  # it read these when it was imported


def compilation_cache() -> None:
    """Keep compiled programs on disk, for the other workers and for the next time."""
    import jax

    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = root / "grok_sweep" / f"jaxlib-{version('jaxlib')}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        there = folder.stat()
    except OSError:
        return  # a home that cannot be written costs seconds, not results
    if there.st_uid != os.getuid() or there.st_mode & 0o022:
        return  # what is read there is run: no folder that others can write
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)


def train_shard(order: Order) -> Result:
    """Train every run of `order`, `program.lanes` at a time.

    Raises PartError where a part of a user's file does not work.
    """
    with blaming(order.program.source):
        return _train(order)


def _train(order: Order) -> Result:
    """See `train_shard`."""
    import jax

    from grok_sweep.train import compiled

    started = time.perf_counter()
    compilation_cache()
    program, columns = order.program, order.columns
    runs = len(columns["run_id"])
    functions = compiled(program)
    calls, train_seconds = [], 0.0
    for begin in range(0, runs, program.lanes):
        # Lanes left over repeat the last run: the shape is compiled in.
        index_L = np.minimum(np.arange(begin, begin + program.lanes), runs - 1)
        with jax.enable_x64(program.dtype == "float64"):
            inputs = arguments(program, columns, index_L, functions.init)
            train = functions.train_for(*inputs)
            call_started = time.perf_counter()
            trained = jax.device_get(train(*inputs))
        train_seconds += time.perf_counter() - call_started
        named = (trained.metrics._asdict(), trained.own, trained.weights)
        calls.append([{name: a_L[: runs - begin] for name, a_L in arrays.items()} for arrays in named])
    curves_RT, own_RT, weights_RS = (
        {name: np.concatenate([arrays[name] for arrays in each]) for name in each[0]}
        for each in zip(*calls, strict=True)
    )
    device = jax.devices()[0].device_kind
    task = program.part("task")
    results = summarise(curves_RT, program.log_every, task.loss_floor(program.values))
    ids = columns["run_id"]
    weights = store.weights_table(ids, weights_RS, program.snapshot_every) if weights_RS else None
    elapsed = time.perf_counter() - started
    return Result(
        _runs_table(order, results, device, elapsed / runs),
        _curves_table(ids, curves_RT | own_RT, program.log_every),
        train_seconds,
        time.perf_counter() - started - train_seconds,
        weights,
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


def arguments(program: "Program", columns: Mapping[str, np.ndarray], index_L: np.ndarray, init: Any) -> Any:
    """(hparams, params, rows) of the runs `index_L`, each with a leading lane axis, on the device."""
    import jax

    from grok_sweep.train import Rows

    numbers = program.numbers
    traced = [key for key in columns if key in numbers and not numbers[key].static]
    hparams = {key: columns[key][index_L].astype(_dtype(numbers[key], program.dtype)) for key in traced}
    own = [key for key in traced if key in program.part("model").numbers]
    weights: dict[tuple[Any, ...], Any] = {}  # lanes of one seed begin with the same weights
    names, rows = [], []
    for run in index_L:
        seed = int(columns["seed"][run])
        of_model = {key: np.dtype(_dtype(numbers[key], "float32")).type(columns[key][run]) for key in own}
        names.append((seed, *of_model.values()))
        if names[-1] not in weights:
            weights[names[-1]] = init(seed, of_model)
        rows.append(Rows(*_rows(program, hyperparameters(program, columns, run), seed)))

    # At once: waiting for each would take longer than making it.
    weights = jax.tree.map(lambda a: a.astype(program.dtype), jax.device_get(weights))

    def stack(*leaves: np.ndarray) -> np.ndarray:
        return np.stack(leaves)

    return jax.device_put(
        (hparams, jax.tree.map(stack, *[weights[name] for name in names]), jax.tree.map(stack, *rows))
    )


def _rows(program: "Program", h: Values, seed: int) -> list[np.ndarray | np.int32]:
    """The fields of `train.Rows` of one run. Raises PartError where they are not those of the plan."""
    task = program.part("task")
    data = task.checked(task.data(h, seed))
    sizes = len(data.y_train_N), len(data.y_test_N)
    if sizes[0] > program.rows or sizes[1] != program.test_rows:
        there = " and ".join(f"{size:,}" for size in sizes)
        raise PartError(
            f"task {task.name}: data gives {there} training and test rows of seed {seed}, and others of "
            "seed 0; how many there are may depend on hyperparameters alone"
        )
    # Fractions in the numbers that the program computes with.
    train, test = (
        [a.astype(program.dtype, copy=False) if a.dtype.kind == "f" else a for a in arrays]
        for arrays in ((data.x_train_ND, data.y_train_N), (data.x_test_ND, data.y_test_N))
    )
    pad = program.rows - sizes[0]
    padded = [np.pad(a, [(0, pad), *[(0, 0)] * (a.ndim - 1)]) for a in train]
    return [*padded, *test, *map(np.int32, sizes)]


def hyperparameters(program: "Program", columns: Mapping[str, np.ndarray], run: int) -> Values:
    """Those of one run, Python's numbers."""
    return Values({key: columns[key][run].item() for key in columns if key in program.numbers})


def _dtype(number: Number, fraction: str) -> str:
    """What a traced hyperparameter is in a training, in which fractions are of the type `fraction`."""
    return "int32" if number.kind is int else fraction


def _runs_table(order: Order, results: Mapping[str, np.ndarray], device: str, seconds: float) -> pa.Table:
    runs = len(order.columns["run_id"])
    program = order.program
    numbers = program.numbers
    schema = store.runs_schema({key: numbers[key].kind for key in order.columns if key in numbers})
    constants = {
        "sweep": order.sweep,
        "task": program.task,
        "model": program.model,
        "optimizer": program.optimizer,
        "steps": program.steps,
        "log_every": program.log_every,
        "device": device,
        "seconds": seconds,
    }
    columns = {**order.columns, **results, **{k: [v] * runs for k, v in constants.items()}}
    return pa.table({name: pa.array(columns[name], schema.field(name).type) for name in schema.names})


def _curves_table(run_id_R: np.ndarray, curves_RT: Mapping[str, np.ndarray], log_every: int) -> pa.Table:
    runs, logs = curves_RT["train_loss"].shape
    columns = {
        "run_id": np.repeat(run_id_R, logs),
        "step": np.tile(np.arange(logs, dtype=np.int32) * log_every, runs),
        **{name: values_RT.ravel().astype(np.float32) for name, values_RT in curves_RT.items()},
    }
    return pa.table(columns, schema=store.curves_schema([*curves_RT]))
