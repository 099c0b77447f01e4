"""Are the winners of a study real? They and the baseline are trained again with other seeds, in a child study.

`replicates.py` says what can be trained, `rounds.py` what comes next and what the verdict is, `significance.py` has the statistics,
and `critical.py` their critical values.
`policy.py` decides the same inside a search, one repeat at a time. `campaign.py` has what goes in and comes out, `evidence.py` the
tests, and `noise.py` the noise.
`ledger.py` reads the records for that. Nothing here drives a study: `session/` does.
"""
