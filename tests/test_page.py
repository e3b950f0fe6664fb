"""The page of a sweep, in a real browser: what it shows is what the tables say."""

import json

import numpy as np
import pandas as pd
import pytest
from conftest import in_browser
from pages import (
    MODULAR,
    PARITY,
    SIZE,
    cell_place,
    counted,
    counts,
    enter,
    in_browser_phases,
    kept,
    marks,
    shown_runs,
    tables,
    write,
)
from test_phases import FIVE, by_seed

import analysis
from analysis.page import CURVE_NUMBERS, MANTISSA, _short, page
from analysis.style import MARKS
from grok_sweep.core.definitions import FOUR
from grok_sweep.core.look import Look, to_plain

HUGE = {
    "hidden_size": [2**k for k in range(10)],
    "train_size": [100 * k for k in range(1, 11)],
    "weight_decay": [10.0**-k for k in range(10)],
    "learning_rate": [1e-4, 1e-3],
}


@pytest.mark.parametrize("value", [0.0, 1.0, -3.5, 1.2e-38, 3.4e38, 6.02e23, np.pi])
def test_numbers_that_are_drawn_lose_less_than_a_pixel(value):
    given = np.array([value, np.nan, np.inf, -np.inf], np.float32)
    short = _short(given)
    assert abs(short[0] - given[0]) <= abs(given[0]) * 2.0**-MANTISSA
    np.testing.assert_array_equal(short[1:], given[1:])
    assert not short[:1].view(np.uint32)[0] & ((1 << (23 - MANTISSA)) - 1)


def test_a_page_needs_runs():
    runs, curves = tables({"hidden_size": [4]})
    with pytest.raises(ValueError, match="there are no runs to show"):
        page(analysis.classify(runs).iloc[:0], curves, title="", folder="", expected=0)
    with pytest.raises(ValueError, match="runs have no curve"):
        page(analysis.classify(runs), curves.iloc[:6], title="", folder="", expected=0)


@in_browser
def test_the_recorded_sweep(look, parity):
    assert parity.stat().st_size < SIZE
    shown = look(parity)
    phases = analysis.classify(analysis.load_runs(PARITY))
    assert shown.inner_text("h1") == "parity_1125"
    assert shown.inner_text("#summary") == "1,125 runs"
    assert counts(shown) == counted(phases)
    panels = shown.evaluate("document.getElementById('diagram').layout.annotations.map((one) => one.text)")
    assert [text for text in panels if text.startswith("weight_decay")] == [
        f"weight_decay {value:g}" for value in sorted(phases["weight_decay"].unique())
    ]
    assert len(marks(shown, "x")) == 1125


@in_browser
def test_both_classify_every_run_alike(look, parity, tmp_path):
    """At thresholds of all sizes, at the very numbers of runs too, for both definitions."""
    made, made_curves = tables({"hidden_size": [4, 8], "weight_decay": [0.1, 1.0]}, seeds=250)
    recorded = analysis.load_runs(PARITY), analysis.load_curves(PARITY)
    for path, (runs, curves) in [
        (parity, recorded),
        (write(tmp_path / "made.html", made, made_curves), (made, made_curves)),
    ]:
        shown = look(path)
        exact = runs.sample(2, random_state=1)
        pairs = [(1e-5, 5e4), (1e-7, 1.0), (0.5, 1e12), (1e-3, 100.0)]
        pairs += [(loss, 10.0) for loss in [*exact["min_eval_loss"].dropna(), *exact["min_train_loss"]]]
        pairs += [(1.0, ratio) for ratio in exact["max_loss_ratio"]]
        for min_loss, max_ratio in pairs:
            enter(shown, definition="pair", min_loss=min_loss, max_ratio=max_ratio)
            assert not shown.is_visible("#computed")
            expected = analysis.classify(runs, min_loss=min_loss, max_ratio=max_ratio)
            assert in_browser_phases(shown) == expected["phase"].tolist()
        for definition in ("liu", "liu_lasting"):
            shown.select_option("#definition", definition)
            assert shown.is_visible("#computed")
            expected = analysis.classify(runs, definition=definition, curves=curves)
            assert in_browser_phases(shown) == expected["phase"].tolist()
            assert counts(shown) == counted(expected)
            assert not shown.is_visible("#thresholds")


