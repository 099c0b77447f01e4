"""A language model that proposes a share of the trials. It is asked ahead of need: the driver never waits for it.

Only the driver's thread uses an Advisor. Requests run in threads of their own that see values, never the study; the sampler
judges the proposals that come back. A model that is dead, slow or useless costs one line. `open_advisor` makes the plan's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import ceil
from queue import Empty, SimpleQueue
from threading import Thread

from optimize.advisor.answer import MOST, Proposal, params_of, read_proposals
from optimize.advisor.client import Answer, Endpoint, EndpointError, Message
from optimize.advisor.prompt import VERSION, Brief, StudyView, render_question
from optimize.advisor.usage import ADVISOR, Spent, is_proposal
from optimize.config.environment import advisor_key
from optimize.config.plan import Plan
from optimize.trial import Value
from search_spaces import SearchSpaceError
from storage import TrialRecord

WhyNot = Callable[[Mapping[str, Value]], str]
"""Returns why parameters cannot be proposed, "" if they can."""

REST_S = 30.0  # after a failure; twice as long after each further one in a row
MOST_FAILURES = 5  # in a row
MOST_OWED = 3.0  # proposals: a model that was silent makes up for part of what it missed, never all at once
FRESH = 4  # trials that may end before a new question is asked
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of a request: proposals as the model wrote them, or why there are none."""

    answer: Answer = field(default_factory=lambda: Answer(""))
    proposals: Sequence[Proposal] = ()
    failure: str = ""
    final: bool = False  # asking again will not help


@dataclass(frozen=True, slots=True)
class _Request:
    thread: Thread
    box: SimpleQueue[Reply]
    began: float


