"""Tasks, one module each, named as in conf/task/. A task module has

- `MODELS`: the models, of conf/model/, that take its rows and give what its loss takes;
- `check(values)`: problems of its hyperparameters taken together, as (key, message) pairs;
- `input_size(values)`: features of an input row;
- `rows(values)`: how many training and test rows; of many runs at once, where the values are arrays;
- `data(values, seed)`: a run's rows, a function of its own identity alone;
- `loss_floor(values)`: what a loss counts as at least in the ratio of test to train loss, nats;
- `loss(output, y_N)` and `correct(output, y_N)`: per row, traced by jax; the output has its rows last.

They import jax only inside the last two, so that the driver can check a config without it.
"""

from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np

# What a loss counts as at least in a ratio, nats a row: float32's epsilon, the least that the cross entropy
# of a row can be over 0 in it, and what the article clips parity's loss at. In float64 too, so that runs of
# both are sorted alike.
LEAST_LOSS = 2.0**-23


@dataclass(frozen=True)
class Data:
    """The rows of one run: int8 inputs x_ND, labels y_N of whole numbers."""

    x_train_ND: np.ndarray
    y_train_N: np.ndarray
    x_test_ND: np.ndarray
    y_test_N: np.ndarray


def loss_ratio(train_loss: Any, eval_loss: Any, floor: Any) -> Any:
    """Of test to train loss, elementwise; a loss under `floor` (a task's `loss_floor`) counts as that."""
    return np.maximum(eval_loss, floor) / np.maximum(train_loss, floor)


def load(name: str) -> ModuleType:
    """The module of the task `name`, which the config has checked to exist."""
    return import_module(f"grok_sweep.tasks.{name}")
