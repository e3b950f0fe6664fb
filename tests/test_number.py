"""Numbers of a config: what is allowed, what is said of what is not, and what a run computes with."""

import copy
import math
import pickle

import numpy as np
import pytest
from conftest import NUMBERS
from hypothesis import given
from hypothesis import strategies as st

from grok_sweep.core.number import MOST_FLOAT32, Number, Values, real, whole

ROWS = NUMBERS["train_size"]
RATE = NUMBERS["learning_rate"]
DECAY = NUMBERS["weight_decay"]
B1 = NUMBERS["b1"]

NOT_NUMBERS = [None, True, False, "", "1", "nan", [], [1], {}, {"a": 1}, 1j, b"1", ...]


def test_whole_numbers_are_static_and_the_others_traced():
    static = {key for key, number in NUMBERS.items() if number.static}
    shapes = "n_bits n_parity_bits modulus ordered_pairs hidden_size embed_size float_bits"
    switches = "tied_embedding tied_hidden collapsed_input collapsed_output"
    assert static == {*shapes.split(), *switches.split()}
    rows = {key for key, number in NUMBERS.items() if number.use == "rows"}
    assert rows == {"train_size", "test_size", "train_share"}
    traced = {key for key, number in NUMBERS.items() if number.use == "traced"}
    assert traced == NUMBERS.keys() - static - rows


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (ROWS, "a whole number from 1 to 10000000"),
        (RATE, "a finite number greater than 0"),
        (DECAY, "a finite number of at least 0"),
        (B1, "a number of at least 0 and less than 1"),
        (Number(float, "", 1, 2, above=True), "a number greater than 1 and at most 2"),
    ],
)
def test_what_is_allowed_is_said_in_words(number, words):
    assert number.allowed == words


@pytest.mark.parametrize("number", NUMBERS.values(), ids=NUMBERS)
@pytest.mark.parametrize("value", NOT_NUMBERS, ids=repr)
def test_what_is_no_number_is_refused(number, value):
    assert number.problem(value) == f"must be {number.allowed}"


@pytest.mark.parametrize(
    ("number", "good", "bad"),
    [
        (ROWS, [1, 10_000_000], [0, -1, 10_000_001, 10**400, -(10**400), 1.0, 16.0, math.nan, math.inf]),
        (RATE, [1e-45, 1, 3.4e38], [0, 0.0, -0.0, -1e-30, math.nan, math.inf, -math.inf]),
        (DECAY, [0, 0.0, -0.0, 1e-50, 5], [-1, -1e-30, math.nan, math.inf, -math.inf]),
        (B1, [0, 0.0, 0.9, 0.99999994], [1, 1.0, -0.1, 2, math.nan, math.inf]),
    ],
    ids=["whole", "above", "from", "below"],
)
def test_the_bounds(number, good, bad):
    assert [number.problem(value) for value in good] == [None] * len(good)
    assert [number.problem(value) for value in bad] == [f"must be {number.allowed}"] * len(bad)


@pytest.mark.parametrize(
    ("number", "value", "computed"),
    [(B1, 0.99999999, "1"), (RATE, 1e-50, "0"), (RATE, 3.5e38, "inf"), (RATE, 10**400, "inf")],
)
def test_a_number_that_float32_puts_out_of_bounds_is_refused_and_that_is_said(number, value, computed):
    note = f"in float32, which runs are computed in, it is {computed}"
    assert number.problem(value) == f"must be {number.allowed}; {note}"


@given(st.floats() | st.integers())
def test_a_float_is_good_if_its_float32_is_within_bounds(value):
    if abs(value) <= MOST_FLOAT32:
        rounded = np.float32(value)
        assert (B1.problem(value) is None) == (0 <= rounded < 1)
        assert (RATE.problem(value) is None) == (rounded > 0)
        assert RATE.computed(value) == rounded
    else:
        assert B1.problem(value)
        assert RATE.problem(value)
        assert not math.isfinite(RATE.computed(value))


@given(st.integers())
def test_a_whole_number_is_good_if_it_is_within_bounds(value):
    assert (ROWS.problem(value) is None) == (1 <= value <= 10_000_000)
    assert ROWS.computed(value) == value


