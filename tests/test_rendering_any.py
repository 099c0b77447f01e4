"""Whatever script Python takes: a constant is written exactly and nothing else changes, or it is refused."""

from __future__ import annotations

import ast
import collections
import contextlib
import random
import signal
import sys
import types
from collections.abc import Callable, Iterator, Mapping

import numpy
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from optimize.errors import RenderError
from optimize.script.bindings import hidden_writes
from optimize.script.constants import read_constants, render
from optimize.script.seed_calls import read_seed_calls, render_seed_calls
from optimize.trial import Value
from tests.strategies import LITERALS, TEXTS

NAMES = ("DEPTH", "lr", "é", "_x1")
# What stands for a constant in a script, and how the assignment is written: {n} is the name, {v} the value.
VALUES = (
    "8", "-5", "-0.0", "1e-300", "1_000", "0x1F", "2**19", "None", "True", "'SSSL'", "'é€😀'", "'# no comment'",
    "'; lr = 5'", "r'\\d'", "b'x'", "'a' 'b'", "(0.8, 0.95)", "((1,), ())", "[1, 2]", "{'lr': 1}", "{1, 2}", "f'{1}'",
    "...", "not 1", "1 if 0 else 2", "max(1, 2)", "'''two\nlines'''", '"""lr = 5\n# é\n"""',
    "(\n    1,  # why\n    2,\n)", "[\n\n1]", "lambda: 3", "'\\\n'", "(1 + \\\n 2, 3)", "'tab\\t\tform \x0c feed'",
    "[x for x in (1,)]",
)  # fmt: skip
FORMS = (
    "{n} = {v}", "{n}={v}", "{n}: int = {v}", "{n}: 'a = 5  # b' = {v}", "({n}) = {v}", "({n}): int = {v}",
    "{n} = ({v})", "{n} = (  # (\n    {v}  # why )\n)", "{n} = \\\n    {v}", "{n}\t=\t{v}\t# tab",
    "{n} = {v}  # {n} = 5 é", "{n} = {v}; pass", "pass; {n} = {v};", "\x0c{n} = {v}", "'é€😀'; {n} = {v}#",
    "é_ = 'ü'; {n} = {v}; à = 1",
)  # fmt: skip
# None of these binds the name in the module; {i} is another number each time.
HARMLESS = (
    "# {n} = 5", "'''\n{n} = 5\n'''", "\x0c", "\t", "", "   # indented", "import math as m{i}", "{n}: float",
    "pass;pass", "def f{i}({n}=7):\n    {n} = 3\n    return {n}\nr{i} = f{i}()", "class C{i}:\n    {n} = 3",
    "r{i} = [{n} for {n} in (1, 2)]", "if __name__ == '__main__':\n    r{i} = 'it is'",
    "def f{i}():\n\tglobal {n}\n\treturn 1\nr{i} = f{i}()",
    "@staticmethod\ndef f{i}():\n    {n} = [1]\n    def g():\n        nonlocal {n}\n        {n} = 2\n    g()\nr{i} = f{i}()",
    "r{i} = (lambda {n}=2: {n})()", "r{i} = (lambda: ({n} := 3))()", "for r{i} in range(2): pass",
    "r{i} = '{n} = 5' \\\n  ' # {n}'", "try:\n    1 / 0\nexcept ZeroDivisionError:\n    r{i} = 2",
    "match 1:\n    case 1: r{i} = 1", "async def f{i}({n}): {n} = 1", "type('O', (), {{}}).{n} = 3",
    "r{i} = {{}}; r{i}['{n}'] = 3", "r{i} = dict({n}=3)", "while True:\n  break", "if 0:\n\t{n} = 5",
)  # fmt: skip
# Each of these binds it, or may, once the script runs.
REBINDING = (
    "{n} = 'again'", "{n} += ({n} * 0)", "({n}, r{i}) = 1, 2", "r{i} = {n} = 'again'", "for {n} in 'ab': pass",
    "[*{n}] = 'ab'", "import math as {n}", "from math import pi as {n}", "def {n}(): pass", "class {n}: pass",
    "if ({n} := 'again'): pass", "[{n} := y for y in 'ab']", "def f{i}(a=({n} := 'again')): pass",
    "lambda a=({n} := 'again'): a", "del {n}", "def f{i}():\n    global {n}\n    {n} = 'again'\nf{i}()",
    "def f{i}():\n    global {n}\n    def {n}(): pass\nf{i}()",
    "def f{i}():\n    def g():\n        global {n}\n        for {n} in 'ab': pass\n    g()\nf{i}()",
    "class C{i}:\n    global {n}\n    {n} = 'again'",
    "def f{i}():\n    global {n}\n    [{n} := y for y in 'ab']\nf{i}()",
    "with __import__('contextlib').nullcontext('again') as {n}: pass",
    "try:\n    1 / 0\nexcept ZeroDivisionError as {n}:\n    pass", "match 'again':\n    case {n}: pass",
    "match [1, 2]:\n    case [1, *{n}]: pass", "if 1:\n    {n} = 'again'", "while {n} != 'again':\n    {n} = 'again'",
    "globals()['{n}'] = 'again'", "def f{i}():\n    global {n}\n    del {n}\nf{i}()", "vars()['{n}'] = 'again'",
    "globals().update({n}='again')", "exec('{n} = 3')", "globals()['{n}'.strip()] = 'again'", "del globals()['{n}']",
    "def f{i}():\n    globals()['{n}'] = 'again'\nf{i}()",
    "import sys\nsetattr(sys.modules[__name__], '{n}', 'again')", "import sys\nsys.modules[__name__].{n} = 'again'",
    "import sys\nvars(sys.modules['__main__'])['{n}'] = 'again'", "import __main__\n__main__.{n} = 'again'",
    "import __main__ as m{i}\nsetattr(m{i}, '{n}', 'again')", "globals().pop('{n}')",
    "from sys import modules\nmodules[__name__].{n} = 'again'", "globals().__setitem__('{n}', 'again')",
    "globals().clear()", "globals().__delitem__('{n}')", "import sys\ndelattr(sys.modules[__name__], '{n}')",
    "globals().popitem()", "import builtins\nbuiltins.exec('{n} = 3')", "g{i} = globals()\ng{i}['{n}'] = 'again'",
    "for globals()['{n}'] in 'ab': pass", "import sys as s{i}\ns{i}.modules[__name__].{n} = 3",
    "import sys\nm{i} = sys.modules[__name__]\nm{i}.{n} = 'again'", "def f{i}():\n    g = vars()\n    g['{n}'] = 3",
    "globals().__ior__({{'{n}': 3}})",
)  # fmt: skip
ENDS = st.sampled_from(["\n", "\r\n", "\r"])
HEADS = st.sampled_from(["", "#!/usr/bin/python\n", "# -*- coding: utf-8 -*-\n", '"""A script."""\n'])


