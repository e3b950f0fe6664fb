"""What rounding alone does to the runs of parity_1125 that are in another phase by the other engine of a CPU.

    python tests/rounding.py [--record tests/rounding.parquet]

Each is trained anew by the native engine with its training rows in other orders: the same sums, added up in
another order. The record has what sorts each of these runs. It takes five minutes.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from analysis import load_runs
from grok_sweep.core.definitions import pair
from grok_sweep.core.number import Values
from grok_sweep.worker.environment import environment, set_environment

HERE = Path(__file__).parent
ORDERS, MORE_ORDERS = 20, 150  # of each run; of one that was not in both phases by then
RESULTS = ["min_train_loss", "min_eval_loss", "max_loss_ratio", "diverged_step"]


H = Values({name: number.default for name, number in pair.numbers.items()})


def phases(runs: pd.DataFrame) -> "pd.Series[str]":
    """Of each run, by `pair` as it is by default."""
    return pd.Series(pair.make(runs, None, H), runs.index)


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
    import jax

    from grok_sweep.bench.device import parity_1125
    from grok_sweep.core.compiled import Compiled
    from grok_sweep.core.config import parse
    from grok_sweep.core.grid import expand
    from grok_sweep.core.plan import make_plan
    from grok_sweep.worker import native
    from grok_sweep.worker.inputs import arguments, rows_of
    from grok_sweep.worker.summary import summarise

    native.register()
    sweep = parse(parity_1125("cpu", "native"))
    plan = make_plan(sweep, expand(sweep))
    found = []
    for program in plan.programs:
        index_R = np.concatenate([shard.index_R for shard in plan.shards if shard.program == program])
        columns, compiled = plan.grid.rows(index_R), Compiled(program)
        runs = np.flatnonzero(np.isin(columns["run_id"], ids))
        each = [(run, order) for run in runs for order in orders]
        for start in range(0, len(each), program.lanes):
            lanes = each[start : start + program.lanes]
            # A lane each: the columns of its run, and that run's rows in its order.
            of_lanes = {key: column[[run for run, _ in lanes]] for key, column in columns.items()}
            rows = {i: rows_of(program, of_lanes, i) for i in range(len(lanes))}
            for i, (_, order) in enumerate(lanes):
                n = int(rows[i].train_size)
                index_N = np.arange(program.rows)
                index_N[:n] = np.random.default_rng([order, int(of_lanes["seed"][i])]).permutation(n)
                index_N[n:] = index_N[0]
                x_ND, y_N = rows[i].x_train_ND[index_N], rows[i].y_train_N[index_N]
                rows[i] = rows[i]._replace(x_train_ND=x_ND, y_train_N=y_N)
            given = arguments(program, of_lanes, rows, compiled.init)
            metrics = jax.device_get(compiled.train_for(*given)(*given).metrics)
            curves = {name: array[: len(lanes)] for name, array in metrics._asdict().items()}
            result = summarise(curves, program.log_every, program.part("task").loss_floor(program.values))
            of_runs = {"run_id": of_lanes["run_id"], "order": [order for _, order in lanes]}
            found.append(pd.DataFrame(of_runs | {name: result[name] for name in RESULTS}))
            print(
                program.values["hidden_size"],
                f"{start + len(lanes)}/{len(each)}",
                file=sys.stderr,
                flush=True,
            )
    return pd.concat(found, ignore_index=True)


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
