"""Are the winners of a study real? They and the baseline are trained again with other seeds, in a child study.

`replicates.py` says what can be trained, `rounds.py` what comes next and what the verdict is, `significance.py` has the statistics,
and `critical.py` their critical values.
Nothing here drives a study: `session/confirm.py` does.
"""
