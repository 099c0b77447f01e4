"""Drafts a search space for any script: finds its settings and the comments on them, and has choices proposed.

It reads the script and runs nothing. Where settings stand is found in its neighbours `settings_in_modules.py`,
`settings_in_files.py` and `settings_of_process.py`. `search_spaces` decides what the choices are; the file is for a person to edit.
"""

from __future__ import annotations

import ast
import io
import keyword
import re
import shlex
import tokenize
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from optimize.errors import OptimizeError, WorkloadError
from optimize.script.bindings import check_syntax, parse
from optimize.script.chosen_modules import chosen_modules
from optimize.script.config_flags import unset_configurations
from optimize.script.constants import Constant, read_constants
from optimize.script.environment_variables import DOTENV, LOADS_DOTENV, values_in_dotenv
from optimize.script.file_imports import named_in
from optimize.script.files_read import files_read
from optimize.script.library_defaults import left_to_a_library
from optimize.script.load_workload import OURS, load_workload
from optimize.script.same_settings import DEFAULT, UNREAD, one_place_each
from optimize.script.settings_in_attributes import attributes_of_classes
from optimize.script.settings_in_files import (
    config_files,
    hydra_app,
    hydra_files,
    keys_as_settings,
    overrides_as_settings,
)
from optimize.script.settings_in_functions import IN_CALL, IN_FUNCTION, SEVERAL, settings_in_functions
from optimize.script.settings_in_modules import entries_of_tables, fields_of_classes, unwritable_constants
from optimize.script.settings_of_process import flags_as_settings, pairs_as_settings, variables_as_settings
from optimize.script.words_by_place import words_by_place_note
from optimize.script.workload import Workload
from optimize.text import one_line
from optimize.trial import Metric, Value
from search_spaces import Draft, ScriptConstant, draft_space, parse_space
from storage import write_text

