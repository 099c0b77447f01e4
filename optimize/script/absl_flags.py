"""Reads the flags that a script defines for absl: `flags.DEFINE_float("lr", 1e-3, "...")`."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace

from optimize.script.flags import FlagDefinition, sequence, text_of, with_default
from optimize.script.source_names import SourceNames

_KINDS = {
    "float": "float", "integer": "int", "string": "str", "bool": "bool", "boolean": "bool", "enum": "str", "list": "str",
    "spaceseplist": "str", "multi_float": "float", "multi_integer": "int", "multi_string": "str", "multi_enum": "str",
}  # fmt: skip
_SEPARATORS = {"list": ",", "spaceseplist": " "}


def absl_flags(names: SourceNames) -> Iterator[FlagDefinition]:
    """Yield the flags in the order of the text."""
    required = {name for call, _ in names.calls() for name in _marked(call)}
    for call, _ in names.calls():
        last = names.qualified(call.func).rpartition(".")[2]
        kind = last.removeprefix("DEFINE_")
        if last != kind and kind.islower() and (flag := _flag(call, kind, names)) is not None:
            yield replace(flag, required=flag.required or flag.dest in required)


def _flag(call: ast.Call, kind: str, names: SourceNames) -> FlagDefinition | None:
    order = ("name", "default", "enum_values", "help") if "enum" in kind else ("name", "default", "help")
    words: dict[str | None, ast.expr] = dict(zip(order, call.args, strict=False))
    words |= {each.arg: each.value for each in call.keywords}
    name = text_of(words.get("name"))
    if not name:
        return None
    short = text_of(words.get("short_name"))
    flag = FlagDefinition(
        (f"--{name}", f"-{name}", *((f"--{short}", f"-{short}") if short else ())),
        style="pair" if kind.startswith("bool") else "repeated" if kind.startswith("multi_") else "value",
        off=f"--no{name}" if kind.startswith("bool") else "",
        type=_KINDS.get(kind, ""),
        choices=sequence(words.get("enum_values"), names),
        required=isinstance(word := words.get("required"), ast.Constant) and word.value is True,
        help=text_of(words.get("help")),
        line=call.lineno,
        parser="absl",
        dest=name,
    )
    if kind not in _KINDS:  # a file, a class, an alias
        unset = kind == "config_file" and not text_of(words.get("default"))  # a script that reads it fails without
        flag = replace(flag, style="other", required=flag.required or unset)
    return _with_listed_default(flag, kind, words.get("default"), names)


def _with_listed_default(flag: FlagDefinition, kind: str, node: ast.expr | None, names: SourceNames) -> FlagDefinition:
    """A list is given as one text; one value of a flag that may be repeated counts as a list of it."""
    flag = with_default(flag, node, names)
    value = flag.default
    if kind in _SEPARATORS and isinstance(value, tuple):
        flag = replace(flag, default=_SEPARATORS[kind].join(map(str, value)))
    elif flag.style == "repeated" and flag.readable and value is not None and not isinstance(value, tuple):
        flag = replace(flag, default=(value,))
    elif flag.type == "bool" and isinstance(value, str):
        flag = replace(flag, default=value.lower() in ("true", "t", "1"))
    return flag


def _marked(call: ast.Call) -> Iterator[str]:
    """Yield the flags that a call marks as required."""
    last = ast.unparse(call.func).rpartition(".")[2]
    if last in ("mark_flag_as_required", "mark_flags_as_required") and call.args:
        listed = call.args[0].elts if isinstance(call.args[0], ast.List | ast.Tuple) else call.args[:1]
        yield from map(text_of, listed)
