"""The table of circuits: a row per run, and numbers of networks whose circuits are known by construction."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from test_phases import DEFAULTS, TYPICAL

from analysis.circuits import circuits
from analysis.load import Weights
from analysis.steps import steps
from grok_sweep.core import registry
from grok_sweep.store import RESULTS, runs_schema

PARITY = {"n_bits": 5, "n_parity_bits": 2, "train_size": 20, "test_size": 64, "hidden_size": 4}
ADDITION = {"modulus": 11, "ordered_pairs": 0, "train_share": 0.5, "hidden_size": 5}
OF_PARITY = ["signal_weight", "distractor_weight", "last_distractor_step", "loss_fall_step", "n_neurons"]
OF_ADDITION = [
    *["n_frequencies", "frequencies", "neurons_per_frequency", "n_without_frequency", "energy_share", "gini"],
    *["inverse_participation_ratio", "restricted_loss", "excluded_loss"],
]


def runs_of(*tasks):
    """A runs table: of each run its task, parity or modular_addition, and what differs."""
    kinds = dict.fromkeys([*PARITY, *ADDITION], int) | {"train_share": float}
    schema = runs_schema(kinds)
    rows = []
    for i, (task, row) in enumerate(tasks):
        values = dict.fromkeys(kinds) | (PARITY if task == "parity" else ADDITION)
        results = dict(zip(list(RESULTS)[:3], TYPICAL["grok"], strict=True))
        rows.append({**DEFAULTS, **values, **results, "run_id": f"{i:x}" * 16, "task": task, **row})
    columns = {name: [row.get(name) for row in rows] for name in schema.names}
    return pa.table(columns, schema=schema).to_pandas()


def curves_of(runs, test_loss=(0.7, 2.0, 0.3, 0.01)):
    """The same curve for every run, logged every 100 steps."""
    alone = pd.DataFrame(
        {
            "step": np.arange(len(test_loss), dtype=np.int32) * 100,
            "train_loss": np.float32(0.1),
            "eval_loss": np.array(test_loss, np.float32),
            "train_accuracy": np.float32(1),
            "eval_accuracy": np.linspace(0.5, 1, len(test_loss), dtype=np.float32),
            "weight_norm": np.float32(1),
        }
    )
    return pd.concat([alone.assign(run_id=run_id) for run_id in runs["run_id"]], ignore_index=True)


def parity_weights():
    """Snapshots of a network of 4 neurons, of which two are the parity of two bits of five, two do nothing.

    relu(s) - 2 relu(s - 1), s the sum of the bits. A distractor has a weight until step 200.
    """
    w_in_DH = np.zeros((6, 4), np.float32)
    w_in_DH[:2, [0, 2]] = 1
    w_in_DH[5] = [0, 0, -1, -1]
    w_in_SDH = np.stack([w_in_DH] * 4)
    w_in_SDH[:2, 3, 1] = 0.5
    return Weights(
        np.arange(4) * 100, {"w_in": w_in_SDH, "w_out": np.tile(np.float32([1, 0, -2, 3]), (4, 1))}
    )


def addition_weights(frequencies=(2, 2, 2, 3, 0), scale=3.0, inputs=1):
    """Neurons that are a wave each, 0: none; with another network before, at step 0."""
    number_P, hidden = np.arange(11), len(frequencies)
    angle_PH = 2 * np.pi * (np.outer(number_P, frequencies) / 11 + np.arange(hidden) / hidden)
    w_in_PH = np.where(np.array(frequencies) > 0, np.cos(angle_PH), 1.0) * scale
    angle_HP = 2 * np.pi * (np.outer(frequencies, number_P) / 11 + 2 * np.arange(hidden)[:, None] / hidden)
    w_out_HP = scale * np.cos(angle_HP)
    random = np.random.default_rng(0)
    arrays = {"w_in": np.tile(w_in_PH, (inputs, 1)), "w_out": w_out_HP}
    return Weights(
        np.array([0, 300]),
        {name: np.stack([random.normal(size=a.shape), a]).astype(np.float32) for name, a in arrays.items()},
    )


def test_without_weights_there_are_settings_and_steps():
    runs = runs_of(("parity", {}), ("modular_addition", {"seed": 3}))
    curves = curves_of(runs)
    table = circuits(runs, curves)
    when = steps(runs, curves)
    pd.testing.assert_frame_equal(table[when.columns], when)
    assert list(table.columns[:4]) == ["run_id", "sweep", "task", "seed"]
    assert table["modulus"].isna().tolist() == [True, False]
    assert table["model"].tolist() == ["relu_mlp"] * 2
    assert not set(table.columns) & {*OF_PARITY, *OF_ADDITION, *RESULTS}
    assert table.columns.is_unique


def test_a_parity_network_by_hand():
    runs = runs_of(("parity", {}))
    (row,) = circuits(runs, curves_of(runs), [("0" * 16, parity_weights())]).to_dict("records")
    # Of 2 x 4 signal weights four are 1; the last snapshot has no distractor.
    assert (row["signal_weight"], row["distractor_weight"]) == (0.5, 0.0)
    assert (row["last_distractor_step"], row["loss_fall_step"], row["n_neurons"]) == (200, 200, 2)
    assert (row["memorize_step"], row["generalize_step"], row["grok_delay"]) == (0, 300, 300)


def test_what_never_happens_is_missing():
    runs, weights = runs_of(("parity", {})), parity_weights()
    weights.arrays["w_in"][:, 3, 1] = 0.5
    table = circuits(runs, curves_of(runs, (0.7, 2.0, 2.0)), [("0" * 16, weights)])
    assert table[["last_distractor_step", "loss_fall_step"]].isna().all(axis=None)
    assert table["distractor_weight"].tolist() == pytest.approx([0.5 / 12])
    assert [str(table[name].dtype) for name in OF_PARITY] == ["Float64"] * 2 + ["Int64"] * 3


def fourier_energies(w_in_PH):
    """Energies by frequency, the constant first, by numpy's FFT."""
    power_F = (np.abs(np.fft.rfft(w_in_PH, axis=0)) ** 2).sum(axis=1)
    return np.concatenate([power_F[:1], 2 * power_F[1:]])


