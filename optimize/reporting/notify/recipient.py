"""One address to which messages go, in a thread of its own: one that hangs delays neither the study nor other addresses."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue

from optimize.reporting.notify.messages import Message

Deliver = Callable[[Message], str]
"""Sends a message; returns why that failed, "" if it did not. No word of it may come from the address."""


class Recipient:
    """Messages wait in a queue for the thread. What fails is a line, the first time; later messages are tried all the same."""

    def __init__(self, name: str, kind: str, deliver: Deliver, say: Callable[[str], None]) -> None:
        """`name` stands before its lines, which `say` takes in the thread; `kind` is the service, such as Slack."""
        self.name, self.kind = name, kind
        self._deliver, self._say, self._failed = deliver, say, False
        self._queue: SimpleQueue[Message | None] = SimpleQueue()
        # A daemon, so that a recipient that never answers does not keep the program from ending.
        self._thread = threading.Thread(target=self._work, name=f"notify {name}", daemon=True)
        self._thread.start()

    def send(self, message: Message) -> None:
        """Have it sent, and do not wait for that."""
        self._queue.put(message)

    def end(self) -> None:
        """Let the thread end when it has sent what waits."""
        self._queue.put(None)

    def wait(self, seconds: float) -> None:
        """Wait until the thread has ended, for as long at most, and say so if it has not."""
        self._thread.join(seconds)
        if self._thread.is_alive():
            self._fail("it has not answered yet, and is waited for no longer")

    def _work(self) -> None:
        while (message := self._queue.get()) is not None:
            try:
                why = self._deliver(message)
            except Exception as error:  # whatever it is: a study does not end for a message
                why = type(error).__name__  # whose text may quote the address
            if why:
                self._fail(why)

    def _fail(self, why: str) -> None:
        if not self._failed:
            self._failed = True
            self._say(f"{self.name}: a message was not delivered: {why}. The study goes on without it.")
