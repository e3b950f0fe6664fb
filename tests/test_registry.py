"""Parts of a user's file: how they are found, and what is said of those that cannot be used, in one line."""

import pickle
import textwrap

import pytest

from grok_sweep.core import registry
from grok_sweep.core.parts import PartError, Values
from grok_sweep.core.registry import find, parts_of
from grok_sweep.core.source import Source

BUILT_IN = {
    "task": {"parity", "modular_addition"},
    "model": {"relu_mlp", "modular_mlp", "modular_circle"},
    "optimizer": {"adamw", "adamw_l1"},
    "metric": set(),
    "definition": {"pair", "liu", "liu_lasting"},
}
FROM = "from grok_sweep.core.parts import Data, Task, metric, model, optimizer, real, whole\n"
TASK = """
class TwoWords(Task):
    numbers = {"largest": whole(3, "numbers are 0 to this", 1, 9), "rate": real(0.5, "some rate", 0, 1)}
    def data(self, h, seed):
        import numpy as np
        x = np.arange(h.largest)
        return Data(x + seed, x, x[:2], x[:2])
    def loss(self, h, output, y): return output
    def correct(self, h, output, y): return output > y
"""
MODEL = """
@model(width=whole(8, "neurons", 1, 100))
def net(h): return ("net", h.width)
"""
OPTIMIZER = """
@optimizer(momentum=real(0.9, "of the gradient", 0, 1, below=True))
def sgd(h): return ("sgd", h.momentum)
"""


def source(text, name="mine.py"):
    return Source(name, FROM + textwrap.dedent(text))


def own(text):
    """kind -> the names that a file adds."""
    found = parts_of(source(text))
    assert found.keys() == BUILT_IN.keys()
    assert all(found[kind].keys() >= BUILT_IN[kind] for kind in BUILT_IN)
    return {kind: found[kind].keys() - BUILT_IN[kind] for kind in BUILT_IN}


def refused(text):
    """What is said of a file: one line that begins with its name."""
    with pytest.raises(PartError) as caught:
        parts_of(source(text))
    said = str(caught.value)
    assert said.startswith("mine.py")
    assert said.isprintable()  # so it is one line
    assert len(said) < 500
    return said


def line_of(text, words):
    """The number of the line of a source that holds some words."""
    (line,) = [i for i, line in enumerate(source(text).text.splitlines(), start=1) if words in line]
    return line


# What is found


def test_the_built_in_parts():
    assert {kind: set(found) for kind, found in parts_of(None).items()} == BUILT_IN
    assert registry.names("task") == ["modular_addition", "parity"]
    assert registry.names("model") == ["modular_circle", "modular_mlp", "relu_mlp"]
    assert registry.metrics(None) == {}
    for kind, names in BUILT_IN.items():
        for name in names:
            part = find(kind, name)
            assert part.name == name
            for number in part.numbers.values():
                assert number.meaning
                assert number.problem(number.default) is None


def test_a_file_adds_what_is_declared_in_it():
    assert own(TASK) == {
        "task": {"two_words"},
        "model": set(),
        "optimizer": set(),
        "metric": set(),
        "definition": set(),
    }
    text = TASK + MODEL + OPTIMIZER + "@metric\ndef surest(h, at): return 1.0\n"
    everything = source(text)
    assert own(text) == {
        "task": {"two_words"},
        "model": {"net"},
        "optimizer": {"sgd"},
        "metric": {"surest"},
        "definition": set(),
    }
    h = Values({"largest": 3, "width": 5, "momentum": 0.5})
    assert find("model", "net", everything).make(h) == ("net", 5)
    assert find("optimizer", "sgd", everything).make(h) == ("sgd", 0.5)
    assert list(registry.metrics(everything)) == ["surest"]
    assert registry.names("task", everything) == ["modular_addition", "parity", "two_words"]
    assert find("task", "two_words", everything).data(h, 10).x_train_ND.tolist() == [10, 11, 12]
    with pytest.raises(KeyError):
        find("task", "two_words")


def test_several_parts_of_a_kind():
    more = MODEL.replace("def net", "def wider") + MODEL
    assert own(more)["model"] == {"net", "wider"}


