"""Command-line overrides into a plain dict, by Hydra, in this process: the grid is ours to expand."""

import contextlib
import io
import re
import sys
import warnings
from bisect import bisect_left
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir, main
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import OverrideType, ValueType
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigResult, ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf

from grok_sweep import limits
from grok_sweep.core import registry, spans
from grok_sweep.core.choices import BLOCKS, GROUPS, choices, configs
from grok_sweep.core.config import MISSING
from grok_sweep.core.source import Source
from grok_sweep.errors import ConfigError, one_of, shorten
from grok_sweep.sweep_file import load, path_of, why

STAND_IN = "sweeps=quickstart"  # under which the other keys are checked where no sweep is chosen
MOST_COMPLAINTS = 5  # of Hydra whose arguments are looked for: each by some ten compositions
MOST_SEARCHED = 1_000  # characters of arguments in which they are looked for


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
        config = load(path_of(name))
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

    An argument that cannot be used is a problem and is left out, and a sweep stands in for one that is not
    chosen, so that the problems of the other keys are found too. Raises ConfigError where there is nothing
    to be composed.
    """
    try:
        limits.arguments([argument for argument in arguments if not _is_long_list(argument)])
    except ValueError as error:
        raise ConfigError([f"the arguments: {error}"]) from None
    groups: list[str] = []
    keys: list[str] = []
    problems: list[str] = []
    for given in arguments:
        argument = _quoted(given)
        problem = None if _is_long_list(given) else _problem(argument)
        if problem:
            problems.append(problem)
        else:
            (groups if argument.partition("=")[0] in GROUPS else keys).append(argument)
    if not any(argument.startswith("sweeps") for argument in arguments):
        problems.append(f"sweeps: is missing; sweeps=NAME {one_of('', choices('sweeps'))}")
    if not any(group.startswith("sweeps=") for group in groups):
        groups.append(STAND_IN)

    def complaint(count: int) -> str | None:
        """Hydra's, of the first `count` keys."""
        try:
            _composed([*groups, *keys[:count]])
        except ConfigError as error:
            return str(error)
        return None

    for _ in range(MOST_COMPLAINTS):
        with contextlib.suppress(ConfigError):
            config = _composed([*groups, *keys])
            return config, problems + _spread(config)
        # Hydra stops at the first argument it cannot use, and does not always say which: it is the last of
        # the shortest beginning that fails.
        if sum(map(len, keys)) > MOST_SEARCHED:
            problems.append(str(complaint(len(keys))))
            break
        count = bisect_left(range(len(keys)), True, key=lambda count: complaint(count) is not None)
        if not count:
            sweep = [group for group in groups if group.startswith("sweeps=")][-1]
            problems.append(f"{sweep}: {complaint(0)}")
            break
        problems.append(f"{shorten(keys[count - 1])}: {complaint(count)}")
        del keys[count - 1]
    raise ConfigError(problems)


def _quoted(argument: str) -> str:
    """A span, or a long list, as text: to Hydra log(...) would be a function."""
    key, _, value = argument.partition("=")
    is_axis = key.lstrip("+").startswith("grid.")
    as_text = (is_axis and spans.is_span(value)) or _is_long_list(argument)
    return f"{key}='{value}'" if as_text else argument


def _is_long_list(argument: str) -> bool:
    """Whether an argument gives an axis, or the seeds, as a long list of numbers."""
    key, _, value = argument.lstrip("+").partition("=")
    return (key.startswith("grid.") or key == "seeds") and spans.is_long_list(value)


def _spread(config: dict[str, Any]) -> list[str]:
    """Replace each axis that is written as a span or a long list by its values; what is wrong with others."""
    problems: list[str] = []
    if spans.is_long_list(config.get("seeds")):
        config["seeds"] = spans.values_of(config["seeds"])
    if not isinstance(grid := config.get("grid"), dict):
        return problems  # the config's own check says so
    for key, value in list(grid.items()):
        if spans.is_long_list(value):
            grid[key] = spans.values_of(value)
        elif spans.is_span(value):
            try:
                grid[key] = spans.spread(value, _kind(config, key))
            except ValueError as error:
                problems.append(f"grid.{key}={value}: {error}")
                del grid[key]
    return problems


