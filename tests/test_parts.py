"""What a task gives: the rows of a run, and what is said of those that do not fit, in one line."""

import numpy as np
import pytest

from grok_sweep.core.parts import Data, PartError, Task


def task_that_gives(**changes):
    """A task whose data are good but for these."""
    x, y = np.zeros((4, 2), np.float32), np.zeros(4, np.int32)
    given = Data(**{"x_train_ND": x, "y_train_N": y, "x_test_ND": x, "y_test_N": y} | changes)

    class Mine(Task):
        name = "mine"

        def data(self, h, seed):
            return given

    return Mine()


def test_rows_of_any_shape_are_good():
    for shape in ((), (2,), (3, 5, 2)):
        x = np.zeros((4, *shape), np.float32)
        task = task_that_gives(x_train_ND=x, x_test_ND=x)
        assert task.row(None) == (shape, "float32")
        assert task.rows(None) == (4, 4)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"y_train_N": np.zeros(3)}, "gives train rows as x of shape (4, 2) and y of shape (3,)"),
        ({"y_test_N": np.zeros(())}, "gives test rows as x of shape (4, 2) and y of shape ()"),
        (
            {"x_train_ND": np.zeros((0, 2)), "y_train_N": np.zeros(0)},
            "gives train rows as x of shape (0, 2) and y of shape (0,); give as many of both, at least one",
        ),
        (
            {"x_test_ND": np.zeros((4, 3))},
            "gives training and test rows of the shapes (2,) and (3,); give",
        ),
        ({"y_train_N": np.array(["a", None, 1, 2])}, "gives train rows that are no arrays of numbers"),
        ({"y_train_N": np.array(["a", "b", "c", "d"])}, "gives train rows that are no arrays of numbers"),
        ({"x_train_ND": None}, "gives train rows that are no arrays of numbers"),
    ],
)
def test_rows_that_do_not_fit_are_said(changes, words):
    for ask in (Task.rows, Task.row):
        with pytest.raises(PartError) as caught:
            ask(task_that_gives(**changes), None)
        assert str(caught.value).startswith(f"task mine: data {words}")


def test_data_that_are_no_data():
    task = task_that_gives()
    task.data = lambda h, seed: (1, 2)
    with pytest.raises(PartError, match=r"^task mine: data gives tuple; give Data\(x_train, y_train, x_test"):
        task.rows(None)
