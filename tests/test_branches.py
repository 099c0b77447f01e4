"""Which calls a script does not make with its flags as they are."""

from __future__ import annotations

import ast

import pytest

from optimize.script.branches import calls_not_made

CHAIN = "if args.opt {0}:\n    a(1)\nelif args.opt == 'sgd':\n    b(1)\nelse:\n    c(1)\n"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (CHAIN.format("== 'adam'"), {"b", "c"}),
        (CHAIN.format("== 'lion'"), {"a", "b"}),
        (CHAIN.format("in ('lion', 'adam')"), {"b", "c"}),
        (CHAIN.format("in ('lion', name)"), {"b"}),
        (CHAIN.format("== name"), {"b"}),
        ("if fast:\n    SGD(1)\nelse:\n    Adam(1)\n    c()\n", {"SGD", "Adam"}),
        ("if fast:\n    SGD(1)\nelse:\n    c()\n", set()),
        ("if args.depth == 'adam':\n    a(1)\n", set()),
    ],
)
def test_calls_of_another_choice_are_known_by_the_flags_default(text: str, left: set[str]) -> None:
    found = calls_not_made(
        ast.parse(text), {"opt": "adam", "depth": 3}, lambda call: ast.unparse(call.func)[0].isupper()
    )
    assert {ast.unparse(call.func) for call in found.values()} == left
