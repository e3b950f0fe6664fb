"""A number that a config holds: its type, its bounds, its default, and how it gets into a training.

A **static** hyperparameter changes the compiled program, so runs that differ in it are compiled apart. A
**traced** one is a number that flows through the program, so it costs no compilation. One of **rows** says
how many rows a run has and nothing else: rows may be padded, so it may be either.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

Use = Literal["static", "traced", "rows"]
MOST_INT32 = 2**31 - 1
MOST_INT64 = 2**63 - 1  # of the tables
MOST_FLOAT32 = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Number:
    """A number of a config: `low` <= value (or < if `above`) and value <= `high` (or < if `below`).

    `among`: the only values allowed, where they are few. `use`: of a hyperparameter static, traced or rows.
    `since`: of one that came later the value with which runs before it were computed: with it a run has the
    id that it had without the hyperparameter.
    """

    kind: type[int] | type[float]
    meaning: str
    low: float
    high: float = math.inf
    above: bool = False
    below: bool = False
    among: tuple[int, ...] = ()
    use: Use = "static"
    default: float | None = None
    since: float | None = None

    @property
    def static(self) -> bool:
        """Whether runs that differ in it are compiled apart."""
        return self.use == "static"

    @property
    def allowed(self) -> str:
        """What a value may be, in words."""
        if self.among:
            return " or ".join(map(str, self.among))
        if self.kind is int:
            return f"a whole number from {self.low} to {self.high}"
        low = f"greater than {self.low}" if self.above else f"of at least {self.low}"
        if math.isinf(self.high):
            return "a finite number" if math.isinf(self.low) else f"a finite number {low}"
        if math.isinf(self.low):
            return f"a finite number {'less than' if self.below else 'of at most'} {self.high}"
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

    def canonical(self, value: float) -> float:
        """One way to write each number, for a run is known by a hash of them: 0.0 for -0.0, and of all that
        are one number in float32 the shortest, 0.1 for 0.1000000001.
        """
        return int(value) if self.kind is int else float(str(np.float32(value))) + 0.0

    def _within(self, value: float) -> bool:
        low = value > self.low if self.above else value >= self.low
        high = value < self.high if self.below else value <= self.high
        return low and high and abs(value) != math.inf and (not self.among or value in self.among)


def whole(
    default: int,
    meaning: str,
    low: int = -MOST_INT32 - 1,
    high: int = MOST_INT32,
    *,
    among: tuple[int, ...] = (),
    traced: bool = False,
    rows: bool = False,
    since: int | None = None,
) -> Number:
    """A whole number, static unless it is `traced`; see `Number`. A traced one is computed in 32 bits."""
    most = MOST_INT32 if traced else MOST_INT64
    low, high = (min(among), max(among)) if among else (max(low, -most - 1), min(high, most))
    use: Use = "rows" if rows else "traced" if traced else "static"
    return Number(int, meaning, low, high, among=among, use=use, default=default, since=since)


def real(
    default: float,
    meaning: str,
    low: float = -math.inf,
    high: float = math.inf,
    *,
    above: bool = False,
    below: bool = False,
    static: bool = False,
    rows: bool = False,
    since: float | None = None,
) -> Number:
    """A fraction, traced unless it is `static`; see `Number`."""
    use: Use = "rows" if rows else "static" if static else "traced"
    return Number(float, meaning, low, high, above, below, use=use, default=default, since=since)


class MissingError(AttributeError):
    """A part asked for a hyperparameter that none of the sweep's parts has."""


class Values(dict[str, Any]):
    """The hyperparameters of a run, or of a program, as its parts get them: h.b1 or h["b1"].

    Static ones are Python's numbers, traced ones in a training jax's.
    """

    def __getattr__(self, name: str) -> Any:
        if name in self:
            return self[name]
        raise MissingError(f"there is no hyperparameter {name}; there are {', '.join(sorted(self))}")
