"""Command lines into configs: what Hydra composes, and its complaints in our words."""

import contextlib
import itertools
import os
import sys
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grok_sweep.compose import compose, using
from grok_sweep.core.choices import choices
from grok_sweep.core.config import parse
from grok_sweep.core.sweep import Sweep
from grok_sweep.errors import ConfigError
from grok_sweep.sweep_file import source_of

QUICK = "sweeps=quickstart"
READ = "cannot be read; write KEY=VALUE, a list as [1,2], other text as KEY=\"'...'\""
HYDRA = "settings of Hydra itself have no effect; the results folder is chosen by out=DIR"
SWEEPS = ", ".join(choices("sweeps"))  # which these are, test_config says


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    """Every test runs in a folder of its own, which is not the checkout."""
    monkeypatch.chdir(tmp_path)


def sweep(*arguments):
    config, problems = compose([QUICK, *arguments])
    assert problems == []
    return parse(config)


def test_overrides_are_hydras(tmp_path):
    line = (
        f"{QUICK} out={tmp_path} grid.weight_decay=[0.1,0.3] grid.b1=[0.9] seeds=3 train.steps=5000 "
        "+train.log_every=50 ++optimizer.learning_rate=0.001 cluster=inline ~grid.train_size"
    )
    config, problems = compose(line.split())
    assert problems == []
    made = parse(config)
    assert made.out == str(tmp_path)
    assert made.axes == {"weight_decay": (0.1, 0.3), "hidden_size": (16, 64), "b1": (0.9,)}
    assert (made.seeds, made.steps, made.log_every) == (range(3), 5000, 50)
    assert made.values["learning_rate"] == 0.001
    assert made.cluster.executor == "inline"
    assert not list(tmp_path.iterdir())


def test_every_sweep_and_every_cluster_composes():
    lines = [f"sweeps={name}" for name in choices("sweeps")]
    lines += [f"{QUICK} cluster={name}" for name in choices("cluster") if name != "ray"]
    lines += [f"{QUICK} cluster=ray cluster.address=auto"]
    for line in lines:
        source = source_of(line.split())
        with using(source):
            config, problems = compose(line.split())
        assert problems == []
        made = parse(config, source)
        assert line.startswith(f"sweeps={made.name}")
        assert made.out == f"results/{made.name}"


@pytest.mark.parametrize("key", ["learning_rate", "b1", "b2", "eps", "n_bits"])
def test_any_hyperparameter_is_an_axis(key):
    values = {"learning_rate": (0.1, 0.2), "n_bits": (30, 40)}.get(key, (0.5, 0.25))
    assert sweep(f"grid.{key}=[{values[0]},{values[1]}]").axes[key] == values


def test_a_later_override_wins():
    assert sweep("seeds=[1,2]", "seeds=[5]").seeds == (5,)
    assert compose([QUICK, "sweeps=parity_1125"])[0]["name"] == "parity_1125"


def test_values_are_resolved(monkeypatch):
    monkeypatch.setenv("SCRATCH", "/scratch")
    made = sweep("out=${oc.env:SCRATCH}/${name}", "grid.b1=['${optimizer.b1}',0.5]")
    assert made.out == "/scratch/quickstart"
    assert made.axes["b1"] == (0.99, 0.5)


