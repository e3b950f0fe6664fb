"""The committed records of sweeps, each read once for all tests of a process."""

from pathlib import Path

import pandas as pd

import analysis
from grok_sweep.compose import using
from grok_sweep.core import registry
from grok_sweep.core.config import parse
from grok_sweep.store import Store
from grok_sweep.sweep_file import source_of

ROOT = Path(__file__).parent.parent
SWEEPS = ROOT / "sweeps"
EVERY = sorted(path.parent.name for path in SWEEPS.glob("*/sweep.yaml"))
RECORDS = [name for name in EVERY if (SWEEPS / name / "runs").exists()]  # others are of too many runs
# Pictures of a run that none of the rules would choose.
OPENED = {"modular_returns": "f7cf4b8982022665", "modular_forgets": "fa9729057633143b"}


class Record:
    """The tables of a record, each read once."""

    def __init__(self, name):
        self.folder = SWEEPS / name
        self.config = Store(self.folder).sweep()["config"]
        self.source = source_of([f"sweeps={name}"])  # its file of parts, if it has one
        with using(self.source):
            # Some records are older than these.
            later = dict.fromkeys(("redo", "retry_crashed", "fail_fast", "accept_code"), False)
            later |= {"report": None, "engine": "auto", "stop_when_decided": False}
            self.sweep = parse(later | self.config, self.source)
        self.runs = analysis.load_runs(self.folder)
        self.curves = analysis.load_curves(self.folder)
        self.of = self.curves.groupby("run_id")

    def table(self, name):
        return pd.read_parquet(self.folder / f"{name}.parquet")

    def circuits(self):
        return self.table("circuits").set_index("run_id")

    def wide(self, metric):
        """run_id x step"""
        return self.curves.pivot(index="run_id", columns="step", values=metric)

    def phases(self, definition):
        found = analysis.classify(self.runs, definition=definition, curves=self.curves)
        return found["phase"].value_counts()

    @property
    def task(self):
        return registry.find("task", self.runs["task"].iloc[0], self.source)


_kept = {}


def record(name):
    return _kept.setdefault(name, Record(name))
