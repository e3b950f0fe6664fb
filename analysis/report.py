"""One call that analyses a results folder: phases, cells, circuits and pictures beside the runs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from analysis.cells import cells
from analysis.circuits import circuits
from analysis.expected import configs, expected_runs, n_expected
from analysis.extras import Asked, Extras, picture_of
from analysis.figures import phase_diagram
from analysis.gallery import NAMES, Opened, chosen, gallery, varying
from analysis.load import Weights, each_weights, load_curves, load_repeats, load_runs, load_weights
from analysis.page import ended, page
from analysis.phases import BUILT_IN, DEFINITIONS, classify, load_phases, looks
from analysis.remarks import remarks
from analysis.steps import steps
from analysis.style import picture as content_of
from analysis.words import plural
from grok_sweep.core.parts import Definition
from grok_sweep.store import (
    CIRCUITS,
    LEFT_OUT,
    REPORT,
    Store,
    StoreError,
)

FIGURES = "figures"  # the folder of the gallery
EXTENSIONS = ("png", "svg")
MOST_OPENED = 8  # runs whose weights are offered to the page


@dataclass(frozen=True)
class Analysis:
    """What an analysis found and wrote: the runs of each phase, and what to tell people, its `str`."""

    counts: dict[str, int]
    lines: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join(self.lines)


def analyze(
    folder: str | Path,
    *,
    definition: str | Definition = "pair",
    figures: bool = False,
    run_id: str | None = None,
    report: bool = False,
    sensitivity: bool = False,
    boundary: str | None = None,
    times: bool = False,
    scaling: Sequence[str] = (),
    joint: bool = False,
    **thresholds: float,
) -> Analysis:
    """Sort the finished runs of `folder` into phases (see `classify`) and write tables and diagram into it.

    The name of a definition of the sweep's own file, which is not run: the phases are those that the folder
    has (see `load_phases`); runs without one are left out.

    With `figures` the table of `circuits` too, and the pictures of the `gallery` that apply; `run_id`: the
    run that they open. With `sensitivity`, or where an earlier call had it, how much depends on thresholds
    and definition (see `analysis.sensitivity`); so with `boundary`, an axis, where along it one phase becomes
    another (see `boundaries`), with `times` how long runs take (see `analysis.times` and `survival`), with
    `scaling`, an event and axes, by what law of them (see `analysis.scaling`), with `joint` intervals that
    hold all shares of a cell at once (see `analysis.joint`). With `report` the page of `write_report`.
    Everything but the page is computed before anything is written. A sweep that cannot be drawn still gets
    its tables. Raises StoreError where `folder` holds no sweep, none of its runs has finished, or the run is
    not there, ValueError where an argument is not allowed, OSError where `folder` cannot be written.
    """
    store = Store(folder)
    asked, runs = configs(store.sweep()), load_runs(folder)
    if runs.empty:
        raise StoreError(f"{store.place()}: {_no_runs(store)}")
    phases = phases_of(folder, runs, definition, thresholds)
    if run_id is not None and run_id not in set(phases["run_id"]):
        raise StoreError(f"{store.place()}: run {run_id} is not there; run_ids are in its runs")
    by_cell = cells(phases)
    expected = expected_runs(*asked)
    figure, not_drawn = picture_of(phase_diagram, phases, expected=expected)
    opened, pictures = _open(folder, phases, run_id) if figures else (None, {})
    again: pd.DataFrame | None = load_repeats(folder)
    if again is not None and len(again):
        can_tell = isinstance(definition, Definition) or definition in DEFINITIONS
        again = phases_of(folder, again, definition, thresholds) if can_tell else None
    wanted = Asked(sensitivity, boundary, times, scaling, joint)
    extras = Extras(store, phases, asked, expected, again).made(wanted)
    counts = {name: int((phases["phase"] == name).sum()) for name in looks(phases)}
    found = ", ".join(f"{count:,} {name}" for name, count in counts.items())
    lines = [f"{plural(len(phases), 'run')}: {found}"]
    if lost := len(runs) - len(phases):
        why = f"have no phase by {definition}; the sweep's own command sorts them"
        lines.append(f"left out: {lost:,} of {len(runs):,} finished runs {why}")
    lines += remarks(store, phases)
    tables = store.write_phases(phases, by_cell)
    lines.append(f"diagram: {', '.join(_write(store, 'phase_diagram', figure)) or not_drawn}")
    if opened is None:
        stale = _stale(store, set(phases["run_id"]))
    else:
        tables += (store.write_table(CIRCUITS, opened),)
        drawn = [_write(store, f"{FIGURES}/{name}", pictures.get(name)) for name in NAMES]
        stale = f"figures: {', '.join(chain(*drawn))}"
    for extra in extras:
        tables += tuple(store.write_table(name, table) for name, table in extra.tables.items())
        lines += extra.lines
        if extra.picture is not None:
            figure, not_drawn = extra.picture
            lines.append(f"{extra.name}: {', '.join(_write(store, extra.name, figure)) or not_drawn}")
    lines += [f"tables: {', '.join(tables)}", *([stale] if stale else [])]
    lines += [f"report: {write_report(folder, phases)}"] if report else []
    return Analysis(counts, tuple(lines))


def _no_runs(store: Store) -> str:
    """Why a folder has none."""
    if left_out := store.sweep().get(LEFT_OUT):
        return f"is a record of cells and picture; its {left_out:,} runs were left out"
    return "no finished runs yet; wait for the first shard, then analyse again"


def phases_of(
    folder: str | Path, runs: pd.DataFrame, definition: str | Definition, thresholds: Mapping[str, float]
) -> pd.DataFrame:
    """See `analyze`; the table says too which file of the folder a user's own definition is from."""
    if isinstance(definition, str) and definition not in DEFINITIONS:
        return load_phases(folder, runs, definition)
    part = BUILT_IN[definition] if isinstance(definition, str) else definition
    curves = load_curves(folder, runs["run_id"]) if part.reads_curves else None
    phases = classify(runs, definition=definition, curves=curves, **thresholds)
    phases.attrs |= {"file": part.file} if part.file else {}
    return phases


