"""Tells on which kind of file system a path lies, because SQLite's WAL needs shared memory that network mounts lack.

Linux only (/proc/self/mounts); elsewhere every disk counts as local.
"""

from __future__ import annotations

import re
from pathlib import Path

_MOUNTS = Path("/proc/self/mounts")
_SHARED = re.compile(r"nfs\d?|cifs|smb\d?|smbfs|9p|fuse(blk|\..+)?|afs|ceph|lustre|beegfs|gpfs|virtiofs|vboxsf|prl_fs")


def without_wal(path: Path, mounts: str | None = None) -> str | None:
    """The name of the file system at `path` if WAL is not safe there, else None."""
    kind = filesystem_of(path, _read(_MOUNTS) if mounts is None else mounts)
    return kind if _SHARED.fullmatch(kind) else None


def filesystem_of(path: Path, mounts: str) -> str:
    """The type of the innermost mount that holds `path`; of two mounts on one point the later one hides the earlier."""
    path = path.absolute().resolve()
    found, kind = Path("/"), ""
    for line in mounts.splitlines():
        point, type_ = line.split(" ")[1:3]
        folder = Path(_unescaped(point))
        if path.is_relative_to(folder) and folder.is_relative_to(found):
            found, kind = folder, type_
    return kind


def _unescaped(point: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), point)  # a space is \040


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="surrogateescape")
    except OSError:
        return ""
