"""Parameters in classes, dictionaries and config files: each is written exactly where it stands, or refused before any trial."""

from __future__ import annotations

import pytest

from optimize.errors import RenderError
from optimize.trial import Value
from tests.placing import workload

FIELDS = {
    "class C:\n    x = 1  # one\n": ("C.x", 1, "class C:\n    x = 7  # one\n"),
    "@dataclass\nclass C:\n    x: float = 0.5\n    y = 1\n": ("C.x", 0.5, "@dataclass\nclass C:\n    x: float = 7\n    y = 1\n"),
    "class C(BaseModel):\n    x: int = Field(1, ge=0)\n": ("C.x", 1, "class C(BaseModel):\n    x: int = Field(7, ge=0)\n"),
    "class C:\n    x: int = field(default=1, repr=False)\n": ("C.x", 1, "class C:\n    x: int = field(default=7, repr=False)\n"),
    "class C:\n    class D:\n        x = 2**4\n": ("C.D.x", 16, "class C:\n    class D:\n        x = 7\n"),
    "class D:\n    x: int = 1\nclass C:\n    d: D = field(default_factory=D)\n": (
        "C.d.x", 1, "class D:\n    x: int = 7\nclass C:\n    d: D = field(default_factory=D)\n",
    ),
    "class D:\n    x: int = 1\nclass C:\n    d = D(x=3)\n": ("C.d.x", 3, "class D:\n    x: int = 1\nclass C:\n    d = D(x=7)\n"),
    "é = 'ü'\r\nclass C:\r\n\tx = -1\r\n": ("C.x", -1, "é = 'ü'\r\nclass C:\r\n\tx = 7\r\n"),
}  # fmt: skip
ENTRIES = {
    "c = {'m': {'w': 1}, 'x': 2}  # c\n": ("c.m.w", 1, "c = {'m': {'w': 7}, 'x': 2}  # c\n"),
    "c = dict(m=dict(w=1))\n": ("c.m.w", 1, "c = dict(m=dict(w=7))\n"),
    "c = ConfigDict({'w': 1})\n": ("c.w", 1, "c = ConfigDict({'w': 7})\n"),
    "c = Namespace(w=1, v=2)\nprint(c.w)\n": ("c.w", 1, "c = Namespace(w=7, v=2)\nprint(c.w)\n"),
    "c = {**base, 'w': 1}\n": ("c.w", 1, "c = {**base, 'w': 7}\n"),
    "c = [{'w': 1}, {'w': 2}]\n": ("c.1.w", 2, "c = [{'w': 1}, {'w': 7}]\n"),
    "c = {'w': 1}\nfor g in opt.groups: g['w'] = 3\n": ("c.w", 1, "c = {'w': 7}\nfor g in opt.groups: g['w'] = 3\n"),
}
ENTRIES |= {
    "def f():\n    c = {'w': 1}\n    g(c)\n": ("f.c.w", 1, "def f():\n    c = {'w': 7}\n    g(c)\n"),
    "class T:\n def f(self):\n  self.x = c = 3\n  d = dict(m=dict(w=1))\n": (
        "T.f.d.m.w", 1, "class T:\n def f(self):\n  self.x = c = 3\n  d = dict(m=dict(w=7))\n",
    ),
    "def f():\n    return {'w': 1}\nc = f()\nprint(c['w'])\n": (
        "f.return.w", 1, "def f():\n    return {'w': 7}\nc = f()\nprint(c['w'])\n",
    ),
}  # fmt: skip
LOCALS = {
    "def f():\n    x = 1  # one\n": ("f.x", 1, "def f():\n    x = 7  # one\n"),
    "def f(a, x: int = 1, *, y=2): pass\nf(3)\nf(a=3, y=1)\n": (
        "f.x", 1, "def f(a, x: int = 7, *, y=2): pass\nf(3)\nf(a=3, y=1)\n",
    ),
    "@torch.no_grad()\ndef f(*, x=(1, 2)): pass\n": ("f.x", (1, 2), "@torch.no_grad()\ndef f(*, x=7): pass\n"),
    "x = 2\ndef f():\n    if g:\n        x: float = .5\n    [x for x in 'a']\n": (
        "f.x", 0.5, "x = 2\ndef f():\n    if g:\n        x: float = 7\n    [x for x in 'a']\n",
    ),
    "class T:\n async def f(self):\n  def g():\n   x = 1\n   def h(): x = 3\n  x = 2\n": (
        "T.f.g.x", 1, "class T:\n async def f(self):\n  def g():\n   x = 7\n   def h(): x = 3\n  x = 2\n",
    ),
    "if __name__ == '__main__':\n    x = 1\n": ("x", 1, "if __name__ == '__main__':\n    x = 7\n"),
    "class C:\n def __init__(self, a: 'C', x=1): pass\n def f(self): pass\ndef g(c: C) -> C: isinstance(c, C)\nC(3).f()\n": (
        "C.__init__.x", 1,
        "class C:\n def __init__(self, a: 'C', x=7): pass\n def f(self): pass\ndef g(c: C) -> C: isinstance(c, C)\nC(3).f()\n",
    ),
    "def f(t, x=1): t.f(2)\nf(0)\nmodel.f\nkind = 'f'\n": ("f.x", 1, "def f(t, x=7): t.f(2)\nf(0)\nmodel.f\nkind = 'f'\n"),
}  # fmt: skip
ARGUMENTS = {
    "o = adam(1e-3)\no.update(g, s)\no.update(g)\n": ("o.0", 1e-3, "o = adam(7)\no.update(g, s)\no.update(g)\n"),
    "def f():\n    o = optim.SGD(p, lr=g, x=1)\n": ("f.SGD.x", 1, "def f():\n    o = optim.SGD(p, lr=g, x=7)\n"),
    "a = Adam(x=1)\nb = Adam(x=2)\n": ("b.x", 2, "a = Adam(x=1)\nb = Adam(x=7)\n"),
    "class T:\n def f(self):\n  self.a, b = 1, N(E(x=1), E(y=2))\n": (
        "T.f.E.x", 1, "class T:\n def f(self):\n  self.a, b = 1, N(E(x=7), E(y=2))\n",
    ),
    "def f(): return [clip(p, 1, x=2) for p in q], lambda: clip(3)\n": (
        "f.clip.1", 1, "def f(): return [clip(p, 7, x=2) for p in q], lambda: clip(3)\n",
    ),
    "init(config={'x': 1})\n": ("init.config.x", 1, "init(config={'x': 7})\n"),
    "if 1:\n    é = 'ü'; f(x=1)\ndef f(x): f(x=2)\n": ("f.x", 1, "if 1:\n    é = 'ü'; f(x=7)\ndef f(x): f(x=2)\n"),
    "@jit(x=1)\ndef f(): pass\n": ("jit.x", 1, "@jit(x=7)\ndef f(): pass\n"),
}  # fmt: skip
ATTRIBUTES = {
    "class C:\n def __init__(self, a=3):\n  self.y, self.x = a, 1  # now\n def f(self): return self.x\n": (
        "C.x", 1, "class C:\n def __init__(self, a=3):\n  self.y, self.x = a, 7  # now\n def f(self): return self.x\n",
    ),
    "class D:\n def __init__(s): s.x = 2\nclass C(B):\n def __init__(s):\n  s.x: int = 1\n  s.y = s.x\nsetattr(g, 'y', 2)\n": (
        "C.x",
        1,
        "class D:\n def __init__(s): s.x = 2\nclass C(B):\n def __init__(s):\n  s.x: int = 7\n  s.y = s.x\nsetattr(g, 'y', 2)\n",
    ),
}  # fmt: skip
REPLACED = {  # what gives an attribute another value -> how that is said
    "        self.x = 2\n": "has no such field",
    "    def f(self):\n        self.x *= 2\n": "train.py:5: `self.x`",
    "c = C()\nc.x = 2\n": "train.py:5: `c.x`",
    "c = C()\nsetattr(c, key, 2)\n": "train.py:5",
    "c = C()\nvars(c).update(g)\n": "train.py:5",
    "c = C()\nc.__dict__['x'] = 2\n": "train.py:5",
    "class D(C):\n    def __init__(self):\n        super().__init__()\n        self.x = 2\n": "train.py:7: `self.x`",
    "    @property\n    def x(self): return 2\n": "train.py:5",
    "    def __setattr__(self, name, value): pass\n": "train.py:4",
    "    x = 3\n": "not a literal|train.py:3|C.x",
}
SPANS = {"field": FIELDS | ATTRIBUTES, "entry": ENTRIES, "local": LOCALS, "argument": ARGUMENTS}


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in SPANS.items() for text in texts])
def test_a_span_of_a_python_file_is_read_and_written(kind: str, text: str) -> None:
    path, default, written = SPANS[kind][text]
    of = workload(f'P = {{ {kind} = "{path}", choices = [7, 8] }}', train_py=text)
    assert of.problems(["P"]) == []
    assert of.constants()["P"] == default
    assert of.render({"P": 7})["train.py"] == written


