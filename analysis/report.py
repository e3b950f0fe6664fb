"""One call that analyses a results folder: phases, cells and the phase diagram beside the runs."""

from dataclasses import dataclass
from pathlib import Path

from analysis.cells import cells
from analysis.figures import phase_diagram, picture
from analysis.phases import MAX_RATIO, MIN_LOSS, PHASES, classify
from analysis.read import load_curves, load_runs
from grok_sweep.store import Store, StoreError

NOT_YET = "no finished runs yet; wait for the first shard, then analyse again"
FIGURE = "phase_diagram"
EXTENSIONS = ("png", "svg")


@dataclass(frozen=True)
class Analysis:
    """What an analysis found and wrote; `str` is a summary for people.

    `counts` has the runs of each phase; `tables` and `figures` say where they are. `figures` is empty where
    the sweep cannot be drawn: `not_drawn` then says why.
    """

    counts: dict[str, int]
    tables: tuple[str, ...]
    figures: tuple[str, ...]
    not_drawn: str = ""

    def __str__(self) -> str:
        runs = sum(self.counts.values())
        found = ", ".join(f"{count:,} {phase}" for phase, count in self.counts.items())
        drawn = ", ".join(map(str, self.figures)) or f"not drawn: {self.not_drawn}"
        return "\n".join(
            [
                f"{runs:,} {'run' if runs == 1 else 'runs'}: {found}",
                f"diagram: {drawn}",
                f"tables: {', '.join(map(str, self.tables))}",
            ]
        )


def analyze(
    folder: str | Path,
    *,
    min_loss: float = MIN_LOSS,
    max_ratio: float = MAX_RATIO,
    definition: str = "pair",
) -> Analysis:
    """Sort the finished runs of `folder` into phases (see `classify`) and write tables and diagram into it.

    Everything is computed before anything is written. A sweep that cannot be drawn still gets its tables.
    Raises StoreError where `folder` holds no sweep or none of its runs has finished, ValueError where an
    argument is not allowed, OSError where `folder` cannot be written.
    """
    store = Store(folder)
    runs = load_runs(folder)
    if runs.empty:
        raise StoreError(f"{store.place()}: {NOT_YET}")
    phases = classify(
        runs,
        min_loss=min_loss,
        max_ratio=max_ratio,
        definition=definition,
        curves=load_curves(folder) if definition == "liu" else None,
    )
    by_cell = cells(phases)
    not_drawn = ""
    try:
        figure = phase_diagram(phases)
    except ValueError as error:
        figure, not_drawn = None, str(error)

    tables = store.write_phases(phases, by_cell)
    figures = []
    for extension in EXTENSIONS:
        # An earlier picture would not be of these tables: where there is none now, it goes.
        drawn = None if figure is None else picture(figure, extension)
        figures.append(store.write_figure(f"{FIGURE}.{extension}", drawn))
    return Analysis(
        counts={name: int((phases["phase"] == name).sum()) for name in PHASES},
        tables=tables,
        figures=() if figure is None else tuple(figures),
        not_drawn=not_drawn,
    )
