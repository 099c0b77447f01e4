"""Finds the training script of a folder whose workload.toml names none: train.py, else the only file that could be it.

The files' text alone tells; nothing is run.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from pathlib import PurePosixPath

from optimize.errors import RenderError
from optimize.script.bindings import parse
from optimize.script.file_imports import files_used
from optimize.script.seeding import SEEDED

USUAL = "train.py"
INIT = "optimize init"  # what writes a first search space for a script; messages name it
MANY = 12  # nobody could say which of so many it is, and each would be looked for in all files
_OTHER = (SEEDED, "prepare.py", "setup.py", "conftest.py", "noxfile.py", "__*__.py", "test_*.py", "*_test.py")
_DEFINES = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign)


def pick_script(files: Mapping[str, str], command: Sequence[str] = ()) -> str:
    """Return the script that is trained; train.py too where there is none, or several could be it."""
    if USUAL in files:
        return USUAL
    found = could_be_trained(files)
    named = [file for file in found if file in command]
    return next(iter(named if len(named) == 1 else found if len(found) == 1 else ()), USUAL)


def could_be_trained(files: Mapping[str, str]) -> list[str]:
    """Return the Python files that do something when they are run, and that no other file imports or names."""
    runs = [file for file in files if file.endswith(".py") and _does_something(files[file], file)]
    if len(runs) > MANY:
        return runs
    using = [other for other in files if other != SEEDED]  # which is a start of the script itself
    return [file for file in runs if not any(_uses(files, other, file) for other in using if other != file)]


def is_never_trained(file: str) -> bool:
    """Tell whether a file's name says that it is no training script: `setup.py`, a test."""
    return any(fnmatch(PurePosixPath(file).name, pattern) for pattern in _OTHER)


def _does_something(text: str, file: str) -> bool:
    if is_never_trained(file):
        return False
    try:
        body = parse(text, file).body
    except RenderError:
        return False
    texts = (isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant) for each in body)
    return any(not isinstance(each, _DEFINES) and not is_text for each, is_text in zip(body, texts, strict=True))


def _uses(files: Mapping[str, str], other: str, file: str) -> bool:
    try:
        return file in files_used({other: files[other], file: ""}, [other])
    except RenderError:
        return False
