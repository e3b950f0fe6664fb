"""When each run memorised and when it generalised, and what the minima and maxima of the phases hide.

The label of a run tells what a minimum or maximum over the steps cannot. To have generalised is the same for
it as for generalize_step, a test accuracy of at least 95 %. A network that never comes there has not lost it
either: how far it came, and how much of that it lost, is in best_eval_accuracy and end_eval_accuracy. The
first test loss is that of a network that knows nothing, and the first test accuracy is chance, whatever the
task. At a logged step a run is

    up      test accuracy is at least 95 %;
    low     test accuracy is less than half of the way from its first value to 1;
    down    train accuracy is at least 95 %, test accuracy is not, and test loss is at least its first value,
            or test accuracy is low.

Up and down begin once they held at 5 logged steps in a row, and last until the other begins: a spike is no
loss of generalisation. The first that holds:

    "generalized then memorized"             was up, is down at the end
    "generalized, memorized, generalized"    was up, then down, is up at the end
    "late"                                   test accuracy came to 95 % first in the last tenth of the steps
                                             and is not low at the end
    "partial"                                at the end train accuracy is at least 95 %, and test accuracy is
                                             less but not low
    "plain"                                  otherwise
"""

import numpy as np
import pandas as pd

from analysis.load import need_curves

LABELS = (
    "plain",
    "generalized then memorized",
    "generalized, memorized, generalized",
    "late",
    "partial",
)
ACCURACY = 0.95  # from which on a run has memorised, or generalised
PARTIAL = 0.5  # of the way from chance to 1
SUSTAINED = 5  # logged steps
LATE = 0.1  # of all steps
METRICS = ["train_loss", "eval_loss", "train_accuracy", "eval_accuracy"]


def steps(runs: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    """One row per run of `runs`, in its order: when it memorised and generalised, and a label of its story.

        memorize_step, generalize_step    Int64: the first logged step at which train accuracy, or test
                                          accuracy, is at least 95 %. <NA>: not while it was watched
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

    Accuracy at the end is the median (the lower of two) of the last five logged steps. Raises ValueError
    where a column is missing or a run has no curve.
    """
    need_curves(runs, curves, METRICS)
    curves = _watched(curves, runs["run_id"])
    by_run = curves.groupby("run")
    # Metrics keep their float32, in which numpy then takes the thresholds: as float64 an accuracy of 95 %
    # would be a little less than 0.95.
    first = {
        name: curves[curves[f"{side}_accuracy"] >= ACCURACY].groupby("run")["step"].min()
        for name, side in (("memorize_step", "train"), ("generalize_step", "eval"))
    }
    delay = first["generalize_step"] - first["memorize_step"]
    table = pd.DataFrame({**first, "grok_delay": delay}).reindex(range(len(runs))).astype("Int64")
    table.insert(0, "run_id", runs["run_id"].to_numpy())
    table["memorize_censored"] = table["memorize_step"].isna()
    table["generalize_censored"] = table["generalize_step"].isna()
    table["grok_delay_censored"] = ~table["memorize_censored"] & table["generalize_censored"]
    table["last_step"] = by_run["step"].max().astype("Int64")
    accuracies = by_run.tail(SUSTAINED).groupby("run")[["train_accuracy", "eval_accuracy"]]
    end = accuracies.quantile(0.5, interpolation="lower").astype("float32")
    table["best_eval_accuracy"] = by_run["eval_accuracy"].max().astype(float)
    table["end_eval_accuracy"] = end["eval_accuracy"].astype(float)
    label = _labels(curves, end, first["generalize_step"]).reindex(table.index, fill_value="plain")
    table["label"] = pd.Categorical(label, categories=pd.Index(LABELS))
    return table.reset_index(drop=True)


def _watched(curves: pd.DataFrame, ids: pd.Series) -> pd.DataFrame:
    """The curves in order, each until it was not finite; `run`: which of `ids` it is of."""
    curves = curves.assign(run=pd.Index(ids).get_indexer(pd.Index(curves["run_id"])))
    curves = curves[curves["run"] >= 0].sort_values(["run", "step"], kind="stable", ignore_index=True)
    metrics = [name for name in (*METRICS, "weight_norm") if name in curves]
    finite = pd.Series(np.isfinite(curves[metrics].to_numpy()).all(axis=1))
    return curves[finite.groupby(curves["run"]).cummin()]


def _labels(curves: pd.DataFrame, end: pd.DataFrame, came: pd.Series) -> pd.Series:
    """The label of each run that was watched. `end`: its accuracies there; `came`: its generalize_step."""
    by_run, run = curves.groupby("run"), curves["run"]
    train, test, loss = (curves[name] for name in ("train_accuracy", "eval_accuracy", "eval_loss"))
    chance = by_run["eval_accuracy"].transform("first")
    low = chance + PARTIAL * (1 - chance)
    up, bad = test >= ACCURACY, (loss >= by_run["eval_loss"].transform("first")) | (test < low)
    down = (train >= ACCURACY) & ~up & bad

    # 1 from where the run is up, -1 from where it is down, 0 before either.
    event = _lasted(up, run).astype(int) - _lasted(down, run).astype(int)
    state = event.where(event != 0).groupby(run).ffill().fillna(0)
    fell = (state == -1) & (state.groupby(run).shift() == 1)
    lost, state_at_end = fell.groupby(run).any(), state.groupby(run).last()

    enough = end["eval_accuracy"] >= low.groupby(run).first()
    memorized = (end["train_accuracy"] >= ACCURACY) & (end["eval_accuracy"] < ACCURACY)
    late = came.reindex(end.index) > (1 - LATE) * by_run["step"].max()
    tests = [lost & (state_at_end == -1), lost & (state_at_end == 1), late & enough, memorized & enough]
    return pd.Series(np.select(tests, LABELS[1:], LABELS[0]), end.index)


def _lasted(holds: pd.Series, run: pd.Series) -> pd.Series:
    """Where a condition holds and has held at SUSTAINED logged steps of the run that end there."""
    streak = holds.groupby([run, (~holds).cumsum()]).cumsum()
    return streak >= SUSTAINED
