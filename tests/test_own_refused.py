"""Parts of one's own that cannot be used: one message, and nothing is written."""

import re
from pathlib import Path

import jax
import pytest
from own import (
    HEAD,
    LARGER,
    LINE,
    OWN,
    RATIO,
    SHORT,
    of_ratio,
    refused,
    run,
    sweep_file,
)

from grok_sweep.cli import main

# What cannot be used


@pytest.mark.usefixtures("files")
def test_nothing_but_the_sweeps_own_file_names_code(tmp_path, capfd):
    (tmp_path / "sweeps" / "other.py").write_text("raise SystemExit('run')\n")
    said = refused(capfd, "parts=other.py")
    assert said == "parts='other.py': is for the sweep's own file to name; it names mine.py"
    assert refused(capfd, "parts=null") == "parts=null: is for the sweep's own file to name; it names mine.py"
    assert refused(capfd, "~parts").startswith("parts")
    assert main(["sweeps=quickstart", "parts=other.py", "dry_run=true"]) == 2
    assert capfd.readouterr().err == (
        "grok-sweep: parts='other.py': is for the sweep's own file to name; it names none\n"
    )
    assert run("parts=mine.py", "dry_run=true") == 0  # as it is


def test_steps_that_are_none_are_no_fault_of_the_task(files, capfd):
    check = "    def check(self, h): return [('largest', 'is small')] if h.steps < h.largest else []\n\n"
    files(
        OWN.replace(
            "    def data(self, h, seed):\n        rng", check + "    def data(self, h, seed):\n        rng"
        )
    )
    for steps in ("abc", "null", "-5"):
        assert "mine.py" not in refused(capfd, f"train.steps={steps}")
    assert "task.largest" in refused(capfd, "train.steps=4", "train.log_every=1", "train.snapshot_every=null")


def test_a_dry_run_refuses_what_the_run_would(files, capfd):
    """A shape that is wrong at the last value of an axis; not one run whose data cannot be made."""
    wrong = "        return nn.Dense(3 if self.width == 8 else 2)(x) / self.temperature"
    files(
        OWN.replace("        return nn.Dense(2)(x) / self.temperature", wrong).replace(
            "(output, y)\n\n", "(output[:, :2], y) + 0 * output[:, :2].sum(axis=0)\n\n"
        )
    )
    said = {refused(capfd, *more) for more in ([], ["dry_run=true"])}
    assert len(said) == 1
    bad = "        if seed == 1: raise ValueError('none')\n"
    files(OWN.replace("        rng = np.random", bad + "        rng = np.random"))
    assert run("dry_run=true") == 0
    assert run("dry_run=true", "seeds=[1,2]") == 0
    assert "ValueError: none" in refused(capfd, "dry_run=true", "seeds=[1]")


def test_programs_that_were_not_tried_are_said(files, capfd):
    """Only that which comes last is wrong: it shows in training, as is told."""
    files(OWN + "@metric\ndef odd(h, at):\n    assert h.width != 6\n    return at.train_size\n")
    assert run("dry_run=true", f"grid.width={[*range(5, 26)]}", "seeds=[1]") == 0
    told = "mine.py: 20 of 21 programs were tried before training; what is wrong with others alone shows then"
    assert told in capfd.readouterr().err
    assert "AssertionError" in refused(capfd, "dry_run=true", "grid.width=[5,6]", "seeds=[1]")


def test_a_part_that_the_sweep_misspells(files, capfd):
    files(sweep=sweep_file("override /task: largr", "override /model: net", "override /optimizer: sgd"))
    assert "Could not find 'task/largr' Available options in 'task': larger modular_" in refused(capfd)


@pytest.mark.parametrize(
    "named",
    [
        *("sub/mine.py", "../mine.py", "/etc/passwd", "./mine.py", "mine.txt", "mine", ".hidden.py", "-m.py"),
        *("", "mine.py\n", 5, True, ["mine.py"]),
    ],
    ids=repr,
)
def test_a_file_of_parts_lies_beside_the_sweep(files, named, capfd):
    files(OWN, sweep_file(parts=named))
    said = refused(capfd)
    assert said.startswith(str(Path("sweeps/mine.yaml").resolve()))
    assert said.endswith(f"parts={named!r}: must be the name of a .py file beside it")


def test_a_file_of_parts_is_no_link_to_elsewhere(files, tmp_path, capfd):
    there = tmp_path / "sweeps" / "mine.py"
    there.unlink()
    (tmp_path / "elsewhere.py").write_text(OWN)
    there.symlink_to(tmp_path / "elsewhere.py")
    assert refused(capfd).endswith(f"{there} is a link to elsewhere; have the file beside the YAML")


