"""What a sweep's results mean: phases, cells and the phase diagram.

Reads a results folder through grok_sweep.store, and asks grok_sweep.core for the rows of runs whose weights
it opens, which hyperparameters have no effect on a run, and what definitions of phases there are; imports
nothing else of grok_sweep, nor jax, ray or hydra. matplotlib is loaded when something is to be drawn.
"""

import importlib
from typing import TYPE_CHECKING, Any

from analysis import fourier
from analysis.boundary import boundaries
from analysis.cells import cells, joint, wilson
from analysis.circuits import circuits
from analysis.comparison import compare
from analysis.expected import expected_runs
from analysis.load import (
    Weights,
    each_weights,
    load_curves,
    load_repeats,
    load_runs,
    load_weights,
    select,
    settings,
)
from analysis.phases import DEFINITIONS, MAX_RATIO, MIN_LOSS, PHASES, classify, load_phases, looks
from analysis.pixels import box_dimension
from analysis.repeats import repeats
from analysis.scaling import scaling
from analysis.shifts import shifts
from analysis.steps import steps
from analysis.times import survival, times

if TYPE_CHECKING:
    from analysis.figures import phase_diagram
    from analysis.report import Analysis, analyze, end_report, write_report
    from analysis.style import save

# What draws, by the module that it is in.
_DRAWING = dict.fromkeys(("Analysis", "analyze", "end_report", "write_report"), "report")
_DRAWING |= {"phase_diagram": "figures", "save": "style"}

__all__ = [
    "DEFINITIONS",
    "MAX_RATIO",
    "MIN_LOSS",
    "PHASES",
    "Analysis",
    "Weights",
    "analyze",
    "boundaries",
    "box_dimension",
    "cells",
    "circuits",
    "classify",
    "compare",
    "each_weights",
    "end_report",
    "expected_runs",
    "fourier",
    "joint",
    "load_curves",
    "load_phases",
    "load_repeats",
    "load_runs",
    "load_weights",
    "looks",
    "phase_diagram",
    "repeats",
    "save",
    "scaling",
    "select",
    "settings",
    "shifts",
    "steps",
    "survival",
    "times",
    "wilson",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in _DRAWING:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_DRAWING[name]}"), name)
