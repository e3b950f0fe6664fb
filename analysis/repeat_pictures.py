"""What rounding does to runs, as a picture: each training again over the first."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.layout import RULE, TEST, TRAIN, head, page
from analysis.load import settings
from analysis.style import INK, plain_style
from analysis.time_pictures import OVER
from analysis.times import EVENTS
from grok_sweep.store import REPEAT

SHOWN = {**EVENTS, "max_loss_ratio": "largest test loss over train loss"}


@plain_style()
def repeats_picture(phases: pd.DataFrame, found: pd.DataFrame, title: str = "") -> Figure:
    """Steps and ratio of each later training of a run over those of its first; the arguments of `repeats`.

    Raises ValueError where there is none.
    """
    every = phases.merge(found[["run_id", *EVENTS, "last_step"]], on="run_id")
    by = ["task", *settings(phases), "seed"]
    first, later = every[every[REPEAT] == 0], every[every[REPEAT] > 0]
    pairs = first.merge(later, on=by, suffixes=("", "_again"))
    kinds = {name: word for name, word in SHOWN.items() if name not in EVENTS or every[name].notna().any()}
    if pairs.empty:
        raise ValueError("there is no second training to draw")
    figure, plots = page(
        title,
        "each later training of a run over its first one, where rounding alone differs; line: the same; "
        "hollow: later than the last step in one of them",
        [[*kinds]],
        width=3.2,
        heights=[3.0],
        keys={},
    )
    for name, word in kinds.items():
        late = OVER * every["last_step"].max() if name in EVENTS else np.nan
        x, y = (pairs[column].astype(float) for column in (name, f"{name}_again"))
        shown = x.notna() | y.notna() if name in EVENTS else x.notna() & y.notna()
        hollow = (x.isna() | y.isna())[shown]
        x, y = (at.fillna(late)[shown] for at in (x, y))
        if name in EVENTS:  # on a log axis; at step 0 hardly any is there
            x, y = x.clip(lower=1), y.clip(lower=1)
        plot = plots[name]
        colour = TRAIN if name == "memorize_step" else TEST
        ends = [min(x.min(), y.min()), max(x.max(), y.max())] if len(x) else [1, 10]
        plot.plot(ends, ends, color=RULE, linewidth=1, zorder=0)
        plot.scatter(x[~hollow], y[~hollow], s=10, c=colour, alpha=0.6, linewidths=0)
        plot.scatter(x[hollow], y[hollow], s=12, c="white", edgecolors=colour, linewidths=0.8)
        plot.set(xscale="log", yscale="log")
        head(plot, f"{word}, step" if name in EVENTS else word)
        plot.set_xlabel("first training", size=9, color=INK)
    plots[next(iter(kinds))].set_ylabel("later trainings", size=9, color=INK)
    return figure
