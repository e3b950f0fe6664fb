"""Both executors with real shards; Ray with real nodes, whose workers and nodes are killed."""

import contextlib
import dataclasses
import functools
import json
import os
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
from conftest import TINY

from grok_sweep import compose
from grok_sweep.core import config, grid, plan
from grok_sweep.executors import Failure, Job, LaunchError, Queue, executor, failure, inline
from grok_sweep.session.training import jobs as all_jobs
from grok_sweep.worker import train_shard


def jobs(sweep):
    return list(all_jobs(sweep, plan.make_plan(sweep, grid.expand(sweep))))


def broken(job, **changes):
    """The same job with a program that no worker can build."""
    order = job.order()
    program = dataclasses.replace(order.program, **(changes or {"optimizer": "nonsense"}))
    return dataclasses.replace(job, order=functools.partial(dataclasses.replace, order, program=program))


def check(done, expected):
    """Every job came back once, whole."""
    assert sorted(str(one.job) for one in done) == sorted(map(str, expected))
    for one in done:
        ids = one.job.order().columns["run_id"]
        assert one.outcome.runs.column("run_id").to_pylist() == ids.tolist()
        assert one.outcome.train_seconds > 0


def test_a_queue_gives_what_was_put_back_first_and_nothing_after_the_end():
    ended = []
    first, second, third = (Job(None, lambda: None, deaths) for deaths in range(3))
    queue = Queue([first, second], ended=lambda: bool(ended))
    assert queue.next() is first
    queue.put_back([third, first])
    assert [queue.next(), queue.next(), queue.next(), queue.next()] == [third, first, second, None]
    queue.put_back([first])
    ended.append(True)
    assert queue.next() is None


def test_what_is_next_can_be_seen_before():
    ended = []
    first, second = (Job(None, lambda: None, deaths) for deaths in range(2))
    queue = Queue([first], ended=lambda: bool(ended))
    assert queue.peek() is queue.peek() is first
    queue.put_back([second])
    assert [queue.next(), queue.next(), queue.peek()] == [first, second, None]
    queue.put_back([second])
    ended.append(True)
    assert queue.peek() is None


@pytest.mark.parametrize(
    ("error", "kind", "reason"),
    [
        (KeyError("x"), "error", "KeyError: 'x'"),
        (ValueError("two\nlines"), "error", "ValueError: two"),
        (ValueError(), "error", "ValueError"),
        (MemoryError(), "memory", "MemoryError"),
        (
            RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes."),
            "memory",
            "RuntimeError: RES",
        ),
    ],
)
def test_what_an_exception_means(error, kind, reason):
    made = failure(error, "\nlog\n")
    assert made.kind == kind
    assert made.reason.startswith(reason)
    assert made.log == "log"


def test_inline_does_every_job(tiny):
    sweep = tiny()
    with executor(sweep.cluster, pytest.fail) as workers:
        assert workers.workers == 1
        done = list(workers.run(Queue(jobs(sweep))))
    check(done, jobs(sweep))
    assert str(done[0].job) == "hidden_size 4 · 30 rows · 8 runs"


def test_inline_goes_on_after_a_failure(tiny):
    sweep = tiny()
    first, *rest = jobs(sweep)
    with executor(sweep.cluster, pytest.fail) as workers:
        failed, *done = workers.run(Queue([broken(first), *rest]))
    check(done, rest)
    assert failed.outcome.reason == "KeyError: 'nonsense'"
    assert "Traceback" in failed.outcome.log


def test_inline_compiles_the_next_program_while_one_trains(tiny, monkeypatch):
    """Each but the first, once, before its first job; a program that cannot be compiled fails alone."""
    made, seen = inline.prepare, []

    def prepare(order):
        made(order)
        seen.append(order.program)

    def train(order):
        seen.append(order.program)
        return train_shard(order)

    monkeypatch.setattr(inline, "prepare", prepare)
    monkeypatch.setattr(inline, "train_shard", train)
    sweep = tiny("grid.hidden_size=[3,5,7]", "cluster.shard_seconds=0.001")
    first, *rest = jobs(sweep)
    wrong = broken(rest[-1])
    made(wrong.order())  # it is for the training to say what is wrong
    with executor(sweep.cluster, pytest.fail) as workers:
        *done, failed = workers.run(Queue([first, *rest, wrong]))
    check(done, [first, *rest])
    assert failed.outcome.reason == "KeyError: 'nonsense'"
    programs = dict.fromkeys(job.shard.program for job in [first, *rest])
    assert len(programs) == 3
    counts = Counter(job.shard.program for job in [first, *rest])
    counts.update([*programs][1:])
    assert Counter(program for program in seen if program.optimizer != "nonsense") == counts


def test_inline_without_the_accelerator(tiny):
    sweep = tiny("cluster.device=tpu")
    with (
        pytest.raises(LaunchError, match=r"cluster\.device=tpu: jax .* finds none"),
        executor(sweep.cluster, pytest.fail),
    ):
        pass


