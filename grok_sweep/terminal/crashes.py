"""The runs that crashed, as a table for people."""

import sys

import pandas as pd
from rich.console import Console
from rich.table import Table

from grok_sweep.terminal.diagram import one_line

MOST_ROWS = 20


def show(place: str, crashed: pd.DataFrame) -> None:
    """Print to stderr what crashed, why, and where the first log of it is: a row per reason.

    `crashed` has a row per run: run_id, reason, log, time; `place` is where all of them are.
    """
    console = Console(stderr=True, markup=False, highlight=False, width=None if sys.stderr.isatty() else 160)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("crashed", justify="right", no_wrap=True)
    table.add_column("why", overflow="fold")
    table.add_column("log", overflow="fold")
    why = crashed["reason"].str.partition(": ")[2]  # less which shard it was
    why = why.str.partition(" (run ")[0]  # and which run
    shards = crashed.groupby(why.where(why != "", crashed["reason"]), sort=False)
    for reason, of_reason in list(shards)[:MOST_ROWS]:
        count, logs = len(of_reason), of_reason["log"].nunique()
        text = of_reason["reason"].iloc[0] if logs == 1 else f"{reason} ({logs:,} shards)"
        table.add_row(f"{count:,} run{'s' * (count > 1)}", one_line(text), of_reason["log"].iloc[0])
    console.print()
    console.print(table)
    if len(shards) > MOST_ROWS:
        console.print(f"... and {len(shards) - MOST_ROWS:,} more, in {place}")
    runs = f"{len(crashed):,} run{'s' * (len(crashed) > 1)}"
    message = f"{runs} crashed; the same command with retry_crashed=true trains what crashed again"
    console.print(message, soft_wrap=True)
