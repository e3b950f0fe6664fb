"""A composed config, as plain dicts and lists, into one frozen `Sweep`: here and nowhere further.

All problems are collected and raised together as one ConfigError.
"""

import difflib
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from grok_sweep import tasks
from grok_sweep.hyperparameters import HYPERPARAMETERS

GROUPS = ("task", "model", "optimizer", "cluster", "sweeps")
BLOCKS = GROUPS[:3]  # the groups whose keys are hyperparameters of a run
MAX_SEED = 2**31 - 1
MAX_RUNS = 20_000_000


class ConfigError(Exception):
    """What is wrong with a config, one line per problem: key, value, what is allowed."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class Cluster:
    """Where and how shards run. `address` None: Ray is started here; `workers` None: one per core."""

    executor: str
    device: str
    shard_seconds: float
    address: str | None = None
    workers: int | None = None
    max_retries: int = 0


@dataclass(frozen=True)
class Sweep:
    """A whole sweep. `values` has every hyperparameter; where it is an axis too, `axes` decides."""

    name: str
    task: str
    model: str
    optimizer: str
    values: Mapping[str, float]
    axes: Mapping[str, tuple[float, ...]]
    seeds: tuple[int, ...]
    steps: int
    log_every: int
    out: Path
    dry_run: bool
    cluster: Cluster
    min_loss: float
    max_ratio: float
    definition: str

    @property
    def n_cells(self) -> int:
        """Combinations of the axes; each is run once per seed."""
        return math.prod(len(values) for values in self.axes.values())

    @property
    def n_runs(self) -> int:
        """Runs of the whole grid."""
        return self.n_cells * len(self.seeds)


def configs() -> tuple[Path, Path]:
    """The folders of the building blocks (conf) and of the sweeps: of the wheel, else of the checkout."""
    packaged = Path(__file__).parent / "configs"
    root = packaged if packaged.is_dir() else Path(__file__).parent.parent
    return root / "conf", root / "sweeps"


def sweep_folders() -> list[Path]:
    """Where sweeps are looked for: ours, and the user's own in ./sweeps."""
    own = Path.cwd() / "sweeps"
    return list(dict.fromkeys([configs()[1], *([own] if own.is_dir() else [])]))


def choices(group: str) -> list[str]:
    """The names of a group's files."""
    folders = sweep_folders() if group == "sweeps" else [configs()[0] / group]
    return sorted({path.stem for folder in folders for path in folder.glob("*.yaml")})


def parse(config: Mapping[str, Any]) -> Sweep:
    """The Sweep that a composed config describes. Raises ConfigError with every problem at once."""
    return _Parser(config).sweep()


