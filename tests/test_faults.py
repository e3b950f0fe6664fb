"""What dies, hangs, fills up or is damaged while a sweep runs: real processes, nodes, signals and disks."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pandas as pd
import psutil
import pytest
from conftest import mount
from nodes import HEAD, Nodes
from ray._common.utils import get_system_memory
from ray._private.utils import get_used_memory

ROOT = Path(__file__).parent.parent
pytestmark = [pytest.mark.usefixtures("interruptible"), pytest.mark.timeout(1800)]
PATIENCE = 420  # seconds for what takes a few on a quiet machine, and minutes beside two busy loops
LONG = "seeds=24"  # 96 runs: on a fast machine 32 are done before Ray has seen that somebody died
# 32 runs, each a shard. One takes time, for something to happen to it, and no processor of the tests beside.
PARTS = """
import time
from grok_sweep.core.tasks.parity import Parity

class Slow(Parity):
    def data(self, h, seed):
        time.sleep(0.3)
        return super().data(h, seed)
"""
SWEEP = """
defaults:
  - override /task: slow
  - override /model: relu_mlp
  - override /optimizer: adamw
parts: faults.py
name: faults
out: out
grid:
  weight_decay: [0.1, 1]
  hidden_size: [48, 64]
task:
  train_size: 500
  test_size: 500
seeds: 8
train:
  steps: 100
  log_every: 10
engine: xla
cluster:
  shard_seconds: 0.001
"""


class Command:
    """`grok-sweep` in a process of its own; what it says is read as it comes."""

    def __init__(self, folder, *overrides, env=None):
        (folder / "sweeps").mkdir(parents=True, exist_ok=True)
        for name, text in (("faults.py", PARTS), ("faults.yaml", SWEEP)):
            (folder / "sweeps" / name).write_text(text, encoding="utf-8")
        self.out = folder / "out"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "grok_sweep", "sweeps=faults", *overrides],
            cwd=folder,
            env=os.environ | (env or {}) | {"CI": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.said = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        with self.process.stderr as lines:
            for line in lines:
                self.said += line

    def until(self, condition):
        """Wait for what the test goes on from; the command must still be running then."""
        end = time.monotonic() + PATIENCE
        while not condition():
            assert self.process.poll() is None, self.said
            assert time.monotonic() < end, self.said
            time.sleep(0.02)

    def finished(self):
        """How many shards are in the folder."""
        return len(list((self.out / "runs").glob("[0-9a-f]*.parquet"))) - 1  # less empty.parquet

    def ended(self, code):
        """Wait for the end, which must be with this exit code and without a traceback; what was printed."""
        assert self.process.wait(PATIENCE) == code, self.said
        self._reader.join(PATIENCE)
        assert "Traceback" not in self.said
        return self.process.stdout.read()

    def kill(self):
        """With the Ray that it started."""
        for process in [*children(self.process), self.process]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait()
        self._reader.join(PATIENCE)
        self.process.stdout.close()


def children(process):
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(process.pid).children(recursive=True)
    return []


def is_agent(process):
    """Ray's agents of a node see only after a minute that it is gone; they hold nothing, and then end too."""
    with contextlib.suppress(psutil.Error):
        return "Agent" in " ".join(process.cmdline())
    return False


@pytest.fixture
def start():
    """Begins a `Command`, and ends it where the test does not."""
    with contextlib.ExitStack() as stack:

        def begin(folder, *overrides, env=None):
            command = Command(folder, *overrides, env=env)
            stack.callback(command.kill)
            return command

        yield begin


def check_whole(folder, runs=32):
    """Every run is there once, with its whole curve, and nothing else is."""
    table = pd.read_parquet(folder / "out" / "runs")
    assert len(table) == runs
    assert table["run_id"].is_unique
    curves = pd.read_parquet(folder / "out" / "curves").groupby("run_id").size()
    assert set(curves.index) == set(table["run_id"])
    assert curves.nunique() == 1
    assert not [path for path in (folder / "out").rglob(".*") if path.name != ".lock"]


@pytest.fixture(scope="module")
def nodes():
    with Nodes() as made:
        yield made


@pytest.fixture
def cluster(nodes):
    """The overrides that join it; nothing of an earlier test is left on it."""
    for host in set(nodes.raylets()) - {HEAD}:
        nodes.kill(host)
    return [f"cluster.address={nodes.address}", "cluster=ray"]


