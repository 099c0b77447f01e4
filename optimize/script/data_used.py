"""Which files and folders of data a script opens, as far as the names in its text show, and how a trial can find them."""

from __future__ import annotations

import ast
import posixpath
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path, PurePosixPath

from optimize.script.files_read import FilesRead, Reader, read_by_name
from optimize.script.files_written import ever_written, normal, written_texts
from optimize.script.imported_names import imported_names
from optimize.script.source_names import read_names
from optimize.text import listed

MAX_TEXT_BYTES = 2_000_000  # of a file that travels as text
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
    """What a trial has to find: `files` travel as text, `links` are read where they lie."""

    files: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    outside: tuple[str, ...] = ()  # data that lies where no trial finds it


def local_files(folder: Path, script: str) -> FilesRead:
    """Return the Python files of a script's folder that its settings can stand in, the script first.

    Raises OSError or UnicodeDecodeError if the script cannot be read, RenderError if it is not Python.
    """
    imported_names((folder / script).read_text(encoding="utf-8-sig"), str(folder / script))
    return read_by_name([script], reader_of(folder))


def reader_of(folder: Path) -> Reader:
    """Return what reads the Python files of a folder."""

    @cache
    def read(file: str) -> str | None:
        path = folder / file
        try:
            if ".." in PurePosixPath(file).parts or not path.is_file() or path.stat().st_size > MAX_TEXT_BYTES:
                return None
            return path.read_text(encoding="utf-8-sig")
        except (OSError, ValueError):
            return None

    return read


def data_used(
    files: Mapping[str, str],
    folder: Path,
    words: Sequence[str] = (),
    known: Collection[str] = (),
    bases: Sequence[str] = ("",),
) -> DataUsed:
    """Return the data that these Python files, or words of the command, name. `known` travels anyway.

    `bases` are the folders, within `folder`, that a name may begin in.
    """
    texts = dict.fromkeys(
        [*words, *(text for file, source in files.items() for text in read_names(source, file).texts)]
    )
    written = written_texts(files, words)
    found, links, notes, outside = list[str](), list[str](), list[str](), list[str]()
    for text in texts:
        text = text.partition("=")[2] if text.startswith("-") else text
        path = PurePosixPath(text)
        if not may_be_path(text) or path.parts[:1] == ("/",) or text.startswith("~") or not {*path.parts} - {".."}:
            continue
        if normal(text) in written:
            continue
        paths = [PurePosixPath(posixpath.normpath((PurePosixPath(base) / path).as_posix())) for base in bases]
        inside = [each for each in paths if ".." not in each.parts and str(each) != "."]
        path = next((each for each in inside if _exists(folder / each)), inside[0] if inside else paths[0])
        if ".." in path.parts and is_data(folder, path.as_posix()):
            outside.append(text)
        elif ".." in path.parts:
            notes += [
                f"{text}: lies outside of the folder, so a trial does not find it: write an absolute path"
            ] * _exists(folder / path)
        elif _is_file(folder / path):
            if not _takes_file(folder, path.as_posix(), found, links, known):
                continue
            if normal(text) in ever_written(files, words):
                links.remove(path.as_posix())
                notes.append(
                    f"{path}: the script reads and writes it, so trials get no link to yours: start it where the file is not there"
                )
        elif _is_data_folder(folder, path):
            inner = [each for each in known if _inside(each, path.as_posix())]
            if inner:
                notes.append(
                    f"{path}: trials get {_said(inner)} of it, and no other file: put data into a folder of its own"
                )
            else:
                links.append(path.as_posix())
    notes += _not_yet_there(files, folder, bases)
    links = [each for each in dict.fromkeys(links) if not any(_inside(each, other) for other in links)]
    kept = [each for each in dict.fromkeys(found) if not any(_inside(each, other) for other in links)]
    return DataUsed(tuple(sorted(kept)), tuple(links), tuple(dict.fromkeys(notes)), tuple(outside))


def _not_yet_there(files: Mapping[str, str], folder: Path, bases: Sequence[str]) -> list[str]:
    """Return a note for each missing folder that a script downloads data into: `MNIST("data", download=True)`."""
    found: list[str] = []
    for file, source in files.items():
        for call, _ in read_names(source, file).calls() if "download" in source else ():
            words = {each.arg: each.value for each in call.keywords}
            first = words.get("root", call.args[0] if call.args else None)
            match words.get("download"), first:
                case ast.Constant(value=True), ast.Constant(value=str(text)):
                    if not any(_exists(folder / base / text) for base in bases):
                        found.append(
                            f"{text}: is not there yet, so each trial would download its own: start the script once, "
                            "remove workload.toml and space.toml, and give this command again"
                        )
    return found


def is_data(folder: Path, text: str) -> bool:
    """Return whether a text names a file of data, or a folder with such files, as seen from a folder."""
    path = PurePosixPath(text)
    if not may_be_path(text) or path.is_absolute() or text.startswith("~") or not {*path.parts} - {".."}:
        return False
    if _is_file(folder / path):
        return path.suffix not in (*_CODE, ".toml", ".env", "")
    return path.parts[-1] != ".." and _is_data_folder(folder.resolve(), path)


def _said(files: Sequence[str]) -> str:
    """Return which files of a folder travel, in words: with one of its Python files all of them do."""
    others = [each for each in files if not each.endswith(".py")]
    python = ["the Python files"] if len(others) < len(files) else []
    return " and ".join([*python, *([listed(others)] if others else [])])


def _takes_file(folder: Path, path: str, found: list[str], links: list[str], known: Collection[str]) -> bool:
    """Take a file of data with the others; return whether it is linked itself."""
    if path in known or path.endswith((".py", ".toml", ".env")):
        return False
    parent = PurePosixPath(path).parent.as_posix()
    if _is_text(folder / path):
        found.append(path)
    else:
        links.append(path if parent == "." else parent)
    return path in links


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


def may_be_path(text: str) -> bool:
    """Return whether a text can be the path of a file or a folder."""
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
