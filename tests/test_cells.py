"""Cells: counts, majorities, and Wilson's intervals against published values and the equation they solve."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta
from test_phases import FIVE, five, grid_table, runs_table

from analysis import PHASES, cells, classify, joint, wilson


def phases_of(names, **row):
    return classify(runs_table([{"phase": name, "seed": seed} | row for seed, name in enumerate(names)]))


@pytest.mark.parametrize(
    ("hits", "runs", "low", "high"),
    [
        # R. G. Newcombe, Statistics in Medicine 17 (1998), 857-872, table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_is_as_published(hits, runs, low, high):
    assert np.ravel(wilson(np.array([hits]), np.array([runs]))) == pytest.approx([low, high], abs=5e-5)


def solve(hits, runs, inside, outside):
    """The p between a point inside the interval and one outside at which the score is z, by halving."""
    for _ in range(200):
        p = (inside + outside) / 2
        within = (hits / runs - p) ** 2 <= 1.959964**2 * p * (1 - p) / runs
        inside, outside = (p, outside) if within else (inside, p)
    return inside


@given(st.data())
def test_wilson_ends_solve_the_score_equation(data):
    runs = data.draw(st.integers(1, 10_000))
    hits = data.draw(st.integers(0, runs))
    low, high = wilson(np.array([hits]), np.array([runs]))
    share = hits / runs
    assert 0 <= low[0] <= share <= high[0] <= 1
    assert low[0] == pytest.approx(solve(hits, runs, share, 0.0) if hits else 0.0, abs=1e-9)
    assert high[0] == pytest.approx(solve(hits, runs, share, 1.0) if hits < runs else 1.0, abs=1e-9)


@given(st.lists(st.tuples(st.sampled_from([0.1, 1.0]), st.sampled_from([16, 64]), st.sampled_from(PHASES))))
def test_cells_count_every_run_once(rows):
    phases = classify(
        runs_table([{"weight_decay": d, "hidden_size": h, "phase": phase} for d, h, phase in rows])
    )
    table = cells(phases)
    counts = table[[f"n_{name}" for name in PHASES]]
    assert (counts.sum(axis=1) == table["runs"]).all()
    assert all(counts[f"n_{name}"].sum() == [row[2] for row in rows].count(name) for name in PHASES)
    assert len(table) == len({row[:2] for row in rows})
    for name in PHASES:
        low, share, high = (table[f"{what}_{name}"] for what in ("low", "share", "high"))
        assert ((low >= 0) & (low <= share) & (share <= high) & (high <= 1)).all()
        assert np.allclose(share * table["runs"], table[f"n_{name}"])


def test_a_cell_by_hand():
    (cell,) = cells(phases_of(["grok", "fail", "grok"], weight_decay=0.3)).to_dict("records")
    assert (cell["weight_decay"], cell["hidden_size"], cell["train_size"]) == (0.3, 64, 1000)
    assert [cell[f"n_{name}"] for name in PHASES] == [0, 2, 0, 1]
    assert (cell["runs"], cell["majority"], cell["share_grok"]) == (3, "grok", 2 / 3)


@pytest.mark.parametrize(
    ("names", "majority"),
    [
        (["grok", "fail"], "fail"),
        (["grok", "memorize", "generalize"], "memorize"),
        (["grok", "generalize"], "generalize"),
        (["grok", "grok", "fail"], "grok"),
    ],
)
def test_a_tie_goes_to_the_phase_tested_first(names, majority):
    assert cells(phases_of(names))["majority"].tolist() == [majority]
    assert cells(phases_of(names[::-1]))["majority"].tolist() == [majority]


def test_default_axes_are_what_varies_and_the_article_s_three():
    phases = classify(grid_table(2, learning_rate=(1e-3, 1e-2), hidden_size=(16, 64)))
    table = cells(phases)
    assert list(table.columns[:4]) == ["train_size", "hidden_size", "learning_rate", "weight_decay"]
    assert table["runs"].tolist() == [2] * 4
    assert table["learning_rate"].tolist() == [1e-3, 1e-2] * 2
    assert [str(table[name].dtype) for name in ("hidden_size", "runs", "n_fail")] == ["int64"] * 3
    # Another task or length of training makes another cell, another seed or device does not.
    phases = classify(runs_table([{"seed": 0, "device": "cpu"}, {"seed": 1, "device": "gpu"}, {"steps": 5}]))
    assert cells(phases)["runs"].tolist() == [1, 2]
    assert len(cells(classify(runs_table([{"task": "parity"}, {"task": "sum"}])))) == 2


def test_axes_can_be_named():
    phases = classify(grid_table(3, weight_decay=(0.1, 1.0), hidden_size=(16, 64)))
    assert cells(phases, by=["hidden_size"])["runs"].tolist() == [6, 6]
    assert cells(phases, by=[])["runs"].tolist() == [12]
    with pytest.raises(ValueError, match="needs the columns width"):
        cells(phases, by=["width"])


def test_a_missing_value_is_a_cell_of_its_own():
    phases = classify(runs_table([{"weight_decay": None}, {"weight_decay": 0.1}, {"weight_decay": None}]))
    assert cells(phases)["runs"].tolist() == [1, 2]


def test_phases_read_from_elsewhere_are_counted_and_unknown_ones_refused():
    phases = phases_of(["grok", "fail"])
    text = phases.assign(phase=phases["phase"].astype(str))
    pd.testing.assert_frame_equal(cells(text), cells(phases))
    with pytest.raises(ValueError, match="phase: 'grokking' is not allowed; give one of memorize, grok"):
        cells(phases.assign(phase="grokking"))
    with pytest.raises(ValueError, match="needs the columns phase"):
        cells(phases.drop(columns="phase"))


def test_phases_of_another_definition_have_columns_of_their_own():
    phases = five([0, 1, 2, 10])
    table = cells(phases, by=["hidden_size"])
    assert list(table.columns) == [
        *("hidden_size", "runs", *(f"n_{name}" for name in FIVE), "majority"),
        *(f"{what}_{name}" for name in FIVE for what in ("share", "low", "high")),
    ]
    (cell,) = table.to_dict("records")
    assert [cell[f"n_{name}"] for name in FIVE] == [1, 2, 1, 0, 0]
    assert (cell["majority"], cell["share_calm"]) == ("calm", 0.5)
    assert table["majority"].cat.categories.tolist() == list(FIVE)
    assert table.attrs == phases.attrs
    with pytest.raises(ValueError, match="phase: 'grok' is not allowed; give one of confused, calm, wild"):
        cells(phases.assign(phase="grok"))


@pytest.mark.parametrize(
    ("seeds", "majority"), [([1, 0], "calm"), ([0, 10], "confused"), ([1, 3, 0], "wild")]
)
def test_the_first_of_its_phases_stands_for_a_tie(seeds, majority):
    assert cells(five(seeds), by=["hidden_size"])["majority"].tolist() == [majority]


def counted(n_CK):
    """Cells of these counts."""
    counts = {f"n_{name}": n_CK[:, k] for k, name in enumerate(PHASES)}
    table = pd.DataFrame({"runs": n_CK.sum(axis=1), **counts})
    table.attrs["definition"] = "pair"
    return table


def ends(n_CK):
    found = joint(counted(n_CK))
    return [found[[f"joint_{end}_{name}" for name in PHASES]].to_numpy() for end in ("low", "high")]


@pytest.mark.parametrize("runs", [3, 9, 50])
def test_joint_intervals_hold_all_shares_as_often_as_they_say(runs):
    """Of shares drawn from the prior exactly 95 %, but that a phase of no run may have any few."""
    random = np.random.default_rng(runs)
    p_CK = random.dirichlet(np.full(4, 0.5), 400)
    low_CK, high_CK = ends(random.multinomial(runs, p_CK))
    held = ((low_CK <= p_CK) & (p_CK <= high_CK)).all(axis=1).mean()
    assert 0.93 <= held <= 0.99


def test_joint_intervals_are_wider_than_those_of_each_alone_and_narrower_than_bonferronis():
    n_CK = np.array([[3, 2, 3, 1], [20, 10, 5, 15], [1, 1, 1, 1]])
    low_CK, high_CK = ends(n_CK)
    a_CK, b_CK = n_CK + 0.5, n_CK.sum(axis=1, keepdims=True) - n_CK + 1.5
    alone, all_four = (beta.ppf(tail, a_CK, b_CK) for tail in (0.025, 0.025 / 4))
    assert (low_CK < alone).all()
    assert (low_CK > all_four - 0.01).all()
    alone, all_four = (beta.isf(tail, a_CK, b_CK) for tail in (0.025, 0.025 / 4))
    assert (high_CK > alone).all()
    assert (high_CK < all_four + 0.01).all()


def test_joint_intervals_of_none_and_all():
    low_CK, high_CK = ends(np.array([[9, 0, 0, 0]]))
    assert low_CK[0, 0] == pytest.approx(beta.ppf(0.025 / 4, 9.5, 1.5), abs=0.02)
    assert high_CK[0, 0] == 1
    assert (low_CK[0, 1:] == 0).all()
    assert high_CK[0, 1:] == pytest.approx(beta.isf(0.025 / 4, 0.5, 10.5), abs=0.03)
    with pytest.raises(ValueError, match="needs the columns runs"):
        joint(counted(np.array([[9, 0, 0, 0]])).drop(columns="runs"))


def test_no_runs_have_no_cells_and_no_intervals():
    none = cells(classify(runs_table([])))
    assert none.empty
    assert joint(none).shape == (0, 8)
