"""Grids too fine for dots: a pixel for each cell."""

import math

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import analysis
from analysis import phase_diagram
from analysis.pixels import box_dimension, ticks
from grok_sweep.core.look import Look, to_plain

LOOKS = {
    "low": Look("#0000ff", "circle", shade="final_area"),
    "high": Look("#ff0000", "cross"),
    "odd": Look("#00ff00", "star"),
}


def grid(phase_YX, seeds=1, x=None, **columns):
    """A table of phases, one run per cell and seed, by the index of its phase; -1: no run."""
    phase_YX = np.asarray(phase_YX)
    y_R, x_R = (np.repeat(index.ravel(), seeds) for index in np.indices(phase_YX.shape))
    known = np.repeat(phase_YX.ravel(), seeds)
    x_values = np.logspace(-3, 6, phase_YX.shape[1]) if x is None else x
    table = pd.DataFrame(
        {
            "run_id": [f"{i:016x}" for i in range(len(known))],
            "sweep": "fine",
            "task": "noise",
            "seed": np.arange(len(known)) % seeds,
            "across": np.asarray(x_values)[x_R],
            "up": y_R,
            "steps": 10,
            "min_train_loss": 1.0,
            "final_area": np.arange(len(known), dtype=float),
            "phase": pd.Categorical.from_codes(np.maximum(known, 0), list(LOOKS)),
            **columns,
        }
    )[known >= 0]
    table.attrs = {"definition": "own", "thresholds": {}, "phases": to_plain(LOOKS)}
    return table.reset_index(drop=True)


def images(figure):
    return [plot.images[0].get_array() for plot in figure.axes if plot.images]


def drawn(table, **how):
    return phase_diagram(table, **{"x": "across", "y": "up", **how})


def test_a_pixel_has_the_colour_of_its_phase_and_a_missing_one_is_transparent():
    random = np.random.default_rng(0)
    phase_YX = random.integers(-1, 3, (70, 65))
    (image,) = images(drawn(grid(phase_YX, final_area=1.0)))
    colours = np.array([[0, 0, 255], [255, 0, 0], [0, 255, 0]])
    np.testing.assert_array_equal(image[..., 3], np.where(phase_YX < 0, 0, 255))
    here = phase_YX > 0  # the first is shaded
    np.testing.assert_array_equal(image[here][:, :3], colours[phase_YX][here])


def test_shades_are_by_rank_so_that_all_are_as_frequent():
    table = grid(np.zeros((80, 80), int))
    random = np.random.default_rng(0)
    table["final_area"] = random.permutation(np.exp(np.linspace(-300, 300, 6400)))
    (image,) = images(drawn(table))
    brightness = image[..., :3].astype(int).sum(axis=2)
    by_area = brightness.ravel()[np.argsort(table["final_area"])]
    assert (np.diff(by_area) <= 0).all()
    assert by_area[0] > 3 * 255 * 0.8
    assert by_area[-1] < 255 * 0.51
    assert by_area[3200] == pytest.approx(255, abs=2)


def test_a_cell_of_several_runs_has_its_most_common_phase_and_of_equals_the_first():
    table = grid(np.zeros((2, 100), int), seeds=3, final_area=1.0)
    phase = np.zeros((200, 3), int)
    phase[5] = [1, 2, 2]
    phase[6] = [2, 1, 0]
    table["phase"] = pd.Categorical.from_codes(phase.ravel(), list(LOOKS))
    (image,) = images(drawn(table))
    assert image[0, 5].tolist() == [0, 255, 0, 255]
    assert image[0, 6, 2] > image[0, 6, 1] == image[0, 6, 0]  # low, in whatever shade
    assert "in the colour of its most common phase, 3 runs per cell" in caption(drawn(table))


def caption(figure):
    return figure.get_supxlabel()


