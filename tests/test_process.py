"""What a shell or Jupyter leaves a command with: it works all the same, and writes the same."""

import os
import shlex
import subprocess
import sys

import pytest
from conftest import TINY

import analysis

SMALL = [*TINY, "grid.hidden_size=[4]", "grid.train_size=[20]", "seeds=1"]
# A notebook, or a server, that sweeps in a thread: first here, then by Ray.
THREAD = """
import sys, threading
from grok_sweep.cli import main
codes = []
def run():
    for cluster in ("inline", "local"):
        codes.append(main([*sys.argv[1:], f"cluster={cluster}", f"out={cluster}"]))
thread = threading.Thread(target=run)
thread.start()
thread.join()
sys.exit(codes != [0, 0])
"""
BACKEND = "module://matplotlib_inline.backend_inline"  # as Jupyter sets it, where that is not installed


@pytest.fixture
def shell(tmp_path):
    """Runs a line of bash in which {sweep} and {analyze} are our commands; what it printed."""
    commands = {"sweep": ["grok_sweep", *SMALL], "analyze": ["analysis", "out é"]}
    words = {name: shlex.join([sys.executable, "-m", *command]) for name, command in commands.items()}

    def run(line, **variables):
        done = subprocess.run(
            ["bash", "-c", line.format(**words)],
            cwd=tmp_path,
            env=os.environ | variables,
            capture_output=True,
            check=False,
            timeout=500,
        )
        assert not done.stderr, done.stderr
        return done.stdout.decode()

    return run


def check_whole(folder):
    """Both runs are there and drawn, and nothing was printed into a file."""
    assert len(analysis.load_runs(folder)) == 2
    assert len(analysis.load_curves(folder)) == 10
    assert (folder / "phase_diagram.svg").read_text().startswith("<?xml")
    assert (folder / "phase_diagram.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_a_reader_that_goes_a_backend_that_is_not_there_and_letters_that_ascii_lacks(shell, tmp_path):
    odd = {"MPLBACKEND": BACKEND, "PYTHONIOENCODING": "ascii"}
    line = "{sweep} 'out=\"out é\"' 2>&1 | head -1; echo ${{PIPESTATUS[0]}}"
    first, code = shell(line, **odd).splitlines()
    assert (first.partition(":")[0], code) == ("training 2 runs", "0")
    check_whole(tmp_path / "out é")
    said = shell("{analyze} --figures", **odd)
    assert r"tables: out \xe9/phases.parquet" in said
    assert shell("{analyze} | head -c 2; echo ${{PIPESTATUS[0]}}") == "2 0\n"
    assert shell("{sweep} --help | head -1; echo ${{PIPESTATUS[0]}}").splitlines()[1] == "0"


@pytest.mark.slow
def test_closed_streams(shell, tmp_path):
    assert shell("{sweep} out=out <&- >&- 2>&-; echo $?") == "0\n"
    check_whole(tmp_path / "out")


def test_a_process_that_may_not_have_what_jax_takes_says_so(shell, tmp_path):
    said = shell("ulimit -v 2000000; {sweep} out=out 2>&1; echo $?")
    why = "2.0 GB of addresses are allowed, jax and Ray take 3.0 GB; allow that or more"
    assert said == f"grok-sweep: ulimit -v: {why}\n2\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_sweep_in_a_thread_here_and_then_by_ray(tmp_path):
    command = [sys.executable, "-W", "error", "-c", THREAD, *SMALL]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=500)
    assert done.returncode == 0, done.stderr
    for folder in ("inline", "local"):
        check_whole(tmp_path / folder)
