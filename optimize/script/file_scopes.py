"""The functions and classes of a Python file, and which names belong to which of them. Nothing is executed."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from optimize.script.bindings import Scopes, parse, with_scopes
from optimize.script.imported_names import ImportedNames, imported_names
from optimize.script.trees import cached_by_text

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
_MAKES_SCOPE = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
_FLOWS = (
    ast.Assign, ast.AnnAssign, ast.NamedExpr, ast.For, ast.AsyncFor, ast.comprehension, ast.withitem, ast.Return, ast.Yield,
    ast.YieldFrom, ast.Dict, ast.Lambda, ast.Call, ast.FunctionDef, ast.AsyncFunctionDef, ast.ImportFrom, ast.Match,
)  # fmt: skip
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


@dataclass(frozen=True, slots=True)
class ScopedDefinition:
    """A function or class: where it stands, and the class whose method it is."""

    node: Function | ast.ClassDef
    scopes: Scopes
    owner: ast.ClassDef | None = None

    @property
    def inside(self) -> Scopes:
        """The scopes of what stands in its body."""
        return (*self.scopes, self.node)


@dataclass(frozen=True, slots=True)
class FileScopes:
    """The nodes of a file with the functions and classes around each, the outermost first."""

    nodes: Sequence[tuple[ast.AST, Scopes]]
    flows: Sequence[tuple[ast.AST, Scopes]]  # those of the nodes by which a value gets another name
    definitions: Mapping[str, Sequence[ScopedDefinition]]
    lambdas: Sequence[tuple[ast.Lambda, Scopes]]
    own: Mapping[
        ast.AST | None, frozenset[str]
    ]  # function -> names that are its own, parameters included; None: the module
    imports: ImportedNames
    values: frozenset[str]  # names of functions that are used other than by a call: something may call them later
    of_comprehensions: frozenset[int]  # identities of the nodes that name what a comprehension has to itself

    def owner_of(self, name: str, scopes: Scopes) -> Scopes:
        """Return the scopes of the function that a name belongs to where it is used; () for one of the module.

        The body of a class has its names to itself.
        """
        for depth in range(len(scopes), 0, -1):
            scope = scopes[depth - 1]
            if isinstance(scope, ast.ClassDef):
                if depth == len(scopes) and name in self.own[scope]:
                    return scopes[:depth]
            elif name in self.own[scope]:
                return scopes[:depth]
        return ()

    def is_variable(self, called: ast.expr, scopes: Scopes) -> bool:
        """Return whether what is called is a function of a table, or one that a variable holds: any may be meant."""
        if not isinstance(called, ast.Name):
            return not isinstance(called, ast.Attribute)
        is_given = called.id in self.own[None] or bool(self.owner_of(called.id, scopes))
        return is_given and called.id not in self.definitions and called.id not in self.imports.imported


@cached_by_text
def file_scopes(text: str, where: str) -> FileScopes:
    """Return the scopes of a file. Raises RenderError if it is not Python."""
    tree = parse(text, where)
    nodes = list(with_scopes(tree))
    definitions: dict[str, list[ScopedDefinition]] = {}
    called = {id(node.func) for node, _ in nodes if isinstance(node, ast.Call)}
    for node, scopes in nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            above = scopes[-1] if scopes else None
            owner = above if isinstance(above, ast.ClassDef) else None
            definitions.setdefault(node.name, []).append(ScopedDefinition(node, scopes, owner))
    loads = (
        node.id if isinstance(node, ast.Name) else node.attr
        for node, _ in nodes
        if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load) and id(node) not in called
    )
    return FileScopes(
        nodes,
        [each for each in nodes if isinstance(each[0], _FLOWS)],
        definitions,
        [(node, scopes) for node, scopes in nodes if isinstance(node, ast.Lambda)],
        _own_names(nodes, names := _of_comprehensions(nodes)),
        imported_names(text, where),
        frozenset(definitions).intersection(loads),
        names,
    )


def _of_comprehensions(nodes: Sequence[tuple[ast.AST, Scopes]]) -> frozenset[int]:
    made = (each for node, _ in nodes if isinstance(node, _COMPREHENSIONS) for each in node.generators)
    return frozenset(id(name) for each in made for name in ast.walk(each.target))


def _own_names(
    nodes: Sequence[tuple[ast.AST, Scopes]], of_comprehensions: frozenset[int]
) -> dict[ast.AST | None, frozenset[str]]:
    own: dict[ast.AST | None, set[str]] = {node: set() for node, _ in nodes if isinstance(node, _MAKES_SCOPE)}
    own[None] = set()
    elsewhere: dict[ast.AST | None, set[str]] = {node: set() for node in own}
    for node, scopes in nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            own[node] |= {each.arg for each in arguments(node)}
        scope = scopes[-1] if scopes else None
        if isinstance(node, ast.Global | ast.Nonlocal):
            elsewhere[scope] |= set(node.names)
            own[None] |= set(node.names)
        elif id(node) not in of_comprehensions:
            own[scope] |= set(bound_by(node))
    return {scope: frozenset(names - elsewhere[scope]) for scope, names in own.items()}


def bound_by(node: ast.AST) -> Iterator[str]:
    """Yield the names that a node binds in the scope that it stands in, or that `global` and `nonlocal` name for it."""
    match node:
        case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
            yield name
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
            yield name
        case ast.MatchMapping(rest=str(name)):
            yield name
        case ast.Import(names=names) | ast.ImportFrom(names=names):
            yield from ((each.asname or each.name).partition(".")[0] for each in names)


def arguments(function: Function | ast.Lambda) -> list[ast.arg]:
    """Return the parameters of a function in their order, `*args` and `**kwargs` last."""
    given = function.args
    more = [each for each in (given.vararg, given.kwarg) if each is not None]
    return [*given.posonlyargs, *given.args, *given.kwonlyargs, *more]