# What is said of one argument beside a good sweep.
TASKS = "modular_addition, parity"
ONE = {
    "": f"'': {READ}",
    "=": f"=: {READ}",
    "=1": f"=1: {READ}",
    "x": f"x: {READ}",
    "quickstart": f"quickstart: {READ}; did you mean sweeps=quickstart?",
    "a b=c": f"a b=c: {READ}",
    "ünï=1": f"ünï=1: {READ}",
    "out=a\0b": f"out=a\\x00b: {READ}",
    "out=\udcff": f"out=\\udcff: {READ}",
    "name=x\ny": f"name=x\\ny: {READ}",
    "seeds=[0,1": f"seeds=[0,1: {READ}",
    "seeds[0]=1": f"seeds[0]=1: {READ}",
    "seeds=int(a)": f"seeds=int(a): {READ}",
    "grid.=1": f"grid.=1: {READ}",
    "-m": f"-m: {READ}",
    "x" * 2_900: f"{'x' * 77}...: {READ}",
    "x=" + "[" * 2_900: f"x={'[' * 75}...: {READ}",
    "seeds=[" + "1," * 1_500: f"seeds=[{'1,' * 35}...: at most 3,000 characters; "
    "write a longer one in ./sweeps/NAME.yaml",
    "task=nope": "task=nope: must be one of modular_addition, parity",
    "task=5": "task=5: must be one of modular_addition, parity",
    "task=null": "task=null: must be one of modular_addition, parity",
    "task={}": "task={}: must be one of modular_addition, parity",
    "cluster=lcal": "cluster=lcal: must be one of gpu, inline, local, ray, tpu; did you mean local?",
    "cluster=[ray]": "cluster=[ray]: must be one of gpu, inline, local, ray, tpu",
    "~cluster": "~cluster: write cluster=NAME; NAME must be one of gpu, inline, local, ray, tpu",
    "+task=parity": f"+task=parity: write task=NAME; NAME must be one of {TASKS}; did you mean parity?",
    "task@x=parity": f"task@x=parity: write task=NAME; NAME must be one of {TASKS}; did you mean parity?",
    "a/b=c": "a/b=c: there is no such group; groups are task, model, optimizer, cluster, sweeps",
    "a@b=c": "a@b=c: there is no such group; groups are task, model, optimizer, cluster, sweeps",
    "hydra=1": f"hydra=1: {HYDRA}",
    "hydra.run.dir=x": f"hydra.run.dir=x: {HYDRA}",
    "hydra.searchpath=[file:///tmp]": f"hydra.searchpath=[file:///tmp]: {HYDRA}",
    "hydra/launcher=ray": f"hydra/launcher=ray: {HYDRA}",
    "seeds=1,2": "seeds=1,2: nothing is swept but lists; write seeds=[1,2]",
    "grid.b1=0.5,0.9": "grid.b1=0.5,0.9: nothing is swept but lists; write grid.b1=[0.5,0.9]",
    "seeds=range(1,3)": "seeds=range(1,3): nothing is swept but lists; write seeds=[1,2]",
    "seeds=choice(1,2)": "seeds=choice(1,2): nothing is swept but lists; write seeds=[1,2]",
    "out=${nope}": "out=${nope}: Interpolation key 'nope' not found",
    "out='${nope}'": "out='${nope}': Interpolation key 'nope' not found",
    "out=${out}": "out=${out}: Recursive interpolation detected",
    "name=${out}": "name=${out}: Recursive interpolation detected",
    "~nope": "~nope: Could not delete from config. 'nope' does not exist.",
    "grid.hidden_size={a:1}": "grid.hidden_size={a:1}: must be a list, not a block",
}


