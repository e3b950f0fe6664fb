"""What each network learned, as a table: when it memorised and generalised, and what its last weights say."""

from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
import pandas as pd

from analysis import fourier, parity
from analysis.load import Weights, settings
from analysis.steps import steps
from grok_sweep.core import registry

WORDS = {"frequencies", "neurons_per_frequency"}
WHOLE = {"n_frequencies", "n_without_frequency", "n_neurons", "last_distractor_step", "loss_fall_step"}


def circuits(
    runs: pd.DataFrame, curves: pd.DataFrame, weights: Iterable[tuple[str, Weights]] = ()
) -> pd.DataFrame:
    """One row per run of `runs`, in its order: its identity and settings, the columns of `steps`, and more.

    Of those among `weights` (run_id and weights, one at a time) what `addition` or `digits` say, <NA>
    elsewhere. Raises ValueError where a run has no curve or a column is missing.
    """
    identity = [name for name in ("run_id", "sweep", "task", "seed") if name in runs]
    table = runs[[*identity, *settings(runs)]].reset_index(drop=True)
    when = steps(runs, curves).drop(columns="run_id")
    place = {run_id: i for i, run_id in enumerate(runs["run_id"])}
    curve_of = curves.groupby("run_id")
    found: dict[str, dict[str, Any]] = {}
    for run_id, of_run in weights:
        if run_id not in place:
            continue  # it has finished since `runs` was read
        run = runs.iloc[place[run_id]]
        known = network(run, of_run)
        if known is None or not all(np.isfinite(of_run.arrays[name][-1]).all() for name in ("w_in", "w_out")):
            continue  # not one that we know, or it diverged
        curve = curve_of.get_group(run_id)
        found[run_id] = addition(run, of_run) if known == "addition" else digits(run, of_run, curve)
    # In the order of the runs: that of the weights is the shards'.
    rows = [found.get(run_id, {}) for run_id in table["run_id"]]
    names = dict.fromkeys(name for row in rows for name in row)
    columns = {name: pd.array([row.get(name, pd.NA) for row in rows], dtype=_kind(name)) for name in names}
    return pd.concat([table, when, pd.DataFrame(columns, index=table.index)], axis=1)


def network(run: pd.Series, weights: Weights) -> Literal["addition", "digits"] | None:
    """Which of the networks that we know how to open this is, as its task says and its arrays have it."""
    task = registry.built_in("task", run["task"])
    if task is None or not {"w_in", "w_out"} <= weights.arrays.keys():
        return None
    w_in, w_out = (weights.arrays[name].shape[1:] for name in ("w_in", "w_out"))
    if task.opens == "addition" and len(w_in) == 2:
        modulus = int(run["modulus"])
        if w_in[0] in (modulus, 2 * modulus) and w_out == (w_in[1], modulus):
            return "addition"
    if task.opens == "digits" and w_in[:1] == (int(run["n_bits"]) + 1,) and w_out == w_in[1:2]:
        return "digits"
    return None


def _kind(name: str) -> Any:
    """The nullable type of a column."""
    return pd.StringDtype() if name in WORDS else pd.Int64Dtype() if name in WHOLE else pd.Float64Dtype()


def addition(run: pd.Series, weights: Weights) -> dict[str, Any]:
    """Of one run of modular addition, from its last weights.

    n_frequencies, frequencies ("4 5 7") and neurons_per_frequency ("6 5 8"): those that neurons have, of any
    number of neurons; n_without_frequency: neurons in which none holds more than chance gives, see
    `fourier.least_share`. energy_share: of the weights' energy in these frequencies; gini and
    inverse_participation_ratio: of the energies of all frequencies, the constant's included. restricted_loss,
    on the test pairs, and excluded_loss, on the training pairs: nats.
    """
    modulus = int(run["modulus"])
    w_in, w_out = (weights.arrays[name][-1] for name in ("w_in", "w_out"))
    used = fourier.frequencies(w_in, modulus)
    energy_F = fourier.energies(w_in, modulus)
    train_N2, test_N2 = registry.find("task", run["task"]).pairs(run, int(run["seed"]))
    return {
        "n_frequencies": len(used),
        "frequencies": " ".join(map(str, used)),
        "neurons_per_frequency": " ".join(str(len(members)) for members in used.values()),
        "n_without_frequency": w_in.shape[1] - sum(map(len, used.values())),
        "energy_share": fourier.energy_share(w_in, modulus, used),
        "gini": fourier.gini(energy_F),
        "inverse_participation_ratio": fourier.inverse_participation_ratio(energy_F),
        "restricted_loss": fourier.restricted_loss(w_in, w_out, used, test_N2),
        "excluded_loss": fourier.excluded_loss(w_in, w_out, used, train_N2),
    }


def digits(run: pd.Series, weights: Weights, curve: pd.DataFrame) -> dict[str, Any]:
    """Of one run of parity.

    signal_weight and distractor_weight: mean |weight| of w_in at the last step; last_distractor_step and
    loss_fall_step: see `parity`; n_neurons: of the smallest part of the network found that predicts the test
    rows as the whole does.
    """
    w_in_SDH, w_out_SH = weights.arrays["w_in"], weights.arrays["w_out"]
    bits = int(run["n_parity_bits"])
    last_DH = np.abs(w_in_SDH[-1])
    rows = parity.digits(w_in_SDH, bits)
    x_test_ND = registry.find("task", run["task"]).data(run, int(run["seed"])).x_test_ND
    distractors = last_DH[rows["distractors"]]
    return {
        "signal_weight": last_DH[rows["signal"]].mean(),
        "distractor_weight": distractors.mean() if distractors.size else np.nan,
        "last_distractor_step": parity.last_distractor_step(weights.step_S, w_in_SDH, bits),
        "loss_fall_step": parity.loss_fall_step(curve),
        "n_neurons": len(parity.smallest_subnetwork(w_in_SDH[-1], w_out_SH[-1], x_test_ND)),
    }
