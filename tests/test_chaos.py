"""`make chaos` in short: each kind of kill over one sweep, which must come out as an undisturbed one."""

import os
from collections import Counter
from pathlib import Path

import pytest
from chaos import KINDS, chaos

SHORT = ["worker", "driver writing", "node", "SIGTERM", "driver"]
SEEDS = 8


@pytest.mark.slow
@pytest.mark.timeout(900)  # a ninth of it on two quiet cores
@pytest.mark.usefixtures("interruptible")
def test_nothing_is_lost_or_doubled(tmp_path):
    assert set(SHORT) < set(KINDS)
    cache = Path(os.environ["XDG_CACHE_HOME"])  # the suite's
    report = chaos(SHORT, seed=1, seeds=SEEDS, folder=tmp_path, say=print, pause=(0.3, 2.0), cache=cache)
    assert not report.problems
    assert report.kills == Counter(SHORT)
    assert report.files_damaged
    assert report.runs == report.rounds * SEEDS * 24
    assert report.sessions >= 4
