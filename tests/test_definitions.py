"""Definitions of phases of a user's own: from the file to tables and page, and what is wrong with one."""

import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
import yaml

import analysis
from analysis import cli as analyze
from grok_sweep.cli import main
from grok_sweep.core.look import MARKS, Look
from grok_sweep.core.parts import PartError, definition
from grok_sweep.core.registry import find, parts_of
from grok_sweep.core.source import Source
from grok_sweep.errors import ConfigError
from grok_sweep.store import Store
from grok_sweep.sweep_file import source_of

FILE = '''
"""Phases by how wide a network is, and its seed."""
import os
import numpy as np
from grok_sweep.core.parts import Look, definition, real, whole

if "NEVER_AGAIN" in os.environ:
    raise RuntimeError("this file is run")

@definition(
    {
        "cold": Look("#aaaaaa", "cross"),
        "mild": Look("#334455", "diamond"),
        "warm": Look("#F7DB5C", "star"),
        "hot_and_wide": Look("#d55e00", "plus"),
        "never": Look("#ffffff", "hexagon"),
    },
    wide=whole(8, "neurons from which a network is wide", 1, 1000),
    most=real(1e9, "weight norm at the end", 0, above=True),
)
def temper(runs, curves, h):
    assert isinstance(h.wide, int)
    end = curves[curves["step"] == 20].set_index("run_id")["weight_norm"].reindex(runs["run_id"])
    assert len(end) == len(runs) and (end < h.most).all()
    wide, first = (runs["hidden_size"] >= h.wide).to_numpy(), (runs["seed"] == 0).to_numpy()
    return np.select([~wide & first, ~wide, first], ["cold", "mild", "warm"], "hot_and_wide")
'''
SWEEP = """
parts: own.py
name: own
grid: {weight_decay: [0.1, 1], hidden_size: [4, 8], train_size: [20, 30]}
phases: {definition: temper}
train: {steps: 20, log_every: 5}
seeds: 2
"""
OWN = ["sweeps=own", "cluster=inline", "task.test_size=50", "out=out"]
TABLES = ("phases.parquet", "cells.parquet", "phase_diagram.png", "phase_diagram.svg")


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A folder of a sweep and its file, which some text may be put in for other text; the exit code."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps" / "own.yaml").write_text(SWEEP)

    def run(*overrides, **changes):
        text = FILE
        for old, new in changes.values():
            assert old in text
            text = text.replace(old, new)
        (tmp_path / "sweeps" / "own.py").write_text(text)
        return main([*OWN, *overrides])

    return run


@pytest.fixture
def done(own, tmp_path, monkeypatch, capfd):
    """The results of a sweep whose file must not be run any more."""
    assert own() == 0
    monkeypatch.setenv("NEVER_AGAIN", "1")
    capfd.readouterr()
    return tmp_path / "out"


def content(folder, names=TABLES):
    return {name: (folder / name).read_bytes() for name in names}


def test_from_the_file_to_tables_diagram_and_page(own, tmp_path, monkeypatch, capfd):
    assert own("report=live") == 0
    out, err = capfd.readouterr()
    assert out.splitlines()[0] == "16 runs: 4 cold, 4 mild, 4 warm, 4 hot_and_wide, 0 never"
    assert "; cold 4, mild 4, warm 4, hot_and_wide 4, never 0\n" in err
    folder = tmp_path / "out"
    phases, cells = (pd.read_parquet(folder / name) for name in TABLES[:2])
    assert phases["phase"].cat.categories.tolist() == ["cold", "mild", "warm", "hot_and_wide", "never"]
    assert (phases["phase"] == "cold").equals((phases["hidden_size"] == 4) & (phases["seed"] == 0))
    assert phases.attrs["definition"] == "temper"
    assert phases.attrs["thresholds"] == {"wide": 8, "most": 1e9}
    assert analysis.looks(phases)["mild"] == Look("#334455", "diamond")
    assert [n for n in cells if n.startswith("n_")] == [f"n_{n}" for n in analysis.looks(phases)]
    assert set(cells["majority"]) == {"cold", "warm"}  # of equals the first
    drawn = (folder / "phase_diagram.svg").read_text()
    assert re.findall(r">(\w+ [0-9]+)</text>", drawn)[:5] == [
        *("cold 4", "mild 4", "warm 4", "hot_and_wide 4", "never 0")
    ]
    assert "phases: temper, wide 8, most 1e+09<" in drawn
    about = json.loads(
        re.search(r'id="about">(.*?)</script>', (folder / "report.html").read_text(), re.DOTALL)[1]
    )
    assert about["definitions"] == {"temper": "temper, wide 8, most 1e+09"}
    assert {one["name"]: one["shape"] for one in about["phases"]}["hot_and_wide"] == "cross"
    recorded = yaml.safe_load((folder / "sweep.yaml").read_text())["config"]["phases"]
    assert recorded == {"min_loss": 1e-5, "max_ratio": 5e4, "definition": "temper", "wide": 8, "most": 1e9}

    # Results are read without the file, and come out the same.
    before = content(folder)
    monkeypatch.setenv("NEVER_AGAIN", "1")
    shutil.rmtree(tmp_path / "sweeps")
    assert analyze.main(["out", "--report"]) == 0
    assert capfd.readouterr().out.splitlines()[0] == out.splitlines()[0]
    assert content(folder) == before


