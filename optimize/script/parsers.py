"""Finds the flags that a training script takes, by the definitions of its parser: argparse, click, typer, absl and their kin.

It reads the syntax tree and runs nothing. `optimize init` proposes flags from it, and a flag's default is the baseline.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from optimize.script.absl_flags import absl_flags
from optimize.script.argparse_flags import ArgparseReader
from optimize.script.click_flags import click_flags
from optimize.script.config_flags import config_flags
from optimize.script.field_flags import field_flags
from optimize.script.file_imports import is_module
from optimize.script.flags import FlagDefinition
from optimize.script.imported_names import imported_names
from optimize.script.source_names import Function, SourceNames, is_main, read_names
from optimize.script.trees import MANY_FILES, walk
from optimize.script.typer_flags import typer_flags

__all__ = ["FlagDefinition", "ParserFacts", "find_flag", "flags_by_file", "known_flags", "parser_facts", "read_flags"]

_ASKS = ("input", "getpass.getpass")
# A file without any of these words defines no flag, takes none and asks nothing: a folder may have hundreds of such.
_WORDS = re.compile(
    r"argparse|ArgumentParser|optparse|OptionParser|click|typer|absl|DEFINE_|tyro|simple_parsing|pyrallis|draccus|jsonargparse"
    r"|CLI\b|\bTap\b|\bfire\b|parse_known|parse_args|add_argument|input\(|getpass|merge_from_args"
)


@dataclass(frozen=True, slots=True)
class ParserFacts:
    """What else the text says of how a script takes its flags."""

    parsers: tuple[str, ...] = ()
    known_only: bool = False  # parse_known_args: a flag that the parser does not know is passed over in silence
    subcommands: tuple[str, ...] = ()
    required: tuple[FlagDefinition, ...] = ()  # it does not start without these
    rewritten: Mapping[str, int] | None = (
        None  # destination of a flag -> line that gives it another value, whatever the flag says
    )
    rest: tuple[FlagDefinition, ...] = ()  # those that take all words behind them
    asks: int = 0  # the line that waits for an answer from a person


def read_flags(
    text: str, where: str, beside: Mapping[str, str] | None = None, words: Sequence[str] = ()
) -> tuple[FlagDefinition, ...]:
    """Return the flags that this Python file defines, in the order of its text.

    `beside`: Python files whose classes it may use, with their texts. `words`: the script's command, which may name a file with
    its configuration. Raises RenderError if one is not Python.
    """
    beside_it = tuple(sorted(each for each in (beside or {}).items() if each[0] != where))
    return _read(text, where, beside_it, tuple(words))


def flags_by_file(
    files: Mapping[str, str], words: Sequence[str] = ()
) -> tuple[tuple[str, tuple[FlagDefinition, ...]], ...]:
    """Return each Python file with the flags that it defines for the script, which is the first of them. `words`: the command.

    A parser of another program is left out: one that its file only makes where that file itself is run.
    """
    return _by_file(tuple(each for each in files.items() if each[0].endswith(".py")), tuple(words))


@lru_cache(maxsize=16)  # asked for every flag
def _by_file(
    files: tuple[tuple[str, str], ...], words: tuple[str, ...]
) -> tuple[tuple[str, tuple[FlagDefinition, ...]], ...]:
    scripts, found = dict(files), list[tuple[str, tuple[FlagDefinition, ...]]]()
    script = next(iter(scripts), "")
    for file, text in _with_parsers(scripts).items():
        flags = read_flags(text, file, scripts, words)
        kept = [
            each for each in flags if file == script or each.parser != "argparse" or _runs(each.line, file, scripts)
        ]
        found.append((file, tuple(kept)))
    return tuple(found)


def _runs(line: int, file: str, scripts: Mapping[str, str]) -> bool:
    """Return whether a line of a file may run when another file imports it, or calls its functions."""
    names = read_names(scripts[file], file)
    waiting, seen = [line], set[str]()
    while waiting:
        line = waiting.pop()
        top = next((each for each in names.tree.body if each.lineno <= line <= (each.end_lineno or line)), None)
        if not isinstance(top, Function):
            if top is None or not is_main(top):
                return True
        elif top.name not in seen:
            seen.add(top.name)
            if _is_taken(top.name, file, scripts):
                return True
            waiting += [node.lineno for node in walk(names.tree) if isinstance(node, ast.Name) and node.id == top.name]
    return False


def _is_taken(name: str, file: str, scripts: Mapping[str, str]) -> bool:
    """Return whether another file takes a name from this one."""
    for other, text in scripts.items():
        if other == file or name not in text:
            continue
        facts = imported_names(text, other)
        modules = [*facts.modules, *((f"{module}.{part}", alias) for module, part, alias in facts.names)]
        aliases = [alias for module, alias in modules if is_module(module, other, file)]
        if any(name == part and is_module(module, other, file) for module, part, _ in facts.names):
            return True
        used = [facts.taken(alias) or ({name} if alias in facts.used else ()) for alias in aliases if alias]
        if "" in aliases or any(name in each for each in used):
            return True
        if any(is_module(module, other, file) for module in facts.stars):
            return True
    return False


def find_flag(files: Mapping[str, str], name: str, words: Sequence[str] = ()) -> FlagDefinition | None:
    """Return the flag of this spelling, of the first Python file that defines it; None if none does. `words`: the command.

    Where that file has several of the name with different defaults, the default counts as unreadable.
    """
    for _, flags in flags_by_file(files, words):
        found = [flag for flag in flags if name in flag.names or (name and name == flag.off)]
        if found:
            return _agreed(found)
    return None


def known_flags(files: Mapping[str, str], words: Sequence[str] = ()) -> list[str]:
    """Return the flags that the parsers of these files define, each by its longest spelling. `words`: the command."""
    found = (each for _, flags in flags_by_file(files, words) for each in flags)
    return list(dict.fromkeys(max(each.names, key=len) for each in found if each.names))


def parser_facts(files: Mapping[str, str], words: Sequence[str] = ()) -> ParserFacts:
    """Return what the Python files say of how flags are taken. `words`: the command."""
    return _facts(tuple(each for each in files.items() if each[0].endswith(".py")), tuple(words))


@lru_cache(maxsize=8)  # asked for every flag
def _facts(files: tuple[tuple[str, str], ...], words: tuple[str, ...]) -> ParserFacts:
    scripts = dict(files)
    asked = _with_parsers(scripts)
    names = [read_names(text, file) for file, text in asked.items()]
    flags = [flag for _, found in flags_by_file(scripts, words) for flag in found]
    calls = [(call, each.qualified(call.func)) for each in names for call, _ in each.calls()]
    return ParserFacts(
        tuple(dict.fromkeys(flag.parser for flag in flags)),
        any(name.rpartition(".")[2] in ("parse_known_args", "parse_known_intermixed_args") for _, name in calls),
        tuple(dict.fromkeys(flag.command for flag in flags if flag.command)),
        tuple(flag for flag in flags if flag.required),
        {dest: line for each in names for dest, line in _rewritten(each, {flag.dest for flag in flags})},
        tuple(flag for flag in flags if flag.style == "rest"),
        next((call.lineno for call, name in calls if name in _ASKS), 0),
    )


def _with_parsers(scripts: Mapping[str, str]) -> dict[str, str]:
    return {file: text for file, text in scripts.items() if may_take_flags(text)}


@lru_cache(maxsize=MANY_FILES)  # asked for every flag
def may_take_flags(text: str) -> bool:
    """Return whether a file has a word without which no parser is defined."""
    return _WORDS.search(text) is not None


@lru_cache(maxsize=MANY_FILES)  # the same scripts are read for every trial
def _read(
    text: str, where: str, beside: tuple[tuple[str, str], ...], words: tuple[str, ...]
) -> tuple[FlagDefinition, ...]:
    names = read_names(text, where, dict(beside))
    readers = (click_flags, typer_flags, absl_flags, field_flags)
    found = [*ArgparseReader(names).read(), *(flag for reader in readers for flag in reader(names))]
    found += config_flags(names, where, {**dict(beside), where: text}, words)
    return tuple(dict.fromkeys(found))


def _agreed(found: list[FlagDefinition]) -> FlagDefinition:
    first, *others = found
    if all((each.default, each.readable) == (first.default, first.readable) for each in others):
        return first
    said = " or ".join(dict.fromkeys(each.expression or repr(each.default) for each in found))
    return replace(first, default=None, readable=False, expression=said)


def _rewritten(names: SourceNames, dests: set[str]) -> Iterator[tuple[str, int]]:
    """Yield each `args.lr = ...` that does not depend on what was given, directly or by one variable."""
    given: dict[str, list[ast.expr]] = {}
    for node in walk(names.tree):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                given.setdefault(name, []).append(value)
    for node in walk(names.tree):
        match node:
            case ast.Assign(targets=[ast.Attribute(value=ast.Name(id=owner), attr=dest)], value=value):
                used = [each.id for each in ast.walk(value) if isinstance(each, ast.Name)]
                parts = [value, *(part for name in used for part in given.get(name, ()))]
                if dest in dests and owner != "self" and not any(_takes(part, dest) for part in parts):
                    yield dest, node.lineno


def _takes(node: ast.expr, attribute: str) -> bool:
    return any(isinstance(each, ast.Attribute) and each.attr == attribute for each in ast.walk(node))
