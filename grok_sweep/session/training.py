"""The training of a session: what its workers get, and what comes back, told, counted and published."""

from collections import deque
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from importlib import import_module
from threading import Thread
from typing import Any

import pandas as pd

from grok_sweep.core.grid import Grid
from grok_sweep.core.parts import PartError
from grok_sweep.core.plan import Plan, Shard, halve
from grok_sweep.core.program import Program
from grok_sweep.core.sweep import Sweep
from grok_sweep.executors import Executor, Failure, Job, Queue
from grok_sweep.session import capacity, sorting
from grok_sweep.session.left import Left
from grok_sweep.session.live_report import LiveReport
from grok_sweep.stop import Stop
from grok_sweep.store import STOPPED, Store, in_session
from grok_sweep.terminal.progress import Progress
from grok_sweep.worker import Order, Result

WRITERS = 8  # shards that are written at a time: until a disk has one takes it longer than all else of it


def jobs(sweep: Sweep, plan: Plan) -> Iterator[Job]:
    """What the executor gets: the shards in order, each made into a worker's order when its turn comes."""
    return (_job(sweep, plan.grid, shard) for shard in plan.shards)


def _job(sweep: Sweep, grid: Grid, shard: Shard, deaths: int = 0) -> Job:
    by = sorting.ended_by(sweep)
    return Job(shard, lambda: Order(sweep.name, shard.program, grid.rows(shard.index_R), by), deaths)


def tried_again(sweep: Sweep, plan: Plan, job: Job, failure: Failure) -> list[Job]:
    """What is to be tried after a failure: another thing than what failed, or no more than max_retries.

    A worker that dies and dies again may have been killed for its memory, by a system that does not say so.
    """
    if failure.kind in ("death", "hang") and job.deaths < sweep.cluster.max_retries:
        return [replace(job, deaths=job.deaths + 1)]
    if failure.kind not in ("memory", "death"):
        return []
    halves = [_job(sweep, plan.grid, shard, job.deaths) for shard in halve(plan, job.shard)]
    if not halves and failure.kind == "memory" and not job.deaths:
        return [replace(job, deaths=1)]  # a neighbour may have had the memory
    return halves


