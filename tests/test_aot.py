"""What is read off programs compiled for devices that are not here, the record, and the planner by it."""

import importlib.util
import math
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import yaml

from grok_sweep.bench import aot
from grok_sweep.bench.device import recorded
from grok_sweep.bench.hlo import CYCLES, UNSAID, estimated, loops, size
from grok_sweep.core.config import parse
from grok_sweep.core.grid import expand
from grok_sweep.core.plan import COSTS, make_plan

ROWS = yaml.safe_load((Path(__file__).parent / "aot.yaml").read_text(encoding="utf-8"))
NAMED = ("sweep", "device", "hidden_size", "dtype", "rows", "lanes", "engine", "calls")
TPU = importlib.util.find_spec("libtpu") is not None


@pytest.mark.parametrize("products", [1, 2])
def test_a_step_is_what_is_launched_in_the_innermost_loop(products):
    """On a CPU: the products, a tanh each, and the loop's counter, which is 3 numbers of 4 bytes."""

    w_NN = np.eye(64, dtype=np.float32)

    def step(x_NN, _):
        for _ in range(products):
            x_NN = jnp.tanh(x_NN @ w_NN)
        return x_NN, None

    def train(x_NN):
        def segment(x_NN, _):
            return jax.lax.scan(step, x_NN, None, length=7)

        return jax.lax.scan(segment, x_NN, None, length=3)[0]

    made = jax.jit(train).lower(jax.ShapeDtypeStruct((64, 64), jnp.float32)).compile()
    *_, around, inner = loops(made.as_text())
    assert around.kernels == 1
    assert inner.kernels == 2 * products + 1
    assert inner.bytes == products * (3 + 2) * 64 * 64 * 4 + 12


@pytest.mark.parametrize(
    ("shape", "right"),
    [
        ("f32[225,31,258]{2,1,0}", 225 * 31 * 258 * 4),
        ("f32[225,31,258]{2,1,0:T(8,128)}", 225 * 32 * 384 * 4),
        ("bf16[225,1750,93]{1,2,0:T(8,128)(2,1)}", 225 * 1792 * 96 * 2),
        ("bf16[225,1750,93]{1,2,0:T(8,128)(2,1)S(1)}", 0),
        ("(f32[225]{0:T(256)}, f32[225]{0:T(256)S(1)}, /*index=2*/pred[])", 256 * 4 + 1),
        ("s32[]{:T(128)}", 4),
        ("token[]", 0),
    ],
)
def test_bytes_are_those_in_memory_padded_to_tiles(shape, right):
    assert size(shape) == right


def test_cycles_that_nobody_has_estimated_count_nothing():
    told = CYCLES.findall(f'"estimated_cycles":"7", "estimated_cycles":"{UNSAID}", "estimated_cycles":"5"')
    assert estimated(told) == 12


def test_the_record_has_every_program_of_the_plans_of_today():
    found = [tuple(row[name] for name in NAMED) for row in ROWS]
    assert len({*found}) == len(found)
    planned = set()
    for device, there in aot.DEVICES.items():
        for sweep in aot.SWEEPS:
            for engine in ("xla", "native") if sweep == "parity_1125" else ("xla",):
                parsed = parse(recorded(sweep, there.kind, engine))
                plan = make_plan(parsed, expand(parsed))
                for program in plan.programs:
                    runs = sum(len(shard.index_R) for shard in plan.shards if shard.program == program)
                    known = {"sweep": sweep, "device": device, **aot.shape(program)}
                    known["calls"] = math.ceil(runs / program.lanes)
                    planned.add(tuple(known[name] for name in NAMED))
    assert {*found} == planned


def test_all_fits_in_memory_and_has_figures():
    for row in ROWS:
        assert "refused" not in row
        assert 0 < row["memory_mb"] * 1e6 < aot.DEVICES[row["device"]].memory
        assert all(row[name] > 0 for name in ("compile_seconds", "kernels", "step_microseconds", "seconds"))
        steps = {"parity_1125": 20_000, "modular_24": 50_000}[row["sweep"]] * row["calls"]
        by_steps = row["step_microseconds"] / 1e6 * steps
        assert by_steps < row["seconds"] * 1.05 < 3 * by_steps  # a logged step is more than a step
    assert "does not fit" not in aot.table(ROWS)


def test_the_planner_estimates_a_tpu_as_the_record_does():
    """That of the slowest, within a fifth for the sweep by each engine."""
    told = aot.totals(ROWS)
    for engine in ("xla", "native"):
        parsed = parse(recorded("parity_1125", "tpu", engine))
        plan = make_plan(parsed, expand(parsed))
        seconds = sum(shard.seconds for shard in plan.shards) - plan.n_runs * COSTS["tpu"].run_seconds
        assert seconds == pytest.approx(told["parity_1125", "v5e", engine], rel=0.2)


def test_our_engine_is_faster_where_it_is_taken():
    told = aot.totals(ROWS)
    for device in aot.DEVICES:
        assert told["parity_1125", device, "native"] < told["parity_1125", device, "xla"]


def test_what_does_not_fit_is_said():
    row = {**ROWS[0], "memory_mb": 1e9}
    assert "does not fit" in aot.table([row])
    refused = {name: row[name] for name in NAMED} | {"refused": "RESOURCE_EXHAUSTED: 20G of 16G"}
    assert "**refused**: RESOURCE_EXHAUSTED: 20G of 16G" in aot.table([refused])


def bench(*arguments):
    command = [sys.executable, "-W", "error", "-m", "grok_sweep.bench", "aot", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.skipif(TPU, reason="libtpu is here")
def test_without_a_compiler_it_is_one_message():
    done = bench("--devices", "v5e")
    assert done.returncode == 2
    assert done.stderr.startswith("bench: aot: nothing here compiles for v5e (")
    assert done.stderr.count("\n") == 1


@pytest.mark.skipif(not TPU, reason="libtpu is not here: it comes with `make aot`")
def test_it_compiles_for_a_tpu_that_is_not_here(tmp_path):
    record = tmp_path / "aot.yaml"
    done = bench("--devices", "v5e", "--sweeps", "modular_24", "--record", str(record))
    assert done.returncode == 0, done.stderr
    found = yaml.safe_load(record.read_text(encoding="utf-8"))
    assert [row["dtype"] for row in found] == ["float32", "float64"]
    assert "| v5e | modular_24 | all | native |" in done.stdout
