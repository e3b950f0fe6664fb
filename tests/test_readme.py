"""Every command and every snippet of the READMEs is run, the long ones as dry runs.

Those of the section on clusters are run by test_cluster.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from conftest import TINY

from analysis.cli import main as grok_analyze
from grok_sweep.cli import main as grok_sweep
from grok_sweep.store import Store

ROOT = Path(__file__).parent.parent
READMES = [ROOT / "README.md", *sorted(ROOT.glob("[!.]*/README.md"))]
TEXTS = {path: path.read_text(encoding="utf-8") for path in READMES}
TEXT = "\n".join(TEXTS.values())
CLUSTERS = TEXTS[ROOT / "conf" / "README.md"].partition("## On a cluster")[2]
COMMANDS = [
    shlex.split(line, comments=True)
    for block in re.findall(r"```sh\n(.*?)```", TEXT.replace(CLUSTERS, ""), re.DOTALL)
    for line in block.splitlines()
]
RECORD = ROOT / "sweeps" / "parity_1125"
RECORDS = (RECORD, ROOT / "sweeps" / "modular_24", ROOT / "sweeps" / "modular_architectures")


def commands(program):
    found = [command for command in COMMANDS if command[0] == program]
    assert found
    return pytest.mark.parametrize("command", found, ids=" ".join)


def test_every_command_is_run_by_a_test_below():
    assert {command[0] for command in COMMANDS} == {
        "make",
        "source",
        "grok-sweep",
        "grok-analyze",
        "eval",
        "pip",
    }


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A folder with the records in it, as the checkout has."""
    for record in RECORDS:
        shutil.copytree(record, tmp_path / "sweeps" / record.name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@commands("grok-sweep")
def test_sweeps(command, elsewhere):
    begun = [elsewhere / "sweeps" / f"mine.{kind}" for kind in ("py", "yaml")]
    if command[1] == "init" or "sweeps=mine" in command:
        assert grok_sweep(["init", "mine"]) == 0  # as the command before it does
        assert all(path.stat().st_size > 500 for path in begun)
    if command[1] == "init":
        assert command[2:] == ["mine"]
        return
    if any(argument.startswith("only=") for argument in command):  # of cells that are there
        Store(RECORD).copy_record(Store("results/parity_1125"))
        Path("results/parity_1125/sweep.yaml").write_text(
            re.sub(r"^  code: .*\n", "", (RECORD / "sweep.yaml").read_text(), flags=re.MULTILINE)
        )
    before = sorted(elsewhere.rglob("*"))
    assert grok_sweep([*command[1:], *(["dry_run=true"] if "--cfg" not in command else [])]) == 0
    assert sorted(elsewhere.rglob("*")) == before


@commands("grok-analyze")
def test_analyses(command, elsewhere, capsys):
    if command[1] == "compare":
        for folder in command[2:4]:
            assert grok_sweep([*TINY, f"out={folder}"]) == 0
        assert grok_analyze(command[1:]) == 0
        assert f"are in both {command[2]} and {command[3]}" in capsys.readouterr().out
        return
    if "--scaling" in command:  # of runs that have come there
        Store(RECORD).copy_record(Store(command[1]))
    else:
        assert grok_sweep([*TINY, f"out={command[1]}"]) == 0
    capsys.readouterr()
    assert grok_analyze(command[1:]) == 0
    assert str(Path(command[1]) / "phase_diagram.png") in capsys.readouterr().out


@commands("make")
def test_make_targets_exist(command):
    # `make run` itself is what test_driver does through Ray; this suite is what `make test` runs.
    done = subprocess.run([*command, "--dry-run"], cwd=ROOT, capture_output=True, text=True, check=True)
    runs = {"run": "grok-sweep sweeps=parity_1125", "test": "pytest", "report": "--report"}
    assert runs[command[1]] in done.stdout


@commands("eval")
def test_completion(command, tmp_path):
    bin_ = Path(sys.executable).parent
    at = {"cwd": tmp_path, "env": os.environ | {"PATH": f"{bin_}:{os.environ['PATH']}"}, "timeout": 100}
    script = f'{shlex.join(command[:1])} "{command[1]}"; complete -p grok-sweep'
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True, **at)
    assert "grok-sweep" in done.stdout


@commands("pip")
def test_the_wheel_command_is_the_one_that_test_wheel_runs(command):
    assert command[1:] == ["wheel", "--no-deps", "--wheel-dir", "dist", "."]


@commands("source")
def test_the_environment_is_where_make_puts_it(command):
    assert f"BIN := {Path(command[1]).parent}" in (ROOT / "Makefile").read_text()


def test_the_sweep_that_is_shown_is_the_one_that_is_there():
    (shown,) = re.findall(r"```yaml\n(.*?)```", TEXTS[ROOT / "README.md"], re.DOTALL)
    lines = (ROOT / "sweeps" / "quickstart.yaml").read_text(encoding="utf-8").splitlines()
    assert shown.splitlines() == [lines[0], *(line for line in lines[1:] if not line.startswith("#"))]


def test_nothing_is_left_to_fill_in():
    assert not re.search(r"@[A-Z]+@|TODO|XXX", TEXT)


def test_the_record_is_analysed_without_training(elsewhere, capsys):
    before = pd.read_parquet(RECORD / "phases.parquet")
    assert grok_analyze(["sweeps/parity_1125"]) == 0
    assert "390 memorize, 435 grok, 139 generalize, 161 fail" in capsys.readouterr().out
    after = pd.read_parquet(elsewhere / "sweeps" / "parity_1125" / "phases.parquet")
    pd.testing.assert_frame_equal(after, before, check_exact=True)


def test_snippets(elsewhere, capsys):
    snippets = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    assert snippets
    for snippet in snippets:
        exec(compile(snippet, "README.md", "exec"), {})
    printed = capsys.readouterr().out
    assert re.search(r"weight_decay", printed)
    assert (elsewhere / "by_train_size.png").stat().st_size > 10_000


def test_the_columns_are_those_of_the_tables():
    described = {
        name.strip()
        for table in re.findall(r"\| column of \w+ .*?\n\n", TEXT, re.DOTALL)
        for row in table.splitlines()[2:]
        if row.startswith("|")
        for name in row.split("|")[1].split(",")
    }
    # Of which that record has none; test_own_metrics and test_repeats have.
    described -= {
        "metrics of your own",
        "final_ and the name of a metric of your own",
        "stopped_step",
        "repeat",
    }
    tables = [pd.read_parquet(RECORD / folder) for folder in ("runs", "curves")]
    tables[0]["session"] = 1  # which came later
    assert described == {name for table in tables for name in table.columns}


@pytest.mark.parametrize("path", READMES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_it_points_to_is_there(path):
    """Pictures and other files; and what is quoted as a path of the repository."""
    targets = re.findall(r"\]\(([^)#:]+)\)", TEXTS[path])
    assert all((path.parent / target).is_file() for target in targets), targets
    quoted = re.findall(r"`((?:sweeps|tests|conf|grok_sweep|analysis|core)/[\w./-]+)`", TEXTS[path])
    assert all((ROOT / one).exists() or (path.parent / one).exists() for one in quoted), quoted