@pytest.mark.parametrize("name", ["helper_beside.py", "helper_folder/__init__.py", "helper_space/scale.py"])
def test_what_lies_beside_a_file_of_parts_is_not_imported(files, tmp_path, capfd, monkeypatch, name):
    """Workers elsewhere have it not, and nobody would know that it has changed."""
    helper = tmp_path / "sweeps" / name
    helper.parent.mkdir(exist_ok=True)
    helper.write_text("SCALE = 1.0\n")
    module = name.partition(".")[0].partition("/")[0]
    imported = "helper_space.scale" if "scale" in name else module
    files(f"import {imported}\n{OWN}")
    assert "a file of parts travels alone" in refused(capfd)
    monkeypatch.syspath_prepend(tmp_path / "sweeps")
    files(f"import {imported}\n\n{OWN}")
    assert f"parts=mine.py: imports {module} from beside it; a file of parts travels alone" in refused(capfd)


def test_what_pictures_show_of_a_model_is_no_hyperparameter(files, capfd):
    files(OWN.replace("@model(width=", "@model(opens=whole(1, 'a', 1, 2), width="))
    assert "opens is no hyperparameter; call it otherwise" in refused(capfd)


def test_a_file_of_parts_that_cannot_be_read(files, tmp_path, capfd):
    there = tmp_path / "sweeps" / "mine.py"

    def check(words):
        said = refused(capfd)
        assert said.startswith(
            f"{tmp_path / 'sweeps' / 'mine.yaml'}: parts=mine.py: {there} cannot be read: "
        )
        assert words in said
        assert main(["sweeps=mine", "--cfg", "job"]) == main(["sweeps=mine", "--help"]) == 2
        capfd.readouterr()

    there.unlink()
    check("No such file or directory")
    there.mkdir()
    check("Is a directory")
    there.rmdir()
    there.write_bytes(b"# \xff\xfe\n" + OWN.encode())
    check("can't decode byte")
    files()
    assert run("dry_run=true") == 0


def changed(old: str, new: str) -> str:
    assert old in OWN
    return OWN.replace(old, new)


