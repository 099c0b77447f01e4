"""Reads a TOML table key by key, and collects wrong types and unknown keys, so that a user sees all of them at once.

It knows no file of ours: `config/settings.py` and `script/workload.py` know which keys exist.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from optimize.text import meant, read_bounded
from optimize.trial import Value

T = TypeVar("T")
MAX_BYTES, MAX_LINE = 100_000, 1_000  # written by hand; tomllib takes quadratic time over long dotted keys


class Table:
    """One table of a TOML file. Each getter removes its key; `finish` reports the keys that are left.

    A getter returns its default for a value of another type, and adds a line to `problems`.
    """

    def __init__(self, where: str, data: Mapping[str, object], problems: list[str]) -> None:
        self.where = where
        self.problems = problems
        self._data = dict(data)
        self._known: list[str] = []
        self.found: set[str] = set()  # keys that were asked for and exist

    @classmethod
    def read(cls, path: Path, problems: list[str]) -> Table:
        """Return the file's top-level table; an empty one, and a line in `problems`, if it cannot be read."""
        return cls(str(path), _load(path, problems), problems)

    def has(self, key: str) -> bool:
        """Return whether the key is there."""
        return key in self._data

    def is_table(self, key: str) -> bool:
        """Return whether the key is there and holds a table."""
        return isinstance(self._data.get(key), dict)

    def text(self, key: str, default: str) -> str:
        """Return a string."""
        value = self._take(key, default)
        return value if isinstance(value, str) else self._wrong(key, value, "a string", default)

    def number(self, key: str, default: float | None) -> float | None:
        """Return a number above 0."""
        value = self._take(key, default)
        if value is None or (isinstance(value, int | float) and not isinstance(value, bool) and value > 0):
            return value
        return self._wrong(key, value, "a number above 0", default)

    def integer(self, key: str, default: int | None) -> int | None:
        """Return a whole number above 0."""
        value = self._take(key, default)
        if value is None or (isinstance(value, int) and not isinstance(value, bool) and value > 0):
            return value
        return self._wrong(key, value, "a whole number above 0", default)

    def flag(self, key: str, default: bool) -> bool:
        """Return true or false."""
        value = self._take(key, default)
        return value if isinstance(value, bool) else self._wrong(key, value, "true or false", default)

    def words(self, key: str, default: tuple[str, ...]) -> tuple[str, ...]:
        """Return a list of strings."""
        value = self._take(key, default)
        if isinstance(value, list | tuple) and all(isinstance(word, str) for word in value):
            return tuple(value)
        return self._wrong(key, value, 'a list of strings, such as ["a", "b"]', default)

    def paths(self, key: str) -> dict[str, str]:
        """Return name -> path, of a table or a list. In a list, a relative path is its own name; else the last part is."""
        if self.is_table(key):
            inner = self.table(key)
            return {name: inner.text(name, "") for name in list(inner._data)}
        found = {}
        for path in self.words(key, ()):
            name = Path(path).name if Path(path).is_absolute() or path.startswith("~") else path.rstrip("/")
            if name in found:
                self.problems.append(
                    f"{self.where}: {key}: {name} stands there twice. Give each a name: {{ name = path }}."
                )
            found[name] = path
        return found

    def tables(self) -> dict[str, Table]:
        """Return the tables in this table, by name."""
        return {name: self.table(name) for name, value in list(self._data.items()) if isinstance(value, dict)}

    def literals(self) -> dict[str, Value]:
        """Return what is left of this table, with arrays as tuples."""
        values: dict[str, Value] = {}
        for name in list(self._data):
            found = self._take(name, None)
            try:
                values[name] = _literal(found)
            except TypeError:
                self._wrong(name, found, "a number, a string, a boolean or an array of them", None)
        return values

    def table(self, key: str) -> Table:
        """Return the table in this table; an empty one if there is none."""
        value = self._take(key, {})
        if not isinstance(value, dict):
            value = self._wrong(key, value, f"a table: [{key}]", {})
        return Table(f"{self.where}: [{key}]", value, self.problems)

    def finish(self) -> None:
        """Report the keys that are left as unknown."""
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
        raw = read_bounded(path, MAX_BYTES)
        if any(len(line) > MAX_LINE for line in raw.splitlines()):
            raise ValueError(f"a line is longer than {MAX_LINE} characters")
        return tomllib.loads(raw.decode("utf-8-sig"))
    except OSError as error:
        problems.append(f"{path}: cannot be read: {error.strerror or error}. Check the path.")
    except (ValueError, RecursionError) as error:
        problems.append(f"{path}: not valid TOML: {error!s:.200}. Correct it.")
    return {}


def _literal(value: object) -> Value:
    if isinstance(value, list):
        return tuple(map(_literal, value))
    if isinstance(value, bool | int | str) or (isinstance(value, float) and abs(value) < float("inf")):
        return value
    raise TypeError(value)
