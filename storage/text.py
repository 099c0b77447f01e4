"""Makes text safe to stand in one line of a table, a message or a terminal, or in a cell of a spreadsheet.

It does not escape for HTML or Markdown.
"""

from __future__ import annotations

import re
import unicodedata

_UNSAFE = {"Cc", "Cf", "Cs", "Zl", "Zp"}  # control, direction marks, lone surrogates, line and paragraph separators


def one_line(text: str, limit: int | None = 300) -> str:
    """Return `text` without control characters and line breaks, runs of space folded, cut at `limit` characters.

    None cuts nothing, for text that is read back.
    """
    limit = len(text) if limit is None else limit
    safe = text[: 4 * limit]
    if not safe.isprintable():
        safe = "".join(" " if unicodedata.category(mark) in _UNSAFE else mark for mark in safe)
    line = " ".join(safe.split())
    return line if len(line) <= limit else line[: limit - 3].rstrip() + "..."


def exact_line(text: str, limit: int) -> str:
    """Return `text` as it is, spaces at its ends included, where that is one line of at most `limit`; else `one_line`."""
    return text if text.isprintable() and len(text) <= limit else one_line(text, limit)


_FORMULA = re.compile(r"'*\s*[=+\-@\uff1d\uff0b\uff0d\uff20]")  # what spreadsheets compute; in Japan the wide ones too


def to_cell(text: str) -> str:
    """Return `text` as a spreadsheet shows it and never computes it: with a ' before what it would take for a formula.

    A number stays one. `from_cell` undoes it.
    """
    return f"'{text}" if _FORMULA.match(text) and not _is_number(text) else text


def from_cell(text: str) -> str:
    """Return the text that `to_cell` was given."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def encodable(text: str) -> str:
    """Return `text` with lone surrogates replaced: a log that was not valid UTF-8 can still be written."""
    return text.encode("utf-8", errors="replace").decode("utf-8")
