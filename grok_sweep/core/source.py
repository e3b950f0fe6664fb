"""A user's file of parts: how it is run, and how what goes wrong in it is told."""

import hashlib
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType

from grok_sweep.core.number import MissingError

ALONE = "a file of parts travels alone: install what it imports, or have it all in one file"


class PartError(Exception):
    """What is wrong with a part, in one line: which, what was expected, what came."""


class RunError(PartError):
    """What is wrong with one run alone, whose data cannot be made: others of its shard may go well."""


@dataclass(frozen=True)
class Source:
    """A user's file of parts, as it travels to workers: its name, for messages, and its text."""

    name: str
    text: str

    @property
    def digest(self) -> str:
        """16 hex digits of sha256 over the text."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:16]

    @property
    def kept_as(self) -> str:
        """What it is called in a results folder."""
        return f"{self.digest}-{self.name}"

    def blame(self, error: BaseException) -> str:
        """What went wrong in the file, or because of it, and where: one line."""
        if isinstance(error, SyntaxError) and error.filename == self.name:
            return f"{self.name}, line {error.lineno}: {error.msg}"
        frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == self.name]
        where = ", ".join(f"line {frame.lineno} in {frame.name}" for frame in frames[-3:])
        text = " ".join(str(error).split())[:300]
        if type(error).__name__.startswith(("Tracer", "Concretization")):
            # jax's own words are about something else.
            text = (
                "Python cannot see a traced number or array: jnp.where instead of if; or declare static=True"
            )
        if isinstance(error, ModuleNotFoundError):
            text += f"; {ALONE}"
        return f"{self.name}{f', {where}' if where else ''}: {type(error).__name__}: {text}"

    def run(self) -> ModuleType:
        """The module that the file makes. Raises PartError with the last lines of what went wrong in it."""
        module = ModuleType(f"grok_sweep_parts_{self.digest}")
        module.__file__ = self.name
        sys.modules[module.__name__] = module  # dataclasses and pickles look there for the module of a class
        try:
            exec(compile(self.text, self.name, "exec"), vars(module))  # noqa: S102 - the sweep's own YAML names it
        except (Exception, SystemExit) as error:
            raise PartError(self.blame(error)) from None
        return module


@contextmanager
def blaming(source: Source | None) -> Iterator[None]:
    """What goes wrong in a user's file, or because of it, is a PartError that says where.

    So is a part's asking for a hyperparameter that is not there, as another part's would be.
    """
    try:
        yield
    except (PartError, MemoryError):
        raise
    except (Exception, SystemExit) as error:
        frames = traceback.extract_tb(error.__traceback__)
        if source is not None and source.name in {frame.filename for frame in frames}:
            raise PartError(source.blame(error)) from None
        if isinstance(error, MissingError):
            raise PartError(f"{frames[-2].name}: {error}") from None  # the last frame is that of h itself
        raise
