"""Whole sweeps, in this process and through a real Ray."""

import itertools
import os
import re
import resource
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import TINY
from s3 import serving

import analysis
from analysis.expected import configs, expected_runs, n_expected, with_missing
from grok_sweep.cli import main
from grok_sweep.core.grid import expand
from grok_sweep.core.plan import make_plan
from grok_sweep.executors import Failure
from grok_sweep.session import capacity
from grok_sweep.session.training import jobs, tried_again
from grok_sweep.store import Store

TABLES = ["runs", "curves"]


def read(out, table):
    return pd.read_parquet(out / table).sort_values(
        ["run_id", "step"] if table == "curves" else "run_id", ignore_index=True
    )


def content(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def sweep(tmp_path, monkeypatch):
    """Run the tiny sweep with these overrides; the exit code."""
    monkeypatch.chdir(tmp_path)
    return lambda *overrides: main([*TINY, "out=out", *overrides])


def test_a_sweep_from_the_command_to_the_diagram(sweep, tmp_path, capfd):
    assert sweep() == 0
    out = tmp_path / "out"
    printed = capfd.readouterr()
    runs, curves, phases, cells = (
        pd.read_parquet(out / name) for name in ("runs", "curves", "phases.parquet", "cells.parquet")
    )
    assert len(runs) == len(phases) == 16
    assert len(curves) == 16 * 5
    assert len(cells) == 8
    assert cells["runs"].sum() == 16
    assert runs["run_id"].is_unique
    required = (
        "run_id sweep task seed weight_decay hidden_size train_size test_size learning_rate b1 b2 steps "
        "min_train_loss min_eval_loss max_loss_ratio final_train_loss final_eval_loss final_train_accuracy "
        "final_eval_accuracy diverged_step device seconds"
    )
    assert set(required.split(" ")) <= set(runs.columns)
    assert (
        runs.groupby(["weight_decay", "hidden_size", "train_size"])["seed"].agg(list).map(sorted).tolist()
        == [[0, 1]] * 8
    )
    for name in ("phase_diagram.png", "phase_diagram.svg"):
        assert (out / name).stat().st_size > 1000
        assert str(name) in printed.out
    record = yaml.safe_load((out / "sweep.yaml").read_text())
    assert record["config"]["grid"]["hidden_size"] == [4, 8]
    (session,) = record["sessions"]
    assert session["runs"] == 16
    assert session["command"].startswith("grok-sweep sweeps=quickstart")
    assert {"jax", "flax", "optax", "ray"} <= set(session["versions"])
    assert session["devices"] == ["cpu"]
    assert "16/16 runs" in printed.err


def test_a_short_sweep_is_trained_here_unless_ray_is_asked_for(sweep, tmp_path, capfd, monkeypatch):
    monkeypatch.setitem(sys.modules, "grok_sweep.executors.on_ray", None)  # it cannot be imported
    assert sweep("cluster=auto") == 0
    said = capfd.readouterr().err
    assert re.search(
        r"^estimated at \d+ s: trained in this process, without Ray \(cluster=local: ", said, re.M
    )
    record = yaml.safe_load((tmp_path / "out" / "sweep.yaml").read_text())
    assert [session["executor"] for session in record["sessions"]] == ["inline"]
    assert sweep("cluster=auto") == 0
    assert "estimated at" not in capfd.readouterr().err  # nothing is left to train


def test_the_same_command_again_trains_nothing_and_changes_nothing(sweep, tmp_path, capfd):
    sweep()
    before = content(tmp_path / "out")
    capfd.readouterr()
    assert sweep() == 0
    assert content(tmp_path / "out") == before
    assert "all 16 runs are finished already" in capfd.readouterr().err


def test_a_grid_that_grew_trains_what_is_new_only(sweep, tmp_path):
    sweep()
    before = {table: content(tmp_path / "out" / table) for table in TABLES}
    assert sweep("seeds=3", "grid.weight_decay=[0.1,0.5,1]") == 0
    for table in TABLES:
        after = content(tmp_path / "out" / table)
        assert before[table].items() <= after.items()
        assert len(read(tmp_path / "out", table)["run_id"].unique()) == 36
    sessions = yaml.safe_load((tmp_path / "out" / "sweep.yaml").read_text())["sessions"]
    assert [session["runs"] for session in sessions] == [16, 20]


def test_a_folder_counts_what_all_its_sessions_asked_for(sweep, tmp_path):
    """Also where a session asked for other runs than the ones before, not for more."""
    out = tmp_path / "out"
    for others in ([], ["seeds=[7]", "grid.hidden_size=[8,16]"], []):
        assert sweep(*others) == 0
    stored = yaml.safe_load((out / "sweep.yaml").read_text())
    assert [one["asked"]["seeds"] for one in stored["sessions"] if "asked" in one] == [2]
    asked, runs = configs(stored), analysis.load_runs(out)
    assert n_expected(*asked) == len(runs) == 24
    whole = with_missing(analysis.classify(runs[:-1]), expected_runs(*asked))
    assert len(whole) == 24
    assert whole["phase"].isna().sum() == 1


def test_folders_can_be_put_together_and_moved_and_a_record_goes_on(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    for seed, out in enumerate(("a", "b")):
        assert main([*TINY, f"seeds=[{seed}]", f"out={out}"]) == 0
    for table in TABLES:
        shutil.copytree(f"b/{table}", f"a/{table}", dirs_exist_ok=True)
    Path("a").rename("moved")
    capfd.readouterr()
    assert main([*TINY, "seeds=2", "out=moved"]) == 0
    said = capfd.readouterr()
    assert "all 16 runs are finished already" in said.err
    assert "several" not in said.out
    Store("moved").copy_record(Store("record"))
    assert main([*TINY, "seeds=2", "out=record"]) == 0
    assert "all 16 runs are finished already" in capfd.readouterr().err
    assert main([*TINY, "seeds=3", "out=record"]) == 0
    assert len(pd.read_parquet("record/phases.parquet")) == 24


def test_a_record_that_is_lost_is_written_anew(sweep, tmp_path, capfd):
    record, small = tmp_path / "out" / "sweep.yaml", ["grid.hidden_size=[4]", "grid.train_size=[20]"]
    sweep(*small)
    before = {table: content(tmp_path / "out" / table) for table in TABLES}
    record.unlink()
    capfd.readouterr()
    assert sweep(*small) == 0
    said = capfd.readouterr().err
    assert "sweep.yaml was missing, and is written anew: what earlier sessions were is not known" in said
    assert "all 4 runs are finished already" in said
    assert {table: content(tmp_path / "out" / table) for table in TABLES} == before
    (found,) = yaml.safe_load(record.read_text())["sessions"]
    assert (found["session"], found["workers"]) == (2, 0)
    assert sweep(*small, "seeds=3") == 0
    record.unlink()
    assert sweep(*small, "seeds=4") == 0
    assert read(tmp_path / "out", "runs")["session"].value_counts().to_dict() == {1: 4, 3: 2, 4: 2}
    (found,) = yaml.safe_load(record.read_text())["sessions"]
    assert (found["session"], found["runs"]) == (4, 2)


def test_a_sweep_in_pieces_has_the_tables_of_one_in_one_piece(sweep, tmp_path, monkeypatch):
    sizes = "grid.hidden_size=[4,6,8]"  # three programs, so three shards
    sweep("out=whole", sizes)
    published, stop = Store.publish, [2]

    def publish(self, *tables):
        published(self, *tables)
        stop[0] -= 1
        if not stop[0]:
            raise KeyboardInterrupt

    monkeypatch.setattr(Store, "publish", publish)
    assert sweep(sizes) == 130
    assert len(read(tmp_path / "out", "runs")) == 16
    monkeypatch.setattr(Store, "publish", published)
    assert sweep(sizes) == 0
    for table in TABLES:
        whole, pieces = (
            read(tmp_path / out, table).drop(columns=["seconds", "session"], errors="ignore")
            for out in ("whole", "out")
        )
        pd.testing.assert_frame_equal(whole, pieces, check_exact=True)


def test_any_hyperparameter_is_an_axis(sweep, tmp_path):
    axes = [
        "~grid.weight_decay",
        "~grid.train_size",
        "~grid.hidden_size",
        "grid.b1=[0.9,0.99]",
        "grid.n_bits=[10,12]",
    ]
    assert sweep(*axes, "grid.learning_rate=[0.001,0.01]", "seeds=[4]") == 0
    runs = read(tmp_path / "out", "runs")
    assert len(runs[["b1", "n_bits", "learning_rate"]].drop_duplicates()) == len(runs) == 8
    assert runs["final_train_loss"].nunique() == 8


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["train.steps=40"], "train.steps=20 (now 40)"),
        (["optimizer.b1=0.5"], "optimizer.b1=0.99 (now 0.5)"),
        (["name=other"], "name=tiny (now other)"),
    ],
)
def test_a_folder_of_another_sweep_is_refused_and_untouched(sweep, tmp_path, capfd, overrides, message):
    sweep()
    before = content(tmp_path / "out")
    capfd.readouterr()
    assert sweep(*overrides) == 2
    printed = capfd.readouterr()
    assert message in printed.err
    assert "out=out: holds another sweep" in printed.err
    assert not printed.out
    assert content(tmp_path / "out") == before


