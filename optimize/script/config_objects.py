"""Reads configuration objects that a script fills attribute by attribute: ml_collections, yacs, minGPT's CfgNode, EasyDict.

`C.trainer.learning_rate = 5e-4` gives the entry `trainer.learning_rate`. It follows the functions of the files that make or fill
such an object, as far as their text goes. Nothing is executed: what depends on a condition, or on a call, is an unreadable value.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from optimize.script.config_tables import ConfigObject, ConfigTable, Leaf, Object, entries_of
from optimize.script.definitions import Definition, callers_of, find_definition, functions_around, parameter_names
from optimize.script.source_names import Function, SourceNames, UnreadableValue, read_names

_MAKERS = (
    "CN", "CfgNode", "ConfigNode", "ConfigDict", "FrozenConfigDict", "EasyDict", "edict", "AttrDict", "Munch", "Box",
    "SimpleNamespace", "Namespace", "dict", "create",
)  # fmt: skip
_COPIES = ("clone", "copy", "deepcopy", "copy_and_resolve_references")
_HARMLESS = ("print", "len", "str", "repr", "isinstance", "hasattr", "info", "debug", "pprint", "dumps", "dump")
_STILL = (
    "lock",
    "unlock",
    "freeze",
    "defrost",
    "is_frozen",
    "set_new_allowed",
    "to_dict",
    "dump",
    "get",
    "keys",
    "items",
)
_FROM_FILE = ("merge_from_file", "merge_from_other_cfg", "merge_from_list", "merge_from_args")
MOST_CALLS = 12  # functions within functions that are followed


@dataclass(slots=True)
class _Scope:
    """The names of a function or a module while its statements are followed."""

    names: SourceNames
    file: str
    own: frozenset[str]  # parameters, and what its statements assign: no constant of the module
    found: dict[str, Object] = field(default_factory=dict)
    returned: Object | None = None


def object_returned(files: Mapping[str, str], file: str, function: str) -> ConfigObject:
    """Return the object that a function of a file returns; without entries where it returns none, or there is no such function."""
    reader = _Reader(files)
    return reader.described(reader.call(function, file, ()))


def object_before(files: Mapping[str, str], file: str, owner: ast.expr, line: int) -> ConfigObject:
    """Return the object that an expression of a file stands for right before a line; without entries where it is none."""
    reader = _Reader(files)
    return reader.described(reader.before(file, owner, line))


def _scope(names: SourceNames, file: str, function: Function | None) -> _Scope:
    if function is None:
        return _Scope(names, file, frozenset())
    stored = {n.id for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    given = {each.arg for each in ast.walk(function.args) if isinstance(each, ast.arg)}
    return _Scope(names, file, frozenset(stored | given))


class _Reader:
    """Follows statements in order. A table is one object, whatever names stand for it."""

    def __init__(self, files: Mapping[str, str]) -> None:
        self._files = {file: text for file, text in files.items() if file.endswith(".py")}
        self._modules: dict[str, dict[str, Object]] = {}
        self._followed: list[ast.AST] = []  # functions and modules within one another
        self._built: set[tuple[str, int]] = set()
        self._found_in: dict[tuple[str, str], Definition | None] = {}

    def described(self, made: Object | None) -> ConfigObject:
        """Return a table with what was followed so far."""
        return ConfigObject(tuple(entries_of(made)) if isinstance(made, ConfigTable) else (), frozenset(self._built))

    def before(self, file: str, owner: ast.expr, line: int) -> Object | None:
        """Return what an expression of a file stands for before a line: in its function, else among the module's statements.

        What is a parameter there stands for what the function's first caller gives.
        """
        names = read_names(self._files[file], file)
        function = next(iter(functions_around(names.tree, line)), None)
        if function in self._followed or len(self._followed) >= MOST_CALLS:
            return None
        scope = _scope(names, file, function)
        if function is not None and isinstance(owner, ast.Name) and owner.id in parameter_names(function):
            self._followed.append(function)
            caller, call = next(callers_of(self._files, function.name), (file, None))
            place = parameter_names(function).index(owner.id)
            given = self.before(caller, call.args[place], call.lineno) if call and place < len(call.args) else None
            self._followed.pop()
            scope.found = {owner.id: given} if given is not None else {}
        if function is None:
            self._modules[file] = scope.found
        self.follow(function.body if function is not None else names.tree.body, scope, until=line)
        return self.object_of(owner, scope)

    def call(self, name: str, file: str, given: Sequence[Object | None], conditional: bool = False) -> Object | None:
        """Return what a function returns that is called so in a file, None where it is not found or returns no such object."""
        found = find_definition(self._files, name, file)
        if found is None or not isinstance(found.node, Function) or found.node in self._followed:
            return None
        scope = _scope(read_names(self._files[found.file], found.file), found.file, found.node)
        pairs = zip(parameter_names(found.node), given, strict=False)
        scope.found = {name: each for name, each in pairs if each is not None}
        self._inside(found.node, found.node.body, scope, conditional)
        return scope.returned

    def _inside(self, node: ast.AST, body: Sequence[ast.stmt], scope: _Scope, conditional: bool = False) -> None:
        if len(self._followed) < MOST_CALLS:
            self._followed.append(node)
            self.follow(body, scope, conditional=conditional)
            self._followed.pop()

    def follow(self, body: Iterable[ast.stmt], scope: _Scope, until: int = 0, conditional: bool = False) -> None:
        """Follow statements, those before the line `until` if it is given."""
        for node in body:
            if until and node.lineno >= until:
                return
            self._built.add((scope.file, node.lineno))
            match node:
                case ast.Assign(targets=targets, value=value):
                    made = self.object_of(value, scope)
                    for target in targets:
                        self._assign(target, made, scope, conditional)
                case ast.AnnAssign(target=target, value=ast.expr() as value):
                    self._assign(target, self.object_of(value, scope), scope, conditional)
                case ast.AugAssign(target=target, value=value):
                    self._loosen(value, scope)
                    self._assign(target, Leaf(value, scope.file, node.lineno), scope, True)
                case ast.Expr(value=ast.Call() as call):
                    self._called(call, scope, conditional)
                case ast.Return(value=ast.expr() as value):
                    scope.returned = self.object_of(value, scope)
                case ast.With() | ast.If() | ast.For() | ast.While() | ast.Try():
                    self._follow_inner(node, scope, until, conditional)
                case _ if node not in scope.names.functions.values() and not isinstance(
                    node, ast.Import | ast.ImportFrom
                ):
                    for each in ast.walk(node):
                        if isinstance(each, ast.Name):
                            self._loosen(each, scope)

    def _follow_inner(self, node: ast.stmt, scope: _Scope, until: int, conditional: bool) -> None:
        plain = isinstance(node, ast.With) or (isinstance(node, ast.If) and "__name__" in ast.unparse(node.test))
        for each in ast.iter_child_nodes(node):
            if isinstance(each, ast.expr) and each is not getattr(node, "target", None):
                self._loosen(each, scope)
        if isinstance(node, ast.For):
            self._assign(node.target, Leaf(node.iter, scope.file, node.lineno), scope, True)
        for part in ("body", "orelse", "finalbody"):
            self.follow(getattr(node, part, []), scope, until, conditional or not plain)
        for handler in getattr(node, "handlers", []):
            self.follow(handler.body, scope, until, True)

    def object_of(self, node: ast.expr, scope: _Scope) -> Object:
        """Return the table that an expression stands for, else a leaf."""
        found = self._table_of(node, scope)
        if found is not None:
            return found
        self._loosen(node, scope)
        leaf = Leaf(node, scope.file, node.lineno)
        used = {each.id for each in ast.walk(node) if isinstance(each, ast.Name)} & (scope.own | set(scope.found))
        try:
            value = scope.names.value(node) if not used else None
        except UnreadableValue:
            return leaf
        return leaf if used else Leaf(node, scope.file, node.lineno, value, True)

    def _table_of(self, node: ast.expr, scope: _Scope) -> Object | None:
        match node:
            case ast.Dict(keys=keys, values=values):
                pairs = [(k.value if isinstance(k, ast.Constant) else "", v) for k, v in zip(keys, values, strict=True)]
                return ConfigTable({k: self.object_of(v, scope) for k, v in pairs if isinstance(k, str) and k})
            case ast.Call():
                return self._made(node, scope)
        return self._named(node, scope)

    def _named(self, node: ast.expr, scope: _Scope) -> Object | None:
        """Return what a name stands for, or a chain of keys that begins with one."""
        match node:
            case ast.Name(id=name):
                if name in scope.found or name in scope.own:
                    return scope.found.get(name)
                return self._imported(name, scope)
            case ast.Attribute(value=base, attr=key) | ast.Subscript(value=base, slice=ast.Constant(value=str(key))):
                owner = self._named(base, scope)
                return owner.get(key) if isinstance(owner, ConfigTable) else None
        return None

    def _made(self, call: ast.Call, scope: _Scope) -> Object | None:
        """Return the table that a call makes: of keywords, as a copy of another one, or in a function that is followed."""
        name = scope.names.qualified(call.func)
        last = name.rpartition(".")[2]
        if last in _COPIES:
            owner = call.func.value if isinstance(call.func, ast.Attribute) and not call.args else None
            source = owner if owner is not None else call.args[0] if call.args else None
            return copy.deepcopy(self._named(source, scope)) if source is not None else None
        if last in _MAKERS and not any(isinstance(self._named(each, scope), ConfigTable) for each in call.args):
            made = ConfigTable()
            for each in call.args[:1]:
                given = self._table_of(each, scope)
                made.update(given if isinstance(given, ConfigTable) else {})
            made.update({each.arg: self.object_of(each.value, scope) for each in call.keywords if each.arg})
            return made
        return self._followed_call(call, scope) if self._definition(call, scope) else None

    def _definition(self, call: ast.Call, scope: _Scope) -> bool:
        """Return whether a call is of a function of these files."""
        name = scope.names.qualified(call.func)
        found = find_definition(self._files, name, scope.file) if name.split(".")[0] not in scope.own else None
        return found is not None and isinstance(found.node, Function)

    def _followed_call(self, call: ast.Call, scope: _Scope, conditional: bool = False) -> Object | None:
        given = [self._named(each, scope) for each in call.args]
        for each, table in zip(call.args, given, strict=True):
            if not isinstance(table, ConfigTable):
                self._loosen(each, scope)
        for word in call.keywords:
            self._loosen(word.value, scope)
        return self.call(scope.names.qualified(call.func), scope.file, given, conditional)

    def _imported(self, name: str, scope: _Scope) -> Object | None:
        """Return the object that a module holds under this name, the same one whenever it is asked for."""
        if (scope.file, name) not in self._found_in:
            self._found_in[scope.file, name] = find_definition(self._files, name, scope.file)
        found = self._found_in[scope.file, name]
        if found is None or not isinstance(found.node, ast.Module):
            return None
        if found.file not in self._modules:
            module = _scope(read_names(self._files[found.file], found.file), found.file, None)
            self._modules[found.file] = module.found
            self._inside(found.node, found.node.body, module)
        return self._modules.get(found.file, {}).get(found.name)

    def _assign(self, target: ast.expr, made: Object, scope: _Scope, conditional: bool) -> None:
        if isinstance(made, Leaf) and conditional:
            made = Leaf(made.node, made.file, made.line)
        match target:
            case ast.Name(id=name):
                scope.found[name] = made
            case ast.Attribute(value=base, attr=key) | ast.Subscript(value=base, slice=ast.Constant(value=str(key))):
                owner = self._owner(base, scope)
                if owner is not None:
                    owner[key] = made
                    owner.loose = owner.loose or (conditional and isinstance(made, ConfigTable))
            case ast.Tuple(elts=parts) | ast.List(elts=parts):
                for part in parts:
                    self._assign(part, Leaf(target, scope.file, target.lineno), scope, True)
            case ast.Starred(value=part):
                self._assign(part, Leaf(target, scope.file, target.lineno), scope, True)
            case ast.Subscript(value=part):
                self._loosen(part, scope)

    def _owner(self, node: ast.expr, scope: _Scope) -> ConfigTable | None:
        """Return the table that an attribute is written into; one whose making the text does not show begins empty."""
        found = self._named(node, scope)
        if isinstance(found, ConfigTable):
            return found
        match node:
            case ast.Attribute(value=base, attr=key) if isinstance(found, Leaf):
                above = self._owner(base, scope)
                if above is not None:
                    above[key] = made = ConfigTable()
                    return made
        if found is None:
            self._loosen(node, scope)
        return None

    def _called(self, call: ast.Call, scope: _Scope, conditional: bool) -> None:
        """Follow a call that may fill a table: its own `update`, or a function of these files."""
        method = call.func.attr if isinstance(call.func, ast.Attribute) else ""
        owner = self._named(call.func.value, scope) if isinstance(call.func, ast.Attribute) else None
        if isinstance(owner, ConfigTable) and method == "update" and not conditional:
            given = self._made(ast.Call(ast.Name("dict"), call.args, call.keywords), scope)
            if isinstance(given, ConfigTable) and all(isinstance(each, ast.Dict) for each in call.args):
                owner.update(given)
                return
        if self._definition(call, scope):
            self._followed_call(call, scope, conditional)
        else:
            self._loosen(call, scope)

    def _loosen(self, node: ast.AST, scope: _Scope) -> None:
        """Know no values any more of the tables that an expression hands on, except to what leaves them as they are."""
        if isinstance(node, ast.Call):
            last = scope.names.qualified(node.func).rpartition(".")[2]
            still = last in (*_HARMLESS, *_COPIES, *_STILL, *_FROM_FILE)
            owner = [node.func.value] if isinstance(node.func, ast.Attribute) else []
            for each in (*owner, *node.args, *(word.value for word in node.keywords)):
                if not (still and isinstance(self._named(each, scope), ConfigTable)):
                    self._loosen(each, scope)
        elif isinstance(node, ast.Name | ast.Attribute | ast.Subscript):
            found = self._named(node, scope)
            if isinstance(found, ConfigTable):
                found.loose = True
            elif found is None and not isinstance(node, ast.Name):
                self._loosen(node.value, scope)
        else:
            for child in ast.iter_child_nodes(node):
                self._loosen(child, scope)