def test_thresholds_are_keys_of_the_config(own, tmp_path, capfd):
    assert own("phases.wide=100") == 0
    assert "16 runs: 8 cold, 8 mild, 0 warm," in capfd.readouterr().out
    # Sorted anew, nothing trained: phases are no part of what a sweep is.
    assert own("phases.wide=1") == 0
    out, err = capfd.readouterr()
    assert "16 runs: 0 cold, 0 mild, 8 warm, 8 hot_and_wide, 0 never" in out
    assert "all 16 runs are finished already" in err
    assert pd.read_parquet(tmp_path / "out" / "phases.parquet").attrs["thresholds"]["wide"] == 1
    assert own("phases.definition=liu") == 0
    assert pd.read_parquet(tmp_path / "out" / "phases.parquet").attrs == {"definition": "liu"}
    assert main(["sweeps=own", "--help"]) == 0
    told = capfd.readouterr().out
    assert (
        "  phases.wide             neurons from which a network is wide; a whole number from 1 to 1000"
        in told
    )
    assert "  phases.definition       of phases; pair or liu or liu_lasting or temper" in told
    assert told.count("neurons from which") == 1  # it is no hyperparameter


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("phases.wide=0", "phases.wide=0: must be a whole number from 1 to 1000"),
        ("phases.wide=1.5", "phases.wide=1.5: must be a whole number"),
        ("phases.most=0", "phases.most=0: must be a finite number greater than 0"),
        ("phases.wides=3", "phases.wides=3: no such key; did you mean phases.wide?"),
        (
            "phases.definition=tempe",
            "phases.definition='tempe': must be one of pair, liu, liu_lasting, temper; did you mean temper?",
        ),
        ("grid.wide=[1,2]", "grid.wide=[1, 2]: no such key; did you mean phases.wide?"),
    ],
)
def test_bad_thresholds_are_told_before_anything_is_trained(own, tmp_path, capfd, override, message):
    assert own(override) == 2
    assert capfd.readouterr().err.startswith(f"grok-sweep: {message}")
    assert not (tmp_path / "out").exists()


def test_a_threshold_of_another_definition(own, capfd):
    assert own("phases.definition=pair", "phases.wide=3") == 2
    assert capfd.readouterr().err == (
        "grok-sweep: phases.wide=3: no such key; allowed are min_loss, max_ratio, definition\n"
    )


def test_other_phases_and_back_again(done, capfd):
    """The user's own cannot be computed without the file, so they are kept."""
    before = content(done)
    for name, flags in (("pair", ["--min-loss", "10", "--max-ratio", "1e9"]), ("liu", [])):
        assert analyze.main([str(done), "--definition", name, *flags]) == 0
        assert pd.read_parquet(done / "phases.parquet").attrs["definition"] == name
    assert "16 runs: 0 memorize," in capfd.readouterr().out
    assert analyze.main([str(done)]) == 0
    assert content(done) == before
    assert analyze.main([str(done), "--definition", "temper"]) == 0
    assert content(done) == before


def test_a_record_has_them_too(done, tmp_path, capfd):
    assert analyze.main([str(done), "--record", str(tmp_path / "record")]) == 0
    assert content(tmp_path / "record") == content(done)
    assert analyze.main([str(tmp_path / "record")]) == 0
    assert content(tmp_path / "record") == content(done)


