"""Ray Tune: a grid search, a trial for each run and the whole run jitted within it; actors are used again."""

import os
from typing import Any

import numpy as np
import ray
from ray import tune

from grok_sweep.bench.peers.work import ONE_THREAD, Run, asked


class Trial(tune.Trainable):
    """A run, in one step: each would be a message."""

    def setup(self, config: dict[str, Any]) -> None:
        """At the first run of an actor."""
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """At each other: what the actor has compiled is there."""
        self.run, self.how = Run(*(new_config[name] for name in Run._fields)), new_config["how"]
        return True

    def step(self) -> dict[str, Any]:
        """All of it."""
        from grok_sweep.bench.peers.network import train_run

        return {"curves": train_run(self.run, *self.how), "done": True}


if __name__ == "__main__":
    # Neither a CSV and a JSON for each trial, nor a checkpoint.
    os.environ |= {**ONE_THREAD, "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1"}
    wanted, file = asked()
    kept = tune.RunConfig(
        storage_path=str(file.parent.absolute()),
        verbose=0,
        checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
    )
    grid = {name: tune.grid_search(values) for name, values in wanted.axes.items()}
    ray.init(include_dashboard=False, log_to_driver=False)
    trials = tune.Tuner(
        Trial,
        param_space={**grid, "how": wanted.how},
        tune_config=tune.TuneConfig(reuse_actors=True),
        run_config=kept,
    ).fit()
    curves = {Run(*(trial.config[name] for name in Run._fields)): trial.metrics["curves"] for trial in trials}
    np.save(file, [curves[run] for run in wanted.runs()])
