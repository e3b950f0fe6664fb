"""The weights of a page: heat map, waves and stars over training, wide and narrow."""

import numpy as np
from conftest import in_browser
from pages import MODULAR, SIZE

import analysis
from analysis.page import page


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
