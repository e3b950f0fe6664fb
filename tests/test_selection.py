"""only=QUERY: of a grid, what is known of its cells decides which runs are trained."""

import pandas as pd
import pytest
import yaml
from conftest import TINY

import analysis
from analysis.expected import configs, n_expected
from grok_sweep.cli import main


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A tiny sweep of two seeds, 8 cells."""
    monkeypatch.chdir(tmp_path)
    assert main([*TINY, "out=out"]) == 0
    return tmp_path / "out"


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
        ("n_nothing > 0", "there are weight_decay, hidden_size, train_size, runs, n_memorize, n_grok,"),
        ("runs >", "SyntaxError"),
        ("runs + 1", "it gives no yes or no for each cell"),
        ("majority == 'grok'", "chooses none of the 8 cells of out"),
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
