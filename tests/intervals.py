"""How often intervals of 95 % hold a known truth, and how often chance alone is called a difference.

    python tests/intervals.py [METHOD ...] --record tests/intervals.yaml

Of each method so many made-up sweeps, each with random numbers of its own; the record keeps how many of the
intervals held the truth, of how many. Where a method gives none (no boundary is seen, say), none is counted.
"""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from refined import refined
from test_boundary import table
from test_cells import ends
from test_scaling import AXES, made
from test_shifts import AT_WHICH_HALF, sweep
from test_times import median

import analysis
from analysis.cells import wilson
from analysis.scaling import scaling
from analysis.shifts import shifts

Found = tuple[int, int]  # how many were right, of how many
Method = Callable[[np.random.Generator], Found]
SEEDS = 9
FINE = np.geomspace(0.003, 3, 33)
EXPONENTS = [-0.5, -2.0]
SECOND = {"same": 0, "other": SEEDS}  # the first seed of the second sweep


def shares(random: np.random.Generator, runs: int) -> Found:
    """Wilson's, of shares that may be any."""
    p = random.uniform()
    (low,), (high,) = wilson(pd.Series([random.binomial(runs, p)]), pd.Series([runs]))
    return int(low <= p <= high), 1


def joint(random: np.random.Generator, runs: int) -> Found:
    """All four at once, of shares that may be any."""
    p_K = random.dirichlet(np.ones(4))
    low_CK, high_CK = ends(random.multinomial(runs, p_K)[None])
    return int(((low_CK[0] <= p_K) & (p_K <= high_CK[0])).all()), 1


def boundary(random: np.random.Generator, width: float, seeds: int = SEEDS) -> Found:
    """Each seed has a threshold of its own; `width`: of their scatter, in spaces of the axis."""
    u_J, truth = np.arange(5.0), random.uniform(1, 3)
    above_SJ = u_J > (truth + width * random.logistic(size=seeds))[:, None]
    found = analysis.boundaries(table(np.where(above_SJ, "grok", "memorize"), u_J), "weight_decay")
    shown = found[found["value"].notna()]
    return int((shown["low"].le(truth) & shown["high"].ge(truth)).sum()), len(shown)


def refining(random: np.random.Generator, width: float) -> Found:
    """The same where refining chose values and seeds, to a factor of 3 of 33 values over three decades."""
    space = np.log(FINE[1] / FINE[0])
    truth = random.uniform(np.log(0.01), np.log(1))
    above_SJ = np.log(FINE) > (truth + 8 * space * width * random.logistic(size=24))[:, None]
    phases = table(np.where(above_SJ, "grok", "memorize"), FINE)
    *_, last = refined(phases, "weight_decay", True, 3.0, 5)
    found = analysis.boundaries(last, "weight_decay", log=True)
    shown = found[found["value"].notna()]
    at = np.exp(truth)
    return int((shown["low"].le(at) & shown["high"].ge(at)).sum()), len(shown)


def times(random: np.random.Generator, runs: int, last: float) -> Found:
    """Of the median of steps that are known to 100, watched until `last` medians have gone by."""
    t = np.ceil(random.exponential(10_000 / np.log(2), runs) / 100) * 100
    came = t[t <= 10_000 * last].astype(int).tolist()
    _, _, _, low, high, _ = median(came, [int(10_000 * last)] * (runs - len(came)))
    return int(low <= 10_000 <= high), 1


def law(random: np.random.Generator, off: float) -> Found:
    """Two exponents; `off`: by what each cell is off the law, of its scatter."""
    found, _ = scaling(*made(random, EXPONENTS, last=15_000, each=4, off=off), "generalize_step", AXES)
    rows = found.set_index("term").loc[AXES]
    return int(((rows["low"] <= EXPONENTS) & (rows["high"] >= EXPONENTS)).sum()), 2


def shift(random: np.random.Generator, first: int) -> Found:
    """Of a boundary that has moved by a factor of 3; the second sweep's seeds begin at `first`."""
    one = sweep(random, np.full(SEEDS, AT_WHICH_HALF), wide=0.6)
    other = sweep(random, np.full(SEEDS, 3 * AT_WHICH_HALF), wide=0.6, first=first)
    shown = shifts(one, other, "weight_decay", ["hidden_size", "weight_decay"])
    return int((shown["low"].le(3) & shown["high"].ge(3)).sum()), len(shown)


def difference(random: np.random.Generator, first: int) -> Found:
    """How often two sweeps of the same are told apart, by the p of all cells: it promises 5 % at most."""
    one, other = (sweep(random, np.full(SEEDS, AT_WHICH_HALF), wide=0.6, first=begin) for begin in (0, first))
    return int(analysis.compare(one, other, ["weight_decay"]).p < 0.05), 1


METHODS: dict[str, tuple[int, Method]] = {
    **{f"share of {runs}": (20_000, partial(shares, runs=runs)) for runs in (9, 50)},
    **{f"joint shares of {runs}": (2000, partial(joint, runs=runs)) for runs in (9, 50)},
    **{f"boundary, scatter {width}": (1000, partial(boundary, width=width)) for width in (0.01, 0.5, 1.0)},
    "boundary of 24 seeds, scatter 0.5": (1000, partial(boundary, width=0.5, seeds=24)),
    **{f"refined boundary, scatter {w}": (300, partial(refining, width=w)) for w in (0.01, 0.25)},
    **{
        f"median of {runs} until {last} medians": (5000, partial(times, runs=runs, last=last))
        for runs in (9, 45)
        for last in (1.2, 3.0)
    },
    **{f"law, cells off by {off}": (250, partial(law, off=off)) for off in (0.0, 0.5)},
    **{f"shift, {what} seeds": (500, partial(shift, first=first)) for what, first in SECOND.items()},
    **{
        f"difference by chance, {what} seeds": (500, partial(difference, first=first))
        for what, first in SECOND.items()
    },
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("methods", nargs="*", metavar="METHOD", help="parts of names; all, if none is given")
    parser.add_argument("--record", type=Path)
    parser.add_argument("--tries", type=int, help="of each, instead of as many as are its own")
    given = parser.parse_args()
    for name, (tries, method) in METHODS.items():
        if given.methods and not any(part in name for part in given.methods):
            continue
        each = [method(np.random.default_rng(i)) for i in range(given.tries or tries)]
        right, of = (sum(column) for column in zip(*each, strict=True))
        (low,), (high,) = wilson(pd.Series([right]), pd.Series([of]))
        print(f"{name}: {right} of {of}, {right / of:.1%} [{low:.1%}, {high:.1%}]", flush=True)
        if given.record:
            kept = yaml.safe_load(given.record.read_text()) if given.record.exists() else {}
            kept[name] = {"right": right, "of": of}
            given.record.write_text(
                yaml.safe_dump({n: kept[n] for n in METHODS if n in kept}, sort_keys=False)
            )


if __name__ == "__main__":
    main()
