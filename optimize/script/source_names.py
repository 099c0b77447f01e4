"""What the names in a Python file stand for, as far as the text says: imports, constants, classes with fields, functions.

Values are read from the syntax tree, lists as tuples. Nothing is executed.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from itertools import zip_longest
from typing import TypeAlias

from optimize.script.bindings import parse
from optimize.script.constants import is_literal, read_constants
from optimize.script.trees import MANY_FILES, assigned_values, walk
from optimize.trial import Value
from search_spaces import SearchSpaceError, parse_expression

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
MOST_STEPS = 20  # from one name to the next, until a value is found
_CONVERTED = {"int": int, "float": float, "str": str, "bool": bool}
_FIELD_CALLS = ("field", "Field", "HfArg", "ib", "attrib", "arg", "choice", "mutable_field")
_ENUMS = ("Enum", "StrEnum", "IntEnum")


class UnreadableValue(Exception):
    """Only running the script shows what this expression is."""


@dataclass(frozen=True, slots=True)
class FieldSource:
    """A field of a class, or a parameter of a function: `default` is None where it has to be given."""

    name: str
    annotation: ast.expr | None
    default: ast.expr | None
    line: int
    call: ast.Call | None = None  # `field(...)`, `typer.Option(...)`
    doc: str = ""  # the text that stands below a field


@dataclass(frozen=True)
class SourceNames:
    """The names of one file. Classes and functions of the files beside it count where it has none of that name."""

    tree: ast.Module
    constants: Mapping[str, ast.expr] = field(default_factory=dict)
    classes: Mapping[str, ast.ClassDef] = field(default_factory=dict)
    functions: Mapping[str, Function] = field(default_factory=dict)
    imports: Mapping[str, str] = field(default_factory=dict)

    def qualified(self, node: ast.expr) -> str:
        """Return a dotted name with its import written out: `option` -> `click.option`. What is no name is "": `f().a` -> `.a`."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        root = self.imports.get(node.id, node.id) if isinstance(node, ast.Name) else ""
        return ".".join([root, *reversed(parts)])

    def value(self, node: ast.expr | None, steps: int = MOST_STEPS) -> Value:
        """Return the value of an expression. Raises UnreadableValue where the text does not say it."""
        found: Value
        match node:
            case ast.Constant(value=bool() | int() | float() | str() | None as found) if is_literal(found):
                return found
            case ast.Tuple(elts=parts) | ast.List(elts=parts):
                return tuple(self.value(part, steps) for part in parts)
            case ast.Name(id=name) if name in self.constants and steps:
                return self.value(self.constants[name], steps - 1)
            case ast.Attribute() if steps:
                return self._attribute(node, steps - 1)
            case ast.Call(func=ast.Name(id=name), args=[inner], keywords=[]) if name in _CONVERTED:
                return _converted(name, self.value(inner, steps))
            case ast.Call(func=ast.Name(id="tuple" | "list"), args=[inner], keywords=[]):
                return _as_tuple(self.value(inner, steps))
            case ast.BinOp() | ast.UnaryOp():
                return self._computed(node, steps)
        raise UnreadableValue

    def _computed(self, node: ast.expr, steps: int) -> Value:
        names = [each for each in ast.walk(node) if isinstance(each, ast.Name)]
        try:
            return parse_expression(ast.unparse(node)).evaluate({each.id: self.value(each, steps) for each in names})
        except (SearchSpaceError, RecursionError):
            raise UnreadableValue from None

    def _attribute(self, node: ast.Attribute, steps: int) -> Value:
        """`Config.lr`, `Config().lr`, and `Optimizer.ADAM` or its `.value`, of a class in these files."""
        owner = node.value.func if isinstance(node.value, ast.Call) and not node.value.args else node.value
        if isinstance(node.value, ast.Call) and node.value.keywords:
            raise UnreadableValue
        if isinstance(owner, ast.Name) and owner.id in self.classes:
            for each in self.fields(owner.id):
                if each.name == node.attr and each.default is not None:
                    return self.value(each.default, steps)
        if isinstance(owner, ast.Attribute) and node.attr == "value":
            return self._attribute(owner, steps)
        raise UnreadableValue

    def fields(self, name: str, steps: int = MOST_STEPS) -> tuple[FieldSource, ...]:
        """Return the fields of a class of these files, those of its base classes first."""
        node = self.classes.get(name)
        if node is None or not steps:
            return ()
        found: dict[str, FieldSource] = {}
        for base in reversed(node.bases):
            found |= {each.name: each for each in self.fields(ast.unparse(base).rpartition(".")[2], steps - 1)}
        for statement, below in zip_longest(node.body, node.body[1:]):
            if (each := _field(statement)) is not None:
                found[each.name] = replace(each, doc=_text_of(below))
        return tuple(found.values())

    def members(self, name: str) -> tuple[tuple[str, Value], ...] | None:
        """Return the members of an Enum of these files with their values; None if it is none."""
        node = self.classes.get(name)
        if node is None or not any(self.qualified(base).rpartition(".")[2] in _ENUMS for base in node.bases):
            return None
        try:
            return tuple((each.name, self.value(each.default)) for each in self.fields(name))
        except UnreadableValue:
            return None

    def calls(self) -> Sequence[tuple[ast.Call, bool]]:
        """Return every call in the order of the text, and whether it stands under a condition or in a loop."""
        return _calls(self.tree)

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """The literal texts of the file."""
        nodes = (node for node in walk(self.tree) if isinstance(node, ast.Constant))
        return tuple(node.value for node in nodes if isinstance(node.value, str))


