"""On the cores of this machine: training, planning, and sweeps through the command line."""

import operator
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from grok_sweep.bench.device import Config, Figures, parity_1125
from grok_sweep.bench.process import (
    expand_and_plan,
    jax_product,
    json_seconds,
    numpy_product,
    peak_gb,
    processes,
)
from grok_sweep.core.config import parse
from grok_sweep.core.engines import ENGINES
from grok_sweep.core.grid import expand
from grok_sweep.core.plan import Plan, make_plan
from grok_sweep.core.program import Program
from grok_sweep.errors import ConfigError
from grok_sweep.worker import Order, train_shard
from grok_sweep.worker.environment import cores, environment

CORES = cores()
DECAYS = [round(0.001 * (1 + i), 3) for i in range(40)]
# Some machines set a core type with which OpenBLAS is slow: the product to beat is the fastest.
THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
FREE: Mapping[str, str | None] = dict.fromkeys(("OPENBLAS_CORETYPE", *THREADS))
PRODUCTS = (  # what multiplies, in how many processes, with which variables
    (numpy_product, 1, FREE),
    (numpy_product, CORES, {**FREE, **dict.fromkeys(THREADS, "1")}),
    (jax_product, 1, {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": None}),
    (jax_product, CORES, environment("cpu")),
)


def training(config: Config | None = None, seconds: float = 0.5, size: int = 1024) -> Figures:
    """Useful operations per second by each engine, one worker per core, and over the machine's best product.

    Each program of the plan: compiled, then a round of products, then four calls of about `seconds` timed. A
    product's rate is the median of its rounds, the machine's that of the best way to multiply. Programs count
    by their share of the sweep's work.
    """
    sweeps = [parse({**(config or parity_1125()), "engine": engine}) for engine in ENGINES]
    plans = [make_plan(sweep, expand(sweep)) for sweep in sweeps]
    rows: list[dict[str, Any]] = []
    rounds: list[list[float]] = [[] for _ in PRODUCTS]
    with ExitStack() as stack:
        workers = stack.enter_context(processes(CORES, environment("cpu")))
        ways = [stack.enter_context(processes(count, variables)) for _, count, variables in PRODUCTS]
        every = [(program.values["hidden_size"], cut, program) for cut in plans for program in cut.programs]
        for hidden_size, cut, program in sorted(every, key=operator.itemgetter(0)):
            workers(train, _order(cut, program, seconds, calls=1)[0])
            for (product, _, _), way, rates in zip(PRODUCTS, ways, rounds, strict=True):
                rates.append(sum(way(product, size, seconds / 2)))
            order, operations = _order(cut, program, seconds, calls=4)
            rate = sum(operations / trained for trained in workers(train, order))
            work = sum(shard.work for shard in cut.shards if shard.program == program)
            row = {"hidden_size": str(hidden_size), "engine": program.engine}
            rows.append({**row, "work": work, "rate": rate})
    best = max(map(median, rounds)) / 1e9
    table = pd.DataFrame(rows)
    table["seconds"] = table["work"] / table["rate"]
    both = pd.concat([table, table.assign(hidden_size="all, by work")])
    sums = both.groupby(["hidden_size", "engine"], sort=False)[["work", "seconds"]].sum()
    gflops = (sums["work"] / sums["seconds"] / 1e9).unstack()[list(ENGINES)]
    minutes = (sums["seconds"] / 60).unstack()[list(ENGINES)]
    shown = gflops.assign(times_xla=gflops["native"] / gflops["xla"], of_the_product=gflops["native"] / best)
    shown = shown.join(minutes.add_prefix("minutes_")).reset_index()
    return {"cores": CORES, "product_gflops": best, "by_hidden_size": shown}


def modular(*overrides: str, **options: Any) -> Figures:
    """`training` of modular addition's network, its weights collapsed: the article's 24 neurons, and 128."""
    from grok_sweep.compose import compose  # with Hydra, which `sweep` does without

    switches = [f"model.{side}=1" for side in ("collapsed_input", "collapsed_output")]
    grid = ["~grid.float_bits", "grid.hidden_size=[24,128]", "train.snapshot_every=null", "seeds=16"]
    config, problems = compose(["sweeps=modular_24", *switches, *grid, *overrides])
    if problems:
        raise ConfigError(problems)
    return training(config, **options)


def _order(plan: Plan, program: Program, seconds: float, calls: int) -> tuple[Order, int]:
    """Some calls of a program, its steps cut until one takes about `seconds`; and their useful operations."""
    shard = next(shard for shard in plan.shards if shard.program == program)
    estimate = shard.seconds / -(-len(shard.index_R) // program.lanes)
    segments = program.steps // program.log_every
    steps = program.log_every * min(segments, max(1, round(segments * seconds / estimate)))
    index_R = np.resize(shard.index_R, calls * program.lanes)
    operations = steps * sum(program.step_operations(int(rows)) for rows in plan.rows_R[index_R])
    return Order("bench", replace(program, steps=steps), plan.grid.rows(index_R)), operations


def train(order: Order) -> float:
    """The seconds of an order's training, logging as in the sweep, without compilation."""
    return train_shard(order).train_seconds


def plan(runs: int = 1_000_000) -> Figures:
    """Seconds and memory of a fresh process that expands and plans a parity grid of `runs` runs."""
    config = parity_1125()
    config["grid"] = {**config["grid"], "weight_decay": DECAYS}
    config["seeds"] = max(1, runs // (25 * len(DECAYS)))
    started = time.perf_counter()
    with processes(1, {"JAX_PLATFORMS": "cpu"}) as process:
        figures: Figures = process(expand_and_plan, config)[0]
        seconds = time.perf_counter() - started
        plain = process(json_seconds, config)[0] * figures["runs"]
    return {**figures, "seconds_with_imports": seconds, "times_one_json_per_run": seconds / plain}


def short_runs(runs: int = 100_000, *overrides: str) -> Figures:
    """Runs per second where a run is hardly anything, the time until the first, and the driver's memory."""
    decays = DECAYS[:10]
    grid = [f"grid.weight_decay={decays}".replace(" ", ""), "grid.hidden_size=[16]", "grid.train_size=[64]"]
    train = ["task.test_size=64", "train.steps=100", "train.log_every=100"]
    return command("sweeps=quickstart", *grid, f"seeds={max(1, runs // len(decays))}", *train, *overrides)


def waiting(*overrides: str, clusters: Sequence[str] = ("local", "inline"), repeats: int = 3) -> Figures:
    """Of a small sweep, with Ray and without, what one waits for before its first row and after its last.

    Cold: nothing is compiled or built yet. Warm: medians of `repeats` more.
    """
    small, rows = ["sweeps=quickstart", "train.steps=200", "seeds=2", *overrides], []
    for cluster in clusters:
        with tempfile.TemporaryDirectory() as cache:
            goes = [command(*small, f"cluster={cluster}", cache=cache) for _ in range(1 + repeats)]
        for name, some in (("cold", goes[:1]), ("warm", goes[1:])):
            waits = ("seconds_to_first_row", "seconds_to_prompt")
            medians = {key: median(go[key] for go in some) for key in waits}
            rows.append({"cluster": cluster, "cache": name, **medians})
    return {"by_cluster": pd.DataFrame(rows)}


def command(*overrides: str, cache: str | None = None) -> Figures:
    """One sweep through the command line, results in a temporary folder, and a cold cache if none is given.

    `seconds_to_prompt`: from the last file of rows on. `runs_per_second_after_first`: of the runs after the
    first file; 0 where there is one. Raises CalledProcessError where the sweep fails, which has said why.
    """
    with tempfile.TemporaryDirectory() as folder:
        out, peak = Path(folder, "results"), 0.0
        arguments = [sys.executable, "-m", "grok_sweep", *overrides, f"out={out}"]
        started = time.time()  # to be compared with the times of files
        with subprocess.Popen(
            arguments, stdout=subprocess.DEVNULL, env={**os.environ, "XDG_CACHE_HOME": cache or folder}
        ) as driver:
            while driver.poll() is None:
                peak = max(peak, peak_gb(driver.pid))
                time.sleep(0.05)
        if driver.returncode:
            raise subprocess.CalledProcessError(driver.returncode, arguments)
        seconds = time.time() - started
        files = [(f.stat().st_mtime, pq.read_metadata(f).num_rows) for f in Path(out, "runs").iterdir()]
    landed = sorted((at, rows) for at, rows in files if rows)
    runs, (first, first_rows), (last, _) = sum(rows for _, rows in landed), landed[0], landed[-1]
    return {
        "runs": runs,
        "seconds": seconds,
        "seconds_to_first_row": first - started,
        "seconds_to_prompt": started + seconds - last,
        "runs_per_second_after_first": (runs - first_rows) / (last - first) if last > first else 0.0,
        "peak_gb_of_driver": peak,
    }
