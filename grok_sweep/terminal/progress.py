"""What a sweep shows while it runs: a live display on a terminal, a line now and then anywhere else.

Time left is reckoned from work (estimated operations), never from the number of runs: programs differ
fifty-fold. Rates are of this session only, so that a resumed sweep does not boast of yesterday's runs.
The display is cheap, because workers train on the cores it would use: `landed` touches counters only, and
drawing happens twice a second whatever happens.
"""

import math
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self, TextIO

import numpy as np
import pandas as pd
from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.text import Text

from grok_sweep.core.definitions import pair
from grok_sweep.core.look import Look
from grok_sweep.core.parts import Definition
from grok_sweep.terminal.diagram import Diagram, complete, flow, one_line

SECONDS_BETWEEN_LINES = 5.0
EXPECTED_SECONDS = 60.0
SPARE_LINES = 3  # of the terminal's height, for notes and the shell's prompt


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
        work_per_second: float | None = None,
        definition: Definition = pair,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        stream = sys.stderr if stream is None else stream
        self.runs_total, self.work_total = runs_total, work_total
        self.runs_done, self.work_done = 0, 0.0
        self.phases: Counter[str] = Counter()
        self._stream, self._clock = stream, clock
        self._live = _live(self, stream)
        self._workers: Mapping[str, str] = {}
        self._expected = work_per_second
        self._looks = definition.phases
        self._diagram = Diagram(axes, model, runs, definition)
        self._started = self._last_landing = clock()
        self._ended: float | None = None
        self._session_runs, self._session_work = 0, 0.0
        self._last_line: float | None = None
        self._last_printed = ""

    def __enter__(self) -> Self:
        self._started = self._last_landing = self._clock()
        if self._live:
            self._live.start(refresh=True)
        return self

    def __exit__(self, *error: object) -> None:
        self._ended = self._clock()
        self._workers = {}
        if self._live:
            self._live.stop()  # draws once more, and shows the cursor again
        elif self._last_printed != self._line():
            self._print(self._line())

    def resumed(self, phases: pd.DataFrame, work: float) -> None:
        """Count what was finished before this session: it is done, but says nothing about the rate."""
        self._count(phases, work)

    def note(self, message: str) -> None:
        """Say one thing, above the display."""
        if self._live:
            self._live.console.print(Text(one_line(message)))
        else:
            self._print(one_line(message))

    def workers(self, doing: Mapping[str, str]) -> None:
        """Show what each worker does now: its name -> a few words."""
        self._workers = {one_line(name): one_line(what) for name, what in doing.items()}

    def landed(self, phases: pd.DataFrame, work: float) -> None:
        """Count one shard's runs."""
        self._count(phases, work)
        self._session_runs += len(phases)
        self._session_work += work
        now = self._last_landing = self._clock()
        due = self._last_line is None or now - self._last_line >= SECONDS_BETWEEN_LINES
        if due and not self._live:
            self._last_line = now
            self._print(self._line())

    def fraction(self) -> float:
        """How much of the work is done, from 0 to 1; 1 once all runs are, whatever rounding did."""
        if self.runs_done >= self.runs_total:
            return 1.0
        return min(1.0, self.work_done / self.work_total) if self.work_total > 0 else 0.0

    def seconds_left(self) -> float | None:
        """The time that the rest of the work will take at this session's rate; None while that is unknown."""
        if self.runs_done >= self.runs_total:
            return 0.0
        seconds, work = self._last_landing - self._started, self._session_work
        if self._expected:
            # The first shards are slow, with compiling: the plan's rate counts as a minute of experience.
            seconds, work = seconds + EXPECTED_SECONDS, work + EXPECTED_SECONDS * self._expected
        if work <= 0:
            return None
        rest = max(0.0, self.work_total - self.work_done)
        estimate = rest * seconds / work
        # Counts down between landings. When a landing is overdue, expect to wait as long again: the
        # time left neither stands at zero nor lies while a worker hangs.
        waited = self._clock() - self._last_landing
        return max(estimate - waited, waited)

    def _count(self, phases: pd.DataFrame, work: float) -> None:
        self.runs_done += len(phases)
        self.work_done += work
        self.phases.update(phases["phase"].dropna().tolist())
        self._diagram.count(phases)

    def _figures(self) -> list[str]:
        elapsed = (self._clock() if self._ended is None else self._ended) - self._started
        rate = self._session_runs / elapsed if elapsed > 0 else 0.0
        left = self.seconds_left()
        if self.runs_done >= self.runs_total:
            time_left = f"finished in {_human(elapsed)}"
        elif self._ended is not None:
            time_left = f"stopped after {_human(elapsed)}"
        else:
            time_left = "time left: estimating" if left is None else f"{_human(left)} left"
        return [f"{self.runs_done}/{self.runs_total} runs", f"{_number(rate)} runs/s", time_left]

    def _line(self) -> str:
        runs, *rest = self._figures()
        counts = ", ".join(f"{phase} {self.phases[phase]}" for phase in self._looks)
        return f"{', '.join([runs, f'{_percent(self.fraction())} of the work', *rest])}; {counts}"

    def _print(self, line: str) -> None:
        self._last_printed = line
        print(line, file=self._stream, flush=True)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width, height = options.max_width, max(1, options.size.height - SPARE_LINES)
        lines = [_bar(self.fraction(), width), *flow([Text(figure) for figure in self._figures()], width)]
        lines += flow([_legend(*phase, self.phases[phase[0]]) for phase in self._looks.items()], width)
        # What is left of the height goes to the diagram first, but for a line of what workers do.
        room = height - len(lines) - (2 if self._workers else 0)
        if diagram := self._diagram.lines(width, room - 1):
            lines += [Text(), *diagram]
        if self._workers and (room := height - len(lines) - 1) > 0:
            lines += [Text(), *self._worker_lines(room)]
        for line in lines[:height]:
            line.no_wrap, line.overflow = True, "ellipsis"
            yield line

    def _worker_lines(self, room: int) -> list[Text]:
        doing = self._workers
        indent = max(map(len, doing))
        lines = [Text.assemble((f"{name:<{indent}}  ", "bold"), what) for name, what in doing.items()]
        if len(lines) > room:
            hidden = len(lines) - (room - 1)
            lines[room - 1 :] = [Text(f"{hidden} more workers" if room > 1 else f"{hidden} workers", "dim")]
        return lines


