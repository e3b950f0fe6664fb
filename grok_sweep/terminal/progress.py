"""What a sweep shows while it runs: a live display on a terminal, a line now and then anywhere else.

Time left is reckoned from work (estimated operations), never from the number of runs: programs differ
fifty-fold. Rates are of this session only, so that a resumed sweep does not boast of yesterday's runs.
The display is cheap, because workers train on the cores it would use: `landed` touches counters only, and
drawing happens twice a second whatever happens.
"""

import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self, TextIO

import numpy as np
import pandas as pd
from rich.console import Console, ConsoleDimensions, ConsoleOptions, RenderResult
from rich.control import Control
from rich.live import Live
from rich.text import Text

from grok_sweep.core.definitions import pair
from grok_sweep.core.parts import Definition
from grok_sweep.terminal.diagram import Diagram, complete, one_line

SECONDS_BETWEEN_LINES = 5.0
EXPECTED_SECONDS = 60.0
ABOVE = 7  # lines of the terminal's height that are not the diagram's


class Progress:
    """The progress of one sweep; a context manager, and a rich renderable.

    `axes` maps the name of every axis but the seed to its values; `runs` are the columns of all runs of the
    sweep, finished or not, and `model` is theirs: it knows which axes have no effect on a run.
    `work_per_second` is the rate that the plan expects; it stands in until this session has one of its own.
    Tables given to `resumed` and `landed` have a row per run, the axes as columns, and `phase`, by
    `definition`; a run that could not be sorted has none.
    """

    def __init__(
        self,
        *,
        runs_total: int,
        work_total: float,
        axes: Mapping[str, Sequence[Any]],
        model: str,
        runs: Mapping[str, np.ndarray],
        work_per_second: float,
        definition: Definition = pair,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream, self._clock = sys.stderr if stream is None else stream, clock
        self._live = _live(self, self._stream)
        self.runs_total, self.work_total = runs_total, work_total
        self.runs_done, self.work_done = 0, 0.0
        self.phases: Counter[str] = Counter()
        self._before = (0, 0.0)  # runs and work of earlier sessions
        self._expected = work_per_second
        self._looks = definition.phases
        self._diagram = Diagram(axes, model, runs, definition)
        self._started = self._line_due = clock()
        self._ended: float | None = None
        self._last_printed = ""

    def __enter__(self) -> Self:
        if self._live:
            self._live.start(refresh=True)
        return self

    def __exit__(self, *error: object) -> None:
        self._ended = self._clock()
        if self._live:
            self._live.stop()  # draws once more, and shows the cursor again
        elif self._last_printed != self._line():
            self._print(self._line())

    def resumed(self, phases: pd.DataFrame, work: float) -> None:
        """Count what was finished before this session: it is done, but says nothing about the rate."""
        self._count(phases, work)
        self._before = (self.runs_done, self.work_done)

    def note(self, message: str) -> None:
        """Say one thing, above the display."""
        if self._live:
            self._live.console.print(Text(one_line(message)))
        else:
            self._print(one_line(message))

    def landed(self, phases: pd.DataFrame, work: float) -> None:
        """Count one shard's runs."""
        self._count(phases, work)
        if not self._live and self._clock() >= self._line_due:
            self._line_due = self._clock() + SECONDS_BETWEEN_LINES
            self._print(self._line())

    def fraction(self) -> float:
        """How much of the work is done, from 0 to 1; 1 once all runs are, whatever rounding did."""
        return 1.0 if self.runs_done >= self.runs_total else min(1.0, self.work_done / self.work_total)

    def seconds_left(self) -> float:
        """The time that the rest of the work will take at this session's rate."""
        # The first shards are slow, with compiling: the plan's rate counts as a minute of experience.
        work = self.work_done - self._before[1] + EXPECTED_SECONDS * self._expected
        return (1 - self.fraction()) * self.work_total * (self._elapsed() + EXPECTED_SECONDS) / work

    def _elapsed(self) -> float:
        return (self._clock() if self._ended is None else self._ended) - self._started

    def _count(self, phases: pd.DataFrame, work: float) -> None:
        self.runs_done += len(phases)
        self.work_done += work
        self.phases.update(phases["phase"].dropna().tolist())
        self._diagram.count(phases)

    def _figures(self) -> list[str]:
        elapsed = self._elapsed()
        rate = (self.runs_done - self._before[0]) / elapsed if elapsed > 0 else 0.0
        if self.runs_done >= self.runs_total:
            time_left = f"finished in {in_time(elapsed)}"
        elif self._ended is not None:
            time_left = f"stopped after {in_time(elapsed)}"
        else:
            time_left = f"{in_time(self.seconds_left())} left"
        runs, work = f"{self.runs_done}/{self.runs_total} runs", f"{int(100 * self.fraction())} % of the work"
        return [runs, work, f"{rate:.0f} runs/s" if rate >= 9.95 else f"{rate:.2g} runs/s", time_left]

    def _line(self) -> str:
        counts = ", ".join(f"{phase} {self.phases[phase]}" for phase in self._looks)
        return f"{', '.join(self._figures())}; {counts}"

    def _print(self, line: str) -> None:
        self._last_printed = line
        print(line, file=self._stream, flush=True)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        done = int(self.fraction() * options.max_width)
        yield Text.assemble(("━" * done, "#7CB9DF"), ("─" * (options.max_width - done), "dim"))
        yield Text("   ".join(self._figures()))
        legend = Text()
        for phase, look in self._looks.items():
            glyph, style = complete(look)
            legend.append(f" {glyph} ", style).append(f" {phase} {self.phases[phase]}   ")
        yield legend
        yield from self._diagram.drawn(options.max_width, options.size.height - ABOVE)


class _Display(Live):
    """Begins anew on an empty screen where the terminal has another size now: what was there has wrapped."""

    _size: ConsoleDimensions | None = None

    def refresh(self) -> None:
        """Draw."""
        before, self._size = self._size, self.console.size
        if before not in (None, self._size):
            self.console.control(Control.clear(), Control.home())
        super().refresh()


def _live(renderable: Progress, stream: TextIO) -> Live | None:
    """A display on `stream`, or None where it is no terminal that a person looks at."""
    console = Console(file=stream)
    if not (stream.isatty() and console.is_interactive and console.encoding.startswith("utf")):
        return None
    # What is printed meanwhile goes above the display, unless it goes to a file anyway.
    out = sys.stdout.isatty()
    return _Display(
        renderable, console=console, refresh_per_second=2, redirect_stdout=out, vertical_overflow="crop"
    )


def in_time(seconds: float) -> str:
    """A time in words."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
