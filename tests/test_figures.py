"""The phase diagram: what is drawn is what is in the table, where it should be."""

import subprocess
import sys
from collections import Counter
from itertools import combinations

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from drawn import collection, key, title
from matplotlib.colors import to_hex, to_rgb
from matplotlib.markers import MarkerStyle
from pages import PARITY, ROOT
from test_phases import FIVE, by_seed, curves_table, five, grid_table, runs_table

from analysis import PHASES, classify, expected_runs, load_runs, phase_diagram, save, style
from grok_sweep.core.definitions import FOUR
from grok_sweep.core.look import MARKS as EVERY_MARK
from grok_sweep.terminal.diagram import complete

COLOURS = {"fail": "#aaaaaa", "memorize": "#ffffff", "generalize": "#7cb9df", "grok": "#f7db5c"}
MARKS = {"fail": "X", "memorize": "s", "generalize": "o", "grok": "^"}
DECAYS = (0.01, 0.03, 0.1, 0.3, 1.0)
WIDTHS = (16, 32, 64, 128, 258)
SIZES = (750, 1000, 1250, 1500, 1750)


@pytest.fixture(scope="module")
def article():
    return classify(grid_table(9, weight_decay=DECAYS, hidden_size=WIDTHS, train_size=SIZES))


def dots(plot, phase):
    """Where the dots of a phase are, checked to have its colour."""
    marks = collection(plot, phase)
    if phase in COLOURS and len(marks.get_offsets()):
        assert to_hex(marks.get_facecolor()[0]) == COLOURS[phase]
        named = MarkerStyle(MARKS[phase])
        shapes = [marks.get_paths()[0], named.get_path().transformed(named.get_transform())]
        drawn, expected = (shape.vertices / np.ptp(shape.vertices) for shape in shapes)
        assert drawn == pytest.approx(expected)
    return np.asarray(marks.get_offsets())


def in_cells(points):
    """How many points each cell (column, row) has; every point is well inside one."""
    assert (np.abs(points - np.round(points)) < 0.45).all()
    return Counter(map(tuple, np.round(points).astype(int).tolist()))


def labels(axis):
    return [text.get_text() for text in axis.get_ticklabels()]


def titles(figure):
    return [plot.get_title() for plot in figure.axes]


def test_the_article_s_picture(article):
    figure = phase_diagram(article)
    assert titles(figure) == [f"weight decay {decay:g}" for decay in DECAYS]
    assert labels(figure.axes[0].xaxis) == ["258", "128", "64", "32", "16"]
    assert labels(figure.axes[0].yaxis) == ["750", "1000", "1250", "1500", "1750"]
    assert labels(figure.axes[1].yaxis) == []
    assert [plot.get_xlabel() for plot in figure.axes] == ["hidden size"] * 5
    assert figure.axes[0].get_ylabel() == "train size"
    for decay, plot in zip(DECAYS, figure.axes, strict=True):
        panel = article[article["weight_decay"] == decay]
        for phase in PHASES:
            of_phase = panel[panel["phase"] == phase]
            expected = Counter(
                (WIDTHS[::-1].index(width), SIZES.index(size))
                for width, size in zip(of_phase["hidden_size"], of_phase["train_size"], strict=True)
            )
            assert in_cells(dots(plot, phase)) == expected
        everywhere = np.vstack([dots(plot, phase) for phase in PHASES])
        assert len(np.unique(everywhere.round(6), axis=0)) == len(panel) == 225
        assert len(dots(plot, "missing")) == 0
    marks = [handle.get_marker() for handle in figure.legends[0].get_lines()]
    assert marks == [MARKS[phase] for phase in PHASES]
    counts = article["phase"].value_counts()
    assert key(figure) == [f"{phase} {counts[phase]}" for phase in PHASES]


def test_phases_differ_in_print():
    def grey(phase):
        return np.dot(to_rgb(FOUR[phase].colour), (0.299, 0.587, 0.114))

    assert abs(grey("generalize") - grey("fail")) < 0.01  # why colour alone does not do
    for one, other in combinations(PHASES, 2):
        mark, another = FOUR[one].mark, FOUR[other].mark
        assert mark != another
        assert style.MARKS[mark].hatch != style.MARKS[another].hatch or abs(grey(one) - grey(other)) > 0.1
    glyphs = {"■": "square", "▲": "triangle-up", "●": "circle", "X": "x"}
    assert {glyphs[complete(look)[0]] for look in FOUR.values()} == {
        style.MARKS[look.mark].plotly for look in FOUR.values()
    }


