"""A contestant as a command in a fresh process: what it takes, and whether it trains what we do."""

import ctypes
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from grok_sweep.bench.peers.work import METRICS, PeersError, Run, Slice, asking
from grok_sweep.store import Store
from grok_sweep.worker.environment import cores

OURS, TUNE = "grok-sweep", "ray-tune"
PEERS: dict[str, tuple[str, ...]] = {  # name -> its module, and what that is told beside slice and file
    "loop": ("loop",),
    TUNE: ("ray_tune",),
    "hydra-joblib": ("hydra_joblib",),
    "vmap": ("vmapped",),
    "vmap-processes": ("vmapped", str(cores())),
    "torch-func": ("torch_func",),
}
LOOK_SECONDS = 0.1  # between two looks at a command's processes
LEFT_SECONDS = 20  # for what a command leaves behind, such as Ray's processes, to end by itself
ADOPT = 36  # prctl's PR_SET_CHILD_SUBREAPER: orphans become children of this process

# Losses are compared over the first steps, as what rounding makes them differ grows: with 258 neurons it was
# 4e-5 of the loss after 100 steps, 1e-3 after 200, 1e-2 after 300, the same by jax as by torch.
SAME_STEPS, SAME_LOSS, SAME_ACCURACY = 100, 1e-3, 0.01  # of the loss itself; of all rows

Measures = dict[str, float]


def command(contestant: str, wanted: Slice, folder: Path) -> list[str]:
    """What is measured; it leaves its results in the folder."""
    if contestant != OURS:
        module, *more = PEERS[contestant]
        told = asking(wanted, folder / "curves.npy")
        return [sys.executable, "-m", f"grok_sweep.bench.peers.{module}", *told, *more]
    config: dict[str, Any] = {f"grid.{name}": values for name, values in wanted.axes.items()}
    config["seeds"] = config.pop("grid.seed")
    config |= {"sweeps": "parity_1125", "out": folder / "results", "task.test_size": wanted.test_size}
    config |= {"train.steps": wanted.steps, "train.log_every": wanted.log_every}
    return [sys.executable, "-m", "grok_sweep", *(f"{key}={value}" for key, value in config.items())]


def environment(home: Path) -> dict[str, str]:
    """A user's with this home, in which is kept what a contestant compiles."""
    caches = {"XDG_CACHE_HOME": "", "JAX_COMPILATION_CACHE_DIR": "jax", "TORCHINDUCTOR_CACHE_DIR": "torch"}
    jax = {"JAX_PLATFORMS": "cpu", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    return {**os.environ, "HOME": str(home), **jax, **{name: str(home / at) for name, at in caches.items()}}


def measure(words: Sequence[str], variables: Mapping[str, str], limit: float, log: Path) -> Measures | None:
    """What a command takes with all processes that it starts; None where that is over `limit` seconds.

    CPU seconds are the system's, of all that was waited for, or the sum of the last looks at each process, if
    that is more: Ray waits for none of its workers. Of memory that processes share each has its part.

    Raises PeersError where the command fails.
    """
    looks: dict[psutil.Process, float] = {}
    before, peak = _waited_for(), 0
    with _family() as family, log.open("wb") as said:
        started = time.perf_counter()
        main = subprocess.Popen(words, env=dict(variables), stdout=said, stderr=subprocess.STDOUT)
        while (seconds := time.perf_counter() - started) < limit and main.returncode is None:
            peak = max(peak, sum(_look(process, looks) for process in family()))
            with suppress(subprocess.TimeoutExpired):
                main.wait(LOOK_SECONDS)
        if main.returncode is None:
            _kill(family())
            main.wait()
            return None
    if main.returncode:
        raise PeersError(f"{words}: {log.read_text(encoding='utf-8', errors='replace')[-5000:]}")
    spent = max(_waited_for() - before, sum(looks.values()))
    return {"seconds": seconds, "cpu_seconds": spent, "peak_gb": peak / 1e9}


def _waited_for() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _look(process: psutil.Process, looks: dict[psutil.Process, float]) -> int:
    """Its memory; its CPU seconds so far go to `looks`."""
    with suppress(psutil.Error):  # it has just ended
        looks[process] = sum(process.cpu_times()[:2])
        return int(process.memory_full_info().pss)
    return 0


def _kill(processes: set[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()


@contextmanager
def _family() -> Iterator[Callable[[], set[psutil.Process]]]:
    """The processes that were started within, orphans too, as a function; at the end they end."""
    me, prctl = psutil.Process(), ctypes.CDLL(None).prctl
    others = {*me.children(recursive=True)}

    def family() -> set[psutil.Process]:
        return {*me.children(recursive=True)} - others

    prctl(ADOPT, 1, 0, 0, 0)
    try:
        yield family
    finally:
        until = time.perf_counter() + LEFT_SECONDS
        while left := family():
            if time.perf_counter() > until:
                _kill(left)
            psutil.wait_procs(left, timeout=1)
        prctl(ADOPT, 0, 0, 0, 0)


def curves(contestant: str, wanted: Slice, folder: Path) -> np.ndarray:
    """What a contestant logged: (runs, logged steps, METRICS)."""
    if contestant != OURS:
        return np.asarray(np.load(folder / "curves.npy"))
    results, keys = Store(folder / "results"), [*Run._fields]
    table = results.curves().merge(results.runs()[["run_id", *keys]]).sort_values([*keys, "step"])
    return table[[*METRICS]].to_numpy().reshape(len(wanted.runs()), -1, len(METRICS))


def apart(trained_RTM: np.ndarray, ours_RTM: np.ndarray, log_every: int) -> float:
    """How far losses are from ours, in parts of ours, over the first steps. Raises PeersError: too far."""
    if trained_RTM.shape != ours_RTM.shape:
        raise PeersError(f"it has curves of shape {trained_RTM.shape}, ours have {ours_RTM.shape}")
    first = slice(SAME_STEPS // log_every + 1)
    difference_RTM = np.abs(trained_RTM - ours_RTM)[:, first]
    loss = float((difference_RTM[..., :2] / ours_RTM[:, first, :2]).max())
    accuracy = difference_RTM[..., 2:].max()
    if not (loss <= SAME_LOSS and accuracy <= SAME_ACCURACY):  # nan too
        raise PeersError(f"it trains something else: losses are {loss:.1e} apart, accuracies {accuracy:.1e}")
    return loss
