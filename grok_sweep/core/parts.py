"""The parts that a sweep is made of, and how they are found: ours, and those of a user's file.

A part declares its hyperparameters once (see `number`) and gets the values of all, those of the other parts
too, as one object `h`: h.weight_decay. What is decorated or derived from here in a file is a part of it, by
its name there; the built-in ones are written the same way (`builtin`, `grok_sweep.tasks`).

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

    @definition({"low": Look("#aaaaaa", "cross"), "high": Look("#7cb9df", "circle")}, at=real(0.9, "high"))
    def halves(runs, curves, h): return np.where(runs.final_eval_accuracy < h.at, "low", "high")      # phases

This needs no jax: a config is checked without it.
"""

import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, ClassVar

import numpy as np

from grok_sweep.core import look
from grok_sweep.core.look import Look
from grok_sweep.core.number import Number, Values, real, whole
from grok_sweep.core.reserved import CURVES, OF_CONFIG, RESERVED
from grok_sweep.core.source import PartError, Source, blaming

__all__ = [
    "KINDS",
    "LEAST_LOSS",
    "Data",
    "Definition",
    "Look",
    "Metric",
    "Model",
    "Optimizer",
    "PartError",
    "Source",
    "Task",
    "Values",
    "blaming",
    "definition",
    "find",
    "metric",
    "metrics",
    "model",
    "names",
    "numbers",
    "optimizer",
    "parts_of",
    "real",
    "whole",
]

KINDS = ("task", "model", "optimizer")  # of which a sweep has one each; and as many metrics as its file has
# The least loss of one row above 0 that float32 can tell: -log of the last number under 1, in nats. Parity's
# loss is clipped there (the article's recipe); other losses come to 0 exactly, and count as this in ratios.
LEAST_LOSS = 2.0**-23


@dataclass(frozen=True)
class Data:
    """The rows of one run: arrays whose first axis are rows, of whatever shape and type a row has."""

    x_train_ND: np.ndarray
    y_train_N: np.ndarray
    x_test_ND: np.ndarray
    y_test_N: np.ndarray


class Task:
    """Data, a loss, and what counts as right. Derive from it; `data`, `loss` and `correct` are a task's own.

    `models`: the models that take its rows and give what its loss takes; none named: any.
    """

    name: str = ""
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
        return x_ND.shape[1:], x_ND.dtype.name

    def checked(self, data: Any) -> Data:
        """What `data` gave. Raises PartError where it is not what it should be."""
        what = f"task {self.name}: data"
        if not isinstance(data, Data):
            raise PartError(
                f"{what} gives {type(data).__name__}; give Data(x_train, y_train, x_test, y_test)"
            )
        for side in ("train", "test"):
            x_ND, y_N = (np.asarray(getattr(data, name)) for name in (f"x_{side}_ND", f"y_{side}_N"))
            if np.dtype(object) in (x_ND.dtype, y_N.dtype):
                raise PartError(f"{what} gives {side} rows that are no arrays of numbers")
            if not x_ND.ndim or not y_N.ndim or not len(x_ND) or len(x_ND) != len(y_N):
                shapes = f"x of shape {x_ND.shape} and y of shape {y_N.shape}"
                raise PartError(f"{what} gives {side} rows as {shapes}; give as many of both, at least one")
        if data.x_train_ND.shape[1:] != data.x_test_ND.shape[1:]:
            shapes = f"{data.x_train_ND.shape[1:]} and {data.x_test_ND.shape[1:]}"
            raise PartError(f"{what} gives training and test rows of the shapes {shapes}; give one shape")
        return data

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
class _Made:
    """A part that is made by a function of its hyperparameters."""

    name: str
    make: Callable[..., Any]
    numbers: Mapping[str, Number] = field(default_factory=dict)


class Model(_Made):
    """A network: `make(h)` gives a flax module, whose output on rows of x is what the task's loss takes."""


class Optimizer(_Made):
    """`make(h)` gives an optax transform, built of traced numbers."""


class Metric(_Made):
    """`make(h, at)` gives a number of a network at a logged step, traced by jax; `at`: see `train.Moment`."""


@dataclass(frozen=True)
class Definition(_Made):
    """`make(runs, curves, h)` gives the name of a phase for each run, in their order.

    `runs`: a row per run; `curves`: a row per run and logged step, by both; `h`: its own numbers, thresholds.
    `phases`: all that it may give, and how they look; `ties`: their names in the order of the tests: of those
    that are equally common in a cell the first stands for it.
    """

    phases: Mapping[str, Look] = field(default_factory=dict)
    ties: tuple[str, ...] = ()


def model(**numbers: Number) -> Callable[[Callable[[Any], Any]], Model]:
    """Declare a function of hyperparameters that gives a flax module, and its own hyperparameters."""
    return lambda make: Model(make.__name__, make, numbers)


def optimizer(**numbers: Number) -> Callable[[Callable[[Any], Any]], Optimizer]:
    """Declare a function of hyperparameters that gives an optax transform, and its own hyperparameters."""
    return lambda make: Optimizer(make.__name__, make, numbers)


