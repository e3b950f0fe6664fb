"""The progress display: what it reckons, what it draws, and how it leaves the terminal."""

import io
import math
import os
import re
import signal
import subprocess
import sys
import termios
from itertools import product

import pandas as pd
import pexpect
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pexpect.fdpexpect import fdspawn
from rich.cells import cell_len
from rich.console import Console

from analysis import PHASES
from grok_sweep.core.look import Look
from grok_sweep.core.parts import definition
from grok_sweep.terminal.progress import Progress

AXES = {
    "weight_decay": (0.01, 0.03, 0.1, 0.3, 1.0),
    "hidden_size": (16, 32, 64, 128, 258),
    "train_size": (750, 1000, 1250, 1500, 1750),
}
CELLS = [dict(zip(AXES, cell, strict=True)) for cell in product(*AXES.values())]


WORK = st.floats(1, 1e18)
SECONDS = st.floats(0, 1e6)


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


def rows(phase, count=1, **cell):
    """`count` runs that ended in `phase`, in a cell of the parity sweep."""
    return pd.DataFrame([CELLS[0] | cell | {"phase": phase}] * count)


def every(axes, seeds):
    """The columns of all runs of a sweep."""
    columns = zip(*product(*axes.values()), strict=True)
    return {name: seeds * list(column) for name, column in zip(axes, columns, strict=False)}


def started(clock=None, stream=None, axes=AXES, seeds=9, **changes):
    given = {"runs_total": 1125, "work_total": 1000.0, "work_per_second": 10.0, "axes": axes} | changes
    given |= {"model": "relu_mlp", "runs": every(axes, seeds)}
    stream = io.StringIO() if stream is None else stream
    return Progress(**given, stream=stream, clock=clock or Clock()).__enter__()


def text(progress, width=80, height=24):
    file = io.StringIO()
    Console(file=file, width=width, height=height, force_terminal=True, color_system=None).print(progress)
    return file.getvalue().splitlines()


# What it reckons


def test_time_left_is_of_work_and_not_of_runs():
    """At first at the plan's rate, which counts as a minute of experience."""
    clock = Clock()
    progress = started(clock)
    assert progress.seconds_left() == 100  # nothing landed: as the plan says
    clock.now += 20
    progress.landed(rows("grok"), work=2.0)  # the first shard, slow with compiling: no reason for alarm
    assert progress.seconds_left() == pytest.approx(998 * 80 / 602)
    clock.now += 6000
    progress.landed(rows("grok"), work=598.0)  # by now the session knows better
    assert progress.seconds_left() == pytest.approx(400 * 6080 / 1200)
    assert progress.fraction() == 0.6
    clock.now += 1000  # nothing comes any more
    assert progress.seconds_left() == pytest.approx(400 * 7080 / 1200)


def test_work_done_before_this_session_is_done_but_no_part_of_the_rate():
    clock = Clock()
    progress = started(clock)
    progress.resumed(rows("memorize", 1000), work=800.0)
    assert progress.seconds_left() == pytest.approx(20)
    clock.now += 10
    progress.landed(rows("grok", 5), work=50.0)
    assert progress.seconds_left() == pytest.approx(150 * 70 / 650)
    assert text(progress)[1] == "1005/1125 runs   85 % of the work   0.5 runs/s   16 s left"


def test_rounding_of_work_does_not_leave_a_finished_sweep_at_99_percent():
    progress = started(runs_total=10, work_total=1.0)
    for _ in range(10):
        progress.landed(rows("fail"), work=0.1)
    assert progress.work_done < 1
    assert progress.fraction() == 1
    assert progress.seconds_left() == 0


@given(
    shards=st.lists(st.tuples(st.sampled_from(PHASES), st.integers(0, 20), WORK, SECONDS, st.booleans())),
    work_total=WORK,
)
def test_whatever_lands_the_counts_add_up_and_the_time_left_is_a_time(shards, work_total):
    clock = Clock()
    progress = started(clock, work_total=work_total)
    for phase, count, work, seconds, before in shards:
        clock.now += seconds
        frame = rows(phase, count) if count else rows(phase).head(0)
        (progress.resumed if before else progress.landed)(frame, work)
        assert 0 <= progress.seconds_left() < math.inf
        assert 0 <= progress.fraction() <= 1
    assert progress.runs_done == progress.phases.total() == sum(count for _, count, *_ in shards)


# Lines, where there is no terminal


def test_lines_are_few_however_many_shards_land():
    clock, stream = Clock(), io.StringIO()
    shard = rows("grok", 2)
    progress = started(clock, stream, runs_total=8_000, work_total=4_000.0)
    for _ in range(4_000):
        clock.now += 0.005
        progress.landed(shard, 1.0)
    progress.__exit__(None, None, None)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 1 + 3 + 1  # the first shard, every 5 of 20 seconds, the end
    assert lines[0] == (
        "2/8000 runs, 0 % of the work, 400 runs/s, 7 min left; memorize 0, grok 2, generalize 0, fail 0"
    )
    assert lines[-1].startswith("8000/8000 runs, 100 % of the work, 400 runs/s, finished in 20 s;")
    assert all(line.isprintable() for line in lines)


