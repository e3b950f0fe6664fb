"""A composed config, as plain dicts and lists, into one frozen `Sweep`: here and nowhere further.

All problems are collected and raised together as one ConfigError.
"""

import itertools
import json
import math
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

from grok_sweep.core import definitions, parts, registry, uris
from grok_sweep.core.choices import BLOCKS, GROUPS, choices, configs, defaults, load_yaml
from grok_sweep.core.number import Number, Values
from grok_sweep.core.parts import PartError
from grok_sweep.core.reserved import OF_CELLS
from grok_sweep.core.source import Source, blaming
from grok_sweep.core.sweep import Cluster, Sweep, loops_of
from grok_sweep.errors import ConfigError, nearest_of, one_of, shorten, show

MAX_RUNS = 20_000_000
MOST_CHECKED = 10_000  # combinations of a user's task
MISSING = "???"  # what OmegaConf writes for a value that has to be given

SEED = Number(int, "of data and initial weights", 0, 2**31 - 1)
SEEDS = Number(int, "how many seeds, from 0 on", 1, MAX_RUNS)
SETTINGS = {
    "train.steps": Number(int, "steps of each run", 1, 1_000_000_000),
    "train.log_every": Number(int, "steps between two rows of a curve", 1, 1_000_000_000),
    "train.batch_size": Number(
        int,
        "rows of a mini-batch, permuted anew each epoch, the last incomplete one dropped; null: all rows",
        1,
        10_000_000,
    ),
    "train.snapshot_every": Number(
        int, "steps between two records of all weights; null: none", 1, 1_000_000_000
    ),
    **{f"phases.{key}": number for key, number in definitions.pair.numbers.items()},
    "cluster.shard_seconds": Number(float, "about what a worker does in one call", 0, above=True),
    "cluster.workers": Number(int, "worker processes; null: one per core or accelerator", 1, 1_000_000),
    "cluster.workers_per_gpu": Number(int, "workers that share one GPU and its memory", 1, 64),
    "cluster.max_retries": Number(int, "how often a shard whose worker died is tried again", 0, 1000),
    "cluster.deadline_factor": Number(float, "times the estimate, after which a worker hangs", 1),
    "cluster.deadline_seconds": Number(float, "before which no worker counts as hanging", 0, above=True),
}


def parse(config: Mapping[str, Any], source: Source | None = None) -> Sweep:
    """The Sweep that a composed config describes. Raises ConfigError with every problem at once.

    `source`: the file of parts that the sweep names.
    """
    return _Parser(config, source).sweep()


