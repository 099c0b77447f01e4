"""Finds the settings in a script's modules: constants, fields of classes, entries of dictionaries, keywords of calls.

What cannot be written there is found as well, with the reason. It reads the text and runs nothing.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from optimize.script.bindings import module_bindings
from optimize.script.branches import at_times, spot
from optimize.script.constants import read_constants
from optimize.script.environment_variables import is_pydantic_settings
from optimize.script.field_flags import classes_with_flags
from optimize.script.flags import annotated_type
from optimize.script.settings_of_process import GIVEN
from optimize.script.source_names import SourceNames, UnreadableValue, read_names
from optimize.script.trees import walk
from optimize.trial import Value
from search_spaces import ScriptConstant, is_setting

SEVERAL = "given more than one value, or changed while the script runs"
COMPUTED = "computed when the script runs"
TOGETHER = "assigned together with another name: give each a line of its own"
LISTS = "lists and tables: a list can vary when it is written as a tuple"
CONDITIONAL = "not at the top level of the file: move them there"
OTHER_CHOICE = "where another choice is made than the present one"
UNUSED = "fields of a class that nothing here uses"
CONFIG = re.compile(r"config|cfg|conf|args|arguments|param|setting|option|hyper|hps?$|flags|default", re.IGNORECASE)
_CONFIG_BASES = (
    "BaseModel", "BaseSettings", "NamedTuple", "object", "Serializable", "PretrainedConfig", "Config", "DictConfig",
)  # fmt: skip
_CONVERTERS = ("int", "float", "round", "max", "min", "os.environ.get", "os.getenv", "getenv", "environ.get")
_TABLES = (
    "dict",
    "SimpleNamespace",
    "Namespace",
    "EasyDict",
    "edict",
    "Munch",
    "AttrDict",
    "ConfigDict",
    "Box",
    "create",
    "Dict",
)


def unwritable_constants(text: str, where: str, known: Mapping[str, Value]) -> Iterator[ScriptConstant]:
    """Yield what a module assigns at its top level, or under a condition there, and cannot be varied, with the reason."""
    once = read_constants(text, where)
    bound = [binding.name for binding in module_bindings(text, where)]
    told: set[str] = set()
    tree = read_names(text, where).tree
    conditional = at_times(tree)
    for node, name, value, inside in _assigned(tree.body, False):
        if name in known or name in told or (inside and spot(node) not in conditional and bound.count(name) == 1):
            continue  # else `settings_in_blocks` has it
        if not (is_computed(value) and (name.isupper() or is_setting(name))):
            continue
        told.add(name)
        yield ScriptConstant(name, None, aside=_why(name, node, value, inside, once, bound))


def is_computed(node: ast.expr | None) -> bool:
    """Return whether a value is made of literals and their arithmetic, as a setting is; a call may make anything else."""
    if node is None or isinstance(node, ast.Name | ast.Attribute | ast.Lambda | ast.Subscript):
        return False
    calls = [each for each in ast.walk(node) if isinstance(each, ast.Call)]
    return all(ast.unparse(call.func) in _CONVERTERS for call in calls)


def _why(
    name: str, node: ast.stmt, value: ast.expr | None, inside: bool, once: Mapping[str, object], bound: Sequence[str]
) -> str:
    if bound.count(name) > 1:
        return SEVERAL
    if inside:
        return CONDITIONAL
    if name not in once:
        return TOGETHER
    return LISTS if isinstance(value, ast.List | ast.Dict | ast.Set | ast.Tuple) else COMPUTED


def _assigned(body: Sequence[ast.stmt], inside: bool) -> Iterator[tuple[ast.stmt, str, ast.expr | None, bool]]:
    """Yield statement, name and value of each assignment of these statements, and whether it stands under another one."""
    for node in body:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = (each for target in targets for each in ast.walk(target) if isinstance(each, ast.Name))
            yield from ((node, each.id, node.value, inside) for each in names if isinstance(each.ctx, ast.Store))
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            for part in ("body", "orelse", "finalbody"):
                yield from _assigned(getattr(node, part, []), True)
            for handler in (*getattr(node, "handlers", ()), *getattr(node, "cases", ())):
                yield from _assigned(handler.body, True)


def fields_of_classes(files: Mapping[str, str], script: str) -> Iterator[ScriptConstant]:
    """Yield the fields of classes that hold settings, of these Python files."""
    read = {file: read_names(text, file, files) for file, text in files.items()}
    as_flags = {name for names in read.values() for name in classes_with_flags(names)}
    uses = _Uses([names.tree for names in read.values()])
    for file, names in read.items():
        own = [node for node in names.tree.body if isinstance(node, ast.ClassDef)]
        for node in own:
            if node.name not in as_flags and _holds_settings(node, names) and not is_pydantic_settings(node, names):
                yield from _fields(node, names, uses, "" if file == script else f"{file}:", node.name)


def _holds_settings(node: ast.ClassDef, names: SourceNames) -> bool:
    made = any(
        "dataclass" in text or text in ("define", "attrs", "s", "frozen") for text in map(last_of, node.decorator_list)
    )
    bases = [last_of(base) for base in node.bases]
    known = all(base in _CONFIG_BASES or base in names.classes or CONFIG.search(base) for base in bases)
    fields = [each for each in node.body if isinstance(each, ast.Assign | ast.AnnAssign | ast.ClassDef)]
    plain = bool(CONFIG.search(node.name)) or any(base in _CONFIG_BASES[:3] for base in bases)
    return bool(fields) and known and names.members(node.name) is None and (made or plain)


def _fields(node: ast.ClassDef, names: SourceNames, uses: _Uses, file: str, path: str) -> Iterator[ScriptConstant]:
    for inner in node.body:
        if isinstance(inner, ast.ClassDef) and names.members(inner.name) is None and _config_like(inner.name):
            yield from _fields(inner, names, uses, file, f"{path}.{inner.name}")
    given = uses.given(node.name)
    own = {name for _, name, _, inside in _assigned(node.body, False) if not inside}
    for each in names.fields(node.name):
        if each.name not in own or each.default is None:
            continue
        kind = annotated_type(each.annotation, names)
        if kind.owner:
            continue
        found = ScriptConstant(
            each.name,
            None,
            heading=f"fields of {path}{f' in {file[:-1]}' if file else ''}",
            kind="field",
            place=f"{file}{path}.{each.name}",
            options=kind.choices,
            real=kind.name == "float",
            certain=False,
        )
        try:
            value = names.value(each.default)
        except UnreadableValue:
            if is_setting(each.name):
                yield replace(found, aside=COMPUTED)
            continue
        aside = UNUSED if not uses.is_used(node.name) else GIVEN if each.name in given or "**" in given else ""
        if kind.choices and not isinstance(each.default, ast.Constant):
            aside = aside or COMPUTED  # the member of an Enum is written by its name
        if isinstance(each.default, ast.List):
            aside = aside or LISTS
        yield replace(found, value=value, aside=aside)


def _config_like(name: str) -> bool:
    return bool(CONFIG.search(name)) or name.islower()


class _Uses:
    """How classes are used in these files: with which values they are made."""

    def __init__(self, trees: Sequence[ast.Module]) -> None:
        self._given: dict[str, set[str]] = {}
        self._used: set[str] = set()
        for tree in trees:
            calls = [node for node in walk(tree) if isinstance(node, ast.Call)]
            bases = {id(base) for node in walk(tree) if isinstance(node, ast.ClassDef) for base in node.bases}
            for call in calls:
                words = {each.arg or "**" for each in call.keywords}
                self._given.setdefault(last_of(call.func), set()).update(words)
                if any(isinstance(each, ast.Starred) for each in call.args):
                    self._given[last_of(call.func)].add("**")
            loads = (n for n in walk(tree) if isinstance(n, ast.Name | ast.Attribute) and id(n) not in bases)
            self._used |= {last_of(node) for node in loads}

    def given(self, name: str) -> set[str]:
        """Return the fields that a call gives; `**` where it gives what the text does not say."""
        return self._given.get(name, set())

    def is_used(self, name: str) -> bool:
        """Return whether anything names the class."""
        return name in self._used


def entries_of_tables(text: str, where: str, file: str) -> Iterator[ScriptConstant]:
    """Yield the entries of dictionaries, and the keywords of calls, that a module's constants hold, in lists as well."""
    names = read_names(text, where)
    prefix = f"{file}:" if file else ""
    for name, value in names.constants.items():
        if file and not CONFIG.search(name) and not CONFIG.search(PurePosixPath(file).stem):
            continue  # a table for something else, as far as this file says
        aside = OTHER_CHOICE if picks_one(names.tree, name, value) else ""
        for place, node in [(name, value), *_elements(name, value)]:
            table = is_table(node)
            if table or (isinstance(node, ast.Call) and not draws_data(node, name, names)):
                heading = f"entries of {place}" if table else f"written in the call that makes {place}"
                for each in entries_in(place, name, node, names, prefix):
                    yield replace(each, heading=heading, aside=each.aside or aside)


