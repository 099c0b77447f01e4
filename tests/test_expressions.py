"""Expressions and rules: what they compute, what they refuse, and that their work is bounded."""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces import SearchSpaceError, Value, parse_expression
from search_spaces.expressions import MAX_BITS, MAX_NODES, parse_rule
from tests.chance import ten_thousand_times

VALUES: dict[str, Value] = {
    "DEPTH": 7,
    "RATIO": 0.5,
    "PATTERN": "SSSL",
    "BETAS": (0.8, 0.95),
    "FLAG": True,
    "NONE": None,
}


def problem(act: Callable[[], object]) -> str:
    with pytest.raises(SearchSpaceError) as caught:
        act()
    (line,) = caught.value.problems
    assert "\n" not in line
    return line


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2**19", 524288),
        ("4 * 65_536", 262144),
        ("-(-DEPTH // 2)", 4),  # ceil
        ("DEPTH % 4 + RATIO / 2 - -1", 4.25),
        ("3 < DEPTH <= 7", True),
        ("3 < DEPTH < 7", False),
        ("DEPTH in (6, 7)", True),
        ("PATTERN not in ('L', 'SSSL')", False),
        ("BETAS == (0.8, 0.95)", True),
        ("(DEPTH, 'x', (1.5, None))", (7, "x", (1.5, None))),
        ("not FLAG or DEPTH > 3 and PATTERN != 'L'", True),
        ("FLAG and NONE == None", True),
        ("(DEPTH > 3) * 10", 10),
        ("  DEPTH # the number of layers", 7),
    ],
)
def test_an_expression_computes_what_python_does(text: str, value: Value) -> None:
    assert parse_expression(text).evaluate(VALUES) == value


def test_names_are_what_an_evaluation_needs() -> None:
    assert parse_expression("A % (B * A) == 0 and C in (1, 2)").names == {"A", "B", "C"}


def test_and_or_stop_at_the_operand_that_decides() -> None:
    assert parse_expression("DEPTH == 7 or 1 / 0 == 1").evaluate(VALUES) is True
    assert parse_expression("DEPTH != 7 and 1 / 0 == 1").evaluate(VALUES) is False


@pytest.mark.parametrize(
    "text",
    [
        "open('x')", "DEPTH.real", "BETAS[0]", "[1, 2]", "{1: 2}", "{1}", "lambda: 1", "[x for x in (1,)]",
        "(x for x in (1,))", "f'{DEPTH}'", "1 if FLAG else 2", "(x := 3)", "*BETAS", "await x", "yield", "1j", "b'x'",
        "...", "~1", "1 & 2", "1 << 9", "1 @ 2", "DEPTH is 7", "import os", "x = 1", "1; 2", "(1,\r f())",
        "__import__('os').system('true')",
    ],
)  # fmt: skip
def test_anything_but_arithmetic_and_comparison_is_refused_with_its_column(text: str) -> None:
    assert "column " in problem(lambda: parse_expression(text))


@pytest.mark.parametrize(
    "text", ["", "   ", "DEPTH = = 1", "(DEPTH", "DEPTH\n+ 1", "'\\d'", "1or 2", "a\x00b", "\ud800", "1e999"]
)
def test_bad_syntax_is_one_line(text: str) -> None:
    problem(lambda: parse_expression(text))


def test_a_message_says_where_and_which_expression() -> None:
    line = problem(lambda: parse_expression("DEPTH = = 1", "x/y.toml: rule 2"))
    assert line.startswith("x/y.toml: rule 2: `DEPTH = = 1`: column 7: ")
    line = problem(lambda: parse_expression("1 / (DEPTH - 7)", "x/y.toml: rule 2").evaluate(VALUES))
    assert line.startswith("x/y.toml: rule 2: `1 / (DEPTH - 7)`: divides by zero.")


