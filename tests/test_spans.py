"""Axes as spans, from the command line and from a sweep's file."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grok_sweep.compose import compose
from grok_sweep.core import spans
from grok_sweep.core.config import parse
from grok_sweep.errors import ConfigError


def axis(*overrides, key="weight_decay"):
    config, problems = compose(["sweeps=quickstart", *overrides])
    if problems:
        raise ConfigError(problems)
    return parse(config).axes[key]


@pytest.mark.parametrize("text", ["log(1e-3, 1, 4)", "log(1e-3,1,4)", " log ( 1e-3 , 1 , 4 ) "])
def test_evenly_in_their_logarithms(text):
    assert axis(f"grid.weight_decay={text}") == (0.001, 0.01, 0.1, 1.0)


def test_evenly_spaced():
    assert axis("grid.weight_decay=linear(0, 1, 5)") == (0.0, 0.25, 0.5, 0.75, 1.0)
    assert axis("grid.weight_decay=linear(0.1,0.3,3)") == (0.1, 0.2, 0.3)  # as people write them


def test_whole_numbers_are_the_nearest_each_once():
    assert axis("grid.hidden_size=log(1, 8, 7)", key="hidden_size") == (1, 2, 3, 4, 6, 8)
    assert axis("grid.hidden_size=linear(10, 20, 3)", key="hidden_size") == (10, 15, 20)


def test_in_a_sweeps_file(tmp_path, monkeypatch):
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps" / "mine.yaml").write_text("name: mine\ngrid:\n  weight_decay: log(0.01, 1, 3)\n")
    monkeypatch.chdir(tmp_path)
    config, problems = compose(["sweeps=mine"])
    assert not problems
    assert parse(config).axes == {"weight_decay": (0.01, 0.1, 1.0)}


@given(
    st.floats(1e-6, 1e3, allow_nan=False),
    st.floats(1.1, 1e6),
    st.integers(2, 200),
    st.sampled_from(["log", "linear"]),
)
def test_a_span_has_its_ends_and_is_even(low, factor, count, how):
    high = low * factor
    values = np.array(spans.spread(f"{how}({low!r}, {high!r}, {count})", float))
    assert len(values) <= count  # float32 has fewer between two that are near
    np.testing.assert_allclose(values[[0, -1]], [low, high], rtol=1e-7)
    steps = np.diff(np.log(values) if how == "log" else values)
    np.testing.assert_allclose(steps, steps.mean(), rtol=1e-2)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("log(0, 1, 5)", "log takes the lowest number greater than 0 first and then a higher one"),
        ("linear(1, 0, 5)", "linear takes the lowest number first and then a higher one"),
        ("log(1, 2)", "log takes three numbers: the lowest, the highest, how many values"),
        ("linear(a, 2, 3)", "linear takes three numbers: the lowest, the highest, how many values"),
        (
            "linear(0, 1, 1)",
            "linear takes as its third number how many values: a whole number from 2 to 100,000",
        ),
        ("log(0.1, 1, inf)", "log takes as its third number how many values: a whole number"),
        ("linear(0, 1, 2.5)", "linear takes as its third number how many values: a whole number"),
        ("linear(0, inf, 3)", "linear takes the lowest number first and then a higher one"),
    ],
)
def test_what_is_no_span(text, words):
    with pytest.raises(ConfigError) as caught:
        axis(f"grid.weight_decay={text}")
    (said,) = caught.value.problems
    assert said.startswith(f"grid.weight_decay='{text}': must be a list [...] of at least one value, ")
    assert f"; {words}" in said


def test_a_span_of_values_that_are_not_allowed():
    with pytest.raises(ConfigError, match=r"^grid.b1=1.0: must be a number of at least 0 and less than 1$"):
        axis("grid.b1=linear(0.5, 1, 3)")


def test_a_long_list_on_the_command_line():
    values = [round(i / 1000 + 0.001, 3) for i in range(2000)]
    assert axis(f"grid.weight_decay={values}") == tuple(values)


def test_the_values_are_those_of_the_tables():
    """As float32 has them."""
    config, _ = compose(["sweeps=quickstart", "grid.weight_decay=log(1e-3, 1, 7)"])
    assert parse(config).axes["weight_decay"][1] == 0.0031622776
