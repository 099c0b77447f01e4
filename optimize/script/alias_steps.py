"""Follows an object through single statements: from one name to the next, into the parameters of functions, and out by `return`."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from optimize.script.aliases import Aliases, ObjectOrigin, last_name, scopes_named, words
from optimize.script.bindings import Scopes
from optimize.script.file_scopes import FileScopes, Function, ScopedDefinition, arguments
from optimize.script.owners import mentions

_PUTS = {"append", "add", "insert", "extend", "put", "setdefault", "update", "appendleft", "register"}
_METHODS = ("__init__", "__new__", "__post_init__")
_CALLED = ("__call__", "forward")  # by the instance itself
_MOST_BASES = 5  # from a class to that which has its __init__
_FIRST = ("self", "cls", "mcs")


def aliases_of(files: Mapping[str, str], origin: ObjectOrigin) -> Aliases:
    """Return what may stand for an object in the Python files among these. Raises RenderError if one is not Python."""
    return _aliases(tuple(each for each in files.items() if each[0].endswith(".py")), origin)


@lru_cache(maxsize=64)  # asked for every field, and in every trial
def _aliases(files: tuple[tuple[str, str], ...], origin: ObjectOrigin) -> Aliases:
    found = Aliases(dict(files), origin)
    for file, text in files:
        if file == origin.file or (origin.owner and mentions(text, origin.name)):
            found.look_at(file)
    if origin.name == "return":
        found.look_at(origin.file)
        found.returned_by.add(origin.function.rpartition(".")[2])
    elif not origin.owner:
        found.names.add((origin.file, scopes_named(found.look_at(origin.file), origin.function), origin.name))
    before = 0
    while before != (before := found.size()):
        for file, scopes in list(found.seen.items()):
            for node, around in scopes.flows:
                AliasStep(found, file, scopes, around).take(node)
        found.look_further()
    return found


@dataclass
class AliasStep:
    """One statement or expression of a file, and what is known of the object so far."""

    found: Aliases
    file: str
    own: FileScopes
    scopes: Scopes

    def take(self, node: ast.AST) -> None:
        """Add what this node lets the object be called."""
        match node:
            case ast.Assign(targets=targets, value=value):
                for each in targets:
                    self._give(each, value)
            case ast.AnnAssign(target=target, annotation=annotation, value=value):
                if self._declares(annotation):
                    self._mark(target)
                self._give(target, value)
            case ast.NamedExpr(target=target, value=value):
                self._give(target, value)
            case ast.withitem(context_expr=value, optional_vars=target):
                self._give(target, value, "__enter__")
            case (
                ast.For(target=target, iter=value)
                | ast.AsyncFor(target=target, iter=value)
                | ast.comprehension(target=target, iter=value)
            ):
                self._give(target, value, "__iter__", "__next__")
            case ast.Match(subject=value, cases=cases) if self._holds(value):
                for part in (n for case in cases for n in ast.walk(case.pattern)):
                    if isinstance(part, ast.MatchAs | ast.MatchStar) and part.name:
                        self._name(part.name)
            case ast.Return(value=value) | ast.Yield(value=value) | ast.YieldFrom(value=value) if self._holds(value):
                self._leave()
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                self._define(node)
            case ast.ImportFrom(names=names):
                self._import(names)
            case ast.Lambda() if self._holds(node):
                self.found.called.add("lambda")
            case ast.Dict(keys=keys, values=values):
                self._keep([key for key, value in zip(keys, values, strict=True) if self._holds(value)])
            case ast.Call():
                self._call(node)

    def _keep(self, keys: Sequence[ast.expr | None]) -> None:
        self.found.keys.update(str(key.value) for key in keys if isinstance(key, ast.Constant))

    def _holds(self, node: ast.AST | None) -> bool:
        return self.found.holds(node, self.file, self.scopes)

    def _declares(self, annotation: ast.expr | None) -> bool:
        origin = self.found.origin
        return (
            origin.owner and annotation is not None and words([origin.name]).search(ast.unparse(annotation)) is not None
        )

    def _name(self, name: str) -> None:
        # a comprehension has its own names, which are no function's: they count where they stand
        self.found.names |= {(self.file, self.own.owner_of(name, self.scopes), name), (self.file, self.scopes, name)}
        if self.scopes and isinstance(self.scopes[-1], ast.ClassDef):
            self.found.attributes.add(name)

    def _give(self, target: ast.AST | None, value: ast.AST | None, *methods: str) -> None:
        """Follow an assignment; of two tuples of one length each element by itself. One of `methods` may return the value."""
        if isinstance(target, ast.Tuple | ast.List) and isinstance(value, ast.Tuple | ast.List):
            starred = any(isinstance(each, ast.Starred) for each in (*target.elts, *value.elts))
            if len(target.elts) == len(value.elts) and not starred:
                for one, other in zip(target.elts, value.elts, strict=True):
                    self._give(one, other)
                return
        if target is not None and (self._holds(value) or self.found.returned_by.intersection(methods)):
            self._mark(target)

    def _mark(self, target: ast.AST) -> None:
        """Take what is assigned to for the object, or for something that contains it."""
        match target:
            case ast.Name(id=name):
                self._name(name)
            case ast.Attribute(attr=attr):
                self.found.attributes |= self.found.keys if attr == "__dict__" else {attr}
            case ast.Subscript(value=inner, slice=key):
                self._keep([key])
                self._mark(inner)
            case ast.Starred(value=inner):
                self._mark(inner)
            case ast.Tuple(elts=parts) | ast.List(elts=parts):
                for each in parts:
                    self._mark(each)

    def _leave(self) -> None:
        function = next((each for each in reversed(self.scopes) if not isinstance(each, ast.ClassDef)), None)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            self.found.returned_by.add(function.name)
            if any("property" in ast.unparse(each) for each in function.decorator_list):
                self.found.attributes.add(function.name)

    def _define(self, node: Function) -> None:
        """Follow defaults, parameters that are declared as the class, and `self` in its own methods."""
        given, inside = node.args, (*self.scopes, node)
        positional = [*given.posonlyargs, *given.args]
        defaults = [
            *zip(reversed(positional), reversed(given.defaults), strict=False),
            *zip(given.kwonlyargs, given.kw_defaults, strict=True),
        ]
        names = [each.arg for each, default in defaults if self._holds(default)]
        names += [each.arg for each in arguments(node) if self._declares(each.annotation)]
        above = self.scopes[-1] if self.scopes else None
        if self.found.origin.owner and isinstance(above, ast.ClassDef) and positional:
            classes = {above.name, *map(last_name, above.bases)}
            names += [positional[0].arg] if self.found.origin.name in classes and positional[0].arg in _FIRST else []
        self._enter_names(self.file, inside, names)

    def _enter_names(self, file: str, inside: Scopes, names: Sequence[str]) -> None:
        self.found.names |= {(file, inside, name) for name in names}

    def _import(self, names: Sequence[ast.alias]) -> None:
        for each in names:
            if each.name in self.found.returned_by:
                self.found.returned_by.add(each.asname or each.name)
            if each.name in self.found.exported or (self.found.origin.owner and each.name == self.found.origin.name):
                self._name(each.asname or each.name)
            elif each.name == "*":
                for name in self.found.exported & self.own.imports.used - self.own.imports.defined:
                    self._name(name)

    def _call(self, call: ast.Call) -> None:
        given = [*call.args, *(each.value for each in call.keywords)]
        if not any(map(self._holds, given)):
            return
        if isinstance(call.func, ast.Attribute) and call.func.attr in _PUTS:
            self._mark(call.func.value)
        if last_name(call.func) in ("setattr", "__setattr__"):
            self._mark_by_name(call.args)
        words = {each.arg for each in call.keywords if each.arg and self._holds(each.value)}
        self.found.keys |= words
        if not any(self.found.defined(last_name(call.func))):
            self.found.attributes |= words  # of what a library makes of it
        if last_name(call.func) == "partial":
            self.found.called.add("partial")
        for name, wholly in self._called(call, given):
            for file, definition in list(self.found.defined(name)):
                self._enter(file, definition, call, wholly)
        passed = [n for each in given for n in ast.walk(each) if isinstance(n, ast.Lambda)]
        for file, own in list(self.found.seen.items()):
            for node, scopes in own.lambdas:
                if node in passed or self.own.is_variable(call.func, self.scopes):
                    self._fill(file, (*scopes, node), node, 0, call, node in passed)

    def _mark_by_name(self, args: Sequence[ast.expr]) -> None:
        for each in args:
            if isinstance(each, ast.Constant):
                self.found.attributes.add(str(each.value))
        self.found.attributes |= self.found.keys

    def _called(self, call: ast.Call, given: Sequence[ast.expr]) -> Iterator[tuple[str, bool]]:
        """Yield the functions and classes that a call may run with the object.

        Of one that is itself an argument, as in `spawn(work, args=(config,))`, any parameter may get it: True.
        """
        func, name = call.func, last_name(call.func)
        known = self.found.functions_as_values()
        imported = {alias: original for _, original, alias in self.own.imports.names}
        if name:
            yield imported.get(name, name), False
        if self.own.is_variable(func, self.scopes):
            yield from ((each, False) for each in (*known, *_CALLED))  # a function of a table, or under another name
        passed = {last_name(n) for each in given for n in ast.walk(each) if isinstance(n, ast.Name | ast.Attribute)}
        yield from ((each, True) for each in passed & known)

    def _enter(self, file: str, definition: ScopedDefinition, call: ast.Call, wholly: bool) -> None:
        node = definition.node
        if isinstance(node, ast.ClassDef):
            self._make(file, definition, call, wholly, _MOST_BASES)
            return
        parameters = [*node.args.posonlyargs, *node.args.args]
        bound = definition.owner is not None and parameters and parameters[0].arg in _FIRST
        self._fill(file, definition.inside, node, 1 if bound and not self._of_class(call.func) else 0, call, wholly)

    def _of_class(self, func: ast.expr) -> bool:
        """Return whether a method is taken from its class: `Trainer.fit(trainer, config)`."""
        base = func.value if isinstance(func, ast.Attribute) else None
        known = self.own.definitions.get(base.id, ()) if isinstance(base, ast.Name) else ()
        return any(isinstance(each.node, ast.ClassDef) for each in known)

    def _make(self, file: str, definition: ScopedDefinition, call: ast.Call, wholly: bool, depth: int) -> None:
        """Follow the object into an instance: the parameters of its methods, or its fields."""
        node = definition.node
        if not isinstance(node, ast.ClassDef):
            return
        methods = [each for each in node.body if isinstance(each, ast.FunctionDef) and each.name in _METHODS]
        for each in methods:
            self._fill(file, (*definition.inside, each), each, 1, call, wholly)
        if any(each.name == "__init__" for each in methods):
            return
        fields = [each.target for each in node.body if isinstance(each, ast.AnnAssign)]
        names = [each.id for each in fields if isinstance(each, ast.Name)]
        for place, value in enumerate(call.args):
            if wholly or self._holds(value):
                every = wholly or isinstance(value, ast.Starred)
                self.found.attributes.update(names if every else names[place : place + 1])
        given = {each.arg for each in call.keywords if wholly or self._holds(each.value)}
        self.found.attributes.update(name for name in names if name in given or None in given)
        for base in node.bases if depth else ():
            for other, above in list(self.found.defined(last_name(base))):
                self._make(other, above, call, wholly, depth - 1)

    def _fill(
        self, file: str, inside: Scopes, node: Function | ast.Lambda, shift: int, call: ast.Call, wholly: bool
    ) -> None:
        """Follow the object into the parameters of a function."""
        given = node.args
        names = [each.arg for each in (*given.posonlyargs, *given.args)]
        if wholly or any(isinstance(each, ast.Starred) and self._holds(each) for each in call.args):
            self._enter_names(file, inside, [each.arg for each in arguments(node)])
            return
        more = [given.vararg.arg] if given.vararg else []
        for place, value in enumerate(call.args, shift):
            if self._holds(value):
                self._enter_names(file, inside, names[place : place + 1] or more)
        for word in call.keywords:
            if self._holds(word.value):
                known = [each.arg for each in (*given.args, *given.kwonlyargs) if word.arg in (each.arg, None)]
                rest = [given.kwarg.arg] if given.kwarg and (word.arg is None or not known) else []
                self._enter_names(file, inside, [*known, *rest])
