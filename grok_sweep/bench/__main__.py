"""How fast, as ratios to what is measured in the same run.

python -m grok_sweep.bench                        all for which a CPU is enough
python -m grok_sweep.bench plan                   one part
python -m grok_sweep.bench workers --workers 300  how many workers one driver can have
python -m grok_sweep.bench sweep --device gpu     all of parity_1125 in one process, cold cache
python -m grok_sweep.bench peers                  beside other ways to train the same: `make bench-peers`
python -m grok_sweep.bench aot --devices v5e      what a TPU would need, compiled without one; see `make aot`

`sweep` needs jax, flax, optax, pandas and pyarrow only: Ray, Hydra and matplotlib come with the command line,
which `short_runs` starts as a process.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CalledProcessError

import pandas as pd
import yaml
from yaml import YAMLError

from grok_sweep.bench import aot
from grok_sweep.bench.cores import modular, plan, short_runs, training, waiting
from grok_sweep.bench.device import Figures, parity_1125, sweep
from grok_sweep.bench.peers.work import SLICES, PeersError
from grok_sweep.bench.workers import WORKERS, workers
from grok_sweep.core.engines import ENGINES
from grok_sweep.errors import ConfigError
from grok_sweep.session.provenance import machine
from grok_sweep.store import StoreError
from grok_sweep.store.files import Files
from grok_sweep.versions import versions

PARTS: dict[str, Callable[[], Figures]] = {
    "training": training,
    "modular": modular,
    "plan": plan,
    "waiting": waiting,
    "short_runs": short_runs,
}


def show(part: str, figures: Figures) -> None:
    """Print a part's figures: a line each, tables as tables."""
    print(f"\n{part}")
    for key, value in figures.items():
        if isinstance(value, pd.DataFrame):
            print(value.to_string(index=False, float_format="{:,.3f}".format))
        else:
            print(f"  {key:<30} {f'{value:,.3f}' if isinstance(value, float) else value}", flush=True)


def beside_peers(arguments: argparse.Namespace) -> None:
    """Measure what the record has not yet, which is kept as it comes, and print that."""
    from grok_sweep.bench.peers.compare import compare, table  # needs psutil
    from grok_sweep.bench.peers.measure import PEERS

    kept = arguments.record
    record = yaml.safe_load(kept.read_text(encoding="utf-8")) if kept and kept.exists() else {}
    if not isinstance(record, dict):
        raise PeersError(f"{kept}: is no record of make bench-peers")
    peers = PEERS if arguments.peers is None else arguments.peers
    if unknown := [name for name in peers if name not in PEERS]:
        raise PeersError(f"--peers: {unknown[0]!r} is none of {', '.join(PEERS)}")
    slices = {name: SLICES[name] for name in arguments.slices}
    measured = record
    for measured in compare(slices, arguments.repeats, arguments.limit, record, peers):
        if kept:
            text = yaml.safe_dump(measured, sort_keys=False, default_flow_style=None, width=110)
            Files(str(kept.parent)).write(kept.name, text.encode())  # whole or not at all
    print(table({name: measured[name] for name in slices}))


def main(argv: list[str] | None = None) -> int:
    """Measure and print. Exit code 0, or 2 with one message."""
    parser = argparse.ArgumentParser(
        prog="python -m grok_sweep.bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    others = ["sweep", "workers", "peers", "aot"]
    parser.add_argument(
        "part", nargs="?", choices=[*PARTS, *others], help="none: all but sweep, peers and aot"
    )
    parser.add_argument("--device", choices=["cpu", "gpu", "tpu"], default="cpu", help="of sweep (cpu)")
    parser.add_argument("--engine", choices=["auto", *ENGINES], default="auto", help="of sweep (auto)")
    parser.add_argument("--workers", type=int, nargs="+", default=WORKERS, metavar="N", help="of workers")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for the results of sweep")
    parser.add_argument("--slices", nargs="+", choices=SLICES, default=[*SLICES], help="of peers (all)")
    parser.add_argument("--peers", nargs="*", metavar="PEER", help="who they are (all)")
    parser.add_argument("--repeats", type=int, default=3, metavar="N", help="of peers (3)")
    parser.add_argument("--limit", type=float, default=1800, metavar="SECONDS", help="of a command of peers")
    parser.add_argument(
        "--devices", nargs="+", choices=[*aot.DEVICES], default=[*aot.DEVICES], help="of aot (all)"
    )
    parser.add_argument(
        "--sweeps", nargs="+", metavar="NAME", default=aot.SWEEPS, help="of aot (%(default)s)"
    )
    parser.add_argument(
        "--record", type=Path, metavar="FILE", help="YAML in which peers and aot keep their figures"
    )
    arguments = parser.parse_args(argv)
    if min(arguments.workers) < 1:
        parser.error("--workers: must be whole numbers of at least 1")
    print(machine(), *(f"{name} {version}" for name, version in versions().items()), sep=", ", flush=True)
    try:
        if arguments.part == "sweep":  # alone: it changes this process
            show("sweep", sweep(parity_1125(arguments.device, arguments.engine), arguments.out))
        if arguments.part in ("workers", None):
            show("workers", workers(arguments.workers))
        if arguments.part == "peers":
            beside_peers(arguments)
        if arguments.part == "aot":  # so does this
            rows = [row for name in arguments.devices for row in aot.compiled_for(name, arguments.sweeps)]
            print(aot.table(rows))
            if arguments.record:
                arguments.record.write_text(aot.record(rows), encoding="utf-8")
        for part, measure in PARTS.items():
            if arguments.part in (part, None):
                show(part, measure())
    except (ConfigError, CalledProcessError, OSError, PeersError, StoreError, YAMLError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
