"""Finds the result files that a script writes: JSON, JSON lines and tables, with the names in them as far as its text has them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from optimize.script.parsers import find_flag
from optimize.script.printed import texts_of
from optimize.script.source_names import SourceNames, UnreadableValue, read_names
from optimize.script.trees import walk

_SUFFIXES = (".json", ".jsonl", ".ndjson", ".csv", ".tsv")
_NO_RESULT = re.compile(r"config|args|param|setting|vocab|token|mapping|label|class", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ResultFile:
    """A file that a script writes: its path in a trial's folder, or a pattern; `keys` are () where the text does not show them."""

    path: str
    keys: tuple[str, ...]
    where: str


def result_files(files: Mapping[str, str]) -> list[ResultFile]:
    """Return the data files that these Python files write, in the order of their text."""
    found: list[ResultFile] = []
    for file, text in files.items():
        names = read_names(text, file)
        handles = dict(_handles(names))
        for call, _ in names.calls():
            for node, keys in _written(call, names, handles):
                path = _pattern(node, names, files)
                if path.endswith(_SUFFIXES):
                    found.append(ResultFile(path, keys, f"{file}:{call.lineno}"))
    return list(dict.fromkeys(found))


def _handles(names: SourceNames) -> Iterator[tuple[str, ast.expr]]:
    """Yield the name of each open file, and of each writer on one, with the expression of its path."""
    opened: dict[str, ast.expr] = {}
    for node in walk(names.tree):
        pairs: list[tuple[ast.expr | None, ast.expr]] = []
        if isinstance(node, ast.With):
            pairs = [(item.optional_vars, item.context_expr) for item in node.items]
        elif isinstance(node, ast.Assign):
            pairs = [(node.targets[0], node.value)]
        for target, made in pairs:
            if (
                isinstance(target, ast.Name)
                and isinstance(made, ast.Call)
                and (path := _opened(made, names)) is not None
            ):
                opened[target.id] = path
    yield from opened.items()


def _opened(call: ast.Call, names: SourceNames) -> ast.expr | None:
    modes = [
        each.value for each in (*call.args, *(word.value for word in call.keywords)) if isinstance(each, ast.Constant)
    ]
    if not any(isinstance(mode, str) and re.fullmatch(r"[wax]t?\+?", mode) for mode in modes):
        return None
    if names.qualified(call.func) in ("open", "io.open") and call.args:
        return call.args[0]
    is_method = isinstance(call.func, ast.Attribute) and call.func.attr == "open"
    return call.func.value if is_method and isinstance(call.func, ast.Attribute) else None


def _written(
    call: ast.Call, names: SourceNames, handles: Mapping[str, ast.expr]
) -> Iterator[tuple[ast.expr, tuple[str, ...]]]:
    """Yield the path of a file that a call writes, with the keys that it writes there."""
    name = names.qualified(call.func)
    last = name.rpartition(".")[2]
    owner = call.func.value if isinstance(call.func, ast.Attribute) else None
    words = {each.arg: each.value for each in call.keywords}
    if name == "json.dump" and len(call.args) > 1 and (path := handles.get(ast.unparse(call.args[1]))) is not None:
        yield path, _keys(call.args[0], names)
    elif last in ("write_text", "write") and call.args and owner is not None:
        path = owner if last == "write_text" else handles.get(ast.unparse(owner))
        dumped = [
            n for n in ast.walk(call.args[0]) if isinstance(n, ast.Call) and names.qualified(n.func) == "json.dumps"
        ]
        if path is not None and dumped and dumped[0].args:
            yield path, _keys(dumped[0].args[0], names)
    elif (
        last in ("DictWriter", "writer") and call.args and (path := handles.get(ast.unparse(call.args[0]))) is not None
    ):
        given = words.get("fieldnames", call.args[1] if len(call.args) > 1 else None)
        yield path, _texts(given, names) or _first_row(names)
    elif last in ("to_csv", "to_json") and call.args:
        yield call.args[0], ()


def _keys(node: ast.expr, names: SourceNames) -> tuple[str, ...]:
    table = texts_of(names)[""].get(node.id) if isinstance(node, ast.Name) else node
    inner = table if isinstance(table, ast.Dict) else None
    found = [str(key.value) for key in inner.keys if isinstance(key, ast.Constant)] if inner else []
    return tuple(found)


def _first_row(names: SourceNames) -> tuple[str, ...]:
    """Return the words of the first row that is written, if it is made of words: `writer.writerow(["epoch", "loss"])`."""
    rows = (call.args[0] for call, _ in names.calls() if names.qualified(call.func).endswith(".writerow") and call.args)
    return next((texts for row in rows if (texts := _texts(row, names))), ())


def _texts(node: ast.expr | None, names: SourceNames) -> tuple[str, ...]:
    try:
        found = names.value(node) if node is not None else None
    except UnreadableValue:
        return ()
    return tuple(map(str, found)) if isinstance(found, tuple) and all(isinstance(each, str) for each in found) else ()


def _pattern(node: ast.expr, names: SourceNames, files: Mapping[str, str]) -> str:
    """Return a path as the trial's folder has it; `**/` before a name whose folder the text does not show."""
    match node:
        case ast.Call(func=func, args=[*parts]) if names.qualified(func).endswith("path.join") and parts:
            return _below(_pattern(parts[-1], names, files))
        case ast.Call(func=func, args=[path]) if names.qualified(func).rpartition(".")[2] in ("Path", "str"):
            return _pattern(path, names, files)
        case ast.BinOp(op=ast.Div(), right=right):
            return _below(_pattern(right, names, files))
        case ast.JoinedStr(values=parts):
            text = "".join(str(each.value) if isinstance(each, ast.Constant) else "*" for each in parts)
            return _below(text.rpartition("/")[2])
        case ast.Attribute(attr=name):
            flags = (find_flag(files, flag) for flag in (f"--{name}", f"--{name.replace('_', '-')}"))
            default = next((flag.default for flag in flags if flag), None)
            return default if isinstance(default, str) else ""
        case ast.Name(id=name):
            made = [
                n.value for n in walk(names.tree) if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == name
            ]
            return _pattern(made[0], names, files) if len(made) == 1 and not isinstance(made[0], ast.Name) else ""
        case ast.Constant(value=str(text)):
            return PurePosixPath(text).as_posix() if not text.startswith(("/", "~")) else ""
    return ""


def _below(name: str) -> str:
    return f"**/{PurePosixPath(name).name}" if name else ""


def file_with(found: Sequence[ResultFile], name: str) -> ResultFile | None:
    """Return the file that has a name; else the only one whose names the text does not show; None if there is none."""
    results = [each for each in found if not _NO_RESULT.search(PurePosixPath(each.path).stem)]
    named = [each for each in results if name in each.keys]
    unknown = [each for each in results if not each.keys]
    return named[-1] if named else unknown[0] if len({each.path for each in unknown}) == 1 else None
