"""One session of a sweep on the driver: what is left of the plan, through an executor, into the store."""

import functools
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from analysis import analyze, classify
from grok_sweep import provenance
from grok_sweep.config import ConfigError, Sweep
from grok_sweep.dry_run import show
from grok_sweep.grid import Grid, expand
from grok_sweep.hyperparameters import HYPERPARAMETERS
from grok_sweep.launch import Done, Executor, Job, LaunchError, executor
from grok_sweep.plan import Plan, Shard, make_plan, unfinished
from grok_sweep.progress import Progress
from grok_sweep.store import OWN, Store, StoreError, runs_schema
from grok_sweep.work import Order


def drive(sweep: Sweep, config: Mapping[str, Any], command: str) -> int:
    """Train what is not finished, then classify and draw. Exit code 0, or 1 if a shard failed.

    `config` is what the sweep was parsed from and `command` how it was asked for: both are recorded. Raises
    ConfigError before anything is written, where the folder is another sweep's or cannot be written, or
    where there is no such cluster or accelerator.
    """
    results = Store(sweep.out)
    whole, plan = _prepare(results, sweep, config)
    failed: list[Done] = []
    if plan.shards:
        failed = _session(sweep, config, command, results)
    else:
        _say(f"all {len(whole.grid):,} runs are finished already")
    if results.finished():
        print(
            analyze(
                sweep.out, min_loss=sweep.min_loss, max_ratio=sweep.max_ratio, definition=sweep.definition
            )
        )
    for done in failed:
        _say(f"failed: {done.job}: {done.error.splitlines()[-1]}")
    if failed:
        _say("the same command tries the failed runs again")
    return 1 if failed else 0


def _session(sweep: Sweep, config: Mapping[str, Any], command: str, results: Store) -> list[Done]:
    """Train what is left with the folder locked, and record it; the shards that failed."""
    if sweep.cluster.executor == "ray":
        _say("starting Ray" if sweep.cluster.address is None else f"joining {sweep.cluster.address}")
    started = time.monotonic()
    try:
        with executor(sweep.cluster) as workers:
            _writing(sweep, results.make_folders)
            with results.locked():
                # Once more: another session may have ended since.
                whole, plan = _prepare(results, sweep, config)
                record = provenance.record(sweep, config, command, workers.workers)
                _record(results, sweep, record)
                session, failed = _train(sweep, whole, plan, results, workers)
                seconds = time.monotonic() - started
                share = session.pop("train_seconds") / (seconds * workers.workers)
                ended = {"training_share_of_worker_time": round(share, 4)}
                record["sessions"][-1] |= {"seconds": round(seconds, 1), **session, **ended}
                _record(results, sweep, record)
    except (LaunchError, StoreError) as error:
        raise ConfigError([str(error)]) from None
    _say(f"{session['runs']:,} runs in {seconds:,.1f} s, {share:.1%} of worker time in training")
    return failed


def dry_run(sweep: Sweep, config: Mapping[str, Any]) -> int:
    """Print what is left of the plan; train nothing, write nothing. Raises ConfigError as `drive` does."""
    whole, plan = _prepare(Store(sweep.out), sweep, config)
    show(sweep, plan, finished=len(whole.grid) - plan.n_runs)
    return 0


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def _prepare(results: Store, sweep: Sweep, config: Mapping[str, Any]) -> tuple[Plan, Plan]:
    """The whole plan and what is left of it. Raises ConfigError where the folder cannot be used."""
    try:
        _check_folder(results, sweep, config)
        finished = results.finished()
    except StoreError as error:
        raise ConfigError([str(error)]) from None
    whole = make_plan(sweep, expand(sweep))
    return whole, unfinished(whole, finished)


