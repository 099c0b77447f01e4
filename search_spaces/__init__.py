"""What may vary: search spaces as TOML files, their rules, and the expressions rules are made of.

Standard library only. It does not know the training script, `optimize`, `storage` or Optuna.
"""

from search_spaces.choices import is_setting, is_state, is_telling, why_left_alone, words_of
from search_spaces.draft import Draft, ScriptConstant, draft_space
from search_spaces.expressions import Expression, Rule, SearchSpaceError, Value, parse_expression
from search_spaces.known import RankedRow, SpacePrior, Start
from search_spaces.loader import load_space, parse_space, read_space, shipped_spaces
from search_spaces.locations import CONSTANT, Location
from search_spaces.space import Parameter, SearchSpace, Stored
from search_spaces.widen import further_choices, widened, widened_text

__all__ = [
    "CONSTANT",
    "Draft",
    "Expression",
    "Location",
    "Parameter",
    "RankedRow",
    "Rule",
    "ScriptConstant",
    "SearchSpace",
    "SearchSpaceError",
    "SpacePrior",
    "Start",
    "Stored",
    "Value",
    "draft_space",
    "further_choices",
    "is_setting",
    "is_state",
    "is_telling",
    "load_space",
    "parse_expression",
    "parse_space",
    "read_space",
    "shipped_spaces",
    "why_left_alone",
    "widened",
    "widened_text",
    "words_of",
]
