"""When each run memorised and when it generalised, and what the minima and maxima of the phases hide.

The label of a run tells what a minimum or maximum over the steps cannot. It is always by accuracy and test
loss, whatever `loss` is: to have generalised is the same for it as for generalize_step, a test accuracy of
at least `accuracy`. A network that never comes there has not lost it either: how far it came, and how
much of that it lost, is in best_eval_accuracy and end_eval_accuracy. The first test loss is that of a
network that knows nothing, and the first test accuracy is chance, whatever the task. At a logged step a
run is

    up      test accuracy is at least `accuracy`;
    low     test accuracy is less than `partial` of the way from its first value to 1;
    down    train accuracy is at least `accuracy`, test accuracy is not, and test loss is at least its
            first value times `risen`, or test accuracy is low.

Up and down begin once they held at `sustained` logged steps in a row, and last until the other begins: a
spike is no loss of generalisation. The first that holds:

    "generalized then memorized"             was up, is down at the end
    "generalized, memorized, generalized"    was up, then down, is up at the end
    "late"                                   test accuracy came to `accuracy` first in the last share
                                             `late` of the steps and is not low at the end
    "partial"                                at the end train accuracy is at least `accuracy`, and test
                                             accuracy is less but not low
    "plain"                                  otherwise
"""

import math

import numpy as np
import pandas as pd

from analysis.read import need

LABELS = (
    "plain",
    "generalized then memorized",
    "generalized, memorized, generalized",
    "late",
    "partial",
)
ACCURACY = 0.95  # from which on a run has memorised, or generalised, unless the caller says otherwise
METRICS = ("train_loss", "eval_loss", "train_accuracy", "eval_accuracy")


def steps(
    runs: pd.DataFrame,
    curves: pd.DataFrame,
    *,
    accuracy: float = ACCURACY,
    loss: float | None = None,
    risen: float = 1.0,
    partial: float = 0.5,
    sustained: int = 5,
    late: float = 0.1,
) -> pd.DataFrame:
    """One row per run of `runs`, in its order: when it memorised and generalised, and a label of its story.

        memorize_step, generalize_step    Int64: the first logged step at which train accuracy, or test
                                          accuracy, is at least `accuracy`; with `loss` given, at which that
                                          loss (nats) is at most `loss`. <NA>: not while it was watched
        grok_delay                        Int64: generalize_step - memorize_step; less than 0 where the test
                                          passed first; <NA> unless both happened
        memorize_censored, generalize_censored    bool: the step is <NA>, so it would be after last_step
        grok_delay_censored               bool: memorised, and had not generalised at last_step: the delay is
                                          more than last_step - memorize_step
        last_step                         Int64: the last logged step at which all was finite, how long the
                                          run was watched: to its end or until it diverged; <NA> if never
        best_eval_accuracy, end_eval_accuracy    the largest test accuracy of a logged step, and the one at
                                          the end: what was found, and what was kept
        label                             categorical, one of LABELS: see the top of this file

    Censored is not missing: "more than 20,000 steps" is a result. A run that never memorised is not at risk
    of grokking: its delay is <NA> and not censored; leave it out of a survival analysis of delays.

    Accuracy at the end is the median (the lower of two) of the last `sustained` logged steps. Raises
    ValueError where an argument is not allowed, a column is missing, or a run is there twice or has no curve.
    """
    wrong = _problems(accuracy, loss, risen, partial, sustained, late)
    if wrong:
        raise ValueError("; ".join(wrong))
    step_RT, metrics_RT = _arrays(runs, curves)
    watched_R = np.isfinite(step_RT).sum(axis=1)
    last_R = _at(step_RT, watched_R - 1)

    if loss is None:
        memorized_RT = metrics_RT["train_accuracy"] >= float(accuracy)
        generalized_RT = metrics_RT["eval_accuracy"] >= float(accuracy)
    else:
        memorized_RT, generalized_RT = (metrics_RT[f"{k}_loss"] <= float(loss) for k in ("train", "eval"))
    memorize_R, generalize_R = _first(step_RT, memorized_RT), _first(step_RT, generalized_RT)
    label_R = _labels(step_RT, metrics_RT, last_R, float(accuracy), risen, partial, sustained, late)
    accuracy_RT = metrics_RT["eval_accuracy"].astype(float)
    best_R = np.where(np.isnan(accuracy_RT), -np.inf, accuracy_RT).max(axis=1, initial=-np.inf)
    return pd.DataFrame(
        {
            "run_id": runs["run_id"].to_numpy(),
            "memorize_step": _whole(memorize_R),
            "generalize_step": _whole(generalize_R),
            "grok_delay": _whole(generalize_R - memorize_R),
            "memorize_censored": np.isnan(memorize_R),
            "generalize_censored": np.isnan(generalize_R),
            "grok_delay_censored": ~np.isnan(memorize_R) & np.isnan(generalize_R),
            "last_step": _whole(last_R),
            "best_eval_accuracy": np.where(np.isfinite(best_R), best_R, np.nan),
            "end_eval_accuracy": _end(accuracy_RT, sustained),
            "label": pd.Categorical.from_codes(label_R, categories=pd.Index(LABELS)),
        }
    )


