"""What a native engine knows: rows of small whole numbers through one hidden layer of relu, in float32."""

import math

from grok_sweep.core.networks import ReluMLP
from grok_sweep.core.program import Program
from grok_sweep.core.tasks.parity import Parity

MOST_FEATURES = 64
MOST_HIDDEN = 512  # a kernel holds the hidden layer of some rows at once


def unknown(program: Program) -> str:
    """Why a program is none for it; "" where it is one."""
    if program.device not in ("cpu", "gpu"):
        return f"there is none for cluster.device={program.device}"
    shape, kind = program.row
    if not isinstance(program.built, ReluMLP):
        return f"it knows the network of relu_mlp, not that of {program.model}"
    if type(program.part("task")).loss is not Parity.loss:
        return f"it knows the loss of parity, not that of {program.task}"
    if program.device == "cpu" and not program.part("task").bits:
        return f"it knows rows of bits on a CPU, which the task {program.task} does not say that it has"
    if program.dtype != "float32" or program.batch_size:
        return "it trains in float32, by all rows in each step"
    if kind != "int8" or math.prod(shape) > MOST_FEATURES or program.built.hidden_size > MOST_HIDDEN:
        return f"it knows rows of at most {MOST_FEATURES} 8-bit numbers, and {MOST_HIDDEN} neurons"
    return ""
