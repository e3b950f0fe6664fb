"""A sweep of the user's own task, model, optimizer and metrics: from the file to the tables."""

import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from own import CURVES, KEYS, OWN, content, read, refused, run, sweep_file

import analysis
from analysis.cli import main as grok_analyze
from grok_sweep.cli import main
from grok_sweep.compose import compose, using
from grok_sweep.core.config import parse
from grok_sweep.core.registry import parts_of
from grok_sweep.core.source import Source
from grok_sweep.session import provenance
from grok_sweep.store import Store
from grok_sweep.sweep_file import source_of


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the sweep, trained once, of tests that only read."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "sweeps").mkdir()
    (folder / "sweeps" / "mine.py").write_text(OWN)
    (folder / "sweeps" / "mine.yaml").write_text(sweep_file())
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert run() == 0
    return folder / "out"


# The whole way


@pytest.mark.usefixtures("files")
def test_a_dry_run_says_what_would_be_trained_and_writes_nothing(capfd):
    before = content(Path())
    assert run("dry_run=true") == 0
    out, err = capfd.readouterr()
    heading, *rows = out.split("\n\n")[0].splitlines()
    assert heading.split()[:3] == ["width", "rows", "runs"]
    assert [row.split()[:3] for row in rows] == [["4", "18", "8"], ["8", "18", "8"]]
    assert "16 runs to train (8 cells x 2 seeds, 0 finished)" in out
    assert err == ""
    assert content(Path()) == before


def test_the_tables_have_a_column_for_every_hyperparameter(trained):
    runs = read("runs", trained)
    assert len(runs) == 16
    assert runs["run_id"].is_unique
    keys = [key for of_part in KEYS.values() for key in of_part]
    names = runs.columns.tolist()
    begin = names.index("seed") + 1
    assert names[begin : begin + len(keys)] == keys
    kinds = {key: runs[key].dtype.kind for key in keys}
    assert kinds == {key: "i" if key in ("largest", "width", "warmup", "float_bits") else "f" for key in keys}
    assert (runs[["task", "model", "optimizer", "sweep"]] == ["larger", "net", "sgd", "mine"]).all(axis=None)
    assert runs.groupby(["width", "noise", "momentum"])["seed"].agg(list).map(sorted).tolist() == [[0, 1]] * 8
    assert (runs[["largest", "share", "temperature", "warmup"]] == [5, 0.5, 1.0, 10]).all(axis=None)
    assert runs["final_train_loss"].nunique() == 16


def test_the_curves_are_those_of_every_run(trained):
    curves = read("curves", trained)
    assert curves.columns.tolist() == CURVES
    assert len(curves) == 16 * 5
    start = curves[curves["step"] == 0].merge(read("runs", trained), on="run_id")
    assert np.isfinite(curves[CURVES[2:]]).all(axis=None)
    # Neither noise nor momentum is felt before the first step but in the training labels.
    assert start.groupby(["width", "seed"])["eval_loss"].nunique().eq(1).all()
    assert start.groupby(["width", "seed", "noise"])["train_loss"].nunique().eq(1).all()
    assert start.groupby(["width", "seed"])["train_loss"].nunique().eq(2).all()


def test_weights_are_recorded_by_their_names(trained):
    runs, curves = read("runs", trained), read("curves", trained).set_index(["run_id", "step"])
    for _, one in runs.iterrows():
        weights, width = analysis.load_weights(trained, one["run_id"]), one["width"]
        assert weights.step_S.tolist() == [0, 10, 20]
        assert {name: array.shape[1:] for name, array in weights.arrays.items()} == {
            "Embed_0/embedding": (6, width),
            "Dense_0/kernel": (2 * width, width),
            "Dense_0/bias": (width,),
            "Dense_1/kernel": (width, 2),
            "Dense_1/bias": (2,),
        }
        for i, step in enumerate((0, 10, 20)):
            norm = np.sqrt(sum((array[i].astype(float) ** 2).sum() for array in weights.arrays.values()))
            assert curves.loc[one["run_id"], step]["weight_norm"] == pytest.approx(norm, rel=1e-5)
        assert not weights.arrays["Dense_0/bias"][0].any()
        assert weights.arrays["Dense_0/bias"][2].any()


