"""Whatever a script or a config file holds: a value is written exactly and nothing else changes, or it is refused."""

from __future__ import annotations

import argparse
import json
import math
import tomllib
import types
from contextlib import redirect_stderr, suppress
from io import StringIO
from textwrap import indent
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from optimize.errors import RenderError
from optimize.trial import Value
from tests.placing import COMMAND, job, workload
from tests.test_rendering_any import as_main

EXAMPLES = 40
TEXTS = ("a", "é b", "", "yes", "1e3", "'", '"', "#x", "null", "0x1", "- a", "a: b", "~", "%", "\\", "-x")
SCALARS = st.one_of(
    st.integers(-(10**9), 10**9),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    st.sampled_from(TEXTS),
)
VALUES = st.one_of(SCALARS, st.lists(SCALARS, min_size=1, max_size=3).map(tuple))
KEYS = st.sampled_from(["a", "b", "lr", "x_y", "on", "é"])
TREES = st.recursive(
    st.one_of(SCALARS, st.none(), st.lists(SCALARS, max_size=3)),
    lambda inner: st.dictionaries(KEYS, inner, min_size=1, max_size=4),
    max_leaves=12,
).filter(lambda tree: isinstance(tree, dict))


def paths(tree: Any, above: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if not isinstance(tree, dict):
        return [above]
    return [path for key, value in tree.items() for path in paths(value, (*above, key))]


def with_value(tree: Any, path: tuple[str, ...], value: Any) -> Any:
    if not path:
        return list(value) if isinstance(value, tuple) else value
    return {key: with_value(each, path[1:], value) if key == path[0] else each for key, each in tree.items()}


def same(one: Any, other: Any) -> bool:
    """Equal, types included: 1 is not 1.0, nor True."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and (one == other or (isinstance(one, float) and math.isnan(one)))


def dumped_yaml(tree: Any, style: int) -> str:
    return yaml.safe_dump(
        tree, default_flow_style=(None, True, False)[style], allow_unicode=bool(style), width=30 * (style + 1)
    )


@settings(max_examples=EXAMPLES)
@given(TREES, st.data(), st.sampled_from([0, 1, 2]), VALUES)
def test_any_key_of_any_config_is_exact_or_refused(tree: Any, data: Any, style: int, value: Value) -> None:
    path = data.draw(st.sampled_from(paths(tree)))
    for file, text, load in (
        ("a.yaml", dumped_yaml(tree, style), yaml.safe_load),
        ("a.json", json.dumps(tree, indent=(None, 1, "\t")[style], ensure_ascii=bool(style)), json.loads),
    ):
        of = workload(
            f'P = {{ key = "{file}:{".".join(path)}", choices = [1, 2] }}',
            train_py="",
            **{file.replace(".", "_"): text},
        )
        if of.problems(["P"]):
            continue
        try:
            written = of.render({"P": value})[file]
        except RenderError:
            continue
        assert same(load(written), with_value(load(text), path, value)), (text, written)


@settings(max_examples=EXAMPLES)
@given(TREES, st.data(), VALUES)
def test_any_key_of_a_toml_file_is_exact_or_refused(tree: Any, data: Any, value: Value) -> None:
    lines = [
        f"{'.'.join(json.dumps(key) for key in path)} = {toml(leaf(tree, path))}  # {i}"
        for i, path in enumerate(paths(tree))
    ]
    text = "\n".join(lines) + "\n"
    try:
        before = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    path = data.draw(st.sampled_from(paths(tree)))
    of = workload(f'P = {{ key = "a.toml:{".".join(path)}", choices = [1, 2] }}', train_py="", a_toml=text)
    if of.problems(["P"]):
        return
    try:
        written = of.render({"P": value})["a.toml"]
    except RenderError:
        return
    assert same(tomllib.loads(written), with_value(before, path, value)), (text, written)
    assert all(f"# {i}" in written for i in range(len(lines)))


def leaf(tree: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        tree = tree[key]
    return tree


def toml(value: Any) -> str:
    return (
        "[]" if value is None else f"[{', '.join(map(toml, value))}]" if isinstance(value, list) else json.dumps(value)
    )


FIELD_FORMS = (
    "class C:\n    x{t} = {v}\n", "class C:\n    '''doc'''\n    w = 1\n    x{t}={v};y = 2\n",
    "class C:\n    x{t} = field(default={v})\n", "class C:\n    x{t} = Field({v}, ge=0)  # x = 5\n",
    "class C:\n\tclass x_: x = 1\n\tx{t} = ({v})\n", "class D:\n    x = 'd'\nclass C:\n    x{t} = \\\n        {v}\n",
    "if 1:\n    class D:\n        x = 0\nclass C:\n    y = 'é'; x{t} = {v}\n",
    "class C:\n    x{t} = {v}\n    def f(self, x=3): return x\n",
)  # fmt: skip
ENTRY_FORMS = (
    "C = {{'x': {v}, 'y': 1}}\n", "C = {{\n  'é': 'x',\n  'x': ({v}),  # x\n}}\n", "C = dict(y=2, x={v})\n", "C{t} = {{'x':{v}}}\n",
    "C = {{**{{'x': 0}}, 'x': {v}}}\n", "C = types.SimpleNamespace(x={v})\n",
)  # fmt: skip


IN_FUNCTIONS = (
    ("local", "f.x", "def f():\n    '''x = 5'''\n    x{t} = ({v})  # x = 5\n    return {{'x': x}}\nC = f()\n"),
    ("local", "f.x", "def f(y=1, *, x{t}={v}, **k):\n\treturn {{'x': x}}\nC = f(2)\n"),
    ("local", "D.f.x", "class D:\n x = 'd'\n def f(self):\n  y = 'é'; x{t} = \\\n  {v}\n  return {{'x': x}}\nC = D().f()\n"),
    ("local", "x", "x_ = 1\nif x_:\n  for _ in 'ab':\n    x{t} = {v}\nC = {{'x': x}}\n"),
    ("argument", "f.dict.x", "def f(): return (lambda: dict(y='é', x={v}))()\nC = f()\n"),
    ("argument", "C.x", "D = dict(x=1)\nC = dict(\n  x = ({v}), # x=5\n)\n"),
    ("argument", "f.iter.0.0", "def f(): return {{'x': [next(iter([{v}, 'é'],)) for a in 'a'][0]}}\nC = f()\n"),
    ("argument", "f.tuple.0.1", "def f(): return {{'x': tuple(['é', {v}])[1]}}\nC = f()\n"),
    ("entry", "f.c.m.x", "def f():\n  c = {{'é': 1, 'm': dict(x={v})}}; return c['m']\nC = f()\n"),
    ("entry", "f.return.x", "def f(): return {{'x': {v}, 'y': 'x'}}\nC = f()\n"),
)  # fmt: skip


@settings(max_examples=EXAMPLES)
@given(
    st.sampled_from(
        [*(("field", "C.x", f) for f in FIELD_FORMS), *(("entry", "C.x", f) for f in ENTRY_FORMS), *IN_FUNCTIONS]
    ),
    VALUES,
    VALUES,
    st.booleans(),
)
def test_any_span_of_a_python_file_is_exact_or_refused(
    form: tuple[str, str, str], before: Value, after: Value, typed: bool
) -> None:
    kind, path, template = form
    text = template.format(v=repr(before), t=": object" if typed else "")
    of = workload(f'P = {{ {kind} = "{path}", choices = [1, 2] }}', train_py=text)
    if of.problems(["P"]):
        return
    written = of.render({"P": after})["train.py"]
    assert same(as_list(value_of_x(written)), as_list(after)), (text, written)
    assert len(written) - len(repr(after)) == len(text) - len(repr(before))


# None of these binds the variable x of a function that has it.
BESIDE = (
    "[x for x in 'ab']", "r{i} = lambda x=2: x", "def g{i}(x=3):\n    x = 4\ng{i}()", "class K{i}:\n    x = 5", "exec('x = 7')",
    "globals()['x'] = 6", "locals()['x'] = 8", "def g{i}():\n    global x\n    x = 3\ng{i}()", "r{i} = dict(x=3); r{i}['x'] = 4",
    "o{i} = type('O', (), {{}})()\no{i}.x = 2", "for r{i} in 'ab': pass", "{{x: 1 for x in 'ab'}}", "(lambda: (x := 3))()", "",
    "def g{i}():\n    x = 1\n    def h():\n        nonlocal x\n        x = 2\n    h()\ng{i}()",
)  # fmt: skip
# Each of these binds it.
AGAIN = (
    "x = 'again'", "x = [x]", "for x in 'ab': pass", "def x(): pass", "class x: pass", "import math as x", "[x := 1 for _ in 'a']",
    "if (x := 'again'): pass", "try:\n    1 / 0\nexcept ZeroDivisionError as x: pass", "x: int = 'again'", "del x", "[*x] = 'ab'",
    "with __import__('contextlib').nullcontext('again') as x: pass", "match 'again':\n    case x: pass", "(x, r{i}) = 1, 2",
    "match [1, 2]:\n    case [1, *x]: pass", "match {{'a': 1}}:\n    case {{**x}}: pass", "from math import pi as x", "x: object",
    "def g{i}():\n    nonlocal x\n    x = 'again'\ng{i}()", "class K{i}:\n    nonlocal x\n    x = 'again'",
    "def g{i}():\n    def h():\n        nonlocal x\n        for x in 'ab': pass\n    h()\ng{i}()", "lambda a=(x := 'again'): a",
    "def g{i}(a=(x := 'again')): pass", "@(x := (lambda f: f))\ndef g{i}(): pass",
)  # fmt: skip
# What calls the function; most give its parameter another value.
CALLS = (
    "f()", "f(**{})", "f('again')", "f(x='again')", "f(*['again'])", "g = f\ng('again')", "list(map(f, 'a'))", "(lambda: f())()",
    "globals()['f']('again')", "f.__defaults__ = ('again',)", "import functools\nfunctools.partial(f, 'again')()",
    "import sys\nm = sys.modules[__name__]\nm.f('again')", "o = type('O', (), dict(f=len))\no.f('a')",
    "import __main__ as me\nme.f('again')", "import __main__ as me\ng = me.f\ng('again')",
    "import __main__ as me\ngetattr(me, 'f')('again')",
)  # fmt: skip


# The same of a class.
MADE = (*CALLS, "class D(f): pass\nD('again')", "f.__init__(f(), 'again')", "f()('again')", "super(f, f()).__init__()")


@settings(max_examples=EXAMPLES)
@given(
    st.sampled_from(["variable", "parameter", "class"]),
    st.lists(st.sampled_from((*BESIDE, *AGAIN)), max_size=3),
    st.lists(st.sampled_from(MADE), min_size=1, max_size=3),
    st.integers(0, 3),
    SCALARS,
)
def test_what_is_accepted_of_a_function_is_what_it_has_when_it_ends(
    kind: str, inside: list[str], calls: list[str], place: int, after: Value
) -> None:
    body = [each.format(i=i) for i, each in enumerate(inside)]
    body.insert(place, "x = 1" if kind == "variable" else "pass")
    function = indent("\n".join((*body, "seen.append(x)")), "    ")
    text = f"def f({'y' if kind == 'variable' else 'x'}=1):\n{function}\n"
    if kind == "class":
        method = indent(text.replace("def f(", "def __init__(self, "), "    ")
        text = f"class f:\n{method}    def __call__(self, x):\n        type(self)\n"
    text += "\n".join((*calls, ""))
    path = "f.__init__.x" if kind == "class" else "f.x"
    of = workload(f'P = {{ local = "{path}", choices = [1, 2] }}', train_py=text)
    if of.problems(["P"]):
        return
    seen: list[object] = []
    with as_main() as module, suppress(NameError, TypeError):  # x is read before it is bound; f takes no such argument
        module.__dict__["seen"] = seen
        exec(of.render({"P": after})["train.py"], module.__dict__)
    assert all(same(each, after) for each in seen), (text, seen)


def as_list(value: Any) -> Any:
    return list(map(as_list, value)) if isinstance(value, tuple) else value


def value_of_x(text: str) -> Any:
    names: dict[str, Any] = {"field": lambda default: default, "Field": lambda value, ge: value, "types": types}
    exec(text, names)
    of = names["C"]
    return of["x"] if isinstance(of, dict) else of.x


@settings(max_examples=EXAMPLES)
@given(
    st.sampled_from(["store", "int", "float", "true", "false", "pair", "many"]),
    st.lists(st.sampled_from(["--x=5", "--y", "1", "--x", "-v", "5", "data"]), max_size=4), VALUES,
    st.sampled_from(["nargs='?'", "nargs=argparse.REMAINDER", ""]),
)  # fmt: skip
def test_any_flag_arrives_as_it_was_meant_or_is_refused(
    action: str, command: list[str], value: Value, words: str
) -> None:
    options = {
        "store": "default='d'", "int": "type=int, default=3", "float": "type=float, default=0.5", "true": "action='store_true'",
        "false": "action='store_false'", "pair": "action=argparse.BooleanOptionalAction, default=True",
        "many": "nargs='*', default=['a']",
    }  # fmt: skip
    source = (
        "import argparse\np = argparse.ArgumentParser()\np.add_argument('--y', action='store_true')\n"
        f"p.add_argument('-v', action='store_true')\np.add_argument('--x', {options[action]})\n"
    )
    if words:
        source += f"p.add_argument('data', {words})\n"
    else:  # a subcommand, which has flags of its own
        source += (
            "s = p.add_subparsers().add_parser('data')\ns.add_argument('--z')\ns.add_argument('data', nargs='*')\n"
        )
        command = [*command, "data", "--z", "5"]
    names: dict[str, Any] = {}
    exec(source, names)
    wanted: type = {"store": str, "int": int, "float": float, "many": tuple}.get(action, bool)
    if type(value) is not wanted or not accepted(names["p"], command):
        return
    of = workload('P = { flag = "--x", choices = [1, 2] }', (*COMMAND, *command), train_py=source)
    if of.problems(["P"]) or of.places.refused("P", value):
        return
    given = list(job(of, P=value).command[2:])
    assert accepted(names["p"], given), given
    found, rest = names["p"].parse_args(given), names["p"].parse_args(command)
    meant = value if isinstance(value, tuple) else ()
    if action == "many":
        assert [number(each) for each in found.x] == [
            number(str(each).lower() if isinstance(each, bool) else each) for each in meant
        ]
    else:
        assert found.x == value
    assert {**vars(found), "x": 0} == {**vars(rest), "x": 0}


def number(text: object) -> object:
    try:
        return float(str(text))
    except ValueError:
        return text


def accepted(parser: argparse.ArgumentParser, words: list[str]) -> bool:
    try:
        with redirect_stderr(StringIO()):
            parser.parse_args(words)
    except SystemExit:
        return False
    return True