@in_browser
def test_sliders_change_dots_counts_and_table_at_once(look, parity):
    shown = look(parity)
    runs = analysis.load_runs(PARITY)

    before = marks(shown, "marker.color")
    shown.focus("#min_loss_slider")
    for _ in range(15):
        shown.keyboard.press("ArrowRight")
    min_loss = float(shown.input_value("#min_loss"))
    assert min_loss == pytest.approx(1e-5 * 10**0.3, rel=0.01)
    expected = analysis.classify(runs, min_loss=min_loss)
    assert counts(shown) == counted(expected)
    after = marks(shown, "marker.color")
    assert before != after
    names = {look.colour: name for name, look in FOUR.items()}
    assert {names[c]: after.count(c) for c in set(after)} == counted(expected)
    shown.fill("#max_ratio", "1e3")
    expected = analysis.classify(runs, min_loss=min_loss, max_ratio=1e3)
    assert counts(shown) == counted(expected)
    for wrong in ("-1", ""):
        shown.fill("#max_ratio", wrong)
        assert shown.is_visible("#max_ratio:invalid")
    assert counts(shown) == counted(expected)
    shown.click("#article")
    assert marks(shown, "marker.color") == before
    assert counts(shown) == counted(analysis.classify(runs))
    assert shown.input_value("#max_ratio") == "50000"


@in_browser
def test_pointing_at_a_cell_shows_its_runs(look, parity):
    shown = look(parity)
    runs, curves = analysis.load_runs(PARITY), analysis.load_curves(PARITY)
    widths = sorted(runs["hidden_size"].unique(), reverse=True)
    sizes, decays = sorted(runs["train_size"].unique()), sorted(runs["weight_decay"].unique())
    for x, y, panel in [(1, 3, 2), (4, 0, 4), (0, 4, 0)]:
        shown.mouse.move(*cell_place(shown, x, y, panel))
        mine = runs.query(
            f"hidden_size == {widths[x]} and train_size == {sizes[y]} and weight_decay == {decays[panel]}"
        )
        name = f"hidden_size {widths[x]} · train_size {sizes[y]} · weight_decay {decays[panel]:g}"
        shown.wait_for_function(
            "(name) => document.getElementById('cell').textContent.startsWith(name)", arg=name
        )
        drawn = shown_runs(shown)
        assert set(drawn) == set(mine["run_id"])
        assert len(drawn) == 9
        for run_id, metrics in drawn.items():
            of_run = curves[curves["run_id"] == run_id]
            assert set(metrics) == {"train_loss", "eval_loss"}
            for metric, (steps, values) in metrics.items():
                assert steps == of_run["step"].tolist()
                np.testing.assert_allclose(values, of_run[metric], rtol=2.0**-MANTISSA)
    assert shown.evaluate("document.getElementById('curves').layout.yaxis.type") == "log"
    shown.select_option("#metric", "accuracy")
    assert set(shown_runs(shown)[run_id]) == {"train_accuracy", "eval_accuracy"}
    shown.select_option("#metric", "weight_norm")
    assert set(shown_runs(shown)[run_id]) == {"weight_norm"}


