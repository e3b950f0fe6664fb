"""How many runs it takes to know boundaries: by refining, by the whole grid, and in random order.

    python tests/refined.py DIR AXIS WIDTH [--start N] [--draws 20] [--record FILE --name NAME]

Replayed on the runs of a results folder, whose grid is the only one that may be asked. What is to be known:
nineteen of twenty of the boundaries along AXIS that all of its runs know to WIDTH, to that. Runs are shown

    refined    as `refine` asks for them (see `grok_sweep.session.refining`), from N values and four seeds on
    grid       the whole grid at every 2^k-th value, then all, by four seeds and more
    random     one after the other in random order, looked at after each twentieth

and counted until then; medians over draws of the order of seeds (and of runs).
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

import analysis
from analysis.boundary import COLUMNS
from grok_sweep.core.spans import is_log
from grok_sweep.session.refining import wanted

FIRST = 4  # seeds
SHARE = 0.95  # of the boundaries
SLACK = 1.001  # of a width that is one step of the grid


def known(phases: pd.DataFrame, axis: str, log: bool, width: float) -> set[tuple[object, ...]]:
    """The boundaries that these runs know to `width`: combination and both phases."""
    if phases.empty or phases[axis].nunique() < 2:
        return set()
    table = analysis.boundaries(phases, axis, log=log)
    ends = phases[axis].min(), phases[axis].max()
    low, high = table["low"].clip(lower=ends[0]), table["high"].clip(upper=ends[1])
    good = (high / low if log else high - low) <= width * SLACK
    good &= table["value"].notna()
    by = [name for name in table if name not in COLUMNS]
    return {*map(tuple, table.loc[good, [*by, "below", "above"]].astype(str).to_numpy())}


def refined(phases: pd.DataFrame, axis: str, log: bool, width: float, start: int) -> Iterator[pd.DataFrame]:
    """What is shown after each round; the seeds are 0, 1, ... in their order."""
    values = np.sort(phases[axis].unique())
    first = values[np.unique(np.linspace(0, len(values) - 1, start).round().astype(int))]
    is_shown = phases[axis].isin(first) & (phases["seed"] < FIRST)

    def between(low: float, high: float) -> float | None:
        inside = values[(values > low) & (values < high)]
        middle = np.sqrt(low * high) if log else (low + high) / 2
        return float(inside[np.argmin(np.abs(inside - middle))]) if len(inside) else None

    while True:
        yield phases[is_shown]
        wishes, _ = wanted(phases[is_shown], axis, log, width, between)
        before = int(is_shown.sum())
        for wish in wishes:
            mine = phases[axis].isin(wish.values) & (phases["seed"] < wish.seeds)
            for name, value in wish.at.items():
                mine &= phases[name] == value
            is_shown |= mine
        if int(is_shown.sum()) == before:
            return


def grids(phases: pd.DataFrame, axis: str) -> Iterator[pd.DataFrame]:
    """Coarse ones first, and of each few seeds first."""
    values = np.sort(phases[axis].unique())
    seeds = phases["seed"].nunique()
    steps = [2**k for k in range(int(np.log2(len(values) - 1)), -1, -1)]
    for step in steps:
        for some in range(FIRST, seeds + 1):
            yield phases[phases[axis].isin(values[::step]) & (phases["seed"] < some)]


def random(phases: pd.DataFrame, rng: np.random.Generator) -> Iterator[pd.DataFrame]:
    """More and more of the runs."""
    order = rng.permutation(len(phases))
    for share in range(1, 21):
        yield phases.iloc[np.sort(order[: share * len(phases) // 20])]


def replay(phases: pd.DataFrame, axis: str, width: float, start: int, draws: int) -> dict[str, object]:
    """Runs until all is known that all of them know, by each way; see the top of this file."""
    log = is_log(np.sort(phases[axis].unique()))
    counts: dict[str, list[int]] = {"refined": [], "grid": [], "random": []}
    missed = 0
    for draw in range(draws):
        rng = np.random.default_rng(draw)
        seeds = phases["seed"].unique()
        here = phases.assign(
            seed=phases["seed"].map(dict(zip(seeds, rng.permutation(len(seeds)), strict=True)))
        )
        aim = known(here, axis, log, width)
        ways = {
            "refined": refined(here, axis, log, width, start),
            "grid": grids(here, axis),
            "random": random(here, rng),
        }
        for way, shown in ways.items():
            enough = (
                len(runs) for runs in shown if len(known(runs, axis, log, width) & aim) >= SHARE * len(aim)
            )
            counts[way].append(next(enough, len(phases)))
            missed += way == "refined" and counts[way][-1] == len(phases)
    median = {way: int(np.median(each)) for way, each in counts.items()}
    return {
        "runs": len(phases),
        "values": int(phases[axis].nunique()),
        "width": width,
        "boundaries": len(aim),
        "draws": draws,
        "never_by_refining": missed,
        "median_runs": median,
        "times_fewer": {way: round(median[way] / median["refined"], 2) for way in ("grid", "random")},
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder")
    parser.add_argument("axis")
    parser.add_argument("width", type=float)
    parser.add_argument("--start", type=int, default=3)
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--record", type=Path)
    parser.add_argument("--name", default="")
    asked = parser.parse_args()
    phases = analysis.classify(analysis.load_runs(asked.folder))
    found = replay(phases, asked.axis, asked.width, asked.start, asked.draws)
    print(yaml.safe_dump(found, sort_keys=False), end="")
    if asked.record:
        there = yaml.safe_load(asked.record.read_text()) if asked.record.exists() else {}
        asked.record.write_text(yaml.safe_dump(there | {asked.name: found}, sort_keys=False))


if __name__ == "__main__":
    main()
