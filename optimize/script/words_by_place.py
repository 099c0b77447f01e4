"""Tells where a script takes words of its command in a way that nothing can be tuned by: by their place, by getopt, by docopt."""

from __future__ import annotations

import ast
from collections.abc import Mapping

from optimize.script.source_names import SourceNames, read_names
from optimize.script.trees import walk

_OTHER_PARSERS = ("getopt.getopt", "getopt.gnu_getopt", "getopt", "docopt.docopt", "docopt")
_WHAT_TO_DO = (
    "A flag of argparse, or a constant, can be. What it has to be given stays as it is, behind two dashes: `-- ARGS`"
)


def words_by_place_note(files: Mapping[str, str]) -> str:
    """Return a line on the first such place in these Python files, "" if there is none."""
    for file, text in files.items():
        if "argv" in text or "opt" in text:
            names = read_names(text, file)
            found = sorted(
                (line, how) for node in walk(names.tree) if (how := _how(node, names)) for line in [_line(node)]
            )
            if found:
                line, how = found[0]
                return f"{file}:{line}: {how}, which cannot be tuned. {_WHAT_TO_DO}"
    return ""


def _line(node: ast.AST) -> int:
    return getattr(node, "lineno", 0)


def _how(node: ast.AST, names: SourceNames) -> str:
    match node:
        case ast.Subscript(value=base, slice=ast.Constant(value=int()) | ast.UnaryOp() as place) if _is_argv(
            base, names
        ):
            if isinstance(place, ast.Constant) and not place.value:
                return ""  # the script's own name
            return f"it takes a word of its command by its place, `{ast.unparse(node)}`"
        case ast.Assign(targets=[ast.Tuple() | ast.List()], value=value):
            value = value.value if isinstance(value, ast.Subscript) and isinstance(value.slice, ast.Slice) else value
            return "it takes the words of its command by their places" if _is_argv(value, names) else ""
        case ast.Call(func=func) if names.qualified(func) in _OTHER_PARSERS:
            return f"it reads its flags by {names.qualified(func).partition('.')[0]}"
    return ""


def _is_argv(node: ast.expr, names: SourceNames) -> bool:
    return isinstance(node, ast.Name | ast.Attribute) and names.qualified(node) in ("sys.argv", "argv")
