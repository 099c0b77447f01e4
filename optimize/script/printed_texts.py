"""Tells which printed values are surely no number: texts, objects, collections, as far as the words of their file say."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Callable
from functools import cached_property

from optimize.script.source_names import SourceNames
from optimize.script.trees import assigned_values, walk

_STEPS = 8  # from one name to the next
_CALLS = ("type", "dir", "vars", "decode", "detokenize", "parse_args", "classification_report", "confusion_matrix")
_METHODS = (
    "keys",
    "items",
    "join",
    "upper",
    "lower",
    "title",
    "capitalize",
    "ljust",
    "center",
    "summary",
    "head",
    "describe",
    "to_string",
)
_KEEPS = ("tolist", "to_list", "strip", "replace", "copy")  # what a text or a collection gives of its own kind
_ATTRIBUTES = ("shape", "columns", "dtype", "device")
_OF_A_CLASS = re.compile(r"(?!.*(?:Tensor|Decimal|Fraction|Variable|Parameter))[A-Z]\w*[a-z]\w*")


class PrintedTexts:
    """The names of a file that stand for no number."""

    def __init__(self, names: SourceNames) -> None:
        self._names = names
        self._known: dict[
            tuple[str, int], bool
        ] = {}  # of names and functions, by the steps left: each is asked for often

    def has(self, node: ast.expr, steps: int = _STEPS) -> bool:
        """Return whether what an expression prints is surely not a number and nothing else."""
        match node:
            case ast.Constant(value=value):
                return isinstance(value, str) and not any(map(str.isdigit, value))
            case ast.Dict() | ast.DictComp() | ast.Set() | ast.Tuple():
                return True
            case ast.List(elts=parts):
                return len(parts) != 1
            case ast.JoinedStr(values=[ast.FormattedValue(value=inner)]):
                return self.has(inner, steps)
            case ast.BinOp(op=ast.Add() | ast.Mult(), left=left, right=right):
                return self.has(left, steps) or self.has(right, steps)
            case ast.Name(id=name):
                return bool(steps) and self._once(name, steps - 1, self._is_given_texts)
            case ast.Attribute(attr=attribute):
                return attribute in _ATTRIBUTES
            case ast.Call():
                return bool(steps) and self._is_returned(node, steps - 1)
        return False

    def _is_returned(self, call: ast.Call, steps: int) -> bool:
        last = self._names.qualified(call.func).rpartition(".")[2]
        if last == "join" and call.args:
            return not _are_numbers(call.args[0])
        if last in _CALLS or (last in _METHODS and isinstance(call.func, ast.Attribute)):
            return True
        if last in _KEEPS and isinstance(call.func, ast.Attribute):
            return self.has(call.func.value, steps)
        if not isinstance(call.func, ast.Name):
            return bool(_OF_A_CLASS.fullmatch(last))
        if last in self._names.functions:
            return self._once(f"{last}()", steps, self._returns_texts)
        made = self._given.get(last, [])
        if len(made) == 1 and isinstance(made[0], ast.Lambda):
            return self.has(made[0].body, steps)
        return bool(_OF_A_CLASS.fullmatch(last))

    def _once(self, name: str, steps: int, tell: Callable[[str, int], bool]) -> bool:
        if (name, steps) not in self._known:
            self._known[name, steps] = tell(name.removesuffix("()"), steps)
        return self._known[name, steps]

    def _returns_texts(self, function: str, steps: int) -> bool:
        nodes = ast.walk(self._names.functions[function])
        values = [each.value for each in nodes if isinstance(each, ast.Return)]
        return bool(values) and all(value is None or self.has(value, steps) for value in values)

    def _is_given_texts(self, name: str, steps: int) -> bool:
        values = self._given.get(name, [])
        return len(values) == self._bound[name] > 0 and all(self.has(value, steps) for value in values)

    @cached_property
    def _given(self) -> dict[str, list[ast.expr]]:
        found: dict[str, list[ast.expr]] = {}
        for node in walk(self._names.tree):
            for name, value in assigned_values(node):
                found.setdefault(name, []).append(value)
        return found

    @cached_property
    def _bound(self) -> Counter[str]:
        """How often each name is bound; what is added to a text leaves it one."""
        found: Counter[str] = Counter()
        for node in walk(self._names.tree):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                found[node.id] += 1
            elif isinstance(node, ast.arg):
                found[node.arg] += 1
            elif isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Add) and isinstance(node.target, ast.Name):
                found[node.target.id] -= 1
        return found


def _are_numbers(items: ast.expr) -> bool:
    """Return whether texts that are joined may be digits: those of numbers."""
    match items:
        case ast.GeneratorExp(elt=each) | ast.ListComp(elt=each):
            return isinstance(each, ast.JoinedStr) or "str(" in ast.unparse(each)
        case ast.Call(func=ast.Name(id="map"), args=[ast.Name(id="str"), *_]):
            return True
    return False
