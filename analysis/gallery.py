"""The pictures that apply to a sweep: of all its runs, and of one whose weights were recorded."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.cells import axes
from analysis.circuit_pictures import constructed_circle, frequency_distribution, stars
from analysis.circuits import network
from analysis.curve_pictures import curves_picture
from analysis.load import Weights
from analysis.steps import ACCURACY
from analysis.wave_pictures import coefficients_over_training, logits_picture, waves
from analysis.weight_pictures import arrays_over_training, trajectories, weights_over_training
from analysis.words import definition, loss_unit, setting
from grok_sweep.core import registry

MOST_CURVES = 200  # runs whose curves can still be told apart from a block of colour
MOST_SETTINGS = 4  # of runs with weights: of so few each has its weights drawn
CIRCLES = (3, 5, 6, 7)  # neurons of the constructed solutions that are drawn beside a trained circle

NAMES = (
    *("curves", "run_curves", "weights", "trajectories", "waves", "coefficients", "stars", "logits"),
    *("frequencies", "constructed"),
    *(f"{name}_{place}" for place in range(2, MOST_SETTINGS + 1) for name in ("weights", "trajectories")),
)


@dataclass(frozen=True)
class Opened:
    """A run that is opened: why it, and its weights, if it has some."""

    run_id: str
    why: str
    weights: Weights | None = None


def varying(phases: pd.DataFrame) -> list[str]:
    """The settings in which the runs differ."""
    return [name for name in axes(phases) if phases[name].nunique(dropna=False) > 1]


def chosen(
    circuits: pd.DataFrame, with_weights: set[str], names: Sequence[str] = (), run_id: str | None = None
) -> dict[str, str]:
    """run_id -> why, of the runs that are opened, the main one first.

    That is `run_id`, or of those with weights the first to generalise. Where these have up to MOST_SETTINGS
    settings, which differ in `names`, the first of each other setting follows.
    """
    rows = circuits[circuits["run_id"].isin(with_weights)].sort_values("generalize_step", kind="stable")
    kind = "" if len(rows) == len(circuits) else " with weights"
    found = {} if run_id is None else {run_id: "chosen by --run"}
    if run_id is None and len(rows):
        found = {str(rows["run_id"].iloc[0]): _why(rows, kind)}
    settings = [of_one for _, of_one in rows.groupby(list(names), dropna=False)] if names else []
    if len(settings) <= MOST_SETTINGS:
        for of_one in settings:
            if not found.keys() & set(of_one["run_id"]):
                found[str(of_one["run_id"].iloc[0])] = _why(of_one, f"{kind} of this setting")
    return found


def _why(rows: pd.DataFrame, kind: str) -> str:
    """Why the first of some runs, in the order of their generalize_step, is opened."""
    if len(rows) == 1:
        return f"the only run{kind}"
    if rows["generalize_step"].isna().all():
        first = f"the first of {len(rows):,} runs{kind}"
        # Where nothing is right or wrong, none has an accuracy to generalise by.
        none = "best_eval_accuracy" in rows and rows["best_eval_accuracy"].isna().all()
        return first if none else f"{first}, none of which generalised"
    return f"the first of {len(rows):,} runs{kind} at {100 * ACCURACY:g} % of the test"


def gallery(
    circuits: pd.DataFrame, curves: pd.DataFrame, phases: pd.DataFrame, opened: Sequence[Opened]
) -> Iterator[tuple[str, Figure]]:
    """(name, picture) of each that applies; names are among NAMES.

    `circuits`: the table of that name; `curves`, `phases`: of all its runs; `opened`: the runs that are
    opened, of which all but the first have their weights drawn only. Where there are more than MOST_CURVES
    runs, evenly chosen ones stand for all in `curves`.
    """
    sweep = str(circuits["sweep"].iloc[0])
    ids = circuits["run_id"].to_numpy()
    shown = ids[np.unique(np.linspace(0, len(ids) - 1, MOST_CURVES).astype(int))]
    title = f"{sweep} · {len(shown)} of {len(ids)} runs" if len(shown) < len(ids) else sweep
    unit = loss_unit(phases)
    settings = phases.set_index("run_id")[varying(phases)]
    yield "curves", curves_picture(curves[curves["run_id"].isin(shown)], title, settings=settings, unit=unit)
    # The circle's embedding has one frequency: that of its neurons is no finding.
    models = [registry.built_in("model", name) for name in circuits["model"].unique()]
    circles = [model is not None and model.opens == "circle" for model in models]
    fixed = all(circles)
    if "n_frequencies" in circuits and circuits["modulus"].nunique() == 1 and len(circuits) > 1 and not fixed:
        yield "frequencies", frequency_distribution(circuits, sweep)
    for place, one in enumerate(opened):
        run = phases.loc[phases["run_id"] == one.run_id].iloc[0]
        name = _title(run, phases, one.why)
        if place == 0:
            yield "run_curves", curves_picture(curves[curves["run_id"] == one.run_id], name, unit=unit)
        if one.weights is not None:
            found = circuits.loc[circuits["run_id"] == one.run_id].iloc[0]
            yield from _weights(found, one.weights, name, place)
    if any(circles):
        modulus = int(circuits["modulus"].iloc[0])
        yield "constructed", constructed_circle(CIRCLES, modulus, title="constructed, without training")


def _title(run: pd.Series, phases: pd.DataFrame, why: str) -> str:
    """Which run it is, and in the caption its setting, its phase and why it is this one."""
    known = definition(phases)
    phase = f"{run['phase']} ({known})" if known else str(run["phase"])
    first = setting(run, varying(phases) or axes(phases))
    return f"{run['sweep']} · run {run['run_id']} · seed {run['seed']}\n{first} · {phase} · {why}"


def _weights(run: pd.Series, weights: Weights, name: str, place: int) -> Iterator[tuple[str, Figure]]:
    """What is drawn of the weights of the first run that is opened (place 0) and of the others."""
    more = f"_{place + 1}" if place else ""
    known = network(run, weights)
    if known is None:
        yield f"weights{more}", arrays_over_training(weights, name)
    elif known == "digits":
        bits = int(run["n_parity_bits"])
        yield f"weights{more}", weights_over_training(weights, n_parity_bits=bits, title=name)
        yield f"trajectories{more}", trajectories(weights, bits, name)
    else:
        yield f"weights{more}", weights_over_training(weights, title=name)
        yield from () if place else _addition(run, weights, name)


def _addition(run: pd.Series, weights: Weights, name: str) -> Iterator[tuple[str, Figure]]:
    modulus = int(run["modulus"])
    w_in, w_out = (weights.arrays[key][-1] for key in ("w_in", "w_out"))
    yield "coefficients", coefficients_over_training(weights, modulus, name)
    if not (np.isfinite(w_in).all() and np.isfinite(w_out).all()):
        return  # it diverged
    yield "waves", waves(w_in, modulus, name)
    if run["n_frequencies"] > 0:
        yield "stars", stars(w_in, w_out, modulus, name)
        a, b = modulus // 5, modulus // 2  # any pair would do
        yield "logits", logits_picture(w_in, w_out, modulus, a, b, name)
