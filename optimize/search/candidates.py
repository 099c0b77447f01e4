"""A search space as a lattice of points, and the law for leaving it: what is proposed is feasible and unseen.

It learns nothing and knows no sampler: learners draw points, the `Chooser` accepts them or finds others.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Mapping
from itertools import islice
from math import gcd

from optimize.errors import SpaceExhausted, StudyError
from optimize.trial import Value
from search_spaces import Rule, SearchSpace, SearchSpaceError

Point = tuple[int, ...]
"""A configuration as the indices of its choices, in the order of the space's parameters."""

NEIGHBOURS = 2_000  # looked at around a point: all that differ in two parameters, in a space of twenty
DOUBT = 0.01  # a choice is suspect when chance explains its failures less often than this
DARING = 0.02  # share of proposals that ignore suspicion
LOOKS = 1_000_000  # configurations that one proposal may look at before it gives up: about 10 s


class Lattice:
    """Configurations as points. A step changes one parameter: an ordered one to the next choice, another to any."""

    def __init__(self, space: SearchSpace, constants: Mapping[str, Value]) -> None:
        self.space, self._constants = space, constants
        self.size = space.size
        self.sizes = tuple(len(parameter.choices) for parameter in space.parameters)
        self.ordered = tuple(parameter.ordered for parameter in space.parameters)
        self._indices = [{choice: i for i, choice in enumerate(p.choices)} for p in space.parameters]
        self._stride = _coprime_near(self.size * 618 // 1000, self.size)

    def params(self, point: Point) -> dict[str, Value]:
        return {p.name: p.choices[i] for p, i in zip(self.space.parameters, point, strict=True)}

    def point(self, params: Mapping[str, Value]) -> Point | None:
        """Where these parameters are, None if they are not of this space: history may be older than its choices."""
        if not self.space.contains(params):
            return None
        return tuple(indices[params[name]] for indices, name in zip(self._indices, self.space.names, strict=True))

    def feasible(self, params: Mapping[str, Value]) -> bool:
        """Where a rule cannot be computed, as in a division by zero, nothing is: a plan cannot look at all of a large space."""
        try:
            return self.space.feasible(params, self._constants)
        except SearchSpaceError:
            return False

    def broken_rules(self, params: Mapping[str, Value]) -> tuple[Rule, ...]:
        return self.space.broken_rules(params, self._constants)

    def at(self, index: int) -> Point:
        """Every point once, as `index` goes from 0 to `size`; neighbours in this order lie far apart."""
        rest, point = index * self._stride % self.size, []
        for size in reversed(self.sizes):
            rest, i = divmod(rest, size)
            point.append(i)
        return tuple(reversed(point))

    def steps(self, point: Point) -> list[Point]:
        return [
            (*point[:axis], i, *point[axis + 1 :])
            for axis, here in enumerate(point)
            for i in range(self.sizes[axis])
            if i != here and (not self.ordered[axis] or abs(i - here) == 1)
        ]

    def uniform(self, rng: random.Random) -> Point:
        return tuple(rng.randrange(size) for size in self.sizes)


class Failures:
    """Which choices have only ever ended badly, more often than by chance."""

    def __init__(self, lattice: Lattice) -> None:
        self._bad = [[0] * size for size in lattice.sizes]
        self._alive = [[False] * size for size in lattice.sizes]  # was part of a trial that completed
        self._trials, self._failed = 0, 0

    def learned(self, point: Point, bad: bool) -> None:
        self._trials += 1
        self._failed += bad
        for axis, i in enumerate(point):
            self._bad[axis][i] += bad
            self._alive[axis][i] |= not bad

    def doubt(self, point: Point) -> bool:
        """Whether one of its choices is suspect: that so many trials all fail has a probability below DOUBT."""
        rate = (self._failed + 1) / (self._trials + 2)
        return any(not self._alive[axis][i] and rate ** self._bad[axis][i] < DOUBT for axis, i in enumerate(point))


class Chooser:
    """Turns draws into proposals, and remembers what has been seen, by its identity.

    Points that `doubt` condemns, or of which `too_large` says that they do not fit the device, are passed over, but for a
    small share of proposals that may prove it wrong.
    """

    def __init__(
        self,
        lattice: Lattice,
        rng: random.Random,
        identity: Callable[[Mapping[str, Value]], Hashable] | None,
        doubt: Callable[[Point], bool],
        too_large: Callable[[Mapping[str, Value]], bool] | None = None,
    ) -> None:
        self._lattice, self._rng, self._identity, self._doubt = lattice, rng, identity or _itself, doubt
        self._too_large = too_large or (lambda params: False)
        self._seen: set[Hashable] = set()
        self._walked = 0  # all points before this one, in the lattice's order, are seen or infeasible for ever

    def saw(self, params: Mapping[str, Value]) -> None:
        self._seen.add(self._identity(params))

    def choose(self, draw: Callable[[], Point], redraws: int, *, trusting: bool = False) -> Point:
        """A proposal: the first good draw, else the nearest good neighbour of the last, else any that is left.

        `trusting` ignores `doubt`, for those who do not learn from values. Raises SpaceExhausted when nothing is left,
        which is certain: every configuration has been looked at.
        """
        daring = self._rng.random() < DARING
        point = draw()
        for _ in range(redraws):
            if self._acceptable(point, daring, trusting):
                return point
            point = draw()
        around = islice(self._around(point), NEIGHBOURS)
        return next((near for near in around if self._acceptable(near, daring, trusting)), None) or self.any_left()

    def why_not(self, point: Point) -> str:
        """Why this is no proposal, "" if it is one: what a draw is judged by, in words, and without daring."""
        params = self._lattice.params(point)
        if self._identity(params) in self._seen:
            return "it was tried, or is the same run as one that was"
        try:
            broken = self._lattice.broken_rules(params)
        except SearchSpaceError as error:  # as with a division by zero
            return str(error)
        if broken:
            return f"it breaks the rule {broken[0].text} ({broken[0].why})"
        if self._doubt(point):
            return "one of its choices has only ever ended badly"
        return "it will probably not fit the device's memory" if self._too_large(params) else ""

    def any_left(self) -> Point:
        """The first good point in the lattice's order; proposing it again and again does not use it up."""
        for _ in range(LOOKS):
            if self._walked == self._lattice.size:
                raise self._exhausted()
            point = self._lattice.at(self._walked)
            if self._good(point):
                return point
            self._walked += 1
        where = self._lattice.space.path
        raise StudyError(f"{where}: none of {LOOKS} configurations is feasible and new. Loosen the rules.")

    def _acceptable(self, point: Point, daring: bool, trusting: bool) -> bool:
        if not daring and not trusting and self._doubt(point):
            return False
        return self._good(point) and (daring or not self._too_large(self._lattice.params(point)))

    def _good(self, point: Point) -> bool:
        params = self._lattice.params(point)
        return self._identity(params) not in self._seen and self._lattice.feasible(params)

    def _around(self, point: Point) -> Iterator[Point]:
        """`point`, then others by their number of steps from it, equally near ones in random order."""
        known, queue = {point}, deque([point])
        while queue:
            yield (nearest := queue.popleft())
            steps = [step for step in self._lattice.steps(nearest) if step not in known]
            self._rng.shuffle(steps)
            known.update(steps)
            queue.extend(steps)

    def _exhausted(self) -> StudyError:
        where, seen = self._lattice.space.path, len(self._seen)
        if not seen:
            return StudyError(
                f"{where}: none of its {self._lattice.size} configurations is feasible. Loosen the rules."
            )
        return SpaceExhausted(f"{where}: {_all(seen)} been tried. Add choices for more.")


def _all(seen: int) -> str:
    return "the one feasible configuration has" if seen == 1 else f"all {seen} feasible configurations have"


def _itself(params: Mapping[str, Value]) -> Hashable:
    return tuple(params[name] for name in sorted(params))


def _coprime_near(wanted: int, size: int) -> int:
    """Steps of about the golden section of `size` scatter evenly; coprime to it they reach everything once."""
    step = max(1, wanted)
    while gcd(step, size) != 1:
        step += 1
    return step