_OF_WEIGHTS = re.compile(r"[wubv]\d*$|[wubv]_|weight|bias|theta|param|embed|kernel", re.IGNORECASE)


def draws_data(call: ast.Call, result: str, names: SourceNames) -> bool:
    """Tell whether a call draws or makes data, and no first weights: what it is given decides about the task."""
    called = names.qualified(call.func)
    makes = called.startswith("sklearn.datasets.")
    return makes or (called.startswith(("numpy.random.", "random.")) and not _OF_WEIGHTS.match(result))


def picks_one(tree: ast.Module, name: str, value: ast.expr) -> bool:
    """Return whether a dictionary holds several of one form, of which the script takes one by a key that it computes."""
    parts = [each for each in value.values if is_table(each)] if isinstance(value, ast.Dict) else []
    picked = (
        node for node in walk(tree) if isinstance(node, ast.Subscript) and not isinstance(node.slice, ast.Constant)
    )
    return len(parts) > 1 and any(isinstance(node.value, ast.Name) and node.value.id == name for node in picked)


def _elements(name: str, value: ast.expr) -> list[tuple[str, ast.expr]]:
    parts = value.elts if isinstance(value, ast.List | ast.Tuple) else []
    return [(f"{name}.{number}", each) for number, each in enumerate(parts)]


