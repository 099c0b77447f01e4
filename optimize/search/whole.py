"""Which trials are whole configurations of their study's search space: only those can be trained, and be the best one.

Others put trials into a study as well, such as an Optuna worker or `study.add_trial`. What the database says of a search space is
enough to tell: the names of its parameters, and its rules where this release has driven it. Optuna itself refuses other choices.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Any

from optimize.text import listed
from optimize.trial import BASELINE, Value
from search_spaces import Expression, SearchSpace, SearchSpaceError, parse_expression

if TYPE_CHECKING:  # a sampler is opened without a database
    from storage import TrialRecord

MOST_COUNTED = 1_000  # configurations
RULES = "rules"  # attribute of a study: its rules, and the constants that they speak of


@dataclass(frozen=True, slots=True)
class StoredSpace:
    """What a study's database says of its search space."""

    names: frozenset[str] = frozenset()  # of the parameters; none: it is not known, as in an imported study
    rules: Sequence[Expression] = ()
    constants: Mapping[str, Value] = field(default_factory=dict)  # that the rules speak of

    def all_tried(self, choices: Mapping[str, Sequence[object]], records: Sequence[TrialRecord]) -> bool:
        """Tell whether the records hold every configuration of these choices that keeps the rules; False where those are many."""
        if not choices or not 0 < math.prod(map(len, choices.values())) <= MOST_COUNTED:
            return False
        tried = {tuple(record.params.get(name) for name in choices) for record in records}
        every = (dict(zip(choices, each, strict=True)) for each in product(*choices.values()))
        return all(tuple(each.values()) in tried or self._broken_by(each) for each in every)

    def _broken_by(self, params: Mapping[str, Any]) -> str:
        """Return the rule that these parameters break, "" if they keep all."""
        values = {**self.constants, **{name: decoded(value) for name, value in params.items()}}
        return next((rule.text for rule in self.rules if not _holds(rule, values)), "")

    def why_not(self, record: TrialRecord) -> str:
        """Return why a trial cannot be trained again, "" if it can. Trials of ours are whole from the first."""
        if record.kind or not self.names:
            return ""
        if lacking := sorted(self.names - record.params.keys()):
            return f"it lacks {listed(lacking)}"
        if strange := sorted(record.params.keys() - self.names):
            return f"it has {listed(strange)}, which the search space has not"
        rule = self._broken_by(record.params)
        return f"it breaks the rule {rule}" if rule else ""


def space_of(space: SearchSpace, constants: Mapping[str, Value]) -> StoredSpace:
    """Return what the database says of this search space, in a study with these constants of the script."""
    used = {name for rule in space.rules for name in rule.expression.names} - set(space.names)
    rules = [rule.expression for rule in space.rules]
    return StoredSpace(frozenset(space.names), rules, {name: constants[name] for name in sorted(used)})


def rules_attr(space: SearchSpace, constants: Mapping[str, Value]) -> dict[str, Any]:
    """Return the attribute that keeps the rules, {} if there are none."""
    if not space.rules:
        return {}
    kept = {name: repr(value) for name, value in space_of(space, constants).constants.items()}
    return {RULES: {"rules": [rule.text for rule in space.rules], "constants": kept}}


def stored_space(attrs: Mapping[str, Any]) -> StoredSpace:
    """Return the search space of a study with these attributes."""
    baseline, kept = attrs.get(BASELINE), attrs.get(RULES, {})
    names = frozenset(baseline if isinstance(baseline, dict) else ())
    with suppress(
        SearchSpaceError, TypeError, ValueError, KeyError, AttributeError
    ):  # another program's may be anything
        constants = {name: parse_expression(text).evaluate({}) for name, text in kept["constants"].items()}
        return StoredSpace(names, [parse_expression(text) for text in kept["rules"]], constants)
    return StoredSpace(names)


def decoded(value: object) -> Any:
    """Return a stored choice as the script has it: a tuple is stored as its text."""
    if isinstance(value, str) and value.startswith("("):
        with suppress(SearchSpaceError):
            return parse_expression(value).evaluate({})
    return value


def _holds(rule: Expression, values: Mapping[str, Value]) -> bool:
    try:
        return rule.evaluate(values) is True
    except SearchSpaceError:  # it cannot be computed with these values
        return False
