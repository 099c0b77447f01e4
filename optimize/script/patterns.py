"""Regular expressions that people write in workload.toml: checked before they are let loose on every line of a log.

On forty characters a regex may take longer than the universe lasts. Its text does not show that, so it is tried on lines that
such ones fail on, each a little longer than the one before, and refused as soon as one costs too much.
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Iterator

from optimize.jobs.hearing import LINE_CHARS

MAX_CHARS = 200
MAX_S = 0.05  # of processor time on one line; a sound one takes some millionths


def mistake(text: str, groups: Collection[str] | None) -> str:
    """What is wrong with the regex, with advice; empty if nothing is. `groups`: the names it may use; None: one, without name."""
    if not text or len(text) > MAX_CHARS or "\n" in text:
        return f"is not one line of 1 to {MAX_CHARS} characters. Shorten it."
    try:
        regex = re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        return f"is no regular expression: {error}. Correct it."
    if problem := _bad_groups(regex, groups):
        return problem
    if is_slow(regex):
        return "takes too long on a line that it does not match. Repeat nothing that repeats itself, as in (a+)+."
    return ""


def _bad_groups(regex: re.Pattern[str], groups: Collection[str] | None) -> str:
    named = sorted(regex.groupindex)
    if groups is None:
        if regex.groups == 1:
            return ""
        return f"has {regex.groups or 'no'} groups. Put the value, and nothing else, in one: val loss ([0-9.]+)."
    if foreign := [name for name in named if name not in groups]:
        return f"has the group {', '.join(foreign)}. Known are {', '.join(groups)}."
    return "" if named else f"has no named group. Use some of {', '.join(f'(?P<{name}>...)' for name in groups)}."


def is_slow(regex: re.Pattern[str]) -> bool:
    for probe in _probes(regex.pattern):
        length = 8.0
        while length <= LINE_CHARS:
            line = (probe * (int(length) // len(probe) + 1))[: int(length) - 1] + "\0"
            if all(
                _cost_s(regex, line) > MAX_S for _ in range(2)
            ):  # what passes, such as a collection of garbage, is not its
                return True
            length = length + 1 if length < 32 else length * 1.2
    return False


def _cost_s(regex: re.Pattern[str], line: str) -> float:
    began = time.thread_time()  # others of this process may be at work
    regex.search(line)
    return time.thread_time() - began


def _probes(pattern: str) -> Iterator[str]:
    """What a regex may stumble over when it comes again and again: its own characters and words, and those of numbers."""
    words = re.findall(r"[A-Za-z0-9_:=,.%/ -]+", pattern) + re.findall(r"[A-Za-z0-9]+", pattern)
    yield from sorted(
        {*"a0 .-", *(c for c in pattern if c.isprintable()), *words, *(f"{w} " for w in words), "0.", "a "}
    )
