"""The loop: one run after the other, each a jitted scan."""

import numpy as np

from grok_sweep.bench.peers.network import train_run
from grok_sweep.bench.peers.work import asked

if __name__ == "__main__":
    wanted, file = asked()
    np.save(file, [train_run(run, *wanted.how) for run in wanted.runs()])
