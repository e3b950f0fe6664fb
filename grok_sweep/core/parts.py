"""The parts that a sweep is made of: what one is, and how it is declared, by us and in a user's file alike.

A part declares its hyperparameters once (see `number`) and gets the values of all, those of the other parts
too, as one object `h`: h.weight_decay. What is decorated or derived from here in a file is a part of it, by
its name there; the built-in ones are written the same way (`builtin`, `grok_sweep.core.tasks`). How they are
found: `registry`.

    class Sums(Task):                                                 # a task: data, loss, what is right
        numbers = {"largest": whole(30, "number that is added", 1, 1000)}
        def data(self, h, seed): ...
        def loss(self, h, output, y): ...
        def correct(self, h, output, y): ...

    @model(width=whole(64, "neurons", 1, 10_000))                           # a model: any flax module
    def net(h): return Net(h.width)

    @optimizer(learning_rate=real(0.1, "step size", 0, above=True), momentum=real(0.9, "of it", 0, 1))
    def sgd(h): return optax.sgd(h.learning_rate, h.momentum)               # any optax transform

    @metric
    def surest(h, at): return at.output_test.max()                          # a number at each logged step

    @metric(start=0.0)
    def area(h, at, so_far): return so_far + at.train_loss                  # or gone on with at every step

    @definition({"low": Look("#aaaaaa", "cross"), "high": Look("#7cb9df", "circle")}, at=real(0.9, "high"))
    def halves(runs, curves, h): return np.where(runs.final_eval_accuracy < h.at, "low", "high")      # phases

This needs no jax: a config is checked without it.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from grok_sweep.core.look import Look
from grok_sweep.core.number import MOST_INT32, Number, Values, real, whole
from grok_sweep.core.source import PartError

__all__ = [
    "LEAST_LOSS",
    "Data",
    "Declared",
    "Definition",
    "Look",
    "Metric",
    "Model",
    "Optimizer",
    "PartError",
    "Task",
    "Values",
    "definition",
    "loss_ratio",
    "metric",
    "model",
    "optimizer",
    "real",
    "whole",
]

# What a loss counts as at least in a ratio, nats a row: float32's epsilon, the least that the cross entropy
# of a row can be over 0 in it, and what the article clips parity's loss at. In float64 too, so that runs of
# both are sorted alike.
LEAST_LOSS = 2.0**-23


def loss_ratio(train_loss: Any, eval_loss: Any, floor: Any) -> Any:
    """Of test to train loss, elementwise; a loss under `floor` (a task's `loss_floor`) counts as that."""
    return np.maximum(eval_loss, floor) / np.maximum(train_loss, floor)


@dataclass(frozen=True)
class Data:
    """The rows of one run: arrays whose first axis are rows, of whatever shape and type a row has."""

    x_train_ND: np.ndarray
    y_train_N: np.ndarray
    x_test_ND: np.ndarray
    y_test_N: np.ndarray


def _numbers(what: str, side: str, given: Any) -> np.ndarray:
    """See `Task.checked`."""
    try:
        array = np.asarray(given)
    except ValueError:  # a list of lists of different lengths
        array = np.asarray(None)
    if array.dtype.kind not in "biuf" and array.dtype.name != "bfloat16":
        raise PartError(f"{what} gives {side} rows that are no arrays of numbers")
    if array.dtype.kind in "iu" and array.itemsize == 8:
        if array.size and (array.max() > MOST_INT32 or array.min() < -MOST_INT32 - 1):
            raise PartError(f"{what} gives {side} rows of whole numbers that 32 bits cannot hold")
        array = array.astype(np.int32)
    return array


class Task:
    """Data, a loss, and what counts as right. Derive from it; `data`, `loss` and `correct` are a task's own.

    Where nothing is right or wrong, say `correct = None`: then there is no accuracy (nan).

    `models`: the models that take its rows and give what its loss takes; none named: any. `version`: raise it
    where its meaning changes, so that runs of before and after are different ones. `unit`: of its loss, in
    pictures, which may have numbers in it, as "nats / {modulus}"; `opens`: how its networks are opened there,
    "addition" or "digits". Both of the package's tasks only, for a user's file is not run to draw. `bits`: x
    has nothing but 0 and 1, which the native engine goes by.
    """

    name: str = ""
    unit: str = ""
    opens: str = ""
    version: int = 1
    bits: bool = False
    rows_axis: int = 0  # of the output that `loss` gets
    models: ClassVar[tuple[str, ...]] = ()
    numbers: ClassVar[Mapping[str, Number]] = {}

    def check(self, h: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
        """Problems of a run's hyperparameters taken together, as (key, message)."""
        return ()

    def data(self, h: Any, seed: int) -> Data:
        """A run's rows, a function of its hyperparameters and seed alone; how many, of the former."""
        raise NotImplementedError

    def rows(self, h: Any) -> tuple[int, int]:
        """How many training and test rows a run has."""
        data = self.checked(self.data(h, 0))
        return len(data.y_train_N), len(data.y_test_N)

    def row(self, h: Any) -> tuple[tuple[int, ...], str]:
        """The shape and the type of one row of x."""
        x_ND = self.checked(self.data(h, 0)).x_train_ND
        return x_ND.shape[1:], "float32" if x_ND.dtype.kind == "f" else x_ND.dtype.name

    def checked(self, data: Any) -> Data:
        """What `data` gave, as arrays; whole numbers of 64 bits in 32, in which they are computed with.

        Raises PartError where it is not what it should be.
        """
        what = f"task {self.name}: data"
        if not isinstance(data, Data):
            raise PartError(
                f"{what} gives {type(data).__name__}; give Data(x_train, y_train, x_test, y_test)"
            )
        sides: list[np.ndarray] = []
        for side in ("train", "test"):
            x_ND, y_N = (
                _numbers(what, side, getattr(data, name)) for name in (f"x_{side}_ND", f"y_{side}_N")
            )
            if not x_ND.ndim or not y_N.ndim or not len(x_ND) or len(x_ND) != len(y_N):
                shapes = f"x of shape {x_ND.shape} and y of shape {y_N.shape}"
                raise PartError(f"{what} gives {side} rows as {shapes}; give as many of both, at least one")
            if x_ND.dtype.kind == "f" and not np.isfinite(x_ND).all():
                raise PartError(f"{what} gives {side} rows with nan or inf in x")
            if self.bits and not ((x_ND == 0) | (x_ND == 1)).all():
                raise PartError(f"{what} gives {side} rows of x with more than 0 and 1; say bits = False")
            sides += [x_ND, y_N]
        for name, (train, test) in (("rows", sides[::2]), ("targets", sides[1::2])):
            if train.shape[1:] != test.shape[1:]:
                shapes = f"{train.shape[1:]} and {test.shape[1:]}"
                raise PartError(f"{what} gives training and test {name} of the shapes {shapes}; give one")
        return Data(*sides)

    def loss(self, h: Any, output: Any, y_N: Any) -> Any:
        """The loss of each row, shape (N,), in nats if it is one of probabilities; traced by jax."""
        raise NotImplementedError

    def correct(self, h: Any, output: Any, y_N: Any) -> Any:
        """Whether each row is right: bool, shape (N,); traced by jax."""
        raise NotImplementedError

    def loss_floor(self, h: Mapping[str, Any]) -> float:
        """What a loss counts as at least in the ratio of test to train loss, over 0."""
        return LEAST_LOSS


@dataclass(frozen=True)
class Declared:
    """A part that is made by a function of its hyperparameters; `version`: see `Task`."""

    name: str
    make: Callable[..., Any]
    numbers: Mapping[str, Number] = field(default_factory=dict)
    version: int = 1


PRECISION = "of the numbers that a run is computed with: 16 is bfloat16"
FLOAT_BITS = whole(32, PRECISION, among=(16, 32, 64), since=32)  # of every model that declares no such number


@dataclass(frozen=True)
class Model(Declared):
    """A network: `make(h)` gives a flax module, whose output on rows of x is what the task's loss takes.

    `opens`: of the package's, what pictures may show, "circle" where its embedding is one, fixed; see `Task`.
    """

    opens: str = ""


class Optimizer(Declared):
    """`make(h)` gives an optax transform, built of traced numbers."""


@dataclass(frozen=True)
class Metric(Declared):
    """`make(h, at)` gives a number of a network at a logged step, traced by jax; `at`: see `moment.Moment`.

    With a `start` it is `make(h, at, so_far)` and goes on from step to step, over all of them: so_far is what
    it gave at the step before, at first the start. Logged is what it gave last, at the logged step itself.
    """

    start: float | None = None


@dataclass(frozen=True)
class Definition(Declared):
    """`make(runs, curves, h)` gives the name of a phase for each run, in their order.

    `runs`: a row per run; `curves`: a row per run and logged step, by both; `h`: its own numbers, thresholds.
    `reads_curves`: else it gets None for curves, and they need not be read. `phases`: all that it may give,
    and how they look; `ties`: their names in the order of the tests: of those that are equally common in a
    cell the first stands for it; `file`: where it is from, as a results folder keeps it. `decided(runs, h)`
    says of runs in training whether their phase can no longer change; None: it cannot say.
    """

    phases: Mapping[str, Look] = field(default_factory=dict)
    ties: tuple[str, ...] = ()
    reads_curves: bool = True
    file: str = ""
    decided: Callable[[Any, Any], Any] | None = None


def _bare(given: Any, how: str) -> None:
    """Raises PartError where a decorator is written without its brackets."""
    if given is not None:
        raise PartError(
            f"write @{how}() above a function, with its hyperparameters in the brackets if it has any"
        )


def model(
    bare: Any = None, /, *, version: int = 1, opens: str = "", **numbers: Number
) -> Callable[[Callable[[Any], Any]], Model]:
    """Declare a function of hyperparameters that gives a flax module, and its own hyperparameters."""
    _bare(bare, "model")
    if not isinstance(opens, str):
        raise PartError("model: opens is no hyperparameter; call it otherwise")
    precision = {} if "float_bits" in numbers else {"float_bits": FLOAT_BITS}
    return lambda make: Model(make.__name__, make, {**numbers, **precision}, version, opens=opens)


def optimizer(
    bare: Any = None, /, *, version: int = 1, **numbers: Number
) -> Callable[[Callable[[Any], Any]], Optimizer]:
    """Declare a function of hyperparameters that gives an optax transform, and its own hyperparameters."""
    _bare(bare, "optimizer")
    return lambda make: Optimizer(make.__name__, make, numbers, version)


def metric(make: Any = None, /, *, start: float | None = None) -> Any:
    """Declare a function metric(h, at) whose number is logged, in a column of its name of the curves.

    With a `start`, in brackets, a function metric(h, at, so_far) of every step: see `Metric`.
    """
    if make is None:
        return lambda make: Metric(make.__name__, make, start=start)
    if not callable(make):
        raise PartError("write @metric above a function, or @metric(start=0.0) where it goes on")
    return Metric(make.__name__, make)


def definition(
    phases: Mapping[str, Look],
    *,
    reads_curves: bool = True,
    decided: Callable[[Any, Any], Any] | None = None,
    **numbers: Number,
) -> Callable[[Callable[[Any, Any, Any], Any]], Definition]:
    """Declare a function definition(runs, curves, h) that sorts runs into `phases`, and its thresholds.

    `reads_curves` False: its curves are None; many short runs are sorted sooner so. `decided`: a function
    decided(runs, h) that says of each whether its phase can no longer change, for stop_when_decided=true.
    """
    if callable(phases):
        raise PartError('give the phases of a definition: @definition({"name": Look("#rrggbb", "circle")})')
    ties = tuple(phases) if isinstance(phases, Mapping) else ()
    return lambda make: Definition(
        make.__name__, make, numbers, phases=phases, ties=ties, reads_curves=reads_curves, decided=decided
    )
