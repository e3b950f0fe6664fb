"""On the cores of this machine: training, planning, and sweeps through the command line."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from grok_sweep.bench.device import plain_config
from grok_sweep.bench.process import BenchError, Figures, peak_gb, processes
from grok_sweep.core.choices import configs
from grok_sweep.store import Store
from grok_sweep.worker.environment import cores, environment

CORES = cores()
DECAYS = [round(0.001 * (1 + i), 3) for i in range(40)]


def training(
    config: Mapping[str, Any],
    call_seconds: float = 0.5,
    calls: int = 4,
    size: int = 1024,
    seconds: float = 0.3,
) -> Figures:
    """Useful operations per second, one worker per core as in a sweep, over the machine's best product.

    Each program of the plan: compiled, then a round of products, then `calls` calls of it timed. A product's
    rate is the median of its rounds, the machine's that of the best way to multiply; `best_round` is the
    fastest round there was. Programs count by their share of the sweep's work.
    """
    # Some machines set a core type with which OpenBLAS is slow: the product to beat is the fastest.
    threads = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
    free = dict.fromkeys(("OPENBLAS_CORETYPE", *threads))
    ways: dict[str, tuple[str, int, Mapping[str, str | None]]] = {
        "numpy, all threads": ("numpy_product", 1, free),
        "numpy, a process per core": ("numpy_product", CORES, {**free, **dict.fromkeys(threads, "1")}),
        "xla, all threads": ("jax_product", 1, {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": None}),
        "xla, a process per core": ("jax_product", CORES, environment("cpu")),
    }
    rounds: dict[str, list[float]] = {way: [] for way in ways}
    rates: list[float] = []
    with ExitStack() as stack:
        workers = stack.enter_context(processes(CORES, environment("cpu")))
        multipliers = {way: stack.enter_context(processes(n, env)) for way, (_, n, env) in ways.items()}
        programs: list[Figures] = workers("programs", config)[0]
        for i in range(len(programs)):
            workers("train_program", config, i, call_seconds, 1)
            for way, (product, _, _) in ways.items():
                rounds[way].append(sum(multipliers[way](product, size, seconds)))
            rates.append(sum(workers("train_program", config, i, call_seconds, calls)))
    best = max(statistics.median(rounds[way]) for way in ways)
    best_round = max(max(rounds[way]) for way in ways)

    def row(name: str, chosen: list[int]) -> Figures:
        work = sum(programs[i]["work"] for i in chosen)
        seconds = sum(programs[i]["work"] / rates[i] for i in chosen)
        ratios = {"of_the_product": work / seconds / best, "of_its_best_round": work / seconds / best_round}
        return {
            "hidden_size": name,
            "gflops": work / seconds / 1e9,
            **ratios,
            "minutes_of_sweep": seconds / 60,
        }

    sizes = sorted({program["hidden_size"] for program in programs})
    table = [row(str(h), [i for i, p in enumerate(programs) if p["hidden_size"] == h]) for h in sizes]
    table.append(row("all, by work", list(range(len(programs)))))
    return {
        "cores": CORES,
        "products": [{"product": way, "gflops": statistics.median(r) / 1e9} for way, r in rounds.items()],
        "by_hidden_size": table,
        "ratio": table[-1]["of_the_product"],
        "target_ratio": 0.6,
    }


def plan(runs: int = 1_000_000) -> Figures:
    """Seconds and memory of a fresh process that expands and plans a parity grid of `runs` runs."""
    config = plain_config("parity_1125")
    config["grid"]["weight_decay"] = DECAYS
    config["seeds"] = max(1, runs // (25 * len(DECAYS)))
    started = time.perf_counter()
    with processes(1, {"JAX_PLATFORMS": "cpu"}) as process:
        figures: Figures = process("expand_and_plan", config)[0]
        seconds = time.perf_counter() - started - figures.pop("sample_seconds")
    per_json = {"times_one_json_per_run": seconds / figures["one_json_per_run_seconds"]}
    return {**figures, "seconds_with_imports": seconds, **per_json, "target_seconds": 10, "target_gb": 1.5}


def orchestration(*overrides: str) -> Figures:
    """What Ray and the driver cost in a sweep of about a minute, cold cache.

    Starting Ray and compiling weigh more than in an hour: that share is in the record of parity_1125.
    """
    figures = command("sweeps=quickstart", f"seeds={2 * CORES}", *overrides)
    recorded = Store(configs()[1] / "parity_1125")
    sessions = recorded.sweep()["sessions"] if recorded.exists() else []
    long = [
        {"runs": s["runs"], "seconds": s["seconds"], "training_share": s["training_share_of_worker_time"]}
        for s in sessions
        if "seconds" in s  # it came to its end
    ]
    return {**figures, "target_seconds_to_first_row": 20, "recorded_parity_1125": long}


def short_runs(runs: int = 100_000, *overrides: str) -> Figures:
    """Runs per second where a run is hardly anything, and the driver's memory."""
    decays = DECAYS[:10]
    grid = [f"grid.weight_decay={decays}".replace(" ", ""), "grid.hidden_size=[16]", "grid.train_size=[64]"]
    train = ["task.test_size=64", "train.steps=100", "train.log_every=100"]
    seeds = max(1, runs // len(decays))
    figures = command("sweeps=quickstart", *grid, f"seeds={seeds}", *train, *overrides)
    return {"cores": CORES, **figures, "target_runs_per_second_on_2_cores": 500, "target_driver_gb": 2}


def command(*overrides: str) -> Figures:
    """One sweep through the command line, results in a temporary folder, cold cache.

    `after_first` is the rate of the runs that came after the first file of rows, to the last file.
    """
    with tempfile.TemporaryDirectory() as folder:
        out, log, peak = Path(folder, "results"), Path(folder, "log"), 0.0
        arguments = [sys.executable, "-m", "grok_sweep", *overrides, f"out={out}"]
        started = time.time()  # to be compared with the times of files
        with (
            log.open("wb") as said,
            subprocess.Popen(
                arguments, stdout=said, stderr=said, env={**os.environ, "XDG_CACHE_HOME": folder}
            ) as driver,
        ):
            while driver.poll() is None:
                peak = max(peak, peak_gb(driver.pid))
                time.sleep(0.05)
        seconds = time.time() - started
        if driver.returncode:
            last = ["", *log.read_text(encoding="utf-8", errors="replace").strip().splitlines()][-1]
            raise BenchError(f"grok-sweep {' '.join(overrides)}: exit code {driver.returncode}: {last}")
        files = [
            (path.stat().st_mtime, pq.read_metadata(path).num_rows) for path in Path(out, "runs").iterdir()
        ]
        session = Store(out).sweep()["sessions"][-1]
    landed = sorted((at, rows) for at, rows in files if rows)
    runs, (first, first_rows), (last_at, _) = sum(rows for _, rows in landed), landed[0], landed[-1]
    return {
        "runs": runs,
        "shards": len(landed),
        "seconds": seconds,
        "seconds_to_first_row": first - started,
        "training_share": session["training_share_of_worker_time"],
        "compile_and_other_seconds_of_workers": session["compile_and_other_seconds"],
        "runs_per_second": runs / seconds,
        "runs_per_second_after_first": (runs - first_rows) / (last_at - first) if len(landed) > 1 else None,
        "peak_gb_of_driver": peak,
    }
