"""Describes a search space as a value: parameters with choices, rules that forbid configurations, starts and priors.

It reads no file (`loader.py` does), samples nothing and does not know Optuna; it only says what is in the space.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import combinations_with_replacement, product
from typing import Any

from search_spaces.expressions import Rule, SearchSpaceError, Value, kind
from search_spaces.known import SpacePrior, Start
from search_spaces.locations import AS_CONSTANT, Location

Stored = bool | int | float | str | None
"""What Optuna can hold as a categorical choice."""

NEAR = 3  # choices beyond the nearest that a start may be moved to keep a rule
MAX_WORK = 3_000_000  # nodes evaluated to count parameters that rules tie together: about 2 s


@dataclass(frozen=True, slots=True)
class Parameter:
    """A setting of the script that may vary, and the values it may take, all of one kind."""

    name: str
    choices: tuple[Value, ...]
    location: Location = AS_CONSTANT
    baseline: Value = None  # what the script has, where its text does not say so; None: not given
    when: Rule | None = field(default=None, hash=False)  # without effect where this does not hold
    ranged: bool = False  # the choices are those of a range
    optional: bool = False  # left out where the script lacks it

    def including(self, value: Value) -> Parameter:
        """Return this parameter with a number among its choices, at its place in their order."""
        if value in self or any(kind(each) != "number" for each in (value, *self.choices)):
            return self
        choices = sorted((*self.choices, value))  # type: ignore[type-var]  # numbers, as just checked
        return replace(self, choices=tuple(choices))

    @property
    def is_placed(self) -> bool:
        """Whether the search space says more of it than its choices: a place, or a condition."""
        return self.location != AS_CONSTANT or self.when is not None

    @property
    def ordered(self) -> bool:
        """Whether the order means something: at least three numbers, strictly rising or falling."""
        if len(self.choices) < 3 or kind(self.choices[0]) != "number":
            return False
        rising = sorted(self.choices)  # type: ignore[type-var]  # numbers, as just checked
        return list(self.choices) in (rising, rising[::-1])

    @property
    def stored_choices(self) -> tuple[Stored, ...]:
        """Return the choices as Optuna holds them."""
        return tuple(map(_encode, self.choices))

    def __contains__(self, value: object) -> bool:
        return any(_same(choice, value) for choice in self.choices)

    def encode(self, value: Value) -> Stored:
        """Return the choice equal to `value` as Optuna holds it: a tuple as its text, anything else as it is."""
        return _encode(self._find(value, self.choices))

    def decode(self, stored: Stored) -> Value:
        """Return the choice that `encode` made `stored` of. It looks among the choices and never evaluates text."""
        return self._find(stored, self.stored_choices)

    def nearest(self, value: Value) -> Value:
        """Return the choice closest to `value`: by ratio among positive numbers, else by difference.

        Raises SearchSpaceError where no choice is nearer than another, as with text.
        """
        return self.by_distance(value)[0][1]

    def by_distance(self, value: Value) -> list[tuple[float, Value]]:
        """Return every choice with its distance, the nearest first; only `value` itself where others have no distance."""
        if any(not _comparable(value, choice) for choice in self.choices):
            return [(0.0, self._find(value, self.choices))]
        ratio = all(isinstance(v, int | float) and v > 0 for v in (value, *self.choices))
        found = [(_distance(value, choice, ratio), choice) for choice in self.choices]
        return sorted(found, key=lambda entry: (entry[1] != value, entry[0]))

    def _find(self, wanted: object, among: tuple[Value, ...]) -> Value:
        for choice, candidate in zip(self.choices, among, strict=True):
            if _same(candidate, wanted):
                return choice
        raise SearchSpaceError(self._stranger(wanted))

    def _stranger(self, value: object) -> str:
        choices = ", ".join(map(repr, self.choices[:12])) + (", ..." if len(self.choices) > 12 else "")
        return f"{self.name}: {value!r:.60} is none of its choices: {choices}. Use one of them."


@dataclass(frozen=True, slots=True)
class Snap:
    """A value that `nearest` moved to a choice."""

    name: str
    given: Value
    choice: Value

    def __str__(self) -> str:
        return f"{self.name} {self.given!r} -> {self.choice!r}"


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """What may vary. `constants` below are the values of the other names that rules use, such as MAX_SEQ_LEN."""

    name: str
    path: str  # for messages
    parameters: tuple[Parameter, ...]
    rules: tuple[Rule, ...] = ()
    starts: tuple[Start, ...] = ()
    priors: tuple[SpacePrior, ...] = ()
    text: str = field(default="", repr=False, compare=False)  # that it was parsed from

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the parameters, in order."""
        return tuple(parameter.name for parameter in self.parameters)

    @property
    def size(self) -> int:
        """How many configurations there are, the infeasible ones included."""
        return _size(self.parameters)

    def __getitem__(self, name: str) -> Parameter:
        for parameter in self.parameters:
            if parameter.name == name:
                return parameter
        raise SearchSpaceError(f"{self.path}: {name}: no such parameter. There are {', '.join(self.names)}.")

    def fitting(self, constants: Collection[str]) -> SearchSpace:
        """Return the space without the optional parameters that are no constant of a script, and without rules on them."""
        lacking = {p.name for p in self.parameters if p.optional and p.name not in constants}
        if not lacking:
            return self
        parameters = tuple(p for p in self.parameters if p.name not in lacking)
        rules = tuple(rule for rule in self.rules if not rule.expression.names & lacking)
        return replace(self, parameters=parameters, rules=rules, starts=tuple(s.without(lacking) for s in self.starts))

    @property
    def stored_choices(self) -> dict[str, tuple[Stored, ...]]:
        """The choices of each parameter as a database holds them: tuples are text."""
        return {p.name: p.stored_choices for p in self.parameters}

    def encode(self, params: Mapping[str, Value]) -> dict[str, Stored]:
        """Return the parameters of a configuration as a database holds them."""
        return {p.name: p.encode(params[p.name]) for p in self.parameters}

    def decode(self, stored: Mapping[str, Any]) -> dict[str, Value]:
        """Return stored parameters as the script has them.

        Raises KeyError for one that is missing, SearchSpaceError for one that is no choice.
        """
        return {p.name: p.decode(stored[p.name]) for p in self.parameters}

    def contains(self, params: Mapping[str, Value]) -> bool:
        """Return whether `params` gives exactly our parameters, each one of its choices. Rules are not asked."""
        return params.keys() == set(self.names) and all(params[p.name] in p for p in self.parameters)

    def broken_rules(self, params: Mapping[str, Value], constants: Mapping[str, Value]) -> tuple[Rule, ...]:
        """Return the rules that a configuration breaks. Raises SearchSpaceError where a rule cannot be computed."""
        values = {**constants, **params}
        return tuple(rule for rule in self.rules if not rule.holds(values))

    def feasible(self, params: Mapping[str, Value], constants: Mapping[str, Value]) -> bool:
        """Return whether a configuration breaks no rule. Raises SearchSpaceError where a rule cannot be computed."""
        return not self.broken_rules(params, constants)

    @property
    def conditions(self) -> dict[str, Rule]:
        """The conditions of the parameters that have no effect where theirs does not hold."""
        return {p.name: p.when for p in self.parameters if p.when is not None}

    def unknown_names(self, constants: Collection[str]) -> tuple[str, ...]:
        """Return the names in rules and conditions that are neither a parameter nor a constant."""
        used = {name for rule in (*self.rules, *self.conditions.values()) for name in rule.expression.names}
        return tuple(sorted(used - set(self.names) - set(constants)))

    def count_feasible(self, constants: Mapping[str, Value]) -> int | None:
        """Return how many configurations break no rule; None where rules tie too many parameters together to count."""
        groups = self._groups()
        if any(group.work > MAX_WORK for group in groups):
            return None
        tied = {parameter for group in groups for parameter in group.parameters}
        free = _size(parameter for parameter in self.parameters if parameter not in tied)
        return free * math.prod(sum(1 for _ in group.feasible(constants)) for group in groups)

    def dead_choices(self, constants: Mapping[str, Value]) -> tuple[tuple[str, Value], ...]:
        """Return choices that occur in no feasible configuration; those of groups too large to count are not judged."""
        dead: set[tuple[str, int]] = set()
        for group in self._groups():
            if group.work <= MAX_WORK:
                dead |= group.dead(constants)
        return tuple((p.name, c) for p in self.parameters for i, c in enumerate(p.choices) if (p.name, i) in dead)

    def nearest(self, params: Mapping[str, Value]) -> tuple[dict[str, Value], tuple[Snap, ...]]:
        """Move `params` to the nearest choices; returns them and what moved. The result may break rules.

        Raises SearchSpaceError with a line for each name that is not ours and each value without a nearest choice.
        """
        snapped: dict[str, Value] = {}
        problems: list[str] = []
        for name, value in params.items():
            try:
                snapped[name] = self[name].nearest(value)
            except SearchSpaceError as error:
                problems += error.problems
        if problems:
            raise SearchSpaceError(*problems)
        return snapped, tuple(Snap(n, params[n], c) for n, c in snapped.items() if not _same(c, params[n]))

    def nearest_feasible(self, params: Mapping[str, Value], constants: Mapping[str, Value]) -> dict[str, Value] | None:
        """Return the configuration near `params` that breaks no rule; None if none is near. `params` names every
        parameter.

        Numbers that rules speak of may move beyond the nearest choice, by at most NEAR choices altogether.
        """
        params = {name: params[name] for name in self.names}
        nearest, _ = self.nearest(params)
        ruled = {name for rule in self.rules for name in rule.expression.names}
        ranked = {name: self[name].by_distance(params[name]) for name in self.names if name in ruled}
        for further in range(NEAR + 1):
            found = []
            for picks in combinations_with_replacement(ranked, further):
                steps = [(name, picks.count(name)) for name in ranked]
                if all(step < len(ranked[name]) for name, step in steps):
                    moved = {**nearest, **{name: ranked[name][step][1] for name, step in steps}}
                    distance = sum(ranked[name][step][0] for name, step in steps)
                    found += [(distance, moved)] if self._surely_feasible(moved, constants) else []
            if found:
                return min(found, key=lambda entry: entry[0])[1]
        return None

    def _surely_feasible(self, params: Mapping[str, Value], constants: Mapping[str, Value]) -> bool:
        """Return whether no rule forbids it and every rule can be computed: a division by zero forbids as well."""
        try:
            return self.feasible(params, constants)
        except SearchSpaceError:
            return False

    def fingerprint(self) -> str:
        """Return a hash of names, choices in their order, places and rules; comments, starts, priors and the file's name do not."""
        parameters = sorted((p.name, list(map(repr, p.choices))) for p in self.parameters)
        rules = sorted(rule.text for rule in self.rules)
        parts: tuple[object, ...] = (parameters, rules)
        if places := sorted(
            (p.name, str(p.location), p.when.text if p.when else "") for p in self.parameters if p.is_placed
        ):
            parts = (*parts, places)  # a space of constants alone has the hash that it always had
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]

    def _groups(self) -> list[_Group]:
        """Group rules that share a parameter, directly or through other rules, with the parameters they tie together."""
        groups: list[tuple[set[str], list[Rule]]] = []
        for rule in self.rules:
            names, rules = set(rule.expression.names & set(self.names)), [rule]
            for other in [group for group in groups if names & group[0]]:
                groups.remove(other)
                names |= other[0]
                rules = other[1] + rules
            groups.append((names, rules))
        return [_Group(tuple(p for p in self.parameters if p.name in names), tuple(rules)) for names, rules in groups]


