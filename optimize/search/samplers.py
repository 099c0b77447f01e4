"""The samplers, each behind `Sampler`, which proposes whole configurations that are feasible and new.

It stores nothing and knows no study: `study/study.py` asks for parameters and says how their trials ended.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from math import isfinite
from threading import Thread
from typing import Protocol

from optimize.errors import SettingsError, SpaceExhausted, StudyError
from optimize.search.candidates import Chooser, Failures, Lattice, Measure, Point
from optimize.search.memory import Footprint, Memory
from optimize.search.prior import Prior
from optimize.text import meant
from optimize.trial import Value, sign_of
from search_spaces import SearchSpace

Identity = Callable[[Mapping[str, Value]], Hashable]
"""Parameters with equal identities would train the same thing."""


@dataclass(frozen=True, slots=True)
class Past:
    """A trial of the study before it was reopened, for `Sampler.replay`: COMPLETE, PRUNED, FAIL or RUNNING."""

    number: int
    params: Mapping[str, Value]
    state: str
    value: float | None = None
    footprint: Footprint | None = None


class Learner(Protocol):
    """The method behind a `Sampler`: it draws points through a Chooser, learns how they ended, and minimises."""

    def draw(self) -> Point: ...
    def running(self, number: int, point: Point) -> None: ...
    def learned(self, number: int, point: Point, value: float | None) -> None:
        """The trial ended with this value; None means that the parameters are bad."""

    def forgotten(self, number: int) -> None:
        """The trial says nothing about its parameters."""


Make = Callable[[Lattice, Chooser, int, int], Learner]
"""Makes a learner. The first number is the study's seed; the second is the seed of its random stream, another one each time
the study is opened."""


class Sampler:
    """Propose what breaks no rule, was never started before, and probably fits the device."""

    def __init__(
        self,
        lattice: Lattice,
        make: Make,
        seed: int,
        direction: str,
        identity: Identity | None,
        new_memory: Callable[[], Memory] | None,
    ) -> None:
        self._lattice, self._make, self._seed, self._identity = lattice, make, seed, identity
        self._new_memory = new_memory
        self._sign = sign_of(direction)
        self._running: dict[int, Point] = {}
        self.meanwhile: Callable[[], None] = lambda: None  # called from time to time while it looks for a configuration
        self._begin(trials=0)

    def propose(self) -> dict[str, Value]:
        """Return a whole configuration. Raises SpaceExhausted when none is left.

        Until it is started it may be proposed again; a proposal that is never started is forgotten by the next one.
        """
        return self._lattice.params(self._learner.draw())

    def why_not(self, params: Mapping[str, Value]) -> str:
        """Return why what somebody else proposes cannot be tried, "" if it can; this draws nothing."""
        point = self._lattice.point(params)
        return "it is not in the search space" if point is None else self._chooser.why_not(point)

    def preview(self) -> dict[str, Value] | None:
        """Return what it would propose now; None if it learns nothing, so that its proposal says nothing, or if none is left."""
        if isinstance(self._learner, _NonLearner):
            return None
        try:
            return self.propose()
        except StudyError:
            return None

    def started(self, number: int, params: Mapping[str, Value]) -> None:
        """Never propose these parameters again, however the trial ends."""
        self._chooser.saw(params)
        point = self._lattice.point(params)
        if point is not None:  # else of an older space: seen, but nothing to learn from
            self._running[number] = point
            self._learner.running(number, point)

    def finished(self, number: int, state: str, value: float | None, footprint: Footprint | None = None) -> None:
        """Learn from an ending: from COMPLETE its `value`, from PRUNED that the parameters are bad, from FAIL nothing.

        A trial that was never `started` here is ignored. Parameters of a FAIL are not proposed again: the study itself
        queues those that deserve another try.
        """
        point = self._running.pop(number, None)
        if point is not None:
            self._learn(number, point, state, value, footprint)

    def replay(self, trials: Iterable[Past]) -> None:
        """Learn what earlier drivers did; call it before anything else. Trials still RUNNING may be `finished` later.

        The random stream starts from a new seed, made of the study's seed and the number of trials, so that it does not
        repeat the proposals of an earlier call.
        """
        past = sorted(trials, key=lambda trial: trial.number)
        self._begin(len(past))
        for trial in past:
            point = self._lattice.point(trial.params)
            if trial.state == "RUNNING" or point is None:
                self.started(trial.number, trial.params)
            else:
                self._chooser.saw(trial.params)
                self._learn(trial.number, point, trial.state, trial.value, trial.footprint)

    def summaries(self) -> list[str]:
        """Return a line on what the trials have shown of the device's memory, and one on how far its prior is believed."""
        prior = getattr(self._learner, "prior_summary", str)
        return [line for line in (str(self._memory or ""), str(prior())) if line]

    def _begin(self, trials: int) -> None:
        stream = random.Random(f"{self._seed} after {trials}").getrandbits(31)
        self._failures = Failures(self._lattice)
        self._memory = self._new_memory() if self._new_memory else None
        self._chooser = Chooser(
            self._lattice,
            random.Random(stream),
            self._identity,
            self._failures.is_suspect,
            self._memory.unlikely_to_fit if self._memory else None,
            lambda: self.meanwhile(),
        )
        self._learner = self._make(self._lattice, self._chooser, self._seed, stream)

    def _learn(self, number: int, point: Point, state: str, value: float | None, seen: Footprint | None) -> None:
        if self._memory and seen:
            self._memory.learned(self._lattice.params(point), seen)
        if state == "FAIL":
            self._learner.forgotten(number)
            return
        good = state == "COMPLETE" and value is not None and isfinite(value)
        self._failures.learned(point, bad=not good)
        self._learner.learned(number, point, self._sign * value if good and value is not None else None)