@given(st.floats(width=32, allow_nan=False, allow_infinity=False), st.integers(-3, 3))
def test_what_is_computed_alike_is_written_alike(value, ulps):
    """Every decimal that float32 reads as one number is one value, which float32 reads as that number."""
    number = Number(float, "", -math.inf)
    near = value
    for _ in range(abs(ulps)):
        near = math.nextafter(near, math.copysign(math.inf, ulps))  # in float64, far less than in float32
    assert number.canonical(near) == number.canonical(value)
    assert np.float32(number.canonical(value)) == np.float32(value)
    assert math.copysign(1, number.canonical(value)) == (1 if value == 0 else math.copysign(1, value))


@pytest.mark.parametrize("value", [0.1, 1e-5, 2.15e-3, 0.00022, 50000.0, 0.98, 1e-8, 5, 0.4, 3e38])
def test_what_people_write_stays_as_it_is(value):
    assert repr(Number(float, "", -math.inf).canonical(value)) == repr(float(value))
    assert Number(int, "", 0).canonical(5) == 5


def test_whole_numbers_are_static_and_fractions_traced_unless_declared_otherwise():
    assert whole(3, "x", 1, 9) == Number(int, "x", 1, 9, use="static", default=3)
    assert whole(3, "x", 1, 9, traced=True).use == "traced"
    assert not whole(3, "x", 1, 9, traced=True).static
    assert whole(3, "x", 1, 9, rows=True).use == "rows"
    assert real(0.5, "x", 0, 1) == Number(float, "x", 0, 1, use="traced", default=0.5)
    assert real(0.5, "x", 0, 1, static=True).static
    assert real(0.5, "x", 0, 1, rows=True).use == "rows"


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (whole(1, "x"), "a whole number from -2147483648 to 2147483647"),
        (whole(1, "x", among=(4, 1, 2)), "4 or 1 or 2"),
        (real(1, "x"), "a finite number"),
        (real(1, "x", 0), "a finite number of at least 0"),
        (real(1, "x", 0, above=True), "a finite number greater than 0"),
        (real(1, "x", high=5), "a finite number of at most 5"),
        (real(1, "x", high=5, below=True), "a finite number less than 5"),
        (real(1, "x", 0, 5, above=True, below=True), "a number greater than 0 and less than 5"),
        (real(1, "x", -5, 5), "a number of at least -5 and at most 5"),
    ],
)
def test_what_a_declared_number_may_be(number, words):
    assert number.allowed == words
    assert number.problem(number.default) is None
    assert number.problem("1") == f"must be {words}"


def test_a_number_without_bounds_is_finite():
    number = real(0, "x")
    for value in (0, -1, 1e30, -1e30):
        assert number.problem(value) is None
    for value in (np.inf, -np.inf, np.nan, 1e39, -1e39, 10**400):
        assert number.problem(value)


def test_a_switch_has_its_values_and_no_others():
    number = whole(2, "x", among=(8, 2))
    assert [number.problem(value) is None for value in (1, 2, 3, 8, 9, 2.0, True)] == [
        *(False, True, False, True, False, False, False)
    ]


def test_values_are_attributes_and_keys():
    h = Values({"b1": 0.5, "width": 3})
    assert (h.b1, h["b1"], h.width) == (0.5, 0.5, 3)
    assert dict(h) == {"b1": 0.5, "width": 3}
    assert len(h) == 2
    assert {**h, "b1": 1} == {"b1": 1, "width": 3}
    assert "b1" in h
    assert "b2" not in h
    assert pickle.loads(pickle.dumps(h)) == h  # noqa: S301
    assert copy.deepcopy(h) == h


def test_values_do_not_change_with_what_they_were_made_of():
    given = {"b1": 0.5}
    h = Values(given)
    given["b1"] = 7
    assert h.b1 == 0.5


def test_a_value_that_is_not_there_is_said_with_those_that_are():
    h = Values({"width": 3, "b1": 0.5})
    with pytest.raises(AttributeError, match=r"^there is no hyperparameter wdith; there are b1, width$"):
        _ = h.wdith
    with pytest.raises(KeyError):
        h["wdith"]
    assert not hasattr(h, "__array__")  # numpy and jax ask; the message is of no use to them
    assert getattr(h, "wdith", None) is None
