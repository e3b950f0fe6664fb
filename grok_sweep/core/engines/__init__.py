"""Engines: what computes the outputs and gradients of a program.

`xla` does every program on every device. `native` is a kernel of this package's own, for the programs that it
knows: one hidden layer of relu on rows of bits (`relu_cpu`) or of small whole numbers (`relu_gpu`,
`relu_tpu`), and on a CPU the networks of modular addition (`modular_cpu`).
An engine has three methods: `inputs(x)`, rows of the task as it wants them, once before training;
`outputs(params, inputs)`; and `gradient(params, inputs, y_N, weight_N)` of the sum of the weighted losses.
One that `knows_adamw` has `adamw(h, steps, (params, moments), inputs, y_N, weight_N)` too, of some steps.
"""

from typing import TYPE_CHECKING, Any

from grok_sweep.core.builtin import adamw
from grok_sweep.errors import ConfigError

if TYPE_CHECKING:  # it loads jax
    from grok_sweep.core.program import Program

ENGINES = ("xla", "native")


class EngineError(Exception):
    """An engine's kernel does not compile for the device that is here, and why."""


def chosen(program: "Program", asked: str) -> str:
    """The engine of a program on its device: `asked`, or with auto native where that knows it, and pays.

    Raises ConfigError where native is asked for and does not know it.
    """
    if asked == "xla":
        return "xla"
    from grok_sweep.core.engines import modular_cpu, relu  # which load jax, as a plan does

    why = modular_cpu.unknown(program) if of_modular(program) else relu.unknown(program)
    if why and asked == "native":
        raise ConfigError([f"engine=native: {why}; engine=auto takes xla there"])
    slower = asked == "auto" and not why and not of_modular(program) and not relu.pays(program)
    return "xla" if why or slower else "native"


def of_modular(program: "Program") -> bool:
    """Whether its network is one of modular addition, for which the native engine is another."""
    from grok_sweep.core.engines.modular_cpu import NETWORKS

    return isinstance(program.built, NETWORKS)


def knows_adamw(program: "Program") -> bool:
    """Whether the optimizer of a program is adamw, and its engine makes whole steps of it."""
    on_cpu = (program.engine, program.device) == ("native", "cpu")
    return on_cpu and program.part("optimizer") is adamw and not of_modular(program)


def engine(program: "Program", model: Any, losses: Any) -> Any:
    """The engine of a program, while it is traced: of its network and its losses of outputs and y."""
    if program.engine == "native" and program.device == "cpu":
        from grok_sweep.core.engines.modular_cpu import ModularCpu
        from grok_sweep.core.engines.relu_cpu import ReluCpu

        return ModularCpu(model) if of_modular(program) else ReluCpu(program, losses)
    if program.engine == "native" and program.device == "tpu":
        from grok_sweep.core.engines.relu_tpu import ReluTpu

        return ReluTpu(program, losses)
    if program.engine == "native":
        from grok_sweep.core.engines.relu_gpu import ReluGpu

        return ReluGpu(program, losses)
    from grok_sweep.core.engines.xla import Xla

    return Xla(program, model, losses)
