"""Which keys a function's dictionary has: all of them, or unknown; and what that says of an entry of another dictionary."""

from __future__ import annotations

import ast

import pytest

from optimize.script.known_keys import keys_of_call
from tests.placing import workload

MORE = "def more():\n    return {'y': 2}\n"


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("def f(): return {'x': 1, 'y': {'z': 1}}\n", {"x", "y"}),
        ("def f():\n d = dict(x=1)\n d['y'] = 2\n d.update(z=3)\n d.update({'w': 4})\n return d\n", {"x", "y", "z", "w"}),
        (f"{MORE}def f():\n    d = {{'x': 1}}\n    d.update(more())\n    return d\n", {"x", "y"}),
        ("def f(): return {**d}\n", None),
        ("def f(): return {key: 1}\n", None),
        ("def f(): return dict(d, x=1)\n", None),
        ("def f():\n    d = {'x': 1}\n    g(d)\n    return d\n", None),
        ("def f():\n    d = {'x': 1}\n    d.update(h())\n    return d\n", None),
        ("def f():\n    d = {'x': 1}\n    d.setdefault('y', 2)\n    return d\n", None),
        ("def f():\n    d = {'x': 1}\n    d[key] = 2\n    return d\n", None),
        ("def f(a):\n    if a: return {}\n    return {'x': 1}\n", None),
        ("@cache\ndef f(): return {'x': 1}\n", None),
        ("def f(): return f()\n", None),
        ("def f():\n    d = {}\n    d.update(f())\n    return d\n", None),
        ("g = 1\n", None),
    ],
)  # fmt: skip
def test_all_keys_of_a_function_are_known_or_none(text: str, keys: set[str] | None) -> None:
    assert keys_of_call({"train.py": text}, "train.py", ast.parse("f()", mode="eval").body) == keys


@pytest.mark.parametrize(
    ("entry", "more", "is_refused"),
    [("f.d.x", "{'y': 2}", False), ("f.d.x", "{'x': 2}", True), ("more.return.y", "{'y': 2}", False)],
)
def test_an_update_by_a_function_replaces_the_entries_that_it_has(entry: str, more: str, is_refused: bool) -> None:
    text = f"def more():\n    return {more}\ndef f():\n    d = {{'x': 1}}\n    d.update(more())\n    return d\nprint(f())\n"
    of = workload(f'P = {{ entry = "{entry}", choices = [7, 8] }}', train_py=text)
    assert bool(of.problems(["P"])) is is_refused