def read_names(text: str, where: str, beside: Mapping[str, str] | None = None) -> SourceNames:
    """Return the names of a file, with those of the Python files `beside` it. Raises RenderError if it is not Python."""
    others = {file: each for file, each in (beside or {}).items() if each is not text}
    return _read(text, where, tuple(sorted(others.items())))


@lru_cache(maxsize=MANY_FILES)  # the same scripts are read for every trial
def _read(text: str, where: str, beside: tuple[tuple[str, str], ...]) -> SourceNames:
    if beside:
        alone = _read(text, where, ())
        others = [_defined(other, file) for file, other in beside]
        classes = {name: node for each, _ in (*others, (alone.classes, {})) for name, node in each.items()}
        functions = {name: node for _, each in (*others, ({}, alone.functions)) for name, node in each.items()}
        return replace(alone, classes=classes, functions=functions)
    tree = parse(text, where)
    classes, functions = _definitions(tree)
    return SourceNames(tree, _constants(text, where, tree), classes, functions, dict(_imports(tree)))


@lru_cache(maxsize=MANY_FILES)
def _defined(text: str, where: str) -> tuple[dict[str, ast.ClassDef], dict[str, Function]]:
    """Return the classes and the functions of a file: all that others need of it."""
    return _definitions(parse(text, where))


def _definitions(tree: ast.Module) -> tuple[dict[str, ast.ClassDef], dict[str, Function]]:
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    return {node.name: node for node in walk(tree) if isinstance(node, ast.ClassDef)}, functions


def parameters(function: Function) -> tuple[FieldSource, ...]:
    """Return the parameters of a function that have a name, without `self`."""
    given = [*function.args.posonlyargs, *function.args.args]
    defaults: list[ast.expr | None] = [None] * (len(given) - len(function.args.defaults)) + [*function.args.defaults]
    pairs = [*zip(given, defaults, strict=True), *zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True)]
    return tuple(
        FieldSource(each.arg, each.annotation, default, each.lineno, default if isinstance(default, ast.Call) else None)
        for each, default in pairs
        if each.arg not in ("self", "cls")
    )


def _constants(text: str, where: str, tree: ast.Module) -> dict[str, ast.expr]:
    once = read_constants(text, where)
    given = (each for node in tree.body for each in assigned_values(node))
    return {name: value for name, value in given if name in once}


def _imports(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node in walk(tree):
        if isinstance(node, ast.Import):
            yield from ((each.asname, each.name) for each in node.names if each.asname)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (f"{node.module}." if node.module else "")
            yield from ((each.asname or each.name, f"{base}{each.name}") for each in node.names)


def _text_of(node: ast.stmt | None) -> str:
    match node:
        case ast.Expr(value=ast.Constant(value=str(text))):
            return text
    return ""


def _field(node: ast.stmt) -> FieldSource | None:
    match node:
        case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation, value=value):
            if "ClassVar" not in ast.unparse(annotation):
                return FieldSource(name, annotation, *_default(value, node.lineno))
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            return FieldSource(name, None, *_default(value, node.lineno))
    return None


def _default(value: ast.expr | None, line: int) -> tuple[ast.expr | None, int, ast.Call | None]:
    """Return the default of a field, its line, and the call that describes it: `field(default=...)`, `Field(...)`."""
    if not isinstance(value, ast.Call) or ast.unparse(value.func).rpartition(".")[2] not in _FIELD_CALLS:
        return value, line, None
    words = {each.arg: each.value for each in value.keywords}
    first = value.args[0] if value.args else None
    if isinstance(first, ast.Constant) and first.value is ...:
        first = None
    made = words.get("default_factory") or words.get("factory")
    if isinstance(made, ast.Lambda):
        made = made.body
    elif isinstance(made, ast.Name) and made.id in ("list", "tuple"):
        made = ast.Tuple([], ast.Load())
    elif made is not None:
        made = ast.Call(made, [], [])
    return words.get("default", first) or made, line, value


@lru_cache(maxsize=MANY_FILES)
def _calls(tree: ast.Module) -> Sequence[tuple[ast.Call, bool]]:
    found = [(node, conditional) for node, conditional in _walk(tree) if isinstance(node, ast.Call)]
    return sorted(found, key=lambda each: (each[0].lineno, each[0].col_offset))


def _walk(tree: ast.Module) -> Iterator[tuple[ast.AST, bool]]:
    """Yield every node, and whether it stands under a condition or in a loop."""
    waiting: list[tuple[ast.AST, bool]] = [(tree, False)]
    while waiting:
        node, conditional = waiting.pop()
        yield node, conditional
        branch = isinstance(node, ast.If | ast.For | ast.While | ast.Try | ast.Match) and not is_main(node)
        waiting += [(child, conditional or branch) for child in ast.iter_child_nodes(node)]


def is_main(node: ast.AST) -> bool:
    """Return whether a statement runs only where its file itself is run."""
    return isinstance(node, ast.If) and "__name__" in ast.unparse(node.test)


def _converted(name: str, value: Value) -> Value:
    try:
        found: Value = _CONVERTED[name](value)
    except (TypeError, ValueError, OverflowError):
        raise UnreadableValue from None
    if not is_literal(found):
        raise UnreadableValue
    return found


def _as_tuple(value: Value) -> Value:
    if not isinstance(value, tuple):
        raise UnreadableValue
    return value
