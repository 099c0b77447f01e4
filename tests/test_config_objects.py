"""Configuration objects that are filled attribute by attribute: what is read of them is what they hold when they are run."""

from __future__ import annotations

import ast
import sys
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from optimize.script.config_overrides import pair_overrides
from optimize.script.config_tables import ConfigTable, Leaf, entries_of
from optimize.script.parsers import read_flags
from optimize.script.workload import Workload
from optimize.trial import Value
from tests.placing import COMMAND, job, workload
from tests.test_places_any import VALUES, same

EXAMPLES = 40
NODE = """
import argparse, contextlib, copy, sys
from ast import literal_eval
parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=0.1)
parser.add_argument("opts", nargs=argparse.REMAINDER)
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
    def merge_from_list(self, words):
        for name, text in zip(words[::2], words[1::2], strict=True):
            try:
                value = literal_eval(text)
            except (ValueError, SyntaxError):
                value = text
            *owners, last = name.split(".")
            place = self
            for each in owners:
                place = getattr(place, each)
            before = getattr(place, last)
            assert before is None or type(before) is type(value) or {type(before), type(value)} == {list, tuple}
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


def script(body: str, where: int, merge: str = "merge_from_args(sys.argv[1:])") -> str:
    """The statements in a function that makes it, in one that is given it, or in the module itself; then it is filled by flags."""
    indented = "\n".join(f"    {line}" for line in body.split("\n"))
    made = (
        f"def get_config():\n{indented}\n    return C\nC = get_config()",
        f"def main(C):\n{indented}\n    C.{merge}\n    return C",
        body,
    )[where]
    return f"{NODE}{made}\n" + ("C = main(CN())\n" if where == 1 else f"C.{merge}\n")


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


def arrives(text: str, of: Workload, path: str, value: Value, others: list[str]) -> None:
    """Check that the value is at its path when the script has been started with it, and that the other entries are as before."""
    if of.problems(["P"]) or of.places.refused("P", value):
        return
    before, after = run(text), run(text, job(of, P=value).command[2:])
    wanted = list(value) if isinstance(value, tuple) else value
    assert same(held(after, path), wanted), (job(of, P=value).command, text)
    kept = [each for each in others if each != path and not shared(before, each, path)]
    assert all(same(held(after, each), held(before, each)) for each in kept), text


@settings(max_examples=EXAMPLES)
@given(bodies(), st.sampled_from([0, 1, 2]), VALUES)
def test_any_object_holds_what_is_read_and_a_flag_changes_that_entry_alone(body: str, where: int, value: Value) -> None:
    text = script(body, where)
    before = run(text)
    if before is None:
        return
    readable = [flag for flag in read_flags(text, "train.py") if flag.readable and flag.parser == "merge_from_args"]
    for flag in readable:
        default = list(flag.default) if isinstance(flag.default, tuple) else flag.default
        assert same(held(before, flag.dest), default), (flag, text)
    if readable:
        path = readable[-1].dest
        of = workload(f'P = {{ flag = "--{path}", choices = [1, 2] }}', COMMAND, train_py=text)
        arrives(text, of, path, value, [flag.dest for flag in readable])


@settings(max_examples=EXAMPLES)
@given(bodies(), st.sampled_from([0, 1, 2]), VALUES, st.sampled_from([(), ("--lr", "5"), ("--lr=5", "x", "1")]))
def test_any_pair_of_words_changes_its_entry_alone(body: str, where: int, value: Value, words: tuple[str, ...]) -> None:
    parsed = "args = parser.parse_args()\nclass CfgNode"
    text = script(body, where, "merge_from_list(args.opts)").replace("class CfgNode", parsed, 1)
    before, found = run(text, words), pair_overrides({"train.py": text})
    if before is None or found is None:
        return
    for entry in found.entries.values():
        if entry.readable and entry.path != "x":
            default = list(entry.value) if isinstance(entry.value, tuple) else entry.value
            assert same(held(before, entry.path), default), (entry, text)
    readable = [path for path, entry in found.entries.items() if entry.readable]
    if readable:
        of = workload(f'P = {{ override = "{readable[-1]}", choices = [1, 2] }}', (*COMMAND, *words), train_py=text)
        arrives(text, of, readable[-1], value, [path for path in readable if path != "x"])


def test_the_seed_of_such_an_object_is_found() -> None:
    flag = workload(
        "P = { flag = '--a', choices = [1, 2] }", train_py=script("C = CN()\nC.a = 1\nC.run = CN(seed=3)", 2)
    )
    assert (flag.seed_name, str(flag.placed["seed"].location)) == ("seed", "flag --run.seed")
    text = script("C = CN()\nC.a = 1\nC.SEED = 3", 2, "merge_from_list(args.opts)")
    pair = workload("P = { override = 'a', choices = [1, 2] }", train_py=text)
    assert str(pair.placed["seed"].location) == "override SEED"


def shared(config: Any, one: str, other: str) -> bool:
    """Whether two entries are one: of a table that stands in two places."""
    owners = [path.rpartition(".")[0] for path in (one, other)]
    tables = [held(config, owner) if owner else config for owner in owners]
    return tables[0] is tables[1] and one.rpartition(".")[2] == other.rpartition(".")[2]


def test_an_object_that_contains_itself_is_read_once() -> None:
    table, inner = ConfigTable(), ConfigTable()
    table["lr"] = Leaf(ast.Constant(0.1), "train.py", 1, 0.1, True)
    table["model"], inner["whole"], table["me"] = inner, table, table
    assert [entry.path for entry in entries_of(table)] == ["lr"]
