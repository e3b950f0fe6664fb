"""What rounding alone does to the runs of parity_1125 that are in another phase by the other engine of a CPU.

    python tests/rounding.py [--record tests/rounding.parquet]

Each is trained anew by the native engine with its training rows in other orders: the same sums, added up in
another order. The record has what sorts each of these runs. It takes five minutes.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from agreement import phases

from analysis import load_runs
from grok_sweep.worker.environment import environment, set_environment

HERE = Path(__file__).parent
ORDERS, MORE_ORDERS = 20, 150  # of each run; of one that was not in both phases by then
RESULTS = ["min_train_loss", "min_eval_loss", "max_loss_ratio", "diverged_step"]


def differing() -> pd.DataFrame:
    """The runs that are in another phase by the other engine: their phases by both, by run_id."""
    native = load_runs(HERE.parent / "sweeps" / "parity_1125").set_index("run_id")
    xla = pd.read_parquet(HERE / "xla_cpu.parquet").set_index("run_id").loc[native.index]
    both = pd.DataFrame({"native": phases(native), "xla": phases(xla)})
    return both[both["native"] != both["xla"]]


def seen(runs: pd.DataFrame, both: pd.DataFrame) -> "pd.Series[bool]":
    """Which runs of `both` were in both phases that it names."""
    known = phases(runs).groupby(runs["run_id"]).agg(set)
    return pd.Series({run: {*of} <= known[run] for run, of in zip(both.index, both.to_numpy(), strict=True)})


def trained(ids: "pd.Index[str]", orders: range) -> pd.DataFrame:
    """run_id, order, and what sorts it, of each run in each order of its rows."""
    from grok_sweep.bench.device import parity_1125
    from grok_sweep.core.config import parse
    from grok_sweep.core.grid import expand
    from grok_sweep.core.plan import make_plan
    from grok_sweep.worker import _train_all, native
    from grok_sweep.worker.summary import summarise

    native.register("relu")
    sweep = parse(parity_1125("cpu", "native"))
    plan = make_plan(sweep, expand(sweep))
    found = []
    for program in plan.programs:
        index_R = np.concatenate([shard.index_R for shard in plan.shards if shard.program == program])
        index_R = np.repeat(index_R[np.isin(plan.grid.columns["run_id"][index_R], ids)], len(orders))
        if not len(index_R):
            continue
        columns, order_R = plan.grid.rows(index_R), np.resize(orders, len(index_R))
        curves, _, _ = _train_all(program, columns, reordered(program, columns, order_R))
        curves_RT = {name: np.stack([curve[name] for curve in curves.values()]) for name in curves[0]}
        result = summarise(curves_RT, program.log_every, program.part("task").loss_floor(program.values))
        of_runs = {"run_id": columns["run_id"], "order": order_R}
        found.append(pd.DataFrame(of_runs | {name: result[name] for name in RESULTS}))
    return pd.concat(found, ignore_index=True)


def reordered(program: Any, columns: Any, order_R: np.ndarray) -> Iterator[tuple[int, Any]]:
    """(run, its rows) of each run, the training rows in its order."""
    from grok_sweep.worker.inputs import rows_of

    for run, order in enumerate(order_R):
        print(program.values["hidden_size"], f"{run + 1}/{len(order_R)}", file=sys.stderr, flush=True)
        rows, size = rows_of(program, columns, run), int(columns["train_size"][run])
        index_N = np.zeros(program.rows, int)
        index_N[:size] = np.random.default_rng([order, columns["seed"][run]]).permutation(size)
        index_N[size:] = index_N[0]  # padding
        yield run, rows._replace(x_train_ND=rows.x_train_ND[index_N], y_train_N=rows.y_train_N[index_N])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--record", type=Path, default=HERE / "rounding.parquet")
    record = parser.parse_args().record
    set_environment(environment("cpu"))
    both = differing()
    runs = trained(both.index, range(ORDERS))
    left = seen(runs, both)
    if not left.all():
        more = trained(left.index[~left], range(ORDERS, MORE_ORDERS))
        runs = pd.concat([runs, more], ignore_index=True)
    runs.to_parquet(record, index=False, compression="zstd")