def test_two_sessions_do_not_share_a_folder(sweep, tmp_path, capfd):
    sweep("seeds=1")
    results = Store(tmp_path / "out")
    capfd.readouterr()
    with results.locked():  # as another process has it
        before = content(tmp_path / "out")
        assert sweep("seeds=2") == 2
        assert content(tmp_path / "out") == before
    assert f"another grok-sweep is working in it (pid {os.getpid()} on " in capfd.readouterr().err
    assert sweep("seeds=2") == 0


@pytest.mark.parametrize("workers", [1, 9])
def test_a_disk_that_fills_up_is_one_message_and_loses_nothing(sweep, tmp_path, capfd, monkeypatch, workers):
    """Of many workers several shards are written at a time."""
    monkeypatch.setattr("grok_sweep.executors.inline.InlineExecutor.workers", workers)
    publish, calls = Store.publish, itertools.count()

    def full(self, *tables):
        if next(calls):
            raise OSError(28, "No space left on device")
        publish(self, *tables)

    monkeypatch.setattr(Store, "publish", full)
    assert sweep("cluster.shard_seconds=0.01") == 1
    error = capfd.readouterr().err
    assert "No space left on device; what was finished is kept" in error
    assert "Traceback" not in error
    monkeypatch.setattr(Store, "publish", publish)
    assert sweep() == 0
    assert read(tmp_path / "out", "runs")["run_id"].is_unique