def _problems(
    accuracy: float,
    loss: float | None,
    risen: float,
    partial: float,
    sustained: int,
    late: float,
) -> list[str]:
    """A message for each argument of `steps` that is not allowed."""
    wrong = []
    for name, value in {"accuracy": accuracy, "partial": partial, "late": late}.items():
        if not (0 < value < 1 or (name == "accuracy" and value == 1)):
            wrong.append(f"{name}: {value!r} is not allowed; give a share between 0 and 1")
    for name, value in {"loss": 1.0 if loss is None else loss, "risen": risen}.items():
        if not (math.isfinite(value) and value > 0):
            wrong.append(f"{name}: {value!r} is not allowed; give a finite number greater than 0")
    if isinstance(sustained, bool) or sustained != int(sustained) or sustained < 1:
        wrong.append(f"sustained: {sustained!r} is not allowed; give a whole number of at least 1")
    return wrong


def _arrays(runs: pd.DataFrame, curves: pd.DataFrame) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The curves of R runs as arrays of shape (R, T): the steps, and the metrics by name.

    T is the most logged steps of a run. NaN in all: there is no such logged step, or the run had diverged: a
    metric was not finite. A NaN fails every comparison, so such steps count for nothing.
    """
    need(runs, ["run_id"], "a runs table")
    need(curves, ["run_id", "step", *METRICS], "a curves table")
    ids = pd.Index(runs["run_id"])
    if not ids.is_unique:
        raise ValueError(f"run {ids[ids.duplicated()][0]} is there twice")
    run_N = ids.get_indexer(pd.Index(curves["run_id"]))
    order_N = np.lexsort([curves["step"].to_numpy(), run_N])
    order_N = order_N[run_N[order_N] >= 0]  # curves of other runs
    run_N = run_N[order_N]
    counts_R = np.bincount(run_N, minlength=len(ids))
    if not counts_R.all():
        without = ids[counts_R == 0]
        raise ValueError(f"{len(without)} of {len(ids)} runs have no curve, the first is {without[0]}")
    place_N = np.arange(len(run_N)) - np.repeat(np.cumsum(counts_R) - counts_R, counts_R)

    def spread(name: str, kind: type | None = None) -> np.ndarray:
        values_N = curves[name].to_numpy(dtype=kind)[order_N]
        values_RT = np.full((len(ids), counts_R.max(initial=1)), np.nan, values_N.dtype)
        values_RT[run_N, place_N] = values_N
        return values_RT

    # Metrics keep their float32, in which numpy then takes the thresholds: as float64 an accuracy of 95 %
    # would be a little less than 0.95.
    step_RT, metrics_RT = spread("step", float), {name: spread(name) for name in METRICS}
    more = {name: spread(name) for name in ("weight_norm",) if name in curves}
    finite_RT = np.logical_and.reduce([np.isfinite(a) for a in (*metrics_RT.values(), *more.values())])
    kept_RT = np.logical_and.accumulate(finite_RT, axis=1)
    for values_RT in (step_RT, *metrics_RT.values()):
        values_RT[~kept_RT] = np.nan
    return step_RT, metrics_RT


def _labels(
    step_RT: np.ndarray,
    metrics_RT: dict[str, np.ndarray],
    last_R: np.ndarray,
    accuracy: float,
    risen: float,
    partial: float,
    sustained: int,
    late: float,
) -> np.ndarray:
    """The index in LABELS of each run; see `steps`."""
    train_RT, test_RT, loss_RT = (metrics_RT[k] for k in ("train_accuracy", "eval_accuracy", "eval_loss"))
    first_R1 = test_RT[:, :1]
    part_R1 = first_R1 + partial * (1 - first_R1)
    bad_RT = (loss_RT >= risen * loss_RT[:, :1]) | (test_RT < part_R1)
    down_RT = (train_RT >= accuracy) & (test_RT < accuracy) & bad_RT
    up_RT = test_RT >= accuracy

    # 1 from where the run is up, -1 from where it is down, 0 before either.
    event_RT = _lasted(up_RT, sustained).astype(int) - _lasted(down_RT, sustained).astype(int)
    latest_RT = np.maximum.accumulate(np.where(event_RT != 0, np.arange(event_RT.shape[1]), 0), axis=1)
    state_RT = np.take_along_axis(event_RT, latest_RT, axis=1)
    lost_R = ((state_RT[:, :-1] == 1) & (state_RT[:, 1:] == -1)).any(axis=1)

    train_R, test_R = _end(train_RT, sustained), _end(test_RT, sustained)
    enough_R = test_R >= part_R1[:, 0]
    came_R = _first(step_RT, test_RT >= accuracy)
    tests = [
        (lost_R & (state_RT[:, -1] == -1), "generalized then memorized"),
        (lost_R & (state_RT[:, -1] == 1), "generalized, memorized, generalized"),
        ((came_R > (1 - late) * last_R) & enough_R, "late"),
        ((train_R >= accuracy) & (test_R < accuracy) & enough_R, "partial"),
    ]
    return np.select([test for test, _ in tests], [LABELS.index(label) for _, label in tests])


def _lasted(holds_RT: np.ndarray, length: int) -> np.ndarray:
    """Where a condition holds and has held at the `length` logged steps that end there."""
    place_T = np.arange(holds_RT.shape[1])
    broken_RT = np.maximum.accumulate(np.where(holds_RT, -1, place_T), axis=1)
    return place_T - broken_RT >= length


def _end(values_RT: np.ndarray, length: int) -> np.ndarray:
    """The median of the last `length` values of each run, or of all where there are fewer; NaN for none."""
    watched_R = np.isfinite(values_RT).sum(axis=1)
    place_RL = watched_R[:, None] - 1 - np.arange(length)
    last_RL = np.sort(np.where(place_RL >= 0, _at(values_RT, np.maximum(place_RL, 0)), np.nan), axis=1)
    count_R = np.minimum(watched_R, length)
    # NaNs are sorted last. The lower of two middle ones, so that a value is one that was logged.
    return _at(last_RL, np.maximum(count_R - 1, 0) // 2)


def _at(values_RT: np.ndarray, place_R: np.ndarray) -> np.ndarray:
    """The value of each run at a place, or at several (R, L); at -1, where a run has none, its NaN."""
    if place_R.ndim == 1:
        return np.take_along_axis(values_RT, place_R[:, None], axis=1)[:, 0]
    return np.take_along_axis(values_RT, place_R, axis=1)


def _first(step_RT: np.ndarray, holds_RT: np.ndarray) -> np.ndarray:
    """The first step of each run at which a condition holds; NaN where there is none."""
    return np.where(holds_RT.any(axis=1), _at(step_RT, holds_RT.argmax(axis=1)), np.nan)


def _whole(step_R: np.ndarray) -> pd.Series:
    """Steps as Int64, with <NA> for NaN."""
    return pd.Series(step_R).astype("Int64")
