"""Messages to people who are away: a confirmed best, the verdict of `optimize confirm`, why a study ended.

`Notifier` decides when and how often, `messages.py` has the words, `delivery.py` sends. The addresses are those of the variable
OPTIMIZE_NOTIFY_URL. They hold secrets: nothing prints, stores or passes them on.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from optimize.config.environment import NOTIFY_VARIABLE, notify_urls
from optimize.config.plan import Plan
from optimize.confirm.verdict import Verdict, verdict_of
from optimize.reporting.notify.messages import Message, Messages
from optimize.reporting.notify.notified import MOST, Notified, notified_of
from optimize.reporting.notify.recipient import Recipient
from optimize.reporting.shown_study import ShownStudy
from optimize.study.callback import Callback
from storage import StorageError, TrialRecord

LAST_S = 10.0  # how long the end of a study waits for its message; a service gets 4 s to connect and 4 s to answer


def unfit_notify_urls() -> list[str]:
    """Return why the variable's addresses cannot be used, a line each, without any part of them that may be secret."""
    urls = notify_urls()
    if urls and find_spec("apprise") is None:
        return [
            f"{NOTIFY_VARIABLE}: apprise, the extra notify, is not installed here. Run `pip install 'apprise>=2.2,<3'`, "
            "or unset the variable."
        ]
    if not urls:
        return []
    from optimize.reporting.notify.delivery import unfit

    return unfit(urls)


def open_notifier(plan: Plan, shown: ShownStudy, flags: Mapping[str, object], confirming: bool = False) -> Notifier:
    """Open the callback that tells of a study of this plan; without addresses it does nothing.

    `flags` are those of the call that are not in the settings. With `confirming` the call is one of `optimize confirm`.
    """
    lines: deque[str] = deque()
    recipients: Sequence[Recipient] = ()
    if urls := notify_urls():
        from optimize.reporting.notify.delivery import open_recipients

        recipients = open_recipients(urls, lines.append)
        shown.say(f"{NOTIFY_VARIABLE}: messages go to {', '.join(recipient.kind for recipient in recipients)}")
    return Notifier(shown, Messages(plan, shown.stored, flags, confirming), recipients, lines)


class Notifier(Callback):
    """Tell of one study while a call drives it: its confirmed trials as they are found, and why the call ended.

    It hears of a verdict by looking at the study, whoever wrote it. A call that confirms tells it once, at its end.
    """

    def __init__(
        self,
        shown: ShownStudy,
        messages: Messages,
        recipients: Sequence[Recipient],
        lines: deque[str],
        clock: Callable[[], float] = time.time,
        last_s: float = LAST_S,
    ) -> None:
        """`lines` are those of the recipients' threads; they are said in the loop's, between lines of the live view."""
        self._shown, self._messages, self._recipients, self._lines = shown, messages, recipients, lines
        self._clock, self._last_s = clock, last_s
        self._changed = not messages.confirming  # what an earlier call found, and was killed before it told
        self._full = False

    def on_trial_end(self, record: TrialRecord) -> None:
        self._changed = not self._messages.confirming

    def on_verdict(self, verdict: Verdict) -> None:
        """A repeat beside the search ended, which is no trial of it."""
        self._changed = not self._messages.confirming

    def on_tick(self) -> None:
        """Look at the verdict after each trial. The database has other ways to say that it is lost."""
        if self._changed and self._recipients:
            self._changed = False
            self._whatever_happens(self._tell_confirmed)
        self._say_lines()

    def follow(self, work: Callable[[], str], goes_on: Callable[[str], bool]) -> str:
        """Do the work of the call, which returns why it ended; tell that, unless the study `goes_on`. Raises what it raises."""
        try:
            reason = work()
        except Exception as error:
            failed = error
            self._whatever_happens(lambda: self._tell_end(lambda: self._messages.failed(failed)))
            raise
        if not goes_on(reason):
            self._whatever_happens(lambda: self._tell_end(lambda: self._messages.ended(reason)))
        return reason

    def close(self) -> None:
        """Wait for the last messages, but not for long. The study is no longer held."""
        for recipient in self._recipients:
            recipient.end()
        until = time.monotonic() + self._last_s
        for recipient in self._recipients:
            recipient.wait(max(0.0, until - time.monotonic()))
        self._say_lines()

    def _say_lines(self) -> None:
        while self._lines:
            self._shown.say(self._lines.popleft())

    def _whatever_happens(self, tell: Callable[[], None]) -> None:
        """No study ends for a message. Where the database is lost, others say so."""
        try:
            tell()
        except StorageError:
            return
        except Exception as error:
            self._shown.say(f"{NOTIFY_VARIABLE}: a message could not be made: {type(error).__name__}")

    def _tell_confirmed(self) -> None:
        attrs = self._attrs()
        verdict, told = verdict_of(attrs), notified_of(attrs)
        if verdict is None or verdict.winner is None or verdict.winner.number in told.confirmed:
            return
        if self._has_room(told, is_end=False):
            self._keep(told, verdict.winner.number)
            self._send(self._messages.confirmed(verdict))

    def _tell_end(self, words: Callable[[], Message]) -> None:
        if not self._recipients or not self._is_ours():
            return
        try:
            attrs = self._attrs()
        except StorageError:  # which may be why it ends
            self._send(words())
            return
        verdict, told = verdict_of(attrs), notified_of(attrs)
        winner = verdict.winner if verdict is not None and self._messages.confirming else None
        if self._has_room(told, is_end=True):
            message = words()
            self._keep(told, winner.number if winner is not None else None)
            self._send(message)

    def _has_room(self, told: Notified, is_end: bool) -> bool:
        room = told.has_room(self._clock(), is_end)
        if not room and not self._full:
            self._full = True
            self._shown.say(f"{NOTIFY_VARIABLE}: {MOST} messages in 24 hours are enough: no more for now")
        return room

    def _keep(self, told: Notified, confirmed: int | None) -> None:
        """Note a message before it is sent. Killed between the two, one is missing: better than one that comes again and again."""
        stored = self._shown.stored
        for name, value in told.with_message(self._clock(), confirmed).attrs().items():
            stored.database.set_study_attr(stored.study_id, name, value)

    def _send(self, message: Message) -> None:
        for recipient in self._recipients:
            recipient.send(message)

    def _attrs(self) -> Mapping[str, Any]:
        return self._shown.stored.database.study_attrs(self._shown.stored.study_id)

    def _is_ours(self) -> bool:
        try:
            return self._shown.is_ours()
        except StorageError:
            return True  # nobody can have taken over what nobody can open
