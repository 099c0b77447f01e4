"""Finds a metric that a script writes into a file of its folder: JSON, JSON lines, a table with commas or tabs, or text.

Its values become lines `name: value`, which are read as printed ones are. A file of text, or any with a regex, gives its own lines.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

from optimize.text import read_bounded
from optimize.trial import Metric

MAX_BYTES = 50_000_000
MOST_FILES = 20_000  # of a folder that is searched
_SEPARATORS = {".csv": ",", ".tsv": "\t"}


def lines_of_file(folder: Path, metric: Metric) -> list[bytes]:
    """Return the lines that the metric's file in a trial's folder stands for; none where there is no such file."""
    path = find_file(folder, metric.file)
    if path is None:
        return []
    try:
        text = read_bounded(path, MAX_BYTES).decode("utf-8-sig", "replace")
        if metric.regex or path.suffix not in (".json", ".jsonl", ".ndjson", *_SEPARATORS):
            return [line.encode() for line in text.splitlines()]
        return [f"{metric.name}: {value}".encode() for value in _values(text, path.suffix, metric.name)]
    except (OSError, ValueError, RecursionError, csv.Error):
        return []


def find_file(folder: Path, pattern: str) -> Path | None:
    """Return the file of a path in a folder, the newest one where it is a pattern such as `**/results.json`."""
    if "*" not in pattern:
        return folder / pattern if (folder / pattern).is_file() else None
    found: list[Path] = []
    seen = 0
    for where, _, names in os.walk(folder):
        seen += len(names)
        found += [
            path for name in names if matches(pattern, (path := Path(where, name)).relative_to(folder).as_posix())
        ]
        if seen > MOST_FILES:
            break
    return max(found, key=lambda each: each.stat().st_mtime_ns, default=None)


def matches(pattern: str, path: str) -> bool:
    """Return whether a path in a folder is meant; `**/` at the beginning stands for any folders, or none."""
    if pattern.startswith("**/"):
        return fnmatch(PurePosixPath(path).name, pattern[3:]) or fnmatch(path, pattern)
    return fnmatch(path, pattern)


def _values(text: str, suffix: str, name: str) -> Iterator[object]:
    if suffix == ".json":
        yield from _of_key(json.loads(text), name)
    elif suffix in _SEPARATORS:
        for row in csv.DictReader(text.splitlines(), delimiter=_SEPARATORS[suffix], skipinitialspace=True):
            if value := (row.get(name) or "").strip():
                yield value
    else:
        for line in text.splitlines():
            yield from _of_key(json.loads(line), name) if line.strip() else ()


def _of_key(data: object, name: str) -> Iterator[object]:
    """Yield the numbers under a key, which may be a path such as `test.loss`, at any depth, in the file's order."""
    if isinstance(data, dict):
        for key, value in data.items():
            if key == name:
                numbers = value if isinstance(value, list) else [value]
                yield from (
                    each for each in numbers if isinstance(each, int | float | str) and not isinstance(each, bool)
                )
            elif name.startswith(f"{key}."):
                yield from _of_key(value, name[len(key) + 1 :])
            else:
                yield from _of_key(value, name)
    elif isinstance(data, list):
        for each in data:
            yield from _of_key(each, name)
