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


@pytest.mark.parametrize(("kind", "text"), [*(("field", t) for t in FIELDS), *(("entry", t) for t in ENTRIES)])
def test_a_span_of_a_python_file_is_read_and_written(kind: str, text: str) -> None:
    path, default, written = (FIELDS if kind == "field" else ENTRIES)[text]
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
    assert "Say which" in workload('P = { field = "C.x", choices = [7, 8] }', **both).problems(["P"])[0]
    assert workload('P = { field = "conf.py:C.x", choices = [7, 8] }', **both).constants()["P"] == 2
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
