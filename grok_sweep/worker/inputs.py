"""What a program gets for a call: hyperparameters, initial weights and rows of its lanes."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from grok_sweep.core.number import Number, Values
from grok_sweep.core.parts import PartError
from grok_sweep.core.source import RunError, blaming

if TYPE_CHECKING:  # it loads jax
    from grok_sweep.core.moment import Rows
    from grok_sweep.core.program import Program


class LostError(Exception):
    """Runs whose data cannot be made: `errors`, one for each."""

    def __init__(self, errors: list[RunError]) -> None:
        super().__init__(f"{len(errors)} runs")
        self.errors = errors


def arguments(program: "Program", columns: Mapping[str, np.ndarray], index_L: np.ndarray, init: Any) -> Any:
    """(hparams, params, rows) of the runs `index_L`, each with a leading lane axis, on the device.

    Raises LostError where the data of some cannot be made.
    """
    import jax

    rows: dict[int, Rows] = {}
    wrong = []
    for run in dict.fromkeys(index_L.tolist()):
        try:
            rows[run] = rows_of(program, columns, run)
        except RunError as error:
            wrong.append(error)
    if wrong:
        raise LostError(wrong)
    weights: dict[tuple[Any, ...], Any] = {}  # lanes of one seed begin with the same weights
    names = []
    for run in index_L:
        seed, own = int(columns["seed"][run]), of_model(program, columns, run)
        names.append((seed, *own.values()))
        if names[-1] not in weights:
            weights[names[-1]] = init(seed, own)
    # At once: waiting for each would take longer than making it.
    weights = jax.tree.map(lambda a: a.astype(program.dtype), jax.device_get(weights))

    def stack(*leaves: np.ndarray) -> np.ndarray:
        return np.stack(leaves)

    params = jax.tree.map(stack, *[weights[name] for name in names])
    rows_L = jax.tree.map(stack, *[rows[run] for run in index_L.tolist()])
    return jax.device_put((hparams_of(program, columns, index_L), params, rows_L))


def hparams_of(
    program: "Program", columns: Mapping[str, np.ndarray], index_L: np.ndarray
) -> dict[str, np.ndarray]:
    """The hyperparameters of some runs that are no shape, in the numbers that they are computed with."""
    numbers = {key: n for key, n in program.numbers.items() if key in columns and not n.static}
    return {key: columns[key][index_L].astype(_dtype(n, program.dtype)) for key, n in numbers.items()}


def of_model(program: "Program", columns: Mapping[str, np.ndarray], run: int) -> dict[str, Any]:
    """Those of a run that its initial weights may depend on, the model's own, of 32 bits."""
    numbers = {key: n for key, n in program.part("model").numbers.items() if not n.static}
    return {key: np.dtype(_dtype(n, "float32")).type(columns[key][run]) for key, n in numbers.items()}


def rows_of(program: "Program", columns: Mapping[str, np.ndarray], run: int) -> "Rows":
    """The rows of one run, numpy's. Raises RunError where they cannot be made or are not as planned."""
    from grok_sweep.core.moment import Rows

    task, seed = program.part("task"), int(columns["seed"][run])
    h = _hyperparameters(program, columns, run)
    try:
        with blaming(program.source):
            data = task.checked(task.data(h, seed))
    except PartError as error:
        raise RunError(f"{error} (run {columns['run_id'][run]}, seed {seed})", run) from None
    sizes = len(data.y_train_N), len(data.y_test_N)
    exact = program.batch_size or program.metrics or sizes[0] == program.rows
    planned = (program.rows if exact else task.rows(h)[0], program.test_rows)
    if sizes != planned or sizes[0] > program.rows:
        given, asked = (" and ".join(f"{size:,}" for size in both) for both in (sizes, planned))
        raise RunError(
            f"task {task.name}: data gives {given} training and test rows (seed {seed}) where {asked} are "
            "planned; how many there are may depend on the task's own hyperparameters alone",
            run,
        )
    # Fractions in the numbers that the program computes with.
    train, test = (
        [a.astype(program.dtype, copy=False) if a.dtype.kind == "f" else a for a in arrays]
        for arrays in ((data.x_train_ND, data.y_train_N), (data.x_test_ND, data.y_test_N))
    )
    pad = program.rows - sizes[0]
    # By the first row, whose loss is a number where the others' are: with zeros it need not be.
    x_train_ND, y_train_N = (np.concatenate([a, np.repeat(a[:1], pad, axis=0)]) if pad else a for a in train)
    return Rows(
        x_train_ND, y_train_N, test[0], test[1], np.int32(sizes[0]), np.int32(sizes[1]), np.int32(seed)
    )


def _hyperparameters(program: "Program", columns: Mapping[str, np.ndarray], run: int) -> Values:
    """Those of one run, Python's numbers."""
    return program.h({key: columns[key][run].item() for key in columns if key in program.numbers})


def _dtype(number: Number, fraction: str) -> str:
    """What a traced hyperparameter is in a training, in which fractions are of the type `fraction`."""
    return "int32" if number.kind is int else fraction
