"""Texts of scripts, machines and people made safe to stand in Markdown: they are shown as they are and do nothing.

It writes spans, cells and blocks; what a note says is not decided here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from optimize.text import visible
from storage import one_line

_ANSI = re.compile(r"\x1b\[[0-9;:?]*[ -/]*[@-~]")  # colours and cursor movements
GAP = "\u2003"  # between columns, which the dashboard sets close
_LOOKED_AT = 4_000  # characters of a log, from its end


def code(text: str, limit: int = 200) -> str:
    """One line as a code span, in which nothing is Markdown, HTML or a link. "" if there is nothing to show."""
    line = one_line(text, limit)
    if not line:
        return ""
    fence = _longer_than_any(line, 1)
    pad = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{pad}{line}{pad}{fence}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """Cells are Markdown already; columns of numbers stand to the `right`."""
    rules = ["--:" if i in right else ":--" for i in range(len(head))]
    cells = [[cell.replace("|", "\\|") + GAP for cell in row] for row in (head, *rows)]
    return "\n".join("| " + " | ".join(row) + " |" for row in (cells[0], rules, *cells[1:]))


def block(text: str, language: str = "") -> str:
    """A fenced block that no line of `text` can end."""
    fence = _longer_than_any(text, 3)
    return f"{fence}{language}\n{text}\n{fence}"


def tail(log: str, lines: int, width: int) -> str:
    """The last lines of a log that say something, cut at `width`, without colours."""
    text = visible(_ANSI.sub("", log[-_LOOKED_AT:].replace("\t", "    ")))
    said = [line.rstrip() for line in text.split("\n") if line.strip()]
    return "\n".join(_cut(line, width) for line in said[-lines:])


def changed_lines(patch: str, characters: int, width: int) -> str:
    """What a patch takes away and adds, file by file, without what stands around it."""
    kept: list[str] = []
    lines = [line for line in visible(patch.replace("\t", "    ")).split("\n") if line[:1] in ("+", "-")]
    for number, line in enumerate(lines):
        line = _cut(line.rstrip(), width)
        if sum(map(len, kept)) + len(kept) + len(line) > characters:
            return "\n".join([*kept, f"# lines left out: {len(lines) - number}, see train.patch"])
        kept.append(line)
    return "\n".join(kept)


def _cut(line: str, width: int) -> str:
    return line if len(line) <= width else line[: width - 1] + "…"


def _longer_than_any(text: str, least: int) -> str:
    return "`" * max(least, 1 + max(map(len, re.findall("`+", text)), default=0))
