"""report.html while a sweep runs: written again as shards land."""

import time
from datetime import UTC, datetime

from analysis import classify, load_curves, load_runs, write_report
from grok_sweep.config import Sweep

SECONDS = 10.0  # between two pages at least
SHARE = 20  # and this many times as long as the last one took: it may read a hundred thousand curves


class LiveReport:
    """The page of `sweep`, where it asks for one (report=live); else nothing is done."""

    def __init__(self, sweep: Sweep) -> None:
        self._sweep = sweep
        self._due = 0.0 if sweep.report == "live" else float("inf")
        self._written = False

    def landed(self) -> None:
        """Write the page if it is time. Raises OSError where it cannot be written."""
        started = time.monotonic()
        if started < self._due:
            return
        self._write(datetime.now(UTC).isoformat(sep=" ", timespec="seconds"))
        ended = time.monotonic()
        self._due = ended + max(SECONDS, SHARE * (ended - started))

    def ended(self) -> None:
        """Write it once more: a page that is there says no longer that the sweep is running."""
        if self._written:
            self._write(None)

    def _write(self, live: str | None) -> None:
        sweep = self._sweep
        runs = load_runs(sweep.out)
        phases = classify(
            runs,
            min_loss=sweep.min_loss,
            max_ratio=sweep.max_ratio,
            definition=sweep.definition,
            curves=load_curves(sweep.out) if sweep.definition == "liu" else None,
        )
        write_report(sweep.out, phases, live=live)
        self._written = True
