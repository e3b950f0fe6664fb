"""The native engine's libraries: built once for this processor by the C++ compiler that is here, and kept.

One for each kind of network, so that nobody waits for the other's.
"""

import contextlib
import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from grok_sweep.core import engines
from grok_sweep.worker.environment import own_cache

if TYPE_CHECKING:  # it loads jax
    from grok_sweep.core.program import Program

KINDS = ("relu", "modular")  # of networks: what computes them is in a source of that name
HERE = Path(engines.__file__).parent
SHARED = (HERE / "call.h", HERE / "vectors.h")
SOURCES = {kind: HERE / f"{kind}.cpp" for kind in KINDS}
FLAGS = ("-std=c++17", "-O3", "-fno-math-errno", "-march=native", "-pthread", "-shared", "-fPIC", "-w")
BUILD_SECONDS = 120
threads = 1  # of a call, which has its lanes gone through by them: a worker has one core, a lone process all
POLL_SECONDS = 0.05
refused: dict["Program", str] = {}  # whose kernel does not compile for the device here, and why
LOCK = threading.Lock()  # the next program is prepared while one trains: it is built once for both


class NativeError(Exception):
    """There is no library here, and why."""


def compiler() -> str | None:
    """The C++ compiler: that of the variable CXX, or the system's."""
    named = os.environ.get("CXX")
    return next(filter(None, map(shutil.which, [named] if named else ("c++", "g++", "clang++"))), None)


def usable(program: "Program") -> tuple["Program", str]:
    """(the program, ""); or (it by XLA, why), where it is native and cannot be so here.

    On a CPU there may be no library; on another device its kernel did not compile when it was tried.
    """
    from grok_sweep.core.plan import by_xla

    why = refused.get(program, "")
    if kind := _kind(program):
        with LOCK:
            why = register(kind)
    return (by_xla(program), why) if why else (program, "")


def _kind(program: "Program") -> str:
    """Of the library that a program needs; "" where it needs none."""
    if (program.engine, program.device) != ("native", "cpu"):
        return ""
    return "modular" if engines.of_modular(program) else "relu"


def begin(programs: Iterable["Program"]) -> None:
    """Build what they need here, beside what else there is to do; `usable` says what went wrong."""

    def build(kind: str) -> None:
        with contextlib.suppress(NativeError):
            built(kind)

    for kind in {*map(_kind, programs)} - {""}:
        threading.Thread(target=build, args=[kind], name=f"build {kind}", daemon=True).start()


@functools.cache
def register(kind: str) -> str:
    """Build a library, if that has not been done, and tell jax of it: once, also where it fails.

    Why it cannot be used; "" where it can.
    """
    import jax

    from grok_sweep.core.engines import modular_cpu, relu_cpu

    targets = {"relu": relu_cpu.TARGETS, "modular": modular_cpu.TARGETS}[kind]
    try:
        library = ctypes.cdll.LoadLibrary(str(built(kind)))
        library.use_threads(threads)
        for target in targets:
            call = jax.ffi.pycapsule(getattr(library, target))
            jax.ffi.register_ffi_target(f"grok_sweep_{target}", call, platform="cpu")
    except NativeError as error:
        return str(error)
    except (OSError, AttributeError) as error:
        return f"the native engine's library cannot be loaded: {error}"
    return ""


def built(kind: str) -> Path:
    """A library's file, made if it is not there, or is not what was made. Raises NativeError.

    What is loaded is run: only from a folder that nobody else can write. Who builds it first, builds it for
    all processes of this home on this machine.
    """
    import jax

    cxx, cache = compiler(), own_cache()
    if cxx is None:
        raise NativeError("there is no C++ compiler (c++, g++ or clang++, or the one that CXX names)")
    if cache is None:
        raise NativeError("there is no folder of your own to keep it in (XDG_CACHE_HOME, or ~/.cache)")
    failed = f"{cxx} cannot build the native engine's library"
    try:
        library = cache / f"native-{kind}-{_key(cxx, kind)}.so"
        if _whole(library):
            return library
        with _alone(cache, kind), tempfile.TemporaryDirectory(prefix=".native-", dir=cache) as folder:
            if _whole(library):
                return library
            made = Path(folder, library.name)
            command = [cxx, *FLAGS, f"-I{jax.ffi.include_dir()}", str(SOURCES[kind]), "-o", str(made)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False)
            if done.returncode:
                raise NativeError(f"{failed}: {_why(done)}")
            _sum_file(library).write_text(_sum(made), encoding="ascii")
            made.replace(library)  # whole or not at all
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NativeError(f"{failed}: {error}") from None
    return library


def _whole(library: Path) -> bool:
    """Whether it is there as it was made: a damaged one may end the process that loads it."""
    try:
        return _sum_file(library).read_text(encoding="ascii") == _sum(library)
    except (FileNotFoundError, UnicodeDecodeError):
        return False


def _sum_file(library: Path) -> Path:
    return library.with_name(f".{library.name}.sha256")


def _sum(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _why(done: subprocess.CompletedProcess[str]) -> str:
    """The first error of a compiler that failed; before it may stand by whom that line is included."""
    said = done.stderr.strip().splitlines() or [f"it ended with {done.returncode}, and said nothing"]
    return next((line for line in said if "error:" in line), said[0])


@contextlib.contextmanager
def _alone(cache: Path, kind: str) -> Iterator[None]:
    """One at a time, where files can be locked; elsewhere several build the same, and the last one stays.

    So they do where another does not come to an end.
    """
    late = time.monotonic() + BUILD_SECONDS
    with (cache / f".native-{kind}.lock").open("w") as lock:
        while time.monotonic() < late:
            try:
                import fcntl  # not on Windows

                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(POLL_SECONDS)
            except (ImportError, OSError):
                break
            else:
                break
        yield


def _key(cxx: str, kind: str) -> str:
    """16 hex digits of what a library depends on: source, compiler, processor, headers."""
    told = subprocess.run([cxx, "--version"], capture_output=True, text=True, check=False).stdout
    processor = {platform.machine()}
    with contextlib.suppress(OSError):  # not Linux
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        processor |= {line for line in lines if line.startswith(("flags", "Features", "model name"))}
    sources = [source.read_text(encoding="utf-8") for source in (SOURCES[kind], *SHARED)]
    words = (cxx, told, *sorted(processor), version("jaxlib"), *FLAGS, *sources)
    return hashlib.sha256("\0".join(words).encode()).hexdigest()[:16]
