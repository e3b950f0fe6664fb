"""One session of a sweep on the driver: what is left of the plan, through an executor, into the store."""

import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis import analyze, classify
from grok_sweep import provenance, store
from grok_sweep.config import ConfigError, Sweep
from grok_sweep.grid import Grid, expand
from grok_sweep.hyperparameters import HYPERPARAMETERS
from grok_sweep.launch import Done, Job, LaunchError, executor
from grok_sweep.plan import Plan, Shard, make_plan, unfinished
from grok_sweep.progress import Progress
from grok_sweep.store import Store, StoreError
from grok_sweep.work import Order, environment


def drive(sweep: Sweep, config: Mapping[str, Any], command: str) -> int:
    """Train what is not finished, then classify and draw. Exit code 0, or 1 if a shard failed.

    Raises ConfigError before anything is written: where the folder is another sweep's, or cannot be
    written, or where there is no such cluster or accelerator.
    """
    results = Store(sweep.out)
    try:
        _check_folder(results, sweep, config)
        whole = _plan(sweep)
        plan = unfinished(whole, results.finished())
    except StoreError as error:
        raise ConfigError([str(error)]) from None
    failed: list[Done] = []
    if plan.n_runs:
        failed = _train(sweep, config, command, whole, plan, results)
    else:
        print(f"all {len(whole.grid):,} runs are finished already", file=sys.stderr)
    if results.finished():
        print(analyze(sweep.out, min_loss=sweep.min_loss, max_ratio=sweep.max_ratio, definition=sweep.definition))
    for done in failed:
        last = done.error.splitlines()[-1]
        print(f"failed: {done.job}: {last}", file=sys.stderr)
    if failed:
        print("the same command tries the failed runs again", file=sys.stderr)
    return 1 if failed else 0


def dry_run(sweep: Sweep) -> int:
    """Print the plan; train nothing, write nothing."""
    from grok_sweep.dry_run import show

    show(sweep, _plan(sweep))
    return 0


def _plan(sweep: Sweep) -> Plan:
    if sweep.cluster.executor == "ray":
        # The driver trains nothing: it must not take an accelerator from its workers.
        os.environ["JAX_PLATFORMS"] = "cpu"
    else:
        os.environ.update(environment(sweep.cluster.device))
    return make_plan(sweep, expand(sweep))


def _check_folder(results: Store, sweep: Sweep, config: Mapping[str, Any]) -> None:
    """Raises ConfigError where `out` cannot become, or is not, the folder of this sweep."""
    if results.exists():
        problems = provenance.differences(results.sweep().get("config", {}), config)
        if problems:
            where = f"out={sweep.out}: holds another sweep; choose another folder, or put back"
            raise ConfigError([f"{where} {problem}" for problem in problems])
    elif sweep.out.exists() and (not sweep.out.is_dir() or any(sweep.out.iterdir())):
        raise ConfigError([f"out={sweep.out}: is there and is not a results folder; choose another"])
    parent = next(path for path in (sweep.out, *sweep.out.absolute().parents) if path.exists())
    if not os.access(parent, os.W_OK | os.X_OK) or not parent.is_dir():
        raise ConfigError([f"out={sweep.out}: {parent} cannot be written; choose another folder"])


def _train(
    sweep: Sweep, config: Mapping[str, Any], command: str, whole: Plan, plan: Plan, results: Store
) -> list[Done]:
    """Train the shards of `plan`; the ones that failed."""
    started = time.monotonic()
    hyperparameters = {key: HYPERPARAMETERS[key].kind for key in sweep.values}
    failed, train_seconds, other_seconds, landed = [], 0.0, 0.0, 0
    devices: set[str] = set()
    display = Progress(
        runs_total=len(whole.grid), work_total=whole.work, axes=sweep.axes, seeds=len(sweep.seeds)
    )
    try:
        print(f"starting workers ({sweep.cluster.executor}, {sweep.cluster.device})", file=sys.stderr)
        with executor(sweep.cluster) as workers, display:
            record = provenance.record(sweep, config, command, workers.workers)
            try:
                results.create(record, store.runs_schema(hyperparameters))
            except OSError as error:
                raise ConfigError([f"out={sweep.out}: cannot be written: {error.strerror}"]) from None
            if plan.n_runs < len(whole.grid):
                display.resumed(_phases(sweep, results.runs()), whole.work - plan.work)
            for done in workers.run(_jobs(sweep, plan), display.workers):
                if done.result is None:
                    failed.append(done)
                    display.note(f"failed: {done.job}: {done.error.splitlines()[-1]}")
                    continue
                results.publish(done.result.runs, done.result.curves)
                runs = done.result.runs.to_pandas()
                display.landed(_phases(sweep, runs), done.job.shard.work)
                train_seconds += done.result.train_seconds
                other_seconds += done.result.other_seconds
                landed += len(runs)
                devices |= set(runs["device"])
            seconds = time.monotonic() - started
            share = train_seconds / (seconds * workers.workers)
            record["sessions"][-1] |= {
                "seconds": round(seconds, 1),
                "runs": landed,
                "failed_shards": len(failed),
                "devices": sorted(devices),
                "training_share_of_worker_time": round(share, 4),
                "compile_and_other_seconds": round(other_seconds, 1),
            }
            results.create(record, store.runs_schema(hyperparameters))
    except LaunchError as error:
        raise ConfigError([str(error)]) from None
    print(
        f"{landed:,} runs in {seconds:,.1f} s on {workers.workers} workers, "
        f"{share:.1%} of worker time in training",
        file=sys.stderr,
    )
    return failed


def _phases(sweep: Sweep, runs: pd.DataFrame) -> pd.DataFrame:
    """The phases of runs while the sweep goes on: the article's rule, which needs no curves."""
    return classify(runs, min_loss=sweep.min_loss, max_ratio=sweep.max_ratio)


def _jobs(sweep: Sweep, plan: Plan) -> Any:
    for shard in plan.shards:
        yield Job(shard, lambda shard=shard: _order(sweep, plan.grid, shard))


def _order(sweep: Sweep, grid: Grid, shard: Shard) -> Order:
    return Order(sweep.name, shard.program, {k: np.ascontiguousarray(v) for k, v in grid.rows(shard.index_R).items()})