class QueueOnly(Sampler):
    """Propose nothing: everything that is to be trained is queued."""

    def __init__(self, done: str) -> None:
        self._done = done  # what is said when the queue is empty
        self.meanwhile = lambda: None

    def propose(self) -> dict[str, Value]:
        raise SpaceExhausted(self._done)

    def started(self, number: int, params: object) -> None: ...

    def finished(self, number: int, state: str, value: float | None, footprint: object = None) -> None: ...

    def replay(self, trials: object) -> None: ...

    def summaries(self) -> list[str]:
        return []


class _NonLearner:
    """Base of the samplers that learn nothing."""

    def __init__(self, lattice: Lattice, chooser: Chooser, seed: int, stream: int) -> None:
        self._lattice, self._chooser, self._rng = lattice, chooser, random.Random(stream)

    def running(self, number: int, point: Point) -> None: ...
    def learned(self, number: int, point: Point, value: float | None) -> None: ...
    def forgotten(self, number: int) -> None: ...


class _Random(_NonLearner):
    """Every feasible configuration is as likely as any other."""

    def draw(self) -> Point:
        return self._chooser.choose(lambda: self._lattice.uniform(self._rng), redraws=1_000, trusting=True)


class _Grid(_NonLearner):
    """Every configuration once, in a scattered order: a grid that is stopped early has covered the whole space."""

    def draw(self) -> Point:
        return self._chooser.any_left()


class _Qmc(_NonLearner):
    """Sobol' points, scrambled by the study's seed: a low-discrepancy sequence, I. M. Sobol', 1967; A. B. Owen, 1998.

    When a study goes on, it walks the same sequence again and passes over what was seen.
    """

    def __init__(self, lattice: Lattice, chooser: Chooser, seed: int, stream: int) -> None:
        super().__init__(lattice, chooser, seed, stream)
        self._points = self._sequence(seed)
        Thread(target=_import_scipy, name="scipy", daemon=True).start()

    def draw(self) -> Point:
        return self._chooser.choose(lambda: next(self._points), redraws=10_000, trusting=True)

    def _sequence(self, seed: int) -> Iterator[Point]:
        from scipy.stats import qmc

        engine = qmc.Sobol(len(self._lattice.sizes), rng=seed)
        while True:
            for row in engine.random(64):
                yield tuple(int(x * size) for x, size in zip(row, self._lattice.sizes, strict=True))


def _import_scipy() -> None:
    """Import what `_Qmc` needs while the baseline trains: a second of work, or three on a machine that is busy."""
    with suppress(Exception):  # the first draw says what is wrong with it
        import_module("scipy.stats")


def _tpe(lattice: Lattice, chooser: Chooser, seed: int, stream: int) -> Learner:
    """S. Watanabe, Tree-Structured Parzen Estimator, arXiv:2304.11127; Optuna's defaults: multivariate, constant liar."""
    from optuna.samplers import TPESampler

    from optimize.search.optuna_samplers import OptunaLearner

    return OptunaLearner(lattice, chooser, stream, TPESampler(seed=stream), redraws=4, reads_pruned=True)