class Script(list[tuple[str, str]]):
    """The pieces of a script: (text, the name of the constant whose value this text is, or "")."""

    def text(self, values: Mapping[str, Value] = {}) -> str:
        return "".join(repr(values[name]) if name in values else text for text, name in self)


@st.composite
def scripts(draw: st.DrawFn, others: tuple[str, ...] = HARMLESS) -> Script:
    """A script with some constants in some form, and other statements before, between and after them."""
    names = draw(st.lists(st.sampled_from(NAMES), unique=True, min_size=1, max_size=3))
    assigned = [draw(st.sampled_from(FORMS)).replace("{n}", n).partition("{v}") for n in names]
    statements = [
        [(before, ""), (draw(st.sampled_from(VALUES)), n), (after, "")]
        for n, (before, _, after) in zip(names, assigned, strict=True)
    ]
    for i, other in enumerate(draw(st.lists(st.sampled_from(others), max_size=4))):
        text = other.format(n=draw(st.sampled_from(names)), i=i)
        statements.insert(draw(st.integers(0, len(statements))), [(text, "")])
    end, last = draw(ENDS), draw(st.booleans())
    found = Script([(draw(HEADS), "")])
    for k, statement in enumerate(statements):
        found += [*statement, ("\n" if last or k + 1 < len(statements) else "", "")]
    return Script([(text.replace("\n", end), name) for text, name in found])


def overrides(script: Script) -> st.SearchStrategy[dict[str, Value]]:
    names = [name for _, name in script if name]
    return st.dictionaries(st.sampled_from(names), LITERALS, min_size=1, max_size=len(names))


@contextlib.contextmanager
def as_main() -> Iterator[types.ModuleType]:
    before, sys.modules["__main__"] = sys.modules["__main__"], (module := types.ModuleType("__main__"))
    try:
        yield module
    finally:
        sys.modules["__main__"] = before


def executed(text: str) -> dict[str, object]:
    """The names of the module when the script has ended, run as Python runs a file: of bytes, by the name __main__."""
    with as_main() as module:
        try:
            exec(compile(text.encode(), "train.py", "exec", dont_inherit=True), module.__dict__)
        except Exception as error:
            module.__dict__["ended by"] = str(error)
    shown = {name: value for name, value in vars(module).items() if not name.startswith("__")}
    return {name: type(value) if callable(value) else repr(value) for name, value in shown.items()}


def problems(act: Callable[[], object]) -> tuple[str, ...]:
    """Why it was refused; nothing if it was not. Any other exception is a fault."""
    try:
        act()
    except RenderError as error:
        found = error.problems
        return (
            found if all(line.startswith("train.py:") and line.isprintable() for line in found) else ("garbled", *found)
        )
    return ()


@pytest.mark.slow
@settings(max_examples=120)
@given(st.data())
def test_a_script_runs_as_before_but_for_the_values_that_were_written(data: st.DataObject) -> None:
    script = data.draw(scripts())
    values = data.draw(overrides(script))
    rendered = render(script.text(), values, "train.py")
    assert rendered == script.text(values)
    assert render(rendered, values, "train.py") == rendered
    before, after = executed(script.text()), executed(rendered)
    assert after == {**before, **{name: repr(value) for name, value in values.items()}}


