"""grok-analyze on real folders: what it writes, what it says, and that bad input writes nothing."""

import os
import subprocess
import sys

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_phases import SCHEMA, grid_table, runs_table

import analysis
from analysis.cli import main
from grok_sweep.store import CURVES_SCHEMA, Store, StoreError

AXES = {"weight_decay": (0.1, 1.0), "hidden_size": (16, 64), "train_size": (750, 1000)}
WRITTEN = {"phases.parquet", "cells.parquet", "phase_diagram.png", "phase_diagram.svg"}


def fill(folder, runs, cuts=1):
    """A results folder with `runs` in `cuts` shards; every run has train and eval accuracy 1 at step 100."""
    store = Store(folder)
    store.create({"config": {"name": "made_up"}}, SCHEMA)
    for cut in range(cuts):
        shard = pa.Table.from_pandas(runs.iloc[cut::cuts], schema=SCHEMA, preserve_index=False)
        ids = shard.column("run_id").to_pylist()
        curves = [
            {"run_id": run_id, "step": step, "train_accuracy": accuracy, "eval_accuracy": accuracy}
            for run_id in ids
            for step, accuracy in ((0, 0.5), (100, 1.0))
        ]
        store.publish(shard, pa.Table.from_pylist(curves, schema=CURVES_SCHEMA))
    return folder


@pytest.fixture
def sweep(tmp_path):
    return fill(tmp_path / "sweep", grid_table(3, **AXES), cuts=3)


