"""Which files and folders a script writes itself: they are none of its data. The text alone tells; nothing is run."""

from __future__ import annotations

import ast
import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import PurePosixPath

from optimize.script.bindings import Scopes, with_scopes
from optimize.script.parsers import flags_by_file
from optimize.script.process_parameters import as_given
from optimize.script.settings_in_modules import last_of
from optimize.script.source_names import Function, SourceNames, parameters, read_names
from optimize.script.trees import assigned_values
from search_spaces import words_of

MOST_STEPS = 6  # from an expression to the texts that it is made of
_OPENS = ("open", "File", "ZipFile", "memmap")
_MODE = re.compile(r"[wax][bt+]*(?::\w*)?")
_CHANGES = re.compile(r"[wax][bt+]*(?::\w*)?|r[bt]*\+[bt]*")
_SQL = re.compile(
    r"\b(?:insert\s+(?:or\s+\w+\s+)?into|create\s+table|replace\s+into|delete\s+from|to_sql)\b", re.IGNORECASE
)
_SAVES = re.compile(
    r"save\w*|im(?:write|save)|dump|write_(?!text|bytes)\w+|to_(?:csv|json|parquet|pickle|feather|excel|hdf|html|markdown|latex|stata)"
    r"|FileHandler|RotatingFileHandler|SummaryWriter|CSVLogger|TensorBoard|TensorBoardLogger|ModelCheckpoint"
)
_OF_OWNER = ("write_text", "write_bytes", "touch")  # of a path
_MOVES = ("copy", "copy2", "copyfile", "move", "rename", "replace", "copytree")
_READS = re.compile(
    r"open|load|read|from_|restore|parse|import|fetch|^get|dataset|glob|listdir|iterdir|walk", re.IGNORECASE
)
_IS_THERE = ("exists", "isfile", "is_file", "isdir", "is_dir")
_NEITHER = (*_IS_THERE, "mkdir", "makedirs", "ensure_dir", "remove", "unlink", "rmtree", "print")  # reads nor writes
_AS_IT_IS = ("resolve", "absolute", "expanduser", "abspath", "realpath", "as_posix", "fspath", "normpath")
_PREPARES = frozenset(("prepare", "preprocess", "download", "tokenize", "cache", "convert"))


def written_texts(files: Mapping[str, str], words: Sequence[str] = ()) -> frozenset[str]:
    """Return the paths, as the texts of these Python files have them, that the script itself writes; the first file is the script.

    No such path is one that is read before, or written only where it is not there yet: that is data. `words`: the command.
    """
    return _written(tuple(files.items()), tuple(words))


@lru_cache(maxsize=8)  # asked for several times while a script is read
def _written(files: tuple[tuple[str, str], ...], words: tuple[str, ...]) -> frozenset[str]:
    found: set[str] = set()
    for number, (file, text) in enumerate(files):
        paths = _Paths(read_names(text, file), dict(files), words)
        found |= {each for each in paths.written() if not (number and paths.is_read(each))}
    return frozenset(found)


def ever_written(files: Mapping[str, str], words: Sequence[str] = ()) -> frozenset[str]:
    """Return the paths, as the texts of these Python files have them, that anything in them writes, read before or not."""
    found: set[str] = set()
    for file, text in files.items():
        paths = _Paths(read_names(text, file), dict(files), words)
        changes = [*((node, scopes) for _, node, scopes in paths.writes), *paths.changes()]
        found.update(text for node, scopes in changes for text in paths.texts(node, scopes))
    return frozenset(found)


def normal(text: str) -> str:
    """Return a path in its shortest form: `./a//b` -> `a/b`."""
    return posixpath.normpath(text) if text else ""


