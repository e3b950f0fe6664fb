"""A composed config into a Sweep: canonical values, and every problem of a bad one at once."""

import copy
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import analysis
from grok_sweep.core import choices, registry
from grok_sweep.core.config import parse
from grok_sweep.core.sweep import Cluster, Sweep
from grok_sweep.errors import ConfigError

GOOD = {
    "name": "small",
    "out": "results/small",
    "only": None,
    "dry_run": False,
    "redo": False,
    "retry_crashed": False,
    "accept_code": False,
    "fail_fast": False,
    "stop_when_decided": False,
    "engine": "auto",
    "report": None,
    "grid": {"weight_decay": [0.1, 1], "hidden_size": [16, 64]},
    "seeds": 3,
    "train": {"steps": 200, "log_every": 100},
    "phases": {"min_loss": 1e-5, "max_ratio": 50_000},
    "task": {"name": "parity", "n_bits": 30, "n_parity_bits": 3, "train_size": 1000, "test_size": 5000},
    "model": {"name": "relu_mlp", "hidden_size": 64, "init_scale": 1},
    "optimizer": {
        "name": "adamw",
        "learning_rate": 0.003,
        "weight_decay": 0.1,
        "b1": 0.99,
        "b2": 0.98,
        "eps": 1e-8,
    },
    "cluster": {"executor": "ray", "device": "cpu", "shard_seconds": 30},
}
GOOD["phases"]["definition"] = "pair"
GONE = object()  # the value of a key that is to be left out

TOP = "parts, name, out, dry_run, only, redo, retry_crashed, accept_code, fail_fast, stop_when_decided, "
TOP += "engine, report, grid, zip, seeds, repeats, refine, train, phases, task, model, optimizer, cluster"
AXES = (
    "n_bits, n_parity_bits, train_size, test_size, hidden_size, init_scale, float_bits, "
    "learning_rate, weight_decay, b1, b2, eps"
)
SEEDS = (
    "must be a count, a whole number from 1 to 2147483647, "
    "or a list of seeds, each a whole number from 0 to 2147483647"
)
NAME = "must be text: 1 to 100 of A-Z a-z 0-9 . _ -, and not begin with . or -"


def changed(*changes):
    """GOOD with (key, value) changes; keys of blocks are dotted, and those of `grid` may hold dots."""
    made = copy.deepcopy(GOOD)
    for key, value in changes:
        block, last = made, key
        head, _, tail = key.partition(".") if isinstance(key, str) else (key, "", "")
        if tail:
            block, last = made[head], tail
        if value is GONE:
            del block[last]
        else:
            block[last] = value
    return made


def problems(*changes):
    with pytest.raises(ConfigError) as caught:
        parse(changed(*changes))
    assert str(caught.value) == "\n".join(caught.value.problems)
    return caught.value.problems


def test_a_good_config_is_a_sweep_of_canonical_values():
    sweep = parse(GOOD)
    assert sweep == Sweep(
        name="small",
        task="parity",
        model="relu_mlp",
        optimizer="adamw",
        values={
            "n_bits": 30,
            "n_parity_bits": 3,
            "train_size": 1000,
            "test_size": 5000,
            "hidden_size": 64,
            "init_scale": 1.0,
            "float_bits": 32,
            "learning_rate": 0.003,
            "weight_decay": 0.1,
            "b1": 0.99,
            "b2": 0.98,
            "eps": 1e-8,
        },
        axes={"weight_decay": (0.1, 1.0), "hidden_size": (16, 64)},
        together=(),
        seeds=range(3),
        steps=200,
        log_every=100,
        snapshot_every=None,
        batch_size=None,
        out="results/small",
        only=None,
        dry_run=False,
        retry_crashed=False,
        fail_fast=False,
        report=None,
        cluster=Cluster("ray", "cpu", 30.0),
        definition="pair",
        thresholds={"min_loss": 1e-5, "max_ratio": 50_000.0},
        numbers={
            **registry.find("task", "parity").numbers,
            **registry.find("model", "relu_mlp").numbers,
            **registry.find("optimizer", "adamw").numbers,
        },
        source=None,
        accept_code=False,
        engine="auto",
    )
    assert list(sweep.numbers) == list(sweep.values)
    assert type(sweep.values["init_scale"]) is float
    assert type(sweep.axes["weight_decay"][1]) is float
    assert type(sweep.axes["hidden_size"][0]) is int
    assert (sweep.n_cells, sweep.n_runs) == (4, 12)


