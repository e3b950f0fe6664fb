"""Two sweeps beside each other: distances, chance by hand, how often chance is called different, drawn."""

import itertools

import numpy as np
import pandas as pd
import pytest
from pages import PARITY

import analysis
from analysis.cli import main
from analysis.comparison import told
from analysis.comparison_pictures import compare_picture
from analysis.phases import PHASES


def phases_of(phase_CS, first=0):
    """Runs of cells C, told apart by weight_decay, and seeds S."""
    cells, count = np.shape(phase_CS)
    runs = {"sweep": "s", "task": "t", "seed": np.tile(np.arange(count) + first, cells)}
    runs |= {"weight_decay": np.repeat(np.arange(cells) + 1.0, count), "train_size": 5, "hidden_size": 3}
    phase = pd.Categorical(np.ravel(phase_CS), categories=PHASES)
    return pd.DataFrame({**runs, "min_train_loss": 0.1, "phase": phase})


def test_chance_of_shared_seeds_is_all_their_swaps():
    """Of five seeds: 32 swaps, counted one by one."""
    a = np.array([["grok"] * 5, ["grok"] * 4 + ["fail"]])
    b = np.array([["memorize"] * 4 + ["grok"], ["grok"] * 5])
    found = analysis.compare(phases_of(a), phases_of(b))
    assert found.table["distance"].tolist() == pytest.approx([0.8, 0.2])
    every = []
    for swaps in itertools.product([False, True], repeat=5):
        left, right = np.where(swaps, b, a), np.where(swaps, a, b)
        every.append(
            [
                sum(abs((x == p).mean() - (y == p).mean()) for p in PHASES) / 2
                for x, y in zip(left, right, strict=True)
            ]
        )
    every = np.array(every)
    assert found.table["by_chance"].to_numpy() == pytest.approx(every.mean(axis=0), abs=0.02)
    right = (every >= found.table["distance"].to_numpy() - 1e-9).mean(axis=0)
    assert found.table["p"].to_numpy() == pytest.approx(right, abs=0.03)
    assert found.p == pytest.approx((every.mean(axis=1) >= 0.5 - 1e-9).mean(), abs=0.03)


def test_chance_of_other_seeds_is_all_ways_to_deal_them_out():
    """Of three seeds and four: 35 ways, counted one by one."""
    a = np.array([["grok"] * 3, ["grok", "grok", "fail"]])
    b = np.array([["memorize"] * 3 + ["grok"], ["grok", "fail", "fail", "fail"]])
    found = analysis.compare(phases_of(a), phases_of(b, first=3))
    all_CS = np.hstack([a, b])
    every = []
    for chosen in itertools.combinations(range(7), 3):
        left, right = all_CS[:, [*chosen]], np.delete(all_CS, chosen, axis=1)
        every.append(
            [
                sum(abs((x == p).mean() - (y == p).mean()) for p in PHASES) / 2
                for x, y in zip(left, right, strict=True)
            ]
        )
    every = np.array(every)
    assert len(every) == 35
    assert found.table["distance"].tolist() == pytest.approx([0.75, 5 / 12])
    assert found.table["by_chance"].to_numpy() == pytest.approx(every.mean(axis=0), abs=0.02)
    right = (every >= found.table["distance"].to_numpy() - 1e-9).mean(axis=0)
    assert found.table["p"].to_numpy() == pytest.approx(right, abs=0.03)
    assert found.least_p == 2 / 35


def test_q_is_that_of_benjamini_and_hochberg():
    """The smallest p times cells by rank, from the largest p on."""
    random = np.random.default_rng(3)
    a, b = (np.where(random.random((12, 9)) < share, "grok", "fail") for share in (0.2, 0.7))
    table = analysis.compare(phases_of(a), phases_of(b)).table
    p = table["p"].to_numpy()
    q, least = np.empty(12), 1.0
    for rank, place in reversed([*enumerate(np.argsort(p, kind="stable"), 1)]):
        least = min(least, p[place] * 12 / rank)
        q[place] = least
    assert table["q"].to_numpy() == pytest.approx(q)
    assert (q > p).any()


def test_no_runs_are_no_cell_in_both():
    one = phases_of([["grok"] * 3])
    for pair in ((one[:0], one[:0]), (one, one[:0])):
        with pytest.raises(ValueError, match=r"no cell of .* is in both, with finished runs"):
            analysis.compare(*pair)


