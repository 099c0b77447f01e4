"""Reads the flags that a script defines for argparse and for libraries with its `add_argument`, and for optparse."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import replace

from optimize.script.flags import FlagDefinition, sequence, text_of, type_of, unreadable, with_default
from optimize.script.source_names import SourceNames, UnreadableValue
from optimize.script.trees import walk

_GROUPS = ("add_argument_group", "add_mutually_exclusive_group", "add_option_group")
_SILENT = ("help", "version")
TRAINING = ("train", "fit", "run", "main", "pretrain", "finetune")  # what a subcommand that trains is called
_LITERALS = ("eval", "ast.literal_eval", "literal_eval")
_OPTPARSE_TYPES = {"string": "str", "int": "int", "long": "int", "float": "float", "choice": "str"}


class ArgparseReader:
    """Follow the calls of a script in the order of its text."""

    def __init__(self, names: SourceNames) -> None:
        self._names = names
        self._found: list[FlagDefinition] = []
        self._commands = _parents(names)  # the variable of a subparser, or of its group -> the subcommand
        self._defaults: dict[str, ast.expr] = {}  # what set_defaults said before
        self._adders = _adders(names.tree)
        self._assigned = {id(node.value): node.targets[0] for node in walk(names.tree) if isinstance(node, ast.Assign)}

    def read(self) -> list[FlagDefinition]:
        """Return the flags, those of one destination that mean True and False as one."""
        for call, conditional in self._names.calls():
            method = call.func.attr if isinstance(call.func, ast.Attribute) else ""
            if method == "add_parser" or method in _GROUPS:
                self._name_parser(call, method)
            elif method == "set_defaults":
                self._set_defaults(call, conditional)
            elif self._adds(call, method):
                self._add(call)
        return _paired(self._found)

    def _adds(self, call: ast.Call, method: str) -> bool:
        named = method in ("add_argument", "add_option") or ast.unparse(call.func) in self._adders
        return named and bool(call.args) and all(_is_text(each) for each in call.args)

    def _name_parser(self, call: ast.Call, method: str) -> None:
        target = self._assigned.get(id(call))
        if target is not None:
            base = ast.unparse(call.func.value) if isinstance(call.func, ast.Attribute) else ""
            name = text_of(call.args[0]) if call.args else ""
            self._commands[ast.unparse(target)] = name if method == "add_parser" else self._commands.get(base, "")

    def _set_defaults(self, call: ast.Call, conditional: bool) -> None:
        for word in call.keywords:
            for place, flag in enumerate(self._found):
                if word.arg == flag.dest:
                    self._found[place] = (
                        unreadable(flag, word.value)
                        if conditional
                        else with_default(_reset(flag), word.value, self._names)
                    )
                elif word.arg is None and not conditional:
                    self._found[place] = unreadable(flag, call)
            if word.arg is not None and not conditional:
                self._defaults[word.arg] = word.value

    def _add(self, call: ast.Call) -> None:
        words = {each.arg: each.value for each in call.keywords if each.arg is not None}
        spelled = [str(each.value) for each in call.args if isinstance(each, ast.Constant)]
        action = _action(words.get("action"), self._names)
        if action in _SILENT or spelled == ["-h", "--help"]:
            return
        names = tuple(sorted(spelled, key=lambda each: not each.startswith("--")))
        flag = FlagDefinition(
            names,
            positional=not spelled[0].startswith("-"),
            help=text_of(words.get("help")),
            line=call.lineno,
            parser="argparse",
            dest=text_of(words.get("dest")) or names[0].lstrip("-").replace("-", "_"),
            command=self._commands.get(_receiver(call), ""),
        )
        node = words.get("default", self._defaults.get(flag.dest))
        if node is not None and self._names.qualified(node).endswith("SUPPRESS"):
            node = None
        flag = self._described(flag, words, action, node)
        if any(each.arg is None for each in call.keywords) and "default" not in words:
            flag = unreadable(flag, call)
        self._found.append(flag)

    def _described(
        self, flag: FlagDefinition, words: Mapping[str, ast.expr], action: str, node: ast.expr | None
    ) -> FlagDefinition:
        nargs = words.get("nargs")
        required = _is_true(words.get("required")) or (flag.positional and not _may_be_empty(nargs))
        flag = replace(flag, required=required, choices=sequence(words.get("choices"), self._names))
        match action:
            case "store_true" | "store_false":
                flag = replace(flag, style=action.removeprefix("store_"), type="bool")
                return with_default(flag, node or ast.Constant(action == "store_false"), self._names)
            case "BooleanOptionalAction":
                longest = next((each for each in flag.names if each.startswith("--")), "")
                style = "pair" if longest else "other"
                flag = replace(flag, style=style, off=f"--no-{longest[2:]}" if longest else "", type="bool")
                return with_default(flag, node, self._names)
            case "store" | "extend":
                return self._valued(flag, words.get("type"), nargs, node, action)
            case "append":
                flag = self._valued(flag, words.get("type"), None, node, action)
                plain = nargs is None and not flag.default and flag.style == "value"
                return replace(flag, style="repeated" if plain else "other")
        return with_default(replace(flag, style="other"), node, self._names)

    def _valued(
        self,
        flag: FlagDefinition,
        converter: ast.expr | None,
        nargs: ast.expr | None,
        node: ast.expr | None,
        action: str,
    ) -> FlagDefinition:
        try:
            raw = self._names.value(node) if node is not None else None
        except UnreadableValue:
            raw = None
        kind, style = _converter(converter, type_of(raw), self._names)
        literal = converter is not None and self._names.qualified(converter) in _LITERALS
        if nargs is not None and (text_of(nargs) == "..." or ast.unparse(nargs).endswith("REMAINDER")):
            style = "rest"
        elif nargs is not None and text_of(nargs) != "?":
            plain = style == "value" and _is_plain(nargs) and not (action == "extend" and raw)
            style = "many" if plain else "other"
        elif style == "value" and isinstance(raw, tuple) and not literal:
            style = "other"
        return with_default(replace(flag, style=style, type=kind), node, self._names)


def _may_be_empty(nargs: ast.expr | None) -> bool:
    return text_of(nargs) in ("?", "*", "...") or (nargs is not None and ast.unparse(nargs).endswith("REMAINDER"))


def _parents(names: SourceNames) -> dict[str, str]:
    """Return the variable of each parser that subcommands have as a parent, with the one of them that trains."""
    found: dict[str, list[str]] = {}
    for call, _ in names.calls():
        if isinstance(call.func, ast.Attribute) and call.func.attr == "add_parser" and call.args:
            for word in call.keywords:
                for each in getattr(word.value, "elts", []) if word.arg == "parents" else ():
                    found.setdefault(ast.unparse(each), []).append(text_of(call.args[0]))
    return {
        name: next((each for each in TRAINING if each in commands), commands[0]) for name, commands in found.items()
    }


def _adders(tree: ast.Module) -> set[str]:
    """Return the names that a script gives to the method: `add = parser.add_argument`."""
    found = [node for node in walk(tree) if isinstance(node, ast.Assign) and isinstance(node.value, ast.Attribute)]
    return {ast.unparse(node.targets[0]) for node in found if node.value.attr == "add_argument"}  # type: ignore[attr-defined]


def _receiver(call: ast.Call) -> str:
    return ast.unparse(call.func.value) if isinstance(call.func, ast.Attribute) else ""


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and bool(node.value.strip("-"))


def _is_true(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Constant) and node.value is True


def _is_plain(nargs: ast.expr | None) -> bool:
    return isinstance(nargs, ast.Constant) and (type(nargs.value) is int or nargs.value in ("+", "*"))


def _action(node: ast.expr | None, names: SourceNames) -> str:
    if node is None:
        return "store"
    return text_of(node) or names.qualified(node).rpartition(".")[2] or "?"


def _converter(node: ast.expr | None, of_default: str, names: SourceNames) -> tuple[str, str]:
    """Return type and style for the `type` of a flag, whose default has the type `of_default`."""
    if node is None:
        return "str", "value"  # a text stays a text
    if isinstance(node, ast.Constant):
        return _OPTPARSE_TYPES.get(str(node.value), ""), "value"
    name = names.qualified(node)
    last = name.rpartition(".")[2]
    if last in ("float", "int", "str", "bool"):
        return last, "broken" if last == "bool" else "value"
    if last in ("Path", "FileType", "abspath", "expanduser") or (
        isinstance(node, ast.Call) and "File" in ast.unparse(node)
    ):
        return "path", "value"
    if name in _LITERALS:
        return of_default, "value"
    if "bool" in last.lower() or of_default == "bool":
        return "bool", "text"
    if isinstance(node, ast.Lambda) and isinstance(node.body, ast.Call):
        inner = ast.unparse(node.body.func)
        return (inner if inner in ("float", "int", "str") else of_default), "value"
    if isinstance(node, ast.Lambda) and "true" in ast.unparse(node.body).lower():
        return "bool", "text"
    return of_default, "value"


def _reset(flag: FlagDefinition) -> FlagDefinition:
    return replace(flag, default=None, readable=True, expression="")


def _paired(found: Sequence[FlagDefinition]) -> list[FlagDefinition]:
    """Join `--amp` and `--no-amp` of one destination."""
    kept: list[FlagDefinition] = []
    for flag in found:
        others = [each for each in kept if (each.dest, each.command) == (flag.dest, flag.command)]
        if len(others) == 1 and {flag.style, others[0].style} == {"true", "false"}:
            on, off = (others[0], flag) if flag.style == "false" else (flag, others[0])
            first = others[0]  # the one that is defined first gives the default
            joined = replace(
                on,
                style="pair",
                off=off.names[0],
                default=first.default,
                readable=first.readable,
                expression=first.expression,
            )
            kept[kept.index(others[0])] = joined
        else:
            kept.append(flag)
    return kept