@in_browser
def test_a_click_keeps_a_cell_and_the_keyboard_does_all_of_it(look, parity):
    shown = look(parity)
    shown.mouse.click(*cell_place(shown, 2, 1, 1))
    assert kept(shown) == [2, 1, 1]
    name = shown.inner_text("#cell")
    where, _, said = name.partition(" — ")
    setting = " and ".join(text.replace(" ", " == ") for text in where.split(" · "))
    (cell,) = analysis.cells(analysis.classify(analysis.load_runs(PARITY))).query(setting).to_dict("records")
    there = [phase for phase in FOUR if cell[f"n_{phase}"]]
    sure = {phase: [round(100 * cell[f"{end}_{phase}"]) for end in ("low", "high")] for phase in there}
    parts = [f"{cell[f'n_{phase}']} {phase} ({low} to {high} %)" for phase, (low, high) in sure.items()]
    assert said == f"9 runs: {', '.join(parts)}"
    shown.mouse.move(*cell_place(shown, 0, 0, 0))
    assert shown.inner_text("#cell") == name
    shown.mouse.click(*cell_place(shown, 2, 1, 1))
    assert kept(shown) is None
    shown.focus("#diagram")
    shown.evaluate("grokPage.point(0)")
    # Five to the right: past the panel's side is the next panel.
    for _ in range(7):
        shown.keyboard.press("ArrowRight")
    shown.keyboard.press("ArrowUp")
    assert shown.inner_text("#cell") == name
    shown.keyboard.press("Enter")
    assert kept(shown) == [2, 1, 1]
    shown.keyboard.press("Escape")
    assert kept(shown) is None
    for _ in range(12):
        shown.keyboard.press("ArrowDown")
        shown.keyboard.press("ArrowLeft")
    assert shown.evaluate("grokPage.at") == 0


@in_browser
def test_a_narrow_phone(look, parity):
    shown = look(parity, width=360, height=740, touch=True)
    assert shown.evaluate("document.scrollingElement.scrollWidth") <= 360
    shown.touchscreen.tap(*cell_place(shown, 1, 1, 0))
    shown.wait_for_function("grokPage.kept() >= 0")
    assert kept(shown) == [1, 1, 0]
    assert len(shown_runs(shown)) == 9


@in_browser
def test_a_window_that_becomes_narrow(look, tmp_path):
    runs, curves = tables({"hidden_size": [2, 4], "weight_decay": [0.1, 1.0]}, seeds=3)
    shown = look(write(tmp_path / "page.html", runs, curves))
    shown.set_viewport_size({"width": 400, "height": 800})
    heights = "[...document.querySelectorAll('#curves, #curves .main-svg')].map((one) => one.clientHeight)"
    shown.wait_for_function(
        f"document.querySelector('#curves .main-svg').clientWidth < 400 && {heights}[0] >= 330"
    )
    below = shown.locator("#legend").bounding_box()["y"]
    box = shown.locator("#curves").bounding_box()
    assert box["y"] + 330 <= below
    assert shown.evaluate("document.scrollingElement.scrollWidth") <= 400


@in_browser
@pytest.mark.parametrize(("folder", "unit"), [(PARITY, "nats per row"), (MODULAR, "nats per row / 67")])
def test_a_loss_has_its_unit(look, tmp_path, folder, unit):
    phases = analysis.classify(analysis.load_runs(folder))
    path = tmp_path / "report.html"
    path.write_bytes(page(phases, analysis.load_curves(folder), title="m", folder="m", expected=2))
    shown = look(path)
    axis = "document.getElementById('curves').layout.yaxis.title.text"
    assert shown.evaluate(axis) == unit
    assert shown.inner_text("[for=min_loss]").endswith(f"({unit})")
    assert shown.inner_text("[value=log_eval_loss]") == f"log10 of the least test loss, {unit}"


