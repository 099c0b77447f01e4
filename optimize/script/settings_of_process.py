"""Finds the settings that a script is given when it starts: flags of its parser, and variables of the environment."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from optimize.errors import RenderError
from optimize.script.argparse_flags import TRAINING
from optimize.script.config_overrides import pair_default, pair_overrides
from optimize.script.environment_variables import VariableRead, variables_with_defaults
from optimize.script.flags import FlagDefinition
from optimize.script.parsers import find_flag, flags_by_file, parser_facts
from optimize.script.process_parameters import as_given
from optimize.script.source_names import read_names
from optimize.script.trees import walk
from optimize.trial import Value
from search_spaces import ScriptConstant, is_setting

OTHER_CHOICE = "settings of another choice than the one that is made"
MANY_GROUPS = 4  # of which a script uses one
LISTS = "lists, which are not varied"
NOT_TOLD = "values that only running the script shows: give one choices and `baseline = ...`, to vary it"
HIDDEN = "set in .env, of which trials get no copy, since it may hold secrets: set them elsewhere, to vary them"
GIVEN = "given another value where the class is used"
UNREADABLE = "defaults that only running the script shows: give it choices and `baseline = ...`, to vary one"
BROKEN = "flags of type=bool, to which every text is True: write action=argparse.BooleanOptionalAction in the script"
UNTYPED = "flags without a type, whose numbers would arrive as text: write type=float or type=int in the script"
UNDECIDED = "pairs of flags without a default: neither is meant now"
UNSWITCHED = "flags that are on, and that no flag turns off"
BY_PLACE = "given by its place in the command, not by a flag"
OTHERWISE = "flags that are counted, or given in another way than by one value"
OVERWRITTEN = "given another value by the script, whatever the flag says"
OTHER_COMMAND = "flags of another command of the script"
DIFFERING = "flags that the script defines several times, with different defaults"
_LISTED = re.compile(
    r"\[[^\][]+\]|\([^()]+\)|[\w.-]+(?:\s*\|\s*[\w.-]+)+"
)  # several words in brackets, or between bars
MOST_TELLING = 4  # letters of a name that may say too little, so that its help counts as well


def flags_as_settings(files: Mapping[str, str], given: Sequence[str] = ()) -> Iterator[ScriptConstant]:
    """Yield the flags that these Python files define; `given` are words that the command has already."""
    facts = parser_facts(files, given)
    command = command_of(facts.subcommands, given)
    texts = _compared(files)
    told: set[str] = set()
    for file, flags in flags_by_file(files, given):
        for flag in flags:
            if flag.names[0] not in told:
                told.add(flag.names[0])
                found = find_flag(files, flag.names[0], given) or flag
                found = as_given(found if not flag.command else flag, given)
                yield _setting(found, file, command, facts.rewritten or {}, texts)


def command_of(subcommands: Sequence[str], given: Sequence[str] = ()) -> str:
    """Return the subcommand that trains: one that is given, one that is called so, or the only one."""
    named = [each for each in subcommands if each in given] or [each for each in TRAINING if each in subcommands]
    return next(iter(named or (subcommands if len(subcommands) == 1 else ())), "")


def _setting(
    flag: FlagDefinition, file: str, command: str, rewritten: Mapping[str, int], texts: Mapping[str, tuple[str, ...]]
) -> ScriptConstant:
    name = flag.dest.rpartition(".")[2] or flag.names[0].lstrip("-")
    told = (texts.get(name, ()) or options_told(flag.help, flag.default)) if isinstance(flag.default, str) else ()
    options = flag.choices or told
    return ScriptConstant(
        re.sub(r"\W", "_", name),
        flag.default,
        comment=flag.help,
        heading=f"flags of {file}",
        aside=_aside(flag, command, rewritten),
        kind="flag",
        place=flag.names[0],
        options=options,
        real=flag.type == "float",
        certain=_is_choice(flag)
        or (len(name) <= MOST_TELLING and is_setting(flag.help))
        or _of_optimizer(flag, options),
    )


def options_told(text: str, default: str) -> tuple[str, ...]:
    """Return the options that a help text lists, the default among them: `adam|sgd`, `[adam, sgd]`, `(adam/sgd)`."""
    for found in _LISTED.finditer(text):
        parts = [each.strip(" '\"`") for each in re.split(r"[|,/]", found[0].strip("[]() "))]
        if default in parts and len(parts) > 1 and all(re.fullmatch(r"[\w.-]+", each) for each in parts):
            return tuple(dict.fromkeys(parts))
    return ()


def _of_optimizer(flag: FlagDefinition, options: Sequence[Value]) -> bool:
    """Return whether the group of a flag says that it is a setting, whatever its name; a text needs options as well."""
    group = flag.dest.rpartition(".")[0]
    return bool(re.search(r"optim|sched", group, re.IGNORECASE)) and (
        bool(options) or not isinstance(flag.default, str)
    )


def _is_choice(flag: FlagDefinition) -> bool:
    """Tell whether its author has written both ways out: it is for users to turn on and off, whatever it is called."""
    return flag.style == "pair" and flag.parser in ("argparse", "click")


def _aside(flag: FlagDefinition, command: str, rewritten: Mapping[str, int]) -> str:
    number = isinstance(flag.default, int | float) and not isinstance(flag.default, bool)
    reasons = (
        (flag.positional, BY_PLACE),
        (bool(flag.command) and flag.command != command, OTHER_COMMAND),
        (flag.style == "broken", BROKEN),
        (flag.style in ("other", "rest"), OTHERWISE),
        (flag.dest in rewritten or bool(flag.rewritten), OVERWRITTEN),
        (not flag.readable and " or " in flag.expression, DIFFERING),
        (not flag.readable, UNREADABLE),
        (number and flag.type == "str", UNTYPED),
        (flag.style == "pair" and flag.default is None, UNDECIDED),
        (flag.style == "true" and flag.default is True, UNSWITCHED),
        (flag.style == "false" and flag.default is False, UNSWITCHED),
    )
    return next((reason for holds, reason in reasons if holds), "")


def _compared(files: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Return the texts that each attribute or name is compared with: `args.optimizer == "adam"` says what it may be."""
    found: dict[str, list[str]] = {}
    for file, text in files.items():
        for node in walk(read_names(text, file).tree):
            match node:
                case ast.Compare(left=left, ops=[ast.Eq() | ast.In()], comparators=[right]):
                    name = (
                        left.attr if isinstance(left, ast.Attribute) else left.id if isinstance(left, ast.Name) else ""
                    )
                    parts = right.elts if isinstance(right, ast.Tuple | ast.List | ast.Set) else [right]
                    texts = [
                        each.value for each in parts if isinstance(each, ast.Constant) and isinstance(each.value, str)
                    ]
                    found.setdefault(name, []).extend(texts)
    return {name: tuple(dict.fromkeys(texts)) for name, texts in found.items() if name and texts}


