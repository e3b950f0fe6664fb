"""Engines: that kernels of our own give XLA's numbers, which programs they know, and who is chosen.

The kernel for a GPU runs in jax's interpreter here. Where there is one, `--noconftest` in the environment of
a worker there (`worker.environment`) runs it as it is.
"""

import ctypes
import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from own import OWN

from grok_sweep.core import engines, registry
from grok_sweep.core.compiled import Compiled
from grok_sweep.core.engines import relu_cpu, relu_gpu
from grok_sweep.core.engines.pieces import pieces
from grok_sweep.core.engines.relu import MOST_FEATURES, MOST_HIDDEN_GPU, MOST_ROWS, unknown
from grok_sweep.core.engines.relu_gpu import LEAST, ReluGpu
from grok_sweep.core.program import Program
from grok_sweep.core.source import Source
from grok_sweep.errors import ConfigError
from grok_sweep.worker import Order, prepare, train_shard
from grok_sweep.worker import native as native_here
from grok_sweep.worker.deciding import By
from grok_sweep.worker.inputs import arguments, rows_of
from grok_sweep.worker.native import built, register

SIZES = {"n_bits": 30, "n_parity_bits": 3, "hidden_size": 16, "float_bits": 32}
INTERPRET = jax.default_backend() == "cpu"


def parity(lanes=1, optimizer="adamw", steps=20, batch_size=0, **static):
    sizes = {"rows": 100, "test_rows": 60, "steps": steps, "log_every": 5, "lanes": lanes}
    values = tuple({**SIZES, **static}.items())
    return Program("parity", "relu_mlp", optimizer, values, **sizes, batch_size=batch_size)


def native(program, device):
    return dataclasses.replace(program, engine="native", device=device)


on_all = pytest.mark.parametrize("device", ["cpu", "gpu", "tpu"])


def losses(program):
    return lambda output, y: program.part("task").loss(None, output, y)


@pytest.fixture(autouse=True)
def at_hand(monkeypatch):
    assert register("relu") == ""
    if INTERPRET:
        monkeypatch.setattr(relu_gpu, "ReluGpu", functools.partial(ReluGpu, interpret=True))


def test_a_kernel_says_what_it_cannot_take():
    """It reads bytes where XLA says that they are: of another dtype they would be other numbers."""
    shape = jax.ShapeDtypeStruct((1, 4), jnp.float32)
    index = jnp.zeros((1, 4, 8), jnp.uint8).at[0, :, 0].set(jnp.array([0, 1, 3, 32], jnp.uint8))
    w_in, w_out = jnp.arange(18.0).reshape(1, 6, 3), jnp.array([[1.0, 10.0, -1.0]])

    def raised(*arrays, **numbers):
        with pytest.raises(jax.errors.JaxRuntimeError) as error:
            jax.block_until_ready(jax.ffi.ffi_call("grok_sweep_relu_outputs", shape)(*arrays, **numbers))
        return str(error.value)

    call = jax.ffi.ffi_call("grok_sweep_relu_outputs", shape)
    # Rows of W by the bits: none, the first, the first two, the last.
    assert call(index, w_in, w_out, groups=1).tolist() == [[0, 10 - 2, 3 + 50 - 7, 15 + 160 - 17]]
    assert "argument 2 is missing, or of another dtype" in raised(index, w_in, groups=1)
    assert "argument 1 is missing, or of another dtype" in raised(index, index, w_out, groups=1)
    assert "groups is missing, or of another dtype" in raised(index, w_in, w_out)
    assert "groups is missing, or of another dtype" in raised(index, w_in, w_out, groups=np.float32(1.5))


