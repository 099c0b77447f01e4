"""The seed of a script that has no constant for it: the literal in calls such as `torch.manual_seed(42)`.

Only the bytes of that literal change; what is written is read back, as in `render.py`. Which seeds are tried is not decided here.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from optimize.errors import RenderError

SEED_CALLS = "manual_seed"  # how a seed is called among parameters that is no constant
_SEEDING = frozenset(
    f"{module}{name}"
    for module in ("", "torch.", "torch.cuda.", "torch.mps.", "torch.xpu.")
    for name in ("manual_seed", "manual_seed_all")
) | {"random.seed", "np.random.seed", "numpy.random.seed", "mx.random.seed"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Literal:
    """A whole number inside the first argument of a call that seeds; `start` and `end` are byte offsets."""

    value: int
    call: str
    line: int
    start: int
    end: int


def read_seed_calls(text: str, where: str) -> int | None:
    """The seed in the script's calls; None if it has none with a literal.

    Raises RenderError if they disagree: then nobody can say which one is the script's seed.
    """
    found = _literals(text, where)
    if len({literal.value for literal in found}) > 1:
        calls = ", ".join(f"{literal.call}({literal.value}) in line {literal.line}" for literal in found)
        raise RenderError(
            f"{where}: several seeds: {calls}. Give the script one constant SEED, or name it: seed in workload.toml."
        )
    return found[0].value if found else None


def render_seed_calls(text: str, seed: int, where: str) -> str:
    """`text` with `seed` in every call that seeds. Raises RenderError if there is none."""
    found = _literals(text, where)
    if not found or type(seed) is not int or seed < 0:
        raise RenderError(
            f"{where}: {SEED_CALLS}: {seed!r} cannot be written: there is no call to seed, or no such seed."
        )
    rest = _around(text.encode(), found)
    rendered = str(seed).encode().join(rest).decode()
    again = _literals(rendered, where)
    if [(a.value, a.call) for a in again] != [(seed, f.call) for f in found] or _around(
        rendered.encode(), again
    ) != rest:
        raise RenderError(f"{where}: {SEED_CALLS}: the seed did not survive rendering. Report this as a bug.")
    return rendered


def _literals(text: str, where: str) -> list[_Literal]:
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise RenderError(f"{where}: not Python that can be read: {error}. Fix the script.") from None
    source = text.encode()
    offsets = [0]
    for line in source.splitlines(keepends=True):  # of bytes: cuts where Python's tokenizer does
        offsets.append(offsets[-1] + len(line))
    found = []
    for call, number in _seeded(tree):
        start = offsets[number.lineno - 1] + number.col_offset
        end = offsets[(number.end_lineno or number.lineno) - 1] + (number.end_col_offset or 0)
        assert isinstance(number.value, int)
        found.append(_Literal(number.value, call, number.lineno, start, end))
    return sorted(found, key=lambda literal: literal.start)


def _seeded(tree: ast.Module) -> Iterator[tuple[str, ast.Constant]]:
    """Calls whose argument holds exactly one whole number: `42`, or `1337 + rank`, which keeps what is added."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in _SEEDING and len(node.args) == 1:
            inside = [n for n in ast.walk(node.args[0]) if isinstance(n, ast.Constant) and type(n.value) is int]
            if len(inside) == 1 and _is_sum(node.args[0]):
                yield ast.unparse(node.func), inside[0]


def _is_sum(argument: ast.expr) -> bool:
    return isinstance(argument, ast.Constant) or (
        isinstance(argument, ast.BinOp)
        and isinstance(argument.op, ast.Add)
        and all(isinstance(side, ast.Constant | ast.Name) for side in (argument.left, argument.right))
    )


def _around(source: bytes, literals: list[_Literal]) -> list[bytes]:
    """What stands before, between and after the literals."""
    starts = [*(literal.start for literal in literals), len(source)]
    ends = [0, *(literal.end for literal in literals)]
    return [source[end:start] for end, start in zip(ends, starts, strict=True)]
