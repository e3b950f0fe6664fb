"""Both executors with real shards, the Ray one with a real Ray."""

import dataclasses
import functools
import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import TINY

from grok_sweep import compose, config, driver, grid, plan
from grok_sweep.launch import LaunchError, executor


def jobs(sweep):
    return list(driver.jobs(sweep, plan.make_plan(sweep, grid.expand(sweep))))


def broken(job):
    """The same job with a program that no worker can build."""
    order = job.order()
    program = dataclasses.replace(order.program, optimizer="nonsense")
    return dataclasses.replace(job, order=functools.partial(dataclasses.replace, order, program=program))


def check(done, expected):
    """Every job came back once, whole."""
    assert sorted(str(one.job) for one in done) == sorted(map(str, expected))
    for one in done:
        ids = one.job.order().columns["run_id"]
        assert one.result.runs.column("run_id").to_pylist() == ids.tolist()
        assert one.result.train_seconds > 0
        assert one.error == ""


def test_inline_does_every_job_and_says_what_it_does(tiny):
    sweep, said = tiny(), []
    with executor(sweep.cluster) as workers:
        assert workers.workers == 1
        done = list(workers.run(jobs(sweep), said.append))
    check(done, jobs(sweep))
    assert said[0] == {"here": "hidden_size 4 · train_size 30 · 8 runs"}


def test_inline_goes_on_after_a_failure(tiny):
    sweep = tiny()
    first, *rest = jobs(sweep)
    with executor(sweep.cluster) as workers:
        done = list(workers.run([broken(first), *rest], lambda _: None))
    assert [one.result is None for one in done] == [True] + [False] * len(rest)
    assert done[0].error.splitlines()[-1] == "KeyError: 'nonsense'"


def test_inline_without_the_accelerator(tiny):
    sweep = tiny("cluster.device=tpu")
    with pytest.raises(LaunchError, match=r"cluster\.device=tpu: jax .* finds none"), executor(sweep.cluster):
        pass


@pytest.fixture(scope="module")
def on_ray(tmp_path_factory):
    """What a real Ray of two workers made of six good shards, then of one broken and ten good ones.

    In a process of its own: Ray leaves sockets open behind it, which are warnings in this one.
    """
    told = tmp_path_factory.mktemp("ray") / "told.json"
    done = subprocess.run(
        [sys.executable, __file__, str(told)], capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(told.read_text())


def ask_ray(told):
    """What `on_ray` runs."""
    small = ["cluster=local", "cluster.workers=2", "grid.hidden_size=[3,4,5,6,7,8]", "out=unused"]
    sweep = config.parse(compose.compose([*TINY, *small])[0])
    with executor(sweep.cluster) as workers:
        said = []
        good = list(workers.run(jobs(sweep), said.append))
        check(good, jobs(sweep))
        first, *rest = jobs(sweep)
        mixed = list(workers.run([broken(first), *rest, *rest], lambda _: None))
    answer = {
        "workers": workers.workers,
        "said": said,
        "good": [one.result.runs.column("run_id").to_pylist() for one in good],
        "errors": [one.error for one in mixed if one.result is None],
        "after": [one.result.other_seconds for one in mixed if one.result is not None],
    }
    try:
        with executor(dataclasses.replace(sweep.cluster, address="127.0.0.1:1")):
            pass
    except LaunchError as error:
        answer["nowhere"] = str(error)
    Path(told).write_text(json.dumps(answer))


@pytest.mark.slow
def test_ray_does_every_job_on_two_workers(on_ray):
    assert on_ray["workers"] == 2
    assert len(on_ray["good"]) == 6
    ids = [run_id for shard in on_ray["good"] for run_id in shard]
    assert len(ids) == len(set(ids)) == 48
    assert set(on_ray["said"][0]) == {"worker 1", "worker 2"}
    assert all(words.startswith("hidden_size ") for said in on_ray["said"] for words in said.values())


@pytest.mark.slow
def test_ray_goes_on_after_a_failure(on_ray):
    (error,) = on_ray["errors"]
    assert "nonsense" in error.splitlines()[-1]
    assert len(on_ray["after"]) == 10


@pytest.mark.slow
def test_a_cluster_that_is_not_there(on_ray):
    assert on_ray["nowhere"].startswith("cluster.address=127.0.0.1:1: Ray cannot be reached: ")
    assert "\n" not in on_ray["nowhere"]


if __name__ == "__main__":
    ask_ray(sys.argv[1])
