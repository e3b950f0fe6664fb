"""only=QUERY: of a grid, what is known of its cells decides which runs are trained."""

import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml
from conftest import TINY

import analysis
from analysis.cli import main as analyse
from analysis.expected import configs, n_expected
from grok_sweep.cli import main
from grok_sweep.store import Store
from grok_sweep.store.files import Files

ROOT = Path(__file__).parent.parent


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A tiny sweep of two seeds, 8 cells."""
    monkeypatch.chdir(tmp_path)
    assert main([*TINY, "out=out"]) == 0
    return tmp_path / "out"


def shards(folder):
    """The files of runs but for the one that is there while there are none."""
    return [path for path in sorted((folder / "runs").iterdir()) if len(pd.read_parquet(path))]


def seeds(folder):
    """How many runs each cell has, by weight_decay, hidden_size and train_size."""
    return analysis.load_runs(folder).groupby(["weight_decay", "hidden_size", "train_size"]).size()


def test_more_seeds_where_the_query_says(folder, capfd):
    before = {path: path.read_bytes() for path in (folder / "runs").iterdir()}
    more = [*TINY, "out=out", "seeds=5", "only=hidden_size == 8 and n_fail == runs"]
    assert main([*more, "dry_run=true"]) == 0
    assert "12 runs to train (8 cells x 5 seeds, 16 finished)" in capfd.readouterr().out
    assert main(more) == 0
    said = capfd.readouterr().err
    assert "only: 4 of 8 cells" in said
    assert "training 12 runs" in said
    assert "28/28 runs, 100 % of the work" in said
    assert seeds(folder).groupby("hidden_size").unique().map(list).to_dict() == {4: [2], 8: [5]}
    assert before.items() <= {path: path.read_bytes() for path in (folder / "runs").iterdir()}.items()
    assert main(more) == 0  # the same again: nothing is left
    assert "all 28 runs are finished already" in capfd.readouterr().err
    stored = yaml.safe_load((folder / "sweep.yaml").read_text())
    assert stored["config"]["only"] == "hidden_size == 8 and n_fail == runs"
    assert n_expected(*configs(stored)) == 16  # nobody waits for five seeds elsewhere
    assert len(pd.read_parquet(folder / "phases.parquet")) == 28
    assert main([*TINY, "out=out", "seeds=5"]) == 0  # and without it all are
    assert set(seeds(folder)) == {5}


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("n_nothing > 0", "there are weight_decay, hidden_size, train_size, "),
        ("runs >", "SyntaxError"),
        ("runs + 1", "it gives no yes or no for each cell"),
        ("majority == 'grok'", "chooses none of the 8 cells of out that are in the grid"),
        ("5", "it gives no yes or no for each cell"),
    ],
)
def test_a_query_that_cannot_be_asked_or_chooses_nothing_is_refused(folder, query, said, capfd):
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("[!.]*")}
    assert main([*TINY, "out=out", "seeds=3", f"only={query}"]) == 2
    error = capfd.readouterr().err
    assert error.startswith(f"grok-sweep: only={query}: ")
    assert error.count("\n") == 1
    assert said in error
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("[!.]*")} == before


def test_a_folder_without_runs_has_nothing_to_choose_by(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    for more in ([], ["dry_run=true"]):
        assert main([*TINY, "out=out", "only=n_fail > 0", *more]) == 2
        assert "only=n_fail > 0: out has no finished runs to choose by" in capfd.readouterr().err
    assert main([*TINY, "out=out", "only=[5]"]) == 2
    assert "only=" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


def test_one_cell_without_an_axis(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    one = [*TINY, *(f"~grid.{axis}" for axis in ("weight_decay", "hidden_size", "train_size")), "out=out"]
    one = [argument for argument in one if not argument.startswith("grid.")]
    assert main(one) == 0
    assert main([*one, "seeds=4", "only=runs > 0"]) == 0
    assert len(analysis.load_runs("out")) == 4
    assert "only: 1 of 1 cells" in capfd.readouterr().err


def test_the_same_command_chooses_what_it_chose_at_first(folder, capfd):
    """Though the cells are others by then, also where a part of their new seeds did not come."""
    more = [*TINY, "out=out", "seeds=4", "only=runs < 3"]
    assert main(more) == 0
    assert set(seeds(folder)) == {4}
    new = [path for path in shards(folder) if pd.read_parquet(path)["session"].eq(2).all()]
    new[0].unlink()
    (folder / "curves" / new[0].name).unlink()
    assert len(seeds(folder)) == 8
    assert set(seeds(folder)) == {2, 4}
    assert main(more) == 0
    assert set(seeds(folder)) == {4}
    assert capfd.readouterr().err.count("only: 8 of 8 cells") == 2
    assert main([*TINY, "out=out", "seeds=5", "only=runs < 3"]) == 2  # another command: by what is there now


def test_cells_are_told_apart_by_all_hyperparameters(folder, capfd):
    """Widths that are no axis any more are no seeds of the one that is left."""
    fixed = [argument for argument in TINY if not argument.startswith("grid.hidden_size")]
    one = [*fixed, "~grid.hidden_size", "model.hidden_size=4", "out=out", "seeds=3", "dry_run=true"]
    assert main([*one, "only=runs > 2"]) == 2
    assert main([*one, "only=runs == 2"]) == 0
    assert "4 runs to train" in capfd.readouterr().out
    assert main([*TINY, "grid.hidden_size=[16]", "out=out", "only=runs > 0"]) == 2
    assert "chooses none of the 8 cells of out that are in the grid" in capfd.readouterr().err


def without_code(out):
    """The record as if its code were this."""
    text = (out / "sweep.yaml").read_text()
    (out / "sweep.yaml").write_text(re.sub(r"^  code: .*\n", "", text, flags=re.MULTILINE))


def test_what_has_no_effect_tells_no_cells_apart(tmp_path, capfd):
    """A network without embeddings is one cell, whatever size of embedding the grid begins with."""
    out = tmp_path / "out"
    shutil.copytree(ROOT / "sweeps" / "modular_architectures", out)
    without_code(out)
    more = ["sweeps=modular_architectures", f"out={out}", "seeds=2", "train.steps=30000", "dry_run=true"]
    more += ["grid.learning_rate=[0.001]", "zip=[]", "grid.weight_decay=[1]", "grid.l1_decay=[0]"]
    found = []
    for sizes in ("[8,128]", "[128,8]"):
        assert main([*more, f"grid.embed_size={sizes}", "only=runs > 0"]) == 0
        found += re.findall(r"^\d+ runs to train", capfd.readouterr().out, re.MULTILINE)
    assert found == ["4 runs to train"] * 2


def test_an_older_folder_lacks_what_came_later(tmp_path, capfd):
    out = tmp_path / "out"
    shutil.copytree(ROOT / "sweeps" / "parity_digits", out)
    without_code(out)
    more = ["sweeps=parity_digits", f"out={out}", "seeds=2", "grid.float_bits=[32,64]", "dry_run=true"]
    assert main([*more, "only=runs > 0"]) == 0
    assert re.search(r"^[24] runs to train", capfd.readouterr().out, re.MULTILINE)


def test_what_is_damaged_is_for_the_command_without_it(folder, capfd):
    shard = shards(folder)[0]
    shard.write_bytes(shard.read_bytes()[:-9])
    assert main([*TINY, "out=out", "seeds=3", "only=runs > 0"]) == 2
    assert "give the command without only= first" in capfd.readouterr().err


def test_crashes_that_were_not_chosen_stay(folder):
    def crash(order):
        raise ValueError("no")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("grok_sweep.executors.inline.train_shard", crash)
        assert main([*TINY, "out=out", "seeds=3"]) == 1
    store = Store("out")
    assert len(store.crashed()) == 8
    assert main([*TINY, "out=out", "seeds=3", "retry_crashed=true", "only=hidden_size == 8"]) == 1
    left = store.crashed()
    assert len(left) == 4
    assert all((folder / log).is_file() for log in left["log"])
    assert len(analysis.load_runs(folder)) == 20


def rows(folder):
    """The runs of a folder by id, without what a training again changes."""
    return rows_of(analysis.load_runs(folder))


def rows_of(runs):
    return runs.set_index("run_id").sort_index().drop(columns=["seconds", "session"])


CHOSEN = "phase == 'fail' and hidden_size == 8 and n_fail == runs"


@pytest.mark.parametrize("definition", ["pair", "liu"])
def test_finished_runs_are_trained_again_where_the_query_says(folder, capfd, definition):
    """The same numbers in another session; what they were is kept, the others are not touched."""
    before, curves = analysis.load_runs(folder), analysis.load_curves(folder)
    again = [*TINY, "out=out", f"phases.definition={definition}", "redo=true", f"only={CHOSEN}"]
    files = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert main([*again, "dry_run=true"]) == 0
    said = capfd.readouterr()
    assert "only: 8 of 16 runs are trained again" in said.err
    assert "8 runs to train" in said.out
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == files
    assert main(again) == 0
    said = capfd.readouterr().err
    assert "what 8 runs were is kept in out/replaced/2" in said
    assert "8 runs in" in said
    after, kept = analysis.load_runs(folder), analysis.load_runs(folder / "replaced" / "2")
    assert after.groupby("session")["hidden_size"].unique().map(list).to_dict() == {1: [4], 2: [8]}
    pd.testing.assert_frame_equal(rows(folder), rows_of(before))
    pd.testing.assert_frame_equal(analysis.load_curves(folder), curves)
    mine = before[before["hidden_size"] == 8].reset_index(drop=True)
    pd.testing.assert_frame_equal(kept, mine)
    assert main(again) == 0  # the same command does not do it again
    said = capfd.readouterr().err
    assert "only: 8 of 16 runs are trained again, which were all replaced before" in said
    assert "all 16 runs are finished already" in said
    assert main([*again[:-1], f"only=({CHOSEN})"]) == 0  # in other words it does
    assert set(analysis.load_runs(folder).query("hidden_size == 8")["session"]) == {3}
    assert len(analysis.load_runs(folder / "replaced" / "3")) == 8
    capfd.readouterr()
    assert analyse(["compare", "out", "out/replaced/2", "--out", "compared"]) == 0
    assert "4 cells are in both out and out/replaced/2" in capfd.readouterr().out
    assert analyse(["out", "--record", "record"]) == 0  # with it goes what they were: a session goes on there
    pd.testing.assert_frame_equal(analysis.load_runs(folder.parent / "record" / "replaced" / "2"), mine)
    assert len(analysis.load_runs(folder.parent / "record" / "replaced" / "3")) == 8
    capfd.readouterr()
    assert main([*again, "out=record"]) == 0
    assert "all 16 runs are finished already" in capfd.readouterr().err


def test_a_redoing_that_is_broken_off_goes_on_with_what_it_chose(folder, capfd):
    """Also where what it chose by, the phases of the runs, is in the folder of what was replaced alone."""
    before = rows(folder)
    again = [*TINY, "out=out", "redo=true", "only=phase == 'fail' and n_fail == runs"]
    publish, published = Store.publish, []

    def some(store, *tables):
        if "replaced" not in store.root and len(published) == 1:
            raise OSError(28, "No space left on device")
        if "replaced" not in store.root:
            published.append(tables)
        publish(store, *tables)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "publish", some)
        assert main(again) == 1
    there = len(analysis.load_runs(folder))
    assert there == 8
    capfd.readouterr()
    assert main(again) == 0
    said = capfd.readouterr().err
    assert "only: 16 of 16 runs are trained again" in said
    assert "training 8 runs" in said
    pd.testing.assert_frame_equal(rows(folder), before)
    after = analysis.load_runs(folder)
    assert after["session"].value_counts().to_dict() == {2: 8, 3: 8}
    assert len(analysis.load_runs(folder / "replaced" / "2")) == 16
    assert not (folder / "replaced" / "3").exists()


@pytest.mark.parametrize("at", [1, 3, 4, 5, 6, 7])
def test_a_replacement_that_is_broken_off_goes_on_too(folder, at, capfd):
    """By the same command: of each shard some runs are chosen, some stay."""
    before, replaced = rows(folder), []
    again = [*TINY, "out=out", "redo=true", "only=weight_decay == 1 and n_fail == runs"]
    write = Files.write

    def some(files, name, data):
        if "replaced" in str(files.path) or replaced:
            replaced.append(name)
            if len(replaced) == at:
                raise OSError(28, "No space left on device", name)
        write(files, name, data)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Files, "write", some)
        assert main(again) == 1
    capfd.readouterr()
    assert main(again) == 0
    assert "only: 8 of 16 runs are trained again" in capfd.readouterr().err
    pd.testing.assert_frame_equal(rows(folder), before)
    after = analysis.load_runs(folder)
    assert after.groupby("weight_decay")["session"].unique().map(min).to_dict() == {0.1: 1, 1: 2 + (at > 0)}
    kept = [analysis.load_runs(store.root)["run_id"] for store in Store("out").replaced_since(0)]
    assert {*pd.concat(kept)} == {*after.loc[after["weight_decay"] == 1, "run_id"]}


def test_what_was_replaced_may_lack_what_came_later(folder, capfd):
    """Repeats, of which the older tables say nothing: all is chosen by that was there."""
    again = [*TINY, "out=out", "repeats=2", "redo=true", "only=phase == 'fail' and n_fail == runs"]
    publish, published = Store.publish, []

    def some(store, *tables):
        if "replaced" not in store.root:
            published.append(tables)
        if len(published) == 2:
            raise OSError(28, "No space left on device")
        publish(store, *tables)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "publish", some)
        assert main(again) == 1
    capfd.readouterr()
    assert main(again) == 0
    assert "only: 16 of 16 runs are trained again" in capfd.readouterr().err
    assert len(analysis.load_runs(folder)) == 16
    assert set(analysis.load_runs(folder)["session"]) == {2, 3}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["redo=true"], "redo=true: goes with only=QUERY, which says which of the finished runs"),
        (["redo=yes", "only=runs > 0"], "redo='yes': must be one of false, true"),
        (["redo=true", "only=nothing > 0"], "only=nothing > 0: UndefinedVariableError"),
        (["redo=true", "only=seed"], "it gives no yes or no for each run"),
        (["redo=true", "only=seed > 1"], "chooses none of the 16 runs of out that are in the grid"),
    ],
)
def test_a_redoing_of_nothing_is_refused(folder, arguments, said, capfd):
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("[!.]*")}
    assert main([*TINY, "out=out", *arguments]) == 2
    error = capfd.readouterr().err
    assert error.count("\n") == 1
    assert said in error
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("[!.]*")} == before
