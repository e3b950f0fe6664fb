"""Kill something at random, many times over a sweep, and compare it with one that nothing disturbed.

    python tests/chaos.py [--kills 100] [--seed 0] [--record FILE]

The sweep runs on two nodes of one core each, real Ray nodes on loopback. What is killed stands in KINDS; what
must hold, in `_session` and `_compare`. Where the sweep ends before all kills are done, another one follows,
of other seeds in another folder.
"""

import argparse
import contextlib
import hashlib
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pandas as pd
import psutil
import pyarrow.parquet as pq
import yaml
from nodes import HEAD, Nodes

from grok_sweep.session.provenance import machine
from grok_sweep.versions import code, versions

# Shards of about half a second.
SWEEP = [
    "sweeps=quickstart",
    "name=chaos",
    "train.steps=3000",
    "task.test_size=500",
    "grid.hidden_size=[16,32]",
    "grid.train_size=[500,750,1000]",
    "cluster.shard_seconds=0.4",
]
# What is killed, as often as it stands here.
KINDS = (
    *["worker"] * 8,  # kill -9 of a process that trains
    *["node"] * 3,  # kill -9 of a raylet; another node joins
    *["driver"] * 3,  # kill -9; the first kill of a session may hit a driver that only starts
    *["driver writing"] * 2,  # kill -9 when a temporary file is there
    *["SIGINT", "SIGINT twice", "SIGTERM", "SIGTERM twice"],  # to the driver
)
PAUSE = (0.3, 6.0)  # seconds from a session's first result, or a kill, to the next kill
START = (0.3, 15.0)  # seconds from a session's start to a kill of a driver that may still be starting
PATIENCE = 180  # seconds for what takes a few on a quiet machine
STOP_SECONDS = 30  # from a signal to the driver's end, and from there to that of its last worker

T = TypeVar("T")


@dataclass
class Report:
    """What was done, and what came of it."""

    kills: Counter[str] = field(default_factory=Counter)
    drivers_killed_while_starting: int = 0  # of kills["driver"]: before the session's first result
    writes_cut: int = 0  # of kills["driver writing"]: those that left the temporary file behind
    files_damaged: int = 0
    sessions: int = 0
    rounds: int = 0
    runs: int = 0
    rows_compared: int = 0  # of both tables
    longest_stop_seconds: float = 0.0  # from a signal to the driver's end
    longest_worker_seconds: float = 0.0  # from the driver's death to that of its last worker
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)  # whatever did not hold


class Seen(NamedTuple):
    """The two files of a shard, runs and curves, and how many runs they hold."""

    inodes: tuple[int, int]
    changed: tuple[int, int]
    digest: str
    runs: int


