"""Whatever rule is written: it computes what Python computes, or it is refused in one line. Nothing else runs."""

from __future__ import annotations

import ast
import contextlib
import math

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from search_spaces import SearchSpaceError, Value, parse_expression
from search_spaces.expressions import MAX_BITS, parse_rule
from tests.strategies import CONDITIONS, MIXED, NUMBERS, VALUES

ZERO, LARGE = "divides by zero", f"reaches a number beyond 2**{MAX_BITS}"
STRICTER = ("computes with", "orders", "looks for a value in something", "take conditions", LARGE)  # than Python


class Noting(ast.NodeTransformer):
    """Lets each number that Python computes on the way pass `note`."""

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        return ast.Call(ast.Name("note", ast.Load()), [self.generic_visit(node)], [])

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        self.generic_visit(node)
        return node if isinstance(node.op, ast.Not) else ast.Call(ast.Name("note", ast.Load()), [node], [])


def note(value: object) -> object:
    large = (
        value.bit_length() > MAX_BITS
        if isinstance(value, int)
        else not (isinstance(value, float) and math.isfinite(value))
    )
    if large:
        raise OverflowError
    return value


def by_python(text: str, noting: bool) -> Value | type[Exception]:
    """What Python makes of it: a value, or the kind of its error."""
    tree = ast.parse(text.strip(), mode="eval")
    tree = ast.fix_missing_locations(Noting().visit(tree) if noting else tree)
    try:
        return eval(compile(tree, "rule", "eval"), {"__builtins__": {}, "note": note}, dict(VALUES))  # type: ignore[no-any-return]
    except Exception as error:
        return type(error)


def by_us(text: str) -> tuple[Value, str]:
    """What we make of it: a value and nothing, or the one line that refuses it."""
    try:
        return parse_expression(text, "space.toml: rule 1").evaluate(VALUES), ""
    except SearchSpaceError as error:
        (line,) = error.problems
        assert line.startswith("space.toml: rule 1: `")
        assert line.isprintable()
        return None, line


@pytest.mark.slow
@settings(max_examples=200)
@given(NUMBERS | CONDITIONS)
@example("2 ** 256 == DEPTH")
@example("(-8) ** 0.5 == 1")
@example("DEPTH > 3 or 1 // 0 == 1")
@example("True ** -1 == 1.0")
def test_numbers_and_conditions_are_what_python_computes_or_refused_for_the_same_reason(text: str) -> None:
    value, line = by_us(text)
    expected = by_python(text, noting=True)
    if expected in (ZeroDivisionError, OverflowError):
        assert (ZERO if expected is ZeroDivisionError else LARGE) in line
    else:
        assert (repr(value), line) == (repr(expected), "")


@settings(max_examples=200)
@given(MIXED)
@example("FLAG == 1 and (1, 2) == (1.0, True)")
@example("PATTERN in ('SSSL',) == FLAG")
def test_whatever_stands_where_a_value_is_python_s_and_a_refusal_has_a_reason(text: str) -> None:
    value, line = by_us(text)
    expected = by_python(text, noting=False)
    if not line:
        assert repr(value) == repr(expected)
    elif ZERO in line:
        assert expected is ZeroDivisionError
    elif "is neither a parameter nor a constant" in line:
        assert expected is NameError
    else:
        assert any(words in line for words in STRICTER)


FOREIGN = (
    "print(1)", "DEPTH.real", "().__class__", "BETAS[0]", "[1, 2]", "{1}", "{}", "(lambda: 1)", "(x for x in BETAS)",
    "[x for x in BETAS]", "(1 if FLAG else 2)", "(x := 3)", "(~DEPTH)", "(DEPTH & 1)", "(DEPTH | 1)", "(DEPTH ^ 1)",
    "(1 << DEPTH)", "(9 >> 1)", "(DEPTH @ 2)", "(DEPTH is 7)", "(DEPTH is not 7)", "1j", "b'x'", "...", "f'{DEPTH}'",
    "(*BETAS, 1)", "__import__('os')", "(yield)", "(await DEPTH)",
)  # fmt: skip


@pytest.mark.slow
@settings(max_examples=100)
@given(st.data())
def test_what_is_not_in_the_language_is_refused_wherever_it_stands(data: st.DataObject) -> None:
    around = data.draw(CONDITIONS.filter(lambda text: "DEPTH" in text))
    at = data.draw(st.integers(0, around.count("DEPTH") - 1))
    parts = around.split("DEPTH")
    text = "DEPTH".join(parts[: at + 1]) + data.draw(st.sampled_from(FOREIGN)) + "DEPTH".join(parts[at + 1 :])
    line = by_us(text)[1]
    assert "is not allowed. Allowed are numbers" in line or ": column " in line or "cannot be read" in line, line


NESTING = (
    ("(", ")"), ("-", ""), ("not ", ""), ("(1, ", ")"), ("1 + ", ""), ("", " ** 9"), ("9 ** ", ""), ("(", " ** 9)"),
    ("(", " * 99999)"), ("DEPTH < ", ""), ("FLAG and ", ""), ("(FLAG or ", ")"), ("(", " in (7,))"), ("7 in (", ",)"),
    ("1.5 ** ", ""), ("(", " / 1e-9)"), ("print(", ")"), ("[", "]"), ("lambda: ", ""), ("DEPTH.", ""), ("", "\n"),
    ("", "9"), ("'", "'"), ("\\", ""), ("", " # no"),
)  # fmt: skip


@settings(max_examples=100)
@given(
    st.lists(st.tuples(st.sampled_from(NESTING), st.integers(1, 600)), min_size=1, max_size=2),
    st.sampled_from(["7", "DEPTH", "FLAG", "1e9"]),
)
@example([(("(", " ** 9)"), 40)], "9")
@example([(("9 ** ", ""), 3)], "9")
@example([(("-", ""), 499)], "1")
@example([(("(", ")"), 199)], "1")
@example([(("(1, ", ")"), 49)], "1")
def test_however_deep_large_or_long_it_is_a_value_or_one_line(
    nesting: list[tuple[tuple[str, str], int]], text: str
) -> None:
    for (before, after), times in nesting:
        text = before * times + text + after * times
    value, line = by_us(text)
    assert line or not isinstance(value, int) or value.bit_length() <= MAX_BITS
    assert len(line) < 500


@settings(max_examples=100)
@given(CONDITIONS | MIXED)
def test_a_rule_holds_where_python_says_true_and_is_a_condition_or_refused(text: str) -> None:
    with contextlib.suppress(SearchSpaceError):
        holds = parse_rule(text, "why").holds(VALUES)
        assert isinstance(holds, bool)
        assert by_python(text, noting=False) is holds
