import copy
import re

import yaml
from conftest import TINY

from grok_sweep.cli import main
from grok_sweep.compose import compose
from grok_sweep.session import provenance
from grok_sweep.session.provenance import changes

CONFIG = compose(["sweeps=quickstart"])[0]


def test_what_may_change_between_two_sessions_and_what_not(tiny):
    def changed(*overrides):
        config = compose(["sweeps=quickstart", *overrides])[0]
        return provenance.differences({"config": CONFIG}, tiny(), config)

    assert changed() == []
    grown = ["seeds=20", "grid.weight_decay=[0.5]", "grid.learning_rate=[0.1]", "optimizer.learning_rate=0.1"]
    assert changed(*grown, "cluster=inline", "out=x", "phases.min_loss=0.1") == []
    assert changed("train.steps=100", "optimizer.b2=0.5") == [
        "optimizer.b2=0.98 (now 0.5)",
        "train.steps=20000 (now 100)",
    ]
    assert changed("name=x") == ["name=quickstart (now x)"]


def test_a_record_of_something_else_differs_everywhere(tiny):
    assert provenance.differences({}, tiny(), CONFIG)
    assert provenance.differences({"config": {"task": 5}}, tiny(), CONFIG)


def test_a_session_says_what_ran_where_and_earlier_ones_are_kept(tiny):
    sweep = tiny()
    record = provenance.record(sweep, CONFIG, "grok-sweep x", 2, ["native", "xla"])
    assert record["config"] == CONFIG
    (session,) = record["sessions"]
    assert session["command"] == "grok-sweep x"
    assert (session["executor"], session["workers"]) == ("inline", 2)
    assert session["engines"] == ["native", "xla"]
    assert re.fullmatch(r"\d+-\d\d-\d\dT[\d:]+\+00:00", session["started"])
    assert re.search(r"\d+ cores", session["machine"])
    assert {"jax", "jaxlib", "flax", "optax", "ray", "grok-sweep"} <= set(session["versions"])
    assert re.fullmatch(r"[0-9a-f]{40}\+?", session["git_commit"] or "0" * 40)

    from grok_sweep.store import Store, runs_schema

    Store(sweep.out).create(copy.deepcopy(record) | {"mended": ["a word of a person"]}, runs_schema({}))
    again = provenance.record(sweep, CONFIG, "again", 1, ["xla"])
    assert len(again["sessions"]) == 2
    assert again["mended"] == ["a word of a person"]


def test_a_session_that_computes_with_other_things_says_so():
    first = {"machine": "a", "devices": ["cpu"]}
    first["versions"] = {"jax": "0.10.2", "numpy": "2.4.6", "ray": "2.60.0"}
    first["random"] = {"default_prng_impl": "threefry2x32"}
    assert changes([], first) is None
    assert changes([first], first) is None
    assert changes([{}], first) is None  # sessions of before that was recorded
    assert changes([first], first | {"versions": {"jax": "0.10.2", "numpy": "2.4.6", "ray": "3"}}) is None
    begun = {"versions": {"jax": "0.11", "numpy": "2.4.6"}, "machine": "a"}
    ended = {"devices": ["cpu", "NVIDIA H100"]}
    may = "numbers may differ, at first in their last digits; rows name their session"
    # A session that was killed says less than the one before it.
    for earlier in ([begun | ended, first], [first, {"machine": "a"}]):
        assert changes(earlier, begun) == f"this session has jax 0.11 (before: 0.10.2): {may}"
        assert changes(earlier, ended) == f"this session has devices cpu, NVIDIA H100 (before: cpu): {may}"
    native = first | {"engines": ["native"]}
    assert changes([first], native) == f"this session has engines native (before: xla): {may}"
    assert changes([native], first) is None
    rbg = first | {"random": {"default_prng_impl": "rbg"}}
    assert "random default_prng_impl rbg (before: threefry2x32)" in changes([first], rbg)


def test_it_is_said_when_a_sweep_goes_on(tmp_path, capfd):
    assert main([*TINY, f"out={tmp_path / 'out'}", "seeds=1"]) == 0
    record = yaml.safe_load((tmp_path / "out" / "sweep.yaml").read_text())
    record["sessions"][0]["versions"]["jax"] = "0.1"
    (tmp_path / "out" / "sweep.yaml").write_text(yaml.safe_dump(record))
    capfd.readouterr()
    assert main([*TINY, f"out={tmp_path / 'out'}"]) == 0
    assert re.search(
        r"this session has jax [\d.]+ \(before: 0\.1\): numbers may differ", capfd.readouterr().err
    )