@dataclass(frozen=True)
class _Paths:
    """The paths of a file of Python."""

    names: SourceNames
    files: Mapping[str, str]
    words: Sequence[str]

    @cached_property
    def nodes(self) -> list[tuple[ast.AST, Scopes]]:
        return list(with_scopes(self.names.tree))

    @cached_property
    def calls(self) -> list[tuple[ast.Call, Scopes]]:
        found = [(node, scopes) for node, scopes in self.nodes if isinstance(node, ast.Call)]
        return sorted(found, key=lambda each: (each[0].lineno, each[0].col_offset))

    @cached_property
    def calls_of(self) -> dict[str, list[tuple[ast.Call, Scopes]]]:
        """The calls of each name."""
        found: dict[str, list[tuple[ast.Call, Scopes]]] = {}
        for call, scopes in self.calls:
            found.setdefault(last_of(call.func), []).append((call, scopes))
        return found

    @cached_property
    def writes(self) -> list[tuple[ast.Call, ast.expr, Scopes]]:
        return [(call, node, scopes) for call, scopes in self.calls for node in _targets(call, self.names)]

    @cached_property
    def given(self) -> dict[str, list[tuple[ast.expr, Scopes]]]:
        """What each variable is given, by line."""
        found: dict[str, list[tuple[ast.expr, Scopes]]] = {}
        for node, scopes in self.nodes:
            for name, value in assigned_values(node):
                found.setdefault(name, []).append((value, scopes))
        return {name: sorted(values, key=lambda each: each[0].lineno) for name, values in found.items()}

    def written(self) -> set[str]:
        """Return what is written: files, and folders that nothing else is done with."""
        found: set[str] = set()
        folders: set[str] = set()
        for call, node, scopes in self.writes:
            for text in self.texts(node, scopes):
                if not PurePosixPath(text).suffix:
                    folders.add(text)
                elif not self._is_data(text, call, scopes):
                    found.add(text)
            folders |= set(self._folders(node, scopes, set()))
        return found | {each for each in folders if self._only_written(each, found)}

    def changes(self) -> Iterator[tuple[ast.expr, Scopes]]:
        """Yield what may name a file that is changed where it lies: opened by `r+` or a mode of a variable, or as a database."""
        filled = any(_SQL.search(text) for text in self.files.values())
        for call, scopes in self.calls:
            inputs, last = [(node, scopes) for node in _inputs(call)], last_of(call.func)
            may = last in (*_OPENS, "load", "open_memmap") or (filled and last == "connect")
            if may and (
                last == "connect" or any(_CHANGES.fullmatch(each) for node in inputs for each in self.texts(*node))
            ):
                yield from inputs

    def is_read(self, text: str) -> bool:
        """Return whether anything reads this path."""
        return text in self.reads

    @cached_property
    def reads(self) -> dict[str, list[tuple[ast.Call, Scopes]]]:
        """The calls that read each path."""
        found: dict[str, list[tuple[ast.Call, Scopes]]] = {}
        for call, scopes in self.calls:
            if _READS.search(last_of(call.func)):
                targets = {id(node) for node in _targets(call, self.names)}
                given = [node for node in _inputs(call) if id(node) not in targets]
                for text in {text for node in given for text in self.texts(node, scopes)}:
                    found.setdefault(text, []).append((call, scopes))
        return found

    @cached_property
    def asks(self) -> dict[str, list[tuple[ast.If, Scopes]]]:
        """The conditions that ask whether each path is there."""
        found: dict[str, list[tuple[ast.If, Scopes]]] = {}
        for node, scopes in ((each, around) for each, around in self.nodes if isinstance(each, ast.If)):
            tests = (each for each in ast.walk(node.test) if isinstance(each, ast.Call))
            asked = (given for call in tests if last_of(call.func) in _IS_THERE for given in _inputs(call))
            for text in {text for given in asked for text in self.texts(given, scopes)}:
                found.setdefault(text, []).append((node, scopes))
        return found

    @cached_property
    def tries(self) -> list[ast.Try]:
        return [node for node, _ in self.nodes if isinstance(node, ast.Try)]

    @cached_property
    def certain(self) -> set[int]:
        """The calls under no condition."""
        return {id(call) for call, conditional in self.names.calls() if not conditional}

    def _is_data(self, text: str, write: ast.Call, scopes: Scopes) -> bool:
        """Return whether a file that is written has to be there before: it is read first, or kept for the next time."""
        reads = self.reads.get(text, [])
        around = self.calls_of.get(scopes[-1].name, ()) if scopes and isinstance(scopes[-1], Function) else ()
        first = {inside: each.lineno for each, inside in reversed([*around, (write, scopes)])}
        if any(call.lineno < first.get(inside, 0) and id(call) in self.certain for call, inside in reads):
            return True
        if reads and any(words_of(getattr(each, "name", "")) & _PREPARES for each in scopes):
            return True
        kept = any(
            _holds(node.handlers, write) for node in self.tries if any(_holds(node.body, each) for each, _ in reads)
        )
        return kept or any(self._keeps(node, inside, write, scopes) for node, inside in self.asks.get(text, ()))

    def _keeps(self, node: ast.If, inside: Scopes, write: ast.Call, scopes: Scopes) -> bool:
        """Return whether a condition lets the file be written only where it is not there: `if not exists(path):`."""
        if _holds([node], write):
            return True
        returns = any(isinstance(each, ast.Return) for part in node.body for each in ast.walk(part))
        return returns and inside == scopes and node.lineno < write.lineno

    @cached_property
    def uses(self) -> dict[str, list[int]]:
        """Where each path is used, but for what writes it, makes its folder, or asks for it."""
        aside: list[ast.expr] = [node for _, node, _ in self.writes]
        names = {node.id for node in aside if isinstance(node, ast.Name)}
        aside += [call for call, _ in self.calls if last_of(call.func) in (*_NEITHER, "add_argument", "option")]
        aside += [value for name in names for value, _ in self.given.get(name, ()) if _parts(value)]
        inside = {id(part) for each in aside for part in ast.walk(each)}
        found: dict[str, list[int]] = {}
        for node, scopes in self.nodes:
            if isinstance(node, ast.Constant | ast.Name | ast.Attribute) and id(node) not in inside and _is_used(node):
                for text in self.texts(node, scopes):
                    found.setdefault(text, []).append(id(node))
        return found

    @cached_property
    def named(self) -> dict[int, list[frozenset[str]]]:
        """The paths of the values that variables are given, by each part of such a value."""
        found: dict[int, list[frozenset[str]]] = {}
        for value, scopes in (each for values in self.given.values() for each in values):
            if texts := frozenset(self.texts(value, scopes)):
                for part in ast.walk(value):
                    found.setdefault(id(part), []).append(texts)
        return found

    def _only_written(self, text: str, written: set[str]) -> bool:
        """Return whether a folder stands nowhere but where something is written into it, made, or given a name."""
        own = {text} | written
        return all(any(texts <= own for texts in self.named.get(use, ())) for use in self.uses.get(text, ()))

    def texts(self, node: ast.AST | None, scopes: Scopes, steps: int = MOST_STEPS) -> list[str]:
        """Return the paths that an expression may be, in their shortest form; [] where its text does not say it."""
        if not steps:
            return []
        match node:
            case ast.Constant(value=str(text)):
                return [normal(text)]
            case ast.Name(id=name):
                return self._of_name(node, name, scopes, steps - 1)
            case ast.Attribute(attr=name):
                return self._of_attribute(name, steps - 1)
            case ast.Call(func=ast.Attribute(value=base, attr=method), args=[]) if method in _AS_IT_IS:
                return self.texts(base, scopes, steps - 1)
        parts = _parts(node)
        known = [found[-1] for each in parts if (found := self.texts(each, scopes, steps - 1))]
        if not parts or len(known) < len(parts):
            return []
        as_text = isinstance(node, ast.JoinedStr) or (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add))
        return [normal("".join(known) if as_text else posixpath.join(*known))]

    def _of_name(self, node: ast.Name, name: str, scopes: Scopes, steps: int) -> list[str]:
        function = next((each for each in reversed(scopes) if isinstance(each, Function)), None)
        given = self.given.get(name, [])
        before = [each for each in given if each[0].lineno < node.lineno][-1:] or given[:1]
        if function is None or before:
            return self.texts(*before[0], steps) if before else []
        found: list[str] = []
        for number, each in enumerate(parameters(function)):
            if each.name == name:
                calls = self.calls_of.get(function.name, ())
                values = [(_argument(call, number, name), around) for call, around in calls]
                found = [
                    text
                    for value, around in [(each.default, scopes), *values]
                    for text in self.texts(value, around, steps)
                ]
        return found

    def _of_attribute(self, name: str, steps: int) -> list[str]:
        """Return what a flag or a field of this name is."""
        if name in self.flags:
            return [self.flags[name]]
        fields = (each for owner in self.names.classes for each in self.names.fields(owner) if each.name == name)
        return [text for each in fields for text in self.texts(each.default, (), steps)]

    @cached_property
    def flags(self) -> dict[str, str]:
        """The texts that flags are, by the names under which the script finds them: as given, else by default."""
        flags = (as_given(flag, self.words) for _, each in flags_by_file(self.files, self.words) for flag in each)
        texts = {flag.dest: flag.default for flag in flags}
        return {dest: normal(text) for dest, text in texts.items() if isinstance(text, str)}

    def _folders(self, node: ast.AST, scopes: Scopes, seen: set[str]) -> Iterator[str]:
        """Yield the folders that a path is put together from, the last name left out; each of the names once."""
        for part in _parts(node)[:-1]:
            yield from (text for text in self.texts(part, scopes) if text != ".")
            yield from self._folders(part, scopes, seen)
        if isinstance(node, ast.Name) and node.id not in seen:
            seen.add(node.id)
            yield from (text for each in self.given.get(node.id, ()) for text in self._folders(*each, seen))


