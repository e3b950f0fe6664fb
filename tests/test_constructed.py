"""The constructed solution: the accuracies of E5, what it is made of, and where it must fail."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import analysis.constructed as module
from analysis.constructed import accuracy, constructed, table
from analysis.fourier import frequencies, neurons


def test_the_table_is_that_of_the_experiment():
    found = table()
    assert found.columns.tolist() == ["neurons", "modulus", "relu", "square"]
    assert found["neurons"].tolist() == [3, 4, 5, 6, 7, 8]
    assert set(found["modulus"]) == {67}
    # The digits that E5 has.
    assert found["relu"].round(4).tolist() == [0.0225, 0.0299, 1.0, 0.194, 1.0, 0.6418]
    assert found["square"].round(4).tolist() == [1.0, 0.0299, 1.0, 1.0, 1.0, 1.0]
    # Those that are not all right: whole numbers of the 67 x 67 pairs.
    assert (found["relu"] * 67**2).tolist() == pytest.approx([101, 134, 4489, 871, 4489, 2881])


def test_the_table_takes_other_numbers_of_neurons_and_moduli():
    found = table([5, 9], 13)
    assert found["neurons"].tolist() == [5, 9]
    assert found["modulus"].tolist() == [13, 13]
    assert found["relu"].tolist() == [accuracy(5, 13), accuracy(9, 13)]


@pytest.mark.parametrize(("count", "modulus", "share"), [(5, 113, 1.0), (5, 127, 0.748), (7, 307, 1.0)])
def test_relu_is_exact_up_to_some_modulus(count, modulus, share):
    assert round(accuracy(count, modulus), 3) == share


def test_seven_neurons_are_too_few_for_401():
    assert round(accuracy(7, 401), 2) == 0.64


@pytest.mark.parametrize("count", [5, 7])
@pytest.mark.parametrize("modulus", [11, 68])
@pytest.mark.parametrize("activation", ["relu", "square"])
def test_accuracy_is_that_of_one_pair_after_the_other(count, modulus, activation):
    w_in, w_out = constructed(count, modulus)
    right = 0
    for a in range(modulus):
        for b in range(modulus):
            total_N = w_in[a] + w_in[b]
            logits_P = (total_N**2 if activation == "square" else np.maximum(total_N, 0)) @ w_out
            # Equal but for rounding: the first.
            first = np.flatnonzero(logits_P > logits_P.max() - 1e-12)[0]
            right += first == (a + b) % modulus
    assert accuracy(count, modulus, activation) == right / modulus**2


@pytest.mark.parametrize("count", [5, 6, 7])
@pytest.mark.parametrize("modulus", [10, 64, 66])
def test_the_square_fails_for_even_moduli_where_a_and_b_are_opposite(count, modulus):
    # cos x + cos(x + pi) = 0 in every neuron: no logit is larger, and the first is right where a + b = 0.
    opposite = [(a, (a + modulus // 2) % modulus) for a in range(modulus)]
    wrong = sum((a + b) % modulus != 0 for a, b in opposite)
    assert accuracy(count, modulus, "square") == pytest.approx(1 - wrong / modulus**2)
    assert wrong > 0


@pytest.mark.parametrize("modulus", [11, 66, 67])
@pytest.mark.parametrize("activation", ["relu", "square"])
def test_four_neurons_know_only_the_sign_of_a_cosine(modulus, activation):
    # Twice their phases are 0 and pi: the answer is 0 or the first of those farthest from it.
    _, w_out = constructed(4, modulus)
    assert np.linalg.matrix_rank(w_out) == 1
    # One of two answers for every pair, each of them right for `modulus` pairs at most.
    assert accuracy(4, modulus, activation) <= 2 / modulus + 1e-12


# From 5 on: of a single frequency nothing can be told (see `fourier.least_share`).
@given(st.integers(1, 12), st.integers(2, 40).map(lambda n: 2 * n + 1))
def test_all_neurons_have_one_frequency_and_phases_evenly_spread(count, modulus):
    w_in, w_out = constructed(count, modulus)
    assert (w_in.shape, w_out.shape) == ((modulus, count), (count, modulus))
    for weights, turns in ((w_in, 1), (w_out.T, 2)):
        found = neurons(weights, modulus).sort_values("neuron")
        assert found["frequency"].tolist() == [1] * count
        # The columns of the embedding have norm 1.
        assert np.allclose(found["amplitude"], 1)
        made_N = turns * 2 * np.pi * np.arange(count) / count
        assert np.allclose(np.exp(1j * found["phase"]), np.exp(1j * made_N))
    (members,) = frequencies(w_in, modulus).values()
    gaps = np.diff(neurons(w_in, modulus)["phase"])
    assert sorted(members) == list(range(count))
    # A phase of pi may be read as -pi, which leaves the gaps as they are.
    assert np.allclose(gaps, 2 * np.pi / count)


def test_blocks_do_not_change_the_accuracy(monkeypatch):
    whole = accuracy(6, 67), accuracy(5, 66, "square")
    for block in (1, 1000, 67**2 * 10):
        monkeypatch.setattr(module, "BLOCK", block)
        assert (accuracy(6, 67), accuracy(5, 66, "square")) == whole
