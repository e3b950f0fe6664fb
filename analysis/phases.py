"""Which phase each run is in, by a definition: a built-in one, or a part of a user's file."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.load import need, need_curves
from grok_sweep.core import definitions, look
from grok_sweep.core.definitions import MAX_RATIO, MIN_LOSS
from grok_sweep.core.look import Look
from grok_sweep.core.number import Values
from grok_sweep.core.parts import Definition, PartError
from grok_sweep.store import PHASES as TABLE
from grok_sweep.store import Store, StoreError

__all__ = ["MAX_RATIO", "MIN_LOSS"]

BUILT_IN: dict[str, Definition] = {name: getattr(definitions, name) for name in definitions.NAMES}
DEFINITIONS = definitions.NAMES
PHASES = tuple(definitions.FOUR)  # of the built-in ones
LOSSES = ("min_train_loss", "min_eval_loss", "max_loss_ratio")
LEARNING = {"final_train_accuracy", "final_train_loss", "min_train_loss"}
ACCURACIES = ["train_accuracy", "eval_accuracy"]


def classify(
    runs: pd.DataFrame,
    *,
    definition: str | Definition = "pair",
    curves: pd.DataFrame | None = None,
    **thresholds: float,
) -> pd.DataFrame:
    """A copy of `runs` with the categorical column `phase`; its `attrs` say by which definition.

    By a built-in definition, where runs say how they ended, `undecided` too: a run of phase fail which at its
    last step had all training rows right, and its least training loss, was too short to tell.

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

    `thresholds`: min_loss (1e-5 nats) and max_ratio (5e4) of "pair".

    A definition that is a part of a user's own (see `grok_sweep.core.parts`) is called, and needs `curves`;
    `thresholds`: its numbers, those that are not given at their defaults. What goes wrong in it is raised as
    it is, and what it gives is checked: PartError.

    Raises ValueError where an argument is not allowed, a column is missing or, for "liu" and
    "liu_lasting", a run has no curve.
    """
    if wrong := problems(definition=definition, **thresholds):
        raise ValueError("; ".join(wrong))
    part = BUILT_IN[definition] if isinstance(definition, str) else definition
    built_in = part in BUILT_IN.values()
    need(runs, ["run_id", "diverged_step", *(LOSSES if part is BUILT_IN["pair"] else ())], "a runs table")
    if not part.reads_curves or not len(runs):
        curves = None
    elif curves is None:
        raise ValueError(f'definition "{part.name}" needs curves: the accuracies of each run by step')
    else:
        need_curves(runs, curves, ACCURACIES)
        if built_in and curves[ACCURACIES].isna().all(axis=None):
            raise ValueError(f'definition "{part.name}" needs accuracies, of which these runs have none')
    given: dict[str, Any] = {key: number.default for key, number in part.numbers.items()} | thresholds
    values: dict[str, Any] = {key: number.kind(given[key]) for key, number in part.numbers.items()}
    sort = part.make if built_in else partial(_by_own, part)
    found = sort(runs, curves, Values(values)) if len(runs) else []
    phases = runs.assign(phase=pd.Categorical(found, categories=pd.Index(list(part.phases))))
    if built_in and {*runs} >= LEARNING:
        phases["undecided"] = _undecided(phases)
    # Parquet keeps attrs, so that a table says what its phases mean.
    own: dict[Any, Any] = {"thresholds": values, "phases": look.to_plain(part.phases)}
    phases.attrs = {"definition": part.name, **(dict[Any, Any](values) if built_in else own)}
    return phases


def _undecided(phases: pd.DataFrame) -> pd.Series:
    """Which fails were still learning at their last step; see `classify`."""
    learnt_R = phases["final_train_accuracy"].eq(1) & phases["diverged_step"].isna()
    falling_R: pd.Series = phases["final_train_loss"] <= phases["min_train_loss"]
    return (phases["phase"] == "fail") & learnt_R & falling_R


def problems(*, definition: Any = "pair", **thresholds: Any) -> list[str]:
    """What is wrong with arguments of `classify`: a message for each that is not allowed."""
    wrong, numbers = [], dict(BUILT_IN["pair"].numbers)  # which every config has, whatever the definition
    if isinstance(definition, Definition):
        numbers |= definition.numbers
    for name, value in thresholds.items():
        if name not in numbers:
            wrong.append(f"{name}: is no threshold of this definition; there are {', '.join(numbers)}")
        elif numbers[name].problem(value):
            wrong.append(f"{name}: {value!r} is not allowed; give {numbers[name].allowed}")
    if not isinstance(definition, Definition) and definition not in DEFINITIONS:
        of_ones_own = "one of your own is for its sweep to ask for, by phases.definition"
        names = ", ".join(DEFINITIONS)
        wrong.append(f"definition: {definition!r} is not allowed; give one of {names} ({of_ones_own})")
    return wrong


def _by_own(part: Definition, runs: pd.DataFrame, curves: pd.DataFrame | None, h: Values) -> list[str]:
    """What a user's definition gives for copies, in order. PartError where it is not a phase for each run."""
    if curves is not None:
        curves = curves[curves["run_id"].isin(runs["run_id"].unique())]
        curves = curves.sort_values(["run_id", "step"], kind="stable", ignore_index=True)
    given = part.make(runs.reset_index(drop=True), curves, h)
    if why := _refused(given, runs["run_id"], part.phases):
        raise PartError(f"definition {part.name}: gives {why}")
    return list(given)


