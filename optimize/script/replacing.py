"""Finds what would replace a class's field, a dictionary's entry or a variable when a script runs, as far as its text shows it.

The object is followed under any name (`aliases.py`). What a library does with it is not seen.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from functools import lru_cache, partial, wraps

from optimize.script.alias_steps import aliases_of
from optimize.script.aliases import COPIES, Aliases, ObjectOrigin, last_name
from optimize.script.bindings import DICT_WRITERS, Scopes
from optimize.script.file_imports import writers_of
from optimize.script.file_scopes import FileScopes, Function, arguments, file_scopes
from optimize.script.known_keys import keys_of_call
from optimize.script.owners import mentions
from optimize.script.spans_in_functions import scope_named

_CHANGING = (
    *DICT_WRITERS,
    "merge_update",
    "update_from_flattened_dict",
    "set_params",
)  # ml_collections', scikit-learn's
_REPLACE = ("replace", "dataclasses.replace", "copy.replace", "_replace", "evolve", "model_copy")
_CALLS_AS_IT_IS = ("no_grad", "inference_mode", "enable_grad", "compile")  # decorators that give no argument
_AS_VALUE = re.compile(r"\bsys\s*\.\s*modules\b|import_module|__import__|\bimport\s+modules\b")  # of a module
_MAKES_ITSELF = re.compile(r"\bcls\(|type\(self\)\(|__class__\(")  # within its own class
_NAMES_CLASSES = re.compile(r"_target_|class_path|\btype\b|\bname\b")  # in a configuration: what is called, as text
_SETS = ("setattr", "delattr", "setitem", "delitem", "__setattr__", "__delattr__")


def kept_for_files(find: Callable[..., Iterator[str]]) -> Callable[..., tuple[str, ...]]:
    """Keep what a function finds in its first argument, files: it is asked for in every trial."""
    cached = lru_cache(maxsize=256)(lambda files, *given: tuple(find(dict(files), *given)))

    @wraps(find)
    def of_files(files: Mapping[str, str], *given: Hashable) -> tuple[str, ...]:
        return cached(tuple(files.items()), *given)

    return of_files


@kept_for_files
def replaced_field(
    files: Mapping[str, str], owner: str, name: str, position: int, own: tuple[str, int, int]
) -> Iterator[str]:
    """Yield `file:line: statement` for each that gives the field `name` of class `owner` another value.

    `position` is the field's place among the arguments of the class. `own` is the file, line and column of the value itself: a
    call that holds it replaces nothing.
    """

    def sets(node: ast.AST, holds: Callable[[ast.AST], bool]) -> bool:
        return _makes(node, owner, name, position) or _in_subclass(node, owner, name) or _sets_field(node, holds, name)

    for file, node in _found(files, ObjectOrigin(owner, owner=True), sets):
        if not _surrounds(node, file, own):
            yield _line(file, node)


@kept_for_files
def replaced_entry(files: Mapping[str, str], origin: ObjectOrigin, keys: tuple[str, ...]) -> Iterator[str]:
    """Yield `file:line: statement` for each that changes the dictionary of `origin` so that the entry may have another value."""

    def changes(node: ast.AST, holds: Callable[[ast.AST], bool]) -> bool:
        return _changes_entry(node, holds, keys) and not _brings(node, holds)

    for file, node in _found(files, origin, changes):
        if not _updates_others(files, file, node, keys):
            yield _line(file, node)


def _brings(node: ast.AST, holds: Callable[[ast.AST], bool]) -> bool:
    """Return whether this is `defaults.update(own_defaults())`, which puts the dictionary itself into another one."""
    match node:
        case ast.Call(func=ast.Attribute(attr="update"), args=[ast.Call() as given], keywords=[]):
            return holds(given)
    return False


def _updates_others(files: Mapping[str, str], file: str, node: ast.AST, keys: Sequence[str]) -> bool:
    """Return whether this is `defaults.update(more_defaults())` with a function whose dictionary has none of these keys."""
    match node:
        case ast.Call(func=ast.Attribute(attr="update"), args=[ast.Call() as given], keywords=[]):
            known = keys_of_call(files, file, given)
            return known is not None and not known.intersection(keys)
    return False


@kept_for_files
def replaced_argument(files: Mapping[str, str], origin: ObjectOrigin, name: str) -> Iterator[str]:
    """Yield `file:line: statement` for each that sets `name` of an object that a call makes, other than by its methods."""

    def sets(node: ast.AST, holds: Callable[[ast.AST], bool]) -> bool:
        match node:
            case ast.Attribute(value=base, attr=attr, ctx=ast.Store() | ast.Del()):
                return attr == name and holds(base)
            case ast.Subscript(value=base, slice=ast.Constant(value=key), ctx=ast.Store() | ast.Del()):
                return key == name and holds(base)
            case ast.Call(func=func, args=[base, key, *_]) if last_name(func) in _SETS and holds(base):
                return not isinstance(key, ast.Constant) or str(key.value) == name
        return False

    for file, node in _found(files, origin, sets):
        yield _line(file, node)


@kept_for_files
def replaced_local(files: Mapping[str, str], file: str, path: str) -> Iterator[str]:
    """Yield `file:line: statement` for each that gives a variable another value: a parameter, or one of the module."""
    *outer, name = path.split(".")
    for other, line in writers_of(files, file, name) if not outer else ():
        yield f"{other}:{line}: `{name}` of this module"
    scope = scope_named(file_scopes(files[file], file), outer, file)
    function, above = (None, None, *scope)[-1], (None, None, *scope)[-2]
    if not isinstance(function, Function) or name not in (each.arg for each in arguments(function)):
        return
    order = [each.arg for each in (*function.args.posonlyargs, *function.args.args)]
    place, called, decorators = (
        order.index(name) if name in order else len(order),
        function.name,
        function.decorator_list,
    )
    if isinstance(above, ast.ClassDef):
        if function.name != "__init__" or _MAKES_ITSELF.search(ast.unparse(above)):
            yield f"{file}:{function.lineno}: `{function.name}` of a class, which others may call,"
            return
        place, called, decorators = place - 1, above.name, [*decorators, *above.decorator_list]
    for each in decorators:
        if last_name(each.func if isinstance(each, ast.Call) else each) not in _CALLS_AS_IT_IS:
            yield f"{file}:{each.lineno}: `@{ast.unparse(each):.60}`"
    for other, text in files.items():
        if mentions(text, called):
            yield from _giving(other, text, called, other == file, name, place)


def _giving(file: str, text: str, called: str, own: bool, name: str, place: int) -> Iterator[str]:
    """Yield what may call a function, or make an instance of a class, with this argument."""
    if not file.endswith(".py"):
        if _NAMES_CLASSES.search(text):
            yield f"{file}: `{called}`"
        return
    for node in _uses(file_scopes(text, file), called, own, bool(_AS_VALUE.search(text))):
        if not isinstance(node, ast.Call) or _gives(node, name, place):
            yield f"{file}:{getattr(node, 'lineno', 0)}: `{ast.unparse(node).splitlines()[0]:.60}`"


def _found(
    files: Mapping[str, str], origin: ObjectOrigin, wanted: Callable[[ast.AST, Callable[[ast.AST], bool]], bool]
) -> Iterator[tuple[str, ast.AST]]:
    """Yield the nodes that are `wanted`, in the order of the files' texts."""
    aliases = aliases_of(files, origin)
    for file in (each for each in files if each in aliases.seen):
        found = [n for n, scopes in aliases.seen[file].nodes if wanted(n, partial(_holds, aliases, file, scopes))]
        yield from ((file, node) for node in sorted(found, key=lambda each: getattr(each, "lineno", 0)))


