"""The README's way to a cluster, command by command, on loopback addresses of this machine."""

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import jsonschema
import pandas as pd
import psutil
import pytest
import ray
import yaml

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.timeout(900)
TEXT = (ROOT / "conf" / "README.md").read_text(encoding="utf-8").partition("## On a cluster")[2]
BIN = Path(sys.executable).parent
SMALL = (
    "name=small train.steps=100 task.test_size=50 seeds=2 "
    "grid.weight_decay=[0.1,1] grid.hidden_size=[4] grid.train_size=[30]"
)


def commands():
    """Every command of the section, as one reads it from top to bottom."""
    blocks = re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if not line.startswith("#")]


def words(line):
    return [word for word in shlex.split(line) if not re.fullmatch(r"[A-Z_]+=.*", word)]


@pytest.fixture
def home():
    """An empty home, and whatever of Ray was started with it is ended."""
    # Ray's sockets lie in there, and their paths may have 107 characters only.
    folder = Path(tempfile.mkdtemp(prefix="home", dir="/tmp"))
    yield folder
    mine = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("HOME") == str(folder):
                mine.append(process)
    for process in mine:
        with contextlib.suppress(psutil.Error):
            process.send_signal(signal.SIGKILL)
    psutil.wait_procs(mine, timeout=30)
    shutil.rmtree(folder, ignore_errors=True)


def free_ports(number):
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(socket.create_server(("", 0))) for _ in range(number)]
        return [server.getsockname()[1] for server in servers]


def test_the_section_has_the_commands_that_are_run_below():
    assert [words(line)[:2] for line in commands()] == [
        ["ray", "get-auth-token"],
        ["ray", "start"],
        ["ray", "start"],
        ["grok-sweep", "sweeps=parity_1125"],
        ["ray", "job"],
    ]


@pytest.mark.slow
def test_a_cluster_in_three_steps_and_a_job(home):
    # The head has another address, ports and folder, and each of two nodes on one machine its own address.
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("RAY_")},
        "HOME": str(home),
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    }
    port, dashboard, client = free_ports(3)
    small_node = "--num-cpus=1 --object-store-memory=100000000 --dashboard-agent-listen-port=0"
    head = f"--dashboard-port={dashboard} --ray-client-server-port={client} --temp-dir={home}/ray"
    more = {
        "ray start --head": f"{small_node} {head}",
        "ray start --address": f"{small_node} --node-ip-address=127.99.0.3",
        "grok-sweep": f"{SMALL} out=steps",
    }

    def run(line):
        line = line.replace("HEAD", "127.99.0.2").replace("6379", str(port)).replace(":8265", f":{dashboard}")
        line = line.replace("parity_1125", "quickstart").replace("/data/", f"{home}/")
        extra = next((flags for key, flags in more.items() if f"{key} " in line.replace("=", " ")), "")
        if "job submit" in line:
            line, extra = line.replace("http://127.99.0.2", "http://127.0.0.1"), SMALL
        done = subprocess.run(
            ["bash", "-c", f"{line} {extra}"],
            cwd=home,
            env=environment,
            capture_output=True,
            text=True,
            timeout=250,
            check=False,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        return done

    *steps, job = commands()
    for line in steps:
        told = run(line)
    assert (home / ".ray" / "auth_token").stat().st_size
    assert "4/4 runs" in told.stderr
    (session,) = yaml.safe_load((home / "steps" / "sweep.yaml").read_text())["sessions"]
    assert session["workers"] == 2
    assert len(pd.read_parquet(home / "steps" / "runs")) == 4
    run(job)
    assert len(pd.read_parquet(home / "quickstart" / "runs")) == 4
    # Without the token nobody gets in, neither to Ray nor to its jobs.
    for stranger in (
        [sys.executable, "-c", f"import ray; ray.init('127.99.0.2:{port}', logging_level='ERROR')"],
        ["ray", "job", "list", f"--address=http://127.0.0.1:{dashboard}"],
    ):
        elsewhere = environment | {"HOME": str(home / "steps"), "RAY_AUTH_MODE": "disabled"}
        refused = subprocess.run(
            stranger, env=elsewhere, capture_output=True, text=True, timeout=100, check=False
        )
        assert refused.returncode != 0
        assert "auth" in (refused.stdout + refused.stderr).lower()


def test_the_cluster_file_is_one_that_ray_understands():
    (text,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    cluster = yaml.safe_load(text)
    schema = json.loads((Path(ray.__file__).parent / "autoscaler" / "ray-schema.json").read_text())
    jsonschema.validate(cluster, schema)
    assert cluster["head_node_type"] in cluster["available_node_types"]
    assert "RAY_AUTH_MODE=token" in cluster["head_start_ray_commands"][-1]
    for source in cluster["file_mounts"].values():
        assert source in ("~/.ray/auth_token", "dist", "requirements.lock")
