"""The diagram on a terminal says what `analysis` says of the same runs."""

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from analysis import PHASES, cells
from grok_sweep import diagram
from grok_sweep.diagram import COMPLETE, PARTIAL, Diagram


def runs(phases):
    return pd.DataFrame({"weight_decay": 0.1, "hidden_size": 4, "train_size": 7, "phase": phases})


@given(st.lists(st.sampled_from(PHASES), min_size=1, max_size=9))
def test_a_cell_shows_the_majority_that_analysis_finds(phases):
    drawn = Diagram({"weight_decay": (0.1, 1.0)}, seeds=9)
    for phase in phases:  # one shard each
        drawn.count(runs([phase]))
    table = runs(phases).assign(seed=range(len(phases)), min_train_loss=0.0)
    majority = cells(table, by=["weight_decay"])["majority"].item()
    look = COMPLETE if len(phases) == 9 else PARTIAL
    (line,) = [line.plain for line in drawn.lines(80, 20) if "·" in line.plain]
    assert look[majority][0] in line


def test_every_phase_has_a_glyph_of_its_own():
    assert set(diagram.PHASES) == set(diagram.TIES) == set(COMPLETE) == set(PARTIAL) == set(PHASES)
    assert len({glyph for look in (COMPLETE, PARTIAL) for glyph, _ in look.values()}) == 8


def test_no_axes_no_diagram():
    assert Diagram({}, seeds=3).lines(80, 20) == []


def test_control_codes_do_not_reach_the_terminal():
    assert diagram.one_line("a\x1b[31m\nb") == "a?[31m b"
