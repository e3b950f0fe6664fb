"""What is left of a sweep to do, and whether its folder can be gone on with."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pandas as pd

from grok_sweep.core.grid import Grid, expand
from grok_sweep.core.parts import PartError
from grok_sweep.core.plan import Plan, make_plan, unfinished
from grok_sweep.core.source import blaming
from grok_sweep.core.sweep import Sweep
from grok_sweep.errors import ConfigError
from grok_sweep.session import capacity, provenance, sorting
from grok_sweep.session.selection import Selection, select
from grok_sweep.stop import Stopped
from grok_sweep.store import Inspection, Store, StoreError

MOST_TRIED = 20  # programs, of a sweep with parts of its own


@dataclass(frozen=True)
class Left:
    """The whole plan but for the `crashed` runs, what is left of it, and what was found in the folder."""

    whole: Plan
    plan: Plan
    found: Inspection
    crashed: int
    selection: Selection  # what `only` chose


@contextmanager
def refusing(sweep: Sweep) -> Iterator[None]:
    """Raises ConfigError where something given cannot be used: the folder, the grid, the user's parts."""
    try:
        with blaming(sweep.source):
            yield
    except (PartError, StoreError) as error:
        raise ConfigError([str(error)]) from None
    except OSError as error:
        reason = f"cannot be used: {error.strerror or error}; choose another folder"
        raise ConfigError([f"out={sweep.out}: {reason}"]) from None
    except (ConfigError, Stopped):
        raise
    except Exception as error:
        if sweep.source is None:
            if not isinstance(error, MemoryError):
                raise
            raise ConfigError([f"grid: {sweep.n_runs:,} runs: not enough memory; split the sweep"]) from None
        parts = f"task {sweep.task}, model {sweep.model} and optimizer {sweep.optimizer}"
        raise ConfigError([f"{parts} cannot be trained: {type(error).__name__}: {error}"]) from None


def check_folder(results: Store, sweep: Sweep, config: Mapping[str, Any]) -> None:
    """Raises ConfigError where `out` cannot become, or is not, the folder of this sweep."""
    try:
        results.check_usable()
    except StoreError as error:
        raise ConfigError([f"out={error}"]) from None
    if not results.exists():
        return
    stored = results.sweep()
    if problems := provenance.differences(stored, sweep, config):
        where = f"out={sweep.out}: holds another sweep; choose another folder, or put back"
        raise ConfigError([f"{where} {problem}" for problem in problems])
    if not sweep.accept_code and (changed := provenance.other_code(stored, sweep)):
        raise ConfigError([f"out={sweep.out}: {changed}"])


def look(
    results: Store, sweep: Sweep, config: Mapping[str, Any], run_ids: frozenset[str] | None = None
) -> Left:
    """What is left to do, of all or of `run_ids`. Raises ConfigError where this machine cannot hold it."""
    capacity.check(sweep)
    grid = expand(sweep)
    plan = make_plan(sweep, grid)
    free = None if results.exists() else results.free_bytes()
    capacity.check(capacity.settled(sweep, plan), plan, free)
    found = results.inspect(weights=sweep.snapshot_every is not None)
    crashed = set() if sweep.retry_crashed else set(crashed_runs(results, grid, found.finished)["run_id"])
    if run_ids is None:
        selection = select(sweep, config, results, grid)
    else:
        selection = Selection(frozenset(grid.columns["run_id"].tolist()) - run_ids)
    # Under the id of a copy too: of an earlier order of the grid, or from before copies were left out.
    finished = {*grid.standing(found.finished)}
    whole = unfinished(plan, crashed | (selection.left_out - finished))
    done = finished.difference(grid.standing(selection.again))
    left = Left(whole, unfinished(whole, done), found, len(crashed), selection)
    try_parts(sweep, left.plan)
    return left


def try_parts(sweep: Sweep, plan: Plan) -> None:
    """Raises whatever parts of the user's own do at their first step."""
    if sweep.source is not None:
        from grok_sweep.worker.probe import probe

        probe(plan, MOST_TRIED)
        sorting.rehearse(sweep)


def notes(sweep: Sweep, plan: Plan) -> list[str]:
    """What is to be known of a plan before it is trained: rows left out, programs that were not tried.

    A last mini-batch of an epoch that would be too small is none.
    """
    sizes = {(program.rows, program.batch_size) for program in plan.programs if program.batch_size}
    over = [f"{rows % size:,} of {rows:,}" for rows, size in sorted(sizes) if rows % size]
    told = f"train.batch_size leaves {', '.join(over)} training rows out of each epoch, others each time"
    found = [told] if over else []
    if sweep.source is not None and (programs := len(plan.programs)) > MOST_TRIED:
        tried = f"{sweep.source.name}: {MOST_TRIED} of {programs:,} programs were tried before training"
        found.append(f"{tried}; what is wrong with others alone shows then")
    return found


def crashed_runs(results: Store, grid: Grid | None, finished: Collection[str]) -> pd.DataFrame:
    """The runs of the grid, which may have shrunk, that crashed and are not finished: see Store.crashed.

    None: all, as of a sweep that is refined. A run that crashed, or is finished, under the id of a copy of it
    has done so.
    """
    crashed = results.crashed()
    if grid is None:
        return crashed[~crashed["run_id"].isin(finished)].reset_index(drop=True)
    crashed["run_id"] = grid.standing(crashed["run_id"])
    left = crashed["run_id"].isin(grid.columns["run_id"]) & ~crashed["run_id"].isin(grid.standing(finished))
    return crashed[left].drop_duplicates("run_id", keep="last", ignore_index=True)
