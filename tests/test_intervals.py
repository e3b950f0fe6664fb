"""How often intervals hold the truth: that each method goes, and that the README says what the record has."""

import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from intervals import METHODS

HERE = Path(__file__).parent
RECORD = yaml.safe_load((HERE / "intervals.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", METHODS)
def test_the_second_made_up_sweep_of_each_is_told_right(name):
    """As nearly all are; a record is of enough of them."""
    _, method = METHODS[name]
    right, of = method(np.random.default_rng(1))
    assert of >= 1
    assert right == (0 if "by chance" in name else of)
    assert RECORD[name]["of"] >= 250


def test_the_readme_says_what_it_has():
    text = " ".join((HERE.parent / "README.md").read_text(encoding="utf-8").split())
    share = {name: 100 * one["right"] / one["of"] for name, one in RECORD.items()}
    said = re.search(r"In simulations with a known truth .*? \(`tests/intervals.yaml`\)\.", text)[0]

    def of(*begins):
        found = [value for name, value in share.items() if name.startswith(begins)]
        low, high = f"{min(found):.0f}", f"{max(found):.0f}"
        return f"{low} to {high} %" if low != high else f"{low} %"

    assert f"{of('boundary')} of these intervals hold it" in said
    assert f"{of('refined')} where refining chose the runs" in said
    assert f"{of('share', 'joint')} of those of shares" in said
    assert f"{of('median')} of medians" in said
    assert f"{of('law')} of exponents" in said
    assert f"{of('shift')} of shifts" in said
    assert f"called different in {of('difference')}" in said
