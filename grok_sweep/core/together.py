"""What values of a sweep, each of them allowed, do not go together."""

import itertools
import math
from collections import ChainMap, Counter
from collections.abc import Iterator
from typing import Any

from grok_sweep.core import definitions, registry
from grok_sweep.core.number import Values
from grok_sweep.core.parts import PartError, Task
from grok_sweep.core.reserved import OF_CELLS
from grok_sweep.core.source import blaming
from grok_sweep.core.spans import is_log
from grok_sweep.core.sweep import Sweep
from grok_sweep.errors import ConfigError

MOST_CHECKED = 10_000  # combinations of a task's hyperparameters
Misfit = tuple[str, str, Any]  # key, what it must be, value


def misfits(sweep: Sweep) -> list[Misfit]:
    """All that does not fit. Raises ConfigError where a user's task fails at being asked."""
    return [*_settings(sweep), *_phases(sweep), *_grid(sweep)] or _task(sweep)


def _settings(sweep: Sweep) -> Iterator[Misfit]:
    if sweep.steps % sweep.log_every:
        yield "train.steps", f"must be a multiple of train.log_every={sweep.log_every}", sweep.steps
    elif (every := sweep.snapshot_every) and (every % sweep.log_every or sweep.steps % every):
        message = f"must be a multiple of train.log_every={sweep.log_every} and divide train.steps"
        yield "train.snapshot_every", f"{message}={sweep.steps}", every
    if sweep.stop_when_decided and sweep.snapshot_every:
        message = "runs whose weights are recorded (train.snapshot_every) go to their end; leave one out"
        yield "stop_when_decided", message, True
    if sweep.redo and not sweep.only:
        yield "redo", "goes with only=QUERY, which says which of the finished runs are trained again", True
    if sweep.repeats > 1 and sweep.batch_size:
        message = "rows in another order are other mini-batches; use 1, or no train.batch_size"
        yield "repeats", message, sweep.repeats
    yield from _refine(sweep)
    # What would have no effect is refused rather than ignored.
    cluster = sweep.cluster
    if cluster.executor == "inline" and (cluster.workers, cluster.address) != (None, None):
        yield "cluster.executor", "is one worker, this process; workers and address must be null", "inline"
    if cluster.device != "gpu" and cluster.workers_per_gpu != 1:
        yield "cluster.workers_per_gpu", f"device {cluster.device} is no gpu; use 1", cluster.workers_per_gpu


def _refine(sweep: Sweep) -> Iterator[Misfit]:
    refine = sweep.refine
    if refine is None:
        return
    if not refine.budget:
        yield "refine.budget", "says how many runs there may be beyond the grid; give a number", None
    if not isinstance(refine.on, str) or refine.on not in sweep.axes:
        yield "refine.on", f"must be an axis of grid; there are {', '.join(sweep.axes) or 'none'}", refine.on
        return
    values = sweep.axes[refine.on]
    if any(refine.on in keys for keys in sweep.together):
        yield "refine.on", "changes together with another axis; it must change alone", refine.on
    elif len(values) < 3:
        message = f"must have at least three values in grid, has {len(values)}: they say how it is spaced"
        yield "refine.on", message, refine.on
    elif is_log(sorted(values)) and refine.width is not None and refine.width <= 1:
        yield "refine.width", "is a factor here, as the axis is logarithmic: greater than 1", refine.width
    if len(sweep.seeds) < 4:
        yield "seeds", "refine needs at least four: of fewer no boundary has an interval", len(sweep.seeds)
    if sweep.only:
        yield "refine.on", "goes over all cells; leave out only", refine.on


def _phases(sweep: Sweep) -> Iterator[Misfit]:
    """In tables of cells a phase has columns of its own, beside those of the hyperparameters."""
    for phase in registry.find("definition", sweep.definition, sweep.source).phases:
        for column in sorted({f"{what}_{phase}" for what in OF_CELLS} & sweep.numbers.keys()):
            yield "phases.definition", f"has a phase whose column would be {column}", sweep.definition


def _grid(sweep: Sweep) -> Iterator[Misfit]:
    seeds = {"seeds": sweep.seeds} if isinstance(sweep.seeds, tuple) else {}
    loops = [{f"grid.{key}": sweep.axes[key] for key in loop} for loop in sweep.loops]
    for loop in filter(None, [*loops, seeds]):
        where = " and ".join(loop)
        sizes = [len(values) for values in loop.values()]
        if len({*sizes}) > 1:
            yield where, "axes that change together must have as many values each", sizes
            return
        counts = Counter(zip(*loop.values(), strict=True))
        if twice := [point if len(loop) > 1 else point[0] for point, count in counts.items() if count > 1]:
            yield where, "given more than once; values must be different (in float32)", twice


def _task(sweep: Sweep) -> list[Misfit]:
    """What the task says of its model, and of its hyperparameters taken together."""
    task = registry.find("task", sweep.task, sweep.source)
    if task.models and sweep.model not in task.models and sweep.model in registry.names("model"):
        # A model of the user's own says itself what it is for.
        fit = f"does not fit task {sweep.task}; use {' or '.join(task.models)}"
        return [("model.name", fit, sweep.model)]
    if task.correct is None and sweep.definition in definitions.BY_ACCURACY:
        message = f"needs accuracies, which task {sweep.task} has not; choose pair, or one of your own"
        return [("phases.definition", message, sweep.definition)]
    axes = [{key: sweep.axes[key] for key in loop if key in task.numbers} for loop in sweep.loops]
    points = [
        [dict(zip(loop, point, strict=True)) for point in zip(*loop.values(), strict=True)]
        for loop in axes
        if loop
    ]
    if math.prod(map(len, points)) > MOST_CHECKED:
        # Most conditions are monotone in each hyperparameter: then extremes suffice.
        points = [[end(of_loop, key=lambda p: [*p.values()]) for end in (min, max)] for of_loop in points]
    said: dict[str, Misfit] = {}
    for changed in itertools.product(*points):
        run = Values({**sweep.values, **ChainMap(*changed), "steps": sweep.steps})
        for key, message in _of_run(sweep, task, run):
            block = "grid." if key in sweep.axes else "task." if key in task.numbers else ""
            said.setdefault(key, (f"{block}{key}", message, run.get(key, sweep.batch_size)))
    return list(said.values())


def _of_run(sweep: Sweep, task: Task, run: Values) -> list[tuple[str, str]]:
    """(key, message): what is wrong with a run. Raises ConfigError where a user's task fails."""
    try:
        with blaming(sweep.source):
            found = [(key, message) for key, message in task.check(run)]
            rows = task.rows(run)[0] if sweep.batch_size and not found else math.inf
    except PartError as error:
        raise ConfigError([str(error)]) from None
    except (TypeError, ValueError):
        raise ConfigError([f"task {task.name}: check must give pairs (key, message), or nothing"]) from None
    if sweep.batch_size and rows < sweep.batch_size:
        found.append(("train.batch_size", f"must be at most the training rows of a run, here {rows:,}"))
    return found
