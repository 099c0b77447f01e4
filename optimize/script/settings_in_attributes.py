"""Finds the settings that a class gives its objects when they are made: `self.gamma = 0.95` in `__init__`.

Of a class of settings any plain value counts, of any other one the numbers whose names say enough. Nothing is executed.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

from optimize.script.attributes_of_self import attributes_of
from optimize.script.settings_in_functions import is_setting_of_class, plain_number
from optimize.script.settings_in_modules import CONFIG, LISTS, UNUSED, last_of
from optimize.script.source_names import SourceNames, UnreadableValue, read_names
from optimize.script.trees import walk
from optimize.trial import Value
from search_spaces import ScriptConstant


def attributes_of_classes(files: Mapping[str, str], script: str) -> Iterator[ScriptConstant]:
    """Yield the attributes that hold settings, of the classes of these Python files."""
    read = {file: read_names(text, file) for file, text in files.items()}
    nodes = [node for names in read.values() for node in walk(names.tree)]
    made = {last_of(node.func) for node in nodes if isinstance(node, ast.Call)}
    made |= {last_of(base) for node in nodes if isinstance(node, ast.ClassDef) for base in node.bases}
    for file, names in read.items():
        prefix = "" if file == script else f"{file}:"
        for node in (each for each in names.tree.body if isinstance(each, ast.ClassDef)):
            yield from _attributes(node, names, prefix, "" if node.name in made else UNUSED)


def _attributes(owner: ast.ClassDef, names: SourceNames, prefix: str, aside: str) -> Iterator[ScriptConstant]:
    of_settings = bool(CONFIG.search(owner.name))
    for name, node in attributes_of(owner):
        value = _value(node, names) if of_settings else plain_number(node, names)
        if value is None or name.startswith("_") or not (of_settings or is_setting_of_class(name, value, owner.name)):
            continue
        yield ScriptConstant(
            name,
            value,
            heading=f"attributes of {owner.name}{f' in {prefix[:-1]}' if prefix else ''}",
            aside=aside or (LISTS if isinstance(node, ast.List) else ""),
            kind="field",
            place=f"{prefix}{owner.name}.{name}",
            certain=False,
        )


def _value(node: ast.expr, names: SourceNames) -> Value:
    if isinstance(node, ast.Name | ast.Attribute | ast.Call):
        return None  # found where it stands
    try:
        return names.value(node)
    except UnreadableValue:
        return None