@dataclass(frozen=True, slots=True)
class _Group:
    """Parameters that can only be judged together."""

    parameters: tuple[Parameter, ...]
    rules: tuple[Rule, ...]

    @property
    def work(self) -> int:
        return _size(self.parameters) * sum(rule.expression.size for rule in self.rules)

    def feasible(self, constants: Mapping[str, Value]) -> Iterator[tuple[int, ...]]:
        """Yield the feasible configurations of these parameters, as indices of choices."""
        values = dict(constants)
        for indices in product(*(range(len(p.choices)) for p in self.parameters)):
            for parameter, index in zip(self.parameters, indices, strict=True):
                values[parameter.name] = parameter.choices[index]
            if all(rule.holds(values) for rule in self.rules):
                yield indices

    def dead(self, constants: Mapping[str, Value]) -> set[tuple[str, int]]:
        dead = {(p.name, index) for p in self.parameters for index in range(len(p.choices))}
        for indices in self.feasible(constants):
            dead.difference_update((p.name, index) for p, index in zip(self.parameters, indices, strict=True))
            if not dead:
                break
        return dead


def _size(parameters: Collection[Parameter] | Iterator[Parameter]) -> int:
    return math.prod(len(parameter.choices) for parameter in parameters)


def _encode(choice: Value) -> Stored:
    return repr(choice) if isinstance(choice, tuple) else choice


def _same(a: object, b: object) -> bool:
    """Return whether two values are equal, and not merely because Python counts True as 1."""
    return a == b and isinstance(a, bool) == isinstance(b, bool)


def _comparable(a: Value, b: Value) -> bool:
    """Return whether a distance between two values means anything: numbers, or tuples of as many numbers."""
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(kind(x) == kind(y) == "number" for x, y in zip(a, b, strict=True))
    return kind(a) == kind(b) == "number"


def _distance(a: Value, b: Value, ratio: bool) -> float:
    if isinstance(a, tuple) and isinstance(b, tuple):
        return sum(_distance(x, y, ratio) for x, y in zip(a, b, strict=True))
    scale = math.log if ratio else float
    return abs(scale(_finite(a)) - scale(_finite(b)))


def _finite(value: Value) -> float:
    """Return a number as a float, cut where it is beyond the range of floats."""
    assert isinstance(value, int | float)
    return float(max(-1e300, min(1e300, value)))
