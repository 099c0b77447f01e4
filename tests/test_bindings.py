"""A name that anything binds a second time is no constant: the script would replace the value of a trial, and nobody would know."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimize.errors import RenderError
from optimize.script.bindings import hidden_writes, module_bindings
from optimize.script.constants import read_constants, render, why_not
from optimize.script.load_workload import load_workload

# Each of these binds X of the module once more, wherever it stands.
AGAIN = [
    "X *= 2",
    "X: float = 3",
    "X = Y = 3",
    "(X, Y) = 1, 2",
    "[*X] = 1, 2",
    "del X",
    "for X in (1, 2): pass",
    "with open('f') as X: pass",
    "import math as X",
    "from math import pi as X",
    "import X.sub",
    "def X(): pass",
    "async def X(): pass",
    "class X: pass",
    "if (X := 3): pass",
    "while (X := 0): pass",
    "assert (X := 3)",
    "try:\n    1 / 0\nexcept ZeroDivisionError as X:\n    pass",
    "try:\n    1 / 0\nexcept* ZeroDivisionError as X:\n    pass",
    "match 1:\n    case X:\n        pass",
    "match 1:\n    case int() as X:\n        pass",
    "match [1]:\n    case [*X]:\n        pass",
    "match {}:\n    case {**X}:\n        pass",
    "match 1:\n    case [Y, {'a': X}] | [X, Y]:\n        pass",
    "[X := y for y in (1,)]",
    "{(X := y) for y in (1,)}",
    "any((X := y) for y in (1,))",
    "[[X := z for z in (1,)] for y in (1,)]",
    "def f(a=(X := 3)): pass",
    "def f(*, a=(X := 3)): pass",
    "lambda a=(X := 3): a",
    "@(X := print)\ndef f(): pass",
    "@(X := print)\nclass C: pass",
    "class C(metaclass=(X := type)): pass",
    "class C((X := object)): pass",
    "def f(a: (X := int)): pass",
    "def f() -> (X := int): pass",
    "def f():\n    global X\n    X = 3",
    "def f():\n    global X\n    X += 3",
    "def f():\n    global X\n    for X in (1,): pass",
    "def f():\n    global X\n    import X",
    "def f():\n    global X\n    def X(): pass",
    "def f():\n    global X\n    [X := y for y in (1,)]",
    "def f():\n    global X\n    del X",
    "def f():\n    def g():\n        def h():\n            global X\n            X = 3",
    "class C:\n    global X\n    X = 3",
    "class C:\n    def f(self):\n        class D:\n            global X\n            X = 3",
    "async def f():\n    global X\n    async for X in g(): pass",
    "if __name__ == '__main__':\n    X = 3",
    "globals()['X'] = 3",
    "vars()['X'] = 3",
    "del globals()['X']",
    "import sys\nsetattr(sys.modules[__name__], 'X', 3)",
    "import sys\nsys.modules[__name__].X = 3",
    "import sys\nsys.modules['__main__'].X = 3",
    "def f():\n    globals()['X'] = 3",
    "def f():\n    g = globals()\n    g['X'] = 3",
    "def f():\n    g = globals()\n    def h():\n        g['X'] = 3",
    "g = locals()\ndef f():\n    g['X'] = 3",
    "def f():\n    global g\n    g = globals()\ndef h():\n    g['X'] = 3",
    "def f():\n    g = None\n    def h():\n        nonlocal g\n        g = globals()\n    h()\n    g['X'] = 3",
]
# None of these does: the name is another scope's, or is only read.
NOT_AGAIN = [
    "def f(X): return X",
    "def f():\n    X = 3\n    return X",
    "def f():\n    global X\n    return X",
    "class C:\n    X = 3",
    "[X for X in (1,)]",
    "{X: X for X in (1,)}",
    "lambda X: X",
    "lambda: (X := 3)",
    "def f():\n    return [X := y for y in (1,)]",
    "def f():\n    X = 1\n    def g():\n        nonlocal X\n        X = 2",
    "print(X)",
    "y = globals()['X']",
    "d = {}\nd['X'] = 3",
    "o = type('O', (), {})\no.X = 3",
    "def f(**kw): pass\nf(X=3)",
    "match 1:\n    case 1: pass",
    "def f(X):\n    config = locals()\n    config['X'] = 3",
    "def f(a):\n    config = vars()\n    config['X'] = 3",
    "def f():\n    locals()['X'] = 3",
    "class C:\n    locals()['X'] = 3",
    "lambda: locals().__setitem__('X', 3)",
    "def f():\n    g = globals()\ndef h():\n    g = {}\n    g['X'] = 3",
    "class C:\n    def __init__(self, a):\n        config = locals()\n        config.pop('self')\n"
    "def f():\n    config = {}\n    config['X'] = 3",
    "# global X",
    "'global X'",
]


@pytest.mark.parametrize("statement", AGAIN)
def test_a_name_that_is_bound_again_is_refused(statement: str) -> None:
    text = f"X = 1\nOK = 2\n{statement}\n"
    assert "OK" in read_constants(text, "train.py")
    assert "X" not in read_constants(text, "train.py")
    assert why_not(text, "X", "train.py").startswith("train.py: X: ")
    with pytest.raises(RenderError, match=r"^train\.py: X: "):
        render(text, {"X": 5}, "train.py")


@pytest.mark.parametrize("statement", NOT_AGAIN)
def test_a_name_of_another_scope_is_no_second_binding(statement: str) -> None:
    text = f"X = 1\n{statement}\n"
    assert "X = 5" in render(text, {"X": 5}, "train.py")


@given(st.lists(st.sampled_from(NOT_AGAIN), max_size=6), st.lists(st.sampled_from(AGAIN), max_size=2))
def test_any_mixture_is_refused_exactly_if_one_of_it_binds_the_name_again(
    harmless: list[str], again: list[str]
) -> None:
    text = "\n".join(["X = 1", *harmless, *again]) + "\n"
    assert ("X" in read_constants(text, "train.py")) == (not again)


def test_the_line_says_where_and_how() -> None:
    text = "LR = 0.1\ndef configure():\n    global LR\n    LR = 0.3\n"
    assert why_not(text, "LR", "t.py") == (
        "t.py: LR: assigned in line 1, and bound again in line 4 by `global` in configure. "
        "Leave exactly one assignment: the script would replace a trial's value."
    )
    assert {binding.line for binding in module_bindings(text, "t.py") if binding.name == "LR"} == {1, 4}


@pytest.mark.parametrize("module", ["conf", ".conf", "conf.model"])
def test_an_import_of_everything_after_the_assignment_may_replace_it(module: str) -> None:
    after, before = f"X = 1\nfrom {module} import *\n", f"from {module} import *\nX = 1\n"
    assert "`from " in why_not(after, "X", "t.py")
    assert "X" not in read_constants(after, "t.py")
    assert "X" in read_constants(before, "t.py")


@pytest.mark.parametrize("cookie", ["latin-1", "cp1252", "utf-16", "iso-8859-15", "shift_jis"])
@pytest.mark.parametrize(
    "line", ["# -*- coding: {} -*-", "# vim: set fileencoding={} :", "#!/usr/bin/python\n# coding={}"]
)
def test_a_script_in_another_encoding_is_refused(cookie: str, line: str) -> None:
    with pytest.raises(RenderError, match=f"declares the encoding {cookie}. Save it as UTF-8"):
        read_constants(f"{line.format(cookie)}\nX = 1\n", "t.py")


@pytest.mark.parametrize("cookie", ["utf-8", "UTF-8", "utf8", "utf_8", "ascii", "us-ascii"])
def test_utf_8_may_be_declared(cookie: str) -> None:
    assert "X" in read_constants(f"# coding: {cookie}\nX = 1\n", "t.py")


@pytest.mark.parametrize(
    "statement",
    [
        "exec(open('configurator.py').read())",
        "globals()[name] = 3",
        "globals().update(config)",
        "globals() | {'a': 1}",
        "vars().update(x=1)",
        "import sys\nsetattr(sys.modules[__name__], name, 3)",
        "import sys\nsys.modules[__name__].__dict__.update(config)",
    ],
)
def test_what_may_write_any_name_is_found(statement: str) -> None:
    found = hidden_writes(f"X = 1\n{statement}\n", "t.py")
    assert bool(found) == ("|" not in statement)


def test_the_names_of_a_function_are_not_the_modules() -> None:
    text = "class C:\n    def f(self, a):\n        config = locals()\n        config.pop('self')\n        vars().update(a=1)\n"
    assert hidden_writes(text, "t.py") == ()
    assert hidden_writes("def f(a=vars().update(X=3)): pass\n", "t.py") == ((1, "`vars().update(X=3)`"),)
    assert hidden_writes("def f():\n    g = globals()\n    g.pop('X')\n", "t.py") == ((3, "`g.pop('X')`"),)


def test_a_constant_that_another_file_replaces_is_refused(tmp_path: Path) -> None:
    (tmp_path / "conf.py").write_text("LR = 0.1\nDEPTH = 2\n")
    (tmp_path / "train.py").write_text("import conf\nconf.LR = 0.3\nprint('val_bpb:', conf.LR, conf.DEPTH)\n")
    workload = load_workload(str(tmp_path))
    (line,) = workload.problems(["LR"])
    assert (
        line == f"{tmp_path}/train.py:2: LR: replaces the constant of conf.py when the script runs. Remove that line."
    )
    assert workload.problems(["DEPTH"]) == []


@pytest.mark.parametrize(
    "write",
    ["import pkg.conf\npkg.conf.LR = 3", "from pkg import conf\nconf.LR = 3", "from pkg import conf as c\nc.LR = 3",
     "import pkg.conf as c\nc.LR += 3", "from pkg import conf\nsetattr(conf, 'LR', 3)", "import pkg.conf\ndel pkg.conf.LR"],
)  # fmt: skip
def test_a_module_is_known_by_every_name_that_an_import_gives_it(tmp_path: Path, write: str) -> None:
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "conf.py").write_text("LR = 0.1\n")
    (tmp_path / "workload.toml").write_text('files = ["*.py", "pkg/*.py"]\n')
    (tmp_path / "train.py").write_text(f"{write}\nprint('val_bpb: 1')\n")
    assert len(load_workload(str(tmp_path)).problems(["LR"])) == 1


def test_an_attribute_of_something_else_is_not_a_module(tmp_path: Path) -> None:
    (tmp_path / "conf.py").write_text("LR = 0.1\n")
    (tmp_path / "train.py").write_text("import conf\nclass A: pass\na = A()\na.LR = 3\nprint('val_bpb: 1')\n")
    assert load_workload(str(tmp_path)).problems(["LR"]) == []