def _gp(lattice: Lattice, chooser: Chooser, seed: int, stream: int) -> Learner:
    """Expected improvement on a Gaussian process, arXiv:2310.20708. Half a second a draw.

    A redraw treats the refused configuration as a running one, and so draws elsewhere.
    """
    from optuna.samplers import GPSampler

    from optimize.search.optuna_samplers import OptunaLearner

    return OptunaLearner(lattice, chooser, stream, GPSampler(seed=stream), redraws=2, reads_pruned=False)


def _cmaes(lattice: Lattice, chooser: Chooser, seed: int, stream: int) -> Learner:
    """CMA-ES on the ordered parameters (see `cmaes.py`). Optuna's own draws unordered ones at random."""
    from optimize.search.cmaes import CmaEsLearner

    return CmaEsLearner(lattice, chooser, stream, preselect=False)


def _auto(lattice: Lattice, chooser: Chooser, seed: int, stream: int) -> Learner:
    """CMA-ES (`cmaes.py`) whose draws a model picks by the improvement it expects (`rank_model.py`).

    benchmarks/search.py, a surrogate of 10,199 published trials (arXiv 2603.24647), seeds 100-131: differences to plain Optuna 5
    TPE in 0.0001 val_bpb with their standard errors after 1, 3, 6, 24 simulated hours, then the median hours to 0.9768, and the
    share of failed trials:
        auto    -53+-11   -79+-9    -61+-6    -32+-4     2.8     1 %
        cmaes   -68+-10   -57+-11   -30+-7    -12+-5     6.4     1 %
        random   +8+-9    +30+-11   +51+-9    +61+-6     > 24    2 %   (plain TPE: 13.9, 23 %)
    benchmarks/real_search.py has real training on a CPU core, beside the fixed model of an earlier release.
    """
    from optimize.search.cmaes import CmaEsLearner

    return CmaEsLearner(lattice, chooser, stream, preselect=True)


GUIDED = "auto"  # the sampler that reads a prior
SAMPLERS: Mapping[str, Make] = {
    "auto": _auto,
    "tpe": _tpe,
    "cmaes": _cmaes,
    "gp": _gp,
    "random": _Random,
    "qmc": _Qmc,
    "grid": _Grid,
}
# What other programs call them.
_ALSO = {"bayes": "tpe", "bo": "tpe", "parzen": "tpe", "gauss": "gp", "evol": "cmaes", "genetic": "cmaes", "cma": "cmaes",
         "sobol": "qmc", "halton": "qmc", "default": "auto"}  # fmt: skip
_NEEDS = {"gp": ("torch", "torch>=2.6")}  # sampler -> module and requirement; the base lacks it


def open_sampler(
    name: str,
    space: SearchSpace,
    constants: Mapping[str, Value],
    *,
    seed: int | None,
    direction: str = "minimize",
    identity: Identity | None = None,
    new_memory: Callable[[], Memory] | None = None,
    prior: Prior = (),
    measure: Measure = lambda params: (),
) -> Sampler:
    """Open the sampler of that name; only `auto` reads a prior. Raises SettingsError if it cannot serve this space.

    Parameters of equal `identity` would train the same thing; by default it is their own values. `new_memory` makes what
    learns which parameters fit the device; without it, memory plays no part. `measure` computes quantities that follow from
    parameters and may explain values better, such as the size of a model. The same seed, space and history give the
    same proposals; without a seed each opening gives others.
    """
    problem = unfit(name, space)
    if problem:
        raise SettingsError(problem)
    chosen = random.SystemRandom().getrandbits(31) if seed is None else seed
    make = SAMPLERS[name]
    if prior and name == GUIDED:
        from optimize.search.guided import guided_by

        make = guided_by(prior)
    return Sampler(Lattice(space, constants, measure), make, chosen, direction, identity, new_memory)


def unfit(name: str, space: SearchSpace | None) -> str:
    """Return why this sampler cannot serve this space, or any space where that is None; "" if it can."""
    if name not in SAMPLERS:
        return f"--sampler: {name!r} is not on offer. Use one of {', '.join(SAMPLERS)}.{_meant(name)}"
    if name == "cmaes" and space and not any(parameter.ordered for parameter in space.parameters):
        return f"--sampler cmaes: no parameter of {space.path} is ordered (three or more rising numbers). Use tpe."
    if name in _NEEDS and find_spec(_NEEDS[name][0]) is None:
        module, requirement = _NEEDS[name]
        return f"--sampler {name}: needs {module}. Run `pip install '{requirement}'`, or use auto."
    return ""


def _meant(name: str) -> str:
    also = next((ours for theirs, ours in _ALSO.items() if name.lower().startswith(theirs)), "")
    return f" Did you mean {also}?" if also else meant(name.lower(), SAMPLERS)
