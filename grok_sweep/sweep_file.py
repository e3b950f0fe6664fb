"""A sweep's own file: read within limits, and the file of parts that it names."""

import copy
import functools
import io
import itertools
import re
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from grok_sweep import limits
from grok_sweep.core import registry
from grok_sweep.core.choices import GROUPS, choices, sweep_folders
from grok_sweep.core.parts import PartError
from grok_sweep.core.source import Source
from grok_sweep.errors import ConfigError, one_of


def path_of(name: str) -> Path:
    """The file of a sweep, of those that there are."""
    return next(path for folder in sweep_folders() if (path := folder / f"{name}.yaml").is_file())


def load(path: Path) -> DictConfig:
    """What a sweep's file holds. Raises ConfigError where it cannot be used."""
    try:
        return _read(path)
    except Exception as error:
        raise ConfigError([f"{path} cannot be read: {why(error)}"]) from None


def source_of(arguments: list[str]) -> Source | None:
    """The file of parts that the chosen sweep names beside it, if it names one.

    It is code, and is run: nothing but the sweep's own file can name one. Raises ConfigError where it is not
    there or cannot be used.
    """
    chosen = [argument.removeprefix("sweeps=") for argument in arguments if argument.startswith("sweeps=")]
    if not chosen or chosen[-1] not in choices("sweeps"):
        return None
    path = path_of(chosen[-1])
    named = load(path).get("parts")
    if named is None:
        return None
    if not isinstance(named, str) or not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*\.py", named):
        raise ConfigError([f"{path}: parts={named!r}: must be the name of a .py file beside it"])
    try:
        text = path.with_name(named).read_bytes()
        if len(text) > limits.MOST_BYTES:
            raise ValueError(f"it has more than {limits.MOST_BYTES:,} bytes")
        source = Source(named, text.decode())
        registry.parts_of(source)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise ConfigError([f"{path}: parts={named}: {path.with_name(named)} cannot be read: {why}"]) from None
    except PartError as error:
        raise ConfigError([str(error)]) from None
    return source


def _read(path: Path) -> DictConfig:
    """What a sweep's file holds. Raises ValueError, OSError or YAMLError where it cannot be used."""
    with path.open("rb") as file:
        content = file.read(limits.MOST_BYTES + 1)
    return copy.deepcopy(_load(content))


@functools.lru_cache(maxsize=1)
def _load(content: bytes) -> DictConfig:
    """A file's YAML. Cached: while complaints are looked for, a file is read again and again."""
    config = OmegaConf.load(io.StringIO(limits.file(content)))  # by YAML's safe loader
    if not isinstance(config, DictConfig):
        raise ValueError("it must be a block of key: value")
    plain: dict[Any, Any] = OmegaConf.to_container(config)  # type: ignore[assignment]
    # A sweep that includes others, each of which includes others twice, would be loaded for ever.
    allowed = [f"override /{group}" for group in GROUPS if group != "sweeps"]
    defaults = plain.get("defaults", [])
    for entry in defaults if isinstance(defaults, list) else [defaults]:
        if entry != "_self_" and not (isinstance(entry, dict) and entry and set(entry) <= {*allowed}):
            raise ValueError(f"defaults must be a list of _self_ and {': NAME, '.join(allowed)}: NAME")
    return config


def why(error: BaseException) -> str:
    """What Hydra, OmegaConf or YAML complain of: one line, without what only they know of."""
    if str(error).startswith("Error merging override") and error.__cause__:
        error = error.__cause__
    if isinstance(error, RecursionError):
        return "it is nested too deep, or in itself"
    lines = (line.strip() for line in str(error).splitlines())
    told = itertools.takewhile(lambda line: not line.startswith(("Config search path", "full_key:")), lines)
    text = " ".join(line for line in told if line)
    if missing := re.match(r"In '\w+': Could not find '(\w+)/(\S+)' Available options in '\w+': (.*)", text):
        group, name, there = missing.groups()
        return f"defaults: override /{group}: {name}: {one_of(name, there.split())}"
    return text.replace("Cannot merge DictConfig with ListConfig", "must be a list, not a block")