@pytest.mark.parametrize(
    ("kind", "path", "text", "says"),
    [
        ("field", "C.x", "class C:\n    y = 1\n", "class C has no such field"),
        ("field", "C.x", "class C:\n    x = 1\nclass C:\n    x = 2\n", "there are 2 classes"),
        ("field", "D.x", "class C:\n    x = 1\n", "no Python file of the workload has D"),
        ("field", "C.x", "class C:\n    x = 1\n    x = 2\n", "in lines 2, 3"),
        ("field", "C.x", "class C:\n    if 1:\n        x = 1\n", "no such field|Leave exactly one"),
        ("field", "C.x", "class C:\n    x: int\n", "has no default"),
        ("field", "C.x", "class C:\n    x = field(default_factory=list)\n", "has no default"),
        ("field", "C.x", "class C:\n    x = compute()\n", "not a literal"),
        ("field", "C.x", "class C:\n    x = 1\nc = C(x=2)\n", r"train.py:3: `C\(x=2\)`"),
        ("field", "C.x", "class C:\n    x: int = 1\nc = C(2)\n", r"train.py:3: `C\(2\)`"),
        ("field", "C.x", "class C:\n    x = 1\nc = C(**vars(args))\n", "train.py:3"),
        ("field", "C.x", "class C:\n    x = 1\nC.x = 2\n", "train.py:3: `C.x`"),
        ("field", "C.x", "class C:\n    x = 1\nc = C()\ndef f():\n    c.x = 2\n", "train.py:5"),
        ("field", "C.x", "class C:\n    x = 1\ndef f(c: C):\n    c.x += 2\n", "train.py:4"),
        ("field", "C.x", "class C:\n    x = 1\nc = C()\nsetattr(c, key, 2)\n", "train.py:4"),
        ("field", "C.x", "class C:\n    x = 1\nc = replace(C(), x=2)\nd = replace(c, x=2)\n", "train.py:4|train.py:3"),
        ("field", "C.x", "class C:\n    x = 1\nclass D(C):\n    x = 2\n", "train.py:3"),
        ("field", "C.x", "class C:\n    x = 1\n    def __post_init__(self):\n        self.x = 2\n", "train.py:4"),
        *(
            ("field", "C.x", f"class C:\n    def __init__(self):\n        self.x = 1\n{more}", says)
            for more, says in REPLACED.items()
        ),
        ("field", "C.x", "class C:\n    def __init__(self):\n        if g: self.x = 1\n", "has no such field"),
        ("field", "C.x", "class C:\n    def __init__(self, x):\n        self.x = x\n", "not a literal"),
        ("entry", "c.w", "c = {'w': 1, 'w': 2}\n", "2 times"),
        ("entry", "c.w", "c = {'v': 1}\n", "no such entry"),
        ("entry", "c.w", "c = {'w': 1, **other}\n", "later entry"),
        ("entry", "c.w", "c = dict(other, **more)\n", "may replace it"),
        ("entry", "c.w", "c = {}\nfor k in 'w': c[k] = 1\n", "no such entry"),
        ("entry", "c.w", "c = {'w': 1}\nfor k in keys: c[k] = 1\n", r"train.py:2: `c\[k\]`"),
        ("entry", "c.w", "c = {'w': 1}\nc['w'] = 2\n", "train.py:2"),
        ("entry", "c.m.w", "c = {'m': {'w': 1}}\nm = c['m']\nm['w'] = 2\n", "train.py:3"),
        ("entry", "c.m.w", "c = {'m': {'w': 1}}\ndef f():\n    c['m'] = {}\n", "train.py:3"),
        ("entry", "c.w", "c = {'w': 1}\nc.update(vars(args))\n", "train.py:2"),
        ("entry", "c.w", "c = {'w': 1}\nc |= other\n", "assigned exactly once|train.py:2"),
        ("entry", "c.w", "c = {'w': 1}\nc = {'w': 2}\n", "exactly once"),
        ("entry", "c.w", "def f():\n    c = {'w': 1}\n", "at module level"),
        ("entry", "c.w", "c = {'w': pick()}\n", "not a literal"),
        ("entry", "c.0", "c = [*d, 1]\n", "no such entry"),
        ("entry", "f.c.w", "def f():\n    c = {'w': 1}\n    c = g(c)\n", r"bound 2 times in f\(\) \(lines 2, 3"),
        ("entry", "f.c.w", "def f():\n    c = {'w': 1}\n    c['w'] = 2\n", "train.py:3"),
        ("entry", "f.c.w", "def f():\n    c = {'w': 1}\n    g(c)\ndef g(d):\n    d['w'] = 2\n", "train.py:5"),
        ("entry", "f.return.w", "def f():\n    return {'w': 1}\nc = f()\nc['w'] = 2\n", "train.py:4"),
        ("entry", "f.return.w", "def f():\n    if g: return {}\n    return {'w': 1}\n", "exactly one `return value`"),
        ("local", "x", "x = 1\n", "is a constant of the module, which needs no place"),
        ("local", "x", "if g:\n    x = 1\nelse:\n    x = 2\n", r"bound 2 times in the module \(lines 2, 4"),
        ("local", "f.x", "def g():\n    x = 1\n", "no Python file of the workload has f"),
        ("local", "f.x", "def f():\n    y = 1\n", r"f\(\) has no such variable"),
        ("local", "f.x", "if g:\n    def f(): x = 1\nelse:\n    def f(): x = 2\n", "there are 2 functions f"),
        ("local", "f.x", "def f():\n    x = 1\n    x += 1\n", r"bound 2 times in f\(\) \(lines 2, 3"),
        ("local", "f.x", "def f(x=1):\n    x = x or 2\n", "bound 2 times"),
        ("local", "f.x", "def f():\n    global x\n    x = 1\n", "no such variable"),
        ("local", "f.x", "def f():\n    x = 1\n    def g():\n        nonlocal x\n        x = 2\n", r"\(lines 2, 5"),
        ("local", "f.x", "def f():\n    x, y = g()\n", "not a plain `x = value`"),
        ("local", "f.x", "def f():\n    x, *y = 1, 2\n", "not a plain `x = value`"),
        ("local", "f.x", "def f():\n    x = y = 1\n", "not a plain `x = value`"),
        ("local", "f.x", "def f():\n    x = len(y)\n", "not a literal"),
        ("local", "f.x", "def f(x=1): pass\nf(2)\n", r"f.x: train.py:2: `f\(2\)` may replace"),
        ("local", "f.x", "def f(x=1): pass\nf(*g)\n", "train.py:2"),
        ("local", "f.x", "def f(x=1): pass\nspawn(f, 3)\n", "train.py:2: `f` may replace"),
        ("local", "f.x", "@click.command()\ndef f(x=1): pass\n", r"train.py:1: `@click.command\(\)`"),
        ("local", "f.x", "def f(x=1): pass\ngetattr(m, 'f')(2)\n", "train.py:2"),
        ("local", "C.f.x", "class C:\n    def f(self, x=1): pass\n", "`f` of a class, which others may call"),
        ("local", "C.x", "class C:\n    x = 1\n", "is a field of a class: { field = ... } names it"),
        ("argument", "f.G.x", "def f():\n    G(x=1)\n    G(x=2)\n", "each of the calls in lines 2, 3"),
        ("argument", "f.G.x", "def f():\n    G(y=1)\n", "no such argument of a call"),
        ("argument", "f.G.x", "def f():\n    print(f'{G(x=1)}')\n", "no such argument of a call"),
        ("argument", "G.1", "G(*p, 1)\n", "no such argument of a call"),
        ("argument", "f.g.x", "def f():\n    g(x=1)\nf(g={'x': 2})\n", "each of the calls in lines 2, 3"),
        ("argument", "f.N.x", "def f():\n    n = N(x=1)\n    n.x = 2\n", "train.py:3: `n.x`"),
        ("argument", "f.N.x", "def f():\n    n = N(x=1)\n    n['x'] = 2\n", r"train.py:3: `n\['x'\]`"),
        (
            "argument",
            "f.CfgNode.x",
            "def f():\n    n = CfgNode(x=1)\n    n.update(m)\n",
            r"train.py:3: `n.update\(m\)`",
        ),
        ("entry", "n.x", "n = CfgNode(x=1)\nn.update(m)\n", r"train.py:2: `n.update\(m\)`"),
        ("local", "C.__init__.x", "class C:\n    def __init__(self, x=1): pass\nC(2)\n", "train.py:3"),
        ("local", "C.__init__.x", "class C:\n    def __init__(self, x=1): pass\nclass D(C): pass\n", "train.py:3"),
        ("local", "C.__init__.x", "class C:\n    def __init__(self, x=1): pass\nT = {'c': C}\n", "train.py:3"),
        (
            "local",
            "C.__init__.x",
            "@register\nclass C:\n    def __init__(self, x=1): pass\n",
            "train.py:1: `@register`",
        ),
        (
            "local",
            "C.__init__.x",
            "class C:\n    def __init__(self, x=1): pass\n    def f(self): type(self)(2)\n",
            "which others may call",
        ),
        ("argument", "f.G.x", "def f():\n    G(x=g)\n", "not a literal"),
        ("argument", "H.x", "def f():\n    G(x=1)\n", "no Python file of the workload has H"),
    ],
)
def test_a_span_that_would_not_arrive_is_refused(kind: str, path: str, text: str, says: str) -> None:
    of = workload(f'P = {{ {kind} = "{path}", choices = [7, 8] }}', train_py=text)
    lines = of.problems(["P"])
    assert len(lines) >= 1
    with pytest.raises(RenderError, match=says):
        raise RenderError(*lines)
    with pytest.raises(RenderError):
        of.render({"P": 7})


