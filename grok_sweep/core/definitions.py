"""The built-in definitions of phases, as parts; what they mean is in `analysis.classify`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from grok_sweep.core.look import Look
from grok_sweep.core.number import Number
from grok_sweep.core.parts import Definition, definition, real

if TYPE_CHECKING:
    import pandas as pd  # which takes half a second: not for --help

# As in the article; the marks since two of the colours are one grey in print. In the order of all tables.
FOUR = {
    "memorize": Look("#ffffff", "square", "#4d4d4d"),
    "grok": Look("#F7DB5C", "triangle", "#c9a92b"),
    "generalize": Look("#7CB9DF", "circle", "#4d8fb8"),
    "fail": Look("#aaaaaa", "cross", "#8a8a8a"),
}
BY_ACCURACY = ("liu", "liu_lasting")
NAMES = ("pair", *BY_ACCURACY)
TIES = ("fail", "memorize", "generalize", "grok")  # in the order of the tests

# The positions of the two sliders in the PAIR article.
MIN_LOSS = 1e-5
MAX_RATIO = 5e4

# Liu et al. 2022, table 1.
LIU_ACCURACY = 0.9
LIU_STEPS = 1e5
LIU_APART = 1e3
LASTING = 5  # logged steps whose middle says what an accuracy is in the end: a spike is no loss


def _four(
    *,
    reads_curves: bool = True,
    decided: Callable[[Any, Any], Any] | None = None,
    **numbers: Number,
) -> Callable[[Callable[..., Any]], Definition]:
    """A definition of the four phases."""
    made = definition(FOUR, reads_curves=reads_curves, decided=decided, **numbers)
    return lambda make: replace(made(make), ties=TIES)


def _pair_decided(runs: pd.DataFrame, h: Any) -> np.ndarray:
    """Minima only fall, and the largest ratio only rises: grok for ever. A diverged run fails for ever."""
    learnt_R = (runs["min_train_loss"] <= h.min_loss) & (runs["min_eval_loss"] <= h.min_loss)
    decided_R: np.ndarray = (learnt_R & (runs["max_loss_ratio"] >= h.max_ratio)).to_numpy() | _diverged(runs)
    return decided_R


@_four(
    reads_curves=False,
    decided=_pair_decided,
    min_loss=real(MIN_LOSS, "losses below it count as learnt", 0, above=True),
    max_ratio=real(MAX_RATIO, "of test to train loss; above it a run has memorised", 0, above=True),
)
def pair(runs: pd.DataFrame, curves: pd.DataFrame | None, h: Any) -> np.ndarray:
    """Pearce et al., "Do Machine Learning Models Memorize or Generalize?", 2023."""
    names = ["min_train_loss", "min_eval_loss", "max_loss_ratio"]
    train_R, eval_R, ratio_R = (runs[name].to_numpy(dtype=float, na_value=np.nan) for name in names)
    unknown_R = np.isnan(train_R) | np.isnan(eval_R) | np.isnan(ratio_R)
    return _first(
        [
            (_diverged(runs) | unknown_R | (train_R > h.min_loss), "fail"),
            (eval_R > h.min_loss, "memorize"),
            (ratio_R < h.max_ratio, "generalize"),
        ],
        otherwise="grok",
    )


@_four()
def liu(runs: pd.DataFrame, curves: pd.DataFrame, h: Any) -> np.ndarray:
    """Liu et al., arXiv 2205.10343, 2022, table 1."""
    return _liu(runs, curves, lasting=False)


@_four()
def liu_lasting(runs: pd.DataFrame, curves: pd.DataFrame, h: Any) -> np.ndarray:
    """As liu, but an accuracy that is lost again does not count."""
    return _liu(runs, curves, lasting=True)


def _liu(runs: pd.DataFrame, curves: pd.DataFrame, *, lasting: bool) -> np.ndarray:
    train_R, eval_R = crossings(runs, curves, lasting=lasting)
    return _first(
        [
            (_diverged(runs) | np.isnan(train_R), "fail"),
            (np.isnan(eval_R), "memorize"),
            (eval_R - train_R < LIU_APART, "generalize"),
        ],
        otherwise="grok",
    )


def crossings(runs: pd.DataFrame, curves: pd.DataFrame, *, lasting: bool) -> tuple[np.ndarray, np.ndarray]:
    """When each run's train and its test accuracy first is more than 90 %: two float arrays, NaN for not
    in the steps that count, or, if `lasting`, not in the end.
    """
    in_time = curves[curves["step"] <= LIU_STEPS]
    last = in_time.sort_values("step", kind="stable").groupby("run_id").tail(LASTING) if lasting else in_time

    def first(name: str) -> np.ndarray:
        step = in_time[in_time[name] > LIU_ACCURACY].groupby("run_id")["step"].min()
        if lasting:
            end = last.groupby("run_id")[name].quantile(0.5, interpolation="lower")
            step = step[end[step.index] > LIU_ACCURACY]
        step_R: np.ndarray = step.reindex(runs["run_id"]).to_numpy(dtype=float)  # NaN: never
        return step_R

    return first("train_accuracy"), first("eval_accuracy")


def _diverged(runs: pd.DataFrame) -> np.ndarray:
    diverged_R: np.ndarray = runs["diverged_step"].notna().to_numpy()
    return diverged_R


def _first(tests: list[tuple[np.ndarray, str]], otherwise: str) -> np.ndarray:
    """For each run the phase that goes with the first of `tests` that holds."""
    return np.select([test for test, _ in tests], [phase for _, phase in tests], otherwise)
