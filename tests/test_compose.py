"""Command lines into configs: what Hydra composes, and its complaints in our words."""

import contextlib
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
    "quickstart": f"quickstart: {READ}",
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
    "task=nope": "task=nope: must be one of modular_addition, parity",
    "task=null": "task=null: must be one of modular_addition, parity",
    "cluster=lcal": "cluster=lcal: must be one of auto, gpu, inline, local, ray, tpu; did you mean local?",
    "cluster=[ray]": "cluster=[ray]: must be one of auto, gpu, inline, local, ray, tpu",
    "~cluster": "~cluster: must be one of auto, gpu, inline, local, ray, tpu",
    "hydra=1": f"hydra=1: {HYDRA}",
    "hydra.run.dir=x": f"hydra.run.dir=x: {HYDRA}",
    "hydra.searchpath=[file:///tmp]": f"hydra.searchpath=[file:///tmp]: {HYDRA}",
    "hydra/launcher=ray": f"hydra/launcher=ray: {HYDRA}",
    "seeds=1,2": "seeds=1,2: nothing is swept but lists; write seeds=[VALUE,VALUE]",
    "seeds=range(1,3)": "seeds=range(1,3): nothing is swept but lists; write seeds=[VALUE,VALUE]",
}
# Of which Hydra says that they do not fit, the first one alone.
UNFIT = {
    "+task=parity": "force-add of config groups is not supported: '++task=parity'",
    "a@b=c": "Override ++a@b=c looks like a config group override, but config group 'a' does not exist.",
    "out=${nope}": "Interpolation key 'nope' not found full_key: out",
    "out=${out}": "Recursive interpolation detected full_key: out",
    "~nope": "Could not delete from config. 'nope' does not exist.",
    "grid.hidden_size={a:1}": "Error merging override ++grid.hidden_size={a:1} "
    "Cannot merge DictConfig with ListConfig full_key: grid.hidden_size",
}


@pytest.mark.parametrize(("argument", "line"), ONE.items(), ids=[repr(key[:30]) for key in ONE])
def test_an_argument_that_cannot_be_used_is_named(argument, line, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        config, problems = compose([QUICK, argument, "seeds=[7]"])
    assert ConfigError(problems).problems == [line]
    assert parse(config).seeds == (7,)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("argument", "line"), UNFIT.items(), ids=UNFIT)
def test_an_argument_that_does_not_fit_is_named(argument, line):
    with pytest.raises(ConfigError) as caught:
        compose([QUICK, "seeds=1,2", argument])
    assert caught.value.problems == [ONE["seeds=1,2"], line]


def test_a_hyperparameter_beside_an_axis_of_it_is_named():
    axis = ["sweeps=quickstart", "grid.b1=[0.9,0.99]"]
    _, (first, second) = compose([*axis, "+optimizer.b1=0.5", "model.hidden_size=8", "optimizer.b2=0.9"])
    taken = "change that, or take it out with ~grid."
    assert first == f"+optimizer.b1=0.5: has no effect, b1 is an axis (grid.b1=[0.9, 0.99]); {taken}b1"
    assert second.startswith(
        "model.hidden_size=8: has no effect, hidden_size is an axis (grid.hidden_size=[16, "
    )
    config, problems = compose([*axis, "~grid.hidden_size", "model.hidden_size=8"])
    assert not problems
    assert config["model"]["hidden_size"] == 8
    assert config["optimizer"]["b1"] == 0.99  # what the YAML has may stay


@pytest.mark.parametrize("arguments", [[], ["seeds=0"], ["sweep=quickstart"]])
def test_a_sweep_has_to_be_chosen(arguments):
    with pytest.raises(ConfigError) as caught:
        compose(arguments)
    assert caught.value.problems == [f"sweeps: is missing; sweeps=NAME must be one of {SWEEPS}"]


def test_a_sweep_that_is_not_there():
    with pytest.raises(ConfigError) as caught:
        compose(["sweeps=quickstrt", "seeds=1,2"])
    assert caught.value.problems == [
        f"sweeps=quickstrt: must be one of {SWEEPS}; did you mean quickstart?",
        ONE["seeds=1,2"],
    ]


def test_blocks_and_keys_that_are_taken_away_are_left_to_the_config():
    for argument in ("grid=1", "train=null", "~seeds", "~train.steps", "seeds.x=1", "~task.n_bits", "+x=1"):
        config, problems = compose([QUICK, argument])
        assert problems == []
        with pytest.raises(ConfigError):
            parse(config)


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
    assert made.cluster.executor == ("inline" if "inline" in head else "auto")


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
    "a: &a [*a]\n": "",
    "a: " + "[" * 90_000: "recursion",
    "seeds: " + "9" * 5000: "Exceeds the limit (4300 digits)",
    "defaults: [override /task: nope]\n": "Could not find 'task/nope' Available options in 'task': ",
    "defaults: 5\n": "",
    "defaults: [quickstart]\n": "defaults may be _self_ and override /cluster: NAME, ",
    "defaults: [/sweeps@a: mine, /sweeps@b: mine]\n": "defaults may be _self_ and override ",
    "defaults: [override /hydra/launcher: basic]\n": "defaults may be _self_ and override ",
    "a: !!python/object/apply:os.getcwd []\n": "could not determine a constructor for the tag",
    "name: x\nout: ${nope}\n": "Interpolation key 'nope' not found",
    "seeds: 1\n": "Missing mandatory value: name",
    "": "Missing mandatory value: name",
    "\udcff": "'utf-8' codec can't decode",
}


@pytest.mark.parametrize(("text", "said"), BROKEN.items(), ids=[repr(key[:20]) for key in BROKEN])
def test_a_sweep_file_that_cannot_be_used_is_named(own, text, said):
    (own / "mine.yaml").write_text(text, errors="surrogateescape")
    with pytest.raises(ConfigError) as caught:
        compose(["sweeps=mine", "seeds=1,2"])
    first, second = caught.value.problems
    assert first == ONE["seeds=1,2"]
    assert said in second
    assert "Config search path" not in second


def test_a_file_may_have_long_lists(own):
    values = [round(0.5 + i / 100_000, 5) for i in range(10_000)]
    (own / "mine.yaml").write_text(f"name: mine\ngrid:\n  b1: {values}\n")
    assert parse(compose(["sweeps=mine"])[0]).axes["b1"] == tuple(values)


def test_what_is_no_regular_file_is_no_sweep(own):
    (own / "folder.yaml").mkdir()
    os.mkfifo(own / "pipe.yaml")
    (own / "loop.yaml").symlink_to("loop.yaml")
    (own / "gone.yaml").symlink_to("nowhere")
    (own / "null.yaml").symlink_to("/dev/zero")
    assert choices("sweeps") == SWEEPS.split(", ")


def test_nothing_of_the_process_is_changed():
    before = (sys.argv[:], dict(os.environ), warnings.filters[:])
    with contextlib.suppress(ConfigError):
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