def _holds(aliases: Aliases, file: str, scopes: Scopes, node: ast.AST) -> bool:
    return aliases.holds(node, file, scopes)


def _surrounds(node: ast.AST, file: str, own: tuple[str, int, int]) -> bool:
    inside = (each for each in ast.walk(node) if isinstance(each, ast.expr))
    return isinstance(node, ast.Call) and any((file, each.lineno, each.col_offset) == own for each in inside)


def _makes(node: ast.AST, owner: str, name: str, position: int) -> bool:
    """Return whether a call makes an instance with this field."""
    if not isinstance(node, ast.Call) or last_name(node.func) != owner:
        return False
    starred = any(isinstance(each, ast.Starred) for each in node.args)
    return starred or len(node.args) > position or any(each.arg in (name, None) for each in node.keywords)


def _in_subclass(node: ast.AST, owner: str, name: str) -> bool:
    """Return whether a subclass gives the field another value."""
    if not isinstance(node, ast.ClassDef) or owner not in map(last_name, node.bases):
        return False
    targets = [
        target
        for each in node.body
        for target in (each.targets if isinstance(each, ast.Assign) else [getattr(each, "target", None)])
    ]
    return any(isinstance(each, ast.Name) and each.id == name for each in targets)


def _sets_field(node: ast.AST, holds: Callable[[ast.AST], bool], name: str) -> bool:
    match node:
        case ast.Attribute(value=base, attr=attr, ctx=ast.Store() | ast.Del()) if attr == name:
            return holds(base)
        case ast.Call(func=func, args=args, keywords=given) if ast.unparse(func) in _REPLACE or (
            last_name(func) in _REPLACE[3:]
        ):
            objects = args[:1] or ([func.value] if isinstance(func, ast.Attribute) else [])
            return any(map(holds, objects)) and any(each.arg in (name, None) for each in given)
    return _sets_by_name(node, holds, [name])


