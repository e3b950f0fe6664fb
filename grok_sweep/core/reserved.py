"""Names that no part of a user's own, and no number of one, can have: name -> what has it already."""

CURVES = ("run_id", "step", "train_loss", "eval_loss", "train_accuracy", "eval_accuracy", "weight_norm")
# Columns of the tables of runs, phases and cells: another of that name would be confused. Loss and accuracy
# are of both sides, in pictures.
COLUMNS = """
    run_id sweep task seed model optimizer steps log_every device seconds batch_size session loss accuracy
    phase name step diverged_step min_train_loss min_eval_loss max_loss_ratio runs majority last_step
    repeat trainings
    final_train_loss final_train_accuracy final_eval_loss final_eval_accuracy
    memorize_step generalize_step grok_delay memorize_censored generalize_censored grok_delay_censored
"""
OF_CELLS = ("n", "share", "low", "high")  # what the table of cells has of each phase, as n_grok
OF_FOUR = [f"{of}_{phase}" for of in OF_CELLS for phase in ("memorize", "grok", "generalize", "fail")]
RESERVED = dict.fromkeys([*COLUMNS.split(), *OF_FOUR], "a column of a table")
RESERVED |= {"version": "the version of a part"}
OF_CONFIG = dict.fromkeys(("definition", "min_loss", "max_ratio"), "a key of phases in every config")
OF_CONFIG |= dict.fromkeys(("runs", "curves"), "what the definition gets")
