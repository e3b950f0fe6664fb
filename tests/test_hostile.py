"""Whatever is given is a sweep or one message: never a traceback, a hang, or a file left behind."""

import contextlib
import copy
import io
import json
import os
import re
import subprocess

import pytest
import yaml
from conftest import NUMBERS, TINY
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from test_compose import arguments, values, words
from test_config import GOOD, PATHS, changed, junk, keys

from grok_sweep import cli
from grok_sweep.core.config import parse
from grok_sweep.core.sweep import Sweep
from grok_sweep.errors import ConfigError

MESSAGE = re.compile(r"grok-sweep: (\d+ problems:(\n  [^\n]+)+|[^\n]+)\n\Z")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


# Configs, as parse gets them.

odd = st.sampled_from(
    [
        *(float("nan"), float("inf"), -float("inf"), -0.0, 1e-320, 1e308, 2**63, -(2**63), 10**400),
        *("1e5", "0x10", "1_000", "١٢", "²", "true", "null", "NaN", "[1]", "${name}", "???", "a\nb", "\0"),
        *(
            "s3://b/x",
            "S3://b",
            "ftp://x",
            "file://",
            "://",
            "~",
            "~nobody/x",
            "/",
            "..",
            "x" * 5000,
            "\ud800",
        ),
        *([], {}, [[]], [{}], {"": None}, b"bytes", (1, 2), {1, 2}, object, 1j, range(3)),
    ]
)
axis = st.lists(st.integers(-1, 5) | st.floats(-1, 2) | odd, max_size=40)
huge = st.integers(1, 20).flatmap(
    lambda n: st.just({key: [i / 1000 + 1e-3 for i in range(n * 10)] for key in ("b1", "b2", "eps")})
)
anything = junk | odd | axis | huge
any_keys = st.sampled_from([*NUMBERS, "retry_crashed", "fail_fast", "workers_per_gpu"]) | keys
# What a good config becomes: a value elsewhere, a block in a block, a key too many, a key too few.
changes = st.lists(
    st.tuples(st.sampled_from(PATHS).map(".".join), anything)
    | st.tuples(any_keys.map(lambda key: f"grid.{key}"), anything)
    # Copies, for later changes may go into them.
    | st.tuples(any_keys, st.sampled_from([GOOD, GOOD["task"], [GOOD]]).map(copy.deepcopy) | anything),
    max_size=6,
)
# And what stays good: other values of what is allowed.
fractions = st.lists(st.floats(2**-10, 0.5, width=32), min_size=1, max_size=4, unique=True)
shapes = st.lists(st.integers(3, 9), min_size=1, max_size=4, unique=True)
good_changes = st.lists(
    st.sampled_from([key for block in ("task", "model", "optimizer") for key in GOOD[block] if key != "name"])
    .map(lambda key: (f"grid.{key}", NUMBERS[key].kind is int))
    .flatmap(lambda pair: st.tuples(st.just(pair[0]), shapes if pair[1] else fractions))
    | st.tuples(
        st.just("seeds"), st.integers(1, 10**6) | st.lists(st.integers(0, 2**31 - 1), min_size=1, unique=True)
    )
    | st.tuples(st.just("out"), st.sampled_from(["x", "gs://b/x", "a b/ü", "/x", "~"]))
    | st.tuples(st.just("cluster.workers"), st.none() | st.integers(1, 64)),
    max_size=4,
)


def judged(config):
    """Whether `config` is a sweep; if not, its problems are lines that a terminal can show."""
    try:
        made, said = parse(config), []
    except ConfigError as error:
        made, said = None, error.problems
    assert all(problem.isprintable() and 5 < len(problem) < 1000 for problem in said)
    assert said or (isinstance(made, Sweep) and made.n_runs > 0)
    event("refused" if said else "a sweep")
    return not said


def put(change_list):
    """GOOD with changes; where one does not fit into what an earlier one left, the rest is left out."""
    good_so_far = changed()
    for i in range(len(change_list)):
        try:
            good_so_far = changed(*change_list[: i + 1])
        except (TypeError, KeyError, AttributeError):
            break
    return good_so_far


