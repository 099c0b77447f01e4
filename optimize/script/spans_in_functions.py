"""Finds values inside functions in a Python file, as spans of its bytes: variables, defaults of parameters, arguments of calls.

`main.batch_size` is a variable of the function main, or the default of its parameter. `main.SGD.momentum` is what the only call
of SGD in main is given. Variables have to be bound exactly once, as far as Python's rules of scopes tell. Nothing is executed.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from optimize.errors import RenderError
from optimize.script.aliases import last_name
from optimize.script.bindings import Scopes, module_bindings, star_imports
from optimize.script.constants import Constant, line_offsets, read_constants, span_of
from optimize.script.file_scopes import FileScopes, Function, arguments, bound_by, file_scopes
from optimize.script.trees import assigned_values, cached_by_text

RETURNED = "return"  # stands for what a function returns, in the place of a variable's name
_CALLS_AS_IT_IS = (
    "no_grad",
    "inference_mode",
    "enable_grad",
    "compile",
    "staticmethod",
)  # decorators that give nothing


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable that is bound once: its function by its dotted path, "" for the module, its name, and the value."""

    function: str
    name: str
    value: ast.expr


@dataclass(frozen=True, slots=True)
class NamedCall:
    """A call, the functions and classes around it, and the last names of what it calls and of its result, "" without one."""

    node: ast.Call
    scopes: Scopes
    called: str
    result: str

    @property
    def path(self) -> str:
        """The dotted path of the function that it stands in, "" for the module."""
        return ".".join(getattr(each, "name", "") for each in self.scopes)


def constant_at(text: str, name: str, value: ast.expr) -> Constant:
    """Return the expression `value` of a text under the name of its place."""
    source = text.encode()
    start, end = span_of(value, line_offsets(source))
    return Constant(name, source[start:end].decode(), value.lineno, start, end)


def find_local(text: str, path: str, where: str) -> Constant:
    """Return the value of a variable of a function. Raises RenderError with what stands in the way."""
    if path in read_constants(text, where):
        raise RenderError(f"{where}: {path}: is a constant of the module, which needs no place. Leave `local` out.")
    return constant_at(text, path, find_variable(text, path.split("."), where).value)


def find_argument(text: str, path: str, where: str) -> Constant:
    """Return the value that a call is given for a keyword, or at a place. Raises RenderError with what stands in the way."""
    calls = _calls(text, path.split("."), where)
    found = [(call, keys[1:], value) for call, keys in calls if (value := _given(call, keys[0])) is not None]
    if not found:
        raise RenderError(f"{where}: {path}: there is no such argument of a call. Correct the path.")
    if len(found) > 1:
        lines = ", ".join(map(str, sorted(call.lineno for call, _, _ in found)))
        raise RenderError(
            f"{where}: {path}: may be each of the calls in lines {lines}. Name one by what its result is called."
        )
    ((_, keys, value),) = found
    for depth, key in enumerate(keys, 1):
        value = item_of(value, key, f"{where}: {path.removesuffix('.'.join(keys))}{'.'.join(keys[:depth])}")
    return constant_at(text, path, value)


def find_variable(text: str, names: Sequence[str], where: str) -> Variable:
    """Return the variable that a path of functions and its own name lead to. Raises RenderError where it is not bound once."""
    *outer, name = names
    found = file_scopes(text, where)
    scope = scope_named(found, outer, where)
    if scope and not isinstance(scope[-1], Function):
        raise RenderError(f"{where}: {'.'.join(names)}: is a field of a class: {{ field = ... }} names it.")
    if name == RETURNED:
        return Variable(".".join(outer), name, _returned(found, scope, ".".join(outer), where))
    lines = _bindings(found, scope, name) if scope else _in_module(text, name, where)
    inside = f"{'.'.join(outer)}()" if outer else "the module"
    if not lines:
        raise RenderError(f"{where}: {name}: {inside} has no such variable. Correct the path.")
    if len(lines) > 1:
        numbers = ", ".join(map(str, sorted(lines)))
        raise RenderError(
            f"{where}: {name}: bound {len(lines)} times in {inside} (lines {numbers}). Leave exactly one."
        )
    values = [*_assigned(found, scope, name), *_default(scope, name)]
    if not values:
        raise RenderError(f"{where}: {name}: line {lines[0]} is not a plain `{name} = value`. Make it one.")
    return Variable(".".join(outer), name, values[0])


