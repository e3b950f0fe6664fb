"""Recorded weights, from the training to `load_weights`: whole, each run's own, and never all at once."""

import numpy as np
import pandas as pd
import pytest

import analysis
from grok_sweep import store
from grok_sweep.core.grid import expand
from grok_sweep.core.plan import SNAPSHOT_BYTES, make_plan
from grok_sweep.session import driver
from grok_sweep.session.training import jobs
from grok_sweep.store import Store, StoreError, parquet
from grok_sweep.worker import Order, train_shard

EVERY = "train.snapshot_every=10"
IDS = np.array(["0" * 16, "1" * 16])


def drive(sweep):
    return driver.drive(sweep, {"name": "tiny", "grid": {}}, "grok-sweep")


def tables(sweep):
    """All rows, whatever their shapes."""
    parts = [pd.read_parquet(path) for path in (Store(sweep.out).path / "weights").iterdir()]
    rows = pd.concat(parts).sort_values(["run_id", "step"], ignore_index=True)
    return rows.assign(**{name: rows[name].map(lambda a: a.tobytes()) for name in ("w_in", "w_out")})


def arrays(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def test_a_table_of_weights_gives_back_what_went_in():
    given = {"w_in": arrays(2, 3, 4, 5), "w_out": arrays(2, 3, 4)}
    table = store.weights_table(IDS, given, 10)
    assert table.column("step").to_pylist() == [0, 10, 20] * 2
    assert table.column("run_id").to_pylist() == [*[IDS[0]] * 3, *[IDS[1]] * 3]
    back = store.weights_arrays(table)
    for name, values in given.items():
        np.testing.assert_array_equal(back[name], values.reshape(6, *values.shape[2:]))


def test_a_sweep_records_the_weights_of_every_run(tiny):
    sweep = tiny(EVERY)
    assert drive(sweep) == 0
    runs = analysis.load_runs(sweep.out)
    curves = analysis.load_curves(sweep.out).set_index(["run_id", "step"])
    assert len(runs) == 16
    for _, run in runs.iterrows():
        weights = analysis.load_weights(sweep.out, run["run_id"])
        assert weights.step_S.tolist() == [0, 10, 20]
        assert weights.arrays["w_in"].shape == (3, 31, run["hidden_size"])
        assert weights.arrays["w_out"].shape == (3, run["hidden_size"])
        # They are those of which the curves speak.
        norms = [
            np.sqrt(sum((array[i].astype(float) ** 2).sum() for array in weights.arrays.values()))
            for i in range(3)
        ]
        np.testing.assert_allclose(
            curves.loc[run["run_id"]].loc[[0, 10, 20], "weight_norm"], norms, rtol=1e-5
        )
    assert len(tables(sweep)) == 16 * 3  # whatever else reads Parquet


def test_numbers_do_not_depend_on_whether_weights_are_recorded(tiny):
    plain = jobs(tiny(), make_plan(tiny(), expand(tiny())))
    recorded = jobs(tiny(EVERY), make_plan(tiny(EVERY), expand(tiny(EVERY))))
    for one, other in zip(plain, recorded, strict=True):
        a, b = train_shard(one.order()), train_shard(other.order())
        assert a.weights is None
        assert a.curves.column("run_id").equals(b.curves.column("run_id"))
        for name in store.CURVE_METRICS:
            np.testing.assert_allclose(a.curves.column(name), b.curves.column(name), rtol=1e-4, atol=1e-6)


def test_lanes_left_over_leave_no_weights(tiny):
    sweep = tiny(EVERY, "grid.hidden_size=[8]", "grid.train_size=[20]")
    plan = make_plan(sweep, expand(sweep))
    (shard,) = plan.shards
    assert shard.program.lanes == 4
    order = Order("tiny", shard.program, plan.grid.rows(shard.index_R[:3]))
    weights = train_shard(order).weights
    assert weights.column("run_id").unique().to_pylist() == order.columns["run_id"].tolist()
    assert len(weights) == 9


def test_shards_are_cut_so_that_their_weights_fit(tiny):
    big = ["grid.hidden_size=[64]", "train.steps=2000", "train.log_every=1"]
    sweep = tiny(*big, "train.snapshot_every=1", "grid.train_size=[20]", "seeds=4")
    plan = make_plan(sweep, expand(sweep))
    one = 4 * 2001 * (31 * 64 + 64)
    assert plan.snapshot_bytes == 8 * one
    for shard in plan.shards:
        assert shard.program.snapshot_bytes == one
        assert len(shard.index_R) * one <= max(SNAPSHOT_BYTES, one)
    assert max(len(shard.index_R) for shard in plan.shards) > 1 or 2 * one > SNAPSHOT_BYTES


def test_a_dry_run_says_how_many_bytes(tiny, capsys):
    sweep = tiny(EVERY)
    assert driver.dry_run(sweep, {"name": "tiny", "grid": {}}) == 0
    of_weights = 4 * 3 * (8 * (31 * 4 + 4) + 8 * (31 * 8 + 8))
    assert f"{of_weights / 1000:.0f} kB of them weights" in capsys.readouterr().out


@pytest.mark.parametrize("how", ["gone", "cut", "of others"])
def test_weights_that_are_damaged_are_trained_again(tiny, how, capsys):
    sweep = tiny(EVERY)
    drive(sweep)
    before = tables(sweep)
    first, second = sorted((Store(sweep.out).path / "weights").iterdir())[:2]
    if how == "gone":
        first.unlink()
    elif how == "cut":
        first.write_bytes(first.read_bytes()[:-100])
    else:
        first.write_bytes(second.read_bytes())
    capsys.readouterr()
    assert drive(sweep) == 0
    assert f"weights/{first.name}: damaged (" in capsys.readouterr().err
    pd.testing.assert_frame_equal(before, tables(sweep))


def test_a_sweep_without_weights_says_so(tiny):
    sweep = tiny()
    drive(sweep)
    run_id = analysis.load_runs(sweep.out)["run_id"].iloc[0]
    with pytest.raises(StoreError, match=rf"no weights of run {run_id}; sweep with train.snapshot_every"):
        analysis.load_weights(sweep.out, run_id)
    assert list(analysis.each_weights(sweep.out)) == []
    with pytest.raises(StoreError, match=r"run 0123 is not there; run_ids are in its runs"):
        analysis.load_weights(sweep.out, "0123")


def test_a_record_keeps_the_weights(tiny, tmp_path):
    sweep = tiny(EVERY)
    drive(sweep)
    Store(sweep.out).copy_record(Store(tmp_path / "record"))
    there = dict(analysis.each_weights(sweep.out))
    copied = dict(analysis.each_weights(tmp_path / "record"))
    assert copied.keys() == there.keys()
    for run_id, weights in there.items():
        for name, values in weights.arrays.items():
            np.testing.assert_array_equal(copied[run_id].arrays[name], values)
    pd.testing.assert_frame_equal(analysis.load_runs(sweep.out), analysis.load_runs(tmp_path / "record"))
    assert not Store(tmp_path / "record").inspect(weights=True).damaged


def test_a_table_without_steps_is_no_weights(tiny):
    sweep = tiny(EVERY)
    drive(sweep)
    first = min((Store(sweep.out).path / "weights").iterdir())
    table = parquet.decode(first.read_bytes(), [])
    first.write_bytes(parquet.encode(table.rename_columns(["run_id", "when", "w_in", "w_out"])))
    assert list(Store(sweep.out).inspect(weights=True).damaged) == [f"weights/{first.name}"]


def test_weights_of_arrays_with_other_names_are_those_of_another_network(tiny):
    """Which arrays there are is the model's affair; what is about w_in and w_out is left out."""
    sweep = tiny(EVERY)
    drive(sweep)
    first, other = sorted((Store(sweep.out).path / "weights").iterdir())
    table = parquet.decode(first.read_bytes(), [])
    names = ["run_id", "step", "Dense_0/kernel", "w_other"]
    first.write_bytes(parquet.encode(table.rename_columns(names)))
    assert not Store(sweep.out).inspect(weights=True).damaged
    renamed = set(table.column("run_id").to_pylist())
    weights = analysis.load_weights(sweep.out, min(renamed))
    assert list(weights.arrays) == names[2:]
    analysis.analyze(sweep.out, figures=True, report=True)
    circuits = pd.read_parquet(Store(sweep.out).path / "circuits.parquet").set_index("run_id")
    told = set(circuits.index[circuits["signal_weight"].notna()])
    assert told == set(circuits.index) - renamed
    assert told == set(parquet.decode(other.read_bytes(), []).column("run_id").to_pylist())


def test_pictures_of_a_sweep_that_has_grown_are_said_to_be_old(tiny):
    small, grown = tiny(EVERY, "seeds=1"), tiny(EVERY, "seeds=2")
    drive(small)
    assert "--figures" not in str(analysis.analyze(small.out))
    analysis.analyze(small.out, figures=True)
    assert "--figures" not in str(analysis.analyze(small.out))
    drive(grown)
    said = str(analysis.analyze(small.out))
    assert said.endswith("are of 8 of these 16 runs; --figures draws them anew")
    analysis.analyze(small.out, figures=True)
    assert "--figures" not in str(analysis.analyze(small.out))


def test_weights_of_others_are_named_when_read(tiny, tmp_path):
    sweep = tiny(EVERY)
    drive(sweep)
    first, second = sorted((Store(sweep.out).path / "weights").iterdir())[:2]
    first.write_bytes(second.read_bytes())
    with pytest.raises(StoreError, match=rf"weights/{first.name}: damaged \(lacks run "):
        list(analysis.each_weights(sweep.out))
    with pytest.raises(StoreError, match=rf"weights/{first.name}: damaged \(lacks run "):
        Store(sweep.out).copy_record(Store(tmp_path / "record"))


def test_a_folder_of_somebodys_figures_is_no_results_folder(tmp_path):
    (tmp_path / "paper" / "figures").mkdir(parents=True)
    with pytest.raises(StoreError, match="is there and is not a results folder"):
        Store(tmp_path / "paper").check_usable()