def is_table(node: ast.expr | None) -> bool:
    """Return whether an expression makes a dictionary, or something like it, of keys and values that are written out."""
    return isinstance(node, ast.Dict) or (isinstance(node, ast.Call) and last_of(node.func) in _TABLES)


def entries_in(place: str, name: str, value: ast.expr, names: SourceNames, prefix: str) -> Iterator[ScriptConstant]:
    """Yield the settings among the entries of a dictionary, or the keywords of a call, that stand at `place` under `name`."""
    table = is_table(value)
    for path, node in _entries(value, table):
        found = _entry(f"{prefix}{place}.{path}", name, node, names, table)
        if found is not None:
            yield found


def _entries(value: ast.expr, deep: bool) -> Iterator[tuple[str, ast.expr]]:
    pairs: list[tuple[str, ast.expr]] = []
    if isinstance(value, ast.Dict):
        pairs = [
            (str(key.value), each)
            for key, each in zip(value.keys, value.values, strict=True)
            if isinstance(key, ast.Constant) and isinstance(key.value, str) and re.fullmatch(r"\w[\w-]*", key.value)
        ]
    elif isinstance(value, ast.Call):
        pairs = [(each.arg, each.value) for each in value.keywords if each.arg is not None]
        if deep and len(value.args) == 1 and isinstance(value.args[0], ast.Dict):
            yield from _entries(value.args[0], deep)
    for key, each in pairs:
        if deep and is_table(each):
            yield from ((f"{key}.{inner}", node) for inner, node in _entries(each, deep))
        else:
            yield key, each


def _entry(place: str, name: str, node: ast.expr, names: SourceNames, table: bool) -> ScriptConstant | None:
    last = place.rpartition(".")[2]
    found = ScriptConstant(last, None, kind="entry", place=place, certain=False)
    try:
        value = names.value(node)
    except UnreadableValue:
        return replace(found, aside=COMPUTED) if table and is_setting(last) and CONFIG.search(name) else None
    if isinstance(node, ast.Name):
        return None  # a constant, which is found by itself
    if not table and (not is_setting(last) or isinstance(value, str | bool)):
        return None
    if not is_setting(last) and not CONFIG.search(name):
        return None
    if any(word in name.lower() for word in ("test", "val", "eval")):
        return None
    return replace(found, value=value, aside=LISTS if isinstance(node, ast.List) else "")


def last_of(node: ast.expr) -> str:
    """Return the last name of a dotted one, or of what a call calls, "" of any other expression."""
    node = node.func if isinstance(node, ast.Call) else node
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
