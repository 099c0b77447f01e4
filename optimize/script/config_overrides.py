"""Overrides of a yacs configuration: `cfg.merge_from_list(args.opts)` takes pairs of words, `SOLVER.BASE_LR 0.1`.

Which words of the command are such pairs follows from the scripts' text, as does the default of an entry.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from optimize.errors import RenderError
from optimize.script.config_files import find_key
from optimize.script.config_objects import object_before
from optimize.script.config_tables import ConfigEntry
from optimize.script.flags import FlagDefinition
from optimize.script.parsers import read_flags
from optimize.script.process_parameters import literal_value, literal_word
from optimize.script.rewritten import rewritten_entries
from optimize.script.source_names import read_names
from optimize.trial import Value

_MERGES = ("merge_from_list", "cfg_from_list")
_WORDS = re.compile("|".join(_MERGES))


@dataclass(frozen=True, slots=True)
class PairOverrides:
    """How a script takes pairs: behind the flag `flag`, or at the end of its command where it is "". `entries` are by path."""

    flag: str
    entries: Mapping[str, ConfigEntry]
    rewritten: Mapping[str, tuple[str, int]] = field(default_factory=dict)

    def with_pair(self, command: Sequence[str], path: str, value: Value) -> tuple[str, ...]:
        """Return the command with this pair as its last words."""
        head, pairs = self._split(command)
        kept = [word for key, text in pairs if key != path for word in (key, text)]
        word = literal_word(value)
        word = f"({word})" if word.startswith("-") else word  # argparse takes -1e-05 for a flag
        return (*head, *([self.flag] if self.flag else []), *kept, path, word)

    def given(self, command: Sequence[str], path: str) -> str | None:
        """Return what the command itself says of an entry, None if nothing."""
        return next((text for key, text in reversed(self._split(command)[1]) if key == path), None)

    def problem(self, path: str) -> str:
        """Return why an override would not arrive, "" if it would."""
        if self.entries and path not in self.entries:
            return f"{path}: the script's configuration has no such entry. Correct it."
        if path in self.rewritten:
            file, line = self.rewritten[path]
            return f"{path}: {file}:{line} gives it another value, whatever the override says. Remove that line."
        return ""

    def refused(self, path: str, value: Value) -> str:
        """Return why a value cannot be one of this entry, "" if it can: yacs takes the type of the present value only."""
        entry = self.entries.get(path)
        if entry is None or not entry.readable or entry.value is None or type(entry.value) is type(value):
            return ""
        return f"its configuration takes a {type(entry.value).__name__} there, as {entry.value!r:.40} is one"

    def _split(self, command: Sequence[str]) -> tuple[list[str], list[tuple[str, str]]]:
        """Return the command without its pairs, and these."""
        words = list(command)
        if self.flag:
            start = words.index(self.flag) if self.flag in words else len(words)
            end = next((i for i in range(start + 1, len(words)) if words[i].startswith("--")), len(words))
            head, tail = words[:start] + words[end:], words[start + 1 : end]
        else:
            start = next((i for i, word in enumerate(words) if word in self.entries), len(words))
            head, tail = words[:start], words[start:]
        return head, list(zip(tail[::2], tail[1::2], strict=False))


def pair_overrides(files: Mapping[str, str]) -> PairOverrides | None:
    """Return how the scripts take pairs, None if they take none that this can write."""
    scripts = tuple((file, text) for file, text in files.items() if file.endswith(".py"))
    return _pair_overrides(scripts) if any(_WORDS.search(text) for _, text in scripts) else None


@lru_cache(maxsize=8)  # asked for every trial
def _pair_overrides(scripts: tuple[tuple[str, str], ...]) -> PairOverrides | None:
    files = dict(scripts)
    for file, text in files.items():
        names = read_names(text, file)
        for call, _ in names.calls():
            method = names.qualified(call.func).rpartition(".")[2]
            if method in _MERGES and call.args and (flag := _flag_of(call.args[0], files)) is not None:
                owner = call.func.value if isinstance(call.func, ast.Attribute) else None
                made = object_before(files, file, owner, call.lineno) if owner is not None else None
                if made is not None and made.entries:
                    return PairOverrides(
                        flag, {each.path: each for each in made.entries}, rewritten_entries(files, made)
                    )
    return None


def _flag_of(node: ast.expr, files: Mapping[str, str]) -> str | None:
    """Return the flag behind which pairs stand, "" where they are the last words of the command; None for anything else."""
    if ast.unparse(node) == "sys.argv[1:]":
        return ""
    name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
    flags = [flag for flag in _definitions(files) if flag.dest == name]
    if flags:
        return "" if flags[0].positional else flags[0].names[0] if flags[0].style in ("many", "rest") else None
    rest = any(f"{name} = " in text and "parse_known_args" in text for text in files.values()) and isinstance(
        node, ast.Name
    )
    return "" if rest else None


def _definitions(files: Mapping[str, str]) -> Iterator[FlagDefinition]:
    for file, text in files.items():
        yield from read_flags(text, file, files)


def pair_default(found: PairOverrides, command: Sequence[str], path: str, files: Mapping[str, str]) -> Value:
    """Return an entry's value without us: of the command's own pair, of a YAML file that it names, or of the script's object.

    Raises RenderError where none tells.
    """
    if (given := found.given(command, path)) is not None:
        return literal_value(given)
    told = [find_key(files[file], path, file).value for file in configs_with(command, path, files)]
    if told:
        return told[-1]
    entry = found.entries.get(path)
    if entry is None or not entry.readable or entry.value is None:
        raise RenderError(f"{path}: the text does not tell its default. Write it: baseline = ...")
    return entry.value


def configs_with(command: Sequence[str], path: str, files: Mapping[str, str]) -> list[str]:
    """Return the YAML files that a command names and that have the entry."""
    named = [word.partition("=")[2] or word for word in command]
    return [
        file for file in named if file in files and file.endswith((".yaml", ".yml")) and _has(files[file], path, file)
    ]


def _has(text: str, path: str, file: str) -> bool:
    try:
        find_key(text, path, file)
    except RenderError:
        return False
    return True
