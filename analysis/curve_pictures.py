"""Pictures of training: accuracy and loss over the steps, of one run or of all runs of a sweep."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.panels import TEST, TRAIN, end_labels, head, log_axis, page, step_axis, thin_lines
from analysis.places import rows_of
from analysis.read import need
from analysis.steps import ACCURACY
from analysis.style import INK, PALE_INK, plain_style, text_width
from analysis.words import in_words, plural

TWO = ("accuracy", "loss")
MOST_OWN = 6  # metrics of the user's own
OWN = "#b3570f"
SIDES = {"train": ("train", TRAIN), "test": ("eval", TEST)}
FEW, MANY = 8, 30  # panels: of all settings, where they are few; of some of their axes, where they are more
MOST_COLUMNS = 5
MOST_KEYS = 10  # shades of one colour that are named
EARLY = 0.05  # of the steps: where training rows are known sooner, most of what happens does too
LINE = 0.19  # inches


@dataclass(frozen=True)
class _Split:
    """How runs are told apart.

    `panels`, `shades`: what each is called; `values`: how many panels are a round of the last axis; `place`:
    run_id -> (panel, shade); `said`: what the caption says of it.
    """

    panels: list[str]
    values: int
    shades: list[str]
    place: dict[str, tuple[int, int]]
    said: list[str]


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
    metrics = [f"{side}_{metric}" for side, _ in SIDES.values() for metric in ("loss", "accuracy")]
    need(curves, ["run_id", "step", *metrics], "a table of curves")
    if curves.empty:
        raise ValueError("there are no runs to draw: the table of curves is empty")
    runs = {str(run_id): run for run_id, run in curves.groupby("run_id", sort=False)}
    kinds = _kinds(curves)
    split = _split(list(runs), settings)
    alone = len(split.panels) == 1
    per_panel = len(runs) / len(split.panels)
    look: dict[str, Any] = {"linewidth": 1.6 if len(runs) == 1 else 0.9 if per_panel < 4 else 0.7}
    if per_panel > 1:
        look["alpha"] = float(np.clip(20 / per_panel, 0.2, 0.8))
    log = _early(list(runs.values()))

    columns, spots = rows_of(len(split.panels), split.values, MOST_COLUMNS)
    width, high = (5.2, (1.5, 2.1)) if alone else (3.4, (1.3, 1.7)) if columns < 3 else (2.1, (1.0, 1.3))
    rows = _key_rows(split, columns * width)
    heights = [high[kind == "loss"] for kind in kinds]
    names = max(text.count("\n") + 1 for text in split.panels)
    above = 0.3 if alone else 0.18 + 0.155 * names
    band = [(above, heights[0]), *((0.3 if alone else 0.14, height) for height in heights[1:])]
    bands = [(above + LINE * rows, heights[0]), *band[1:], *[*band] * spots[-1][0]]
    figure, plots = page(
        title,
        "; ".join(split.said),
        rows=bands,
        columns=columns,
        width=width,
        left=0.45 if alone else 0.65,
        right=0.4 if alone else 0.15,
        gap=0.38,
    )
    for panel, (row, column) in enumerate(spots):
        mine = {run_id: run for run_id, run in runs.items() if split.place[run_id][0] == panel}
        lowest = (row, column) == max(spot for spot in spots if spot[1] == column)
        for k, metric in enumerate(kinds):
            plot = plots[(len(kinds) * row + k) * columns + column]
            name = f"{metric}, {unit}" if unit and metric == "loss" else metric
            ends = _lines(plot, mine, metric, split, look)
            _value_axis(plot, metric, runs)
            foot = lowest and metric == kinds[-1]
            step_axis(plot, curves["step"].to_numpy(), name=("step (log)" if log else "step") * foot, log=log)
            plot.tick_params(labelbottom=foot, labelleft=column == 0)
            if alone:
                head(plot, name)
                end_labels(plot, ends)
                continue
            if k == 0:
                head(plot, split.panels[panel])
            if column == 0:
                plot.set_ylabel(name, size=9, color=INK, labelpad=3)
    for row, column in product(range(spots[-1][0] + 1), range(columns)):
        if (row, column) not in spots:
            for k in range(len(kinds)):
                plots[(len(kinds) * row + k) * columns + column].remove()
    if rows:
        _key(figure, plots[0], split, columns * width, above)
    return figure


def _value_axis(plot: Axes, metric: str, runs: dict[str, pd.DataFrame]) -> None:
    """The axis of a metric, the same for all panels."""
    values = np.concatenate([_values(runs, name) for name, _ in _columns(metric).values()])
    if metric == "accuracy":
        plot.set(ylim=(-0.03, 1.04), yticks=[0, 0.5, 1], yticklabels=["0", "50 %", "100 %"])
    elif metric == "loss" or _wide(values):
        log_axis(plot, values)
    else:
        plot.set_ylim(*_around(values))


def _kinds(curves: pd.DataFrame) -> list[str]:
    """What is drawn, from above to below: accuracy, if there is one, loss, and metrics of the user's own."""
    given = ["run_id", "step", "weight_norm", *(name for kind in TWO for name, _ in _columns(kind).values())]
    own = [str(name) for name in curves.columns if name not in given]
    none = curves[[name for name, _ in _columns("accuracy").values()]].isna().all(axis=None)
    return [*TWO[bool(none) :], *own[:MOST_OWN]]