def columns(program, seeds, learning_rate=1e-3):
    """Of runs of all seeds at the defaults, with fewer rows each, so that some are padded."""
    runs = len(seeds)
    found = {key: np.full(runs, number.default) for key, number in program.numbers.items()}
    found |= {key: np.full(runs, value) for key, value in program.values.items()}
    found["train_size"] = program.rows - np.arange(runs)
    found["test_size"] = np.full(runs, program.test_rows)
    found["learning_rate"] = np.full(runs, learning_rate)
    return {**found, "seed": np.array(seeds), "run_id": np.array([f"{seed:016x}" for seed in seeds])}


def trained(program, of):
    functions = Compiled(program)
    rows = {run: rows_of(program, of, run) for run in range(program.lanes)}
    inputs = arguments(program, of, rows, functions.init)
    return jax.device_get(functions.train_for(*inputs)(*inputs))


def on_some_threads(kind, train):
    """What `train()` gives on one thread, and on three."""
    library = ctypes.CDLL(str(built(kind)))
    try:
        library.use_threads(1)
        one = train()
        library.use_threads(3)
        return one, train()
    finally:
        library.use_threads(1)


def is_near(found, right, added_up):
    """Within 1e-6 of the sizes of what was added up, which may cancel."""
    return np.linalg.norm(np.asarray(found, np.float64) - right) <= 1e-6 * np.linalg.norm(added_up)


@pytest.mark.parametrize("optimizer", ["adamw", "adamw_l1"])  # steps of the kernel's, and gradients alone
def test_a_lane_is_bitwise_the_same_on_any_thread(optimizer):
    program = native(parity(lanes=9, optimizer=optimizer, hidden_size=512), "cpu")  # enough work for threads
    of = columns(program, range(9))
    one, three = on_some_threads("relu", lambda: trained(program, of))
    jax.tree.map(np.testing.assert_array_equal, one, three)


@on_all
@given(
    rows=st.integers(1, 300),
    features=st.integers(1, 64),
    hidden=st.integers(1, 300),
    padding=st.sampled_from([0, 0, 1, 20, 299]),
    clipped=st.sampled_from([0, 0.5, 0.95]),  # share of rows without a slope
    largest=st.sampled_from([1, 127]),  # bits on a CPU
    seed=st.integers(0, 2**31 - 1),
)
@settings(max_examples=8, deadline=None)
def test_outputs_and_gradient_are_those_of_float64(
    device, rows, features, hidden, padding, clipped, largest, seed
):
    random = np.random.default_rng(seed)
    features = min(features, MOST_FEATURES[device])
    least, largest = (0, 1) if device == "cpu" else (-largest, largest)
    x_ND = random.integers(least, largest + 1, (rows, features)).astype(np.int8)
    x_ND[0] = 1
    y_N = random.integers(0, 2, rows).astype(np.int8)
    weight_N = random.random(rows).astype(np.float32)
    weight_N[max(1, rows - padding) :] = 0
    weight_N[random.random(rows) < clipped] = 0
    w_in_DH = random.normal(size=(features, hidden)).astype(np.float32)
    w_out_H = random.normal(size=hidden).astype(np.float32)
    w_out_H /= 100 * largest * np.float32(features * hidden) ** 0.5  # no row of a clipped loss
    program = parity(n_bits=features - 1, hidden_size=hidden)
    assume(unknown(native(program, device)) == "")
    made = engines.engine(native(program, device), None, losses(program))

    @jax.jit
    def both(w_in_DH, w_out_H):
        params, inputs = {"params": {"w_in": w_in_DH, "w_out": w_out_H}}, made.inputs(jnp.asarray(x_ND))
        return made.outputs(params, inputs), made.gradient(params, inputs, y_N, weight_N)["params"]

    z_N, slope = both(w_in_DH, w_out_H)
    exact = [a.astype(np.float64) for a in (x_ND, w_in_DH, w_out_H, weight_N)]
    x, w_in, w_out, weight = exact
    hidden_NH = x @ w_in
    right_N = np.maximum(hidden_NH, 0) @ w_out
    dz_N = weight * (1 / (1 + np.exp(-right_N)) - y_N)
    on_NH = np.where(np.abs(hidden_NH) > 1e-5, hidden_NH > 0, np.asarray(x_ND @ w_in_DH) > 0)
    size_NH = np.abs(x) @ np.abs(w_in) * on_NH
    assert is_near(z_N, right_N, size_NH @ np.abs(w_out))
    slope_NH = dz_N[:, None] * on_NH * w_out
    assert is_near(slope["w_in"], x.T @ slope_NH, np.abs(x).T @ np.abs(slope_NH))
    assert is_near(slope["w_out"], np.maximum(hidden_NH, 0).T @ dz_N, size_NH.T @ np.abs(dz_N))