class _Parser:
    """Reads one config, collecting problems as it goes."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = config
        self.problems: list[str] = []

    def sweep(self) -> Sweep:
        self._known("", self.config, ["name", "out", "dry_run", "grid", "seeds", "train", "phases", *GROUPS])
        names, values = self._values()
        axes = self._axes(values)
        seeds = self._seeds()
        train = self._block("train", ["steps", "log_every"])
        steps = self._whole("train.steps", train.get("steps"), 1, 1_000_000_000)
        log_every = self._whole("train.log_every", train.get("log_every"), 1, 1_000_000_000)
        if steps and log_every and steps % log_every:
            self._problem("train.steps", steps, f"must be a multiple of train.log_every={log_every}")
        phases = self._block("phases", ["min_loss", "max_ratio", "definition"])
        cluster = self._cluster()
        name = self._name()
        sweep = Sweep(
            name=name,
            **names,
            values=MappingProxyType(values),
            axes=MappingProxyType(axes),
            seeds=seeds,
            steps=steps,
            log_every=log_every,
            out=self._out(),
            dry_run=self._one_of("dry_run", self.config.get("dry_run"), [False, True]),
            cluster=cluster,
            min_loss=self._positive("phases.min_loss", phases.get("min_loss")),
            max_ratio=self._positive("phases.max_ratio", phases.get("max_ratio")),
            definition=self._one_of("phases.definition", phases.get("definition"), ["pair", "liu"]),
        )
        if not self.problems:
            self._together(sweep)
        if self.problems:
            raise ConfigError(self.problems)
        return sweep

    def _problem(self, key: str, value: Any, message: str) -> None:
        text = repr(value)
        self.problems.append(f"{key}={text if len(text) <= 60 else text[:57] + '...'}: {message}")

    def _known(self, prefix: str, block: Mapping[str, Any], known: list[str]) -> None:
        for key in block:
            if key not in known:
                self._problem(f"{prefix}{key}", block[key], f"no such key{nearest(str(key), known)}")

    def _block(self, key: str, known: list[str]) -> Mapping[str, Any]:
        block = self.config.get(key)
        if not isinstance(block, Mapping):
            self._problem(key, block, f"must be a block with {', '.join(known)}")
            return {}
        self._known(f"{key}.", block, known)
        return block

    def _values(self) -> tuple[dict[str, str], dict[str, float]]:
        """The names of task, model and optimizer, and the value of every hyperparameter they have."""
        names: dict[str, str] = {}
        values: dict[str, float] = {}
        for group in BLOCKS:
            defaults = _defaults(group, self.config.get(group))
            block = self._block(group, list(defaults))
            names[group] = self._one_of(f"{group}.name", block.get("name"), choices(group))
            for key, value in block.items():
                if key != "name" and key in defaults:
                    values[key] = self._hyperparameter(f"{group}.{key}", key, value)
        return names, values

    def _hyperparameter(self, where: str, key: str, value: Any) -> float:
        problem = HYPERPARAMETERS[key].problem(value)
        if problem:
            self._problem(where, value, problem)
            return math.nan
        return HYPERPARAMETERS[key].kind(value)

    def _axes(self, values: Mapping[str, float]) -> dict[str, tuple[float, ...]]:
        grid = self.config.get("grid")
        if not isinstance(grid, Mapping):
            self._problem("grid", grid, "must be a block of hyperparameter: [values]")
            return {}
        axes = {}
        for key, given in grid.items():
            where = f"grid.{key}"
            if key not in values:
                self._problem(where, given, f"no such hyperparameter{nearest(str(key), list(values))}")
            elif not isinstance(given, list):
                self._problem(where, given, f"must be a list; for one value write {where}=[{given}]")
            elif not given:
                self._problem(where, given, f"an axis needs at least one value, each {allowed(key)}")
            else:
                axes[key] = tuple(self._hyperparameter(where, key, value) for value in given)
                self._distinct(where, axes[key])
        return axes

    def _distinct(self, where: str, values: tuple[float, ...]) -> None:
        repeated = [value for value, count in Counter(values).items() if count > 1]
        if repeated:
            self._problem(where, repeated[0], "is given more than once")

    def _seeds(self) -> tuple[int, ...]:
        seeds = self.config.get("seeds")
        allowed = f"must be a count of at least 1, or a list of different whole numbers from 0 to {MAX_SEED}"
        if isinstance(seeds, int) and not isinstance(seeds, bool) and 1 <= seeds <= MAX_RUNS:
            return tuple(range(seeds))
        if isinstance(seeds, list) and seeds:
            good = [s for s in seeds if type(s) is int and 0 <= s <= MAX_SEED]
            if len(set(good)) == len(seeds):
                return tuple(good)
        self._problem("seeds", seeds, allowed)
        return ()

    def _whole(self, key: str, value: Any, low: int, high: int) -> int:
        if type(value) is int and low <= value <= high:
            return value
        self._problem(key, value, f"must be a whole number from {low} to {high}")
        return 0

    def _positive(self, key: str, value: Any) -> float:
        if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < math.inf:
            return float(value)
        self._problem(key, value, "must be a finite number greater than 0")
        return math.nan

    def _one_of(self, key: str, value: Any, options: list[Any]) -> Any:
        if not any(value is option or (value == option and type(value) is str) for option in options):
            words = ", ".join(str(o).lower() if isinstance(o, bool) else str(o) for o in options)
            self._problem(key, value, f"must be one of {words}")
            return options[0]
        return value

    def _name(self) -> str:
        name = self.config.get("name")
        # It becomes a folder's name: nothing in it may lead out of the results folder.
        if isinstance(name, str) and re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}", name):
            return name
        self._problem("name", name, "must be 1 to 100 of the letters A-Z a-z 0-9 . _ - and not begin with . -")
        return ""

    def _out(self) -> Path:
        out = self.config.get("out")
        if isinstance(out, str) and out.strip() and "\0" not in out:
            return Path(out)
        self._problem("out", out, "must be the path of a folder")
        return Path()

    def _cluster(self) -> Cluster:
        fields = list(Cluster.__dataclass_fields__)
        block = self._block("cluster", fields)
        executor = self._one_of("cluster.executor", block.get("executor"), ["ray", "inline"])
        device = self._one_of("cluster.device", block.get("device"), ["cpu", "gpu", "tpu"])
        address, workers = block.get("address"), block.get("workers")
        if address is not None and not (isinstance(address, str) and address):
            self._problem("cluster.address", address, "must be HOST:PORT, ray://HOST:PORT or auto")
        if workers is not None:
            workers = self._whole("cluster.workers", workers, 1, 1_000_000)
        return Cluster(
            executor=executor,
            device=device,
            shard_seconds=self._positive("cluster.shard_seconds", block.get("shard_seconds")),
            address=address,
            workers=workers,
            max_retries=self._whole("cluster.max_retries", block.get("max_retries", 0), 0, 1000),
        )

    def _together(self, sweep: Sweep) -> None:
        """Problems that only the whole shows."""
        if sweep.n_runs > MAX_RUNS:
            self._problem("grid", f"{sweep.n_runs:,} runs", f"at most {MAX_RUNS:,}; split the sweep")
        # Extremes suffice: the tasks' conditions are monotone in each hyperparameter.
        seen = set()
        for pick_low in _corners(sweep):
            for key, message in tasks.load(sweep.task).check(pick_low):
                if key not in seen:
                    seen.add(key)
                    where = f"grid.{key}" if key in sweep.axes else f"task.{key}"
                    self._problem(where, pick_low[key], message)


def _corners(sweep: Sweep) -> Iterator[dict[str, float]]:
    """The hyperparameters of the corners of the grid over the task's own axes."""
    task_keys = [key for key in _defaults("task", {"name": sweep.task}) if key in sweep.axes]
    corners: list[dict[str, float]] = [dict(sweep.values)]
    for key in task_keys:
        ends = {min(sweep.axes[key]), max(sweep.axes[key])}
        corners = [{**corner, key: end} for corner in corners for end in sorted(ends)]
    yield from corners


def _defaults(group: str, block: Any) -> dict[str, Any]:
    """What the file of a group's choice holds; of its first choice where the config names none there is."""
    name = block.get("name") if isinstance(block, Mapping) else None
    options = choices(group)
    file = configs()[0] / group / f"{name if name in options else options[0]}.yaml"
    defaults: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return defaults


def allowed(key: str) -> str:
    """What a hyperparameter may be, in words."""
    return HYPERPARAMETERS[key].allowed


def nearest(word: str, known: list[str]) -> str:
    """A hint for a misspelt key."""
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else f"; allowed are {', '.join(known)}"
