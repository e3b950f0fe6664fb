"""The Ray that a session starts for itself, held by a process of its own.

So it starts while the session still reads its config and makes its plan, nothing is forked where jax is
loaded, and nobody waits for its end: the process ends all of Ray, and itself, as soon as its stdin does. That
is when the session says so or has ended, however it did. Run as a file, it imports nothing of this package.
"""

import contextlib
import json
import os
import secrets
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

OBJECT_STORE_BYTES = 200 * 2**20  # results are a few MB and leave it at once
PRELOADED = "grok_sweep.core.compiled"  # with jax, and all that trains
DISK_BYTES = 20_000_000  # for Ray's logs; with less, Ray waits half a minute and does not say why
POLL_SECONDS = 0.1


class Head:
    """A Ray of `cpus` cores, being started; a context manager, which ends it.

    `variables`: the environment of its workers. With `preload` there is one per core at once, loading jax.
    """

    def __init__(self, cpus: int, variables: Mapping[str, str], preload: bool = True) -> None:
        self.cpus, self.preload = cpus, preload
        # Ray would make a token, and a file of it that everyone on the machine can read.
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(16))
        # Told that there are no clusters, it is bound to loopback.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
        # Workers would have what others leave: beside a busy process on each core, 4 % of it.
        os.environ.setdefault("RAY_worker_niceness", "0")
        package = str(Path(__file__).parent.parent.parent)
        path = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
        self._process = subprocess.Popen(
            # -P: the modules beside this one have names that others may have too.
            [sys.executable, "-P", __file__, json.dumps({"cpus": cpus, "preload": preload})],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **variables, "PYTHONPATH": path},
            start_new_session=True,  # Ctrl-C is for the session alone
        )
        self._told = b""

    def __enter__(self) -> "Head":
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def address(self, ended: Callable[[], bool]) -> str | None:
        """Where it is, once it is there; None where `ended()` came before. Raises OSError where it failed."""
        out = self._process.stdout
        while out is not None and not self._told.endswith(b"\n"):
            if ended():
                return None
            if select.select([out], [], [], POLL_SECONDS)[0]:
                if not (read := os.read(out.fileno(), 4096)):
                    raise OSError("it ended while it was starting")
                self._told += read
        told = json.loads(self._told)
        if "error" in told:
            raise OSError(told["error"])
        return str(told["address"])

    def end(self) -> None:
        """Have it end, and do not wait for it."""
        if self._process.stdin is None or self._process.stdin.closed or self._process.stdout is None:
            return
        self._process.stdin.close()
        self._process.stdout.close()
        threading.Thread(target=self._process.wait, daemon=True).start()  # no zombie where this goes on


def _hold(cpus: int, preload: bool) -> None:
    """Start Ray, tell where it is, and wait."""
    threading.Thread(target=_watch, daemon=True).start()
    try:
        told = {"address": _start(cpus, preload)}
    except Exception as error:  # whatever it was: who waits for the address is told
        told = {"error": " ".join(f"{type(error).__name__}: {error}".split())}
    with contextlib.suppress(OSError):  # nobody waits any more
        print(json.dumps(told), flush=True)
    threading.Event().wait()


def _start(cpus: int, preload: bool) -> str:
    """What ray.init starts, but for what nobody looks at: dashboard, autoscaler, and who reads all logs."""
    from ray._common.utils import get_default_system_temp_dir
    from ray._private.node import Node
    from ray._private.parameter import RayParams

    class Plain(Node):
        def start_api_server(self, **_: Any) -> None:
            """The dashboard, for which a start waits; without one it is still there to say so."""

    config = (
        {"enable_worker_prestart": True, "preload_python_modules": [PRELOADED, "grok_sweep.executors.crew"]}
        if preload
        else {}
    )
    folder = get_default_system_temp_dir()
    if (free := _free(folder)) < DISK_BYTES:
        room = f"{free / 1e6:.0f} MB are free there, and Ray needs {DISK_BYTES / 1e6:.0f} MB"
        raise OSError(f"{folder}: {room}; RAY_TMPDIR=DIR names another folder")
    params = RayParams(
        num_cpus=cpus,
        object_store_memory=OBJECT_STORE_BYTES,
        include_dashboard=False,
        include_log_monitor=False,
        no_monitor=True,
        _system_config=config or {"prestart_worker_first_driver": False},
    )
    # Its processes end with this one, whatever ends it.
    node = Plain(params, head=True, shutdown_at_exit=False, spawn_reaper=True, ray_init_cluster=True)
    return str(node.gcs_address)


def _free(folder: str) -> float:
    """Bytes; infinite where nobody can tell: Ray says itself what is wrong with it."""
    try:
        disk = shutil.disk_usage(folder)
    except OSError:
        return float("inf")
    return disk.free if disk.total else float("inf")


def _watch() -> NoReturn:
    """End everything once stdin does."""
    while os.read(0, 4096):
        pass
    while others := _others():
        for process in others:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        time.sleep(0.01)
    os._exit(0)


def _others() -> list[int]:
    """The living processes of this one's session, which is Ray's alone; none where there is no /proc."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            # process (name) state parent group session
            state, _, _, session = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
            if int(session) == os.getpid() != int(folder.name) and state != "Z":
                found.append(int(folder.name))
    return found


if __name__ == "__main__":
    _hold(**json.loads(sys.argv[1]))