@on_all
def test_a_clipped_row_has_no_slope_and_one_at_the_bound_half(device):
    # Row i is on in neuron i alone, so that w_out is what the rows give, and its gradient their slopes.
    program = parity(n_bits=30, hidden_size=31)
    z_N = np.concatenate(
        [np.linspace(-90, 90, 11), np.linspace(15.5, 16.5, 10), -np.linspace(15.5, 16.5, 10)]
    )
    rows = np.eye(31, dtype=np.int8)
    params = {"params": {"w_in": np.eye(31, dtype=np.float32), "w_out": z_N.astype(np.float32)}}
    of_both = []
    for one in (program, native(program, device)):
        made = engines.engine(one, one.built, losses(one))
        for y_N in (np.zeros(31, np.int8), np.ones(31, np.int8)):
            slope = made.gradient(params, made.inputs(jnp.asarray(rows)), y_N, np.ones(31, np.float32))
            of_both.append(np.asarray(slope["params"]["w_out"]))
    by_xla, by_kernel = np.concatenate(of_both[:2]), np.concatenate(of_both[2:])
    # Near 1 a float32 has neighbours of 6e-8: p may be either.
    np.testing.assert_allclose(by_kernel, by_xla, rtol=1e-6, atol=1.2e-7)
    assert np.count_nonzero(by_kernel[[0, 10, 31, 41]]) == 0


@functools.cache  # each device's kernel is held against it
def by_xla(lanes, optimizer, hidden_size):
    program = parity(lanes, optimizer, hidden_size=hidden_size)
    return trained(program, columns(program, range(lanes)))


# One lane is not vmapped.
@pytest.mark.parametrize(("hidden_size", "lanes"), [(1, 3), (24, 1), (24, 3), (48, 3), (64, 1), (258, 3)])
@pytest.mark.parametrize("optimizer", ["adamw", "adamw_l1"])  # one that is known, and one that is not
@on_all
def test_a_run_is_that_of_xla_as_far_as_rounding_carries(device, optimizer, hidden_size, lanes):
    program = parity(lanes, optimizer, hidden_size=hidden_size)
    by_kernel = trained(native(program, device), columns(program, range(lanes)))
    for name, right in by_xla(lanes, optimizer, hidden_size).metrics._asdict().items():
        np.testing.assert_allclose(getattr(by_kernel.metrics, name), right, rtol=2e-5, err_msg=name)


def as_near_to_float64(program, of, device="cpu"):
    """A kernel's 1,000 steps and XLA's: as far from the same training in float64, hardly in the first 100.

    Rounding grows as training goes on, all at once where it decides whether a neuron is on: in a few lanes.
    """
    double = tuple({**program.values, "float_bits": 64}.items())
    with jax.enable_x64(True):
        exact = trained(
            dataclasses.replace(program, static=double),
            of | {"float_bits": np.full(len(of["seed"]), 64)},
        ).metrics
    by_xla, by_kernel = trained(program, of).metrics, trained(native(program, device), of).metrics

    def away(found_LT, right_LT):
        return np.abs(np.asarray(found_LT, np.float64) - right_LT) / np.abs(right_LT).max()

    for name in ("train_loss", "eval_loss", "weight_norm"):
        right, xla, kernel = (np.asarray(getattr(each, name)) for each in (exact, by_xla, by_kernel))
        assert right.dtype == np.float64
        assert np.isfinite(right).all()
        assert np.abs(np.diff(right)).max() > 0  # it trains
        kernel_L, xla_L = (away(found, right).max(axis=1) for found in (kernel, xla))
        assert away(kernel, right)[:, :20].max() <= 2e-6, name
        assert np.log(kernel_L + 1e-8).mean() <= np.log(5) + np.log(xla_L + 1e-8).mean(), name
        assert kernel_L.max() <= 10 * xla_L.max() + 1e-3, name


