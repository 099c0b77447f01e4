"""Proposals of a language model, where one is asked for: a share of what is tried, judged as the sampler's own are.

Knows search spaces and records; no database, and no sampler but by what it is handed. Outsiders import from here.
"""

from optimize.advisor.advisor import Advisor
from optimize.advisor.prompt import StudyView
from optimize.advisor.usage import ADVICE, Spent, Tally, advice_line, spent_of, tally

__all__ = ["ADVICE", "Advisor", "Spent", "StudyView", "Tally", "advice_line", "spent_of", "tally"]
