import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import yaml

from grok_sweep import store
from grok_sweep.store import Store, StoreError

SCHEMA = store.runs_schema({"weight_decay": float, "hidden_size": int})


def tables(*ids):
    empty = {name: [None] * len(ids) for name in SCHEMA.names}
    values = {"run_id": list(ids), "weight_decay": [0.1] * len(ids), "hidden_size": [4] * len(ids)}
    steps = np.arange(3, dtype=np.int32)
    curves = {name: np.zeros(3 * len(ids), np.float32) for name in store.CURVE_METRICS}
    curves |= {"run_id": np.repeat(ids, 3), "step": np.tile(steps, len(ids))[::-1]}
    return (
        pa.table({name: pa.array(v, SCHEMA.field(name).type) for name, v in (empty | values).items()}),
        pa.table({name: curves[name] for name in store.CURVES_SCHEMA.names}, schema=store.CURVES_SCHEMA),
    )


@pytest.fixture
def results(tmp_path):
    made = Store(tmp_path / "out")
    made.create({"config": {"name": "é <x>"}}, SCHEMA)
    return made


def test_the_tables_can_be_read_before_the_first_shard(results):
    runs = pd.read_parquet(results.runs_dir)
    assert runs.columns.tolist() == SCHEMA.names
    assert pd.read_parquet(results.curves_dir).columns.tolist() == store.CURVES_SCHEMA.names
    assert len(runs) == 0
    assert results.finished() == set()
    assert results.sweep() == {"config": {"name": "é <x>"}}


def test_shards_add_up_and_the_same_shard_twice_is_one(results):
    for ids in (["a", "b"], ["c"], ["a", "b"]):
        results.publish(*tables(*ids))
    assert results.finished() == {"a", "b", "c"}
    assert sorted(pd.read_parquet(results.runs_dir)["run_id"]) == ["a", "b", "c"]
    assert results.curves().groupby("run_id")["step"].agg(list).to_dict() == {k: [0, 1, 2] for k in "abc"}
    assert set(results.curves(["b", "nobody"])["run_id"]) == {"b"}


def test_creating_again_keeps_what_is_finished(results):
    results.publish(*tables("a"))
    results.create({"config": {}, "sessions": [1]}, SCHEMA)
    assert results.finished() == {"a"}
    assert results.sweep()["sessions"] == [1]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(results, monkeypatch):
    before = results.sweep_file.read_bytes()

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    for write in (lambda: results.create({}, SCHEMA), lambda: results.publish(*tables("a"))):
        with pytest.raises(OSError, match="disk full"):
            write()
    assert results.sweep_file.read_bytes() == before
    everything = [p.name for p in results.root.rglob("*") if p.is_file()]
    assert sorted(everything) == ["empty.parquet", "empty.parquet", "sweep.yaml"]


def test_a_file_half_written_is_not_read(results):
    (results.runs_dir / ".shard-1234.parquet").write_bytes(b"PAR1 half")
    results.publish(*tables("a"))
    assert results.finished() == {"a"}
    assert len(pd.read_parquet(results.runs_dir)) == 1


def test_a_copy_has_everything_in_one_file_per_table(results, tmp_path):
    results.publish(*tables("b"))
    results.publish(*tables("a"))
    target = Store(tmp_path / "copy")
    results.copy_record(target)
    assert [len(list(folder.iterdir())) for folder in (target.runs_dir, target.curves_dir)] == [1, 1]
    assert target.runs()["run_id"].tolist() == ["a", "b"]
    pd.testing.assert_frame_equal(target.curves(), results.curves())
    assert target.sweep() == results.sweep()


@pytest.mark.parametrize("text", [None, "[1, 2]", "a: [", "!!python/object/apply:os.getcwd []"])
def test_a_folder_that_is_no_sweep_says_so(tmp_path, text):
    if text is not None:
        (tmp_path / "sweep.yaml").write_text(text)
    for read in (Store(tmp_path).runs, Store(tmp_path).curves, Store(tmp_path).sweep):
        with pytest.raises(StoreError, match=str(tmp_path)):
            read()
    assert Store(tmp_path / "nowhere").finished() == set()
    begun = Store(tmp_path / "begun")
    begun.make_folders()
    assert begun.finished() == set()


def test_a_damaged_table_says_so(results):
    (results.runs_dir / "0123.parquet").write_bytes(b"not parquet")
    with pytest.raises(StoreError, match="runs: cannot be read"):
        results.runs()


def test_the_record_is_plain_yaml(results):
    assert yaml.safe_load(results.sweep_file.read_text(encoding="utf-8"))["config"]["name"] == "é <x>"


def test_reading_results_needs_no_jax_ray_or_hydra(results):
    code = (
        "import sys; sys.modules |= dict.fromkeys(['jax', 'flax', 'optax', 'ray', 'hydra', 'omegaconf'])\n"
        f"import analysis; print(len(analysis.load_runs({str(results.root)!r})))"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "0\n"
    )