@pytest.mark.parametrize("optimizer", ["adamw", "adamw_l1"])
@pytest.mark.parametrize("hidden_size", [16, 48])
def test_a_thousand_steps_are_as_near_to_float64_as_xlas(optimizer, hidden_size):
    program = parity(9, optimizer, steps=1000, hidden_size=hidden_size)
    as_near_to_float64(program, columns(program, range(9)))


@on_all
def test_what_is_not_finite_is_so_for_both(device):
    program = parity(2)
    of = columns(program, range(2), learning_rate=1e30)
    by_kernel = trained(native(program, device), of)
    for right, found in zip(trained(program, of).metrics, by_kernel.metrics, strict=True):
        np.testing.assert_array_equal(np.isfinite(found), np.isfinite(right))
    assert not np.isfinite(right[:, 1:]).any()


@pytest.mark.parametrize("optimizer", ["adamw", "adamw_l1"])
@pytest.mark.parametrize("case", [{"learning_rate": 1e30}, {"init_scale": 1e25}, {"weight_decay": 1e38}])
def test_a_run_diverges_at_the_same_step_and_its_neighbour_does_not_notice(optimizer, case):
    """Which of its numbers is not finite may differ: XLA's bounds on a CPU make some of what is no number."""
    program = parity(2, optimizer)
    of = columns(program, range(2))
    alone = trained(native(program, "cpu"), of).metrics
    for name, value in case.items():
        of[name] = np.array([value, of[name][1]])
    by_kernel, by_xla = (trained(one, of).metrics for one in (native(program, "cpu"), program))
    for found, right, before in zip(by_kernel, by_xla, alone, strict=True):
        np.testing.assert_array_equal(found[1], before[1])
        assert np.isfinite(right[1]).all()
    finite = [np.all([np.isfinite(metric[0]) for metric in one], axis=0) for one in (by_kernel, by_xla)]
    np.testing.assert_array_equal(*finite)
    assert not finite[0].all()


def test_data_and_initial_weights_are_bitwise_those_of_xla():
    program = parity(3, hidden_size=48)
    of = columns(program, range(3))
    both = []
    for one in (program, native(program, "cpu")):
        rows = {run: rows_of(one, of, run) for run in range(3)}
        both.append(arguments(one, of, rows, Compiled(one).init))
    jax.tree.map(np.testing.assert_array_equal, *both)
    by_xla, by_kernel = (trained(one, of).metrics for one in (program, native(program, "cpu")))
    np.testing.assert_array_equal(by_xla.weight_norm[:, 0], by_kernel.weight_norm[:, 0])


@on_all
def test_a_shard_of_it_gives_a_row_for_each_run(device):
    program = native(parity(4), device)
    of = columns(program, range(3))  # one lane is left over
    result = train_shard(Order("s", program, of))
    assert result.runs["run_id"].to_pylist() == list(of["run_id"])
    assert result.curves.num_rows == 3 * 5
    assert (result.engine, result.not_native) == ("native", "")


def test_on_a_cpu_lanes_do_not_change_a_run():
    alone, among = native(parity(1), "cpu"), native(parity(3), "cpu")
    of = columns(alone, range(3))
    for one, of_three in zip(trained(alone, of).metrics, trained(among, of).metrics, strict=True):
        np.testing.assert_allclose(one[0], of_three[0], rtol=1e-6)