def test_what_cannot_be_read_may_be_declared_and_what_two_files_have_must_be_told_apart() -> None:
    text = "class C:\n    x = compute()\n"
    of = workload('P = { field = "C.x", choices = [7, 8], baseline = 8 }', train_py=text)
    assert (of.constants()["P"], of.problems(["P"])) == (8, [])
    assert of.render({"P": 7})["train.py"] == "class C:\n    x = 7\n"
    both = {"train_py": "class C:\n    x = 1\n", "conf_py": "class C:\n    x = 2\n"}
    of = workload('P = { field = "C.x", choices = [7, 8] }', **both)  # a script that nothing imports is another one's
    assert (of.constants()["P"], of.problems(["P"])) == (1, [])
    both["train_py"] = "import conf\nd = conf.C()\n" + both["train_py"]
    assert "Say which" in workload('P = { field = "C.x", choices = [7, 8] }', **both).problems(["P"])[0]
    assert workload('P = { field = "conf.py:C.x", choices = [7, 8] }', **both).constants()["P"] == 2
    two = 'P = { entry = "m.x", choices = [7, 8] }\nQ = { argument = "G.x", choices = [7, 8] }'  # one place, two ways to say it
    assert "P is written there already" in next(workload(two, train_py="m = G(x=1)\n").places.shared())
    called = {"train_py": "from m import f as g\n", "m_py": "def f(x=1): pass\n"}
    assert "`from m import f as g`" in workload('P = { local = "f.x", choices = [7, 8] }', **called).problems(["P"])[0]
    written = {"train_py": "import m\nm.x = 3\n", "m_py": "if 1:\n    x = 1\n"}
    assert "train.py:2: `x` of this" in workload('P = { local = "x", choices = [7, 8] }', **written).problems(["P"])[0]
    missing = workload('P = { field = "con.py:C.x", choices = [7, 8] }', **both).problems(["P"])
    assert "is not among `files`" in missing[0]
    assert "conf.py" in missing[0]


