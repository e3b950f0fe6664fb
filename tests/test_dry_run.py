import re

import pytest

from grok_sweep.compose import compose
from grok_sweep.core.config import parse
from grok_sweep.core.grid import expand
from grok_sweep.core.plan import make_plan, unfinished
from grok_sweep.errors import in_bytes
from grok_sweep.session import dry_run
from grok_sweep.terminal.progress import in_time


def shown(sweep, capsys, finished=(), free_disk=None):
    plan = make_plan(sweep, expand(sweep))
    dry_run.show(sweep, unfinished(plan, finished), finished=len(finished), free_disk=free_disk)
    return plan, capsys.readouterr().out


def test_the_table_adds_up(tiny, capsys):
    plan, text = shown(tiny("train.steps=20000"), capsys)
    heading, *rows = [line.split() for line in text.split("\n\n")[0].splitlines()]
    assert heading == [
        "hidden_size",
        "rows",
        "runs",
        "shards",
        "lanes",
        "engine",
        "operations",
        "memory",
        "time",
    ]
    assert sum(int(row[2]) for row in rows) == 16
    assert sum(int(row[3]) for row in rows) == len(plan.shards)
    assert sum(float(row[6]) for row in rows) == pytest.approx(plan.work, rel=0.02)
    assert "16 runs to train (8 cells x 2 seeds, 0 finished)" in text
    # 129 operations per row, neuron and step; 50 rows and 12 neurons over the cells, 4 runs in each.
    assert "operations 6.19e+09 (estimate" in text
    assert plan.work == 129 * 50 * 12 * 4 * 20000
    assert "on 1 cpu worker, this process, without Ray (estimate)" in text


def test_what_is_finished_is_not_planned(tiny, capsys):
    sweep = tiny()
    ids = expand(sweep).columns["run_id"].tolist()
    assert "6 runs to train (8 cells x 2 seeds, 10 finished)" in shown(sweep, capsys, ids[:10])[1]
    assert "0 runs to train (8 cells x 2 seeds, 16 finished)" in shown(sweep, capsys, ids)[1]


def test_combinations_that_fall_together_are_said(capsys):
    architectures = parse(compose(["sweeps=modular_architectures"])[0])
    plan, text = shown(architectures, capsys)
    assert plan.n_runs == 11_340
    assert (
        "21,600 combinations, of which 10,260 would repeat others (tied_embedding, embed_size without effect "
        "there): 11,340 runs\n11,340 runs to train (1,260 cells x 9 seeds, 0 finished)"
    ) in text


def test_what_is_not_swept_is_not_said_to_be_without_effect(tiny, capsys):
    assert "combinations" not in shown(tiny(), capsys)[1]
    one_size = parse(compose(["sweeps=modular_architectures", "grid.embed_size=[32]"])[0])
    assert "would repeat others (tied_embedding without effect there)" in shown(one_size, capsys)[1]


def test_a_disk_that_is_too_small_is_said(tiny, capsys):
    line = "disk       6 kB in {} (estimate)"  # 16 runs of 250 bytes and 5 logged steps of 20
    sweep = tiny()
    for free, more in [(None, ""), (5_600, ""), (5_599, "; only 6 kB are free there")]:
        assert line.format(sweep.out) + more in shown(sweep, capsys, free_disk=free)[1].splitlines()


def test_where_it_would_be_trained_is_said(tiny, capsys):
    def where(*overrides):
        return re.search(r"^time .* on \d+ cpu workers?, (.*) \(estimate\)$", said(*overrides), re.MULTILINE)[
            1
        ]

    def said(*overrides):
        return shown(tiny(*overrides), capsys)[1]

    assert where("cluster=auto") == where("cluster=inline") == "this process, without Ray"
    assert where("cluster=auto", "train.steps=20000000") == where("cluster=local") == "with Ray"


def test_many_programs_are_counted_not_listed(tiny, capsys):
    _, text = shown(tiny(f"grid.hidden_size={list(range(1, 101))}"), capsys)
    assert "... and 60 more programs" in text


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0 B"), (999, "999 B"), (1e6, "1 MB"), (2.5e9, "2.5 GB"), (5e12, "5.0 TB"), (9e15, "9,000.0 TB")],
)
def test_bytes_in_words(count, words):
    assert in_bytes(count) == words


@pytest.mark.parametrize(("seconds", "words"), [(0, "0 s"), (119, "119 s"), (600, "10 min"), (9000, "2.5 h")])
def test_time_in_words(seconds, words):
    assert in_time(seconds) == words
