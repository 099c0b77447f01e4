"""The trials of a study and their repeats, as a verdict inside the search takes them. It reads records and drives nothing.

A repeat is a replicate whose seed alone is another one. A check is one at SCALE times the budget as well: it tells whether a winner
still wins there. Replicates on other validation data are those of `optimize confirm` alone (`rounds.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from optimize.config.plan import Plan
from optimize.confirm.campaign import Campaign, Decision, Evidence, Repeat, Searched, VerdictState, spent_on
from optimize.confirm.caveats import caveats, limits_of, trial_caveats
from optimize.confirm.replicates import REPEAT, Variation, is_whole
from optimize.confirm.verdict import FAILED, SCALE_BOUND, Finalist, Verdict, surely_confirmed
from optimize.script.derived import same_run
from optimize.text import gain_text
from optimize.trial import TrialStatus, Value
from search_spaces import SearchSpace, SearchSpaceError
from storage import TrialRecord

LEVEL, QUANTILE = 0.9, 1.645  # of the intervals that views show: how many standard errors to each side
_NO_ENDING = (TrialStatus.CANCELLED, "")  # says nothing of a configuration

SCALE = 2  # times the budget of a check, which counts as so many trainings


class Key(NamedTuple):
    """Which training it is: of a trial's configuration, with which of the other seeds, from 1."""

    number: int
    seed: int
    scale: int = 1