@pytest.mark.parametrize(("argument", "line"), ONE.items(), ids=[repr(key[:30]) for key in ONE])
def test_an_argument_that_cannot_be_used_is_named(argument, line, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        config, problems = compose([QUICK, argument, "seeds=[7]"])
    assert ConfigError(problems).problems == [line]
    assert parse(config).seeds == (7,)
    assert not list(tmp_path.iterdir())


def test_all_of_them_are_named_at_once():
    arguments = ["out=${nope}", "task=nope", "grid.hidden_size={a:1}", "seeds=1,2", "~nope", "a b=c", "x=1"]
    config, problems = compose([*arguments, "sweeps=quickstrt"])
    assert problems == [
        ONE["task=nope"],
        ONE["seeds=1,2"],
        ONE["a b=c"],
        f"sweeps=quickstrt: must be one of {SWEEPS}; did you mean quickstart?",
        ONE["out=${nope}"],
        ONE["grid.hidden_size={a:1}"],
        ONE["~nope"],
    ]
    assert config["x"] == 1
    assert config["name"] == "quickstart"


@pytest.mark.parametrize("arguments", [[], ["seeds=0"], ["sweep=quickstart"]])
def test_a_sweep_has_to_be_chosen(arguments):
    config, problems = compose(arguments)
    assert problems == [f"sweeps: is missing; sweeps=NAME must be one of {SWEEPS}"]
    assert config["name"] == "quickstart"


def test_blocks_and_keys_that_are_taken_away_are_left_to_the_config():
    for argument in ("grid=1", "train=null", "~seeds", "~train.steps", "seeds.x=1", "~task.n_bits", "+x=1"):
        config, problems = compose([QUICK, argument])
        assert problems == []
        with pytest.raises(ConfigError):
            parse(config)


def test_hydras_complaints_end(monkeypatch):
    """They are looked for one by one, so not for ever."""
    monkeypatch.setattr("grok_sweep.compose.MOST_COMPLAINTS", 2)
    with pytest.raises(ConfigError) as caught:
        compose([QUICK, *(f"~nope{i}" for i in range(3))])
    assert [problem[:7] for problem in caught.value.problems] == ["~nope0:", "~nope1:"]


MINE = "name: mine\ngrid: {b1: [0.5]}\n"


@pytest.fixture
def own(tmp_path):
    folder = tmp_path / "sweeps"
    folder.mkdir()
    return folder


@pytest.mark.parametrize(
    "head", ["", "# @package _global_\n", "# A comment\ndefaults: [override /cluster: inline]\n"]
)
def test_the_users_own_sweeps_are_found(own, head):
    (own / "mine.yaml").write_text(head + MINE)
    config, problems = compose(["sweeps=mine"])
    assert problems == []
    made = parse(config)
    assert (made.name, dict(made.axes)) == ("mine", {"b1": (0.5,)})
    assert made.cluster.executor == ("inline" if "inline" in head else "ray")


def test_the_users_own_sweep_goes_before_ours_of_the_same_name(own):
    (own / "quickstart.yaml").write_text(MINE)
    assert sweep().name == "mine"


def test_no_folder_that_lies_beside_the_own_sweeps_is_taken_for_a_group(own, tmp_path):
    for name in ("out", "seeds", "grid", "train", "task"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "other.yaml").write_text("name: other\n")
    (tmp_path / "config.yaml").write_text("broken: [\n")
    assert sweep("out=out", "seeds=[4]", "grid={b1:[0.5]}").seeds == (4,)
    assert compose([QUICK, "task=other"])[1] == ["task=other: must be one of modular_addition, parity"]


BROKEN = {
    "grid: [1,\n": "while parsing a flow node expected the node content, but found '<stream end>'",
    "a: 1\na: 2\n": "found duplicate key a",
    "- 1\n": "it must be a block of key: value",
    "5\n": "",
    "\x00": "special characters are not allowed",
    "grid: {null: [1]}\n": "",
    "defaults: [override /task: nope]\n": "override /task: nope: must be one of modular_addition",
    "defaults: 5\n": "defaults must be a list of _self_ and override /task: NAME, override /model: NAME, ",
    "defaults: [quickstart]\n": "defaults must be a list of _self_ and override /task: NAME, ",
    "defaults: [/sweeps@a: mine, /sweeps@b: mine]\n": "defaults must be a list of _self_ and override ",
    "defaults: [override /hydra/launcher: basic]\n": "defaults must be a list of _self_ and override ",
    "a: !!python/object/apply:os.getcwd []\n": "could not determine a constructor for the tag",
    "a: !!python/name:os.getcwd\n": "could not determine a constructor for the tag",
    "out: ${nope}\n": "Interpolation key 'nope' not found",
}


@pytest.mark.parametrize(("text", "said"), BROKEN.items())
def test_a_sweep_file_that_cannot_be_used_is_named(own, text, said):
    (own / "mine.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        compose(["sweeps=mine", "seeds=1,2"])
    first, second = caught.value.problems
    assert first == ONE["seeds=1,2"]
    assert second.startswith("sweeps=mine: ")
    assert said in second
    assert "Config search path" not in second


LAUGHS = "".join(f"{b}: &{b} [*{a}, *{a}, *{a}, *{a}]\n" for a, b in itertools.pairwise("abcdefghijklmnop"))
MERGES = LAUGHS.replace("[", "{<<: [").replace("]", "]}")
BOMBS = {
    "laughs": ("a: &a []\n" + LAUGHS, "it has more than 20,000 values, aliases written out"),
    "merges": ("a: &a {x: 1}\n" + MERGES, "it has more than 20,000 values, aliases written out"),
    "an alias in itself": ("a: &a [*a]\n", "it is nested too deep, or in itself"),
    "an alias of nothing": ("a: *b\n", "found undefined alias 'b'"),
    "values": ("a: [" + "1," * 90_000 + "]\n", "it has more than 20,000 values"),
    "lists": ("a: " + "[" * 90_000, "it is nested more than 50 deep"),
    "lists that close": ("a: " + "[" * 90_000 + "]" * 90_000, "it is nested more than 50 deep"),
    "blocks": ("{" * 90_000, "it is nested more than 50 deep"),
    "items": ("- " * 90_000, "it is nested more than 50 deep"),
    "keys": ("? " * 90_000, "it is nested more than 50 deep"),
    "bytes": ("#" * 1_000_001, "it has more than 1,000,000 bytes"),
    "a number": ("seeds: " + "9" * 5000, "Exceeds the limit (4300 digits)"),
    "one within another": ("a: " + "${" * 5 + "\n", ""),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("text", "said"), BOMBS.values(), ids=BOMBS)
def test_a_sweep_file_cannot_take_all_time_or_memory(own, text, said):
    (own / "mine.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        compose(["sweeps=mine"])
    (problem,) = caught.value.problems
    assert problem.startswith("sweeps=mine: ")
    assert said in problem
    assert len(problem) < 1000


# Much of what is within the bounds: seconds.
MUCH = "a: [" + "1," * 2900 + "]\n"
COSTLY = {
    "blocks": (
        MUCH + "b: {x: '${a}', y: '${a}', z: '${a}'}\nc: {x: '${b}', y: '${b}'}\n",
        ["+d={x:${c},y:${c},z:${c}}", "+e=[${d},${d}]"],
    ),
    "text": ("a: xxx\nb: '${a}${a}${a}'\nc: '${b}${b}'\n", ["+d=${c}${c}${c}", "+e=${d}${d}", "++e.x=1"]),
    "text of lists": (MUCH + "b: '${a}${a}${a}'\nc: '${b}${b}'\n", ["+d=${c}${c}${c}", "+e=${d}${d}"]),
    "decoded": (
        "a: '[" + "1," * 140 + "1]'\nb: ${oc.decode:${a}}\nc: ['${b}', '${b}', '${b}']\n",
        ["+d=['${c}','${c}','${c}']", "+e=['${d}','${d}']"],
    ),
    "an alias": ("a: &a [" + "1," * 2900 + "]\nb: *a\n", []),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("text", "more"), COSTLY.values(), ids=COSTLY)
def test_what_is_within_the_bounds_does_not_take_long(own, text, more):
    (own / "mine.yaml").write_text("name: mine\n" + text)
    with contextlib.suppress(ConfigError):
        parse(compose(["sweeps=mine", *more])[0])


def test_arguments_cannot_either():
    with pytest.raises(ConfigError) as caught:
        compose([QUICK, *["x=" + "1" * 1999] * 6])
    assert caught.value.problems == [
        "the arguments: at most 10,000 characters; write longer ones in ./sweeps/NAME.yaml"
    ]


def test_a_file_may_have_long_lists(own):
    values = [round(0.5 + i / 100_000, 5) for i in range(10_000)]
    (own / "mine.yaml").write_text(f"name: mine\ngrid:\n  b1: {values}\n")
    assert parse(compose(["sweeps=mine"])[0]).axes["b1"] == tuple(values)


def test_long_arguments_are_not_searched_for_the_one_that_is_wrong():
    with pytest.raises(ConfigError) as caught:
        compose([QUICK, "seeds=[" + "1," * 600 + "1]", "~nope"])
    assert caught.value.problems == ["Could not delete from config. 'nope' does not exist."]


def test_what_is_no_regular_file_is_no_sweep(own):
    (own / "folder.yaml").mkdir()
    os.mkfifo(own / "pipe.yaml")
    (own / "loop.yaml").symlink_to("loop.yaml")
    (own / "gone.yaml").symlink_to("nowhere")
    (own / "null.yaml").symlink_to("/dev/zero")
    for name in ("folder", "pipe", "loop", "gone", "null"):
        assert compose([f"sweeps={name}"])[1][0].startswith(
            f"sweeps={name}: must be one of fractal, liu2022_a, "
        )


def test_a_file_that_may_not_be_read(own, monkeypatch):
    def refuse(_):
        raise PermissionError(13, "Permission denied")

    (own / "mine.yaml").write_text(MINE)
    monkeypatch.setattr("grok_sweep.sweep_file._load", refuse)  # root may read every file
    with pytest.raises(ConfigError, match=r"^sweeps=mine: \S+mine.yaml cannot be read: .*Permission denied"):
        compose(["sweeps=mine"])


@pytest.mark.parametrize("content", [b"", b"seeds: 1\n", b"name: ???\n", b"\xff\xfe", b"name: 5\n"])
def test_a_sweep_file_without_a_name_is_a_problem_among_others(own, content):
    (own / "mine.yaml").write_bytes(content)
    try:
        config, problems = compose(["sweeps=mine", "seeds=0"])
    except ConfigError as error:
        assert content == b"\xff\xfe"
        assert "cannot be read: 'utf-8' codec" in str(error)  # noqa: PT017
        return
    assert problems == []
    with pytest.raises(ConfigError) as caught:
        parse(config)
    said = "name=5: must" if b"5" in content else "name: is missing; must"
    assert [problem[:5] for problem in caught.value.problems] == ["seeds", said[:5]]
    assert caught.value.problems[1].startswith(said)


def test_nothing_of_the_process_is_changed():
    before = (sys.argv[:], dict(os.environ), warnings.filters[:])
    compose([QUICK, "out=${nope}"])
    assert before == (sys.argv, dict(os.environ), warnings.filters)


words = st.text(st.characters(codec="utf-8"), max_size=12)
NAMES = """
    out name seeds grid grid.b1 grid.weight_decay train.steps train dry_run task cluster sweeps task.name
    optimizer.b1 cluster.workers hydra.run.dir _target_ defaults a.b.c grid.1 hydra a/b a@b seeds.0
"""
VALUES = """
    1 0 -1 nan inf 1e999 [] [1] [0.1,0.1] {} {a:1} null true '' ??? '???' ${out} ${nope} ${oc.env:HOME}
    ${oc.decode:'['} '${.}' ${} 1,2 x range(1,2) inline parity quickstart [[1]] [null] a=b { [ $ \\ ' é
"""
names, values = st.sampled_from(NAMES.split()), st.sampled_from(VALUES.split())
arguments = st.builds(
    "".join,
    st.tuples(st.sampled_from(["", "", "", "+", "++", "~"]), names | words, st.just("="), values | words),
)


@given(st.lists(arguments | words | st.builds("~{}".format, names), max_size=4))
@settings(max_examples=20)
def test_any_arguments_are_composed_or_refused(given_arguments):
    try:
        config, problems = compose([QUICK, *given_arguments])
        made = parse(config)
    except ConfigError as error:
        problems, made = error.problems, None
    assert all(ConfigError([problem]).problems[0].isprintable() for problem in problems)
    assert problems or isinstance(made, Sweep)