def test_runs_without_a_phase_are_left_out(done, capfd):
    table = pd.read_parquet(done / "phases.parquet")
    Store(done).write_phases(table.iloc[3:], analysis.cells(table.iloc[3:]))
    assert analyze.main([str(done), "--report", "--figures"]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[0].startswith("13 runs: ")
    assert lines[1] == (
        "left out: 3 of 16 finished runs have no phase by temper; the sweep's own command sorts them"
    )
    assert len(pd.read_parquet(done / "phases.parquet")) == 13
    assert (done / "figures" / "curves.svg").exists()


def test_no_phases_to_read(done, capfd):
    (done / "phases.parquet").unlink()
    assert analyze.main([str(done)]) == 2
    assert capfd.readouterr().err == (
        f"grok-analyze: {done}/phases.parquet: has no phases by temper, which is of the sweep's own "
        "file and is not run here; give the sweep's own command again, or --definition pair or liu or "
        "liu_lasting\n"
    )
    assert analyze.main([str(done), "--min-loss", "1"]) == 2
    assert "min_loss: no part of definition temper; leave it out" in capfd.readouterr().err
    assert analyze.main([str(done), "--definition", "tempe"]) == 2
    assert "definition: 'tempe' is not allowed; give one of pair" in capfd.readouterr().err


@pytest.mark.parametrize(
    "attrs",
    [
        {"phases": {"cold": {"colour": "red;}", "mark": "cross"}}},
        {"phases": {"cold": 3}},
        {"phases": []},
        {"phases": {"</script>": {"colour": "#aaaaaa", "mark": "cross"}}},
        {"phases": {"cold": {"colour": "#aaaaaa", "mark": "cross"}}},  # there are others in it
    ],
)
def test_a_table_that_cannot_be_what_was_written(done, capfd, attrs):
    table = pd.read_parquet(done / "phases.parquet")
    cells = analysis.cells(table)
    table.attrs |= attrs
    Store(done).write_phases(table, cells)
    assert analyze.main([str(done)]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"grok-analyze: {done}/phases.parquet: damaged: ")


MADE_UP = 'runs["run_id"].iloc[0] == "0" * 16'  # as the runs are by which a definition is tried first


@pytest.mark.parametrize(
    ("new", "words"),
    [
        ('runs["nothing"]', "own.py, line 22 in temper: KeyError: 'nothing'"),
        ("return None", "definition temper: gives NoneType; give the name of a phase for each run"),
        ("h.narrow", "own.py, line 22 in temper: MissingError: there is no hyperparameter narrow"),
    ],
)
def test_a_definition_is_tried_before_anything_is_trained(own, tmp_path, capfd, new, words):
    assert own(wrong=("assert isinstance(h.wide, int)", new)) == 2
    assert words in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_definition_that_fails_costs_no_run(own, tmp_path, capfd):
    wrong = ("assert isinstance(h.wide, int)", f'runs["seed" if {MADE_UP} else "nothing"]')
    assert own(wrong=wrong) == 1
    err = capfd.readouterr().err
    where = "own.py, line 22 in temper: KeyError: 'nothing'"
    assert err.count(f"{where}; training goes on, without phases\n") == 1
    assert err.splitlines()[-1] == (
        f"grok-sweep: {where}; the runs are kept: mend it and add accept_code=true, or "
        "`grok-analyze out --definition pair` sorts them without it"
    )
    assert "16/16 runs, 100 % of the work" in err
    assert "Traceback" not in err
    assert analyze.main(["out", "--definition", "pair"]) == 0
    assert "16 runs: 0 memorize, " in capfd.readouterr().out
    assert own(wrong=wrong) == 1  # nothing is left to train, and it fails again
    assert own() == 2
    assert "own.py has changed since" in capfd.readouterr().err
    assert own("accept_code=true") == 0
    assert "16 runs: 4 cold, " in capfd.readouterr().out


def test_what_it_gives_is_looked_at(own, capfd):
    assert own(wrong=('"cold", "mild", "warm"]', '"cold", "mild", "lukewarm"]')) == 1
    err = capfd.readouterr().err
    told = r"definition temper: gives 'lukewarm' for run [0-9a-f]{16}; give one of its phases"
    assert re.search(rf"^grok-sweep: {told}, cold, .*, never; the runs are kept", err, re.MULTILINE)


def test_a_page_while_it_fails_is_said(own, capfd):
    assert own("report=live", wrong=("assert isinstance(h.wide, int)", f"1 / int({MADE_UP})")) == 1
    err = capfd.readouterr().err
    assert (
        "the page could not be written: own.py, line 22 in temper: ZeroDivisionError: division by zero" in err
    )


RUNS = pd.DataFrame(
    {"run_id": ["b", "c", "a"], "diverged_step": pd.array([None] * 3, dtype="Int64"), "seed": range(3)}
)
CURVES = pd.DataFrame(
    {
        "run_id": ["a", "a", "b", "b", "c", "c", "z"],
        "step": [10, 0, 0, 10, 10, 0, 0],
        "train_accuracy": 0.5,
        "eval_accuracy": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7],
    }
)
TWO = {"up": Look("#7cb9df", "circle"), "down": Look("#aaaaaa", "cross")}


