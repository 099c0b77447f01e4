"""Finds the default of a class's field and the value of a dictionary's entry in a Python file, as a span of its bytes.

`Config.dropout` is a field of a class at module level: a class attribute, a dataclass's or pydantic's default,
or `self.dropout = 0.1` in `__init__`.
`config.model.width` is an entry of a dictionary, or a keyword of a call, that a constant of the module holds; in
`main.config.width` a variable of the function main holds it, and `get_config.return.width` is one of what a function returns. What
would replace such a value when the script runs, as far as the text shows it, is an objection. Nothing is executed.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence

from optimize.errors import RenderError
from optimize.script.aliases import COPIES, ObjectOrigin, last_name
from optimize.script.attributes_of_self import attribute_of, replaced_attribute
from optimize.script.bindings import module_bindings, parse
from optimize.script.constants import Constant, line_offsets, read_constants, span_of
from optimize.script.replacing import replaced_argument, replaced_entry, replaced_field
from optimize.script.spans_in_functions import (
    Variable,
    constant_at,
    find_variable,
    functions_of,
    item_of,
    keyword_of,
    result_of,
)
from optimize.script.trees import assigned_values

_LIKE_A_DICTIONARY = re.compile(r"dict|cfg|conf|node|namespace|param|args|box|munch|settings|^CN$", re.IGNORECASE)
_DEFAULTS = ("field", "Field", "dataclasses.field", "pydantic.Field", "attr.ib", "attrs.field")


def find_field(text: str, path: str, where: str) -> Constant:
    """Return the default of a field. Raises RenderError with what stands in the way."""
    *classes, name = path.split(".")
    tree = parse(text, where)
    owner = _class(tree.body, classes[0], where)
    for inner in classes[1:]:
        owner, given = _inner(tree, owner, inner, where)
        if given is not None and (value := keyword_of(given, name)) is not None:
            return constant_at(text, path, value)
    made = attribute_of(owner, name)
    return constant_at(text, path, made if made is not None else _default(_assigned(owner, name, where), where))


def find_entry(text: str, path: str, where: str) -> Constant:
    """Return the value of an entry. Raises RenderError with what stands in the way."""
    holder, keys = _holder(text, path, where)
    value, above = holder.value, path.removesuffix(".".join(keys))
    for depth, key in enumerate(keys, 1):
        value = item_of(value, key, f"{where}: {above}{'.'.join(keys[:depth])}")
    return constant_at(text, path, value)


def _holder(text: str, path: str, where: str) -> tuple[Variable, list[str]]:
    """Return the variable that a path of an entry begins with, and the keys behind it."""
    names = path.split(".")
    constant = read_constants(text, where).get(names[0])
    if constant is not None:
        return Variable("", names[0], _value_at(parse(text, where), constant, text)), names[1:]
    count = functions_of(text, names, where)
    if not count and _is_in_block(text, names[0], where):
        return find_variable(text, names[:1], where), names[1:]
    if not count:
        raise RenderError(
            f"{where}: {names[0]}: is not assigned exactly once at module level. Correct the entry, or the script."
        )
    return find_variable(text, names[: count + 1], where), names[count + 1 :]


def _is_in_block(text: str, name: str, where: str) -> bool:
    """Return whether a name is bound once, in a block of the module: under `if __name__ == "__main__":`."""
    return [each.name for each in module_bindings(text, where)].count(name) == 1


def field_objections(files: Mapping[str, str], file: str, path: str) -> Iterator[str]:
    """Yield file, line and statement of what replaces a field's default when the script runs."""
    *classes, name = path.split(".")
    owner = _owner(parse(files[file], file), classes, file)
    order = [each for each, _ in _fields(owner)]
    constant = find_field(files[file], path, file)
    column = constant.start - line_offsets(files[file].encode())[constant.line - 1]
    if attribute_of(owner, name) is not None:
        yield from replaced_attribute(files, owner.name, name, (file, constant.line, column))
        return
    position = order.index(name) if name in order else len(order)
    yield from replaced_field(files, owner.name, name, position, (file, constant.line, column))


def entry_objections(files: Mapping[str, str], file: str, path: str) -> Iterator[str]:
    """Yield file, line and statement of what replaces an entry when the script runs."""
    holder, keys = _holder(files[file], path, file)
    origin = ObjectOrigin(holder.name, file, holder.function, path=tuple(keys[:-1]))
    if len(keys) == 1 and _makes_other(holder.value):
        yield from replaced_argument(files, origin, keys[0])
    else:
        yield from replaced_entry(files, origin, tuple(keys))


