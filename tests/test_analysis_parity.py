"""What is read from the weights of parity networks, of hand-made ones and against brute force."""

from itertools import combinations, product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.parity import FALLEN, VANISHED, last_distractor_step, loss_fall_step, smallest_subnetwork
from grok_sweep.core import registry


def snapshots(distractors, signal=1.0):
    """W_in of 3 signal digits, 2 distractors and the bias; the largest distractor weights are given."""
    w_in_SDH = np.zeros((len(distractors), 6, 4))
    w_in_SDH[:, 1, 2] = -np.asarray(signal)
    w_in_SDH[:, 4, 3] = -np.asarray(distractors)
    w_in_SDH[:, 3, 0] = np.asarray(distractors) / 2
    w_in_SDH[:, 5] = 9.0  # the bias is no digit
    return w_in_SDH


@pytest.mark.parametrize(
    ("distractors", "signal", "step"),
    [
        ([1, 0.5, 0.0199, 0.001], 1, 200),
        ([1, 0.5, 0.02, 0.001], 1, 300),  # at the threshold is not under it
        ([1, 0.01, 0.5, 0.01], 1, 300),  # the last time counts
        ([0.01, 0.01, 0.01, 0.01], 1, 0),
        ([1, 0.01, 0.01, 0.5], 1, None),
        ([1, 0.1, 0.03, 0.03], 2, 200),  # of the largest signal weight
        ([1, 0.03, 0.03, 0.03], [2, 2, 1, 2], 300),  # of the same snapshot
        ([1, 0, 0, 0], [1, 1, 0, 0], None),  # a dead network
        ([1, 0, 0, np.nan], 1, None),
    ],
)
def test_the_last_distractor_goes(distractors, signal, step):
    assert last_distractor_step(np.arange(4) * 100, snapshots(distractors, signal), 3) == step


@given(st.lists(st.floats(0, 2 * VANISHED), min_size=1, max_size=20), st.floats(0.1, 10))
def test_the_scale_of_the_weights_does_not_matter(distractors, scale):
    step_S, w_in_SDH = np.arange(len(distractors)), snapshots(distractors)
    found = last_distractor_step(step_S, w_in_SDH, 3)
    # Powers of two scale without rounding.
    assert last_distractor_step(step_S, 2.0 ** round(scale) * w_in_SDH, 3) == found
    big = [step for step, weight in enumerate(distractors) if weight >= VANISHED]
    after = max(big, default=-1) + 1
    assert found == (after if after < len(distractors) else None)


@pytest.mark.parametrize(
    ("losses", "step"),
    [
        ([0.69, 3, 5, 0.34, 1e-6], 300),
        ([0.69, 3, 5, FALLEN, 1e-6], 400),
        ([0.69, 0.1], 100),
        ([0.69, 3, 5], None),
        ([0.69, np.nan, 0.1], None),
        ([np.inf, 0.1], None),
    ],
)
def test_the_test_loss_falls(losses, step):
    curve = pd.DataFrame({"step": np.arange(len(losses)) * 100, "eval_loss": losses})
    assert loss_fall_step(curve) == step
    assert loss_fall_step(curve[::-1]) == step
    assert round(FALLEN, 5) == 0.34657


def constructed(bits=5, signal=2):
    """A network that is exact: parity of 2 bits = relu(s) - 2 relu(s - 1), s their sum, less a half."""
    w_in_DH = np.zeros((bits + 1, 3))
    w_in_DH[:signal, :2] = 1
    w_in_DH[-1] = [0, -1, 1]
    return w_in_DH, np.array([1.0, -2.0, -0.5])


def all_rows(bits):
    x_NB = np.array(list(product([0, 1], repeat=bits)), np.int8)
    return np.concatenate([x_NB, np.ones((len(x_NB), 1), np.int8)], axis=1)


def predictions(w_in_DH, w_out_H, x_ND, neurons):
    return [sum(max(float(x @ w_in_DH[:, h]), 0) * w_out_H[h] for h in neurons) > 0 for x in x_ND]


def test_neurons_that_do_nothing_are_left_out():
    random = np.random.default_rng(0)
    w_in_DH, w_out_H = constructed()
    x_ND = all_rows(5)
    assert predictions(w_in_DH, w_out_H, x_ND, range(3)) == (x_ND[:, :2].sum(axis=1) == 1).tolist()
    # Large but without an output, or with one and silent; and small ones.
    idle = np.concatenate(
        [random.normal(size=(6, 4)), -np.ones((6, 2)), random.normal(size=(6, 3)) / 1e3], axis=1
    )
    idle_out = np.array([0, 0, 0, 0, 3, 3, 0.01, -0.01, 0.01])
    order = random.permutation(12)
    w_in_DH = np.concatenate([w_in_DH, idle], axis=1)[:, order]
    w_out_H = np.concatenate([w_out_H, idle_out])[order]
    kept = smallest_subnetwork(w_in_DH, w_out_H, x_ND)
    assert order[kept].max() < 3
    # The threshold neuron can go: at s = 0 and 2 the others give 0, which is no 1.
    assert sorted(order[kept].tolist()) == [0, 1]


@settings(max_examples=50)
@given(st.integers(0, 2**32 - 1), st.integers(1, 7))
def test_a_subnetwork_agrees_and_has_no_neuron_to_spare(seed, hidden):
    random = np.random.default_rng(seed)
    w_in_DH, w_out_H = random.normal(size=(5, hidden)), random.normal(size=hidden)
    x_ND = all_rows(4)
    kept = smallest_subnetwork(w_in_DH, w_out_H, x_ND).tolist()
    whole = predictions(w_in_DH, w_out_H, x_ND, range(hidden))

    def agrees(neurons):
        return predictions(w_in_DH, w_out_H, x_ND, neurons) == whole

    assert kept == sorted(set(kept))
    assert agrees(kept)
    assert not any(agrees([other for other in kept if other != neuron]) for neuron in kept)
    # The scale of a neuron can be in either of its weights.
    scale_H = 2.0 ** random.integers(-3, 4, size=hidden)
    assert smallest_subnetwork(w_in_DH * scale_H, w_out_H / scale_H, x_ND).tolist() == kept
    fewest = next(k for k in range(hidden + 1) if any(agrees(s) for s in combinations(range(hidden), k)))
    assert fewest <= len(kept)


def test_rows_of_the_task_fit():
    values = {"n_bits": 5, "n_parity_bits": 2, "train_size": 20, "test_size": 30}
    data = registry.find("task", "parity").data(values, seed=3)
    assert smallest_subnetwork(*constructed(), data.x_test_ND).tolist() == [0, 1]
    # A network that never predicts 1 needs no neuron.
    assert smallest_subnetwork(np.ones((6, 2)), -np.ones(2), data.x_test_ND).tolist() == []


def test_without_distractors_none_goes():
    assert last_distractor_step(np.arange(2), np.ones((2, 4, 3)), 3) is None


def test_weights_of_another_shape_are_named():
    with pytest.raises(ValueError, match=r"w_in of shape \(2, 5, 2\) does not fit 5 digits and a bias"):
        last_distractor_step(np.arange(2), np.ones((2, 5, 2)), 5)
