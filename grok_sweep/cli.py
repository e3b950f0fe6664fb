"""`grok-sweep`: wiring of compose, config and driver."""

import argparse
import contextlib
import os
import re
import shlex
import signal
import sys
import textwrap
from importlib import resources
from pathlib import Path
from typing import NoReturn

from grok_sweep import __version__
from grok_sweep.core import registry
from grok_sweep.core.choices import GROUPS, choices
from grok_sweep.core.config import SETTINGS, parse
from grok_sweep.errors import ConfigError, LaunchError
from grok_sweep.stop import SIGNALS, Stopped
from grok_sweep.store import StoreError

HELP = """\
grok-sweep sweeps=NAME [KEY=VALUE ...]
grok-sweep init NAME

Trains every run of a sweep, sorts the runs into phases and draws them. The same command goes on where it
was stopped. Everything is a key of the config, and is given as with Hydra:

  grok-sweep sweeps=quickstart                           a sweep as its file describes it
  grok-sweep sweeps=quickstart dry_run=true              what it would train; nothing is written
  grok-sweep sweeps=quickstart out=DIR seeds=3           the results folder, and how many seeds or which ones
  grok-sweep sweeps=quickstart grid.b1=[0.9,0.99]        one more axis: any hyperparameter is one
  grok-sweep sweeps=quickstart 'grid.b1=log(0.5, 0.9, 5)'  an axis of 5 values, log or linear
  grok-sweep sweeps=quickstart --cfg job                 the config, and so all keys; nothing is trained
  grok-sweep sweeps=NAME --help                          this, with what the sweep's own file of parts has
  grok-sweep init NAME                                   writes ./sweeps/NAME.yaml and NAME.py to begin from
  eval "$(grok-sweep -sc install=bash)"                  completion by the tab key

Groups, chosen as GROUP=NAME (a sweep of your own is a file ./sweeps/NAME.yaml):
{groups}

Hyperparameters, each a key of its group and, with a list of values, of grid:
{hyperparameters}

Settings:
{settings}

Flags: {flags}
"""
MOST_TOLD = 50  # problems of a command line
FLAGS = "--help -h, --version, --cfg -c job|hydra|all, --resolve, --package -p KEY, --shell-completion -sc"


