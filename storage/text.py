"""Makes text safe to stand in one line of a table, a message or a terminal.

It does not escape for HTML or Markdown.
"""

from __future__ import annotations

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


def encodable(text: str) -> str:
    """Return `text` with lone surrogates replaced: a log that was not valid UTF-8 can still be written."""
    return text.encode("utf-8", errors="replace").decode("utf-8")
