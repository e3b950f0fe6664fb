"""Which of the four phases each run is in."""

import math

import numpy as np
import pandas as pd

from analysis.read import need

PHASES = ("memorize", "grok", "generalize", "fail")
DEFINITIONS = ("pair", "liu", "liu_lasting")

# The positions of the two sliders in the PAIR article.
MIN_LOSS = 1e-5
MAX_RATIO = 5e4

# Liu et al. 2022, table 1.
LIU_ACCURACY = 0.9
LIU_STEPS = 1e5
LIU_APART = 1e3
LASTING = 5  # logged steps whose middle says what an accuracy is in the end: a spike is no loss


def classify(
    runs: pd.DataFrame,
    *,
    min_loss: float = MIN_LOSS,
    max_ratio: float = MAX_RATIO,
    definition: str = "pair",
    curves: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """A copy of `runs` with the categorical column `phase`; its `attrs` say by which definition.

    "pair" (Pearce et al., "Do Machine Learning Models Memorize or Generalize?", 2023), the first that holds:

        min_train_loss > min_loss     fail
        min_eval_loss > min_loss      memorize
        max_loss_ratio < max_ratio    generalize: both losses drop together
        otherwise                     grok

    with losses in nats, minima and maximum over the logged steps. In the ratio a loss that came to 0, which
    float32 cannot tell from a small one, counts as the least it can (`grok_sweep.core.parts.LEAST_LOSS`).

    "liu" (Liu et al., arXiv 2205.10343, 2022, table 1) needs `curves`. It asks for the first logged steps, up
    to step 1e5, at which train and eval accuracy exceed 0.9; `min_loss` and `max_ratio` play no part:

        both, eval less than 1e3 steps after train    generalize ("comprehension")
        both, eval later                              grok       ("grokking")
        train only                                    memorize   ("memorization")
        train never                                   fail       ("confusion")

    The first crossing counts, even one that is lost again. "liu_lasting" asks for it in the end too: an
    accuracy that exceeds 0.9 counts, from its first crossing on, only where it does so at the end as well, in
    the middle (the lower of two) of the last five logged steps up to 1e5.

    The paper has no name for a run that passes on eval only: it is fail here. By either definition a run that
    diverged is fail, and by "pair" one with a NaN among its three numbers.

    Raises ValueError where an argument is not allowed, a column is missing or, for "liu" and
    "liu_lasting", a run has no curve.
    """
    wrong = problems(min_loss=min_loss, max_ratio=max_ratio, definition=definition)
    if wrong:
        raise ValueError("; ".join(wrong))
    need(runs, ["run_id", "diverged_step"], "a runs table")
    phase = _pair(runs, min_loss, max_ratio) if definition == "pair" else _liu(runs, curves, definition)
    phase[runs["diverged_step"].notna().to_numpy()] = PHASES.index("fail")
    phases = runs.assign(phase=pd.Categorical.from_codes(phase, categories=pd.Index(PHASES)))
    # Parquet keeps attrs, so that a table says what its phases mean.
    phases.attrs = {"definition": definition}
    if definition == "pair":
        phases.attrs |= {"min_loss": float(min_loss), "max_ratio": float(max_ratio)}
    return phases


def problems(**arguments: float | str) -> list[str]:
    """What is wrong with arguments of `classify`: a message for each that is not allowed."""
    wrong = []
    for name in ("min_loss", "max_ratio"):
        value = arguments.get(name, 1.0)
        if isinstance(value, str) or not (math.isfinite(value) and value > 0):
            wrong.append(f"{name}: {value!r} is not allowed; give a finite number greater than 0")
    definition = arguments.get("definition", "pair")
    if definition not in DEFINITIONS:
        wrong.append(f"definition: {definition!r} is not allowed; give one of {', '.join(DEFINITIONS)}")
    return wrong


def _pair(runs: pd.DataFrame, min_loss: float, max_ratio: float) -> np.ndarray:
    """The index in PHASES of each run."""
    names = ["min_train_loss", "min_eval_loss", "max_loss_ratio"]
    need(runs, names, "a runs table")
    train_R, eval_R, ratio_R = (runs[name].to_numpy(dtype=float, na_value=np.nan) for name in names)
    unknown_R = np.isnan(train_R) | np.isnan(eval_R) | np.isnan(ratio_R)
    return _first(
        [
            (unknown_R | (train_R > min_loss), "fail"),
            (eval_R > min_loss, "memorize"),
            (ratio_R < max_ratio, "generalize"),
        ],
        otherwise="grok",
    )


def _liu(runs: pd.DataFrame, curves: pd.DataFrame | None, definition: str) -> np.ndarray:
    """The index in PHASES of each run."""
    if curves is None:
        raise ValueError(f'definition "{definition}" needs curves: the accuracies of each run by step')
    train_R, eval_R = liu_steps(runs, curves, lasting=definition == "liu_lasting")
    return _first(
        [
            (np.isnan(train_R), "fail"),
            (np.isnan(eval_R), "memorize"),
            (eval_R - train_R < LIU_APART, "generalize"),
        ],
        otherwise="grok",
    )


def liu_steps(
    runs: pd.DataFrame, curves: pd.DataFrame, *, lasting: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """When each run's train and its test accuracy first is more than 90 %: two float arrays, NaN for not
    in the steps that count, or, with `lasting`, not in the end (see `classify`). Raises ValueError where a
    column is missing or a run has no curve.
    """
    need(curves, ["run_id", "step", "train_accuracy", "eval_accuracy"], "a curves table")
    without = runs.loc[~runs["run_id"].isin(curves["run_id"]), "run_id"]
    if len(without):
        raise ValueError(f"{len(without)} of {len(runs)} runs have no curve, the first is {without.iloc[0]}")
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


def _first(tests: list[tuple[np.ndarray, str]], otherwise: str) -> np.ndarray:
    """For each run the index in PHASES that goes with the first of `tests` that holds."""
    holds = [test for test, _ in tests]
    return np.select(holds, [PHASES.index(phase) for _, phase in tests], PHASES.index(otherwise))
