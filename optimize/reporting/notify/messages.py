"""The words of the messages: what happened, how sure that is, and the one command to give. Nothing is sent here."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from optimize.config.environment import NOTIFY_VARIABLE, STORAGE_VARIABLE
from optimize.config.plan import Plan
from optimize.confirm.table import verdict_line
from optimize.confirm.verdict import Verdict
from optimize.errors import OptimizeError, StudyAborted
from optimize.reporting.four_facts import FourFacts, four_facts
from optimize.reporting.hints import command_line, given_flags, pasteable, study_flags
from optimize.reporting.standing import Standing, read_standing
from optimize.study.stopping import STOPPED_BY
from optimize.study.stored import StoredStudy
from optimize.text import one_line
from search_spaces import SearchSpaceError
from storage import StorageError

LONGEST = 1000  # characters of a reason


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent: a title, and lines of plain text."""

    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Messages:
    """Words about one call that drives a study: `optimize run`, or with `confirming` `optimize confirm`."""

    plan: Plan
    stored: StoredStudy  # which `confirm` confirms
    flags: Mapping[str, object]  # of the call, that are not in its settings
    confirming: bool = False

    def confirmed(self, verdict: Verdict) -> Message:
        """Return that a trial is confirmed, while the study goes on."""
        assert verdict.winner is not None
        number = verdict.winner.number
        show = command_line("show", study_flags(self.plan.settings), number)
        return self._message(f"trial {number} is confirmed", self._verdict(verdict), f"All about it: {show}")

    def ended(self, reason: str) -> Message:
        """Return why the call ended, what was found, and what to do next."""
        standing = replace(read_standing(self.stored), running=False, confirming=False)
        facts = four_facts(standing)
        lines = [facts.won.answer, facts.sure.answer, facts.cost.answer]
        if self.confirming and (verdict := self.stored.verdict()):
            lines = [self._verdict(verdict), *lines]
        what = "confirmation: " if self.confirming else ""
        return self._message(f"{what}{reason}", *lines, *self._next(standing, facts, reason))

    def failed(self, error: Exception) -> Message:
        """Return that the call ended with an error."""
        why = _reason(error)
        what = "aborted" if isinstance(error, StudyAborted) else "ended by an error"
        # What aborts a study names the one command; an error of another kind may not.
        return self._message(what, pasteable(why), *([] if "`optimize " in why else [self._go_on()]))

    def _next(self, standing: Standing, facts: FourFacts, reason: str) -> Sequence[str]:
        if reason.startswith(STOPPED_BY) or not facts.commands:
            return [self._go_on()]
        if self.flags.get("confirm") and standing.best is not None and not standing.is_baseline:
            return ["Now the best trials are trained again with other seeds"]
        _, command = facts.commands[0]
        return [f"What next? {facts.next.answer}", command]

    def _go_on(self) -> str:
        flags = {**given_flags(self.plan.settings, search=not self.confirming), **self.flags}
        return f"To go on: {command_line('confirm' if self.confirming else 'run', flags)}"

    def _verdict(self, verdict: Verdict) -> str:
        line = verdict_line(verdict, self.plan.workload.metric)
        return f"{line[:1].upper()}{line[1:]}"

    def _message(self, title: str, *lines: str) -> Message:
        return Message(f"study {self.plan.settings.study}: {title}", "\n".join([*lines, self._place()]))

    def _place(self) -> str:
        """Where to give a command, and which variables it needs: by name, never with their values."""
        from_environment = self.plan.settings.origins.get("storage", "").startswith("environment")
        variables = [NOTIFY_VARIABLE, *([STORAGE_VARIABLE] if from_environment else [])]
        return f"(on {socket.gethostname()}, in {Path.cwd()}, with {' and '.join(variables)} set)"


def _reason(error: Exception) -> str:
    """What is sure to hold no secret: of a bug only its kind."""
    if isinstance(error, OptimizeError | SearchSpaceError):
        return one_line(next(iter(error.problems), type(error).__name__), LONGEST)
    if isinstance(error, StorageError):
        return one_line(str(error), LONGEST)
    return f"{type(error).__name__}: a bug of the program. Where it was started stands the traceback."