def test_a_seed_is_at_the_same_place_in_every_cell():
    runs = runs_table(
        [
            {"seed": seed, "hidden_size": width, "phase": "fail" if seed == 3 else "grok"}
            for width in (16, 64)
            for seed in range(9)
        ]
    )
    (plot,) = phase_diagram(classify(runs)).axes
    points = dots(plot, "fail")
    assert len(points) == 2
    offsets = points - np.round(points)
    assert offsets[0] == pytest.approx(offsets[1])
    assert offsets[0][0] < 0
    assert offsets[0][1] == pytest.approx(0)  # the fourth of nine: left in the middle row


def test_runs_that_are_not_there_yet_stay_empty(article):
    three = article[article["weight_decay"] < 0.3]
    half = three[~three["run_id"].isin(article["run_id"][:12])]
    figure = phase_diagram(half, expected=three[["train_size", "weight_decay", "hidden_size", "seed"]])
    assert len(figure.axes) == 3
    # The first cell of the table, and three runs of the second.
    assert in_cells(dots(figure.axes[0], "missing")) == {(4, 0): 9, (4, 1): 3}
    assert key(figure)[-1] == "not finished 12"
    assert "0 to 9 runs per cell" in figure.get_supxlabel()
    assert sum(len(dots(plot, phase)) for plot in figure.axes for phase in PHASES) == len(half)


def test_a_panel_of_which_nothing_is_there_yet(article):
    grid = article[["weight_decay", "hidden_size", "train_size", "seed"]]
    figure = phase_diagram(article[article["weight_decay"] < 1], expected=grid)
    assert len(figure.axes) == 5
    assert len(dots(figure.axes[4], "missing")) == 225
    assert "0 to 9 runs per cell" in figure.get_supxlabel()
    assert key(figure)[-1] == "not finished 225"


def test_combinations_that_no_grid_has_are_not_missing():
    """Axes that change together fill a diagonal of their product."""
    pairs = [(1.0, 0.0), (0.3, 0.0), (0.0, 1e-7), (0.0, 1e-8)]
    phases = classify(runs_table([{"weight_decay": a, "l1_decay": b} for a, b in pairs]))
    phases["l1_decay"] = [b for _, b in pairs]
    phases.insert(5, "l1_decay", phases.pop("l1_decay"))
    config = {"grid": {"weight_decay": [1, 0.3, 0, 0], "l1_decay": [0, 0, 1e-7, 1e-8]}, "seeds": 1}
    config["zip"] = [["weight_decay", "l1_decay"]]
    for expected in (None, expected_runs(config)):
        figure = phase_diagram(phases, x="weight_decay", y="l1_decay", expected=expected)
        assert not any("not finished" in text for text in key(figure))
        assert not any(len(dots(plot, "missing")) for plot in figure.axes)
        assert len(dots(figure.axes[0], "cells")) == 4  # of twelve
    figure = phase_diagram(phases[1:], x="weight_decay", y="l1_decay", expected=expected_runs(config))
    assert key(figure)[-1] == "not finished 1"
    assert in_cells(dots(figure.axes[0], "missing")) == {(2, 0): 1}


@pytest.mark.parametrize("seeds", [1, 2, 3, 10, 64])
def test_any_number_of_seeds_has_its_dots(seeds):
    phases = classify(
        grid_table(seeds, weight_decay=(0.1, 1.0), hidden_size=(16, 64), train_size=(750, 1000))
    )
    for plot in phase_diagram(phases).axes:
        points = np.vstack([dots(plot, phase) for phase in PHASES])
        assert set(in_cells(points).values()) == {seeds}
        assert len(np.unique(points.round(6), axis=0)) == len(points)


def test_many_seeds_are_drawn_as_shares():
    phases = classify(grid_table(65, weight_decay=(0.1,), hidden_size=(16, 64), train_size=(750,)))
    figure = phase_diagram(phases)
    (plot,) = figure.axes
    hatched = [bool(patch.get_hatch()) for patch in figure.legends[0].get_patches()]
    assert hatched == [phase == "fail" for phase in PHASES]
    assert figure.get_supxlabel().startswith("each cell shows the shares of its runs, 65 runs per cell")
    for phase in PHASES:
        (bars,) = (bars for bars in plot.containers if bars.get_label() == phase)
        assert {to_hex(bar.get_facecolor()) for bar in bars} == {COLOURS[phase]}
        assert {bool(bar.get_hatch()) for bar in bars} == {phase == "fail"}
        drawn = sorted((bar.get_x(), bar.get_height()) for bar in bars)
        share = (phases["phase"] == phase).groupby(phases["hidden_size"]).mean()[[64, 16]]
        # A cell is 0.9 high.
        assert [height for _, height in drawn] == pytest.approx(0.9 * share.to_numpy())


