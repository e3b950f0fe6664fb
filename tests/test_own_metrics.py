"""Metrics of the user's own: their numbers by hand, the rows they see, those that go on from step to step."""

import numpy as np
import pandas as pd
import pytest
from own import CURVES, METRICS, OWN, SHORT, of_ratio, read, run
from test_own_numbers import pairs_by_hand

import analysis


def test_metrics_are_columns_of_the_curves(one_run):
    """Plain gradient descent, recorded at each step: the gradient is what the weights moved by."""
    one_run(OWN + METRICS)
    steps = ["train.steps=6", "train.log_every=1", "train.snapshot_every=1"]
    plain = ["optimizer.momentum=0", "optimizer.warmup=1", "optimizer.learning_rate=0.25"]
    assert run(*steps, *plain, "model.temperature=0.5", "grid.share=[0.25,0.5]") == 0
    curves = read("curves")
    assert curves.columns.tolist() == [*CURVES, "bias", "gradient_norm", "nowhere", "rows", "surest"]
    assert {curves[name].dtype.name for name in [*CURVES[2:], "bias", "gradient_norm"]} == {"float32"}
    for _, one in read("runs").iterrows():
        curve = curves[curves["run_id"] == one["run_id"]]
        assert curve["step"].tolist() == [*range(7)]
        w = analysis.load_weights("out", one["run_id"]).arrays
        np.testing.assert_allclose(curve["bias"], w["Dense_0/bias"].sum(axis=1), rtol=1e-5, atol=1e-7)
        moved = np.sqrt(
            sum((np.diff(a.astype(float), axis=0) ** 2).reshape(6, -1).sum(axis=1) for a in w.values())
        )
        np.testing.assert_allclose(curve["gradient_norm"][:-1], moved / 0.25 * 0.5, rtol=1e-3)
        assert (curve["rows"] == round(one["share"] * 36)).all()
        assert curve["nowhere"].isna().all()
        assert pd.isna(one["diverged_step"])  # a metric of one's own says nothing of that
        _, _, x_test, y_test = pairs_by_hand(5, one["share"], 0, 3)
        for i in range(7):
            a = w["Embed_0/embedding"][i][x_test].reshape(len(x_test), -1)
            t = np.tanh(a @ w["Dense_0/kernel"][i] + w["Dense_0/bias"][i])
            z = (t @ w["Dense_1/kernel"][i] + w["Dense_1/bias"][i]) / 0.5
            assert curve["surest"].iloc[i] == pytest.approx(z[y_test == 1, 1].max(), rel=1e-4)
    # The table without a run, which is there before the first shard, has the same columns.
    assert pd.read_parquet("out/curves/empty.parquet").columns.tolist() == curves.columns.tolist()
    assert analysis.load_curves("out").columns.tolist() == curves.columns.tolist()


# Own parts beside built-in ones


MEAN = "@metric\ndef mean(h, at): return at.y_train.mean() + 0 * at.output_train.sum()\n"


def test_a_metric_sees_the_rows_that_there_are(one_run):
    of_ratio(one_run, MEAN)
    assert run(*SHORT, "grid.n=[20,40]") == 0
    for _, one in read("runs").iterrows():
        x = np.random.default_rng(one["seed"]).uniform(1, 3, (one["n"] + 10, 1))[: one["n"]]
        curve = read("curves").query("run_id == @one.run_id")
        np.testing.assert_allclose(curve["mean"], x.mean(), rtol=1e-6)


RUNNING = """
@metric(start=0)
def area(h, at, so_far):
    return so_far + at.train_loss


@metric(start=jnp.inf)
def lowest(h, at, so_far):
    return jnp.minimum(so_far, at.test_loss)


@metric(start=0.0)
def late(h, at, so_far):
    return so_far + jnp.where(at.step > h.steps - 3, at.train_loss, 0.0)


@metric
def at_step(h, at):
    return at.step + 0 * at.train_loss
"""
RUNNING_FLOAT = RUNNING.replace("start=jnp.inf", "start=1e9")


@pytest.mark.parametrize("batch_size", ["null", "5"])
def test_a_metric_that_goes_on_sees_every_step(one_run, batch_size):
    """Logged at each step, and at every sixth only: what went on in between is the same."""
    one_run(OWN + RUNNING_FLOAT)
    steps = ["train.steps=12", "train.snapshot_every=null", f"train.batch_size={batch_size}"]
    assert run(*steps, "train.log_every=1", "out=each") == 0
    assert run(*steps, "train.log_every=6") == 0
    each, sparse = read("curves", "each"), read("curves")
    assert sparse["step"].tolist() == [0, 6, 12]
    columns = ["train_loss", "area", "lowest", "late", "at_step"]
    np.testing.assert_allclose(sparse[columns], each[columns].iloc[::6], rtol=1e-6)
    np.testing.assert_allclose(each["area"], each["train_loss"].cumsum(), rtol=1e-5)
    np.testing.assert_allclose(each["lowest"], each["eval_loss"].cummin(), rtol=1e-6)
    assert each["late"].iloc[9] == 0
    assert each["late"].iloc[-1] == pytest.approx(each["train_loss"].iloc[10:].sum(), rel=1e-5)
    assert each["at_step"].tolist() == each["step"].tolist()
    (one,) = read("runs").to_dict("records")
    assert one["final_area"] == sparse["area"].iloc[-1]


def test_a_metric_that_goes_on_is_in_float64_where_the_run_is(one_run):
    """In float32 a million would swallow a tenth of what is added."""
    code = "@metric(start=1e8)\ndef added(h, at, so_far): return so_far + 0.5 + 0 * at.train_loss\n"
    one_run(OWN + code)
    assert run("train.steps=20", "model.float_bits=64") == 0
    assert read("runs")["final_added"].tolist() == [1e8 + 10.5]
    assert read("curves")["added"].iloc[-1] == np.float32(1e8 + 10.5)  # the curves are smaller


def test_a_metric_may_be_larger_than_float32_holds(one_run):
    one_run(OWN + "@metric\ndef huge(h, at): return 1e300 + 0 * at.train_loss\n")
    assert run("model.float_bits=64") == 0
    assert read("runs")["final_huge"].tolist() == [1e300]
    assert np.isinf(read("curves")["huge"]).all()
