"""Pictures of training: accuracy and loss over the steps, of one run or of all runs of a sweep."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.arrange import rows_of
from analysis.layout import LETTER, TEST, TRAIN, head, mosaic, page, step_axis, thin_lines
from analysis.load import need
from analysis.steps import ACCURACY
from analysis.style import INK, plain_style
from analysis.words import in_words, plural

TWO = ("accuracy", "loss")
MOST_OWN = 6  # metrics of the user's own
OWN = "#b3570f"
SIDES = {"train": ("train", TRAIN), "test": ("eval", TEST)}
FEW, MANY = 8, 30  # panels: of all settings, where they are few; of some of their axes, where they are more
MOST_COLUMNS = 5
MOST_KEYS = 10  # shades of one colour that are named
EARLY = 0.05  # of the steps: where training rows are known sooner, most of what happens does too


@dataclass(frozen=True)
class _Split:
    """How runs are told apart.

    `panels`, `shades`: what each is called; `values`: how many panels are a round of the last axis; `place`:
    by run_id, its `panel` and `shade`; `said`: what the caption says of it.
    """

    panels: list[str]
    values: int
    shades: list[str]
    place: pd.DataFrame
    said: str


@plain_style()
def curves_picture(
    curves: pd.DataFrame, title: str = "", *, settings: pd.DataFrame | None = None, unit: str = ""
) -> Figure:
    """Accuracy, and loss on a log axis, over the steps of one run or, in thin lines, of many.

    `curves`: as load_curves reads them, a row per run and logged step. Below them the first six metrics of
    the user's own that are in the table; a task in which nothing is right has no accuracy. Losses of 0, and
    what is no number, leave a gap. Steps are on a log axis where half of the runs know their training rows in
    the first 5 % of them. `settings`: by run_id, the columns in which the runs differ: up to 8 settings have
    panels of their own, of more the axis with most values is told by shades. `unit`: of the loss. Raises
    ValueError where a column is missing or there are no rows.
    """
    need(curves, ["run_id", "step", *_columns("loss"), *_columns("accuracy")], "a table of curves")
    if curves.empty:
        raise ValueError("there are no runs to draw: the table of curves is empty")
    ids = curves["run_id"].unique()
    split = _split(pd.DataFrame(index=ids) if settings is None else settings.loc[ids])
    kinds = _kinds(curves)
    curves = curves.join(split.place, on="run_id")
    log = _early(curves)
    per_panel = len(ids) / len(split.panels)
    look = {"linewidth": 1.6 if len(ids) == 1 else 0.7, "alpha": float(np.clip(20 / per_panel, 0.2, 1))}

    spots = rows_of(len(split.panels), split.values, MOST_COLUMNS)
    columns = 1 + max(column for _, column in spots)
    width, high = ((5.6, 1.7), (3.6, 1.4), (2.2, 1.1))[(columns > 1) + (columns > 2)]
    figure, plots = page(
        title,
        split.said,
        mosaic(spots, kinds),
        width=max(width, LETTER * max(map(len, "\n".join(split.panels).split("\n")))),
        heights=[high] * len(kinds) * (spots[-1][0] + 1),
        room=0.3 + 0.2 * split.panels[0].count("\n") / len(kinds),
        keys=_keys(split),
    )
    for panel, (row, column) in enumerate(spots):
        of_panel = curves[curves["panel"] == panel]
        for kind in kinds:
            plot = plots[f"{panel} {kind}"]
            if panel:
                plot.sharey(plots[f"0 {kind}"])
            _lines(plot, of_panel, kind, len(split.shades), look)
            _value_axis(plot, kind, curves)
            foot = kind == kinds[-1] and (row + 1, column) not in spots
            step_axis(plot, curves["step"].to_numpy(), name=("step (log)" if log else "step") * foot, log=log)
            plot.tick_params(labelbottom=foot, labelleft=column == 0)
            if column == 0:
                plot.set_ylabel(f"{kind}, {unit}" if unit and kind == "loss" else kind, size=9, color=INK)
        head(plots[f"{panel} {kinds[0]}"], split.panels[panel])
    return figure


def _keys(split: _Split) -> dict[str, Any]:
    """The legend: the colours of both sides, and their shades, some of many, from the first to the last."""

    def line(colour: Any) -> Line2D:
        return Line2D([], [], color=colour, linewidth=2)

    many = len(split.shades)
    named = np.unique(np.linspace(0, many - 1, min(many, MOST_KEYS)).round().astype(int))
    keys: dict[str, Any] = {label: line(colour) for label, (_, colour) in SIDES.items()}
    shades = {
        split.shades[k]: tuple(line(shade_of(colour, k, many)) for _, colour in SIDES.values()) for k in named
    }
    return keys | shades


def _value_axis(plot: Axes, kind: str, curves: pd.DataFrame) -> None:
    """The axis of a metric: in logs if it is a loss, or over 0 and here 100 times as large as there."""
    if kind == "accuracy":
        plot.set(ylim=(-0.03, 1.04), yticks=[0, 0.5, 1], yticklabels=["0", "50 %", "100 %"])
        return
    values = curves[[*_columns(kind)]].to_numpy(float)
    known = values[np.isfinite(values)]
    if (known > 0).any() and (kind == "loss" or known.max() > 100 * known.min() > 0):
        plot.set_yscale("log")


def _kinds(curves: pd.DataFrame) -> list[str]:
    """What is drawn, from above to below: accuracy, if there is one, loss, and metrics of the user's own."""
    given = ["run_id", "step", "weight_norm", *_columns("accuracy"), *_columns("loss")]
    own = [str(name) for name in curves.columns if name not in given]
    none = curves[[*_columns("accuracy")]].isna().all(axis=None)
    return [*TWO[bool(none) :], *own[:MOST_OWN]]


