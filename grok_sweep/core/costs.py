"""What a device is good for, so that a plan can say what a program costs there."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from grok_sweep.core import engines

if TYPE_CHECKING:  # it loads jax
    from grok_sweep.core.program import Program


@dataclass(frozen=True)
class Costs:
    """What a device is good for. Measured on the machines of `make bench`; only their ratios matter."""

    operations_per_second: float  # of XLA's programs
    step_seconds: float  # of one step of one call, whatever it holds: kernel launches, loops
    compile_seconds: float
    run_seconds: float  # of one run beside its training: data, initial weights, its rows of the tables
    call_bytes: float  # memory that the hidden layers of all lanes of a call may take together in a step
    logged_bytes: float  # and in a logged one, with the test rows
    block_bytes: float  # and that of one lane at a time; more rows are gone through in blocks
    native_operations: float = math.nan  # per second, of the native engine's, where there is one
    native_modular: float = math.nan  # of modular addition's
    native_lanes: float = math.inf  # of its calls on a CPU
    row_bytes: float = 0.0  # in `call_bytes`, of a row beside its hidden layer

    def rate(self, program: "Program") -> float:
        """Operations per second of a program."""
        if program.engine != "native":
            return self.operations_per_second
        return self.native_modular if engines.of_modular(program) else self.native_operations


COSTS = {
    # One core (AMD Zen 5). Hidden layers that leave the cache halve the speed of XLA's programs, so a call
    # has few lanes; native keeps none but of a logged step, and more than 16 lanes gain nothing.
    "cpu": Costs(100e9, 15e-6, 2.0, 1e-3, 2**17, 2**30, 2**18, 500e9, 200e9, 16),
    # All lanes at once: memory traffic and kernel launches are the cost. From tests/h100.yaml.
    "gpu": Costs(12e12, 50e-6, 4.0, 1e-3, 16e9, 16e9, math.inf, 62e12),
    # Not yet run: a v5e's by XLA's cycles (tests/aot.yaml). A step that stays on the chip is a third faster.
    "tpu": Costs(5.4e12, 50e-6, 20.0, 1e-3, 145e6, 8e9, math.inf, 18e12, row_bytes=400),
}
