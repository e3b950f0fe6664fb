"""The results folder: what is published is read back whole, whoever is killed, whatever others do there."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from s3 import serving
from shards import SCHEMA, tables

import analysis.cli
from grok_sweep import store
from grok_sweep.store import Store, StoreError, parquet
from grok_sweep.store.inspection import RESAVED
from grok_sweep.store.tables import shard_name


@pytest.fixture
def results(tmp_path):
    made = Store(tmp_path / "out")
    made.create({"config": {"name": "é <x>"}}, SCHEMA)
    return made


def shard(*ids):
    return f"{shard_name(ids)}.parquet"


def content(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in Path(folder).rglob("*") if p.is_file()}


def test_the_tables_can_be_read_before_the_first_shard(results):
    runs = pd.read_parquet(results.path / "runs")
    assert runs.columns.tolist() == SCHEMA.names
    assert pd.read_parquet(results.path / "curves").columns.tolist() == store.CURVES_SCHEMA.names
    assert len(runs) == 0
    assert results.finished() == set()
    assert results.sweep() == {"config": {"name": "é <x>"}}


def test_shards_add_up_and_the_same_shard_twice_is_one(results):
    for ids in (["a", "b"], ["c"], ["a", "b"]):
        results.publish(*tables(*ids))
    assert results.finished() == {"a", "b", "c"}
    assert sorted(pd.read_parquet(results.path / "runs")["run_id"]) == ["a", "b", "c"]
    assert results.curves().groupby("run_id")["step"].agg(list).to_dict() == {k: [0, 1, 2] for k in "abc"}
    assert set(results.curves(["b", "nobody"])["run_id"]) == {"b"}


def test_creating_again_keeps_what_is_finished(results):
    results.publish(*tables("a"))
    results.create({"config": {}, "sessions": [{"session": 1}]}, SCHEMA)
    assert results.finished() == {"a"}
    assert results.sweep()["sessions"] == [{"session": 1}]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(results, monkeypatch):
    before = (results.path / "sweep.yaml").read_bytes()

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    for write in (lambda: results.create({}, SCHEMA), lambda: results.publish(*tables("a"))):
        with pytest.raises(OSError, match="disk full"):
            write()
    assert (results.path / "sweep.yaml").read_bytes() == before
    everything = [p.name for p in results.path.rglob("*") if p.is_file()]
    assert sorted(everything) == ["empty.parquet", "empty.parquet", "sweep.yaml"]


def test_a_file_half_written_is_not_read(results):
    (results.path / "runs" / ".shard-1234.parquet").write_bytes(b"PAR1 half")
    results.publish(*tables("a"))
    assert results.finished() == {"a"}
    assert len(pd.read_parquet(results.path / "runs")) == 1


def test_a_copy_has_everything_in_one_file_per_table(results, tmp_path):
    results.publish(*tables("b"))
    results.publish(*tables("a"))
    target = Store(tmp_path / "copy")
    results.copy_record(target)
    assert [len(list((target.path / folder).iterdir())) for folder in ("runs", "curves")] == [1, 1]
    assert target.runs()["run_id"].tolist() == ["a", "b"]
    pd.testing.assert_frame_equal(target.curves(), results.curves())
    assert target.sweep() == results.sweep()


@pytest.fixture
def weighed(results):
    """Five runs in three shards, one of them with weights."""
    with_weights = tables("a", "b")
    w_RS1 = np.array([[[1.0], [2.0]], [[3.0], [4.0]]])
    results.publish(*with_weights, store.weights_table(np.array(["a", "b"]), {"w": w_RS1}, 1))
    results.publish(*tables("c", "d"))
    results.publish(*tables("e"))
    return results


def test_what_is_to_be_trained_again_is_kept_as_a_folder_of_its_own(weighed):
    before = content(weighed.path)
    rows, curves = weighed.runs().set_index("run_id"), weighed.curves()
    assert weighed.replace({"a", "c", "d"}, 4) == f"{weighed.path}/replaced/4"
    assert weighed.finished() == {"b", "e"}
    found = weighed.inspect()
    assert (found.damaged, found.leftovers, found.foreign) == ({}, [], [])
    (kept,) = weighed.replaced_since(4)
    assert weighed.replaced_since(5) == []
    assert kept.finished() == {"a", "c", "d"}
    assert kept.sweep() == weighed.sweep()
    for folder, ids in ((kept, ["a", "c", "d"]), (weighed, ["b", "e"])):
        pd.testing.assert_frame_equal(folder.runs().set_index("run_id").sort_index(), rows.loc[ids])
        of_ids = curves[curves["run_id"].isin(ids)].reset_index(drop=True)
        pd.testing.assert_frame_equal(folder.curves(), of_ids)
    assert {run_id: w["w"].tolist() for run_id, _, w in kept.weights()} == {"a": [[1.0], [2.0]]}
    assert {run_id: w["w"].tolist() for run_id, _, w in weighed.weights()} == {"b": [[3.0], [4.0]]}
    whole = f"runs/{shard('e')}"  # which none of them is in
    assert content(weighed.path)[whole] == before[whole]


@pytest.mark.parametrize("at", range(11))
def test_a_replacement_that_is_broken_off_loses_nothing(weighed, monkeypatch, at):
    """At any of its writes and removals: each run is then here or there, and the next one finishes it."""
    changes = []

    def counted(function):
        def change(*arguments):
            changes.append(arguments)
            if len(changes) > at:
                raise OSError(28, "No space left on device", str(arguments[1]))
            return function(*arguments)

        return change

    for name in ("write", "remove"):
        monkeypatch.setattr(store.Files, name, counted(getattr(store.Files, name)))
    with pytest.raises(OSError, match="No space"):
        weighed.replace({"a", "c"}, 2)
    monkeypatch.undo()
    found = weighed.inspect()
    assert found.damaged == {}
    assert weighed.curves()["run_id"].nunique() == len(weighed.runs()) == len(found.finished)
    weighed.put_aside(found)
    kept = set().union(*(folder.finished() for folder in weighed.replaced_since(2)))
    assert weighed.finished() | kept == {*"abcde"}
    weighed.replace({"a", "c"} & weighed.finished(), 2)
    assert weighed.finished() >= {"b", "d", "e"}
    assert not weighed.finished() & {"a", "c"}
    (folder,) = weighed.replaced_since(2)
    assert folder.finished() >= {"a", "c"}
    assert len(folder.curves()) == 3 * len(folder.finished())


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
    (results.path / "runs" / "0123456789abcdef.parquet").write_bytes(b"not parquet")
    for read in (results.runs, results.curves, results.finished):
        with pytest.raises(StoreError) as said:
            read()
        assert str(said.value) == (
            f"{results.root}/runs/0123456789abcdef.parquet: damaged (cut short, 11 bytes); "
            "the sweep's command puts it aside and trains its runs again"
        )


def test_the_record_is_plain_yaml(results):
    assert (
        yaml.safe_load((results.path / "sweep.yaml").read_text(encoding="utf-8"))["config"]["name"] == "é <x>"
    )


def test_reading_results_needs_no_jax_ray_or_hydra(results):
    code = (
        "import sys; sys.modules |= dict.fromkeys(['jax', 'flax', 'optax', 'ray', 'hydra', 'omegaconf'])\n"
        f"import analysis; print(len(analysis.load_runs({str(results.root)!r})))"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "0\n"
    )


BROKEN = [
    *["[1, 2]", "a: [", "", "\0", "name: x", "sessions: []"],
    *["config: 3", "config: null", "config: [x]", "config: {grid: 3}", "config: {phases: 3}"],
    *["config: 2001-13-45", "config: !!bool x", "config: !!int ''", "config: !!timestamp x"],
    *["config: {}\nsessions: 3", "config: {}\nsessions: null", "config: {}\nsessions: [1]"],
    *["[" * 5000, "config: {}\nx: " + "9" * 5000],
]


@pytest.mark.parametrize("text", BROKEN, ids=range(len(BROKEN)))
def test_a_broken_record_says_what_to_do(results, text):
    (results.path / "sweep.yaml").write_text(text)
    with pytest.raises(StoreError) as said:
        results.sweep()
    then = "restore it, or move it away (the next session writes a new one)"
    assert str(said.value) == f"{results.root}/sweep.yaml: is not the record of a sweep; {then}"
    (results.path / "sweep.yaml").unlink()
    results.write_figure("phase_diagram.png", b"")
    (results.path / ".grok-sweep-abcdefgh").write_text("half")
    results.check_usable()


def test_the_record_of_a_large_sweep_is_read(results):
    grid = {"learning_rate": [k / 7 for k in range(5000)]}
    sessions = [{"command": "grok-sweep " + "x" * 200, "number": k} for k in range(300)]
    results.create({"config": {"grid": grid}, "sessions": sessions}, SCHEMA)
    assert results.sweep() == {"config": {"grid": grid}, "sessions": sessions}


# For each line it reads, it forks a session that publishes for ever: no modules to load before each death.
SESSIONS = """
import itertools, os, sys
from shards import tables
from grok_sweep.store import Store
for start in sys.stdin:
    if not (child := os.fork()):
        results = Store(sys.argv[1])
        with results.locked():
            os.write(1, f"{os.getpid()}\\n".encode())
            for number in itertools.count(int(start)):
                results.publish(*tables(f"{number}a", f"{number}b"))
    os.waitpid(child, 0)
    os.write(1, b"dead\\n")