class Advisor:
    """Decide whose turn it is to propose, keep the proposals that are ready, and ask for more in time.

    `say` takes the one line about a model that fails. `rest_s` is the pause after a failure, in seconds.
    """

    def __init__(
        self, brief: Brief, endpoint: Endpoint, share: float, say: Callable[[str], None], rest_s: float = REST_S
    ) -> None:
        self._brief, self._endpoint, self._share, self._say, self._rest_s = brief, endpoint, share, say, rest_s
        self.spent = Spent(endpoint.model, VERSION)
        self._owed = 0.0  # of proposals
        self._ready: list[dict[str, Value]] = []
        self._refused: list[tuple[Proposal, str]] = []  # told to the model once
        self._request: _Request | None = None
        self._late: Thread | None = None  # of a request that was given up
        self._failures = 0  # in a row
        self._rests_until = 0.0
        self._asked_at = 0  # endings, when the last question was asked
        self._warned = self._warned_of_row = False

    @property
    def model(self) -> str:
        """Return the model's name."""
        return self._endpoint.model

    def resume(self, records: Iterable[TrialRecord], spent: Spent) -> None:
        """Go on where earlier calls left off: the share counts all proposals of the study."""
        self.spent = replace(spent, model=self.model, prompt=VERSION, off="")
        for record in sorted(records, key=lambda record: record.number):
            if is_proposal(record):
                self.proposed(record.kind)

    def proposed(self, kind: str) -> None:
        """Count a proposal of the advisor or of the sampler that has become a trial."""
        self._owed = min(self._owed + self._share, MOST_OWED) - (kind == ADVISOR)

    def advise(self, why_not: WhyNot) -> dict[str, Value] | None:
        """Return the model's proposal if it is its turn and one is ready; else None."""
        self._collect(why_not)
        while self._is_due(1) and self._ready:
            params = self._ready.pop(0)
            if not why_not(params):  # it may have been tried meanwhile
                return params
        return None

    def look_ahead(self, endings: int, running: int, view: Callable[[], StudyView]) -> None:
        """Start the next request if advice will be due soon. `endings` counts the trials that have ended so far."""
        soon, stale = running + 1, endings - self._asked_at > FRESH
        if not endings or not self._is_due(soon) or (self._ready and not stale) or self._request or self.spent.off:
            return
        if time.monotonic() < self._rests_until:
            return
        if self._late and self._late.is_alive():
            self._fail("no answer in time")
            return
        self._asked_at = endings
        self._begin(view(), min(MOST, 1 + ceil(self._owed + self._share * soon)))

    def _is_due(self, further: int) -> bool:
        """Whether it is the model's turn within so many further proposals."""
        return self._owed + self._share * further >= 1 - _ROUNDING

    def _begin(self, view: StudyView, wanted: int) -> None:
        box: SimpleQueue[Reply] = SimpleQueue()
        refused, self._refused = self._refused, []
        brief, endpoint = self._brief, self._endpoint

        def work() -> None:
            box.put(_ask(endpoint, render_question(brief, view, wanted, refused)))

        thread = Thread(target=work, name="advice", daemon=True)  # nobody waits for it, not even when the study ends
        try:
            thread.start()
        except RuntimeError:  # the machine allows no more of them
            self._fail("no thread can be started to ask it")
        else:
            self._request = _Request(thread, box, time.monotonic())

    def _collect(self, why_not: WhyNot) -> None:
        """Take the reply to the present request, if it has come by now."""
        request = self._request
        if request is None:
            return
        try:
            reply = request.box.get_nowait()
        except Empty:
            if time.monotonic() - request.began < 1.5 * self._endpoint.total_s:
                return
            self._late, reply = request.thread, Reply(failure="no answer in time")
        self._request = None
        self._take(reply, why_not)

    def _take(self, reply: Reply, why_not: WhyNot) -> None:
        fitting, seen = [], self.spent
        for proposal in reply.proposals:
            params, why = self._judge(proposal, why_not)
            if why:
                self._refused.append((proposal, why))
            elif params not in fitting:
                fitting.append(params)
        self.spent = replace(
            seen,
            requests=seen.requests + 1,
            proposals=seen.proposals + len(reply.proposals),
            refused=seen.refused + len(self._refused),
            tokens_in=seen.tokens_in + reply.answer.tokens_in,
            tokens_out=seen.tokens_out + reply.answer.tokens_out,
        )
        if fitting:
            self._ready, self._failures, self._warned_of_row = fitting, 0, False
            return
        self.spent = replace(self.spent, failures=self.spent.failures + 1)
        if self._refused and not self._failures:
            self._failures = 1  # told why, it may propose better: it is asked again at once, and no line is said
        else:
            self._fail(reply.failure or "none of its proposals can be tried", reply.final)

    def _judge(self, proposal: Proposal, why_not: WhyNot) -> tuple[dict[str, Value], str]:
        try:
            params = params_of(proposal, self._brief.space, self._brief.baseline)
            return params, why_not(params)
        except SearchSpaceError as error:
            return {}, " ".join(error.problems)

    def _fail(self, why: str, final: bool = False) -> None:
        self._failures += 1
        self._rests_until = time.monotonic() + self._rest_s * 2 ** (self._failures - 1)
        if final or self._failures >= MOST_FAILURES:
            self.spent = replace(
                self.spent, off=why if final else f"{self._failures} failures in a row, the last: {why}"
            )
        if not self._warned or (self.spent.off and not self._warned_of_row):
            then = (
                "It is not asked again."
                if self.spent.off
                else f"Asked again later; not after {MOST_FAILURES} failures in a row."
            )
            self._say(f"advice: {self._endpoint}: {why}. The sampler proposes instead. {then}")
            self._warned = self._warned_of_row = True


def _ask(endpoint: Endpoint, question: Sequence[Message]) -> Reply:
    """Ask, and read the answer; in the request's thread."""
    try:
        answer = endpoint.ask(question)
        proposals = read_proposals(answer.text)
    except EndpointError as error:
        return Reply(failure=error.why, final=error.final)
    except Exception as error:  # of a library; its words may repeat a key
        return Reply(failure=f"{type(error).__name__}")
    failure = "" if proposals else "its answer holds no JSON object"
    return Reply(answer, proposals, failure)


def open_advisor(plan: Plan, say: Callable[[str], None]) -> Advisor | None:
    """Open the plan's advisor; None if it has none. Nothing is asked yet."""
    settings = plan.settings
    if not settings.advisor:
        return None
    endpoint = Endpoint(settings.advisor_url, settings.advisor, advisor_key())
    say(f"advice: {settings.advisor_share:.0%} of the proposals come from {endpoint}, as far as they are valid")
    return Advisor(brief_of(plan), endpoint, settings.advisor_share, say)


def brief_of(plan: Plan) -> Brief:
    """Collect what every question of this study begins with."""
    space = plan.space
    ruled = sorted({name for rule in space.rules for name in rule.expression.names} - set(space.names))
    constants = {name: plan.constants[name] for name in ruled}
    return Brief(plan.workload.metric, space, plan.baseline, constants, plan.workload.comments(space.names))