def test_other_axes_are_panels_and_names_are_there(tmp_path):
    tables = [grid(np.full((66, 66), k), momentum=k / 10) for k in range(3)]
    table = pd.concat(tables, ignore_index=True)
    table.attrs = tables[0].attrs
    # A hyperparameter stands before the results.
    names = [name for name in table if name != "momentum"]
    names.insert(names.index("steps"), "momentum")
    figure = drawn(table[names])
    assert len(images(figure)) == 3
    assert [plot.get_title() for plot in figure.axes] == ["momentum 0", "momentum 0.1", "momentum 0.2"]
    assert figure.legends[0].get_title().get_text() == "fine"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "low 4,356",
        "high 4,356",
        "odd 4,356",
    ]
    analysis.save(figure, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.width > 1500


def test_ticks_are_decades_where_the_axis_goes_over_some():
    figure = drawn(grid(np.zeros((65, 91), int)))
    (plot,) = [plot for plot in figure.axes if plot.images]
    ticks = dict(zip([t.get_text() for t in plot.get_xticklabels()], plot.get_xticks(), strict=True))
    for text, at in ticks.items():
        assert at == pytest.approx(10 * (math.log10(float(text)) + 3))
    assert len(ticks) >= 4
    assert {"0.01", "1", "100"} <= {*ticks}
    across = dict(zip([t.get_text() for t in plot.get_yticklabels()], plot.get_yticks(), strict=True))
    assert all(float(text) == at for text, at in across.items())
    assert len(across) >= 4


def test_hidden_size_goes_from_large_to_small():
    table = grid(np.tile(np.arange(100) // 50, (3, 1)), x=np.arange(1, 101), final_area=1.0)
    figure = phase_diagram(table.rename(columns={"across": "hidden_size"}), y="up")
    (image,) = images(figure)
    assert image[0, 0].tolist() == [255, 0, 0, 255]
    plot = figure.axes[0]
    ticks = {t.get_text(): at for t, at in zip(plot.get_xticklabels(), plot.get_xticks(), strict=True)}
    assert ticks["80"] == pytest.approx(20)


def test_the_most_values():
    few = grid(np.zeros((1, 8192), int))
    assert images(drawn(few))[0].shape[:2] == (1, 8192)
    with pytest.raises(ValueError, match="across has 8,193 values, at most 8,192 can be drawn"):
        drawn(grid(np.zeros((1, 8193), int)))


def pascal(size):
    """The odd ones of Pascal's triangle, a Sierpinski triangle: a set of dimension log 3 / log 2."""
    y, x = np.indices((size, size))
    return ((y & x) == 0).astype(int)


def test_the_dimension_of_what_is_known():
    y, x = np.indices((512, 512))
    line, _ = box_dimension(grid(x > 200), "across", "up")
    assert line == pytest.approx(1, abs=0.01)
    slope, table = box_dimension(grid(3 * y > x + 100), "across", "up")
    assert slope == pytest.approx(1, abs=0.1)
    assert table["size"].tolist() == [1, 2, 4, 8, 16, 32, 64, 128, 256]
    noise, _ = box_dimension(grid(np.random.default_rng(0).integers(0, 2, (512, 512))), "across", "up")
    assert noise == pytest.approx(2, abs=0.05)
    triangle, _ = box_dimension(grid(pascal(512)), "across", "up")
    assert triangle == pytest.approx(math.log2(3), abs=0.1)  # small boxes hold both sides of an edge
    assert f"box dimension of the boundary {triangle:.2f}" in caption(drawn(grid(pascal(512))))


def test_boxes_are_counted_as_one_by_one():
    """Of sizes that do not divide the grid; edges by a walk over all neighbours."""
    phase = np.random.default_rng(1).integers(0, 2, (37, 70)) * (np.indices((37, 70)).sum(axis=0) < 50)
    _, table = box_dimension(grid(phase), "across", "up")
    edges = [
        (y, x)
        for y in range(37)
        for x in range(70)
        if (x < 69 and phase[y, x] != phase[y, x + 1]) or (y < 36 and phase[y, x] != phase[y + 1, x])
    ]
    for size, boxes in table.to_numpy():
        assert boxes == len({(y // size, x // size) for y, x in edges})


def test_what_is_missing_is_on_no_boundary():
    """Holes in one phase, and a diagonal of runs."""
    holes = np.where(np.random.default_rng(0).random((70, 70)) < 0.3, -1, 1)
    assert math.isnan(box_dimension(grid(holes), "across", "up")[0])
    figure = drawn(grid(holes))
    assert "dimension" not in caption(figure)
    assert figure.legends[0].get_texts()[-1].get_text() == f"no run {(holes < 0).sum():,}"
    diagonal = np.where(np.eye(70, dtype=bool), 1, -1)
    assert math.isnan(box_dimension(grid(diagonal), "across", "up")[0])


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([0.0, *np.logspace(-4, 0, 80)], {"0", "0.001", "0.1"}),
        (list(1 + np.arange(70) * 1e-9), {"1", "1.00000003", "1.00000006"}),
        (list(range(70)), {"0", "30", "60"}),
        ([None, *range(70)], {"none", "69"}),
        ([*"abcdefghij"], {"a", "j"}),
        ([math.nan, *np.arange(70.0)], {"none", "69"}),
    ],
)
def test_ticks_of_any_values(values, texts):
    at, found = ticks(values)
    assert texts <= set(found)
    assert len(set(found)) == len(found) == len(at) <= 9
    assert all(0 <= place <= len(values) - 1 for place in at)


def test_no_boundary_has_no_dimension():
    assert math.isnan(box_dimension(grid(np.zeros((70, 70), int)), "across", "up")[0])
    assert math.isnan(box_dimension(grid([[0, 1], [0, 1]]), "across", "up")[0])
    assert "dimension" not in caption(drawn(grid(np.zeros((70, 70), int))))
    with pytest.raises(ValueError, match="filter the runs"):
        box_dimension(grid(np.zeros((3, 1), int)).assign(up=[0, 1, 2]).drop(columns="across"))