@pytest.mark.parametrize("statement", REBINDING)
def test_each_way_to_bind_a_constant_again_is_refused_or_told(statement: str) -> None:
    keeps_its_values(f"lr = 1\n{statement.format(n='lr', i=0)}\n", {"lr": 5})


@pytest.mark.slow
@settings(max_examples=150)
@given(st.data())
def test_what_is_accepted_keeps_its_value_to_the_end_of_the_script(data: st.DataObject) -> None:
    script = data.draw(scripts((*REBINDING, *REBINDING, *HARMLESS)))
    keeps_its_values(script.text(), data.draw(overrides(script)))


def keeps_its_values(text: str, values: Mapping[str, Value]) -> None:
    refused = values.keys() - read_constants(text, "train.py").keys()
    assert len(problems(lambda: render(text, values, "train.py"))) == len(refused)
    if not refused and not hidden_writes(text, "train.py"):  # of these `check` tells the user
        after = executed(render(text, values, "train.py"))
        reached = [name for name in values if name in after or "ended by" not in after]
        assert {name: after.get(name) for name in reached} == {name: repr(values[name]) for name in reached}


Size = collections.namedtuple("Size", "wide high")
ODD = st.sampled_from(
    [float("nan"), float("-inf"), 1j, b"x", [1], {"a": 1}, {1}, ..., int, numpy.float64(0.5), numpy.int64(1), Size(1, 2),
     signal.SIGINT, "\ud800", "\x00", numpy.zeros((3, 3)), 10**4200]
)  # fmt: skip


@settings(max_examples=100)
@given(st.recursive(LITERALS | ODD, lambda inner: st.tuples(inner, inner), max_leaves=4))
@example(numpy.float64(0.5))
@example((1, Size(1, 2)))
@example(numpy.zeros((3, 3)))
def test_a_value_is_written_as_it_is_or_refused(value: object) -> None:
    if refused := problems(lambda: render("lr = 1\n", {"lr": value}, "train.py")):  # type: ignore[dict-item]
        assert len(refused) == 1
        assert "is not a literal. Use" in refused[0]
        return
    written = ast.literal_eval(render("lr = 1\n", {"lr": value}, "train.py").removeprefix("lr = "))  # type: ignore[dict-item]
    assert type(written) is type(value)
    assert repr(written) == repr(value)


@pytest.mark.parametrize("value", [10**5000, (1, -(10**5000))], ids=["alone", "in a tuple"])
def test_a_number_with_more_digits_than_python_writes_is_refused(value: Value) -> None:
    (line,) = problems(lambda: render("lr = 1\n", {"lr": value}, "train.py"))
    assert "thousands of digits is not a literal" in line


@settings(max_examples=40)
@given(TEXTS)
@example("é")
def test_a_script_that_declares_ascii_stays_ascii(value: str) -> None:
    rendered = render("# coding: ascii\nlr = 1\n", {"lr": value}, "train.py")
    assert executed(rendered) == {"lr": repr(value)}


PIECES = st.sampled_from([*";\n#'\"()\\\t=,:\x0c\r\ufeff\x00é\u2028", " ", "é"])


@pytest.mark.slow
@settings(max_examples=150)
@given(st.data())
def test_a_script_with_slips_of_the_pen_is_refused_or_keeps_its_values(data: st.DataObject) -> None:
    script = data.draw(scripts((*REBINDING, *HARMLESS)).filter(lambda script: "while" not in script.text()))
    text = script.text()
    slips = st.tuples(st.integers(0, 300), st.integers(0, 2), PIECES)
    for at, gone, piece in data.draw(st.lists(slips, min_size=1, max_size=2)):
        at %= len(text) + 1
        text = text[:at] + piece + text[at + gone :]
    if not problems(lambda: read_constants(text, "train.py")):
        keeps_its_values(text, data.draw(overrides(script)))


SEEDING = (
    "torch.manual_seed({v})", "torch.cuda.manual_seed_all( {v} )  # 1337", "random.seed(\n    {v}, # é\n)",
    "np.random.seed({v} + rank)", "def f():\n    'é'; mx.random.seed(rank + {v})",
    "x = [manual_seed({v}) for _ in '1']",
)  # fmt: skip
OTHERS = (
    "# torch.manual_seed(3)",
    "'''torch.manual_seed(3)'''",
    "my.seed(3)",
    "random.seed(a * 2)",
    "torch.manual_seed(a)",
    "x = 1337",
    "",
)


@settings(max_examples=60)
@given(
    st.lists(st.sampled_from(SEEDING), min_size=1, max_size=3),
    st.lists(st.sampled_from(OTHERS), max_size=3),
    st.randoms(use_true_random=False),
    ENDS,
    st.integers(0, 2**32),
)
def test_a_seed_is_written_into_every_call_that_seeds_and_nowhere_else(
    seeding: list[str], others: list[str], rng: random.Random, end: str, seed: int
) -> None:
    lines = [*seeding, *others]
    rng.shuffle(lines)
    script = "\n".join(lines).replace("\n", end)
    before = script.replace("{v}", "1337")
    assert read_seed_calls(before, "train.py") == 1337
    assert render_seed_calls(before, seed, "train.py") == script.replace("{v}", str(seed))
