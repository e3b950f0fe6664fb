"""What else trains the same runs: that it does, how a command is measured, and what is made of that.

How fast anything is is not asserted: `make bench-peers` measures it.
"""

import importlib.util
import re
import sys
from collections import Counter
from pathlib import Path
from statistics import median

import numpy as np
import psutil
import pytest
import yaml

from grok_sweep.bench.__main__ import main
from grok_sweep.bench.peers import compare, measure
from grok_sweep.bench.peers.measure import OURS, PEERS, TUNE
from grok_sweep.bench.peers.work import SLICES, PeersError, Slice

TINY = Slice((4,), (20, 30), (0.1, 1.0), (1,), steps=20, log_every=5, test_size=50)
NEEDS = {"hydra-joblib": "hydra_plugins.hydra_joblib_launcher", "torch-func": "torch"}
RECORD = Path(__file__).with_name("peers.yaml")
README = Path(__file__).parent.parent / "grok_sweep" / "README.md"
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
    assert trained(OURS).shape == (4, 5, 4)
    assert measure.apart(trained(who), trained(OURS), TINY.log_every) < 1e-5


@pytest.mark.parametrize("metric", [0, 1, 2, 3])
def test_other_curves_are_an_error(metric, trained):
    ours = trained(OURS)
    for other in (1.1, np.nan):
        changed = ours.copy()
        changed[3, 2, metric] *= other
        with pytest.raises(PeersError, match="trains something else"):
            measure.apart(changed, ours, TINY.log_every)
    with pytest.raises(PeersError, match=r"shape \(3, 5, 4\)"):
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
    """What some goes took."""
    return [{"seconds": s, "cpu_seconds": 2 * s, "peak_gb": 0.5, "loss_apart": more} for s in seconds]


@pytest.fixture
def record():
    """Of the slice `many`: a peer is first cold, we are warm, Ray Tune took over the limit."""
    many = compare.no_goes(SLICES["many"], compare.about())
    many["cold"] |= {who: times([20, 30, 40]) for who in PEERS}
    many["cold"] |= {OURS: times([12, 10, 11]), "loop": times([8, 9, 7])}
    many["warm"] |= {who: times([20, 30, 40]) for who in PEERS}
    many["warm"] |= {OURS: times([5, 5, 5]), TUNE: [*times([60]), {compare.OVER: 600.0}]}
    return {"many": many}


def test_of_goes_the_median_counts(record):
    many = record["many"]
    cold, warm = (compare.rows_of(many, cache) for cache in compare.CACHES)
    assert (compare.first(cold), compare.first(warm)) == ("loop", OURS)
    assert cold[OURS]["seconds"] == 11
    assert cold[OURS]["runs_per_second"] == pytest.approx(216 / 11, rel=0.01)
    assert warm["ray-tune"] == {"more_than_seconds": 600}
    assert many["versions"].keys() >= {"jax", "ray", "hydra-core"}


def test_the_table_says_who_is_first(record):
    told = compare.table(record)
    assert "medians of 3" in told
    assert "### many: 216 runs of 1,000 steps, hidden 16, 32" in told
    assert "| loop | **8** | 16 | 27 | 0.5 | 30 | 60 | 7.2 | 0.5 |" in told
    assert "| grok-sweep | 11 | 22 | 19.6 | 0.5 | **5** | 10 | 43.2 | 0.5 |" in told
    assert "| ray-tune | 30 | 60 | 7.2 | 0.5 | more than 600 |  |  |  |" in told
    cold = "cold: loop is first; grok-sweep is 0.73 times as fast as loop and 2.73 times as fast as ray-tune."
    warm = "warm: grok-sweep is first; grok-sweep is 6.00 times as fast as loop and more than 120.00 times"
    assert cold in told
    assert warm in told


@pytest.fixture
def measured(monkeypatch):
    """Nothing is trained: whose command would have been measured, with which slice and which cache."""
    asked = []

    def train(who, wanted, limit, folder, cache):
        asked.append((who, wanted.steps, cache))
        if who == TUNE:
            return {compare.OVER: limit}, None
        return times([1.0])[0], np.ones((2, 3, 4)) * (1 if who != "loop" else 1 + 1e-6)

    monkeypatch.setattr(compare, "_train", train)
    return asked