@pytest.mark.parametrize("features", range(1, MOST_FEATURES["cpu"] + 1))
def test_groups_are_all_features_and_few(features):
    bits_G = relu_cpu.groups(features)
    assert sum(bits_G) == features
    assert max(bits_G) <= relu_cpu.MOST_BITS
    assert len(bits_G) <= relu_cpu.MOST_GROUPS
    assert max(bits_G) - min(bits_G) <= 1
    assert features < 3 or len(bits_G) == pytest.approx(features / 6, abs=1)


@pytest.mark.parametrize("most", relu_gpu.TILES)
def test_columns_are_all_neurons_and_few_more(most):
    tiles = relu_gpu.TILES[most]
    for hidden in range(1, most + 1):
        every = relu_gpu._columns(hidden, tiles.neurons)
        sizes = [size for _, size in every]
        assert [begin for begin, _ in every] == [sum(sizes[:i]) for i in range(len(sizes))]
        assert 0 <= sum(sizes) - hidden < LEAST
        assert all(LEAST <= size <= tiles.neurons and size.bit_count() == 1 for size in sizes)


def test_three_pieces_are_the_number():
    random = np.random.default_rng(0)
    a = (random.normal(size=10_000) * 10.0 ** random.integers(-20, 30, 10_000)).astype(np.float32)
    assert np.array_equal(sum(np.asarray(piece, np.float64) for piece in pieces(a)), a)


NET = (("largest", 5), ("width", 4), ("float_bits", 32))
UNKNOWN = {
    "model": (
        Program(
            "larger",
            "net",
            "sgd",
            NET,
            9,
            9,
            2,
            1,
            1,
            given_row=((2,), "int32"),
            source=Source("mine.py", OWN),
        ),
        "it knows the network of relu_mlpOTHERS, not that of net",
    ),
    "float64": (parity(float_bits=64), "it trains in float32, by all rows in each step"),
    "bfloat16": (parity(float_bits=16), "it trains in float32, by all rows in each step"),
    "batches": (parity(batch_size=10), "it trains in float32, by all rows in each step"),
    "bits": (parity(n_bits=64), "it knows rows of at most MOST 8-bit numbers"),
    "neurons": (parity(hidden_size=513), "it knows at most NEURONS neurons, where a row has 31 numbers"),
}


@pytest.mark.parametrize("case", UNKNOWN)
def test_what_it_does_not_know_xla_does(case):
    program, told = UNKNOWN[case]
    for device in ("cpu", "gpu", "tpu"):
        others = ", modular_mlp and modular_circle" if device == "cpu" else ""
        why = told.replace("MOST", str(MOST_FEATURES[device])).replace("OTHERS", others)
        why = why.replace("NEURONS", "368" if device == "gpu" else "512")
        there = dataclasses.replace(program, device=device)
        assert unknown(there) == why
        assert engines.chosen(there, "auto") == engines.chosen(there, "xla") == "xla"
        with pytest.raises(ConfigError, match=f"^engine=native: {why}; engine=auto takes xla there$"):
            engines.chosen(there, "native")


def test_the_one_asked_for_is_chosen():
    devices = [dataclasses.replace(parity(hidden_size=64), device=device) for device in ("cpu", "gpu", "tpu")]
    assert {engines.chosen(one, asked) for one in devices for asked in ("auto", "native")} == {"native"}
    assert {engines.chosen(one, "xla") for one in devices} == {"xla"}
    few = [dataclasses.replace(one, device="tpu") for one in (parity(hidden_size=31), parity(hidden_size=32))]
    assert [engines.chosen(one, "auto") for one in few] == ["xla", "native"]  # which is faster, by XLA itself
    assert {engines.chosen(one, "native") for one in few} == {"native"}


