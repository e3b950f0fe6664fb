"""What an accelerator's plan would cost, by XLA's own compilers for devices that are not here.

They need no driver: `libtpu` compiles for a TPU, jax's plugin for CUDA for a GPU that is described to it.
Read off the compiled program, of a step, which is the body of its innermost loop:

- kernels: what is launched; see `hlo`.
- bytes: of the operands and results of each in the device's memory, padded as they lie there. What XLA keeps
  on the chip counts nothing, and what a GPU may still find in its cache counts whole.
- seconds: bytes / `bandwidth`; on a TPU XLA's estimate of the cycles of all fusions / `clock`, if longer.
  It is the least that it can take: no launches, no waiting.

A sweep is steps, and the logged ones the same way from the loop around them, times the calls; compiling is
not in it. Compiling is in seconds of one core, which other work on the machine does not change.
"""

import contextlib
import math
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import distributions
from typing import Any

import yaml

from grok_sweep.bench.device import recorded
from grok_sweep.bench.hlo import Body, loops
from grok_sweep.core.config import parse
from grok_sweep.core.engines import ENGINES
from grok_sweep.core.grid import expand
from grok_sweep.core.plan import Plan, make_plan
from grok_sweep.core.program import Program
from grok_sweep.errors import ConfigError
from grok_sweep.worker.environment import environment, set_environment
from grok_sweep.worker.inputs import arguments, rows_of

# XLA's own description, as text of its GpuTargetConfigProto: what NVIDIA says of the card.
H100 = """
gpu_device_info {
  cuda_compute_capability { major: 9 } core_count: 132 fpus_per_core: 128 clock_rate_ghz: 1.98
  threads_per_warp: 32 threads_per_block_limit: 1024 threads_per_core_limit: 2048
  registers_per_block_limit: 65536 registers_per_core_limit: 65536
  shared_memory_per_block: 49152 shared_memory_per_block_optin: 232448 shared_memory_per_core: 233472
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  memory_bandwidth: 3352320000000 device_memory_size: 84942979072 l2_cache_size: 52428800
}
platform_name: "CUDA" dnn_version_info { major: 9 minor: 8 } device_description_str: "NVIDIA H100 80GB HBM3"
"""


@dataclass(frozen=True)
class Device:
    """A device that XLA can compile for. Its figures are those of its maker."""

    kind: str  # as in cluster.device
    memory: float  # bytes
    bandwidth: float  # of that memory, bytes per second
    topology: Mapping[str, Any] = field(repr=False)  # of one of it
    clock: float = math.nan  # cycles per second

    def seconds(self, body: Body) -> float:
        """The least that a round of a loop takes."""
        by_cycles = body.cycles / self.clock if body.cycles else 0.0
        return max(by_cycles, body.bytes / self.bandwidth)


def _tpu(name: str, memory: float, bandwidth: float, clock: float) -> Device:
    of_one = {"platform": "tpu", "topology_name": name, "chips_per_host_bounds": [1, 1, 1]}
    return Device("tpu", memory, bandwidth, of_one, clock)


# The clock of a TPU: its products per second in bfloat16 (197, 459, 918 T operations) over those per cycle of
# its matrix units (4 of 128 x 128, 8 of them, 4 of 256 x 256), each an addition and a multiplication.
DEVICES = {
    "h100": Device("gpu", 84.9e9, 3.35e12, {"platform": "cuda", "target_config": H100, "topology": "1x1x1"}),
    "v5e": _tpu("v5e:1x1", 16 * 2**30, 819e9, 1.5e9),
    "v5p": _tpu("v5p:1x1x1", 95 * 2**30, 2765e9, 1.75e9),
    "v6e": _tpu("v6e:1x1", 32 * 2**30, 1640e9, 1.75e9),
}
SWEEPS = ("parity_1125", "modular_24")
Row = dict[str, Any]


def compiled_for(name: str, sweeps: Iterable[str] = SWEEPS) -> Iterator[Row]:
    """A row for each program of the plans of recorded sweeps on a device, by each engine that knows it.

    Raises ConfigError where jax has no compiler for it.
    """
    from jax.experimental import topologies

    device = DEVICES[name]
    os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")  # it is not for a device that others may hold
    # jax itself runs on the CPU, where the arguments are made.
    set_environment({**environment(device.kind), "JAX_PLATFORMS": "cpu"})
    try:
        (there,) = topologies.get_topology_desc(**device.topology).devices
    except RuntimeError as error:
        raise ConfigError(
            [f"aot: nothing here compiles for {name} ({error}); `make aot` installs it"]
        ) from None
    for sweep, plan in ((one, plan) for one in sweeps for plan in plans(one, device.kind)):
        for program in plan.programs:
            of = [shard.index_R for shard in plan.shards if shard.program == program]
            calls = math.ceil(sum(map(len, of)) / program.lanes)
            named = {"sweep": sweep, "device": name, **shape(program), "calls": calls}
            yield named | _figures(program, plan.grid.rows(of[0][:1]), calls, device, there)


