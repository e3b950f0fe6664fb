"""The command: exit codes, one message, nothing written, help, completion as bash asks for it."""

import os
import re
import shlex
import subprocess

import pytest
from conftest import NUMBERS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_compose import arguments, words

from grok_sweep import __version__, cli
from grok_sweep.core.choices import choices
from grok_sweep.core.settings import OPTIONS
from grok_sweep.session import driver

QUICK = "sweeps=quickstart"
INLINE = [QUICK, "cluster=inline", "train.steps=100", "seeds=1", "grid={}"]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    """Every test runs in a folder of its own, which is not the checkout."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def driven(monkeypatch):
    """What the driver was called with, instead of training."""
    calls = []
    monkeypatch.setattr(driver, "drive", lambda *arguments: calls.append(arguments) or 0)
    monkeypatch.setattr(driver, "dry_run", lambda *arguments: calls.append(arguments) or 0)
    return calls


def refused(capsys, *argv):
    """The one message to `argv`, without its prefix, when it ends with exit code 2 and writes nothing."""
    assert cli.main(list(argv)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("grok-sweep: ")
    assert "Traceback" not in err
    return err.removeprefix("grok-sweep: ").rstrip("\n")


def test_a_good_command_line_is_driven_and_recorded(driven):
    assert cli.main([QUICK, "seeds=2", "out=a b"]) == 0
    ((sweep, config, command, _),) = driven
    assert sweep.n_runs == 2 * sweep.n_cells
    assert config["out"] == "a b"
    assert shlex.split(command) == ["grok-sweep", QUICK, "seeds=2", "out=a b"]


def test_a_span_is_recorded_as_its_values(driven):
    assert cli.main([QUICK, "grid.weight_decay=log(0.1, 10, 3)"]) == 0
    _, config, *_ = driven[0]
    assert config["grid"]["weight_decay"] == [0.1, 1.0, 10.0]


def test_a_dry_run_is_no_run(driven):
    assert cli.main([QUICK, "dry_run=true"]) == 0
    assert len(driven[0]) == 2


def test_problems_of_flags_arguments_and_values_come_at_once(capsys, driven, tmp_path):
    said = refused(capsys, "-m", QUICK, "seeds=0", "nonsense=1", "a b=c", "task=nope")
    head, *lines = said.splitlines()
    assert head == f"{len(lines)} problems:"
    assert [line.partition(": ")[0] for line in lines] == [
        *("  -m", "  a b=c", "  task=nope", "  nonsense=1", "  seeds=0"),
    ]
    assert not driven
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["-m"], "-m: no such flag; keys are given as KEY=VALUE, flags are --help -h, "),
        (["--multirun"], "--multirun: no such flag; "),
        (["--seeds=3"], "--seeds=3: no such flag; keys are given as KEY=VALUE, "),
        (["--cfg"], "-c/--cfg: expected one argument; flags are "),
        (["--cfg", "all of it"], r"-c/--cfg: invalid choice: 'all of it' (choose from "),
        (["--resolve"], "--resolve: no such flag; "),
        (["--help=1"], "-h/--help: ignored explicit argument '1'; flags are "),
        (["--cfg", "job", "nonsense=1"], "nonsense=1: no such key; allowed are "),
        (["-sc"], "Expecting one subcommand from "),
    ],
)
def test_flags_that_cannot_be_used(argv, said, capsys, driven):
    message = refused(capsys, QUICK, *argv)
    assert said in message
    assert "\n" not in message
    assert not driven


def test_help_is_for_newcomers(capsys):
    assert cli.main(["--help"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("grok-sweep sweeps=NAME [KEY=VALUE ...]\n")
    assert all(re.search(rf"^  {key} +\S.*; (an?|0 or|16 or) ", out, re.MULTILINE) for key in NUMBERS)
    assert all(re.search(rf"^  {key} +\S", out, re.MULTILINE) for key in OPTIONS)
    assert "modular_24, modular_architectures, " in " ".join(out.split())
    assert max(map(len, out.splitlines())) <= 120
    assert cli.main(["nonsense", "-h", QUICK]) == 0


def test_version(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"grok-sweep {__version__}\n"


def test_cfg_prints_the_config_and_trains_nothing(capsys, driven, tmp_path):
    assert cli.main([QUICK, "grid.b1=[0.5]", "--cfg", "job"]) == 0
    out, err = capsys.readouterr()
    assert "  b1:\n  - 0.5\n" in out
    assert "out: results/${name}\n" in out
    assert err == ""
    assert cli.main(["-c", "job", QUICK]) == 0
    assert not driven
    assert not list(tmp_path.iterdir())


def test_stopping_by_hand(monkeypatch, capsys):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(driver, "drive", stop)
    assert cli.main([QUICK]) == 130
    assert capsys.readouterr().err == "grok-sweep: stopped; the same command goes on from here\n"


def completions(capsys, monkeypatch, line):
    monkeypatch.setenv("COMP_LINE", line)
    monkeypatch.setenv("COMP_POINT", str(len(line)))
    assert cli.main(["-sc", "query=bash"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out.split()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("grok-sweep sweeps=parity_1", ["sweeps=parity_1125"]),
        ("grok-sweep swe", ["sweeps="]),
        (
            "grok-sweep cluster=",
            [f"cluster={name}" for name in ("auto", "gpu", "inline", "local", "ray", "tpu")],
        ),
        (f"grok-sweep {QUICK} cluster=in", ["cluster=inline"]),
        (f"grok-sweep {QUICK} optimizer.l", ["optimizer.learning_rate="]),
        (f"grok-sweep {QUICK} train.st", ["train.steps="]),
        (f"grok-sweep {QUICK} se", ["seeds="]),
        (f"grok-sweep {QUICK} 'a b=c' se", []),
        ("grok-sweep --nonsense ", []),
        ("grok-sweep sweeps=nonsense tr", []),
    ],
)
def test_completion(line, expected, capsys, monkeypatch):
    assert completions(capsys, monkeypatch, line) == expected


def test_completion_of_the_first_word(capsys, monkeypatch, tmp_path):
    """Groups only: no sweep is chosen, and the folders that lie about are none."""
    for name in ("sweeps", "data"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine.yaml").write_text("[broken\n")
    groups = ["cluster=", "model=", "optimizer=", "sweeps=", "task="]
    assert completions(capsys, monkeypatch, "grok-sweep ") == sorted(["hydra", *groups])
    assert "sweeps=mine" in completions(capsys, monkeypatch, "grok-sweep sweeps=")


def test_completion_in_bash_itself(tmp_path, command):
    """The function that `-sc install=bash` defines, called as bash does at the tab key."""
    program = tmp_path / "bin" / "grok-sweep"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
    program.chmod(0o755)
    script = """
        eval "$(grok-sweep -sc install=bash)"
        COMP_LINE="grok-sweep sweeps=par" COMP_POINT=21
        COMP_WORDS=(grok-sweep sweeps=par) COMP_CWORD=1
        hydra_bash_completion
        printf '%s\\n' "${COMPREPLY[@]}"
        complete -p grok-sweep
    """
    environment = {**os.environ, "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, check=True, env=environment, cwd=tmp_path
    )
    assert done.stderr == ""
    assert done.stdout.splitlines()[0] == "sweeps=parity_1125"
    assert "-F hydra_bash_completion grok-sweep" in done.stdout


# As users meet it: a process of its own, in an empty folder.


def run(command, *argv, cwd):
    return subprocess.run(
        [*command, *argv], capture_output=True, text=True, check=False, cwd=cwd, timeout=200
    )


@pytest.mark.parametrize(
    ("argv", "lines"),
    [
        (["sweeps=nonsense"], [f"sweeps=nonsense: must be one of {', '.join(choices('sweeps'))}"]),
        (
            [QUICK, "nonsense=1", "train.steps=0", "seeds=1,2"],
            [
                "3 problems:",
                "  seeds=1,2: nothing is swept but lists; write seeds=[VALUE,VALUE]",
                "  nonsense=1: no such key; allowed are parts, name, out, dry_run, only, redo, "
                "retry_crashed, accept_code, fail_fast, stop_when_decided, engine, report, grid, zip, "
                "seeds, repeats, refine, train, phases, task, model, optimizer, cluster",
                "  train.steps=0: must be a whole number from 1 to 1000000000",
            ],
        ),
        ([*INLINE, "out=/proc/nowhere/x"], None),
        ([*INLINE, "cluster.device=gpu"], None),
    ],
    ids=["a sweep", "several", "a folder that cannot be written", "an accelerator that is not there"],
)
def test_bad_input_is_one_message_exit_code_2_and_nothing_written(argv, lines, command, tmp_path):
    done = run(command, *argv, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    if lines:
        assert done.stderr.splitlines() == [f"grok-sweep: {lines[0]}", *lines[1:]]
    else:
        key = argv[-1].partition("=")[0]
        (line,) = [line for line in done.stderr.splitlines() if line.startswith("grok-sweep: ")]
        assert line.startswith(f"grok-sweep: {key}=")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_cluster_without_the_accelerator(command, tmp_path):
    done = run(command, QUICK, "cluster=gpu", cwd=tmp_path)
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("grok-sweep: ")]
    assert line.startswith("grok-sweep: cluster.device=gpu: ")
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_flags_that_xla_does_not_know_are_named_before_workers_die_of_them(command, tmp_path, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_nonsense=1 --xla_dump_to=x --xla_more")
    done = run(command, QUICK, "cluster=local", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        "grok-sweep: XLA_FLAGS: XLA does not know --xla_nonsense=1 --xla_more, and would end every worker; "
        "take that out"
    )
    assert not list(tmp_path.iterdir())


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(argv=st.lists(arguments | words | st.sampled_from(["-m", "--", "--cfg", "job", "-x"]), max_size=4))
@pytest.mark.usefixtures("driven")
def test_any_command_line_is_driven_or_refused(argv, capsys, tmp_path):
    code = cli.main([QUICK, *argv])
    out, err = capsys.readouterr()
    assert code in (0, 2)
    if code == 2:
        assert out == ""
        assert re.match(r"grok-sweep: (\d+ problems:(\n  [^\n]+)+|[^\n]+)\n\Z", err)
    assert not list(tmp_path.iterdir())
