"""One session of a sweep on the driver: what is left of the plan, through an executor, into the store."""

import functools
import sys
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from analysis import analyze
from grok_sweep import dry_run as plan_table
from grok_sweep import failures, needs, provenance, sorting
from grok_sweep.config import ConfigError, Sweep
from grok_sweep.core import registry
from grok_sweep.core.parts import PartError
from grok_sweep.core.source import blaming
from grok_sweep.diagram import one_line
from grok_sweep.grid import Grid, expand
from grok_sweep.launch import Done, Executor, Job, LaunchError, Queue, executor
from grok_sweep.live import LiveReport
from grok_sweep.plan import Plan, Shard, halve, make_plan, unfinished
from grok_sweep.progress import Progress
from grok_sweep.stop import Stop
from grok_sweep.store import REPORT, Inspection, Store, StoreError, curves_schema, runs_schema
from grok_sweep.work import Order


@dataclass(frozen=True)
class _Left:
    """The whole plan but for the `failed` runs, what is left of it, and what was found in the folder."""

    whole: Plan
    plan: Plan
    found: Inspection
    failed: int


def drive(sweep: Sweep, config: Mapping[str, Any], command: str) -> int:
    """Train what is not finished, then classify and draw. Exit code 0, or 1 if runs failed.

    `config` is what the sweep was parsed from and `command` how it was asked for: both are recorded. Raises
    ConfigError before anything is written, where the folder is another sweep's, another session's or cannot
    be written, or where there is no such cluster or accelerator; Stopped where a signal asked for the end.
    """
    results = Store(sweep.out)
    with Stop() as stop:
        grid = _session(sweep, config, command, results, stop)
        stop.check()
        finished, unsorted = results.finished(), False
        if finished:
            unsorted = _analyze(sweep)
        stop.check()
    failed = _failed(results, grid, finished)
    if len(failed):
        failed["log"] = failed["log"].map(results.place)
        failures.show(results.place("failed"), failed)
    return 1 if len(failed) or unsorted else 0


def _analyze(sweep: Sweep) -> bool:
    """Sort the finished runs, draw, and say so; whether a definition of the user's own failed at it."""
    try:
        with blaming(sweep.source):
            print(analyze(sweep.out, report=sweep.report == "live", **sorting.how(sweep)))
    except PartError as error:
        _say(sorting.advice(sweep, error))
        return True
    return False


def dry_run(sweep: Sweep, config: Mapping[str, Any]) -> int:
    """Print what is left of the plan; train nothing, write nothing. Raises ConfigError as `drive` does."""
    results = Store(sweep.out)
    _check_folder(results, sweep, config)
    left = _look(results, sweep)
    for line in left.found.lines():
        _say(f"the sweep would find {line}")
    if left.failed:
        _say(f"{left.failed:,} of its runs failed before; retry_failed=true trains them again")
    finished = left.whole.n_runs - left.plan.n_runs
    plan_table.show(sweep, left.plan, finished=finished, free_disk=results.free_bytes())
    return 0


def _session(sweep: Sweep, config: Mapping[str, Any], command: str, results: Store, stop: Stop) -> Grid:
    """Train what is left with the folder locked, and record it; the whole grid."""
    _check_folder(results, sweep, config)
    with ExitStack() as stack:
        is_new = not results.exists()
        if not is_new:
            _lock(stack, results, command)
        left = _look(results, sweep)
        if not left.plan.shards:
            return _nothing_left(results, left)
        if sweep.cluster.executor == "ray":
            _say("starting Ray" if sweep.cluster.address is None else f"joining {sweep.cluster.address}")
        started = time.monotonic()
        try:
            workers = stack.enter_context(executor(sweep.cluster, _say, lambda: stop.asked is not None))
        except LaunchError as error:
            raise ConfigError([str(error)]) from None
        stop.check()
        if is_new:
            try:
                results.make_folders()
                _lock(stack, results, command)
            except OSError as error:
                reason = f"cannot be written: {error.strerror or error}; choose another folder"
                raise ConfigError([f"out={sweep.out}: {reason}"]) from None
            if results.exists():  # another session has been there since
                _check_folder(results, sweep, config)
                left = _look(results, sweep)
                if not left.plan.shards:
                    return _nothing_left(results, left)
        _tidy(results, left)
        if sweep.retry_failed:
            results.forget_failed()
        record = provenance.record(sweep, config, command, workers.workers)
        schema = runs_schema({key: number.kind for key, number in sweep.numbers.items()})
        curves = curves_schema(registry.metrics(sweep.source))
        results.create(record, schema, curves)
        if sweep.source is not None:
            results.keep_parts(f"{sweep.source.digest}-{sweep.source.name}", sweep.source.text)
        try:
            session = _train(sweep, left, results, workers, stop)
            seconds = time.monotonic() - started
            share = session.pop("train_seconds") / (seconds * max(1, session["workers"]))
            ended = {"training_share_of_worker_time": round(share, 4)}
            record["sessions"][-1] |= {"seconds": round(seconds, 1), **session, **ended}
            results.create(record, schema, curves)
        finally:
            LiveReport(sweep, _say).ended()
    runs = session["runs"]
    _say(f"{runs:,} run{'s' * (runs != 1)} in {seconds:,.1f} s, {share:.1%} of worker time in training")
    return left.whole.grid


