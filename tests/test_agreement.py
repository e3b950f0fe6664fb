"""All of parity_1125 by both engines of a CPU: the record is by native; what sorts each run of XLA is kept.

Another draw of nine seeds by one engine (`other_seeds.parquet`) is what their difference is measured by, and
what rounding alone does to the runs that differ (`rounding.py`).
"""

import re
from pathlib import Path

import pandas as pd
import pytest
from agreement import AXES, apart, phases
from rounding import differing, seen

import analysis

HERE = Path(__file__).parent
README = (HERE.parent / "grok_sweep" / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def native():
    return analysis.load_runs(HERE.parent / "sweeps" / "parity_1125").set_index("run_id")


def test_engines_differ_less_than_seeds_and_by_what_is_told(native):
    xla = pd.read_parquet(HERE / "xla_cpu.parquet").set_index("run_id").loc[native.index]
    other = pd.read_parquet(HERE / "other_seeds.parquet")
    assert not set(other["seed"]) & set(native["seed"])
    between_engines = apart(native, phases(native), native, phases(xla))
    between_seeds = apart(native, phases(native), other, phases(other))
    assert between_engines < between_seeds
    same = (phases(native) == phases(xla)).sum()
    told = f"{same:,} are in the same phase by both engines of a CPU"
    told += " (`tests/xla_cpu.parquet`); the mean over the cells of the total variation of their phases is "
    told += f"{between_engines:.3f}, and {between_seeds:.3f} between nine seeds and nine others"
    assert told in re.sub(r"\s+", " ", README)


def test_compare_says_the_same_and_that_chance_does_as_much(native):
    runs = analysis.classify(native.reset_index())
    names = runs["phase"].cat.categories
    for file in ("xla_cpu", "other_seeds"):
        other = pd.read_parquet(HERE / f"{file}.parquet")
        if "seed" not in other:
            other = other.merge(runs[["run_id", "seed", *AXES]], on="run_id")
        found = analysis.compare(
            runs, other.assign(phase=pd.Categorical(phases(other), names)).pipe(like, runs), AXES
        )
        assert found.distance == pytest.approx(apart(runs, phases(runs), other, phases(other)))
        assert found.p > 0.3
        assert (found.table["q"] > 0.05).all()
        told = f"{found.by_chance:.3f} by chance"
        assert told in re.sub(r"\s+", " ", README)


def like(table, other):
    """With the same definition of phases."""
    table.attrs = dict(other.attrs)
    return table


def test_those_that_differ_are_within_rounding_of_it():
    """Each was in both phases by one engine alone, when its rows were added up in other orders."""
    both, runs = differing(), pd.read_parquet(HERE / "rounding.parquet")
    assert {*runs["run_id"]} == {*both.index}
    assert not runs.duplicated(["run_id", "order"]).any()
    assert runs["run_id"].value_counts().min() >= 20
    assert seen(runs, both).all()
    assert f"The {len(both)} others are within rounding of a threshold" in re.sub(r"\s+", " ", README)
