"""How parts are found: ours, and those of a user's file, which is run; and what is said of unusable ones.

This needs no jax, unless a user's file does.
"""

import functools
import inspect
import keyword
import re
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

from grok_sweep.core import look
from grok_sweep.core.number import Number, Values
from grok_sweep.core.parts import FLOAT_BITS, Declared, Definition, Metric, Model, Optimizer, PartError, Task
from grok_sweep.core.reserved import CURVES, OF_CONFIG, RESERVED
from grok_sweep.core.source import Source

KINDS = ("task", "model", "optimizer")  # of which a sweep has one each; and as many metrics as its file has
OF_KIND: dict[str, type[Any]] = {"task": Task, "model": Model, "optimizer": Optimizer, "metric": Metric}
OF_KIND |= {"definition": Definition}


def find(kind: str, name: str, source: Source | None = None) -> Any:
    """The part of that kind and name. Raises KeyError where there is none, PartError as `parts_of` does."""
    return parts_of(source)[kind][name]


def built_in(kind: str, name: str) -> Any:
    """The part of the package of that kind and name; None where there is none, as of a user's file."""
    return parts_of(None)[kind].get(name)


def metrics(source: Source | None) -> dict[str, Metric]:
    """The metrics that a user's file declares, by name, in order: all of them are logged."""
    return dict(sorted(parts_of(source)["metric"].items()))


def names(kind: str, source: Source | None = None) -> list[str]:
    """The names of all parts of a kind, in order."""
    return sorted(parts_of(source)[kind])


def numbers(task: str, model: str, optimizer: str, source: Source | None = None) -> dict[str, Number]:
    """The hyperparameters of three parts together, the task's first.

    Raises PartError where two declare one of the same name.
    """
    found: dict[str, Number] = {}
    owner: dict[str, str] = {}
    for kind, name in zip(KINDS, (task, model, optimizer), strict=True):
        for key, number in find(kind, name, source).numbers.items():
            if key in found:
                other = f"{kind} {name}: {key} is a hyperparameter of {owner[key]} too"
                raise PartError(f"{other}; call one of them otherwise")
            found[key], owner[key] = number, f"{kind} {name}"
    return found


def versions(task: str, model: str, optimizer: str, source: Source | None = None) -> dict[str, int]:
    """kind -> the version of its part, of those whose meaning has changed since the first."""
    found = {
        kind: find(kind, n, source).version for kind, n in zip(KINDS, (task, model, optimizer), strict=True)
    }
    return {kind: version for kind, version in found.items() if version != 1}


@functools.lru_cache(maxsize=64)
def parts_of(source: Source | None) -> dict[str, dict[str, Any]]:
    """kind -> name -> part: the built-in ones and those of a user's file, which is run.

    Raises PartError where the file cannot be run, or declares what cannot be used.
    """
    from grok_sweep.core import builtin, definitions, tasks

    found: dict[str, dict[str, Any]] = {kind: {} for kind in OF_KIND}
    for module in (builtin, definitions, *tasks.modules()):
        for kind, name, part in _own(module):
            found[kind][name] = part
    if source is not None:
        theirs = _theirs(source)
        if not theirs:
            raise PartError(
                f"{source.name}: declares no part; derive from Task, or decorate with @model, @optimizer"
            )
        ours = {kind: set(named) for kind, named in found.items()}
        for kind, name, part in theirs:
            if name in ours[kind]:
                raise PartError(f"{source.name}: there is a built-in {kind} {name}; call yours otherwise")
            if name in found[kind]:
                raise PartError(f"{source.name}: there are two of the name {kind} {name}; call one otherwise")
            if not is_name(name):
                words = "use letters, digits and _, and no word that YAML, Hydra or Python takes for its own"
                raise PartError(f"{source.name}: {kind} {str(name)[:50]!r} cannot be its name; {words}")
            try:
                _check(f"{source.name}: {kind} {name}", part)
            except (TypeError, ValueError, AttributeError) as error:
                text = f"its hyperparameters cannot be used, give numbers = {{'name': whole(...)}}: {error}"
                raise PartError(f"{source.name}: {kind} {name}: {text}") from None
            found[kind][name] = part
    return found


def _theirs(source: Source) -> list[tuple[str, str, Any]]:
    """`_own` of a user's file. Raises PartError where the file, or making a task, goes wrong."""
    module = source.run()
    try:
        return _own(module)
    except Exception as error:
        raise PartError(source.blame(error)) from None


