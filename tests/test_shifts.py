"""How far the boundaries of two sweeps are apart: known shifts, their intervals, pairs of seeds, drawn."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from agreement import phases as sorted_as
from pages import PARITY

import analysis
from analysis.cli import main
from analysis.comparison_pictures import shifts_picture
from analysis.phases import PHASES
from analysis.shifts import shifts, told
from grok_sweep.store import Store

GRID = np.geomspace(0.01, 1, 12)
AT_WHICH_HALF = 0.1


def sweep(random, at_S, wide=0.3, first=0, values=GRID):
    """Runs that grok where log weight_decay is over that of `at_S`, one for each seed, but for some noise."""
    phase_SV = np.log(values) + wide * random.logistic(size=(len(at_S), len(values))) > np.log(at_S)[:, None]
    runs = {"sweep": "s", "task": "t", "seed": np.repeat(np.arange(len(at_S)) + first, len(values))}
    runs |= {"weight_decay": np.tile(values, len(at_S)), "train_size": 5, "hidden_size": 3}
    names = np.where(phase_SV.ravel(), "grok", "memorize")
    table = pd.DataFrame({**runs, "min_train_loss": 0.1, "phase": pd.Categorical(names, categories=PHASES)})
    table.attrs = {"definition": "pair", "min_loss": 1e-5, "max_ratio": 5e4}
    return table


def moved(one, other):
    (row,) = shifts(one, other, "weight_decay", ["hidden_size", "weight_decay"]).itertuples()
    return row


def test_of_the_same_runs_it_is_none_and_known_to_a_step_of_the_grid():
    one = sweep(np.random.default_rng(0), np.full(9, AT_WHICH_HALF), wide=1e-9)
    row = moved(one, one)
    step = GRID[1] / GRID[0]
    assert (row.below, row.above, row.shift) == ("memorize", "grok", 1)
    assert [row.low, row.high] == pytest.approx([1 / step, step])


@pytest.mark.parametrize("first", [0, 9])  # the same seeds, or others
def test_intervals_hold_the_truth_as_often_as_they_say(first):
    random, held, missed, tries = np.random.default_rng(first), 0, 0, 50
    for _ in range(tries):
        one = sweep(random, np.full(9, AT_WHICH_HALF), wide=0.6)
        row = moved(one, sweep(random, np.full(9, 3 * AT_WHICH_HALF), wide=0.6, first=first))
        held += row.low <= 3 <= row.high
        missed += row.low <= 1
    assert held / tries >= 0.92
    assert missed / tries < 0.4  # it is seldom taken for none


def test_what_seeds_have_in_common_is_no_doubt():
    random = np.random.default_rng(2)
    at_S = AT_WHICH_HALF * np.exp(0.8 * random.normal(size=9))
    fine = np.geomspace(0.005, 2, 40)
    one, same, others = (
        sweep(random, by * at_S, wide=0.05, first=first, values=fine)
        for by, first in ((1, 0), (2, 0), (2, 9))
    )
    paired, alone = moved(one, same), moved(one, others)
    assert paired.low > 1
    assert paired.high / paired.low < 0.5 * alone.high / alone.low
    assert paired.low <= 2 <= paired.high


def test_with_few_seeds_there_is_no_interval():
    random = np.random.default_rng(3)
    row = moved(sweep(random, np.full(3, 0.05)), sweep(random, np.full(9, 0.2)))
    assert (row.low, row.high) == (0, np.inf)


@pytest.mark.parametrize("turned", [False, True])
def test_many_more_seeds_of_one_do_not_take_the_bounds_away(turned):
    random = np.random.default_rng(5)
    few, many = sweep(random, np.full(5, 0.1), wide=0.6), sweep(random, np.full(200, 0.3), wide=0.6)
    row = moved(many, few) if turned else moved(few, many)
    assert 0 < row.low < (1 / 3 if turned else 3) < row.high < 50


def test_along_an_axis_that_is_not_logarithmic_it_is_a_difference():
    random, values = np.random.default_rng(6), np.linspace(0.1, 1, 10)
    one = sweep(random, np.full(9, 0.35), wide=1e-9, values=values)
    other = sweep(random, np.full(9, 0.75), wide=1e-9, values=values)
    row = moved(one, other)
    assert row.shift == pytest.approx(0.4, abs=0.02)
    assert [row.low, row.high] == pytest.approx([0.3, 0.5])
    table = shifts(one, other, "weight_decay", ["hidden_size"])
    assert "the median shift is +0.4, beyond what seeds and grid leave open in 1" in told(table)[0]


def test_a_boundary_of_one_alone_has_no_shift():
    random = np.random.default_rng(4)
    one, none = sweep(random, np.full(9, 0.1)), sweep(random, np.full(9, 1e9))
    table = shifts(one, none, "weight_decay", ["hidden_size"])
    assert table.empty
    assert told(table) == ["along weight_decay no boundary is in both"]
    with pytest.raises(ValueError, match="no boundary along weight_decay is in both"):
        shifts_picture(table, ("a", "b"))


def test_between_the_two_engines_no_boundary_has_moved_beyond_doubt():
    """As README says; the other engine's runs are those of tests/xla_cpu.parquet."""
    one = analysis.classify(analysis.load_runs(PARITY))
    by_xla = sorted_as(pd.read_parquet(Path(__file__).with_name("xla_cpu.parquet")).set_index("run_id"))
    same = pd.Categorical(by_xla.reindex(one["run_id"]), categories=one["phase"].cat.categories)
    other = one.assign(phase=same)
    other.attrs = dict(one.attrs)
    table = shifts(one, other, "weight_decay", ["hidden_size", "train_size"])
    assert len(table) == 46
    assert ((table["low"] <= 1) & (table["high"] >= 1)).all()
    assert (table["shift"] != 1).any()


def test_the_command_tells_writes_and_draws_it(tmp_path, capsys):
    folders = [tmp_path / name for name in ("a", "b")]
    for folder in folders:
        Store(PARITY).copy_record(Store(folder))
    command = ["compare", *map(str, folders), "--boundary"]
    assert main([*command, "weight_decay", "--out", str(tmp_path / "c")]) == 0
    said = capsys.readouterr().out
    assert "memorize becomes grok along weight_decay in both, in " in said
    assert "the median shift is a factor of 1.00, beyond what seeds and grid leave open in 0" in said
    table = pd.read_parquet(tmp_path / "c" / "shifts.parquet")
    assert (table["shift"] == 1).all()
    assert ((table["low"] < 1) & (table["high"] > 1)).all()
    (plot,) = shifts_picture(table, ("a", "b")).axes
    assert plot.collections[-1].get_offsets().tolist() == table[["value_a", "value_b"]].to_numpy().tolist()
    assert (tmp_path / "c" / "shifts.png").exists()
    assert main([*command, "task"]) == 2
    assert "boundary: 'task' is no axis of two numbers or more; there are " in capsys.readouterr().err