IN_DATA = "        rng = np.random.default_rng(seed)\n"
TO_WORDS = "        y = np.where(y, 'yes', 'no')\n"
IN_LOSS = "        return optax.softmax_cross_entropy_with_integer_labels(output, y)\n"
BROKEN = {
    "syntax": (f"{OWN}def (:\n", r"mine\.py, line \d+: "),
    "an error at once": (f"{OWN}1 / 0\n", r"mine\.py, line \d+ in <module>: ZeroDivisionError"),
    "an end at once": (f"{OWN}raise SystemExit(0)\n", r"mine\.py, line \d+ in <module>: SystemExit"),
    "no part of that name": (changed("class Larger", "class Smaller"), ".*larger"),
    "a default": (
        changed('whole(4, "neurons"', 'whole(0, "neurons"'),
        "mine.py: model net: the default of wi",
    ),
    "a shared name": (
        changed("momentum=real", "width=real").replace("h.momentum", "h.width"),
        "optimizer sgd: width is a hyperparameter of model net too",
    ),
    "data": (changed(IN_DATA, "        1 / 0\n"), r"mine\.py, line \d+ in data: ZeroDivisionError"),
    "data that are none": (
        changed(IN_DATA, "        return 5\n"),
        r"task larger: data gives int; give Data\(",
    ),
    "words for labels": (
        changed("        return Data(", f"{TO_WORDS}        return Data("),
        "task larger: data g",
    ),
    "no rows": (
        changed("        return Data(", "        train = 0\n        return Data("),
        "task larger: data g",
    ),
    "check": (
        changed(IN_LOSS, f"{IN_LOSS}\n    def check(self, h):\n        return 1 / 0\n"),
        r"mine\.py, line \d+ in check: ZeroDivisionError",
    ),
    "a misspelt loss": (
        changed("labels(output", "labels(h.outptu"),
        r"mine\.py, line \d+ in loss: MissingError",
    ),
    "a loss of all rows": (
        changed("labels(output, y)", "labels(output, y).mean()"),
        r"task larger: loss gives shape \(\); of 18 rows give \(18,\)",
    ),
    "correct in numbers": (
        changed("axis=1) == y", "axis=1) - y"),
        "task larger: correct gives int32; give bool, which rows are right",
    ),
    "a model of nothing": (changed("return Net(", "Net("), ".*net"),
    "a misspelt number": (
        changed("h.width, h", "h.widht, h"),
        r"mine\.py, line \d+ in net: MissingError: th",
    ),
    "a network": (changed("nn.tanh(", "nn.tanhh("), r"mine\.py, line \d+ in __call__: AttributeError"),
    "an optimizer of nothing": (
        changed("return optax.sgd", "optax.sgd"),
        "optimizer sgd: gives NoneType; give an",
    ),
    "an optimizer": (
        changed("return optax.sgd(", "return optax.sdg("),
        r"mine\.py, line \d+ in sgd: Attribute",
    ),
    "a metric of rows": (
        f"{OWN}@metric\ndef m(h, at): return at.output_test\n",
        r"metric m: gives shape \(18, 2\); give one number",
    ),
    "a file beside it": (
        f"import nothing_such\n{OWN}",
        r"mine\.py, line 1 in <module>: ModuleNotFoundError: .*; a file of parts travels alone: install what",
    ),
    "a metric of nothing": (
        f"{OWN}@metric\ndef m(h, at): at.train_loss\n",
        r"metric m: gives NoneType; give one number",
    ),
    "a metric of complex numbers": (
        f"{OWN}@metric\ndef m(h, at): return at.train_loss * 1j\n",
        r"metric m: gives a complex number; give its size",
    ),
    "a metric called as what pictures have": (
        f"{OWN}@metric\ndef loss(h, at): return at.train_loss\n",
        r"mine\.py: metric loss: there is a column of a table of this name",
    ),
    "a metric whose start is no keyword": (
        f"{OWN}@metric(0.0)\ndef m(h, at, so_far): return so_far\n",
        r"write @metric above a function, or @metric\(start=0\.0\)|mine\.py",
    ),
    "a loss that is a mean": (
        changed(
            "        return optax.softmax_cross_entropy_with_integer_labels(output, y)",
            "        return output.mean()",
        ),
        r"task larger: loss gives shape \(\); of 18 rows give \(18,\), one number each and not their mean",
    ),
    "a loss that returns nothing": (
        changed(
            "        return optax.softmax_cross_entropy_with_integer_labels(output, y)",
            "        output.mean()",
        ),
        r"task larger: loss gives nothing; of 18 rows give \(18,\)",
    ),
    "data without h": (
        changed("def data(self, h, seed):", "def data(self, seed):"),
        r"mine\.py: task larger: data must be a method of \(h, seed\)",
    ),
    "data without the seed": (
        changed("np.random.default_rng(seed)", "np.random.default_rng()"),
        r"task larger: data gives other rows for the same h and seed; draw them from np\.random",
    ),
    "x is nan": (
        changed("pairs = pairs.astype(np.int32)", "pairs = np.where(pairs == 0, np.nan, pairs)"),
        r"task larger: data gives train rows with nan or inf in x",
    ),
    "a version": (
        OWN.replace("@model(", "@model(version=0, "),
        r"mine\.py: model net: its version is 0; give a whole number from 1 on",
    ),
    "a start": (
        f"{OWN}@metric(start='none')\ndef m(h, at, so_far): return so_far\n",
        r"mine\.py: metric m: its start is 'none'; give a number",
    ),
    "a metric that does not go on": (
        f"{OWN}@metric(start=0)\ndef m(h, at): return 1.0\n",
        r"mine\.py: metric m: must be a function of \(h, at, so_far\)",
    ),
    "a metric": (f"{OWN}@metric\ndef m(h, at): return at.nope\n", r"mine\.py, line \d+ in m: AttributeError"),
}


@pytest.mark.parametrize(("code", "words"), BROKEN.values(), ids=BROKEN)
def test_a_mistake_in_the_file_is_one_message_before_anything_is_written(one_run, code, words, capfd):
    one_run(code)
    said = refused(capfd)
    assert "\n" not in said
    assert re.match(words, said), said


@pytest.mark.parametrize(
    "code", [f"def\n{OWN}", OWN.replace("return optax.softmax_cross", "return -optax.nothing")]
)
def test_ray_does_not_start_for_a_file_with_a_mistake(one_run, code, capfd, monkeypatch):
    """One that does not run, and one whose first step does not."""

    def start_ray(*_):
        raise AssertionError("it starts")

    monkeypatch.setattr("grok_sweep.executors.start_ray", start_ray)
    one_run(code)
    assert main(["sweeps=mine", "cluster=local", "out=out"]) == 2
    assert capfd.readouterr().err.startswith("grok-sweep: mine.py, line ")
    one_run(OWN)
    with pytest.raises(AssertionError, match="it starts"):
        main(["sweeps=mine", "cluster=local", "out=out"])


