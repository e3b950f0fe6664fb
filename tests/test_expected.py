"""The runs that a sweep has in the end, against the grid that the sweep itself expands."""

import pandas as pd
import pytest

from analysis import PHASES
from analysis.expected import configs, expected_runs, n_expected, with_missing
from grok_sweep.compose import compose
from grok_sweep.core.config import parse
from grok_sweep.core.grid import expand

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
    assert len(found) == n_expected(config) == len(grid["seed"])
    assert {*found} == {*grid, "task", "model", "optimizer"} - {"run_id"}
    names = [name for name in grid if name != "run_id"]
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
        {"seeds": 10**30},
        {"grid": {"b1": []}},
    ],
)
def test_what_is_no_grid_tells_nothing(config):
    assert expected_runs(config) is None


def test_no_grid_is_one_cell():
    assert expected_runs({"seeds": 3})["seed"].tolist() == [0, 1, 2]


def trained(overrides):
    """A table of phases of a grid's runs, as they would be stored."""
    sweep = parse(compose(overrides)[0])
    grid = expand(sweep)
    first = {"run_id": grid.columns["run_id"], "sweep": sweep.name, "task": sweep.task}
    last = {"model": sweep.model, "optimizer": sweep.optimizer, "min_train_loss": 0.0}
    columns = {name: column for name, column in grid.columns.items() if name != "run_id"}
    runs = pd.DataFrame({**first, "seed": columns.pop("seed"), **columns, **last})
    return runs.assign(phase=pd.Categorical(["grok"] * len(runs), PHASES))


SIDES = ["sweeps=modular_architectures", "seeds=2", "grid.learning_rate=[0.001]", "zip=[]"]
SIDES += ["grid.weight_decay=[1]", "grid.l1_decay=[0]", "grid.tied_hidden=[1]"]


def test_a_run_is_there_at_any_value_of_what_has_no_effect():
    """The order of the grid says which of these values is stored; a folder may be older than the order."""
    one = trained([*SIDES, "grid.embed_size=[64,32]", "grid.tied_embedding=[1,0]"])
    other = [*SIDES, "grid.embed_size=[32,64]", "grid.tied_embedding=[0,1]"]
    config = compose(other)[0]
    off = ["embed_size", "tied_embedding"]
    assert one[off].iloc[-1].tolist() != trained(other)[off].iloc[-1].tolist()
    assert with_missing(one, expected_runs(config))["phase"].notna().all()
    assert with_missing(one[1:], expected_runs(config))["phase"].isna().sum() == 1


def test_what_is_no_axis_any_more_is_what_the_config_says():
    """A grid that has shrunk to hidden_size 32, in a folder with runs of 8 and 32."""
    both = ["sweeps=quickstart", "grid.hidden_size=[8,32]", "grid.train_size=[20]", "seeds=1"]
    config, problems = compose(
        ["sweeps=quickstart", "~grid.hidden_size", "grid.train_size=[20]", "seeds=1", "model.hidden_size=32"]
    )
    assert not problems
    there = trained(both)
    half = there[(there["hidden_size"] == 8) | (there["weight_decay"] > 0.2)]
    whole = with_missing(half, expected_runs(config))
    missing = whole[whole["phase"].isna()]
    assert sorted(zip(missing["hidden_size"], missing["weight_decay"], strict=True)) == [
        (32, 0.03),
        (32, 0.1),
    ]
    assert (missing["sweep"] == "quickstart").all()


def test_sessions_that_lack_a_key_that_came_later_asked_for_the_same_runs():
    config = compose(["sweeps=parity_digits", "seeds=2"])[0]
    older = {key: value for key, value in config["model"].items() if key != "float_bits"}
    asked = {"only": None, "grid": config["grid"], "seeds": 1, "model": older}
    stored = {"config": config, "sessions": [{"asked": asked}, {"asked": None}, {"asked": "x"}, {}]}
    assert n_expected(*configs(stored)) == 2 * n_expected(*configs({"config": config | {"seeds": 1}}))


def test_a_part_of_a_grid_is_no_more_expected_once_it_was_asked_for():
    config = compose(["sweeps=quickstart"])[0]
    part = config | {"only": "n_grok > 0", "seeds": 99}
    stored = {"config": part, "sessions": [{"asked": {"only": None, "seeds": config["seeds"]}}, {}]}
    assert n_expected(*configs(stored)) == n_expected(config)