@pytest.mark.parametrize(
    ("head", "name"),
    [
        ("class Larger(Task):", "larger"),
        ("class TwoWords(Task):", "two_words"),
        ("class sums(Task):", "sums"),
        ('class Larger(Task):\n    name = "other"', "other"),
    ],
)
def test_a_task_is_called_as_its_class_or_as_it_says(head, name):
    text = TASK.replace("class TwoWords(Task):", head)
    assert own(text)["task"] == {name}
    assert find("task", name, source(text)).name == name


def test_what_is_brought_from_elsewhere_is_not_declared_again():
    brought = """
        from grok_sweep.core.builtin import adamw, relu_mlp
        from grok_sweep.core.tasks.parity import Parity
        from grok_sweep.core.parts import Optimizer
    """
    assert own(textwrap.dedent(brought) + MODEL) == {
        "task": set(),
        "model": {"net"},
        "optimizer": set(),
        "metric": set(),
        "definition": set(),
    }
    assert "declares no part" in refused(brought)


def test_a_part_with_two_names_in_its_file_is_one():
    assert own(MODEL + "also = net\n" + TASK + "Also = TwoWords\n") == {
        "task": {"two_words"},
        "model": {"net"},
        "optimizer": set(),
        "metric": set(),
        "definition": set(),
    }


def test_a_task_may_build_upon_a_built_in_one():
    text = """
        from grok_sweep.core.tasks.parity import Parity
        class Odd(Parity):
            def data(self, h, seed):
                data = super().data(h, seed)
                return Data(data.x_train_ND, 1 - data.y_train_N, data.x_test_ND, 1 - data.y_test_N)
    """
    odd, parity = find("task", "odd", source(text)), find("task", "parity")
    values = Values({"n_bits": 5, "n_parity_bits": 2, "train_size": 6, "test_size": 7})
    assert odd.rows(values) == (6, 7)
    assert (odd.data(values, 1).y_train_N == 1 - parity.data(values, 1).y_train_N).all()
    assert parity.name == "parity"


def test_the_default_methods_of_a_task_ask_its_data():
    task = find("task", "two_words", source(TASK))
    h = Values({"largest": 7, "rate": 0.5})
    assert task.rows(h) == (7, 2)
    assert task.row(h) == ((), "int32")
    assert list(task.check(h)) == []
    assert task.loss_floor(h) == 2.0**-23
    assert task.rows_axis == 0
    assert task.models == ()


def test_a_file_is_run_once_for_its_content():
    text = MODEL
    assert parts_of(source(text)) is parts_of(source(text))
    assert find("model", "net", source(text)) is find("model", "net", source(text))
    other = source(text + "# changed\n")
    assert find("model", "net", other) is not find("model", "net", source(text))
    assert other.digest != source(text).digest
    assert len(other.digest) == 16


def test_what_is_declared_in_a_file_can_be_pickled_there():
    """As the standard library's own: by module and name, which a worker makes again from the source."""
    text = f"""{MODEL}
from dataclasses import dataclass
@dataclass
class Point:
    x: int = 1
point = Point(3)
"""
    parts_of(source(text))
    net = find("model", "net", source(text))
    point = net.make.__globals__["point"]
    assert pickle.loads(pickle.dumps(point)) == point  # noqa: S301
    assert pickle.loads(pickle.dumps(source(text))) == source(text)  # noqa: S301


def test_futures_and_annotations_of_a_file_are_its_own():
    text = f"from __future__ import annotations\n{FROM}@model()\ndef net(h: Nowhere) -> Nothing: return 1\n"
    assert find("model", "net", Source("mine.py", text)).make(None) == 1


# What is refused


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (MODEL.replace("def net", "def relu_mlp"), "model relu_mlp"),
        (OPTIMIZER.replace("def sgd", "def adamw"), "optimizer adamw"),
        (TASK.replace("TwoWords", "ModularAddition"), "task modular_addition"),
    ],
)
def test_a_built_in_name_is_not_taken_over(text, name):
    assert refused(text) == f"mine.py: there is a built-in {name}; call yours otherwise"


def test_two_parts_of_a_name_are_told_apart_from_built_in_ones():
    text = TASK + TASK.replace("class TwoWords(Task):", 'class Another(Task):\n    name = "two_words"')
    said = refused(text)
    assert "task two_words" in said
    assert "built-in" not in said