def test_the_folder_keeps_the_file_as_it_was_run(trained):
    digest = Source("mine.py", OWN).digest
    assert content(trained / "parts") == {f"{digest}-mine.py": OWN.encode()}
    record = yaml.safe_load((trained / "sweep.yaml").read_text())
    assert record["config"]["parts"] == "mine.py"
    assert record["config"]["optimizer"] == {
        "name": "sgd",
        "learning_rate": 0.1,
        "momentum": 0.9,
        "warmup": 10,
    }
    assert [session["parts"] for session in record["sessions"]] == [digest]


def test_results_are_read_without_running_the_file(trained, tmp_path, monkeypatch, capsys):
    """Nor is it needed: pictures and page of networks of which nothing is known."""
    mine = tmp_path / "copy"
    Store(trained).copy_record(Store(mine))
    monkeypatch.chdir(tmp_path)
    assert grok_analyze([str(mine), "--figures", "--report"]) == 0
    assert capsys.readouterr().out.startswith("16 runs: ")
    assert len(pd.read_parquet(mine / "phases.parquet")) == 16
    assert (mine / "report.html").stat().st_size > 1_000_000
    drawn = "".join(path.read_text(encoding="utf-8") for path in (mine / "figures").glob("*.svg"))
    assert "Dense_0/kernel" in drawn
    assert "Embed_0/embedding" in drawn


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("largest", [3, 5]),
        ("share", [0.25, 0.5]),
        ("noise", [0.0, 0.5]),
        ("width", [2, 3]),
        ("temperature", [0.5, 2.0]),
        ("learning_rate", [0.01, 1.0]),
        ("momentum", [0.0, 0.9]),
        ("warmup", [1, 100]),
    ],
)
@pytest.mark.usefixtures("one_run")
def test_every_hyperparameter_of_every_part_is_an_axis(key, values):
    short = ["train.steps=4", "train.log_every=2", "train.snapshot_every=null"]
    assert run(f"grid.{key}={values}".replace(" ", ""), *short) == 0
    runs = read("runs")
    assert sorted(runs[key]) == values
    assert runs["final_train_loss"].nunique() == 2
    assert np.isfinite(runs["final_train_loss"]).all()
    assert len(read("curves")) == 2 * 3


@pytest.mark.usefixtures("files")
def test_help_and_config_show_the_parts_of_the_file(capsys, monkeypatch):
    assert main(["sweeps=mine", "--help"]) == 0
    out = capsys.readouterr().out
    for group, name in (("task", "larger"), ("model", "net"), ("optimizer", "sgd")):
        (line,) = [line for line in out.splitlines() if line.startswith(f"  {group} ")]
        assert name in line.split(maxsplit=1)[1].split(", ")
    for key, words in {
        "largest": "numbers are 0 to this; a whole number from 1 to 1000",
        "noise": "share of the training labels that is turned over; a number of at least 0 and at most 0.5",
        "temperature": "divides the logits; a finite number greater than 0",
        "warmup": "steps until the rate is whole; a whole number from 1 to 10000",
    }.items():
        assert f"  {key:23} {words}" in out
    assert max(map(len, out.splitlines())) <= 120
    assert main(["sweeps=quickstart", "--help"]) == 0
    assert "turned over" not in capsys.readouterr().out

    assert main(["sweeps=mine", "optimizer.warmup=5", "--cfg", "job"]) == 0
    config = yaml.safe_load(capsys.readouterr().out)
    assert config["task"] == {"name": "larger", "largest": 5, "share": 0.5, "noise": 0.0}
    assert config["model"] == {"name": "net", "width": 4, "temperature": 1.0, "float_bits": 32}
    assert config["optimizer"] == {"name": "sgd", "learning_rate": 0.1, "momentum": 0.9, "warmup": 5}
    assert config["parts"] == "mine.py"

    line = "grok-sweep sweeps=mine optimizer.m"
    monkeypatch.setenv("COMP_LINE", line)
    monkeypatch.setenv("COMP_POINT", str(len(line)))
    assert main(["-sc", "query=bash"]) == 0
    assert capsys.readouterr().out.split() == ["optimizer.momentum="]


@pytest.mark.usefixtures("files")
def test_what_is_not_allowed_is_said_at_once_with_what_is(capfd):
    said = refused(
        capfd,
        *("task.largest=0", "model.temperature=0", "optimizer.warmup=0", "grid.noise=[0.1,0.7]"),
        *("optimizer.b1=0.5", "grid.widht=[1]", "task.share=half", "model.hidden_size=3"),
    )
    head, *lines = said.splitlines()
    assert head == "8 problems:"
    assert lines == [
        "  model.hidden_size=3: no such key; allowed are name, width, temperature, float_bits",
        "  optimizer.b1=0.5: no such key; allowed are name, learning_rate, momentum, warmup",
        "  grid.widht=[1]: no such key; did you mean model.width or grid.width or refine.width?",
        "  task.largest=0: must be a whole number from 1 to 1000",
        "  task.share='half': must be a number greater than 0 and less than 1",
        "  model.temperature=0: must be a finite number greater than 0",
        "  optimizer.warmup=0: must be a whole number from 1 to 10000",
        "  grid.noise=0.7: must be a number of at least 0 and at most 0.5",
    ]


