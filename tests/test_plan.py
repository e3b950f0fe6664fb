import itertools
from dataclasses import replace
from statistics import median

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from grok_sweep.compose import compose
from grok_sweep.core.config import parse
from grok_sweep.core.costs import COSTS
from grok_sweep.core.grid import expand
from grok_sweep.core.plan import MOST_FILES, PILOT_SECONDS, halve, make_plan, outline, unfinished

BASE = parse(compose(["sweeps=quickstart"])[0])


def planned(device="cpu", shard_seconds=30.0, seeds=(0,), steps=20000, engine="auto", **axes):
    cluster = replace(BASE.cluster, device=device, shard_seconds=shard_seconds)
    sweep = replace(BASE, axes=axes, cluster=cluster, seeds=tuple(seeds), steps=steps, engine=engine)
    return make_plan(sweep, expand(sweep))


sizes = st.lists(st.integers(1, 3000), min_size=1, max_size=5, unique=True).map(tuple)
plans = st.builds(
    planned,
    device=st.sampled_from(["cpu", "gpu", "tpu"]),
    shard_seconds=st.floats(0.01, 100),
    seeds=st.integers(1, 12).map(range),
    steps=st.integers(1, 200).map(lambda n: n * 100),
    train_size=sizes,
    hidden_size=sizes,
    weight_decay=st.just((0.1, 0.2, 0.3)),
)


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=60)
@given(plans)
def test_every_run_is_in_one_shard_of_a_program_that_fits_it(plan):
    columns = plan.grid.columns
    done = np.concatenate([shard.index_R for shard in plan.shards])
    assert sorted(done) == list(range(len(plan.grid)))
    assert plan.n_runs == len(plan.grid)
    for shard in plan.shards:
        values, index_R = shard.program.values, shard.index_R
        assert (columns["hidden_size"][index_R] == values["hidden_size"]).all()
        assert (columns["train_size"][index_R] <= shard.program.rows).all()
        assert shard.program.lanes >= 1
        assert shard.padded_work >= shard.work > 0
        assert shard.work == pytest.approx(
            129.0 * values["hidden_size"] * columns["train_size"][index_R].sum() * shard.program.steps
        )


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=60)
@given(
    device=st.sampled_from(["cpu", "gpu"]),
    seeds=st.integers(1, 12),
    together=st.sampled_from([(), (("hidden_size", "learning_rate"),), (("weight_decay", "train_size"),)]),
    sizes=st.lists(st.integers(1, 3000), min_size=3, max_size=3, unique=True).map(tuple),
)
def test_an_outline_costs_what_the_whole_plan_does(device, seeds, together, sizes):
    """Though nothing is expanded but what shapes and rows depend on."""
    axes = {
        "weight_decay": (0.1, 0.2, 0.3),
        "hidden_size": sizes,
        "learning_rate": (1e-3, 1e-2, 1e-1),
        "train_size": sizes[::-1],
    }
    cluster = replace(BASE.cluster, device=device)
    sweep = replace(BASE, axes=axes, cluster=cluster, seeds=range(seeds), together=together)
    whole, few = make_plan(sweep, expand(sweep)), outline(sweep)
    assert len(few.grid) <= 27
    assert few.n_runs == whole.n_runs == sweep.n_runs
    assert {(p.values["hidden_size"], p.rows, p.lanes, p.blocks) for p in few.programs} == {
        (p.values["hidden_size"], p.rows, p.lanes, p.blocks) for p in whole.programs
    }
    assert len(few.shards) == len(whole.shards)
    assert few.work == pytest.approx(whole.work)
    assert few.seconds(2) == pytest.approx(whole.seconds(2))


def test_an_outline_of_combinations_that_fall_together():
    architectures = parse(compose(["sweeps=modular_architectures"])[0])
    whole, few = make_plan(architectures, expand(architectures)), outline(architectures)
    assert few.n_runs == whole.n_runs == 11_340
    assert len(few.shards) == len(whole.shards)
    assert few.work == pytest.approx(whole.work)


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=60)
@given(plans, st.data())
def test_a_resumed_sweep_has_the_other_shards_unchanged(plan, data):
    ids = plan.grid.columns["run_id"].tolist()
    finished = data.draw(st.sets(st.sampled_from(ids)))
    left = unfinished(plan, finished)
    whole = {tuple(shard.index_R): shard for shard in plan.shards}
    left_ids = [ids[run] for shard in left.shards for run in shard.index_R]
    assert sorted(left_ids) == sorted(set(ids) - finished)
    for shard in left.shards:
        if tuple(shard.index_R) in whole:
            assert whole[tuple(shard.index_R)] is shard
        else:  # cut short by finished runs: part of one shard, of the same program
            assert any(
                set(shard.index_R) < set(runs) for runs, was in whole.items() if was.program == shard.program
            )


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=40)
@given(plans)
def test_the_first_shard_is_the_cheapest_and_the_rest_begin_with_the_largest(plan):
    seconds = [shard.seconds for shard in plan.shards]
    assert seconds[0] == min(seconds)
    assert seconds[1:] == sorted(seconds[1:], reverse=True)


