import hashlib
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grok_sweep.compose import compose
from grok_sweep.config import ConfigError, parse
from grok_sweep.grid import expand


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
    part = expand(
        sweep("seeds=[2]", "optimizer.weight_decay=0.3", "grid.weight_decay=[0.3]", "out=elsewhere")
    )
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
