"""What to try next: starts that did well elsewhere, then samplers behind one decorator, so that nothing
infeasible and nothing twice is proposed.

Knows search spaces and trials; no study, no database, no script. Outsiders import from here.
"""

from optimize.search.memory import Footprint, Memory, footprint
from optimize.search.samplers import SAMPLERS, Past, Sampler, open_sampler, unfit
from optimize.search.starts import Candidate, Starts, Target, fit, plan_starts

__all__ = [
    "SAMPLERS",
    "Candidate",
    "Footprint",
    "Memory",
    "Past",
    "Sampler",
    "Starts",
    "Target",
    "fit",
    "footprint",
    "open_sampler",
    "plan_starts",
    "unfit",
]
