"""Tells by a script's text whether it can train on a CUDA device only. It runs nothing, and where it is in doubt it says no."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from optimize.script.bindings import parse
from optimize.script.trees import walk

_CUDA = re.compile(r"cuda(:\d+)?")
_ELSEWHERE = ("cpu", "mps", "xpu")
_PLACES = ("device", "map_location")  # arguments that say where one tensor lies: on the CPU next to any device


def needs_cuda(text: str) -> bool:
    """Return whether a script asks PyTorch for a CUDA device and never names another to train on.

    Scalars that an optimizer keeps on the CPU are no other device. Comments say nothing.
    """
    tree = parse(text, "the script")
    placed = set(map(id, _placed(tree)))
    named = [node for node in walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    others = [node for node in named if node.value in _ELSEWHERE and id(node) not in placed]
    return not others and any(map(_asks_for_cuda, walk(tree)))


def _placed(tree: ast.Module) -> Iterator[ast.expr]:
    """Yield what says where a tensor lies: `device="cpu"`, `.to("cpu")`."""
    for node in walk(tree):
        if isinstance(node, ast.keyword) and node.arg in _PLACES:
            yield node.value
        elif isinstance(node, ast.Call) and _called(node) == "to":
            yield from node.args


def _asks_for_cuda(node: ast.AST) -> bool:
    """Whether this is `torch.device("cuda")`, `x.to("cuda")`, `device="cuda"` or `x.cuda()`."""
    if isinstance(node, ast.keyword):
        return node.arg == "device" and _is_cuda(node.value)
    if not isinstance(node, ast.Call):
        return False
    moves = _called(node) in ("device", "to") and any(map(_is_cuda, node.args))
    return moves or (isinstance(node.func, ast.Attribute) and node.func.attr == "cuda")


def _is_cuda(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and bool(_CUDA.fullmatch(node.value))


def _called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
