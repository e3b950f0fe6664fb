"""refine.on=AXIS: runs beyond the grid where a boundary is least sure, until it is known."""

import re
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import TINY
from hypothesis import given, settings
from hypothesis import strategies as st
from own import refused, run, sweep_file
from refined import known, replay

import analysis
from analysis.cli import main as analyse
from grok_sweep.cli import main
from grok_sweep.core.number import real, whole
from grok_sweep.errors import ConfigError
from grok_sweep.session.refining import between, wanted
from grok_sweep.store import Store

RATE = real(0.1, "a rate", 0)
HERE = Path(__file__).parent
MIDDLE = between(RATE, log=True)
# Phases that are known beforehand: each width has a boundary of its own, each seed its own place of it.
BY_RATE = """
from grok_sweep.core.parts import Look, definition


@definition({"low": Look("#0072b2", "circle"), "high": Look("#d55e00", "cross")})
def by_rate(runs, curves, h):
    at = 0.05 * runs["width"] * (1 + SPREAD * (runs["seed"] % 4))
    return ["high" if rate > place else "low" for rate, place in zip(runs["learning_rate"], at)]
"""


def table(phase, rates=(0.01, 0.1, 1.0), seeds=4, **more):
    """Phases of a made-up sweep: `phase(rate, seed)` says them."""
    rows = [(rate, seed, phase(rate, seed)) for rate in rates for seed in range(seeds)]
    runs = pd.DataFrame(rows, columns=["rate", "seed", "phase"]).assign(task="t", min_train_loss=0.0, **more)
    runs.insert(0, "run_id", [f"{rate}-{seed}" for rate, seed, _ in rows])
    runs["phase"] = pd.Categorical(runs["phase"], ["memorize", "grok", "generalize", "fail"])
    return runs[["run_id", "task", "seed", "rate", *more, "min_train_loss", "phase"]]


def step(at):
    return lambda rate, seed: "grok" if rate > at else "memorize"


def test_a_clean_step_gets_a_value_in_the_middle_of_its_gap():
    ((wish,), known) = wanted(table(step(0.2)), "rate", True, 1.5, MIDDLE)
    assert known == 0
    assert (wish.at, wish.values, wish.seeds) == ({}, (0.3162,), 4)
    assert wish.width == pytest.approx(10)
    assert wanted(table(step(0.2)), "rate", True, 10, MIDDLE) == ([], 1)
    assert wanted(table(step(5)), "rate", True, 1.5, MIDDLE) == ([], 0)  # there is none


def test_seeds_that_do_not_agree_get_more_beside_them():
    """Where values are close together, and what is unknown is which seeds are on which side."""

    def mixed(rate, seed):
        return "grok" if rate > 0.1 * (1 + 0.4 * seed) else "memorize"

    rates = (0.08, 0.1, 0.12, 0.14, 0.16, 0.18, 0.2, 0.22, 0.24)
    ((wish,), _) = wanted(table(mixed, rates), "rate", True, 1.5, MIDDLE)
    assert wish.seeds == 6
    assert len(wish.values) > 3
    assert {*wish.values} < {*rates}
    assert wish.width > 1.5


def test_the_widest_comes_first_and_each_combination_is_its_own():
    both = [
        table(step(0.2), (0.01, 0.1, 1.0), hidden_size=4),
        table(step(0.15), (0.01, 0.1, 0.2, 1.0), hidden_size=8),
    ]
    wishes, known = wanted(pd.concat(both, ignore_index=True), "rate", True, 1.5, MIDDLE)
    assert [wish.at for wish in wishes] == [{"hidden_size": 4}, {"hidden_size": 8}]
    assert [round(wish.width, 6) for wish in wishes] == [10, 2]
    assert known == 0


@settings(max_examples=25, deadline=None)
@given(st.floats(0.012, 0.9), st.sampled_from([1.1, 1.5, 3.0]))
def test_a_step_is_found_in_as_many_rounds_as_there_are_halvings(at, width):
    rates, rounds = {0.01, 0.1, 1.0}, 0
    while True:
        phases = table(step(at), sorted(rates))
        wishes, known = wanted(phases, "rate", True, width, MIDDLE)
        if not wishes:
            break
        rates |= {*wishes[0].values}
        rounds += 1
    found = analysis.boundaries(phases, "rate", log=True).iloc[0]
    assert known == 1
    assert found["low"] * (1 - 1e-9) <= at <= found["high"] * (1 + 1e-9)
    assert found["high"] / found["low"] <= width * 1.001
    assert rounds <= np.ceil(np.log2(np.log(10) / np.log(width))) + 1


