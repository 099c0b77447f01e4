"""Reads the options that a script's functions have through typer: their parameters are flags."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace

from optimize.script.click_flags import split_names
from optimize.script.flags import FlagDefinition, ValueType, annotated_type, text_of, type_of, with_default
from optimize.script.source_names import FieldSource, Function, SourceNames, UnreadableValue, parameters
from optimize.script.trees import walk

_CALLS = ("typer.Option", "typer.Argument", "typer.params.Option", "typer.params.Argument")


def typer_flags(names: SourceNames) -> Iterator[FlagDefinition]:
    """Yield the options and arguments of every command, in the order of the text."""
    functions = sorted(_commands(names), key=lambda each: each[0].lineno)
    several = sum(1 for _, given in functions if given is not None) > 1 or any(given is None for _, given in functions)
    for function, given in functions:
        command = (given or function.name.lower().replace("_", "-")) if several and given is not None else ""
        for each in parameters(function):
            if (flag := _flag(each, names)) is not None:
                yield replace(flag, command=command)


def _commands(names: SourceNames) -> Iterator[tuple[Function, str | None]]:
    """Yield each function that typer calls, with the name that its command is given; None for a callback of all."""
    apps = {target for target, call in _assigned(names) if names.qualified(call.func) in ("typer.Typer",)}
    run = {
        ast.unparse(call.args[0])
        for call, _ in names.calls()
        if call.args and names.qualified(call.func) == "typer.run"
    }
    for node in walk(names.tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if node.name in run:
            yield node, ""
        for each in node.decorator_list:
            call = each if isinstance(each, ast.Call) else ast.Call(each, [], [])
            app, _, method = ast.unparse(call.func).rpartition(".")
            if app in apps and method in ("command", "callback"):
                yield node, (text_of(call.args[0]) if call.args else "") if method == "command" else None


def _assigned(names: SourceNames) -> Iterator[tuple[str, ast.Call]]:
    for node in walk(names.tree):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            yield ast.unparse(node.targets[0]), node.value


def _flag(source: FieldSource, names: SourceNames) -> FlagDefinition | None:
    annotation, call, default = source.annotation, source.call, source.default
    if annotation is not None and names.qualified(annotation).endswith("Context"):
        return None
    texts: list[ast.expr] = []
    if call is not None and names.qualified(call.func) in _CALLS:  # lr: float = typer.Option(1e-3, "--lr")
        default, texts = _first(call), list(call.args[1:])
    else:
        call = None
        annotation, call = _inside(annotation, names)
        texts = list(call.args) if call is not None else []
    words = {each.arg: each.value for each in call.keywords} if call is not None else {}
    argument = names.qualified(call.func).endswith("Argument") if call is not None else default is None
    kind = _kind(annotation, default, names)
    spelled, off, _ = split_names([text_of(each) for each in texts if text_of(each)], not argument)
    flag = FlagDefinition(
        (spelled or ((source.name,) if argument else (f"--{source.name.replace('_', '-').lower()}",))),
        required=default is None,
        positional=argument,
        help=text_of(words.get("help")),
        line=source.line,
        parser="typer",
        dest=source.name,
        type=kind.name,
        choices=kind.choices,
        off=off,
    )
    return with_default(_styled(flag, kind, bool(spelled), words, annotation), default, names)


def _styled(
    flag: FlagDefinition, kind: ValueType, named: bool, words: dict[str | None, ast.expr], annotation: ast.expr | None
) -> FlagDefinition:
    if "count" in words or "parser" in words or "click_type" in words:
        return replace(flag, style="other")
    if kind.many:
        fixed = annotation is not None and "uple" in ast.unparse(annotation)
        return replace(flag, style="many" if fixed or flag.positional else "repeated")
    if kind.name != "bool":
        return flag
    if flag.positional:
        return replace(flag, style="text")
    if not named:
        return replace(flag, style="pair", off=f"--no-{flag.names[0][2:]}")
    return replace(flag, style="pair" if flag.off else "true")


def _kind(annotation: ast.expr | None, default: ast.expr | None, names: SourceNames) -> ValueType:
    if annotation is not None:
        return annotated_type(annotation, names)
    try:
        found = names.value(default)
    except UnreadableValue:
        return ValueType()
    return ValueType(type_of(found) or "str", many=isinstance(found, tuple))


def _inside(annotation: ast.expr | None, names: SourceNames) -> tuple[ast.expr | None, ast.Call | None]:
    """Return the type in `Annotated[float, typer.Option(...)]`, and that call."""
    match annotation:
        case ast.Subscript(value=base, slice=ast.Tuple(elts=[inner, *others])) if ast.unparse(base).endswith(
            "Annotated"
        ):
            calls = (each for each in others if isinstance(each, ast.Call) and names.qualified(each.func) in _CALLS)
            return inner, next(calls, None)
    return annotation, None


def _first(call: ast.Call) -> ast.expr | None:
    words = {each.arg: each.value for each in call.keywords}
    first = call.args[0] if call.args else words.get("default")
    return None if isinstance(first, ast.Constant) and first.value is ... else first
