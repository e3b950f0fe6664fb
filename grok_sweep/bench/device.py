"""A whole sweep in this process on one device, where there is no Ray, Hydra or matplotlib."""

import os
import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from grok_sweep.bench.process import jax_product
from grok_sweep.core.choices import configs, root
from grok_sweep.core.config import parse
from grok_sweep.core.grid import expand
from grok_sweep.errors import ConfigError
from grok_sweep.executors import Failure, Job, Queue
from grok_sweep.store import Store, runs_schema
from grok_sweep.worker.environment import set_environment

Config = dict[str, Any]
Figures = dict[str, Any]  # printed as they are: numbers, words, tables

PRODUCT = (4096, 1.0)  # rows and columns of the product by which the device is known, and seconds of it


def recorded(name: str, device: str, engine: str) -> Config:
    """The recorded config of a sweep, for this process on a device; what it lacks is as in conf/."""
    conf, sweeps = configs()
    files = (conf / "cluster" / "inline.yaml", sweeps / name / "sweep.yaml")
    cluster, record = (yaml.safe_load(path.read_text(encoding="utf-8")) for path in files)
    known = {key: value for key, value in root().items() if key != "defaults"}
    return {**known, **record["config"], "cluster": {**cluster, "device": device}, "engine": engine}


def parity_1125(device: str = "cpu", engine: str = "auto") -> Config:
    """That of the article's sweep."""
    return recorded("parity_1125", device, engine)


def sweep(config: Config, out: Path | None = None) -> Figures:
    """A whole sweep in this process, cold cache, beside the device's own matrix product.

    Both in float32. The results go to `out`. Raises ConfigError where jax finds no such device.
    """
    import jax

    from grok_sweep.core.plan import Shard, make_plan
    from grok_sweep.executors.inline import InlineExecutor
    from grok_sweep.worker import Order, native
    from grok_sweep.worker.environment import environment

    parsed = parse(config)
    device = parsed.cluster.device
    spent = []
    with tempfile.TemporaryDirectory() as cold:
        set_environment(environment(device))
        os.environ["XDG_CACHE_HOME"] = cold
        try:
            kind = jax.devices()[0].device_kind
        except (RuntimeError, AssertionError):  # the latter where jax has no such plugin at all
            raise ConfigError([f"--device {device}: jax {jax.__version__} finds none here"]) from None
        product = jax_product(*PRODUCT)
        results = Store(out or Path(cold, "results"))
        numbers = {key: number.kind for key, number in parsed.numbers.items()}
        results.create({"config": config}, runs_schema(numbers))
        planned = make_plan(parsed, expand(parsed))

        def job(shard: Shard) -> Job:
            return Job(shard, lambda: Order(parsed.name, shard.program, planned.grid.rows(shard.index_R)))

        started = time.perf_counter()
        executor = InlineExecutor(parsed.cluster)
        native.threads = 1  # as the product beside it has
        for done in executor.run(Queue(map(job, planned.shards))):
            shard, of, result = done.job.shard, done.job.shard.program, done.outcome
            if isinstance(result, Failure):
                raise ConfigError([f"{done.job}: {result.reason}"])
            results.publish(result.runs, result.curves)
            where = {
                "hidden_size": of.values["hidden_size"],
                "rows": of.rows,
                "lanes": of.lanes,
                "engine": of.engine,
            }
            runs = {"runs": len(shard.index_R), "work": shard.work}
            spent.append({**where, **runs, "train_seconds": result.train_seconds})
        seconds = time.perf_counter() - started
    programs = pd.DataFrame(spent).groupby(["hidden_size", "rows", "lanes", "engine"]).sum().reset_index()
    whole = programs["work"].sum() / programs["train_seconds"].sum() / product
    programs["of_the_product"] = programs.pop("work") / programs["train_seconds"] / product
    rates = {"product_gflops": product / 1e9, "of_the_product": whole}
    return {"device": kind, **rates, "seconds": seconds, "programs": programs}