class _Parser:
    """Reads one config, collecting problems as it goes. What cannot be used is read as None."""

    def __init__(self, config: Mapping[str, Any], source: Source | None) -> None:
        self.source = source
        self.problems: list[str] = []
        self.blocks: dict[str, Mapping[str, Any]] = {"": config}
        self.known: dict[str, list[str]] = {}  # the keys of each block

    def sweep(self) -> Sweep:
        own = {group: self._chosen(group).numbers for group in BLOCKS}
        self.numbers = {key: number for numbers in own.values() for key, number in numbers.items()}
        self.definition = self._defined()
        self._read(own)
        names = {group: self._one_of(f"{group}.name", choices(group, self.source)) for group in BLOCKS}
        if all(names.values()):
            try:
                registry.numbers(**names, source=self.source)
            except PartError as error:
                self.problems.append(str(error))
        values = {
            key: self._number(f"{group}.{key}", number, MISSING if number.since is None else number.since)
            for group in BLOCKS
            for key, number in own[group].items()
        }
        together = self._zip()
        axes = self._axes(set(itertools.chain(*together)))
        loops = loops_of(axes, together)
        self._check_zip(axes, loops)
        seeds = self._seeds()
        steps, log_every, snapshot_every = self._steps()
        self.steps = steps
        batched = self._at("train.batch_size", None) is not None
        self.batch_size = self._setting("train.batch_size") if batched else None
        cells = math.prod(len(axes[loop[0]]) for loop in loops)
        if cells * len(seeds) > MAX_RUNS:
            runs = f"{cells:,} combinations x {len(seeds):,} seeds are {cells * len(seeds):,}"
            self.problems.append(f"grid: {runs}; at most {MAX_RUNS:,}, so split the sweep")
        self._check_task(names["task"], names["model"], list(own["task"]), values, axes, together)
        rest = {
            "name": self._name(),
            "out": self._out(),
            **{key: self._one_of(key, [False, True]) for key in ("dry_run", "retry_failed", "fail_fast")},
            "accept_code": self._one_of("accept_code", [False, True], False),
            "report": self._one_of("report", [None, "live"]),
            "cluster": self._cluster(),
            **self._phases(),
        }
        self._check_source()
        if self.problems:
            raise ConfigError(self.problems)
        return Sweep(
            **names,
            values=MappingProxyType(values),
            axes=MappingProxyType(axes),
            together=tuple(map(tuple, together)),
            seeds=seeds,
            steps=steps,
            log_every=log_every,
            snapshot_every=snapshot_every,
            batch_size=self.batch_size,
            numbers=MappingProxyType(self.numbers),
            source=self.source,
            **rest,
        )

    def _check_source(self) -> None:
        """The file of parts is what the sweep's own file names, whatever the arguments say."""
        given, named = self._at("parts", None), self.source.name if self.source else None
        if given != named:
            self._problem("parts", f"is for the sweep's own file to name; it names {named or 'none'}", given)

    def _phases(self) -> dict[str, Any]:
        """The definition of phases, and its thresholds. Those of pair are in every config, and looked at."""
        values = {key: self._setting(f"phases.{key}") for key in definitions.pair.numbers}
        own = self.definition.numbers
        values |= {
            key: self._number(f"phases.{key}", number, number.default)
            for key, number in own.items()
            if key not in values
        }
        # In tables of cells a phase has columns of its own, beside those of the hyperparameters.
        columns = {f"{what}_{name}" for what in OF_CELLS for name in self.definition.phases}
        if taken := sorted(columns & set(self.numbers)):
            self._problem(
                "phases.definition", f"has a phase whose column would be {taken[0]}", self.definition.name
            )
        return {
            "definition": self._one_of("phases.definition", choices("definition", self.source)),
            "thresholds": MappingProxyType({key: values[key] for key in own}),
        }

    def _problem(self, where: str, message: str, *values: Any) -> None:
        """Add a problem of the `values` at a dotted key; of a block that is none it has been said already."""
        if where.rpartition(".")[0] not in self.blocks:
            return
        if values == (MISSING,):
            self.problems.append(f"{shorten(where)}: is missing; {message}")
        else:
            given = ", ".join([*map(show, values[:5]), *(["..."] if len(values) > 5 else [])])
            self.problems.append(f"{shorten(where)}={given}: {message}")

    def _chosen(self, group: str) -> Any:
        """The part that a group chooses; that of its default where the config names none."""
        block = self.blocks[""].get(group)
        name = block.get("name") if isinstance(block, Mapping) else None
        if name not in choices(group, self.source):
            name = next(default[group] for default in defaults() if group in default)
        return registry.find(group, name, self.source)

    def _defined(self) -> parts.Definition:
        """The definition of phases that the config chooses; the default where it names none."""
        block = self.blocks[""].get("phases")
        name = block.get("definition") if isinstance(block, Mapping) else None
        every: dict[str, parts.Definition] = registry.parts_of(self.source)["definition"]
        known = name in choices("definition", self.source)
        found = every[str(name) if known else "pair"]
        self.elsewhere = {key: one.name for one in every.values() for key in one.numbers if one is not found}
        # Where it is not known which is meant, a threshold of any is no problem of its own.
        self.known["phases"] = [*found.numbers, *([] if known else self.elsewhere)]
        return found

    def _read(self, own: Mapping[str, Mapping[str, Number]]) -> None:
        """The blocks of the config; unknown keys are problems."""
        root = load_yaml(configs()[0] / "config.yaml")
        self.known = {
            "": [*(key for key in root if key != "defaults"), *GROUPS[:-1]],
            **{group: ["name", *numbers] for group, numbers in own.items()},
            "grid": list(self.numbers),
            "train": list(root["train"]),
            "phases": [*dict.fromkeys([*root["phases"], *self.known["phases"]])],
            "cluster": [field.name for field in fields(Cluster)],
        }
        for name, known in self.known.items():
            block = self._at(name) if name else self.blocks[""]
            if not isinstance(block, Mapping):
                self._problem(name, f"must be a block of {', '.join(known)}", block)
                continue
            self.blocks[name] = block
            for key in block:
                if key not in known:
                    word = key if isinstance(key, str) else show(key)
                    where = f"{name}.{word}" if name else word
                    meant = self._meant(name, word)
                    self.problems.append(f"{shorten(where)}={show(block[key])}: no such key{meant}")

    def _meant(self, block: str, word: str) -> str:
        """A hint for an unknown key: the nearest one of its block, or one of that name in another."""
        here = self.known[block]
        near = nearest_of(word, [*here, *itertools.chain(*self.known.values())])
        if block == "phases" and word in self.elsewhere:
            other = self.elsewhere[word]
            return f" of definition {self.definition.name}; leave it out, or choose phases.definition={other}"
        if not near:
            return f"; allowed are {', '.join(here)}"
        blocks = [block] if near in here else [name for name, known in self.known.items() if near in known]
        return f"; did you mean {' or '.join(f'{name}.{near}'.lstrip('.') for name in blocks)}?"

    def _at(self, where: str, default: Any = MISSING) -> Any:
        """The value at a dotted key; `default` where there is none, MISSING where its block is none."""
        block, _, key = where.rpartition(".")
        return self.blocks[block].get(key, default) if block in self.blocks else MISSING

    def _setting(self, where: str, default: Any = MISSING) -> Any:
        return self._number(where, SETTINGS[where], default)

    def _number(self, where: str, number: Number, default: Any = MISSING) -> Any:
        value = self._at(where, default)
        problem = number.problem(value)
        if problem:
            self._problem(where, problem, value)
            return None
        return number.canonical(value)

    def _steps(self) -> tuple[Any, Any, Any]:
        """steps, log_every and snapshot_every, each a multiple of the one before it but for the first."""
        steps, log_every = self._setting("train.steps"), self._setting("train.log_every")
        if steps and log_every and steps % log_every:
            self._problem("train.steps", f"must be a multiple of train.log_every={log_every}", steps)
        if self._at("train.snapshot_every", None) is None:
            return steps, log_every, None
        snapshot_every = self._setting("train.snapshot_every")
        if snapshot_every and log_every and snapshot_every % log_every:
            message = f"must be a multiple of train.log_every={log_every}, or null"
            self._problem("train.snapshot_every", message, snapshot_every)
        elif snapshot_every and steps and steps % snapshot_every:
            message = f"must divide train.steps={steps}, so that the last step is recorded too"
            self._problem("train.snapshot_every", message, snapshot_every)
        return steps, log_every, snapshot_every

    def _numbers(self, where: str, values: list[Any], number: Number, repeats: bool) -> tuple[float, ...]:
        """The good ones of `values`, which must be different unless they may repeat."""
        good: list[float] = []
        bad: dict[str, list[Any]] = {}
        for value in values:
            problem = number.problem(value)
            if problem:
                bad.setdefault(problem, []).append(value)
            else:
                good.append(number.kind(value) + 0)
        for problem, those in bad.items():
            self._problem(where, problem, *those)
        counts = Counter(map(number.canonical, good))
        if len(counts) < len(good) and not repeats:
            repeated = dict.fromkeys(value for value in good if counts[number.canonical(value)] > 1)
            note = "" if len(counts) == len({*good}) else " in float32, which runs are computed in"
            self._problem(where, f"is given more than once{note}; values must be different", *repeated)
        return tuple(map(number.canonical, good))

    def _zip(self) -> list[list[str]]:
        """Which keys of grid change together."""
        given = self._at("zip", [])
        grid = self.blocks.get("grid", {})
        if not isinstance(given, list) or not all(isinstance(keys, list) and len(keys) > 1 for keys in given):
            self._problem("zip", "must be a list of lists of at least two keys of grid", given)
            return []
        keys = list(itertools.chain(*given))
        for key in keys:
            if not isinstance(key, str) or key not in grid:
                self._problem("zip", f"names no key of grid; there are {', '.join(map(str, grid))}", key)
                return []
        if len({*keys}) < len(keys):
            self._problem("zip", "names a key twice", given)
            return []
        return given

    def _check_zip(self, axes: Mapping[str, tuple[float, ...]], loops: Sequence[tuple[str, ...]]) -> None:
        for loop in loops:
            if len({len(axes[key]) for key in loop}) > 1:
                sizes = ", ".join(f"{key} {len(axes[key])}" for key in loop)
                self._problem("zip", f"axes must be of as many values each; there are {sizes}", [*loop])
            elif len(loop) > 1:
                points = Counter(zip(*(axes[key] for key in loop), strict=True))
                if twice := [", ".join(map(str, point)) for point, count in points.items() if count > 1]:
                    message = f"has {shorten('; '.join(twice))} more than once; points must be different"
                    self._problem("zip", message, [*loop])

    def _axes(self, repeating: Collection[str]) -> dict[str, tuple[float, ...]]:
        """The axes; values of those that are `repeating` need not be different."""
        axes = {}
        for key, given in self.blocks.get("grid", {}).items():
            if key not in self.known["grid"]:
                continue  # a problem already
            where, number = f"grid.{key}", self.numbers[key]
            if isinstance(given, list) and given:
                axes[key] = self._numbers(where, given, number, key in repeating)
            else:
                self._problem(
                    where, f"must be a list [...] of at least one value, each {number.allowed}", given
                )
        return axes

    def _seeds(self) -> Sequence[Any]:
        given = self._at("seeds")
        if isinstance(given, list) and given:
            return self._numbers("seeds", given, SEED, repeats=False)
        if SEEDS.problem(given):
            message = f"must be a count, {SEEDS.allowed}, or a list of seeds, each {SEED.allowed}"
            self._problem("seeds", message, given)
            return ()
        return range(given)

    def _one_of(self, where: str, options: list[Any], default: Any = MISSING) -> Any:
        value = self._at(where, default)
        if any(type(value) is type(option) and value == option for option in options):
            return value
        words = [option if isinstance(option, str) else json.dumps(option) for option in options]
        self._problem(where, one_of(value if isinstance(value, str) else "", words), value)
        return None

    def _name(self) -> Any:
        name = self._at("name")
        # It becomes a folder's name: nothing in it may lead out of the results folder.
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}", name):
            self._problem(
                "name", "must be text: 1 to 100 of A-Z a-z 0-9 . _ -, and not begin with . or -", name
            )
        return name

    def _out(self) -> Any:
        out, why = self._at("out"), ""
        if isinstance(out, str) and uris.is_uri(out):
            scheme = out.partition(":")[0]
            if uris.has_secret(out):
                out = f"{scheme}://..."  # messages and results folders are shown to others
                why = " without key or secret; give those in the environment, as AWS_ACCESS_KEY_ID and so on"
            elif scheme not in uris.SCHEMES:
                why = f", or a URI of {', '.join(uris.SCHEMES)}"
            elif trouble := uris.trouble(out):
                out, why = uris.shown(out), f", or a URI; {trouble}"
            else:
                return out
        elif isinstance(out, str) and out.strip() and out != MISSING:
            path = Path(out)
            try:
                path = path.expanduser()
                path.lstat()
            except (FileNotFoundError, NotADirectoryError):
                pass  # whether it can be made is for the driver to see
            except (OSError, ValueError, RuntimeError) as error:  # too long; a null byte; ~ of nobody
                why = f"; {error.strerror if isinstance(error, OSError) else error}"
            if not why:
                return str(path)
        self._problem("out", f"must be text, the path of a folder{why}", out)
        return None

    def _cluster(self) -> Cluster:
        address = self._at("cluster.address", None)
        good = isinstance(address, str) and re.fullmatch(r"auto|(ray://)?\S+:\d{1,5}", address)
        if address is not None and not good:
            self._problem("cluster.address", "must be HOST:PORT, ray://HOST:PORT or auto", address)
        workers = self._at("cluster.workers", None)
        executor = self._one_of("cluster.executor", ["ray", "inline"])
        device = self._one_of("cluster.device", ["cpu", "gpu", "tpu"])
        share = self._setting("cluster.workers_per_gpu", Cluster.workers_per_gpu)
        # What would have no effect is refused rather than ignored.
        if executor == "inline" and workers is not None:
            self._problem(
                "cluster.workers", "executor inline has one worker, this process; use null", workers
            )
        elif workers is not None:
            workers = self._setting("cluster.workers")
        if executor == "inline" and good:
            self._problem("cluster.address", "executor inline joins no cluster; use null", address)
        if device not in ("gpu", None) and share not in (1, None):
            self._problem("cluster.workers_per_gpu", f"device {device} is no gpu; use 1", share)
        return Cluster(
            executor=executor,
            device=device,
            shard_seconds=self._setting("cluster.shard_seconds"),
            address=address,
            workers=workers,
            workers_per_gpu=share,
            **{
                key: self._setting(f"cluster.{key}", getattr(Cluster, key))
                for key in ("max_retries", "deadline_factor", "deadline_seconds")
            },
        )

    def _check_task(
        self,
        name: str | None,
        model: str | None,
        keys: list[str],
        values: Mapping[str, Any],
        axes: Mapping[str, tuple[float, ...]],
        together: Sequence[Sequence[str]],
    ) -> None:
        """What the task says of its model, and of its hyperparameters taken together."""
        if name is None:
            return
        task = registry.find("task", name, self.source)
        if self.steps is None and name not in choices("task"):  # which has been said; it may depend on them
            return
        # A model of the user's own says itself what it is for.
        if model and task.models and model not in task.models and model in choices("model"):
            self._problem("model.name", f"does not fit task {name}; use {' or '.join(task.models)}", model)
        if any(values.get(key, name) is None for key in keys):
            return
        if task.correct is None and self.definition.name in definitions.BY_ACCURACY:
            message = f"needs accuracies, which task {name} has not; choose pair, or one of your own"
            self._problem("phases.definition", message, self.definition.name)
        # Taken together our tasks' conditions are monotone in each hyperparameter, so extremes suffice; each
        # value of one is looked at beside the first of the others. Of axes that change together, each point.
        points = [
            [dict(zip(loop, point, strict=True)) for point in zip(*(axes[k] for k in loop), strict=False)]
            for loop in loops_of({key: axes[key] for key in keys if axes.get(key)}, together)
        ]
        ends = [
            [min(of_loop, key=lambda p: [*p.values()]), max(of_loop, key=lambda p: [*p.values()])]
            if len(of_loop[0]) == 1
            else of_loop
            for of_loop in points
        ]
        least = dict(itertools.chain(*(of_loop[0].items() for of_loop in ends)))
        # Of a user's task nothing is known: every combination, where there are not too many.
        theirs = name not in choices("task") and math.prod(map(len, points)) <= MOST_CHECKED
        taken = itertools.product(*(points if theirs else ends))
        corners = (dict(itertools.chain(*(p.items() for p in c))) for c in taken)
        said = set()
        for changed in itertools.chain(corners, ({**least, **p} for of_loop in points for p in of_loop)):
            run = Values({**values, **changed, "steps": self.steps or 1})
            for key, message in [*self._checked(task, run), *self._batched(task, run)]:
                if key not in said:
                    said.add(key)
                    block = next((group for group in BLOCKS if key in self.known[group]), "train")
                    block = "grid" if key in axes else block
                    self._problem(f"{block}.{key}", message, run.get(key, self.batch_size))

    def _batched(self, task: Any, run: Values) -> list[tuple[str, str]]:
        """What is wrong with the size of a batch of this run, if it has one."""
        if not self.batch_size or self.problems:
            return []
        try:
            with blaming(self.source):
                rows, _ = task.rows(run)
        except PartError as error:
            self.problems.append(str(error))
            return []
        few = f"must be at most the training rows of a run, here {rows:,}"
        return [("batch_size", few)] if rows < self.batch_size else []

    def _checked(self, task: Any, run: Values) -> list[tuple[str, str]]:
        """What the task has to say of a run; where that fails, why, once."""
        try:
            with blaming(self.source):
                found = [(key, message) for key, message in task.check(run)]
                if strange := [key for key, _ in found if key not in run]:
                    raise PartError(
                        f"task {task.name}: check speaks of {strange[0]}, no hyperparameter of the run"
                    )
                return found
        except PartError as error:
            problem = str(error)
        except (TypeError, ValueError):
            problem = f"task {task.name}: check must give pairs (key, message), or nothing"
        if problem not in self.problems:
            self.problems.append(problem)
        return []