@in_browser
def test_a_hundred_thousand_runs(look, tmp_path):
    runs, curves = tables(HUGE, seeds=50, logged=11)
    assert len(runs) == 100_000
    path = write(tmp_path / "report.html", runs, curves)
    assert path.stat().st_size < SIZE
    shown = look(path)
    kept = CURVE_NUMBERS // 5 // 11
    assert shown.inner_text("#summary") == f"100,000 runs · curves of {kept:,} of them"
    pooled = "A cell pools all values of learning_rate."
    assert shown.inner_text("#shown") == f"{pooled} A mark is a cell, in the colour of its most common phase."
    assert len(marks(shown, "x")) == 1000
    # White squares on white would not be seen.
    assert set(marks(shown, "marker.line.width")) == {1}
    # Every cell has some of the curves.
    cells = analysis.cells(
        analysis.classify(
            runs.iloc[np.flatnonzero(shown.evaluate("Array.from(grokPage.arrays.curve_length)"))]
        )
    )
    assert len(cells) == 2000
    assert cells["runs"].min() >= kept // 2000
    enter(shown, min_loss=1e-3)
    expected = analysis.classify(runs, min_loss=1e-3)
    assert counts(shown) == counted(expected)
    # A filter leaves the cells of one learning rate.
    shown.select_option("[name='only learning_rate']", "0.001")
    assert counts(shown) == counted(expected[expected["learning_rate"] == 1e-3])
    shown.wait_for_function(
        "document.getElementById('rows_said').textContent.startsWith('· 50,000 of 100,000, ')"
    )


@in_browser
@pytest.mark.parametrize(
    "axes",
    [
        {},
        {"hidden_size": [4, 8, 16]},
        {"b1": [0.0, 0.9]},
        {"hidden_size": [4, 8], "train_size": [10, 20]},
        {"hidden_size": list(range(1, 100)), "weight_decay": [0.1, 1.0]},
        {"hidden_size": list(range(1, 1101))},
        {"weight_decay": [10.0**-k for k in range(40)]},
        {
            name: [1, 2]
            for name in ("hidden_size", "train_size", "weight_decay", "b1", "b2", "learning_rate", "eps")
        },
    ],
    ids=["none", "one", "another", "two", "many values", "too many", "many decays", "seven"],
)
def test_any_axes_give_a_sensible_page(look, tmp_path, axes):
    runs, curves = tables(axes, seeds=3)
    shown = look(write(tmp_path / "report.html", runs, curves))
    state = shown.evaluate("grokPage.state")
    used = [state[key] for key in ("x", "y", "panel") if state[key]]
    room = [name for name, values in axes.items() if len(values) <= 1024]  # the others can be filtered
    assert len(used) == min(3, len(room))
    assert len(set(used)) == len(used)
    assert shown.evaluate("document.scrollingElement.scrollWidth") <= 1280
    assert sum(counts(shown).values()) == len(runs)
    if len(axes) > len(used):
        assert "A cell pools all values of" in shown.inner_text("#shown")
    for colour in shown.locator("#colour option").all():
        shown.select_option("#colour", colour.get_attribute("value"))
    shown.select_option("#colour", "phase")
    for key in ("x", "y", "panel"):
        for name in room if key != "panel" else [name for name in room if len(axes[name]) <= 30]:
            shown.select_option(f"#{key}", name)
            assert shown.evaluate(f"grokPage.state.{key}") == name
    shown.select_option("#x", "")
    shown.check("#safe")


@in_browser
def test_colours_are_those_of_the_numbers(look, tmp_path):
    runs, curves = tables({"hidden_size": [4, 8], "weight_decay": [0.1, 1.0]}, seeds=4)
    shown = look(write(tmp_path / "report.html", runs, curves))
    shown.select_option("#colour", label="share of grok")
    share = shown.evaluate(
        """grokPage.cells.cells.map((runs) =>
            [runs.map((i) => runId(grokPage.arrays, i)), measure(grokPage)(runs)])"""
    )
    phases = analysis.classify(runs).set_index("run_id")["phase"]
    assert len(share) == 4
    for ids, value in share:
        assert value == pytest.approx((phases[ids] == "grok").mean())
    shown.select_option("#colour", "grok_delay")
    delays = shown.evaluate(
        "grokPage.cells.cells.flat().sort((a, b) => a - b).map((i) => measure(grokPage)([i]))"
    )
    expected = analysis.steps(runs, curves)["grok_delay"]
    assert [None if pd.isna(v) else int(v) for v in expected] == delays
    shown.select_option("#colour", "phase")
    # White on white, or one colour for two phases, would tell nothing.
    for safe in (False, True):
        shown.set_checked("#safe", safe)
        looks = shown.evaluate(
            "Array.from(document.querySelectorAll('.mark'), (one) => [one.textContent, one.style.cssText])"
        )
        assert len({glyph for glyph, _ in looks}) == len({style for _, style in looks}) == 4
        # The shapes of the phase diagram, with colours of either kind.
        shapes = {MARKS[FOUR[phase].mark].plotly for phase in analysis.classify(runs)["phase"].unique()}
        assert set(marks(shown, "marker.symbol")) == shapes