@pytest.mark.usefixtures("files")
def test_the_parts_of_a_file_are_for_its_own_sweep(capfd):
    assert main(["sweeps=quickstart", "task=larger", "dry_run=true"]) == 2
    assert "task=larger: must be one of modular_addition, parity" in capfd.readouterr().err


# Going on


@pytest.mark.usefixtures("files")
def test_what_is_finished_is_not_trained_again(tmp_path, capfd, monkeypatch):
    whole = ["cluster.shard_seconds=0.001", "train.snapshot_every=null"]
    assert run(*whole, "out=whole") == 0
    published = Store.publish
    stop = [1]

    def publish(self, *tables):
        published(self, *tables)
        stop[0] -= 1
        if not stop[0]:
            raise KeyboardInterrupt

    monkeypatch.setattr(Store, "publish", publish)
    assert run(*whole) == 130
    monkeypatch.setattr(Store, "publish", published)
    some = content(tmp_path / "out" / "runs")
    done = set(read("runs")["run_id"])
    assert 0 < len(done) < 16
    capfd.readouterr()
    assert run(*whole) == 0
    assert content(tmp_path / "out" / "runs").items() >= some.items()
    sessions = yaml.safe_load((tmp_path / "out" / "sweep.yaml").read_text())["sessions"]
    assert sessions[-1]["runs"] == 16 - len(done)
    for table in ("runs", "curves"):
        one, other = (
            read(table, out).drop(columns=["seconds", "session"], errors="ignore") for out in ("whole", "out")
        )
        pd.testing.assert_frame_equal(one, other, check_exact=True)
    runs = read("runs")
    assert [session["session"] for session in sessions] == [1, 2]
    assert (runs["session"] == np.where(runs["run_id"].isin(done), 1, 2)).all()
    assert sessions[1]["float_bits"] == [32]
    assert sessions[1]["random"] == {
        "default_prng_impl": "threefry2x32",
        "threefry_partitionable": "true",
        "random_seed_offset": "0",
    }
    before = content(tmp_path / "out")
    capfd.readouterr()
    assert run(*whole) == 0
    assert "all 16 runs are finished already" in capfd.readouterr().err
    assert content(tmp_path / "out") == before


def test_a_file_that_has_changed_does_not_go_on_unless_that_is_accepted(one_run, tmp_path, capfd):
    """Two sets of numbers would stand under one run_id."""
    assert run() == 0
    changed = OWN + "# another word\n"
    one_run(changed)
    said = refused(capfd, "seeds=[3,4]")
    assert said.startswith("out=out: mine.py has changed since the session of 2")
    assert said.endswith("choose another folder, or say accept_code=true")
    one_run(OWN)
    assert run("seeds=[3,4]") == 0
    one_run(changed)
    assert run("seeds=[3,4,5]", "accept_code=true") == 0
    assert sorted(read("runs")["seed"]) == [3, 4, 5]
    kept = content(tmp_path / "out" / "parts")
    assert sorted(kept.values()) == sorted([OWN.encode(), changed.encode()])
    assert run("seeds=[3,4,5,6]") == 0  # since then it is the file of the sweep


def test_what_is_accepted_where_nothing_is_left_is_a_session_too(one_run, tmp_path):
    assert run() == 0
    one_run(OWN + "# another word\n")
    assert run("accept_code=true") == 0
    sessions = yaml.safe_load((tmp_path / "out" / "sweep.yaml").read_text())["sessions"]
    assert [session["session"] for session in sessions] == [1, 2]
    assert sessions[0]["parts"] != sessions[1]["parts"]
    before = content(tmp_path / "out")
    assert run() == 0  # since then it is the file of the sweep
    assert content(tmp_path / "out") == before