def _columns(kind: str) -> dict[str, tuple[str, str]]:
    """The lines of a kind: label -> column of the curves, colour."""
    if kind not in TWO:
        return {"": (kind, OWN)}
    return {label: (f"{side}_{kind}", colour) for label, (side, colour) in SIDES.items()}


def _wide(values: np.ndarray) -> bool:
    """Whether they are better seen on a log axis: all over 0, and some hundred times as large as others."""
    finite = values[np.isfinite(values)]
    return len(finite) > 0 and bool(finite.min() > 0 and finite.max() > 100 * finite.min())


def _around(values: np.ndarray) -> tuple[float, float]:
    """The limits of an axis on which they have some room."""
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    room = 0.05 * (high - low) or 0.5
    return low - room, high + room


def _values(runs: dict[str, pd.DataFrame], name: str) -> np.ndarray:
    return np.concatenate([run[name].to_numpy(float) for run in runs.values()])


def _lines(
    plot: Axes, runs: dict[str, pd.DataFrame], metric: str, split: _Split, look: dict[str, Any]
) -> dict[str, tuple[float, str]]:
    """Draw one metric of some runs; for each side where its lines end, at the middle, and its colour."""
    ends = {}
    for label, (name, colour) in _columns(metric).items():
        lines = {run_id: run[["step", name]].to_numpy(float) for run_id, run in runs.items()}
        for line in lines.values():
            line[~np.isfinite(line[:, 1]) | ((line[:, 1] <= 0) & (metric == "loss")), 1] = np.nan
        for shade in range(max(1, len(split.shades))):
            of_shade = [line for run_id, line in lines.items() if split.place[run_id][1] == shade]
            if of_shade:
                thin_lines(plot, of_shade, _shade(colour, shade, len(split.shades)), label, **look)
        last = [line[-1, 1] for line in lines.values() if np.isfinite(line[-1, 1])]
        ends[label] = (float(np.median(last)) if last else np.nan, colour)
    return ends


def _shade(colour: str, place: int, of: int) -> Any:
    """The colour itself, or from pale to dark that which has a place among some."""
    if of < 2:
        return colour
    share = place / (of - 1)
    ground, amount = (1.0, 0.65 - 1.3 * share) if share < 0.5 else (0.0, 1.2 * (share - 0.5))
    return tuple(np.array(to_rgb(colour)) * (1 - amount) + ground * amount)


def _early(runs: Sequence[pd.DataFrame]) -> bool:
    """Half of the runs know their training rows in the first steps."""
    shares = []
    for run in runs:
        known = run["step"][run["train_accuracy"] >= ACCURACY]
        last = run["step"].max()
        shares.append(known.min() / last if len(known) and last > 0 else 1.0)
    return bool(np.median(shares) <= EARLY)


