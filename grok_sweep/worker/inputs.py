"""What a program gets for a call: hyperparameters, initial weights and rows of its lanes."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from grok_sweep.core.number import Number
from grok_sweep.core.parts import PartError
from grok_sweep.core.source import RunError, blaming

if TYPE_CHECKING:  # it loads jax
    from grok_sweep.core.moment import Rows
    from grok_sweep.core.program import Program


def arguments(
    program: "Program", columns: Mapping[str, np.ndarray], rows: Mapping[int, "Rows"], init: Any
) -> Any:
    """(hparams, params, rows) of the runs whose `rows` are given, with a leading lane axis, on the device.

    Lanes left over repeat the last run: the shape is compiled in.
    """
    import jax

    def stacked(trees: Iterable[Any]) -> Any:
        return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)

    of_model = program.part("model").numbers
    index_L = [*rows] + [*rows][-1:] * (program.lanes - len(rows))
    weights: dict[tuple[Any, ...], Any] = {}  # lanes of one seed begin with the same weights
    names = []
    for run in index_L:
        seed, own = int(columns["seed"][run]), traced(of_model, columns, run, "float32")
        names.append((seed, *own.values()))
        if names[-1] not in weights:
            weights[names[-1]] = init(seed, own)
    # At once: waiting for each would take longer than making it.
    weights = jax.tree.map(lambda a: a.astype(program.dtype), jax.device_get(weights))
    params, rows_L = stacked(weights[name] for name in names), stacked(rows[run] for run in index_L)
    return jax.device_put((traced(program.numbers, columns, index_L, program.dtype), params, rows_L))


def traced(
    numbers: Mapping[str, Number], columns: Mapping[str, np.ndarray], at: int | list[int], fraction: str
) -> dict[str, np.ndarray]:
    """Those of `numbers` that are no shape, of one run or some: int32, or of the type `fraction`."""
    kinds = {key: n.kind for key, n in numbers.items() if key in columns and not n.static}
    return {key: columns[key][at].astype("int32" if kind is int else fraction) for key, kind in kinds.items()}


def rows_of(program: "Program", columns: Mapping[str, np.ndarray], run: int) -> "Rows":
    """The rows of one run, numpy's. Raises RunError where they cannot be made or are not as planned."""
    from grok_sweep.core.moment import Rows

    task, seed = program.part("task"), int(columns["seed"][run])
    h = program.h({key: columns[key][run].item() for key in columns if key in program.numbers})
    try:
        with blaming(program.source):
            data = task.checked(task.data(h, seed))
    except PartError as error:
        raise RunError(f"{error} (run {columns['run_id'][run]}, seed {seed})") from None
    sizes = len(data.y_train_N), len(data.y_test_N)
    exact = program.batch_size or program.metrics or sizes[0] == program.rows
    planned = (program.rows if exact else task.rows(h)[0], program.test_rows)
    if sizes != planned:
        given, asked = (" and ".join(f"{size:,}" for size in both) for both in (sizes, planned))
        raise RunError(
            f"task {task.name}: data gives {given} training and test rows (seed {seed}) where {asked} are "
            "planned; how many there are may depend on the task's own hyperparameters alone"
        )
    # Padded by the first row, whose loss is a number where the others' are: with zeros it need not be.
    index_N = np.zeros(program.rows, int)
    index_N[: sizes[0]] = _order(sizes[0], seed, int(columns["repeat"][run]) if "repeat" in columns else 0)
    arrays = (data.x_train_ND[index_N], data.y_train_N[index_N], data.x_test_ND, data.y_test_N)
    # Fractions in the numbers that the program computes with.
    x_train_ND, y_train_N, x_test_ND, y_test_N = (
        a.astype(program.dtype, copy=False) if a.dtype.kind == "f" else a for a in arrays
    )
    return Rows(
        x_train_ND, y_train_N, x_test_ND, y_test_N, np.int32(sizes[0]), np.int32(sizes[1]), np.int32(seed)
    )


def _order(rows: int, seed: int, repeat: int) -> np.ndarray:
    """The order of the training rows: as they are, or of a repeat another one, which its identity gives."""
    return np.random.default_rng([seed, repeat]).permutation(rows) if repeat else np.arange(rows)
