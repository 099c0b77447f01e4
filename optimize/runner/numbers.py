"""Numbers in a script's lines: found whole, however a regex cuts them, and `{number}` as a name for one in a regex."""

from __future__ import annotations

import re

# Digits with separators (1,234 or 1_000), a fraction, an exponent. No part of it can match in two ways, so it costs a line once.
NUMBER = r"[-+]?(?:\d[\d,_]*(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?|[-+]?(?i:nan|inf(?:inity)?)\b"
_PLACEHOLDER = "{number}"
_SEPARATED = r"\d{1,3}(?:,\d{3})+(?!\d)|\d+(?:_\d+)+|\d+"
# A sign belongs to a number unless it stands behind one, or behind a word: `2-1`, `iter-5`.
_IN_A_LINE = re.compile(
    rf"(?:(?<![\w.)\]])[-+])?(?:(?:{_SEPARATED})(?:\.(?:\d+(?:_\d+)*)?)?|\.\d+)(?:[eE][-+]?\d+)?", re.ASCII
)
_PLAIN = re.compile(r"[-+]?[\d.,_]+(?:[eE][-+]?\d*)?", re.ASCII)


def compile_pattern(text: str) -> re.Pattern[str]:
    """Compile a regex in which `{number}` stands for any number; it is the group, if the regex has no other.

    Raises re.error.
    """
    regex = re.compile(text.replace(_PLACEHOLDER, f"(?:{NUMBER})"))
    if _PLACEHOLDER in text and regex.groups == 0:
        return re.compile(text.replace(_PLACEHOLDER, f"({NUMBER})", 1).replace(_PLACEHOLDER, f"(?:{NUMBER})"))
    return regex


def whole_number(line: str, start: int, end: int) -> str:
    """Return the number that `line[start:end]` is a part of, without its separators; any other text as it is.

    A regex such as `([0-9.]+)` matches 9.99 in `9.99e-07`, 1 in `1,234` and 5 in `-5`.
    """
    text = line[start:end]
    if not _PLAIN.fullmatch(text.strip()):
        return text
    inside = start + len(text) - len(text.lstrip())
    for found in _IN_A_LINE.finditer(line):
        if found.start() <= inside < found.end():
            if line[found.end() : end].strip(".,_ \t"):
                return text  # more than punctuation follows the number, so the text is no part of it
            longer = found.end() > end or found.start() < inside
            return _without_separators(found[0] if longer else text)
    return text


def _without_separators(text: str) -> str:
    bare = text.strip()
    return bare.replace(",", "").replace("_", "") if _IN_A_LINE.fullmatch(bare) else text