SECTION = re.compile(r"^#+\s*(hyper-?\s?parameters?|configuration|settings)\b", re.IGNORECASE | re.MULTILINE)
OUTSIDE = "outside the script's section of hyperparameters"
ELSEWHERE = "decided elsewhere than in the script"
LONGEST_HEADING = 60  # longer is prose
REASON_CHARS = 180
ASKS_FOR_BASELINE = "baseline = ..."  # ends what is said of a default that the text does not tell
OUT_OF_REACH = (IN_FUNCTION, IN_CALL, SEVERAL)
_IS_CONFIG = re.compile(
    r"config|settings|hparams|hyper|constants|params|args|options|conf\b|cfg|defaults", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Remarks:
    """A script's comments by line: beside a statement, and above a group of them."""

    beside: Mapping[int, str] = field(default_factory=dict)
    above: Mapping[int, str] = field(default_factory=dict)


def write_space(script: str, to: Path | None, constants: Mapping[str, Value], flags: str = "") -> Sequence[str]:
    """Draft a search space for `script`, a file or a workload, into a new file. Return the lines to show.

    `constants` are a profile's, which make the baseline. `flags` are those of the commands in the file's head.
    Raises OptimizeError if the file exists.
    """
    workload, lacks = workload_of(script)
    path = to or Path(f"{workload.name}-space.toml")
    if path.exists():
        raise OptimizeError(f"{path}: exists already. Name another file with --to; nothing was written.")
    space = str(path) if "/" in str(path) else f"./{path}"
    checked = f"optimize check --workload {shlex.quote(_flag(workload))} --space {shlex.quote(space)}{flags}"
    draft = draft_for(
        workload,
        constants,
        _head(workload, f"optimize space init {shlex.quote(script)}{flags}", "" if lacks else checked),
    )
    write_text(path, draft.text)
    waiting = f", {len(draft.waiting)} more are commented out" if draft.waiting else ""
    lacking = _lacking(workload, constants)
    ignored = [f"constants: the script's own, not the profile's: it has no {', '.join(lacking[:3])}"] if lacking else []
    return [
        *ignored,
        f"written: {path}: {len(draft.varied)} parameters, {draft.size:,} configurations{waiting}",
        f"edit it, then {lacks or f'check it: `{checked}`'}",
    ]


def draft_for(
    workload: Workload, constants: Mapping[str, Value], head: Sequence[str], words: Sequence[str] = ()
) -> Draft:
    """Return a draft for a workload's script, whose command has `words`. Raises WorkloadError if nothing in it could vary."""
    where = workload.folder / workload.script
    known = {**workload.constants(), **({} if _lacking(workload, constants) else constants)}
    found: Sequence[ScriptConstant] = settings_of(workload, known, words)
    draft, found = _checked(workload, found, known, head)
    unset = [] if draft.varied else unset_configurations(workload.files_read(), words)
    if unset:
        raise WorkloadError(
            f"{where}: its settings are in a configuration file, and nothing says which. "
            f"Name it: `optimize init {workload.script} -- --{unset[0]}=FILE`"
        )
    if not draft.varied:
        usable = any(not each.aside for each in found)
        none = "none of its settings could vary" if usable else "it has no constants, flags or fields that could vary"
        reason = next(
            (f": {each.place or each.name} is one of the {each.aside}" for each in found if each.aside in OUT_OF_REACH),
            "",
        )
        by_place = words_by_place_note({workload.script: workload.files[workload.script]})
        what = (by_place and f"{by_place}.") or left_to_a_library(workload.files_read())
        write = "Write what may vary as `NAME = value` at module level, once, or as a keyword of a call."
        raise WorkloadError(f"{where}: {none}{reason}. {what or write}")
    return draft


def _checked(
    workload: Workload, found: Sequence[ScriptConstant], known: Mapping[str, Value], head: Sequence[str]
) -> tuple[Draft, Sequence[ScriptConstant]]:
    """Return a draft whose every choice would arrive in the script, and the settings with what stands in the way of others."""
    while True:
        draft = draft_space(found, known, head)
        wrong = _unreachable(workload, draft.text) if draft.varied else {}
        if not wrong:
            return draft, found
        found = [_without(each, wrong[each.name]) if not each.aside and each.name in wrong else each for each in found]


def _without(setting: ScriptConstant, why: str) -> ScriptConstant:
    """Return a setting with its present value written down, where that is all that lacks; else set aside."""
    if why.endswith(ASKS_FOR_BASELINE) and not setting.baseline:
        return replace(setting, baseline=True)
    return replace(setting, aside=why)


def _unreachable(workload: Workload, text: str) -> dict[str, str]:
    """Return why a value would not arrive, for each parameter of a search space of which that is so."""
    space = parse_space(text, "space.toml")
    placed = workload.with_space(space)
    found: dict[str, str] = {}
    for parameter in space.parameters:
        why = next(iter(placed.problems([parameter.name])), "")
        if not why and parameter.name in placed.places.placed:
            refused = (placed.places.refused(parameter.name, choice) for choice in parameter.choices)
            why = next(filter(None, refused), "")
        if why:
            found[parameter.name] = one_line(why, REASON_CHARS)
    return found


def settings_of(workload: Workload, known: Mapping[str, Value], words: Sequence[str] = ()) -> list[ScriptConstant]:
    """Return every setting of a workload's script, each under a name of its own; `known` are the values of its constants."""
    named = named_in("\n".join(words), tuple(workload.files))
    named += chosen_modules(files_read(workload.files, [workload.script]), words, workload.files.__contains__)
    files = {workload.script: workload.files[workload.script]}
    files |= dict(sorted(files_read(workload.files, [workload.script, workload.overrides, *named]).items()))
    found = list(_constants(workload, known))
    for file in files:
        if file != workload.script and _IS_CONFIG.search(Path(file).stem):
            found += [
                replace(each, heading=each.heading or f"constants of {file}")
                for each in _constants(workload, known, file)
            ]
    found += [*flags_as_settings(files, words), *fields_of_classes(files, workload.script)]
    found += attributes_of_classes(files, workload.script)
    for file, text in files.items():
        found += entries_of_tables(text, file, "" if file == workload.script else file)
    pairs = list(pairs_as_settings(workload.files_read(), workload.command))
    found += pairs
    app = hydra_app(files)
    found += overrides_as_settings(app, workload.folder, words) if app else ()
    others = {file for file, _ in hydra_files(app, workload.folder)} if app else set()
    others |= {file for file in workload.files if pairs and file.endswith((".yaml", ".yml"))}  # pairs win over them
    found += keys_as_settings(
        [f for f in config_files(files, workload.folder, words) if f not in others], workload.folder
    )
    found += variables_as_settings(files, values_in_dotenv(workload.files), _in_secret_file(workload))
    found += settings_in_functions(files, workload.script, words)
    return told_apart(one_place_each(found, files))


def _in_secret_file(workload: Workload) -> set[str]:
    """Return the variables that a file `.env` sets of which trials get no copy."""
    path = workload.folder / DOTENV
    with suppress(OSError, UnicodeDecodeError):
        loaded = any(LOADS_DOTENV.search(text) for file, text in workload.files.items() if file.endswith(".py"))
        if loaded and DOTENV not in workload.files:
            return set(values_in_dotenv({DOTENV: path.read_text(encoding="utf-8-sig")}))
    return set()


def told_apart(found: Sequence[ScriptConstant]) -> list[ScriptConstant]:
    """Return the settings, each under a name of its own: of two of one name, the second gets that of its owner as well."""
    taken: set[str] = set()
    kept: list[ScriptConstant] = []
    for each in found:
        name = f"{each.name}_" if keyword.iskeyword(each.name) else each.name
        if not each.aside:
            owners = [re.sub(r"\W", "_", part) for part in re.split(r"[.:/]", each.place)[:-1]]
            longer = (f"{'_'.join(owners[-n:])}_{name}".lower() for n in range(1, len(owners) + 1))
            numbered = (f"{name}_{number}" for number in range(2, 1000))
            name = next(one for one in (name, *longer, *numbered) if one not in taken and one.isidentifier())
            taken.add(name)
        kept.append(replace(each, name=name, own=each.name))
    unsaid = [
        each
        for each in kept
        if each.aside and not each.kind and each.name in taken and each.aside not in (UNREAD, DEFAULT)
    ]
    return [each for each in kept if not any(each is other for other in unsaid)]


def _constants(workload: Workload, known: Mapping[str, Value], file: str = "") -> Iterator[ScriptConstant]:
    """Yield the constants of a module; those that cannot be written, with the reason."""
    file = file or workload.script
    text, where = workload.files[file], str(workload.folder / file)
    remarks, section = read_remarks(text), section_of(text)
    there = sorted(read_constants(text, where).values(), key=lambda each: each.start)
    found = [_found(each, known[each.name], text, remarks) for each in there if each.name in known]
    real = {each.name for each in there if _is_real(text, each)}
    has_section = len(section) <= text.count("\n")
    for each, line in zip(found, (each.line for each in there if each.name in known), strict=True):
        aside = OUTSIDE if line not in section else ELSEWHERE if workload.problems([each.name]) else ""
        certain = each.name.isupper() or has_section
        yield replace(each, aside=aside, certain=certain, real=each.name in real)
    yield from unwritable_constants(text, where, known)


def _is_real(text: str, constant: Constant) -> bool:
    """Return whether a constant is declared as a fraction: `decay: float = 0`."""
    line = text.encode()[: constant.start].rpartition(b"\n")[2].decode()
    return bool(re.search(r":\s*(?:float|Optional\[float\]|float\s*\|\s*None)\s*=\s*$", line))


def section_of(text: str) -> range:
    """Return the lines from a heading such as `# Hyperparameters` to the next function or class; all lines without one."""
    everything = range(1, text.count("\n") + 2)
    heading = SECTION.search(text)
    if heading is None:
        return everything
    first = text.count("\n", 0, heading.start()) + 1
    scopes = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    after = [each.lineno for each in parse(text, "").body if isinstance(each, scopes) and each.lineno > first]
    return range(first, min(after, default=everything.stop))


def read_remarks(text: str) -> Remarks:
    """Return the comments of a script, as far as it can be tokenized."""
    remarks: tuple[dict[int, str], dict[int, str]] = {}, {}
    heading = ""
    with suppress(tokenize.TokenError, SyntaxError):
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            line, comment = token.start[0], token.string.lstrip("#").strip()
            if token.type == tokenize.COMMENT and token.line.lstrip().startswith("#"):
                heading = comment if any(map(str.isalnum, comment)) and len(comment) <= LONGEST_HEADING else ""
            elif token.type == tokenize.COMMENT:
                remarks[0][line] = comment
            elif token.type == tokenize.NL and not token.line.strip():
                heading = ""  # an empty line ends the group
            elif token.type == tokenize.NAME and heading:
                remarks[1].setdefault(line, heading)
    return Remarks(*remarks)


def workload_of(script: str) -> tuple[Workload, str]:
    """Return the workload that a script belongs to, and what must be done before a study can run it.

    A file without a workload becomes one of its own. Raises WorkloadError.
    """
    if not script.endswith(".py"):
        return load_workload(script), ""
    path = Path(script).expanduser()
    if not path.is_file():
        raise WorkloadError(
            f"{script}: there is no such file. Check the path, or give a workload: gpt, or a folder with a slash."
        )
    lacks = f"say in {path.parent}/workload.toml how {path.name} is run (README: Your script)"
    try:
        workload = load_workload(f"{path.parent}/")
        if workload.script == path.name:
            return workload, ""
    except WorkloadError as error:
        if (path.parent / "workload.toml").exists():
            first, *others = error.problems
            lacks = f"correct {first}" + (f" And {len(others)} more." if others else "")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise WorkloadError(f"{script}: cannot be read as text: {error}. Check the path.") from None
    name, files = path.name, {path.name: text}
    alone = Workload(
        name=path.stem, folder=path.parent, script=name, files=files, command=(), prepare_command=(), metric=Metric()
    )
    check_syntax(text, script)
    read_constants(text, script)
    return alone, lacks


def _head(workload: Workload, made: str, checked: str) -> list[str]:
    return [
        f"What may vary in {workload.script}: a first draft by `{made}`.",
        "A line for each constant, with the values that it may take; what it is now is among them. They are guesses by name and",
        "value: take out what does not matter to you, widen what does. Numbers rise, since samplers use their order.",
        *([f"To see what is wrong with it, if anything: {checked}"] if checked else []),
    ]


def _lacking(workload: Workload, constants: Mapping[str, Value]) -> list[str]:
    """Return the constants that the script does not have: their profile is for another script."""
    known = workload.constants() if constants else {}
    return [name for name in constants if name not in known]


def _found(constant: Constant, value: Value, text: str, remarks: Remarks) -> ScriptConstant:
    last = text.encode()[: constant.end].count(b"\n") + 1  # of the lines of its value
    comment = remarks.beside.get(last) or remarks.beside.get(constant.line, "")
    return ScriptConstant(constant.name, value, comment, remarks.above.get(constant.line, ""))


def _flag(workload: Workload) -> str:
    """Return the workload as a command names it."""
    if workload.folder.parent == OURS:
        return workload.name
    folder = str(workload.folder)
    return folder if "/" in folder else f"./{folder}".removesuffix(".")
