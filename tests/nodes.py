"""Real Ray nodes on loopback addresses of this machine, and how to kill them."""

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil

RAY = Path(sys.executable).with_name("ray")
# Each process of the suite has loopback addresses of its own: 127.0.x.x, 127.1.x.x, ...
NETWORK = f"127.{os.environ.get('PYTEST_XDIST_WORKER', 'gw0').removeprefix('gw')}"
HEAD = f"{NETWORK}.0.2"


class Nodes:
    """A Ray cluster: a head on HEAD, and nodes of any number of cores that join and leave.

    Its token is its own. `environment` is that of the nodes, and what a driver needs to join at `address`.
    """

    def __init__(self, head_cores: int = 0, **environment: str) -> None:
        # Ray's sockets lie in there, and their paths may have 107 characters only.
        self.folder = Path(tempfile.mkdtemp(prefix="nodes", dir="/tmp"))
        self.environment = {
            **os.environ,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(16),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
            "RAY_worker_niceness": "0",  # else they starve beside other work
            **environment,
        }
        self._joined = 2
        self.address = ""
        head = ["--head", "--port=0", f"--temp-dir={self.folder}", "--include-dashboard=false"]
        self._start(HEAD, head_cores, *head)
        # Not the environment's: a test may run within another Ray.
        self.address = (self.folder / "ray_current_cluster").read_text(encoding="utf-8").strip()

    def __enter__(self) -> "Nodes":
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(self._processes(), timeout=30)
        shutil.rmtree(self.folder, ignore_errors=True)

    def join(self, cores: int = 1, **environment: str) -> str:
        """Start one more node; its address."""
        self._joined += 1
        host = f"{NETWORK}.{self._joined // 256}.{self._joined % 256}"
        self._start(host, cores, f"--address={self.address}", **environment)
        return host

    def _start(self, host: str, cores: int, *arguments: str, **environment: str) -> None:
        size = ["--object-store-memory=100000000", f"--num-cpus={cores}", f"--node-ip-address={host}"]
        # It would read all nodes' logs, and outlive its own.
        size.append("--include-log-monitor=false")
        done = subprocess.run(
            [RAY, "start", *arguments, *size],
            env=self.environment | environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def _processes(self) -> list[psutil.Process]:
        """All that belongs to this cluster: it names the folder, or is a child of what does."""
        named, parents = set(), {}
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                parents[process] = process.ppid()
                if any(str(self.folder) in word for word in process.cmdline()):
                    named.add(process.pid)
        return [process for process, parent in parents.items() if process.pid in named or parent in named]

    def workers(self) -> list[psutil.Process]:
        """The processes in which a sweep's workers run."""
        found = []
        for process in self._processes():
            with contextlib.suppress(psutil.Error):
                if " ".join(process.cmdline()).startswith("ray::_Actor"):
                    found.append(process)
        return found

    def raylets(self) -> dict[str, psutil.Process]:
        """Address -> the process that is the node; without it Ray ends the node's workers."""
        found = {}
        for process in self._processes():
            with contextlib.suppress(psutil.Error):
                words = process.cmdline()
                if words and words[0].endswith("/raylet"):
                    (host,) = (w.partition("=")[2] for w in words if w.startswith("--node_ip_address="))
                    found[host] = process
        return found

    def kill(self, host: str) -> None:
        """`kill -9` of a node."""
        self.raylets()[host].send_signal(signal.SIGKILL)
