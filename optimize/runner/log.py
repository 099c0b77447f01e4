"""A log file that never grows past its limit: it keeps its head and its tail, and marks the cut between them.

The file can be read at any moment, also after a kill -9 of its writer. This module does not know what is written in it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path

MOST_MB = 1e6  # a larger limit, such as inf, counts as this
MIN_BYTES = 256_000  # below this a traceback and a summary might not fit
SPILL_BYTES = 256_000  # kept in memory once the disk takes no more
RECORD_BYTES = 8_000  # of those, for the exit record
_COPY_BYTES = 1 << 20
_MARK = "\n\n[... {:>15,} bytes cut ...]\n\n"  # of constant width, so that it can be rewritten in place
_MARK_BYTES = len(_MARK.format(0))


class BoundedLog:
    """A file of at most `limit_mb`, in MB of 10**6 bytes. While it is open, nobody else gets its lock."""

    def __init__(self, path: Path, limit_mb: float) -> None:
        limit = max(int(min(limit_mb, MOST_MB) * 1e6), MIN_BYTES)
        self._head = limit // 4
        self._tail = (limit - self._head - _MARK_BYTES) // 2  # the file holds up to two tails
        self._size = 0
        self._cut = 0
        self._error, self._spill = b"", bytearray()
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def write(self, data: bytes) -> None:
        """Append the data. Never raises: a full disk must not end the process that watches the trial."""
        if not self._error:
            try:
                self._append(data)
                return
            except OSError as error:
                self._error = f"\n[... not all of the rest could be written: {error.strerror} ...]\n".encode()
                with contextlib.suppress(OSError):
                    os.ftruncate(self._file, self._size)  # a part that fitted is in `data` as well
        self._spill += data
        del self._spill[:-SPILL_BYTES]

    def _append(self, data: bytes) -> None:
        _write_at(self._file, data, self._size)
        self._size += len(data)
        if self._size > self._head + _MARK_BYTES + 2 * self._tail:
            self._drop_middle()

    def _drop_middle(self) -> None:
        """Move the tail down behind the head. The copy ends before the tail begins, so that a kill in between loses nothing."""
        start, end = self._size - self._tail, self._head + _MARK_BYTES
        self._cut += start - (end if self._cut else self._head)
        _write_at(self._file, _MARK.format(self._cut).encode(), self._head)
        for offset in range(0, self._tail, _COPY_BYTES):
            piece = os.pread(self._file, min(_COPY_BYTES, self._tail - offset), start + offset)
            _write_at(self._file, piece, end + offset)
        self._size = end + self._tail
        os.ftruncate(self._file, self._size)

    def text(self) -> str:
        """Return what is kept as text, also if somebody has deleted the file."""
        kept = os.pread(self._file, self._size, 0) + self._error + self._spill
        return kept.decode("utf-8", "replace")

    def unwritten(self) -> str:
        """Return the end of what is kept in memory only, "" if the disk took everything."""
        return (self._error + self._spill[-RECORD_BYTES:]).decode("utf-8", "replace")

    def close(self) -> None:
        """Release the file and its lock."""
        os.close(self._file)


def wait_until_closed(path: Path, wait_s: float) -> bool:
    """Wait for the writer of this log, in whatever process, to close it or to die. Return False at the time-out."""
    deadline = time.monotonic() + wait_s
    with path.open("rb") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return True
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    return False
                time.sleep(0.02)
            except OSError:  # a file system without locks
                return True


def _write_at(file: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(file, view, offset)
        view, offset = view[written:], offset + written
