"""The byte order mark that some editors write before UTF-8: scripts are read and compared without it, and written with it."""

from __future__ import annotations

from collections.abc import Collection, Mapping

BOM = "\ufeff"


def with_boms(files: Mapping[str, str], marked: Collection[str]) -> dict[str, str]:
    """Return the files with the mark before those that had it."""
    return {file: BOM + text if file in marked else text for file, text in files.items()}


def without_boms(files: Mapping[str, str]) -> dict[str, str]:
    """Return the files without their marks."""
    return {file: text.removeprefix(BOM) for file, text in files.items()}
