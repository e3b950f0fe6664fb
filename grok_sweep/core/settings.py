"""The keys of a config that are of no part: what each is, and what it may be."""

from typing import Any

from grok_sweep.core.engines import ENGINES
from grok_sweep.core.number import Number

SEED = Number(int, "of data and initial weights", 0, 2**31 - 1)
SEEDS = Number(int, "how many seeds, from 0 on", 1, 2**31 - 1)
ONLY = "a query of pandas on the cells of the folder, as n_grok > 0 and n_fail > 0: no others are trained"
REFINE = "an axis: runs where boundaries along it are least sure, values between and more seeds, in rounds"
OPTIONS: dict[str, tuple[list[Any], str]] = {  # allowed, and what the last of them does, or each
    "report": ([None, "live"], "live: the page of the sweep, written again and again while shards land"),
    "engine": (["auto", *ENGINES], "native: kernels of our own; xla: jax's; auto: native for what it knows"),
    "dry_run": ([False, True], "true: print the plan, train and write nothing"),
    "redo": (
        [False, True],
        "true: only= is a query on runs, and the finished ones it chooses are trained again",
    ),
    "retry_crashed": ([False, True], "true: train again what crashed in an earlier session"),
    "accept_code": ([False, True], "true: go on although the package or the file of parts has changed since"),
    "fail_fast": ([False, True], "true: stop at the first shard that crashes"),
    "stop_when_decided": ([False, True], "true: end a run whose phase can no longer change"),
}
SETTINGS = {
    "repeats": Number(
        int, "trainings of each run, from the second on with its rows in another order", 1, 1000
    ),
    "refine.budget": Number(
        int, "runs beyond the grid, at most, that make its boundaries surer", 1, 1_000_000_000
    ),
    "refine.width": Number(float, "of an interval that is narrow enough; null: none is", 0, above=True),
    "train.steps": Number(int, "steps of each run", 1, 1_000_000_000),
    "train.log_every": Number(int, "steps between two rows of a curve", 1, 1_000_000_000),
    "train.batch_size": Number(int, "rows of a mini-batch, anew each epoch; null: all rows", 1, 10_000_000),
    "train.snapshot_every": Number(int, "steps between records of weights; null: none", 1, 1_000_000_000),
    "cluster.shard_seconds": Number(float, "about what a worker does in one call", 0, above=True),
    "cluster.workers": Number(int, "worker processes; null: one per core or accelerator", 1, 1_000_000),
    "cluster.workers_per_gpu": Number(int, "workers that share one GPU and its memory", 1, 64),
    "cluster.max_retries": Number(int, "how often a shard whose worker died is tried again", 0, 1000),
    "cluster.deadline_factor": Number(float, "times the estimate, after which a worker hangs", 1),
    "cluster.deadline_seconds": Number(float, "before which no worker counts as hanging", 0, above=True),
}