def test_a_hyperparameter_that_came_later_goes_on_with_runs_before_it(one_run):
    """They were computed with its since-value: they are the runs with that, in their table too."""
    assert run() == 0
    (before,) = read("runs")["run_id"]
    noise = '"noise": real(0.0, "share of the training labels that is turned over", 0, 0.5, rows=True),'
    assert noise in OWN
    later = '"scale": real(1.0, "of the loss", 0, 10, since=1.0),'
    one_run(OWN.replace(noise, f"{noise}\n        {later}"))
    asked = yaml.safe_load(Path("out/sweep.yaml").read_text())
    assert run("accept_code=true") == 0
    assert read("runs")["run_id"].tolist() == [before]
    source = source_of(["sweeps=mine"])
    with using(source):
        config, problems = compose(["sweeps=mine", "cluster=inline"])
        assert not problems
        # It asks for the same runs.
        assert provenance.first_asked(asked, config, parse(config, source)) == 1
    assert run("seeds=[3,4]") == 0
    runs = analysis.load_runs("out").set_index("seed")
    assert runs.loc[3, "run_id"] == before
    assert runs["scale"].tolist() == [1, 1]
    assert run("seeds=[3]", "task.scale=2", "out=other") == 0
    assert read("runs", "other")["run_id"].tolist() != [before]


@pytest.mark.parametrize("bad", [(4, 6), (3,), (7,), (3, 4, 5, 6)])
def test_a_run_whose_data_cannot_be_made_fails_alone(one_run, capfd, bad):
    """Its neighbours in the shard are trained, and it is tried again once that is mended."""
    start = "        rng = np.random.default_rng(seed)\n"
    fails = f"        if seed in {bad}: raise ValueError(f'nothing here')\n"
    seeds = {"seeds": [3, 4, 5, 6, 7], "grid": {"momentum": [0.5, 0.9]}}
    one_run(OWN.replace(start, fails + start), **seeds)
    assert run() == 1
    said = capfd.readouterr().err
    told = r"crashed: .*: mine\.py, line \d+ in data: ValueError: nothing here \(run [0-9a-f]{16}, seed \d\)"
    assert len(re.findall(told, said)) == 1
    assert re.search(rf"{2 * len(bad)} runs +mine\.py, line \d+ in data: ValueError: nothing here", said)
    good = sorted({3, 4, 5, 6, 7} - set(bad))
    assert sorted(read("runs")["seed"]) == sorted([*good, *good])
    crashed = Store("out").crashed()
    assert sorted(crashed["reason"].str.extract(r"seed (\d)\)$")[0].astype(int)) == sorted([*bad, *bad])
    one_run(OWN, **seeds)
    assert run("retry_crashed=true", "accept_code=true") == 0
    assert run("out=whole") == 0
    one, other = (read("curves", out) for out in ("out", "whole"))
    pd.testing.assert_frame_equal(one, other)