def outlined(figure):
    marks = [drawn for plot in figure.axes for drawn in plot.collections if drawn.get_label() == "unsure"]
    return [point for drawn in marks for point in drawn.get_offsets().tolist()]


def test_cells_of_which_nobody_knows_the_phase_are_outlined():
    """Of nine at least eight: 8 of 9 is [.57, .98], 7 of 9 [.45, .94]."""
    phases = (
        ("grok",) * 9,
        ("grok",) * 8 + ("fail",),
        ("grok",) * 7 + ("fail",) * 2,
        ("fail",) * 5 + ("grok",) * 4,
    )
    rows = [
        {"seed": seed, "hidden_size": 16 * (place + 1), "phase": phase}
        for place, of_cell in enumerate(phases)
        for seed, phase in enumerate(of_cell)
    ]
    figure = phase_diagram(classify(runs_table(rows)))
    assert sorted(in_cells(outlined(figure))) == [(0, 0), (1, 0)]  # from large to small
    assert "of 9 alike a share is 70 % or more (95 %); outlined: that of the most" in figure.get_supxlabel()
    half = phase_diagram(classify(runs_table([row for row in rows if row["seed"] > 4])))
    assert sorted(in_cells(outlined(half))) == [(1, 0), (2, 0)]  # three of four, two of four
    few = phase_diagram(classify(runs_table([row for row in rows if row["seed"] < 3])))
    assert len(outlined(few)) == 0  # of three nobody could know
    assert "outlined" not in few.get_supxlabel()


def test_shares_are_outlined_too_and_cells_that_pool_runs_that_differ_are_not():
    rows = [
        {"seed": seed, "weight_decay": decay, "phase": "grok" if seed % 2 or decay > 0.5 else "fail"}
        for decay in (0.1, 1.0)
        for seed in range(70)
    ]
    phases = classify(runs_table(rows))
    (plot,) = phase_diagram(phases, panels=[], x="weight_decay").axes
    (mark,) = (drawn for drawn in plot.collections if drawn.get_label() == "unsure")
    assert mark.get_offsets().tolist() == [[0, 0]]
    order = [*plot.get_children()]
    bars = [order.index(bar) for group in plot.containers for bar in group]
    assert order.index(mark) > max(bars) or mark.get_zorder() > max(order[bar].get_zorder() for bar in bars)
    pooled = phase_diagram(phases, panels=[], x="hidden_size", y="train_size")
    assert "pooled over weight_decay" in pooled.get_supxlabel()
    assert not outlined(pooled)
    assert "outlined" not in pooled.get_supxlabel()


def test_the_readme_says_how_many_cells_of_its_record_are_outlined():
    figure = phase_diagram(classify(load_runs(PARITY)))
    unsure = len(outlined(figure))
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert f"reaches below a half, {unsure} of 125 here" in readme


def test_one_cell():
    (plot,) = phase_diagram(classify(grid_table(9))).axes
    assert plot.get_title() == "weight decay 0.1"
    assert (labels(plot.xaxis), labels(plot.yaxis)) == (["64"], ["1000"])
    assert sum(len(dots(plot, phase)) for phase in PHASES) == 9


def test_an_axis_that_does_not_vary_makes_room_for_one_that_does():
    (plot,) = phase_diagram(classify(grid_table(2, weight_decay=DECAYS))).axes
    assert labels(plot.xaxis) == ["0.01", "0.03", "0.1", "0.3", "1"]
    assert (plot.get_xlabel(), plot.get_ylabel()) == ("weight decay", "train size")
    assert sum(len(dots(plot, phase)) for phase in PHASES) == 10
    (plot,) = phase_diagram(classify(grid_table(2, b1=(0.9, 0.99), train_size=SIZES))).axes
    assert (plot.get_xlabel(), plot.get_ylabel()) == ("b1", "train size")
    figure = phase_diagram(
        classify(grid_table(2, b1=(0.9, 0.99), eps=(1e-8, 1e-7, 1e-6), weight_decay=DECAYS))
    )
    assert titles(figure) == [f"weight decay {decay:g}" for decay in DECAYS]
    assert (figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()) == ("eps", "b1")