def scope_named(found: FileScopes, names: Sequence[str], where: str) -> Scopes:
    """Return the scopes within the function or class that a path leads to. Raises RenderError where it is not there once."""
    scope: Scopes = ()
    for name in names:
        inside = [each for each in found.definitions.get(name, ()) if each.scopes == scope]
        if len(inside) != 1:
            there = f"there are {len(inside)} functions" if inside else "there is no function"
            raise RenderError(f"{where}: {'.'.join(names)}: {there} {name}. Correct the path.")
        scope = inside[0].inside
    return scope


def functions_of(text: str, names: Sequence[str], where: str) -> int:
    """Return how many names at the beginning of a path are functions or classes, each in the one before it."""
    found, count = file_scopes(text, where), 0
    scope: Scopes = ()
    for name in names:
        inside = [each for each in found.definitions.get(name, ()) if each.scopes == scope]
        if not inside:
            break
        scope, count = inside[0].inside, count + 1
    return count


def item_of(value: ast.expr, key: str, where: str) -> ast.expr:
    """Return an entry of a dictionary or list that is written out, or a keyword of a call. Raises RenderError."""
    match value:
        case ast.Dict(keys=keys, values=values):
            return _of_dictionary(keys, values, key, where)
        case ast.Call(args=args, keywords=keywords):
            if any(each.arg is None for each in keywords):
                raise RenderError(f"{where}: `**` in line {value.lineno} may replace it. Write its keys out.")
            found = keyword_of(value, key)
            if found is None and len(args) == 1 and isinstance(args[0], ast.Dict):
                return item_of(args[0], key, where)
            if found is not None:
                return found
        case ast.List(elts=elements) | ast.Tuple(elts=elements) if key.isdecimal() and int(key) < len(elements):
            if not any(isinstance(each, ast.Starred) for each in elements[: int(key) + 1]):
                return elements[int(key)]
    raise RenderError(f"{where}: there is no such entry. Correct the path, or write the dictionary out as a literal.")


def keyword_of(call: ast.Call, name: str) -> ast.expr | None:
    """Return what a call is given for a keyword, None where it is not."""
    return next((each.value for each in call.keywords if each.arg == name), None)


def _of_dictionary(keys: Sequence[ast.expr | None], values: Sequence[ast.expr], key: str, where: str) -> ast.expr:
    found = [i for i, each in enumerate(keys) if isinstance(each, ast.Constant) and str(each.value) == key]
    unpacked = [i for i, each in enumerate(keys) if each is None]
    computed = [i for i, each in enumerate(keys) if each is not None and not isinstance(each, ast.Constant)]
    if len(found) > 1:
        lines = ", ".join(str(values[i].lineno) for i in found)
        raise RenderError(f"{where}: the key is there {len(found)} times (lines {lines}). Leave one.")
    if not found:
        raise RenderError(f"{where}: there is no such entry. Correct the path, or write the entry out.")
    if any(i > found[0] for i in (*unpacked, *computed)):
        raise RenderError(f"{where}: a later entry of the dictionary may replace it. Write it last.")
    return values[found[0]]


def _calls(text: str, names: Sequence[str], where: str) -> Iterator[tuple[ast.Call, Sequence[str]]]:
    """Yield each call that a path may mean, with the rest of the path.

    A call is named by what it calls or by what its result is called. Any name of the path may be it, after functions only.
    """
    found = file_scopes(text, where)
    for depth in range(len(names) - 1):
        try:
            scope = scope_named(found, names[:depth], where)
        except RenderError:
            return
        for each in named_calls(text, where):
            if each.scopes == scope and names[depth] in (each.called, each.result):
                yield each.node, names[depth + 1 :]