@pytest.fixture(scope="module")
def on_ray(tmp_path_factory):
    """What a real Ray of two workers, started here, made of six good shards, then of one broken and ten good.

    In a process of its own: Ray leaves sockets open behind it, which are warnings in this one.
    """
    told = tmp_path_factory.mktemp("ray") / "told.json"
    done = subprocess.run(
        [sys.executable, __file__, str(told)], capture_output=True, text=True, timeout=580, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(told.read_text())


def listening():
    """Process -> the addresses at which it takes connections, of this one and all below it."""
    found = {}
    for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            ends = process.net_connections(kind="tcp")
            where = [end.laddr.ip for end in ends if end.status == psutil.CONN_LISTEN]
            found[f"{process.name()} {process.pid}"] = where
    return found


def ask_ray():
    """What `on_ray` runs."""
    sizes = ["grid.hidden_size=[3,4,5,6,7,8]", "cluster.workers=2", "out=unused"]
    sweep = config.parse(compose.compose([*TINY, "cluster=local", *sizes])[0])
    with executor(sweep.cluster, print) as workers:
        good = list(workers.run(Queue(jobs(sweep))))
        count = workers.workers
        pids = [worker.pid for worker in workers._crew.workers]
        nicer = {psutil.Process(pid).nice() - psutil.Process().nice() for pid in pids}
        check(good, jobs(sweep))
        first, *rest = jobs(sweep)
        mixed = [one.outcome for one in workers.run(Queue([broken(first), *rest, *rest]))]
        # More than there is: what XLA says, and that the worker lives on.
        order = first.order()
        rows = {"test_size": np.full(len(order.columns["run_id"]), 10**14)}
        order = dataclasses.replace(order, columns={**order.columns, **rows})
        huge = dataclasses.replace(first, order=lambda: order)
        (no_room,) = workers.run(Queue([huge]))
        for worker in workers._crew.workers:  # as those of an accelerator
            worker.compiles_ahead = True
        more = config.parse(compose.compose([*TINY, "cluster=local", "grid.hidden_size=[9,10,11]"])[0])
        ahead = list(workers.run(Queue([first, broken(first), *jobs(more)])))
        ended = list(workers.run(Queue(jobs(sweep), ended=lambda: True)))
        here = listening()
    try:
        with executor(dataclasses.replace(sweep.cluster, address="127.0.0.1:1"), print):
            pass
    except LaunchError as error:
        nowhere = str(error)
    return {
        "workers": count,
        "nicer": [*nicer],
        "listening": here,
        "token": os.environ["RAY_AUTH_MODE"],
        "ahead": Counter(type(one.outcome).__name__ for one in ahead),
        "good": [one.outcome.runs.column("run_id").to_pylist() for one in good],
        "errors": [one.reason for one in mixed if isinstance(one, Failure)],
        "after": [one.other_seconds for one in mixed if not isinstance(one, Failure)],
        "no_room": dataclasses.asdict(no_room.outcome),
        "ended": len(ended),
        "nowhere": nowhere,
    }


@pytest.mark.slow
def test_ray_does_every_job_on_two_workers(on_ray):
    assert on_ray["workers"] == 2
    assert on_ray["nicer"] == [0]  # Ray's 15 leaves a worker beside other work next to nothing
    assert len(on_ray["good"]) == 6
    ids = [run_id for shard in on_ray["good"] for run_id in shard]
    assert len(ids) == len(set(ids)) == 48
    assert on_ray["ended"] == 0


@pytest.mark.slow
def test_ray_goes_on_after_a_failure(on_ray):
    (error,) = on_ray["errors"]
    assert error == "KeyError: 'nonsense'"
    assert len(on_ray["after"]) == 10
    assert on_ray["no_room"]["kind"] == "memory"


@pytest.mark.slow
def test_workers_that_compile_ahead_do_every_job(on_ray):
    assert on_ray["ahead"] == {"Result": 4, "Failure": 1}


class Told:
    """An actor that keeps what it was asked for."""

    def __init__(self):
        self.asked = []

    def __getattr__(self, method):
        return SimpleNamespace(remote=lambda order: self.asked.append((method, order.program)))


@pytest.mark.parametrize("ahead", [True, False])
def test_a_worker_of_an_accelerator_compiles_the_program_after_that_which_trains(tiny, ahead):
    from grok_sweep.executors.crew import Worker  # imports ray, which reads then what `executor` sets

    sweep = tiny("grid.hidden_size=[3,4]")
    first, second = jobs(sweep)
    worker = Worker("worker 1", "node", "host", Told(), None, None, compiles_ahead=ahead)
    for job in (first, first, second):
        worker.give(job)
    programs = [job.shard.program for job in (first, first, second)]
    expected = [("train", program) for program in programs]
    if ahead:
        expected.insert(2, ("prepare", programs[2]))
    assert worker.actor.asked == expected


@pytest.mark.slow
def test_a_ray_started_here_is_for_this_machine_only_and_has_its_token_on(on_ray):
    assert {"raylet", "gcs_server"} <= {name.split()[0] for name in on_ray["listening"]}
    for name, addresses in on_ray["listening"].items():
        assert all(address.startswith(("127.", "::ffff:127.", "::1")) for address in addresses), name
    assert on_ray["token"] == "token"  # noqa: S105


@pytest.mark.slow
def test_a_cluster_that_is_not_there(on_ray):
    assert on_ray["nowhere"].startswith("cluster.address=127.0.0.1:1: Ray cannot be reached: ")
    assert "\n" not in on_ray["nowhere"]


@pytest.mark.slow
def test_a_head_that_only_loopback_reaches_is_not_waited_for(command, tmp_path):
    """Ray dials another address of this machine for it, and would try for minutes."""
    variable = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
    environment = {key: value for key, value in os.environ.items() if key != variable}
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = "127.0.0.1:{1}".format(*server.getsockname())
        done = subprocess.run(
            [*command, "sweeps=quickstart", f"cluster.address={address}", f"out={tmp_path / 'out'}"],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    said = done.stderr.splitlines()[-1]
    assert said.startswith(f"grok-sweep: cluster.address={address}: Ray cannot be reached: Ray dials ")
    assert f"set {variable}=0 where its head is at 127.0.0.1" in said
    assert not (tmp_path / "out").exists()


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(ask_ray()))
