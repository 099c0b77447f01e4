"""Writes TOML, which the standard library only reads; tomllib reads back equal values.

It writes tables of one level, arrays, strings, numbers, booleans and times. TOML has no null: None becomes a comment.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import datetime

from storage.text import encodable, one_line

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def toml_text(values: Mapping[str, object], comment: str = "") -> str:
    """Return the text of a TOML file: plain values first, then each mapping among them as a table."""
    lines = [f"# {one_line(comment)}"] if comment else []
    lines += [_line(key, value) for key, value in values.items() if not isinstance(value, Mapping)]
    for name, table in values.items():
        if isinstance(table, Mapping):
            lines += ["", f"[{_key(name)}]", *(_line(key, value) for key, value in table.items())]
    return "\n".join(lines) + "\n"


def _line(key: str, value: object) -> str:
    if value is None:
        return f"# {one_line(key)} = None"
    return f"{_key(key)} = {_literal(value)}"


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _string(key)


def _literal(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return repr(value) if math.isfinite(value) else str(value)  # 0.1, 1e-05, inf, nan: all are TOML
        case str():
            return _string(value)
        case datetime():
            return value.isoformat()
        case tuple() | list():
            return "[" + ", ".join(_literal(each) for each in value) + "]"
    raise TypeError(f"{value!r} has no form in TOML")


def _string(text: str) -> str:
    return '"' + "".join(_ESCAPES.get(mark) or _character(mark) for mark in encodable(text)) + '"'


def _character(mark: str) -> str:
    return f"\\u{ord(mark):04x}" if ord(mark) < 0x20 or ord(mark) == 0x7F else mark