@cached_by_text
def named_calls(text: str, where: str) -> tuple[NamedCall, ...]:
    """Return every call of a file in the order of its text.

    Those in f-strings are left out: Python says another place for them.
    """
    found, results = file_scopes(text, where), dict[int, str]()
    hidden = {id(n) for node, _ in found.nodes if isinstance(node, ast.JoinedStr) for n in ast.walk(node)}
    for node, _ in found.nodes:
        match node:
            case ast.Assign(targets=[target], value=value) | ast.AnnAssign(target=target, value=ast.expr() as value):
                results[id(value)] = last_name(target)
            case ast.Return(value=ast.Call() as value):
                results[id(value)] = RETURNED
    calls = [
        NamedCall(
            node,
            tuple(each for each in scopes if not isinstance(each, ast.Lambda)),
            last_name(node.func),
            results.get(id(node), ""),
        )
        for node, scopes in found.nodes
        if isinstance(node, ast.Call) and id(node) not in hidden
    ]
    return tuple(sorted(calls, key=lambda each: (each.node.lineno, each.node.col_offset)))


def _given(call: ast.Call, key: str) -> ast.expr | None:
    if not key.isdecimal():
        return keyword_of(call, key)
    before = call.args[: int(key) + 1]
    starred = any(isinstance(each, ast.Starred) for each in before)
    return before[int(key)] if int(key) < len(call.args) and not starred else None


def result_of(text: str, path: str, where: str) -> tuple[ast.Call | None, str]:
    """Return the call of an argument and the dotted path of the variable that holds its result, "" where it has no name."""
    names = path.split(".")
    for call, keys in _calls(text, names, where):
        if _given(call, keys[0]) is not None:
            result = next(each.result for each in named_calls(text, where) if each.node is call)
            return call, ".".join((*names[: len(names) - len(keys) - 1], result)) if result else ""
    return None, ""


def _in_module(text: str, name: str, where: str) -> list[int]:
    lines = [each.line for each in module_bindings(text, where) if each.name == name]
    return [*lines, *(line for line, _ in star_imports(text, where) if lines and line > lines[0])]


def _bindings(found: FileScopes, scope: Scopes, name: str) -> list[int]:
    """Return the line of everything that binds a name of a function: also from a function within it, by `nonlocal`."""
    function = scope[-1]
    lines = [
        getattr(node, "lineno", 0)
        for node, around in found.nodes
        if name in bound_by(node) and id(node) not in found.of_comprehensions and found.owner_of(name, around) == scope
    ]
    given = arguments(function) if isinstance(function, Function) else []
    return [*lines, *(each.lineno for each in given if each.arg == name)]


def _assigned(found: FileScopes, scope: Scopes, name: str) -> Iterator[ast.expr]:
    given = (each for node, around in found.nodes if around == scope for each in assigned_values(node))
    yield from (value for target, value in given if target == name)


def _default(scope: Scopes, name: str) -> Iterator[ast.expr]:
    if scope and isinstance(scope[-1], Function):
        yield from (default for each, default in _with_defaults(scope[-1]) if each == name and default is not None)


def _with_defaults(function: Function) -> list[tuple[str, ast.expr | None]]:
    given = function.args
    positional = [*given.posonlyargs, *given.args]
    missing: list[ast.expr | None] = [None] * (len(positional) - len(given.defaults))
    pairs = [*zip(positional, [*missing, *given.defaults], strict=True)]
    return [(each.arg, default) for each, default in (*pairs, *zip(given.kwonlyargs, given.kw_defaults, strict=True))]


def _returned(found: FileScopes, scope: Scopes, function: str, where: str) -> ast.expr:
    returns = [n for n, around in found.nodes if isinstance(n, ast.Return) and around == scope]
    if len(returns) != 1 or returns[0].value is None:
        raise RenderError(f"{where}: {function}: returns in {len(returns)} places. Leave exactly one `return value`.")
    return returns[0].value
