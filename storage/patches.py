"""Patches between a workload's own files and those that a trial ran: made when it ends, reverted when only the latter are left."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence

from storage.errors import StorageError

_NO_NEWLINE = "\\ No newline at end of file\n"
_HUNK = re.compile(r"@@ -\d+(?:,(?P<old>\d+))? \+(?P<start>\d+)(?:,(?P<new>\d+))? @@\n")


def make_patch(originals: Mapping[str, str], rendered: Mapping[str, str]) -> str:
    """Return what `patch -p1` turns the original files into the rendered ones with; "" if nothing changed."""
    return "".join(_diff(name, originals.get(name), text) for name, text in rendered.items())


def revert_patch(rendered: Mapping[str, str], patch: str) -> dict[str, str]:
    """Return the original files that `make_patch` compared with `rendered`. Raises StorageError if `patch` does not fit them."""
    lines, originals = _lines(patch), dict(rendered)
    at = next((at for at, line in enumerate(lines) if line.startswith("--- ")), len(lines))  # words may stand before it
    try:
        while at < len(lines):
            is_new, name = lines[at].startswith("--- /dev/null"), lines[at + 1][len("+++ b/") : -len("\t\n")]
            originals[name], at = _reverted(lines, at + 2, _lines(rendered[name]))
            if is_new:
                del originals[name]
    except (LookupError, ValueError):
        raise StorageError("the patch does not fit the files") from None
    return originals


def _reverted(patch: Sequence[str], at: int, after: Sequence[str]) -> tuple[str, int]:
    """Return the text that one file had before the hunks that begin at a line of the patch, and the line after them."""
    before: list[str] = []
    done = 0  # lines of `after`
    while at < len(patch) and (hunk := _HUNK.fullmatch(patch[at])):
        old, new = int(hunk["old"] or 1), int(hunk["new"] or 1)
        unchanged = after[done : int(hunk["start"]) - (new > 0)]  # a hunk without lines names the one before it
        before += unchanged
        done, at = done + len(unchanged), at + 1
        while old or new:
            (kind, line), at = _patch_line(patch, at)
            if kind in " +" and after[done] != line:
                raise ValueError(f"line {done}")
            before += [line] if kind in " -" else []
            done, old, new = done + (kind in " +"), old - (kind in " -"), new - (kind in " +")
    return "".join([*before, *after[done:]]), at


def _patch_line(patch: Sequence[str], at: int) -> tuple[tuple[str, str], int]:
    """Return whether a line of a hunk stands in the old file, the new one or both, the line, and where the next one is."""
    kind, line, at = patch[at][0], patch[at][1:], at + 1
    if at < len(patch) and patch[at] == _NO_NEWLINE:
        return (kind, line[:-1]), at + 1
    return (kind, line), at


def _diff(name: str, before: str | None, after: str) -> str:
    old_name = "/dev/null" if before is None else f"a/{name}"
    lines = difflib.unified_diff(_lines(before or ""), _lines(after), f"{old_name}\t", f"b/{name}\t")
    return "".join(line if line.endswith("\n") else f"{line}\n{_NO_NEWLINE}" for line in lines)


def _lines(text: str) -> list[str]:
    # Not splitlines(): it also breaks at form feeds and other marks that are no line ends to `patch`.
    parts = text.split("\n")
    return [part + "\n" for part in parts[:-1]] + ([parts[-1]] if parts[-1] else [])
