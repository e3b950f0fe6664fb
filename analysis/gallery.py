"""The pictures that apply to a sweep: of all its runs, and of one whose weights were recorded."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.circuit_pictures import constructed_circle, frequency_distribution, stars
from analysis.read import Weights
from analysis.wave_pictures import coefficients_over_training, logits_picture, waves
from analysis.weight_pictures import curves_picture, trajectories, weights_over_training

MOST_CURVES = 200  # runs whose curves can still be told apart from a block of colour
CIRCLES = (3, 5, 6, 7)  # neurons of the constructed solutions that are drawn beside a trained circle

NAMES = (
    "curves",
    "run_curves",
    "weights",
    "trajectories",
    "waves",
    "coefficients",
    "stars",
    "logits",
    "frequencies",
    "constructed",
)


def chosen(circuits: pd.DataFrame, with_weights: set[str]) -> str | None:
    """The run that is opened where nobody names one: of those with weights the first to generalise."""
    rows = circuits[circuits["run_id"].isin(with_weights)]
    if rows.empty:
        return None
    return str(rows.sort_values("generalize_step", kind="stable")["run_id"].iloc[0])


def gallery(
    circuits: pd.DataFrame, curves: pd.DataFrame, run_id: str | None, weights: Weights | None
) -> Iterator[tuple[str, Figure]]:
    """(name, picture) of each that applies; names are among NAMES.

    `circuits`: the table of that name; `curves`: of all its runs; `run_id` and `weights`: the run that is
    opened, if any, and its weights, if it has some. Where there are more than MOST_CURVES runs, evenly chosen
    ones stand for all in `curves`.
    """
    sweep = str(circuits["sweep"].iloc[0])
    ids = circuits["run_id"].to_numpy()
    shown = ids[np.unique(np.linspace(0, len(ids) - 1, MOST_CURVES).astype(int))]
    title = f"{sweep} · {len(shown)} of {len(ids)} runs" if len(shown) < len(ids) else sweep
    yield "curves", curves_picture(curves[curves["run_id"].isin(shown)], title)
    if "n_frequencies" in circuits and circuits["modulus"].nunique() == 1 and len(circuits) > 1:
        yield "frequencies", frequency_distribution(circuits, sweep)
    if run_id is not None:
        run = circuits.loc[circuits["run_id"] == run_id].iloc[0]
        name = f"{sweep} · run {run_id} · seed {run['seed']}"
        yield "run_curves", curves_picture(curves[curves["run_id"] == run_id], name)
        if weights is not None and run["task"] == "parity":
            bits = int(run["n_parity_bits"])
            yield "weights", weights_over_training(weights, n_parity_bits=bits, title=name)
            yield "trajectories", trajectories(weights, bits, name)
        elif weights is not None and run["task"] == "modular_addition":
            yield from _addition(run, weights, name)
    if (circuits["model"] == "modular_circle").any():
        modulus = int(circuits["modulus"].iloc[0])
        yield "constructed", constructed_circle(CIRCLES, modulus, title="constructed, without training")


def _addition(run: pd.Series, weights: Weights, name: str) -> Iterator[tuple[str, Figure]]:
    modulus = int(run["modulus"])
    w_in, w_out = (weights.arrays[key][-1] for key in ("w_in", "w_out"))
    yield "weights", weights_over_training(weights, title=name)
    yield "coefficients", coefficients_over_training(weights, modulus, name)
    if not (np.isfinite(w_in).all() and np.isfinite(w_out).all()):
        return  # it diverged
    yield "waves", waves(w_in, modulus, name)
    if run["n_frequencies"] > 0:
        yield "stars", stars(w_in, w_out, modulus, name)
        a, b = modulus // 5, modulus // 2  # any pair would do
        yield "logits", logits_picture(w_in, w_out, modulus, a, b, name)
