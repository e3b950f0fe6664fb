"""`grok-sweep`: wiring of compose, config and driver."""

import argparse
import contextlib
import itertools
import os
import re
import shlex
import signal
import sys
import textwrap
from collections.abc import Mapping
from contextlib import ExitStack
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from grok_sweep import __version__
from grok_sweep.core import registry
from grok_sweep.core.choices import GROUPS, choices
from grok_sweep.core.config import parse
from grok_sweep.core.number import Number
from grok_sweep.core.settings import ONLY, OPTIONS, REFINE, SETTINGS
from grok_sweep.core.sweep import Cluster, Sweep
from grok_sweep.errors import ConfigError, LaunchError, StoreError
from grok_sweep.process import too_small
from grok_sweep.stop import SIGNALS, Stopped
from grok_sweep.sweep_file import names_parts, source_of

if TYPE_CHECKING:
    from grok_sweep.executors import Head

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
  grok-sweep sweeps=quickstart cluster=local             with Ray also where it takes less than 20 s in all
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
{metrics}
Flags: {flags}
"""
FLAGS = "--help -h, --version, --cfg -c job, --shell-completion -sc"


class _Flags(argparse.ArgumentParser):
    """Raises ConfigError where argparse would exit."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError([f"{message.removeprefix('argument ')}; flags are {FLAGS}"])


def main(argv: list[str] | None = None) -> int:
    """Run a sweep, or say in one message why not; `argv` None: that of this process, which then ends.

    Exit code 0: done; 1: some runs crashed; 2: bad input; 128 and its number: a signal asked for the end.
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
    return "\n  ".join([f"grok-sweep: {len(problems)} problems:", *problems])


def _main(argv: list[str]) -> int:
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
    if flags.shell_completion:
        return _complete(arguments)
    if why := too_small():
        raise ConfigError([why])
    with ExitStack() as stack:  # ends what was begun of Ray, however it goes on
        # Nobody waits for Ray to learn what is wrong in a file of parts: then it starts when that was tried.
        alone = flags.cfg or names_parts(arguments)
        ray = None if alone else _ray(stack, _plain(arguments))
        sweep, config = _read(arguments, problems)
        if flags.cfg:
            from grok_sweep import compose

            with compose.using(sweep.source):
                compose.answer(["--cfg", flags.cfg, *map(compose.override, arguments)])
            return 0
        from grok_sweep.worker.environment import environment, set_environment

        # Before jax computes. On Ray the driver trains nothing: it takes no accelerator from its workers.
        here = sweep.cluster.device if sweep.cluster.executor == "inline" else "cpu"
        set_environment(environment(here))
        ray = None if sweep.dry_run or alone else _ray(stack, sweep.cluster, ray)
        from grok_sweep.session import driver

        if sweep.dry_run:
            return driver.dry_run(sweep, config)
        return driver.drive(sweep, config, shlex.join(["grok-sweep", *argv]), ray)


def _read(arguments: list[str], problems: list[str]) -> tuple[Sweep, dict[str, Any]]:
    """The sweep, and the config that it was parsed from. Raises ConfigError, with `problems` first."""
    from grok_sweep import compose

    try:
        source = source_of(arguments)
        with compose.using(source):
            config, more = compose.compose(arguments)
        problems = problems + more
        sweep = parse(config, source)
    except ConfigError as error:
        raise ConfigError(problems + error.problems) from None
    if problems:
        raise ConfigError(problems)
    # Spans as their values: the record is read without them.
    config["grid"] = {key: [*values] for key, values in sweep.axes.items()}
    return sweep, config


def _plain(arguments: list[str]) -> Cluster | None:
    """The cluster of a command line that plainly asks for Ray here, which starts while the config is read."""
    given = dict(argument.partition("=")[::2] for argument in arguments)
    workers = given.get("cluster.workers", "null")
    others = {"cluster.executor", "cluster.device", "cluster.address"} & given.keys()
    if given.get("cluster") != "local" or others or given.get("dry_run", "false") != "false":
        return None
    if workers != "null" and not re.fullmatch("[1-9][0-9]{0,2}", workers):
        return None
    return Cluster("ray", "cpu", 0.0, workers=None if workers == "null" else int(workers))


def _ray(stack: ExitStack, cluster: Cluster | None, begun: "Head | None" = None) -> "Head | None":
    """What `cluster` needs of Ray on this machine, begun and ended with `stack`; None where it needs none."""
    from grok_sweep.executors import start_ray

    made = start_ray(cluster, begun) if cluster is not None else None
    return made if made is None or made is begun else stack.enter_context(made)


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
        raise ConfigError([f"init: {name} is a sweep of the package; choose another name"])
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
    parser.add_argument("-c", "--cfg", choices=["job"])
    parser.add_argument("-sc", "--shell-completion", action="store_true")
    parser.add_argument("overrides", nargs="*")
    flags, unknown = parser.parse_known_intermixed_args(argv)
    problems = [f"{flag}: no such flag; keys are given as KEY=VALUE, flags are {FLAGS}" for flag in unknown]
    return flags, flags.overrides, problems


def _complete(arguments: list[str]) -> int:
    """Shell completion, by Hydra. What cannot be completed prints nothing: the terminal is in use."""
    from grok_sweep import compose

    # The line that is being completed may have chosen a sweep, whose file of parts has more to offer.
    line = os.environ.get("COMP_LINE", "").split()
    quiet = contextlib.suppress(ConfigError) if line else contextlib.nullcontext()
    with quiet, compose.using(source_of(line)):
        compose.answer(["--shell-completion", *arguments])
    return 0


def _help(arguments: list[str]) -> str:
    """All that can be given; of a sweep that is chosen its file's parts too."""
    source = source_of(arguments)

    def numbers(*kinds: str) -> dict[str, Number]:
        there = registry.parts_of(source)
        parts = itertools.chain(*(there[kind].values() for kind in kinds))
        return {key: number for part in parts for key, number in part.numbers.items()}

    def table(rows: Mapping[str, str | Number]) -> str:
        words = {
            key: of if isinstance(of, str) else f"{of.meaning}; {of.allowed}" for key, of in rows.items()
        }
        entries = (f"  {key:23} {of}" for key, of in words.items())
        return "\n".join(textwrap.fill(entry, 118, subsequent_indent=26 * " ") for entry in entries)

    phases = {f"phases.{key}": number for key, number in numbers("definition").items()}
    definition = {"phases.definition": f"of phases; {' or '.join(choices('definition', source))}"}
    options = {"only": ONLY, "refine.on": REFINE} | {key: meaning for key, (_, meaning) in OPTIONS.items()}
    metrics = dict.fromkeys(registry.metrics(source), "of its file")
    return HELP.format(
        groups=table({group: ", ".join(choices(group, source)) for group in GROUPS}),
        hyperparameters=table(numbers(*registry.KINDS)),
        settings=table({**SETTINGS, **phases, **definition, **options}),
        metrics=f"\nMetrics, columns of the curves:\n{table(metrics)}\n" if metrics else "",
        flags=FLAGS,
    ).rstrip()
