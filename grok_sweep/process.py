"""A process that runs a command: nothing that its shell or Jupyter left it with ends the work."""

import io
import os
import resource
import sys
from typing import Any, TextIO

ADDRESSES = 3e9  # bytes that a process on two cores takes, at least, most of them never used


def settle() -> None:
    """Make streams that are closed, or whose reader goes, or that lack a letter, take all that is written.

    What can be written is, and the rest is lost. No screen is drawn on: MPLBACKEND is for others.
    """
    os.environ.pop("MPLBACKEND", None)  # it may name a package that is not installed here
    for number in range(3):  # or the first file that is opened would be stdout, for whatever prints
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # which takes the lowest that is free
    sys.stdout, sys.stderr = _lasting(1, sys.stdout), _lasting(2, sys.stderr)


def too_small() -> str:
    """Why a process of these limits cannot train, and would be aborted by its libraries; "" where it can."""
    most = resource.getrlimit(resource.RLIMIT_AS)[0]
    if most == resource.RLIM_INFINITY or most >= ADDRESSES:
        return ""
    allowed, needed = (f"{size / 1e9:.1f} GB" for size in (most, ADDRESSES))
    return f"ulimit -v: {allowed} of addresses are allowed, jax and Ray take {needed}; allow that or more"


class _Lasting(io.FileIO):
    """Goes on where it is written to and nobody reads."""

    def write(self, content: Any, /) -> int:
        try:
            return super().write(content)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())
            return len(content)


def _lasting(number: int, before: TextIO | None) -> TextIO:
    raw = io.BufferedWriter(_Lasting(number, "w", closefd=False))
    encoding = before.encoding if before is not None else None
    return io.TextIOWrapper(raw, encoding, errors="backslashreplace", line_buffering=True)