def test_parsing_changes_nothing_that_it_was_given():
    before = copy.deepcopy(GOOD)
    parse(GOOD)
    assert before == GOOD


# A problem a row: (changes, the one line).
ONE = {
    "empty axis": (
        [("grid.b1", [])],
        "grid.b1=[]: must be a list [...] of at least one value, each a number of at least 0 and less than 1",
    ),
    "axis that is no list": (
        [("grid.b1", 0.9)],
        "grid.b1=0.9: must be a list [...] of at least one value, "
        "each a number of at least 0 and less than 1",
    ),
    "axis of null": (
        [("grid.hidden_size", None)],
        "grid.hidden_size=null: must be a list [...] of at least one value, "
        "each a whole number from 1 to 1000000",
    ),
    "repeated value": (
        [("grid.b1", [0.9, 0.5, 0.9])],
        "grid.b1=[0.9]: given more than once; values must be different (in float32)",
    ),
    "two values repeated": (
        [("grid.hidden_size", [1, 2, 3, 2, 1, 1])],
        "grid.hidden_size=[1, 2]: given more than once; values must be different (in float32)",
    ),
    "repeated in float32": (
        [("grid.b1", [0.9, 0.9000000001])],
        "grid.b1=[0.9]: given more than once; values must be different (in float32)",
    ),
    "axis of truth values": (
        [("grid.hidden_size", [True])],
        "grid.hidden_size=true: must be a whole number from 1 to 1000000",
    ),
    "axis of a whole number given a float": (
        [("grid.hidden_size", [16.0, 32])],
        "grid.hidden_size=16.0: must be a whole number from 1 to 1000000",
    ),
    "axis of lists": (
        [("grid.hidden_size", [[16], [32]])],
        "grid.hidden_size=[[16], [32]]: must be a whole number from 1 to 1000000",
    ),
    "axis of many bad values": (
        [("grid.weight_decay", [-1, -2, -3, math.nan, math.nan, -math.inf, "a"])],
        "grid.weight_decay=[-1, -2, -3, nan, nan, -inf, ...]: must be a finite number of at least 0",
    ),
    "axis that is a block": (
        [("grid.b1", {"a": 1})],
        "grid.b1={'a': 1}: must be a list [...] of at least one value, "
        "each a number of at least 0 and less than 1",
    ),
    "wrong type": (
        [("optimizer.learning_rate", "fast")],
        "optimizer.learning_rate='fast': must be a finite number greater than 0",
    ),
    "a block for a number": (
        [("train.steps", {"x": 1})],
        "train.steps={'x': 1}: must be a whole number from 1 to 1000000000",
    ),
    "zero": ([("optimizer.eps", 0)], "optimizer.eps=0: must be a finite number greater than 0"),
    "negative": (
        [("optimizer.weight_decay", -0.1)],
        "optimizer.weight_decay=-0.1: must be a finite number of at least 0",
    ),
    "of pair": (
        [("phases.definition", "liu"), ("phases.min_loss", "abc")],
        "phases.min_loss='abc': must be a finite number greater than 0",
    ),
    "nan": ([("phases.min_loss", math.nan)], "phases.min_loss=nan: must be a finite number greater than 0"),
    "infinite": (
        [("phases.max_ratio", math.inf)],
        "phases.max_ratio=inf: must be a finite number greater than 0",
    ),
    "of 400 digits": (
        [("phases.max_ratio", 10**400)],
        "phases.max_ratio=100000000000000000...0000000000000000000: must be a finite number greater than 0; "
        "in float32, which runs are computed in, it is inf",
    ),
    "of 5000 digits": (
        [("train.steps", 10**5000)],
        "train.steps=(a number of thousands of digits): must be a whole number from 1 to 1000000000",
    ),
    "zero steps": ([("train.steps", 0)], "train.steps=0: must be a whole number from 1 to 1000000000"),
    "steps not a multiple": (
        [("train.steps", 250)],
        "train.steps=250: must be a multiple of train.log_every=100",
    ),
    "fewer steps than log_every": (
        [("train.steps", 50)],
        "train.steps=50: must be a multiple of train.log_every=100",
    ),
    "missing": (
        [("train.steps", GONE)],
        "train.steps: is missing; must be a whole number from 1 to 1000000000",
    ),
    "missing hyperparameter": (
        [("task.n_bits", GONE)],
        "task.n_bits: is missing; must be a whole number from 1 to 100000",
    ),
    "missing as Hydra writes it": ([("name", "???")], f"name: is missing; {NAME}"),
    "snapshots off the log": (
        [("train.snapshot_every", 150)],
        "train.snapshot_every=150: must be a multiple of train.log_every=100 and divide train.steps=200",
    ),
    "snapshots that miss the end": (
        [("train.steps", 500), ("train.snapshot_every", 200)],
        "train.snapshot_every=200: must be a multiple of train.log_every=100 and divide train.steps=500",
    ),
    "no snapshots at all": (
        [("train.snapshot_every", 0)],
        "train.snapshot_every=0: must be a whole number from 1 to 1000000000",
    ),
    "zip of nothing": (
        [("zip", 5)],
        "zip=5: must be lists of at least two keys of grid, each once",
    ),
    "zip of what is no axis": (
        [("zip", [["hidden_size", "b1"]])],
        "zip=[['hidden_size', 'b1']]: must be lists of at least two keys of grid, each once",
    ),
    "zip twice": (
        [("zip", [["hidden_size", "weight_decay"], ["weight_decay", "hidden_size"]])],
        "zip=[['hidden_size', 'weight_decay'], ['weight_decay', 'hidden_size']]: "
        "must be lists of at least two keys of grid, each once",
    ),
    "zip of unequal lengths": (
        [("zip", [["hidden_size", "weight_decay"]]), ("grid.hidden_size", [1, 2, 3])],
        "grid.hidden_size and grid.weight_decay=[3, 2]: "
        "axes that change together must have as many values each",
    ),
    "zip of equal points": (
        [
            ("zip", [["hidden_size", "weight_decay"]]),
            ("grid.hidden_size", [4, 4]),
            ("grid.weight_decay", [1, 1]),
        ],
        "grid.hidden_size and grid.weight_decay=[(4, 1.0)]: "
        "given more than once; values must be different (in float32)",
    ),
    "a model of another task": (
        [("model", {"name": "modular_circle", "hidden_size": 5, "init_scale": 1.0, "float_bits": 32})],
        "model.name='modular_circle': does not fit task parity; use relu_mlp",
    ),
    "a task of other models": (
        [
            ("task", {"name": "modular_addition", "modulus": 67, "ordered_pairs": 0, "train_share": 0.4}),
        ],
        "model.name='relu_mlp': does not fit task modular_addition; use modular_mlp or modular_circle",
    ),
    "missing block": (
        [("train", GONE)],
        "train: is missing; must be a block of key: value",
    ),
    "null block": (
        [("train", None)],
        "train=null: must be a block of key: value",
    ),
    "a number for a block": (
        [("phases", 1)],
        "phases=1: must be a block of key: value",
    ),
    "no seeds": ([("seeds", 0)], f"seeds=0: {SEEDS}"),
    "empty seeds": ([("seeds", [])], f"seeds=[]: {SEEDS}"),
    "null seeds": ([("seeds", None)], f"seeds=null: {SEEDS}"),
    "missing seeds": ([("seeds", GONE)], f"seeds: is missing; {SEEDS}"),
    "true seeds": ([("seeds", True)], f"seeds=true: {SEEDS}"),
    "too many seeds": ([("seeds", 2**31)], f"seeds=2147483648: {SEEDS}"),
    "half a seed": ([("seeds", 1.5)], f"seeds=1.5: {SEEDS}"),
    "repeated seed": (
        [("seeds", [0, 1, 0])],
        "seeds=[0]: given more than once; values must be different (in float32)",
    ),
    "bad seeds": (
        [("seeds", [0, -1, 2**31, None, True])],
        "seeds=[-1, 2147483648, null, true]: must be a whole number from 0 to 2147483647",
    ),
    "unknown task": (
        [("task.name", "nonsense")],
        "task.name='nonsense': must be one of modular_addition, parity",
    ),
    "unknown optimizer": ([("optimizer.name", None)], "optimizer.name=null: must be one of adamw, adamw_l1"),
    "misspelt model": (
        [("model.name", "relu_mpl")],
        "model.name='relu_mpl': must be one of modular_circle, modular_mlp, relu_mlp; did you mean relu_mlp?",
    ),
    "unknown key": ([("nonsense", 1)], f"nonsense=1: no such key; allowed are {TOP}"),
    "misspelt key": ([("train.stepz", 1)], "train.stepz=1: no such key; did you mean train.steps?"),
    "misspelt axis": (
        [("grid.hiden_size", [1])],
        "grid.hiden_size=[1]: no such key; did you mean model.hidden_size or grid.hidden_size?",
    ),
    "key of another block": (
        [("learning_rate", 0.1)],
        "learning_rate=0.1: no such key; did you mean optimizer.learning_rate or grid.learning_rate?",
    ),
    "an axis that is no hyperparameter": (
        [("grid.steps", [1, 2])],
        "grid.steps=[1, 2]: no such key; did you mean train.steps?",
    ),
    "a key that is no text": ([(1, 2)], f"1=2: no such key; allowed are {TOP}"),
    "a key of null": ([(None, 2)], f"None=2: no such key; allowed are {TOP}"),
    "a key of two lines": ([("a\nb\x1b\udcff", 2)], f"a\\nb\\x1b\\udcff=2: no such key; allowed are {TOP}"),
    "a key of letters": ([("ünï", "ü")], f"ünï='ü': no such key; allowed are {TOP}"),
    "a dotted key": ([("grid.a.b", 1)], f"grid.a.b=1: no such key; allowed are {AXES}"),
    "name that leads out": ([("name", "../x")], f"name='../x': {NAME}"),
    "empty name": ([("name", "")], f"name='': {NAME}"),
    "name of two lines": ([("name", "x\n")], f"name='x\\n': {NAME}"),
    "hidden name": ([("name", ".x")], f"name='.x': {NAME}"),
    "number as name": ([("name", 2024)], f"name=2024: {NAME}"),
    "no out": ([("out", None)], "out=null: must be text, the path of a folder"),
    "empty out": ([("out", " ")], "out=' ': must be text, the path of a folder"),
    "missing out": ([("out", "???")], "out: is missing; must be text, the path of a folder"),
    "null byte in out": (
        [("out", "a\0b")],
        "out='a\\x00b': must be text, the path of a folder",
    ),
    "dry_run that is neither": ([("dry_run", "maybe")], "dry_run='maybe': must be one of false, true"),
    "dry_run of one": ([("dry_run", 1)], "dry_run=1: must be one of false, true"),
    "retry_crashed that is neither": (
        [("retry_crashed", "yes")],
        "retry_crashed='yes': must be one of false, true",
    ),
    "report": ([("report", "alive")], "report='alive': must be one of null, live; did you mean live?"),
    "engine": ([("engine", "cpp")], "engine='cpp': must be one of auto, xla, native"),
    "missing fail_fast": ([("fail_fast", GONE)], "fail_fast: is missing; must be one of false, true"),
    "definition": (
        [("phases.definition", "par")],
        "phases.definition='par': must be one of pair, liu, liu_lasting; did you mean pair?",
    ),
    "executor": (
        [("cluster.executor", "slurm")],
        "cluster.executor='slurm': must be one of auto, ray, inline",
    ),
    "device": ([("cluster.device", "cuda")], "cluster.device='cuda': must be one of cpu, gpu, tpu"),
    "no workers": ([("cluster.workers", 0)], "cluster.workers=0: must be a whole number from 1 to 1000000"),
    "workers of inline": (
        [("cluster.executor", "inline"), ("cluster.workers", 4)],
        "cluster.executor='inline': is one worker, this process; workers and address must be null",
    ),
    "address of inline": (
        [("cluster.executor", "inline"), ("cluster.address", "auto")],
        "cluster.executor='inline': is one worker, this process; workers and address must be null",
    ),
    "workers of a GPU on the CPU": (
        [("cluster.workers_per_gpu", 2)],
        "cluster.workers_per_gpu=2: device cpu is no gpu; use 1",
    ),
    "too many workers of a GPU": (
        [("cluster.device", "gpu"), ("cluster.workers_per_gpu", 65)],
        "cluster.workers_per_gpu=65: must be a whole number from 1 to 64",
    ),
    "deadline before the estimate": (
        [("cluster.deadline_factor", 0.5)],
        "cluster.deadline_factor=0.5: must be a finite number of at least 1",
    ),
    "no deadline": (
        [("cluster.deadline_seconds", 0)],
        "cluster.deadline_seconds=0: must be a finite number greater than 0",
    ),
    "retries": (
        [("cluster.max_retries", -1)],
        "cluster.max_retries=-1: must be a whole number from 0 to 1000",
    ),
    "address": (
        [("cluster.address", "nowhere")],
        "cluster.address='nowhere': must be HOST:PORT, ray://HOST:PORT or auto",
    ),
    "address that has to be given": (
        [("cluster.address", "???")],
        "cluster.address: is missing; must be HOST:PORT, ray://HOST:PORT or auto",
    ),
    "parity bits": ([("task.n_bits", 2)], "task.n_parity_bits=3: must be at most n_bits=2"),
    "parity bits of a corner": (
        [("grid.n_bits", [9, 2]), ("grid.n_parity_bits", [1, 3])],
        "grid.n_parity_bits=3: must be at most n_bits=2",
    ),
}


