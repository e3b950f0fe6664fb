"""Every number a run can be given: its type, its bounds, and whether it changes the compiled program.

A **static** hyperparameter changes the shape of the program, so runs that differ in it are compiled apart.
A **traced** one is a number that flows through the program, so it costs no compilation.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Hyperparameter:
    """One hyperparameter: `low` <= value (or < if `above`) and value <= `high` (or < if `below`)."""

    kind: type[int] | type[float]
    meaning: str
    low: float
    high: float = math.inf
    above: bool = False
    below: bool = False

    @property
    def static(self) -> bool:
        """Whole numbers are shapes."""
        return self.kind is int

    @property
    def allowed(self) -> str:
        """What a value may be, in words."""
        noun = "a whole number" if self.kind is int else "a number"
        low = f"greater than {self.low:g}" if self.above else f"of at least {self.low:g}"
        if math.isinf(self.high):
            return f"{noun} {low}"
        return f"{noun} {low} and {'less than' if self.below else 'at most'} {self.high:g}"

    def problem(self, value: Any) -> str | None:
        """Why `value` cannot be used, or None."""
        if isinstance(value, bool) or not isinstance(value, (int, float) if self.kind is float else int):
            return f"must be {self.allowed}"
        if self.kind is float:
            if not -3.4e38 < value < 3.4e38:  # nan fails too
                return f"must be {self.allowed}, finite in float32"
            # The program computes in float32: 0.99999999 is 1 there, and 1e-50 is 0.
            value = float(np.float32(value))
        ok_low = value > self.low if self.above else value >= self.low
        ok_high = value < self.high if self.below else value <= self.high
        return None if ok_low and ok_high else f"must be {self.allowed}"


HYPERPARAMETERS = {
    # task
    "n_bits": Hyperparameter(int, "random bits of an input", 1, 100_000),
    "n_parity_bits": Hyperparameter(int, "bits whose parity is the label", 1, 100_000),
    "train_size": Hyperparameter(int, "training rows", 1, 10_000_000),
    "test_size": Hyperparameter(int, "test rows", 1, 10_000_000),
    # model
    "hidden_size": Hyperparameter(int, "neurons of the hidden layer", 1, 1_000_000),
    "init_scale": Hyperparameter(float, "factor on the initial weights", 0, above=True),
    # optimizer
    "learning_rate": Hyperparameter(float, "step size of AdamW", 0, above=True),
    "weight_decay": Hyperparameter(float, "decoupled decay of AdamW", 0),
    "b1": Hyperparameter(float, "decay of AdamW's first moment", 0, 1, below=True),
    "b2": Hyperparameter(float, "decay of AdamW's second moment", 0, 1, below=True),
    "eps": Hyperparameter(float, "added to AdamW's denominator", 0, above=True),
}
