"""One step of each kind of training, without computing it: what a user's parts give fits together, or not."""

import dataclasses

import jax
import numpy as np

from grok_sweep.core.parts import PartError
from grok_sweep.core.plan import Plan
from grok_sweep.core.train import make_init, make_train
from grok_sweep.worker.inputs import arguments

MOST = 20  # programs that are tried


def probe(plan: Plan) -> None:
    """Raises PartError where the first run of a program cannot be trained, before a worker is asked to."""
    first = {shard.program: shard.index_R[:1] for shard in reversed(plan.shards)}
    for program, index_R in list(first.items())[:MOST]:
        columns = plan.grid.rows(index_R)
        if program.snapshot_every and (
            names := {"run_id", "step"} & program.built.weight_shapes(program.row).keys()
        ):
            raise PartError(
                f"model {program.model}: an array is called {names.pop()}, as a column of the weights"
            )
        one = dataclasses.replace(program, lanes=1)
        with jax.enable_x64(program.dtype == "float64"):
            inputs = arguments(one, columns, np.zeros(1, int), make_init(one))
            lane = jax.tree.map(lambda a_L: jax.ShapeDtypeStruct(a_L.shape[1:], a_L.dtype), inputs)
            jax.eval_shape(make_train(one), *lane)
