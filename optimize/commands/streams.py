"""stdout and stderr as every command has them: no terminal, reader or disk behind them is met with a traceback.

What is said, and where, is not decided here.
"""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, TextIO

from optimize.errors import OptimizeError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


def open_streams() -> None:
    """This process's own two, unless somebody has replaced or closed them."""
    out, err = sys.__stdout__, sys.__stderr__
    if out is not None and sys.stdout is out:
        sys.stdout = _reopened(out, _Results)
    if err is not None and sys.stderr is err:
        sys.stderr = _reopened(err, _Progress)


class _Results(io.FileIO):
    """What does not arrive is an error of one line, once; a reader that wants no more is none."""

    _failed = False

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return _size(data) if self._failed else super().write(data)
        except OSError as error:
            self._failed = True  # Python tries again when it ends, and would say so in its own way
            if isinstance(error, BrokenPipeError):
                raise
            raise OptimizeError(f"stdout: cannot be written: {error.strerror}. Mend that, then say it again.") from None


class _Progress(io.FileIO):
    """No study ends because nobody listens any more, or because its log's disk is full."""

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except OSError:
            return _size(data)


def _size(data: ReadableBuffer) -> int:
    return memoryview(data).nbytes


def _reopened(stream: TextIO, kind: type[io.FileIO]) -> TextIO:
    """A character that a terminal has not, such as of a script's log, is shown as its number."""
    stream.flush()
    raw = io.BufferedWriter(kind(stream.fileno(), "w", closefd=False))
    return io.TextIOWrapper(raw, stream.encoding, "backslashreplace", line_buffering=True)
