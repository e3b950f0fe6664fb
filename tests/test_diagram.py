"""The diagram on a terminal says what `analysis` says of the same runs."""

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from analysis import PHASES, cells
from grok_sweep.compose import compose
from grok_sweep.core.config import parse
from grok_sweep.core.definitions import FOUR, TIES
from grok_sweep.core.grid import expand
from grok_sweep.core.look import MARKS, Look
from grok_sweep.core.parts import definition
from grok_sweep.terminal import diagram
from grok_sweep.terminal.diagram import GLYPHS, Diagram, complete, partial

COMPLETE = {name: complete(look) for name, look in FOUR.items()}
PARTIAL = {name: partial(look) for name, look in FOUR.items()}


def runs(phases):
    return pd.DataFrame({"weight_decay": 0.1, "hidden_size": 4, "train_size": 7, "phase": phases})


@given(st.lists(st.sampled_from(PHASES), min_size=1, max_size=9))
def test_a_cell_shows_the_majority_that_analysis_finds(phases):
    drawn = Diagram({"weight_decay": (0.1, 1.0)}, "relu_mlp", {"weight_decay": [0.1, 1.0] * 9})
    for phase in phases:  # one shard each
        drawn.count(runs([phase]))
    table = runs(phases).assign(seed=range(len(phases)), min_train_loss=0.0)
    majority = cells(table, by=["weight_decay"])["majority"].item()
    look = COMPLETE if len(phases) == 9 else PARTIAL
    (line,) = [line.plain for line in drawn.lines(80, 20) if "·" in line.plain]
    assert look[majority][0] in line


def test_every_phase_has_a_glyph_of_its_own():
    assert set(TIES) == set(FOUR) == set(PHASES)
    assert COMPLETE == {
        "memorize": ("■", "bold black on #ffffff"),
        "grok": ("▲", "bold black on #F7DB5C"),
        "generalize": ("●", "bold black on #7CB9DF"),
        "fail": ("X", "bold black on #aaaaaa"),
    }
    assert PARTIAL == {
        "memorize": ("□", "default"),
        "grok": ("△", "#F7DB5C"),
        "generalize": ("○", "#7CB9DF"),
        "fail": ("x", "#aaaaaa"),
    }
    glyphs = [glyph for pair in GLYPHS.values() for glyph in pair]
    assert set(GLYPHS) == set(MARKS)
    assert len({*glyphs}) == len(glyphs) == 2 * len(MARKS)
    assert {cell_len(glyph) for glyph in glyphs} == {1}


def test_a_dark_colour_is_seen_too():
    assert complete(Look("#202020", "star")) == ("★", "bold white on #202020")
    assert partial(Look("#202020", "star")) == ("☆", "default")


def test_phases_of_another_definition():
    """Ties go to the first; a run that could not be sorted is in no phase, and its cell stays partial."""
    shown = {"calm": Look("#7cb9df", "diamond"), "wild": Look("#d55e00", "plus")}
    part = definition(shown)(lambda runs, curves, h: None)
    drawn = Diagram({"weight_decay": (0.1, 1.0)}, "relu_mlp", {"weight_decay": [0.1, 1.0] * 2}, part)

    def line():
        (found,) = [line.plain for line in drawn.lines(80, 20) if "·" in line.plain]
        return found

    drawn.count(runs(["wild"]))
    assert "+" in line()
    drawn.count(runs([None]))
    assert "+" in line()
    drawn.count(runs(["calm"]))
    assert "◆" in line()


def test_no_axes_no_diagram():
    assert Diagram({}, "relu_mlp", {}).lines(80, 20) == []


def test_control_codes_do_not_reach_the_terminal():
    assert diagram.one_line("a\x1b[31m\nb") == "a?[31m b"


def test_a_run_stands_at_every_value_that_has_no_effect_on_it():
    """Both sides collapsed one run per seed stands for three; it alone makes all of its cells complete."""
    axes = {"embed_size": (8, 16, 32), "collapsed_input": (0, 1), "weight_decay": (0.1, 1.0)}
    config, _ = compose(["sweeps=modular_architectures", "seeds=2"])
    config["model"] |= {"collapsed_output": 1}
    sweep = parse(config | {"grid": {name: [*values] for name, values in axes.items()}, "zip": []})
    runs = pd.DataFrame(expand(sweep).columns)
    assert len(runs) == 2 * (3 + 1) * 2
    drawn = Diagram(axes, "modular_mlp", expand(sweep).columns)

    def tiles():
        return [line.plain.split()[1:] for line in drawn.lines(60, 20)[1:3]]

    for k, name in enumerate(("fail", "memorize")):
        drawn.count(runs.query("collapsed_input == 1 and weight_decay == 1").iloc[[k]].assign(phase=name))
        look = PARTIAL if k == 0 else COMPLETE
        assert tiles() == [["·"] * 3 + [look["fail"][0]] * 3, ["·"] * 6]
    drawn.count(runs.query("collapsed_input == 0 and embed_size == 16").assign(phase="grok"))
    grok, fail = COMPLETE["grok"][0], COMPLETE["fail"][0]
    assert tiles() == [["·"] * 3 + [fail] * 3, ["·", grok, "·"] * 2]


def test_values_that_an_axis_has_more_than_once_are_more_runs():
    """Of axes that change together one is shown."""
    drawn = Diagram({"weight_decay": (0.0, 1.0)}, "relu_mlp", {"weight_decay": [0.0, 0.0, 1.0]})
    for look in (PARTIAL, COMPLETE):
        drawn.count(runs(["grok"]).assign(weight_decay=0.0))
        (line,) = [line.plain for line in drawn.lines(80, 20) if "·" in line.plain]
        assert look["grok"][0] in line