def test_every_row_by_every_row(one_run, capfd):
    """What jax makes of an output of a column and targets of none, where a user has not forbidden it."""
    one_run(changed(IN_LOSS, "        return (output[:, :1] - y) ** 2\n"))
    with jax.numpy_rank_promotion("allow"):
        said = refused(capfd)
    shapes = "gives shape (18, 18); of 18 rows give (18,); of an output of shape (18, 1) take output[:, 0]"
    assert said == f"task larger: loss {shapes}"


def test_a_built_in_model_that_needs_what_an_own_task_has_not(files, capfd):
    """The hyperparameter that it asks for is named."""
    files(HEAD + LARGER, sweep_file("override /task: larger", "override /model: modular_mlp", grid={}))
    said = refused(capfd)
    assert "\n" not in said
    assert "modulus" in said


def test_a_task_says_what_does_not_fit_together(files, capfd):
    check = """
    def check(self, h):
        if h.largest * h.share < 1:
            yield "share", f"must be at least 1 / {h.largest}"
"""
    files(changed(IN_LOSS, IN_LOSS + check))
    said = refused(capfd, "task.largest=2", "task.share=0.25")
    assert said == "task.share=0.25: must be at least 1 / 2"
    said = refused(capfd, "grid={share:[0.9,0.1,0.6],largest:[5,9]}")
    assert said == "grid.share=0.1: must be at least 1 / 5"
    files(changed(IN_LOSS, IN_LOSS + check.replace('"share"', '"nowhere"')))
    said = refused(capfd, "task.largest=2", "task.share=0.25")
    assert "nowhere" in said
    assert "\n" not in said


def test_rows_that_depend_on_the_seed_are_said_to(one_run, capfd):
    """How many there are is asked of one seed: the plan, and the compiled program, are of that many."""
    count = "train = int(round(h.share * len(pairs)))"
    one_run(changed(count, f"{count} + seed"))
    assert run("seeds=[0,1]") in (1, 2)
    err = capfd.readouterr().err
    assert "Traceback" not in err
    assert "task larger: data" in err


NONE = "    correct = None\n"
RATIO_PARTS = ("override /task: ratio", "override /model: curve")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("(h.n + 10, 1))", "(h.n + 10, 1))[seed % 2 :]",
         "data gives 20 and 9 training and test rows (seed 3)"),
        ("x[: h.n], x[: h.n]", "x[: h.n - seed], x[: h.n - seed]", "where 20 and 10 are planned"),
        ("axis=1)  #", "axis=1) > 1  #", "task ratio: loss gives bool, which has no slope; give fractions"),
        (NONE, f"{NONE}    def loss_floor(self, h): return None\n", "loss_floor gives None"),
        (NONE, f"{NONE}    def check(self, h):\n        if h.n == 21: yield 'n', 'no'\n", "grid.n=21: no"),
        ("y) ** 2", "y) ** 2 * (2 if h.rate_of > 1 else 1)", "jnp.where instead of if; or declare static"),
        ("rng(seed).uniform", "exit(0) or rng(seed).uniform", "SystemExit: 0"),
        ("uniform(1, 3, (h.n + 10, 1))", "uniform(1, 3, (10**9, 10**9))", "MemoryError: Unable to"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_task_is_said_before_it_is_trained(one_run, old, new, words, capfd):
    of_ratio(one_run)
    code = (HEAD + RATIO + LINE).replace('"n": whole', '"rate_of": real(1.0, "x"), "n": whole')
    code = code.replace("np.random.default_rng", "rng").replace(
        "class Ratio", "rng = np.random.default_rng\nclass Ratio"
    )
    assert old in code
    one_run(
        code.replace(old, new),
        "override /task: ratio",
        "override /model: curve",
        phases={"definition": "pair"},
    )
    said = refused(capfd, *SHORT, "grid.n=[20,21,22]")
    assert "\n" not in said
    assert words in said


def test_liu_needs_accuracies(one_run, capfd):
    of_ratio(one_run)
    said = refused(capfd, *SHORT, "phases.definition=liu")
    assert said.startswith("phases.definition='liu': needs accuracies, which task ratio has not; choose pair")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("BatchNorm(use_running_average=True)", "Norm: has the collection batch_stats beside params"),
        ("Dropout(0.5, deterministic=False)", "in __call__: InvalidRngError"),
    ],
)
def test_a_module_of_more_than_params_is_refused(one_run, code, words, capfd):
    net = f"""
class Norm(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(1)(nn.{code}(x))


@model()
def norm(h):
    return Norm()
"""
    one_run(
        HEAD + RATIO + net, "override /task: ratio", "override /model: norm", phases={"definition": "pair"}
    )
    assert words in refused(capfd, *SHORT)