@pytest.mark.parametrize(("changes", "line"), ONE.values(), ids=ONE)
def test_a_problem_names_the_key_the_value_and_what_is_allowed(changes, line):
    assert problems(*changes) == [line]


def test_all_problems_of_values_come_at_once():
    assert problems(
        ("nonsense", 1),
        ("seeds", []),
        ("name", ""),
        ("grid.b1", []),
        ("grid.hidden_size", [True, 0, 7]),
        ("grid.nope", [1]),
        ("train.steps", 0),
        ("optimizer.learning_rate", math.inf),
        ("cluster.device", "cuda"),
        ("out", None),
    ) == [
        f"nonsense=1: no such key; allowed are {TOP}",
        f"grid.nope=[1]: no such key; allowed are {AXES}",
        "optimizer.learning_rate=inf: must be a finite number greater than 0",
        "grid.hidden_size=[true, 0]: must be a whole number from 1 to 1000000",
        ONE["empty axis"][1],
        f"seeds=[]: {SEEDS}",
        "train.steps=0: must be a whole number from 1 to 1000000000",
        f"name='': {NAME}",
        "out=null: must be text, the path of a folder",
        "cluster.device='cuda': must be one of cpu, gpu, tpu",
    ]


def test_all_that_does_not_go_together_comes_at_once():
    assert [
        line.partition("=")[0]
        for line in problems(
            ("train.steps", 250),
            ("grid.weight_decay", [1, 1]),
            ("seeds", [0, 0]),
            ("cluster.workers_per_gpu", 2),
        )
    ] == ["train.steps", "cluster.workers_per_gpu", "grid.weight_decay", "seeds"]


