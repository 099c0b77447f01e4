"""Markdown in which texts of scripts, machines and people are shown as they are and have no effect.

It writes spans, tables and blocks; `notes.py` decides what a note says.
"""

from __future__ import annotations

import re
import shlex
import textwrap
from collections.abc import Sequence

from optimize.text import visible, without_colours
from storage import one_line

GAP = "\u2003"  # between columns, which the dashboard sets close
_BREAK = "  \n"  # a line ends here, and the paragraph goes on
_ADDRESS = re.compile(r"\]\([^)]*\)")  # of a link: nobody sees it
# What has an effect within a line. A mark between letters, as in val_bpb, has none; a table sees to its own.
_MARKS = re.compile(r"(?<!\w)_|_(?!\w)|[\\`*\[\]<>~$&@]|:(?=//)|(?<=www)\.")
_END = 4_000  # characters of a log's end that are searched for its last lines


def words(text: str) -> str:
    """Return one line of text, in which nothing is Markdown, HTML or a link."""
    return _MARKS.sub(lambda found: f"\\{found[0]}", one_line(text, 1_000))


def code(text: str, limit: int = 200) -> str:
    """Return one line as a code span, in which nothing is Markdown, HTML or a link; "" for an empty text."""
    line = one_line(text, limit)
    if not line:
        return ""
    fence = _longer_than_any(line, 1)
    pad = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{pad}{line}{pad}{fence}"


def code_lines(text: str, limit: int, width: int) -> str:
    """Return a text as code spans, one below the other, of at most `width` characters each."""
    return _BREAK.join(code(line, limit) for line in textwrap.wrap(one_line(text, limit), width))


def folded(parts: Sequence[str], between: str, width: int) -> str:
    """Return Markdown's parts with a text between them, in lines of about `width` characters that can be seen."""
    lines: list[str] = []
    for part in parts:
        longer = f"{lines[-1]}{between}{part}" if lines else part
        if lines and len(_ADDRESS.sub("", longer)) > width:
            lines.append(part)
        else:
            lines[-1:] = [longer]
    return _BREAK.join(lines)


def table(head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """Return a table of cells that are Markdown already; the columns `right` are aligned to the right."""
    rules = ["--:" if i in right else ":--" for i in range(len(head))]
    cells = [[cell.replace("|", "\\|") + GAP for cell in row] for row in (head, *rows)]
    return "\n".join("| " + " | ".join(row) + " |" for row in (cells[0], rules, *cells[1:]))


def block(text: str, language: str = "") -> str:
    """Return a fenced block that no line of `text` can end."""
    fence = _longer_than_any(text, 3)
    return f"{fence}{language}\n{text}\n{fence}"


def folded_command(command: str, width: int) -> str:
    """Return a command in lines of about `width` characters, broken before flags, which a shell reads as the same."""
    lines: list[str] = []
    for part in re.split(r" (?=--)", command):
        if lines and (len(lines[-1]) + len(part) < width or not _is_whole(lines[-1])):
            lines[-1] += f" {part}"
        else:
            lines.append(f"  {part}" if lines else part)
    return " \\\n".join(lines)


def _is_whole(words: str) -> bool:
    """Return whether no quote is open at the end."""
    try:
        shlex.split(words)
    except ValueError:
        return False
    return True


def tail(log: str, lines: int, width: int) -> str:
    """Return the last lines of a log that are not empty, cut at `width` characters, without colours."""
    text = visible(without_colours(log[-_END:].replace("\t", "    ")))
    said = [line.rstrip() for line in text.split("\n") if line.strip()]
    return "\n".join(_cut(line, width) for line in said[-lines:])


def changed_lines(patch: str, characters: int, width: int) -> str:
    """Return the lines that a patch removes and adds, file by file, without their context.

    At most `characters` in all; each line is cut at `width` characters.
    """
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
