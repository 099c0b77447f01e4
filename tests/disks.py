"""Real disks that are small or may not be written to, and somebody who may not write everywhere."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_NOBODY = 65534
mounting = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="mounting a disk takes root on Linux"
)


@contextmanager
def small_disk(at: Path, size: str) -> Iterator[Path]:
    """An empty file system of `size`, such as 256k, in memory."""
    at.mkdir(exist_ok=True)
    with _mounted(at, "-t", "tmpfs", "-o", f"size={size}", "tmpfs"):
        yield at


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    with _mounted(folder, "--bind", str(folder)):
        subprocess.run(["mount", "-o", "remount,ro,bind", folder], check=True)
        yield


@contextmanager
def as_nobody() -> Iterator[None]:
    """Root may write anywhere. What Python imports meanwhile, it may not find: its own files may be root's alone."""
    if os.geteuid() != 0:
        yield
        return
    os.setegid(_NOBODY)
    os.seteuid(_NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


@contextmanager
def _mounted(at: Path, *words: str) -> Iterator[None]:
    if subprocess.run(["mount", *words, at], check=False).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", at], check=True)