def test_values_between_are_short_and_whole_where_they_must_be():
    assert MIDDLE(0.1, 1) == 0.3162
    assert between(RATE, log=False)(0, 1) == 0.5
    assert MIDDLE(0.1, 0.1000000001) is None  # one number in float32
    neurons = between(whole(16, "neurons", 1, 512), log=True)
    assert (neurons(16, 64), neurons(16, 18), neurons(16, 17)) == (32, 17, None)
    assert between(whole(1, "of some", among=(1, 2, 8)), log=False)(2, 8) is None


@pytest.fixture
def sweep(files, monkeypatch):
    """A sweep of 5 rates x 2 widths x 4 seeds whose phases are known; `spread` of the seeds' places."""
    monkeypatch.setattr("analysis.resampling.RESAMPLES", 200)  # of each boundary, in each of many rounds

    def write(spread):
        grid = {"width": [4, 8], "learning_rate": [0.001, 0.01, 0.1, 1.0, 10.0]}
        files(
            own_with(spread),
            sweep_file(
                grid=grid, seeds=4, train={"steps": 2, "log_every": 1}, phases={"definition": "by_rate"}
            ),
        )

    return write


def own_with(spread):
    from own import OWN

    return OWN + BY_RATE.replace("SPREAD", str(spread))


MORE = ["refine.on=learning_rate", "refine.width=1.3", "refine.budget=400"]


def test_a_sweep_is_refined_until_its_boundaries_are_known(sweep, capfd):
    sweep(0)
    assert run("dry_run=true", *MORE) == 0
    said = capfd.readouterr()
    assert "40 runs to train (10 cells x 4 seeds, 0 finished)" in said.out
    assert "refine     then 400 runs more at most, as boundaries along learning_rate turn out" in said.out
    assert run(*MORE) == 0
    said = capfd.readouterr()
    assert (
        "refine: 2 of 2 boundaries along learning_rate could be surer, the widest known to a factor of 10: "
        in said.err
    )
    assert "8 runs more; 0 of 400 runs of the budget are spent\n" in said.err
    for width in (4, 8):
        assert re.search(rf"^  width {width}: learning_rate [\d.]+, 4 seeds: 4 runs$", said.err, re.MULTILINE)
    assert "refine: all 2 boundaries along learning_rate are known to a factor of 1.3 or better" in said.err
    assert "low becomes high at learning_rate" in said.out
    found = pd.read_parquet("out/boundaries.parquet").set_index("width")
    for width in (4, 8):
        row = found.loc[width]
        assert row["low"] <= 0.05 * width <= row["high"] <= 1.301 * row["low"]
    runs = analysis.load_runs("out")
    assert 40 < len(runs) <= 40 + 2 * 4 * 5  # four halvings of a factor of ten, and one for rounding
    assert runs.groupby(["width", "learning_rate"]).size().eq(4).all()
    stored = yaml.safe_load(Path("out/sweep.yaml").read_text())
    assert stored["config"]["grid"]["learning_rate"] == [0.001, 0.01, 0.1, 1.0, 10.0]
    assert sum(session["runs"] for session in stored["sessions"]) == len(runs)
    before = {path: path.read_bytes() for path in Path("out/runs").iterdir()}
    assert run(*MORE) == 0
    assert run() == 0
    assert {path: path.read_bytes() for path in Path("out/runs").iterdir()} == before
    capfd.readouterr()
    assert run(*MORE[:1], "refine.width=1.05", "refine.budget=400", "dry_run=true") == 0
    said = capfd.readouterr()
    assert "0 runs to train" in said.out
    assert "8 runs to train" in said.out
    assert {path: path.read_bytes() for path in Path("out/runs").iterdir()} == before


def test_a_sweep_may_say_so_itself(files, capfd):
    """To YAML a word on without quotes is true."""
    text = sweep_file(seeds=4, refine={"budget": 9}).replace("refine:\n", "refine:\n  on: momentum\n")
    assert "  on: momentum\n" in text
    files(own_with(0), text)
    assert run("grid.momentum=[0,0.5,0.9]", "dry_run=true") == 0
    assert "then 9 runs more at most, as boundaries along momentum turn out" in capfd.readouterr().out


def test_all_rounds_have_one_ray(sweep, command):
    sweep(0)
    more = ["refine.on=learning_rate", "refine.width=4", "refine.budget=100"]
    arguments = [*command, "sweeps=mine", "cluster=local", "out=out", *more]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=500, check=False)
    said = done.stderr
    assert done.returncode == 0, said
    assert said.count("starting Ray") == 1
    assert said.count("runs in ") == 2
    assert "refine: all 2 boundaries" in said