def test_a_sweep_that_is_stopped_says_so():
    clock, stream = Clock(), io.StringIO()
    progress = started(clock, stream)
    progress.note("[red]starting\n\x1b[2J Ray[/red]")
    clock.now += 8640
    progress.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert stream.getvalue().splitlines() == [
        "[red]starting ?[2J Ray[/red]",
        "0/1125 runs, 0 % of the work, 0 runs/s, stopped after 2.4 h; "
        "memorize 0, grok 0, generalize 0, fail 0",
    ]


def test_a_terminal_that_nobody_looks_at_gets_lines(monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    stream = Terminal()
    with started(stream=stream) as progress:
        progress.note("hello")
    assert stream.getvalue().splitlines()[0] == "hello"
    assert "\x1b" not in stream.getvalue()


# The display


def test_the_display_at_80_columns():
    clock = Clock()
    progress = started(clock)
    clock.now += 60
    progress.landed(rows("grok", 9, hidden_size=258, train_size=1750), 300.0)  # complete
    progress.landed(rows("fail", 2, hidden_size=16, train_size=750, weight_decay=1.0), 1.0)
    progress.landed(rows("memorize", 3, hidden_size=16, train_size=750, weight_decay=1.0), 1.0)
    assert [line.rstrip() for line in text(progress)] == [
        "━" * 24 + "─" * 56,
        "14/1125 runs   30 % of the work   0.23 runs/s   93 s left",
        " ■  memorize 3    ▲  grok 9    ●  generalize 0    X  fail 2",
        "     0.01            0.03            0.1             0.3              1",
        "1750 ▲ · · · ·  1750 · · · · ·  1750 · · · · ·  1750 · · · · ·  1750 · · · · ·",
        "1500 · · · · ·  1500 · · · · ·  1500 · · · · ·  1500 · · · · ·  1500 · · · · ·",
        "1250 · · · · ·  1250 · · · · ·  1250 · · · · ·  1250 · · · · ·  1250 · · · · ·",
        "1000 · · · · ·  1000 · · · · ·  1000 · · · · ·  1000 · · · · ·  1000 · · · · ·",
        " 750 · · · · ·   750 · · · · ·   750 · · · · ·   750 · · · · ·   750 · · · · ■",
        "columns: hidden_size 258 to 16   rows: train_size   panels: weight_decay",
    ]


@pytest.mark.parametrize(("size", "bands"), [((80, 24), 1), ((40, 24), 2), ((24, 60), 5), ((24, 20), 0)])
def test_panels_wrap_before_the_diagram_is_dropped(size, bands):
    assert sum("1750" in line for line in text(started(), *size)) == bands


@given(
    width=st.integers(1, 200),
    height=st.integers(1, 60),
    lengths=st.lists(st.integers(1, 12), max_size=5),
)
def test_the_display_never_outgrows_the_terminal(width, height, lengths):
    axes = {f"axis{i}": tuple(range(length)) for i, length in enumerate(lengths)}
    stream = Terminal()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", str(width))
        patch.setenv("LINES", str(height))
        with started(stream=stream, axes=axes) as progress:
            progress.landed(pd.DataFrame([dict.fromkeys(axes, 0) | {"phase": "grok"}]), 1.0)
            progress._live.refresh()
            lines = screen_after(stream.getvalue().replace("\n", "\r\n"))  # as a terminal takes it
    assert len(lines) <= height
    assert all(cell_len(line) <= width for line in lines)


def test_another_size_of_the_terminal_is_drawn_on_an_empty_screen():
    """Lines of the old width have wrapped into more lines than there were."""
    stream = Terminal()
    with started(stream=stream) as progress:
        for size, cleared in ((100, 40), 1), ((100, 40), 0), ((50, 40), 1), ((50, 40), 0), ((50, 20), 1):
            if size != tuple(progress._live.console.size):
                progress._live.console.size = size
            before = len(stream.getvalue())
            progress._live.refresh()
            drawn = stream.getvalue()[before:]
            assert drawn.count("\x1b[2J\x1b[H") == cleared
            assert max(map(cell_len, screen_after(drawn.replace("\n", "\r\n")))) <= size[0]


@pytest.mark.parametrize(
    ("axes", "captions"),
    [
        ({}, ""),
        ({"learning_rate": (0.1,), "b1": (0.9,)}, ""),
        ({"learning_rate": (0.1, 0.2)}, "columns: learning_rate 0.1 to 0.2"),
        (
            AXES | {"hidden_size": (16,), "b1": (0.9, 0.99), "b2": (0.9, 0.99)},
            "columns: b1 0.9 to 0.99   rows: train_size   panels: weight_decay",
        ),
    ],
)
def test_other_axes(axes, captions):
    lines = text(started(axes=axes, seeds=1))
    assert [line for line in lines if "columns:" in line] == ([captions] if captions else [])


# A real pseudo-terminal

SWEEP = """
import os, signal, sys, time, pandas as pd
signal.signal(signal.SIGINT, signal.default_int_handler)  # a suite started in the background ignores it
from grok_sweep.core.look import Look
from grok_sweep.core.parts import definition
from grok_sweep.terminal.progress import Progress
sweep = {"axes": {"hidden_size": (16, 258)}, "model": "relu_mlp", "runs": {"hidden_size": [16, 258] * 4}}
with Progress(runs_total=8, work_total=8.0, work_per_second=1.0, **sweep) as progress:
    progress.note("[b]starting[/b]")
    progress.landed(pd.DataFrame({"hidden_size": [16] * 4, "phase": ["grok"] * 4}), 4.0)
    print("a word from elsewhere")
    progress.note("now")
    os.write(int(sys.argv[1]), b"drawn")
    time.sleep(600)
"""


def screen_after(output):
    """What a terminal shows: exactly the control codes that the display may send, and no others."""
    lines, row, column = [""], 0, 0
    for code in re.findall(r"\x1b\[[^a-zA-Z]*[a-zA-Z]|[^\x1b]", output):
        if code == "\r":
            column = 0
        elif code == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif up := re.fullmatch(r"\x1b\[(\d+)A", code):
            row = max(0, row - int(up[1]))
        elif code == "\x1b[2K":
            lines[row] = ""
        elif code in ("\x1b[2J", "\x1b[H"):  # an empty screen, and to its first place: one after the other
            lines, row, column = [""], 0, 0
        elif code[0] != "\x1b":
            lines[row] = lines[row][:column].ljust(column) + code + lines[row][column + 1 :]
            column += 1
        else:
            assert code.endswith("m") or code in ("\x1b[?25l", "\x1b[?25h")
    return [line.rstrip() for line in lines]


def test_an_interrupt_leaves_the_terminal_sane():
    # Not pexpect.spawn, which forks: with jax's threads in the same process that is an error.
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    environment = {k: v for k, v in os.environ.items() if k not in ("CI", "NO_COLOR", "COLUMNS", "LINES")}
    environment |= {"TERM": "xterm-256color", "PYTHONUTF8": "1"}
    # Not before all of it is written: a sweep does not end in the middle of a line either (see `Stop`).
    drawn, draws = os.pipe()
    command = [sys.executable, "-c", SWEEP, str(draws)]
    at = {"stdin": theirs, "stdout": theirs, "stderr": theirs, "env": environment, "pass_fds": [draws]}
    with subprocess.Popen(command, **at) as process:
        os.close(theirs)
        os.close(draws)
        terminal = fdspawn(ours, timeout=300, encoding="utf-8")
        terminal.expect("now")
        seen = terminal.before + terminal.after
        assert os.read(drawn, 5) == b"drawn"
        process.send_signal(signal.SIGINT)
        terminal.expect(pexpect.EOF)
        seen += terminal.before
    os.close(drawn)
    terminal.close()

    cursor = re.findall(r"\x1b\[\?25[lh]", seen)
    assert (cursor[0], cursor[-1]) == ("\x1b[?25l", "\x1b[?25h")  # hidden, then shown again
    lines = screen_after(seen)
    assert lines[:3] == ["[b]starting[/b]", "a word from elsewhere", "now"]
    assert "50 % of the work" in lines[4]
    assert "stopped after" in lines[4]
    assert lines[7:9] == [" · ▲", "columns: hidden_size 258 to 16"]
    assert lines[9].startswith("Traceback")  # below one display, not a trail of them


def test_phases_of_another_definition_are_counted_and_drawn():
    shown = {"calm": Look("#7cb9df", "diamond"), "wild": Look("#202020", "plus")}
    part = definition(shown)(lambda runs, curves, h: None)
    progress = started(definition=part)
    progress.landed(rows("wild", 9), work=1.0)
    progress.landed(rows("calm", 4, hidden_size=258), work=1.0)
    progress.landed(rows(None, 2, hidden_size=258), work=1.0)  # which could not be sorted
    lines = text(progress, 100, 40)
    (legend,) = [line for line in lines if "calm" in line]
    assert legend.split() == ["◆", "calm", "4", "✚", "wild", "9"]
    assert progress.runs_done == 15
    diagram = "".join(lines[lines.index(legend) + 1 :])
    assert (diagram.count("✚"), diagram.count("◆")) == (1, 1)
    log = io.StringIO()
    with started(stream=log, definition=part) as progress:
        progress.landed(rows("wild", 9), work=1.0)
    assert log.getvalue().splitlines()[-1].endswith("; calm 0, wild 9")