@given(changes)
@settings(max_examples=500)
def test_any_config_is_a_sweep_or_refused(change_list):
    judged(put(change_list))


@given(good_changes)
@settings(max_examples=200)
def test_good_configs_are_sweeps(change_list):
    made = put([change for change in change_list if change[0] != "grid.n_parity_bits"])
    assert judged(made) == (made["seeds"] != [])


@given(st.dictionaries(any_keys, anything, max_size=12) | st.dictionaries(any_keys, huge, max_size=3))
@settings(max_examples=200)
def test_no_junk_is_a_sweep(config):
    assert not judged(config)


# Command lines, and files, as the program gets them.


def listing(folder):
    """Every path below `folder`, with what is in it."""
    paths = sorted(folder.rglob("*"))
    return {str(path): path.read_bytes() if path.is_file() else None for path in paths}


def run(argv):
    """(exit code, stdout, stderr) of the program, in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.main(argv)
    return code, out.getvalue(), err.getvalue()


def check(argv, folder):
    """Run `argv` and see that it was done, or refused in one message with nothing written."""
    before = listing(folder)
    code, out, err = run(argv)
    event(f"exit code {code}")
    assert "Traceback" not in err
    assert code in (0, 2)
    if code == 2:
        # A plan that does not fit this machine is shown all the same.
        assert out == "" or ("dry_run=true" in argv and " runs to train" in out)
        assert MESSAGE.match(err), err
    if code == 2 or "dry_run=true" in argv:
        assert listing(folder) == before
    return code


flags = st.sampled_from(["-m", "--", "--cfg", "job", "-x", "--help", "--version", "-c", "-sc", "-1"])
HOSTILE = """
    seeds=20000000 seeds=1e9 seeds=range(10) seeds='${oc.decode:[1,2]}' seeds=[] seeds.0=1 ~seeds
    out=/dev/null out=/proc/self out=. out=.. out=/ out=ftp://x out=~nobody/x out='${oc.env:HOME}/x'
    name=CON name=.. name=a/b name=- name=ü a.0.b=1 +a.b.c.d=1 ~grid grid={b1:[0.1,0.2]} train={steps:5}
    train.steps=1000000000 train.log_every=1 train.log_every=100 train.steps=1000000 task.n_bits=100000
    task.test_size=10000000 task.train_size=10000000 model.hidden_size=1000000 grid.hidden_size=[1,1000000]
    ~sweeps sweeps=[quickstart] sweeps='../x' sweeps=quickstart.yaml sweeps=null sweeps=parity_1125
    retry_crashed=true retry_crashed=maybe fail_fast=null fail_fast=true
    cluster.workers=0 cluster.workers=4 cluster.workers=1000000 cluster.workers_per_gpu=2 cluster=gpu
    cluster.address=auto cluster.address=x:99999 cluster.deadline_factor=0 cluster=inline cluster=ray
    phases.min_loss=1e-400 phases.definition=liu optimizer.b1=0.99999999999 optimizer.eps=1e-45
    x='${oc.create:[1]}' x='${now:%Y}' x='${hydra:runtime.cwd}' x='${oc.dict.keys:grid}' x='${oc.env:NOPE_}'
    name='${oc.select:nope,a}' out='${name}' name='${out}' grid.b1=['${optimizer.b1}'] x=\\${y} a=\u202ex
