"""What else trains the same runs: that it does, how a command is measured, and what is made of that.

How fast anything is is not asserted: `make bench-peers` measures it.
"""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
import yaml

from grok_sweep.bench.__main__ import main
from grok_sweep.bench.peers import compare, measure
from grok_sweep.bench.peers.measure import OURS, PEERS, TUNE
from grok_sweep.bench.peers.work import SLICES, PeersError, Slice

TINY = Slice((4,), (20, 30), (0.1, 1.0), (0, 1), steps=20, log_every=5, test_size=50)
NEEDS = {"hydra-joblib": "hydra_plugins.hydra_joblib_launcher", "torch-func": "torch"}
RECORD = Path(__file__).with_name("peers.yaml")
# It leaves a process in a session of its own behind, as Ray does, which works for a second and has 200 MB.
LEAVES = """
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", '''
import time
held = b"x" * 200_000_000
while time.process_time() < 1: pass
time.sleep(1)
'''], start_new_session=True)
time.sleep(float(sys.argv[1]))
sys.exit("it says why")
"""


def installed(module):
    return importlib.util.find_spec(module.partition(".")[0]) and importlib.util.find_spec(module)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Train TINY as a contestant does, once: its curves."""
    home, kept = tmp_path_factory.mktemp("home"), {}

    def train(who):
        if who not in kept:
            folder = tmp_path_factory.mktemp(who)
            words = measure.command(who, TINY, folder)
            assert measure.measure(words, measure.environment(home), 500, folder / "log")
            kept[who] = measure.curves(who, TINY, folder)
        return kept[who]

    return train


@pytest.mark.slow
@pytest.mark.parametrize("who", PEERS)
def test_a_peer_trains_what_we_do(who, trained):
    if who in NEEDS and not installed(NEEDS[who]):
        pytest.skip(f"{NEEDS[who]} is not installed: make bench-peers does")
    assert trained(OURS).shape == (8, 5, 4)
    assert measure.apart(trained(who), trained(OURS), TINY.log_every) < 1e-5


@pytest.mark.parametrize("metric", [0, 1, 2, 3])
def test_other_curves_are_an_error(metric, trained):
    ours = trained(OURS)
    for other in (1.1, np.nan):
        changed = ours.copy()
        changed[7, 2, metric] *= other
        with pytest.raises(PeersError, match="trains something else"):
            measure.apart(changed, ours, TINY.log_every)
    with pytest.raises(PeersError, match=r"shape \(7, 5, 4\)"):
        measure.apart(ours[1:], ours, TINY.log_every)


def test_a_command_is_measured_with_what_it_leaves_behind(tmp_path):
    def run(seconds, limit):
        words = [sys.executable, "-c", LEAVES.replace('sys.exit("it says why")', ""), seconds]
        return measure.measure(words, {}, limit, tmp_path / "log")

    others = {*psutil.Process().children(recursive=True)}
    measures = run("4", 500)
    assert measures["seconds"] > 4
    assert measures["cpu_seconds"] > 0.5
    assert measures["peak_gb"] > 0.2
    assert run("1000", 3) is None
    assert {*psutil.Process().children(recursive=True)} <= others


def test_a_command_that_fails_says_why(tmp_path):
    with pytest.raises(PeersError, match="it says why"):
        measure.measure([sys.executable, "-c", LEAVES, "0"], {}, 500, tmp_path / "log")


def times(seconds, more=0.0):
    """What three goes took."""
    return [{"seconds": s, "cpu_seconds": 2 * s, "peak_gb": 0.5, "loss_apart": more} for s in seconds]


@pytest.fixture
def record():
    """Of the slice `many`: a peer is first cold, we are warm, Ray Tune took over the limit once."""
    cold = (
        {OURS: times([12, 10, 11])} | {who: times([20, 30, 40]) for who in PEERS} | {"loop": times([8, 9, 7])}
    )
    warm = (
        {OURS: times([5, 5, 5])} | {who: times([20, 30, 40]) for who in PEERS} | {TUNE: [*times([60]), None]}
    )
    return compare.as_record({"many": SLICES["many"]}, {"many": {"cold": cold, "warm": warm}}, 3, 600)


def test_the_record_has_medians_and_who_is_first(record):
    many = record["slices"]["many"]
    assert many["first"] == {"cold": "loop", "warm": OURS}
    assert many["cold"][OURS]["seconds"] == 11
    assert many["cold"][OURS]["runs_per_second"] == pytest.approx(216 / 11, rel=0.01)
    assert many["warm"]["ray-tune"] == {"more_than_seconds": 600}
    assert record["versions"].keys() >= {"jax", "ray", "hydra-core"}


def test_the_table_says_who_is_first(record):
    told = compare.table(record)
    assert "### many: 216 runs of 1,000 steps, hidden 16, 32" in told
    assert "| loop | **8** | 16 | 27 | 0.5 | 30 | 60 | 7.2 | 0.5 |" in told
    assert "| grok-sweep | 11 | 22 | 19.6 | 0.5 | **5** | 10 | 43.2 | 0.5 |" in told
    assert "| ray-tune | 30 | 60 | 7.2 | 0.5 | more than 600 |  |  |  |" in told
    assert (
        "cold: loop is first; grok-sweep is 0.73 times as fast as loop and 2.73 times as fast as ray-tune."
        in told
    )
    assert (
        "warm: grok-sweep is first; grok-sweep is 6.00 times as fast as loop and more than 120.00 times"
        in told
    )


def test_every_round_is_kept_and_the_last_is_printed(record, tmp_path, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(compare, "compare", lambda *how: asked.append(how) or iter([{}, record]))
    kept = tmp_path / "peers.yaml"
    options = ["--slices", "short", "long", "--repeats", "2", "--limit", "60", "--record", str(kept)]
    assert main(["peers", *options]) == 0
    assert asked == [({name: SLICES[name] for name in ("short", "long")}, 2, 60)]
    assert yaml.safe_load(kept.read_text()) == record
    assert capsys.readouterr().out.strip().endswith(compare.table(record).strip())


@pytest.mark.skipif(not RECORD.exists(), reason="make bench-peers has not been run yet")
def test_the_record_has_everybody_and_says_who_is_first():
    record = yaml.safe_load(RECORD.read_text(encoding="utf-8"))
    assert record["medians_of"] == 3
    assert record["slices"].keys() == SLICES.keys()
    for name, one in record["slices"].items():
        assert one["runs"] == len(SLICES[name].runs())
        for cache in compare.CACHES:
            assert one[cache].keys() == {OURS, *PEERS}
            known = {who: row["seconds"] for who, row in one[cache].items() if "seconds" in row}
            assert one["first"][cache] == min(known, key=known.get)
            assert all(row.get("loss_apart", 0) <= measure.SAME_LOSS for row in one[cache].values())
    assert compare.table(record).count("is first") == 2 * len(SLICES)
