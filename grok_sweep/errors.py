"""How a problem of what was given is put into words: one line, whatever was given."""

import difflib
import reprlib
from collections.abc import Iterable
from typing import Any


class ConfigError(Exception):
    """What is wrong with a config, one line per problem: key, value, what is allowed."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = [_one_line(problem) for problem in problems]
        super().__init__("\n".join(self.problems))


class LaunchError(Exception):
    """Workers that cannot be had: where, why, what to do."""


class StoreError(Exception):
    """A results folder that cannot be used: says which, why, and what to do."""


def one_of(word: str, options: list[str]) -> str:
    """What is allowed where `word` is not, with the nearest."""
    near = nearest_of(word, options)
    return f"must be one of {', '.join(options)}{f'; did you mean {near}?' if near else ''}"


def nearest_of(word: str, known: list[str]) -> str | None:
    """The one of `known` most like `word`, if one is."""
    return next(iter(difflib.get_close_matches(word[:100], known, n=1, cutoff=0.7)), None)


class _Show(reprlib.Repr):
    """A value of any depth and length, cut short, and as it is written on the command line."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxlist, self.maxdict, self.maxstring, self.maxother = 3, 6, 4, 60, 60

    def repr_NoneType(self, value: None, level: int) -> str:  # noqa: N802
        return "null"

    def repr_bool(self, value: bool, level: int) -> str:
        return str(value).lower()


def show(value: Any) -> str:
    """A value as a message holds it."""
    try:
        return shorten(_Show().repr(value))
    except ValueError:  # Python writes no whole number of more than 4300 digits
        return "(a number of thousands of digits)"


def shorten(text: str) -> str:
    """`text` cut to what a message can hold."""
    return text if len(text) <= 80 else f"{text[:77]}..."


def in_bytes(count: float) -> str:
    """A number of bytes in words."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB" if count < 1000 else f"{count / 1000:,.1f} TB"


def _one_line(text: str) -> str:
    """`text` with every character that could end its line or disturb a terminal escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
