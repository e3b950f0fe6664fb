"""`python -m grok_sweep` is `grok-sweep`."""

import sys

from grok_sweep.cli import main

sys.exit(main())