def test_further_axes_multiply_the_panels():
    axes = {"b1": (0.9, 0.99), "weight_decay": (0.1, 1.0), "hidden_size": (16, 64), "train_size": (750, 1000)}
    phases = classify(grid_table(1, **axes))
    figure = phase_diagram(phases)
    assert titles(figure) == [f"b1 {b1:g}\nweight decay {d:g}" for b1 in (0.9, 0.99) for d in (0.1, 1)]
    # Two rows of two: ticks at the foot and at the left only.
    assert [len(labels(plot.xaxis)) for plot in figure.axes] == [0, 0, 2, 2]
    assert [len(labels(plot.yaxis)) for plot in figure.axes] == [2, 0, 2, 0]
    figure.draw_without_rendering()
    tops = [plot.get_position().y1.round(6) for plot in figure.axes]
    assert tops[0] == tops[1] > tops[2] == tops[3]


@pytest.mark.parametrize(
    ("more", "decays", "rows"),
    [
        ((), 6, [6]),
        ((), 7, [4, 3]),
        ((), 10, [5, 5]),
        ((0.9, 0.99), 6, [6, 6]),
        ((0.9, 0.99), 7, [4, 3, 4, 3]),
    ],
)
def test_a_row_of_panels_is_the_values_of_a_factor_or_an_equal_part(more, decays, rows):
    axes = {"weight_decay": np.arange(decays) / 10, "hidden_size": WIDTHS, "train_size": SIZES}
    phases = classify(grid_table(1, **axes, **({"b1": more} if more else {})))
    figure = phase_diagram(phases, panels=[*(["b1"] if more else []), "weight_decay"])
    figure.draw_without_rendering()
    tops = Counter(plot.get_position().y1.round(6) for plot in figure.axes)
    assert list(tops.values()) == rows
    # Each round of the factor begins at the left, with its first value.
    firsts = [plot for plot in figure.axes if plot.get_title().endswith("decay 0")]
    assert len({plot.get_position().x0.round(6) for plot in firsts}) == 1
    # Ticks stand below a panel that has none below it.
    lowest = [plot for plot in figure.axes if labels(plot.xaxis)]
    assert len(lowest) == rows[0] + (max(rows) - min(rows)) * (len(rows) // 4)
    for plot in figure.axes:
        box = plot.get_position()
        assert 0 < box.x0 < box.x1 < 1
        assert 0 < box.y0 < box.y1 < 1


def test_what_is_written_over_and_under_narrow_panels_does_not_meet():
    decays = np.geomspace(0.01, 1, 20).tolist()
    table = grid_table(1, hidden_size=[4, 8], train_size=[*range(20, 420, 20)], weight_decay=decays)
    figure = phase_diagram(classify(table))
    figure.draw_without_rendering()
    written = [text for plot in figure.axes for text in (plot.title, plot.xaxis.label) if text.get_text()]
    assert len(written) == 20 + 5
    for one, other in combinations([text.get_window_extent() for text in written], 2):
        assert not one.overlaps(other)


def test_named_axes_pool_the_rest_and_say_so():
    axes = {"b1": (0.9, 0.99), "weight_decay": DECAYS, "hidden_size": WIDTHS}
    phases = classify(grid_table(2, **axes))
    figure = phase_diagram(phases, panels="b1", x="weight_decay", y="train_size", title="mine")
    assert titles(figure) == ["b1 0.9", "b1 0.99"]
    for plot in figure.axes:
        assert set(in_cells(np.vstack([dots(plot, phase) for phase in PHASES])).values()) == {10}
        assert len(dots(plot, "missing")) == 0
    assert title(figure) == "mine"
    assert "pooled over hidden_size" in figure.get_supxlabel()


def test_the_caption_says_which_definition(article):
    caption = phase_diagram(article).texts[-1].get_text()
    assert caption.startswith("each mark is one run, 9 runs per cell; ")
    assert "min_loss 1e-05, max_ratio 50000" in caption
    assert title(phase_diagram(article)) == "made_up"


@pytest.mark.parametrize(
    ("axes", "options", "message"),
    [
        ({}, {}, "there are no runs to draw"),
        (
            {"b1": DECAYS, "eps": SIZES, "weight_decay": (0.1, 1.0)},
            {"x": "seed", "y": "b2"},
            "2 weight_decay",
        ),
        ({"b1": np.linspace(0, 0.9, 31)}, {"panels": "b1"}, "31 b1 would be 31 panels, at most 30"),
        ({"b1": np.linspace(0, 0.9, 8193)}, {}, "b1 has 8,193 values, at most 8,192 can be drawn; filter"),
        ({"b1": DECAYS}, {"x": "width"}, "needs the columns width"),
        ({"b1": DECAYS}, {"x": "b1", "panels": ["b1", "b2"]}, "b1: named twice"),
    ],
)
def test_what_cannot_be_drawn_is_refused_with_a_reason(axes, options, message):
    phases = classify(grid_table(1, **axes) if axes else runs_table([]))
    with pytest.raises(ValueError, match=message):
        phase_diagram(phases, **options)


def test_a_missing_value_has_a_place():
    (plot,) = phase_diagram(classify(runs_table([{"b1": 0.9}, {"b1": None}]))).axes
    assert labels(plot.xaxis) == ["0.9", "none"]


def test_files_are_the_same_whatever_the_user_s_style(article, tmp_path):
    save(phase_diagram(article), tmp_path / "a.svg")
    save(phase_diagram(article), tmp_path / "a.png")
    before = dict(mpl.rcParams)
    with mpl.rc_context({"axes.facecolor": "black", "font.size": 30, "savefig.dpi": 30}):
        save(phase_diagram(article), tmp_path / "b.svg")
        save(phase_diagram(article), tmp_path / "b.png")
    assert dict(mpl.rcParams) == before
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    text = (tmp_path / "a.svg").read_text()
    assert ">train size</text>" in text
    assert "<dc:date>" not in text
    assert len(text) < 250_000


def test_neither_pyplot_nor_what_trains_is_imported():
    code = "import sys, analysis.cli; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = set(done.stdout.split())
    assert not modules & {"matplotlib.pyplot", "jax", "flax", "optax", "ray", "hydra", "omegaconf"}
    rooms = {name.split(".")[1] for name in modules if name.startswith("grok_sweep.")}
    assert rooms == {"store", "errors", "core"}  # tasks are imported where weights are opened


def test_text_phases_are_drawn(article):
    text = pd.DataFrame(article.assign(phase=article["phase"].astype(str)))
    assert key(phase_diagram(text)) == key(phase_diagram(article))


def test_phases_of_another_definition_are_drawn_as_it_says():
    figure = phase_diagram(five([0, 1, 2, 10]), title="five")
    assert key(figure) == ["confused 1", "calm 2", "wild 1", "odd 0", "rest 0"]
    (plot,) = figure.axes
    for (name, look), line in zip(FIVE.items(), figure.legends[0].get_lines(), strict=True):
        for mark in (collection(plot, name).get_facecolor()[0], line.get_markerfacecolor()):
            assert to_hex(mark) == look.colour.lower()
        for mark in (collection(plot, name).get_edgecolor()[0], line.get_markeredgecolor()):
            assert to_hex(mark) == look.edge.lower()
        assert line.get_marker() == style.MARKS[look.mark].matplotlib
    assert len(dots(plot, "calm")) == 2
    assert "; phases: by_seed, apart 2, most 9; " in figure.get_supxlabel()


def test_shares_of_phases_of_another_definition():
    """Areas have no shape: what they are filled with differs instead."""
    runs = grid_table(100, weight_decay=(0.1, 1.0))
    curves = curves_table({run_id: [(0, 0.5, 0.5)] for run_id in runs["run_id"]})
    figure = phase_diagram(classify(runs, definition=by_seed, curves=curves))
    assert key(figure)[:3] == ["confused 180", "calm 10", "wild 10"]
    areas = {bars.get_label(): bars for bars in figure.axes[0].containers}
    assert set(areas) == set(FIVE)
    assert areas["wild"][0].get_hatch() == style.MARKS["plus"].hatch


def test_every_mark_is_drawn():
    assert set(style.MARKS) == set(EVERY_MARK)
    for names in (
        {mark.matplotlib for mark in style.MARKS.values()},
        {m.plotly for m in style.MARKS.values()},
    ):
        assert len(names) == len(EVERY_MARK)
    assert len({mark.hatch for mark in style.MARKS.values()}) == len(EVERY_MARK) - 2  # three have none