def _nothing_left(results: Store, left: _Left) -> Grid:
    _tidy(results, left)
    runs = left.whole.n_runs
    _say("nothing is left to train" if left.failed else f"all {runs:,} runs are finished already")
    return left.whole.grid


def _tidy(results: Store, left: _Left) -> None:
    """Put aside what is damaged, and tell of it and of what is not ours."""
    for line in results.put_aside(left.found):
        _say(line)


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def _lock(stack: ExitStack, results: Store, command: str) -> None:
    """Keep the folder to this process until `stack` is left.

    Raises ConfigError where another has it, OSError where it cannot be locked.
    """
    try:
        stack.enter_context(results.locked(command))
    except StoreError as error:
        raise ConfigError([str(error)]) from None


def _check_folder(results: Store, sweep: Sweep, config: Mapping[str, Any]) -> None:
    """Raises ConfigError where `out` cannot become, or is not, the folder of this sweep."""
    try:
        results.check_usable()
    except StoreError as error:
        raise ConfigError([f"out={error}"]) from None
    try:
        stored = results.sweep() if results.exists() else None
    except StoreError as error:
        raise ConfigError([str(error)]) from None
    problems = [] if stored is None else provenance.differences(stored.get("config", {}), config)
    if problems:
        where = f"out={sweep.out}: holds another sweep; choose another folder, or put back"
        raise ConfigError([f"{where} {problem}" for problem in problems])
    if stored is not None and (changed := provenance.other_code(stored, sweep)):
        raise ConfigError([f"out={sweep.out}: {changed}"])


def _look(results: Store, sweep: Sweep) -> _Left:
    """What is left to do. Raises ConfigError where it is more than this machine can hold, or a part of the
    user's own does not work.
    """
    try:
        with blaming(sweep.source):
            left = _left(results, sweep)
            if sweep.source is not None:
                from grok_sweep.probe import probe

                probe(left.plan)
            return left
    except PartError as error:
        raise ConfigError([str(error)]) from None
    except (ConfigError, StoreError, OSError, MemoryError):
        raise
    except Exception as error:
        if sweep.source is None:
            raise
        parts = f"task {sweep.task}, model {sweep.model} and optimizer {sweep.optimizer}"
        why = f"{type(error).__name__}: {one_line(str(error))}"
        raise ConfigError([f"{parts} do not go together: {why}"]) from None


def _left(results: Store, sweep: Sweep) -> _Left:
    """See `_look`."""
    problems = needs.problems(
        sweep, None if results.exists() else results.free_bytes(), disk=not sweep.dry_run
    )
    if problems:
        raise ConfigError(problems)
    grid = expand(sweep)
    try:
        found = results.inspect(weights=sweep.snapshot_every is not None)
        failed = set() if sweep.retry_failed else set(_failed(results, grid, found.finished)["run_id"])
    except StoreError as error:
        raise ConfigError([str(error)]) from None
    whole = unfinished(make_plan(sweep, grid), failed)
    # Under the id of a copy too: of an earlier order of the grid, or from before copies were left out.
    return _Left(whole, unfinished(whole, grid.standing(found.finished)), found, len(failed))


def _failed(results: Store, grid: Grid, finished: Collection[str]) -> pd.DataFrame:
    """The runs of the grid, which may have shrunk, that failed and are not finished: see Store.failed.

    A run that failed, or is finished, under the id of a copy of it has done so.
    """
    failed = results.failed(finished)
    failed["run_id"] = grid.standing(failed["run_id"])
    left = failed["run_id"].isin(grid.columns["run_id"]) & ~failed["run_id"].isin(grid.standing(finished))
    return failed[left].drop_duplicates("run_id", keep="last", ignore_index=True)


