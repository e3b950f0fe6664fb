"""What a sweep needs, against what there is: a line before anything is expanded."""

import dataclasses
import math

import pytest

from grok_sweep.core.grid import expand
from grok_sweep.core.plan import make_plan, outline
from grok_sweep.errors import ConfigError
from grok_sweep.session import capacity

ONE_CELL = ["~grid.weight_decay", "~grid.hidden_size", "~grid.train_size"]
GB = 10**9


def problems(sweep, free_disk=None):
    try:
        capacity.check(sweep, outline(sweep), free_disk)
    except ConfigError as error:
        return error.problems
    return []


@pytest.fixture
def memory(monkeypatch):
    """Sets what is free, in bytes."""

    def set_free(count):
        monkeypatch.setattr(capacity, "available_memory", lambda: count)

    set_free(math.inf)
    return set_free


def test_a_sweep_that_fits_needs_nothing(tiny):
    assert problems(tiny()) == problems(tiny(), 10**9) == []


def test_a_grid_too_large_for_the_memory(tiny, memory):
    sweep = tiny(*ONE_CELL, "seeds=20000000")
    assert capacity.driver_bytes(sweep) == 20_000_000 * capacity.RUN_MEMORY + capacity.PROGRAM_MEMORY
    memory(3.1 * GB)
    assert problems(sweep) == [
        "grid: 20,000,000 runs need about 16.0 GB of memory on the driver; 3.1 GB are free; split the sweep"
    ]
    memory(capacity.CERTAIN * capacity.driver_bytes(sweep))
    assert problems(sweep) == []


def test_programs_take_memory_too(tiny):
    many = tiny("~grid.weight_decay", "~grid.train_size", "grid.n_bits=[30,31,32]")
    assert capacity.driver_bytes(many) - capacity.RUN_MEMORY * many.n_runs == 2 * 3 * capacity.PROGRAM_MEMORY


def test_phases_that_need_all_curves(tiny):
    pair, liu = tiny(), tiny("phases.definition=liu")
    assert capacity.driver_bytes(liu) - capacity.driver_bytes(pair) == 16 * 5 * capacity.READ_CURVE_MEMORY


def test_a_disk_too_small(tiny, memory):
    sweep = dataclasses.replace(tiny("train.steps=20000", "train.log_every=100"), out="results/x")
    need = 16 * (250 + 20 * 201)
    assert capacity.disk_bytes(sweep, outline(sweep)) == need
    assert problems(sweep, int(capacity.CERTAIN * need)) == []
    short = int(capacity.CERTAIN * need) - 1
    assert problems(sweep, short) == [
        "out=results/x: 16 runs of 201 logged steps need about 68 kB; 34 kB are free there; "
        "log less often (train.log_every), split the sweep, or choose another folder"
    ]
    assert problems(sweep) == []


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["task.test_size=10000000", "model.hidden_size=1000000"], "hidden_size=1000000"),
        (["grid.test_size=[50,10000000]", "model.hidden_size=10000"], "test rows=10000000"),
        (["grid.train_size=[20,10000000]"], "rows=10000000"),
        (["grid.n_bits=[3,100000]", "model.hidden_size=1000000"], "n_bits=100000"),
        (["train.steps=1000000000", "train.log_every=1"], "1,000,000,001 logged steps"),
    ],
)
def test_a_run_too_large_for_a_worker(overrides, said, tiny, memory):
    memory(3 * GB)
    (line,) = problems(tiny(*ONE_CELL, *overrides))
    assert line.startswith("grid: one run of ")
    assert said in line
    assert "of memory on a worker; 3.0 GB are free; make it smaller, or log less" in line


def test_too_many_workers(tiny, memory):
    memory(3 * GB)
    sweep = tiny("cluster=local", "cluster.workers=100")
    assert problems(sweep) == [
        "cluster.workers=100: 100 workers with a run each need about 50.0 GB of memory; 3.0 GB are free; "
        "use at most 5"
    ]
    assert problems(tiny("cluster=local", "cluster.workers=5")) == []
    assert problems(tiny()) == []