@pytest.mark.parametrize("definition", ["liu", "liu_lasting"])
def test_the_definition_holds_while_the_sweep_runs_too(sweep, capfd, definition):
    assert sweep(f"phases.definition={definition}") == 0
    printed = capfd.readouterr()
    counts = dict(part.split(" ")[::-1] for part in printed.out.splitlines()[0].split(": ")[1].split(", "))
    assert (
        ", ".join(f"{name} {counts[name]}" for name in ("memorize", "grok", "generalize", "fail"))
        in printed.err
    )


def test_folders_that_cannot_be_used(sweep, tmp_path, capfd):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "thesis.txt").write_text("mine")
    before = content(tmp_path)
    for out, words in (
        ("file", "Not a directory"),
        ("notes", "not a results folder"),
        ("file/x", "file"),
        ("/proc/x", "/proc"),
    ):
        assert sweep(f"out={out}") == 2
        error = capfd.readouterr().err
        assert words in error
        assert error.startswith("grok-sweep: out=")
        assert out in error
        assert "Traceback" not in error
    assert content(tmp_path) == before


def test_dry_run_writes_nothing(sweep, tmp_path, capfd):
    assert sweep("dry_run=true") == 0
    assert not list(tmp_path.iterdir())
    assert "16 runs to train (8 cells x 2 seeds, 0 finished) in" in capfd.readouterr().out


