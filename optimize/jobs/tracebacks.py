"""Python tracebacks in a log: what was raised last, what that came from, and where.

Lines in, values out; what an exception means for a trial is `summary.py`'s.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_TRACEBACK = "Traceback (most recent call last)"
_CHAINED = re.compile(r"^(?:During handling of the above exception|The above exception was the direct cause)")
_RANK = re.compile(r"^\[rank\d+\]:\s?")  # torchrun
_BARE_ERROR = re.compile(r"^(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception)(?::|$)")
_FRAME = re.compile(r'^\s+File "([^"]+)", line \d+')


class Raised(NamedTuple):
    message: list[str]  # `SomeError: message`, and how it goes on
    file: str  # of the innermost frame
    source: str  # the line of code that raised


def exceptions(lines: list[str]) -> Iterator[Raised]:
    """The last exception, then those that it came from, back to the first of the chain."""
    starts = [i for i, line in enumerate(lines) if _TRACEBACK in line]
    if not starts and lines and (bare := [line for line in lines[-3:] if _BARE_ERROR.match(line)]):
        yield Raised(bare[-1:], "", "")  # a SyntaxError has no traceback
    end = len(lines)
    for start in reversed(starts):
        yield _raised(lines[start + 1 : end])
        end = start
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
    starts = [i for i, line in enumerate(lines) if _TRACEBACK in line]
    return lines[starts[-1] :] if starts else lines
