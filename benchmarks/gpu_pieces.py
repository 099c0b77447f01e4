"""What every piece of `gpu.py` gets: its sheet for figures, its sizes, its folder, and how much time is left."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

from gpu_figures import Sheet
from gpu_sizes import Sizes

NO_TIME = "no time was left for it: give more with --minutes"


def first_line(error: Exception) -> str:
    """Return the kind of an error and the first line of what it says."""
    said = str(error).strip().splitlines()
    return f"{type(error).__name__}: {said[0] if said else 'nothing more'}"[:300]


@dataclass(frozen=True)
class Work:
    """One piece's work, in a process of its own."""

    sheet: Sheet
    sizes: Sizes
    folder: Path  # its own; the folder above it is shared by all pieces
    until: float  # by time.time()
    upstream: Path | None = None

    @property
    def left_s(self) -> float:
        return self.until - time.time()


def alive(mark: Path) -> list[int]:
    """Return the processes that have this folder in their environment, but for this one and the one that started it."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if str(mark).encode() in (entry / "environ").read_bytes():
                found.append(int(entry.name))
    return sorted({*found} - {os.getpid(), os.getppid()})
