"""Which hyperparameters have no effect on a run, as its model declares: runs that differ in no other are one.

Needs no jax: grids are expanded, and tables read, without it.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd  # which takes half a second: not for --help

Loops = Sequence[Mapping[str, Sequence[float]]]  # of a grid, each axes that change together: name -> values

# model -> hyperparameter -> cases: it has no effect on a run that has all values of one of them. What a case
# names must have an effect itself. Tests train the runs of each case, and find them equal bit by bit.
DECLARED: Mapping[str, Mapping[str, Sequence[Mapping[str, float]]]] = {
    "modular_mlp": {
        # A collapsed side has no embedding, so there are never two to be tied, or not.
        "tied_embedding": [{"collapsed_input": 1}, {"collapsed_output": 1}],
        "embed_size": [{"collapsed_input": 1, "collapsed_output": 1}],
    },
}


def deciding(model: str) -> set[str]:
    """The hyperparameters that decide whether others have an effect; none where a model declares nothing."""
    return {key for cases in DECLARED.get(model, {}).values() for case in cases for key in case}


def without_effect(model: str, columns: Mapping[str, Any] | pd.DataFrame) -> dict[str, Any]:
    """Hyperparameter -> whether it has no effect on a run: of every hyperparameter that may have none.

    `columns`: the hyperparameters of runs by name: numbers, or arrays (or pandas columns) of one length; the
    result is of their kind. Raises KeyError where one that is `deciding` is missing.
    """

    def all_of(case: Mapping[str, float]) -> Any:
        return functools.reduce(operator.and_, (columns[key] == value for key, value in case.items()))

    return {
        name: functools.reduce(operator.or_, map(all_of, cases))
        for name, cases in DECLARED.get(model, {}).items()
    }


def effective(model: str, runs: pd.DataFrame) -> pd.DataFrame:
    """`runs`, all of one model, with nothing where a hyperparameter has no effect: it tells no runs apart.

    Raises KeyError where one that is `deciding` is missing.
    """
    off = {name: off_R for name, off_R in without_effect(model, runs).items() if name in runs}
    return runs.assign(**{name: runs[name].mask(off_R) for name, off_R in off.items()})


def concerned(model: str, loops: Loops) -> list[int]:
    """Which loops of a grid matter to `first_alike`.

    None where nothing that may be without effect is swept.
    """
    several = [{name for name, values in loop.items() if len(set(values)) > 1} for loop in loops]
    if not any(DECLARED.get(model, {}).keys() & names for names in several):
        return []
    keys = DECLARED[model].keys() | deciding(model)
    return [i for i, names in enumerate(several) if names & keys]


def first_alike(model: str, values: Mapping[str, float], loops: Loops) -> np.ndarray:
    """Of each combination of the `concerned` loops, which is the first that is the same run: int, shape (C,).

    `values`: of all hyperparameters; where one is in `loops`, they decide. Combinations are counted with the
    last loop fastest; one that repeats no other is its own first.
    """
    import pandas as pd

    sizes = [len(next(iter(loops[i].values()))) for i in concerned(model, loops)]
    index = np.indices(sizes).reshape(len(sizes), math.prod(sizes))
    first = {**values, **{name: of[0] for loop in loops for name, of in loop.items()}}
    columns: dict[str, Any] = {key: first[key] for key in deciding(model)}
    for i, place_C in zip(concerned(model, loops), index, strict=True):
        columns |= {name: np.asarray(of)[place_C] for name, of in loops[i].items()}
    runs = effective(model, pd.DataFrame(columns, index=range(index.shape[1])))
    group_C = runs.groupby(list(runs), sort=False, dropna=False).ngroup().to_numpy()
    _, first_G = np.unique(group_C, return_index=True)
    first_C: np.ndarray = first_G[group_C]
    return first_C


def n_cells(model: str, values: Mapping[str, float], loops: Loops) -> int:
    """How many combinations of a grid are different runs, seeds apart. The arguments are `first_alike`'s."""
    among = concerned(model, loops)
    rest = math.prod(len(next(iter(loop.values()))) for i, loop in enumerate(loops) if i not in among)
    return rest * len({*first_alike(model, values, loops).tolist()}) if among else rest