def test_seeds_that_differ_get_company_and_the_budget_is_kept(sweep, capfd):
    sweep(0.3)
    assert run("refine.on=learning_rate", "refine.budget=60", "refine.width=1.2") == 0
    said = capfd.readouterr().err
    runs = analysis.load_runs("out")
    assert 40 + 40 < len(runs) <= 40 + 60
    assert "of 60 runs of the budget are spent, and no round of the rest is left" in said
    assert run("refine.on=learning_rate", "refine.budget=300", "refine.width=1.2") == 0
    more = analysis.load_runs("out")
    assert {*runs["run_id"]} < {*more["run_id"]}
    assert more["seed"].max() > 3
    assert len(more) <= 40 + 300


def test_runs_of_other_grids_are_neither_paid_for_nor_in_the_way(sweep, capfd):
    """More seeds of before, and a rate beyond those of now."""
    sweep(0)
    assert run("seeds=6", "grid.learning_rate=[0.001,0.01,0.1,1,10,100]") == 0
    capfd.readouterr()
    assert run(*MORE[:2], "refine.budget=60") == 0
    said = capfd.readouterr()
    assert "12 runs more; 0 of 60 runs of the budget are spent" in said.err
    assert "refine: all 2 boundaries" in said.err
    found = pd.read_parquet("out/boundaries.parquet")
    assert found["value"].notna().all()


def test_a_round_that_is_too_large_leaves_what_is_there(sweep, capfd, monkeypatch):
    """As one whose whole grid does not go into memory."""
    sweep(0)
    monkeypatch.setattr("grok_sweep.session.capacity.RUN_MEMORY", 1e11)
    monkeypatch.setattr("grok_sweep.session.capacity.available_memory", lambda: 50 * 1e11 * 0.9 / 2)
    assert run(*MORE) == 0
    said = capfd.readouterr()
    assert "refine: grid: 48 runs need about" in said.err or "refine: grid: 50 runs need about" in said.err
    assert "low becomes high at learning_rate" in said.out
    assert len(analysis.load_runs("out")) == 40


def test_a_refining_that_is_broken_off_goes_on(sweep, capfd):
    sweep(0)
    publish, published = Store.publish, []

    def some(store, *tables):
        if len(published) == 4:
            raise OSError(28, "No space left on device")
        published.append(tables)
        publish(store, *tables)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "publish", some)
        assert run(*MORE) == 1
    there = analysis.load_runs("out")["run_id"]
    assert 40 < len(there) < 60
    capfd.readouterr()
    assert run(*MORE) == 0
    assert "all 2 boundaries" in capfd.readouterr().err
    assert {*there} < {*analysis.load_runs("out")["run_id"]}
    assert analysis.load_runs("out")["run_id"].is_unique


def test_runs_that_crash_are_not_asked_for_again(sweep, capfd):
    from grok_sweep.executors import inline

    train = inline.train_shard

    def between_fails(order):
        if not np.isin(order.columns["learning_rate"], [0.001, 0.01, 0.1, 1.0, 10.0]).all():
            raise ValueError("no luck")
        return train(order)

    sweep(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inline, "train_shard", between_fails)
        assert run(*MORE) == 1
    assert len(analysis.load_runs("out")) == 40
    assert "8 runs crashed" in capfd.readouterr().err
    assert run(*MORE) == 1
    assert "8 runs crashed" in capfd.readouterr().err
    assert run(*MORE, "retry_crashed=true") == 0
    assert "all 2 boundaries" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["refine.on=nothing", "refine.budget=5"],
            "refine.on='nothing': must be an axis of grid; there are width, learning_rate",
        ),
        (["refine.on=learning_rate"], "refine.budget=null: says how many runs there may be beyond the grid"),
        (["refine.budget=5"], "refine.on=null: must be an axis of grid"),
        (["refine.on=learning_rate", "refine.budget=0"], "refine.budget=0: must be a whole number from 1 to"),
        (
            ["refine.on=learning_rate", "refine.budget=5", "refine.width=0"],
            "refine.width=0: must be a finite",
        ),
        (
            ["refine.on=width", "refine.budget=5"],
            "refine.on='width': must have at least three values in grid, has 2",
        ),
        (["refine.on=learning_rate", "refine.budget=5", "seeds=3"], "seeds=3: refine needs at least four"),
        (
            ["refine.on=learning_rate", "refine.budget=5", "only=runs > 0"],
            "refine.on='learning_rate': goes over all",
        ),
        (
            ["refine.on=learning_rate", "refine.budget=5", "refine.width=0.5"],
            "refine.width=0.5: is a factor here",
        ),
        (["refine.on=[learning_rate]", "refine.budget=5"], "must be an axis of grid"),
        (["refine.nothing=1"], "refine.nothing=1: no such key"),
        (["refine=5"], "refine=5: must be a block of key: value"),
    ],
)
def test_what_cannot_be_refined_is_refused(sweep, capfd, arguments, said):
    sweep(0)
    assert said in refused(capfd, *arguments)


