"""report.html while a sweep runs: written again as shards land."""

import contextlib
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from analysis import end_report, load_curves, load_runs, write_report
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
        if started < self._due:
            return
        with self._noted():
            sweep = self._sweep
            phases = sorting.phases(sweep, load_runs(sweep.out), lambda: load_curves(sweep.out))
            write_report(sweep.out, phases, live=datetime.now(UTC).isoformat(sep=" ", timespec="seconds"))
        ended = time.monotonic()
        self._due = ended + max(SECONDS, SHARE * (ended - started))

    def ended(self) -> None:
        """The sweep does not run any more: the page, of this or of an earlier session, says so."""
        with self._noted():
            end_report(self._sweep.out)

    @contextlib.contextmanager
    def _noted(self) -> Iterator[None]:
        try:
            yield
        except (OSError, PartError, StoreError, ValueError) as error:
            self._note(f"the page could not be written: {error}")