def _kind(config: dict[str, Any], key: str) -> type[int] | type[float]:
    """Of a hyperparameter; float where the chosen parts have none of that name."""
    for group in BLOCKS:
        block = config.get(group)
        name = block.get("name") if isinstance(block, dict) else None
        if name in choices(group, SOURCE.get()):
            numbers = registry.find(group, str(name), SOURCE.get()).numbers
            if key in numbers:
                return numbers[key].kind
    return float


def _problem(argument: str) -> str | None:
    """Why an argument cannot be used, as far as it alone shows it."""
    short = shorten(argument) or "''"
    if len(argument) > limits.MOST_CHARACTERS:
        most = f"at most {limits.MOST_CHARACTERS:,} characters"
        return f"{short}: {most}; write a longer one in ./sweeps/NAME.yaml"
    try:
        parsed = OverridesParser.create().parse_override(argument)
        if not parsed.key_or_group:
            raise ValueError("Hydra reads a value without a key")
    except Exception:  # Hydra's own, and what Python raises at numbers and brackets without end
        named = argument.removeprefix("sweeps/").removesuffix(".yaml")
        hint = f"; did you mean sweeps={named}?" if named in choices("sweeps") else ""
        return f"{short}: cannot be read; write KEY=VALUE, a list as [1,2], other text as KEY=\"'...'\"{hint}"
    key, group = parsed.key_or_group, re.split(r"[./]", parsed.key_or_group)[0]
    if group == "hydra":
        return f"{short}: settings of Hydra itself have no effect; the results folder is chosen by out=DIR"
    if parsed.is_sweep_override():
        simple = parsed.value_type == ValueType.SIMPLE_CHOICE_SWEEP and "(" not in argument
        values = argument.partition("=")[2] if simple else "1,2"
        return f"{short}: nothing is swept but lists; write {shorten(f'{key}=[{values}]')}"
    if key in GROUPS:
        chosen = parsed.type == OverrideType.CHANGE and parsed.package is None
        there = choices(key, SOURCE.get())
        if not chosen or parsed.value() not in there:
            how = "" if chosen else f"write {key}=NAME; NAME "
            return f"{short}: {how}{one_of(str(parsed.value()), there)}"
    elif parsed.package is not None or "/" in key:
        return f"{short}: there is no such group; groups are {', '.join(GROUPS)}"
    return None


def override(argument: str) -> str:
    """An argument as Hydra gets it: every key is added, unless it chooses from a group or deletes.

    So `grid.b1=[...]` can be given though no config has it yet, and all misspelt keys are reported together,
    by the config's own check, instead of the first one by Hydra.
    """
    if argument.startswith("~") or argument.partition("=")[0] in GROUPS:
        return argument
    return f"++{_quoted(argument.lstrip('+'))}"


def _composed(arguments: list[str]) -> dict[str, Any]:
    """What the arguments compose. Raises ConfigError with Hydra's complaint."""
    with _hydra(), initialize_config_dir(str(configs()[0].resolve()), version_base="1.3"):
        config = hydra_compose("config", [override(argument) for argument in arguments])
        # A sweep without a name is a problem among others: `out`, which holds it, resolves all the same.
        unnamed = OmegaConf.is_missing(config, "name")
        if unnamed:
            config.name = ""
        plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    return plain | ({"name": MISSING} if unnamed else {})


def answer(argv: list[str]) -> None:
    """Let Hydra answer --cfg or --shell-completion. Raises ConfigError."""
    application = main(version_base="1.3", config_path=str(configs()[0].resolve()), config_name="config")
    before, said = sys.argv, io.StringIO()
    # Hydra reads the command line itself, and exits when it has complained.
    sys.argv = ["grok-sweep", *argv]
    try:
        with _hydra(), contextlib.redirect_stderr(said):
            application(_nothing)()
    except SystemExit:
        lines = [line for line in said.getvalue().splitlines() if line and "HYDRA_FULL_ERROR" not in line]
        raise ConfigError(lines[-1:]) from None
    finally:
        sys.argv = before


def _nothing(config: DictConfig) -> None:
    """The application, as far as Hydra is concerned."""


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
        raise ConfigError([why(error)]) from None
