"""Shards as jobs for an executor, and what becomes of one that failed."""

import functools
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from grok_sweep.core.grid import Grid
from grok_sweep.core.plan import Plan, Shard, halve
from grok_sweep.core.sweep import Sweep
from grok_sweep.executors import Done, Job
from grok_sweep.store import Store
from grok_sweep.worker import Order


def tried_again(sweep: Sweep, plan: Plan, done: Done) -> list[Job]:
    """What is to be tried after a failure: another thing than what failed, or no more than max_retries.

    A worker that dies and dies again may have been killed for its memory, by a system that does not say so.
    """
    job, kind = done.job, done.failure.kind if done.failure else "error"
    if kind in ("death", "hang") and job.deaths < sweep.cluster.max_retries:
        return [replace(job, deaths=job.deaths + 1)]
    if kind not in ("memory", "death"):
        return []
    halves = [job_of(sweep, plan.grid, shard, job.deaths) for shard in halve(plan, job.shard)]
    if not halves and kind == "memory" and not job.deaths:
        return [replace(job, deaths=1)]  # a neighbour may have had the memory
    return halves


def fate(done: Done, again: list[Job], results: Store) -> str:
    """Say what becomes of a job that failed, and record it where that is nothing."""
    job, failure = done.job, done.failure
    assert failure is not None  # noqa: S101
    if again:
        how = "once more" if len(again) == 1 and again[0].shard is job.shard else "in halves"
        return f"{job}: {failure.reason}; tried again, {how}"
    run_ids = job.order().columns["run_id"].tolist()
    log = f"{job}\n{' '.join(run_ids)}\n\n{failure.log}\n"
    return f"failed: {job}: {failure.reason}; log: {results.fail(run_ids, f'{job}: {failure.reason}', log)}"


def lost(done: Done, results: Store) -> dict[str, str]:
    """Record the runs that a shard could not train, each alone; what is wrong -> what to say of its first."""
    found: dict[str, str] = {}
    for run_id, reason in (done.result.lost if done.result else {}).items():
        told = f"{done.job}: {reason}"
        log = results.fail([run_id], told, f"{told}\n")
        found.setdefault(reason.partition(" (run ")[0], f"failed: {told}; log: {log}")
    return found


def jobs(sweep: Sweep, plan: Plan) -> Iterator[Job]:
    """What the executor gets: the shards in order, each made into a worker's order when its turn comes."""
    for shard in plan.shards:
        yield job_of(sweep, plan.grid, shard)


def job_of(sweep: Sweep, grid: Grid, shard: Shard, deaths: int = 0) -> Job:
    """A shard of the grid as a job."""
    return Job(shard, functools.partial(order, sweep.name, grid, shard), deaths)


def order(name: str, grid: Grid, shard: Shard) -> Order:
    """What a worker gets for a shard."""
    rows = {key: np.ascontiguousarray(column) for key, column in grid.rows(shard.index_R).items()}
    return Order(name, shard.program, rows)