def _columns(kind: str) -> dict[str, tuple[str, str]]:
    """The lines of a kind: column of the curves -> label, colour."""
    if kind not in TWO:
        return {kind: ("", OWN)}
    return {f"{side}_{kind}": (label, colour) for label, (side, colour) in SIDES.items()}


def _lines(plot: Axes, curves: pd.DataFrame, kind: str, shades: int, look: dict[str, Any]) -> None:
    """Draw one metric of the runs of a panel."""
    for name, (label, colour) in _columns(kind).items():
        known = np.isfinite(curves[name]) & ((curves[name] > 0) | (kind != "loss"))
        points = curves.assign(**{name: curves[name].where(known)})
        for shade in sorted(points["shade"].unique()):
            runs = points[points["shade"] == shade].groupby("run_id", sort=False)
            lines = [run[["step", name]].to_numpy(float) for _, run in runs]
            thin_lines(plot, lines, shade_of(colour, shade, shades), label, **look)


def shade_of(colour: str, place: int, of: int) -> Any:
    """The colour itself, or from pale to dark that which has a place among some."""
    if of < 2:
        return colour
    share = place / (of - 1)
    ground, amount = (1.0, 0.65 - 1.3 * share) if share < 0.5 else (0.0, 1.2 * (share - 0.5))
    return tuple(np.array(to_rgb(colour)) * (1 - amount) + ground * amount)


def _early(curves: pd.DataFrame) -> bool:
    """Half of the runs know their training rows in the first steps."""
    known = curves[curves["train_accuracy"] >= ACCURACY].groupby("run_id")["step"].min()
    share = (known / curves.groupby("run_id")["step"].max()).fillna(1)
    return bool(share.median() <= EARLY)


def _split(settings: pd.DataFrame) -> _Split:
    """Panels for some axes and shades for another; see `curves_picture`. `settings`: a row for each run."""
    sizes = {tuple(names): len(settings[names].drop_duplicates()) for names in _factors(settings)}
    factors = sorted(sizes, key=lambda names: sizes[names])
    # Of equals the first: then the last, weight_decay, is across, as in the phase diagram.
    dark = max(factors, key=lambda names: sizes[names]) if np.prod([*sizes.values()]) > FEW else ()
    beside: list[str] = []
    pooled: list[str] = []
    panels = across = 1
    for names in factors:
        if names != dark and not pooled and panels * sizes[names] <= MANY:
            beside, panels, across = [*beside, *names], panels * sizes[names], sizes[names]
        elif names != dark:
            pooled += names
    panel_R, combinations = _groups(settings, beside)
    shade_R, shades = _groups(settings, list(dark))
    said = [plural(len(settings), "run")] if len(settings) > 1 else []
    said += [f"a panel for each {' and '.join(beside)}"] if beside else []
    said += [f"from pale to dark: {', '.join(dark)}"] if dark else []
    said += [f"pooled over {', '.join(pooled)}"] if pooled else []
    return _Split(
        ["\n".join(f"{name.replace('_', ' ')} {value}" for name, value in of.items()) for of in combinations],
        across if len(combinations) == panels else len(combinations),
        [", ".join(of.values()) for of in shades] if dark else [],
        pd.DataFrame({"panel": panel_R, "shade": shade_R}, index=settings.index),
        "; ".join(said),
    )


def _groups(table: pd.DataFrame, names: list[str]) -> tuple[np.ndarray, list[dict[str, str]]]:
    """Which combination of some columns each row has, in their order, and in words the values of each."""
    if not names:
        return np.zeros(len(table), int), [{}]
    groups = table.groupby(names, dropna=False)
    rows = groups.size().reset_index()[names]
    return groups.ngroup().to_numpy(), [
        dict(zip(names, map(in_words, row), strict=True)) for row in rows.to_numpy(object)
    ]


def _factors(table: pd.DataFrame) -> list[list[str]]:
    """The columns in groups: those that change together, so that not all of their combinations are there."""
    factors: list[list[str]] = []
    for name in table.columns:
        group = [name]
        for other in [one for one in factors if not _crossed(table, one[-1], name)]:
            factors.remove(other)
            group = [*other, *group]
        factors.append(group)
    return factors


def _crossed(table: pd.DataFrame, one: str, other: str) -> bool:
    every = table[one].nunique(dropna=False) * table[other].nunique(dropna=False)
    return len(table[[one, other]].drop_duplicates()) == every
