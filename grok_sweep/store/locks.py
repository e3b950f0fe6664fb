"""One session at a time in a results folder, and who has it.

On this machine the lock is the kernel's (`flock` on `.lock`): let go of however the process ends. Elsewhere
nothing locks: an object `.lock` says who is at work, and who finds one is told and goes on. Two sessions of
one command then train some runs twice, into the same files; two whose grids differ may have a run in two
files, and the next session puts one aside.
"""

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from grok_sweep.errors import StoreError
from grok_sweep.store.files import Files

LOCK = ".lock"


@contextmanager
def locked(files: Files) -> Iterator[None]:
    """Keep the folder, which must be there, to this process; one elsewhere as far as others heed the mark.

    Raises StoreError where another process has the folder, OSError where it cannot be locked.
    """
    since = datetime.now(UTC).strftime("%Y-%m-%dT%H:%MZ")
    holder = f"pid {os.getpid()} on host {socket.gethostname()}, since {since}"
    with _marked(files, holder) if files.path is None else _flock(files, files.path, holder):
        yield


@contextmanager
def _flock(files: Files, folder: Path, holder: str) -> Iterator[None]:
    import fcntl  # not on Windows, where results can be read all the same

    handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    with os.fdopen(handle, "r+", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            wait = "wait for it, or choose another folder"
            who = f"another grok-sweep is working in it ({lock.read()})"
            raise StoreError(f"{files.place()}: {who}; {wait}") from None
        lock.truncate()
        lock.write(holder)
        lock.flush()
        try:
            yield
        finally:
            lock.truncate(0)


@contextmanager
def _marked(files: Files, holder: str) -> Iterator[None]:
    with suppress(FileNotFoundError):
        who = files.read(LOCK).decode(errors="replace")
        both = "if it is, wait for it, or both train the same runs"
        print(f"{files.place()}: another grok-sweep may be working in it ({who}); {both}", file=sys.stderr)
    files.write(LOCK, holder.encode())
    try:
        yield
    finally:
        with suppress(OSError):  # out of reach: the next session is told
            files.remove(LOCK)