def plans(sweep: str, kind: str) -> Iterator[Plan]:
    """Of a recorded sweep on a kind of device, by each engine that knows it."""
    for engine in ENGINES:
        parsed = parse(recorded(sweep, kind, engine))
        with contextlib.suppress(ConfigError):
            yield make_plan(parsed, expand(parsed))


def shape(program: Program) -> Row:
    """By what a program is known in the table."""
    return {
        "hidden_size": program.values["hidden_size"],
        "dtype": program.dtype,
        "rows": program.rows,
        "lanes": program.lanes,
        "engine": program.engine,
    }


def _figures(program: Program, columns: Mapping[str, Any], calls: int, device: Device, there: Any) -> Row:
    """Of a program compiled for a device, from the columns of one of its runs; or why it cannot be."""
    import jax

    from grok_sweep.core.compiled import Compiled
    from grok_sweep.core.engines import EngineError

    on_it = jax.sharding.SingleDeviceSharding(there)
    functions = Compiled(program)
    with jax.enable_x64(program.dtype == "float64"):
        rows = {0: rows_of(program, columns, 0)}
        one = arguments(replace(program, lanes=1), columns, rows, functions.init)
        # As on the worker: not the arrays, but that they are there.
        given = jax.tree.map(
            lambda a: jax.ShapeDtypeStruct((program.lanes, *a.shape[1:]), a.dtype, sharding=on_it), one
        )
        started = time.process_time()
        try:
            with jax.default_device(there):  # from 0.12 on jax asks it for which GPU a kernel of Triton's is
                made: Any = functions.train_for(*given)
        except (jax.errors.JaxRuntimeError, EngineError) as error:
            return {"refused": str(error).splitlines()[0][:200]}
        spent = time.process_time() - started
    needs = made.memory_analysis()
    parts = ("argument", "output", "temp", "generated_code")
    memory = sum(getattr(needs, f"{part}_size_in_bytes") for part in parts) - needs.alias_size_in_bytes
    *_, logged, step = loops(made.as_text())
    logs = program.steps // program.log_every + 1
    seconds = program.steps * device.seconds(step) + logs * device.seconds(logged)
    return {
        "compile_seconds": round(spent, 1),
        "memory_mb": round(memory / 1e6, 1),
        "kernels": step.kernels,
        "step_mb": round(step.bytes / 1e6, 3),
        "step_microseconds": round(device.seconds(step) * 1e6, 2),
        "seconds": round(calls * seconds, 2),
    }


def totals(rows: list[Row]) -> dict[tuple[str, str, str], float]:
    """(sweep, device, engine) -> seconds of all its programs; native: by XLA where only that does."""
    found: dict[tuple[str, str, str], float] = {}
    for asked in ENGINES:
        best: dict[tuple[Any, ...], Row] = {}
        for row in rows:  # those by XLA are first
            if asked == "native" or row["engine"] == "xla":
                best[row["sweep"], row["device"], row["hidden_size"], row["dtype"]] = row
        for row in best.values():
            key = row["sweep"], row["device"], asked
            found[key] = found.get(key, 0.0) + row.get("seconds", math.nan)
    return found


def table(rows: list[Row]) -> str:
    """In Markdown."""
    head: tuple[str, ...] = (
        "device",
        "sweep",
        "hidden",
        "engine",
        "lanes x rows, calls",
        "compiling, s of a core",
    )
    head += ("memory, GB", "kernels a step", "MB a step", "microseconds a step", "seconds in all")
    lines = [head, ("---",) * len(head)]
    for row in rows:
        memory = DEVICES[row["device"]].memory
        named = [row["device"], row["sweep"], f"{row['hidden_size']} {row['dtype']}", row["engine"]]
        named.append(f"{row['lanes']} x {row['rows']}, {row['calls']}")
        if "refused" in row:
            lines.append((*named, f"**refused**: {row['refused']}", *[""] * 5))
            continue
        fits = "" if row["memory_mb"] * 1e6 < memory else " **does not fit**"
        needs = f"{row['memory_mb'] / 1e3:.2f} of {memory / 1e9:.0f}{fits}"
        keys = ("kernels", "step_mb", "step_microseconds", "seconds")
        lines.append((*named, f"{row['compile_seconds']}", needs, *(f"{row[key]:,}" for key in keys)))
    for (sweep, device, asked), seconds in totals(rows).items():
        lines.append((device, sweep, "all", asked, *[""] * 6, f"**{seconds:,.1f}**"))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def record(rows: list[Row]) -> str:
    """In YAML, a line for each."""
    names = ("jax", "libtpu", "jax-cuda12-plugin", "flax", "optax")
    found = {one.metadata["Name"]: one.version for one in distributions()}
    by = ", ".join(f"{name} {found[name]}" for name in names if name in found)
    head = f"# By `make aot`, without a device: see grok_sweep/bench/aot.py. Compiled by {by}.\n"
    return head + yaml.safe_dump(rows, default_flow_style=None, sort_keys=False, width=1000)
