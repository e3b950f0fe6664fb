"""Every program of every sweep that is here lowers for a GPU and a TPU, without one."""

import dataclasses

import jax
import numpy as np
import pytest

from grok_sweep.compose import compose, using
from grok_sweep.core.choices import choices
from grok_sweep.core.compiled import _lanes, make_init
from grok_sweep.core.config import parse
from grok_sweep.core.engines.relu import LEAST_HIDDEN_TPU
from grok_sweep.core.grid import expand
from grok_sweep.core.plan import few, make_plan
from grok_sweep.core.train import make_train
from grok_sweep.sweep_file import source_of
from grok_sweep.worker.inputs import arguments, rows_of

SWEEPS = [
    *("quickstart", "parity_1125", "parity_digits", "modular_24", "modular_circle", "modular_seeds"),
    *("modular_architectures", "modular_forgets", "modular_returns", "fractal"),
    *("liu2022_a", "liu2022_b", "liu2022_c", "liu2022_d"),
]
PLATFORMS = {"gpu": "cuda", "tpu": "tpu"}
LANES = 2  # the shapes of more are the same but for their number
OURS = [jax.export.DisabledSafetyCheck.custom_call("__gpu$xla.gpu.triton")]  # the native engine's


def shapes_of(init):
    """It with zeros for weights: they need not be computed."""

    def zeros(*of):
        return jax.tree.map(lambda a: np.zeros(a.shape, a.dtype), jax.eval_shape(init, *of))

    return zeros


def programs(name, device):
    """(program of two lanes, its arguments) of each program of a sweep on a device."""
    source = source_of([f"sweeps={name}"])
    with using(source):
        config, problems = compose([f"sweeps={name}", f"cluster={device}"])
        assert not problems
        sweep = few(parse(config, source))
        plan = make_plan(sweep, expand(sweep))
        for one in plan.programs:
            index_R = next(shard.index_R for shard in plan.shards if shard.program == one)
            columns, program = plan.grid.rows(index_R), dataclasses.replace(one, lanes=LANES)
            rows = {run: rows_of(program, columns, run) for run in range(min(LANES, len(index_R)))}
            with jax.enable_x64(program.dtype == "float64"):
                yield program, arguments(program, columns, rows, shapes_of(make_init(program)))


def test_all_sweeps_are_tried():
    assert sorted(SWEEPS) == sorted(choices("sweeps"))


@pytest.mark.usefixtures("h100")
@pytest.mark.parametrize("name", SWEEPS)
def test_every_program_lowers(name):
    lowered, engines, expected = [], set(), set()
    parity = name in ("quickstart", "parity_1125", "parity_digits")
    for device, platform in PLATFORMS.items():
        for program, of_two in programs(name, device):
            engines.add((device, program.engine))
            knows = parity and (device == "gpu" or program.built.hidden_size >= LEAST_HIDDEN_TPU)
            expected.add((device, "native" if knows else "xla"))
            if program in lowered:  # XLA's are the same on both, but for their lanes
                continue
            by_xla = program.engine == "xla"
            platforms = [*PLATFORMS.values()] if by_xla else [platform]
            with jax.enable_x64(program.dtype == "float64"):
                train = _lanes(make_train(program), LANES)
                exported = jax.export.export(train, platforms=platforms, disabled_checks=OURS)(*of_two)
            assert exported.platforms == tuple(platforms)
            if by_xla:
                lowered.append(program)
    assert engines == expected
