"""The tracebacks at the end of a log: which exception ended the script, and where it was raised.

It reads lines and knows no cause of death; `diagnosis.py` decides what an exception means.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

_TRACEBACK = "Traceback (most recent call last)"
_CHAINED = re.compile(r"^(?:During handling of the above exception|The above exception was the direct cause)")
_RANK = re.compile(r"^\[(?:rank|default)\d+\]:\s?")  # torchrun
_SECOND_HAND = re.compile(
    r"^(?:[\w.]+\.)?ChildFailedError\b"
)  # torchrun again: the child's own traceback stands before it
_BARE_ERROR = re.compile(r"^(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception)(?::|$)")
_FRAME = re.compile(r'^\s+File "([^"]+)", line \d+')


class Raised(NamedTuple):
    """One exception of a traceback."""

    message: list[str]  # `SomeError: message`, and how it goes on
    file: str  # of the innermost frame
    source: str  # the line of code that raised


def exceptions(lines: list[str]) -> Iterator[Raised]:
    """Yield the last exception of a log, then those that it came from, back to the first of the chain."""
    starts = [i for i, line in enumerate(lines) if _TRACEBACK in line]
    if not starts and lines and (bare := [line for line in lines[-3:] if _BARE_ERROR.match(line)]):
        yield Raised(bare[-1:], "", "")  # a SyntaxError has no traceback
    end = len(lines)
    for start in reversed(starts):
        error = _raised(lines[start + 1 : end])
        yield error
        end = start
        if error.message and _SECOND_HAND.match(error.message[0]):
            continue
        if not any(_CHAINED.match(_RANK.sub("", line)) for line in lines[max(start - 3, 0) : start]):
            return


def _raised(lines: list[str]) -> Raised:
    body = [_RANK.sub("", line) for line in lines]
    frames = [i for i, line in enumerate(body) if _FRAME.match(line)]
    first = next((i for i in range(len(body)) if not body[i].startswith(" ")), len(body))
    message = [line for line in body[first : first + 12] if not _CHAINED.match(line)]
    inner = [i for i in frames if i < first]
    file = _FRAME.match(body[inner[-1]])[1] if inner else ""  # type: ignore[index]
    source = body[inner[-1] + 1].strip() if inner and inner[-1] + 1 < first else ""
    return Raised(message, file, source)


def after_last_traceback(lines: list[str]) -> list[str]:
    """Return the lines from the last traceback on, all of them if there is none."""
    starts = [i for i, line in enumerate(lines) if _TRACEBACK in line]
    return lines[starts[-1] :] if starts else lines


def after_last_progress(lines: list[str], is_progress: Callable[[str], bool]) -> list[str]:
    """Return the lines that no progress line follows. What stands there may have ended the script; the rest did not.

    A progress line that has no end of its own may have the last words on it: they are the first of these lines. So is a
    loss that is no number.
    """
    within = _within_tracebacks(lines)
    for i in range(len(lines) - 1, -1, -1):
        line = _RANK.sub("", lines[i])
        if i not in within and is_progress(line):
            words = _on_progress_line(line)
            return ([words] if words else []) + lines[i + 1 :]
    return lines


def _within_tracebacks(lines: list[str]) -> set[int]:
    """Which lines are frames, source, the first line of a message, or what follows a link of a chain.

    A loose progress regex matches some of those as well, and between the links only another thread can have printed one.
    """
    within: set[int] = set()
    inside = False
    for i, line in enumerate(lines):
        bare = _RANK.sub("", line)
        if inside:
            within.add(i)
        inside = (inside and bare.startswith(" ")) or _TRACEBACK in line or bool(_CHAINED.match(bare))
    return within


_LAST_FIELD = re.compile(r"\bremaining:?\s*[-+\d.,]+\s*s\b\s*", re.IGNORECASE | re.ASCII)

_LOST = re.compile(r"(?:\b|_)loss\b[:=\s]*[-+]?(?:nan|inf)\b", re.IGNORECASE)


def _on_progress_line(line: str) -> str:
    if (at := line.find(_TRACEBACK)) >= 0:
        return line[at:]
    if (fields := list(_LAST_FIELD.finditer(line))) and (words := line[fields[-1].end() :]):
        return words
    if lost := _LOST.search(line):
        return lost[0]
    return "FAIL" if line.endswith(" FAIL") else ""
