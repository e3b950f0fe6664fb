"""The phases of a sweep's runs, by the definition that it chooses: in the process that drives it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from analysis import DEFINITIONS, classify
from grok_sweep.core import registry
from grok_sweep.core.parts import Definition, PartError
from grok_sweep.core.source import blaming
from grok_sweep.core.sweep import Sweep
from grok_sweep.store import curves_schema
from grok_sweep.worker.deciding import By


def chosen(sweep: Sweep) -> Definition:
    """The definition of phases that the sweep chooses, with its thresholds: maybe of the user's own file."""
    found: Definition = registry.find("definition", sweep.definition, sweep.source)
    set_to = {key: replace(n, default=sweep.thresholds[key]) for key, n in found.numbers.items()}
    own = None if sweep.definition in DEFINITIONS else sweep.source
    return replace(found, numbers=set_to, file=own.kept_as if own else "")


def ended_by(sweep: Sweep) -> By | None:
    """Who ends runs whose phase is decided; None: nobody."""
    can_say = sweep.stop_when_decided and chosen(sweep).decided is not None
    return By(sweep.definition, dict(sweep.thresholds)) if can_say else None


def how(sweep: Sweep) -> dict[str, Any]:
    """The same as arguments of `analysis.classify` and `analyze`."""
    if sweep.definition in DEFINITIONS:
        return {"definition": sweep.definition, **sweep.thresholds}
    return {"definition": chosen(sweep)}


def phases(sweep: Sweep, runs: pd.DataFrame, curves: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    """`runs` with their phases; `curves` is asked for where the definition needs them.

    Raises PartError where a definition of the user's own does not work.
    """
    needed = curves() if chosen(sweep).reads_curves and len(runs) else None
    with blaming(sweep.source):
        return classify(runs, curves=needed, **how(sweep))


def rehearse(sweep: Sweep) -> None:
    """Raises PartError where a definition of the user's own cannot sort two made-up runs."""
    if sweep.definition in DEFINITIONS:
        return
    ids = ["0" * 16, "f" * 16]
    step_T = np.unique(np.linspace(0, sweep.steps // sweep.log_every, 40).astype(int)) * sweep.log_every
    falling_T = (1 - 0.9 * step_T / sweep.steps).astype("float32")
    metrics = curves_schema(registry.metrics(sweep.source)).names[2:]
    curve = {name: 1 - falling_T if name.endswith("accuracy") else falling_T for name in metrics}
    one = pd.DataFrame({"step": step_T.astype("int32"), **curve})
    curves = pd.concat([one.assign(run_id=run_id) for run_id in ids], ignore_index=True)
    final = {f"final_{name}": float(curve[name][-1]) for name in metrics if name != "weight_norm"}
    known: dict[str, Any] = {key: getattr(sweep, key) for key in ("task", "model", "optimizer")}
    known |= {"sweep": sweep.name, "steps": sweep.steps, "log_every": sweep.log_every, "device": "cpu"}
    known |= {**sweep.values, **{key: values[0] for key, values in sweep.axes.items()}, **final}
    known |= {"min_train_loss": 0.1, "min_eval_loss": 0.1, "max_loss_ratio": 1.0, "seconds": 1.0}
    runs = pd.DataFrame({"run_id": ids, "seed": [0, 1], **{key: [value] * 2 for key, value in known.items()}})
    runs["diverged_step"] = pd.array([pd.NA, pd.NA], dtype="Int64")
    for name, look in chosen(sweep).phases.items():
        if look.shade and look.shade not in runs.select_dtypes("number"):
            there = f"phase {name} has the shade {look.shade}; there are {', '.join(final)}"
            raise PartError(f"definition {sweep.definition}: {there}")
    phases(sweep, runs, lambda: curves)
