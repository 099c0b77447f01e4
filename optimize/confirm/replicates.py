"""Which trainings a confirmation consists of: finalists, seeds, and the search space of the child study. It trains nothing.

A replicate is identified by its parameters: those of a trial, and the seed, the validation split and the training budget. A
replicate that exists is not trained again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from shlex import quote

from optimize.config.plan import Plan
from optimize.errors import NothingToConfirm
from optimize.script.derived import same_run
from optimize.search import Starts
from optimize.text import value_text
from optimize.trial import Value
from search_spaces import Parameter, SearchSpace, SearchSpaceError
from storage import TrialRecord, replicates_of

MOST_SEEDS = 20
MOST_FINALISTS = 10  # for which benchmarks/confirm.py measures how often a verdict is wrong
SCALES = range(1, 11)
KIND = "replicate"  # of a trial, for `optimize confirm`
REPEAT = "repeat"  # the kind of one that is trained beside a search, and counts as a training of that

Key = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Repeatable:
    """A configuration that can be trained again; `number` is its trial, or None for the baseline."""

    number: int | None
    params: Mapping[str, Value]
    value: float | None

    @property
    def name(self) -> str:
        return "the baseline" if self.number is None else f"trial {self.number}"


@dataclass(frozen=True, slots=True)
class Variation:
    """The parameters that a replicate has beside a trial's own; the first choice of each is what the trials had."""

    seed: Parameter
    split: Parameter | None  # None: the workload has no such constant
    budget: Parameter | None

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return tuple(each for each in (self.seed, self.split, self.budget) if each is not None)

    def of(self, params: Mapping[str, Value], seed: int, other_split: bool = False, scale: int = 1) -> dict[str, Value]:
        """Return a replicate's parameters; `seed` counts the other seeds from 1."""
        mine: dict[str, Value] = {self.seed.name: self.seed.choices[seed]}
        if self.split is not None:
            mine[self.split.name] = self.split.choices[other_split]
        if self.budget is not None:
            mine[self.budget.name] = self.budget.choices[scale - 1]
        return {**params, **mine}

    def scale(self, params: Mapping[str, Value]) -> int:
        """Return how many times the usual budget a replicate has."""
        return 1 if self.budget is None else self.budget.choices.index(params[self.budget.name]) + 1


def variation_of(plan: Plan) -> Variation:
    """Return what can vary. Raises WorkloadError if there is no seed: repeating a deterministic training confirms nothing."""
    name, own = plan.seed()
    seeds = tuple(own + step for step in range(MOST_SEEDS + 1))
    return Variation(Parameter(name, seeds), _split(plan), _budget(plan))


def child_plan(plan: Plan, variation: Variation) -> Plan:
    """Return the plan of the child study: the same scripts and constants, and a search space with what varies."""
    mine = {
        "study": replicates_of(plan.settings.study),
        "trials": None,
        "pruning": False,
        "starts": False,
        "start_from": None,
        "prior": (),
        "own_prior": False,
    }
    origins = {**plan.settings.origins, **dict.fromkeys(mine, "optimize confirm")}
    settings = replace(plan.settings, **mine, origins=origins)  # type: ignore[arg-type]
    space = SearchSpace(plan.space.name, plan.space.path, (*plan.space.parameters, *variation.parameters))
    return replace(plan, settings=settings, space=space, baseline=variation.of(plan.baseline, 1), starts=Starts())


def ranked(plan: Plan, records: Iterable[TrialRecord]) -> list[Repeatable]:
    """Return every distinct configuration that completed, the best first; of equal ones the first trial."""
    identity = same_run(plan.workload.derived, plan.constants, plan.workload.conditions)
    sign = plan.workload.metric.sign
    space = plan.stored_space
    mine = [record for record in records if is_whole(record, plan.space) and not space.why_not(record)]
    complete = [(sign * record.value, record.number, record) for record in mine if record.value is not None]
    found: dict[object, Repeatable] = {}
    for _, number, record in sorted(complete, key=lambda entry: entry[:2]):
        params = _decoded(plan, record)
        is_baseline = identity(params) == identity(plan.baseline)
        found.setdefault(identity(params), Repeatable(None if is_baseline else number, params, record.value))
    return list(found.values())


