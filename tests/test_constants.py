"""Rendering: exact edits of module constants, and a clear no to everything else."""

from __future__ import annotations

import ast
import contextlib
import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimize.errors import RenderError
from optimize.script.constants import PYTHONS, comment_on, read_constants, render, syntax_fingerprint

SCRIPT = '''"""A script."""
import math

DEPTH = 8               # layers
TOTAL_BATCH_SIZE = 2**19  # tokens
ADAM_BETAS = (0.8, 0.95)
PATTERN: str = "SSSL"
A = B = 3
TWICE = 1
TWICE = 2
if math.pi > 3:
    CONDITIONAL = 1

def train():
    global INSIDE
    INSIDE = DEPTH
'''


def literals() -> st.SearchStrategy[object]:
    numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    atoms = st.none() | st.booleans() | numbers | st.text(st.characters(exclude_categories=["Cs"]))
    return atoms | st.lists(atoms, max_size=4).map(tuple) | st.lists(st.lists(atoms, max_size=3).map(tuple)).map(tuple)


def test_a_value_is_replaced_and_its_comment_stays() -> None:
    assert "DEPTH = 4               # layers\n" in render(SCRIPT, {"DEPTH": 4}, "train.py")


def test_an_expression_is_replaced_as_a_whole() -> None:
    assert "TOTAL_BATCH_SIZE = 4096  # tokens" in render(SCRIPT, {"TOTAL_BATCH_SIZE": 4096}, "train.py")


def test_everything_outside_the_values_stays_byte_for_byte() -> None:
    rendered = render(SCRIPT, {"DEPTH": 4, "PATTERN": "L", "ADAM_BETAS": (0.9, 0.95)}, "train.py")
    back = render(rendered, {"DEPTH": 8, "PATTERN": "SSSL", "ADAM_BETAS": (0.8, 0.95)}, "train.py")
    assert back == SCRIPT.replace('"SSSL"', "'SSSL'")


def test_each_name_of_a_tuple_has_a_value_of_its_own() -> None:
    text = "lr, (width, betas) = 3e-4, (64, (0.9, 0.99))  # tuned\n[a, b] = [1, 2]\n"
    assert list(read_constants(text, "")) == ["lr", "width", "betas", "a", "b"]
    rendered = render(text, {"lr": 0.1, "betas": (0.8, 0.95), "b": -1}, "train.py")
    assert rendered == "lr, (width, betas) = 0.1, (64, (0.8, 0.95))  # tuned\n[a, b] = [1, -1]\n"
    for none in ("a, b = f()\n", "a, *b = 1, 2\n", "a = b = 1\n", "a, b = (*c, 1)\n", "a, b = 1, 2\nb += 1\n"):
        assert "b" not in read_constants(none, "")


def test_floats_are_written_without_rounding() -> None:
    assert "DEPTH = 0.1234567890123456" in render(SCRIPT, {"DEPTH": 0.1234567890123456}, "train.py")


def test_values_that_are_equal_and_not_the_same_are_written_each_as_it_is() -> None:
    written = [render(SCRIPT, {"DEPTH": value}, "train.py") for value in (1, 1.0, True, 1)]
    assert ["DEPTH = 1  " in text for text in written] == [True, False, False, True]
    assert ["DEPTH = 1.0 " in text for text in written] == [False, True, False, False]
    assert ["DEPTH = True " in text for text in written] == [False, False, True, False]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("MISSING", "no such constant"),
        ("TWICE", "assigned 2 times"),
        ("INSIDE", "only inside a function"),
        ("CONDITIONAL", "not a plain"),
        ("A", "not a plain"),
        ("math", "not a plain"),
    ],
)
def test_what_is_not_exactly_one_assignment_is_refused(name: str, says: str) -> None:
    with pytest.raises(RenderError, match=says):
        render(SCRIPT, {name: 1}, "train.py")


def test_all_mistakes_are_reported_at_once() -> None:
    with pytest.raises(RenderError) as caught:
        render(SCRIPT, {"MISSING": 1, "TWICE": 1, "INSIDE": 1}, "train.py")
    assert len(caught.value.problems) == 3


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [1], {"a": 1}, (1, [2])])
def test_only_literals_reach_a_script(value: object) -> None:
    with pytest.raises(RenderError, match="not a literal"):
        render(SCRIPT, {"DEPTH": value}, "train.py")  # type: ignore[dict-item]


