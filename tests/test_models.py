import jax
import jax.numpy as jnp
import numpy as np
import pytest

from grok_sweep import models


@pytest.mark.parametrize("hidden_size", [16, 64])
def test_output_and_gradient_against_float64(hidden_size):
    """Both layouts, by formulas written out by hand."""
    random = np.random.default_rng(0)
    model = models.build("relu_mlp", {"hidden_size": hidden_size})
    x_ND, g_N = random.normal(size=(50, 31)), random.normal(size=50)
    w_in_DH, w_out_H = random.normal(size=(31, hidden_size)), random.normal(size=hidden_size)
    params = jax.tree.map(jnp.float32, {"params": {"w_in": w_in_DH, "w_out": w_out_H}})
    x = jnp.float32(x_ND.T if model.features_first else x_ND)
    assert model.features_first == (hidden_size == 16)

    hidden_NH = np.maximum(x_ND @ w_in_DH, 0)
    back_NH = np.outer(g_N, w_out_H) * (hidden_NH > 0)
    output_N, gradient = (
        model.apply(params, x),
        jax.grad(lambda p: jnp.float32(g_N) @ model.apply(p, x))(params),
    )
    np.testing.assert_allclose(output_N, hidden_NH @ w_out_H, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(gradient["params"]["w_out"], g_N @ hidden_NH, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(gradient["params"]["w_in"], x_ND.T @ back_NH, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("scale", [1.0, 0.25])
def test_initial_weights_are_truncated_normal_over_fan_in(scale):
    model = models.build("relu_mlp", {"hidden_size": 4000})
    params = model.init(jax.random.key(0), jnp.zeros((1, 31)), scale)["params"]
    assert params["w_in"].shape == (31, 4000)
    assert params["w_out"].shape == (4000,)
    # A normal cut at 2 sd has sd 0.8796 of the uncut; that is left so.
    for weights, fan_in in ((params["w_in"], 31), (params["w_out"], 4000)):
        sd = scale / fan_in**0.5
        assert abs(weights).max() <= 2.0001 * sd
        assert float(jnp.std(weights)) == pytest.approx(0.8796 * sd, rel=0.05)
        assert abs(float(jnp.mean(weights))) < 0.1 * sd


def test_operations_of_the_parity_task():
    assert models.build("relu_mlp", {"hidden_size": 7}).operations(31) == 129 * 7
