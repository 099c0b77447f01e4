"""Parses and evaluates expressions of TOML files, and rules made of them: arithmetic and comparison on names and
literals.

Nothing is handed to Python to be run: the syntax tree is walked, what is not listed below is refused when it is parsed,
and the work of an evaluation is limited. Where a name's value comes from is not known here. There is no `ceil`: write
`-(-a // b)`.
"""

from __future__ import annotations

import ast
import math
import operator
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

Value = bool | int | float | str | None | tuple["Value", ...]
"""A literal that a parameter or a constant of a script can hold."""

MAX_CHARS = 1_000
MAX_NODES = 200
MAX_DEPTH = 50
MAX_BITS = 256  # of a whole number: 9**9**9 is refused before it is computed

_ARITHMETIC: dict[type[ast.AST], Callable[..., object]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}
_ORDER: dict[type[ast.AST], Callable[..., bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_OPERATORS = (*_ARITHMETIC, *_ORDER, ast.Eq, ast.NotEq, ast.In, ast.NotIn, ast.And, ast.Or, ast.Not)
_ALLOWED = "Allowed are numbers, text, names, tuples, + - * / // % **, comparisons, in, and, or, not."


class SearchSpaceError(ValueError):
    """Every problem that was found, one line each: *where: what. What to do.*"""

    def __init__(self, *problems: str) -> None:
        # a file from a stranger must not steer the terminal that shows the message
        self.problems = tuple("".join(c if c.isprintable() else repr(c)[1:-1] for c in problem) for problem in problems)
        super().__init__(*self.problems)

    def __str__(self) -> str:
        return "\n".join(self.problems)


class _RefusedError(Exception):
    """What is wrong, before it is known which expression of which file it is."""


@dataclass(frozen=True, slots=True)
class Expression:
    """A parsed expression; equal when its text is."""

    text: str
    names: frozenset[str]  # what `evaluate` needs the values of
    where: str = field(compare=False)  # for messages, such as "search_spaces/cpu.toml: rule 1"
    size: int = field(compare=False)  # nodes: how much work an evaluation is
    _tree: ast.expr = field(compare=False, repr=False)

    def evaluate(self, values: Mapping[str, Value]) -> Value:
        """Return the expression's value.

        Raises SearchSpaceError, also for a division by zero or a number out of bounds.
        """
        try:
            return _evaluate(self._tree, values)
        except _RefusedError as refused:
            raise SearchSpaceError(_message(self.where, self.text, refused)) from None


@dataclass(frozen=True, slots=True)
class Rule:
    """A condition that every configuration must meet, and why."""

    expression: Expression
    why: str

    @property
    def text(self) -> str:
        """The rule as it stands in the file."""
        return self.expression.text

    def holds(self, values: Mapping[str, Value]) -> bool:
        """Return whether these values meet the condition. Raises SearchSpaceError where it cannot be computed."""
        result = self.expression.evaluate(values)
        if not isinstance(result, bool):
            raise SearchSpaceError(_message(self.expression.where, self.text, _NO_CONDITION))
        return result


_NO_CONDITION = "is no condition. Compare it with something, as in `A % B == 0`."


def parse_rule(text: str, why: str, where: str = "") -> Rule:
    """Parse a rule. Raises SearchSpaceError if its expression can never be true or false."""
    expression = parse_expression(text, where)
    if not expression.names:
        raise SearchSpaceError(_message(where, text, "names no parameter. Remove it."))
    match expression._tree:
        case ast.Compare() | ast.BoolOp() | ast.UnaryOp(op=ast.Not()) | ast.Name():  # a name may be a boolean parameter
            return Rule(expression, why)
    raise SearchSpaceError(_message(where, text, _NO_CONDITION))


def parse_expression(text: str, where: str = "") -> Expression:
    """Parse the expression in `text`; `where` begins each message about it. Raises SearchSpaceError naming the column."""
    text = text.strip()
    try:
        tree = _parse(text)
        nodes = [node for node in ast.walk(tree) if isinstance(node, ast.expr)]
        _check_size(nodes, tree)
        for node in nodes:
            _check_node(node, text)
    except _RefusedError as refused:
        raise SearchSpaceError(_message(where, text, refused)) from None
    names = frozenset(node.id for node in nodes if isinstance(node, ast.Name))
    return Expression(text, names, where, len(nodes), tree)


def kind(value: Value) -> str:
    """Return what sort of literal a value is, in the words of our messages."""
    if value is None or isinstance(value, bool):
        return "nothing" if value is None else "true/false"
    if isinstance(value, int | float):
        return "number"
    return "text" if isinstance(value, str) else "tuple"


def _parse(text: str) -> ast.expr:
    if len(text) > MAX_CHARS:
        raise _RefusedError(f"is longer than {MAX_CHARS} characters. Shorten it.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # suspicious syntax is refused, not printed as a warning
            return ast.parse(text, mode="eval").body
    except SyntaxError as error:
        raise _RefusedError(f"column {error.offset or len(text) + 1}: {error.msg}. {_ALLOWED}") from None
    except (ValueError, Warning, RecursionError, MemoryError):
        raise _RefusedError(f"cannot be read as an expression. {_ALLOWED}") from None


def _check_size(nodes: list[ast.expr], tree: ast.expr) -> None:
    if len(nodes) > MAX_NODES or _depth(tree) > MAX_DEPTH:
        raise _RefusedError(f"is too long: at most {MAX_NODES} terms, nested {MAX_DEPTH} deep. Split it.")


def _depth(node: ast.AST) -> int:
    return 1 + max(map(_depth, ast.iter_child_nodes(node)), default=0)


def _check_node(node: ast.expr, text: str) -> None:
    match node:
        case ast.Constant(value=bool() | int() | float() | str() | None):
            _bounded(node.value)
        case ast.Name() | ast.Tuple():
            pass
        case ast.UnaryOp(op=op) | ast.BinOp(op=op) | ast.BoolOp(op=op) if isinstance(op, _OPERATORS):
            pass
        case ast.Compare(ops=ops) if all(isinstance(op, _OPERATORS) for op in ops):
            pass
        case _:
            part = ast.get_source_segment(text, node) or ""
            raise _RefusedError(f"column {node.col_offset + 1}: `{part:.40}` is not allowed. {_ALLOWED}")


def _message(where: str, text: str, what: object) -> str:
    shown = text if len(text) <= 120 else text[:117] + "..."
    return f"{where}: `{shown}`: {what}" if where else f"`{shown}`: {what}"


def _evaluate(node: ast.AST, values: Mapping[str, Value]) -> Value:
    if isinstance(node, ast.Name):
        return _lookup(node.id, values)
    if isinstance(node, ast.Constant):
        return node.value  # type: ignore[return-value]  # _check_node let only these through
    if isinstance(node, ast.BinOp):
        return _compute(node.op, _evaluate(node.left, values), _evaluate(node.right, values))
    if isinstance(node, ast.Compare):
        return _compare_chain(node, values)
    if isinstance(node, ast.BoolOp):
        return _and_or(node, values)
    if isinstance(node, ast.UnaryOp):
        operand = _evaluate(node.operand, values)
        return not _truth(operand) if isinstance(node.op, ast.Not) else _compute(node.op, operand)
    assert isinstance(node, ast.Tuple)
    return tuple([_evaluate(element, values) for element in node.elts])


def _lookup(name: str, values: Mapping[str, Value]) -> Value:
    try:
        return values[name]
    except KeyError:
        raise _RefusedError(
            f"{name:.60} is neither a parameter nor a constant. Correct the name or define it."
        ) from None


def _compute(op: ast.AST, *operands: Value) -> Value:
    for operand in operands:
        if not isinstance(operand, int | float):
            raise _RefusedError(f"computes with a value that is {kind(operand)}. Compute with numbers only.")
    try:
        if isinstance(op, ast.Pow):
            _check_power(*operands)
        return _bounded(_ARITHMETIC[type(op)](*operands))
    except ZeroDivisionError:
        raise _RefusedError("divides by zero. Guard it, as in `B != 0 and A % B == 0`.") from None
    except OverflowError:
        raise _RefusedError(_TOO_LARGE) from None


_TOO_LARGE = f"reaches a number beyond 2**{MAX_BITS}, infinite or not real. Keep the numbers small."


def _check_power(base: object, exponent: object) -> None:
    """Refuse a whole power before it is computed; a fractional one is a float and costs nothing."""
    if not isinstance(base, int) or not isinstance(exponent, int):
        return
    if abs(base) > 1 and base.bit_length() * exponent > 2 * MAX_BITS:
        raise OverflowError


def _bounded(value: object) -> Value:
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        raise _RefusedError(_TOO_LARGE)
    if isinstance(value, complex) or (isinstance(value, float) and not math.isfinite(value)):
        raise _RefusedError(_TOO_LARGE)
    return value  # type: ignore[return-value]  # arithmetic on int and float gives nothing else


def _compare_chain(node: ast.Compare, values: Mapping[str, Value]) -> bool:
    left = _evaluate(node.left, values)
    for op, comparator in zip(node.ops, node.comparators, strict=True):
        right = _evaluate(comparator, values)
        if not _compare(op, left, right):
            return False
        left = right
    return True


def _compare(op: ast.cmpop, left: Value, right: Value) -> bool:
    if isinstance(op, ast.Eq | ast.NotEq):
        return (left == right) is isinstance(op, ast.Eq)
    if isinstance(op, ast.In | ast.NotIn):
        if not isinstance(right, tuple):
            raise _RefusedError("looks for a value in something that is no tuple. Write it as in `A in (1, 2)`.")
        return (left in right) is isinstance(op, ast.In)
    if not (isinstance(left, int | float) and isinstance(right, int | float)):
        raise _RefusedError(f"orders {kind(left)} and {kind(right)}. Only numbers have an order.")
    return _ORDER[type(op)](left, right)


def _and_or(node: ast.BoolOp, values: Mapping[str, Value]) -> bool:
    """Evaluate `and` and `or` as Python does: it ends at the first operand that decides."""
    decisive = isinstance(node.op, ast.Or)
    return any(_truth(_evaluate(operand, values)) is decisive for operand in node.values) is decisive


def _truth(value: Value) -> bool:
    if not isinstance(value, bool):
        raise _RefusedError(f"and, or, not take conditions, one here is {kind(value)}. Write a comparison.")
    return value