class Training:
    """Publishes the shards of `left.plan` as they come, in session `number`.

    `record`: what the session is remembered by, beside the `seconds` of training on all workers. `plan`: what
    is left; `workers`: how many there are at its start.
    """

    def __init__(self, sweep: Sweep, left: Left, results: Store, workers: Executor, number: int) -> None:
        self._sweep, self._left, self._results, self._workers = sweep, left, results, workers
        self._number = number
        self._said: set[str] = set()
        self._being_written: deque[Future[None]] = deque()
        whole, plan = left.whole, left.plan
        self.plan, self.workers = plan, workers.workers
        self._display = Progress(
            runs_total=whole.n_runs,
            work_total=whole.work,
            # Of axes that change together one is shown.
            axes={loop[0]: tuple(dict.fromkeys(sweep.axes[loop[0]])) for loop in sweep.loops},
            model=sweep.model,
            runs=whole.grid.columns,
            work_per_second=plan.work / capacity.seconds(plan, sweep.cluster, max(1, workers.workers)),
            definition=sorting.chosen(sweep),
        )
        self.record: dict[str, Any] = {"workers": workers.workers, "runs": 0, "crashed_shards": 0}
        self.record |= {"not_finite_at_step_0": 0, "devices": [], "engines": []}
        self._programs: dict[str, set[str]] = {}  # of each engine
        if sorting.ended_by(sweep) is not None:
            self.record |= {"stopped_runs": 0, "stopped_steps": 0}
        self.record["compile_and_other_seconds"] = 0.0
        self.seconds = 0.0

    def run(self, stop: Stop) -> None:
        """Train until all is done, or an end is asked for."""
        plan, record, fail_fast = self._left.plan, self.record, self._sweep.fail_fast
        queue = Queue(
            jobs(self._sweep, plan),
            ended=lambda: stop.asked is not None or (fail_fast and record["crashed_shards"] > 0),
        )
        page = LiveReport(self._sweep, self._display.note)
        with self._display, ThreadPoolExecutor(WRITERS, "write") as writers:
            if self._sweep.stop_when_decided and sorting.ended_by(self._sweep) is None:
                cannot = "does not say when a phase can no longer change: no run is ended early"
                self._display.note(f"definition {self._sweep.definition} {cannot}")
            if replaced := self._left.selection.again:
                self._results.forget_crashed(replaced)
                where = self._results.replace(replaced, self._number)
                self._display.note(f"what {len(replaced):,} runs were is kept in {where}")
            if plan.n_runs < self._left.whole.n_runs:
                self._resume()
            for done in self._workers.run(queue):
                record["workers"] = max(record["workers"], self._workers.workers)
                if isinstance(done.outcome, Failure):
                    again = tried_again(self._sweep, plan, done.job, done.outcome)
                    queue.put_back(again)
                    self._did_not_come(done.job, done.outcome, again)
                    continue
                if not record["runs"]:  # there will be something to draw: matplotlib is there by then
                    Thread(target=import_module, args=["analysis.report"], daemon=True).start()
                self._landed(done.job, done.outcome, writers)
                if stop.asked is None:
                    page.landed()
            self._write_all_but(0)
        if len(self._programs) > 1:
            record["programs"] = {engine: sorted(those) for engine, those in sorted(self._programs.items())}
        record["compile_and_other_seconds"] = round(record["compile_and_other_seconds"], 1)

    def _resume(self) -> None:
        """Show what was finished before; the grid may have shrunk, and copies are of one run."""
        runs, whole = self._results.runs(), self._left.whole
        standing = pd.Series(whole.grid.standing(runs["run_id"]), runs.index, dtype=object)
        here = runs[standing.isin(whole.grid.columns["run_id"]) & ~standing.duplicated()]
        phases = self._phases(here, lambda: self._results.curves(here["run_id"]))
        self._display.resumed(phases, whole.work - self._left.plan.work)

    def _landed(self, job: Job, result: Result, writers: ThreadPoolExecutor) -> None:
        self.record["crashed_shards"] += bool(result.lost)
        for run_id, reason in result.lost.items():
            self._crashed(job, [run_id], reason)
        tables = in_session(result.runs, self._number), result.curves, result.weights
        self._being_written.append(writers.submit(self._results.publish, *tables))
        self._write_all_but(min(WRITERS, self._workers.workers - 1))
        runs = result.runs.to_pandas()
        self._display.landed(self._phases(runs, result.curves.to_pandas), job.shard.work)
        self.record["runs"] += len(runs)
        self.record["not_finite_at_step_0"] += int((runs["diverged_step"] == 0).sum())
        if STOPPED in runs:
            stopped = runs[runs[STOPPED].notna()]
            self.record["stopped_runs"] += len(stopped)
            self.record["stopped_steps"] += int((stopped["steps"] - stopped[STOPPED]).sum())
        self.record["devices"] = sorted({*self.record["devices"], *runs["device"]})
        self.record["engines"] = sorted({*self.record["engines"], result.engine})
        self._programs.setdefault(result.engine, set()).add(self._named(job.shard.program))
        if result.not_native:
            self._say_once("native", f"{result.not_native}; XLA does it there")
        self.record["compile_and_other_seconds"] += result.other_seconds
        self.seconds += result.train_seconds

    def _named(self, program: Program) -> str:
        """A program by the axes that make it another, for people: `hidden_size 16`."""
        names = (name for name in self._sweep.axes if self._sweep.numbers[name].static)
        return ", ".join(f"{name} {program.values[name]}" for name in names) or program.model

    def _write_all_but(self, most: int) -> None:
        """Wait until `most` shards at most are being written. Raises what one raised that could not be."""
        while len(self._being_written) > most:
            self._being_written.popleft().result()

    def _did_not_come(self, job: Job, failure: Failure, again: list[Job]) -> None:
        if again:
            how = "once more" if len(again) == 1 and again[0].shard is job.shard else "in halves"
            self._display.note(f"{job}: {failure.reason}; tried again, {how}")
        else:
            self.record["crashed_shards"] += 1
            self._crashed(job, job.order().columns["run_id"].tolist(), failure.reason, failure.log)

    def _crashed(self, job: Job, run_ids: Collection[str], reason: str, log: str = "") -> None:
        """Record that runs crashed, and say so: once for each reason, for a part may fail in every shard."""
        told = f"{job}: {reason}"
        place = self._results.crash(run_ids, told, f"{told}\n\n{log}\n")
        self._say_once(reason.partition(" (run ")[0], f"crashed: {told}; log: {place}")

    def _phases(self, runs: pd.DataFrame, curves: Callable[[], pd.DataFrame]) -> pd.DataFrame:
        """`runs` with their phases, or with none where a definition of the user's own does not work."""
        try:
            return sorting.phases(self._sweep, runs, curves)
        except PartError as error:
            self._say_once("phases", f"{error}; training goes on, without phases")
            return runs.assign(phase=None)

    def _say_once(self, of: str, message: str) -> None:
        if of not in self._said:
            self._said.add(of)
            self._display.note(message)
