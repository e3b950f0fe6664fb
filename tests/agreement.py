"""How far two ways to train parity_1125 agree: the phases that they give, cell by cell."""

import pandas as pd

from grok_sweep.core.definitions import pair
from grok_sweep.core.number import Values

AXES = ["weight_decay", "hidden_size", "train_size"]
H = Values({name: number.default for name, number in pair.numbers.items()})


def phases(runs: pd.DataFrame) -> "pd.Series[str]":
    """Of each run, by `pair` as it is by default."""
    return pd.Series(pair.make(runs, None, H), runs.index)


def apart(
    runs: pd.DataFrame, of: "pd.Series[str]", others: pd.DataFrame, of_others: "pd.Series[str]"
) -> float:
    """The mean over the 125 cells of the total variation of the shares of their phases."""
    one, other = (
        pd.crosstab([table[axis] for axis in AXES], found, normalize="index")
        for table, found in ((runs, of), (others, of_others))
    )
    each = one.sub(other, fill_value=0).abs().sum(axis=1) / 2
    assert len(each) == 125
    return float(each.mean())