"""


def test_a_session_killed_at_any_moment_loses_nothing(results):
    """Killed 20 times: what is there is whole, what is left over goes, and the lock is free at once."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    command = [sys.executable, "-c", SESSIONS, results.root]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": environment}
    moments, before = random.Random(3), set()  # noqa: S311
    with subprocess.Popen(command, **pipes) as sessions:
        for turn in range(20):
            print(turn * 1_000_000, file=sessions.stdin, flush=True)
            pid = int(sessions.stdout.readline())
            time.sleep(moments.uniform(0, 0.05))
            os.kill(pid, signal.SIGKILL)
            assert sessions.stdout.readline() == "dead\n"
            with results.locked():
                found = results.inspect()
                assert (found.damaged, found.foreign) == ({}, [])
                assert before <= found.finished == results.finished()
                assert len(results.put_aside(found)) == len(found.leftovers)
                assert not results.inspect().leftovers
                before = set(found.finished)
    curves = results.curves()
    assert set(curves["run_id"]) == set(results.runs()["run_id"]) == before
    assert (curves.groupby("run_id")["step"].agg(list).map(lambda steps: steps == [0, 1, 2])).all()


RUNS, CURVES = tables("a", "b")


@settings(max_examples=250)
@given(st.sampled_from([RUNS, CURVES]), st.randoms(use_true_random=False))
def test_bytes_that_changed_are_found_or_do_not_matter(table, rng):
    """Cut anywhere, or one byte made another: DamagedError, or the same table."""
    data = parquet.encode(table)
    where = rng.randrange(len(data))
    rest = b"" if rng.random() < 0.3 else bytes([data[where] ^ rng.randrange(1, 256)]) + data[where + 1 :]
    for columns in (None, ["run_id"]):
        try:
            read = parquet.decode(data[:where] + rest, table.schema.names, columns)
        except parquet.DamagedError:
            continue
        assert read.equals(table if columns is None else table.select(columns))


