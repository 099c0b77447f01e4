"""However an object is passed on before it is changed: the parameter is refused, or its value is there when the script has run."""

from __future__ import annotations

import re
import sys
import types
from textwrap import indent
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.placing import workload

EXAMPLES = 60
# How an object E gets another name: the statements, in which BODY goes on with the expression behind the arrow.
HOPS = (
    "a{i} = E\nBODY -> a{i}",
    "a{i}, b{i} = 1, E\nBODY -> b{i}",
    "a{i}, *b{i} = 1, E\nBODY -> b{i}[0]",
    "(a{i} := E)\nBODY -> a{i}",
    "a{i} = E if {i} else None\nBODY -> a{i}",
    "a{i} = None or E\nBODY -> a{i}",
    "def f{i}(p):\n    BODY\nf{i}(E) -> p",
    "def f{i}(x, *, p):\n    BODY\nf{i}(1, p=E) -> p",
    "def f{i}(*p):\n    BODY\nf{i}(1, E) -> p[1]",
    "def f{i}(**p):\n    BODY\nf{i}(o=E) -> p['o']",
    "def f{i}(x, p):\n    BODY\nf{i}(*[1, E]) -> p",
    "def f{i}(p=E):\n    BODY\nf{i}() -> p",
    "def f{i}(p):\n    BODY\ng{i} = f{i}\ng{i}(E) -> p",
    "def f{i}(p):\n    BODY\nT{i} = {'k': f{i}}\nT{i}['k'](E) -> p",
    "def f{i}(p):\n    BODY\npartial(f{i}, E)() -> p",
    "def f{i}(p):\n    BODY\npartial(f{i})(E) -> p",
    "def r{i}(f, args):\n    f(*args)\ndef f{i}(p):\n    BODY\nr{i}(f{i}, (E,)) -> p",
    "def f{i}():\n    return E\nBODY -> f{i}()",
    "def f{i}():\n    yield E\nfor a{i} in f{i}():\n    BODY -> a{i}",
    "f{i} = lambda: E\nBODY -> f{i}()",
    "def f{i}(p):\n    return p\nBODY -> f{i}(E)",
    "for a{i} in [E]:\n    BODY -> a{i}",
    "for a{i}, b{i} in zip([1], [E]):\n    BODY -> b{i}",
    "a{i} = [E]\nBODY -> a{i}[0]",
    "a{i} = {'z': E}\nBODY -> a{i}['z']",
    "a{i} = dict(z=E)\nBODY -> a{i}['z']",
    "a{i} = {}\na{i}['z'] = E\nBODY -> a{i}.get('z')",
    "a{i} = []\na{i}.append(E)\nBODY -> a{i}[0]",
    "a{i} = [x for x in [E]]\nBODY -> a{i}[0]",
    "class K{i}:\n    def __init__(self, o):\n        self.o = o\n    def run(self):\n        BODY\nK{i}(E).run() -> self.o",
    "class K{i}:\n    o = E\nBODY -> K{i}.o",
    "class K{i}:\n    def go(self, p):\n        BODY\nK{i}().go(E) -> p",
    "class K{i}:\n    def go(self, p):\n        BODY\nK{i}.go(K{i}(), E) -> p",
    "class K{i}:\n    def __call__(self, p):\n        BODY\nk{i} = K{i}()\nk{i}(E) -> p",
    "class K{i}:\n    def __init__(self, o):\n        self._o = o\n    @property\n    def o(self):\n        return self._o\n"
    "BODY -> K{i}(E).o",
    "@dataclass\nclass K{i}:\n    o: object\nk{i} = K{i}(E)\nBODY -> k{i}.o",
    "@dataclass\nclass B{i}:\n    o: object\nclass K{i}(B{i}):\n    pass\nk{i} = K{i}(o=E)\nBODY -> k{i}.o",
    "n{i} = SimpleNamespace(o=E)\nBODY -> n{i}.o",
    "class K{i}:\n    def __init__(self, **kw):\n        self.__dict__.update(kw)\nBODY -> K{i}(o=E).o",
    "class K{i}:\n    def __init__(self, **kw):\n        for k, v in kw.items():\n            setattr(self, k, v)\n"
    "BODY -> K{i}(o=E).o",
    "n{i} = SimpleNamespace()\nsetattr(n{i}, 'o', E)\nBODY -> getattr(n{i}, 'o')",
    "class K{i}:\n    def __enter__(self):\n        return E\n    def __exit__(self, *a): ...\n"
    "with K{i}() as a{i}:\n    BODY -> a{i}",
    "class K{i}:\n    def __getitem__(self, k):\n        return E\nk{i} = K{i}()\nBODY -> k{i}['any']",
    "class K{i}:\n    def __iter__(self):\n        yield E\nfor a{i} in K{i}():\n    BODY -> a{i}",
    "def f{i}():\n    p = E\n    def g():\n        BODY\n    g()\nf{i}() -> p",
    "def f{i}(p):\n    BODY\nu{i} = lambda p: f{i}(p)\nu{i}(E) -> p",
    "def d{i}(f):\n    return lambda *a: f(*a)\n@d{i}\ndef f{i}(p):\n    BODY\nf{i}(E) -> p",
    "def f{i}(p):\n    BODY\nlist(map(f{i}, [E])) -> p",
    "match E:\n    case a{i}:\n        BODY -> a{i}",
    "def f{i}():\n    global G{i}\n    G{i} = E\nf{i}()\nBODY -> G{i}",
    "from other import passed as f{i}\nBODY -> f{i}(E)",
    "import other\nother.kept = E\nBODY -> other.kept",
    "import other\nh{i} = other.Holder(E)\nBODY -> h{i}.held",
)  # fmt: skip
ENTRY_CHANGES = (
    "E['w'] = 5", "E.update(w=5)", "E.update({'w': 5})", "E.pop('w')", "del E['w']", "E.clear()", "key = 'w'\nE[key] = 5",
    "for key, value in {'w': 5}.items():\n    E[key] = value", "setitem(E, 'w', 5)", "E.__setitem__('w', 5)", "E['w'] += 4",
    "x = E\nx |= {'w': 5}",
)  # fmt: skip
FIELD_CHANGES = (
    "E.w = 5", "setattr(E, 'w', 5)", "E.__dict__['w'] = 5", "vars(E)['w'] = 5", "E.__dict__.update(w=5)", "E.w += 4",
    "for key in ('w',):\n    setattr(E, key, 5)", "object.__setattr__(E, 'w', 5)", "E.__setattr__('w', 5)",
)  # fmt: skip
NESTED_CHANGES = (
    "E['m']['w'] = 5",
    "E['m'] = {'w': 5}",
    "E.update(m={'w': 5})",
    "for m in E.values():\n    m['w'] = 5",
)
HEAD = """
from dataclasses import dataclass
from functools import partial
from operator import setitem
from types import SimpleNamespace
"""
OTHER = """
kept = None
def passed(it):
    return it
class Holder:
    def __init__(self, thing):
        self.held = thing
"""
# the script's beginning, the parameter, the object that is passed on, how it is changed, what is looked at in the end
ORIGINS = (
    ("c = {'w': 1}\n", 'entry = "c.w"', "c", ENTRY_CHANGES, "c.get('w')"),
    ("c = {'m': {'w': 1}, 'n': {}}\n", 'entry = "c.m.w"', "c['m']", ENTRY_CHANGES, "c['m'].get('w')"),
    ("c = {'m': {'w': 1}}\n", 'entry = "c.m.w"', "c", NESTED_CHANGES, "c['m']['w']"),
    ("def make():\n    d = {'w': 1}\n    return d\nc = make()\n", 'entry = "make.d.w"', "c", ENTRY_CHANGES, "c.get('w')"),
    ("def make(): return {'w': 1}\nc = make()\n", 'entry = "make.return.w"', "c", ENTRY_CHANGES, "c.get('w')"),
    ("def make():\n    return dict(w=1)\nc = make()\n", 'argument = "make.dict.w"', "c", ENTRY_CHANGES, "c.get('w')"),
    ("class C:\n    w = 1\nc = C()\n", 'field = "C.w"', "c", FIELD_CHANGES, "c.w"),
    ("class C:\n    w = 1\n", 'field = "C.w"', "C", ("E.w = 5", "setattr(E, 'w', 5)"), "C.w"),
    ("class C:\n    w: int = 1\nclass D:\n    c: C = C()\nd = D()\n", 'field = "C.w"', "d.c", FIELD_CHANGES, "d.c.w"),
)  # fmt: skip