YAML = (
    "# model\nmodel:\n  heads: 4   # of attention\n  betas: [0.9, 0.95]\n  lr: 1e-3\n  act: 'relu'\n  on: true\n"
    "list:\n- 1\n- 2\n"
)
KEYS = [
    ("a.yaml", YAML, "model.heads", 4, 8, YAML.replace("4   #", "8   #")),
    ("a.yaml", YAML, "model.betas", (0.9, 0.95), (0.8, 0.99), YAML.replace("[0.9, 0.95]", "[0.8, 0.99]")),
    ("a.yaml", YAML, "model.lr", 0.001, 1e-05, YAML.replace("1e-3", "1.0e-05")),
    ("a.yaml", YAML, "model.act", "relu", "yes", YAML.replace("'relu'", '"yes"')),
    ("a.yml", YAML, "model.on", True, False, YAML.replace("true", "false")),
    ("a.yaml", YAML, "list.1", 2, 3, YAML.replace("- 2", "- 3")),
    ("a.yaml", YAML, "list", (1, 2), (3, 4), YAML.replace("- 1\n- 2\n", " [3, 4]\n")),
    ("a.yaml", "a: {b: 1, c: 2}\r\n", "a.b", 1, 5, "a: {b: 5, c: 2}\r\n"),
    ("a.json", '{"a": {"b": 1.5, "c": [1, 2]},\n\t"d": "é"}', "a.b", 1.5, 2.0, '{"a": {"b": 2.0, "c": [1, 2]},\n\t"d": "é"}'),
    ("a.json", '{"a": {"b": 1, "c": [1, 2]}}', "a.c.0", 1, 9, '{"a": {"b": 1, "c": [9, 2]}}'),
    ("a.json", '{"a" : "x"}', "a", "x", "é\"", '{"a" : "\\u00e9\\""}'),
    ("a.toml", "# top\n[m]\nh = 4 # heads\nb = [1, 2]\n", "m.h", 4, 8, "# top\n[m]\nh = 8 # heads\nb = [1, 2]\n"),
    ("a.toml", "m.h = 0.5\n", "m.h", 0.5, 1e-05, "m.h = 1e-05\n"),
]  # fmt: skip