@pytest.mark.slow
def test_workers_that_are_killed_or_hang_are_replaced(start, nodes, cluster, tmp_path):
    began = time.monotonic()
    nodes.join(2)
    # Beside other work a worker takes minutes to load and compile, and must not be taken for one that hangs.
    deadline = max(20, round(8 * (time.monotonic() - began)))
    patient = [f"cluster.deadline_seconds={deadline}", "cluster.deadline_factor=2", "cluster.max_retries=99"]
    command = start(tmp_path, *cluster, LONG, *patient, env=nodes.environment)
    # On a busy machine the first worker has done some before the second is there.
    command.until(lambda: command.finished() > 2 and len(nodes.workers()) == 2)
    (first, second) = nodes.workers()
    # At once: what is left must not be done by the second before Ray has seen that the first died.
    second.send_signal(signal.SIGSTOP)  # it hangs, as far as others can tell
    first.send_signal(signal.SIGKILL)
    command.ended(0)
    check_whole(tmp_path, runs=96)
    for worker, why in ((first, "died"), (second, "did not answer within")):
        (line,) = [line for line in command.said.splitlines() if f"process {worker.pid} on" in line]
        assert why in line
        assert "tried again, once more" in line
    assert not psutil.wait_procs([second], timeout=PATIENCE)[1]


@pytest.mark.slow
def test_nodes_leave_and_join(start, nodes, cluster, tmp_path):
    """Of two nodes one is killed, then the other: a third, which joined meanwhile, does the rest."""
    first, second = nodes.join(), nodes.join()
    command = start(tmp_path, *cluster, LONG, env=nodes.environment)
    command.until(lambda: command.finished() > 2)
    nodes.kill(first)
    command.until(lambda: "died" in command.said)
    done = command.finished()
    command.until(lambda: command.finished() > done + 1)  # on the node that is left
    third = nodes.join()
    nodes.kill(second)
    command.ended(0)
    check_whole(tmp_path, runs=96)
    assert set(nodes.raylets()) == {HEAD, third}


@pytest.mark.slow
def test_a_node_with_other_code_is_refused_by_name(start, nodes, cluster, tmp_path):
    shutil.copytree(ROOT / "grok_sweep", tmp_path / "other" / "grok_sweep")
    with (tmp_path / "other" / "grok_sweep" / "core" / "train.py").open("a", encoding="utf-8") as file:
        file.write("# another line\n")
    older = tmp_path / "other" / "jaxlib-0.0.1.dist-info"
    older.mkdir()
    (older / "METADATA").write_text("Metadata-Version: 2.1\nName: jaxlib\nVersion: 0.0.1\n")
    nodes.join(PYTHONPATH=str(tmp_path / "other"))
    command = start(tmp_path, *cluster, env=nodes.environment)
    assert command.ended(2) == ""
    (message,) = [line for line in command.said.splitlines() if line.startswith("grok-sweep:")]
    assert "has grok-sweep 0.1.0 (code " in message
    assert "jaxlib 0.0.1 instead of" in message
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_run_that_no_worker_has_memory_for_fails(start, nodes, cluster, tmp_path):
    """Ray ends a worker that takes more than a node may use; its run is tried once more, then fails."""
    host, total = psutil.virtual_memory(), get_system_memory()
    # As Ray's monitor counts: a control group only where it allows less than there is.
    used = get_used_memory() if total < host.total else host.total - host.available
    threshold = (used + 3e9) / total  # the node and an idle worker take 1 GB of it
    if threshold > 0.95:
        pytest.skip("needs some GB of free memory")
    nodes.join(RAY_memory_usage_threshold=f"{threshold:.4f}", RAY_memory_monitor_refresh_ms="50")
    huge = ["grid.weight_decay=[1]", "grid.hidden_size=[48]", "seeds=1"]
    huge += ["train.steps=300000000", "train.log_every=1"]  # the room for its curve takes 7 GB
    command = start(tmp_path, *cluster, *huge, env=nodes.environment)
    command.ended(1)
    assert "was out of memory; tried again, once more" in command.said
    assert "1 run crashed; the same command with retry_crashed=true trains what crashed again" in command.said
    again = start(tmp_path, *cluster, *huge, env=nodes.environment)
    again.ended(1)
    assert "tried again" not in again.said  # not the same thing for ever
    assert "1 run crashed" in again.said