def _split(run_ids: Sequence[str], settings: pd.DataFrame | None) -> _Split:
    """Panels for some axes and shades for another; see `curves_picture`."""
    count = plural(len(run_ids), "run")
    if settings is None or settings.empty or not len(settings.columns):
        said = [count] if len(run_ids) > 1 else []
        return _Split([""], 1, [], dict.fromkeys(run_ids, (0, 0)), said)
    table = settings.loc[list(run_ids)]
    factors = sorted(_factors(table), key=lambda names: len(table[names].drop_duplicates()))
    sizes = [len(table[names].drop_duplicates()) for names in factors]
    dark = None
    if np.prod(sizes) > FEW:
        # Of equals the first: then the last, weight_decay, is across, as in the phase diagram.
        dark = factors.pop(sizes.index(max(sizes)))
        sizes.remove(max(sizes))
    beside = [names for i, names in enumerate(factors) if np.prod(sizes[: i + 1]) <= MANY]
    pooled = [name for names in factors[len(beside) :] for name in names]

    places, texts = zip(*[_places(table, names) for names in beside], strict=True) if beside else ((), ())
    panels = ["\n".join(parts) for parts in product(*texts)]
    shape = [len(part) for part in texts]
    panel_R = np.ravel_multi_index(places, shape) if beside else np.zeros(len(table), int)
    shade_R, shades = (
        _places(table, dark, short=True) if dark is not None else (np.zeros(len(table), int), [])
    )
    across = shape[-1] if shape else 1
    used = np.unique(panel_R)
    if len(used) < len(panels):  # a combination that the sweep has not
        panels, panel_R, across = [panels[p] for p in used], np.searchsorted(used, panel_R), len(used)
    said = [count]
    if beside:
        said.append(f"a panel for each {' and '.join(name for names in beside for name in names)}")
    if dark is not None:
        said.append(f"from pale to dark: {', '.join(dark)}")
    if pooled:
        said.append(f"pooled over {', '.join(pooled)}")
    place = {run_id: (int(p), int(s)) for run_id, p, s in zip(run_ids, panel_R, shade_R, strict=True)}
    return _Split(panels, across, shades, place, said)


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


def _places(table: pd.DataFrame, names: list[str], short: bool = False) -> tuple[np.ndarray, list[str]]:
    """Which combination of some columns each run has, in their order, and what each is called."""
    groups = table.groupby(names, dropna=False, sort=True)
    rows = groups.size().reset_index()
    values = [map(in_words, rows[name]) for name in names]
    if short:
        return groups.ngroup().to_numpy(), [", ".join(each) for each in zip(*values, strict=True)]
    lines = [
        [f"{name.replace('_', ' ')} {value}" for value in of] for name, of in zip(names, values, strict=True)
    ]
    return groups.ngroup().to_numpy(), ["\n".join(each) for each in zip(*lines, strict=True)]


def _keys(split: _Split) -> list[int]:
    """The shades that are named: all, or some of many, from the first to the last."""
    return list(np.unique(np.linspace(0, len(split.shades) - 1, MOST_KEYS).round().astype(int)))


def _key_columns(split: _Split, width: float) -> int:
    longest = text_width(["train", "test", *split.shades]) + 0.55
    return max(1, int(width // longest))


def _key_rows(split: _Split, width: float) -> int:
    """How many lines the key takes; none where the lines are named at their ends."""
    if len(split.panels) == 1 and not split.shades:
        return 0
    keys = len(SIDES) + (len(_keys(split)) if split.shades else 0)
    return -(-keys // _key_columns(split, width))


def _key(figure: Figure, first: Axes, split: _Split, width: float, above: float) -> None:
    """What colours and shades mean, in lines above the panels. `above`: inches from the first panel."""
    wide, high = figure.get_size_inches()
    box = first.get_position()
    columns, rows = _key_columns(split, width), _key_rows(split, width)
    entries = [(label, [colour]) for label, (_, colour) in SIDES.items()]
    if split.shades:
        many = len(split.shades)
        entries += [(split.shades[k], [_shade(c, k, many) for _, c in SIDES.values()]) for k in _keys(split)]
    for place, (text, colours) in enumerate(entries):
        x = box.x0 * wide + place % columns * width / columns
        y = box.y1 * high + above + LINE * (rows - 1 - place // columns) + 0.1
        for k, colour in enumerate(colours):
            at = x + 0.15 * k
            line = Line2D([at / wide, (at + 0.14) / wide], [y / high] * 2, color=colour, linewidth=2)
            figure.add_artist(line)
        x += 0.15 * len(colours) + 0.06
        figure.text(
            x / wide, y / high, text, va="center", size=9, color=INK if len(colours) == 1 else PALE_INK
        )