@settings(max_examples=100)
@given(sizes, st.integers(1, 30), st.integers(1, 40).map(lambda n: n * 500), st.sampled_from(["cpu", "gpu"]))
def test_padding_is_the_cheapest_of_all_ways_to_share_programs(train_sizes, seeds, steps, device):
    plan = planned(device, train_size=train_sizes, hidden_size=(64,), seeds=range(seeds), steps=steps)
    ordered, costs = sorted(train_sizes), COSTS[device]

    def cost(bounds):
        total = 0.0
        for begin, end in itertools.pairwise(bounds):
            padded = ordered[end - 1] * (end - begin) * seeds * 129 * 64 * steps
            total += costs.compile_seconds + padded / costs.rate(plan.programs[0])
        return total

    every = [
        (0, *cuts, len(ordered))
        for n in range(len(ordered))
        for cuts in itertools.combinations(range(1, len(ordered)), n)
    ]
    chosen = sorted(program.rows for program in plan.programs)
    bounds = (0, *(ordered.index(rows) + 1 for rows in chosen))
    assert cost(bounds) == pytest.approx(min(map(cost, every)))


def test_the_articles_sweep_on_two_kinds_of_device():
    sweep = parse(compose(["sweeps=parity_1125"])[0])
    cpu = make_plan(sweep, expand(sweep))
    assert len(cpu.programs) == 20  # of few neurons a compilation costs more than padding
    assert {(p.engine, p.lanes, p.blocks) for p in cpu.programs} == {("native", 15, 1)}
    by_xla = make_plan(replace(sweep, engine="xla"), expand(sweep))
    assert len(by_xla.programs) == 25  # exact rows
    assert {(p.engine, p.lanes) for p in by_xla.programs} == {("xla", 1)}
    blocks = {(p.values["hidden_size"], p.rows): p.blocks for p in by_xla.programs}
    assert (blocks[16, 1750], blocks[128, 750], blocks[258, 1750]) == (1, 3, 14)
    assert cpu.work == pytest.approx(129 * 20000 * (16 + 32 + 64 + 128 + 258) * 6250 * 45)
    assert cpu.shards[0].seconds <= PILOT_SECONDS
    gpu_sweep = replace(sweep, cluster=replace(sweep.cluster, device="gpu"))
    gpu = make_plan(gpu_sweep, expand(gpu_sweep))
    assert [program.rows for program in gpu.programs] == [1750] * 5
    assert {(program.lanes, program.blocks) for program in gpu.programs} == {(225, 1)}
    assert len(gpu.shards) == 5


def test_small_runs_share_a_call():
    (program,) = planned(train_size=(64,), hidden_size=(16,), seeds=range(1000), steps=100).programs
    assert program.lanes >= 16


def test_a_short_sweep_is_cut_small_enough_for_all_workers():
    plan = planned(train_size=(64,), hidden_size=(16,), seeds=range(100_000), steps=100)
    largest = max(shard.seconds for shard in plan.shards)
    assert largest < plan.seconds(1) / 30
    assert len(plan.shards) < 200


def test_threads_share_the_lanes_of_native_calls_alone():
    plan = planned(train_size=(64,), hidden_size=(16,), seeds=range(32), steps=20_000)
    (program,), (one, four) = plan.programs, (plan.seconds(1), plan.seconds(1, 4))
    beside = plan.costs.compile_seconds + 32 * plan.costs.run_seconds + 2 * 20_000 * plan.costs.step_seconds
    assert (program.engine, program.lanes) == ("native", 16)
    assert four - beside == pytest.approx((one - beside) / 4)
    assert plan.seconds(1, 64) - beside == pytest.approx((one - beside) / 16)  # no more than lanes
    assert plan.seconds(1, 5) == four  # 16 lanes are 4 rounds of either
    by_xla = planned(train_size=(64,), hidden_size=(16,), seeds=range(32), steps=20_000, engine="xla")
    assert by_xla.seconds(1, 4) == by_xla.seconds(1)


@pytest.mark.parametrize("shard_seconds", [0.001, 30])
def test_a_million_runs_are_about_ten_thousand_files(shard_seconds):
    """Runs and curves of each shard; the workers are not asked how many they are."""
    shapes = {"train_size": (500, 1000), "hidden_size": (16, 64, 258)}
    plan = planned(shard_seconds=shard_seconds, weight_decay=(0.1, 1.0), seeds=range(83_334), **shapes)
    assert plan.n_runs == 1_000_008
    assert 0.5 * MOST_FILES < 2 * len(plan.shards) < 1.02 * MOST_FILES
    assert plan.shards[0].seconds <= PILOT_SECONDS
    longest = max(shard.seconds for shard in plan.shards)
    assert longest < 1.5 * plan.seconds(1) / len(plan.shards)


