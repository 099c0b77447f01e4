"""Of several places of one name, tells which is proposed: of a constant and a default, a variable or an argument called like it."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import replace

from optimize.script.file_scopes import file_scopes
from optimize.script.settings_in_functions import IN_CALL, IN_FUNCTION, SWITCHES
from search_spaces import ScriptConstant

TWIN = "named like a constant of the module: give them that constant, so that both are one, or vary one by its place"
DEFAULT = "nothing but the default of a flag, which counts"
UNREAD = "read by nothing: another place of the name counts"


def one_place_each(found: Sequence[ScriptConstant], files: Mapping[str, str]) -> list[ScriptConstant]:
    """Return the settings of these Python files, of several of one name all but one set aside, with the reason.

    What tunes itself by another number than the constant, such as a second optimizer, keeps its own.
    """
    constants = {each.name.lower(): each for each in found if _is_of_module(each) and not each.aside}
    twins = [each for each in found if (own := constants.get(each.name.lower())) and _is_twin(each, own)]
    usable = {each.name.lower() for each in twins if not each.aside}
    unread = {name for name in usable if not _reads(constants[name].name, files)}
    flags = {each.name.lower(): each.value for each in found if each.kind == "flag" and not each.aside}
    by_flag = {name for name, each in constants.items() if name in flags and flags[name] == each.value}
    by_flag = {name for name in by_flag if _reads(constants[name].name, files) == 1}
    kept: list[ScriptConstant] = []
    for each in found:
        name = each.name.lower()
        if name in unread | by_flag and each is constants[name]:
            each = replace(each, aside=UNREAD if name in unread else DEFAULT)
        elif name not in unread and any(each is twin for twin in twins):
            each = replace(each, aside=TWIN)
        kept.append(each)
    return kept


def _is_of_module(setting: ScriptConstant) -> bool:
    return not setting.kind or (setting.kind == "local" and "." not in setting.place.rpartition(":")[2])


def _is_twin(setting: ScriptConstant, constant: ScriptConstant) -> bool:
    """Return whether a variable, a default or an argument is called like a constant."""
    own = setting.certain and setting.value != constant.value
    inside = setting.kind in ("local", "argument") and not _is_of_module(setting)
    return inside and not own and setting.aside in ("", IN_FUNCTION, IN_CALL, SWITCHES)


def _reads(name: str, files: Mapping[str, str]) -> int:
    """Return how often this name of a module is read, as far as the text shows it; 2 where it may be read by its text."""
    found = 0
    for file, text in files.items():
        if name not in text:
            continue
        if "globals(" in text or "vars(" in text or "locals(" in text:
            return 2
        scopes = file_scopes(text, file)
        for node, around in scopes.nodes:
            match node:
                case ast.Name(id=read, ctx=ast.Load()) if read == name and not scopes.owner_of(name, around):
                    found += 1
                case ast.Attribute(attr=read, ctx=ast.Load()) if read == name:
                    found += 1
    return found
