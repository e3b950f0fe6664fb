"""What is declared to have no effect has none, bit by bit, and what is not has one; runs alike are found."""

import itertools

import numpy as np
import pytest

from grok_sweep.compose import compose
from grok_sweep.core import effects
from grok_sweep.core.config import parse
from grok_sweep.core.grid import expand
from grok_sweep.core.plan import make_plan
from grok_sweep.session.training import jobs
from grok_sweep.worker import train_shard

TINY = [
    "sweeps=modular_24",
    "~grid.float_bits",
    "task.modulus=5",
    "model.hidden_size=4",
    "optimizer.learning_rate=0.01",
    "train.steps=30",
    "train.log_every=3",
    "train.snapshot_every=null",
    "seeds=[1]",
]
CHANGED = {"embed_size": (3, 6), "tied_embedding": (1, 0)}


def trained(**values):
    """The curve of one run, all metrics, as bytes."""
    sweep = parse(compose([*TINY, *(f"model.{key}={value}" for key, value in values.items())])[0])
    (job,) = jobs(sweep, make_plan(sweep, expand(sweep)))
    curve = train_shard(job.order()).curves.to_pandas().drop(columns="run_id")
    assert np.isfinite(curve.to_numpy()).all()
    return curve.to_numpy().tobytes()


@pytest.mark.parametrize(
    ("collapsed_input", "collapsed_output", "tied_hidden"), [*itertools.product([0, 1], repeat=3)]
)
def test_modular_mlp_trains_alike_exactly_where_it_is_declared(
    collapsed_input, collapsed_output, tied_hidden
):
    switches = {
        "collapsed_input": collapsed_input,
        "collapsed_output": collapsed_output,
        "tied_hidden": tied_hidden,
    }
    first = {name: values[0] for name, values in CHANGED.items()}
    off = effects.without_effect("modular_mlp", switches)
    assert off.keys() == CHANGED.keys()
    one = trained(**switches, **first)
    for name, (_, other) in CHANGED.items():
        assert (trained(**switches, **first | {name: other}) == one) == off[name]


def test_every_declaration_is_trained_above():
    assert set(effects.DECLARED) == {"modular_mlp"}


def test_what_decides_has_an_effect_itself():
    for model, cases in effects.DECLARED.items():
        assert not effects.deciding(model) & cases.keys()


def test_scalars_and_columns():
    columns = {"collapsed_input": np.array([0, 1, 0, 1]), "collapsed_output": np.array([0, 0, 1, 1])}
    off = effects.without_effect("modular_mlp", columns)
    assert off["tied_embedding"].tolist() == [False, True, True, True]
    assert off["embed_size"].tolist() == [False, False, False, True]
    for run in range(4):
        at = {name: int(column[run]) for name, column in columns.items()}
        one = effects.without_effect("modular_mlp", at)
        assert one == {name: bool(off_R[run]) for name, off_R in off.items()}
    assert effects.without_effect("relu_mlp", {}) == {}