def pairs_as_settings(files: Mapping[str, str], command: Sequence[str]) -> Iterator[ScriptConstant]:
    """Yield the entries of a configuration object that a script takes pairs for, as yacs does."""
    found = pair_overrides(files)
    others = _of_other_choices({path: each.value for path, each in found.entries.items()}) if found else set()
    for path, entry in found.entries.items() if found else ():
        try:
            value = pair_default(found, command, path, files) if found else None
            aside = OVERWRITTEN if found and path in found.rewritten else ""
        except RenderError:
            value, aside = None, NOT_TOLD if entry.value is not None or not entry.readable else ""
        owner, _, last = path.rpartition(".")
        aside = aside or (OTHER_CHOICE if owner in others else "")
        yield ScriptConstant(
            last,
            value,
            heading=f"entries of the configuration in {entry.file}",
            aside=aside or (LISTS if entry.is_list else ""),
            kind="override",
            place=path,
            certain=bool(re.search(r"optim|solver|sched", owner, re.IGNORECASE)) and not isinstance(value, str),
        )


def _of_other_choices(values: Mapping[str, Value]) -> set[str]:
    """Return groups that are there for another choice: beside `MODEL.TYPE = "swin"` and the group MODEL.SWIN stand others.

    They have most keys of the one that is chosen. Where nothing is chosen, all of many groups beside a NAME or TYPE count.
    """
    keys: dict[str, set[str]] = {}
    for path in values:
        owner, _, last = path.rpartition(".")
        keys.setdefault(owner, set()).add(last)
    found: set[str] = set()
    for path, value in values.items():
        above = path.rpartition(".")[0]
        chosen = next((g for g in keys if g.rpartition(".")[0] == above and _same(g.rpartition(".")[2], value)), "")
        beside = {g for g in keys if g.rpartition(".")[0] == above and g != chosen} if above else set()
        if chosen:
            found |= {group for group in beside if 2 * len(keys[group] & keys[chosen]) > len(keys[chosen])}
        elif path.rpartition(".")[2].lower() in ("name", "type") and len(beside) >= MANY_GROUPS:
            found |= beside
    return found


def _same(group: str, value: Value) -> bool:
    return (
        isinstance(value, str)
        and bool(value)
        and group.replace("_", "").casefold() == value.replace("_", "").casefold()
    )


def variables_as_settings(
    files: Mapping[str, str], told: Mapping[str, Value], hidden: Collection[str] = ()
) -> Iterator[ScriptConstant]:
    """Yield the variables of the environment that these files read with a default; `told` is what a file `.env` says.

    `hidden`: variables of such a file that trials get no copy of.
    """
    found: dict[str, VariableRead] = {}
    for file, text in files.items():
        for each in variables_with_defaults(read_names(text, file)):
            each = replace(each, default=told.get(each.name, each.default))
            if each.default is not None:
                found.setdefault(each.name, each)
    for each in found.values():
        if is_setting(each.name):
            yield ScriptConstant(
                each.name,
                each.default,
                heading="variables of the environment",
                aside=GIVEN if each.given else HIDDEN if each.name in hidden else "",
                kind="env",
                place=each.name,
                real=each.type == "float",
                certain=False,
            )
