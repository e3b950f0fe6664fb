"""`grok-sweep`, and `python -m grok_sweep`."""

import sys

from grok_sweep.process import settle


def main() -> int:
    """The command; an interrupt while it is still being loaded needs no traceback."""
    settle()
    try:
        from grok_sweep import cli

        return cli.main()
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
