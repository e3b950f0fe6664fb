"""The page of a sweep, in a real browser: what it shows is what the tables say."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import in_browser
from test_phases import FIVE, by_seed

import analysis
from analysis.page import CURVE_NUMBERS, MANTISSA, _short, page
from analysis.phases import PHASES
from analysis.style import MARKS
from grok_sweep.core.definitions import FOUR
from grok_sweep.core.look import Look, to_plain

ROOT = Path(__file__).parent.parent
PARITY, MODULAR = ROOT / "sweeps" / "parity_1125", ROOT / "sweeps" / "modular_24"
SIZE = 10_000_000  # bytes of a page at most
HUGE = {
    "hidden_size": [2**k for k in range(10)],
    "train_size": [100 * k for k in range(1, 11)],
    "weight_decay": [10.0**-k for k in range(10)],
    "learning_rate": [1e-4, 1e-3],
}


def tables(axes, seeds=2, logged=6, rng_seed=0):
    """Runs of every combination of `axes`, and their curves: numbers of all sizes, some diverged."""
    rng = np.random.default_rng(rng_seed)
    grid = pd.MultiIndex.from_product([*axes.values(), range(seeds)], names=[*axes, "seed"])
    settings = grid.to_frame(index=False)
    count = len(settings)
    losses = [(10 ** rng.uniform(-9, 1, count)).astype(np.float32).astype(float) for _ in range(2)]
    diverged = pd.array(np.where(rng.random(count) < 0.05, 2, 0), dtype="Int64")
    runs = pd.DataFrame(
        {
            "run_id": [f"{i:016x}" for i in range(count)],
            "sweep": "made",
            "task": "parity",
            "seed": settings["seed"],
            **{name: settings[name] for name in axes},
            "min_train_loss": losses[0],
            "min_eval_loss": losses[1],
            "max_loss_ratio": 10 ** rng.uniform(0, 9, count),
            "final_eval_accuracy": rng.random(count),
            "diverged_step": diverged.copy(),
        }
    )
    runs["diverged_step"] = runs["diverged_step"].mask(runs["diverged_step"] == 0)
    runs.loc[runs.index[::17], "min_eval_loss"] = np.nan
    curves = pd.DataFrame(
        {
            "run_id": np.repeat(runs["run_id"].to_numpy(), logged),
            "step": np.tile(np.arange(logged, dtype=np.int32) * 400, count),
            "train_loss": (10 ** rng.uniform(-9, 1, count * logged)).astype(np.float32),
            "eval_loss": (10 ** rng.uniform(-9, 1, count * logged)).astype(np.float32),
            "train_accuracy": rng.random(count * logged).astype(np.float32),
            "eval_accuracy": rng.random(count * logged).astype(np.float32),
            "weight_norm": rng.uniform(1, 50, count * logged).astype(np.float32),
        }
    )
    return runs, curves


def write(path, runs, curves, phases=None, **options):
    given = {"title": "made", "folder": "results/made", "expected": len(runs)} | options
    path.write_bytes(page(analysis.classify(runs) if phases is None else phases, curves, **given))
    return path


@pytest.fixture(scope="module")
def parity(tmp_path_factory):
    """The page of the recorded sweep of 1125 runs."""
    phases = analysis.classify(analysis.load_runs(PARITY))
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_bytes(
        page(phases, analysis.load_curves(PARITY), title="parity_1125", folder=str(PARITY), expected=1125)
    )
    return path


def counts(shown):
    return {
        key.query_selector(".name").inner_text(): int(
            key.query_selector(".count").inner_text().replace(",", "")
        )
        for key in shown.query_selector_all("#legend .key")
    }


def counted(phases):
    return {name: int((phases["phase"] == name).sum()) for name in PHASES}


def about_of(path):
    """What a page says of itself, whole."""
    text = Path(path).read_text(encoding="utf-8")
    assert text.endswith("</html>\n")
    return json.loads(re.search(r'id="about">(.*?)</script>', text)[1])


def marks(shown, what):
    """Something of every dot or square of the diagram."""
    return shown.evaluate(
        f"""document.getElementById("diagram").data
            .filter((one) => one.type === "scatter").flatMap((one) => one.{what})"""
    )


def run_ids(shown, script):
    return shown.evaluate(f"{script}.map((i) => runId(grokPage.arrays, i))")


def in_browser_phases(shown):
    return [PHASES[i] for i in shown.evaluate("Array.from(grokPage.phases)")]


def cell_place(shown, x, y, panel):
    """Where on the screen a cell is."""
    return shown.evaluate(
        """([x, y, panel]) => {
            const div = document.getElementById("diagram");
            div.scrollIntoView();
            const names = axesOf(grokPage, panel).map((name) => name.replace(/^./, "$&axis"));
            const [across, up] = names.map((name) => div._fullLayout[name]);
            const box = div.getBoundingClientRect();
            return [box.x + across._offset + across.l2p(x), box.y + up._offset + up.l2p(y)];
        }""",
        [x, y, panel],
    )


def enter(shown, **values):
    """Set controls of the page, as a hand would."""
    shown.evaluate("(values) => { enter(values); grokPage.draw(); }", values)


def kept(shown):
    """[x, y, panel] of the cell that is kept, if one is."""
    return shown.evaluate(
        """() => {
            const [{ nx, ny }, cell] = [grokPage.cells, grokPage.kept()];
            return cell < 0 ? null : [cell % nx, Math.floor(cell / nx) % ny, Math.floor(cell / nx / ny)];
        }"""
    )


def shown_runs(shown):
    """run_id -> metric -> (steps, values) of the curves that are drawn."""
    traces = shown.evaluate(
        """document.getElementById("curves").data.map((one) =>
            [runId(grokPage.arrays, one.meta.run), one.meta.metric, one.x, one.y])"""
    )
    found = {}
    for run_id, metric, steps, values in traces:
        found.setdefault(run_id, {})[metric] = (steps, values)
    return found


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
        exact = runs.sample(3, random_state=1)
        pairs = [(1e-5, 5e4), (1e-7, 1.0), (0.5, 1e12), (1e-3, 100.0)]
        pairs += [(loss, 10.0) for loss in [*exact["min_eval_loss"].dropna(), *exact["min_train_loss"]]]
        pairs += [(1.0, ratio) for ratio in exact["max_loss_ratio"]]
        for min_loss, max_ratio in pairs:
            enter(shown, definition="pair", min_loss=min_loss, max_ratio=max_ratio)
            expected = analysis.classify(runs, min_loss=min_loss, max_ratio=max_ratio)
            assert in_browser_phases(shown) == expected["phase"].tolist()
        for definition in ("liu", "liu_lasting"):
            shown.select_option("#definition", definition)
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
    for _ in range(60):
        shown.keyboard.press("ArrowRight")
    min_loss = float(shown.input_value("#min_loss"))
    assert min_loss == pytest.approx(1e-5 * 10**1.2, rel=0.01)
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
    for _ in range(60):
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
def test_weights_on_a_narrow_phone(look, tmp_path):
    runs = analysis.load_runs(MODULAR)
    path = tmp_path / "report.html"
    given = {"title": "m", "folder": "m", "expected": 2}
    phases = analysis.classify(runs)
    path.write_bytes(page(phases, analysis.load_curves(MODULAR), analysis.each_weights(MODULAR), **given))
    shown = look(path, width=390, height=844)
    assert shown.evaluate("document.scrollingElement.scrollWidth") <= 390
    columns = shown.evaluate("document.getElementById('waves').layout.annotations.length")
    assert 1 <= columns <= 2
    assert f"Of 4 frequencies the {columns} with most neurons are drawn" in shown.inner_text("#waves_hint")


@in_browser
def test_neurons_without_a_frequency_are_counted_and_not_drawn(look, tmp_path):
    """Weights of noise: there is nothing to draw waves of, and the page says so and works."""
    noise = np.random.default_rng(0)
    phases = analysis.classify(analysis.load_runs(MODULAR))
    weights = [
        (run_id, analysis.Weights(of.step_S, {k: noise.normal(size=a.shape) for k, a in of.arrays.items()}))
        for run_id, of in analysis.each_weights(MODULAR)
    ]
    path = tmp_path / "report.html"
    given = {"title": "m", "folder": "m", "expected": 2}
    path.write_bytes(page(phases, analysis.load_curves(MODULAR), weights, **given))
    shown = look(path)
    assert "24 neurons of no frequency" in shown.inner_text("#waves_hint")
    assert shown.evaluate("document.getElementById('waves').data.length") == 0
    assert shown.evaluate("document.getElementById('heat').data[0].z.length") == 67


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
def test_the_code_that_is_copied_gives_the_rows_that_are_shown(look, tmp_path):
    phases = analysis.classify(analysis.load_runs(PARITY))
    path = tmp_path / "report.html"
    path.write_bytes(page(phases, analysis.load_curves(PARITY), title="p", folder=str(PARITY), expected=1125))
    shown = look(path)
    shown.mouse.click(*cell_place(shown, 2, 1, 2))
    asked = [
        {"rows": "grok", "sort": "-grok_delay", "only hidden_size": "32"},  # of an axis that the diagram has
        {"sort": "phase"},
        {"kept": "", "panel": "", "only weight_decay": "0.1", "sort": "memorize_step"},
        {"rows": "memorize", "only weight_decay": "", "sort": "hidden_size"},
    ]
    for values in asked:
        enter(shown, **values)
        shown.click("#copy")
        code = shown.inner_text("#code")
        done = subprocess.run(
            [sys.executable, "-c", code + "\nprint('ids', ' '.join(shown['run_id']))\n"],
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
        )
        assert done.returncode == 0, done.stderr
        ids = done.stdout.splitlines()[-1].split()[1:]
        assert ids == run_ids(shown, "tableRows(grokPage)")
        said = f"· {len(ids):,} of 1,125"
        shown.wait_for_function(
            "(said) => document.getElementById('rows_said').textContent.startsWith(said)", arg=said
        )
        assert 0 < len(ids) <= 1125


@in_browser
def test_a_filter_keeps_runs_on_which_it_has_no_effect(look, tmp_path):
    """With both sides collapsed the runs hold one size of the embedding, and are those of any."""
    record = ROOT / "sweeps" / "modular_architectures"
    runs, curves = analysis.load_runs(record), analysis.load_curves(record)
    both = (runs["collapsed_input"] == 1) & (runs["collapsed_output"] == 1)
    runs["embed_size"] = runs["embed_size"].where(both, [256, 512] * 20)
    path = tmp_path / "report.html"
    path.write_bytes(page(analysis.classify(runs), curves, title="m", folder=str(record), expected=40))
    shown = look(path)
    enter(shown, x="collapsed_input", y="collapsed_output", panel="")
    for size in [128, 256, 512]:
        shown.select_option("[name='only embed_size']", str(size))
        expected = analysis.select(analysis.classify(runs), embed_size=size)
        assert len(expected) == (10 if size == 128 else 25)
        assert counts(shown) == counted(expected)
        assert set(run_ids(shown, "grokPage.cells.cells.flat()")) == set(expected["run_id"])
        assert run_ids(shown, "tableRows(grokPage)") == expected["run_id"].tolist()
        # The code for the rows finds the same in the same table.
        shown.click("#copy")
        line = next(line for line in shown.inner_text("#code").splitlines() if line.startswith("shown = "))
        there = {"analysis": analysis, "table": analysis.classify(runs)}
        exec(line, there)
        assert there["shown"]["run_id"].tolist() == expected["run_id"].tolist()
    # In the cells a run stands at its own value only.
    enter(shown, x="embed_size")
    assert shown.evaluate("grokPage.cells.shown") == 40


@in_browser
def test_fields_and_headings_of_the_table(look, parity):
    shown = look(parity)
    phases = analysis.classify(analysis.load_runs(PARITY))["phase"]
    some = int((phases == "generalize").sum())
    assert 100 < some < 200  # no more are drawn at once

    def rows(count):
        """Drawn soon after, not at once: a slider may be moving."""
        shown.wait_for_function("(n) => document.querySelectorAll('tbody tr').length === n", arg=count)
        return shown.query_selector_all("tbody tr")

    def sorted_as(order):
        shown.wait_for_selector(f"th[aria-sort={order}]:has(button:has-text('seed'))")
        return [int(row.query_selector_all("td")[4].inner_text()) for row in rows(some)]

    shown.select_option("#rows", "generalize")
    rows(some)
    assert shown.inner_text("#rows_said") == f"· {some} of 1,125"
    shown.click("th button:has-text('seed')")
    seeds = sorted_as("ascending")
    assert seeds == sorted(seeds)
    shown.click("th button:has-text('seed')")
    assert sorted_as("descending") == sorted(seeds, reverse=True)
    shown.select_option("#rows", "")
    rows(200)
    assert shown.inner_text("#rows_said") == "· 1,125 of 1,125, of which 200 are shown"


@in_browser
def test_weights_over_training(look, tmp_path):
    runs = analysis.load_runs(MODULAR)
    weights = dict(analysis.each_weights(MODULAR))
    path = tmp_path / "report.html"
    path.write_bytes(
        page(
            analysis.classify(runs),
            analysis.load_curves(MODULAR),
            weights.items(),
            title="modular_24",
            folder=str(MODULAR),
            expected=2,
        )
    )
    assert path.stat().st_size < SIZE
    shown = look(path)
    assert shown.is_visible("#heat")
    run_id = shown.inner_text("#run option:checked").split()[0]
    w_in = weights[run_id].arrays["w_in"]
    order = np.concatenate([*analysis.fourier.groups(w_in[-1], 67).values()])
    steps = shown.evaluate("grokPage.about.weights[0].steps")
    shown.focus("#snapshot")
    for key, place in [("End", -1), ("Home", 0), ("ArrowRight", 1)]:
        shown.keyboard.press(key)
        step = steps[place]
        assert shown.inner_text("#opened_step") == f"step {step:,}"
        drawn = np.array(shown.evaluate("document.getElementById('heat').data[0].z"))
        at = int(np.flatnonzero(weights[run_id].step_S == step)[0])
        np.testing.assert_allclose(drawn, w_in[at][:, order], atol=1e-4 * np.abs(w_in).max())
    titles = shown.evaluate("document.getElementById('waves').layout.annotations.map((one) => one.text)")
    groups = analysis.fourier.frequencies(w_in[-1], 67)
    assert titles == [f"frequency {f} · {len(members)} neurons" for f, members in groups.items()]
    shown.keyboard.press("End")
    frequency, members = next(iter(groups.items()))
    star = shown.evaluate("document.getElementById('waves').data.find((one) => one.mode === 'lines+markers')")
    cos_sin = analysis.fourier.basis(67)[[2 * frequency - 1, 2 * frequency]] @ w_in[-1][:, members]
    np.testing.assert_allclose(star["x"][:-1], cos_sin[0], atol=1e-3 * np.abs(cos_sin).max())
    np.testing.assert_allclose(star["y"][:-1], cos_sin[1], atol=1e-3 * np.abs(cos_sin).max())


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
def test_a_link_means_the_same_once_the_sweep_has_grown(look, tmp_path):
    large = {"hidden_size": [4, 8, 16], "b1": [0.0, 0.9], "b2": [0.1, 0.2], "eps": [1e-8, 1e-7]}
    runs, curves = tables(large)
    was_R = runs["hidden_size"] != 8
    shown = look(
        write(tmp_path / "small.html", runs[was_R], curves[curves["run_id"].isin(runs["run_id"][was_R])])
    )
    shown.mouse.click(*cell_place(shown, 1, 1, 0))
    name = shown.inner_text("#cell").partition(" —")[0]
    assert name.startswith("hidden_size 4 ·")
    shown.select_option("[name='only eps']", "1e-7")
    shown.wait_for_function("location.hash.includes('kept') && location.hash.includes('only+eps')")
    link = shown.evaluate("location.hash")
    again = look(write(tmp_path / "large.html", runs, curves), fragment=link)
    assert again.inner_text("#cell").startswith(name)
    assert again.input_value("[name='only eps']") == "1e-7"
    gone = look(write(tmp_path / "other.html", *tables({"hidden_size": [4]}, seeds=1)), fragment=link)
    assert kept(gone) is None


@in_browser
def test_the_address_keeps_what_is_shown(look, parity):
    shown = look(parity)
    shown.select_option("#panel", "hidden_size")
    assert shown.evaluate("grokPage.state.x") == "weight_decay"  # which it was before
    shown.fill("#min_loss", "0.001")
    shown.mouse.click(*cell_place(shown, 2, 1, 1))
    shown.wait_for_function("location.hash.includes('kept')")
    again = look(parity, fragment=shown.evaluate("location.hash"))
    assert again.evaluate("grokPage.state") == shown.evaluate("grokPage.state")
    assert again.inner_text("#cell") == shown.inner_text("#cell")
    # What does not fit this sweep is passed over, whatever it is.
    wrong = "colour=toString&__proto__=1&x=nonsense&min_loss=-1&only+seed=3&kept=99&sort=x&%&toString"
    assert sum(counts(look(parity, fragment=f"#{wrong}")).values()) == 1125
    assert look(parity, fragment=f"#{wrong}").evaluate("grokPage.state.x") == "hidden_size"


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
        "6 runs · 54 of 60 are missing or failed · the sweep is running; this page is of 2026-01-02 03:04:05"
    )
