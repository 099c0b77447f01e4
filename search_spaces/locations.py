"""Says where a parameter's value is written, as data; a search space's table for a parameter names the place.

Two kinds exist: a span in a file (`constant`, `field`, `entry`, `local`, `argument`, `key`), and how the process is started
(`flag`, `override`, `env`). Whether the place exists in a script, and how it is written, others know.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

CONSTANT = "constant"
_DOTTED = r"[^\W\d]\w*(?:\.\w[\w-]*)+"
_FORMS = {
    "field": (re.compile(rf"(?:[^:]+\.py:)?{_DOTTED}"), "Class.name, or file.py:Class.name"),
    "entry": (re.compile(rf"(?:[^:]+\.py:)?{_DOTTED}"), "dictionary.key, or file.py:dictionary.key"),
    "local": (
        re.compile(r"(?:[^:]+\.py:)?[^\W\d]\w*(?:\.[^\W\d]\w*)*"),
        "function.variable, or file.py:function.variable",
    ),
    "argument": (re.compile(rf"(?:[^:]+\.py:)?{_DOTTED}"), "function.Call.keyword, or file.py:function.Call.keyword"),
    "key": (re.compile(r"[^:]+\.(?:ya?ml|json|toml|ini|cfg):[^\s:]+"), "file.yaml:key, or file.json:outer.inner"),
    "flag": (re.compile(r"--?[^\W_][\w.-]*"), "--name, as the command line has it"),
    "override": (re.compile(r"[+~]{0,2}\w[\w.@/-]*"), "group.name, as in group.name=value"),
    "env": (re.compile(r"[A-Za-z_]\w*"), "NAME, a variable of the environment"),
}
KINDS = tuple(_FORMS)


@dataclass(frozen=True, slots=True)
class Location:
    """Where a value is written: a kind, and a path in the words of that kind."""

    kind: str = CONSTANT
    path: str = ""  # "": the constant has the parameter's name

    def __str__(self) -> str:
        return f"{self.kind} {self.path}".strip()


AS_CONSTANT = Location()


def objection_to(location: Location) -> str:
    """Return why a path cannot be one of its kind, "" if it can."""
    pattern, form = _FORMS[location.kind]
    if location.path.isprintable() and pattern.fullmatch(location.path):
        return ""
    return f"{location.kind}: {location.path!r:.60} is not of the form {form}. Correct it."
