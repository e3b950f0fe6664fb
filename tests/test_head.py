"""The Ray of a session: it is there, and nothing of it is left, however the session ends."""

import contextlib
import os
import secrets
import signal
import subprocess
import sys

import psutil
import pytest
from conftest import TINY

from grok_sweep.executors.head import Head
from grok_sweep.worker.environment import environment

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
PATIENCE = 120  # seconds for what takes less than one on a quiet machine

# A session that has Ray for as long as it is let: argv may say that it is not to wait for the start.
SESSION = """
import sys
from grok_sweep.executors.head import Head
head = Head(1, {"JAX_PLATFORMS": "cpu"})
print(head.address(lambda: False) if sys.argv[1] == "started" else "begun", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def token(monkeypatch):
    """In the environment of all that a test starts."""
    made = secrets.token_hex(16)
    monkeypatch.setenv("RAY_AUTH_TOKEN", made)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    return made


def of(token):
    """The living processes that a test started, this one apart."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            is_there = process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE
            if is_there and process.environ().get("RAY_AUTH_TOKEN") == token:
                found.append(process)
    return found


def check_gone(token):
    psutil.wait_procs(of(token), timeout=PATIENCE)
    assert not of(token)


def test_it_is_there_until_its_end(token):
    with Head(1, environment("cpu")) as head:
        assert head.address(lambda: False)
        names = {process.name() for process in of(token)}
        assert {"gcs_server", "raylet"} <= names
    head.end()  # once more is nothing
    check_gone(token)


def test_who_does_not_wait_for_it_is_told_nothing(token):
    with Head(1, environment("cpu")) as head:
        assert head.address(lambda: True) is None
    check_gone(token)


def test_one_that_cannot_start_says_why(token, tmp_path):
    (tmp_path / "file").touch()
    with Head(1, {"RAY_TMPDIR": str(tmp_path / "file")}) as head, pytest.raises(OSError, match="rror: "):
        head.address(lambda: False)
    check_gone(token)


def test_a_full_disk_is_named_at_once(token, disk):
    (disk / "filler").write_bytes(bytes(10 << 20))
    with (
        Head(1, {"RAY_TMPDIR": str(disk)}) as head,
        pytest.raises(OSError, match="disk: 10 MB are free there, and Ray needs 20"),
    ):
        head.address(lambda: False)
    check_gone(token)


@pytest.mark.parametrize("when", ["begun", "started"])
def test_the_death_of_the_session_is_its_end(token, when):
    with subprocess.Popen(
        [sys.executable, "-c", SESSION, when], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as session:
        said = session.stdout.readline()
        assert said.startswith("127.0.0.1:" if when == "started" else "begun")
        assert len(of(token)) > 1
        session.send_signal(signal.SIGKILL)
    check_gone(token)


@pytest.mark.parametrize(
    ("overrides", "code", "said"),
    [
        ([], 0, "16/16 runs"),
        (["seeds=0"], 2, "grok-sweep: seeds=0: must be"),
        (["cluster.workers=1", "cluster.device=tpu"], 2, "grok-sweep: cluster.device=tpu: Ray finds no TPU"),
    ],
    ids=["a sweep", "a bad config", "a cluster without the device"],
)
def test_a_session_leaves_no_process_behind(token, command, tmp_path, overrides, code, said):
    arguments = [*command, *TINY, "cluster=local", *overrides]
    done = subprocess.run(arguments, capture_output=True, text=True, cwd=tmp_path, timeout=500, check=False)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    check_gone(token)
    assert (tmp_path / "results" / "tiny").exists() == (code == 0)


def test_who_imported_ray_before_is_refused(tmp_path):
    """Ray was told then, and for good, how to dial: a session would wait for it for minutes."""
    code = "import sys, ray, grok_sweep.cli; sys.exit(grok_sweep.cli.main(sys.argv[1:]))"
    arguments = [sys.executable, "-c", code, *TINY]
    done = subprocess.run(
        [*arguments, "cluster=local"], capture_output=True, text=True, cwd=tmp_path, timeout=500, check=False
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("grok-sweep: cluster.executor=ray: this process has imported ray, ")
    assert not list(tmp_path.iterdir())
    done = subprocess.run(
        [*arguments, "cluster=inline"], capture_output=True, text=True, cwd=tmp_path, timeout=500, check=False
    )
    assert done.returncode == 0, done.stderr


def test_it_is_begun_before_what_takes_long_is_loaded():
    code = "import sys, grok_sweep.cli, grok_sweep.executors; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"jax", "pandas", "pyarrow", "matplotlib", "ray", "hydra"} & set(done.stdout.split())