def test_files_of_weights_count_too():
    cluster = replace(BASE.cluster, shard_seconds=0.001)
    axes = {"hidden_size": (4,), "train_size": (30,)}
    sweep = replace(BASE, axes=axes, cluster=cluster, seeds=range(20_000), snapshot_every=20_000)
    assert 3 * len(make_plan(sweep, expand(sweep)).shards) < 1.02 * MOST_FILES


def test_a_sweep_of_one_run():
    plan = planned(train_size=(10,), hidden_size=(4,))
    assert len(plan.shards) == 1
    assert unfinished(plan, plan.grid.columns["run_id"].tolist()).shards == ()


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=60)
@given(plans, st.data())
def test_a_shard_can_be_halved_down_to_one_run_in_one_lane_and_no_further(plan, data):
    shard = data.draw(st.sampled_from(plan.shards))
    waiting, single, tries = [shard], [], 0
    while waiting:
        tries += 1
        part = waiting.pop()
        halves = halve(plan, part)
        assert halves or len(part.index_R) == part.program.lanes == 1
        if not halves:
            single += part.index_R.tolist()
        for half in halves:
            assert half.program == replace(part.program, lanes=half.program.lanes)
            assert (half.program.lanes, len(half.index_R)) < (part.program.lanes, len(part.index_R))
            assert half.program.lanes <= max(1, part.program.lanes // 2)
        waiting += halves
    assert sorted(single) == sorted(shard.index_R)
    assert tries <= 2 * len(shard.index_R) + 10  # what it costs to find out that nothing fits


def test_many_lanes_of_few_rows_do_not_make_a_call_of_any_size():
    """Each lane has its own test rows, in memory when a step is logged."""
    many = replace(BASE, axes={"weight_decay": tuple(np.linspace(0, 1, 5000))}, seeds=range(1))
    for device, costs in COSTS.items():
        cluster = replace(BASE.cluster, device=device)
        values = {**BASE.values, "train_size": 1, "hidden_size": 1, "test_size": 1_000_000}
        sweep = replace(many, cluster=cluster, values=values)
        for program in make_plan(sweep, expand(sweep)).programs:
            hidden = program.bytes - program.lanes * 4 * 31 * (1 + 1_000_000)
            assert 0 < hidden <= costs.logged_bytes


@pytest.mark.parametrize(("modulus", "lanes"), [(67, 16), (501, 1)])
def test_logits_of_all_rows_of_all_lanes_have_room(modulus, lanes):
    config, problems = compose(["sweeps=modular_seeds", f"task.modulus={modulus}", "task.ordered_pairs=1"])
    assert not problems
    sweep = parse(config)
    for program in make_plan(sweep, expand(sweep)).programs:
        assert program.engine == "native"
        assert program.lanes == pytest.approx(lanes, abs=1)
        assert 4 * modulus * program.lanes * modulus**2 <= COSTS["cpu"].logged_bytes


# Microseconds of a step of a lane, measured on one core of an Intel Xeon.
TAKEN = [
    ("parity_1125", ["grid.hidden_size=[32]", "grid.train_size=[1000]"], "native", 32, 16.7),
    ("parity_1125", ["grid.hidden_size=[258]", "grid.train_size=[1000]"], "native", 32, 178),
    ("parity_1125", ["grid.hidden_size=[32]", "grid.train_size=[1000]"], "xla", 32, 75.7),
    ("parity_1125", ["grid.hidden_size=[258]", "grid.train_size=[1000]"], "xla", 32, 761),
    ("modular_24", [], "native", 32, 453),
    ("modular_24", [], "xla", 32, 549),
    ("modular_24", [], "xla", 64, 1030),
    ("modular_circle", [], "native", 32, 92.0),
    ("modular_circle", [], "xla", 32, 132),
    ("modular_forgets", [], "native", 32, 142),
    ("modular_forgets", [], "xla", 32, 274),
]


def test_what_programs_take_is_estimated_alike():
    """But for one factor, which is that of the machine."""
    factors = []
    for name, overrides, engine, bits, taken in TAKEN:
        axis = [f"grid.float_bits=[{bits}]"] if name == "modular_24" else []
        sweep = parse(compose([f"sweeps={name}", f"engine={engine}", "seeds=[0]", *overrides, *axis])[0])
        (program,) = make_plan(sweep, expand(sweep)).programs
        costs = COSTS["cpu"]
        step = program.step_operations(program.step_rows) / costs.rate(program) + costs.beside(program)
        factors.append(1e-6 * taken / step)
    assert max(factors) / median(factors) < 1.5
    assert median(factors) / min(factors) < 1.5