def test_the_zip_of_an_axis_is_refused(tiny):
    with pytest.raises(ConfigError, match="changes together with another axis"):
        tiny(
            "grid.weight_decay=[0.1,0.3,1]",
            "grid.train_size=[20,30,40]",
            "zip=[[weight_decay,train_size]]",
            "seeds=4",
            "refine.on=weight_decay",
            "refine.budget=9",
        )
    assert tiny(*TINY[-1:]).refine is None


def test_a_replay_counts_what_is_shown_until_all_is_known():
    rates = tuple(np.geomspace(0.01, 1, 17).round(4).tolist())
    phases = table(step(0.2), rates)
    found = replay(phases, "rate", 1.5, 3, 2)
    assert found["boundaries"] == 1
    at_random = found["median_runs"].pop("random")
    assert found["median_runs"] == {"refined": 4 * (3 + 3), "grid": 4 * 17}
    assert 4 * (3 + 3) < at_random <= 4 * 17
    assert len(known(phases, "rate", True, 1.5)) == 1
    assert not known(phases, "rate", True, 1.3)


def test_the_readme_says_what_the_replays_gave():
    record = yaml.safe_load((HERE / "refined.yaml").read_text(encoding="utf-8"))
    text = " ".join((HERE.parent / "README.md").read_text(encoding="utf-8").split())
    one, fine, many, live = (record[name] for name in ("parity_1125", "fine", "many_seeds", "live"))
    ways = ("refined", "grid", "random")
    refined, grid, random = (f"{many['median_runs'][way]:,}" for way in ways)
    assert f"Five of them {many['runs']:,} runs on {many['values']} weight decays with 24 seeds each" in text
    assert (
        f"the five are known after {refined}; by whole grids, coarse ones and few seeds first, after {grid},"
        in text
    )
    assert f"{grid}, and in random order after {random}. On" in text
    assert (many["boundaries"], many["width"], many["draws"], many["never_by_refining"]) == (5, 3.0, 20, 1)
    refined, grid, random = (f"{one['median_runs'][way]:,}" for way in ways)
    assert (
        f"that its {one['runs']:,} runs know to a factor of {one['width']} are known after {refined} runs"
        in text
    )
    assert f"by whole grids after {grid}, and in random order after {random} (medians of twenty" in text
    assert (one["draws"], one["never_by_refining"]) == (20, 1)
    assert (
        f"after {live['rounds']} rounds, {live['runs']} runs, {live['cpu_seconds']} s of CPU, with seven"
        in text
    )
    assert (live["first"], live["boundaries"], live["width"]) == (36, 7, 3.0)
    assert (live["of_many_seeds"], live["within_their_intervals"]) == (5, 5)
    assert f"{fine['median_runs']['random']:,} in random order were enough" in text
    assert f"({fine['runs']:,} runs) nine seeds refined never knew all four boundaries" in text
    assert (fine["boundaries"], fine["width"], fine["values"]) == (4, 2.0, 65)
    assert (fine["draws"], fine["never_by_refining"]) == (5, 5)
    again = record["fine_of_20"]
    refined, grid, random = (again["median_runs"][way] for way in ways)
    told = f"all runs know one to that; refining does after {refined}, whole grids after {grid}, and"
    assert f"{told} random order after {random} (medians of twenty orders)" in text
    assert (again["boundaries"], again["draws"], again["never_by_refining"]) == (1, 20, 0)


def test_a_zero_of_an_earlier_grid_has_no_logarithm(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    assert main([*TINY, "out=out", "grid.weight_decay=[0,0.1,0.3,1]"]) == 0
    assert main([*TINY, "out=out", "grid.weight_decay=[0.1,0.3,1]"]) == 0
    assert analyse(["out", "--boundary", "weight_decay"]) == 0
    assert "boundary: out/boundary.png" in capfd.readouterr().out