class _Flags(argparse.ArgumentParser):
    """Raises ConfigError where argparse would exit."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError([f"{message.removeprefix('argument ')}; flags are {FLAGS}"])


def main(argv: list[str] | None = None) -> int:
    """Run a sweep, or say in one message why not; `argv` None: that of this process, which then ends.

    Exit code 0: done; 1: some runs failed; 2: bad input; 128 and its number: a signal asked for the end.
    """
    try:
        return _main(sys.argv[1:] if argv is None else argv)
    except ConfigError as error:
        print(_message(error.problems), file=sys.stderr)
        return 2
    except (StoreError, LaunchError, OSError) as error:  # a full disk, nodes that are gone
        print(f"grok-sweep: {error}; what was finished is kept, the same command goes on", file=sys.stderr)
        return 1
    except (Stopped, KeyboardInterrupt) as stop:  # the latter before there is anything to stop
        if argv is None:
            for number in SIGNALS:  # jax and Ray take a second to end: one more meanwhile needs no words
                signal.signal(number, signal.SIG_DFL)
        print("grok-sweep: stopped; the same command goes on from here", file=sys.stderr)
        return 128 + (stop.number if isinstance(stop, Stopped) else signal.SIGINT)


def _message(problems: list[str]) -> str:
    if len(problems) == 1:
        return f"grok-sweep: {problems[0]}"
    lines = [f"grok-sweep: {len(problems)} problems:", *(f"  {problem}" for problem in problems[:MOST_TOLD])]
    more = len(problems) - MOST_TOLD
    return "\n".join([*lines, *([f"  ... and {more} more"] if more > 0 else [])])


def _main(argv: list[str]) -> int:
    try:
        Path.cwd()
    except OSError:
        raise ConfigError(["the current folder is not there any more; change to one that is"]) from None
    if argv[:1] == ["init"]:
        return _init(argv[1:])
    flags, arguments, problems = _flags(argv)
    if flags.help:
        print(_help(arguments))
        return 0
    if flags.version:
        print(f"grok-sweep {__version__}")
        return 0
    # Hydra is imported here, and jax and ray further down, so that each answer comes as soon as it can.
    from grok_sweep import compose
    from grok_sweep.sweep_file import source_of

    if flags.shell_completion:
        return _complete(arguments)
    try:
        source = source_of(arguments)
        with compose.using(source):
            config, more = compose.compose(arguments)
        problems += more
        sweep = parse(config, source)
    except ConfigError as error:
        raise ConfigError(problems + error.problems) from None
    if problems:
        raise ConfigError(problems)
    if flags.cfg:
        package = ["--package", flags.package] if flags.package else []
        resolve = ["--resolve"] if flags.resolve else []
        with compose.using(source):
            compose.answer(["--cfg", flags.cfg, *resolve, *package, *map(compose.override, arguments)])
        return 0
    from grok_sweep.worker.environment import environment, set_environment

    # Before jax computes. On Ray the driver trains nothing: it takes no accelerator from its workers.
    inline = sweep.cluster.executor == "inline"
    set_environment(environment(sweep.cluster.device) if inline else {"JAX_PLATFORMS": "cpu"})
    from grok_sweep.session import driver

    if sweep.dry_run:
        return driver.dry_run(sweep, config)
    return driver.drive(sweep, config, shlex.join(["grok-sweep", *argv]))


def _init(argv: list[str]) -> int:
    """Write a commented sweep and its file of parts, to begin from: ./sweeps/NAME.yaml and NAME.py."""
    if len(argv) != 1 or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,99}", argv[0]):
        rule = "letters, digits and _, the first no digit, as in init mine"
        raise ConfigError([f"init: goes with a name for the sweep: {rule}"])
    name, folder = argv[0], Path("sweeps")
    files = {folder / f"{name}.yaml": "sweep.yaml", folder / f"{name}.py": "parts.py"}
    if there := [str(path) for path in files if path.exists()]:
        raise ConfigError([f"init: {' and '.join(there)}: already there; choose another name"])
    if name in choices("sweeps"):
        raise ConfigError(
            [f"init: {name} is a sweep of the package, which yours would hide; choose another name"]
        )
    try:
        folder.mkdir(exist_ok=True)
        for path, template in files.items():
            text = resources.files("grok_sweep.template").joinpath(template).read_text(encoding="utf-8")
            path.write_text(text.replace("NAME", name), encoding="utf-8")
    except OSError as error:
        raise ConfigError([f"init: {error.filename or folder} cannot be written: {error.strerror}"]) from None
    print(f"wrote {' and '.join(map(str, files))}\nnext: grok-sweep sweeps={name} dry_run=true")
    return 0


def _flags(argv: list[str]) -> tuple[argparse.Namespace, list[str], list[str]]:
    """(flags, overrides, problems) of a command line."""
    parser = _Flags(prog="grok-sweep", add_help=False, allow_abbrev=False)
    parser.add_argument("-h", "--help", action="store_true")
    parser.add_argument("--version", action="store_true")
    parser.add_argument("-c", "--cfg", choices=["job", "hydra", "all"])
    parser.add_argument("--resolve", action="store_true")
    parser.add_argument("-p", "--package")
    parser.add_argument("-sc", "--shell-completion", action="store_true")
    parser.add_argument("overrides", nargs="*")
    flags, unknown = parser.parse_known_intermixed_args(argv)
    problems = [f"{flag}: no such flag; keys are given as KEY=VALUE, flags are {FLAGS}" for flag in unknown]
    if (flags.resolve or flags.package is not None) and not flags.cfg:
        problems.append("--resolve, --package: go with --cfg only")
    return flags, flags.overrides, problems


def _complete(arguments: list[str]) -> int:
    """Shell completion, by Hydra. What cannot be completed prints nothing: the terminal is in use."""
    from grok_sweep import compose
    from grok_sweep.sweep_file import source_of

    if len(arguments) != 1 or not re.fullmatch("(install|uninstall|query)=(bash|fish|zsh)", arguments[0]):
        raise ConfigError(
            ["--shell-completion: goes with install=bash, or uninstall=, and bash, fish or zsh"]
        )
    # The line that is being completed may have chosen a sweep, whose file of parts has more to offer.
    line = os.environ.get("COMP_LINE", "").split()
    with contextlib.suppress(ConfigError), compose.using(source_of(line)):
        compose.answer(["--shell-completion", *arguments])
    return 0


def _help(arguments: list[str]) -> str:
    """All that can be given; of a sweep that is chosen its file's parts too."""
    source = None
    if any(argument.startswith("sweeps=") for argument in arguments):
        from grok_sweep.sweep_file import source_of

        source = source_of(arguments)
    there = registry.parts_of(source)
    numbers = {
        key: n for kind in registry.KINDS for part in there[kind].values() for key, n in part.numbers.items()
    }
    defined = {key: n for part in there["definition"].values() for key, n in part.numbers.items()}
    settings = SETTINGS | {f"phases.{key}": n for key, n in defined.items()}
    rows = {key: f"{n.meaning}; {n.allowed}" for key, n in settings.items()}
    rows["phases.definition"] = f"of phases; {' or '.join(choices('definition', source))}"

    def table(rows: dict[str, str]) -> str:
        entries = (f"  {key:23} {words}" for key, words in rows.items())
        return "\n".join("\n".join(textwrap.wrap(e, 118, subsequent_indent=26 * " ")) for e in entries)

    logged = ", ".join(registry.metrics(source))
    own = f"\n\nMetrics of its file, columns of the curves: {logged}" if logged else ""
    return (
        HELP.format(
            groups=table({group: ", ".join(choices(group, source)) for group in GROUPS}),
            hyperparameters=table({key: f"{n.meaning}; {n.allowed}" for key, n in numbers.items()}),
            settings=table(rows),
            flags=FLAGS,
        ).rstrip()
        + own
    )