def metric(make: Callable[[Any, Any], Any]) -> Metric:
    """Declare a function metric(h, at) whose number is logged, in a column of its name of the curves."""
    return Metric(make.__name__, make)


def definition(
    phases: Mapping[str, Look], **numbers: Number
) -> Callable[[Callable[[Any, Any, Any], Any]], Definition]:
    """Declare a function definition(runs, curves, h) that sorts runs into `phases`, and its thresholds."""
    if callable(phases):
        raise PartError('give the phases of a definition: @definition({"name": Look("#rrggbb", "circle")})')
    ties = tuple(phases) if isinstance(phases, Mapping) else ()
    return lambda make: Definition(make.__name__, make, numbers, phases, ties)


OF_KIND: dict[str, type[Any]] = {"task": Task, "model": Model, "optimizer": Optimizer, "metric": Metric}
OF_KIND |= {"definition": Definition}


def find(kind: str, name: str, source: Source | None = None) -> Any:
    """The part of that kind and name. Raises KeyError where there is none, PartError as `parts_of` does."""
    return parts_of(source)[kind][name]


def metrics(source: Source | None) -> dict[str, Metric]:
    """The metrics that a user's file declares, by name: all of them are logged."""
    return parts_of(source)["metric"]


def names(kind: str, source: Source | None = None) -> list[str]:
    """The names of all parts of a kind, in order."""
    return sorted(parts_of(source)[kind])


def numbers(task: str, model: str, optimizer: str, source: Source | None = None) -> dict[str, Number]:
    """The hyperparameters of three parts together, the task's first.

    Raises PartError where two declare one of the same name.
    """
    found: dict[str, Number] = {}
    for kind, name in zip(KINDS, (task, model, optimizer), strict=True):
        for key, number in find(kind, name, source).numbers.items():
            if key in found:
                raise PartError(
                    f"{kind} {name}: {key} is a hyperparameter of another part too; call it otherwise"
                )
            found[key] = number
    return found


@functools.lru_cache(maxsize=64)
def parts_of(source: Source | None) -> dict[str, dict[str, Any]]:
    """kind -> name -> part: the built-in ones and those of a user's file, which is run.

    Raises PartError where the file cannot be run, or declares what cannot be used.
    """
    from grok_sweep import tasks
    from grok_sweep.core import builtin, definitions

    ours = [_own(builtin), _own(definitions), *(_own(module) for module in tasks.modules())]
    found: dict[str, dict[str, Any]] = {kind: {} for kind in OF_KIND}
    for parts in ours:
        for kind, name, part in parts:
            found[kind][name] = part
    if source is not None:
        theirs = _own(source.run())
        if not theirs:
            raise PartError(
                f"{source.name}: declares no part; derive from Task, or decorate with @model, ..."
            )
        for kind, name, part in theirs:
            if name in found[kind]:
                raise PartError(f"{source.name}: there is a built-in {kind} {name}; call yours otherwise")
            _check(f"{source.name}: {kind} {name}", part)
            found[kind][name] = part
    return found


def _own(module: ModuleType) -> list[tuple[str, str, Any]]:
    """(kind, name, part) of each part that is declared in a module and not brought from another."""
    found: list[tuple[str, str, Any]] = []
    for name, value in vars(module).items():
        if isinstance(value, type) and issubclass(value, Task) and value.__module__ == module.__name__:
            task = value()
            task.name = task.name or _snake(name)
            found.append(("task", task.name, task))
        elif isinstance(value, _Made) and value.make.__module__ == module.__name__:
            kind = next(kind for kind, of in OF_KIND.items() if isinstance(value, of))
            found.append((kind, value.name, value))
    return found


def _snake(name: str) -> str:
    """A class's name as a part's: ModularAddition, modular_addition."""
    return "".join(f"_{c.lower()}" if c.isupper() and i else c.lower() for i, c in enumerate(name))


def _check(what: str, part: Any) -> None:
    """Raise PartError where a user's part lacks what it needs."""
    if isinstance(part, Metric) and part.name in CURVES:
        raise PartError(f"{what}: every curve has a column of this name; call it otherwise")
    if isinstance(part, Definition) and (why := look.problem(part.phases)):
        raise PartError(f"{what}: {why}")
    reserved = OF_CONFIG if isinstance(part, Definition) else RESERVED
    for key, number in part.numbers.items():
        if not isinstance(number, Number):
            raise PartError(f"{what}: {key} must be declared by whole(...) or real(...)")
        if not key.isidentifier() or key.startswith("_"):
            raise PartError(
                f"{what}: {key!r} cannot be the name of a hyperparameter; use letters, digits and _"
            )
        if key in reserved:
            raise PartError(f"{what}: {key} is the name of {reserved[key]}; call it otherwise")
        if number.default is None or number.problem(number.default):
            raise PartError(
                f"{what}: the default of {key}, {number.default!r}, {number.problem(number.default)}"
            )
    if isinstance(part, Task):
        for method in ("data", "loss", "correct"):
            if getattr(type(part), method) is getattr(Task, method):
                raise PartError(f"{what}: has no method {method}")
