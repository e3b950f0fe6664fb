"""The built-in tasks, a module each. A config is checked without jax: they import it only where it traces."""

from importlib import import_module
from types import ModuleType

NAMES = ("parity", "modular_addition")


def modules() -> list[ModuleType]:
    """The modules that declare them."""
    return [import_module(f"grok_sweep.core.tasks.{name}") for name in NAMES]