@pytest.mark.parametrize(
    "changes",
    [
        [("seeds", 1)],
        [("seeds", [0])],
        [("seeds", [2**31 - 1, 5])],
        [("grid", {})],
        [("grid.weight_decay", [0, 5])],
        [("grid.b1", [0, 0.99999994])],
        [("grid.learning_rate", [1e-45, 3.4e38])],
        [("grid.hidden_size", [1, 1_000_000])],
        [("grid.n_bits", [100_000]), ("grid.n_parity_bits", [1, 100_000])],
        [("task.n_bits", 3)],
        [("train.steps", 1), ("train.log_every", 1)],
        [("train.steps", 1_000_000_000)],
        [("name", "0" * 100)],
        [("out", "/")],
        [("out", "a b/ü")],
        [("cluster.workers", None), ("cluster.address", None), ("cluster.max_retries", 0)],
        [("out", "s3://bucket/x?region=eu-west-1")],
        [("out", "file:///tmp/x")],
        [("cluster.workers", 1_000_000)],
        [("cluster.executor", "inline"), ("cluster.workers", None), ("cluster.address", None)],
        [("cluster.device", "gpu"), ("cluster.workers_per_gpu", 64)],
        [("cluster.deadline_factor", 1), ("cluster.deadline_seconds", 1e-3)],
        [("retry_crashed", True), ("fail_fast", True)],
        [("cluster.address", "auto")],
        [("cluster.address", "10.0.0.1:6379")],
        [("cluster.address", "ray://[::1]:10001")],
        [("phases.definition", "liu"), ("dry_run", True)],
    ],
    ids=str,
)
def test_values_at_their_bounds_are_good(changes):
    parse(changed(*changes))


