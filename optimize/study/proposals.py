"""What others put into a study's queue: proposals of ours, and Optuna's `enqueue_trial`. Checked as any trial is, then queued.

`propose` needs no lease: a trial that waits disturbs nobody, and the driver, now or later, takes it in. While it runs,
`AdoptWaiting` does that.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from optimize.config.plan import Plan
from optimize.errors import StudyError
from optimize.study.callback import Callback
from optimize.study.comparable import check_fingerprint, fingerprint
from optimize.study.queued import Queued
from optimize.study.stored import find_study
from optimize.study.study import Study
from optimize.text import changes
from optimize.trial import TrialStatus, Value
from search_spaces import Parameter, SearchSpace, SearchSpaceError
from storage import (
    Database,
    Stored,
    TrialRecord,
    enqueued_params,
    numbers_of,
    origin_attrs,
    record_of,
    states_from,
)

KIND = "proposal"  # of a trial whose parameters somebody has proposed
MOST_WAITING = 100  # trials in a queue, above which nothing more is proposed
LOOK_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class Proposal:
    """What has become of proposed parameters: a trial that waits, or the one that has them already."""

    number: int
    params: Mapping[str, Value]
    known: TrialRecord | None = None  # None: it was queued


def propose(database: Database, plan: Plan, given: Sequence[Mapping[str, object]], source: str) -> list[Proposal]:
    """Queue parameters in the plan's study; what one does not name is the baseline's. `source` says who proposes.

    Parameters that a trial has already, unless that failed through no fault of theirs, are not queued again.
    Raises StudyError with a line for each that cannot be tried, and queues none then; StudyMismatchError if the study began
    with other scripts, space or constants than the plan's.
    """
    name, runs = plan.settings.study, plan.settings.runs
    stored = find_study(database, name, runs)
    parts = fingerprint(plan.workload, plan.space, plan.settings.constants, "")
    known = database.study_attrs(stored.study_id)
    but_data = {part: text for part, text in parts.items() if part != "data"}
    check_fingerprint(name, known, but_data, database.study_names)
    wanted = _configurations(plan, given)
    with database.transaction():
        waiting = database.counts(stored.study_id)["WAITING"]
        if waiting + len(wanted) > MOST_WAITING:
            raise StudyError(
                f"study {name}: {waiting} trials wait already, and no more than {MOST_WAITING} may. Nothing was queued. "
                "Let some run."
            )
        return [_queue(database, stored.study_id, plan.space, params, source) for params in wanted]


def configuration(plan: Plan, given: Mapping[str, object]) -> dict[str, Value]:
    """Return a whole configuration: what is given, and for the rest the baseline's.

    A value is one of the choices, or as JSON or a database has that. Raises SearchSpaceError with a line for each mistake.
    """
    if not given:
        raise SearchSpaceError("it names no parameter, and the sampler proposes without it")
    params, problems = dict(plan.baseline), list[str]()
    for name, value in given.items():
        try:
            params[name] = _choice(plan.space[name], value)
        except SearchSpaceError as error:
            problems += error.problems
    if problems:
        raise SearchSpaceError(*problems)
    broken = plan.space.broken_rules(params, plan.constants)
    if broken:
        raise SearchSpaceError(*(f"breaks the rule {rule.text} ({rule.why})" for rule in broken))
    return params


class AdoptWaiting(Callback):
    """Takes what others queue while a study runs into the driver's queue."""

    def __init__(self, study: Study, database: Database, study_id: int, plan: Plan, say: Callable[[str], None]) -> None:
        self._study, self._database, self._study_id = study, database, study_id
        self._plan, self._say = plan, say
        self._next = 0  # trials below were looked at
        self._due = 0.0

    def on_trial_end(self, record: TrialRecord) -> None:
        self.look()  # before the slot that is free gets the sampler's next one

    def on_tick(self) -> None:
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + LOOK_EVERY_S
            self.look()

    def look(self) -> None:
        """Adopt every trial that has come to wait since the last look, but for those that this driver has queued itself."""
        states = states_from(self._database, self._study_id, self._next)
        ours = {trial.number for trial in self._study.queued()}
        for number in sorted(number for number, state in states.items() if state == "WAITING" and number not in ours):
            trial = self._database.find_trial(self._study_id, number)
            if trial is not None:
                self._say(adopt_waiting(self._study, record_of(trial), self._plan, self._database))
        self._next = max(states, default=self._next - 1) + 1


