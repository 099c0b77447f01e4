"""Follows an object through Python files: which expressions may stand for it, for a part or for a copy of it, under any name.

`alias_steps.py` follows it through one statement. A function that the files do not define is taken to change nothing. Nothing is
executed.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from optimize.script.bindings import Scopes
from optimize.script.file_scopes import FileScopes, ScopedDefinition, file_scopes
from optimize.script.files_read import names_imported
from optimize.script.owners import mentions, plain_text
from optimize.script.trees import MANY_FILES

COPIES = {
    "dict", "list", "tuple", "set", "sorted", "reversed", "iter", "vars", "asdict", "_asdict", "copy", "deepcopy", "OrderedDict",
    "Namespace", "SimpleNamespace", "EasyDict", "edict", "Munch", "munchify", "AttrDict", "Box", "DotMap", "ConfigDict",
    "FrozenConfigDict", "DictConfig", "create", "to_container", "to_object", "structured", "replace", "items", "values", "cast",
    "MappingProxyType", "ChainMap", "defaultdict", "Dict", "zip", "enumerate", "filter", "partial",
}  # fmt: skip
_GETS = ("get", "pop", "setdefault", "__getitem__", "getattr", "attrgetter")
_DEFINED = re.compile(r"\b(?:def|class)\s+(\w+)")


@dataclass(frozen=True)
class ObjectOrigin:
    """Where an object comes from: a name of a module or of a function in it, or, with `owner`, every instance of a class."""

    name: str  # "return": what the function returns
    file: str = ""
    function: str = ""  # dotted, with the functions and classes around it; "": the module
    owner: bool = False  # the name is that of a class
    path: tuple[str, ...] = ()  # keys from the object to what is asked about, without the last: only these parts count


@dataclass
class Aliases:
    """What may stand for the object in these Python files; those in `seen` hold one of its names."""

    files: Mapping[str, str]
    origin: ObjectOrigin
    seen: dict[str, FileScopes] = field(default_factory=dict)
    names: set[tuple[str, Scopes, str]] = field(default_factory=set)
    attributes: set[str] = field(default_factory=set)
    returned_by: set[str] = field(default_factory=set)  # functions
    exported: set[str] = field(default_factory=set)  # names of modules, which others may import
    keys: set[str] = field(default_factory=set)  # under which a container has it
    called: set[str] = field(default_factory=set)  # "lambda", once one returns it

    def holds(self, node: ast.AST | None, file: str, scopes: Scopes) -> bool:
        """Return whether an expression may stand for the object, a part or a copy of it, or something that contains it."""

        def inner(each: ast.AST | None) -> bool:
            return self.holds(each, file, scopes)

        match node:
            case ast.Name(id=name):
                return self._holds_name(name, file, scopes)
            case ast.Attribute(value=base, attr=attr):
                whole = attr in {*self.origin.path, *self.keys, "__dict__"} and inner(base)
                return attr in self.attributes or whole or self._is_exported(base, attr, file)
            case ast.Subscript(value=base, slice=key):
                return (self._is_part(key) and inner(base)) or "__getitem__" in self.returned_by
            case ast.Starred(value=base) | ast.Await(value=base) | ast.NamedExpr(value=base):
                return inner(base)
            case ast.Call(func=func, args=args, keywords=keywords):
                return self._may_return(func, file, scopes) or self._holds_call(func, args, keywords, inner)
            case ast.IfExp(body=one, orelse=other) | ast.BinOp(left=one, op=ast.BitOr(), right=other):
                return inner(one) or inner(other)
            case (
                ast.BoolOp(values=parts)
                | ast.Tuple(elts=parts)
                | ast.List(elts=parts)
                | ast.Set(elts=parts)
                | ast.Dict(values=parts)
            ):
                return any(map(inner, parts))
            case (
                ast.DictComp(generators=made)
                | ast.ListComp(generators=made)
                | ast.SetComp(generators=made)
                | ast.GeneratorExp(generators=made)
            ):
                return any(inner(each.iter) for each in made)
            case ast.Lambda(body=body):
                return self.holds(body, file, (*scopes, node))
        return False

    def _is_attribute(self, name: ast.expr) -> bool:
        return bool(self.attributes) and (not isinstance(name, ast.Constant) or name.value in self.attributes)

    def _is_part(self, key: ast.expr) -> bool:
        """Return whether what has this key may be the object, or a part of it that matters."""
        return (
            not isinstance(key, ast.Constant)
            or type(key.value) is int
            or str(key.value) in {*self.origin.path, *self.keys}
        )

    def _holds_name(self, name: str, file: str, scopes: Scopes) -> bool:
        if self.origin.owner and name == self.origin.name:
            return True
        own = self.seen.get(file)
        owner = own.owner_of(name, scopes) if own else ()
        return (file, owner, name) in self.names or (file, scopes, name) in self.names

    def _may_return(self, func: ast.expr, file: str, scopes: Scopes) -> bool:
        """Return whether a function that a variable or a table holds may be one that returns the object."""
        own = self.seen.get(file)
        return own is not None and own.is_variable(func, scopes) and bool(self.returned_by & self.functions_as_values())

    def functions_as_values(self) -> set[str]:
        """Return the names of functions and classes that are used other than by a call."""
        return {name for own in self.seen.values() for name in own.values}

    def _is_exported(self, base: ast.expr, attr: str, file: str) -> bool:
        """Return whether this is a name of another module, as `conf.settings`."""
        own = self.seen.get(file)
        if attr not in self.exported or own is None:
            return False
        modules = {alias or module for module, alias in own.imports.modules}
        return ast.unparse(base) in modules.union(alias for _, _, alias in own.imports.names)

    def _holds_call(
        self,
        func: ast.expr,
        args: Sequence[ast.expr],
        keywords: Sequence[ast.keyword],
        inner: Callable[[ast.AST | None], bool],
    ) -> bool:
        called = last_name(func)
        if called in self.returned_by or (self.origin.owner and called == self.origin.name):
            return True
        if isinstance(func, ast.Attribute) and called in (*COPIES, *_GETS) and inner(func.value):
            return called not in _GETS or not args or self._is_part(args[0])
        if isinstance(func, ast.Name | ast.Lambda) and self.called and inner(func):
            return True
        if called == "getattr" and len(args) > 1 and self._is_attribute(args[1]):
            return True
        return called in COPIES and any(map(inner, [*args, *(each.value for each in keywords)]))

    def defined(self, name: str) -> Iterator[tuple[str, ScopedDefinition]]:
        """Yield file and definition of the functions and classes of this name; these files are looked at from now on."""
        for file in _files_that_define(tuple(self.files.items())).get(name, ()):
            scopes = self.look_at(file)
            yield from ((file, each) for each in scopes.definitions.get(name, ()))

    def look_at(self, file: str) -> FileScopes:
        """Return the scopes of a file, which is looked at from now on."""
        if file not in self.seen:
            self.seen[file] = file_scopes(self.files[file], file)
        return self.seen[file]

    def look_further(self) -> None:
        """Look at every file that may import a name of the object, or take it from something."""
        self.exported |= {name for _, scopes, name in self.names if not scopes}
        for file, text in self.files.items():
            if file in self.seen:
                continue
            known, mine = _words(text), {name for name in self.exported if mentions(text, name)}
            if (
                known.taken.keys() & self.attributes
                or known.called & self.returned_by
                or mine & known.imported
                or (mine and "*" in known.imported)
                or any(known.taken.get(name, set()) & known.imported for name in mine)
            ):
                self.look_at(file)

    def size(self) -> int:
        """Return how much is known: it only grows."""
        kept = (self.seen, self.names, self.attributes, self.returned_by, self.exported, self.keys, self.called)
        return sum(map(len, kept))


@dataclass(frozen=True)
class _TextWords:
    """What a text may import, call, and take of what, by its words."""

    imported: frozenset[str]
    called: frozenset[str]
    taken: Mapping[str, set[str]]  # attribute -> the words before its dot


@lru_cache(maxsize=MANY_FILES)
def _words(text: str) -> _TextWords:
    plain, taken = plain_text(text), dict[str, set[str]]()
    for base, name in re.findall(r"(?<!\w)(\w*)[)\]\s]*\.\s*(\w+)", plain):
        taken.setdefault(name, set()).add(base)
    return _TextWords(frozenset(names_imported(plain)), frozenset(re.findall(r"\b(\w+)\s*\(", plain)), taken)


@lru_cache(maxsize=8)
def _files_that_define(files: tuple[tuple[str, str], ...]) -> Mapping[str, Sequence[str]]:
    found: dict[str, list[str]] = {}
    for file, text in files:
        for name in dict.fromkeys(_DEFINED.findall(plain_text(text))):
            found.setdefault(name, []).append(file)
    return found


def last_name(node: ast.AST | None) -> str:
    """Return the last part of a dotted name, "" of any other expression."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def scopes_named(scopes: FileScopes, path: str) -> Scopes:
    """Return the scopes within a function by its dotted path; () for "", the module."""
    *outer, name = path.split(".")
    above = scopes_named(scopes, ".".join(outer)) if outer else ()
    found = [each for each in scopes.definitions.get(name, ()) if each.scopes == above]
    return found[0].inside if found else ()


def words(names: Iterable[str]) -> re.Pattern[str]:
    """Return a regex for any of these names as a word."""
    return re.compile(rf"\b(?:{'|'.join(map(re.escape, names))})\b")
