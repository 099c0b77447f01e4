"""Where a flag's words go in a command: before a subcommand that does not know them, and before words that are taken whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from optimize.script.parsers import FlagDefinition, ParserFacts, find_flag
from optimize.script.seeding import without_start

_STRICT = ("argparse", "click", "typer")  # flags of the whole program stand before the subcommand
_ALONE = ("true", "false", "pair")


def rest_start(command: Sequence[str], facts: ParserFacts, files: Mapping[str, str]) -> int:
    """Return the index from which on a command's words are taken whole, whatever they look like; its length without such words."""
    start = _behind_script(command, files)
    found = [len(command)]
    for rest in facts.rest:
        named = (index for index in range(start, len(command)) if command[index] in rest.names)
        found += list(_positional(command, start, files))[:1] if rest.positional else list(named)[:1]
    return min(found)


def place_of_words(
    command: Sequence[str], definition: FlagDefinition | None, facts: ParserFacts, files: Mapping[str, str]
) -> int:
    """Return the index in a command, without its rest, at which the words of a flag are put in."""
    if definition is None or definition.command or definition.parser not in _STRICT:
        return len(command)
    positional = _positional(command, _behind_script(command, files), files)
    return next((index for index in positional if command[index] in facts.subcommands), len(command))


def _behind_script(command: Sequence[str], files: Mapping[str, str]) -> int:
    alone = without_start(command)
    as_module = (f"{word.replace('.', '/')}.py" if before == "-m" else word for before, word in pairwise(("", *alone)))
    left_out = len(command) - len(alone)
    return next((index + 1 + left_out for index, word in enumerate(as_module) if word in files), len(command))


def _positional(command: Sequence[str], start: int, files: Mapping[str, str]) -> Iterator[int]:
    """Yield the indices of words that are no flag and no flag's value."""
    index = start
    while index < len(command):
        word = command[index]
        if not word.startswith("-"):
            yield index
        elif "=" not in word:
            known = find_flag(files, word, command)
            index += known is None or known.style not in _ALONE
        index += 1
