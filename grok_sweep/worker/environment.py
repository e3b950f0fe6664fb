"""The process of a worker: its environment, and where it keeps compiled programs."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# What a key of random numbers gives; left to jax they follow the user's environment, and its version.
RANDOM = {
    "JAX_DEFAULT_PRNG_IMPL": "threefry2x32",
    "JAX_THREEFRY_PARTITIONABLE": "true",
    "JAX_RANDOM_SEED_OFFSET": "0",
}


ONE_THREAD = "--xla_cpu_multi_thread_eigen=false"


def environment(device: str, workers_per_gpu: int = 1) -> dict[str, str]:
    """Environment variables of a worker, to be set before jax is imported."""
    platform = {"gpu": "cuda"}.get(device, device)
    common = {"JAX_PLATFORMS": platform, "TF_CPP_MIN_LOG_LEVEL": "2", **RANDOM}
    if device == "cpu":
        # One worker per core: two single-threaded processes do more than one with two threads.
        given = os.environ.get("XLA_FLAGS", "")
        return {**common, "XLA_FLAGS": given if ONE_THREAD in given else f"{given} {ONE_THREAD}".strip()}
    # Left to itself jax rounds the factors of a product to fewer bits there: 19 on a GPU, 16 on a TPU.
    fraction = str(round(0.9 / workers_per_gpu, 3))  # of the GPU's memory, which jax takes at once
    return {**common, "JAX_DEFAULT_MATMUL_PRECISION": "float32", "XLA_CLIENT_MEM_FRACTION": fraction}


def set_environment(variables: Mapping[str, str]) -> None:
    """Set variables of `environment`. jax may be loaded, by a user's file, but must not have computed yet."""
    os.environ.update(variables)
    if "jax" in sys.modules:
        import jax

        names = {"JAX_PLATFORMS", "JAX_DEFAULT_MATMUL_PRECISION", *RANDOM}
        for name in variables.keys() & names:  # it read these when it was imported
            value = {"true": True, "0": 0}.get(variables[name], variables[name])
            jax.config.update(name.lower(), value)


def unknown_flags() -> str:
    """Those in XLA_FLAGS that XLA does not know: it ends, without a word to Ray, every process on a CPU."""
    if os.environ.get("XLA_FLAGS", "").strip() in ("", ONE_THREAD):
        return ""
    command = [sys.executable, "-c", "from jaxlib import xla_client; xla_client.make_cpu_client()"]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stderr
    found = re.search(r"Unknown flags? in XLA_FLAGS: (.*)", said)
    return found[1].strip() if found else ""


def own_cache() -> Path | None:
    """A folder for what can be made again; None where it cannot be had, or others can write it.

    What is read there is run.
    """
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = root / "grok_sweep" / f"jaxlib-{version('jaxlib')}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        there = folder.stat()
    except OSError:
        return None
    return None if there.st_uid != os.getuid() or there.st_mode & 0o022 else folder


def compilation_cache() -> None:
    """Keep compiled programs on disk, for the other workers and for the next time."""
    import jax

    if folder := own_cache():  # a home that cannot be written costs seconds, not results
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
