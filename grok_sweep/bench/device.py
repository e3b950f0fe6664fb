"""A whole sweep in this process on one device, where there is no Ray, Hydra or matplotlib."""

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from grok_sweep.bench.process import BenchError, Figures, jax_product
from grok_sweep.core import registry
from grok_sweep.core.choices import configs
from grok_sweep.core.config import parse
from grok_sweep.core.grid import expand
from grok_sweep.session import provenance
from grok_sweep.store import Store, runs_schema

Config = dict[str, Any]

PRODUCT = (4096, 1.0)  # rows and columns of the product by which the device is known, and seconds of it


def sweep(config: Config, device: str, out: Path | None = None) -> Figures:
    """A whole sweep in this process, cold cache, beside the device's own matrix product.

    Its rate is the best of one before and one after, in float32 as in training; `rounded_product` is what the
    device does where it may round the factors to fewer bits (TF32 on a GPU).
    """
    config = {**config, "cluster": {**config["cluster"], "executor": "inline", "device": device}}
    parsed = parse(config)
    started = time.perf_counter()
    import jax

    from grok_sweep.core.plan import make_plan
    from grok_sweep.worker import Order, train_shard
    from grok_sweep.worker.environment import environment

    with tempfile.TemporaryDirectory() as cold:
        variables = environment(device)
        os.environ.update(variables, XDG_CACHE_HOME=cold)
        for name in variables.keys() & {"JAX_PLATFORMS", "JAX_DEFAULT_MATMUL_PRECISION"}:
            jax.config.update(name.lower(), variables[name])  # it read these when it was imported
        try:
            kind = jax.devices()[0].device_kind
        except (RuntimeError, AssertionError):  # the latter where jax has no such plugin at all
            raise BenchError(f"--device {device}: jax {jax.__version__} finds none here") from None
        planned = make_plan(parsed, expand(parsed))
        startup = time.perf_counter() - started
        product, rounded = jax_product(*PRODUCT), jax_product(*PRODUCT, "default")
        results = Store(out or Path(cold, "results"))
        record = provenance.record(parsed, config, " ".join(sys.argv), 1)
        schema = runs_schema({key: number.kind for key, number in parsed.numbers.items()})
        results.create(record, schema)
        spent = {program: np.zeros(4) for program in planned.programs}
        started = time.perf_counter()
        for shard in planned.shards:
            result = train_shard(Order(parsed.name, shard.program, planned.grid.rows(shard.index_R)))
            results.publish(result.runs, result.curves)
            spent[shard.program] += len(shard.index_R), shard.work, result.train_seconds, result.other_seconds
        seconds = time.perf_counter() - started
        product = max(product, jax_product(*PRODUCT))
        total = sum(spent.values(), np.zeros(4))
        runs, _, trained, _ = total.tolist()
        share = {"training_share_of_worker_time": round(trained / seconds, 4)}
        record["sessions"][-1] |= {"seconds": round(seconds, 1), "runs": int(runs), **share}
        results.create(record, schema)

    def row(name: Figures, figures: np.ndarray) -> Figures:
        runs, work, train, other = figures.tolist()
        rates = {"gflops": work / train / 1e9, "of_the_product": work / train / product}
        return {
            **name,
            "runs": int(runs),
            "train_seconds": train,
            "compile_and_other_seconds": other,
            **rates,
        }

    table = [
        row({"hidden_size": p.values["hidden_size"], "rows": p.rows, "lanes": p.lanes}, figures)
        for p, figures in sorted(spent.items(), key=lambda item: (item[0].static, item[0].rows))
    ]
    table.append(row({"hidden_size": "all", "rows": "", "lanes": ""}, total))
    speed = {"product_gflops": product / 1e9, "rounded_product_gflops": rounded / 1e9}
    return {"device": kind, **speed, "startup_seconds": startup, "seconds": seconds, "programs": table}


def plain_config(name: str, cluster: str = "local") -> Config:
    """What Hydra composes from conf/ and sweeps/`name`.yaml, as a plain dict, without Hydra."""
    conf, sweeps = configs()
    root, own = _yaml(conf / "config.yaml"), _yaml(sweeps / f"{name}.yaml")
    chosen: dict[str, str] = {}
    for entry in [*root.pop("defaults"), *own.pop("defaults", [])]:
        if isinstance(entry, dict):  # {task: parity} or {override /task: parity}; not _self_
            chosen |= {group.removeprefix("override /"): choice for group, choice in entry.items()}
    del chosen["sweeps"]
    chosen["cluster"] = cluster
    blocks = {"cluster": _yaml(conf / "cluster" / f"{chosen.pop('cluster')}.yaml")}
    for kind, choice in chosen.items():
        numbers = registry.find(kind, choice).numbers
        blocks[kind] = {"name": choice, **{key: number.default for key, number in numbers.items()}}
    config = _merged(_merged(root, blocks), own)
    return {**config, "out": config["out"].replace("${name}", config["name"])}


def _yaml(path: Path) -> Config:
    content: Config = yaml.safe_load(path.read_text(encoding="utf-8"))
    return content


def _merged(under: Config, over: Config) -> Config:
    both = {k: _merged(under[k], over[k]) for k in under if isinstance(under[k], dict) and k in over}
    return {**under, **over, **both}
