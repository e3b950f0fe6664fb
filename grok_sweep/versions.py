"""What computes: this package and those that its numbers depend on."""

import contextlib
import functools
import hashlib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from grok_sweep import __version__

COMPUTE = ("jax", "jaxlib", "flax", "optax", "numpy")
SOURCES = ("*.py", "*.cpp", "*.h")
OTHERS = ("ray", "pandas", "pyarrow", "hydra-core")


def versions() -> dict[str, str]:
    """Package -> version; one that is not installed is left out."""
    found = {"grok-sweep": __version__}
    for package in (*COMPUTE, *OTHERS):
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


@functools.cache
def code() -> str:
    """8 hex digits of sha256 over this package's source: the same version can have other code."""
    root = Path(__file__).parent
    sha = hashlib.sha256()
    for path in sorted(path for kind in SOURCES for path in root.rglob(kind)):
        sha.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes())
    return sha.hexdigest()[:8]


def computing() -> dict[str, str]:
    """What must be the same on every worker, for one table to hold their numbers."""
    found = versions()
    return {
        "grok-sweep": f"{__version__} (code {code()})",
        **{package: found.get(package, "none") for package in COMPUTE},
    }
