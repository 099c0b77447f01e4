"""A flag of a command line, as its parser defines it; and what annotations and converters say of its type.

Which flags a script has is found in `parsers.py` and its neighbours. Nothing is executed.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, replace

from optimize.script.source_names import SourceNames, UnreadableValue
from optimize.text import one_line
from optimize.trial import Value

EXPRESSION_CHARS = 80
_TYPES = {"float": "float", "int": "int", "str": "str", "bool": "bool", "Path": "path", "PosixPath": "path"}
_LISTS = ("list", "List", "tuple", "Tuple", "Sequence", "Iterable", "set", "Set")
_SAME = ("Annotated", "Final", "Optional", "Required", "NotRequired")


@dataclass(frozen=True, slots=True)
class FlagDefinition:
    """A flag: its spellings, its default, and how a value is given.

    `style` is one of these:

    - "value": `--lr=0.1`, a value that is no text as Python writes it;
    - "text": `--amp=true` and `--amp=false`;
    - "literal": `--betas=(0.9,0.95)`, any value as Python writes it, text in quotes unless it is a name;
    - "true", "false": the flag is there or not; there, it means True, or False;
    - "pair": there, or `off` in its place;
    - "many": `--betas 0.9 0.95`; "repeated": `--betas 0.9 --betas 0.95`;
    - "broken": argparse's `type=bool`, to which every text is True;
    - "rest": all words that follow, whatever they look like;
    - "other": a way that we do not write, such as a flag that is counted.
    """

    names: tuple[str, ...]  # all spellings, the longest kind first as a rule; the first is the one to use
    default: Value = None  # None where there is none, or it cannot be read
    readable: bool = True  # False: only running the script shows the default; `expression` is its text
    expression: str = ""
    style: str = "value"
    off: str = ""  # the spelling that means False
    type: str = ""  # float, int, str, bool, path; "" unknown
    choices: tuple[Value, ...] = ()
    required: bool = False
    positional: bool = False
    help: str = ""
    line: int = 0
    parser: str = ""
    dest: str = ""  # the name under which the script finds it
    command: str = ""  # the subcommand that it belongs to, and has to follow
    is_list: bool = False  # its default is a list, so that a tuple would be another thing
    rewritten: int = 0  # the line that gives it another value, whatever the flag says


@dataclass(frozen=True, slots=True)
class ValueType:
    """What an annotation says of a value: its type, or that of its elements where it is a list."""

    name: str = ""
    many: bool = False
    choices: tuple[Value, ...] = ()
    members: tuple[str, ...] = ()  # the names of an Enum, whose values are the choices
    owner: str = ""  # a class of these files that is no Enum: a group of fields


def annotated_type(node: ast.expr | None, names: SourceNames) -> ValueType:
    """Return what an annotation says: `float | None`, `Optional[list[int]]`, `Literal["a"]`, the name of an Enum."""
    match node:
        case ast.Constant(value=str(text)):
            return _of_text(text, names)
        case ast.BinOp(op=ast.BitOr(), left=left, right=right):
            return _of_union([left, right], names)
        case ast.Subscript(value=base, slice=inner):
            return _of_generic(ast.unparse(base).rpartition(".")[2], inner, names)
        case ast.Name() | ast.Attribute():
            return _of_name(ast.unparse(node).rpartition(".")[2], names)
    return ValueType()


def _of_text(text: str, names: SourceNames) -> ValueType:
    try:
        return annotated_type(ast.parse(text, mode="eval").body, names)
    except (SyntaxError, ValueError, RecursionError):
        return ValueType()


def _of_union(parts: list[ast.expr], names: SourceNames) -> ValueType:
    """The one that is not None; float where it is one of several."""
    real = [each for each in parts if not (isinstance(each, ast.Constant) and each.value is None)]
    found = [annotated_type(each, names) for each in real]
    return next((each for each in found if each.name == "float"), found[0]) if found else ValueType()


def _of_generic(name: str, inner: ast.expr, names: SourceNames) -> ValueType:
    parts = inner.elts if isinstance(inner, ast.Tuple) else [inner]
    if name == "Literal":
        try:
            choices = tuple(names.value(each) for each in parts)
        except UnreadableValue:
            return ValueType()
        return ValueType(type_of(choices[0]) if choices else "", choices=choices)
    if name == "Union":
        return _of_union(parts, names)
    if name in _SAME:
        return annotated_type(parts[0], names)
    if name in _LISTS:
        return replace(annotated_type(parts[0], names), many=True)
    return ValueType()


def _of_name(name: str, names: SourceNames) -> ValueType:
    members = names.members(name)
    if members is not None:
        return ValueType(
            "str", choices=tuple(value for _, value in members), members=tuple(name for name, _ in members)
        )
    if name in _LISTS:
        return ValueType(many=True)
    return ValueType(_TYPES.get(name, ""), owner=name if name in names.classes else "")


def type_of(value: Value) -> str:
    """Return the name of a value's type as a FlagDefinition has it, that of the elements for a tuple."""
    if isinstance(value, tuple):
        kinds = {type_of(each) for each in value}
        return kinds.pop() if len(kinds) == 1 else "float" if kinds == {"int", "float"} else ""
    return "" if value is None else type(value).__name__


def with_default(flag: FlagDefinition, node: ast.expr | None, names: SourceNames) -> FlagDefinition:
    """Return the flag with this default, converted as its type does; marked where the text does not say it."""
    try:
        value = _converted(names.value(node), flag.type) if node is not None else None
        return replace(flag, default=value, is_list=isinstance(node, ast.List))
    except UnreadableValue:
        return unreadable(flag, node)


def unreadable(flag: FlagDefinition, node: ast.AST | None) -> FlagDefinition:
    """Return the flag with a default that only running the script shows."""
    return replace(
        flag, default=None, readable=False, expression=one_line(ast.unparse(node), EXPRESSION_CHARS) if node else ""
    )


def _converted(value: Value, wanted: str) -> Value:
    """Return a default as the parser would give it: "0.1" for a float is 0.1. A fraction for an int is refused."""
    if isinstance(value, tuple):
        return tuple(_converted(each, wanted) for each in value)
    if wanted not in ("int", "float") or value is None or isinstance(value, bool):
        return value
    try:
        number = float(value)
        if wanted == "float":
            return number
        if not isinstance(value, float):
            return int(value)
    except (ValueError, OverflowError):
        raise UnreadableValue from None
    if not number.is_integer():
        raise UnreadableValue
    return int(number)


def sequence(node: ast.expr | None, names: SourceNames) -> tuple[Value, ...]:
    """Return what a list of choices holds, () where the text does not say it: a list, a tuple, a set, a short range."""
    if isinstance(node, ast.Set):
        node = ast.Tuple(node.elts, ast.Load())
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "range":
        bounds = [each.value for each in node.args if isinstance(each, ast.Constant) and type(each.value) is int]
        spread = range(*bounds) if 0 < len(bounds) == len(node.args) <= 3 and bounds[2:] != [0] else range(0)
        return tuple(spread) if len(spread) <= 20 else ()
    try:
        found = names.value(node) if node is not None else ()
    except UnreadableValue:
        return ()
    return found if isinstance(found, tuple) else ()


def text_of(node: ast.expr | None) -> str:
    """Return a text in the script as one line, "" for any other expression."""
    match node:
        case ast.Constant(value=str(text)):
            return one_line(text, 200)
        case ast.BinOp(op=ast.Add(), left=left, right=right):
            return text_of(left) + text_of(right)
    return ""
