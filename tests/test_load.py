"""The tables of runs of which some are others computed again, and how the runs are found."""

import shutil
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import yaml

import analysis
from analysis.expected import n_expected
from grok_sweep.compose import compose
from grok_sweep.core import registry
from grok_sweep.core.config import parse
from grok_sweep.core.grid import expand
from grok_sweep.store import CURVES_SCHEMA, Store, in_session, runs_schema

ROOT = Path(__file__).parent.parent
FEW = {
    "tied_embedding": [1, 0],
    "collapsed_input": [0, 1],
    "collapsed_output": [0, 1],
    "embed_size": [32, 512],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The results of a sweep that has trained all 16 combinations of `FEW`, as older versions did."""
    config, _ = compose(["sweeps=modular_architectures", "seeds=1"])
    schema = runs_schema({key: number.kind for key, number in parse(config).numbers.items()})
    store = Store(str(tmp_path_factory.mktemp("results")))
    store.create({"config": config}, schema)
    each = [
        config | {"grid": {key: [value] for key, value in zip(FEW, point, strict=True)}, "zip": []}
        for point in product(*FEW.values())
    ]
    rows = pd.concat([pd.DataFrame(expand(parse(one)).columns) for one in each])
    named = {"model": "modular_mlp", "optimizer": "adamw_l1", "task": "modular_addition"}
    rows = rows.assign(**named, steps=50000, log_every=500, sweep="old", device="cpu")
    rows = rows.assign(**{name: 0 for name in schema.names if name not in rows})
    store.publish(pa.Table.from_pandas(rows, schema, preserve_index=False), CURVES_SCHEMA.empty_table())
    return Path(store.place())


def test_runs_computed_again_are_left_out(folder):
    assert len(pd.read_parquet(folder / "runs")) == 16
    runs = analysis.load_runs(folder)
    # Uncollapsed four, one side collapsed two each, both one; of those that are one run the first row.
    assert len(runs) == 4 + 2 + 2 + 1
    both = runs.query("collapsed_input == 1 and collapsed_output == 1")
    assert both[["tied_embedding", "embed_size"]].to_numpy().tolist() == [[0, 32]]
    assert runs.index.tolist() == list(range(9))


def test_a_run_is_found_by_any_value_that_has_no_effect_on_it(folder):
    runs = analysis.load_runs(folder)
    for size in (32, 512, 7):
        (one,) = analysis.select(runs, embed_size=size, collapsed_input=1, collapsed_output=1)["embed_size"]
        assert one == 32
    assert len(analysis.select(runs, embed_size=512, tied_embedding=1)) == 4  # one of each architecture
    assert len(analysis.select(runs, embed_size=512, tied_embedding=1, collapsed_input=0)) == 2
    assert analysis.select(runs, embed_size=7)[["collapsed_input", "collapsed_output"]].to_numpy().all()
    pd.testing.assert_frame_equal(analysis.select(runs), runs)
    assert analysis.select(analysis.classify(runs), seed=0, phase="generalize").attrs["min_loss"] == 1e-5


def test_select_where_a_value_is_missing():
    circuits = pd.read_parquet(ROOT / "sweeps" / "modular_architectures" / "circuits.parquet")
    assert circuits["generalize_step"].isna().any()
    found = analysis.select(circuits, generalize_step=1500)
    assert found["generalize_step"].tolist() == [1500]
    assert len(analysis.select(analysis.load_runs(ROOT / "sweeps" / "parity_1125"), diverged_step=100)) == 0


def test_seeds_of_one_setting_stay_together(folder, tmp_path):
    """A grid whose order has changed leaves them at several values of what has no effect."""
    folder = Path(shutil.copytree(folder, tmp_path / "mine"))
    store = Store(folder)
    rows = pd.read_parquet(folder / "runs")
    both = rows.query("collapsed_input == 1 and collapsed_output == 1")
    more = both.iloc[[-1]].assign(seed=1, run_id="another")
    assert more[["tied_embedding", "embed_size"]].to_numpy().tolist() != [[0, 32]]
    table = pa.Table.from_pandas(more, runs_schema_of(rows), preserve_index=False)
    store.publish(table, CURVES_SCHEMA.empty_table())
    runs = analysis.load_runs(folder).query("collapsed_input == 1 and collapsed_output == 1")
    assert runs["seed"].tolist() == [0, 1]
    assert runs[["tied_embedding", "embed_size"]].to_numpy().tolist() == [[0, 32]] * 2
    assert runs["run_id"].iloc[1] == "another"


def runs_schema_of(rows):
    numbers = registry.numbers(*(rows[kind].iloc[0] for kind in registry.KINDS))
    return runs_schema({name: number.kind for name, number in numbers.items()})


def test_select_of_columns_that_there_are_not(folder):
    runs = analysis.load_runs(folder)
    with pytest.raises(ValueError, match=r"^this table needs the columns embed, size; there are run_id, "):
        analysis.select(runs, embed=1, seed=0, size=2)
    with pytest.raises(ValueError, match="runs of modular_mlp needs the columns collapsed_input; there"):
        analysis.select(runs.drop(columns="collapsed_input"), embed_size=32)


def test_runs_of_several_models_are_told_apart(folder):
    parity = analysis.load_runs(ROOT / "sweeps" / "parity_1125").head(3)
    runs = pd.concat([analysis.load_runs(folder), parity], ignore_index=True)
    assert len(analysis.select(runs, embed_size=32)) == 2 + 1 + 1 + 1
    assert len(analysis.select(runs, n_parity_bits=3)) == 3


@pytest.mark.parametrize("record", sorted(path.parent.name for path in ROOT.glob("sweeps/*/runs")))
def test_no_record_has_a_run_twice_and_all_are_as_many_asn_expected(record):
    folder = ROOT / "sweeps" / record
    runs = analysis.load_runs(folder)
    assert len(runs) == len(pd.read_parquet(folder / "runs"))
    assert n_expected(Store(folder).sweep()["config"]) == len(runs)


@pytest.mark.parametrize(
    "overrides",
    [[], ["seeds=[3,5]"], ["grid.embed_size=[1,2]", "grid.tied_hidden=[1]"], ["grid.collapsed_input=[1]"]],
)
def test_the_runs_that_are_expected_are_those_of_the_grid(overrides):
    config, problems = compose(["sweeps=modular_architectures", *overrides])
    assert not problems
    config = yaml.safe_load(yaml.safe_dump(config))
    assert n_expected(config) == len(expand(parse(config)))


@pytest.mark.parametrize("config", [{"grid": {"b1": 7}}, {"seeds": None}, {"model": 3}, {"grid": {"b1": []}}])
def test_a_record_that_does_not_say_expects_nothing(config):
    assert n_expected(config) == 0


def test_a_folder_that_older_code_began_is_one_table(tmp_path):
    """Without the precision or a session, which came later: all are there."""
    kinds = {"width": int, "rate": float}

    def shard(run_id, of, metrics=()):
        schema = runs_schema(of, metrics)
        filled = {"run_id": run_id, "rate": 0.1, "width": 4, "seed": 0, "float_bits": 64, "final_area": 9.0}
        columns = {
            field.name: pa.array([filled.get(field.name, 1 if field.type != "string" else "x")], field.type)
            for field in schema
        }
        curves = {name: np.ones(2, np.float32) for name in CURVES_SCHEMA.names[2:]}
        curves |= {"run_id": [run_id] * 2, "step": np.array([0, 10], np.int32)}
        curves |= {"area": np.array([0.5, 7.0], np.float32)}
        return pa.table(columns, schema), pa.table(curves).select([*CURVES_SCHEMA.names, "area"])

    results = Store(tmp_path)
    results.create({"config": {}}, runs_schema(kinds))
    results.publish(*shard("a", kinds))
    new, curves = shard("b", {**kinds, "float_bits": int}, ["area"])
    results.publish(in_session(new, 2), curves)
    runs = analysis.load_runs(tmp_path)
    assert runs["float_bits"].tolist() == [32, 64]
    assert {"width", "rate", "float_bits"} <= set(analysis.settings(runs))
    assert runs["final_area"].isna().tolist() == [True, False]
    assert runs["session"].tolist() == [pd.NA, 2]
    Store(tmp_path).copy_record(Store(tmp_path / "record"))
    pd.testing.assert_frame_equal(analysis.load_runs(tmp_path / "record"), runs)