@pytest.mark.parametrize("text", ["", "x = 1\n", "class Net: pass\n", "def net(h): return 1\n"])
def test_a_file_without_parts(text):
    said = refused(text)
    assert said.startswith("mine.py: declares no part; derive from Task, or decorate with @model, @optimizer")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def net(h:\n", "'(' was never closed"),
        ("x = 1\n  y = 2\n", "unexpected indent"),
        ("return 5\n", "'return' outside function"),
        ("x = 'abc\n", "unterminated string literal"),
    ],
)
def test_a_syntax_error_is_told_with_its_line(text, words):
    said = refused("# a comment\n" + text + MODEL)
    first = source("").text.count("\n") + 2
    assert said.startswith("mine.py, line ")
    assert int(said.removeprefix("mine.py, line ").partition(":")[0]) in (first, first + 1)
    assert words in said


def test_a_null_byte_is_no_python():
    assert "null bytes" in refused(MODEL + "\0")


FAILS = (
    MODEL
    + """
def helper(x):
    return 1 // x      # here it fails

def other():
    return helper(0)   # called from here

other()                # and from here
"""
)


def test_an_error_is_told_with_its_file_and_lines():
    lines = [line_of(FAILS, words) for words in ("# and from here", "# called from here", "# here it fails")]
    where = "line {} in <module>, line {} in other, line {} in helper".format(*lines)
    assert refused(FAILS) == f"mine.py, {where}: ZeroDivisionError: integer division or modulo by zero"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("import nowhere_at_all\n", "ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("open('nowhere')\n", "FileNotFoundError: [Errno 2] No such file or directory: 'nowhere'"),
        ("raise ValueError('two\\nlines')\n", "ValueError: two lines"),
        ("raise ValueError('x' * 10_000)\n", "ValueError: xxx"),
        ("raise SystemExit(3)\n", "SystemExit: 3"),
        ("@model(width=whole())\ndef net(h): return 1\n", "TypeError: whole() missing 2 required"),
        ("@model(width=whole(1, 'x', 0, 9, nope=1))\ndef net(h): return 1\n", "TypeError: "),
        ("@model\ndef net(h): return 1\n", "PartError: write @model() above a function"),
    ],
)
def test_whatever_goes_wrong_is_one_line(text, words):
    said = refused("\n" + text)
    assert said.startswith("mine.py, line 3 in <module>: ")
    assert words in said


# Hyperparameters


@pytest.mark.parametrize(
    ("number", "said"),
    [
        ("whole(0, 'x', 1, 9)", "the default of width, 0, must be a whole number from 1 to 9"),
        ("whole(1.5, 'x', 1, 9)", "the default of width, 1.5, must be a whole number from 1 to 9"),
        ("whole(True, 'x', 0, 9)", "the default of width, True, must be a whole number from 0 to 9"),
        ("whole(3, 'x', among=(1, 2))", "the default of width, 3, must be 1 or 2"),
        ("whole(None, 'x', 1, 9)", "the default of width, None, must be a whole number from 1 to 9"),
        ("real(0, 'x', 0, above=True)", "the default of width, 0, must be a finite number greater than 0"),
        ("real('a', 'x')", "the default of width, 'a', must be a finite number"),
        ("real(float('nan'), 'x')", "the default of width, nan, must be a finite number"),
        ("real(1e-60, 'x', 0, above=True)", "the default of width, 1e-60, must be a finite number greater "
         "than 0; in float32, which runs are computed in, it is 0"),
        ("5", "width must be declared by whole(...) or real(...)"),
        ("int", "width must be declared by whole(...) or real(...)"),
    ],
)  # fmt: skip
def test_a_default_that_is_not_allowed(number, said):
    assert refused(f"@model(width={number})\ndef net(h): return 1\n") == f"mine.py: model net: {said}"
    text = f"class Mine(Task):\n    numbers = {{'width': {number}}}\n"
    assert refused(text) == f"mine.py: task mine: {said}"


@pytest.mark.parametrize("name", ["two words", "1st", "a-b", "a.b", "", "_hidden", "__class__", "a\\nb"])
def test_a_name_that_no_key_of_a_config_can_have(name):
    said = refused(f"class Mine(Task):\n    numbers = {{'{name}': whole(1, 'x')}}\n")
    assert said.startswith("mine.py: task mine: ")
    assert said.endswith(" cannot be the name of a hyperparameter; use letters, digits and _")


# Hydra reads no other letters; `defaults` means something to it; methods of h hide the others.
@pytest.mark.parametrize("name", ["breite_ü", "λ", "defaults", "keys", "items", "values", "get"])
def test_a_name_that_could_not_be_used_later(name):
    assert name in refused(f"class Mine(Task):\n    numbers = {{'{name}': whole(1, 'x')}}\n")


