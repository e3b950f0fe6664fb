"""One call that analyses a results folder: phases, cells, circuits and pictures beside the runs."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from analysis.cells import cells
from analysis.circuits import circuits
from analysis.expected import expected_runs, n_expected
from analysis.figures import phase_diagram
from analysis.gallery import NAMES, Opened, chosen, gallery, varying
from analysis.page import ended, page
from analysis.phases import BUILT_IN, DEFINITIONS, classify, load_phases, looks
from analysis.read import Weights, each_weights, load_curves, load_runs, load_weights
from analysis.steps import steps
from analysis.style import picture
from grok_sweep.core.parts import Definition
from grok_sweep.store import CIRCUITS, LEFT_OUT, REPORT, Store, StoreError

NOT_YET = "no finished runs yet; wait for the first shard, then analyse again"
FIGURE = "phase_diagram"
FIGURES = "figures"  # the folder of the gallery
EXTENSIONS = ("png", "svg")
MOST_OPENED = 8  # runs whose weights are offered to the page


@dataclass(frozen=True)
class Analysis:
    """What an analysis found and wrote; `str` is a summary for people.

    `counts` has the runs of each phase; `tables` and `figures` say where they are. `figures` is empty where
    the sweep cannot be drawn: `not_drawn` then says why. `pictures`: where those of the gallery are;
    `stale`: that those there are of other runs; `report`: where the page is; `left_out`: which runs are not
    in it, and why.
    """

    counts: dict[str, int]
    tables: tuple[str, ...]
    figures: tuple[str, ...]
    not_drawn: str = ""
    pictures: tuple[str, ...] = ()
    stale: str = ""
    report: str = ""
    left_out: str = ""

    def __str__(self) -> str:
        runs = sum(self.counts.values())
        found = ", ".join(f"{count:,} {phase}" for phase, count in self.counts.items())
        drawn = ", ".join(map(str, self.figures)) or f"not drawn: {self.not_drawn}"
        lines = [
            f"{runs:,} {'run' if runs == 1 else 'runs'}: {found}",
            *([self.left_out] if self.left_out else []),
            f"diagram: {drawn}",
            f"tables: {', '.join(map(str, self.tables))}",
        ]
        pictures = f"figures: {', '.join(self.pictures)}" if self.pictures else self.stale
        lines += [pictures] if pictures else []
        return "\n".join([*lines, *([f"report: {self.report}"] if self.report else [])])


def no_runs(store: Store) -> str:
    """Why a folder has none."""
    if left_out := store.sweep().get(LEFT_OUT):
        return f"is a record of cells and picture; its {left_out:,} runs were left out"
    return NOT_YET


def analyze(
    folder: str | Path,
    *,
    definition: str | Definition = "pair",
    figures: bool = False,
    run_id: str | None = None,
    report: bool = False,
    say: Callable[[str], None] = lambda _: None,
    **thresholds: float,
) -> Analysis:
    """Sort the finished runs of `folder` into phases (see `classify`) and write tables and diagram into it.

    The name of a definition of the sweep's own file, which is not run: the phases are those that the folder
    has (see `load_phases`); runs without one are left out.

    With `figures` the table of `circuits` too, and the pictures of the `gallery` that apply; `run_id`: the
    run that they open. With `report` the page of `write_report`. `say` is told how far it is. Everything but
    the page is computed before anything is written. A sweep that cannot be drawn still gets its tables.
    Raises StoreError where `folder` holds no sweep, none of its runs has finished, or the run is not there,
    ValueError where an argument is not allowed, OSError where `folder` cannot be written.
    """
    store = Store(folder)
    runs = load_runs(folder)
    if runs.empty:
        raise StoreError(f"{store.place()}: {no_runs(store)}")
    left_out = ""
    if isinstance(definition, Definition) or definition in DEFINITIONS:
        phases = _sorted(folder, runs, definition, thresholds)
    else:
        phases = load_phases(folder, runs, definition)
        if len(phases) < len(runs):
            count = f"{len(runs) - len(phases):,} of {len(runs):,} finished runs"
            left_out = f"left out: {count} have no phase by {definition}; the sweep's own command sorts them"
            runs = phases
    by_cell = cells(phases)
    not_drawn = ""
    try:
        figure = phase_diagram(phases, expected=expected_runs(store.sweep()["config"]))
    except ValueError as error:
        figure, not_drawn = None, str(error)

    if run_id is not None and run_id not in set(runs["run_id"]):
        raise StoreError(f"{store.place()}: run {run_id} is not there; run_ids are in its runs")
    opened, pictures = _open(folder, phases, run_id, say) if figures else (None, {})

    tables = store.write_phases(phases, by_cell)
    # An earlier picture would not be of these tables: where there is none now, it goes.
    drawings = {extension: None if figure is None else picture(figure, extension) for extension in EXTENSIONS}
    diagrams = [store.write_figure(f"{FIGURE}.{extension}", drawn) for extension, drawn in drawings.items()]
    written = []
    if opened is not None:
        tables += (store.write_circuits(opened),)
        for name in NAMES:
            say(f"drawing {name}")
            for extension in EXTENSIONS:
                drawn = picture(pictures[name], extension) if name in pictures else None
                where = store.write_figure(f"{FIGURES}/{name}.{extension}", drawn)
                written += [where] if drawn else []
    return Analysis(
        counts={name: int((phases["phase"] == name).sum()) for name in looks(phases)},
        tables=tables,
        figures=() if figure is None else tuple(diagrams),
        not_drawn=not_drawn,
        pictures=tuple(written),
        report=write_report(folder, phases, say=say) if report else "",
        left_out=left_out,
        stale="" if figures else _stale(store, set(runs["run_id"])),
    )


def _sorted(
    folder: str | Path, runs: pd.DataFrame, definition: str | Definition, thresholds: Mapping[str, float]
) -> pd.DataFrame:
    """See `classify`; the table says too which file of the folder a user's own definition is from."""
    part = BUILT_IN[definition] if isinstance(definition, str) else definition
    curves = load_curves(folder) if part.reads_curves else None
    phases = classify(runs, definition=definition, curves=curves, **thresholds)
    phases.attrs |= {"file": part.file} if part.file else {}
    return phases


