"""Command-line overrides into a plain dict, by Hydra, in this process: the grid is ours to expand."""

import contextlib
import io
import itertools
import re
import sys
import warnings
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir, main
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigResult, ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import OmegaConf

from grok_sweep.core import registry, spans
from grok_sweep.core.choices import BLOCKS, GROUPS, choices, configs
from grok_sweep.core.source import Source
from grok_sweep.errors import ConfigError, one_of, shorten
from grok_sweep.sweep_file import load

SOURCE: ContextVar[Source | None] = ContextVar("SOURCE", default=None)  # the file of parts that is in force


class _Groups(ConfigSource):
    """The groups that are no folders of conf/: `sweeps`, every file of `sweep_folders` and nothing else that
    lies beside them; `task`, `model` and `optimizer`, the parts of these kinds at their defaults.

    A folder on Hydra's own search path would make groups of all its folders: `out=DIR` would choose from a
    group as soon as there is a ./out.
    """

    @staticmethod
    def scheme() -> str:
        return "parts"

    def available(self) -> bool:
        return True

    def is_group(self, config_path: str) -> bool:
        return config_path in ("", "sweeps", *BLOCKS)

    def is_config(self, config_path: str) -> bool:
        group, _, name = config_path.removesuffix(".yaml").partition("/")
        return group in ("sweeps", *BLOCKS) and name in choices(group, SOURCE.get())

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        if config_path == "":
            return [] if results_filter == ObjectType.CONFIG else ["sweeps", *BLOCKS]
        return [] if results_filter == ObjectType.GROUP else choices(config_path, SOURCE.get())

    def load_config(self, config_path: str) -> ConfigResult:
        group, _, name = config_path.removesuffix(".yaml").partition("/")
        if group in BLOCKS:
            numbers = registry.find(group, name, SOURCE.get()).numbers
            values = {"name": name, **{key: number.default for key, number in numbers.items()}}
            return ConfigResult(self.provider, self.full_path(), OmegaConf.create(values), {"package": None})
        _, config = load(name)
        # Every sweep is on top of the whole config, whether or not it begins with `# @package _global_`.
        return ConfigResult(self.provider, self.full_path(), config, {"package": "_global_"})


class _SearchPath(SearchPathPlugin):
    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        search_path.append("grok_sweep", f"{_Groups.scheme()}://")


@contextlib.contextmanager
def using(source: Source | None) -> Iterator[None]:
    """The parts of a user's file are there to be chosen, beside ours."""
    token = SOURCE.set(source)
    try:
        yield
    finally:
        SOURCE.reset(token)


def compose(arguments: list[str]) -> tuple[dict[str, Any], list[str]]:
    """(config, problems): what the overrides compose, resolved, as plain dicts and lists.

    An argument that by itself cannot be used is a problem and is left out, so that the problems of the other
    keys are found too. Raises ConfigError where there is nothing to be composed.
    """
    problems = {argument: problem for argument in arguments if (problem := _problem(argument))}
    good = [argument for argument in arguments if argument not in problems]
    said = list(problems.values())
    if not any(argument.startswith("sweeps") for argument in arguments):
        said.append(f"sweeps: is missing; sweeps=NAME {one_of('', choices('sweeps'))}")
    if not any(argument.startswith("sweeps=") for argument in good):
        raise ConfigError(said)
    try:
        with _hydra(), initialize_config_dir(str(configs()[0].resolve()), version_base="1.3"):
            config = hydra_compose("config", [override(argument) for argument in good])
            plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    except ConfigError as error:
        raise ConfigError([*said, *error.problems]) from None
    return plain, [*said, *_without_effect(good, plain.get("grid"))]


def _without_effect(arguments: list[str], grid: Any) -> Iterator[str]:
    """Hyperparameters given on the command line that are an axis: its values are those of the runs."""
    for argument in arguments:
        block, _, key = argument.lstrip("+").partition("=")[0].partition(".")
        if block in BLOCKS and isinstance(grid, dict) and key in grid:
            axis = shorten(f"grid.{key}={grid[key]}")
            change = f"change that, or take it out with ~grid.{key}"
            yield f"{shorten(argument)}: has no effect, {key} is an axis ({axis}); {change}"


def _quoted(argument: str) -> str:
    """A span and a query as text: to Hydra log(...) is a function, and n > 0 nothing."""
    key, _, value = argument.partition("=")
    is_quoted = len(value) > 1 and value[0] == value[-1] in "'\"" and value.count(value[0]) == 2
    if key.lstrip("+") == "only" and value not in ("", "null") and not is_quoted:
        return f"{key}='" + value.replace("'", "\\'") + "'"
    return f"{key}='{value}'" if key.lstrip("+").startswith("grid.") and spans.is_span(value) else argument


def _problem(argument: str) -> str | None:
    """Why an argument cannot be used, as far as it alone shows it."""
    short = shorten(argument) or "''"
    try:
        parsed = OverridesParser.create().parse_override(_quoted(argument))
        key = parsed.key_or_group
    except Exception:  # Hydra's own, and what Python raises at numbers and brackets without end
        key = ""
    if not key:
        return f"{short}: cannot be read; write KEY=VALUE, a list as [1,2], other text as KEY=\"'...'\""
    if re.split(r"[./]", key)[0] == "hydra":
        return f"{short}: settings of Hydra itself have no effect; the results folder is chosen by out=DIR"
    if parsed.is_sweep_override():
        return f"{short}: nothing is swept but lists; write {key}=[VALUE,VALUE]"
    if key in GROUPS and parsed.value() not in (there := choices(key, SOURCE.get())):
        return f"{short}: {one_of(str(parsed.value()), there)}"
    return None


def override(argument: str) -> str:
    """An argument as Hydra gets it: every key is added, unless it chooses from a group or deletes.

    So `grid.b1=[...]` can be given though no config has it yet, and all misspelt keys are reported together,
    by the config's own check, instead of the first one by Hydra.
    """
    if argument.startswith("~") or argument.partition("=")[0] in GROUPS:
        return argument
    return f"++{_quoted(argument.lstrip('+'))}"


def answer(argv: list[str]) -> None:
    """Let Hydra answer --cfg or --shell-completion. Raises ConfigError."""
    application = main(version_base="1.3", config_path=str(configs()[0].resolve()), config_name="config")
    before, said = sys.argv, io.StringIO()
    # Hydra reads the command line itself, and exits when it has complained.
    sys.argv = ["grok-sweep", *argv]
    try:
        with _hydra(), contextlib.redirect_stderr(said):
            application(lambda config: None)()
    except SystemExit:
        lines = [line for line in said.getvalue().splitlines() if line and "HYDRA_FULL_ERROR" not in line]
        raise ConfigError(lines[-1:]) from None
    finally:
        sys.argv = before


@contextlib.contextmanager
def _hydra() -> Iterator[None]:
    """Our plugins, no warnings, and every exception as a ConfigError."""
    Plugins.instance().register(_Groups)
    Plugins.instance().register(_SearchPath)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    except ConfigError:
        raise
    except Exception as error:  # Hydra, OmegaConf, YAML, a resolver: all are about what was given
        raise ConfigError([_complaint(error)]) from None


def _complaint(error: BaseException) -> str:
    """What Hydra, OmegaConf or YAML complain of: one line, without what only they know of."""
    lines = (line.strip() for line in f"{error}\n{error.__cause__ or ''}".splitlines())
    told = itertools.takewhile(lambda line: not line.startswith(("Config search path", "object_type")), lines)
    return " ".join(filter(None, told))
