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


def chosen(sweep: Sweep) -> Definition:
    """The definition of phases that the sweep chooses, with its thresholds: maybe of the user's own file."""
    found: Definition = registry.find("definition", sweep.definition, sweep.source)
    set_to = {key: replace(n, default=sweep.thresholds[key]) for key, n in found.numbers.items()}
    own = None if sweep.definition in DEFINITIONS else sweep.source
    return replace(found, numbers=set_to, file=own.kept_as if own else "")


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
    step_T = np.unique(np.linspace(0, sweep.steps // sweep.log_every, 40).astype(int)) * sweep.log_every
    done_T = step_T / sweep.steps
    ids = ["0" * 16, "f" * 16]
    losses = dict.fromkeys(("train_loss", "eval_loss"), 1 - 0.9 * done_T)
    accuracies = dict.fromkeys(("train_accuracy", "eval_accuracy"), 0.5 + 0.5 * done_T)
    others = dict.fromkeys(("weight_norm", *registry.metrics(sweep.source)), np.full(len(step_T), 0.5))
    one = pd.DataFrame({"step": step_T.astype("int32"), **losses, **accuracies, **others})
    one = one.astype({name: "float32" for name in one if name != "step"})
    curves = pd.concat([one.assign(run_id=run_id) for run_id in ids], ignore_index=True)
    first = {**sweep.values, **{key: values[0] for key, values in sweep.axes.items()}}
    known: dict[str, Any] = {
        "sweep": sweep.name,
        "task": sweep.task,
        "model": sweep.model,
        "optimizer": sweep.optimizer,
    }
    known |= {"steps": sweep.steps, "log_every": sweep.log_every, "device": "cpu", "seconds": 1.0, **first}
    known |= {"min_train_loss": 0.1, "min_eval_loss": 0.1, "max_loss_ratio": 1.0}
    last = {f"final_{name}": float(one[name].iloc[-1]) for name in one if name not in ("step", "weight_norm")}
    known |= last
    runs = pd.DataFrame({"run_id": ids, "seed": [0, 1], **{k: [v, v] for k, v in known.items()}})
    runs["diverged_step"] = pd.array([pd.NA, pd.NA], dtype="Int64")
    for name, of in chosen(sweep).phases.items():
        if of.shade and (of.shade not in runs or runs[of.shade].dtype.kind not in "if"):
            there = ", ".join(last)
            raise PartError(
                f"definition {sweep.definition}: phase {name} has the shade {of.shade}; there are {there}"
            )
    phases(sweep, runs, lambda: curves)


class Sorter:
    """Phases while a sweep goes on; a definition of the user's own that does not work is told of, once."""

    def __init__(self, sweep: Sweep, note: Callable[[str], None]) -> None:
        self._sweep, self._note, self._said = sweep, note, False

    def phases(self, runs: pd.DataFrame, curves: Callable[[], pd.DataFrame]) -> pd.DataFrame:
        """`runs` with their phases, or with none where they cannot be sorted."""
        try:
            return phases(self._sweep, runs, curves)
        except PartError as error:
            if not self._said:
                self._note(f"{_told(self._sweep, error)}; training goes on, without phases")
            self._said = True
            return runs.assign(phase=np.full(len(runs), None, dtype=object))


def advice(sweep: Sweep, error: PartError) -> str:
    """What to say where the runs are trained and cannot be sorted."""
    then = f"`grok-analyze {sweep.out} --definition pair` sorts them without it"
    told = _told(sweep, error)
    return f"grok-sweep: {told}; the runs are kept: mend it and add accept_code=true, or {then}"


def _told(sweep: Sweep, error: PartError) -> str:
    """What is wrong, and in which file."""
    file = f"{sweep.source.name}: " if sweep.source else ""
    return str(error) if str(error).startswith(file[:-2]) else f"{file}{error}"