@pytest.mark.parametrize("variable", ["JAX_RANDOM_SEED_OFFSET=7", "JAX_DEFAULT_PRNG_IMPL=rbg"])
def test_random_numbers_are_the_runs_own_whatever_the_users_environment_says(one_run, command, variable):
    one_run(OWN)
    assert run() == 0
    name, _, value = variable.partition("=")
    done = subprocess.run(
        [*command, "sweeps=mine", "cluster=inline", "out=other"],
        env=os.environ | {name: value},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    pd.testing.assert_frame_equal(read("curves"), read("curves", "other"))


def test_runs_that_are_not_finite_from_the_first_step_on_are_told_of(one_run, capfd):
    """Labels that the model has no output for: to jax their loss is nan."""
    one_run(OWN.replace("        train = int(", "        y = y + 5\n        train = int("))
    assert run() == 0
    assert read("runs")["diverged_step"].tolist() == [0]
    assert "1 of them had no finite loss before the first step: look at their data" in capfd.readouterr().err


def test_the_file_that_sorted_the_runs_is_kept_too(one_run):
    """A definition that changed after the training: the folder says which file the phases are by."""
    phases = """
@definition({"low": Look("#aaaaaa", "cross"), "high": Look("#7cb9df", "circle")}, at=real(0.5, "of high"))
def halves(runs, curves, h):
    return np.where(runs["final_eval_accuracy"] < h.at, "low", "high")
"""
    code = OWN.replace("import Data,", "import Data, Look, definition,") + phases
    one_run(code, phases={"definition": "halves"})
    assert run() == 0
    other = code.replace("< h.at", "> h.at")
    one_run(other, phases={"definition": "halves"})
    before = pd.read_parquet("out/phases.parquet")["phase"].tolist()
    assert run("accept_code=true") == 0
    assert pd.read_parquet("out/phases.parquet")["phase"].tolist() != before
    file = pd.read_parquet("out/phases.parquet").attrs["file"]
    assert file == f"{Source('mine.py', other).digest}-mine.py"
    assert Path("out/parts", file).read_text() == other
    record = yaml.safe_load(Path("out/sweep.yaml").read_text())
    assert record["sessions"][0]["parts"] == Source("mine.py", code).digest
    kept = content(Path("out"))
    assert run("accept_code=true") == 0
    assert content(Path("out")) == kept


def test_what_tasks_have_in_common_is_no_task(one_run):
    code = OWN.replace("class Larger(Task):", "class Pairs(Task):\n    pass\n\n\nclass Larger(Pairs):")
    one_run(code)
    assert set(parts_of(Source("mine.py", code))["task"]) - set(parts_of(None)["task"]) == {"larger"}
    assert run() == 0


def test_a_part_whose_meaning_has_changed_has_other_runs(one_run, capfd):
    """With the version in their id; and a folder has runs of one version."""
    one_run(OWN)
    assert run() == 0
    (before,) = read("runs")["run_id"]
    for code in (OWN.replace("class Larger(Task):", "class Larger(Task):\n    version = 1"), OWN):
        one_run(code)
        assert run("out=again", "accept_code=true") == 0
        assert read("runs", "again")["run_id"].tolist() == [before]
    ids = {before}
    for code in (
        OWN.replace("class Larger(Task):", "class Larger(Task):\n    version = 2"),
        OWN.replace("@model(", "@model(version=2, "),
        OWN.replace("@optimizer(", "@optimizer(version=3, "),
    ):
        one_run(code)
        said = refused(capfd, "accept_code=true")
        assert re.match(
            r"out=out: holds another sweep; .* version of (task|model|optimizer)=1 \(now \d\)$", said
        )
        assert run(f"out=new{len(ids)}") == 0
        ids |= {*read("runs", f"new{len(ids)}")["run_id"]}
    assert len(ids) == 4


@pytest.mark.slow
@pytest.mark.usefixtures("files")
def test_workers_of_ray_have_the_parts_from_the_driver(trained, tmp_path, command):
    """They have no file of it: rows and numbers are those of the inline executor."""
    done = subprocess.run(
        [*command, "sweeps=mine", "out=ray", "cluster=local", "cluster.workers=2"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "16/16 runs" in done.stderr
    runs, inline = (read("runs", out).drop(columns=["seconds"]) for out in ("ray", trained))
    keys = [key for of_part in KEYS.values() for key in of_part]
    names = [name for name in runs if runs[name].dtype.kind != "f" or name in keys]
    pd.testing.assert_frame_equal(runs[names], inline[names])
    for metric in CURVES[2:]:
        np.testing.assert_allclose(
            read("curves", "ray")[metric], read("curves", trained)[metric], rtol=1e-4, atol=1e-6
        )
    weights = analysis.load_weights("ray", runs["run_id"][0])
    assert "Embed_0/embedding" in weights.arrays


# The beginning that is given


def test_a_sweep_to_begin_from(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    assert main(["init", "first"]) == 0
    out = capfd.readouterr().out
    assert out == "wrote sweeps/first.yaml and sweeps/first.py\nnext: grok-sweep sweeps=first dry_run=true\n"
    assert sorted(content(tmp_path)) == ["sweeps/first.py", "sweeps/first.yaml"]
    assert main(["sweeps=first", "dry_run=true"]) == 0
    assert "runs to train" in capfd.readouterr().out
    short = ["train.steps=20", "train.log_every=10", "seeds=1", "task.largest=4", "cluster=inline"]
    assert main(["sweeps=first", *short]) == 0
    curves = pd.read_parquet("results/first/curves")
    assert {"train_loss", "gradient_norm"} <= set(curves.columns)
    before = content(tmp_path)
    assert main(["init", "first"]) == 2
    assert "already there; choose another name" in capfd.readouterr().err
    for name in ("../x", "a/b", "", "1st", "a b", "-x", "quick.start"):
        assert main(["init", name]) == 2
        assert "init: goes with a name for the sweep" in capfd.readouterr().err
    assert main(["init", "parity_1125"]) == 2
    assert "parity_1125 is a sweep of the package" in capfd.readouterr().err
    assert main(["init"]) == main(["init", "a", "b"]) == 2
    assert content(tmp_path) == before
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    Path("sweeps").write_text("a file\n")
    capfd.readouterr()
    assert main(["init", "first"]) == 2
    assert "cannot be written" in capfd.readouterr().err
