"""Fourier analysis of networks that add: against numpy.fft, sums by hand, and projections written out."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis import fourier
from analysis.constructed import constructed

ODD = st.integers(1, 40).map(lambda n: 2 * n + 1)


def network(modulus=11, hidden=6, inputs=1, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(inputs * modulus, hidden)), rng.normal(size=(hidden, modulus))


def every_pair(modulus):
    return np.array([(a, b) for a in range(modulus) for b in range(modulus)])


def wave(modulus, frequency, phase):
    return np.cos(2 * np.pi * frequency * np.arange(modulus) / modulus - phase)


@given(ODD)
def test_the_basis_is_orthonormal(modulus):
    rows_PP = fourier.basis(modulus)
    assert rows_PP.shape == (modulus, modulus)
    assert np.allclose(rows_PP @ rows_PP.T, np.eye(modulus), atol=1e-12)


def test_the_basis_is_in_order_shared_and_not_to_be_written_to():
    rows_PP = fourier.basis(5)
    assert np.allclose(rows_PP[0], 1 / np.sqrt(5))
    for frequency in (1, 2):
        assert np.allclose(rows_PP[2 * frequency - 1], np.sqrt(2 / 5) * wave(5, frequency, 0))
        assert np.allclose(rows_PP[2 * frequency], np.sqrt(2 / 5) * wave(5, frequency, np.pi / 2))
    assert fourier.basis(5) is rows_PP
    with pytest.raises(ValueError, match="read-only"):
        rows_PP[0, 0] = 1


@pytest.mark.parametrize("modulus", [66, 2, 1, 0, -3])
def test_a_modulus_without_such_a_basis_is_refused(modulus):
    with pytest.raises(ValueError, match=f"modulus: {modulus} is not allowed; give an odd number"):
        fourier.basis(modulus)


@given(ODD, st.integers(1, 2), st.integers(0, 2**32 - 1))
def test_coefficients_and_energies_are_those_of_the_fft(modulus, inputs, seed):
    w_in, _ = network(modulus, 4, inputs, seed)
    found_KPH = fourier.coefficients(w_in, modulus)
    energy_F = np.zeros((modulus + 1) // 2)
    assert found_KPH.shape == (inputs, modulus, 4)
    for k in range(inputs):
        fft_FH = np.fft.rfft(w_in[k * modulus : (k + 1) * modulus], axis=0)
        assert np.allclose(found_KPH[k, 0], fft_FH[0].real / np.sqrt(modulus))
        assert np.allclose(found_KPH[k, 1::2], fft_FH[1:].real * np.sqrt(2 / modulus))
        # numpy's transform has exp(-i x), so that its sine has the other sign.
        assert np.allclose(found_KPH[k, 2::2], -fft_FH[1:].imag * np.sqrt(2 / modulus))
        twice_F = np.where(np.arange(len(fft_FH)) > 0, 2, 1)
        energy_F += twice_F * (np.abs(fft_FH) ** 2).sum(axis=1) / modulus
    assert np.allclose(fourier.energies(w_in, modulus), energy_F)
    assert fourier.energies(w_in, modulus).sum() == pytest.approx((w_in**2).sum())


@pytest.mark.parametrize("shape", [(33, 2), (10, 2), (11,), (2, 11, 3)])
def test_weights_that_do_not_fit_the_modulus_are_refused(shape):
    with pytest.raises(ValueError, match="does not fit modulus 11"):
        fourier.coefficients(np.zeros(shape), 11)
    with pytest.raises(ValueError, match="does not fit modulus 11"):
        fourier.logits(np.zeros(shape), np.zeros((2, 11)), np.array([[0, 0]]))


def test_neurons_have_the_frequency_amplitude_and_phase_they_were_made_with():
    made = [(5, 2.0, 1.5), (2, 3.0, 3.0), (5, 0.5, -2.0), (1, 1.0, -0.3)]  # frequency, amplitude, phase
    # cos(x - phase) of amplitude 1 has the norm sqrt(P / 2).
    waves = [np.sqrt(2 / 11) * amplitude * wave(11, f, phase) for f, amplitude, phase in made]
    constant_P = np.full(11, -4.0) + 0.1 * wave(11, 3, 0.2)
    table = fourier.neurons(np.stack([constant_P, np.zeros(11), *waves], axis=1), 11)
    assert table.columns.tolist() == ["neuron", "frequency", "share", "amplitude", "phase"]
    assert table["neuron"].tolist() == [5, 3, 4, 2, 0, 1]
    assert table["frequency"].tolist() == [1, 2, 5, 5, 0, 0]
    assert table["amplitude"].tolist()[:4] == pytest.approx([1.0, 3.0, 0.5, 2.0])
    assert table["phase"].tolist()[:4] == pytest.approx([-0.3, 3.0, -2.0, 1.5])
    assert table["share"].tolist() == pytest.approx([1.0] * 4 + [np.nan] * 2, nan_ok=True)
    # Of no frequency: the amplitude is that of the constant, and there is no phase.
    assert table["amplitude"].tolist()[4:] == pytest.approx([4.0 * np.sqrt(11), 0.0])
    assert table["phase"].tolist()[4:] == [0.0, 0.0]


def test_the_frequency_is_that_of_the_largest_coefficient_not_of_the_largest_sum():
    # cos and sin of 2 are each smaller than cos of 4, together they are larger.
    w_in = (0.8 * fourier.basis(67)[3] + 0.8 * fourier.basis(67)[4] + 1.0 * fourier.basis(67)[7])[:, None]
    table = fourier.neurons(w_in, 67)
    assert table["frequency"].tolist() == [4]
    assert table["share"].tolist() == pytest.approx([1 / 2.28])


def noise_shares(modulus, columns, seed=0):
    """The largest share of a frequency in each of many columns of white noise, by numpy.fft."""
    noise = np.random.default_rng(seed).normal(size=(modulus, columns))
    energy = np.abs(np.fft.rfft(noise, axis=0)[1:]) ** 2
    return energy.max(axis=0) / energy.sum(axis=0)


@pytest.mark.parametrize("modulus", [5, 7, 23, 67, 113])
@pytest.mark.parametrize("columns", [1, 24, 128])
def test_the_least_share_is_what_noise_passes_as_rarely_as_is_said(modulus, columns):
    least = fourier.least_share(modulus, columns)
    drawn = 400_000
    passed = (noise_shares(modulus, drawn) > least).sum()
    expected = drawn * fourier.CHANCE / columns
    # An upper bound, and not far from it: five standard deviations of a count.
    assert passed <= expected + 5 * np.sqrt(expected)
    assert passed >= 0.8 * expected - 5 * np.sqrt(expected)


@pytest.mark.parametrize("inputs", [1, 2])
def test_networks_of_noise_have_no_frequencies(inputs):
    networks = [network(67, 24, inputs, seed)[0] for seed in range(400)]
    with_some = sum(bool(fourier.frequencies(w_in, 67)) for w_in in networks)
    assert with_some <= 12  # 4 are expected; more than 12 by one chance in 2,000


def test_a_neuron_has_a_frequency_above_the_least_share_only():
    least = fourier.least_share(67, 1)
    rest = np.random.default_rng(0).normal(size=67)
    rest -= fourier.basis(67)[[0, 9, 10]].T @ (fourier.basis(67)[[0, 9, 10]] @ rest)  # none of frequency 5
    rest /= np.linalg.norm(rest)
    for share, frequency in ((least + 1e-6, [5]), (least - 1e-6, [0])):
        column = np.sqrt(share) * fourier.basis(67)[9] + np.sqrt(1 - share) * rest
        table = fourier.neurons(0.05 + column[:, None], 67)  # the energy of the constant does not count
        assert table["frequency"].tolist() == frequency
        assert table["share"].tolist() == pytest.approx([share])


def test_of_a_single_frequency_nothing_is_known():
    assert fourier.least_share(3, 1) == 1
    assert fourier.frequencies(wave(3, 1, 0.3)[:, None], 3) == {}
    assert list(fourier.frequencies(wave(5, 1, 0.3)[:, None], 5)) == [1]


def test_a_neuron_of_two_inputs_is_what_the_input_with_the_larger_coefficient_says():
    quiet, loud = wave(11, 2, 0.4), 3 * wave(11, 4, -1.0)
    w_in = np.stack([np.concatenate([quiet, loud]), np.concatenate([loud, quiet])], axis=1)
    table = fourier.neurons(w_in, 11)
    assert table["frequency"].tolist() == [4, 4]
    assert table["phase"].tolist() == pytest.approx([-1.0, -1.0])
    assert fourier.neurons(w_in[:11], 11)["frequency"].tolist() == [2, 4]


def test_frequencies_ascend_hold_their_neurons_by_phase_and_leave_out_those_of_none():
    columns = [wave(11, 5, 1.0), np.ones(11), wave(11, 2, 0.0), wave(11, 5, -1.0)]
    found = fourier.frequencies(np.stack(columns, axis=1), 11)
    assert [(frequency, members.tolist()) for frequency, members in found.items()] == [(2, [2]), (5, [3, 0])]
    assert all(type(frequency) is int for frequency in found)
    assert fourier.frequencies(np.zeros((11, 3)), 11) == {}


@pytest.mark.parametrize("inputs", [1, 2])
def test_logits_are_those_of_the_network_fed_one_hot_rows(inputs):
    w_in, w_out = network(inputs=inputs)
    pairs_N2 = every_pair(11)
    full_DH = w_in if inputs == 2 else np.vstack([w_in, w_in])
    one_hot_ND = np.hstack([np.eye(11)[pairs_N2[:, 0]], np.eye(11)[pairs_N2[:, 1]]])
    assert np.allclose(fourier.logits(w_in, w_out, pairs_N2), np.clip(one_hot_ND @ full_DH, 0, None) @ w_out)
    # Stored weights are float32, their sums are not.
    small, small_out = w_in.astype(np.float32), w_out.astype(np.float32)
    exact = fourier.logits(small.astype(float), small_out.astype(float), pairs_N2)
    assert np.array_equal(fourier.logits(small, small_out, pairs_N2), exact)


@pytest.mark.parametrize("inputs", [1, 2])
def test_contributions_of_all_frequencies_and_of_none_sum_to_the_logits(inputs):
    _, w_out = network(hidden=9)
    waves = [wave(11, 1 + k % 5, k) for k in range(9)]
    w_in = np.vstack([np.stack(waves, axis=1) + 1e-3 * network(hidden=9, seed=k)[0] for k in range(inputs)])
    w_in[:, 4], w_in[:, 6] = 7.0, 8.0 * network(inputs=inputs)[0][:, 0]  # of none
    parts = [fourier.contribution(w_in, w_out, every_pair(11), frequency) for frequency in range(6)]
    assert np.allclose(sum(parts), fourier.logits(w_in, w_out, every_pair(11)))
    assert np.allclose(parts[0], fourier.logits(w_in[:, [4, 6]], w_out[[4, 6]], every_pair(11)))


def test_a_contribution_masks_the_neurons_of_other_frequencies():
    w_in = np.stack([wave(11, 2, 0.1), wave(11, 5, 1.0), wave(11, 2, 2.0)], axis=1)
    _, w_out = network(hidden=3)
    masked = fourier.logits(w_in[:, [0, 2]], w_out[[0, 2]], every_pair(11))
    assert np.allclose(fourier.contribution(w_in, w_out, every_pair(11), 2), masked)
    # A frequency that no neuron has adds nothing.
    assert np.array_equal(fourier.contribution(w_in, w_out, every_pair(11), 3), np.zeros((121, 11)))


def test_the_share_of_the_energy_by_hand():
    # Energies 9 of the constant, 4 of frequency 2, and 1 + 2 of the cos and the sin of frequency 3.
    rows_PP = fourier.basis(7)
    w_in = np.stack([3 * rows_PP[0] + 2 * rows_PP[3], rows_PP[5] + np.sqrt(2) * rows_PP[6]], axis=1)
    assert fourier.energies(w_in, 7) == pytest.approx([9, 0, 4, 3])
    assert fourier.energy_share(w_in, 7, [3]) == pytest.approx(3 / 16)
    assert fourier.energy_share(w_in, 7, {2: "two", 3: "three"}) == pytest.approx(7 / 16)
    assert fourier.energy_share(w_in, 7, []) == 0
    assert np.isnan(fourier.energy_share(np.zeros((7, 2)), 7, [2]))


@pytest.mark.parametrize(
    ("values", "index", "ratio"),
    [
        ([2, 2, 2, 2], 0.0, 1 / 4),
        ([0, 0, 5, 0], 3 / 4, 1.0),
        ([0, 0], np.nan, np.nan),
        # Pairs differ by 2, 1, 1, each counted twice: 8 / (2 * 3^2 * mean 2) = 2 / 9.
        ([3, 1, 2], 2 / 9, 14 / 36),
    ],
)
def test_sparsity_by_hand(values, index, ratio):
    assert fourier.gini(np.array(values)) == pytest.approx(index, nan_ok=True)
    assert fourier.inverse_participation_ratio(np.array(values)) == pytest.approx(ratio, nan_ok=True)


@given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=30), st.floats(0.1, 10))
def test_gini_is_half_the_mean_difference_over_the_mean_and_has_no_scale(values, scale):
    x_F = np.array(values)
    difference = np.abs(x_F[:, None] - x_F).mean()
    assert fourier.gini(x_F) == pytest.approx(difference / (2 * x_F.mean()), abs=1e-9)
    assert fourier.gini(scale * x_F) == pytest.approx(fourier.gini(x_F), abs=1e-9)
    ratio = sum(v**2 for v in values) / sum(values) ** 2
    assert fourier.inverse_participation_ratio(scale * x_F) == pytest.approx(ratio)


def cross_entropy(logits_ABC, pairs_N2):
    """Mean over rows and classes, one pair at a time."""
    modulus = len(logits_ABC)
    losses = []
    for a, b in pairs_N2:
        p_C = np.exp(logits_ABC[a, b]) / np.exp(logits_ABC[a, b]).sum()
        losses.append(-np.log(p_C[(a + b) % modulus]) / modulus)
    return np.mean(losses)


def kept(logits_ABC, places):
    """The logits with only these (row, column) of their 2D Fourier transform over a and b."""
    fft_ABC = np.fft.fft2(logits_ABC, axes=(0, 1))
    mask_AB = np.zeros(logits_ABC.shape[:2])
    for place in places:
        mask_AB[place] = 1
    return np.fft.ifft2(fft_ABC * mask_AB[:, :, None], axes=(0, 1)).real


@settings(max_examples=30)
@given(st.sampled_from([5, 7, 11]), st.integers(1, 2), st.integers(0, 2**32 - 1), st.sets(st.integers(1, 5)))
def test_restricted_and_excluded_loss_are_those_of_the_2d_fft(modulus, inputs, seed, some):
    keys = [key for key in sorted(some) if key <= modulus // 2]
    w_in, w_out = network(modulus, 6, inputs, seed)
    pairs_N2 = np.random.default_rng(seed).permutation(every_pair(modulus))[:9]
    logits_ABC = fourier.logits(w_in, w_out, every_pair(modulus)).reshape([modulus] * 3)
    # cos and sin of w (a + b) are the places (k, k) and (-k, -k) of the transform; (0, 0) is the constant.
    places = [(sign * key, sign * key) for key in keys for sign in (1, -1)]
    restricted_ABC = kept(logits_ABC, [(0, 0), *places])
    excluded_ABC = logits_ABC - kept(logits_ABC, places)
    expected = cross_entropy(restricted_ABC, pairs_N2), cross_entropy(excluded_ABC, pairs_N2)
    assert fourier.restricted_loss(w_in, w_out, keys, pairs_N2) == pytest.approx(expected[0])
    assert fourier.excluded_loss(w_in, w_out, keys, pairs_N2) == pytest.approx(expected[1])


def test_without_keys_nothing_is_excluded():
    w_in, w_out = network()
    pairs_N2 = every_pair(11)[::3]
    whole = cross_entropy(fourier.logits(w_in, w_out, every_pair(11)).reshape(11, 11, 11), pairs_N2)
    assert fourier.excluded_loss(w_in, w_out, [], pairs_N2) == pytest.approx(whole)
    assert fourier.excluded_loss(w_in, w_out, [2], pairs_N2) != pytest.approx(whole)


def test_a_circuit_lives_in_its_frequency():
    w_in, w_out = (20 * w for w in constructed(7, 11))
    pairs_N2, chance = every_pair(11), np.log(11) / 11
    assert fourier.restricted_loss(w_in, w_out, [1], pairs_N2) < chance / 10
    assert fourier.excluded_loss(w_in, w_out, [1], pairs_N2) > 0.99 * chance
    assert fourier.restricted_loss(w_in, w_out, [2], pairs_N2) > 0.99 * chance
    # Large logits do not overflow.
    assert 0 <= fourier.restricted_loss(1e3 * w_in, w_out, [1], pairs_N2) < 1e-6


def test_many_pairs_are_gone_through_in_blocks(monkeypatch):
    w_in, w_out = network()
    pairs_N2 = every_pair(11)[::3]

    def losses():
        return [
            loss(w_in, w_out, [2, 3], pairs_N2) for loss in (fourier.restricted_loss, fourier.excluded_loss)
        ]

    whole = losses()
    monkeypatch.setattr(fourier, "BLOCK", 50)
    assert losses() == pytest.approx(whole, rel=1e-12)
