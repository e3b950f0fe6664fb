"""report.html while a sweep runs: written again as shards land."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

import analysis
from analysis import load_curves, load_runs
from grok_sweep.core.parts import PartError
from grok_sweep.core.sweep import Sweep
from grok_sweep.session import sorting
from grok_sweep.store import StoreError

SECONDS = 10.0  # between two pages at least
SHARE = 20  # and this many times as long as the last one took: it may read a hundred thousand curves


class LiveReport:
    """The page of `sweep`, where it asks for one (report=live).

    A page that cannot be written is said to `note`, and no reason to stop.
    """

    def __init__(self, sweep: Sweep, note: Callable[[str], None]) -> None:
        self._sweep = sweep
        self._note = note
        self._due = 0.0 if sweep.report == "live" else float("inf")

    def landed(self) -> None:
        """Write the page if it is time."""
        started = time.monotonic()
        if started >= self._due:
            self._try(self._write)
            ended = time.monotonic()
            self._due = ended + max(SECONDS, SHARE * (ended - started))

    def ended(self) -> None:
        """The sweep does not run any more: the page, of this or of an earlier session, says so."""
        self._try(lambda: analysis.end_report(self._sweep.out))

    def _write(self) -> None:
        sweep = self._sweep
        phases = sorting.phases(sweep, load_runs(sweep.out), lambda: load_curves(sweep.out))
        analysis.write_report(
            sweep.out, phases, live=datetime.now(UTC).isoformat(sep=" ", timespec="seconds")
        )

    def _try(self, write: Callable[[], None]) -> None:
        try:
            write()
        except (OSError, PartError, StoreError, ValueError) as error:
            self._note(f"the page could not be written: {error}")