def _refused(given: Any, ids: pd.Series, phases: Mapping[str, Look]) -> str | None:
    """Why what a definition gave for some runs is no list of their phases."""
    if not isinstance(given, list | tuple) and getattr(given, "ndim", 0) != 1:
        return f"{type(given).__name__}; give the name of a phase for each run"
    if len(given) != len(ids):
        return f"{len(given)} phases for {len(ids)} runs; give one for each, in order"
    if isinstance(given, pd.Series):  # what has been grouped is in the order of the groups
        for order in (list(range(len(ids))), ids.tolist()):
            if set(given.index) == set(order) and given.index.tolist() != order:
                return 'its phases in another order than that of runs; use .reindex(runs["run_id"])'
    for run_id, name in zip(ids, pd.Series(given, dtype=object).tolist(), strict=True):
        if not isinstance(name, str) or name not in phases:
            return f"{repr(name)[:60]} for run {run_id}; give one of its phases, {', '.join(phases)}"
    return None


def looks(phases: pd.DataFrame) -> dict[str, Look]:
    """The phases that a table of them may have, in order, and how each looks: of its definition.

    The four of the built-in definitions where the table does not say (see `classify`). Raises ValueError
    where what it says cannot be used.
    """
    own = phases.attrs.get("phases")
    return dict(definitions.FOUR) if own is None else look.from_plain(own)


def ties(phases: pd.DataFrame) -> tuple[str, ...]:
    """The phases in the order of the tests: of phases equally common in a cell the first stands for it."""
    return definitions.TIES if phases.attrs.get("phases") is None else tuple(looks(phases))


def load_phases(folder: str | Path, runs: pd.DataFrame, definition: str) -> pd.DataFrame:
    """The rows of `runs` that have a phase by `definition`, one of a user's own, in the tables of `folder`.

    The user's file is not run. Raises StoreError where there is no such table or it cannot be read.
    """
    store = Store(folder)
    table = store.phases(definition)
    if table is None:
        where, others = store.place(TABLE), " or ".join(DEFINITIONS)
        raise StoreError(
            f"{where}: has no phases by {definition}, which is of the sweep's own file and is not run here; "
            f"give the sweep's own command again, or --definition {others}"
        )
    try:
        names = list(looks(table))
        phase = table.set_index("run_id")["phase"].astype(object).reindex(runs["run_id"]).to_numpy()
        if unknown := set(table["phase"].dropna()) - set(names):
            raise ValueError(f"{unknown.pop()!r} is none of its phases")
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(f"{store.place(TABLE)}: damaged: {error}; remove it") from None
    phases = runs.assign(phase=pd.Categorical(phase, categories=pd.Index(names)))
    phases = phases[phases["phase"].notna()].reset_index(drop=True)
    phases.attrs = dict(table.attrs)
    return phases