def test_home_is_expanded(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert parse(changed(("out", "~/x"))).out == str(tmp_path / "x")
    (problem,) = problems(("out", "~no_such_user/x"))
    assert problem.startswith("out='~no_such_user/x': must be text, the path of a folder; ")


@pytest.mark.parametrize("out", ["s3://bucket/x", "gs://b/~x?y=1", "hdfs://host:9000/x", "file:///tmp/x"])
def test_a_uri_is_taken_as_it_is(out):
    assert parse(changed(("out", out))).out == out


def test_what_a_cluster_file_leaves_out_has_a_default():
    assert parse(GOOD).cluster == Cluster("ray", "cpu", 30.0, None, None, 1, 0, 10.0, 300.0)
    keys = {"workers_per_gpu": 2, "max_retries": 5, "deadline_factor": 3, "deadline_seconds": 60}
    given = [(f"cluster.{key}", value) for key, value in keys.items()]
    made = parse(changed(("cluster.device", "gpu"), *given)).cluster
    assert made == Cluster("ray", "gpu", 30.0, None, None, **keys)


def test_an_axis_of_a_million_values():
    values = [i / 1_000_000 for i in range(1_000_000)]
    assert parse(changed(("grid", {"b1": values}))).n_cells == 1_000_000


numbers = st.floats() | st.integers() | st.sampled_from([0, 1, 1.0, -0.0, 10**400, True])
scalars = (
    st.none() | numbers | st.text(max_size=20) | st.sampled_from(["???", "parity", "adamw", "ray", "auto"])
)
known = st.sampled_from(
    [*GOOD, "steps", "log_every", "weight_decay", "hidden_size", "n_bits", "executor", "address", "workers"]
)
keys = known | st.text(max_size=20) | st.none() | st.integers() | st.booleans()
junk = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=5),
    max_leaves=30,
)


