"""One session at a time in a results folder, and who has it.

On this machine the lock is the kernel's (`flock` on `.lock`): let go of however the process ends. Elsewhere
it is a lease: an object `.lock` that its holder renews every beat. One that has not changed during three
beats belongs to nobody and is taken over. No two clocks are compared.
"""

import json
import os
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from grok_sweep.store.files import Files, Local, StoreError

LOCK = ".lock"
BEAT = 10.0  # seconds
BEATS = 3  # without a sign of life, after which a lease belongs to nobody

Check = Callable[[], None]  # raises StoreError where the lock has been lost


@contextmanager
def locked(files: Files, command: str, beat: float = BEAT) -> Iterator[Check]:
    """Keep the folder, which must be there, to this process; what is yielded tells whether it still has it.

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
    with _flock(files, holder) if isinstance(files, Local) else _lease(files, holder, beat) as check:
        yield check


@contextmanager
def _flock(files: Local, holder: Mapping[str, Any]) -> Iterator[Check]:
    import fcntl  # not on Windows, where results can be read all the same

    lock = os.open(files.path / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _refused(files, _parse(os.pread(lock, 10_000, 0))) from None
        try:
            os.ftruncate(lock, 0)
            os.pwrite(lock, _bytes(holder), 0)
            yield lambda: None
        finally:
            os.ftruncate(lock, 0)
    finally:
        os.close(lock)


@contextmanager
def _lease(files: Files, holder: Mapping[str, Any], beat: float) -> Iterator[Check]:
    _wait_for_sign(files, beat)

    def check() -> None:
        if _of_another(found := _read(files), holder):
            raise StoreError(
                f"{files.place()}: this session has lost the folder{_who(found)}; what it published is kept"
            )

    done = threading.Event()
    renewing = threading.Thread(target=_renew, args=(files, holder, beat, done), daemon=True)
    try:
        files.write(LOCK, _bytes(holder))
        time.sleep(beat / 5)  # of two that start together the later overwrites: each reads what came of it
        if _of_another(found := _read(files), holder):
            raise _refused(files, found)
        renewing.start()
        yield check
    finally:
        done.set()
        if renewing.is_alive():
            renewing.join()
        with suppress(OSError):  # out of reach it is given up for dead by others
            if not _of_another(_read(files), holder):
                files.remove(LOCK)


def _wait_for_sign(files: Files, beat: float) -> None:
    """Return once the lease belongs to nobody; raise StoreError once its holder has shown that it lives."""
    found = first = _read(files)
    if not found or _dead(found):
        return
    who = f"pid {found.get('pid')} on {found.get('host')}"
    wait = f"waiting {BEATS * beat:.0f} s to see whether it is still at work"
    print(f"{files.place()}: {who} has locked it; {wait}", file=sys.stderr, flush=True)
    patience = time.monotonic() + BEATS * beat
    while time.monotonic() < patience:
        time.sleep(beat / 4)
        found = _read(files)
        if not found:
            return
        if found != first:
            raise _refused(files, found)


def _renew(files: Files, holder: Mapping[str, Any], beat: float, done: threading.Event) -> None:
    count = 0
    while not done.wait(beat):
        count += 1
        try:
            if _of_another(_read(files), holder):
                return
            files.write(LOCK, _bytes({**holder, "count": count}))
        except OSError:
            pass  # the network may come back before others give us up; if not, `check` sees it


def _of_another(found: Mapping[str, Any], holder: Mapping[str, Any]) -> bool:
    return found.get("token") != holder["token"]


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


def _refused(files: Files, holder: Mapping[str, Any]) -> StoreError:
    return StoreError(
        f"{files.place()}: another grok-sweep is working in it{_who(holder)};"
        " wait for it, or choose another folder"
    )


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