def _targets(call: ast.Call, names: SourceNames) -> list[ast.expr]:
    """Return the expressions among what a call is given that may name a file which it writes."""
    last, owner = last_of(call.func), call.func.value if isinstance(call.func, ast.Attribute) else None
    words = {each.arg: each.value for each in call.keywords}
    if last in _OPENS:
        if _is_mode(words.get("mode")) or any(map(_is_mode, call.args[1:])):
            return [*call.args[:1], *([owner] if owner and not call.args else [])]
        return [owner] if owner and call.args and _is_mode(call.args[0]) else []
    if last in _OF_OWNER and owner:
        return [owner]
    if last in _MOVES:
        return call.args[-1:] if names.qualified(call.func).startswith(("shutil.", "os.")) else []
    if last == "basicConfig":
        return [words["filename"]] if "filename" in words else []
    own = isinstance(call.func, ast.Name) and last in names.functions
    return [*call.args, *words.values()] if _SAVES.fullmatch(last) and not own else []


def _is_mode(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and bool(_MODE.fullmatch(node.value))


def _inputs(call: ast.Call) -> list[ast.expr]:
    owner = [call.func.value] if isinstance(call.func, ast.Attribute) else []
    return [*owner, *call.args, *(each.value for each in call.keywords)]


def _parts(node: ast.AST | None) -> list[ast.expr]:
    """Return what a path is put together from, [] of any other expression."""
    match node:
        case ast.BinOp(left=left, op=ast.Div() | ast.Add(), right=right):
            return [left, right]
        case ast.Call(args=parts) if last_of(node.func) in ("join", "joinpath", "Path", "PurePath", "str", *_AS_IT_IS):
            owner = [node.func.value] if isinstance(node.func, ast.Attribute) and node.func.attr == "joinpath" else []
            return [*owner, *parts]
        case ast.JoinedStr(values=parts):
            return [each.value if isinstance(each, ast.FormattedValue) else each for each in parts]
    return []


def _argument(call: ast.Call, place: int, name: str) -> ast.expr | None:
    given = next((each.value for each in call.keywords if each.arg == name), None)
    return given or (call.args[place] if place < len(call.args) else None)


def _holds(statements: Sequence[ast.stmt | ast.ExceptHandler], node: ast.expr) -> bool:
    """Return whether an expression stands in these statements, by its place: to walk them for each takes too long."""
    if not statements:
        return False
    first, last = statements[0], statements[-1]
    begins = (first.lineno, first.col_offset) <= (node.lineno, node.col_offset)
    return begins and (node.end_lineno or 0, node.end_col_offset or 0) <= (
        last.end_lineno or 0,
        last.end_col_offset or 0,
    )


def _is_used(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) or isinstance(getattr(node, "ctx", None), ast.Load)
