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
    # In each step, beside operations: of a number that is trained, which the optimizer goes through many
    # times, and of one that comes out of a row, as the loss does, by XLA and by the native engine.
    weight_seconds: float = 0.0
    output_seconds: float = 0.0
    native_output: float = 0.0

    def rate(self, program: "Program") -> float:
        """Operations per second of a program."""
        if program.engine != "native":
            return self.operations_per_second * min(1, 4 / program.number_bytes)
        return self.native_modular if engines.of_modular(program) else self.native_operations

    def beside(self, program: "Program") -> float:
        """Seconds of one step of one lane beside its operations: the optimizer's and the loss's."""
        is_native = program.engine == "native"
        if is_native and not engines.of_modular(program):
            return 0.0  # they are in its rate
        weights, outputs = program.sizes
        output = self.native_output if is_native else self.output_seconds
        wide = max(1, program.number_bytes / 4)
        return wide * (weights * self.weight_seconds + outputs * program.step_rows * output)


COSTS = {
    # One core (AMD Zen 5). Hidden layers that leave the cache halve the speed of XLA's programs, so a call
    # has few lanes; native keeps none but of a logged step, and more than 16 lanes gain nothing.
    "cpu": Costs(100e9, 15e-6, 2.0, 1e-3, 2**17, 2**30, 2**18, 500e9, 200e9, 16, 0.0, 0.7e-9, 0.7e-9, 0.5e-9),
    # All lanes at once: memory traffic and kernel launches are the cost. From tests/h100.yaml.
    "gpu": Costs(12e12, 50e-6, 4.0, 1e-3, 16e9, 16e9, math.inf, 62e12),
    # Not yet run: a v5e's by XLA's cycles (tests/aot.yaml). A step that stays on the chip is a third faster.
    "tpu": Costs(5.4e12, 50e-6, 20.0, 1e-3, 145e6, 8e9, math.inf, 18e12, row_bytes=400),
}
