import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from grok_sweep.core import models, registry

PARITY_ROW = ((31,), "int8")


def build(name, values):
    return models.build(registry.find("model", name), {"init_scale": 1.0} | values)


@pytest.mark.parametrize("hidden_size", [16, 64])
def test_output_and_gradient_against_float64(hidden_size):
    """Both layouts, by formulas written out by hand."""
    random = np.random.default_rng(0)
    model = build("relu_mlp", {"hidden_size": hidden_size})
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
    model = build("relu_mlp", {"hidden_size": 4000, "init_scale": scale})
    params = model.init(jax.random.key(0), jnp.zeros((1, 31)))["params"]
    assert params["w_in"].shape == (31, 4000)
    assert params["w_out"].shape == (4000,)
    # A normal cut at 2 sd has sd 0.8796 of the uncut; that is left so.
    for weights, fan_in in ((params["w_in"], 31), (params["w_out"], 4000)):
        sd = scale / fan_in**0.5
        assert abs(weights).max() <= 2.0001 * sd
        assert float(jnp.std(weights)) == pytest.approx(0.8796 * sd, rel=0.05)
        assert abs(float(jnp.mean(weights))) < 0.1 * sd


def test_operations_of_the_parity_task():
    assert build("relu_mlp", {"hidden_size": 7}).operations(PARITY_ROW) == 129 * 7


MODULAR = {
    "modulus": 7,
    "hidden_size": 5,
    "embed_size": 11,
    "tied_embedding": 1,
    "tied_hidden": 1,
    "collapsed_input": 0,
    "collapsed_output": 0,
}
MODULAR_ROW = ((14,), "int8")
SWITCHES = ("tied_embedding", "tied_hidden", "collapsed_input", "collapsed_output")
PAIRS = np.array([(a, b) for a in range(7) for b in range(7)])
X_ND = np.concatenate([np.eye(7)[PAIRS[:, 0]], np.eye(7)[PAIRS[:, 1]]], axis=1).astype(np.int8)


def initial(name, values):
    model = build(name, values)
    x = model.inputs(X_ND, np.float32)
    return model, x, model.init(jax.random.key(0), x)


@pytest.mark.parametrize("switches", list(itertools.product([0, 1], repeat=4)))
def test_modular_architectures_against_row_by_row_float64(switches):
    """Each of the 16: embed a and b, multiply, and read the answer, without products taken before."""
    values = MODULAR | dict(zip(SWITCHES, switches, strict=True))
    tied_embedding, tied_hidden, collapsed_input, collapsed_output = switches
    model, x, params = initial("modular_mlp", values)
    w = {key: np.asarray(value, np.float64) for key, value in params["params"].items()}
    names = ("", "") if tied_hidden else ("_a", "_b")
    hidden = 0
    for i, suffix in enumerate(names):
        if collapsed_input:
            hidden = hidden + w[f"w_in{suffix}"][PAIRS[:, i]]
        else:
            hidden = hidden + w["embedding"][PAIRS[:, i]] @ w[f"w_h{suffix}"]
    if collapsed_output:
        expected = np.maximum(hidden, 0) @ w["w_out"]
    else:
        unembedding = w["embedding" if tied_embedding else "unembedding"]
        expected = np.maximum(hidden, 0) @ w["w_o"] @ unembedding.T
    np.testing.assert_allclose(model.apply(params, x), expected.T, rtol=1e-4, atol=1e-5)
    used = {"w_in", "w_in_a", "w_in_b", "w_out"} if collapsed_input and collapsed_output else set(w)
    assert set(w) <= used  # fully collapsed there is no embedding left
    # What is recorded is what rows are multiplied by.
    recorded = model.weights(params)
    assert {key: value.shape for key, value in recorded.items()} == model.weight_shapes(MODULAR_ROW)
    sides = np.split(np.asarray(recorded["w_in"], np.float64), len(recorded["w_in"]) // 7)
    again = np.maximum(sides[0][PAIRS[:, 0]] + sides[-1][PAIRS[:, 1]], 0) @ recorded["w_out"]
    np.testing.assert_allclose(again, expected, rtol=1e-4, atol=1e-5)


def test_the_circle_has_20_weights_and_a_fixed_embedding():
    model, x, params = initial("modular_circle", MODULAR)
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 20
    angle = 2 * np.pi * np.arange(7) / 7
    columns = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    columns /= np.sqrt((columns**2).sum(axis=0))
    w_h, w_o = (np.asarray(params["params"][key], np.float64) for key in ("w_h", "w_o"))
    hidden = np.maximum((columns[PAIRS[:, 0]] + columns[PAIRS[:, 1]]) @ w_h, 0)
    np.testing.assert_allclose(model.apply(params, x), (hidden @ w_o @ columns.T).T, rtol=1e-4, atol=1e-6)


def test_initial_weights_of_modular_addition():
    """E3: the embedding has sd sqrt(2 / P) after the truncation, the others 1 / sqrt(fan_in) before it."""
    _, _, params = initial("modular_mlp", MODULAR | {"embed_size": 4000, "hidden_size": 50})
    sd = {key: float(jnp.std(value)) for key, value in params["params"].items()}
    assert sd["embedding"] == pytest.approx((2 / 7) ** 0.5, rel=0.02)
    assert sd["w_h"] == pytest.approx(0.8796 / 4000**0.5, rel=0.02)
    assert sd["w_o"] == pytest.approx(0.8796 / 50**0.5, rel=0.02)


def test_operations_of_modular_addition_are_those_of_xla():
    """Of the products, forward and backward; what XLA counts for relu, softmax and indices is left out."""
    model, x, params = initial("modular_mlp", MODULAR | {"embed_size": 500, "hidden_size": 24})
    forward = 2 * 24 * (7 + 7) * len(PAIRS) + 2 * 2 * 7 * 500 * 24
    counted = jax.jit(model.apply).lower(params, x).compile().cost_analysis()["flops"]
    assert counted == pytest.approx(forward, rel=0.05)
    own = model.operations(MODULAR_ROW) * len(PAIRS) + model.step_operations(MODULAR_ROW)
    # Backward twice that, but for the gradient of the rows themselves.
    assert own == pytest.approx(3 * forward - 2 * 24 * 7 * len(PAIRS), rel=0.05)