def _train(sweep: Sweep, left: _Left, results: Store, workers: Executor, stop: Stop) -> dict[str, Any]:
    """Publish the shards of `left.plan` as they come; what the session is remembered by."""
    plan, runs_total = left.plan, left.whole.n_runs
    most_workers = workers.workers
    runs, failed, train_seconds, other_seconds = 0, 0, 0.0, 0.0
    devices: set[str] = set()
    told: set[str] = set()  # why trainings failed
    display = Progress(
        runs_total=runs_total,
        work_total=left.whole.work,
        # Of axes that change together one is shown.
        axes={loop[0]: tuple(dict.fromkeys(sweep.axes[loop[0]])) for loop in sweep.loops},
        model=sweep.model,
        runs=left.whole.grid.columns,
        work_per_second=plan.work / plan.seconds(max(1, workers.workers)),
        definition=sorting.chosen(sweep),
    )
    phases = sorting.Sorter(sweep, display.note).phases
    queue = Queue(jobs(sweep, plan), ended=lambda: stop.asked is not None or bool(failed and sweep.fail_fast))
    page = LiveReport(sweep, display.note)
    if sweep.report == "live":
        _say(f"the page: {results.place(REPORT)}, from the first shard on")
    with display:
        if plan.n_runs < runs_total:
            before, grid = results.runs(), left.whole.grid
            standing = pd.Series(grid.standing(before["run_id"]), before.index, dtype=object)
            # The grid may have shrunk, and copies are of one run.
            here = before[standing.isin(grid.columns["run_id"]) & ~standing.duplicated()]
            display.resumed(phases(here, lambda: results.curves(here["run_id"])), left.whole.work - plan.work)
        for done in workers.run(queue, display.workers):
            most_workers = max(most_workers, workers.workers)
            if done.result is None:
                again = _again(sweep, plan, done)
                queue.put_back(again)
                failed += not again
                fate = _fate(done, again, results)
                reason = done.failure.reason if done.failure else ""
                if again or reason not in told:  # the same mistake of a part may be in every shard
                    display.note(fate)
                    told |= set() if again else {reason}
                continue
            results.publish(done.result.runs, done.result.curves, done.result.weights)
            landed = done.result.runs.to_pandas()
            display.landed(phases(landed, done.result.curves.to_pandas), done.job.shard.work)
            runs += len(landed)
            train_seconds += done.result.train_seconds
            other_seconds += done.result.other_seconds
            devices |= set(landed["device"])
            if stop.asked is None:
                page.landed()
    return {
        "workers": most_workers,
        "runs": runs,
        "failed_shards": failed,
        "devices": sorted(devices),
        "train_seconds": train_seconds,
        "compile_and_other_seconds": round(other_seconds, 1),
    }


def _again(sweep: Sweep, plan: Plan, done: Done) -> list[Job]:
    """What is to be tried after a failure: another thing than what failed, or no more than max_retries.

    A worker that dies and dies again may have been killed for its memory, by a system that does not say so.
    """
    job, kind = done.job, done.failure.kind if done.failure else "error"
    if kind in ("death", "hang") and job.deaths < sweep.cluster.max_retries:
        return [replace(job, deaths=job.deaths + 1)]
    if kind not in ("memory", "death"):
        return []
    halves = [_job(sweep, plan.grid, shard, job.deaths) for shard in halve(plan, job.shard)]
    if not halves and kind == "memory" and not job.deaths:
        return [replace(job, deaths=1)]  # a neighbour may have had the memory
    return halves


def _fate(done: Done, again: list[Job], results: Store) -> str:
    """Say what becomes of a job that failed, and record it where that is nothing."""
    job, failure = done.job, done.failure
    assert failure is not None  # noqa: S101
    if again:
        how = "once more" if len(again) == 1 and again[0].shard is job.shard else "in halves"
        return f"{job}: {failure.reason}; tried again, {how}"
    run_ids = job.order().columns["run_id"].tolist()
    log = f"{job}\n{' '.join(run_ids)}\n\n{failure.log}\n"
    return f"failed: {job}: {failure.reason}; log: {results.fail(run_ids, f'{job}: {failure.reason}', log)}"


def jobs(sweep: Sweep, plan: Plan) -> Iterator[Job]:
    """What the executor gets: the shards in order, each made into a worker's order when its turn comes."""
    for shard in plan.shards:
        yield _job(sweep, plan.grid, shard)


def _job(sweep: Sweep, grid: Grid, shard: Shard, deaths: int = 0) -> Job:
    return Job(shard, functools.partial(_order, sweep.name, grid, shard), deaths)


def _order(name: str, grid: Grid, shard: Shard) -> Order:
    rows = {key: np.ascontiguousarray(column) for key, column in grid.rows(shard.index_R).items()}
    return Order(name, shard.program, rows)
