"""What to try next: first starts that did well elsewhere, then what a sampler proposes, feasible and new.

It knows search spaces and trials, but no study, no database and no script.
Other rooms import `endings`, `pruner` and `pruners` by name, and the rest from here.
"""

from optimize.search.candidates import ALL_TRIED
from optimize.search.memory import Footprint, Memory, footprint
from optimize.search.prior import FEWEST, Prior, PriorSource, decode_prior, prior_source
from optimize.search.samplers import GUIDED, SAMPLERS, Past, QueueOnly, Sampler, open_sampler, unfit
from optimize.search.starts import Candidate, Starts, Target, fit, fitted, plan_starts
from optimize.search.whole import StoredSpace, rules_attr, space_of, stored_space

__all__ = [
    "ALL_TRIED",
    "FEWEST",
    "GUIDED",
    "SAMPLERS",
    "Candidate",
    "Footprint",
    "Memory",
    "Past",
    "Prior",
    "PriorSource",
    "QueueOnly",
    "Sampler",
    "Starts",
    "StoredSpace",
    "Target",
    "decode_prior",
    "fit",
    "fitted",
    "footprint",
    "open_sampler",
    "plan_starts",
    "prior_source",
    "rules_attr",
    "space_of",
    "stored_space",
    "unfit",
]
