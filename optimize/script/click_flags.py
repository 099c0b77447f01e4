"""Reads the options and arguments that a script defines for click."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import replace

from optimize.script.flags import FlagDefinition, sequence, text_of, type_of, with_default
from optimize.script.source_names import Function, SourceNames, UnreadableValue
from optimize.script.trees import walk
from optimize.trial import Value

_TYPES = {
    "FLOAT": "float", "INT": "int", "STRING": "str", "BOOL": "bool", "FloatRange": "float", "IntRange": "int", "Choice": "str",
    "Path": "path", "File": "path", "float": "float", "int": "int", "str": "str", "bool": "bool",
}  # fmt: skip


def click_flags(names: SourceNames) -> Iterator[FlagDefinition]:
    """Yield the options and arguments of every command, in the order of the text."""
    commands = dict(_commands(names))
    for call, _ in names.calls():
        what = _what(call, names)
        if what in ("option", "argument"):
            yield _flag(call, what == "option", commands.get(id(call), ""), names)


def click_command(function: Function, names: SourceNames) -> str:
    """Return the subcommand that a function is: its name after `@group.command()`; "" where it is the whole program."""
    for each in function.decorator_list:
        call = each if isinstance(each, ast.Call) else ast.Call(each, [], [])
        name = names.qualified(call.func)
        if name.rpartition(".")[2] in ("command", "group") and not name.startswith(("click.", "rich_click.")):
            given = text_of(call.args[0]) if call.args else ""
            return given or function.name.lower().replace("_", "-")
    return ""


def _commands(names: SourceNames) -> Iterator[tuple[int, str]]:
    for node in walk(names.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from ((id(each), click_command(node, names)) for each in node.decorator_list)


def _what(call: ast.Call, names: SourceNames) -> str:
    package, _, what = names.qualified(call.func).rpartition(".")
    return what if package in ("click", "rich_click", "click.decorators", "asyncclick", "cloup") else ""


def _flag(call: ast.Call, option: bool, command: str, names: SourceNames) -> FlagDefinition:
    words = {each.arg: each.value for each in call.keywords if each.arg is not None}
    spelled, off, dest = split_names([text_of(each) for each in call.args], option)
    flag = FlagDefinition(
        spelled or (f"--{dest.replace('_', '-')}",),
        positional=not option,
        required=_says(words.get("required"), not option and "default" not in words),
        help=text_of(words.get("help")),
        line=call.lineno,
        parser="click",
        dest=dest,
        command=command,
        off=off,
    )
    return _described(flag, words, names)


def split_names(texts: list[str], option: bool) -> tuple[tuple[str, ...], str, str]:
    """Return the spellings that mean a value or True, the first that means False, and the name of the parameter."""
    on: list[str] = []
    off: list[str] = []
    own = ""
    for text in texts:
        first, slash, second = text.partition("/") if option and not text.startswith("/") else ("", "", "")
        if not option or text.isidentifier():
            own = own or text
            on += [] if option else [text]
        else:
            on += [first.strip()] if first.strip() else []
            off += [second.strip()] if slash and second.strip() else []
    on.sort(key=lambda each: not each.startswith("--"))
    off.sort(key=lambda each: not each.startswith("--"))
    dest = own or (on[0].lstrip("-").replace("-", "_").lower() if on else "")
    return tuple(on), next(iter(off), ""), dest


def _described(flag: FlagDefinition, words: Mapping[str, ast.expr], names: SourceNames) -> FlagDefinition:
    node, given = words.get("default"), words.get("type")
    try:
        raw = names.value(node) if node is not None else None
    except UnreadableValue:
        raw = None
    kind = _type(given, names) if given is not None else type_of(raw) or "str"
    flag = replace(flag, type=kind, choices=_choices(given, names))
    if "flag_value" in words or _says(words.get("count"), False):
        return with_default(replace(flag, style="other"), node, names)
    if flag.off or _says(words.get("is_flag"), False):
        flag = replace(flag, style="pair" if flag.off else "true", type="bool")
        return with_default(flag, node if node is not None else ast.Constant(False), names)
    flag = with_default(flag, node, names)
    if isinstance(flag.default, str) and kind == "bool":
        flag = replace(flag, default=flag.default.lower() in ("true", "t", "1", "yes", "y", "on"))
    return replace(flag, style=_style(kind, words, given))


def _style(kind: str, words: Mapping[str, ast.expr], given: ast.expr | None) -> str:
    many = isinstance(given, ast.Tuple) or ("nargs" in words and ast.unparse(words["nargs"]) != "1")
    if _says(words.get("multiple"), False):
        return "other" if many else "repeated"
    return "many" if many else "text" if kind == "bool" else "value"


def _type(node: ast.expr, names: SourceNames) -> str:
    if isinstance(node, ast.Tuple):
        kinds = {_type(each, names) for each in node.elts}
        return kinds.pop() if len(kinds) == 1 else ""
    call = node.func if isinstance(node, ast.Call) else node
    return _TYPES.get(names.qualified(call).rpartition(".")[2], "")


def _choices(node: ast.expr | None, names: SourceNames) -> tuple[Value, ...]:
    if isinstance(node, ast.Call) and names.qualified(node.func).endswith("Choice"):
        words = {each.arg: each.value for each in node.keywords}
        return sequence(node.args[0] if node.args else words.get("choices"), names)
    return sequence(node, names) if isinstance(node, ast.List) else ()


def _says(node: ast.expr | None, otherwise: bool) -> bool:
    return bool(node.value) if isinstance(node, ast.Constant) else otherwise
