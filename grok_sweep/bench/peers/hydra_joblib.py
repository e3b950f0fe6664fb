"""Hydra's multirun with its joblib launcher: a job for each run, in as many processes as there are cores."""

import os
import sys
from pathlib import Path
from typing import Any

import hydra
import numpy as np
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig

from grok_sweep.bench.peers.work import ONE_THREAD, Run, asked

ConfigStore.instance().store("run", dict.fromkeys((*Run._fields, "how")))


@hydra.main(version_base=None, config_name="run")
def job(config: Any) -> None:
    """Train a run; its curves go to its folder."""
    from grok_sweep.bench.peers.network import train_run

    curves = train_run(Run(*(config[name] for name in Run._fields)), *config.how)
    np.save(Path(HydraConfig.get().runtime.output_dir, "curves.npy"), curves)


if __name__ == "__main__":
    os.environ |= ONE_THREAD
    wanted, file = asked()
    jobs = file.parent / "jobs"
    # No folder .hydra, and no log, for each job.
    less = ("hydra.output_subdir=null", "hydra/job_logging=none", "hydra/hydra_logging=none")
    axes = (f"{name}={','.join(map(str, values))}" for name, values in wanted.axes.items())
    how = f"how={[*wanted.how]}"
    sys.argv[1:] = ["--multirun", "hydra/launcher=joblib", f"hydra.sweep.dir={jobs}", *less, *axes, how]
    job()
    np.save(file, [np.load(jobs / str(number) / "curves.npy") for number in range(len(wanted.runs()))])