def classified(make, **options):
    return analysis.classify(RUNS, definition=definition(TWO)(make), curves=CURVES, **options)


@pytest.mark.parametrize("kind", [list, tuple, np.array, pd.Series, pd.Categorical, pd.array])
def test_any_list_of_names_will_do(kind):
    phases = classified(lambda runs, curves, h: kind(["up", "down", "up"]))
    assert phases["phase"].tolist() == ["up", "down", "up"]
    assert phases["phase"].cat.categories.tolist() == ["up", "down"]


def test_it_gets_copies_in_order():
    before = RUNS.copy(deep=True), CURVES.copy(deep=True)

    def make(runs, curves, h):
        assert runs["run_id"].tolist() == ["b", "c", "a"]
        assert runs.index.tolist() == [0, 1, 2]
        assert list(zip(curves["run_id"], curves["step"], strict=True)) == [
            *(("a", 0), ("a", 10), ("b", 0), ("b", 10), ("c", 0), ("c", 10))
        ]
        runs["mine"], runs["seed"] = 1, 0
        curves.loc[:, "step"] = -1
        return (
            curves.groupby("run_id")["eval_accuracy"]
            .last()
            .gt(0.35)
            .map({True: "up", False: "down"})[runs["run_id"]]
        )

    part = definition(TWO)(make)
    phases = analysis.classify(RUNS.set_index(pd.Index([7, 8, 9])), definition=part, curves=CURVES)
    assert phases["phase"].tolist() == ["up", "up", "down"]
    assert phases.index.tolist() == [7, 8, 9]
    pd.testing.assert_frame_equal(RUNS, before[0])
    pd.testing.assert_frame_equal(CURVES, before[1])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["up"], "gives 1 phases for 3 runs; give one for each, in order"),
        (None, "gives NoneType; give the name of a phase for each run"),
        ("up", "gives str; give the name"),
        ({"a": "up", "b": "up", "c": "up"}, "gives dict; give the name"),
        (np.array([["up"] * 3]), "gives ndarray; give the name"),
        (pd.DataFrame({"phase": ["up"] * 3}), "gives DataFrame; give the name"),
        ([["up"], ["up", "down"], []], r"gives \['up'\] for run b; "),
        (["up", "sideways", "down"], "gives 'sideways' for run c; give one of its phases, up, down"),
        (["up", None, "down"], "gives None for run c; "),
        (["up", np.nan, "down"], "gives nan for run c; "),
        ([0, 1, 0], "gives 0 for run b; "),
        (pd.Series(["up"] * 3, ["a", "b", "c"]), r"gives its phases in another order .* use .reindex\(runs"),
        (pd.Series(["up"] * 3, [2, 1, 0]), "gives its phases in another order"),
    ],
)
def test_what_is_no_list_of_its_phases(given, message):
    with pytest.raises(PartError, match=f"definition <lambda>: {message}"):
        classified(lambda runs, curves, h: given)


def test_no_runs_are_not_asked_about():
    part = definition(TWO)(lambda runs, curves, h: 1 / 0)
    phases = analysis.classify(RUNS.iloc[:0], definition=part)
    assert phases["phase"].tolist() == []
    assert list(analysis.looks(phases)) == ["up", "down"]


LOOKS = '"cold": Look("#aaaaaa", "cross")'