def said_of(mapping):
    """The problems of a config; none if it is parsed."""
    said = []
    try:
        parse(mapping)
    except ConfigError as error:
        said = error.problems
    assert all(problem.isprintable() and len(problem) < 1000 for problem in said)
    return said


@given(st.dictionaries(keys, junk, max_size=12))
@settings(max_examples=100)
def test_junk_is_refused_and_nothing_else(mapping):
    assert said_of(mapping)


PATHS = [(key,) for key in GOOD]
PATHS += [(key, inner) for key, block in GOOD.items() if isinstance(block, dict) for inner in block]


@given(st.sampled_from(PATHS), junk)
@settings(max_examples=200)
def test_junk_in_one_place_is_parsed_or_refused_by_its_name(path, value):
    said = said_of(changed((".".join(path), value)))
    related = ".".join(path) if path != ("train", "log_every") else "train."
    if path[0] in ("task", "train", "grid", "seeds"):  # they are also judged together
        related = ""
    assert all(problem.startswith((related, "grid")) for problem in said)


@given(
    st.lists(st.floats(0, 1, exclude_max=True, width=32) | st.just(0), min_size=1, max_size=9, unique=True)
)
def test_an_axis_is_its_values_in_their_order_as_floats(values):
    axis = parse(changed(("grid", {"b1": values}))).axes["b1"]
    assert [np.float32(value) for value in axis] == [np.float32(value) for value in values]
    assert {type(value) for value in axis} == {float}
    assert all(math.copysign(1, value) == 1 for value in axis)


