"""One session at a time in a results folder, and who has it.

On this machine the lock is the kernel's (`flock` on `.lock`): let go of however the process ends. Elsewhere
nothing locks: an object `.lock` says who is at work, and who finds one is told and goes on. Two sessions of
one command then train some runs twice, into the same files; two whose grids differ may have a run in two
files, and the next session puts one aside.
"""

import json
import os
import socket
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from grok_sweep.store.files import Files, Local, StoreError

LOCK = ".lock"


@contextmanager
def locked(files: Files, command: str) -> Iterator[None]:
    """Keep the folder, which must be there, to this process; one elsewhere as far as others heed the mark.

    `command` is what to tell others of this process. Raises StoreError where another process has the folder,
    OSError where the lock cannot be read or written.
    """
    holder = {
        "token": uuid.uuid4().hex,
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "machine": _machine(),
        "since": datetime.now(UTC).strftime("%Y-%m-%dT%H:%MZ"),
        "command": command,
    }
    with _flock(files, holder) if isinstance(files, Local) else _marked(files, holder):
        yield


@contextmanager
def _flock(files: Local, holder: Mapping[str, Any]) -> Iterator[None]:
    import fcntl  # not on Windows, where results can be read all the same

    lock = os.open(files.path / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            who = _who(_parse(os.pread(lock, 10_000, 0)))
            wait = "wait for it, or choose another folder"
            raise StoreError(f"{files.place()}: another grok-sweep is working in it{who}; {wait}") from None
        try:
            os.ftruncate(lock, 0)
            os.pwrite(lock, _bytes(holder), 0)
            yield
        finally:
            os.ftruncate(lock, 0)
    finally:
        os.close(lock)


@contextmanager
def _marked(files: Files, holder: Mapping[str, Any]) -> Iterator[None]:
    found = _read(files)
    if found and not _dead(found):
        both = "if it is, wait for it, or both train the same runs"
        print(
            f"{files.place()}: another grok-sweep may be working in it{_who(found)}; {both}",
            file=sys.stderr,
            flush=True,
        )
    files.write(LOCK, _bytes(holder))
    try:
        yield
    finally:
        with suppress(OSError):  # out of reach: the next session is told
            if _read(files).get("token") == holder["token"]:
                files.remove(LOCK)


def _dead(holder: Mapping[str, Any]) -> bool:
    """Whether a holder ran on this machine and runs no more."""
    if holder.get("machine") != _machine() or not isinstance(pid := holder.get("pid"), int):
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        pass  # somebody else's process
    return False


def _machine() -> str:
    """What tells this machine, and this container on it, from others: pids of equal ones can be compared."""
    known = [socket.gethostname()]
    try:
        known.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
        known.append(str(Path("/proc/self/ns/pid").readlink()))
    except OSError:
        pass  # not Linux
    return " ".join(known)


def _who(holder: Mapping[str, Any]) -> str:
    if "pid" not in holder:
        return ""
    return f" (pid {holder['pid']} on host {holder.get('host')}, since {holder.get('since')})"


def _read(files: Files) -> dict[str, Any]:
    try:
        return _parse(files.read(LOCK))
    except FileNotFoundError:
        return {}


def _bytes(holder: Mapping[str, Any]) -> bytes:
    return json.dumps(holder).encode()


def _parse(data: bytes) -> dict[str, Any]:
    """What a lock says of its holder; nothing where it is empty or no such text."""
    try:
        holder = json.loads(data)
    except ValueError:
        return {}
    return holder if isinstance(holder, dict) else {}