def _sets_by_name(node: ast.AST, holds: Callable[[ast.AST], bool], names: Sequence[str]) -> bool:
    """`setattr(config, "lr", 1)`, `vars(config)["lr"] = 1`, `config.__dict__.update(...)`, `config |= other`."""
    match node:
        case ast.Call(func=func, args=[base, key, *_]) if last_name(func) in _SETS and holds(base):
            return not isinstance(key, ast.Constant) or str(key.value) in names
        case ast.Call(func=ast.Attribute(value=base, attr=method), args=[key, *_]) if method in _SETS and holds(base):
            return not isinstance(key, ast.Constant) or str(key.value) in names
        case ast.Subscript(value=base, slice=key, ctx=ast.Store() | ast.Del()) if holds(base):
            return not isinstance(key, ast.Constant) or str(key.value) in names
        case ast.Call(func=ast.Attribute(value=base, attr=method), args=args, keywords=given) if method in _CHANGING:
            return holds(base) and _may_touch(args, given, names)
        case ast.AugAssign(target=ast.Name() as target, op=ast.BitOr()):
            return holds(target)
    return False


def _changes_entry(node: ast.AST, holds: Callable[[ast.AST], bool], keys: Sequence[str]) -> bool:
    match node:
        case ast.Attribute(value=base, attr=attr, ctx=ast.Store() | ast.Del()) if attr in keys:
            return holds(base)
        case ast.Dict(keys=names, values=values):
            copied = [place for place, name in enumerate(names) if name is None and holds(values[place])]
            return bool(copied) and any(_may_be(each, keys) for each in names[copied[0] + 1 :] if each is not None)
        case ast.Call(func=func, args=args, keywords=given) if last_name(func) in COPIES:
            every = [*args, *(each.value for each in given if each.arg is None)]
            return any(map(holds, every)) and any(each.arg in keys for each in given)
        case ast.BinOp(left=left, op=ast.BitOr(), right=right) if holds(left):
            return not isinstance(right, ast.Dict) or any(each is None or _may_be(each, keys) for each in right.keys)
    return _sets_by_name(node, holds, keys)


def _may_be(node: ast.expr, keys: Sequence[str]) -> bool:
    return not isinstance(node, ast.Constant) or str(node.value) in keys


def _may_touch(args: Sequence[ast.expr], given: Sequence[ast.keyword], keys: Sequence[str]) -> bool:
    """Whether arguments of `update` and its like may hold one of the keys; a dictionary that is written out tells."""
    for arg in args[:1]:
        if isinstance(arg, ast.Constant):
            return str(arg.value) in keys
        if not isinstance(arg, ast.Dict) or not all(isinstance(key, ast.Constant) for key in arg.keys):
            return True
        if any(str(key.value) in keys for key in arg.keys if isinstance(key, ast.Constant)):
            return True
    return not (args or given) or any(each.arg is None or each.arg in keys for each in given)


def _line(file: str, node: ast.AST) -> str:
    text = ast.unparse(node).split("\n")[0]
    return f"{file}:{getattr(node, 'lineno', 0)}: `{text[:60]}`"


def _uses(scopes: FileScopes, name: str, own: bool, hidden: bool) -> Iterator[ast.AST]:
    """Yield the calls of a function, and everything that may hand it on to be called elsewhere.

    `hidden`: a variable may hold its module, so that whatever has its name may be meant.
    """
    called = {id(node.func): node for node, _ in scopes.nodes if isinstance(node, ast.Call)}
    imported, types = scopes.imports.imported, _of_types(scopes)
    for node in (each for each, _ in scopes.nodes if id(each) not in types):
        match node:
            case ast.Name(id=used, ctx=ast.Load()) if used == name and (
                own or used in imported or scopes.imports.stars
            ):
                yield called.get(id(node), node)
            case ast.Attribute(value=base, attr=used, ctx=ast.Load()) if used == name:
                if hidden or (isinstance(base, ast.Name) and base.id in imported):
                    yield called.get(id(node), node)
            case ast.ImportFrom(names=names) if any(
                each.name == name and each.asname not in (None, name) for each in names
            ):
                yield node
            case ast.Call(func=func, args=[_, ast.Constant(value=str(used)), *_]) if used == name:
                if last_name(func) == "getattr":
                    yield node
            case ast.Subscript(value=ast.Call(), slice=ast.Constant(value=str(used))) if used == name:
                yield node


def _of_types(scopes: FileScopes) -> set[int]:
    """Return the identities of the nodes in annotations, and in what `isinstance` compares with: they call nothing."""
    parts: list[ast.AST | None] = []
    for node, _ in scopes.nodes:
        match node:
            case ast.AnnAssign(annotation=kind) | ast.arg(annotation=kind):
                parts.append(kind)
            case ast.FunctionDef(returns=kind) | ast.AsyncFunctionDef(returns=kind):
                parts.append(kind)
            case ast.Call(func=ast.Name(id="isinstance" | "issubclass" | "super"), args=args):
                parts += args
    return {id(each) for part in parts if part is not None for each in ast.walk(part)}


def _gives(call: ast.Call, name: str, place: int) -> bool:
    starred = any(isinstance(each, ast.Starred) for each in call.args)
    return starred or len(call.args) > place or any(each.arg in (name, None) for each in call.keywords)