@pytest.mark.parametrize(
    ("phases", "message"),
    [
        ("{}", "declares no phases, or more than can be told apart; give 1 to 12, as {"),
        ("['a']", "declares no phases"),
        (
            '{"Cold": Look("#aaaaaa", "cross")}',
            "'Cold' cannot be the name of a phase; use 1 to 40 of a-z and _",
        ),
        ('{"": Look("#aaaaaa", "cross")}', "'' cannot be the name"),
        ('{1: Look("#aaaaaa", "cross")}', "1 cannot be the name"),
        ('{"a\\n": Look("#aaaaaa", "cross")}', "'a\\n' cannot be the name"),
        (
            '{"cold": "#aaaaaa"}',
            'phase cold must be a Look, such as Look("#7cb9df", "circle"), and is \'#aaaaaa\'',
        ),
        ('{"cold": Look("grey", "cross")}', "phase cold has the colour 'grey'; give one as \"#7cb9df\""),
        ('{"cold": Look("#aaaaaa\\n", "cross")}', "phase cold has the colour '#aaaaaa\\n'"),
        ('{"cold": Look(0, "cross")}', "phase cold has the colour 0"),
        ('{"cold": Look("#aaa", "cross")}', "phase cold has the colour '#aaa'"),
        (
            '{"cold": Look("#aaaaaa", "heart")}',
            "phase cold has the mark 'heart'; give one of square, triangle",
        ),
        ('{"cold": Look("#aaaaaa", ["cross"])}', "phase cold has the mark ['cross']"),
        (
            '{"cold": Look("#aaaaaa", "cross"), "hot": Look("#bbbbbb", "cross")}',
            "has several phases of one mark, cross; give each another",
        ),
        (
            '{"p" + "abcdefghijklm"[k]: Look("#aaaaaa", "cross") for k in range(13)}',
            "declares no phases, or more than can be told apart",
        ),
        (f"{{{LOOKS}}}, wide=3", "wide must be declared by whole(...) or real(...)"),
        (
            f"{{{LOOKS}}}, min_loss=real(1, '')",
            "min_loss is the name of a key of phases in every config; call it",
        ),
        (f"{{{LOOKS}}}, definition=real(1, '')", "definition is the name of a key of phases"),
        (f"{{{LOOKS}}}, curves=real(1, '')", "curves is the name of what the definition gets"),
        (f"{{{LOOKS}}}, a=real(-1, '', 0)", "the default of a, -1, must be a finite number of at least 0"),
    ],
)
def test_bad_looks_and_thresholds_are_told_when_the_file_is_read(phases, message):
    text = f"from grok_sweep.core.parts import *\n@definition({phases})\ndef mine(runs, curves, h): ..."
    with pytest.raises(PartError, match=re.escape(f"own.py: definition mine: {message}")):
        parts_of(Source("own.py", text))


def test_a_definition_needs_its_phases_and_a_name_of_its_own():
    head = "from grok_sweep.core.parts import *\n"
    with pytest.raises(
        PartError, match=r"own.py, line 2 in <module>: PartError: give the phases of a definition"
    ):
        parts_of(Source("own.py", f"{head}@definition\ndef mine(runs, curves, h): ..."))
    with pytest.raises(PartError, match=r"own.py: there is a built-in definition liu; call yours otherwise"):
        parts_of(Source("own.py", f"{head}@definition({{{LOOKS}}})\ndef liu(runs, curves, h): ..."))


def test_steps_and_the_like_may_be_thresholds_and_all_marks_used():
    marks = ", ".join(f'"p_{mark}": Look("#aaaaaa", "{mark}")' for mark in MARKS)
    head = "from grok_sweep.core.parts import *"
    text = f"{head}\n@definition({{{marks}}}, steps=whole(1, ''))\ndef mine(*_): ..."
    part = find("definition", "mine", Source("own.py", text))
    assert (len(part.phases), list(part.numbers), part.ties) == (12, ["steps"], tuple(part.phases))


def test_a_phase_whose_column_is_a_hyperparameter(own, capfd):
    assert own("dry_run=true", wrong=('"never"', '"bits"')) == 2
    said = "phases.definition='temper': has a phase whose column would be n_bits"
    assert capfd.readouterr().err == f"grok-sweep: {said}\n"


def test_source_of_names_what_is_wrong(own, capfd):
    assert own(wrong=('"diamond"', '"cross"')) == 2
    assert capfd.readouterr().err == (
        "grok-sweep: own.py: definition temper: has several phases of one mark, cross; give each another\n"
    )
    with pytest.raises(ConfigError):
        source_of(["sweeps=own"])
