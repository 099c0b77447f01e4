"""Finds statements that give an entry of a configuration object another value after it was made, whatever a flag says."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from optimize.script.config_tables import ConfigObject
from optimize.script.source_names import read_names

_OWNERS = re.compile(r"^_*(?:config|cfg|conf|c|hparams|hps?|params|options|settings|flags)$", re.IGNORECASE)
MOST_STEPS = 5  # from a name to what it was computed from


def rewritten_entries(files: Mapping[str, str], made: ConfigObject) -> dict[str, tuple[str, int]]:
    """Return path of an entry -> file and line of a statement that replaces it without using its value."""
    wanted = {each.path: tuple(each.path.split(".")) for each in made.entries}
    last = {keys[-1] for keys in wanted.values()}
    found: dict[str, tuple[str, int]] = {}
    for file, text in files.items():
        if not file.endswith(".py"):
            continue
        for statement, chain in _stores(read_names(text, file).tree, last):
            if (file, statement.lineno) not in made.built:
                for path, keys in wanted.items():
                    if _is_entry(chain, keys) and not _uses(statement.value, keys, read_names(text, file).tree):
                        found.setdefault(path, (file, statement.lineno))
    return found


def _stores(tree: ast.AST, last: Iterable[str]) -> Iterator[tuple[ast.Assign, tuple[str, ...]]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                chain = chain_of(target)
                if len(chain) > 1 and chain[-1] in last:
                    yield node, chain


def chain_of(node: ast.expr) -> tuple[str, ...]:
    """Return the names of `config.model["width"]`: config, model, width; () for any other expression."""
    keys: list[str] = []
    while True:
        match node:
            case ast.Attribute(value=base, attr=key) | ast.Subscript(value=base, slice=ast.Constant(value=str(key))):
                keys.append(key)
                node = base
            case ast.Name(id=name):
                return (name, *reversed(keys))
            case _:
                return ()


def _is_entry(chain: Sequence[str], keys: Sequence[str]) -> bool:
    """Return whether a chain of names may stand for the entry: of the object itself, or of a part under the part's name."""
    if chain[0] == "self" and len(chain) <= len(keys) + 1:
        return False
    if len(chain) > len(keys):
        owner = chain[-len(keys) - 1]
        return tuple(chain[-len(keys) :]) == tuple(keys) and (len(keys) > 1 or bool(_OWNERS.match(owner)))
    return tuple(chain) == tuple(keys[-len(chain) :])


def _uses(value: ast.expr, keys: Sequence[str], tree: ast.AST, steps: int = MOST_STEPS) -> bool:
    """Return whether an expression is computed from the entry itself, by names that are given a value in the same file too."""
    nodes = [each for each in ast.walk(value) if isinstance(each, ast.expr)]
    if any(len(chain := chain_of(each)) > 1 and _is_entry(chain, keys) for each in nodes):
        return True
    names = {each.id for each in nodes if isinstance(each, ast.Name)}
    before = (
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id in names for t in node.targets)
    )
    return steps > 0 and any(_uses(each, keys, tree, steps - 1) for each in before if each is not value)
