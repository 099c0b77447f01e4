"""A language model that proposes a share of the trials, if the user asks for one.

It knows search spaces and records, but no database and no sampler. Other rooms import from here.
"""

from optimize.advisor.advisor import Advisor
from optimize.advisor.prompt import StudyView
from optimize.advisor.usage import ADVICE, Spent, Tally, advice_line, spent_of, tally

__all__ = ["ADVICE", "Advisor", "Spent", "StudyView", "Tally", "advice_line", "spent_of", "tally"]