@pytest.mark.parametrize(
    "text",
    [
        "9**9**9", "9**9**9**9", "2**10**6 % 3", "-9**9**9", "(DEPTH**99)**99", "10**400", "1e308 * 10", "1e200 ** 2",
        "(-8) ** 0.5", "0 ** -1", "DEPTH % 0", "DEPTH // 0.0", "'a' * 10**9", "'a' + 'b'", "BETAS * 3", "-PATTERN",
        "NONE + 1", "PATTERN < 'T'", "BETAS < (1, 2)", "'S' in PATTERN", "not DEPTH", "DEPTH and FLAG", "UNKNOWN + 1",
        "'%s' % 1",
    ],
)  # fmt: skip
def test_what_cannot_be_computed_is_our_error_before_it_is_computed(text: str) -> None:
    problem(lambda: parse_expression(text).evaluate(VALUES))


@pytest.mark.parametrize(
    "text", ["-" * 900 + "1", "(" * 300 + "1" + ")" * 300, "1+" * 450 + "1", "(1,) * 1,(" * 90, "1," * 400, "9" * 999]
)
def test_size_depth_and_literals_are_bounded(text: str) -> None:
    problem(lambda: parse_expression(text))


def test_a_text_of_any_length_costs_nothing() -> None:
    assert "longer than" in problem(lambda: parse_expression("1+" * 10**6 + "1"))


def test_control_characters_never_reach_a_terminal() -> None:
    assert "\x1b" not in problem(lambda: parse_expression("'\x1b[2J' \x1b"))


def test_a_rule_holds_or_does_not() -> None:
    rule = parse_rule("TOTAL % (BATCH * SEQ) == 0", "whole micro-batches")
    assert rule.holds({"TOTAL": 4096, "BATCH": 8, "SEQ": 256})
    assert not rule.holds({"TOTAL": 4096, "BATCH": 12, "SEQ": 256})
    assert rule.text == "TOTAL % (BATCH * SEQ) == 0"


@pytest.mark.parametrize("text", ["TOTAL % BATCH", "-TOTAL", "(TOTAL, BATCH)", "1 == 1", "True"])
def test_a_rule_that_is_no_condition_is_refused(text: str) -> None:
    problem(lambda: parse_rule(text, "why"))


def test_a_name_alone_is_a_rule_if_it_is_true_or_false() -> None:
    assert parse_rule("FLAG", "why").holds(VALUES)
    assert "is no condition" in problem(lambda: parse_rule("DEPTH", "why").holds(VALUES))


def test_rules_and_errors_survive_pickling() -> None:
    rule = pickle.loads(pickle.dumps(parse_rule("DEPTH == 7", "why", "x.toml: rule 1")))
    assert rule == parse_rule("DEPTH == 7", "why")
    assert rule.holds(VALUES)
    error = pickle.loads(pickle.dumps(SearchSpaceError("a: b. C.", "d: e. F.")))
    assert error.problems == ("a: b. C.", "d: e. F.")
    assert str(error) == "a: b. C.\nd: e. F."


TOKENS = [
    *VALUES, "+", "-", "*", "/", "//", "%", "**", "(", ")", ",", ".", ":", "=", "==", "!=", "<", ">", "<=", "and", "or",
    "not", "in", "is", "if", "else", "lambda", "[", "]", "{", "}", "'", '"', "\\", "#", "@", "~", "&", "9", "99",
    "1e99", ".5", "0x_", "1j", "None", "\n", "\t", "\x00", "é",
]  # fmt: skip
nonsense = st.lists(st.sampled_from(TOKENS), max_size=30).map(" ".join) | st.text(max_size=40)


def evaluates_or_is_refused(text: str) -> None:
    problems: tuple[str, ...] = ()
    try:
        expression = parse_expression(text, "w")
        assert expression.size <= MAX_NODES
        value = expression.evaluate(VALUES)
        assert not isinstance(value, int) or value.bit_length() <= MAX_BITS
    except SearchSpaceError as error:
        problems = error.problems
    assert all(map(str.isprintable, problems))


@settings(max_examples=150, deadline=None)
@given(nonsense)
def test_nonsense_raises_nothing_but_our_error(text: str) -> None:
    evaluates_or_is_refused(text)


@pytest.mark.slow
def test_ten_thousand_pieces_of_nonsense_raise_nothing_but_our_error() -> None:
    def piece(draw: random.Random) -> None:
        evaluates_or_is_refused(" ".join(draw.choices(TOKENS, k=draw.randint(0, 30))))

    ten_thousand_times(piece)
