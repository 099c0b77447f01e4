"""What to try next: first starts that did well elsewhere, then what a sampler proposes, feasible and new.

It knows search spaces and trials, but no study, no database and no script.
Other rooms import `endings` and `pruner` by name, and the rest from here.
"""

from optimize.search.memory import Footprint, Memory, footprint
from optimize.search.samplers import SAMPLERS, Past, QueueOnly, Sampler, open_sampler, unfit
from optimize.search.starts import Candidate, Starts, Target, fit, plan_starts
from optimize.search.whole import StoredSpace, rules_attr, space_of, stored_space

__all__ = [
    "SAMPLERS",
    "Candidate",
    "Footprint",
    "Memory",
    "Past",
    "QueueOnly",
    "Sampler",
    "Starts",
    "StoredSpace",
    "Target",
    "fit",
    "footprint",
    "open_sampler",
    "plan_starts",
    "rules_attr",
    "space_of",
    "stored_space",
    "unfit",
]
