"""Reads single values of INI files as configparser does, with the place of each, so that it can be written over.

A value is one line: `lr = 0.1` under `[train]`. Numbers, true and false are told apart from text; the file itself has only text.
"""

from __future__ import annotations

import configparser
import re
from collections.abc import Iterator
from dataclasses import dataclass

from optimize.trial import Value

INI_SUFFIXES = (".ini", ".cfg")
_SECTION = re.compile(r"\[(?P<name>[^\]]+)\]")
_OPTION = re.compile(r"(?P<key>[^\s=:#;][^=:]*?)\s*[=:][ \t]*(?P<value>.*?)\s*")
_WHOLE, _REAL = re.compile(r"[-+]?\d+"), re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_SWITCH = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class IniValue:
    """A value of one line: its section, its key in small letters, its text, and where that stands."""

    section: str
    key: str
    text: str
    line: int
    start: int

    @property
    def path(self) -> str:
        """Section and key, as a place names them."""
        return f"{self.section}.{self.key}"

    @property
    def value(self) -> Value:
        """What the text stands for: a number, true or false, else itself."""
        if self.text.lower() in _SWITCH:
            return _SWITCH[self.text.lower()]
        if _WHOLE.fullmatch(self.text):
            return int(self.text)
        return float(self.text) if _REAL.fullmatch(self.text) else self.text


def load_ini(text: str) -> dict[str, dict[str, str]]:
    """Return the texts of a file by section and key. Raises ValueError if configparser does not read it."""
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(text)
    except configparser.Error as error:
        raise ValueError(str(error).splitlines()[0]) from None
    shared = dict(parser.defaults())
    own = {
        name: {key: value for key, value in parser.items(name) if shared.get(key) != value}
        for name in parser.sections()
    }
    return own | {"DEFAULT": shared}


def ini_values(text: str) -> Iterator[IniValue]:
    """Yield the values that stand in one line, in the order of the file. Raises ValueError if configparser does not read it."""
    known, section, at = load_ini(text), "", 0
    for number, raw in enumerate(text.splitlines(keepends=True), 1):
        line = raw.rstrip("\r\n")
        if heading := _SECTION.match(line):
            section = heading["name"]
        elif section and (option := _OPTION.fullmatch(line)):
            found = known.get(section, {}).get(option["key"].lower())
            if found is not None and found == option["value"] != "":  # else it goes on in the next line
                yield IniValue(section, option["key"].lower(), found, number, at + option.start("value"))
        at += len(raw)


def ini_literal(value: Value, before: str) -> str:
    """Return a value as text for such a file; `before` is what stands there now, whose way to write true is kept."""
    if isinstance(value, bool):
        text = str(value).lower()
        return text.capitalize() if before[:1].isupper() else text
    return value if isinstance(value, str) else repr(value)
