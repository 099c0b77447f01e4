"""Which files and folders of data a script opens, as far as the names in its text show, and how a trial can find them."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath

from optimize.script.bindings import imported_modules
from optimize.script.source_names import read_names

MAX_TEXT_BYTES = 2_000_000  # of a file that travels as text
MOST_FILES = 200
# a folder that a script writes into is none of its data
_OUTPUT = (
    "out", "output", "outputs", "run", "runs", "log", "logs", "checkpoint", "checkpoints", "ckpt", "ckpts", "result", "results",
    "wandb", "mlruns", "lightning_logs", "save", "saved", "tmp", "temp", "figures", "plots", "images", "videos", "samples",
)  # fmt: skip
_CODE = (".py", ".pyc", ".yaml", ".yml", ".md", ".sh")
MOST_LOOKED_AT = 500  # of the files of a folder
_NO_DATA = (".git", ".venv", "venv", "__pycache__", "node_modules", "tests", "docs")


@dataclass(frozen=True, slots=True)
class DataUsed:
    """What a trial has to find: `files` travel as text, `links` are folders that it reads where they lie."""

    files: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def local_files(folder: Path, script: str) -> dict[str, str]:
    """Return the script and the Python files of its folder that it imports, directly or through others, with their texts.

    Raises OSError or UnicodeDecodeError if the script cannot be read, RenderError if it is not Python.
    """
    found = {script: (folder / script).read_text(encoding="utf-8-sig")}
    waiting = [script]
    while waiting and len(found) < MOST_FILES:
        file = waiting.pop()
        for module in sorted(imported_modules(found[file], str(folder / file))):
            for path in _paths_of(module, file):
                if path not in found and (text := _python(folder / path)) is not None:
                    found[path] = text
                    waiting.append(path)
    return found


def _paths_of(module: str, importer: str) -> Iterator[str]:
    """Yield where a module may lie, relative to the folder: each package on the way counts as well."""
    level = len(module) - len(module.lstrip("."))
    parts = [part for part in module.lstrip(".").split(".") if part]
    bases = [PurePosixPath(importer).parent]
    for _ in range(level - 1):
        bases = [bases[0].parent]
    if not level and bases[0] != PurePosixPath("."):
        bases.append(PurePosixPath("."))
    for base in bases:
        for length in range(1, len(parts) + 1):
            path = base.joinpath(*parts[:length])
            yield from (f"{path}.py", f"{path}/__init__.py")


def _python(path: Path) -> str | None:
    try:
        if not path.is_file() or path.stat().st_size > MAX_TEXT_BYTES:
            return None
        text = path.read_text(encoding="utf-8-sig")
        ast.parse(text)
    except (OSError, ValueError, SyntaxError, RecursionError):
        return None
    return text


def data_used(
    files: Mapping[str, str], folder: Path, words: Sequence[str] = (), known: Collection[str] = ()
) -> DataUsed:
    """Return the data that these Python files, or words of the command, name. `known` travels anyway."""
    texts = dict.fromkeys(
        [*words, *(text for file, source in files.items() for text in read_names(source, file).texts)]
    )
    found, links, notes = list[str](), list[str](), list[str]()
    for text in texts:
        text = text.partition("=")[2] if text.startswith("-") else text
        path = PurePosixPath(text)
        if not _may_be_path(text) or path.parts[:1] == ("/",) or text.startswith("~"):
            continue
        if ".." in path.parts:
            notes += [
                f"{text}: lies outside of the folder, so a trial does not find it: write an absolute path"
            ] * _exists(folder / text)
        elif _is_file(folder / text):
            _take_file(folder, path.as_posix(), found, links, notes, known)
        elif _is_data_folder(folder, path):
            inside = [each for each in known if _inside(each, path.as_posix())]
            if inside:
                notes.append(
                    f"{path}: trials get {inside[0]} of it, and no other file: put data into a folder of its own"
                )
            else:
                links.append(path.as_posix())
    links = [each for each in dict.fromkeys(links) if not any(_inside(each, other) for other in links)]
    kept = [each for each in dict.fromkeys(found) if not any(_inside(each, other) for other in links)]
    return DataUsed(tuple(sorted(kept)), tuple(links), tuple(dict.fromkeys(notes)))


def _take_file(
    folder: Path, path: str, found: list[str], links: list[str], notes: list[str], known: Collection[str]
) -> None:
    if path in known or path.endswith((".py", ".toml", ".env")):
        return
    parent = PurePosixPath(path).parent.as_posix()
    if _is_text(folder / path):
        found.append(path)
    elif parent != ".":
        links.append(parent)
    else:
        notes.append(
            f"{path}: is no text, or large, so a trial does not get it: put it into a folder, and name that by `links`"
        )


def _is_text(path: Path) -> bool:
    try:
        if path.stat().st_size > MAX_TEXT_BYTES:
            return False
        raw = path.read_bytes()
        raw.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return False
    return b"\0" not in raw


def _is_data_folder(folder: Path, path: PurePosixPath) -> bool:
    place = folder / path
    if not path.parts or str(path) == "." or path.parts[0] in _NO_DATA or path.parts[-1].lower() in _OUTPUT:
        return False
    try:
        inside = islice(place.rglob("*"), MOST_LOOKED_AT) if place.is_dir() else iter(())
        return any(each.is_file() and each.suffix not in _CODE and not each.name.startswith(".") for each in inside)
    except OSError:
        return False


def _inside(path: str, other: str) -> bool:
    return path != other and PurePosixPath(other) in PurePosixPath(path).parents


def _may_be_path(text: str) -> bool:
    return bool(text) and len(text) < 200 and text.isprintable() and not any(mark in text for mark in "{}%*?:<>|\"'")


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False