def composed(start: str, hops: list[str], change: str) -> str:
    """The text in which the object takes these hops, each within the one before, and is changed."""
    expression, text = start, "BODY"
    for number, hop in enumerate(hops):
        own = re.sub(r"\bp\b", "p{i}", hop).replace("{i}", str(number))  # its own name, not that of a hop around it
        statements, after = re.sub(r"\bE\b", expression, own).rsplit(" -> ", 1)
        text, expression = put(text, statements), after
    return put(text, re.sub(r"\bE\b", expression, change))


def put(text: str, statements: str) -> str:
    before, line, after = re.split(r"^( *)BODY$", text, maxsplit=1, flags=re.MULTILINE)
    return before + indent(statements, line) + after


def run(script: str) -> dict[str, Any]:
    module = types.ModuleType("other")
    exec(OTHER, module.__dict__)
    names: dict[str, Any] = {"__name__": "script"}
    sys.modules["other"] = module
    sys.modules["script"] = types.ModuleType("script")  # dataclasses look there
    try:
        exec(script, names)
    finally:
        del sys.modules["other"], sys.modules["script"]
    return names


def check(origin: tuple[str, str, str, tuple[str, ...], str], hops: list[str], change: str) -> None:
    beginning, place, start, _, seen = origin
    script = f"{HEAD}{beginning}{composed(start, hops, change)}\n"
    of = workload(f"P = {{ {place}, choices = [7, 8] }}", train_py=script, other_py=OTHER)
    if of.problems(["P"]):
        return
    names = run(of.render({"P": 7})["train.py"])
    assert eval(seen, names) == 7, script