def test_what_is_stopped_goes_on(measured, tmp_path, capsys):
    kept = tmp_path / "peers.yaml"
    options = ["--slices", "short", "long", "--repeats", "2", "--limit", "60", "--record", str(kept)]
    whole = list(compare.compare({name: SLICES[name] for name in ("short", "long")}, 2, 60.0))
    goes = [*measured]
    assert len(whole) == 2 * (2 * len(PEERS) + 1)  # Ray Tune is asked once only
    assert len(goes) == 2 * len(whole) + 2  # cold and warm; ours once more for each slice, to compare with
    measured.clear()
    stopped = compare.compare({"short": SLICES["short"]}, 1, 60.0)
    for _ in range(3):
        kept.write_text(yaml.safe_dump(next(stopped)))
    assert main(["peers", *options]) == 0
    assert Counter(measured) == Counter(goes) + Counter({(OURS, SLICES["short"].steps, "cold"): 1})
    record = yaml.safe_load(kept.read_text())
    short = record["short"]
    assert {who: len(goes) for who, goes in short["cold"].items()} == {
        OURS: 2,
        **dict.fromkeys(PEERS, 2),
        TUNE: 1,
    }
    assert short["warm"]["loop"][1]["loss_apart"] == pytest.approx(1e-6, rel=0.01)
    assert capsys.readouterr().out.strip().endswith(compare.table(record).strip())
    measured.clear()
    assert main(["peers", *options]) == 0
    assert not measured
    kept.write_text("{some: [text")
    assert main(["peers", *options]) == 2
    kept.write_text("some text")
    assert main(["peers", *options]) == 2
    assert kept.read_text() == "some text"
    assert capsys.readouterr().err.endswith(f"bench: {kept}: is no record of make bench-peers\n")
    other = {"short": record["short"] | {"code": "other"}, "many": {"code": "other"}}
    kept.write_text(yaml.safe_dump(record | other))
    assert main(["peers", *options]) == 0
    assert Counter(measured) == Counter(one for one in goes if one[1] == SLICES["short"].steps)
    assert capsys.readouterr().err.startswith("short: of other code or another machine: measured anew\n")
    again = yaml.safe_load(kept.read_text())
    assert again == record | {"many": {"code": "other"}}  # nobody asked for that


def test_some_may_be_asked_alone(measured, tmp_path, capsys):
    kept = tmp_path / "peers.yaml"
    options = ["peers", "--slices", "short", "--repeats", "1", "--record", str(kept), "--peers"]
    assert main([*options, "loop", "vmap"]) == 0
    assert {who for who, *_ in measured} == {OURS, "loop", "vmap"}
    assert "| torch-func |  |" in capsys.readouterr().out
    assert main([*options, "nobody"]) == 2
    assert "--peers: 'nobody' is none of loop, ray-tune, " in capsys.readouterr().err


@pytest.mark.skipif(not RECORD.exists(), reason="make bench-peers has not been run yet")
def test_the_record_has_everybody_and_says_who_is_first():
    record = yaml.safe_load(RECORD.read_text(encoding="utf-8"))
    assert record
    assert record.keys() <= SLICES.keys()  # a slice at a time
    for name, one in record.items():
        assert one["runs"] == len(SLICES[name].runs())
        for cache in compare.CACHES:
            assert one[cache].keys() == {OURS, *PEERS}
            for goes in one[cache].values():
                assert len(goes) in (1, 3) or (name == "article" and not goes) or compare.OVER in goes[-1]
                assert all(row.get("loss_apart", 0) <= measure.SAME_LOSS for row in goes)
    assert compare.table(record).count("is first") == 2 * len(record)


def test_the_readme_has_the_medians_of_the_record():
    record, text = yaml.safe_load(RECORD.read_text(encoding="utf-8")), README.read_text(encoding="utf-8")
    named = {"vmap-processes": "vmap, a process a core", "ray-tune": "Ray Tune", "torch-func": "torch.func"}
    rows = {line.split(" | ")[0].strip("| "): line for line in text.splitlines() if line.count(" | ") == 4}
    for who in (OURS, *PEERS):
        told = re.findall(r"[\d.]+", rows[named.get(who, who)].partition(" | ")[2])
        medians = [
            f"{median(go['seconds'] for go in record[name][cache][who]):.1f}"
            for name in ("many", "wide", "long", "short")
            for cache in compare.CACHES
        ]
        assert told == medians
    ours, them = (record["article"]["cold"][who][0]["seconds"] for who in (OURS, "vmap-processes"))
    told = f"{ours:.0f} s cold against {them:.0f}, one go, {them / ours:.1f} times as fast"
    assert told in " ".join(text.split())
