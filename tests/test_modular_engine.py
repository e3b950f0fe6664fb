"""The kernel for modular addition on a CPU: that it gives XLA's numbers, and which programs it knows."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_engines import as_near_to_float64, is_near, losses, native, on_some_threads, trained

from grok_sweep.core import engines
from grok_sweep.core.program import Program
from grok_sweep.core.source import Source
from grok_sweep.errors import ConfigError
from grok_sweep.worker import Order, train_shard
from grok_sweep.worker.deciding import By
from grok_sweep.worker.native import register

SIZES = {"modulus": 11, "hidden_size": 8, "float_bits": 32}
SWITCHES = ("tied_embedding", "tied_hidden", "collapsed_input", "collapsed_output")


def addition(lanes=1, model="modular_mlp", steps=20, batch_size=0, device="cpu", **static):
    own = {"embed_size": 5, **dict.fromkeys(SWITCHES, 1)} if model == "modular_mlp" else {}
    sizes = {"rows": 50, "test_rows": 71, "steps": steps, "log_every": 5, "lanes": lanes}
    values = tuple({**SIZES, "ordered_pairs": 1, **own, **static}.items())
    return Program("modular_addition", model, "adamw", values, **sizes, batch_size=batch_size, device=device)


@pytest.fixture(autouse=True)
def _at_hand():
    assert register("modular") == ""


def columns(program, learning_rate=1e-3):
    """Of as many runs as lanes at the defaults, all of 50 rows."""
    found = {key: number.default for key, number in program.numbers.items()} | program.values
    found |= {"train_share": 50 / 121, "learning_rate": learning_rate, "init_scale": 2.0}
    of = {key: np.full(program.lanes, value) for key, value in found.items()}
    seeds = range(program.lanes)
    return {**of, "seed": np.array(seeds), "run_id": np.array([f"{seed:016x}" for seed in seeds])}


def test_a_lane_is_bitwise_the_same_on_any_thread():
    program = native(addition(lanes=24, hidden_size=512), "cpu")  # enough work for threads
    one, three = on_some_threads("modular", lambda: trained(program, columns(program)))
    jax.tree.map(np.testing.assert_array_equal, one, three)


@given(
    rows=st.integers(1, 300),
    modulus=st.integers(1, 100).map(lambda half: 2 * half + 1),
    hidden=st.integers(1, 150),
    padding=st.sampled_from([0, 0, 1, 20, 299]),
    left_out=st.sampled_from([0, 0.5, 1]),  # share of rows without a weight
    tied=st.sampled_from([0, 1]),
    seed=st.integers(0, 2**31 - 1),
)
@settings(max_examples=12)
def test_outputs_and_gradient_are_those_of_float64(rows, modulus, hidden, padding, left_out, tied, seed):
    random = np.random.default_rng(seed)
    program = addition(modulus=modulus, hidden_size=hidden, tied_hidden=tied)
    pairs_N2, y_N = random.integers(0, modulus, (rows, 2)), random.integers(0, modulus, rows)
    x_ND = np.concatenate([np.eye(modulus, dtype=np.int8)[pairs_N2[:, i]] for i in (0, 1)], axis=1)
    weight_N = random.random(rows).astype(np.float32)
    weight_N[max(1, rows - padding) :] = 0
    weight_N[random.random(rows) < left_out] = 0
    w_out_HP = random.normal(size=(hidden, modulus)).astype(np.float32)
    names = ["w_in"] if tied else ["w_in_a", "w_in_b"]
    w_in = {name: random.normal(size=(modulus, hidden)).astype(np.float32) for name in names}
    made = engines.engine(native(program, "cpu"), program.built, losses(program))

    @jax.jit
    def both(params):
        inputs = made.inputs(jnp.asarray(x_ND))
        return made.outputs(params, inputs), made.gradient(
            params, inputs, jnp.asarray(y_N, "int32"), weight_N
        )

    z_PN, slope = both({"params": {**w_in, "w_out": w_out_HP}})
    of_both = [w_in[name].astype(np.float64) for name in (names[0], names[-1])]
    w_out, weight = w_out_HP.astype(np.float64), weight_N.astype(np.float64)
    hidden_NH = of_both[0][pairs_N2[:, 0]] + of_both[1][pairs_N2[:, 1]]
    right_NP = np.maximum(hidden_NH, 0) @ w_out
    size_NH = sum(np.abs(w[pairs_N2[:, i]]) for i, w in enumerate(of_both)) * (hidden_NH > 0)
    assert is_near(np.asarray(z_PN).T, right_NP, size_NH @ np.abs(w_out))
    p_NP = np.exp(right_NP - right_NP.max(axis=1, keepdims=True))
    p_NP /= p_NP.sum(axis=1, keepdims=True)
    share_N1 = weight[:, None] / modulus
    dz_NP = (p_NP - np.eye(modulus)[y_N]) * share_N1
    # What a logit is off by, p is off by as many parts of itself.
    size_NP = (p_NP * (1 + size_NH @ np.abs(w_out)) + np.eye(modulus)[y_N]) * share_N1
    assert is_near(slope["params"]["w_out"], np.maximum(hidden_NH, 0).T @ dz_NP, size_NH.T @ size_NP)
    on_NH = hidden_NH > 0
    dh_NH, size_of_dh_NH = dz_NP @ w_out.T * on_NH, size_NP @ np.abs(w_out).T * on_NH
    for name in names:
        sides = (0, 1) if tied else (names.index(name),)
        of_ones_PN = sum(np.eye(modulus)[pairs_N2[:, i]].T for i in sides)
        assert is_near(slope["params"][name], of_ones_PN @ dh_NH, of_ones_PN @ size_of_dh_NH)


@pytest.mark.parametrize("lanes", [1, 3])
@pytest.mark.parametrize(
    ("model", "static"),
    [
        ("modular_circle", {}),
        ("modular_mlp", {}),
        ("modular_mlp", {"hidden_size": 33, "collapsed_input": 0, "collapsed_output": 0}),
        ("modular_mlp", {"tied_hidden": 0, "tied_embedding": 0, "collapsed_output": 0}),
    ],
    ids=["circle", "collapsed", "embedded", "untied"],
)
def test_a_run_is_that_of_xla_as_far_as_rounding_carries(model, static, lanes):
    program = addition(lanes, model, **static)
    of = columns(program)
    by_xla, by_kernel = trained(program, of), trained(native(program, "cpu"), of)
    for name, right in by_xla.metrics._asdict().items():
        np.testing.assert_allclose(getattr(by_kernel.metrics, name), right, rtol=2e-5, err_msg=name)


@pytest.mark.parametrize("model", ["modular_circle", "modular_mlp"])
def test_a_thousand_steps_are_as_near_to_float64_as_xlas(model):
    program = addition(9, model, steps=1000)
    as_near_to_float64(program, columns(program))


def test_what_is_not_finite_is_so_for_both():
    program = addition(2)
    of = columns(program, learning_rate=1e30)
    by_kernel = trained(native(program, "cpu"), of)
    for right, found in zip(trained(program, of).metrics, by_kernel.metrics, strict=True):
        np.testing.assert_array_equal(np.isfinite(found), np.isfinite(right))
    assert not np.isfinite(right[:, 1:]).any()


def test_lanes_do_not_change_a_run():
    alone, among = native(addition(1), "cpu"), native(addition(3), "cpu")
    for one, of_three in zip(
        trained(alone, columns(alone)).metrics, trained(among, columns(among)).metrics, strict=True
    ):
        np.testing.assert_allclose(one[0], of_three[0], rtol=1e-6)


UNKNOWN = {
    "gpu": (addition(device="gpu"), "it knows the network of modular_mlp on a CPU only"),
    "tpu": (addition(device="tpu"), "it knows the network of modular_mlp on a CPU only"),
    "float64": (addition(float_bits=64), "it trains in float32, by all rows in each step"),
    "neurons": (addition(hidden_size=513), "it knows at most 512 neurons"),
    "batches": (addition(batch_size=10), "it trains in float32, by all rows in each step"),
}


@pytest.mark.parametrize("case", UNKNOWN)
def test_what_it_does_not_know_xla_does(case):
    program, why = UNKNOWN[case]
    assert engines.chosen(program, "auto") == engines.chosen(program, "xla") == "xla"
    with pytest.raises(ConfigError, match=f"^engine=native: {why}; engine=auto takes xla there$"):
        engines.chosen(program, "native")


@pytest.mark.parametrize("model", ["modular_mlp", "modular_circle"])
def test_the_one_asked_for_is_chosen(model):
    program = addition(model=model)
    assert [engines.chosen(program, asked) for asked in ("auto", "native", "xla")] == [
        "native",
        "native",
        "xla",
    ]


CHANGED = """
from grok_sweep.core.tasks.modular_addition import ModularAddition