def test_a_table_that_another_program_saved_is_read_and_named(results):
    """It has neither a seal nor checksums."""
    for folder, table in zip(("runs", "curves"), tables("a"), strict=True):
        pq.write_table(table, results.path / folder / shard("a"))
    found = results.inspect()
    assert found.finished == {"a"}
    assert found.resaved == [f"runs/{shard('a')}", f"curves/{shard('a')}"]
    assert found.lines()[0] == f"runs/{shard('a')}: {RESAVED}"
    assert results.runs()["run_id"].tolist() == ["a"]


@pytest.mark.parametrize(("lost", "last"), [(2, 1), (1, 2)])
def test_one_that_was_saved_again_with_rows_lost_is_damaged(results, lost, last):
    runs, curves = tables("a")
    results.publish(runs, curves)
    kept = curves.filter(pa.compute.not_equal(curves.column("step"), lost))
    pq.write_table(kept, results.path / "curves" / shard("a"))
    why = f"of run a it has 2 steps, the last {last} of 2"
    assert results.inspect().damaged == {f"curves/{shard('a')}": why}


def test_other_readers_read_sealed_files(tmp_path):
    (tmp_path / "x.parquet").write_bytes(parquet.encode(CURVES))
    assert pq.read_table(tmp_path / "x.parquet", page_checksum_verification=True).equals(CURVES)
    assert pa.dataset.dataset(tmp_path).to_table().equals(CURVES)


