"""Are the winners of a study real? They and the baseline are trained again with other seeds, in a child study.

`significance.py` is the statistics, `replicates.py` says what is to be trained, `driving.py` has it trained and writes the verdict.
"""
