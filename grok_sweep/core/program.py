"""What is compiled once: the shapes of a program, and what follows from them for its cost. Pure."""

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from grok_sweep.core import models, parts, registry
from grok_sweep.core.number import Number, Values
from grok_sweep.core.parts import PartError
from grok_sweep.core.source import Source


@dataclass(frozen=True)
class Program:
    """One compiled program. `rows`: training rows, padded; `lanes`: runs per call.

    `blocks`: parts in which a lane's rows are gone through, their gradients added up. `snapshot_every`: steps
    between two snapshots of the weights; 0: none. `batch_size`: rows of a mini-batch; 0: all rows. `row`: the
    shape and type of a row of x; `source`: the user's file that some of the parts are from.
    """

    task: str
    model: str
    optimizer: str
    static: tuple[tuple[str, float], ...]  # every static hyperparameter
    rows: int
    test_rows: int
    steps: int
    log_every: int
    lanes: int
    blocks: int = 1
    snapshot_every: int = 0
    batch_size: int = 0
    engine: str = "xla"  # what computes it, see `engines`
    device: str = "cpu"
    given_row: models.Row | None = None  # where it depends on more than static hyperparameters
    source: Source | None = field(default=None, repr=False)

    def __reduce__(self) -> tuple[Any, ...]:
        # A worker makes the parts itself, from the source: what is cached of them stays here.
        return Program, tuple(getattr(self, one.name) for one in fields(self))

    @functools.cached_property
    def values(self) -> dict[str, Any]:
        """The static hyperparameters."""
        return dict(self.static)

    def part(self, kind: str) -> Any:
        """Its task, model or optimizer."""
        return registry.find(kind, getattr(self, kind), self.source)

    @functools.cached_property
    def numbers(self) -> dict[str, Number]:
        """What each hyperparameter is."""
        return registry.numbers(self.task, self.model, self.optimizer, self.source)

    @property
    def metrics(self) -> dict[str, parts.Metric]:
        """The user's own."""
        return registry.metrics(self.source)

    @functools.cached_property
    def built(self) -> models.Network:
        """The network, its traced hyperparameters at their defaults: for shapes and costs."""
        defaults = {key: number.default for key, number in self.part("model").numbers.items()}
        return self.network(self.h(defaults | self.values))

    def h(self, values: Mapping[str, Any]) -> Values:
        """What the parts get: the static hyperparameters, these others, and how many steps there are."""
        return Values({**self.values, **values, "steps": self.steps})

    def network(self, h: Values) -> models.Network:
        """The network at these hyperparameters."""
        return models.build(self.part("model"), h, self.part("task").rows_axis)

    def transform(self, h: Any) -> Any:
        """The optimizer, an optax transform, at these hyperparameters. Raises PartError where it is none."""
        made = self.part("optimizer").make(h)
        if not (hasattr(made, "init") and hasattr(made, "update")):
            given = type(made).__name__
            raise PartError(f"optimizer {self.optimizer}: gives {given}; give an optax transform")
        return made

    @functools.cached_property
    def row(self) -> models.Row:
        """The shape and the type of a row of x."""
        return self.given_row or self.part("task").row(self.h({}))

    @property
    def dtype(self) -> str:
        """Of the numbers that it computes with."""
        bits = 8 * self.number_bytes
        return "bfloat16" if bits == 16 else f"float{bits}"

    @property
    def sum_dtype(self) -> str:
        """Of sums over rows: in 16 bits they would stop at 256."""
        return "float64" if self.dtype == "float64" else "float32"

    @property
    def number_bytes(self) -> int:
        """Of one of them."""
        return int(self.values.get("float_bits", 32)) // 8

    @functools.cached_property
    def operations_per_row(self) -> int:
        """Of one training row in one step."""
        return self.built.operations(self.row)

    @functools.cached_property
    def sizes(self) -> tuple[int, int]:
        """How many numbers are trained, and how many come out for a row."""
        return self.built.sizes(self.row)

    @property
    def step_rows(self) -> int:
        """Training rows of one step of one run."""
        return self.batch_size or self.rows

    def step_operations(self, rows: int) -> int:
        """Of one step of one run."""
        return self.operations_per_row * rows + self.built.step_operations(self.row)

    @property
    def bytes(self) -> int:
        """Memory of one call: hidden layers of training or test rows, the rows themselves, snapshots."""
        rows, number = max(self.rows, self.test_rows), self.number_bytes
        hidden = self.built.bytes_per_row(self.row) * number // 4
        data = number * math.prod(self.row[0]) * (self.rows + self.test_rows)
        return int(self.lanes * (rows * hidden + data + self.snapshot_bytes * number // 4))

    @functools.cached_property
    def snapshot_bytes(self) -> int:
        """Of the recorded weights of one run, float32."""
        if not self.snapshot_every:
            return 0
        shapes = self.built.weight_shapes(self.row).values()
        return 4 * sum(map(math.prod, shapes)) * (self.steps // self.snapshot_every + 1)