@pytest.mark.parametrize("inputs", [1, 2])
def test_an_addition_network_by_hand(inputs):
    runs, weights = runs_of(("modular_addition", {"seed": 5})), addition_weights(inputs=inputs)
    (row,) = circuits(runs, curves_of(runs), [("0" * 16, weights)]).to_dict("records")
    assert (row["n_frequencies"], row["frequencies"], row["neurons_per_frequency"]) == (2, "2 3", "3 1")
    assert row["n_without_frequency"] == 1
    share_F = fourier_energies(weights.arrays["w_in"][-1][:11].astype(float))
    share_F = share_F / share_F.sum()
    assert row["energy_share"] == pytest.approx(share_F[2] + share_F[3])
    assert row["inverse_participation_ratio"] == pytest.approx((share_F**2).sum())
    differences = np.abs(share_F[:, None] - share_F).mean() / 2 / share_F.mean()
    assert row["gini"] == pytest.approx(differences)


def test_losses_are_those_of_the_run_s_own_pairs():
    weights = addition_weights(frequencies=[1, 1, 1, 1, 1])
    runs = runs_of(("modular_addition", {"seed": 0}), ("modular_addition", {"seed": 1}))
    table = circuits(runs, curves_of(runs), [(run_id, weights) for run_id in runs["run_id"]])
    w_in, w_out = (weights.arrays[name][-1].astype(float) for name in ("w_in", "w_out"))
    logits_ABC = np.maximum(w_in[:, None] + w_in, 0) @ w_out
    # By the 2D FFT over (a, b): what depends on a + b with frequency 1 stands at (1, 1) and (10, 10).
    spectrum = np.fft.fft2(logits_ABC, axes=(0, 1))
    key = np.zeros((11, 11, 1))
    key[1, 1] = key[10, 10] = 1
    kept_ABC = np.fft.ifft2(spectrum * key, axes=(0, 1)).real
    mean_C = logits_ABC.mean(axis=(0, 1))

    def loss(scores_ABC, pairs):
        terms = [scores_ABC[a, b, (a + b) % 11] - np.log(np.exp(scores_ABC[a, b]).sum()) for a, b in pairs]
        return -np.mean(terms) / 11

    for seed, row in enumerate(table.to_dict("records")):
        train_N2, test_N2 = registry.find("task", "modular_addition").pairs(ADDITION, seed)
        assert row["restricted_loss"] == pytest.approx(loss(mean_C + kept_ABC, test_N2))
        assert row["excluded_loss"] == pytest.approx(loss(logits_ABC - kept_ABC, train_N2))
    assert table["restricted_loss"].nunique() == 2
    assert (table["restricted_loss"] < table["excluded_loss"]).all()


