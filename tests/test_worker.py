from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis import classify
from grok_sweep import store
from grok_sweep.compose import compose
from grok_sweep.core.compiled import compiled
from grok_sweep.core.config import parse
from grok_sweep.core.grid import expand
from grok_sweep.core.plan import make_plan
from grok_sweep.core.program import Program
from grok_sweep.session.training import jobs
from grok_sweep.worker import Order, summarise, train_shard
from grok_sweep.worker.environment import compilation_cache, environment
from grok_sweep.worker.inputs import arguments, rows_of

LANES = [1, 3, 8]
PERFECT = [
    *("sweeps=modular_forgets", "cluster=inline", "seeds=6", "train.steps=5000", "train.log_every=50"),
    *("task.modulus=7", "task.ordered_pairs=1", "task.train_share=0.9"),
    *("model.hidden_size=32", "model.embed_size=16", "optimizer.learning_rate=0.01"),
]


def order(sweep, lanes, index_R, rows=None, **columns):
    """Any runs of one hidden size as one shard, whatever the plan would do."""
    grid = expand(sweep)
    hidden = grid.columns["hidden_size"][index_R[0]]
    static = {"n_bits": 30, "n_parity_bits": 3, "hidden_size": int(hidden)}
    sizes = {"rows": rows or int(grid.columns["train_size"][index_R].max()), "test_rows": 50, "lanes": lanes}
    program = Program(
        "parity",
        "relu_mlp",
        "adamw",
        tuple(static.items()),
        steps=sweep.steps,
        log_every=sweep.log_every,
        snapshot_every=sweep.snapshot_every or 0,
        **sizes,
    )
    return Order("tiny", program, grid.rows(np.array(index_R)) | columns)


def results(done):
    runs = done.runs.to_pandas().set_index("run_id")
    curves = done.curves.to_pandas().set_index(["run_id", "step"])
    return runs, curves


def test_data_and_weights_are_bitwise_the_same_however_a_run_is_batched(tiny):
    sweep = tiny("grid.hidden_size=[8]", "grid.train_size=[20,30]")
    seen = {}
    batches = [([run], 1, None) for run in range(8)] + [(list(range(8)), 8, 64), ([5, 2, 7], 4, 30)]
    for index_R, lanes, rows in batches:
        one = order(sweep, lanes, index_R, rows)
        made = {run: rows_of(one.program, one.columns, run) for run in range(len(index_R))}
        hparams, params, data = jax.device_get(
            arguments(one.program, one.columns, made, compiled(one.program).init)
        )
        for lane in range(len(index_R)):
            size = int(data.train_size[lane])
            parts = [
                *(leaf[lane] for leaf in jax.tree.leaves(params)),
                data.x_train_ND[lane, :size],
                data.y_train_N[lane, :size],
                data.x_test_ND[lane],
                data.y_test_N[lane],
                *(hparams[name][lane] for name in sorted(hparams)),
            ]
            content = [part.tobytes() for part in parts]
            assert seen.setdefault(one.columns["run_id"][lane], content) == content
    assert len(seen) == 8


@pytest.mark.parametrize("hidden_size", [8, 64])
def test_a_run_alone_agrees_with_itself_among_others(tiny, hidden_size):
    """Within float32, over the first steps: later the smallest difference grows."""
    sweep = tiny(f"grid.hidden_size=[{hidden_size}]", "train.steps=50")
    alone = [results(train_shard(order(sweep, 1, [run]))) for run in range(8)]
    alone_runs, alone_curves = (pd.concat(parts).sort_index() for parts in zip(*alone, strict=True))
    for lanes, rows in ((3, None), (8, 64)):
        _, curves = results(train_shard(order(sweep, lanes, list(range(8)), rows)))
        curves = curves.sort_index()
        assert curves.index.equals(alone_curves.index)
        np.testing.assert_allclose(curves, alone_curves, rtol=1e-3, atol=1e-5)
    assert alone_runs["weight_decay"].nunique() == 2


