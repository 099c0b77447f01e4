"""Tells errors that a user can cause from bugs, and gives their lines."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from optimize.commands.terminal import say
from optimize.errors import OptimizeError

if TYPE_CHECKING:
    from optimize.reporting.events import EventsFile

_NOT_OURS = frozenset(
    {errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC}
)


def problems_of(error: Exception) -> Iterable[str] | None:
    """Return the lines of an error that a user can cause; None for a bug."""
    from search_spaces import SearchSpaceError
    from storage import StorageError

    if isinstance(error, OSError) and error.errno in _NOT_OURS and error.filename is not None:
        return [f"{error.filename}: {error.strerror}. Check the path, and your rights there."]
    if isinstance(error, OptimizeError | SearchSpaceError):
        return error.problems
    return [str(error)] if isinstance(error, StorageError) else None


def opened_events(path: Path | None) -> AbstractContextManager[EventsFile | None]:
    """Open the file of --events, if it is given; its last line will have the exit code, and these lines of an error."""
    from contextlib import nullcontext

    if path is None:
        return nullcontext()
    from optimize.reporting.events import opened_events as opened

    return opened(path, say, problems_of)
