"""The native engine's library: built once for this processor by the C++ compiler that is here, and kept."""

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
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from grok_sweep.core import engines
from grok_sweep.worker.environment import own_cache

if TYPE_CHECKING:  # it loads jax
    from grok_sweep.core.program import Program

SOURCES = [Path(engines.__file__).with_name(name) for name in ("relu.cpp", "modular.cpp", "vectors.h")]
FLAGS = ("-std=c++17", "-O3", "-fno-math-errno", "-march=native", "-shared", "-fPIC", "-w")
BUILD_SECONDS = 120
LOCK = threading.Lock()  # the next program is prepared while one trains: it is built once for both


class NativeError(Exception):
    """There is no library here, and why."""


def compiler() -> str | None:
    """The C++ compiler: that of the variable CXX, or the system's."""
    named = os.environ.get("CXX")
    return next(filter(None, map(shutil.which, [named] if named else ("c++", "g++", "clang++"))), None)


def usable(program: "Program") -> tuple["Program", str]:
    """(the program, ""); or (it by XLA, why), where it is native on a CPU and there is no library here."""
    from grok_sweep.core.plan import by_xla

    why = ""
    if program.engine == "native" and program.device == "cpu":
        with LOCK:
            why = register()
    return (by_xla(program), why) if why else (program, "")


@functools.cache
def register() -> str:
    """Build the library, if that has not been done, and tell jax of it: once, also where it fails.

    Why it cannot be used; "" where it can.
    """
    import jax

    from grok_sweep.core.engines import modular_cpu, relu_cpu

    try:
        library = ctypes.cdll.LoadLibrary(str(built()))
        for target in (*relu_cpu.TARGETS, *modular_cpu.TARGETS):
            call = jax.ffi.pycapsule(getattr(library, target))
            jax.ffi.register_ffi_target(f"grok_sweep_{target}", call, platform="cpu")
    except NativeError as error:
        return str(error)
    except (OSError, AttributeError) as error:
        return f"the native engine's library cannot be loaded: {error}"
    return ""


def built() -> Path:
    """The library's file, made if it is not there. Raises NativeError.

    What is loaded is run: only from a folder that nobody else can write.
    """
    import jax

    cxx, cache = compiler(), own_cache()
    if cxx is None:
        raise NativeError("there is no C++ compiler (c++, g++ or clang++, or the one that CXX names)")
    if cache is None:
        raise NativeError("there is no folder of your own to keep it in (XDG_CACHE_HOME, or ~/.cache)")
    failed = f"{cxx} cannot build the native engine's library"
    try:
        library = cache / f"native-{_key(cxx)}.so"
        if library.exists():
            return library
        with tempfile.TemporaryDirectory(prefix=".native-", dir=cache) as folder:
            made, sources = Path(folder, library.name), [str(one) for one in SOURCES if one.suffix == ".cpp"]
            command = [cxx, *FLAGS, f"-I{jax.ffi.include_dir()}", *sources, "-o", str(made)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False)
            if done.returncode:
                said = done.stderr.strip() or f"it ended with {done.returncode}, and said nothing"
                raise NativeError(f"{failed}: {said.splitlines()[0]}")
            made.replace(library)  # whole or not at all: another process may be at it too
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NativeError(f"{failed}: {error}") from None
    return library


def _key(cxx: str) -> str:
    """16 hex digits of what the library depends on: source, compiler, processor, headers."""
    told = subprocess.run([cxx, "--version"], capture_output=True, text=True, check=False).stdout
    processor = {platform.machine()}
    with contextlib.suppress(OSError):  # not Linux
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        processor |= {line for line in lines if line.startswith(("flags", "Features", "model name"))}
    sources = [source.read_text(encoding="utf-8") for source in SOURCES]
    words = (cxx, told, *sorted(processor), version("jaxlib"), *FLAGS, *sources)
    return hashlib.sha256("\0".join(words).encode()).hexdigest()[:16]