def test_a_task_that_does_not_say_that_its_rows_are_bits_is_not_known_on_a_cpu(monkeypatch):
    task = type(registry.find("task", "parity"))
    monkeypatch.setattr(task, "bits", False)
    why = "it knows rows of bits on a CPU, which the task parity does not say that it has"
    assert unknown(parity()) == why
    assert unknown(dataclasses.replace(parity(), device="gpu")) == ""


@pytest.mark.parametrize("key", ["rows", "test_rows"])
def test_on_a_cpu_rows_are_counted_in_16_bits(key):
    most = dataclasses.replace(parity(), **{key: MOST_ROWS})
    more = dataclasses.replace(parity(), **{key: MOST_ROWS + 1})
    assert unknown(most) == ""
    assert unknown(more) == "it knows at most 65535 rows"
    assert unknown(dataclasses.replace(more, device="gpu")) == ""


@pytest.mark.parametrize(("features", "most"), MOST_HIDDEN_GPU)
def test_on_a_gpu_the_weights_of_all_neurons_are_in_shared_memory(features, most):
    widest = parity(n_bits=features - 1, hidden_size=most)
    wider = parity(n_bits=features - 1, hidden_size=most + 1)
    assert unknown(dataclasses.replace(widest, device="gpu")) == ""
    why = f"it knows at most {most} neurons, where a row has {features} numbers"
    assert unknown(dataclasses.replace(wider, device="gpu")) == why


@pytest.mark.parametrize("raised", [jax.errors.JaxRuntimeError, ValueError, NotImplementedError])
@pytest.mark.parametrize("by", [None, By("pair", {"min_loss": 1e-9, "max_ratio": 1.5})])
def test_where_a_kernel_does_not_compile_xla_does_it(monkeypatch, by, raised):
    """As on a card with less shared memory, or one that is too old for Triton; or by a jax without it."""
    program = parity(2, steps=100)
    of = columns(program, [0, 1])
    right = train_shard(Order("s", program, of, by))

    def too_little(*_):
        tried.append(True)
        raise raised("RESOURCE_EXHAUSTED: Shared memory size limit exceeded\nmore")

    tried = []
    monkeypatch.setattr(relu_gpu, "ReluGpu", functools.partial(ReluGpu, interpret=True))
    monkeypatch.setattr(ReluGpu, "gradient", too_little)
    monkeypatch.setattr(native_here, "refused", {})
    prepare(Order("s", native(program, "gpu"), of, by))  # what fails beside another's training may pass alone
    assert native_here.refused == {}
    tried.clear()
    for _ in range(2):  # it is not tried again for each shard
        result = train_shard(Order("s", native(program, "gpu"), of, by))
        assert (result.engine, len(tried)) == ("xla", 1)
        assert result.not_native == (
            "the kernel for relu_mlp does not compile for cpu: "
            "RESOURCE_EXHAUSTED: Shared memory size limit exceeded"
        )
        assert result.curves.equals(right.curves)


@pytest.mark.usefixtures("h100")
def test_it_compiles_for_a_gpu_that_is_not_here():
    program = parity(2, hidden_size=258)
    made = ReluGpu(program, losses(program))
    sizes = {"w_in": (2, 31, 258), "w_out": (2, 258)}
    params = {"params": {name: jax.ShapeDtypeStruct(size, jnp.float32) for name, size in sizes.items()}}
    of_rows = [((2, 1000, 31), "int8"), ((2, 1000), "int8"), ((2, 1000), "float32")]
    rows = [jax.ShapeDtypeStruct(*each) for each in of_rows]

    def both(params, x_ND, y_N, weight_N):
        inputs = made.inputs(x_ND)
        return made.outputs(params, inputs), made.gradient(params, inputs, y_N, weight_N)

    triton = [jax.export.DisabledSafetyCheck.custom_call("__gpu$xla.gpu.triton")]
    exported = jax.export.export(jax.jit(jax.vmap(both)), platforms=["cuda"], disabled_checks=triton)
    assert exported(params, *rows).mlir_module().count("relu_1000x258") >= 2