def content(folder):
    """Every file and folder under `folder`, files with their bytes."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


def test_folders_that_somebody_has_merged_are_named(tmp_path, capsys):
    runs = grid_table(3, **AXES)
    others = runs.assign(run_id="f" + runs["run_id"].str[1:], steps=runs["steps"] * 2, sweep="other")
    folder = fill(tmp_path / "merged", pd.concat([runs, others], ignore_index=True), cuts=2)
    assert main([str(folder)]) == 0
    first, second = sorted({*runs["steps"], *others["steps"]})
    names = f"sweep {runs['sweep'].iloc[0]}, other; steps {first}, {second}"
    said = f"runs of several sweeps are in this folder, and are taken as one: {names}\n"
    assert said in capsys.readouterr().out
    assert main([str(fill(tmp_path / "one", runs))]) == 0
    assert "several" not in capsys.readouterr().out


def test_tables_and_diagram_are_written_and_summed_up(sweep, capsys):
    before = content(sweep)
    assert main([str(sweep)]) == 0
    after = content(sweep)
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) == WRITTEN
    out, err = capsys.readouterr()
    assert err == ""
    phases = pd.read_parquet(sweep / "phases.parquet")
    counts = phases["phase"].value_counts()
    expected = ", ".join(f"{counts[name]} {name}" for name in analysis.PHASES)
    assert out.splitlines() == [
        f"24 runs: {expected}",
        f"diagram: {sweep}/phase_diagram.png, {sweep}/phase_diagram.svg",
        f"tables: {sweep}/phases.parquet, {sweep}/cells.parquet",
    ]
    runs = analysis.load_runs(sweep)
    pd.testing.assert_frame_equal(phases, analysis.classify(runs))
    assert phases.attrs == {"definition": "pair", "min_loss": 1e-5, "max_ratio": 5e4}
    pd.testing.assert_frame_equal(pd.read_parquet(sweep / "cells.parquet"), analysis.cells(phases))
    assert after["phase_diagram.png"].startswith(b"\x89PNG")
    assert pq.read_schema(sweep / "phases.parquet").field("diverged_step").type == pa.int64()


def test_twice_is_the_same_bytes_and_so_are_other_shards(sweep, tmp_path):
    assert main([str(sweep)]) == 0
    first = content(sweep)
    assert main([str(sweep)]) == 0
    assert content(sweep) == first
    other = fill(tmp_path / "other", grid_table(3, **AXES), cuts=1)
    assert main([str(other)]) == 0
    second = content(other)
    assert {name: second[name] for name in WRITTEN} == {name: first[name] for name in WRITTEN}


def test_thresholds_and_definition(sweep, capsys):
    assert main([str(sweep), "--min-loss", "1", "--max-ratio", "1e9"]) == 0
    assert "24 runs: 0 memorize, 0 grok, 24 generalize, 0 fail" in capsys.readouterr().out
    assert main([str(sweep), "--definition", "liu"]) == 0
    assert "24 runs: 0 memorize, 0 grok, 24 generalize, 0 fail" in capsys.readouterr().out
    assert pd.read_parquet(sweep / "phases.parquet").attrs == {"definition": "liu"}


@pytest.mark.parametrize("there", [False, True])
def test_a_record_is_complete(sweep, tmp_path, there, capsys):
    target = tmp_path / "deep" / "record"
    if there:
        target.mkdir(parents=True)
    assert main([str(sweep), "--record", str(target)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"record: {target}"
    names = set(content(target))
    assert names >= WRITTEN | {"sweep.yaml"}
    assert len([name for name in names if name.startswith(("runs/", "curves/"))]) == 2
    pd.testing.assert_frame_equal(analysis.load_runs(target), analysis.load_runs(sweep))
    pd.testing.assert_frame_equal(analysis.load_curves(target), analysis.load_curves(sweep))
    for name in WRITTEN:
        assert (target / name).read_bytes() == (sweep / name).read_bytes()


def test_a_sweep_too_wide_to_draw_still_gets_its_tables(tmp_path, capsys):
    axes = AXES | {"b1": (0.1, 0.2, 0.3, 0.4), "b2": (0.1, 0.2, 0.3, 0.4)}
    sweep = fill(tmp_path / "sweep", grid_table(1, **axes))
    (sweep / "phase_diagram.png").write_bytes(b"of an earlier analysis")
    assert main([str(sweep)]) == 0
    out = capsys.readouterr().out
    assert "diagram: not drawn: " in out
    assert " would be 32 panels, at most 30 can be drawn; " in out
    assert "filter the runs or choose panels" in out
    assert set(content(sweep)) >= {"phases.parquet", "cells.parquet"}
    assert not (sweep / "phase_diagram.png").exists()


def test_of_too_many_runs_the_record_is_cells_and_picture(sweep, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(analysis.cli, "MOST_RECORDED", 3)
    assert main([str(sweep), "--record", str(tmp_path / "record")]) == 0
    runs = len(analysis.load_runs(sweep))
    last = capsys.readouterr().out.splitlines()[-1]
    told = f"cells and picture alone; {runs} runs themselves are too many for a record"
    assert last == f"record: {tmp_path / 'record'}: {told}"
    names = {path.name for path in (tmp_path / "record").iterdir()}
    assert names == {"sweep.yaml", "cells.parquet", "phase_diagram.png"}
    for name in names - {"sweep.yaml"}:
        assert (tmp_path / "record" / name).read_bytes() == (sweep / name).read_bytes()
    assert Store(tmp_path / "record").sweep() == Store(sweep).sweep() | {"runs_left_out": runs}
    assert main([str(tmp_path / "record")]) == 2
    said = f"is a record of cells and picture; its {runs} runs were left out"
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--min-loss", "nan"], "min_loss: nan is not allowed; give a finite number greater than 0"),
        (["--min-loss", "0"], "min_loss: 0.0 is not allowed"),
        (
            ["--definition", "pairs"],
            "definition: 'pairs' is not allowed; give one of pair, liu, liu_lasting "
            "(one of your own is for its sweep to ask for, by phases.definition)",
        ),
        (["--definition", "liu", "--max-ratio", "2"], "max_ratio: no part of definition liu"),
        (
            ["--record", "{sweep}/record"],
            "--record {sweep}/record: give a new or empty folder on this machine",
        ),
        (["--record", "{sweep}"], "--record {sweep}: give a new or empty folder"),
        (["--record", "{full}"], "--record {full}: give a new or empty folder"),
        (["--record", "{file}"], "{file}: Not a directory"),
        (["--record", "{file}/new"], "{file}/new: cannot be written; choose another folder"),
        (["--record", "s3://bucket/x"], "--record s3://bucket/x: give a new or empty folder on this machine"),
        (["--run", "unknown"], "{sweep}: run unknown is not there; run_ids are in its runs"),
    ],
)
def test_bad_options_are_named_and_nothing_is_written(sweep, tmp_path, capsys, options, message):
    file, full = tmp_path / "file", tmp_path / "full"
    file.write_text("")
    full.mkdir()
    (full / "something").write_text("")
    places = {"sweep": sweep, "file": file, "full": full}
    before = content(tmp_path)
    assert main([str(sweep), *(option.format(**places) for option in options)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("grok-analyze: " + message.format(**places))
    assert len(err.splitlines()) == 1
    assert content(tmp_path) == before


def test_all_that_is_wrong_is_named_at_once(sweep, capsys):
    bad = ["--min-loss", "0", "--max-ratio", "-2", "--definition", "x", "--record", str(sweep)]
    assert main([str(sweep), *bad]) == 2
    err = capsys.readouterr().err
    assert all(name in err for name in ("min_loss: 0.0", "max_ratio: -2.0", "definition: 'x'", "--record"))


def test_folders_that_cannot_be_analysed(tmp_path, capsys):
    missing, empty, other, broken = (tmp_path / name for name in ("missing", "empty", "other", "broken"))
    Store(empty).create({"config": {"name": "made_up"}}, SCHEMA)
    other.mkdir()
    fill(broken, runs_table([{}]))
    (broken / "runs" / "0123456789abcdef.parquet").write_text("not parquet")
    before = content(tmp_path)
    for folder, message in (
        (missing, f"{missing}: no sweep here"),
        (other, f"{other}: no sweep here"),
        (empty, f"{empty}: no finished runs yet; wait for the first shard"),
        (broken, f"{broken}/runs/0123456789abcdef.parquet: damaged (cut short, 11 bytes)"),
    ):
        assert main([str(folder)]) == 2
        assert capsys.readouterr().err.startswith(f"grok-analyze: {message}")
    assert content(tmp_path) == before
    with pytest.raises(StoreError, match="no finished runs yet"):
        analysis.analyze(empty)


def test_a_disk_that_fills_up_is_no_traceback(sweep, monkeypatch, capsys):
    def full(*_):
        raise OSError(28, "No space left on device", str(sweep / "phases.parquet"))

    monkeypatch.setattr(Store, "write_phases", full)
    assert main([str(sweep)]) == 2
    assert capsys.readouterr().err == f"grok-analyze: {sweep}/phases.parquet: No space left on device\n"


@pytest.mark.parametrize(
    "arguments", [[], ["a", "b"], ["a", "--min-los", "1"], ["a", "--min-loss", "abc"], ["a", "--record"]]
)
def test_a_command_line_that_cannot_be_read(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert "grok-analyze: error: " in capsys.readouterr().err


def test_as_a_command_without_a_display(sweep):
    environment = {name: value for name, value in os.environ.items() if name != "DISPLAY"}
    command = [sys.executable, "-W", "error", "-m", "analysis", str(sweep)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("24 runs: ")


def test_curves_of_some_runs(sweep):
    wanted = analysis.load_runs(sweep)["run_id"].tolist()[:2]
    assert sorted(analysis.load_curves(sweep, wanted)["run_id"].unique()) == sorted(wanted)


def test_joint_intervals_are_asked_for_once_and_then_kept_up_to_date(sweep, capsys):
    assert main([str(sweep), "--joint"]) == 0
    assert "joint.parquet" in capsys.readouterr().out
    table, cells = pd.read_parquet(sweep / "joint.parquet"), pd.read_parquet(sweep / "cells.parquet")
    axes = [*AXES]
    assert {*table} >= {*axes, "runs", "share_grok", "joint_low_grok", "joint_high_fail"}
    both = table.merge(cells, on=axes)
    assert len(both) == len(cells) == 8
    for name in analysis.PHASES:
        assert (both[f"joint_low_{name}"] <= both[f"share_{name}_y"]).all()
        assert (both[f"joint_high_{name}"] >= both[f"share_{name}_y"]).all()
    (sweep / "joint.parquet").write_bytes(b"")
    assert main([str(sweep)]) == 0
    pd.testing.assert_frame_equal(pd.read_parquet(sweep / "joint.parquet"), table)