@pytest.mark.slow
def test_a_driver_that_is_killed_leaves_nothing_behind_and_the_next_goes_on(start, tmp_path):
    more = ["cluster.workers=2"]
    command = start(tmp_path, *more)
    command.until(lambda: command.finished() > 1)
    command.process.send_signal(signal.SIGSTOP)  # it is still at work when the second looks
    second = start(tmp_path, *more)
    second.ended(2)
    assert f"another grok-sweep is working in it (pid {command.process.pid} on " in second.said
    ray = [process for process in children(command.process) if not is_agent(process)]
    assert ray
    command.process.send_signal(signal.SIGKILL)
    command.ended(-signal.SIGKILL)
    # Curves are written before runs: those alone are of a shard that was not finished.
    done = [path.name for path in command.out.glob("runs/[0-9a-f]*[0-9a-f].parquet")]
    before = {path: path.stat().st_mtime_ns for name in done for path in command.out.glob(f"*/{name}")}
    psutil.wait_procs(ray, timeout=PATIENCE)
    assert not [process for process in ray if process.is_running()]
    again = start(tmp_path, *more)
    again.ended(0)
    check_whole(tmp_path)
    assert len(before) > 2
    assert {path: path.stat().st_mtime_ns for path in before} == before


@pytest.mark.slow
def test_a_ray_of_ones_own_that_loses_its_raylet_ends_the_sweep(start, tmp_path):
    command = start(tmp_path, LONG, "cluster=local", "cluster.workers=2")
    command.until(lambda: command.finished() >= 1)
    (raylet,) = [process for process in children(command.process) if process.name() == "raylet"]
    raylet.kill()
    command.ended(1)
    assert "the Ray that was started here has ended: was its raylet killed?" in command.said
    assert "what was finished is kept, the same command goes on" in command.said
    there = command.finished()
    start(tmp_path, LONG, "cluster=inline").ended(0)
    assert there >= 1
    check_whole(tmp_path, 96)


@pytest.mark.slow
def test_a_signal_ends_the_wait_for_a_free_worker(start, nodes, cluster, tmp_path):
    nodes.join()
    first = start(tmp_path / "first", *cluster, env=nodes.environment)
    first.until(lambda: first.finished() > 0)
    first.process.send_signal(signal.SIGSTOP)  # the worker is its own all the same
    second = start(tmp_path / "second", *cluster, env=nodes.environment)
    second.until(lambda: "no worker is ready" in second.said)
    second.process.send_signal(signal.SIGTERM)
    second.ended(128 + signal.SIGTERM)
    assert second.said.splitlines()[-1] == "grok-sweep: stopped; the same command goes on from here"


@pytest.mark.slow
@pytest.mark.parametrize(("number", "cluster"), [(signal.SIGTERM, "inline"), (signal.SIGINT, "local")])
def test_signals_end_a_sweep_that_goes_on_later(start, tmp_path, number, cluster):
    command = start(tmp_path, f"cluster={cluster}")
    command.until(lambda: command.finished() > 1)
    ray = children(command.process)
    command.process.send_signal(number)
    command.ended(128 + number)
    assert command.said.splitlines()[-1] == "grok-sweep: stopped; the same command goes on from here"
    psutil.wait_procs(ray, timeout=PATIENCE)
    assert not [process for process in ray if process.is_running()]
    if cluster == "inline":
        again = start(tmp_path, "cluster=inline")
        again.ended(0)
        check_whole(tmp_path)


@pytest.mark.slow
def test_a_disk_that_fills_up_or_cannot_be_written_any_more(start, disk):
    full = start(disk, "cluster=inline")
    full.until(lambda: full.finished() > 0)
    with contextlib.suppress(OSError), (disk / "filler").open("wb", buffering=0) as filler:
        while filler.write(bytes(1 << 16)):
            pass
    full.ended(1)
    (message,) = [line for line in full.said.splitlines() if line.startswith("grok-sweep:")]
    assert "No space left on device" in message
    assert "the same command goes on" in message
    (disk / "filler").unlink()
    there = full.finished()
    read_only = start(disk, "cluster=inline")
    read_only.until(lambda: read_only.finished() > there)
    runs = disk / "out" / "runs"
    mount("--bind", runs, runs)
    mount("-o", "remount,bind,ro", runs)
    read_only.ended(1)
    (message,) = [line for line in read_only.said.splitlines() if line.startswith("grok-sweep:")]
    assert "Read-only file system" in message
    subprocess.run(["umount", runs], check=True)
    start(disk, "cluster=inline").ended(0)
    check_whole(disk)
