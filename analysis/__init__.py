"""What a sweep's results mean: phases, cells and the phase diagram.

Reads a results folder through grok_sweep.store and imports nothing else of grok_sweep, nor jax, ray or hydra.
"""

from analysis.cells import cells, wilson
from analysis.figures import phase_diagram, save
from analysis.phases import DEFINITIONS, MAX_RATIO, MIN_LOSS, PHASES, classify
from analysis.read import load_curves, load_runs, settings
from analysis.report import Analysis, analyze

__all__ = [
    "DEFINITIONS",
    "MAX_RATIO",
    "MIN_LOSS",
    "PHASES",
    "Analysis",
    "analyze",
    "cells",
    "classify",
    "load_curves",
    "load_runs",
    "phase_diagram",
    "save",
    "settings",
    "wilson",
]