def test_tables_have_the_schema_and_every_run_its_own_row(tiny):
    sweep = tiny("grid.hidden_size=[8]")
    one = order(sweep, 3, list(range(8)))  # three calls, the last with a lane to spare
    done = train_shard(one)
    runs, curves = results(done)
    assert done.curves.schema == store.CURVES_SCHEMA
    assert runs.index.tolist() == one.columns["run_id"].tolist()
    for name in ("seed", "weight_decay", "train_size", "hidden_size", "learning_rate"):
        np.testing.assert_array_equal(runs[name], one.columns[name])
    assert (runs["steps"] == 20).all()
    assert runs["diverged_step"].isna().all()
    assert (runs["seconds"] > 0).all()
    assert curves.groupby("run_id").size().eq(5).all()
    assert sorted(set(curves.index.get_level_values("step"))) == [0, 5, 10, 15, 20]
    last = curves.xs(20, level="step")
    np.testing.assert_allclose(last["eval_loss"].loc[runs.index], runs["final_eval_loss"])
    np.testing.assert_allclose(
        curves["train_loss"].groupby("run_id").min().loc[runs.index], runs["min_train_loss"]
    )


def test_seeds_differ_and_are_the_same_at_every_decay(tiny):
    runs, curves = results(train_shard(order(tiny("grid.hidden_size=[8]"), 8, list(range(8)))))
    start = curves.xs(0, level="step").join(runs[["seed", "weight_decay", "train_size"]])
    assert (start.groupby(["seed", "train_size"])["train_loss"].nunique() == 1).all()
    assert start["train_loss"].nunique() == 4  # 2 seeds x 2 train sizes
    assert start.groupby("seed")["eval_loss"].nunique().eq(1).all()
    assert curves.xs(20, level="step")["train_loss"].nunique() == 8


@pytest.mark.parametrize("hidden_size", [8, 64])  # either layout
def test_a_lane_that_diverges_leaves_the_others_as_they_are(tiny, hidden_size):
    sweep = tiny(f"grid.hidden_size=[{hidden_size}]")
    rate_R = np.full(8, 0.003)
    _, healthy = results(train_shard(order(sweep, 8, list(range(8)))))
    rate_R[3] = 1e30
    runs, curves = results(train_shard(order(sweep, 8, list(range(8)), learning_rate=rate_R)))
    sick = runs.index[3]
    assert runs["diverged_step"].notna().tolist() == [run == 3 for run in range(8)]
    assert runs["diverged_step"].iloc[3] in (5, 10, 15, 20)
    others = [run for run in runs.index if run != sick]
    assert curves.loc[others].equals(healthy.loc[others])


def test_all_rows_right_is_exactly_one(tiny):
    """Of 41 rows a mean, as XLA makes it, is 0.99999994: == 1 would not find it."""
    sweep = tiny("task.n_bits=1", "task.n_parity_bits=1", "task.test_size=41", "grid.train_size=[47]")
    columns = expand(sweep).columns
    rates = np.full(len(columns["run_id"]), 0.1)
    one = make_plan(sweep, expand(sweep)).programs[0]
    orders = [job.order() for job in jobs(sweep, make_plan(sweep, expand(sweep)))]
    assert one.test_rows == 41
    found = [
        train_shard(
            replace(order, columns={**order.columns, "learning_rate": rates[: len(order.columns["run_id"])]})
        )
        for order in orders
    ]
    curves = pd.concat([done.curves.to_pandas() for done in found])
    for metric, rows in (("train_accuracy", 47), ("eval_accuracy", 41)):
        share = curves[metric].to_numpy()
        assert (share == 1).any()
        assert (share == np.rint(share * rows).astype(np.float32) / np.float32(rows)).all()


def curve(**metrics):
    length = len(next(iter(metrics.values())))
    ones = {name: np.ones((1, length), np.float32) for name in store.CURVE_METRICS}
    return ones | {name: np.array([values], np.float32) for name, values in metrics.items()}


@given(st.lists(st.tuples(*[st.floats(2.0**-23, 100, width=32)] * 2), min_size=1, max_size=20))
def test_summary_of_a_finite_curve(losses):
    train, test = zip(*losses, strict=True)
    summary = summarise(curve(train_loss=train, eval_loss=test), 10, 2.0**-23)
    assert summary["min_train_loss"][0] == min(np.float32(train))
    assert summary["min_eval_loss"][0] == min(np.float32(test))
    ratio = max(float(np.float32(b)) / float(np.float32(a)) for a, b in losses)
    assert summary["max_loss_ratio"][0] == pytest.approx(ratio)
    assert summary["final_eval_loss"][0] == np.float32(test[-1])
    assert summary["diverged_step"].mask.all()


