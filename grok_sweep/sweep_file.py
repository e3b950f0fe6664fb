"""A sweep's own file, and the file of parts that it names."""

import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from grok_sweep.core import registry
from grok_sweep.core.choices import GROUPS, choices, sweep_folders
from grok_sweep.core.parts import PartError
from grok_sweep.core.source import ALONE, Source
from grok_sweep.errors import ConfigError


def load(name: str) -> tuple[Path, DictConfig]:
    """The file of a sweep, of those that there are, and what it holds. Raises ConfigError."""
    path = next(path for folder in sweep_folders() if (path := folder / f"{name}.yaml").is_file())
    try:
        config = OmegaConf.load(path)  # by YAML's safe loader
        if not isinstance(config, DictConfig):
            raise ValueError("it must be a block of key: value")
        if isinstance(refine := config.get("refine"), DictConfig) and True in refine:
            refine["on"] = refine.pop(True)  # as YAML reads an on without quotes
        # A sweep that includes others, each of which includes others twice, would be loaded for ever.
        allowed = {f"override /{group}" for group in GROUPS if group != "sweeps"}
        for entry in config.get("defaults") or []:
            if entry != "_self_" and not (isinstance(entry, DictConfig) and entry.keys() <= allowed):
                raise ValueError(f"defaults may be _self_ and {': NAME, '.join(sorted(allowed))}: NAME")
    except Exception as error:  # what YAML and OmegaConf raise, and RecursionError
        raise ConfigError([f"{path} cannot be read: {' '.join(str(error).split())}"]) from None
    return path, config


def names_parts(arguments: list[str]) -> bool:
    """Whether the chosen sweep names a file of parts, which is not read here. Raises ConfigError."""
    found = _chosen(arguments)
    return found is not None and "parts" in found[1]


def _chosen(arguments: list[str]) -> tuple[Path, DictConfig] | None:
    """The sweep's file and what it holds; None where no sweep is chosen that there is."""
    chosen = [argument.removeprefix("sweeps=") for argument in arguments if argument.startswith("sweeps=")]
    if not chosen or chosen[-1] not in choices("sweeps"):
        return None
    return load(chosen[-1])


def source_of(arguments: list[str]) -> Source | None:
    """The file of parts that the chosen sweep names beside it, if it names one.

    It is code, and is run: nothing but the sweep's own file can name one. Raises ConfigError where it is not
    there or cannot be used.
    """
    if (found := _chosen(arguments)) is None:
        return None
    path, config = found
    plain: Any = OmegaConf.to_container(config)  # as it is written: an interpolation is no name of a file
    named = plain.get("parts")
    if named is None:
        return None
    if not isinstance(named, str) or not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*\.py", named):
        raise ConfigError([f"{path}: parts={named!r}: must be the name of a .py file beside it"])
    file, known = path.with_name(named), {*sys.modules}
    if file.resolve().parent != path.parent.resolve():
        raise ConfigError(
            [f"{path}: parts={named}: {file} is a link to elsewhere; have the file beside the YAML"]
        )
    try:
        source = Source(named, file.read_bytes().decode())
        registry.parts_of(source)
    except (OSError, ValueError) as error:
        raise ConfigError([f"{path}: parts={named}: {file} cannot be read: {error}"]) from None
    except PartError as error:
        raise ConfigError([str(error)]) from None
    if beside := _beside(path.parent, {*sys.modules} - known):
        raise ConfigError([f"{path}: parts={named}: imports {', '.join(beside)} from beside it; {ALONE}"])
    return source


def _beside(folder: Path, modules: Iterable[str]) -> list[str]:
    """Those that lie in a folder, by files or as packages: not installed, but found by PYTHONPATH.

    Of what is imported while the file is run; what a function of it imports when it is called is not seen.
    """
    found = []
    for name in modules:
        module = sys.modules.get(name)
        places = [*getattr(module, "__path__", [])] or [getattr(module, "__file__", None)]
        if "." not in name and folder.resolve() in {Path(one).resolve().parent for one in places if one}:
            found.append(name)
    return sorted(found)