def test_a_value_of_any_depth_is_cut_short():
    deep = inner = []
    for _ in range(10_000):
        inner.append([])
        inner = inner[0]
    itself = {}
    itself["me"] = itself
    for value in (deep, itself, ["x" * 10_000] * 1000, [10**5000], "\0" * 999):
        for key in ("seeds", "train.steps", "dry_run", "out", "nonsense"):
            for problem in problems((key, value)):
                assert len(problem) < 500
                assert problem.isprintable()


def test_choices_are_the_yaml_files_of_a_group(tmp_path, monkeypatch):
    assert choices.choices("task") == ["modular_addition", "parity"]
    assert choices.choices("cluster") == ["auto", "gpu", "inline", "local", "ray", "tpu"]
    own = tmp_path / "sweeps"
    (own / "folder.yaml").mkdir(parents=True)
    for name in ("mine.yaml", ".hidden.yaml", "notes.txt", "quickstart.yaml"):
        (own / name).touch()
    monkeypatch.chdir(tmp_path)
    ours = {path.stem for path in choices.configs()[1].glob("*.yaml")}
    assert choices.choices("sweeps") == sorted({"mine", *ours})
    assert choices.sweep_folders() == [own, choices.configs()[1]]
    monkeypatch.chdir(choices.configs()[1].parent)
    assert choices.sweep_folders() == [choices.configs()[1]]


def test_a_key_in_a_uri_is_refused_and_not_repeated():
    """What is in `out` is recorded in the results folder, and shown."""
    (problem,) = problems(("out", "s3://AKIA:TOPSECRET@bucket/x"))
    assert problem.startswith("out='s3://...': must be text, the path of a folder without key or secret")
    assert "SECRET" not in problem
    (problem,) = problems(("out", "abfs://files:TOPSECRET@account.dfs.core.windows.net/x"))
    assert "without key or secret" in problem
    assert "SECRET" not in problem
    (problem,) = problems(("out", "s3:/bucket/x"))
    assert problem.endswith("or a URI; a URI begins with s3://")
    assert parse(changed(("out", "abfss://files@account.dfs.core.windows.net/x"))).out.startswith("abfss://")


def test_the_definitions_are_those_of_the_analysis():
    assert tuple(choices.choices("definition")) == analysis.DEFINITIONS
