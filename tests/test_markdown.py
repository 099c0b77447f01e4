"""What a script prints stands in a note as it is, and does nothing there."""

from __future__ import annotations

import re
import shlex
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimize.reporting.markdown import block, changed_lines, code, folded_command, table, tail, words

NASTY = st.text(alphabet="`~|<>*_[](){}\\#&\n\r\t\x1b\x00é a", max_size=200)


@given(NASTY)
def test_a_span_is_one_line_that_nothing_in_it_can_end(text: str) -> None:
    span = code(text)
    if span:
        fence = re.match("`+", span)
        assert fence is not None
        inner = span.removeprefix(fence[0]).removesuffix(fence[0])
        assert all(len(run) != len(fence[0]) for run in re.findall("`+", inner))
        assert span.isprintable()


@given(NASTY)
def test_words_are_one_line_in_which_no_mark_has_an_effect(text: str) -> None:
    said = words(text)
    assert said.isprintable() or not said
    left = re.sub(r"\\(?:_|[^\w\s])", "", said)
    assert not set(left) & set("`*[]<>~\\&"), said
    assert words("val_bpb of _a_ at https://x.org, www.x.org") == r"val_bpb of \_a\_ at https\://x.org, www\.x.org"


@given(NASTY)
def test_a_block_ends_with_its_own_fence_only(text: str) -> None:
    first, *inside, last = block(text, "text").split("\n")
    fence = first.removesuffix("text")
    assert last == fence
    assert "\n".join(inside) == text
    assert fence not in text


def test_a_cell_ends_no_column() -> None:
    line = table(["a", "b"], [[code("x | y"), "1"]]).splitlines()[2]
    assert len(re.findall(r"(?<!\\)\|", line)) == 3


@pytest.mark.parametrize(
    ("log", "last"),
    [
        ("one\rtwo\r\nthree\n\n", ["two", "three"]),
        ("\x1b[31mred\x1b[0m\nbell\x07", ["red", "bell\\x07"]),
        ("", []),
        ("x" * 500, ["x" * 19 + "…"]),
    ],
)
def test_a_log_ends_in_lines_that_say_something(log: str, last: list[str]) -> None:
    assert tail(log, 2, 20).splitlines() == last


def test_of_a_patch_only_what_it_changes_is_left() -> None:
    patch = "--- a/train.py\t\n+++ b/train.py\t\n@@ -1,3 +1,3 @@\n import os\n-X = 4\n+X = 2\n print()\n"
    assert changed_lines(patch, 900, 100) == "--- a/train.py\n+++ b/train.py\n-X = 4\n+X = 2"
    assert changed_lines(patch, 40, 100).endswith("# lines left out: 1, see train.patch")


@pytest.mark.parametrize("name", ["it's --a name", 'two "--words"', "plain"])
def test_a_command_that_is_broken_into_lines_is_the_same(name: str) -> None:
    command = shlex.join(["optimize", "run", "--study", name, *(["--workload", "../somewhere"] * 9)])
    folded = folded_command(command, 60)
    read = subprocess.run(
        ["sh", "-c", folded.replace("optimize", r"printf '%s\n'", 1)], capture_output=True, text=True, check=True
    )
    assert read.stdout.splitlines() == shlex.split(command)[1:]
    assert "\n" in folded
