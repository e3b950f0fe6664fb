"""The vmapped engine against a float64 training loop written out by hand in numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grok_sweep.core import registry
from grok_sweep.core.compiled import compiled
from grok_sweep.core.moment import Rows
from grok_sweep.core.parts import Values
from grok_sweep.core.program import Program
from grok_sweep.core.train import make_train

STATIC = {"n_bits": 30, "n_parity_bits": 3}
TEST_ROWS = 40
HPARAMS = {"learning_rate": 0.01, "weight_decay": 0.3, "b1": 0.9, "b2": 0.98, "eps": 1e-8, "init_scale": 1.0}
SCALE = {"init_scale": np.float32(1)}
CLIP = 2.0**-23


def program(hidden_size=6, rows=25, steps=30, log_every=1, lanes=1, blocks=1):
    static = tuple({**STATIC, "hidden_size": hidden_size}.items())
    sizes = {"rows": rows, "test_rows": TEST_ROWS, "lanes": lanes, "blocks": blocks}
    return Program("parity", "relu_mlp", "adamw", static, steps=steps, log_every=log_every, **sizes)


def rows_of(program, size, seed):
    values = {**program.values, "train_size": size, "test_size": TEST_ROWS}
    data = registry.find("task", "parity").data(values, seed)
    pad = program.rows - size
    x_train_ND = np.pad(data.x_train_ND, ((0, pad), (0, 0)), constant_values=1)
    y_train_N = np.pad(data.y_train_N, (0, pad), constant_values=1)
    return Rows(x_train_ND, y_train_N, data.x_test_ND, data.y_test_N, np.int32(size), np.int32(TEST_ROWS))


def by_hand(params, rows, hparams, steps):
    """What is logged before each step and after the last: float64, gradients written out."""
    w = {name: np.asarray(value, np.float64) for name, value in params["params"].items()}
    size = int(rows.train_size)
    sets = {
        "train": (rows.x_train_ND[:size].astype(float), rows.y_train_N[:size].astype(float)),
        "eval": (rows.x_test_ND.astype(float), rows.y_test_N.astype(float)),
    }
    m, v = ({name: np.zeros_like(value) for name, value in w.items()} for _ in range(2))
    logged = []
    for t in range(1, steps + 2):
        entry = {"weight_norm": np.sqrt(sum((value**2).sum() for value in w.values()))}
        for which, (x, y) in sets.items():
            p = 1 / (1 + np.exp(-np.maximum(x @ w["w_in"], 0) @ w["w_out"]))
            q = np.clip(p, CLIP, 1 - CLIP)
            entry[f"{which}_loss"] = -(y * np.log(q) + (1 - y) * np.log(1 - q)).mean()
            entry[f"{which}_accuracy"] = ((p > 0.5) == (y > 0.5)).mean()
        logged.append(entry)
        x, y = sets["train"]
        hidden = np.maximum(x @ w["w_in"], 0)
        p = 1 / (1 + np.exp(-hidden @ w["w_out"]))
        slope = np.where((p > CLIP) & (p < 1 - CLIP), p - y, 0) / size
        gradient = {"w_out": slope @ hidden, "w_in": x.T @ (np.outer(slope, w["w_out"]) * (hidden > 0))}
        for name, g in gradient.items():
            m[name] = hparams["b1"] * m[name] + (1 - hparams["b1"]) * g
            v[name] = hparams["b2"] * v[name] + (1 - hparams["b2"]) * g**2
            m_hat, v_hat = m[name] / (1 - hparams["b1"] ** t), v[name] / (1 - hparams["b2"] ** t)
            direction = m_hat / (np.sqrt(v_hat) + hparams["eps"]) + hparams["weight_decay"] * w[name]
            w[name] = w[name] - hparams["learning_rate"] * direction
    return {name: np.array([entry[name] for entry in logged]) for name in logged[0]}


@pytest.mark.parametrize(("hidden_size", "blocks"), [(6, 1), (64, 1), (64, 4)])  # features or rows first
@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize("changed", [{}, {"weight_decay": 0.0}, {"b1": 0.99, "learning_rate": 0.003}])
def test_training_is_adamw_on_the_parity_loss(hidden_size, blocks, padding, changed):
    one, hparams = program(hidden_size=hidden_size, blocks=blocks), HPARAMS | changed
    rows = rows_of(one, one.rows - padding, seed=3)
    params = compiled(one).init(3, SCALE)
    trained = jax.jit(make_train(one))({k: np.float32(v) for k, v in hparams.items()}, params, rows)
    got = trained.metrics._asdict()
    assert trained.weights == {}
    expected = by_hand(params, rows, hparams, one.steps)
    for name, values_T in expected.items():
        assert got[name].shape == (one.steps + 1,)
        np.testing.assert_allclose(got[name], values_T, rtol=2e-3, atol=1e-5, err_msg=name)


def test_metrics_are_logged_every_so_many_steps_and_after_the_last():
    fine, coarse = program(log_every=1), program(log_every=10)
    hparams = {k: np.float32(v) for k, v in HPARAMS.items()}
    params, rows = compiled(fine).init(0, SCALE), rows_of(fine, 25, 0)
    every, tenth = (jax.jit(make_train(p))(hparams, params, rows).metrics for p in (fine, coarse))
    for all_T, some_T in zip(every, tenth, strict=True):
        np.testing.assert_allclose(all_T[::10], some_T, rtol=1e-4)


numbers = st.floats(-10, 10, width=32)


@given(
    gradients=st.lists(numbers.filter(lambda g: abs(g) > 1e-3), min_size=1, max_size=6),
    weight=numbers,
    rate=st.floats(1e-4, 1),
    decay=st.floats(0, 2),
    b1=st.floats(0, 0.99),
    b2=st.floats(0, 0.99),
)
def test_adamw_with_traced_numbers_against_float64(gradients, weight, rate, decay, b1, b2):
    hparams = {"learning_rate": rate, "weight_decay": decay, "b1": b1, "b2": b2, "eps": 1e-8}
    transform = registry.find("optimizer", "adamw").make(
        Values({k: jnp.float32(v) for k, v in hparams.items()})
    )
    w, m, v = np.float64(weight), 0.0, 0.0
    param = jnp.float32(weight)
    state = transform.init(param)
    for t, g in enumerate(gradients, start=1):
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        w = w - rate * (m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + 1e-8) + decay * w)
        update, state = transform.update(jnp.float32(g), state, param)
        param = param + update
    assert float(param) == pytest.approx(w, rel=1e-3, abs=1e-3)


@pytest.mark.parametrize("hidden_size", [6, 64])
def test_initial_weights_are_bitwise_the_same_however_a_run_is_batched(hidden_size):
    programs = [
        program(hidden_size=hidden_size, rows=rows, steps=steps, lanes=lanes)
        for rows, steps, lanes in ((25, 30, 1), (25, 30, 7), (1000, 100, 3))
    ]
    half = {"init_scale": np.float32(0.5)}
    for seed in (0, 5, 2**31 - 1):
        first, *others = (jax.device_get(compiled(p).init(seed, half))["params"] for p in programs)
        for other in others:
            assert all(first[name].tobytes() == other[name].tobytes() for name in first)
    assert (
        first["w_in"].tobytes()
        != jax.device_get(compiled(programs[0]).init(1, half))["params"]["w_in"].tobytes()
    )


@pytest.mark.parametrize("float_bits", [32, 64])
@pytest.mark.parametrize("snapshot_every", [0, 10])
def test_modular_addition_is_adamw_on_its_loss(float_bits, snapshot_every):
    """With decay and L1, against float64 by hand, through products of weights; and the snapshots."""
    values = {"modulus": 5, "hidden_size": 4, "embed_size": 6, "float_bits": float_bits, "ordered_pairs": 1}
    values |= {"tied_embedding": 1, "tied_hidden": 1, "collapsed_input": 0, "collapsed_output": 0}
    data = registry.find("task", "modular_addition").data(values | {"train_share": 0.6}, 0)
    static = tuple((key, v) for key, v in values.items())
    sizes = {"rows": 15, "test_rows": 10, "lanes": 1, "snapshot_every": snapshot_every}
    one = Program("modular_addition", "modular_mlp", "adamw_l1", static, steps=30, log_every=5, **sizes)
    hparams = HPARAMS | {"l1_decay": 0.02}
    with jax.enable_x64(float_bits == 64):
        dtype = np.dtype(f"float{float_bits}")
        params = jax.tree.map(lambda a: np.asarray(a, dtype), compiled(one).init(3, SCALE))
        rows = Rows(
            data.x_train_ND, data.y_train_N, data.x_test_ND, data.y_test_N, np.int32(15), np.int32(10)
        )
        trained = jax.device_get(
            jax.jit(make_train(one))({k: dtype.type(v) for k, v in hparams.items()}, params, rows)
        )
    w = {name: np.asarray(value, np.float64) for name, value in params["params"].items()}
    m, v = ({name: np.zeros_like(value) for name, value in w.items()} for _ in range(2))
    x_NP = (data.x_train_ND[:, :5] + data.x_train_ND[:, 5:]).astype(float)
    losses, products = [], []
    for t in range(1, 32):
        e, w_in, w_out = w["embedding"], w["embedding"] @ w["w_h"], w["w_o"] @ w["embedding"].T
        products.append((w_in, w_out))
        hidden = np.maximum(x_NP @ w_in, 0)
        z = np.exp(hidden @ w_out)
        p = z / z.sum(axis=1, keepdims=True)
        one_hot = np.eye(5)[data.y_train_N]
        losses.append(-(one_hot * np.log(p)).mean())
        slope = (p - one_hot) / (15 * 5)
        d_out = hidden.T @ slope
        d_in = x_NP.T @ ((slope @ w_out.T) * (hidden > 0))
        gradient = {"w_h": e.T @ d_in, "w_o": d_out @ e, "embedding": d_in @ w["w_h"].T + d_out.T @ w["w_o"]}
        for name, of_loss in gradient.items():
            g = of_loss + hparams["l1_decay"] * np.sign(w[name])
            m[name] = hparams["b1"] * m[name] + (1 - hparams["b1"]) * g
            v[name] = hparams["b2"] * v[name] + (1 - hparams["b2"]) * g**2
            m_hat, v_hat = m[name] / (1 - hparams["b1"] ** t), v[name] / (1 - hparams["b2"] ** t)
            direction = m_hat / (np.sqrt(v_hat) + hparams["eps"]) + hparams["weight_decay"] * w[name]
            w[name] = w[name] - hparams["learning_rate"] * direction
    assert trained.metrics.train_loss.dtype == dtype
    tolerance = {"rtol": 1e-10} if float_bits == 64 else {"rtol": 2e-3, "atol": 1e-5}
    np.testing.assert_allclose(trained.metrics.train_loss, losses[::5], **tolerance)
    if not snapshot_every:
        assert trained.weights == {}
        return
    for i, name in enumerate(["w_in", "w_out"]):
        expected = np.array([products[step][i] for step in (0, 10, 20, 30)])
        np.testing.assert_allclose(trained.weights[name], expected, **tolerance)


def test_a_program_is_compiled_once():
    one = program(lanes=2, steps=10)
    functions = compiled(one)
    two = lambda tree: jax.tree.map(lambda *leaves: np.stack(leaves), tree, tree)  # noqa: E731
    arguments = jax.tree.map(
        jnp.asarray,
        (
            two({k: np.float32(v) for k, v in HPARAMS.items()}),
            two(jax.device_get(functions.init(0, SCALE))),
            two(rows_of(one, 25, 0)),
        ),
    )
    executable = functions.train_for(*arguments)
    other = arguments[0] | {"weight_decay": jnp.array([0.7, 0.8], jnp.float32)}
    assert compiled(program(lanes=2, steps=10)).train_for(other, *arguments[1:]) is executable
    first, second = (executable(h, *arguments[1:]).metrics for h in (arguments[0], other))
    assert first.train_loss.shape == (2, 11)
    assert not np.allclose(first.weight_norm, second.weight_norm)  # the decay was not compiled in