def argument_objections(files: Mapping[str, str], file: str, path: str) -> Iterator[str]:
    """Yield file, line and statement of what changes the object that a call makes, so that its argument counts no more."""
    call, found = result_of(files[file], path, file)
    if found:
        function, _, name = found.rpartition(".")
        origin, key = ObjectOrigin(name, file, function), path.rpartition(".")[2]
        replaced = (
            replaced_argument(files, origin, key) if _makes_other(call) else replaced_entry(files, origin, (key,))
        )
        yield from replaced


def _makes_other(value: ast.expr | None) -> bool:
    """Return whether a call makes something else than a dictionary or a copy: `update` of an optimizer sets no entry."""
    called = last_name(value.func) if isinstance(value, ast.Call) else "dict"
    return called not in COPIES and not _LIKE_A_DICTIONARY.search(called)


def _class(body: Sequence[ast.stmt], name: str, where: str) -> ast.ClassDef:
    found = [each for each in body if isinstance(each, ast.ClassDef) and each.name == name]
    if len(found) != 1:
        there = f"there are {len(found)} classes" if found else "there is no class"
        raise RenderError(f"{where}: {name}: {there} of this name at module level. Correct the field's path.")
    return found[0]


def _owner(tree: ast.Module, classes: Sequence[str], where: str) -> ast.ClassDef:
    owner = _class(tree.body, classes[0], where)
    for inner in classes[1:]:
        owner, _ = _inner(tree, owner, inner, where)
    return owner


def _inner(tree: ast.Module, owner: ast.ClassDef, name: str, where: str) -> tuple[ast.ClassDef, ast.Call | None]:
    """Return the class within a class, or that of one of its fields, and the call which makes the field's default."""
    nested = [each for each in owner.body if isinstance(each, ast.ClassDef) and each.name == name]
    if nested:
        return _class(owner.body, name, where), None
    statement = _assigned(owner, name, where)
    made = statement.value
    if isinstance(made, ast.Call) and ast.unparse(made.func) in _DEFAULTS:
        made = keyword_of(made, "default_factory") or keyword_of(made, "default")
    made = made.body if isinstance(made, ast.Lambda) else made
    call = made if isinstance(made, ast.Call) else None
    of = call.func if call else made or (statement.annotation if isinstance(statement, ast.AnnAssign) else None)
    if not isinstance(of, ast.Name):
        raise RenderError(
            f"{where}:{statement.lineno}: {name}: is no class of this file. Name the field of the class itself."
        )
    return _class(tree.body, of.id, where), call


def _fields(owner: ast.ClassDef) -> Iterator[tuple[str, ast.Assign | ast.AnnAssign]]:
    for statement in owner.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                yield name, statement


def _assigned(owner: ast.ClassDef, name: str, where: str) -> ast.Assign | ast.AnnAssign:
    found = [statement for each, statement in _fields(owner) if each == name]
    inner = {id(n) for each in owner.body if isinstance(each, _SCOPES) for n in ast.walk(each)}
    names = (n for n in ast.walk(owner) if isinstance(n, ast.Name) and n.id == name and isinstance(n.ctx, ast.Store))
    of_class = [n for n in names if id(n) not in inner]
    if len(found) == len(of_class) == 1:
        return found[0]
    if not of_class:
        raise RenderError(f"{where}:{owner.lineno}: {name}: class {owner.name} has no such field. Correct the path.")
    lines = ", ".join(str(n.lineno) for n in of_class)
    raise RenderError(
        f"{where}: {name}: class {owner.name} assigns it in lines {lines}. Leave exactly one `{name} = value`."
    )


_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)


def _default(statement: ast.Assign | ast.AnnAssign, where: str) -> ast.expr:
    value = statement.value
    if isinstance(value, ast.Call) and ast.unparse(value.func) in _DEFAULTS:
        value = keyword_of(value, "default") or (value.args[0] if value.args else None)
    if value is None:
        raise RenderError(f"{where}:{statement.lineno}: the field has no default that is a value. Give it one.")
    return value


def _value_at(tree: ast.Module, constant: Constant, text: str) -> ast.expr:
    offsets = line_offsets(text.encode())
    values = (value for statement in tree.body for _, value in assigned_values(statement))
    return next(value for value in values if span_of(value, offsets) == (constant.start, constant.end))