def _own(module: ModuleType) -> list[tuple[str, str, Any]]:
    """(kind, name, part) of each part that is declared in a module and not brought from another."""
    found: list[tuple[str, str, Any]] = []
    for value in {id(value): value for value in vars(module).values()}.values():  # once under two names
        if isinstance(value, type) and issubclass(value, Task) and value.__module__ == module.__name__:
            if value.__subclasses__() and any(_missing(value)):
                continue  # what several tasks have in common, and none by itself
            task = value()
            task.name = task.name or _snake(value.__name__)
            found.append(("task", task.name, task))
        elif isinstance(value, Declared) and value.make.__module__ == module.__name__:
            kind = next(kind for kind, of in OF_KIND.items() if isinstance(value, of))
            found.append((kind, value.name, value))
    return found


def _missing(task: type[Task]) -> Iterator[str]:
    """The methods that a task must have and this one has not."""
    for method in METHODS:
        if getattr(task, method) is getattr(Task, method):
            yield method


def _snake(name: str) -> str:
    """A class's name as a part's: ModularAddition, modular_addition."""
    return "".join(f"_{c.lower()}" if c.isupper() and i else c.lower() for i, c in enumerate(name))


def _check(what: str, part: Any) -> None:
    """Raise PartError where a user's part lacks what it needs."""
    goes_on = ("so_far",) if isinstance(part, Metric) and part.start is not None else ()
    for kind, arguments in ARGUMENTS.items():
        if isinstance(part, kind):
            _takes(f"{what}: must be a function of", part.make, arguments + goes_on)
    if isinstance(part, Metric) and not isinstance(part.start, float | int | None):
        raise PartError(f"{what}: its start is {part.start!r}; give a number")
    if isinstance(part, Metric) and part.name in CURVES:
        raise PartError(f"{what}: every curve has a column of this name; call it otherwise")
    if isinstance(part, Metric) and part.name in RESERVED:
        raise PartError(f"{what}: there is {RESERVED[part.name]} of this name; call it otherwise")
    if isinstance(part, Definition) and (why := look.problem(part.phases)):
        raise PartError(f"{what}: {why}")
    if isinstance(part.version, bool) or not isinstance(part.version, int) or part.version < 1:
        raise PartError(f"{what}: its version is {part.version!r}; give a whole number from 1 on")
    reserved = OF_CONFIG if isinstance(part, Definition) else RESERVED
    for key, number in part.numbers.items():
        if not isinstance(number, Number):
            raise PartError(f"{what}: {key} must be declared by whole(...) or real(...)")
        if not is_name(key) or key in OF_VALUES:
            raise PartError(
                f"{what}: {key!r} cannot be the name of a hyperparameter; use letters, digits and _"
            )
        if key == "float_bits" and number is not FLOAT_BITS:
            raise PartError(f"{what}: float_bits is the precision, which every model has; call it otherwise")
        if key in reserved or key.startswith("final_"):
            of = reserved.get(key, "a column of a table")
            raise PartError(f"{what}: {key} is the name of {of}; call it otherwise")
        if number.default is None or number.problem(number.default):
            raise PartError(
                f"{what}: the default of {key}, {number.default!r}, {number.problem(number.default)}"
            )
    if isinstance(part, Task):
        for method in _missing(type(part)):
            hint = "; say correct = None where nothing is right or wrong" * (method == "correct")
            raise PartError(f"{what}: has no method {method}{hint}")
        for method, arguments in METHODS.items():
            if callable(getattr(part, method)):
                _takes(f"{what}: {method} must be a method of", getattr(part, method), arguments)


def _takes(must: str, function: Any, arguments: tuple[str, ...]) -> None:
    """Raise PartError where a function cannot be called with these."""
    try:
        inspect.signature(function).bind(*arguments)
    except (TypeError, ValueError):
        raise PartError(f"{must} ({', '.join(arguments)})") from None


def is_name(name: Any) -> bool:
    """Whether something can be the name of a part or a hyperparameter: for shell, Hydra, YAML and Python."""
    return (
        isinstance(name, str)
        and re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,59}", name) is not None
        and not keyword.iskeyword(name)
        and name.lower() not in NO_TEXT
    )


METHODS = {"data": ("h", "seed"), "loss": ("h", "output", "y"), "correct": ("h", "output", "y")}
ARGUMENTS: Mapping[type[Declared], tuple[str, ...]] = {
    Model: ("h",),
    Optimizer: ("h",),
    Metric: ("h", "at"),
    Definition: ("runs", "curves", "h"),
}
# What Hydra or YAML take for something else than text, and what means something to Hydra.
NO_TEXT = frozenset(["null", "true", "false", "yes", "no", "on", "off", "nan", "inf", "defaults", "hydra"])
OF_VALUES = frozenset(name for name in dir(Values) if not name.startswith("_"))  # they would hide it