def test_a_dry_run_of_sixteen_million_runs_says_what_they_would_take(sweep, tmp_path, capfd, monkeypatch):
    """And then that this machine has not so much memory; nothing is expanded for it."""
    monkeypatch.setattr(capacity, "available_memory", lambda: 4e9)
    axes = [f"grid.{key}=log(1e-3, 1, 4096)" for key in ("learning_rate", "weight_decay")]
    begun = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert sweep("~grid.hidden_size", "~grid.train_size", *axes, "seeds=[0]", "dry_run=true") == 2
    out, err = capfd.readouterr()
    assert "16,777,216 runs to train" in out
    for word in ("memory", "disk", "time"):
        assert re.search(rf"^{word} .*\(estimate\)", out, re.MULTILINE)
    assert "13.4 GB on the driver" in out
    assert "grid: 16,777,216 runs need about 13.4 GB of memory on the driver; 4.0 GB are free" in err
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - begun < 3e6  # kB
    assert not list(tmp_path.iterdir())


def test_a_dry_run_of_too_many_programs_is_refused_at_once(sweep, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(capacity, "available_memory", lambda: 4e9)
    sizes = ["grid.hidden_size=linear(1, 3000, 3000)", "grid.n_bits=linear(3, 3002, 3000)"]
    assert sweep(*sizes, "~grid.train_size", "~grid.weight_decay", "seeds=1", "dry_run=true") == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert "of memory on the driver" in err
    assert not list(tmp_path.iterdir())


def test_a_sweep_on_a_server_is_as_one_on_a_disk(sweep, tmp_path, capfd, monkeypatch):
    """Interrupted and gone on with, on a real S3 server; the tables are read there, too."""
    sizes = "grid.hidden_size=[4,6,8]"
    assert sweep(sizes) == 0
    capfd.readouterr()
    published = Store.publish

    def publish(self, *tables):
        published(self, *tables)
        raise KeyboardInterrupt

    with serving() as s3:
        uri = s3("bucket/results")
        assert sweep(sizes, f"out={uri!r}", "dry_run=true") == 0
        assert not Store(uri).exists()
        monkeypatch.setattr(Store, "publish", publish)
        assert sweep(sizes, f"out={uri!r}") == 130
        monkeypatch.setattr(Store, "publish", published)
        assert len(Store(uri).finished()) == 8
        assert sweep(sizes, f"out={uri!r}") == 0
        printed = capfd.readouterr()
        assert "s3://bucket/results/phase_diagram.png" in printed.out
        remote = {"runs": Store(uri).runs().sort_values("run_id"), "curves": Store(uri).curves()}
    for name in TABLES:
        local = read(tmp_path / "out", name).drop(columns=["seconds", "session"], errors="ignore")
        there = remote[name].drop(columns=["seconds", "session"], errors="ignore").reset_index(drop=True)
        pd.testing.assert_frame_equal(there, local, check_exact=True)


@pytest.mark.slow
def test_through_ray_with_numbers_as_in_this_process(sweep, tmp_path, command):
    """Two workers; the rows and the numbers are those of the inline executor."""
    assert sweep("out=inline", "train.steps=50") == 0
    arguments = [*TINY, "out=ray", "train.steps=50", "cluster=local", "cluster.workers=2"]
    done = subprocess.run(
        [*command, *arguments], capture_output=True, text=True, cwd=tmp_path, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr
    runs, curves = (read(tmp_path / "ray", table) for table in TABLES)
    pd.testing.assert_frame_equal(
        runs.drop(columns=["seconds", "session"]),
        read(tmp_path / "inline", "runs").drop(columns=["seconds", "session"]),
    )
    np.testing.assert_allclose(
        curves["eval_loss"], read(tmp_path / "inline", "curves")["eval_loss"], rtol=1e-5
    )
    assert "16/16 runs" in done.stderr
    (session,) = yaml.safe_load((tmp_path / "ray" / "sweep.yaml").read_text())["sessions"]
    assert session["workers"] == 2
    assert 0 < session["training_share_of_worker_time"] < 1
    again = subprocess.run(
        [*command, *arguments], capture_output=True, text=True, cwd=tmp_path, timeout=100, check=False
    )
    assert again.returncode == 0
    assert "finished already" in again.stderr


@pytest.fixture
def failing(monkeypatch):
    """A set of hidden sizes whose shards fail, until it is emptied."""
    from grok_sweep.executors import inline

    train, sizes = inline.train_shard, {8}

    def sometimes(order):
        if order.program.values["hidden_size"] in sizes:
            raise ValueError("no luck with\nthis one")
        return train(order)

    monkeypatch.setattr(inline, "train_shard", sometimes)
    return sizes


def test_what_fails_is_told_with_its_log_and_the_others_go_on(sweep, tmp_path, capfd, failing):
    assert sweep() == 1
    printed = capfd.readouterr()
    assert "8 runs: memorize" not in printed.err
    assert printed.out.startswith("8 runs: ")  # what there is is sorted and drawn
    table = printed.err.split("16 runs, ")[-1]
    assert "8 runs" in table
    assert "hidden_size 8" in table
    assert "ValueError: no luck with" in table
    assert "8 runs crashed; the same command with retry_crashed=true trains what crashed again" in table
    assert set(read(tmp_path / "out", "runs")["hidden_size"]) == {4}
    (log,) = (tmp_path / "out" / "crashed").glob("*.log")
    assert log.name in table
    assert "Traceback" in log.read_text()
    assert "this one" in log.read_text()


def test_what_failed_is_tried_again_when_asked_for_and_only_that(sweep, tmp_path, capfd, failing):
    sweep()
    before = content(tmp_path / "out")
    failing.clear()
    capfd.readouterr()
    assert sweep() == 1  # the same command does not do the same thing for ever
    assert content(tmp_path / "out") == before
    assert "8 runs crashed" in capfd.readouterr().err
    finished = {table: content(tmp_path / "out" / table) for table in TABLES}
    assert sweep("retry_crashed=true") == 0
    assert "crashed" not in capfd.readouterr().err
    for table, files in finished.items():
        assert files.items() <= content(tmp_path / "out" / table).items()
    assert len(read(tmp_path / "out", "runs")) == 16
    assert sweep() == 0


def test_the_first_failure_ends_a_sweep_that_is_to_fail_fast(sweep, tmp_path, capfd, failing):
    failing.add(6)
    sizes = ["grid.hidden_size=[4,6,8]", "cluster.shard_seconds=0.001"]
    assert sweep("fail_fast=true", *sizes) == 1
    assert capfd.readouterr().err.count("crashed: hidden_size") == 1
    failing.clear()
    assert sweep("retry_crashed=true", *sizes) == 0
    assert len(read(tmp_path / "out", "runs")) == 24


def test_what_does_not_fit_into_memory_is_halved_down_to_one_run(sweep, tmp_path, capfd, monkeypatch):
    """Room for two runs at a time, and for none of one of them."""
    from grok_sweep.executors import inline

    train, tries = inline.train_shard, []

    def small(order):
        seeds, lanes = order.columns["seed"], order.program.lanes
        tries.append((tuple(order.columns["run_id"]), lanes))
        bad = (order.columns["train_size"] == 20) & (order.columns["weight_decay"] == 1) & (seeds == 1)
        if lanes > 2 or bad.any():
            raise MemoryError("no room")
        return train(order)

    monkeypatch.setattr(inline, "train_shard", small)
    assert sweep() == 1
    error = capfd.readouterr().err
    assert "MemoryError: no room; tried again, in halves" in error
    assert "2 runs crashed" in error
    runs = read(tmp_path / "out", "runs")
    assert len(runs) == 14
    assert not ((runs["train_size"] == 20) & (runs["weight_decay"] == 1) & (runs["seed"] == 1)).any()
    assert len(set(tries)) < 32
    assert max(Counter(tries).values()) == 2  # the same thing again for a single run only, and once


def test_what_is_tried_again_is_another_thing_or_not_for_ever(tiny):
    """A worker that dies of a shard: the same max_retries times, then halves, which may die once each."""
    sweep = tiny("cluster=local", "cluster.max_retries=2")
    plan = make_plan(sweep, expand(sweep))
    first = max(jobs(sweep, plan), key=lambda job: len(job.shard.index_R))

    def tries(kind, job):
        again = tried_again(sweep, plan, job, Failure(kind, "why", "log"))
        return 1 + sum(tries(kind, other) for other in again)

    runs = len(first.shard.index_R)
    assert runs == 8
    assert tries("error", first) == 1
    assert tries("hang", first) == 3
    assert tries("memory", first) == 2 * runs - 1 + runs  # a single run once more
    assert tries("death", first) == 2 + 2 * runs - 1


def test_failed_runs_that_left_the_grid_fail_it_no_more(sweep, tmp_path, capfd, failing):
    assert sweep() == 1
    assert sweep("dry_run=true") == 0
    assert "8 of its runs crashed before" in capfd.readouterr().err
    assert sweep("grid.hidden_size=[4]") == 0
    assert sweep() == 1


def test_a_disk_that_fills_up_at_the_end_is_no_bad_input(sweep, capfd, monkeypatch):
    create, calls = Store.create, []

    def full(self, *arguments):
        if calls:
            raise OSError(28, "No space left on device")
        calls.append(create(self, *arguments))

    monkeypatch.setattr(Store, "create", full)
    assert sweep() == 1
    assert "No space left on device; what was finished is kept" in capfd.readouterr().err
    monkeypatch.setattr(Store, "create", create)
    assert sweep() == 0


@pytest.mark.parametrize("harm", ["truncate", "flip", "remove"])
@pytest.mark.parametrize("table", TABLES)
def test_a_damaged_table_is_put_aside_and_its_runs_trained_again(sweep, tmp_path, capfd, table, harm):
    sweep("grid.hidden_size=[4,6,8]")
    out, before = tmp_path / "out", {name: read(tmp_path / "out", name) for name in TABLES}
    victim, *others = sorted((out / table).glob("[0-9a-f]*[0-9a-f].parquet"), key=lambda p: p.stem == "empty")
    data = bytearray(victim.read_bytes())
    data[100] ^= 1
    if harm == "remove":
        victim.unlink()
    else:
        victim.write_bytes(data if harm == "flip" else data[: len(data) // 2])
    (out / "runs" / "notes.txt").write_text("mine")
    kept = {other: other.stat().st_mtime_ns for other in others}
    capfd.readouterr()
    assert sweep("grid.hidden_size=[4,6,8]") == 0
    error = capfd.readouterr().err
    assert "notes.txt" in error
    if harm != "remove":
        assert f"{table}/{victim.name}: " in error
        assert list((out / "damaged").rglob(f"*{victim.name}"))
    assert {other: other.stat().st_mtime_ns for other in others} == kept
    (out / "runs" / "notes.txt").unlink()
    for name in TABLES:
        pd.testing.assert_frame_equal(
            read(out, name).drop(columns=["seconds", "session"], errors="ignore"),
            before[name].drop(columns=["seconds", "session"], errors="ignore"),
            check_exact=True,
        )


def test_the_driver_takes_no_accelerator_from_its_workers(sweep, monkeypatch):
    monkeypatch.delenv("JAX_PLATFORMS")
    sweep("cluster=local", "dry_run=true")
    assert os.environ["JAX_PLATFORMS"] == "cpu"
