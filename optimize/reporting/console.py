"""The console of the terminal: what one thread prints comes out whole, before another thread prints.

Rich counts the lines of a live view when it renders them, and writes them later. If another thread writes in between, the
view moves up by the wrong number of lines, and wipes out the line of a trial.
"""

from __future__ import annotations

import re
import threading
from types import TracebackType
from typing import Any, TextIO

from rich.console import Console


class WithoutPadding:
    """A stream into a file or a pipe: of each line, the blanks at its end are left out, by which Rich fills boxes and columns."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write(re.sub(r"[ \t]+(?=\n)", "", text))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class OrderedConsole(Console):
    """A console on which each print, and each `with` block, is one step."""

    def __init__(self, **options: Any) -> None:
        self._turn = threading.RLock()
        super().__init__(**options)

    def __enter__(self) -> OrderedConsole:
        self._turn.acquire()
        super().__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        try:
            super().__exit__(kind, error, where)
        finally:
            self._turn.release()