def damage(results, kind):
    """Publish a, b and c, and harm the shard of a; (file at fault, why)."""
    for run_id in "abc":
        results.publish(*tables(run_id))
    runs, curves = (results.path / folder / shard("a") for folder in ("runs", "curves"))
    other, curves_of_b = tables("a")[0].drop_columns(["steps"]), tables("b")[1]
    match kind:
        case "runs cut":
            runs.write_bytes(runs.read_bytes()[:-100])
            return runs, "cut short"
        case "runs emptied":
            runs.write_bytes(b"")
            return runs, "empty"
        case "runs flipped":
            data = bytearray(runs.read_bytes())
            data[len(data) // 2] ^= 1
            runs.write_bytes(data)
            return runs, "the checksum does not agree"
        case "curves cut":
            curves.write_bytes(curves.read_bytes()[:100])
            return curves, "cut short"
        case "curves gone":
            curves.unlink()
            return curves, "is not there"
        case "curves of others":
            curves.write_bytes(parquet.encode(curves_of_b))
            return curves, "lacks run a"
        case "columns of others":
            runs.write_bytes(parquet.encode(other))
            return runs, "other columns than such a table has"
        case "curves as runs":
            runs.write_bytes(curves.read_bytes())
            return runs, "other columns than such a table has"
    raise AssertionError(kind)


@pytest.mark.parametrize(
    "kind",
    [
        "runs cut",
        "runs emptied",
        "runs flipped",
        "curves cut",
        "curves gone",
        "curves of others",
        "columns of others",
        "curves as runs",
    ],
)
def test_a_damaged_shard_is_put_aside_and_the_others_stay(results, kind):
    file, why = damage(results, kind)
    name = str(file.relative_to(results.path))
    before = content(results.path)
    found = results.inspect()
    assert content(results.path) == before
    assert found.finished == {"b", "c"}
    assert list(found.damaged) == [name]
    assert why in found.damaged[name]
    (line,) = results.put_aside(found)
    assert (
        line == f"{name}: damaged ({found.damaged[name]}); put aside in damaged/, its runs are trained again"
    )
    assert results.finished() == set(results.curves()["run_id"]) == {"b", "c"}
    # What was put aside is what was there.
    assert sorted(before.values()) == sorted(content(results.path).values())
    results.publish(*tables("a"))
    assert not results.inspect().lines()


def test_a_renamed_copy_of_a_shard_counts_once(results):
    results.publish(*tables("a", "b"))
    for folder in ("runs", "curves"):
        data = (results.path / folder / shard("a", "b")).read_bytes()
        (results.path / folder / ("f" * 16 + ".parquet")).write_bytes(data)
    with pytest.raises(StoreError, match=r"run a is in runs/.* too"):
        results.runs()
    found = results.inspect()
    assert "run a is in runs/" in found.damaged[f"runs/{'f' * 16}.parquet"]
    results.put_aside(found)
    assert len(results.runs()) == 2


def test_a_run_in_two_shards_counts_once(results):
    results.publish(*tables("a", "b"))
    results.publish(*tables("b", "c"))
    results.put_aside(results.inspect())
    assert len(results.finished()) == len(results.runs()) == 2
    assert "b" in results.finished()


def test_what_is_not_ours_is_left_alone_and_not_read(results):
    results.publish(*tables("a"))
    foreign = ["crashed/x.txt", "curves/copy of x.parquet", "runs/0123.parquet", "runs/notes.txt"]
    (results.path / "crashed").mkdir()
    for name in foreign:
        (results.path / name).write_bytes(parquet.encode(tables("x")[0]))
    (results.path / "figures").mkdir()
    for name in ("mine.png", ".mine-2024.png"):
        (results.path / "figures" / name).write_bytes(b"mine")
    leftovers = [
        ".grok-sweep-abcd_123",
        f"curves/{shard('z')}",
        "figures/.grok-sweep-abcd_123",
        "runs/.grok-sweep-abcd_123",
    ]
    for name in leftovers:
        (results.path / name).write_bytes(b"half")
    assert results.finished() == set(results.runs()["run_id"]) == set(results.curves()["run_id"]) == {"a"}
    found = results.inspect()
    assert (sorted(found.foreign), sorted(found.leftovers)) == (foreign, leftovers)
    assert "runs/notes.txt: not a file of grok-sweep; left alone" in results.put_aside(found)
    assert sorted(results.inspect().foreign) == foreign
    assert not results.inspect().leftovers


def test_a_hidden_file_of_others_makes_a_folder_theirs(tmp_path):
    (tmp_path / ".notes-20240101.txt").write_text("mine")
    with pytest.raises(StoreError, match="is not a results folder"):
        Store(tmp_path).check_usable()


def test_a_file_that_cannot_be_read_is_not_called_damaged(results, monkeypatch):
    results.publish(*tables("a"))

    def fail(path):
        raise OSError(5, "Input/output error", path)

    system = SimpleNamespace(get_file_info=results._files._system.get_file_info, open_input_file=fail)
    monkeypatch.setattr(results._files, "_system", system)
    for read in (results.inspect, results.runs, results.finished):
        with pytest.raises(StoreError, match="cannot be read: Input/output error"):
            read()


def test_failures_are_kept_until_they_are_tried_again(results):
    assert results.crashed().empty
    results.publish(*tables("a"))
    where = results.crash(["a", "b"], "worker\n  died", "all\nof it é\udc80")
    assert where == f"{results.root}/crashed/{shard_name(['a', 'b'])}.log"
    assert Path(where).read_text() == "all\nof it é?"
    results.crash(["c"], "again", "")
    crashed = results.crashed()
    assert list(crashed) == ["run_id", "reason", "log", "time"]
    assert crashed["run_id"].tolist() == ["a", "b", "c"]
    assert crashed["reason"].tolist() == ["worker died", "worker died", "again"]
    assert (results.path / crashed["log"][0]).is_file()
    assert pd.to_datetime(crashed["time"]).notna().all()
    assert not results.inspect().lines()
    (results.path / "crashed" / shard("c")).write_bytes(b"x")
    assert results.crashed()["run_id"].tolist() == ["a", "b"]
    (line,) = results.put_aside(results.inspect())
    assert line.startswith(f"crashed/{shard('c')}: damaged (cut short, 1 bytes)")
    (results.path / "crashed" / "notes.txt").write_text("mine")
    results.forget_crashed({"a", "b"})
    assert results.crashed().empty
    assert os.listdir(results.path / "crashed") == ["notes.txt"]  # noqa: PTH208


def test_a_folder_that_cannot_be_used_says_why(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "something").write_text("")
    for name, why in (
        ("file", "cannot be read: Not a directory"),
        ("full", "is there and is not a results folder; choose another"),
        ("file/new", "cannot be written; choose another folder"),
        ("x" * 300, "cannot be read: File name too long"),
    ):
        with pytest.raises(StoreError) as said:
            Store(tmp_path / name).check_usable()
        assert str(said.value) == f"{tmp_path}/{name}: {why}"
    with pytest.raises(StoreError, match="nosuch://b: cannot be read: Unrecognized filesystem type"):
        Store("nosuch://b").check_usable()
    Store(tmp_path / "new" / "er").check_usable()
    assert not (tmp_path / "new").exists()
    (tmp_path / "begun" / "runs").mkdir(parents=True)  # by a session that died at once
    Store(tmp_path / "begun").check_usable()
    monkeypatch.setattr(
        os, "access", lambda path, mode: False
    )  # tests often run as root, who may write anywhere
    with pytest.raises(StoreError, match="new: cannot be written; choose another folder"):
        Store(tmp_path / "new").check_usable()


def test_a_sweep_on_s3(tmp_path):
    with serving() as uri:
        results = Store(uri("bucket/deep/sweep"))
        results.check_usable()
        assert not results.exists()
        assert (results.free_bytes(), results.path) == (None, None)
        assert results.finished() == set()
        results.make_folders()
        with results.locked():
            results.put_aside(results.inspect())
            results.create({"config": {}}, SCHEMA)
            results.publish(*complete(tables("a", "b")))
            results.publish(*complete(tables("c")))
            results.crash(["d"], "no", "log")
            assert results.crashed()["run_id"].tolist() == ["d"]
        results.check_usable()
        assert results.finished() == {"a", "b", "c"}
        assert analysis.load_curves(results.root, ["b"])["step"].tolist() == [0, 1, 2]
        assert analysis.cli.main([results.root, "--record", str(tmp_path / "record")]) == 0
        assert len(analysis.load_runs(results.root)) == len(analysis.load_runs(tmp_path / "record")) == 3
        assert str(analysis.analyze(results.root)).splitlines()[-2:] == [
            "diagram: s3://bucket/deep/sweep/phase_diagram.png, s3://bucket/deep/sweep/phase_diagram.svg",
            "tables: s3://bucket/deep/sweep/phases.parquet, s3://bucket/deep/sweep/cells.parquet",
        ]
        cut = results._files.read(f"curves/{shard('c')}")[:-50]
        results._files.write(f"curves/{shard('c')}", cut)
        results._files.write("runs/.DS_Store", b"")
        with results.locked():
            lines = results.put_aside(results.inspect())
        assert [line.split(" (")[0] for line in lines] == [
            f"curves/{shard('c')}: damaged",
            "runs/.DS_Store: not a file of grok-sweep; left alone",
        ]
        assert results._files.names("damaged") == [f"curves-{shard('c')}", f"runs-{shard('c')}"]
        assert results.finished() == {"a", "b"}


def complete(shard):
    """Runs with what an analysis needs."""
    runs, curves = shard
    values = {"task": "parity", "sweep": "s", "model": "m", "optimizer": "o", "device": "cpu"}
    for index, field in enumerate(runs.schema):
        if field.name != "diverged_step" and runs.column(field.name).null_count:
            value = values.get(field.name, 1)
            runs = runs.set_column(index, field, pa.array([value] * len(runs), field.type))
    return runs, curves
