"""Workers that train nothing, against the real driver and store: with how many can one driver keep up?"""

import itertools
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from grok_sweep.bench.device import Figures, parity_1125
from grok_sweep.bench.process import peak_gb, processes
from grok_sweep.core.config import parse
from grok_sweep.executors import Done, Queue
from grok_sweep.store import Inspection
from grok_sweep.worker import Order, Result, train_shard
from grok_sweep.worker.environment import environment

WORKERS = (1_000, 10_000)
SHARD_SECONDS = 30.0  # of each worker
SECONDS = 20.0  # of a simulation, if the driver keeps up
MOST_SHARDS = 4_500  # of it: a plan has hardly more (see core.plan.MOST_FILES)
SIZES = {
    "hidden_size": [32],
    "train_size": [1000],
    "weight_decay": [0.1],
}  # 16 runs a shard, 201 logged steps
NOTHING = Inspection(frozenset(), {}, (), ())  # was found in the folder


def workers(counts: Sequence[int] = WORKERS, seconds: float = SECONDS) -> Figures:
    """A simulation for each count, in a process of its own.

    `busy`: the share of the time in which the driver did not wait for workers; `cpu`: its processor's.
    """
    rows = []
    for count in counts:
        with processes(1, environment("cpu")) as process:
            rows += process(simulate, count, seconds)
    return {"shard_seconds": SHARD_SECONDS, "by_workers": pd.DataFrame(rows)}


def simulate(count: int, seconds: float) -> dict[str, Any]:
    """The training of a session with `count` workers, for about `seconds`."""
    from grok_sweep.core.grid import expand
    from grok_sweep.core.plan import make_plan
    from grok_sweep.session.left import Left
    from grok_sweep.session.selection import Selection
    from grok_sweep.session.training import Training, jobs
    from grok_sweep.stop import Stop
    from grok_sweep.store import Store

    due = count / SHARD_SECONDS
    shards = min(MOST_SHARDS, max(4, round(due * seconds)))
    config = parity_1125()
    config["grid"], config["seeds"] = SIZES, 1
    sweep = parse(config)
    (one,) = make_plan(sweep, expand(sweep)).shards
    sweep = replace(sweep, seeds=range(max(1, round(shards * SHARD_SECONDS / one.seconds))))
    plan = make_plan(sweep, expand(sweep))
    order = next(jobs(sweep, plan)).order()
    logs = order.program.steps // order.program.log_every
    idle = Idle(count, train_shard(replace(order, program=replace(order.program, steps=logs, log_every=1))))
    with tempfile.TemporaryDirectory() as folder, Stop() as stop:
        results = Store(folder)
        results.make_folders()
        training = Training(sweep, Left(plan, plan, NOTHING, 0, Selection()), results, idle, 1)
        started, cpu = time.perf_counter(), time.process_time()
        training.run(stop)
        took, used = time.perf_counter() - started, time.process_time() - cpu
    return {
        "workers": count,
        "shards": len(plan.shards),
        "due_per_second": due,
        "shards_per_second": len(plan.shards) / took,
        "busy": 1 - (idle.waited + idle.making) / took,
        "cpu": (used - idle.making) / took,
        "peak_gb": peak_gb(),
    }


@dataclass
class Idle:
    """An executor whose `workers` give back `like`, with the runs of their own shard, each in its time."""

    workers: int
    like: Result
    waited: float = field(default=0.0, init=False)  # for the next of them
    making: float = field(default=0.0, init=False)  # what a worker would do

    def run(self, queue: Queue) -> Iterator[Done]:
        """Each job once, in the order given."""
        started = time.perf_counter()
        for number in itertools.count(1):
            if (job := queue.next()) is None:
                return
            order, begun = job.order(), time.perf_counter()
            result = self._result(order)
            ready = time.perf_counter()
            time.sleep(max(0.0, started + number * SHARD_SECONDS / self.workers - ready))
            self.making += ready - begun
            self.waited += time.perf_counter() - ready
            yield Done(job, result)

    def _result(self, order: Order) -> Result:
        """The tables of a worker that trained them. No two are alike: those would be packed too fast."""
        run_id_R, seed_R = order.columns["run_id"], order.columns["seed"]
        index_R = np.arange(len(run_id_R)) % len(self.like.runs)
        logs = len(self.like.curves) // len(self.like.runs)
        index_T = (index_R[:, None] * logs + np.arange(logs)).ravel()
        runs, curves = self.like.runs.take(index_R), self.like.curves.take(index_T)
        random = np.random.default_rng(int(seed_R[0]))
        noisy = {
            one.name: curves.column(one.name).to_numpy() * random.uniform(0.99, 1.01, len(curves))
            for one in curves.schema
            if pa.types.is_floating(one.type)
        }
        runs = _with(runs, run_id=run_id_R, seed=seed_R)
        return replace(self.like, runs=runs, curves=_with(curves, run_id=np.repeat(run_id_R, logs), **noisy))


def _with(table: pa.Table, **columns: np.ndarray) -> pa.Table:
    """`table` with other values in some columns."""
    for name, values in columns.items():
        kind = table.schema.field(name)
        table = table.set_column(table.schema.get_field_index(name), kind, pa.array(values, kind.type))
    return table
