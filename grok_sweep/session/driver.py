"""One session of a sweep on the driver: what is left of the plan, through an executor, into the store."""

import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import cache, partial
from typing import Any

import analysis
from grok_sweep.core import registry
from grok_sweep.core.grid import Grid
from grok_sweep.core.parts import PartError
from grok_sweep.core.plan import few, outline
from grok_sweep.core.source import RunError, blaming
from grok_sweep.core.sweep import Cluster, Sweep
from grok_sweep.errors import ConfigError, LaunchError, StoreError
from grok_sweep.executors import Executor, Head, executor
from grok_sweep.session import capacity, provenance, sorting
from grok_sweep.session import dry_run as plan_table
from grok_sweep.session.left import check_folder, crashed_runs, look, notes, refusing, try_parts
from grok_sweep.session.live_report import LiveReport
from grok_sweep.session.refining import next_round
from grok_sweep.session.training import Training
from grok_sweep.stop import Stop
from grok_sweep.store import REPORT, Store, curves_schema, in_session, runs_schema
from grok_sweep.terminal import crashes
from grok_sweep.terminal.progress import in_time
from grok_sweep.worker import native

MOST_OUTLINED = 100_000  # runs of an outline
MOST_SHOWN = 100_000_000  # runs of a plan that is shown although it does not fit


def drive(sweep: Sweep, config: Mapping[str, Any], command: str, ray: Head | None = None) -> int:
    """Train what is not finished, then classify and draw. Exit code 0, or 1 if runs crashed.

    `config` is what the sweep was parsed from and `command` how it was asked for: both are recorded. `ray`:
    what `start_ray` gave. Raises ConfigError before anything is written, where the folder is another sweep's,
    another session's or cannot be written, or where there is no such cluster or accelerator; Stopped where a
    signal asked for the end.
    """
    results = Store(sweep.out)
    with Stop() as stop:
        with ExitStack() as stack:
            workers = cache(partial(_workers, stack, stop, ray))  # the same in all rounds
            grid = _session(sweep, config, command, results, stop, workers)
            stop.check()
            tried: set[str] = set()
            while more := next_round(sweep, results, _say, tried):
                tried |= more.run_ids
                try:
                    grid = _session(more.sweep, config, command, results, stop, workers, more.run_ids)
                except ConfigError as error:  # what is there is sorted and drawn all the same
                    _say(f"refine: {'; '.join(error.problems)}")
                    break
                stop.check()
        finished = results.finished()
        is_sorted = not finished or _analyze(sweep, results)
        stop.check()
    crashed = crashed_runs(results, None if sweep.refine else grid, finished)
    if len(crashed):
        crashed["log"] = crashed["log"].map(results.place)
        crashes.show(results.place("crashed"), crashed)
    return 0 if is_sorted and not len(crashed) else 1


def _analyze(sweep: Sweep, results: Store) -> bool:
    """Sort the finished runs, draw, and say so; False where a definition of the user's own failed at it."""
    try:
        with blaming(sweep.source):
            how = {"report": sweep.report == "live", **sorting.how(sweep)}
            try:
                print(analysis.analyze(sweep.out, boundary=sweep.refine.on if sweep.refine else None, **how))
            except ValueError as error:
                if not sweep.refine:
                    raise
                _say(f"refine: no boundaries are drawn: {error}")
                print(analysis.analyze(sweep.out, **how))
    except PartError as error:
        then = f"`grok-analyze {sweep.out} --definition pair` sorts them without it"
        _say(f"grok-sweep: {error}; the runs are kept: mend it and add accept_code=true, or {then}")
        return False
    if sweep.source and (file := sorting.chosen(sweep).file):  # it may have changed since the training
        results.keep_parts(file, sweep.source.text)
    return True


def dry_run(sweep: Sweep, config: Mapping[str, Any]) -> int:
    """Print what is left of the plan; train nothing, write nothing. Raises ConfigError as `drive` does.

    Of a new folder no more is expanded than programs depend on: what is said of 16 million runs is said in
    seconds, and then that they are too many.
    """
    results = Store(sweep.out)
    with refusing(sweep):
        check_folder(results, sweep, config)
        free = results.free_bytes()
        if sweep.n_runs > MOST_SHOWN:
            capacity.check(sweep)
        outlined = not results.exists() and not sweep.only and few(sweep).n_runs <= MOST_OUTLINED
        if outlined:
            plan = outline(sweep)
            try:
                try_parts(sweep, plan)
            except RunError:  # of the first seed; it fails alone, if those of others can be made
                look(results, sweep, config)
        else:
            left = look(results, sweep, config)
    for line in notes(sweep, plan if outlined else left.plan):
        _say(line)
    if outlined:
        plan_table.show(sweep, plan, free_disk=free)
        capacity.check(capacity.settled(sweep, plan), plan, free)
        return 0
    for line in left.found.lines():
        _say(f"the sweep would find {line}")
    if left.selection.words:
        _say(left.selection.words)
    if left.crashed:
        _say(f"{left.crashed:,} of its runs crashed before; retry_crashed=true trains them again")
    plan_table.show(sweep, left.plan, left.whole.n_runs - left.plan.n_runs, free)
    if not left.plan.shards and (more := next_round(sweep, results, _say)):
        with refusing(sweep):
            then = look(results, more.sweep, config, more.run_ids)
        plan_table.show(more.sweep, then.plan, then.whole.n_runs - then.plan.n_runs, free)
    return 0