COLUMNS = [
    *("run_id", "sweep", "task", "seed", "model", "optimizer", "steps", "log_every", "device", "seconds"),
    *("phase", "name", "step", "diverged_step", "min_train_loss", "min_eval_loss", "max_loss_ratio"),
    *("final_train_loss", "final_eval_loss", "final_train_accuracy", "final_eval_accuracy"),
]
OF_CELLS = ["runs", "majority", "n_grok", "share_fail", "low_memorize", "high_generalize"]


@pytest.mark.parametrize("name", [*COLUMNS, *OF_CELLS])
def test_a_name_that_the_tables_have_already(name):
    said = refused(f"@optimizer({name}=whole(1, 'x'))\ndef sgd(h): return 1\n")
    assert said.startswith(f"mine.py: optimizer sgd: {name} is the name of a column of ")
    assert said.endswith("; call it otherwise")


@pytest.mark.parametrize(
    "name", ["run_id", "step", "train_loss", "eval_loss", "train_accuracy", "eval_accuracy", "weight_norm"]
)
def test_a_metric_that_every_curve_has_already(name):
    assert refused(f"@metric\ndef {name}(h, at): return 1\n") == (
        f"mine.py: metric {name}: every curve has a column of this name; call it otherwise"
    )


# Not all of what Hydra takes for something else; see also the names of hyperparameters.
@pytest.mark.parametrize("name", ["a=b", "a,b", "null", "1", "mine.yaml", "${name}", "two\nlines", "ü"])
def test_a_task_has_a_name_that_can_be_chosen(name):
    said = refused(TASK.replace("class TwoWords(Task):", f"class TwoWords(Task):\n    name = {name!r}"))
    assert "name" in said


def test_a_model_without_a_name_of_its_own_is_called_as_it_is_in_the_file():
    """Or it is refused: under `<lambda>` nobody could choose it."""
    text = "net = model(width=whole(8, 'neurons', 1, 100))(lambda h: h.width)\n"
    try:
        found = own(text)["model"]
    except PartError as error:
        assert str(error).startswith("mine.py")  # noqa: PT017
        return
    assert found == {"net"}


@pytest.mark.parametrize("method", ["data", "loss", "correct"])
def test_a_task_that_lacks_a_method(method):
    said = refused(TASK.replace(f"def {method}(", f"def {method}_("))
    assert said.startswith(f"mine.py: task two_words: has no method {method}")


def test_two_parts_of_a_sweep_may_not_share_a_hyperparameter():
    text = TASK + MODEL.replace("width=", "rate=") + OPTIMIZER.replace("momentum=", "width=")
    mine = source(text)  # as such it is good: another combination may be
    assert list(registry.numbers("parity", "net", "sgd", mine)) == [
        "n_bits",
        "n_parity_bits",
        "train_size",
        "test_size",
        "rate",
        "float_bits",
        "width",
    ]
    with pytest.raises(PartError) as caught:
        registry.numbers("two_words", "net", "sgd", mine)
    assert str(caught.value) == (
        "model net: rate is a hyperparameter of task two_words too; call one of them otherwise"
    )
    assert registry.numbers("two_words", "relu_mlp", "sgd", mine)["rate"].meaning == "some rate"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("@model\ndef net(h): return 1\n", "write @model() above a function"),
        ("@optimizer\ndef sgd(h): return 1\n", "write @optimizer() above a function"),
        ("@model()\ndef net(): return 1\n", "model net: must be a function of (h)"),
        ("@metric\ndef one(h): return 1\n", "metric one: must be a function of (h, at)"),
        ("@metric\ndef seed(h, at): return 1\n", "metric seed: there is a column of a table of this name"),
        (
            "@model(float_bits=whole(16, 'x'))\ndef net(h): return 1\n",
            "float_bits is the precision, which every",
        ),
        (
            TASK.replace('numbers = {"largest"', 'numbers = None; other = {"largest"'),
            "task two_words: its hyper",
        ),
        (TASK + "    def __init__(self): raise ValueError('no')\n", "in __init__: ValueError: no"),
        (
            "@model(width=real(0.1, 'x', '0', 1))\ndef net(h): return 1\n",
            "model net: its hyperparameters cannot",
        ),
    ],
)
def test_what_a_newcomer_may_write(text, words):
    assert words in refused(text)
