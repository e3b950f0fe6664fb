"""Command-line overrides into a plain dict, by Hydra, composed in this process: the grid is ours to expand."""

import difflib
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir, main
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from grok_sweep.config import GROUPS, ConfigError, choices, configs, sweep_folders

# Flags that Hydra answers by itself, without running anything.
FLAGS = ("--cfg", "-c", "--resolve", "--package", "-p", "--help", "-h", "--hydra-help", "--info", "-i")
COMPLETION = ("--shell-completion", "-sc")


class _Sweeps(SearchPathPlugin):
    """Finds the group `sweeps` beside conf/, and the user's own in ./sweeps."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        for folder in sweep_folders():
            search_path.append("grok_sweep", f"file://{folder.parent}")


def compose(arguments: list[str]) -> tuple[dict[str, Any], list[str]]:
    """(config, problems): what the overrides compose, resolved, as plain dicts and lists.

    A group's choice that does not exist is a problem, and its first choice stands in for it, so that the
    problems of the other keys are found too. Raises ConfigError where nothing can be composed.
    """
    Plugins.instance().register(_Sweeps)
    problems, kept = _group_problems(arguments)
    with _complaints(), initialize_config_dir(str(configs()[0].resolve()), version_base="1.3"):
        config = hydra_compose("config", [override(argument) for argument in kept])
        plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    return plain, problems


def _group_problems(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Problems of the groups' choices, and the arguments with good choices only."""
    problems, kept = [], []
    for argument in arguments:
        key, _, value = argument.partition("=")
        if key in GROUPS and value not in choices(key):
            names = choices(key)
            problems.append(f"{key}={value!r}: must be one of {', '.join(names)}{_hint(value, names)}")
        else:
            kept.append(argument)
    if not any(argument.startswith("sweeps=") for argument in kept):
        if not problems:
            problems.append(f"sweeps: choose one, sweeps=NAME; there are {', '.join(choices('sweeps'))}")
        kept.append(f"sweeps={choices('sweeps')[0]}")
    return problems, kept


def _hint(value: str, names: list[str]) -> str:
    near = difflib.get_close_matches(value, names, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def answer(arguments: list[str]) -> int:
    """Let Hydra answer --cfg, --help, shell completion and the like. Raises ConfigError."""
    Plugins.instance().register(_Sweeps)
    problems, _ = _group_problems([*arguments, f"sweeps={choices('sweeps')[0]}"])
    if problems:
        raise ConfigError(problems)
    given = [a if a.startswith("-") else override(a) for a in arguments]
    environment, argv = os.environ.get("HYDRA_FULL_ERROR"), sys.argv
    # Otherwise Hydra prints its own complaint and exits; ours come in one form.
    os.environ["HYDRA_FULL_ERROR"], sys.argv = "1", ["grok-sweep", *given]
    try:
        with _complaints():
            main(version_base="1.3", config_path=str(configs()[0].resolve()), config_name="config")(_nothing)()
    finally:
        sys.argv = argv
        if environment is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = environment
    return 0


def _nothing(config: DictConfig) -> None:
    """The application, as far as Hydra is concerned."""


def override(argument: str) -> str:
    """`key=value` as `++key=value`, unless it chooses from a group.

    So `grid.b1=[...]` can be given though no config has it yet, and all misspelt keys are reported together,
    by the config's own check, instead of the first one by Hydra.
    """
    key = re.match(r"([A-Za-z_][\w.]*)=", argument)
    if not key or key[1] in GROUPS or key[1].startswith("hydra."):
        return argument
    return f"++{argument}"


@contextmanager
def _complaints() -> Iterator[None]:
    """Hydra's and OmegaConf's exceptions as ConfigError."""
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        message = " ".join(line.strip() for line in str(error).splitlines() if line.strip())
        if given := re.match(r"Ambiguous value for argument '\+*(.*?)=(.*?)'", message):
            message = f"{given[1]}={given[2]}: a list is written {given[1]}=[{given[2]}]"
        raise ConfigError([message]) from None
