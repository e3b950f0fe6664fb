"""What is measured in fresh processes: their variables are set before numpy and jax start."""

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from grok_sweep.core.config import parse
from grok_sweep.core.grid import canonical, expand, identity

Call = Callable[..., list[Any]]


@contextmanager
def processes(count: int, variables: Mapping[str, str | None]) -> Iterator[Call]:
    """`count` processes with these variables (None: without), as a function: `call(function, *arguments)` has
    all of them call it at the same time, and gives their answers.
    """
    kept = dict(os.environ)
    new = multiprocessing.get_context("spawn")  # a fork jax does not survive
    with ExitStack() as stack:
        started = [stack.enter_context(ProcessPoolExecutor(1, new)) for _ in range(count)]
        os.environ.update({name: value for name, value in variables.items() if value is not None})
        for name in variables.keys() & kept.keys():
            if variables[name] is None:
                del os.environ[name]
        wait([process.submit(int) for process in started])
        os.environ.clear()
        os.environ.update(kept)

        def call(function: Callable[..., Any], *arguments: Any) -> list[Any]:
            answers = [process.submit(function, *arguments) for process in started]
            return [answer.result() for answer in answers]

        yield call


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


def jax_product(size: int, seconds: float) -> float:
    """The same on jax's device."""
    import jax

    a, b = jax.random.uniform(jax.random.key(0), (2, size, size))
    multiply = jax.jit(jax.numpy.matmul)
    return _rate(lambda: multiply(a, b).block_until_ready(), size, seconds)


def _rate(multiply: Callable[[], Any], size: int, seconds: float) -> float:
    multiply()
    done, started = 0, time.perf_counter()
    while not done or time.perf_counter() - started < seconds:
        multiply()
        done += 1
    return done * 2 * size**3 / (time.perf_counter() - started)


def expand_and_plan(config: Mapping[str, Any]) -> dict[str, Any]:
    """Expand and plan a grid: how many runs it has, and the memory that it took."""
    from grok_sweep.core.plan import make_plan

    sweep = parse(config)
    grid = expand(sweep)
    make_plan(sweep, grid)
    return {"runs": len(grid), "peak_gb": peak_gb()}


def json_seconds(config: Mapping[str, Any], sample: int = 20_000) -> float:
    """What a run of a grid costs where it is written plainly: one JSON each."""
    sweep = parse(config)
    started = time.perf_counter()
    for seed in range(sample):
        canonical(identity(sweep, dict(sweep.values), seed))
    return (time.perf_counter() - started) / sample
