"""`grok-analyze`, and `python -m analysis`."""

import sys

from grok_sweep.process import settle


def main() -> int:
    """The command."""
    settle()
    from analysis import cli  # what it loads may read the environment

    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
