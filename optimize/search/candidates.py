"""A search space as a lattice of points, and the `Chooser`, which accepts only points that are feasible and new.

It learns nothing and knows no sampler: learners draw points, the `Chooser` accepts them or finds others nearby.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from itertools import islice
from math import gcd, isqrt

from optimize.errors import SpaceExhausted, StudyError
from optimize.trial import Value
from search_spaces import Rule, SearchSpace, SearchSpaceError

Point = tuple[int, ...]
"""A configuration as the indices of its choices, in the order of the space's parameters."""

Measure = Callable[[Mapping[str, Value]], Sequence[float | None]]
"""Computes quantities that follow from parameters, such as the size of a model."""

SLICE = 10_000  # configurations that are checked between two looks at everything else: some tenths of a second
ALL_TRIED = "been tried. Add choices for more."  # how the reason ends of a study that has nothing left
BLENDS = 50  # of a draw and something feasible
NEIGHBOURS = 2_000  # checked around a point: all that differ in two parameters, in a space of twenty
SUSPECT_BELOW = 0.01  # a choice is suspect when chance explains its failures less often than this
UNGUARDED = 0.02  # share of proposals that ignore suspicion and memory
_MIXER = 0x5851_F42D_4C95_7F2D  # a multiplier of D. Knuth's MMIX generator
MOST_CHECKED = 1_000_000  # configurations that one proposal may check before it gives up: about 10 s


class Lattice:
    """Map configurations to points and back.

    A step changes one parameter: an ordered one to the next choice, any other to any choice.
    """

    def __init__(
        self, space: SearchSpace, constants: Mapping[str, Value], measure: Measure = lambda params: ()
    ) -> None:
        self.space, self._constants, self._measure = space, constants, measure
        self.size = space.size
        self.sizes = tuple(len(parameter.choices) for parameter in space.parameters)
        self.ordered = tuple(parameter.ordered for parameter in space.parameters)
        self._indices = [{choice: i for i, choice in enumerate(p.choices)} for p in space.parameters]
        self._stride = _coprime_near(_golden_section(self.size), self.size)

    def params(self, point: Point) -> dict[str, Value]:
        """Return the choices at a point."""
        return {p.name: p.choices[i] for p, i in zip(self.space.parameters, point, strict=True)}

    def point(self, params: Mapping[str, Value]) -> Point | None:
        """Return the point of these parameters; None if the space has no such choices, as in trials of an older space."""
        if not self.space.contains(params):
            return None
        return tuple(indices[params[name]] for indices, name in zip(self._indices, self.space.names, strict=True))

    def quantities(self, point: Point) -> Sequence[float | None]:
        """Return what the workload derives from the choices at a point, always as many; None for what has no value."""
        return self._measure(self.params(point))

    def feasible(self, params: Mapping[str, Value]) -> bool:
        """Tell whether every rule holds. Where a rule cannot be computed, as in a division by zero, none does.

        The plan cannot find such places beforehand: it does not check all of a large space.
        """
        try:
            return self.space.feasible(params, self._constants)
        except SearchSpaceError:
            return False

    def broken_rules(self, params: Mapping[str, Value]) -> tuple[Rule, ...]:
        """Return the rules that these parameters break. Raises SearchSpaceError if one cannot be computed."""
        return self.space.broken_rules(params, self._constants)

    def at(self, index: int) -> Point:
        """Return every point once as `index` goes from 0 to `size`; the first ones of any number are spread evenly.

        The leading parameters follow multiples of the golden section. Each further one is shifted by a hash of those before
        it: the digits of a number in the middle of a large space would repeat for thousands of points.
        """
        rest, digits = index * self._stride % self.size, []
        for size in reversed(self.sizes):
            rest, i = divmod(rest, size)
            digits.append(i)
        point, mixed = [], 0
        for size, digit in zip(self.sizes, reversed(digits), strict=True):
            point.append((digit + (mixed >> 33)) % size)
            mixed = (mixed + digit + 1) * _MIXER % 2**64
        return tuple(point)

    def steps(self, point: Point) -> list[Point]:
        """Return every point that is one step away."""
        return [
            (*point[:axis], i, *point[axis + 1 :])
            for axis, here in enumerate(point)
            for i in range(self.sizes[axis])
            if i != here and (not self.ordered[axis] or abs(i - here) == 1)
        ]

    def uniform(self, rng: random.Random) -> Point:
        """Draw a point; each is as likely as any other."""
        return tuple(rng.randrange(size) for size in self.sizes)


class Failures:
    """Count the endings of each choice, to find those that have only ever ended badly, more often than by chance."""

    def __init__(self, lattice: Lattice) -> None:
        self._bad = [[0] * size for size in lattice.sizes]
        self._alive = [[False] * size for size in lattice.sizes]  # was part of a trial that completed
        self._trials, self._failed = 0, 0

    def learned(self, point: Point, bad: bool) -> None:
        """Count the ending of a trial at this point."""
        self._trials += 1
        self._failed += bad
        for axis, i in enumerate(point):
            self._bad[axis][i] += bad
            self._alive[axis][i] |= not bad

    def is_suspect(self, point: Point) -> bool:
        """Tell whether a choice of this point is suspect: that all its trials fail by chance is less likely than SUSPECT_BELOW."""
        rate = (self._failed + 1) / (self._trials + 2)
        return any(
            not self._alive[axis][i] and rate ** self._bad[axis][i] < SUSPECT_BELOW for axis, i in enumerate(point)
        )


