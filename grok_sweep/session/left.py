"""What is left of a sweep to do, and whether its folder can be gone on with."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from grok_sweep.core.grid import Grid, expand
from grok_sweep.core.parts import PartError
from grok_sweep.core.plan import Plan, make_plan, outline, unfinished
from grok_sweep.core.source import RunError, blaming
from grok_sweep.core.sweep import Sweep
from grok_sweep.errors import ConfigError
from grok_sweep.session import capacity, provenance
from grok_sweep.session.sorting import rehearse
from grok_sweep.store import Inspection, Store, StoreError
from grok_sweep.terminal.diagram import one_line


@dataclass(frozen=True)
class Left:
    """The whole plan but for the `failed` runs, what is left of it, and what was found in the folder."""

    whole: Plan
    plan: Plan
    found: Inspection
    failed: int


def check_folder(results: Store, sweep: Sweep, config: Mapping[str, Any]) -> None:
    """Raises ConfigError where `out` cannot become, or is not, the folder of this sweep."""
    try:
        results.check_usable()
    except StoreError as error:
        raise ConfigError([f"out={error}"]) from None
    try:
        stored = results.sweep() if results.exists() else None
    except StoreError as error:
        raise ConfigError([str(error)]) from None
    problems = [] if stored is None else provenance.differences(stored.get("config", {}), config)
    if problems:
        where = f"out={sweep.out}: holds another sweep; choose another folder, or put back"
        raise ConfigError([f"{where} {problem}" for problem in problems])
    if stored is not None and (changed := provenance.other_code(stored, sweep)):
        raise ConfigError([f"out={sweep.out}: {changed}"])


def look(results: Store, sweep: Sweep) -> Left:
    """What is left to do. Raises ConfigError where it is more than this machine can hold, or a part of the
    user's own does not work.
    """
    with _told(sweep):
        left = _left(results, sweep)
        _try(sweep, left.plan)
        return left


def planned(sweep: Sweep) -> Plan:
    """What a new folder would be for, in outline. Raises ConfigError as `look` does, of parts."""
    last = {**sweep.values, **{key: values[-1] for key, values in sweep.axes.items()}}
    corner = replace(sweep, axes={}, values=last, together=(), seeds=sweep.seeds[-1:])
    with _told(sweep):
        plan = outline(sweep)
        _try(sweep, plan, make_plan(corner, expand(corner)))
        return plan


def _try(sweep: Sweep, *plans: Plan) -> None:
    """Raises whatever a part of the user's own does at its first step.

    One of several plans may have no run whose data can be made: that run would fail alone.
    """
    if sweep.source is None:
        return
    from grok_sweep.worker.probe import probe

    wrong = []
    for plan in plans:
        try:
            probe(plan)
        except RunError as error:
            wrong.append(error)
    if len(wrong) == len(plans):
        raise wrong[0]
    rehearse(sweep)


@contextmanager
def _told(sweep: Sweep) -> Iterator[None]:
    """Raises ConfigError where a part of the user's own does not work."""
    try:
        with blaming(sweep.source):
            yield
    except PartError as error:
        raise ConfigError([str(error)]) from None
    except MemoryError as error:
        if sweep.source is None:
            raise
        raise ConfigError(
            [f"task {sweep.task}: not enough memory for its rows: {one_line(str(error))}"]
        ) from None
    except (ConfigError, StoreError, OSError):
        raise
    except Exception as error:
        if sweep.source is None:
            raise
        parts = f"task {sweep.task}, model {sweep.model} and optimizer {sweep.optimizer}"
        why = f"{type(error).__name__}: {one_line(str(error))}"
        raise ConfigError([f"{parts} do not go together: {why}"]) from None


def _left(results: Store, sweep: Sweep) -> Left:
    """See `look`."""
    problems = capacity.problems(
        sweep, None if results.exists() else results.free_bytes(), disk=not sweep.dry_run
    )
    if problems:
        raise ConfigError(problems)
    grid = expand(sweep)
    try:
        found = results.inspect(weights=sweep.snapshot_every is not None)
        failed = set() if sweep.retry_failed else set(failed_runs(results, grid, found.finished)["run_id"])
    except StoreError as error:
        raise ConfigError([str(error)]) from None
    whole = unfinished(make_plan(sweep, grid), failed)
    # Under the id of a copy too: of an earlier order of the grid, or from before copies were left out.
    return Left(whole, unfinished(whole, grid.standing(found.finished)), found, len(failed))


def failed_runs(results: Store, grid: Grid, finished: Collection[str]) -> pd.DataFrame:
    """The runs of the grid, which may have shrunk, that failed and are not finished: see Store.failed.

    A run that failed, or is finished, under the id of a copy of it has done so.
    """
    failed = results.failed()
    failed["run_id"] = grid.standing(failed["run_id"])
    left = failed["run_id"].isin(grid.columns["run_id"]) & ~failed["run_id"].isin(grid.standing(finished))
    return failed[left].drop_duplicates("run_id", keep="last", ignore_index=True)
