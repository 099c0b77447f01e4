"""Drafts a search space for any script: finds its constants and the comments on them, and has choices proposed.

It reads the script and runs nothing. `search_spaces` decides what the choices are; the file is for a person to edit.
"""

from __future__ import annotations

import ast
import io
import re
import shlex
import tokenize
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from optimize.errors import OptimizeError, WorkloadError
from optimize.script.bindings import check_syntax, parse
from optimize.script.constants import Constant, read_constants
from optimize.script.load_workload import OURS, load_workload
from optimize.script.workload import Workload
from optimize.trial import Metric, Value
from search_spaces import Draft, ScriptConstant, draft_space, parse_space
from storage import write_text

SECTION = re.compile(r"^#+\s*(hyper-?\s?parameters?|configuration|settings)\b", re.IGNORECASE | re.MULTILINE)
OUTSIDE = "outside the script's section of hyperparameters"
ELSEWHERE = "decided elsewhere than in the script"
LONGEST_HEADING = 60  # longer is prose


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
    size = parse_space(draft.text, space).size
    write_text(path, draft.text)
    waiting = f", {len(draft.waiting)} more are commented out" if draft.waiting else ""
    lacking = _lacking(workload, constants)
    ignored = [f"constants: the script's own, not the profile's: it has no {', '.join(lacking[:3])}"] if lacking else []
    return [
        *ignored,
        f"written: {path}: {len(draft.varied)} parameters, {size:,} configurations{waiting}",
        f"edit it, then {lacks or f'check it: `{checked}`'}",
    ]


def draft_for(workload: Workload, constants: Mapping[str, Value], head: Sequence[str]) -> Draft:
    """Return a draft for a workload's script. Raises WorkloadError if nothing in it could vary."""
    text, where = workload.files[workload.script], workload.folder / workload.script
    known = workload.constants() | ({} if _lacking(workload, constants) else dict(constants))
    remarks, section = read_remarks(text), section_of(text)
    there = sorted(read_constants(text, str(where)).values(), key=lambda each: each.start)
    found = [_found(each, known[each.name], text, remarks) for each in there if each.name in known]
    aside = {each.name: OUTSIDE for each in there if each.line not in section}
    aside |= {each.name: ELSEWHERE for each in found if workload.problems([each.name])}
    found = [replace(each, aside=aside.get(each.name, "")) for each in found]
    draft = draft_space(found, known, head)
    if not draft.varied:
        none = "none of its constants could vary" if found else "it has no constants"
        raise WorkloadError(f"{where}: {none}. Write what may vary as `NAME = value` at module level, once.")
    return draft


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
    return [name for name in constants if name not in workload.constants()]


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
