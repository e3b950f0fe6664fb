"""How axes are spaced, and written as spans: log(1e-5, 1, 20), linear(0, 1, 5): lowest, highest, how many."""

import re
from collections.abc import Sequence

import numpy as np

MOST = 100_000
FORM = re.compile(r"\s*(log|linear)\s*\(([^()]*)\)\s*")


def is_span(value: object) -> bool:
    """Whether a value of the grid is written so."""
    return isinstance(value, str) and FORM.fullmatch(value) is not None


def spread(text: str, kind: type[int] | type[float]) -> list[float]:
    """The values of a span, evenly spaced or evenly in their logarithms; of whole numbers the nearest, each
    once. Raises ValueError, of one line.
    """
    match = FORM.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no span; write log(LOWEST, HIGHEST, HOW MANY) or linear(...)")
    how, inside = match.groups()
    try:
        low, high, count = (float(number) for number in inside.split(","))
    except ValueError:
        raise ValueError(f"{how} takes three numbers: the lowest, the highest, how many values") from None
    if not (np.isfinite([low, high]).all() and low < high and (how == "linear" or low > 0)):
        above = " greater than 0" if how == "log" else ""
        raise ValueError(f"{how} takes the lowest number{above} first and then a higher one")
    if not 2 <= count <= MOST or count != int(count):
        raise ValueError(
            f"{how} takes as its third number how many values: a whole number from 2 to {MOST:,}"
        )
    space = np.geomspace if how == "log" else np.linspace
    values = space(low, high, int(count))
    if kind is int:
        return list(dict.fromkeys(round(value) for value in values))
    # As float32 has them, in which runs are computed: 1e-4 of a span is the 1e-4 that somebody writes.
    return list(dict.fromkeys(float(str(np.float32(value))) for value in values))


def is_log(values: Sequence[float] | np.ndarray) -> bool:
    """Whether these, ascending, are spaced more evenly in their logarithms; of two nothing says so."""
    if len(values) < 3 or min(values) <= 0:
        return False
    plain, logs = np.diff(values), np.diff(np.log(values))
    return bool(logs.std() / logs.mean() < plain.std() / plain.mean())
