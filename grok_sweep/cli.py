"""`grok-sweep`: wiring of compose, config and driver."""

import shlex
import sys

from grok_sweep import __version__
from grok_sweep.config import ConfigError, parse


def main(argv: list[str] | None = None) -> int:
    """Run a sweep, or say in one message why not. Exit code 0: done; 1: some runs failed; 2: bad input."""
    arguments = sys.argv[1:] if argv is None else argv
    try:
        return _main(arguments)
    except ConfigError as error:
        print(_message(error.problems), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("grok-sweep: stopped; the same command goes on from here", file=sys.stderr)
        return 130


def _message(problems: list[str]) -> str:
    if len(problems) == 1:
        return f"grok-sweep: {problems[0]}"
    return "\n".join([f"grok-sweep: {len(problems)} problems:", *(f"  {problem}" for problem in problems)])


def _main(arguments: list[str]) -> int:
    if arguments == ["--version"]:
        print(f"grok-sweep {__version__}")
        return 0
    from grok_sweep import compose

    flags = [argument for argument in arguments if argument.startswith("-")]
    if any(flag.split("=")[0] in compose.FLAGS + compose.COMPLETION for flag in flags):
        return compose.answer(arguments)
    if flags:
        raise ConfigError(
            [f"{flags[0]}: no such flag; a sweep is given as key=value, flags are {', '.join(compose.FLAGS)}"]
        )
    config, problems = compose.compose(arguments)
    try:
        sweep = parse(config)
    except ConfigError as error:
        raise ConfigError(problems + error.problems) from None
    if problems:
        raise ConfigError(problems)
    # jax and ray are imported below here only: bad input is answered at once.
    from grok_sweep import driver

    if sweep.dry_run:
        return driver.dry_run(sweep)
    return driver.drive(sweep, config, shlex.join(["grok-sweep", *arguments]))