@pytest.mark.parametrize(
    ("overrides", "executor"),
    [
        (["cluster=auto"], "inline"),
        (["cluster=auto", "cluster.shard_seconds=1"], "inline"),
        (["cluster=auto", "train.steps=20000000"], "ray"),
        (["cluster=auto", "cluster.workers=1"], "ray"),
        (["cluster=auto", "cluster.device=gpu"], "ray"),
        (["cluster=auto", "cluster.address=auto"], "ray"),
        (["cluster=local"], "ray"),
        (["cluster=inline", "train.steps=20000000"], "inline"),
    ],
    ids=str,
)
def test_a_short_sweep_is_done_here_where_no_other_way_was_chosen(overrides, executor, tiny):
    sweep = tiny(*overrides)
    found = capacity.settled(sweep, make_plan(sweep, expand(sweep)))
    assert found.cluster == dataclasses.replace(sweep.cluster, executor=executor)


def test_workers_elsewhere_are_not_judged(tiny, memory):
    memory(3 * GB)
    far = ["cluster=ray", "cluster.address=auto", "cluster.workers=100"]
    assert problems(tiny(*far, "task.test_size=10000000", "grid.hidden_size=[100000]")) == []


def test_weights_take_disk(tiny):
    sweep = tiny("train.snapshot_every=10")
    weights = 4 * 3 * (8 * (31 * 4 + 4) + 8 * (31 * 8 + 8))
    assert capacity.disk_bytes(sweep, outline(sweep)) == 16 * (250 + 20 * 5) + weights
    assert f"{weights / 1000:.0f} kB of them weights (train.snapshot_every)" in problems(sweep, 1)[0]


def test_the_largest_sweep_is_judged_at_once(tiny):
    axes = [f"grid.{key}=[0.1,0.2,0.3,0.4]" for key in ("b1", "b2", "eps", "learning_rate", "init_scale")]
    sweep = tiny(*ONE_CELL, *axes, "seeds=19531")
    assert sweep.n_runs > 19_000_000
    assert problems(sweep, 1)


MEMINFO = "MemTotal:  100 kB\nMemAvailable:    50 kB\n"


def tree(root, contents):
    for name, content in contents.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


@pytest.mark.parametrize(
    ("contents", "free"),
    [
        ({}, math.inf),
        ({"proc/meminfo": MEMINFO}, 51_200),
        ({"proc/meminfo": "MemTotal: 100 kB\n"}, math.inf),
        # Version 2: the least of the group and those above it.
        (
            {
                "proc/meminfo": MEMINFO,
                "proc/self/cgroup": "0::/a/b\n",
                "sys/fs/cgroup/a/b/memory.max": "max\n",
                "sys/fs/cgroup/a/b/memory.current": "5\n",
                "sys/fs/cgroup/a/b/memory.stat": "inactive_file 0\n",
                "sys/fs/cgroup/a/memory.max": "30000\n",
                "sys/fs/cgroup/a/memory.current": "20000\n",
                "sys/fs/cgroup/a/memory.stat": "anon 15000\ninactive_file 4000\n",
            },
            14_000,
        ),
        # In a container the path is the host's, and the limit at the top.
        (
            {
                "proc/self/cgroup": "0::/docker/1234\n",
                "sys/fs/cgroup/memory.max": "30000\n",
                "sys/fs/cgroup/memory.current": "20000\n",
                "sys/fs/cgroup/memory.stat": "inactive_file 0\n",
            },
            10_000,
        ),
        (
            {
                "proc/self/cgroup": "0::/\n",
                "sys/fs/cgroup/memory.max": "100\n",
                "sys/fs/cgroup/memory.current": "200\n",
                "sys/fs/cgroup/memory.stat": "inactive_file 0\n",
            },
            0,
        ),
    ],
)
def test_what_is_free_is_the_least_that_the_kernel_tells(contents, free, tmp_path):
    assert capacity.available_memory(tree(tmp_path, contents)) == free


def test_what_is_free_here():
    assert capacity.available_memory() > 10**6