def _check_folder(results: Store, sweep: Sweep, config: Mapping[str, Any]) -> None:
    """Raises ConfigError where `out` cannot become, or is not, the folder of this sweep."""
    out = sweep.out
    try:
        if results.exists():
            problems = provenance.differences(results.sweep().get("config", {}), config)
            if problems:
                where = f"out={out}: holds another sweep; choose another folder, or put back"
                raise ConfigError([f"{where} {problem}" for problem in problems])
        elif out.exists() and (not out.is_dir() or any(p.name not in OWN for p in out.iterdir())):
            raise ConfigError([f"out={out}: is there and is not a results folder; choose another"])
        parent = next(path for path in (out, *out.absolute().parents) if path.exists())
    except OSError as error:
        raise ConfigError([f"out={out}: cannot be used: {error.strerror}; choose another folder"]) from None
    if not os.access(parent, os.W_OK | os.X_OK) or not parent.is_dir():
        raise ConfigError([f"out={out}: {parent} cannot be written; choose another folder"])


def _record(results: Store, sweep: Sweep, record: Mapping[str, Any]) -> None:
    """Write what the folder says of its sweep. Raises ConfigError where it cannot be written."""
    schema = runs_schema({key: HYPERPARAMETERS[key].kind for key in sweep.values})
    _writing(sweep, lambda: results.create(record, schema))


def _writing(sweep: Sweep, write: Callable[[], None]) -> None:
    try:
        write()
    except OSError as error:
        reason = f"cannot be written: {error.strerror}; choose another folder"
        raise ConfigError([f"out={sweep.out}: {reason}"]) from None


def _train(
    sweep: Sweep, whole: Plan, plan: Plan, results: Store, workers: Executor
) -> tuple[dict[str, Any], list[Done]]:
    """Publish the shards of `plan` as they come; (what the session is remembered by, those that failed)."""
    failed: list[Done] = []
    runs, train_seconds, other_seconds = 0, 0.0, 0.0
    devices: set[str] = set()
    display = Progress(
        runs_total=len(whole.grid),
        work_total=whole.work,
        axes=sweep.axes,
        seeds=len(sweep.seeds),
        work_per_second=plan.work / plan.seconds(workers.workers),
    )
    with display:
        if plan.n_runs < len(whole.grid):
            before = results.runs()
            here = before[before["run_id"].isin(whole.grid.columns["run_id"])]  # the grid may have shrunk
            display.resumed(_phases(sweep, here, results.curves), whole.work - plan.work)
        for done in workers.run(jobs(sweep, plan), display.workers):
            if done.result is None:
                failed.append(done)
                display.note(f"failed: {done.job}: {done.error.splitlines()[-1]}")
                continue
            results.publish(done.result.runs, done.result.curves)
            landed = done.result.runs.to_pandas()
            display.landed(_phases(sweep, landed, done.result.curves.to_pandas), done.job.shard.work)
            runs += len(landed)
            train_seconds += done.result.train_seconds
            other_seconds += done.result.other_seconds
            devices |= set(landed["device"])
    session = {
        "runs": runs,
        "failed_shards": len(failed),
        "devices": sorted(devices),
        "train_seconds": train_seconds,
        "compile_and_other_seconds": round(other_seconds, 1),
    }
    return session, failed


def _phases(sweep: Sweep, runs: pd.DataFrame, curves: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    """The phases of runs while the sweep goes on; `curves` is asked for where the definition needs them."""
    if sweep.definition == "liu":
        return classify(runs, definition="liu", curves=curves())
    return classify(runs, min_loss=sweep.min_loss, max_ratio=sweep.max_ratio)


def jobs(sweep: Sweep, plan: Plan) -> Iterator[Job]:
    """What the executor gets: the shards in order, each made into a worker's order when its turn comes."""
    for shard in plan.shards:
        yield Job(shard, functools.partial(_order, sweep.name, plan.grid, shard))


def _order(name: str, grid: Grid, shard: Shard) -> Order:
    rows = {key: np.ascontiguousarray(column) for key, column in grid.rows(shard.index_R).items()}
    return Order(name, shard.program, rows)