"""
hostile = st.sampled_from(
    [
        *HOSTILE.split(),
        "a=" + "[" * 400,
        "a=" + "{a:" * 200,
        "a='" + "$" * 500 + "'",
        "a=" + "${" * 40,
        "out='\t'",
    ]
)
lines = st.lists(arguments | hostile | words | flags | st.builds("{}={}".format, words, values), max_size=5)
NO_RUN = ["seeds=2", "dry_run=true"]  # behind whatever else: what is planned is small, and is not run


@pytest.mark.slow
@given(lines)
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_command_line_is_planned_or_refused(tmp_path, argv):
    check(["sweeps=quickstart", *argv, *NO_RUN], tmp_path)


bad_yaml = st.sampled_from(
    [
        *(
            "grid: [1,\n",
            "- 1\n",
            "\0",
            "a: &a [*a]\n",
            "? [1]\n: 2\n",
            "a: !!python/name:os.system\n",
            "%YAML 9\n",
        ),
        *(
            "a: 1\n---\na: 2\n",
            "defaults: [x]\n",
            "defaults: [override /task: [parity, parity]]\n",
            "name: 2020-01-01\n",
        ),
        *(
            "a: ${b}\n",
            "name: ${name}\n",
            "grid: ${grid}\n",
            "hydra: {run: {dir: x}}\n",
            "_target_: os.system\n",
        ),
        *("seeds: 1:1:1\n", "seeds: 0o17\n", "seeds: .inf\n", "grid: {b1: [.nan]}\n", "name: y\nout: no\n"),
        *(
            "a: |\n  x\n b\n",
            "a:\tb\n",
            "\ufeffname: x\n",
            "name: x\nname: x\n",
            "'': 1\n",
            "~: 1\n",
            "{}: 1\n",
        ),
    ]
)
dumped = st.dictionaries(st.sampled_from([*GOOD, "a"]), junk, max_size=5).map(yaml.safe_dump)
good_yaml = st.just("name: mine\n") | good_changes.map(
    lambda changes: json.dumps(put(changes) | {"out": "x"})
)
texts = dumped | bad_yaml | st.text(max_size=60) | good_yaml
files = st.binary(max_size=60) | texts.map(lambda text: text.encode(errors="replace"))


@pytest.mark.slow
@given(files, st.lists(arguments | hostile, max_size=1))
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_file_is_planned_or_refused(tmp_path, content, argv):
    (tmp_path / "sweeps").mkdir(exist_ok=True)
    (tmp_path / "sweeps" / "mine.yaml").write_bytes(content)
    check(["sweeps=mine", *argv, *NO_RUN], tmp_path)


ONE_CELL = ["~grid.weight_decay", "~grid.hidden_size", "~grid.train_size", "task.train_size=6", "seeds=2"]


@pytest.mark.slow
@pytest.mark.parametrize("last", ["grid.b1=[0.5,0.25]", "name=ü", "out=a/b/c"])
def test_what_is_not_refused_is_trained(last, tmp_path):
    code, out, err = run([*TINY, *ONE_CELL, last])
    assert code == (2 if last == "name=ü" else 0)
    assert bool(list(tmp_path.rglob("phases.parquet"))) == bool(list(tmp_path.iterdir())) == (code == 0)
    assert bool(MESSAGE.match(err)) == (out == "") == (code == 2)


# As users meet it: a process of its own, which has to end.


@pytest.mark.slow
@pytest.mark.parametrize(
    "argv",
    [
        ["sweeps=pipe"],
        ["sweeps=quickstart", "seeds=20000000", "grid.b1=[0.1,0.2]", "grid.b2=[0.1,0.2]"],
        ["sweeps=quickstart", "train.steps=1000000000", "train.log_every=1"],
        ["sweeps=quickstart", "task.test_size=10000000", "model.hidden_size=1000000", "~grid.hidden_size"],
        ["sweeps=quickstart", "a=${b}", "b=${a}${a}"],
    ],
    ids=["pipe", "runs", "curves", "rows", "interpolations"],
)
def test_bombs_are_one_message_soon(argv, command, tmp_path):
    folder = tmp_path / "sweeps"
    folder.mkdir()
    os.mkfifo(folder / "pipe.yaml")
    before = listing(tmp_path)
    done = subprocess.run(
        [*command, *argv], capture_output=True, text=True, check=False, cwd=tmp_path, timeout=60
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert MESSAGE.match(done.stderr), done.stderr
    assert listing(tmp_path) == before
