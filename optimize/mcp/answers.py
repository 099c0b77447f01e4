"""Writes the answer of a tool as JSON text of a bounded size: what a model reads costs it, and its context ends somewhere."""

from __future__ import annotations

import json
from typing import Any

MOST_CHARS = 20_000  # of an answer; some 6,000 tokens
TEXT_CHARS, ITEMS = 8_000, 60  # of a text and a list in it, at first; halved until all of it fits


def answer(document: dict[str, Any]) -> str:
    """Return a document as compact JSON of at most MOST_CHARS characters.

    Where it is longer, long texts lose their ends and long lists their first items, and `clipped` says so.
    """
    text = _compact(document)
    chars, items = TEXT_CHARS, ITEMS
    while len(text) > MOST_CHARS and chars:
        text = _compact({"clipped": "long texts and lists are cut", **_clipped(document, chars, items)})
        chars, items = chars // 2, max(items // 2, 1)
    return text if len(text) <= MOST_CHARS else _compact({"clipped": "too much for one answer: ask for less"})


def _compact(document: dict[str, Any]) -> str:
    return json.dumps(document, separators=(",", ":"), allow_nan=False)


def _clipped(value: Any, chars: int, items: int) -> Any:
    if isinstance(value, str):
        return value if len(value) <= chars else f"{value[:chars]}..."
    if isinstance(value, dict):
        kept = list(value.items())[: 4 * items]
        return {_clipped(key, chars, items): _clipped(each, chars, items) for key, each in kept}
    return [_clipped(each, chars, items) for each in value[-items:]] if isinstance(value, list | tuple) else value
