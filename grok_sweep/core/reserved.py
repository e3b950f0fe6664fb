"""Names that no part of a user's own, and no number of one, can have: name -> what has it already."""

CURVES = ("run_id", "step", "train_loss", "eval_loss", "train_accuracy", "eval_accuracy", "weight_norm")
# Columns that every table has, and what `phases` of every config has: another of that name would be confused.
RESERVED = dict.fromkeys(
    [
        *("run_id", "sweep", "task", "seed", "model", "optimizer", "steps", "log_every", "device", "seconds"),
        *("phase", "name", "step", "diverged_step", "min_train_loss", "min_eval_loss", "max_loss_ratio"),
    ],
    "a column of every table",
)
OF_CONFIG = dict.fromkeys(("definition", "min_loss", "max_ratio"), "a key of phases in every config")
OF_CONFIG |= dict.fromkeys(("runs", "curves"), "what the definition gets")
