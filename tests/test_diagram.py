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


def tiles(diagram):
    """Glyph and style of the cells of the last panel, row by row."""
    panel = diagram.drawn(80, 20)[0].renderables[-1]
    rows = []
    for span in panel.spans[1:]:  # after its title
        words = panel.plain[span.start : span.end]
        if words.startswith("\n"):
            rows.append([])  # its label
        else:
            rows[-1].append((words.strip(), span.style))
    return rows


@given(st.lists(st.sampled_from(PHASES), min_size=1, max_size=9))
def test_a_cell_shows_the_majority_that_analysis_finds(phases):
    drawn = Diagram({"weight_decay": (0.1, 1.0)}, "relu_mlp", {"weight_decay": [0.1, 1.0] * 9})
    for phase in phases:  # one shard each
        drawn.count(runs([phase]))
    table = runs(phases).assign(seed=range(len(phases)), min_train_loss=0.0)
    majority = cells(table, by=["weight_decay"])["majority"].item()
    look = COMPLETE if len(phases) == 9 else PARTIAL
    assert tiles(drawn) == [[look[majority], ("·", "dim")]]


def test_every_phase_has_a_glyph_of_its_own():
    assert set(TIES) == set(FOUR) == set(PHASES)
    assert COMPLETE == {
        "memorize": ("■", "bold black on #ffffff"),
        "grok": ("▲", "bold black on #F7DB5C"),
        "generalize": ("●", "bold black on #7CB9DF"),
        "fail": ("X", "bold black on #aaaaaa"),
    }
    assert PARTIAL == {
        "memorize": ("■", "default"),
        "grok": ("▲", "#F7DB5C"),
        "generalize": ("●", "#7CB9DF"),
        "fail": ("X", "#aaaaaa"),
    }
    assert len({*GLYPHS.values()}) == len(MARKS)
    assert {cell_len(glyph) for glyph in GLYPHS.values()} == {1}


def test_a_dark_colour_is_seen_too():
    assert complete(Look("#202020", "star")) == ("★", "bold white on #202020")
    assert partial(Look("#202020", "star")) == ("★", "default")


def test_phases_of_another_definition():
    """Ties go to the first; a run that could not be sorted is in no phase, and its cell stays partial."""
    shown = {"calm": Look("#7cb9df", "diamond"), "wild": Look("#d55e00", "plus")}
    part = definition(shown)(lambda runs, curves, h: None)
    drawn = Diagram({"weight_decay": (0.1, 1.0)}, "relu_mlp", {"weight_decay": [0.1, 1.0] * 2}, part)

    drawn.count(runs(["wild"]))
    assert tiles(drawn)[0][0] == partial(shown["wild"])
    drawn.count(runs([None]))
    assert tiles(drawn)[0][0] == partial(shown["wild"])
    drawn.count(runs(["calm"]))
    assert tiles(drawn)[0][0] == complete(shown["calm"])


def test_no_axes_no_diagram():
    assert Diagram({}, "relu_mlp", {}).drawn(80, 20) == []


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
    none = ("·", "dim")
    for k, name in enumerate(("fail", "memorize")):
        drawn.count(runs.query("collapsed_input == 1 and weight_decay == 1").iloc[[k]].assign(phase=name))
        fail = (PARTIAL if k == 0 else COMPLETE)["fail"]
        assert tiles(drawn) == [[fail] * 3, [none] * 3]
    drawn.count(runs.query("collapsed_input == 0 and embed_size == 16").assign(phase="grok"))
    assert tiles(drawn) == [[fail] * 3, [none, COMPLETE["grok"], none]]


def test_values_that_an_axis_has_more_than_once_are_more_runs():
    """Of axes that change together one is shown."""
    drawn = Diagram({"weight_decay": (0.0, 1.0)}, "relu_mlp", {"weight_decay": [0.0, 0.0, 1.0]})
    for look in (PARTIAL, COMPLETE):
        drawn.count(runs(["grok"]).assign(weight_decay=0.0))
        assert tiles(drawn) == [[look["grok"], ("·", "dim")]]


def test_axes_not_shown_are_pooled():
    axes = {"hidden_size": (4, 8), "train_size": (7, 9), "b1": (0.9, 0.99), "b2": (1, 2)}
    every = pd.MultiIndex.from_product(axes.values(), names=list(axes)).to_frame(index=False)
    drawn = Diagram(axes, "relu_mlp", every)
    none = ("·", "dim")
    for b2, look in ((1, PARTIAL), (2, COMPLETE)):
        here = every.query(f"hidden_size == 4 and train_size == 7 and b1 == 0.99 and b2 == {b2}")
        drawn.count(here.assign(phase="grok"))
        assert tiles(drawn) == [[none] * 2, [none, look["grok"]]]
