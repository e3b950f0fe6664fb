"""Made-up shards, for tests and the processes that they start."""

import numpy as np
import pyarrow as pa

from grok_sweep import store

SCHEMA = store.runs_schema({"weight_decay": float, "hidden_size": int})


def tables(*ids):
    """The runs and the curves (three steps each, last step first) of a shard."""
    empty = {name: [None] * len(ids) for name in SCHEMA.names}
    values = {"run_id": list(ids), "weight_decay": [0.1] * len(ids), "hidden_size": [4] * len(ids)}
    values |= {"steps": [2] * len(ids), "log_every": [1] * len(ids)}
    steps = np.arange(3, dtype=np.int32)
    curves = {name: np.zeros(3 * len(ids), np.float32) for name in store.CURVE_METRICS}
    curves |= {"run_id": np.repeat(ids, 3), "step": np.tile(steps, len(ids))[::-1]}
    return (
        pa.table({name: pa.array(v, SCHEMA.field(name).type) for name, v in (empty | values).items()}),
        pa.table({name: curves[name] for name in store.CURVES_SCHEMA.names}, schema=store.CURVES_SCHEMA),
    )
