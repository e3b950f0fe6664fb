"""One session of a sweep on the driver: what is left of the plan, through an executor, into the store."""

import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import pandas as pd

from analysis import analyze
from grok_sweep.core import registry
from grok_sweep.core.grid import Grid
from grok_sweep.core.parts import PartError
from grok_sweep.core.plan import few
from grok_sweep.core.source import blaming
from grok_sweep.core.sweep import Sweep
from grok_sweep.errors import ConfigError
from grok_sweep.executors import Executor, LaunchError, Queue, executor
from grok_sweep.session import capacity, provenance, sorting
from grok_sweep.session import dry_run as plan_table
from grok_sweep.session.jobs import fate, jobs, lost, tried_again
from grok_sweep.session.left import Left, check_folder, failed_runs, look, planned
from grok_sweep.session.live import LiveReport
from grok_sweep.stop import Stop
from grok_sweep.store import REPORT, Store, StoreError, curves_schema, in_session, runs_schema
from grok_sweep.terminal import failures
from grok_sweep.terminal.progress import Progress

MOST_OUTLINED = 100_000  # runs of an outline that are expanded for a dry run that cannot fit


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
            unsorted = _analyze(sweep, results)
        stop.check()
    failed = failed_runs(results, grid, finished)
    if len(failed):
        failed["log"] = failed["log"].map(results.place)
        failures.show(results.place("failed"), failed)
    return 1 if len(failed) or unsorted else 0


def _analyze(sweep: Sweep, results: Store) -> bool:
    """Sort the finished runs, draw, and say so; whether a definition of the user's own failed at it."""
    try:
        with blaming(sweep.source):
            print(analyze(sweep.out, report=sweep.report == "live", **sorting.how(sweep)))
        if sweep.source and (file := sorting.chosen(sweep).file):  # it may have changed since the training
            results.keep_parts(file, sweep.source.text)
    except PartError as error:
        _say(sorting.advice(sweep, error))
        return True
    return False


def dry_run(sweep: Sweep, config: Mapping[str, Any]) -> int:
    """Print what is left of the plan; train nothing, write nothing. Raises ConfigError as `drive` does.

    Of a new folder no more is expanded than programs depend on: what is said of 16 million runs is said in
    seconds, and then that they are too many.
    """
    results = Store(sweep.out)
    check_folder(results, sweep, config)
    if not results.exists():
        free = results.free_bytes()
        problems = capacity.problems(sweep, free)
        if not problems or few(sweep).n_runs <= MOST_OUTLINED:
            plan_table.show(sweep, planned(sweep), free_disk=free)
        if problems:
            raise ConfigError(problems)
        return 0
    left = look(results, sweep)
    for line in left.found.lines():
        _say(f"the sweep would find {line}")
    if left.failed:
        _say(f"{left.failed:,} of its runs failed before; retry_failed=true trains them again")
    finished = left.whole.n_runs - left.plan.n_runs
    plan_table.show(sweep, left.plan, finished=finished, free_disk=results.free_bytes())
    return 0


def _session(sweep: Sweep, config: Mapping[str, Any], command: str, results: Store, stop: Stop) -> Grid:
    """Train what is left with the folder locked, and record it; the whole grid."""
    check_folder(results, sweep, config)
    with ExitStack() as stack:
        is_new = not results.exists()
        if not is_new:
            _lock(stack, results)
        left = look(results, sweep)
        if not left.plan.shards:
            _tidy(results, left)
            runs = left.whole.n_runs
            _say("nothing is left to train" if left.failed else f"all {runs:,} runs are finished already")
            return left.whole.grid
        started = time.monotonic()
        workers = _workers(stack, sweep, stop)
        if is_new:
            _make(stack, results)
        _tidy(results, left)
        if sweep.retry_failed:
            results.forget_failed()
        record = provenance.record(sweep, config, command, workers.workers)
        _recorded(sweep, record, results, stop, left, workers, started)
    return left.whole.grid


def _workers(stack: ExitStack, sweep: Sweep, stop: Stop) -> Executor:
    """Those of the sweep's cluster, until `stack` is left. Raises ConfigError where there are none."""
    if sweep.cluster.executor == "ray":
        _say("starting Ray" if sweep.cluster.address is None else f"joining {sweep.cluster.address}")
    try:
        found = stack.enter_context(executor(sweep.cluster, _say, lambda: stop.asked is not None))
    except LaunchError as error:
        raise ConfigError([str(error)]) from None
    stop.check()
    return found


