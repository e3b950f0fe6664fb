"""SIGINT and SIGTERM: the first asks for an end, a second one ends the process at once."""

import contextlib
import os
import signal
import sys
import threading

SIGNALS = (signal.SIGINT, signal.SIGTERM)
GRACE_SECONDS = 8.0  # for the driver to see that it was asked; then the process ends all the same


class Stopped(Exception):  # noqa: N818 - it is no error
    """The sweep ended because it was asked to, by signal `number`."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def is_main() -> bool:
    """Whether this is the main thread, which alone may say what signals do."""
    return threading.current_thread() is threading.main_thread()


class Stop:
    """Whether an end was asked for; a context manager. Entered in another than the main thread, it never is.

    Python runs a signal's handler between two instructions of the main thread, which may wait for a training
    or for a disk. So the signals are read by a thread, which ends the process where the main thread does not:
    whatever it was at, every file is whole.
    """

    def __init__(self, grace_seconds: float = GRACE_SECONDS) -> None:
        self.asked: int | None = None
        self._grace_seconds = grace_seconds

    def __enter__(self) -> "Stop":
        self._thread: threading.Thread | None = None
        if not is_main():
            return self
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        # What is ignored, as SIGINT is in the background of a script, stays so.
        self._before = {n: h for n in SIGNALS if (h := signal.getsignal(n)) is not signal.SIG_IGN}
        self._wakeup = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        for number in self._before:  # a handler there must be, or the signal does what it does by default
            signal.signal(number, lambda number, frame: None)
        self._thread = threading.Thread(target=self._watch, name="stop", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread is None:
            return
        signal.set_wakeup_fd(self._wakeup)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        os.close(self._write)
        self._thread.join()

    def check(self) -> None:
        """Raises Stopped where an end was asked for."""
        if self.asked is not None:
            raise Stopped(self.asked)

    def _watch(self) -> None:
        timer: threading.Timer | None = None
        with os.fdopen(self._read, "rb", buffering=0) as pipe:
            while byte := pipe.read(1):
                number = byte[0]
                if number not in self._before:
                    continue
                if self.asked is not None:
                    _end(number, "stopped at once")
                self.asked = number
                _say("grok-sweep: stopping: what is finished is kept; once more stops at once")
                timer = threading.Timer(self._grace_seconds, _end, (number, "stopped"))
                timer.daemon = True
                timer.start()
        if timer:
            timer.cancel()


def _end(number: int, how: str) -> None:
    if sys.stderr.isatty():
        _say("\x1b[?25h", end="")  # the cursor, which the display may have hidden
    _say(f"grok-sweep: {how}; the same command goes on from here")
    os._exit(128 + number)


def _say(message: str, end: str = "\n") -> None:
    with contextlib.suppress(OSError, ValueError):  # nobody listens any more: the end comes all the same
        print(message, end=end, file=sys.stderr, flush=True)
