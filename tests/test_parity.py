import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grok_sweep.core import registry

parity = registry.find("task", "parity")
VALUES = {"n_bits": 30, "n_parity_bits": 3, "train_size": 200, "test_size": 300}
sizes = st.integers(1, 70)


@given(bits=st.integers(1, 130), rows=sizes, more=sizes, seed=st.integers(0, 2**31 - 1))
def test_rows_are_bits_a_constant_and_their_parity(bits, rows, more, seed):
    values = {"n_bits": bits, "n_parity_bits": min(3, bits), "train_size": rows, "test_size": more}
    data = parity.data(values, seed)
    assert parity.rows(values) == (rows, more)
    for x_ND, y_N, size in ((data.x_train_ND, data.y_train_N, rows), (data.x_test_ND, data.y_test_N, more)):
        assert (x_ND.shape, x_ND.dtype) == ((size, bits + 1), np.int8)
        assert parity.row(values) == ((bits + 1,), "int8")
        assert set(np.unique(x_ND)) <= {0, 1}
        assert (x_ND[:, -1] == 1).all()
        assert [bin(int("".join(map(str, row[: min(3, bits)])), 2)).count("1") % 2 for row in x_ND] == list(
            y_N
        )


@given(rows=sizes, more=sizes, seed=st.integers(0, 1000))
def test_fewer_rows_are_the_first_of_more_and_test_rows_do_not_depend_on_them(rows, more, seed):
    few = parity.data(VALUES | {"train_size": rows}, seed)
    many = parity.data(VALUES | {"train_size": rows + more}, seed)
    np.testing.assert_array_equal(few.x_train_ND, many.x_train_ND[:rows])
    np.testing.assert_array_equal(few.y_train_N, many.y_train_N[:rows])
    np.testing.assert_array_equal(few.x_test_ND, many.x_test_ND)


def test_bits_are_fair_and_streams_and_seeds_differ():
    values = VALUES | {"train_size": 20_000, "test_size": 20_000}
    first, second = parity.data(values, 0), parity.data(values, 1)
    means_D = first.x_train_ND[:, :-1].mean(axis=0)
    assert abs(means_D - 0.5).max() < 5 * 0.5 / 20_000**0.5
    assert abs(first.y_train_N.mean() - 0.5) < 5 * 0.5 / 20_000**0.5
    for other in (second.x_train_ND, first.x_test_ND):
        assert abs((first.x_train_ND[:, :-1] == other[:, :-1]).mean() - 0.5) < 0.01


def test_the_data_of_a_seed_never_change():
    """Other numbers for the same run_id would be another experiment: raise grid.SCHEMA_VERSION with them."""
    data = parity.data(VALUES, 7)
    weights = 1 + np.arange(31)
    assert (data.x_train_ND[:4] @ weights).tolist() == PINNED_TRAIN
    assert (data.x_test_ND[:4] @ weights).tolist() == PINNED_TEST


PINNED_TRAIN = [296, 274, 241, 286]
PINNED_TEST = [320, 241, 193, 193]


@pytest.mark.parametrize("logit", [-30.0, -5.0, -0.1, 0.0, 0.1, 5.0, 15.0, 30.0, 100.0])
@pytest.mark.parametrize("label", [0.0, 1.0])
def test_loss_and_its_gradient_against_float64(logit, label):
    p = 1 / (1 + np.exp(-np.float64(logit)))
    clipped = min(max(p, 2.0**-23), 1 - 2.0**-23)
    expected = -(label * np.log(clipped) + (1 - label) * np.log1p(-clipped))
    slope = p - label if p == clipped else 0.0
    both = jax.value_and_grad(lambda z: parity.loss(VALUES, z, jnp.float32(label)))
    loss, gradient = both(jnp.float32(logit))
    # A float32 probability near 1 is known to 6e-8 only: so is 1 - p, whose log the loss of a wrong row is.
    off = 6e-8 / min(clipped, 1 - clipped) if (label == 1) != (logit > 0) else 0
    assert loss == pytest.approx(expected, rel=1e-5, abs=7e-8 + off)
    assert gradient == pytest.approx(slope, rel=1e-4 + off, abs=1e-7)


def test_the_floor_of_the_loss():
    logit_N = jnp.array([100.0, -100.0])
    np.testing.assert_allclose(parity.loss(VALUES, logit_N, jnp.array([1.0, 0.0])), 2.0**-23, rtol=1e-3)


def test_correct_is_a_probability_on_the_labels_side():
    logit_N, y_N = jnp.array([-1.0, 1.0, -1.0, 1.0]), jnp.array([0.0, 0.0, 1.0, 1.0])
    assert parity.correct(VALUES, logit_N, y_N).tolist() == [True, False, False, True]


def test_more_parity_bits_than_bits_is_a_problem():
    assert dict(parity.check(VALUES | {"n_parity_bits": 31})) == {
        "n_parity_bits": "must be at most n_bits=30"
    }
    assert not list(parity.check(VALUES | {"n_parity_bits": 30}))