def test_each_run_has_its_own_numbers_and_runs_without_weights_none():
    runs = runs_of(*[("modular_addition", {})] * 3, ("parity", {}))
    ids = runs["run_id"].tolist()
    given = {
        ids[3]: parity_weights(),
        ids[2]: addition_weights([4, 4]),
        ids[0]: addition_weights([5, 1, 5, 1]),
    }
    table = circuits(runs, curves_of(runs), given.items())
    assert table["run_id"].tolist() == ids
    assert table["frequencies"].tolist() == ["1 5", pd.NA, "4", pd.NA]
    assert table["n_frequencies"].tolist() == [2, pd.NA, 1, pd.NA]
    assert table["n_neurons"].tolist() == [pd.NA] * 3 + [2]
    kinds = ["Int64", "string", "string", "Int64", *["Float64"] * 5]
    assert [str(table[name].dtype) for name in OF_ADDITION] == kinds
    assert table.loc[[1, 3], OF_ADDITION].isna().all(axis=None)
    pd.testing.assert_frame_equal(table, circuits(runs, curves_of(runs), reversed(given.items())))
    # It can be written: a table of the store is Parquet.
    assert pa.Table.from_pandas(table).column("frequencies").to_pylist() == ["1 5", None, "4", None]


def test_a_network_of_no_frequency_uses_none():
    runs = runs_of(("modular_addition", {}))
    (row,) = circuits(runs, curves_of(runs), [("0" * 16, addition_weights([0, 0]))]).to_dict("records")
    assert (row["n_frequencies"], row["frequencies"], row["neurons_per_frequency"]) == (0, "", "")
    assert (row["n_without_frequency"], row["energy_share"]) == (2, 0.0)


def test_weights_that_died_give_what_there_is():
    runs, weights = runs_of(("modular_addition", {})), addition_weights()
    for array in weights.arrays.values():
        array[:] = 0
    table = circuits(runs, curves_of(runs), [("0" * 16, weights)])
    (row,) = table.to_dict("records")
    assert (row["n_frequencies"], row["n_without_frequency"]) == (0, 5)
    assert table[["energy_share", "gini", "inverse_participation_ratio"]].isna().all(axis=None)
    assert row["restricted_loss"] == row["excluded_loss"] == pytest.approx(np.log(11) / 11)


@pytest.mark.parametrize("name", ["w_in", "w_out"])
def test_a_run_that_diverged_has_no_circuit(name):
    runs = runs_of(("parity", {}), ("modular_addition", {}), ("parity", {}), ("modular_addition", {}))
    ids = runs["run_id"]
    given = [(ids[0], parity_weights()), (ids[1], addition_weights())]
    for _, weights in given:
        weights.arrays[name][-1].flat[0] = np.nan
    given += [(ids[2], parity_weights()), (ids[3], addition_weights())]
    table = circuits(runs, curves_of(runs), given)
    assert table[OF_PARITY].notna().all(axis=1).tolist() == [False, False, True, False]
    assert table[OF_ADDITION].notna().any(axis=1).tolist() == [False, False, False, True]
    assert table.loc[0, OF_PARITY].isna().all()


def test_a_run_that_finished_since_is_left_for_another_time():
    runs = runs_of(("parity", {}), ("parity", {}))
    curves, given = curves_of(runs), [(run_id, parity_weights()) for run_id in runs["run_id"]]
    table = circuits(runs[:1], curves, given)
    assert table["n_neurons"].tolist() == [2]


def test_weights_are_in_memory_one_run_at_a_time():
    runs = runs_of(*[("parity", {})] * 3)
    alive = []

    class Counted(Weights):
        def __del__(self):
            alive.remove(id(self))

    def each():
        for run_id in runs["run_id"]:
            weights = parity_weights()
            counted = Counted(weights.step_S, weights.arrays)
            alive.append(id(counted))
            assert len(alive) <= 2  # this one, and the one before until it is let go
            yield run_id, counted

    assert circuits(runs, curves_of(runs), each())["n_neurons"].tolist() == [2] * 3


def test_what_is_missing_is_named():
    runs = runs_of(("parity", {}), ("parity", {}))
    with pytest.raises(ValueError, match=r"1 of 2 runs have no curve, the first is 1{16}$"):
        circuits(runs, curves_of(runs[:1]))
    with pytest.raises(ValueError, match="needs the columns min_train_loss"):
        circuits(runs.drop(columns="min_train_loss"), curves_of(runs))
