"""What to try next: samplers behind one decorator, so that nothing infeasible and nothing twice is proposed.

Knows search spaces and trials; no study, no database, no script. Outsiders import from here.
"""

from optimize.search.memory import Footprint, Memory, footprint
from optimize.search.sampling import SAMPLERS, Past, Sampler, open_sampler, unfit

__all__ = ["SAMPLERS", "Footprint", "Memory", "Past", "Sampler", "footprint", "open_sampler", "unfit"]