class Ledger:
    """Everything that has ended so far, the first trial of each configuration standing for it."""

    def __init__(self, plan: Plan, variation: Variation, space: SearchSpace) -> None:
        """Take the study's plan, and what its child study may vary."""
        self._plan, self._variation, self._space = plan, variation, space
        self._stored, self._sign = plan.stored_space, plan.workload.metric.sign
        self._identity = same_run(plan.workload.derived, plan.constants, plan.workload.conditions)
        self._baseline = self._identity(plan.baseline)
        self._places: dict[object, int] = {}  # configuration -> index in `_searched`
        self._firsts: dict[int, int] = {}  # trial -> the first of its configuration
        self._searched: list[Searched] = []
        self._records: dict[int, TrialRecord] = {}  # of those that have a value
        self._repeats: dict[Key, Repeat] = {}  # in the order in which they began
        self._checks: dict[Key, Repeat] = {}
        self._doubts: dict[int, list[str]] = {}  # by trial, of its repeats

    @property
    def repeats(self) -> Collection[Repeat]:
        return self._repeats.values()

    def add_trial(self, record: TrialRecord) -> None:
        """Take a trial of the study that has ended. One that says nothing of its parameters is left aside."""
        mine = is_whole(record, self._plan.space) and not self._stored.why_not(record)
        if record.state not in ("COMPLETE", "PRUNED") or not mine:
            return
        value = record.value if record.state == "COMPLETE" else None
        identity = self._identity(self._plan.space.decode(record.params))
        found = Searched(record.number, value, record.status == TrialStatus.HOPELESS)
        place = self._places.setdefault(identity, len(self._searched))
        if place == len(self._searched):
            self._searched.append(found)
        elif self._searched[place].value is None and value is not None:
            self._searched[place] = found
        self._firsts[record.number] = self._searched[place].number
        if value is not None:
            self._records.setdefault(self._searched[place].number, record)

    def key_of(self, params: Mapping[str, Value]) -> Key | None:
        """Return which repeat a replicate is; None if it is none, or of a configuration that the study has not."""
        varied = self._variation
        seed = varied.seed.choices.index(params[varied.seed.name])
        usual = varied.split is None or params[varied.split.name] == varied.split.choices[0]
        scale = varied.scale(params)
        place = self._places.get(self._identity({name: params[name] for name in self._plan.space.names}))
        if not seed or not usual or scale not in (1, SCALE) or place is None:
            return None
        return Key(self._searched[place].number, seed, scale)

    def key_of_record(self, record: TrialRecord) -> Key | None:
        """Return which repeat a record is; None if it is none."""
        try:
            return self.key_of(self._space.decode(record.params))
        except (SearchSpaceError, KeyError, ValueError):  # another program put it there
            return None

    def params_of(self, key: Key) -> dict[str, Value]:
        """Return the parameters of a repeat, which are those of its replicate."""
        own = self._plan.space.decode(self._records[key.number].params)
        return self._variation.of(own, key.seed, scale=key.scale)

    def name_of(self, key: Key) -> str:
        """Return `trial 7, seed 43`."""
        larger = f", {self._larger()}" if key.scale > 1 else ""
        return f"{self.trial_of(key)}, seed {self._variation.seed.choices[key.seed]}{larger}"

    def trial_of(self, key: Key) -> str:
        """Return `trial 7`, or `the baseline`."""
        return "the baseline" if key.number == self._baseline_number() else f"trial {key.number}"

    @property
    def spent(self) -> int:
        """How many trainings of the search's plan they are; those of `optimize confirm` are none."""
        return spent_on(self.repeats) + self._aside()

    @property
    def done(self) -> int:
        """How many of those have ended."""
        ended = [
            each for each in (*self._repeats.values(), *self._checks.values()) if not each.running and not each.given
        ]
        return len(ended) + (SCALE - 1) * sum(each in ended for each in self._checks.values())

    def _aside(self) -> int:
        return SCALE * spent_on(self._checks.values())

    def begin(self, key: Key) -> None:
        """Take a training that is queued, or runs."""
        self._of(key)[key] = Repeat(key.number, key.seed, running=True)

    def drop(self, under_way: Collection[Key]) -> None:
        """Forget the trainings that have not ended and are not under way: somebody has removed them."""
        for kept in (self._repeats, self._checks):
            for key in [key for key, each in kept.items() if each.running and key not in under_way]:
                del kept[key]

    def _of(self, key: Key) -> dict[Key, Repeat]:
        return self._repeats if key.scale == 1 else self._checks

    def checks_of(self, number: int) -> Sequence[Key]:
        """Return the checks of a trial and of the baseline that were not begun yet; [] where there can be none."""
        if self._variation.budget is None:
            return []
        return [key for each in (self._baseline_number(), number) if (key := Key(each, 1, SCALE)) not in self._checks]

    def add_repeats(self, records: Iterable[TrialRecord], queued: Collection[Key]) -> None:
        """Take all replicates of earlier calls that have ended, by number, but for those that are `queued` again."""
        said: dict[Key, TrialRecord] = {}
        for record in records:
            key = self.key_of_record(record)
            if key is not None and (key not in said or said[key].state == "FAIL"):
                said[key] = record  # in its first place
        for key, record in said.items():
            if record.state != "FAIL" or key not in queued:
                self.add_repeat(record, again=False)

    def add_repeat(self, record: TrialRecord, again: bool) -> Key | None:
        """Take a replicate that has ended, and is tried `again` or not. Return which repeat it was; None if none."""
        key = self.key_of_record(record)
        if key is None or (record.state == "FAIL" and record.status in _NO_ENDING and not again):
            return None
        value = record.value if record.state == "COMPLETE" else None
        known = Repeat(key.number, key.seed, None if again else value, running=again, given=record.kind != REPEAT)
        self._of(key)[key] = known
        if not again:
            self._doubt(key, record)
        return key

    def campaign(self, searching: int, planned: int | None, slots: int, before: Verdict | None, over: bool) -> Campaign:
        """Return the campaign at this moment, after the verdict `before`; `searching` trials of the search have begun and count."""
        confirmed = (each.number for each in before.finalists if each.confirmed) if before is not None else ()
        return Campaign(
            self._baseline_number(),
            self._searched,
            [*self._repeats.values()],
            searching + self.spent,
            planned,
            slots,
            over,
            {self._firsts.get(number, number) for number in confirmed},
            self._sign,
            len(self._variation.seed.choices) - 1,
            {self._firsts.get(number, number) for number in surely_confirmed(before)},
            self._aside(),
        )

    def verdict(self, found: Decision, before: Verdict | None) -> Verdict | None:
        """Return what is known now, after the verdict `before`; None while nothing was repeated."""
        told = sorted((each for each in found.evidence if each.repeats or each.failed), key=_by_gain)
        finalists = tuple(map(self._finalist, told))
        earlier = {*before.repeated, *(each.number for each in before.finalists)} if before is not None else set()
        numbers = tuple(sorted({*earlier, *(each.number for each in finalists)}))
        sure = surely_confirmed(before)
        if found.why_none and self._repeats:
            line = f"{found.why_none} ({self._variation.seed.name}): repeating confirms nothing"
            return Verdict((), LEVEL, 0.0, 0.0, (line,), numbers, 0, sure, beside=True)
        if not finalists:
            return None
        error = next((each.error for each in told if each.error is not None), None)
        lines, floor = tuple(self._checked(finalists)), QUANTILE * (error or 0.0)
        return Verdict(finalists, LEVEL, found.noise or 0.0, floor, lines, numbers, found.freedom, sure, beside=True)

    def _checked(self, finalists: Iterable[Finalist]) -> Iterator[str]:
        """Say what confirmed trials gain at the larger budget. One that loses there has a doubt instead."""
        for each in finalists:
            gain = self._larger_gain(each.number)
            if each.confirmed and gain is not None and gain > 0:
                yield f"with {self._larger()} trial {each.number} gains {gain_text(gain)}, one seed"

    def _larger_gain(self, number: int) -> float | None:
        found = [self._checks.get(Key(each, 1, SCALE)) for each in (self._baseline_number(), number)]
        values = [each.value for each in found if each is not None and each.value is not None]
        return self._sign * (values[0] - values[1]) if len(values) == 2 else None

    def _larger(self) -> str:
        return f"{SCALE} x {self._variation.budget.name}" if self._variation.budget is not None else ""

    def _finalist(self, each: Evidence) -> Finalist:
        gain, half = each.gain or 0.0, QUANTILE * (each.error or 0.0)
        first = self._records.get(each.number)
        baseline = self._records.get(self._baseline_number())
        doubts = [*(trial_caveats(self._plan, first, baseline) if first else ()), *self._doubts.get(each.number, ())]
        larger = self._larger_gain(each.number)
        if larger is not None and larger <= 0:
            doubts.append(
                f"{SCALE_BOUND}: with {self._larger()} it loses to the baseline by {gain_text(-larger)}, one seed"
            )
        return Finalist(
            each.number,
            each.repeats,
            gain,
            gain - half,
            gain + half,
            each.state is VerdictState.CONFIRMED,
            each.state is VerdictState.LUCK,
            tuple(dict.fromkeys(doubts)),
        )

    def _doubt(self, key: Key, record: TrialRecord) -> None:
        doubts = self._doubts.setdefault(key.number, [])
        allowed = {name: key.scale * most for name, most in limits_of(self._plan).items()}
        if record.state == "COMPLETE":
            doubts += caveats(record, self._records.get(self._baseline_number()), allowed)
        else:
            what = self._larger() if key.scale > 1 else f"seed {self._variation.seed.choices[key.seed]}"
            doubts.append(f"{FAILED} with {what}: {record.status}")

    def _baseline_number(self) -> int:
        place = self._places.get(self._baseline)
        return -1 if place is None else self._searched[place].number


def _by_gain(each: Evidence) -> float:
    return -(each.gain or 0.0)