def _make(stack: ExitStack, results: Store) -> None:
    """Make the folder, and keep it to this process. Raises ConfigError where it cannot be made."""
    try:
        results.make_folders()
        _lock(stack, results)
    except OSError as error:
        reason = f"cannot be written: {error.strerror or error}; choose another folder"
        raise ConfigError([f"out={results.root}: {reason}"]) from None
    if results.exists():
        reason = "another session has begun it meanwhile; give the command again to go on with it"
        raise ConfigError([f"out={results.root}: {reason}"])


def _recorded(
    sweep: Sweep,
    record: dict[str, Any],
    results: Store,
    stop: Stop,
    left: Left,
    workers: Executor,
    started: float,
) -> None:
    """Train, with what the session is written down in `record` of the folder; `started`: by the clock."""
    *earlier, mine = record["sessions"]
    kinds = {key: number.kind for key, number in sweep.numbers.items()}
    metrics = registry.metrics(sweep.source)
    none = runs_schema(kinds, metrics, batches=sweep.batch_size is not None).empty_table()
    schema, curves = in_session(none, mine["session"]).schema, curves_schema(metrics)
    if changed := provenance.changes(earlier, mine):
        _say(changed)
    results.create(record, schema, curves)
    if sweep.source is not None:
        results.keep_parts(sweep.source.kept_as, sweep.source.text)
    try:
        session = _train(sweep, left, results, workers, stop, mine["session"])
        seconds = time.monotonic() - started
        share = session.pop("train_seconds") / (seconds * max(1, session["workers"]))
        ended = {"seconds": round(seconds, 1), **session, "training_share_of_worker_time": round(share, 4)}
        # In a bucket another session may have been written down meanwhile.
        others = [one for one in results.sweep().get("sessions", []) if one != mine]
        sessions = sorted([*others, mine | ended], key=lambda one: str(one.get("started")))
        results.create(record | {"sessions": sessions}, schema, curves)
        if changed := provenance.changes(earlier, {"devices": session["devices"]}):  # known at the end
            _say(changed)
    finally:
        LiveReport(sweep, _say).ended()
    runs = session["runs"]
    _say(f"{runs:,} run{'s' * (runs != 1)} in {seconds:,.1f} s, {share:.1%} of worker time in training")
    if at_once := session["not_finite_at_step_0"]:
        look_at = "look at their data, such as labels out of range, and initial weights"
        _say(f"{at_once:,} of them had no finite loss before the first step: {look_at}")


def _tidy(results: Store, left: Left) -> None:
    """Put aside what is damaged, and tell of it and of what is not ours."""
    for line in results.put_aside(left.found):
        _say(line)


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def _lock(stack: ExitStack, results: Store) -> None:
    """Keep the folder to this process until `stack` is left.

    Raises ConfigError where another has it, OSError where it cannot be locked.
    """
    try:
        stack.enter_context(results.locked())
    except StoreError as error:
        raise ConfigError([str(error)]) from None


def _train(
    sweep: Sweep, left: Left, results: Store, workers: Executor, stop: Stop, number: int
) -> dict[str, Any]:
    """Publish the shards of `left.plan` as they come, in session `number`; what that is remembered by."""
    plan, runs_total = left.plan, left.whole.n_runs
    most_workers = workers.workers
    runs, failed, at_once, train_seconds, other_seconds = 0, 0, 0, 0.0, 0.0
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
                again = tried_again(sweep, plan, done)
                queue.put_back(again)
                failed += not again
                told_as = fate(done, again, results)
                reason = done.failure.reason if done.failure else ""
                if again or reason not in told:  # the same mistake of a part may be in every shard
                    display.note(told_as)
                    told |= set() if again else {reason}
                continue
            alone = lost(done, results)
            failed += bool(alone)
            for reason in alone.keys() - told:
                display.note(alone[reason])
            told |= alone.keys()
            results.publish(in_session(done.result.runs, number), done.result.curves, done.result.weights)
            landed = done.result.runs.to_pandas()
            display.landed(phases(landed, done.result.curves.to_pandas), done.job.shard.work)
            runs += len(landed)
            at_once += int((landed["diverged_step"] == 0).sum())
            train_seconds += done.result.train_seconds
            other_seconds += done.result.other_seconds
            devices |= set(landed["device"])
            if stop.asked is None:
                page.landed()
    return {
        "workers": most_workers,
        "runs": runs,
        "failed_shards": failed,
        "not_finite_at_step_0": at_once,
        "devices": sorted(devices),
        "train_seconds": train_seconds,
        "compile_and_other_seconds": round(other_seconds, 1),
    }
