"""A TOML table read key by key: wrong types and unknown keys are collected, so that a user sees all of them at once.

It knows no file format of ours; `settings.py` and `workload.py` say which keys exist.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from optimize.text import meant
from optimize.trial import Value

T = TypeVar("T")
MAX_BYTES, MAX_LINE = 100_000, 1_000  # written by hand; tomllib takes quadratic time over long dotted keys


class Table:
    """One table of a TOML file; each getter removes its key, and `finish` reports the keys that nobody asked for."""

    def __init__(self, where: str, data: Mapping[str, object], problems: list[str]) -> None:
        self.where = where
        self.problems = problems
        self._data = dict(data)
        self._known: list[str] = []
        self.found: set[str] = set()  # keys that were asked for and are there

    @classmethod
    def read(cls, path: Path, problems: list[str]) -> Table:
        """The file's top-level table; empty, with a problem noted, if it cannot be read."""
        return cls(str(path), _load(path, problems), problems)

    def has(self, key: str) -> bool:
        return key in self._data

    def is_table(self, key: str) -> bool:
        return isinstance(self._data.get(key), dict)

    def text(self, key: str, default: str) -> str:
        value = self._take(key, default)
        return value if isinstance(value, str) else self._wrong(key, value, "a string", default)

    def number(self, key: str, default: float | None) -> float | None:
        value = self._take(key, default)
        if value is None or (isinstance(value, int | float) and not isinstance(value, bool) and value > 0):
            return value
        return self._wrong(key, value, "a number above 0", default)

    def integer(self, key: str, default: int | None) -> int | None:
        value = self._take(key, default)
        if value is None or (isinstance(value, int) and not isinstance(value, bool) and value > 0):
            return value
        return self._wrong(key, value, "a whole number above 0", default)

    def flag(self, key: str, default: bool) -> bool:
        value = self._take(key, default)
        return value if isinstance(value, bool) else self._wrong(key, value, "true or false", default)

    def words(self, key: str, default: tuple[str, ...]) -> tuple[str, ...]:
        value = self._take(key, default)
        if isinstance(value, list | tuple) and all(isinstance(word, str) for word in value):
            return tuple(value)
        return self._wrong(key, value, 'a list of strings, such as ["a", "b"]', default)

    def paths(self, key: str) -> dict[str, str]:
        """Name -> path: a table of them, or a list, in which a relative path is its own name and another one's its last part."""
        if self.is_table(key):
            inner = self.table(key)
            return {name: inner.text(name, "") for name in list(inner._data)}
        found = {}
        for path in self.words(key, ()):
            name = Path(path).name if Path(path).is_absolute() or path.startswith("~") else path.rstrip("/")
            if name in found:
                self.problems.append(f"{self.where}: {key}: {name} is there twice. Give them names: {{ name = path }}.")
            found[name] = path
        return found

    def tables(self) -> dict[str, Table]:
        """Whatever of this table is a table itself, by name."""
        return {name: self.table(name) for name, value in list(self._data.items()) if isinstance(value, dict)}

    def literals(self) -> dict[str, Value]:
        """All that is left of this table, as name = value, arrays read as tuples."""
        values: dict[str, Value] = {}
        for name in list(self._data):
            found = self._take(name, None)
            try:
                values[name] = _literal(found)
            except TypeError:
                self._wrong(name, found, "a number, a string, a boolean or an array of them", None)
        return values

    def table(self, key: str) -> Table:
        value = self._take(key, {})
        if not isinstance(value, dict):
            value = self._wrong(key, value, f"a table: [{key}]", {})
        return Table(f"{self.where}: [{key}]", value, self.problems)

    def finish(self) -> None:
        """Report what is left as unknown."""
        for key in self._data:
            known = ", ".join(sorted(self._known))
            self.problems.append(f"{self.where}: {key}: unknown key. Known here: {known}.{meant(key, self._known)}")

    def _take(self, key: str, default: object) -> object:
        self._known.append(key)
        self.found |= {key} & self._data.keys()
        return self._data.pop(key, default)

    def _wrong(self, key: str, value: object, wanted: str, default: T) -> T:
        self.problems.append(f"{self.where}: {key}: {value!r:.60} is not {wanted}. Correct it.")
        return default


def _load(path: Path, problems: list[str]) -> dict[str, object]:
    try:
        raw = path.read_bytes()
        if len(raw) > MAX_BYTES:
            raise ValueError(f"larger than {MAX_BYTES} bytes")
        if any(len(line) > MAX_LINE for line in raw.splitlines()):
            raise ValueError(f"a line is longer than {MAX_LINE} characters")
        return tomllib.loads(raw.decode())
    except OSError as error:
        problems.append(f"{path}: cannot be read: {error.strerror}. Check the path.")
    except (ValueError, RecursionError) as error:
        problems.append(f"{path}: not valid TOML: {error!s:.200}. Correct it.")
    return {}


def _literal(value: object) -> Value:
    if isinstance(value, list):
        return tuple(map(_literal, value))
    if isinstance(value, bool | int | str) or (isinstance(value, float) and abs(value) < float("inf")):
        return value
    raise TypeError(value)