@in_browser
def test_phases_of_a_definition_that_the_page_does_not_know(look, tmp_path):
    runs, curves = tables({"hidden_size": [2, 4], "weight_decay": [0.1, 1.0]}, seeds=3)
    phases = analysis.classify(runs, definition=by_seed, curves=curves, apart=3)
    path = write(tmp_path / "page.html", runs, curves, phases)
    for fragment in ("", "#definition=liu&safe=on&colour=share+of+grok"):
        shown = look(path, fragment=fragment)
        assert counts(shown) == {"confused": 0, "calm": 4, "wild": 4, "odd": 4, "rest": 0}
        assert shown.inner_text("#definition").strip() == "by_seed, apart 3, most 9"
        for control in ("#thresholds", "#article"):
            assert not shown.is_visible(control)
        assert shown.inner_text("#computed").startswith("each run's phase as analysis computed it")
    shown.uncheck("#safe")
    named = [FIVE[name] for name in phases["phase"]]
    assert sorted(marks(shown, "marker.color")) == sorted(one.colour for one in named)
    assert sorted(marks(shown, "marker.symbol")) == sorted(MARKS[one.mark].plotly for one in named)
    assert sorted(marks(shown, "marker.line.color")) == sorted(one.edge for one in named)
    # A cell that stands for several runs: of equals the first.
    assert list(FIVE)[shown.evaluate("mostCommon(grokPage, [1, 0, 2])")] == "calm"
    shown.select_option("#colour", label="share of wild")
    assert set(marks(shown, "marker.symbol")) == {"square"}
    shown.select_option("#colour", label="phase")
    shown.check("#safe")
    assert len(set(marks(shown, "marker.color"))) == 3
    assert not set(marks(shown, "marker.color")) & {one.colour for one in FIVE.values()}
    assert 'table = analysis.load_phases("results/made", runs, "by_seed")' in shown.evaluate(
        "pandasCode(grokPage)"
    )


