"""A file of text from a stranger, read whole but within bounds: as rows of a table, as lines, as settings in a sentence.

Each of its troubles is one line that names the file. Nothing of it is believed, and what it means is not decided here.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from math import isfinite
from pathlib import Path

from optimize.errors import SettingsError
from search_spaces import SearchSpaceError, parse_expression
from storage import one_line

MAX_BYTES = 50_000_000  # about 100,000 trials of 20 parameters
LONGEST = 2_000  # characters of a description
_VALUE = r"""\([^()]*\)|"[^"]*"|'[^']*'|[^\s,;()]+"""
# `DEPTH=6`, `DEPTH: 6`, and what our own results.tsv says: `DEPTH 4 -> 6`
_SETTING = re.compile(rf"\b([A-Z][A-Z0-9_]*)\s*(?:[=:]\s*({_VALUE})|\s(?:{_VALUE})\s*(?:->|→)\s*({_VALUE}))")


def read_text(source: str, what: str, hint: str = "") -> str:
    """The whole file. `what` begins every message, such as `--from ./results.tsv`. Raises SettingsError."""
    path = Path(source)
    try:
        path = path.expanduser()
        if not path.is_file():  # a pipe would block for ever
            how = "is not a file" if path.exists() else "does not exist"
            raise SettingsError(f"{what}: {how}. Check the path{hint}.")
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except (OSError, RuntimeError, ValueError) as error:
        why = getattr(error, "strerror", None) or "not a path"
        raise SettingsError(f"{one_line(what, 200)}: cannot be read: {why}. Check the path.") from None
    if len(raw) > MAX_BYTES:
        raise SettingsError(f"{what}: larger than {MAX_BYTES // 10**6} MB. Cut it down.")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SettingsError(f"{what}: byte {error.start} is not UTF-8. Save it as UTF-8 text.") from None


def table_rows(text: str, what: str) -> Iterator[tuple[int, list[str]]]:
    """(line, cells) of every line that is not empty; tabs separate where the first of them has one."""
    lines = io.StringIO(text, newline="")
    tabs = "\t" in next(filter(str.strip, lines), "")
    lines.seek(0)
    reader = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE) if tabs else csv.reader(lines, strict=True)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield reader.line_num, cells
    except csv.Error as error:
        raise SettingsError(
            f"{what}: line {reader.line_num} is no line of a table: {error}. Save it as CSV or TSV."
        ) from None


def settings_in(story: str) -> dict[str, str]:
    """What a sentence sets: `DEPTH=6`, `DEPTH: 6`, `DEPTH 4 -> 6`; the values as they stand there."""
    found = _SETTING.findall(story[:LONGEST])
    return {name: (one or other).rstrip(".") for name, one, other in found}


def number_in(text: str) -> int | float | tuple[object, ...] | None:
    """A finite number, a product or power of numbers such as `2**17`, or a tuple of them; None for anything else."""
    for kind in (int, float):
        try:
            value: int | float = kind(text)
            return value if isfinite(value) else None
        except (ValueError, OverflowError):
            continue
    try:
        found = parse_expression(text).evaluate({})
    except SearchSpaceError:
        return None
    return found if isinstance(found, int | float | tuple) and not isinstance(found, bool) else None