class Chooser:
    """Turn draws into proposals, and remember what was proposed before, by its identity.

    It passes over points that `is_suspect`, and parameters that are `too_large` for the device. A small share of the
    proposals ignores both, so that a wrong suspicion can be disproved.
    """

    def __init__(
        self,
        lattice: Lattice,
        rng: random.Random,
        identity: Callable[[Mapping[str, Value]], Hashable] | None,
        is_suspect: Callable[[Point], bool],
        too_large: Callable[[Mapping[str, Value]], bool] | None = None,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> None:
        self._lattice, self._rng, self._identity = lattice, rng, identity or _itself
        self._is_suspect = is_suspect
        self._too_large = too_large or (lambda params: False)
        self._meanwhile = meanwhile  # called after every SLICE of a long walk
        self._seen: set[Hashable] = set()
        self._known: list[Point] = []  # what was seen: nearly all of it is feasible
        self._rare = False  # the last draw was nowhere near anything good
        self._walked = 0  # every point before this one, in the lattice's order, is seen or infeasible

    def saw(self, params: Mapping[str, Value]) -> None:
        """Never accept these parameters from now on."""
        self._seen.add(self._identity(params))
        point = self._lattice.point(params)
        if point is not None:
            self._known.append(point)

    def choose(self, draw: Callable[[], Point], redraws: int, *, trusting: bool = False) -> Point:
        """Return the first good draw, else the nearest good neighbour of the last draw, else any good point that is left.

        Where good points are rare, the last draw is blended with something feasible before anything else.
        `trusting` ignores suspicion, for samplers that do not learn from values. Raises SpaceExhausted when nothing is
        left; every configuration was checked then. Raises StudyError after MOST_CHECKED of them.
        """
        unguarded, refused = self._rng.random() < UNGUARDED, set[Point]()

        def accepts(point: Point) -> bool:
            if point in refused:  # in a small space most draws are
                return False
            if self._acceptable(point, unguarded, trusting):
                return True
            refused.add(point)
            return False

        point = draw()
        for _ in range(redraws):
            if accepts(point):
                return point
            point = draw()
        blended = self._blend(lambda: point, accepts) if self._rare else None
        if blended:
            return blended
        near = next(filter(accepts, islice(self._around(point), NEIGHBOURS)), None)
        self._rare = near is None
        return near or self.any_left()

    def why_not(self, point: Point) -> str:
        """Return why this point cannot be proposed, "" if it can; suspicion and memory always count here."""
        params = self._lattice.params(point)
        if self._identity(params) in self._seen:
            return "it was tried, or is the same run as one that was"
        try:
            broken = self._lattice.broken_rules(params)
        except SearchSpaceError as error:  # as with a division by zero
            return str(error)
        if broken:
            return f"it breaks the rule {broken[0].text} ({broken[0].why})"
        if self._is_suspect(point):
            return "one of its choices has only ever ended badly"
        return "it will probably not fit the device's memory" if self._too_large(params) else ""

    def any_left(self) -> Point:
        """Return the first good point in the lattice's order; until it is seen, it is returned again.

        Where a SLICE of the walk has none, return a random draw blended with something feasible, if that gives a good one.
        Raises SpaceExhausted when none is left, StudyError after MOST_CHECKED points.
        """
        for checked in range(1, MOST_CHECKED + 1):
            if self._walked == self._lattice.size:
                raise self._exhausted()
            point = self._lattice.at(self._walked)
            if self._good(point):
                return point
            self._walked += 1
            if checked % SLICE == 0:
                self._meanwhile()
                blended = self._blend(lambda: self._lattice.uniform(self._rng), self._good)
                if blended:
                    return blended
        where = self._lattice.space.path
        raise StudyError(f"{where}: none of {MOST_CHECKED} configurations is feasible and new. Loosen the rules.")

    def _blend(self, draw: Callable[[], Point], is_good: Callable[[Point], bool]) -> Point | None:
        """Give something feasible the values of a draw, one after the other, as far as each keeps every rule.

        It is a sweep of Gibbs sampling, S. Geman, D. Geman, 1984: what rules tie together stays, all else is the draw's.
        """
        for _ in range(BLENDS if self._known else 0):
            point, wanted = self._rng.choice(self._known), draw()
            if not self._lattice.feasible(self._lattice.params(point)):
                continue
            for axis in self._rng.sample(range(len(point)), len(point)):
                changed = (*point[:axis], wanted[axis], *point[axis + 1 :])
                if self._lattice.feasible(self._lattice.params(changed)):
                    point = changed
            if is_good(point):
                return point
        return None

    def _acceptable(self, point: Point, unguarded: bool, trusting: bool) -> bool:
        if not unguarded and not trusting and self._is_suspect(point):
            return False
        return self._good(point) and (unguarded or not self._too_large(self._lattice.params(point)))

    def _good(self, point: Point) -> bool:
        params = self._lattice.params(point)
        return self._identity(params) not in self._seen and self._lattice.feasible(params)

    def _around(self, point: Point) -> Iterator[Point]:
        """Yield `point`, then others by their number of steps from it, equally near ones in random order."""
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
        return SpaceExhausted(f"{where}: {_all(seen)} {ALL_TRIED}")


def _all(seen: int) -> str:
    return "the one feasible configuration has" if seen == 1 else f"all {seen} feasible configurations have"


def _itself(params: Mapping[str, Value]) -> Hashable:
    return tuple(params[name] for name in sorted(params))


def _golden_section(size: int) -> int:
    """Return the golden section of `size`, exact to the last digit: multiples of it scatter most evenly (D. Knuth, TAOCP 3, 6.4).

    A rational such as 0.618 would leave every parameter at its first choice whose place value divides the stride.
    """
    return (isqrt(5 * size * size) - size) // 2


def _coprime_near(wanted: int, size: int) -> int:
    """Return the first stride from `wanted` on that is coprime to `size`, so that it reaches every index once."""
    step = max(1, wanted)
    while gcd(step, size) != 1:
        step += 1
    return step