def _live(renderable: Progress, stream: TextIO) -> Live | None:
    """A display on `stream`, or None where it is no terminal that a person looks at."""
    if os.environ.get("CI") or not stream.isatty():
        return None
    console = Console(file=stream)
    if not console.is_interactive or not console.encoding.startswith("utf"):
        return None
    # What is printed meanwhile goes above the display, unless it goes to a file anyway.
    out, err = sys.stdout.isatty(), sys.stderr.isatty()
    return Live(renderable, console=console, refresh_per_second=2, redirect_stdout=out, redirect_stderr=err)


def _bar(fraction: float, width: int) -> Text:
    percent = f" {_percent(fraction):>5}"
    room = max(0, width - len(percent))
    full = int(fraction * room)
    return Text.assemble(("━" * full, "#7CB9DF"), ("─" * (room - full), "dim"), (percent, "bold"))


def _legend(phase: str, look: Look, count: int) -> Text:
    glyph, style = complete(look)
    return Text.assemble((f" {glyph} ", style), f" {phase} {count}")


def _percent(fraction: float) -> str:
    return f"{math.floor(100 * fraction)} %"


def _number(rate: float) -> str:
    return f"{rate:.0f}" if rate >= 9.95 else f"{rate:.2g}"


def _human(seconds: float) -> str:
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02} min"
    return f"{whole // 86400} d {whole % 86400 // 3600:02} h"