class Published:
    """The shards of a results folder, each as it was when it was first seen."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.shards: dict[str, Seen] = {}
        self.damaged: dict[str, int] = {}  # shard -> inode of its runs, until it is published anew

    @property
    def runs(self) -> int:
        """How many runs are there."""
        return sum(seen.runs for seen in self.shards.values())

    def look(self) -> None:
        """Remember the shards that are new."""
        for path in (self.out / "runs").glob("?" * 16 + ".parquet"):
            try:
                if path.name not in self.shards and path.stat().st_ino != self.damaged.get(path.name):
                    self.shards[path.name] = self._see(path.name)
            except FileNotFoundError:  # just put aside: it was damaged
                continue

    def check(self) -> Iterable[str]:
        """The shards that are not as they were."""
        for name, seen in self.shards.items():
            try:
                if self._see(name) != seen:
                    yield f"{name} was rewritten"
            except FileNotFoundError:
                yield f"{name} is gone"

    def damage(self, name: str, part: str, rng: random.Random) -> str:
        """Cut a file of a shard short, or flip a bit of it; what was done."""
        path = self.out / part / name
        data = bytearray(path.read_bytes())
        self.damaged[name] = self.shards.pop(name).inodes[0]
        if rng.random() < 0.5:
            del data[rng.randrange(len(data)) :]
            how = f"cut short, to {len(data)} bytes"
        else:
            data[place := rng.randrange(len(data) // 2)] ^= 1 << rng.randrange(8)
            how = f"a bit flipped, in byte {place} of {len(data)}"
        path.write_bytes(data)  # the same inode: a disk that decays
        return f"{part}/{name}: {how}"

    def _see(self, name: str) -> Seen:
        paths = [self.out / part / name for part in ("runs", "curves")]
        runs, curves = (path.stat() for path in paths)
        return Seen(
            (runs.st_ino, curves.st_ino),
            (runs.st_mtime_ns, curves.st_mtime_ns),
            hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest(),
            pq.read_metadata(paths[0]).num_rows,
        )


class Chaos:
    """Sweeps under kills of these kinds, in this order, at moments that `seed` decides."""

    def __init__(
        self,
        kinds: Iterable[str],
        seed: int,
        seeds: int,
        folder: Path,
        say: Callable[[str], None],
        pause: tuple[float, float] = PAUSE,
        cache: Path | None = None,
    ) -> None:
        self.report = Report()
        self._kinds = deque(kinds)
        self._rng = random.Random(seed)  # noqa: S311 - no secret
        self._seeds = seeds
        self._folder = folder
        self._say = say
        self._between = pause
        self._cache = cache or folder / "cache"  # its own, so that compilations are killed too
        self._began = time.monotonic()

    def run(self) -> Report:
        """Rounds until all kills are done."""
        with Nodes(XDG_CACHE_HOME=str(self._cache)) as self._nodes:
            for _ in range(2):
                self._nodes.join()
            while self._kinds:
                self._round()
        self.report.seconds = round(time.monotonic() - self._began, 1)
        return self.report

    def _round(self) -> None:
        """The same command until it is done, while it is disturbed; then one that is not.

        Between every other two sessions a file is damaged.
        """
        number = self.report.rounds = self.report.rounds + 1
        folder = self._folder / f"round-{number}"
        folder.mkdir()
        seeds = [*range((number - 1) * self._seeds, number * self._seeds)]
        self._command = [sys.executable, "-m", "grok_sweep", *SWEEP, f"seeds={seeds}".replace(" ", "")]
        self._published = Published(folder / "disturbed")
        damaged = self.report.files_damaged
        while not self._session(folder):
            if self._published.shards and self.report.sessions % 2:
                self._damage()
        self._line("undisturbed", f"round {number} is done; the same once more, in peace")
        out = folder / "undisturbed"
        command = [*self._command, "cluster.workers=2", f"out={out}"]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            self._problem(f"undisturbed, it ended with {done.returncode}: {done.stderr[-2000:]}")
        else:
            self._compare(folder, self.report.files_damaged - damaged)

    def _session(self, folder: Path) -> bool:
        """The command once, until its end by itself or by a kill; whether it was done."""
        self.report.sessions += 1
        log = folder / f"session-{self.report.sessions}.txt"
        command = [*self._command, "cluster=ray", f"cluster.address={self._nodes.address}"]
        command += ["cluster.max_retries=1000", f"out={self._published.out}"]
        with log.open("w") as file:
            self._driver = subprocess.Popen(command, stdout=file, stderr=file, env=self._nodes.environment)
        try:
            kind = self._disturb()
            self._driver.wait(PATIENCE)
        finally:
            self._driver.kill()
        self._workers_end()
        self._published.look()
        for problem in self._published.check():
            self._problem(problem)
        said, code = log.read_text(), _shell(self._driver.returncode)
        if code != 0 and (kind is None or code != 128 + _number(kind)):
            self._problem(f"session {self.report.sessions} ended with {code} after {kind}: {said[-2000:]}")
        if "Traceback" in said:
            self._problem(f"session {self.report.sessions} printed a traceback: {said[-2000:]}")
        return code == 0

    def _disturb(self) -> str | None:
        """Kill until the driver ends; what ended it, or None where it ended by itself."""
        before = len(self._published.shards)

        def working() -> bool:
            return len(self._published.shards) > before

        if self._kinds and self._kinds[0] == "driver":
            self._pause(START)
        else:
            self._until(working)
            self._pause(self._between)
        while self._kinds and self._driver.poll() is None:
            kind = self._kinds[0]
            what = {"worker": self._kill_worker, "node": self._kill_node}.get(kind, self._end_driver)()
            if what is None:  # the driver was done before it could be
                break
            self._kinds.popleft()
            self.report.kills[kind] += 1
            if kind == "driver" and not working():
                self.report.drivers_killed_while_starting += 1
                what += ", while it started"
            self._line(kind, what)
            if self._driver.poll() is not None:
                return kind
            self._pause(self._between)
        self._until(lambda: False)
        return None

    def _kill_worker(self) -> str | None:
        workers = self._until(self._training)
        if not workers:
            return None
        worker = self._rng.choice(workers)
        try:
            worker.kill()
        except psutil.NoSuchProcess:  # the driver has just let it go
            return None
        return f"process {worker.pid}"

    def _kill_node(self) -> str:
        host = self._rng.choice(sorted(self._nodes.raylets().keys() - {HEAD}))
        self._nodes.kill(host)
        return f"{host}; {self._nodes.join()} joins"

    def _end_driver(self) -> str | None:
        """Send the driver the next kind of signal, and wait for its end; None where it was done before."""
        kind = self._kinds[0]
        what = ""
        if kind == "driver writing" and not self._until_writing():
            return None
        sent = time.monotonic()
        self._driver.send_signal(_number(kind))
        if kind.endswith("twice"):
            self._pause((0.0, 1.0))
            self._driver.send_signal(_number(kind))  # nothing where it has ended
        code = self._driver.wait(PATIENCE)
        seconds = time.monotonic() - sent
        if code == 0:  # it was done just before
            return None
        if kind == "driver writing" and self._temporary():
            self.report.writes_cut += 1
            what = f"left {', '.join(self._temporary())}"
        if not kind.startswith("driver"):
            self.report.longest_stop_seconds = max(self.report.longest_stop_seconds, round(seconds, 1))
            if seconds > STOP_SECONDS:
                self._problem(f"the driver took {seconds:.0f} s to end after {kind}")
            what = f"ended in {seconds:.1f} s"
        return f"process {self._driver.pid} {what}".rstrip()

    def _until_writing(self) -> bool:
        """Wait, busily, for a temporary file; False where the driver has ended."""
        while self._driver.poll() is None:
            if self._temporary():
                return True
        return False

    def _temporary(self) -> list[str]:
        """The hidden files of the results folder, the lock excepted."""
        out = self._published.out
        return [
            f"{folder}{name}"
            for folder in ("", "runs/", "curves/")
            for name in os.listdir(out / folder)  # noqa: PTH208 - quicker
            if name.startswith(".") and name != ".lock"
        ]

    def _workers_end(self) -> None:
        """Wait for the workers of a driver that has ended."""
        ended = time.monotonic()
        while workers := self._nodes.workers():
            if time.monotonic() - ended > STOP_SECONDS:
                self._problem(f"workers outlived the driver: {[worker.pid for worker in workers]}")
                break
            time.sleep(0.1)
        seconds = round(time.monotonic() - ended, 1)
        self.report.longest_worker_seconds = max(self.report.longest_worker_seconds, seconds)

    def _damage(self) -> None:
        # Each once: put aside twice, it would be one file.
        if not (whole := sorted(self._published.shards.keys() - self._published.damaged.keys())):
            return
        part, name = self._rng.choice(["runs", "curves"]), self._rng.choice(whole)
        self._line("damage", self._published.damage(name, part, self._rng))
        self.report.files_damaged += 1

    def _compare(self, folder: Path, damaged: int) -> None:
        """Everything that must hold once the sweep is done."""
        out = folder / "disturbed"
        self.report.runs += self._published.runs
        for table, key in (("runs", ["run_id"]), ("curves", ["run_id", "step"])):
            frames = [
                pd.read_parquet(folder / which / table)
                .drop(columns=["seconds", "session"], errors="ignore")
                .sort_values(key, ignore_index=True)
                for which in ("disturbed", "undisturbed")
            ]
            self.report.rows_compared += len(frames[0])
            if frames[0].duplicated(key).any():
                self._problem(f"{folder.name}: {table} has rows twice")
            try:
                pd.testing.assert_frame_equal(*frames, check_exact=True)
            except AssertionError as error:
                self._problem(f"{folder.name}: {table} are not those of the undisturbed sweep: {error}")
        aside = len(list((out / "damaged").glob("*")))
        if aside != 2 * damaged:  # a shard's runs go with its curves
            self._problem(f"{folder.name}: {damaged} shards were damaged, {aside} files put aside")
        if self._temporary():
            self._problem(f"{folder.name}: left over are {self._temporary()}")
        for lost in (out / "crashed").glob("*"):
            self._problem(f"{folder.name}: {lost} is there")

    def _training(self) -> list[psutil.Process]:
        """The workers that have a shard: one that is killed three times before it has would be refused."""
        found = []
        for worker in self._nodes.workers():
            with contextlib.suppress(psutil.NoSuchProcess):
                if " ".join(worker.cmdline()).startswith("ray::_Actor.train"):
                    found.append(worker)
        return found

    def _pause(self, seconds: tuple[float, float]) -> None:
        end = time.monotonic() + self._rng.uniform(*seconds)
        self._until(lambda: time.monotonic() > end)

    def _until(self, condition: Callable[[], T]) -> T | None:
        """Wait for it; None where the driver has ended instead."""
        there, end = 0, time.monotonic() + PATIENCE
        while not (found := condition()):
            self._published.look()
            if len(self._published.shards) > there:
                there, end = len(self._published.shards), time.monotonic() + PATIENCE
            if self._driver.poll() is not None:
                return None
            if time.monotonic() > end:
                raise TimeoutError(f"nothing has come of {self._driver.args} for {PATIENCE} s")
            time.sleep(0.05)
        return found

    def _line(self, kind: str, what: str) -> None:
        done = self.report.kills.total()
        seconds = time.monotonic() - self._began
        self._say(f"{seconds:7.1f} s  {done:3} kills  {self._published.runs:4} runs  {kind:14}  {what}")

    def _problem(self, problem: str) -> None:
        self.report.problems.append(problem)
        self._line("PROBLEM", problem)


def _number(kind: str) -> signal.Signals:
    return signal.SIGKILL if kind.startswith("driver") else signal.Signals[kind.removesuffix(" twice")]


def _shell(code: int) -> int:
    """An exit code as a shell gives it: a process that a signal ended has 128 and its number."""
    return code if code >= 0 else 128 - code


def chaos(*arguments: Any, **settings: Any) -> Report:
    """Kill these, one after the other, over sweeps of this many seeds; see `Chaos`."""
    return Chaos(*arguments, **settings).run()


def main() -> int:
    """The command; exit code 1 where anything did not hold."""
    parser = argparse.ArgumentParser(description="Kill what a sweep needs, at random.")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--record", type=Path, help="YAML of what was done")
    arguments = parser.parse_args()
    # SIGINT is ignored in the background of a script, and would be by the drivers. Either ends the nodes too.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    kinds = list(KINDS * math.ceil(arguments.kills / len(KINDS)))[: arguments.kills]
    random.Random(arguments.seed).shuffle(kinds)  # noqa: S311 - no secret
    folder = Path(tempfile.mkdtemp(prefix="chaos"))
    report = chaos(kinds, arguments.seed, 16, folder, lambda line: print(line, flush=True))
    record = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "versions": versions(),
        "code": code(),
        "seed": arguments.seed,
        **asdict(report),
        "kills": dict(report.kills.most_common()),
    }
    text = yaml.safe_dump(record, sort_keys=False)
    print(f"\n{text}\n{report.kills.total()} kills, {len(report.problems)} problems")
    if arguments.record:
        arguments.record.write_text(text, encoding="utf-8")
    if report.problems:
        print(f"all files are in {folder}")
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
