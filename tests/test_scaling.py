"""The law by which steps depend on hyperparameters: its numbers, intervals, refusals, in words and drawn."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PathCollection
from pages import PARITY, ROOT
from scipy import stats

import analysis
from analysis.cli import main
from analysis.failure_times import DISTRIBUTIONS, Runs, fitted, likelihood
from analysis.scaling import _runs, scaling, told
from analysis.scaling_picture import scaling_picture
from grok_sweep.store import Store

# Weeks of remission, of controls and with 6-mercaptopurine: E. J. Freireich et al., Blood 21 (1963), 699-716.
CONTROLS = [1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23]
CAME = [6, 6, 6, 7, 10, 13, 16, 22, 23]
NOT_YET = [6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35]
OF_SCIPY = {"log-normal": stats.lognorm, "log-logistic": stats.fisk, "Weibull": stats.weibull_min}
NARROW = 1e-4
AXES = ["weight_decay", "train_size"]


def runs_of(x_RK, step_R, wide, last=np.inf):
    """Each step is known to within `wide`, or to be after `last`."""
    later = step_R > last
    with np.errstate(divide="ignore"):
        after = np.log(np.where(later, last, step_R - wide))
    return Runs(np.atleast_2d(x_RK), after, np.where(later, np.inf, np.log(step_R)))


def test_of_known_data_the_law_is_the_known_one():
    """By Weibull 3.516 - 1.267 of controls, scale 0.732: W. N. Venables and B. D. Ripley, Modern Applied
    Statistics with S, 4th ed. 2002, chapter 13.
    """
    step_R = np.array([*CAME, *CONTROLS, *NOT_YET], float)
    came = np.arange(len(step_R)) < len(CAME) + len(CONTROLS)
    control = np.isin(np.arange(len(step_R)), len(CAME) + np.arange(len(CONTROLS)))
    x_RK = np.column_stack([np.ones(len(step_R)), control])
    after = np.log(np.where(came, step_R - NARROW, step_R))
    runs = Runs(x_RK, after, np.where(came, np.log(step_R), np.inf))
    (constant, controls, log_scale), _ = fitted(runs, DISTRIBUTIONS["Weibull"], np.ones(len(step_R)))
    assert [constant, controls, np.exp(log_scale)] == pytest.approx([3.516, -1.267, 0.732], abs=6e-4)


@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")  # of scipy's search
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_without_an_axis_it_is_that_of_scipy(name):
    random, of = np.random.default_rng(0), OF_SCIPY[name]
    step_R = np.ceil(of.rvs(0.8, scale=3000, size=200, random_state=random) / 100) * 100
    runs = runs_of(np.ones((200, 1)), step_R, 100, last=5000)
    (constant, log_scale), loglik = fitted(runs, DISTRIBUTIONS[name], np.ones(200))
    came = step_R <= 5000
    data = stats.CensoredData(
        interval=np.column_stack([step_R[came] - 100, step_R[came]]), right=np.full((~came).sum(), 5000)
    )
    shape, _, scale = of.fit(data, floc=0)
    found = np.exp(log_scale) if name == "log-normal" else np.exp(-log_scale)
    assert [found, np.exp(constant)] == pytest.approx([shape, scale], rel=2e-3)
    by_scipy = of(shape, scale=scale)
    each = np.where(came, by_scipy.cdf(step_R) - by_scipy.cdf(step_R - 100), by_scipy.sf(5000))
    assert loglik == pytest.approx(np.log(each).sum(), abs=1e-3)


# constant, train_size, weight_decay, hidden_size, log of the scale; log-likelihood: fit_interval_censoring of
# lifelines 0.30.3 (C. Davidson-Pilon, Journal of Open Source Software 4, 2019, 1317), of the record's runs.
OF_LIFELINES = {
    "log-normal": ([32.514333, -3.497347, -0.148727, 0.142669, 0.153568], -4203.964582),
    "log-logistic": ([33.429813, -3.670786, -0.163376, 0.187140, -0.402356], -4199.400977),
    "Weibull": ([33.896172, -3.502519, -0.175437, -0.052117, 0.174753], -4362.110835),
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_with_axes_it_is_that_of_lifelines(name):
    by = ["train_size", "weight_decay", "hidden_size"]
    phases = analysis.classify(analysis.load_runs(PARITY))
    found = analysis.steps(phases, analysis.load_curves(PARITY))
    alive = phases[phases["diverged_step"].isna()].merge(found, on="run_id")
    runs = _runs(alive, "generalize_step", by)
    terms_K, loglik = fitted(runs, DISTRIBUTIONS[name], np.ones(len(alive)))
    theirs_K, their_loglik = OF_LIFELINES[name]
    assert terms_K == pytest.approx(theirs_K, abs=2e-4)
    assert loglik == pytest.approx(their_loglik, abs=1e-3)
    assert loglik > their_loglik - 1e-6  # which is the largest


def test_where_all_came_it_is_least_squares():
    random = np.random.default_rng(1)
    x_RK = np.column_stack([np.ones(300), random.normal(7, 0.3, 300), random.normal(-2, 1, 300)])
    step_R = np.exp(x_RK @ [30, -3, -0.5] + 0.4 * random.normal(size=300))
    runs = runs_of(x_RK, step_R, NARROW * step_R)
    terms_K, _ = fitted(runs, DISTRIBUTIONS["log-normal"], np.ones(300))
    right_K, *_ = np.linalg.lstsq(x_RK, np.log(step_R), rcond=None)
    left_R = np.log(step_R) - x_RK @ right_K
    assert terms_K == pytest.approx([*right_K, np.log(left_R.std())], abs=2e-3)


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_slopes_are_those_of_thelikelihood(name):
    random = np.random.default_rng(2)
    x_RK = np.column_stack([np.ones(50), random.normal(size=50)])
    runs = runs_of(x_RK, np.ceil(np.exp(8 + random.normal(size=50)) / 50) * 50, 50, last=6000)
    first = Runs(*(np.r_[a, a[:1]] for a in runs))  # and one that had come there at the first logged step
    first.after_R[-1], first.until_R[-1] = -np.inf, np.log(50)
    terms_K = np.array([7.5, 0.3, 0.2])
    _, slope_RK = likelihood(first, DISTRIBUTIONS[name], terms_K)
    for k, step_K in enumerate(1e-6 * np.eye(3)):
        up, down = (likelihood(first, DISTRIBUTIONS[name], terms_K + s * step_K)[0] for s in (1, -1))
        np.testing.assert_allclose(slope_RK[:, k], (up - down) / 2e-6, rtol=1e-5, atol=1e-7)


def made(random, exponents, scale=0.5, each=3, last=20_000, every=100, off=0.0):
    """Tables of runs of a law: two axes, 3 and 5 values, `each` of a cell; cells are `off` the law."""
    grid = pd.MultiIndex.from_product([[0.1, 0.3, 1.0], [500, 800, 1000, 1500, 2000], range(each)])
    phases = grid.to_frame(index=False, name=["weight_decay", "train_size", "seed"])
    middle = 8 + np.log(phases[["weight_decay", "train_size"]] / [0.3, 1000]) @ exponents
    middle += np.repeat(off * random.normal(size=15), each) if off else 0
    step = np.ceil(np.exp(middle + scale * random.normal(size=len(phases))) / every) * every
    ids = [f"{i:016x}" for i in range(len(phases))]
    diverged = pd.array([pd.NA] * len(phases), "Int64")
    names = ["run_id", "task", "seed", *AXES, "b1", "min_train_loss", "log_every", "diverged_step"]
    phases = phases.assign(
        run_id=ids, task="t", b1=0.9, min_train_loss=0.1, log_every=every, diverged_step=diverged
    )
    phases = phases[names]
    came = pd.array(step.astype(int), "Int64")
    found = pd.DataFrame({"run_id": phases["run_id"], "last_step": pd.array([last] * len(phases), "Int64")})
    found["generalize_step"] = pd.Series(came).mask(step > last)
    found["memorize_step"] = pd.array([100] * len(phases), "Int64")
    return phases, found.assign(best_eval_accuracy=1.0, end_eval_accuracy=1.0)


@pytest.mark.parametrize("off", [0.0, 0.5])
def test_intervals_hold_the_truth_as_often_as_they_say(monkeypatch, off):
    """Of 2 exponents in 30 sweeps, whether or not each cell is off the law by a factor of its own."""
    monkeypatch.setattr("analysis.resampling.RESAMPLES", 200)
    random, held, exponents = np.random.default_rng(3), 0, [-0.5, -2.0]
    for _ in range(30):
        law, _ = scaling(*made(random, exponents, last=15_000, each=4, off=off), "generalize_step", AXES)
        rows = law.set_index("term").loc[AXES]
        held += ((rows["low"] <= exponents) & (exponents <= rows["high"])).sum()
    assert 0.88 <= held / 60 <= 1


def test_a_law_is_found_and_holds_for_other_cells():
    phases, found = made(np.random.default_rng(4), [-0.5, -2.0], scale=0.1, each=9)
    law, cells = scaling(phases, found, "generalize_step", AXES)
    assert law["term"].tolist() == ["constant", *AXES, "scale"]
    assert law["value"].iloc[1:].tolist() == pytest.approx([-0.5, -2.0, 0.1], abs=0.05)
    assert law.attrs["distribution"] == "log-normal"
    assert law.attrs["factor"] < 1.15
    assert law.attrs["without"] > 2
    assert len(cells) == 15
    there = np.isfinite(cells["median"])
    np.testing.assert_allclose(cells["law"][there], cells["median"][there], rtol=0.2)
    first, second, third, *_ = told(law, cells)
    assert first.startswith("generalize_step ~ weight_decay^-0.")
    assert "log-normal: about half of the runs are within a factor of 1.07" in first
    assert "130 of 135 runs that generalised" in second
    assert "without any axis" in third


def test_runs_that_diverged_before_they_came_there_are_left_out():
    phases, found = made(np.random.default_rng(5), [-0.5, -2.0])
    phases.loc[:6, "diverged_step"] = 300
    found.loc[:4, ["generalize_step", "last_step"]] = [pd.NA, 200]
    found.loc[5:6, "generalize_step"] = 100  # and these had
    law, cells = scaling(phases, found, "generalize_step", AXES)
    alone, _ = scaling(phases[5:], found[5:], "generalize_step", AXES)
    assert law["value"].tolist() == pytest.approx(alone["value"].tolist(), abs=1e-3)
    assert (law.attrs["diverged"], law.attrs["runs"]) == (5, 40)
    assert told(law, cells)[-1] == "5 runs that diverged before they came there are left out"


def test_of_a_cell_that_the_others_say_nothing_of_nothing_is_said():
    """Of two values of an axis either alone has no exponent."""
    phases, found = made(np.random.default_rng(7), [-2.0, 0.0], each=9)
    two = phases["weight_decay"] != 0.3
    law, cells = scaling(phases[two], found[two], "generalize_step", ["weight_decay"])
    assert law["value"][1] == pytest.approx(-2, abs=0.2)
    assert cells["held_out"].isna().all()
    assert law.loc[1, ["low", "high"]].tolist() == [-np.inf, np.inf]  # of two cells
    assert "2 cells no law of the others can tell" in told(law, cells)
    assert not any("was not made from" in line for line in told(law, cells))
    assert scaling_picture(law, cells).axes


def test_a_resample_that_tells_no_exponent_makes_the_interval_wider():
    phases, found = made(np.random.default_rng(8), [-0.5, -2.0], each=9)
    few = (phases["weight_decay"] == 1.0) & (phases.index % 45 < 44)  # of 1.0 a run is left
    found = found.assign(generalize_step=found["generalize_step"].mask(phases["weight_decay"] == 0.1))
    phases, found = phases[~few], found[~few]
    law, _ = scaling(phases, found, "generalize_step", ["weight_decay"])
    assert law.loc[1, ["low", "high"]].tolist() == [-np.inf, np.inf]


def test_a_run_far_from_the_law_is_as_unlikely_as_it_is():
    runs = Runs(np.ones((1, 1)), np.log([100.0]), np.log([200.0]))
    for middle in (8, 10):
        found, _ = likelihood(runs, DISTRIBUTIONS["log-normal"], np.array([middle, np.log(0.3)]))
        a, b = ((np.log(step) - middle) / 0.3 for step in (100, 200))
        right = stats.norm.logcdf(b) + np.log1p(-np.exp(stats.norm.logcdf(a) - stats.norm.logcdf(b)))
        assert found[0] == pytest.approx(right, rel=1e-6)


def test_what_the_grid_cannot_tell_is_refused_with_why():
    phases, found = made(np.random.default_rng(6), [-0.5, -2.0])

    def refused(match, of=phases, steps=found, event="generalize_step", by=AXES):
        with pytest.raises(ValueError, match=f"^scaling: {match}"):
            scaling(of, steps, event, by)

    refused("'grok_step' is none of memorize_step, generalize_step", event="grok_step")
    refused("give one axis or more, each once", by=[])
    refused("give one axis or more, each once", by=[*AXES, *AXES])
    known = "is no axis of two numbers or more; there are weight_decay, train_size$"
    for name in ("run_id", "seed", "log_every", "nosuch"):
        refused(f"{name!r} {known}", by=[name])
    of_nine, steps = made(np.random.default_rng(6), [-0.5, -2.0], each=9)
    refused(
        "b1 is not above 0 in all runs", of_nine.assign(b1=of_nine["weight_decay"] - 0.3), steps, by=["b1"]
    )
    together = of_nine.assign(b1=of_nine["weight_decay"] ** 2 * 5)
    refused(
        "among the runs that generalised, .* change together: .* told apart",
        together,
        steps,
        by=[*AXES, "b1"],
    )
    at_one = found.assign(generalize_step=found["generalize_step"].mask(phases["weight_decay"] < 1))
    refused("15 runs generalised; a law of weight_decay, train_size needs 40 of them", steps=at_one)
    at_once = steps.assign(generalize_step=pd.array([100] * len(steps), "Int64"))
    refused(
        "all runs that generalised did so by 1 logged step: no law of weight_decay, train_size",
        of_nine,
        at_once,
    )
    steps["generalize_step"] = steps["generalize_step"].mask(of_nine["weight_decay"] < 1)
    refused("all runs that generalised have one weight_decay: no exponent can be told", of_nine, steps)


@pytest.fixture(scope="module")
def record():
    phases = analysis.classify(analysis.load_runs(PARITY))
    found = analysis.steps(phases, analysis.load_curves(PARITY))
    return scaling(phases, found, "generalize_step", ["train_size", "weight_decay"])


def test_the_readme_says_what_the_law_of_its_record_is():
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    phases = analysis.classify(analysis.load_runs(PARITY))
    found = analysis.steps(phases, analysis.load_curves(PARITY))
    law, cells = scaling(phases, found, "generalize_step", ["train_size", "weight_decay", "hidden_size"])
    of = law.set_index("term").loc["train_size"]
    assert "the power of train_size is {value:.1f} [{low:.1f}, {high:.1f}]".format_map(of) in readme
    off, without = law.attrs["factor"], law.attrs["without"]
    assert f"it is off by a factor of {off:.1f} ({without:.1f} without any axis)" in readme
    late = cells[np.isinf(cells["median"])]
    expected = (late["held_out"] > late["last_step"]).sum()
    assert f"it expects only {expected} of the {len(late)} that have none by the last step" in readme


def test_cells_are_drawn_over_what_the_law_of_the_others_says(record):
    figure = scaling_picture(*record, "p")
    (plot,) = figure.axes
    _, cells = record
    marks = [drawn for drawn in plot.collections if isinstance(drawn, PathCollection)]
    hollow = {True: [], False: []}
    for value, drawn in zip(np.repeat(sorted(cells["train_size"].unique()), 2), marks, strict=True):
        of_value = cells[cells["train_size"] == value].set_index("held_out")["median"]
        for at, median in drawn.get_offsets():
            assert median == min(of_value[at], 1.6 * 20_000)
            hollow[bool((drawn.get_facecolors() == 1).all())].append(of_value[at])
    assert sum(map(len, hollow.values())) == len(cells)
    shapes = [drawn.get_paths()[0].vertices.tolist() for drawn in marks[::2]]
    assert all(one not in shapes[:i] for i, one in enumerate(shapes))  # a mark for each value
    assert np.isinf(hollow[True]).all()
    assert np.isfinite(hollow[False]).all()


def test_the_command_writes_tables_and_a_picture_and_keeps_them_up_to_date(tmp_path, capsys):
    folder = tmp_path / "p"
    Store(PARITY).copy_record(Store(folder))
    assert main([str(folder), "--scaling", "memorize_step", "hidden_size"]) == 0
    said = capsys.readouterr().out
    assert "memorize_step ~ hidden_size^-0.5" in said
    assert "by 1,097 of 1,125 runs that memorised, the others later" in said
    law = pd.read_parquet(folder / "scaling.parquet")
    assert law["term"].tolist() == ["constant", "hidden_size", "scale"]
    assert len(pd.read_parquet(folder / "scaling_cells.parquet")) == 5
    (folder / "scaling.svg").unlink()
    assert main([str(folder)]) == 0  # what an earlier call had
    assert "memorize_step ~ hidden_size" in capsys.readouterr().out
    assert "hollow: later than the" in (folder / "scaling.svg").read_text().replace("\n", " ")
    assert main([str(folder), "--scaling", "memorize_step", "n_bits"]) == 2
    assert (
        "scaling: 'n_bits' is no axis of two numbers or more; there are train_size" in capsys.readouterr().err
    )
    law.attrs.clear()
    law.to_parquet(folder / "scaling.parquet")
    assert main([str(folder)]) == 0
    assert "stays: it no longer says of which event and axes its law is" in capsys.readouterr().out
