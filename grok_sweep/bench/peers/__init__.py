"""The same runs by what else a user might take: a file each, written as a careful user would.

`loop`, `ray_tune`, `hydra_joblib`, `vmapped` and `torch_func` share `work` (which runs, and their rows) and
`network` (one run in jax). `measure` starts one of them, or us; `compare` all, and makes the table.
"""
