"""One step of each kind of training, without computing it: what a user's parts give fits together, or not."""

import dataclasses

import jax
import numpy as np

from grok_sweep.core.parts import PartError
from grok_sweep.plan import Plan
from grok_sweep.train import make_init, make_train
from grok_sweep.work import arguments, hyperparameters

MOST = 20  # programs that are tried


def probe(plan: Plan) -> None:
    """Raises PartError where the first run of a program cannot be trained, before a worker is asked to."""
    first = {shard.program: shard.index_R[:1] for shard in reversed(plan.shards)}
    for program, index_R in list(first.items())[:MOST]:
        columns = plan.grid.rows(index_R)
        task, h = program.part("task"), hyperparameters(program, columns, 0)
        task.checked(task.data(h, int(columns["seed"][0])))
        one = dataclasses.replace(program, lanes=1)
        with jax.enable_x64(program.dtype == "float64"):
            inputs = arguments(one, columns, np.zeros(1, int), make_init(one))
            lane = jax.tree.map(lambda a_L: jax.ShapeDtypeStruct(a_L.shape[1:], a_L.dtype), inputs)
            try:
                jax.eval_shape(make_train(one), *lane)
            except PartError:
                raise
            except Exception as error:
                if program.source is None:
                    raise
                raise PartError(program.source.blame(error)) from None
