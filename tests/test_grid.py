import hashlib
import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grok_sweep.compose import compose
from grok_sweep.core.config import parse
from grok_sweep.core.grid import canonical, expand, identity
from grok_sweep.errors import ConfigError


def sweep(*overrides):
    return parse(compose(["sweeps=quickstart", *overrides])[0])


def expected_id(columns, run, **fields):
    """The definition, computed run by run."""
    floats = {
        k: float(columns[k][run]) for k in ("learning_rate", "weight_decay", "b1", "b2", "eps", "init_scale")
    }
    whole = {
        k: int(columns[k][run]) for k in ("hidden_size", "train_size", "test_size", "n_bits", "n_parity_bits")
    }
    fields |= {"schema": 1, "task": "parity", "model": "relu_mlp", "optimizer": "adamw"}
    record = fields | floats | whole | {"seed": int(columns["seed"][run])}
    text = json.dumps(record, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def test_every_combination_once_the_seed_fastest():
    axes = ["grid.weight_decay=[0.1,1]", "grid.hidden_size=[4,8,16]", "grid.train_size=[750,1500]"]
    columns = expand(sweep(*axes, "seeds=[5,3]")).columns
    rows = list(
        zip(
            columns["weight_decay"],
            columns["hidden_size"],
            columns["train_size"],
            columns["seed"],
            strict=True,
        )
    )
    assert rows == [(w, h, n, s) for w in (0.1, 1) for h in (4, 8, 16) for n in (750, 1500) for s in (5, 3)]
    assert (columns["learning_rate"] == 0.003).all()


@given(
    decays=st.lists(st.floats(0, 1e3, width=32), min_size=1, max_size=4, unique=True),
    rates=st.lists(st.floats(1e-6, 1), min_size=1, max_size=3, unique=True),
    seeds=st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=3, unique=True),
    steps=st.integers(1, 50),
)
@settings(max_examples=40)
def test_run_id_is_the_hash_of_the_runs_own_fields(decays, rates, seeds, steps):
    given_ = [f"grid.weight_decay={decays}", f"grid.learning_rate={rates}", f"seeds={seeds}"]
    columns = expand(sweep(*given_, f"train.steps={steps * 7}", "train.log_every=7")).columns
    for run in range(len(columns["run_id"])):
        assert columns["run_id"][run] == expected_id(columns, run, steps=steps * 7, log_every=7)


def test_a_run_has_the_same_id_in_any_grid():
    whole = expand(sweep("seeds=4"))
    part = expand(sweep("seeds=[2]", "grid.weight_decay=[0.3]", "out=elsewhere"))
    assert len(set(whole.columns["run_id"])) == len(whole)
    assert set(part.columns["run_id"]) < set(whole.columns["run_id"])
    swapped = expand(sweep("seeds=[3,1,0,2]", "cluster=inline", "name=other"))
    assert set(swapped.columns["run_id"]) == set(whole.columns["run_id"])


def test_whole_numbers_and_fractions_of_equal_value_are_one_run():
    assert expand(sweep("grid.weight_decay=[1]")).columns["run_id"].tolist() == (
        expand(sweep("grid.weight_decay=[1.0]")).columns["run_id"].tolist()
    )


def test_the_id_of_a_published_run_never_changes():
    """Results of past sweeps are found by it: raise grid.SCHEMA_VERSION only when the numbers change."""
    grid = expand(parse(compose(["sweeps=parity_1125"])[0]))
    assert len(grid) == 1125
    assert grid.columns["run_id"][[0, 1124]].tolist() == PINNED


PINNED = ["7aeb380138b6e73c", "8dbc614df1a0f0c7"]


def test_rows():
    grid = expand(sweep())
    rows = grid.rows(np.array([3, 1]))
    assert rows["run_id"].tolist() == grid.columns["run_id"][[3, 1]].tolist()


def test_axes_that_change_together_are_one_axis():
    axes = ["grid.weight_decay=[1,0.3,0,0]", "grid.learning_rate=[0.1,0.2,0.2,0.1]", "grid.b1=[0.5,0.9]"]
    together = sweep(*axes, "zip=[[learning_rate,weight_decay]]", "grid.hidden_size=[4]", "seeds=2")
    columns = expand(together).columns
    assert together.n_runs == len(columns["run_id"]) == 4 * 2 * 2 * 2
    pairs = set(zip(columns["weight_decay"].tolist(), columns["learning_rate"].tolist(), strict=True))
    assert pairs == {(1, 0.1), (0.3, 0.2), (0, 0.2), (0, 0.1)}
    assert len(set(columns["run_id"])) == together.n_runs
    for run in range(together.n_runs):
        assert columns["run_id"][run] == expected_id(columns, run, steps=20000, log_every=100)


def test_axes_that_change_together_are_checked_at_their_points_only():
    good = sweep("grid.n_bits=[3,10]", "grid.n_parity_bits=[3,5]", "zip=[[n_bits,n_parity_bits]]")
    assert good.n_cells == 2 * 16
    config, _ = compose(
        [
            "sweeps=quickstart",
            "grid.n_bits=[10,3]",
            "grid.n_parity_bits=[3,5]",
            "zip=[[n_bits,n_parity_bits]]",
        ]
    )
    with pytest.raises(ConfigError, match=r"grid\.n_parity_bits=5: must be at most n_bits=3"):
        parse(config)


