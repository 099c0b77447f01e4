"""Configuration objects that are filled attribute by attribute: what is read of them is what they hold when they are run."""

from __future__ import annotations

import sys
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from optimize.errors import RenderError
from optimize.script.parsers import read_flags
from optimize.trial import Value
from tests.placing import COMMAND, job, workload
from tests.test_places_any import VALUES, same

EXAMPLES = 40
NODE = """
import contextlib, copy, sys
from ast import literal_eval
class CfgNode:
    def __init__(self, **entries):
        self.__dict__.update(entries)
    def clone(self):
        return copy.deepcopy(self)
    def update(self, other=(), **entries):
        self.__dict__.update(other, **entries)
    def merge_from_args(self, words):
        for word in words:
            name, text = word.split("=")
            try:
                value = literal_eval(text)
            except ValueError:
                value = text
            *owners, last = name[2:].split(".")
            place = self
            for each in owners:
                place = getattr(place, each)
            assert hasattr(place, last)
            setattr(place, last, value)
CN = CfgNode
def defaults():
    D = CN()
    D.x = 1
    D.sub = CN(y=0.5)
    return D
def fill(config, more=0):
    config.filled = "yes"
    config.sub.y = 0.25
    if more:
        config.x = more
"""
STATEMENTS = (
    "C.{k} = {v}", "C.sub.{k} = {v}", "C.sub = CN(x={v}, y=2)", "C.sub = defaults()", "C.new = CN()\nC.new.{k} = {v}",
    "S = C.sub\nS.{k} = {v}", "C.a = C.b = {v}", "if C.x:\n    C.{k} = {v}", "for C.{k} in range(2): pass", "C.{k} = len('abc')",
    "fill(C)", "fill(C.sub.clone() if 0 else C, 7)", "C.x, C.a = {v}, 2", "[C.b, *C.a] = 1, 2", "setattr(C, '{k}', {v})",
    "C.__dict__['{k}'] = {v}", "vars(C).update({k}={v})", "del C.{k}", "local = {v}\nC.{k} = local", "C = C.clone()",
    "with contextlib.nullcontext():\n    C.{k} = {v}", "try:\n    C.{k} = {v}\n    1 / 0\nexcept ArithmeticError:\n    C.x = 4",
    "C.x = (C.x, 1)",
    "C.update({{'{k}': {v}}})", "C.update(dict([('{k}', {v})]))", "C.update({k}={v})", "print(C, file=sys.stderr)",
    "def inner():\n    C.{k} = {v}\ninner()", "C.{k} = C.sub", "C.{k}: object = {v}", "sorted([C], key=lambda c: fill(c) or 0)",
    "other = C\nother.{k} = {v}", "C.sub.{k} = C.x", "while C.x != 'end':\n    C.x = 'end'", "LIST = [C]\nLIST[0].{k} = {v}",
)  # fmt: skip
START = "C = CN()\nC.x = 3\nC.sub = CN()\nC.sub.x = 0.1\n"


@st.composite
def bodies(draw: st.DrawFn) -> str:
    picked = draw(st.lists(st.sampled_from(STATEMENTS), max_size=5))
    values = st.one_of(VALUES, st.none()).map(repr)
    return START + "\n".join(each.format(k=draw(st.sampled_from(["x", "a", "b"])), v=draw(values)) for each in picked)


def script(body: str, where: int) -> str:
    """The statements in a function that makes it, in one that is given it, or in the module itself; then it is filled by flags."""
    indented = "\n".join(f"    {line}" for line in body.split("\n"))
    made = (
        f"def get_config():\n{indented}\n    return C\nC = get_config()",
        f"def main(C):\n{indented}\n    C.merge_from_args(sys.argv[1:])\n    return C",
        body,
    )[where]
    return f"{NODE}{made}\n" + ("C = main(CN())\n" if where == 1 else "C.merge_from_args(sys.argv[1:])\n")


def run(text: str, words: tuple[str, ...] = ()) -> Any:
    names: dict[str, Any] = {}
    before, sys.argv = sys.argv, ["train.py", *words]
    try:
        exec(text, names)
    except Exception:
        return None  # it does not run at all
    finally:
        sys.argv = before
    return names["C"]


def held(node: Any, path: str) -> Any:
    for key in path.split("."):
        node = getattr(node, key)
    return list(node) if isinstance(node, tuple) else node


@settings(max_examples=EXAMPLES)
@given(bodies(), st.sampled_from([0, 1, 2]), VALUES)
def test_any_object_holds_what_is_read_and_a_flag_changes_that_entry_alone(body: str, where: int, value: Value) -> None:
    text = script(body, where)
    before = run(text)
    if before is None:
        return
    flags = read_flags(text, "train.py")
    for flag in flags:
        if flag.readable:
            default = list(flag.default) if isinstance(flag.default, tuple) else flag.default
            assert same(held(before, flag.dest), default), (flag, text)
    names = [flag.names[0] for flag in flags if flag.readable and flag.default is not None]
    if not names:
        return
    of = workload(f'P = {{ flag = "{names[-1]}", choices = [1, 2] }}', COMMAND, train_py=text)
    if of.problems(["P"]) or of.places.refused("P", value):
        return
    try:
        words = job(of, P=value).command[2:]
    except RenderError:
        return
    after = run(text, words)
    path = names[-1][2:]
    wanted = list(value) if isinstance(value, tuple) else value
    assert same(held(after, path), wanted), (words, text)
    others = [
        flag.dest for flag in flags if flag.readable and flag.dest != path and not flag.dest.startswith(f"{path}.")
    ]
    assert all(same(held(after, each), held(before, each)) for each in others if not shared(before, each, path)), text


def shared(config: Any, one: str, other: str) -> bool:
    """Whether two entries are one: of a table that stands in two places."""
    owners = [path.rpartition(".")[0] for path in (one, other)]
    tables = [held(config, owner) if owner else config for owner in owners]
    return tables[0] is tables[1] and one.rpartition(".")[2] == other.rpartition(".")[2]
