"""Every number that a config holds: its type, its bounds, and whether it changes the compiled program.

A **static** hyperparameter changes the shape of the program, so runs that differ in it are compiled apart.
A **traced** one is a number that flows through the program, so it costs no compilation.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

MOST_FLOAT32 = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Number:
    """A number of a config: `low` <= value (or < if `above`) and value <= `high` (or < if `below`).

    `among`: the only values allowed, where they are few. `rows`: of a hyperparameter that says how many rows
    a run has and nothing else.
    """

    kind: type[int] | type[float]
    meaning: str
    low: float
    high: float = math.inf
    above: bool = False
    below: bool = False
    among: tuple[int, ...] = ()
    rows: bool = False

    @property
    def static(self) -> bool:
        """Of a hyperparameter: whole numbers are shapes. Numbers of rows are apart: rows may be padded."""
        return self.kind is int and not self.rows

    @property
    def traced(self) -> bool:
        """Of a hyperparameter: whether the compiled program gets it as a number."""
        return self.kind is float and not self.rows

    @property
    def allowed(self) -> str:
        """What a value may be, in words."""
        if self.among:
            return " or ".join(map(str, self.among))
        if self.kind is int:
            return f"a whole number from {self.low} to {self.high}"
        low = f"greater than {self.low}" if self.above else f"of at least {self.low}"
        if math.isinf(self.high):
            return f"a finite number {low}"
        return f"a number {low} and {'less than' if self.below else 'at most'} {self.high}"

    def problem(self, value: Any) -> str | None:
        """Why `value` cannot be used, or None."""
        if isinstance(value, bool) or not isinstance(value, (int, float) if self.kind is float else int):
            return f"must be {self.allowed}"
        computed = self.computed(value)
        if self._within(computed):
            return None
        # Bounds hold for what is computed with: 0.99999999 is 1 in float32, and 1e-50 is 0.
        rounded = (
            f"; in float32, which runs are computed in, it is {computed:g}" if self._within(value) else ""
        )
        return f"must be {self.allowed}{rounded}"

    def computed(self, value: float) -> float:
        """The number that `value` is in a run: floats are computed in float32."""
        if self.kind is int:
            return value
        if abs(value) > MOST_FLOAT32:  # numpy would warn, or fail at a whole number of 400 digits
            return math.inf if value > 0 else -math.inf
        return float(np.float32(value))

    def _within(self, value: float) -> bool:
        low = value > self.low if self.above else value >= self.low
        high = value < self.high if self.below else value <= self.high
        return low and high and abs(value) != math.inf and (not self.among or value in self.among)


HYPERPARAMETERS = {
    # task
    "n_bits": Number(int, "random bits of an input", 1, 100_000),
    "n_parity_bits": Number(int, "bits whose parity is the label", 1, 100_000),
    "train_size": Number(int, "training rows", 1, 10_000_000, rows=True),
    "test_size": Number(int, "test rows", 1, 10_000_000, rows=True),
    "modulus": Number(int, "of modular addition, odd", 3, 1_001),
    "ordered_pairs": Number(int, "1: (a, b) and (b, a) are two rows; 0: only a <= b", 0, 1, among=(0, 1)),
    "train_share": Number(
        float, "share of all pairs that is trained on", 0, 1, above=True, below=True, rows=True
    ),
    # model
    "hidden_size": Number(int, "neurons of the hidden layer", 1, 1_000_000),
    "embed_size": Number(int, "numbers that stand for one of the modulus", 1, 1_000_000),
    "tied_embedding": Number(int, "1: the output has the embedding of the input", 0, 1, among=(0, 1)),
    "tied_hidden": Number(int, "1: a and b share their weights", 0, 1, among=(0, 1)),
    "collapsed_input": Number(int, "1: embedding times hidden weights is one matrix", 0, 1, among=(0, 1)),
    "collapsed_output": Number(int, "1: output weights times embedding is one matrix", 0, 1, among=(0, 1)),
    "float_bits": Number(int, "of the numbers that a run is computed with", 32, 64, among=(32, 64)),
    "init_scale": Number(float, "factor on the initial weights", 0, above=True),
    # optimizer
    "learning_rate": Number(float, "step size of AdamW", 0, above=True),
    "weight_decay": Number(float, "decoupled decay of AdamW", 0),
    "l1_decay": Number(float, "times the sign of each weight, added to its gradient", 0),
    "b1": Number(float, "decay of AdamW's first moment", 0, 1, below=True),
    "b2": Number(float, "decay of AdamW's second moment", 0, 1, below=True),
    "eps": Number(float, "added to AdamW's denominator", 0, above=True),
}