@pytest.mark.parametrize(("file", "text", "path", "default", "value", "written"), KEYS)
def test_a_key_of_a_config_file_is_read_and_written(
    file: str, text: str, path: str, default: Value, value: Value, written: str
) -> None:
    of = workload(f'P = {{ key = "{file}:{path}", choices = [1, 2] }}', train_py="", **{file.replace(".", "_"): text})
    assert of.problems(["P"]) == []
    assert of.constants()["P"] == default
    assert of.render({"P": value})[file] == written


@pytest.mark.parametrize(
    ("file", "text", "path", "says"),
    [
        ("a.yaml", "a: 1\n", "b", "there is no key b"),
        ("a.yaml", "a: 1\na: 2\n", "a", "2 times"),
        ("a.yaml", "x: &x {b: 1}\ny: *x\n", "x.b", "repeated by an alias"),
        ("a.yaml", "x: &x {b: 1}\ny: *x\n", "y.b", "repeated by an alias"),
        ("a.yaml", "x: &x {b: 1}\ny:\n  <<: *x\n", "y.b", "there is no key b"),
        ("a.yaml", "a: !!float 1\n", "a", "anchor or a tag"),
        ("a.yaml", "a:\n", "a", "no number, text"),
        ("a.yaml", "a: |\n  text\n", "a", "no number, text"),
        ("a.yaml", "a: 1\n---\na: 2\n", "a", "cannot be read"),
        ("a.yaml", "a: [1\n", "a", "cannot be read"),
        ("a.yaml", "a:\n- 1  # one\n- 2\n", "a", "comments in the list"),
        ("a.json", '{"a": 1, "a": 2}', "a", "twice"),
        ("a.json", '{"a": {}}', "a", "is no number"),
        ("a.json", "{", "a", "cannot be read"),
        ("a.toml", "a = 2020-01-01\n", "a", "is no number"),
        ("a.toml", "a = 1\na = 2\n", "a", "cannot be read"),
        ("b.yaml", "", "a", "is not among `files`"),
    ],
)
def test_a_key_that_would_not_arrive_is_refused(file: str, text: str, path: str, says: str) -> None:
    files = {"a_yaml": text} if file == "b.yaml" else {file.replace(".", "_"): text}
    of = workload(f'P = {{ key = "{file}:{path}", choices = [1, 2] }}', train_py="", **files)
    with pytest.raises(RenderError, match=says):
        raise RenderError(*of.problems(["P"]))


@pytest.mark.parametrize(
    ("script", "unused"),
    [
        ("@hydra.main(config_path='conf', config_name='model')\ndef main(cfg): pass\n", {}),
        ("cfg = load('conf/model.yaml')\n", {}),
        ("cfg = load(f'conf/{name}.yaml')\n", {}),
        ("cfg = load('other.yaml')\n", {"conf/model.yaml": ["P"]}),
    ],
)
def test_a_config_file_that_nobody_names_is_told(script: str, unused: dict[str, list[str]]) -> None:
    of = workload('P = { key = "conf/model.yaml:a", choices = [1, 2] }', train_py=script, conf__model_yaml="a: 1\n")
    assert of.unused(["P"]) == unused