@settings(max_examples=EXAMPLES)
@given(st.data())
def test_an_object_is_followed_wherever_it_goes(data: st.DataObject) -> None:
    origin = data.draw(st.sampled_from(ORIGINS))
    hops = data.draw(st.lists(st.sampled_from(HOPS), max_size=3))
    check(origin, hops, data.draw(st.sampled_from(origin[3])))


@pytest.mark.parametrize("origin", ORIGINS[:1] + ORIGINS[4:5] + ORIGINS[6:7])
def test_every_way_of_passing_an_object_on_is_followed_alone(
    origin: tuple[str, str, str, tuple[str, ...], str],
) -> None:
    for hop in HOPS:
        check(origin, [hop], origin[3][0])
    for change in origin[3]:
        check(origin, [], change)


@pytest.mark.parametrize(
    ("place", "text"),
    [
        ('entry = "c.w"', "c = {'w': 1}\ndef main(cfg):\n    lr = cfg['w']\n    lr *= 2\n    return lr\nmain(c)\n"),
        ('entry = "c.w"', "c = {'w': 1, 'v': 2}\ndef main(cfg):\n    cfg['v'] = 3\nmain(c)\n"),
        ('entry = "c.w"', "c = {'w': 1}\ndef other(c):\n    c['w'] = 2\nother({})\nprint(c)\n"),
        ('entry = "c.w"', "c = {'w': 1}\nlogs = {}\nfor k in c:\n    logs[k] = 1\nprint(**c)\n"),
        ('entry = "c.w"', "c = {'w': 1, 'm': {}}\ndef build(m, w):\n    m[w] = 1\nbuild({}, c['w'])\n"),
        ('entry = "c.depth"', "c = Net(depth=3)\nout = c(1)\nout['depth'] = 2\nfor k in out:\n    out[k] = 1\n"),
        ('field = "C.w"', "class C:\n    w = 1\nc = C()\ndef f(cfg):\n    w = cfg.w\n    w += 1\n    cfg.v = 3\nf(c)\n"),
        ('field = "C.w"', "class C:\n    w = 1\nclass N:\n    def __init__(self, c):\n        self.w = c.w\nN(C()).w = 4\n"),
    ],
)  # fmt: skip
def test_what_does_not_change_it_is_no_objection(place: str, text: str) -> None:
    assert workload(f"P = {{ {place}, choices = [7, 8] }}", train_py=text).problems(["P"]) == []