ARCHITECTURES = {
    "tied_embedding": (1, 0),
    "tied_hidden": (1, 0),
    "collapsed_input": (0, 1),
    "collapsed_output": (1, 0),
    "embed_size": (64, 32, 128),
}


def architectures(*overrides):
    return parse(compose(["sweeps=modular_architectures", *overrides])[0])


def combinations(sweep):
    """Every combination in the grid's order: (its id, what a run at it depends on), one by one."""
    for points in itertools.product(
        *(list(zip(*(sweep.axes[key] for key in loop), strict=True)) for loop in sweep.loops), sweep.seeds
    ):
        values = dict(sweep.values)
        for loop, point in zip(sweep.loops, points[:-1], strict=True):
            values |= zip(loop, point, strict=True)
        text = canonical(identity(sweep, values, points[-1]))
        matters = {**values, "seed": points[-1]}
        if values["collapsed_input"] or values["collapsed_output"]:
            del matters["tied_embedding"]
        if values["collapsed_input"] and values["collapsed_output"]:
            del matters["embed_size"]
        yield hashlib.sha256(text.encode()).hexdigest()[:16], tuple(sorted(matters.items()))


def check(sweep):
    """The grid against the combinations, one by one: the first of those that are one run, and its copies."""
    grid = expand(sweep)
    first, copies = {}, {}
    for run_id, matters in combinations(sweep):
        if first.setdefault(matters, run_id) != run_id:
            copies[run_id] = first[matters]
    assert grid.columns["run_id"].tolist() == list(first.values())
    assert grid.copies == copies
    assert len(grid) == sweep.n_runs
    for run in range(len(grid)):
        values = {key: grid.columns[key][run].item() for key in sweep.values}
        text = canonical(identity(sweep, values, int(grid.columns["seed"][run])))
        assert hashlib.sha256(text.encode()).hexdigest()[:16] == grid.columns["run_id"][run]
    return grid


def test_16_ways_to_write_10_architectures():
    few = ["grid.learning_rate=[0.01]", "grid.weight_decay=[1,0]", "grid.l1_decay=[0,1e-7]", "seeds=2"]
    grid = check(architectures(*few))
    kinds = set(zip(*(grid.columns[key].tolist() for key in list(ARCHITECTURES)[:4]), strict=True))
    assert (len(grid), len(kinds), len(grid.copies)) == (168, 10, 152)


def test_the_whole_of_modular_architectures():
    sweep = architectures()
    grid = expand(sweep)
    assert (len(grid), len(grid.copies), sweep.n_cells) == (11_340, 10_260, 1_260)
    assert len({*grid.columns["run_id"], *grid.copies}) == 21_600
    assert set(grid.copies.values()) <= set(grid.columns["run_id"])
    copy, run = next(iter(grid.copies.items()))
    assert grid.standing(["unknown", copy, run]) == ["unknown", run, run]


def some(values):
    return st.lists(st.sampled_from(values), min_size=1, unique=True)


@given(
    axes=st.fixed_dictionaries({}, optional={key: some(of) for key, of in ARCHITECTURES.items()}),
    order=st.permutations(list(ARCHITECTURES)),
    seeds=st.integers(1, 2),
)
@settings(max_examples=60)
def test_of_combinations_that_are_one_run_the_first_is_the_run(axes, order, seeds):
    config, _ = compose(["sweeps=modular_architectures", f"seeds={seeds}"])
    check(parse(config | {"grid": {key: axes[key] for key in order if key in axes}, "zip": []}))


@pytest.mark.parametrize(
    ("grid", "together", "runs"),
    [
        # Every point of the two is another run, as the rates differ.
        ({"embed_size": [8, 16, 32], "learning_rate": [0.1, 0.2, 0.3]}, [["embed_size", "learning_rate"]], 3),
        ({"embed_size": [8, 16, 32], "tied_embedding": [0, 1, 1]}, [["embed_size", "tied_embedding"]], 1),
        ({"embed_size": [8, 16], "collapsed_input": [0, 1]}, [["embed_size", "collapsed_input"]], 2),
        # An axis decides, whatever stands in the model's own block.
        ({"embed_size": [8, 16], "collapsed_input": [0]}, [], 2),
        ({"weight_decay": [0.1, 0.2], "embed_size": [8, 16], "b1": [0.5, 0.9]}, [], 4),
    ],
)
def test_axes_that_change_together_and_one_that_decides_from_afar(grid, together, runs):
    config, _ = compose(["sweeps=modular_architectures", "seeds=[3]"])
    config["model"] |= {"collapsed_input": 1, "collapsed_output": 1}
    assert len(check(parse(config | {"grid": grid, "zip": together}))) == runs


def test_a_grid_without_copies_has_none():
    assert expand(sweep()).copies == {}
    assert expand(architectures("grid.collapsed_input=[0]", "grid.collapsed_output=[0]")).copies == {}
