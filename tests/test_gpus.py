"""The records of GPUs: that phases are those of their runs, and near those of the records of a CPU."""

from pathlib import Path

import pandas as pd
import pytest
import yaml
from agreement import AXES, apart
from agreement import phases as sorted_as

import analysis
from grok_sweep.bench.device import parity_1125
from grok_sweep.core.config import parse
from grok_sweep.core.grid import expand
from grok_sweep.core.plan import make_plan

HERE = Path(__file__).parent
ENGINES = ("native", "xla")


@pytest.fixture(scope="module")
def told():
    return yaml.safe_load((HERE / "h100.yaml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def phases():
    """The phase of each run by the record and by both engines, with the axes."""
    runs = analysis.load_runs(HERE.parent / "sweeps" / "parity_1125").set_index("run_id")
    gpu = pd.read_parquet(HERE / "h100.parquet")
    found = {engine: sorted_as(gpu[gpu["engine"] == engine].set_index("run_id")) for engine in ENGINES}
    return runs[AXES].assign(record=sorted_as(runs), **found)


def test_every_run_is_there_once_for_each_engine(phases):
    assert len(phases) == 1125
    assert not phases.isna().any(axis=None)


@pytest.mark.parametrize("engine", ENGINES)
def test_the_phases_are_those_told(told, phases, engine):
    assert phases[engine].value_counts().to_dict() == told[engine]["phases"]


@pytest.mark.parametrize("both", ["record xla", "record native", "native xla"])
def test_how_far_they_agree_is_as_told(told, phases, both):
    one, other = both.split()
    assert (phases[one] == phases[other]).sum() == told["same_phase"][both]
    between = apart(phases, phases[one], phases, phases[other])
    assert between == pytest.approx(told["total_variation"][both], abs=5e-5)


@pytest.mark.parametrize("engine", ENGINES)
def test_the_seconds_add_up(told, engine):
    """The programs train one after the other, at this share of the product for the work of them all."""
    figures = told[engine]
    trained = sum(figures["train_seconds"].values())
    assert trained < figures["seconds"]
    sweep = parse(parity_1125("gpu", engine))
    work = sum(shard.work for shard in make_plan(sweep, expand(sweep)).shards)
    assert work / trained / figures["product_gflops"] / 1e9 == pytest.approx(
        figures["of_the_product"], rel=0.01
    )


@pytest.mark.parametrize("engine", ENGINES)
def test_two_cards_give_every_run_of_parity_1125_the_same_phase(phases, engine):
    other = pd.read_parquet(HERE / "h200.parquet").query("sweep == 'parity_1125' and engine == @engine")
    assert (other.set_index("run_id")["phase"].reindex(phases.index) == phases[engine].astype(str)).all()


@pytest.mark.parametrize("name", ["liu2022_a", "liu2022_b", "liu2022_c", "liu2022_d", "modular_24"])
def test_the_other_sweeps_are_those_of_a_cpu_but_for_so_many_runs(name):
    told = yaml.safe_load((HERE / "h200.yaml").read_text(encoding="utf-8"))["sweeps"][name]
    gpu = pd.read_parquet(HERE / "h200.parquet").query("sweep == @name").set_index("run_id")["phase"]
    cpu = pd.read_parquet(HERE.parent / "sweeps" / name / "phases.parquet").set_index("run_id")["phase"]
    assert len(gpu) == len(cpu) == told["runs"]
    assert (gpu != cpu.astype(str).reindex(gpu.index)).sum() == told["phases_apart"]
