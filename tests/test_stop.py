"""Signals, sent to real processes."""

import contextlib
import os
import signal
import subprocess
import sys
import threading

import pytest

from grok_sweep.stop import Stop, Stopped

pytestmark = pytest.mark.usefixtures("interruptible")

# What the process does once it listens: `check` as the driver does, `deaf` as in a call that does not return.
CODE = """
import sys, threading
from grok_sweep.stop import Stop, Stopped
with Stop(grace_seconds=float(sys.argv[2])) as stop:
    print("ready", flush=True)
    never = threading.Event()
    try:
        while True:
            never.wait(0.01)
            if sys.argv[1] == "check":
                stop.check()
    except Stopped as error:
        print(f"stopped by {error} {error.number}", flush=True)
"""


@pytest.fixture
def start():
    """Begins such a process, and ends it where the test does not."""
    with contextlib.ExitStack() as stack:

        def begin(mode, grace):
            arguments = [sys.executable, "-c", CODE, mode, str(grace)]
            process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            stack.enter_context(process)
            stack.callback(process.kill)
            assert process.stdout.readline() == "ready\n"
            return process

        yield begin


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_seen_by_who_checks(start, number):
    process = start("check", 60)
    process.send_signal(number)
    out, error = process.communicate(timeout=60)
    assert process.returncode == 0
    assert out == f"stopped by {number.name} {number.value}\n"
    assert error == "grok-sweep: stopping: what is finished is kept; once more stops at once\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_one_ends_the_process_at_once(start, number):
    process = start("deaf", 600)
    process.send_signal(number)
    assert "stopping" in process.stderr.readline()
    process.send_signal(number)
    out, error = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert error == "grok-sweep: stopped at once; the same command goes on from here\n"
    assert out == ""


def test_who_does_not_check_is_ended_after_the_grace(start):
    process = start("deaf", 0.1)
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert error.splitlines()[-1] == "grok-sweep: stopped; the same command goes on from here"


def test_what_is_ignored_stays_ignored(start):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    process = start("check", 60)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=60)
    assert out == "stopped by SIGTERM 15\n"


def test_handlers_are_put_back_and_other_threads_leave_them_alone():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with Stop() as stop:
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] != before
        stop.check()
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Stopped, match="SIGTERM"):  # noqa: PT012
            while True:
                stop.check()
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    assert not [thread for thread in threading.enumerate() if thread.name == "stop" and thread.is_alive()]