def _write(store: Store, name: str, figure: Figure | None) -> list[str]:
    """Replace a picture, in each of its formats; where they are.

    An earlier one would not be of these runs: where there is none now, it goes.
    """
    drawn = {f"{name}.{kind}": None if figure is None else content_of(figure, kind) for kind in EXTENSIONS}
    places = [store.write_figure(file, content) for file, content in drawn.items()]
    return [] if figure is None else places


def write_report(folder: str | Path, phases: pd.DataFrame, *, live: str | None = None) -> str:
    """Write the page of a sweep, report.html (see `analysis.page`), of the runs in `phases`; where it is.

    `live`: the sweep is running, and this is the time (ISO, UTC): the page then loads itself again. Raises
    StoreError where `folder` holds no sweep or cannot be read, OSError where it cannot be written.
    """
    store = Store(folder)
    asked, curves = configs(store.sweep()), load_curves(folder)
    content = page(
        phases,
        curves,
        _some_weights(folder, phases, curves),
        title=str(asked[0].get("name") or store.place()),
        folder=str(folder),
        expected=max(n_expected(*asked), len(phases)),
        live=live,
    )
    return store.write_figure(REPORT, content)


def end_report(folder: str | Path) -> None:
    """Make a page that says that the sweep is running say so no longer, if there is one.

    Raises StoreError and OSError as `write_report` does.
    """
    store = Store(folder)
    content = store.page()
    if content is not None and (done := ended(content)) != content:
        store.write_figure(REPORT, done)


def _some_weights(
    folder: str | Path, phases: pd.DataFrame, curves: pd.DataFrame
) -> Iterator[tuple[str, Weights]]:
    """The weights of the first runs to generalise of those that have some, if any; the page takes a few."""
    with_weights = Store(folder).with_weights()
    runs = phases[phases["run_id"].isin(with_weights)]
    if len(runs):
        when = steps(runs, curves).sort_values("generalize_step", kind="stable")
        for run_id in when["run_id"].head(MOST_OPENED):
            yield run_id, load_weights(folder, run_id)


def _stale(store: Store, run_ids: set[str]) -> str:
    """What to say where an earlier analysis opened other networks than those that are there now."""
    opened = store.circuits_of()
    if opened is None or opened == run_ids:
        return ""
    of = f"{len(opened & run_ids):,} of these {len(run_ids):,} runs"
    return f"figures: {store.place(CIRCUITS)} and {FIGURES}/ are of {of}; --figures draws them anew"


def _open(
    folder: str | Path, phases: pd.DataFrame, run_id: str | None
) -> tuple[pd.DataFrame, dict[str, Figure]]:
    """The table of circuits, and the pictures by name."""
    curves, with_weights = load_curves(folder), Store(folder).with_weights()
    table = circuits(phases, curves, each_weights(folder, phases["run_id"]))
    why = chosen(table, with_weights, varying(phases), run_id)
    opened = [
        Opened(one, text, load_weights(folder, one) if one in with_weights else None)
        for one, text in why.items()
    ]
    return table, dict(gallery(table, curves, phases, opened))
