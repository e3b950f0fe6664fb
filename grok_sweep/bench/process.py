"""What `grok_sweep.bench` measures in fresh processes: their variables are set before numpy and jax start.

Never a fork, which jax does not survive: `processes` starts this module anew and calls its functions.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from grok_sweep.core.config import parse
from grok_sweep.core.grid import canonical, expand, identity

Call = Callable[..., list[Any]]
Figures = dict[str, Any]  # printed and written as they are: numbers, words, tables as lists of dicts


class BenchError(Exception):
    """What cannot be measured, and why."""


@contextmanager
def processes(count: int, variables: Mapping[str, str | None]) -> Iterator[Call]:
    """`count` processes with these variables (None: without), as a function: `call(name, *arguments)` has
    all of them call that function of this module at the same time, and gives their answers.
    """
    environment = {k: v for k, v in {**os.environ, **variables}.items() if v is not None}
    command = [sys.executable, "-m", "grok_sweep.bench.process"]
    with ExitStack() as stack:
        started = [
            stack.enter_context(
                subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
                )
            )
            for _ in range(count)
        ]

        def call(name: str, *arguments: Any) -> list[Any]:
            try:
                for process in started:
                    print(json.dumps([name, arguments]), file=process.stdin, flush=True)
            except BrokenPipeError:
                raise BenchError(f"{name}: a process ended before its call") from None
            answers = [process.stdout.readline() if process.stdout else "" for process in started]
            if not all(answers):
                raise BenchError(f"{name}: a process failed; what it said stands above")
            return [json.loads(answer) for answer in answers]

        yield call


def serve() -> None:
    """Answer calls, a line of JSON each, until there are no more."""
    for line in sys.stdin:
        name, arguments = json.loads(line)
        print(json.dumps(globals()[name](*arguments)), flush=True)


def peak_gb(process: int | str = "self") -> float:
    """The most memory that a process had, without its children; 0 where /proc does not say.

    Not getrusage: its maximum begins with that of the parent which started the process.
    """
    try:
        status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) * 1024 / 1e9


def numpy_product(size: int, seconds: float) -> float:
    """Operations per second of float32 matrix products for about `seconds`."""
    a, b = np.random.default_rng(0).random((2, size, size), dtype=np.float32)
    c = np.empty_like(a)
    return _rate(lambda: np.matmul(a, b, out=c), size, seconds)


def jax_product(size: int, seconds: float, precision: str | None = None) -> float:
    """The same on jax's device."""
    import jax

    a, b = jax.random.uniform(jax.random.key(0), (2, size, size))
    multiply = jax.jit(lambda a, b: jax.numpy.matmul(a, b, precision=precision))
    return _rate(lambda: multiply(a, b).block_until_ready(), size, seconds)


def _rate(multiply: Callable[[], Any], size: int, seconds: float) -> float:
    multiply()
    done, started = 0, time.perf_counter()
    while not done or time.perf_counter() - started < seconds:
        multiply()
        done += 1
    return done * 2 * size**3 / (time.perf_counter() - started)


def programs(config: Mapping[str, Any]) -> list[Figures]:
    """The programs of a sweep's plan: their hidden size, and the useful operations of all their runs."""
    from grok_sweep.core.plan import make_plan

    sweep = parse(config)
    plan = make_plan(sweep, expand(sweep))
    return [
        {"hidden_size": p.values["hidden_size"], "work": sum(s.work for s in plan.shards if s.program == p)}
        for p in plan.programs
    ]


def train_program(config: Mapping[str, Any], index: int, call_seconds: float, calls: int) -> float:
    """Useful operations per second of one program of the plan in `calls` calls.

    Steps are cut until a call takes about `call_seconds`; logging counts as in the sweep, compiling not.
    """
    from grok_sweep.core.plan import make_plan
    from grok_sweep.worker import Order, train_shard

    sweep = parse(config)
    plan = make_plan(sweep, expand(sweep))
    whole = plan.programs[index]
    shard = next(shard for shard in plan.shards if shard.program == whole)
    estimate = shard.seconds / -(-len(shard.index_R) // whole.lanes)
    segments = whole.steps // whole.log_every
    steps = whole.log_every * min(segments, max(1, round(segments * call_seconds / estimate)))
    program = replace(whole, steps=steps)
    columns = plan.grid.rows(np.resize(shard.index_R, calls * program.lanes))
    result = train_shard(Order("bench", program, columns))
    rows_R = plan.rows_R[np.resize(shard.index_R, calls * program.lanes)]
    operations = sum(program.step_operations(int(n)) for n in rows_R)
    return steps * operations / result.train_seconds


def expand_and_plan(config: Mapping[str, Any]) -> Figures:
    """Seconds and memory of a grid and its plan, and of what a grid costs written plainly: one JSON a run."""
    from grok_sweep.core.plan import make_plan

    sweep = parse(config)
    times = [time.perf_counter()]
    grid = expand(sweep)
    times.append(time.perf_counter())
    plan = make_plan(sweep, grid)
    times.append(time.perf_counter())
    peak = peak_gb()
    sample = min(len(grid), 20_000)
    for seed in range(sample):
        canonical(identity(sweep, dict(sweep.values), seed))
    plain = (time.perf_counter() - times[2]) * len(grid) / sample
    return {
        "runs": len(grid),
        "shards": len(plan.shards),
        "expand_seconds": times[1] - times[0],
        "plan_seconds": times[2] - times[1],
        "one_json_per_run_seconds": plain,
        "sample_seconds": plain * sample / len(grid),
        "peak_gb": peak,
    }


if __name__ == "__main__":
    serve()
