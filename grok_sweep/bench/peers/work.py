"""What is trained: slices of parity_1125 and one of short runs; the rows of a run are made by grok_sweep."""

import itertools
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from grok_sweep.core.tasks.parity import Parity

RATE, B1, B2, EPS = 0.003, 0.99, 0.98, 1e-8  # of AdamW there; that the curves agree checks them
METRICS = ("train_loss", "eval_loss", "train_accuracy", "eval_accuracy")
# For who starts a process for each core: XLA would give each of them threads for all cores.
ONE_THREAD = {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false"}


class PeersError(Exception):
    """A contestant that fails, or that trains something else than we do."""


class Run(NamedTuple):
    """What the runs of a slice differ in."""

    hidden_size: int
    train_size: int
    weight_decay: float
    seed: int


@dataclass(frozen=True)
class Slice:
    """A grid of runs, all else as in parity_1125. The values of each axis go up."""

    hidden_size: tuple[int, ...]
    train_size: tuple[int, ...]
    weight_decay: tuple[float, ...]
    seed: tuple[int, ...]
    steps: int
    log_every: int = 100
    test_size: int = 5000

    @property
    def axes(self) -> dict[str, list[Any]]:
        """The values of each field of `Run`."""
        return {name: [*getattr(self, name)] for name in Run._fields}

    @property
    def how(self) -> tuple[int, int, int]:
        """What all runs have in common."""
        return self.steps, self.log_every, self.test_size

    def runs(self) -> list[Run]:
        """All of them, the seed fastest."""
        return [Run(*values) for values in itertools.product(*self.axes.values())]

    def shapes(self) -> list[list[Run]]:
        """Those that can be lanes of one vmap: of as many neurons and rows."""
        return [[*lanes] for _, lanes in itertools.groupby(self.runs(), key=lambda run: run[:2])]


SLICES = {
    "many": Slice((16, 32), (750, 1250, 1750), (0.03, 0.1, 0.3, 1.0), (*range(9),), steps=1000),
    "wide": Slice((16, 64, 258), (750, 1750), (0.1, 0.3), (0, 1), steps=4000),
    "long": Slice((64,), (750, 1750), (0.1, 0.3), (0, 1), steps=20_000),
    "article": Slice(
        (16, 32, 64, 128, 258), (750, 1250, 1750), (0.01, 0.03, 0.1, 0.3, 1.0), (0, 1, 2), steps=20_000
    ),
    "short": Slice((16,), (1000,), tuple(i / 100 for i in range(1, 11)), (*range(100),), steps=100),
}


def rows(run: Run, test_size: int) -> tuple[np.ndarray, ...]:
    """x and y of the training rows, x and y of the test rows."""
    h = {"n_bits": 30, "n_parity_bits": 3, "train_size": run.train_size, "test_size": test_size}
    data = Parity().data(h, run.seed)
    return data.x_train_ND, data.y_train_N, data.x_test_ND, data.y_test_N


def stacked(lanes: list[Run], test_size: int) -> list[np.ndarray]:
    """Seeds, decays and `rows` of runs of one shape, a lane each."""
    arrays = zip(*(rows(run, test_size) for run in lanes), strict=True)
    seeds, decays = np.array([run.seed for run in lanes]), np.array([run.weight_decay for run in lanes])
    return [seeds.astype(np.int32), decays.astype(np.float32), *map(np.stack, arrays)]


def asked() -> tuple[Slice, Path]:
    """What a contestant is asked for on its command line: a slice, and the file for its curves."""
    return Slice(**json.loads(sys.argv[1])), Path(sys.argv[2])


def asking(wanted: Slice, file: Path) -> list[str]:
    """The command line that says so."""
    return [json.dumps(asdict(wanted)), str(file)]