def adopt_waiting(study: Study, record: TrialRecord, plan: Plan, database: Database) -> str:
    """Queue a trial that another program has made, or close it. Return a line about it."""
    queued = queued_of(record, plan.space)
    if queued is not None:
        study.adopt_queued(queued)
        who = f" by {record.source}" if record.source else ""
        return f"trial {record.number} was proposed{who}: {changes(queued.params, plan.baseline)}"
    given = enqueued_params(database, record.trial_id) or record.params
    try:
        params = configuration(plan, given)
    except SearchSpaceError as error:
        study.discard(record, f"enqueue_trial: {error.problems[0]}", TrialStatus.CANCELLED)
        return f"trial {record.number} of enqueue_trial is not tried: {error.problems[0]}"
    study.adopt_enqueued(record, params)
    rest = ", the rest as in the baseline" if len(given) < len(params) else ""
    return f"trial {record.number} of enqueue_trial is tried: {changes(params, plan.baseline)}{rest}"


def queued_of(record: TrialRecord, space: SearchSpace) -> Queued | None:
    """Return a trial that waits or runs as the queue has it; None if its parameters are no whole configuration of this space."""
    params = decoded(record, space)
    if params is None:
        return None
    return Queued(params, record.kind, record.attempt, record.alone, record.source, record.trial_id, record.number)


def decoded(record: TrialRecord, space: SearchSpace) -> dict[str, Value] | None:
    """Return the parameters as the script has them; None if they are not a whole configuration of this space."""
    if record.params.keys() != set(space.names):
        return None
    try:
        return space.decode(record.params)
    except SearchSpaceError:
        return None


def _configurations(plan: Plan, given: Sequence[Mapping[str, object]]) -> list[dict[str, Value]]:
    """Return them whole, without repeats. Raises StudyError with every mistake of all."""
    found, problems = list[dict[str, Value]](), list[str]()
    for place, each in enumerate(given, 1):
        try:
            params = configuration(plan, each)
            found += [params] if params not in found else []
        except SearchSpaceError as error:
            where = f"configuration {place}: " if len(given) > 1 else ""
            problems += [f"{where}{line}" for line in error.problems]
    if problems:
        raise StudyError(*problems)
    return found


def _queue(database: Database, study_id: int, space: SearchSpace, params: Mapping[str, Value], source: str) -> Proposal:
    encoded: dict[str, Stored] = space.encode(params)
    for number in numbers_of(database, study_id, encoded, space.stored_choices):
        trial = database.find_trial(study_id, number)
        if trial is not None and trial.state.name != "FAIL":
            return Proposal(number, params, record_of(trial))
    attrs = origin_attrs(KIND, source=source)
    choices = space.stored_choices
    created = database.create_trial(study_id, state="WAITING", params=encoded, choices=choices, attrs=attrs)
    return Proposal(created.number, params)


def _choice(parameter: Parameter, value: object) -> Value:
    """Return the choice that a value means. Raises SearchSpaceError if it means none."""
    as_tuple = _tuple(value)
    if as_tuple in parameter:
        return parameter.decode(parameter.encode(as_tuple))  # type: ignore[arg-type]  # one of its choices
    return parameter.decode(value)  # type: ignore[arg-type]  # compared, and refused if it is none


def _tuple(value: object) -> object:
    """Return a list of JSON as the tuple that a choice is."""
    return tuple(map(_tuple, value)) if isinstance(value, list | tuple) else value
