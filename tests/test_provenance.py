import copy
import re

from grok_sweep.compose import compose
from grok_sweep.session import provenance

CONFIG = compose(["sweeps=quickstart"])[0]


def test_what_may_change_between_two_sessions_and_what_not():
    def changed(*overrides):
        return provenance.differences(CONFIG, compose(["sweeps=quickstart", *overrides])[0])

    assert changed() == []
    grown = ["seeds=20", "grid.weight_decay=[0.5]", "grid.learning_rate=[0.1]", "optimizer.learning_rate=0.1"]
    assert changed(*grown, "cluster=inline", "out=x", "phases.min_loss=0.1") == []
    assert changed("train.steps=100", "optimizer.b2=0.5") == [
        "optimizer.b2=0.98 (now 0.5)",
        "train.steps=20000 (now 100)",
    ]
    assert changed("name=x") == ["name=quickstart (now x)"]


def test_a_record_of_something_else_differs_everywhere():
    assert provenance.differences({}, CONFIG)
    assert provenance.differences({"task": 5}, CONFIG)


def test_a_session_says_what_ran_where_and_earlier_ones_are_kept(tiny):
    sweep = tiny()
    record = provenance.record(sweep, CONFIG, "grok-sweep x", 2)
    assert record["config"] == CONFIG
    (session,) = record["sessions"]
    assert session["command"] == "grok-sweep x"
    assert session["workers"] == 2
    assert re.fullmatch(r"\d+-\d\d-\d\dT[\d:]+\+00:00", session["started"])
    assert re.search(r"\d+ cores", session["machine"])
    assert {"jax", "jaxlib", "flax", "optax", "ray", "grok-sweep"} <= set(session["versions"])
    assert re.fullmatch(r"[0-9a-f]{40}\+?", session["git_commit"] or "0" * 40)

    from grok_sweep.store import Store, runs_schema

    Store(sweep.out).create(copy.deepcopy(record) | {"mended": ["a word of a person"]}, runs_schema({}))
    again = provenance.record(sweep, CONFIG, "again", 1)
    assert len(again["sessions"]) == 2
    assert again["mended"] == ["a word of a person"]