@pytest.mark.parametrize("first", [0, 9])  # the same seeds, or others
def test_what_is_chance_is_rarely_called_different(first, monkeypatch):
    monkeypatch.setattr("analysis.comparison.PERMUTATIONS", 200)
    monkeypatch.setattr("analysis.comparison.PERMUTATIONS_A_CELL", 20)
    random, called, tries = np.random.default_rng(0), [], 60
    for _ in range(tries):
        share = random.uniform(0, 1, (10, 1))  # of each cell
        a, b = (np.where(random.random((10, 9)) < share, "grok", "memorize") for _ in range(2))
        found = analysis.compare(phases_of(a), phases_of(b, first=first))
        called.append((found.p < 0.05, (found.table["q"] < 0.05).any()))
    assert (np.mean(called, axis=0) <= 0.12).all()  # of 0.05, by 60 tries


@pytest.mark.parametrize("first", [0, 9])
def test_what_differs_is_found(first):
    a = np.array([["grok"] * 9, ["memorize"] * 9, ["grok"] * 9])
    b = np.array([["grok"] * 9, ["grok"] * 9, ["grok"] * 9])
    found = analysis.compare(phases_of(a), phases_of(b, first=first))
    assert (found.table["q"] < 0.05).tolist() == [False, True, False]
    lines = told(found, ("a", "b"))
    assert lines[1] == "differ, corrected for 3 cells (q < 0.05): 1"
    assert lines[2].startswith("  weight_decay 2, train_size 5, hidden_size 3: 1.00 apart")
    figure = compare_picture(found, ("a", "b"))
    assert sum(len(line.get_xdata()) for plot in figure.axes for line in plot.lines) == 1


def with_axis(phases, name):
    """An axis of two values more, each for half of the seeds."""
    phases = phases.copy()
    phases.insert(list(phases).index("min_train_loss"), name, phases["seed"] % 2)
    return phases


def test_with_few_seeds_it_is_said_that_nothing_can_be_told():
    a, b = phases_of([["grok"] * 3] * 4), phases_of([["memorize"] * 3] * 4)
    found = analysis.compare(a, b)
    assert found.p == pytest.approx(0.25, abs=0.03)  # two of the eight swaps
    assert found.least_p == 0.25
    assert "so few seeds tell no cell that differs alone from chance: its q would be 1" in told(
        found, ("a", "b")
    )


def test_cells_of_one_alone_are_left_out_and_said():
    a, b = phases_of([["grok"] * 4] * 3), phases_of([["grok"] * 4] * 2)
    found = analysis.compare(a, b)
    assert found.left_out == (1, 0)
    assert told(found, ("a", "b"))[-1] == "left out: 1 cell of a alone"
    assert (found.distance, found.p) == (0, 1)
    with pytest.raises(ValueError, match="no cell of weight_decay, train_size is in both"):
        analysis.compare(a[a["weight_decay"] == 3], b, ["weight_decay", "train_size"])
    with pytest.raises(ValueError, match="momentum is an axis of one that the other does not have"):
        analysis.compare(with_axis(a, "momentum"), b)
    with pytest.raises(ValueError, match="q: a column of this table is called so"):
        analysis.compare(with_axis(a, "q"), with_axis(b, "q"))
    with pytest.raises(ValueError, match="give both by one"):
        analysis.compare(a, analysis.classify(analysis.load_runs(PARITY)))


def test_the_command_prints_and_writes_where_it_is_told(tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["compare", str(PARITY), str(PARITY), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert said.startswith("125 cells are in both ")
    assert "0.000 apart (total variation)" in said
    assert {path.name for path in out.iterdir()} == {
        f"compare.{kind}" for kind in ("parquet", "png", "svg", "html")
    }
    table, cells = pd.read_parquet(out / "compare.parquet"), pd.read_parquet(PARITY / "cells.parquet")
    assert len(table) == 125
    axes = ["weight_decay", "hidden_size", "train_size"]
    table, cells = table.set_index(axes).sort_index(), cells.set_index(axes).sort_index()
    for phase in PHASES:
        for what in ("share", "low", "high"):  # here both are those of the record
            for side in "ab":
                found = table[f"{what}_{side}_{phase}"].to_numpy()
                np.testing.assert_allclose(found, cells[f"{what}_{phase}"], atol=1e-12)
    assert main(["compare", str(PARITY), str(tmp_path / "nothing")]) == 2
    assert capsys.readouterr().err.startswith("grok-analyze: ")