@pytest.mark.parametrize(
    ("train", "test", "ratio"),
    [
        ([4, 0], [4, 0], 1),  # perfect: as good on the test as in training
        ([4, 0, 0], [4, 0.5, 0], 2**22),  # memorised first, and perfect in the end
        ([4, 0], [4, 1], 2**23),  # the test never follows
        ([4, 2.0**-24], [4, 2.0**-24], 1),  # what float32 cannot tell from 0 in one row is 0
        ([2.0**-23], [2.0**-20], 8),
    ],
)
def test_a_loss_of_zero_has_a_ratio(train, test, ratio):
    summary = summarise(curve(train_loss=train, eval_loss=test), 10, 2.0**-23)
    assert summary["max_loss_ratio"].tolist() == [ratio]
    assert summary["min_train_loss"].tolist() == [min(train)]  # only the ratio has a floor


def test_a_perfect_network_is_not_called_fail():
    """Modular addition, small enough that every loss comes to 0 in float32; trained in earnest."""
    sweep = parse(compose(PERFECT)[0])
    orders = [job.order() for job in jobs(sweep, make_plan(sweep, expand(sweep)))]
    runs = pd.concat([train_shard(order).runs.to_pandas() for order in orders], ignore_index=True)
    assert (runs["min_train_loss"] == 0).all()
    assert np.isfinite(runs["max_loss_ratio"]).all()
    perfect = runs[(runs["final_eval_accuracy"] == 1) & (runs["min_eval_loss"] == 0)]
    assert len(perfect) >= 2
    phase = classify(runs)["phase"]
    assert set(phase[perfect.index]) <= {"generalize", "grok"}
    assert not phase.eq("fail").any()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("metric", ["train_loss", "eval_loss", "weight_norm"])
@pytest.mark.parametrize("at", [0, 1, 3])
def test_what_comes_after_a_divergence_does_not_count(bad, metric, at):
    metrics = curve(train_loss=[4, 3, 2, 1], eval_loss=[8, 9, 4, 1])
    metrics[metric][0, at] = bad
    summary = summarise(metrics, 10, 2.0**-23)
    assert summary["diverged_step"].tolist() == [10 * at]
    expected = {0: (np.nan, np.nan, np.nan), 1: (4, 8, 2), 3: (2, 4, 3)}[at]
    got = [summary[name][0] for name in ("min_train_loss", "min_eval_loss", "max_loss_ratio")]
    np.testing.assert_array_equal(got, expected)


def test_a_finite_end_does_not_hide_a_divergence():
    summary = summarise(curve(train_loss=[4, np.nan, 1e-9], eval_loss=[4, 4, 4]), 10, 2.0**-23)
    assert summary["diverged_step"].tolist() == [10]
    assert summary["min_train_loss"].tolist() == [4]


def test_a_cpu_worker_has_one_thread_and_keeps_the_users_flags(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_dump_to=x")
    assert environment("cpu")["XLA_FLAGS"].split() == [
        "--xla_dump_to=x",
        "--xla_cpu_multi_thread_eigen=false",
    ]
    assert environment("gpu")["JAX_PLATFORMS"] == "cuda"
    shares = [
        float(environment("gpu", workers)["XLA_CLIENT_MEM_FRACTION"]) * workers for workers in (1, 2, 3)
    ]
    assert shares == pytest.approx([0.9] * 3)


def test_compiled_programs_are_kept_for_their_owner_only(tmp_path, monkeypatch):
    """What is read from the cache is run: a folder that others can write is not used."""
    before = jax.config.jax_compilation_cache_dir
    try:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        compilation_cache()
        folder = Path(jax.config.jax_compilation_cache_dir)
        assert folder.is_relative_to(tmp_path)
        assert folder.stat().st_mode & 0o777 == 0o700
        jax.config.update("jax_compilation_cache_dir", "unset")
        folder.chmod(0o770)
        compilation_cache()
        assert jax.config.jax_compilation_cache_dir == "unset"
    finally:
        jax.config.update("jax_compilation_cache_dir", before)
