"""What commands print and open: messages on stderr, results on stdout, the database of the flags, one stored study.

`open_streams` makes stdout and stderr survive a full disk and a reader that has gone.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from optimize.errors import OptimizeError
from optimize.text import escaped

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer
    from rich.console import Console

    from optimize.study.stored import StoredStudy
    from storage import Database


CELL = 110  # columns of output that goes into a cell of a notebook
WIDE = 200  # columns of output that goes into a file or another program: one line for each trial


def say(line: str) -> None:
    """Print a line on stderr, its commands as they can be pasted here.

    It may quote a script's log, so control characters are shown as escapes.
    """
    if "`" in line:
        from optimize.reporting.hints import pasteable

        line = pasteable(line)
    print(escaped(line, keep="\t"), file=sys.stderr, flush=True)


def say_all(lines: Iterable[str]) -> None:
    """Print each line on stderr."""
    for line in lines:
        say(line)


def show_json(document: object) -> None:
    """Print one document on stdout for programs, in ASCII, so that no text of a script affects a terminal."""
    print(json.dumps(document, indent=2, allow_nan=False))


def open_console(stderr: bool = False) -> Console:
    """Open Rich's console on stdout, or on stderr.

    What a notebook's `!` starts has a terminal whose cursor cannot move, so that each state of a live view would stay.
    """
    from optimize.config.environment import in_notebook
    from optimize.reporting.console import OrderedConsole, WithoutPadding

    stream = sys.stderr if stderr else sys.stdout
    if in_notebook():
        return OrderedConsole(file=WithoutPadding(stream), highlight=False, width=CELL, force_terminal=False)
    if stream.isatty():
        return OrderedConsole(stderr=stderr, highlight=False)
    return OrderedConsole(file=WithoutPadding(stream), highlight=False, width=WIDE)


def is_asked() -> bool:
    """Tell whether a person can answer. A notebook's `!` has a terminal, at which nobody sits."""
    from optimize.config.environment import in_notebook

    return sys.stdin.isatty() and not in_notebook()


@contextmanager
def opened_database(
    storage: str | None, runs: Path, create: bool = False, read_only: bool = False
) -> Iterator[Database]:
    """Open the database of the flags, or of the environment; `read_only` that of a newer Optuna too, with a warning."""
    from optimize.config.environment import storage_url
    from storage import RunsPaths, open_database

    where = storage_url(storage) or RunsPaths(runs).database
    with closing(open_database(where, create=create, read_only=read_only)) as database:
        database.retry.say = say
        say_all(database.notices)
        yield database


@contextmanager
def opened_study(study: str | None, storage: str | None, runs: Path, read_only: bool = True) -> Iterator[StoredStudy]:
    """Open the study of the flags as it lies in the database, to be looked at unless `read_only` is False."""
    from optimize.study.stored import find_study

    with opened_database(storage, runs, read_only=read_only) as database:
        yield find_study(database, study or chosen_study(database), runs)


def chosen_study(database: Database, driven: bool = False) -> str | None:
    """Return which of several studies a command without --study is about, and say so; None where there is no choice."""
    from optimize.study.stored import present_study

    name, why = present_study(database, driven)
    say_all(filter(None, [why]))
    return name


def open_streams() -> None:
    """Replace stdout and stderr, unless they were replaced or closed before."""
    out, err = sys.__stdout__, sys.__stderr__
    if out is not None and sys.stdout is out:
        sys.stdout = _reopened(out, _Results)
    if err is not None and sys.stderr is err:
        sys.stderr = _reopened(err, _Progress)


class _Results(io.FileIO):
    """stdout: a failed write is an error of one line, once; a reader that has gone is no error."""

    _failed = False

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return _size(data) if self._failed else super().write(data)
        except OSError as error:
            self._failed = True  # Python tries again at its end, and would print a traceback
            if isinstance(error, BrokenPipeError):
                raise
            raise OptimizeError(
                f"stdout: cannot be written: {error.strerror}. Correct that, then repeat the command."
            ) from None


class _Progress(io.FileIO):
    """stderr: no study ends because its reader has gone or the disk of its log is full."""

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except OSError:
            return _size(data)


def _size(data: ReadableBuffer) -> int:
    return memoryview(data).nbytes


def _reopened(stream: TextIO, kind: type[io.FileIO]) -> TextIO:
    """Return the stream with writes of this kind; characters outside its encoding are shown as escapes."""
    stream.flush()
    raw = io.BufferedWriter(kind(stream.fileno(), "w", closefd=False))
    return io.TextIOWrapper(raw, stream.encoding, "backslashreplace", line_buffering=True)