def write_report(
    folder: str | Path,
    phases: pd.DataFrame,
    *,
    live: str | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> str:
    """Write the page of a sweep, report.html (see `analysis.page`), of the runs in `phases`; where it is.

    `live`: the sweep is running, and this is the time (ISO, UTC): the page then loads itself again. Raises
    StoreError where `folder` holds no sweep or cannot be read, OSError where it cannot be written.
    """
    store = Store(folder)
    config = store.sweep()["config"]
    say("reading curves")
    curves = load_curves(folder)
    say("making the page")
    content = page(
        phases,
        curves,
        _some_weights(folder, phases, curves),
        title=str(config.get("name") or store.place()),
        folder=str(folder),
        expected=max(n_expected(config), len(phases)),
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
    folder: str | Path, phases: pd.DataFrame, run_id: str | None, say: Callable[[str], None]
) -> tuple[pd.DataFrame, dict[str, Figure]]:
    """The table of circuits, and the pictures by name."""
    curves = load_curves(folder)
    with_weights: set[str] = set()

    def seen() -> Iterator[tuple[str, Weights]]:
        for found, weights in each_weights(folder):
            with_weights.add(found)
            say(f"opened {len(with_weights):,} of {len(phases):,} runs")
            yield found, weights

    table = circuits(phases, curves, seen())
    why = chosen(table, with_weights, varying(phases), run_id)
    opened = [
        Opened(one, text, load_weights(folder, one) if one in with_weights else None)
        for one, text in why.items()
    ]
    return table, dict(gallery(table, curves, phases, opened))
