"""What is compiled once: the shapes of a program, and what follows from them for its cost. Pure."""

import functools
import math
from dataclasses import dataclass

from grok_sweep import models, tasks


@dataclass(frozen=True)
class Program:
    """One compiled program. `rows`: training rows, padded; `lanes`: runs per call.

    `blocks`: parts in which a lane's rows are gone through, their gradients added up. `snapshot_every`: steps
    between two snapshots of the weights; 0: none.
    """

    task: str
    model: str
    optimizer: str
    static: tuple[tuple[str, int], ...]  # every static hyperparameter
    rows: int
    test_rows: int
    steps: int
    log_every: int
    lanes: int
    blocks: int = 1
    snapshot_every: int = 0

    @functools.cached_property
    def values(self) -> dict[str, int]:
        """The static hyperparameters."""
        return dict(self.static)

    @functools.cached_property
    def built(self) -> models.Model:
        """The flax module."""
        return models.build(self.model, self.values)

    @functools.cached_property
    def input_size(self) -> int:
        """Features of a row."""
        return int(tasks.load(self.task).input_size(self.values))

    @property
    def dtype(self) -> str:
        """Of the numbers that it computes with."""
        return f"float{8 * self.number_bytes}"

    @property
    def number_bytes(self) -> int:
        """Of one of them."""
        return self.values.get("float_bits", 32) // 8

    @functools.cached_property
    def operations_per_row(self) -> int:
        """Of one training row in one step."""
        return self.built.operations(self.input_size)

    def step_operations(self, rows: int) -> int:
        """Of one step of one run."""
        return self.operations_per_row * rows + self.built.step_operations(self.input_size)

    @property
    def bytes(self) -> int:
        """Memory of one call: hidden layers of training or test rows, the rows themselves, snapshots."""
        rows, number = max(self.rows, self.test_rows), self.number_bytes
        hidden = self.built.bytes_per_row() * number // 4
        data = number * self.input_size * (self.rows + self.test_rows)
        return int(self.lanes * (rows * hidden + data + self.snapshot_bytes * number // 4))

    @functools.cached_property
    def snapshot_bytes(self) -> int:
        """Of the recorded weights of one run, float32."""
        if not self.snapshot_every:
            return 0
        shapes = self.built.weight_shapes(self.input_size).values()
        return 4 * sum(map(math.prod, shapes)) * (self.steps // self.snapshot_every + 1)