def test_a_script_that_is_not_python_is_one_clear_line() -> None:
    with pytest.raises(RenderError, match=r"train\.py:1: not valid Python"):
        read_constants("DEPTH = = 3", "train.py")


AWKWARD = [
    "X = 1\n",
    "X = (\n    1  # why\n)  # end\n",
    "X = \\\n  1\n",
    "A = 'é'; X = 1; B = '€'\n",
    "A = '''\nX = 5\n'''\r\nX = 1\r\nB = 2\r\n",
    "X=1",
    "def f():\n\tX = 3\n\treturn X\n\nX\t=\t1\t# tab\n",
    "X = 1, 2\n",
    "A = '\x0c'\nX = 1  # form feed above\n",
    "X: 'int | None' = 1\n",
    "é = 2; X = 1\n",
]


@pytest.mark.parametrize("script", AWKWARD)
@given(value=literals())
@settings(max_examples=40, deadline=None)
def test_any_literal_survives_in_any_script(script: str, value: object) -> None:
    before = read_constants(script, "s.py")["X"]
    rendered = render(script, {"X": value}, "s.py")  # type: ignore[dict-item]
    after = read_constants(rendered, "s.py")["X"]
    assert repr(ast.literal_eval(after.expression)) == repr(value)
    source, new = script.encode(), rendered.encode()
    assert new[: before.start] == source[: before.start]
    assert new[after.end :] == source[before.end :]


@given(st.text(max_size=200))
@settings(max_examples=300, deadline=None)
def test_no_text_raises_anything_but_our_own_error(text: str) -> None:
    with contextlib.suppress(RenderError):
        render(text, {"X": 1}, "s.py")


def test_comments_layout_and_docstrings_do_not_change_the_fingerprint() -> None:
    assert syntax_fingerprint(SCRIPT, "a") == syntax_fingerprint(
        SCRIPT.replace("# layers", "# deep").replace("A script", "B"), "b"
    )
    assert syntax_fingerprint(SCRIPT, "a") != syntax_fingerprint(SCRIPT.replace("math.pi > 3", "math.pi > 4"), "a")


@pytest.mark.parametrize(
    ("line", "comment"),
    [
        ("DEPTH = 8  # layers", "layers"),
        ("DEPTH = 8", ""),
        ('DEPTH = "a # b"  # c é # d', "c é # d"),
        ("DEPTH = (8)  # of a value in brackets none is told", ""),
        ("DEPTH = [\n    8,  # inside\n]  # after", "after"),
        ("DEPTH = 8\n# the next line's", ""),
    ],
)
def test_the_comment_behind_a_value_is_found(line: str, comment: str) -> None:
    text = f"é = 1\n{line}\n"
    assert comment_on(text, read_constants(text, "train.py")["DEPTH"]) == comment


# Syntax that every Python from 3.11 on knows.
ANY_SYNTAX = '''\
"""A docstring."""
from __future__ import annotations
import os
X: int = 4; Y = (1, 2.5, None, True, b"x", 1e-9, ...)
@staticmethod
def f(a, /, b=1, *c: int, d, e=None, **g) -> str:
    """Another."""
    global X
    return f"{a!r:>9} {X=}" if a else lambda: [i async for i in c if i]
class A(object, metaclass=type):
    async def g(self):
        """Only this."""
    def h(self, xs=[]):
        match xs:
            case [1, *rest] | {"k": rest} if rest: return {**{}, "a": {*rest}}
            case None | A(): pass
        try: del xs[0:1, ::2]
        except* (KeyError, OSError) as error: raise error from None
        while (n := 1) < 2 <= 3: continue
        with open("x") as a, a: yield from ()
'''
DUMPED = {
    "3.11": "484b89dc8b681858",
    "3.12": "d47ca6bf11fe1fe2",
    "3.13": "111e2cf560f33e52",
}  # by the `ast.dump` of each of them


def digest_of(python: str) -> str:
    return hashlib.sha256(syntax_fingerprint(ANY_SYNTAX, "a", python).encode()).hexdigest()[:16]


def test_the_fingerprint_of_another_python_is_known() -> None:
    assert {python: digest_of(python) for python in PYTHONS} == DUMPED
    assert digest_of("") in DUMPED.values()