def _session(
    sweep: Sweep,
    config: Mapping[str, Any],
    command: str,
    results: Store,
    stop: Stop,
    workers_of: Callable[[Cluster], Executor],
    run_ids: frozenset[str] | None = None,
) -> Grid:
    """Train what is left, or of that `run_ids`, with the folder locked, and record it; the whole grid."""
    with ExitStack() as stack:
        with refusing(sweep):
            check_folder(results, sweep, config)
            is_new = not results.exists()
            if not is_new:
                stack.enter_context(results.locked())
            left = look(results, sweep, config, run_ids)
        if left.selection.words:
            _say(left.selection.words)
        started = time.monotonic()
        if left.plan.shards:
            sweep = capacity.settled(asked := sweep, left.plan)
            if sweep != asked and sweep.cluster.executor == "inline":
                about = in_time(capacity.seconds(left.plan, sweep.cluster, 1))
                _say(f"estimated at {about}: trained in this process, without Ray (cluster=local: with Ray)")
            if (sweep.cluster.device, sweep.cluster.address) == ("cpu", None):  # while workers start
                native.begin(left.plan.programs)
            workers = workers_of(sweep.cluster)
        with refusing(sweep):
            if is_new:  # from here on something is written
                results.make_folders()
                stack.enter_context(results.locked())
                if results.exists():
                    begun = "another session has begun it meanwhile; give the command again to go on with it"
                    raise StoreError(f"{results.place()}: {begun}")
        for line in results.put_aside(left.found):
            _say(line)
        if is_new and left.found.finished:
            _say("sweep.yaml was missing, and is written anew: what earlier sessions were is not known")
        if not left.plan.shards:
            if is_new or provenance.other_code(results.sweep(), sweep):  # which accept_code has allowed
                _create(sweep, provenance.record(sweep, config, command, 0, []), results)
            runs = left.whole.n_runs
            _say("nothing is left to train" if left.crashed else f"all {runs:,} runs are finished already")
            return left.whole.grid
        if sweep.retry_crashed:
            results.forget_crashed(left.plan.run_ids)
        engines = sorted({program.engine for program in left.plan.programs})
        record = provenance.record(sweep, config, command, workers.workers, engines)
        if by := sorting.ended_by(sweep):
            record["sessions"][-1]["stopped_by"] = {"definition": by.definition, **by.thresholds}
        if run_ids is None:  # else the first round has said it
            for line in notes(sweep, left.plan):
                _say(line)
        training = Training(sweep, left, results, workers, record["sessions"][-1]["session"])
        try:
            _recorded(sweep, record, results, stop, training, started)
        finally:
            LiveReport(sweep, _say).ended()
    return left.whole.grid


def _workers(stack: ExitStack, stop: Stop, ray: Head | None, cluster: Cluster) -> Executor:
    """Those of a cluster, until `stack` is left. Raises ConfigError where there are none."""
    if cluster.executor == "ray":
        _say("starting Ray" if cluster.address is None else f"joining {cluster.address}")
    try:
        found = stack.enter_context(executor(cluster, _say, lambda: stop.asked is not None, ray))
    except LaunchError as error:
        raise ConfigError([str(error)]) from None
    stop.check()
    return found


def _recorded(
    sweep: Sweep, record: dict[str, Any], results: Store, stop: Stop, training: Training, started: float
) -> None:
    """Train, with what the session is written down in `record` of the folder; `started`: by the clock."""
    *earlier, mine = record["sessions"]
    if changed := provenance.changes(earlier, mine):
        _say(changed)
    _create(sweep, record, results)
    if sweep.report == "live":
        _say(f"the page: {results.place(REPORT)}, from the first shard on")
    plan, workers = training.plan, training.workers
    if workers:
        about = in_time(capacity.seconds(plan, sweep.cluster, workers))
        takes = f"about {about} on {workers} worker{'s' * (workers != 1)}"
        _say(f"training {plan.n_runs:,} run{'s' * (plan.n_runs != 1)}: {takes}")
    training.run(stop)
    seconds, told = time.monotonic() - started, training.record
    share = training.seconds / (seconds * max(1, told["workers"]))
    mine |= {"seconds": round(seconds, 1), **told, "training_share_of_worker_time": round(share, 4)}
    _create(sweep, record, results)
    if changed := provenance.changes(earlier, {"devices": told["devices"]}):  # known at the end
        _say(changed)
    runs, at_once = told["runs"], told["not_finite_at_step_0"]
    _say(f"{runs:,} run{'s' * (runs != 1)} in {seconds:,.1f} s, {share:.1%} of worker time in training")
    if at_once:
        look_at = "look at their data, such as labels out of range, and initial weights"
        _say(f"{at_once:,} of them had no finite loss before the first step: {look_at}")


def _create(sweep: Sweep, record: dict[str, Any], results: Store) -> None:
    """Write the record of the folder, and make its tables readable while they are empty."""
    metrics = registry.metrics(sweep.source)
    kinds = {key: number.kind for key, number in sweep.numbers.items()}
    ends = sorting.ended_by(sweep) is not None
    has = {"batches": sweep.batch_size is not None, "stops": ends, "repeats": sweep.repeats > 1}
    since = {key: number.since for key, number in sweep.numbers.items()}
    none = runs_schema(kinds, metrics, since=since, **has).empty_table()
    results.create(record, in_session(none, record["sessions"][-1]["session"]).schema, curves_schema(metrics))
    if sweep.source is not None:
        results.keep_parts(sweep.source.kept_as, sweep.source.text)


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