@in_browser
def test_a_grid_too_fine_for_dots_is_pixels(look, tmp_path):
    """A pixel for each cell, in the colour of its phase, darker or lighter by its shade."""
    rates = [float(f"{10**k:.6g}") for k in np.linspace(-4, 4, 81)]
    runs, curves = tables(
        {"learning_rate": rates, "momentum": [k / 100 for k in range(70)]}, seeds=1, logged=2
    )
    runs["final_area"] = np.arange(len(runs), dtype=float)
    curves = curves.assign(train_accuracy=np.nan, eval_accuracy=np.nan, gradient=np.float32(0.5))
    random = np.random.default_rng(3)
    looks = {"low": Look("#3d85c6", "circle", shade="final_area"), "high": Look("#cc4125", "cross")}
    phases = runs.assign(phase=pd.Categorical.from_codes(random.integers(0, 2, len(runs)), list(looks)))
    phases.attrs = {"definition": "own", "thresholds": {}, "phases": to_plain(looks)}
    shown = look(write(tmp_path / "page.html", runs, curves, phases))
    kept = phases.sort_values(["momentum", "learning_rate"]).reset_index(drop=True)
    across, up = ("learning_rate", "momentum") if shown.evaluate("grokPage.cells.nx") == 81 else (None, None)
    assert (across, up) == ("learning_rate", "momentum")
    z = np.array(shown.evaluate("document.getElementById('diagram').data[0].z"))
    assert z.shape == (70, 81)
    assert np.floor(z).ravel().tolist() == kept["phase"].cat.codes.tolist()
    low = (kept["phase"] == "low").to_numpy()
    part = (z.ravel() - np.floor(z.ravel())) / 0.998
    np.testing.assert_allclose(part[~low], 0.5, atol=0.01)
    np.testing.assert_allclose(part[low], kept.loc[low, "final_area"].rank(pct=True), atol=0.01)
    texts = shown.evaluate("document.getElementById('diagram').layout.xaxis.ticktext")
    places = shown.evaluate("document.getElementById('diagram').layout.xaxis.tickvals")
    assert len(texts) >= 4
    assert [10 * (np.log10(float(text)) + 4) for text in texts] == pytest.approx(places)
    assert "A pixel is a cell" in shown.inner_text("#shown")
    assert "low: the darker the higher final_area ranks" in shown.inner_text("#shown")
    # The middle of a pixel is that cell, and what is logged of its run can be drawn.
    shown.mouse.click(*cell_place(shown, 30, 20, 0))
    assert f"learning_rate {rates[30]:g}" in shown.inner_text("#cell")
    assert "momentum 0.2" in shown.inner_text("#cell")
    assert shown.locator("#metric option").all_inner_texts() == ["loss", "weight norm", "gradient"]
    shown.select_option("#metric", "gradient")
    lines = shown.evaluate("document.getElementById('curves').data.map((line) => [line.name, line.y])")
    assert lines == [["gradient", [0.5, 0.5]]]
    assert "final_area" in shown.inner_text("#table thead")
    shown.select_option("#colour", "log_eval_loss")
    z = np.array(shown.evaluate("document.getElementById('diagram').data[0].z"), float)
    np.testing.assert_allclose(z.ravel(), np.log10(kept["min_eval_loss"]), rtol=2.0**-MANTISSA)


@in_browser
def test_text_is_text(look, tmp_path):
    evil = "<script>document.title='owned'</script><img src=x onerror=document.title='owned'>@@DATA@@"
    runs, curves = tables({"hidden_size": [4, 8]}, seeds=3)
    runs["model"] = [evil, "</script><b>b"] * 3
    runs = runs[[*runs.columns[:5], "model", *runs.columns[5:-1]]]
    path = write(tmp_path / "report.html", runs, curves, title=evil, folder=evil)
    shown = look(path)
    assert shown.inner_text("h1") == evil
    assert shown.title() == evil
    for key in ("x", "y", "panel"):
        shown.select_option(f"#{key}", "model")
    shown.click("#copy")
    assert json.dumps(evil) in shown.inner_text("#code")
    assert shown.title() == evil
    assert shown.evaluate("document.querySelectorAll('img, b').length") == 0


@in_browser
@pytest.mark.parametrize(("scheme", "back"), [("light", "rgb(255, 255, 255)"), ("dark", "rgb(22, 24, 27)")])
def test_light_and_dark(look, parity, scheme, back):
    shown = look(parity, scheme=scheme)
    assert shown.evaluate("getComputedStyle(document.body).backgroundColor") == back


@in_browser
def test_a_sweep_that_is_running(look, tmp_path):
    runs, curves = tables({"hidden_size": [4, 8]}, seeds=3)
    path = write(tmp_path / "report.html", runs, curves, expected=60, live="2026-01-02 03:04:05+00:00")
    said = look(path).inner_text("#summary")
    assert said.startswith(
        "6 runs · 54 of 60 are missing or crashed · the sweep is running; this page is of 2026-01-02 03:04:05"
    )