def _decoded(plan: Plan, record: TrialRecord) -> dict[str, Value]:
    return plan.space.decode(record.params)


def is_whole(record: TrialRecord, space: SearchSpace) -> bool:
    """Tell whether its parameters are a configuration of this space; a trial that was added by hand may have others."""
    try:
        return all(p.decode(record.params[p.name]) in p.choices for p in space.parameters)
    except (KeyError, SearchSpaceError):
        return False


def finalists_of(plan: Plan, among: Sequence[Repeatable], count: int) -> list[Repeatable]:
    """Return the best that are better than the baseline. Raises NothingToConfirm if there is none."""
    study, metric = plan.settings.study, plan.workload.metric
    baseline = next((each for each in among if each.number is None), None)
    if baseline is None:
        raise NothingToConfirm(
            f"study {study}: the baseline has not completed. Run the study first: `optimize run --study {quote(study)}`"
        )
    ahead = among[: among.index(baseline)]
    if not ahead:
        raise NothingToConfirm(
            f"study {study}: no trial has a better {metric.name} than the baseline ({value_text(baseline.value)}): there is "
            "nothing to confirm. Run more trials."
        )
    return list(ahead[:count])


def with_winner(
    plan: Plan,
    finalists: Sequence[Repeatable],
    among: Sequence[Repeatable],
    records: Iterable[TrialRecord],
    winner: int,
) -> list[Repeatable]:
    """Return the finalists and the winner of an earlier confirmation, which luckier values would else displace.

    If that makes too many, the last of the finalists gives way.
    """
    identity = same_run(plan.workload.derived, plan.constants, plan.workload.conditions)
    params = [_decoded(plan, r) for r in records if r.number == winner and is_whole(r, plan.space)]
    mine = [e for e in among if e.number is not None and any(identity(e.params) == identity(each) for each in params)]
    displaced = [each for each in mine if each not in finalists]
    return [*finalists[: MOST_FINALISTS - len(displaced)], *displaced]


def spread(among: Sequence[Repeatable], finalists: Sequence[Repeatable], least: int) -> list[Repeatable]:
    """Return the baseline, the finalists, and others evenly spread over the ranks: `least` in all, if there are as many."""
    picked = [each for each in among if each.number is None or each in finalists]
    rest = [each for each in among if each not in picked]
    wanted = min(max(least - len(picked), 0), len(rest))
    picked += [rest[round((i + 1) * len(rest) / wanted) - 1] for i in range(wanted)]
    return sorted(picked, key=among.index)


def key_of(params: Mapping[str, object], space: SearchSpace) -> Key:
    """Return what identifies a replicate, from parameters as the script has them."""
    return tuple(space[name].encode(params[name]) for name in space.names)  # type: ignore[arg-type]


def key_of_record(record: TrialRecord, space: SearchSpace) -> Key:
    """Return what identifies a replicate, from a record."""
    return tuple(record.params.get(name) for name in space.names)


def _split(plan: Plan) -> Parameter | None:
    name = plan.workload.val_split
    own = plan.constants.get(name)
    if name in plan.space.names or type(own) is not int or own not in (0, 1):
        return None
    return Parameter(name, (own, 1 - own))


def _budget(plan: Plan) -> Parameter | None:
    name, own = budget_of(plan)
    return None if name in ("", *plan.space.names) else Parameter(name, tuple(own * scale for scale in SCALES))


def budget_of(plan: Plan) -> tuple[str, float]:
    """Return the constant that limits a training, and its value: the first that is above 0; ("", 0) if none is."""
    for name in plan.workload.budget:
        own = plan.constants.get(name)
        if isinstance(own, int | float) and not isinstance(own, bool) and own > 0:
            return name, own
    return "", 0
