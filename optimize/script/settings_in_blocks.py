"""Finds the settings in blocks of a module that always run: `if __name__ == "__main__":`, `if True:`, `with`, `try`.

They are read as those at module level are, and written where they stand. It reads the text and runs nothing.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from optimize.script.branches import at_times, spot
from optimize.script.file_scopes import FileScopes, bound_by
from optimize.script.settings_in_modules import COMPUTED, CONFIG, LISTS, entries_in, is_computed, is_table
from optimize.script.source_names import SourceNames, UnreadableValue
from optimize.script.trees import assigned_values
from search_spaces import ScriptConstant, is_setting

HEADING = "in a block of the module"


def settings_in_blocks(found: FileScopes, names: SourceNames) -> Iterator[ScriptConstant]:
    """Yield the variables of blocks that say by their names that they set something, and the entries of their dictionaries.

    What is bound elsewhere as well is left out: `unwritable_constants` has it, as it has what runs at times only.
    """
    bound = Counter(
        name for node, _ in found.nodes for name in bound_by(node) if id(node) not in found.of_comprehensions
    )
    aside = {spot(each) for each in names.tree.body} | at_times(names.tree)
    nodes = [node for node, scopes in found.nodes if isinstance(node, ast.Assign | ast.AnnAssign) and not scopes]
    for node in sorted(nodes, key=lambda each: (each.lineno, each.col_offset)):
        for name, value in assigned_values(node) if spot(node) not in aside else ():
            if bound[name] == 1 and is_table(value) and CONFIG.search(name):
                for each in entries_in(name, name, value, names, ""):
                    yield replace(each, heading=f"entries of {name}, {HEADING}")
            elif bound[name] == 1 and (name.isupper() or is_setting(name)):
                yield from _variable(name, value, names)


def _variable(name: str, value: ast.expr, names: SourceNames) -> Iterator[ScriptConstant]:
    found = ScriptConstant(name, None, heading=HEADING, kind="local", place=name, certain=name.isupper())
    if not is_computed(value):
        return
    try:
        if any(isinstance(each, ast.Name | ast.Call) for each in ast.walk(value)):
            raise UnreadableValue
        yield replace(found, value=names.value(value), aside=LISTS if isinstance(value, ast.List) else "")
    except UnreadableValue:
        yield replace(found, aside=LISTS if isinstance(value, ast.Dict | ast.Set) else COMPUTED)
