"""One jit(vmap) for each shape: in this process, or in several of one thread, with a part of the lanes each.

python -m grok_sweep.bench.peers.vmapped SLICE FILE [PROCESSES]
"""

import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np

from grok_sweep.bench.peers.work import ONE_THREAD, Run, Slice, asked, stacked


def train(wanted: Slice, processes: int, part: int) -> dict[Run, np.ndarray]:
    """The curves of every `processes`-th run of each shape."""
    from grok_sweep.bench.peers.network import train_lanes

    curves: dict[Run, np.ndarray] = {}
    for runs in wanted.shapes():
        if lanes := runs[part::processes]:
            shape = lanes[0].hidden_size, wanted.steps, wanted.log_every
            trained = np.asarray(train_lanes(shape, *stacked(lanes, wanted.test_size)))
            curves.update(zip(lanes, trained, strict=True))
    return curves


if __name__ == "__main__":
    wanted, file = asked()
    processes = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    if processes == 1:
        curves = train(wanted, 1, 0)
    else:
        os.environ |= ONE_THREAD
        curves = {}
        with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
            for some in pool.map(partial(train, wanted, processes), range(processes)):
                curves |= some
    np.save(file, [curves[run] for run in wanted.runs()])