class Own(ModularAddition):
    def {0}(self, *given):
        return super().{0}(*given)
"""


@pytest.mark.parametrize("changed", ["loss", "data", "checked", "correct"])
def test_a_task_of_other_rows_or_losses_is_not_known(changed):
    source = Source("mine.py", CHANGED.format(changed))
    program = dataclasses.replace(addition(), task="own", source=source)
    if changed == "correct":
        assert engines.chosen(program, "native") == "native"
        return
    why = "it knows the rows and the loss of modular_addition, not those of own"
    with pytest.raises(ConfigError, match=why):
        engines.chosen(program, "native")


def test_runs_that_end_early_leave_the_beginning_of_whole_ones():
    program = native(addition(6, steps=1000), "cpu")
    of = columns(program, learning_rate=3e-3)
    whole = train_shard(Order("s", program, of)).curves.to_pandas()
    lowest = whole.groupby("run_id")[["train_loss", "eval_loss"]].min().max(axis=1)
    by = By("pair", {"min_loss": float(lowest.median()), "max_ratio": 1.0})
    ending = train_shard(Order("s", dataclasses.replace(program, lanes=2), of, by))
    ended = ending.runs.to_pandas().set_index("run_id")["stopped_step"]
    assert 0 < ended.notna().sum() < 6
    kept = whole[whole["step"] <= whole["run_id"].map(ended.fillna(1000))].set_index(["run_id", "step"])
    found = ending.curves.to_pandas().set_index(["run_id", "step"])
    pd.testing.assert_frame_equal(found.sort_index(), kept.sort_index(), rtol=1e-3)
