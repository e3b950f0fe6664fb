"""The runs that a sweep has in the end, against the grid that the sweep itself expands."""

import pandas as pd
import pytest

from analysis.expected import expected_runs, n_expected
from grok_sweep.compose import compose
from grok_sweep.config import parse
from grok_sweep.grid import expand

PAIRS = ["grid.b1=[0.9,0.99]", "grid.b2=[0.95,0.98]", "zip=[[b2,b1]]"]


@pytest.mark.parametrize(
    "overrides",
    [
        ["sweeps=parity_1125"],
        ["sweeps=modular_seeds", "seeds=[3,5]"],
        ["sweeps=quickstart", *PAIRS],
        ["sweeps=quickstart", *PAIRS, "grid.learning_rate=[0.1,0.2]", "grid.eps=[1e-8,1e-7]"],
        ["sweeps=parity_digits", "zip=[[weight_decay,l1_decay]]"],
        ["sweeps=quickstart", "grid={}"],
        ["sweeps=modular_architectures", "seeds=2"],
        ["sweeps=modular_architectures", "seeds=1", "grid.collapsed_input=[1]", "grid.collapsed_output=[1]"],
    ],
)
def test_they_are_those_of_the_grid(overrides):
    config, problems = compose(overrides)
    assert not problems
    grid = expand(parse(config)).columns
    found = expected_runs(config)
    names = [*config["grid"], "seed"]
    assert len(found) == n_expected(config) == len(grid["seed"])
    assert sorted(found) == sorted(names)
    whole = pd.DataFrame({name: grid[name] for name in names})
    key = {"by": names, "ignore_index": True}
    pd.testing.assert_frame_equal(
        found[names].sort_values(**key).astype(float), whole.sort_values(**key).astype(float)
    )


@pytest.mark.parametrize(
    "config",
    [
        {"grid": 5},
        {"grid": {"b1": 5}},
        {"grid": {"b1": []}, "seeds": "x"},
        {"grid": {"b1": [1, 2], "b2": [1]}, "zip": [["b1", "b2"]]},
        {"grid": {}, "seeds": None},
        {"grid": {"b1": list(range(1000))}, "seeds": 1000},  # too many for any picture
    ],
)
def test_what_is_no_grid_tells_nothing(config):
    assert expected_runs(config) is None


def test_no_grid_is_one_cell():
    assert expected_runs({"seeds": 3}).to_dict("list") == {"seed": [0, 1, 2]}
