"""Finds the modules that a script imports by a name that its command says: `import_module("models." + args.model)`.

The text alone tells; nothing is run.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping, Sequence

from optimize.script.aliases import last_name
from optimize.script.parsers import flags_by_file
from optimize.script.source_names import read_names
from optimize.script.trees import walk

_IMPORTS = ("import_module", "__import__")


def chosen_modules(files: Mapping[str, str], words: Sequence[str], is_there: Callable[[str], bool]) -> list[str]:
    """Return the files that these Python files import by a word of the command, or by the default of a flag."""
    before = [
        each for file, text in files.items() if any(name in text for name in _IMPORTS) for each in _prefixes(text, file)
    ]
    if not before:
        return []
    flags = [flag for _, flags in flags_by_file(files, words) for flag in flags]
    given = {word.partition("=")[0] for word in words}
    named = [word.partition("=")[2] if word.startswith("-") else word for word in words]
    named += [each.default for each in flags if isinstance(each.default, str) and not given.intersection(each.names)]
    paths = (f"{prefix}{word}".replace(".", "/") + ".py" for prefix in before for word in named if word.isidentifier())
    return [path for path in dict.fromkeys(paths) if is_there(path)]


def _prefixes(text: str, file: str) -> Iterator[str]:
    """Yield the text before the name in each import that is put together: `"models." + name`, `f"models.{name}"`."""
    for node in walk(read_names(text, file).tree):
        match node:
            case ast.Call(func=func, args=[given, *_]) if last_name(func) in _IMPORTS:
                match given:
                    case ast.BinOp(left=ast.Constant(value=str(prefix)), op=ast.Add()):
                        yield prefix
                    case ast.JoinedStr(values=[ast.Constant(value=str(prefix)), ast.FormattedValue()]):
                        yield prefix
                    case ast.Call(func=ast.Attribute(value=ast.Constant(value=str(form)), attr="format")):
                        yield from [form.removesuffix("{}")] if form.endswith("{}") and form.count("{") == 1 else []
                    case ast.BinOp(left=ast.Constant(value=str(form)), op=ast.Mod()):
                        yield from [form.removesuffix("%s")] if form.endswith("%s") and form.count("%") == 1 else []
