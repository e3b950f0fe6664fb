import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grok_sweep.compose import compose
from grok_sweep.core import registry
from grok_sweep.core.config import parse
from grok_sweep.core.grid import expand
from grok_sweep.core.plan import make_plan
from grok_sweep.errors import ConfigError

task = registry.find("task", "modular_addition")
VALUES = {"modulus": 67, "ordered_pairs": 0, "train_share": 0.4}
moduli = st.integers(1, 20).map(lambda n: 2 * n + 1)


def test_the_rows_of_the_article():
    """E3 and E4: 911 of 2278 pairs are 40 %, 683 are 30 %."""
    assert task.rows(VALUES) == (911, 1367)
    assert task.rows(VALUES | {"train_share": 0.3}) == (683, 1595)
    assert sum(task.rows(VALUES | {"ordered_pairs": 1})) == 67 * 67
    assert task.row(VALUES) == ((134,), "int8")


def test_rows_of_many_runs_at_once():
    axes = ["grid.modulus=[5,67]", "grid.ordered_pairs=[0,1]", "grid.train_share=[0.1,0.5]", "seeds=2"]
    sweep = parse(compose(["sweeps=modular_24", *axes])[0])
    grid = expand(sweep)
    plan = make_plan(sweep, grid)
    names = ("modulus", "ordered_pairs", "train_share")
    assert len(grid) == len(plan.rows_R) >= 16
    test_R = np.zeros(len(grid), int)
    for shard in plan.shards:
        test_R[shard.index_R] = shard.program.test_rows
    for run in range(len(grid)):
        modulus, ordered, share = (grid.columns[name][run].item() for name in names)
        pairs = modulus**2 if ordered else modulus * (modulus + 1) // 2
        assert plan.rows_R[run] == round(share * pairs)
        assert test_R[run] == pairs - plan.rows_R[run]


@given(moduli, st.sampled_from([0, 1]), st.floats(0.1, 0.9), st.integers(0, 2**31 - 1))
def test_every_pair_is_a_row_once_with_its_sum(modulus, ordered, share, seed):
    values = {"modulus": modulus, "ordered_pairs": ordered, "train_share": share}
    data = task.data(values, seed)
    x_ND = np.concatenate([data.x_train_ND, data.x_test_ND])
    y_N = np.concatenate([data.y_train_N, data.y_test_N])
    assert (len(data.y_train_N), len(data.y_test_N)) == task.rows(values)
    a_N, b_N = (part.argmax(axis=1) for part in (x_ND[:, :modulus], x_ND[:, modulus:]))
    assert (x_ND.sum(axis=1) == 2).all()
    assert (y_N == (a_N + b_N) % modulus).all()
    found = set(zip(a_N.tolist(), b_N.tolist(), strict=True))
    every = {(a, b) for a in range(modulus) for b in range(modulus) if ordered or a <= b}
    assert found == every
    assert len(y_N) == len(every)


def test_rows_depend_on_the_seed_alone_and_a_smaller_share_is_the_beginning():
    few, _ = task.pairs(VALUES | {"train_share": 0.2}, 3)
    many, _ = task.pairs(VALUES, 3)
    assert (many[: len(few)] == few).all()
    assert not (task.pairs(VALUES, 4)[0] == many).all()


def test_loss_and_hits_against_float64():
    random = np.random.default_rng(0)
    logits_NC, y_N = random.normal(size=(50, 7)) * 5, random.integers(0, 7, 50)
    p_NC = np.exp(logits_NC) / np.exp(logits_NC).sum(axis=1, keepdims=True)
    one_hot_NC = np.eye(7)[y_N]
    expected_N = -(one_hot_NC * np.log(p_NC)).mean(axis=1)  # over the classes too
    h, logits_CN = VALUES | {"modulus": 7}, jnp.float32(logits_NC.T)
    np.testing.assert_allclose(task.loss(h, logits_CN, jnp.int32(y_N)), expected_N, rtol=1e-4)
    np.testing.assert_array_equal(task.correct(h, logits_CN, jnp.int32(y_N)), logits_NC.argmax(axis=1) == y_N)
    assert jax.grad(lambda x: task.loss(h, x, jnp.int32(y_N)).sum())(logits_CN).shape == (7, 50)


@pytest.mark.parametrize(
    ("changed", "key"),
    [
        ({"modulus": 66}, "modulus"),
        ({"modulus": 3, "train_share": 0.05}, "train_share"),
        ({"modulus": 3, "train_share": 0.95}, "train_share"),
    ],
)
def test_what_cannot_be_trained_is_said(changed, key):
    assert [where for where, _ in task.check(VALUES | changed)] == [key]
    assert list(task.check(VALUES)) == []


SHARE = "must be a number greater than 0 and less than 1"


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("task.modulus=66", "task.modulus=66: must be odd: an even one has a frequency without a sine"),
        (
            "grid.modulus=[67,68,113]",
            "grid.modulus=68: must be odd: an even one has a frequency without a sine",
        ),
        ("task.modulus=1", "task.modulus=1: must be a whole number from 3 to 1001"),
        ("task.train_share=0", f"task.train_share=0: {SHARE}"),
        ("task.train_share=1", f"task.train_share=1: {SHARE}"),
        (
            "task.train_share=1e-6",
            "task.train_share=1e-06: of 2,278 pairs must leave at least one to train on",
        ),
        ("grid.train_share=[0.5,0.9999]", "grid.train_share=0.9999: of 2,278 pairs must leave at least one"),
        ("task.ordered_pairs=2", "task.ordered_pairs=2: must be 0 or 1"),
        ("model.float_bits=48", "model.float_bits=48: must be 16 or 32 or 64"),
        ("model.tied_hidden=true", "model.tied_hidden=true: must be 0 or 1"),
        ("task.train_size=100", "task.train_size=100: no such key"),
    ],
)
def test_bad_input_is_one_line_that_says_what_is_allowed(override, line):
    config, problems = compose(["sweeps=modular_24", "~grid.float_bits", override])
    try:
        parse(config)
    except ConfigError as error:
        problems = problems + error.problems
    (problem,) = problems
    assert problem.startswith(line)


def test_all_architectures_are_one_sweep():
    """E6 in full: a and b tied or not, 5 decays of either kind, 3 rates, 9 seeds; 5 embeddings, tied or not,
    with no side collapsed, 5 with either one, none with both.
    """
    sweep = parse(compose(["sweeps=modular_architectures"])[0])
    assert sweep.n_runs == 2 * 5 * 3 * 9 * 2 * (2 * 5 + 5 + 5 + 1)
    columns = expand(sweep).columns
    assert len(set(columns["run_id"])) == sweep.n_runs
    kinds = set(zip(columns["weight_decay"].tolist(), columns["l1_decay"].tolist(), strict=True))
    assert kinds == {(d, 0.0) for d in (1, 0.3, 0.1, 0.03, 0.01)} | {(0.0, 10.0**-k) for k in range(7, 12)}
