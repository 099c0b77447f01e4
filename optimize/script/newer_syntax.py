"""Reads a script around the statements that our own Python cannot parse: the Python that runs it may be newer.

Each such statement of the module is blanked, byte for byte, so that all other offsets stay. What it binds is guessed from its
words, rather too much than too little. Nothing is executed.
"""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from optimize.script.trees import ERRORS, MANY_FILES, parse_text

_GOES_ON = ("else", "elif", "except", "finally")  # with the statement before it
_NO_CODE = (tokenize.COMMENT, tokenize.NL, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
_NAMED = re.compile(r"(?:@.*\n\s*)*(?:async\s+)?(?:def|class|type)\s+(\w+)")
_ASSIGNED = re.compile(r"\b(\w+)\s*(?::[^=\n]*)?[-+*/%@&|^]?=(?!=)|\b(?:for|as|import)\s+(\w+)")
_GLOBAL = re.compile(r"\bglobal\s+([\w, \t]+)")


@dataclass(frozen=True, slots=True)
class UnreadStatement:
    """A statement of the module that our Python cannot parse."""

    line: int
    names: frozenset[str]  # that it may bind in the module


@lru_cache(maxsize=MANY_FILES)  # the same scripts are read for every trial
def read_around(text: str) -> tuple[str, tuple[UnreadStatement, ...]]:
    """Return the script with every statement blanked that cannot be parsed, and these.

    All stays as it is where it does not look like a script, or where it cannot be told where a statement ends.
    """
    if _parses(text):
        return text, ()
    lines = text.encode().splitlines(keepends=True)
    statements = list(_statements(text))
    sources = [b"".join(lines[first - 1 : last]).decode() for first, last in statements]
    bad = [place for place, source in enumerate(sources) if not _parses(source)]
    if len(bad) == len(statements) and not any(map(_NAMED.match, sources)):
        return text, ()
    for first, last in (statements[place] for place in bad):
        lines[first - 1 : last] = [re.sub(rb"[^\r\n]", b" ", line) for line in lines[first - 1 : last]]
    unread = tuple(UnreadStatement(statements[place][0], _names_in(sources[place])) for place in bad)
    return b"".join(lines).decode(), unread


def _parses(source: str) -> bool:
    try:
        parse_text(source)
    except ERRORS:
        return False
    return True


def _statements(text: str) -> Iterator[tuple[int, int]]:
    """Yield the first and the last line of each statement of the module; none if the tokens do not tell."""
    found: list[tuple[int, int]] = []
    depth, first, merges = 0, 0, False
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            depth += (token.type == tokenize.INDENT) - (token.type == tokenize.DEDENT)
            if token.type == tokenize.NEWLINE:
                found[-1], first = (found[-1][0], token.start[0]), 0
            elif not first and token.type not in _NO_CODE:
                first = token.start[0]
                if not depth and not merges and token.string not in _GOES_ON:
                    found.append((first, first))
                merges = token.string == "@" if not depth else False
    except (tokenize.TokenError, SyntaxError, IndexError):
        return
    yield from found


def _names_in(source: str) -> frozenset[str]:
    names = {name.strip() for listed in _GLOBAL.findall(source) for name in listed.split(",")}
    if named := _NAMED.match(source):
        return frozenset({*names, named[1]})
    return frozenset({*names, *(name for pair in _ASSIGNED.findall(source) for name in pair if name)})
