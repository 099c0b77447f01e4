"""Which variables of the environment a script reads, with which defaults: in its text, and in a file `.env` that it loads.

What `.env` says counts before the script's own default, and a variable that a trial is given counts before both. It knows
os.environ, os.getenv, decouple, environs and pydantic-settings. Nothing is executed.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from optimize.errors import RenderError
from optimize.script.process_parameters import value_of
from optimize.script.source_names import SourceNames, read_names
from optimize.script.trees import walk
from optimize.trial import Value

DOTENV = ".env"
LOADS_DOTENV = re.compile(r"\b(?:dotenv|decouple|environs|env_file|read_env)\b")
_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASS|CREDENTIAL|PRIVATE|AUTH|DSN|URL", re.IGNORECASE)
_LINE = re.compile(
    r"""^\s*(?:export\s+)?([A-Za-z_]\w*)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^#\n]*?))\s*(?:\s#.*)?$""", re.MULTILINE
)
_READERS = (
    "os.environ.get",
    "os.getenv",
    "os.environ.setdefault",
    "os.environ.pop",
    "decouple.config",
    "tinygrad.helpers.getenv",
)
_CONVERTERS = ("float", "int", "str", "bool")


@dataclass(frozen=True, slots=True)
class VariableRead:
    """A variable as a script reads it: its default, None without one, and the type that it is converted to, "" unknown."""

    name: str
    default: Value = None
    type: str = ""
    given: bool = False  # a setting of pydantic's that the script itself gives another value


def variables_with_defaults(names: SourceNames) -> list[VariableRead]:
    """Return the reads of variables in a file, in its order."""
    converted = {
        id(call.args[0]): ast.unparse(call.func)
        for call, _ in names.calls()
        if len(call.args) == 1 and ast.unparse(call.func) in _CONVERTERS
    }
    readers = {
        node.targets[0].id
        for node in walk(names.tree)
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and _is_reader(node.value, names)
    }
    found: list[VariableRead] = []
    for node in walk(names.tree):
        match node:
            case ast.Subscript(value=base, slice=ast.Constant(value=str(key)), ctx=ast.Load()):
                if names.qualified(base) == "os.environ":
                    found.append(VariableRead(key, None, converted.get(id(node), "")))
            case ast.Call(func=func, args=[ast.Constant(value=str(key)), *rest], keywords=words):
                owner, _, method = names.qualified(func).rpartition(".")
                if names.qualified(func) in _READERS or owner in readers or names.qualified(func) in readers:
                    said = {each.arg: each.value for each in words}
                    cast = said.get("cast")
                    kind = converted.get(id(node)) or (ast.unparse(cast) if cast is not None else method)
                    node_of = rest[0] if rest else said.get("default")
                    found.append(VariableRead(key, _text_value(node_of), kind if kind in _CONVERTERS else ""))
    return [*found, *_of_pydantic(names)]


def _is_reader(node: ast.expr, names: SourceNames) -> bool:
    """Return whether an expression makes an object that reads variables: `Env()` of environs, decouple's `Config(...)`."""
    return isinstance(node, ast.Call) and names.qualified(node.func) in (
        "environs.Env",
        "environs.env",
        "decouple.Config",
    )


def _of_pydantic(names: SourceNames) -> Iterator[VariableRead]:
    """The fields of classes derived from BaseSettings, under the names of their variables."""
    made = {word.arg for call, _ in names.calls() for word in call.keywords if ast.unparse(call.func) in names.classes}
    for name, node in names.classes.items():
        if is_pydantic_settings(node, names):
            prefix = next((_prefix(each) for each in node.body if _prefix(each)), "")
            for field in names.fields(name):
                if field.name != "model_config" and field.annotation is not None:
                    kind = ast.unparse(field.annotation)
                    yield VariableRead(
                        f"{prefix}{field.name}".upper(),
                        _text_value(field.default),
                        kind if kind in _CONVERTERS else "",
                        field.name in made,
                    )


def is_pydantic_settings(node: ast.ClassDef, names: SourceNames) -> bool:
    """Return whether the fields of a class are read from the environment."""
    return any(names.qualified(base).rpartition(".")[2] == "BaseSettings" for base in node.bases)


def _prefix(statement: ast.stmt) -> str:
    for node in ast.walk(statement):
        match node:
            case ast.keyword(arg="env_prefix", value=ast.Constant(value=str(text))):
                return text
            case ast.Assign(targets=[ast.Name(id="env_prefix")], value=ast.Constant(value=str(text))):
                return text
    return ""


def values_in_dotenv(files: Mapping[str, str]) -> dict[str, Value]:
    """Return what the files `.env` among these give variables."""
    found: dict[str, Value] = {}
    for file, text in files.items():
        for line in _LINE.finditer(text) if PurePosixPath(file).name.endswith(DOTENV) else ():
            value = next((each for each in line.groups()[1:] if each is not None), "")
            found |= {line[1]: value_of(value)} if "$" not in value else {}
    return found


def has_secrets(text: str) -> bool:
    """Return whether a file `.env` may hold what is not to be copied into the files of a study."""
    return any(_SECRET.search(each[1]) or len(each[0]) > 200 for each in _LINE.finditer(text))


def env_default(name: str, files: Mapping[str, str]) -> Value:
    """Return what the scripts take where a variable is not set. Raises RenderError where their text does not say."""
    told = values_in_dotenv(files)
    if name in told:
        return told[name]
    found: list[Value] = []
    is_read = False
    for file, text in files.items():
        if file.endswith(".py"):
            for each in variables_with_defaults(read_names(text, file)) if _may_read(text, name) else ():
                is_read = is_read or each.name == name
                found += [each.default] if each.name == name and each.default is not None else []
        else:
            found += [value_of(each) for each in re.findall(rf"\$\{{{name}:?-([^}}]*)\}}", text)]
    if len({repr(each) for each in found}) == 1:
        return found[0]
    why = (
        "the files have several defaults for it"
        if found
        else "it has no default in the files"
        if is_read
        else "no file reads it"
    )
    raise RenderError(f"{name}: {why}. Correct the name, or write its default: baseline = ...")


def _may_read(text: str, name: str) -> bool:
    """Return whether a file may read a variable; that of a field of pydantic's is nowhere written out."""
    return name in text or "BaseSettings" in text


def env_writes(name: str, files: Mapping[str, str]) -> Iterator[str]:
    """Yield `file:line` of each statement that sets the variable itself, and so replaces a trial's value."""
    told = name in values_in_dotenv(files)
    for file, text in files.items():
        may_write = file.endswith(".py") and (name in text or (told and LOADS_DOTENV.search(text)))
        for node in walk(read_names(text, file).tree) if may_write else ():
            match node:
                case ast.Subscript(value=base, slice=ast.Constant(value=key), ctx=ast.Store() | ast.Del()):
                    if key == name and ast.unparse(base) in ("os.environ", "environ"):
                        yield f"{file}:{node.lineno}"
                case ast.Call(func=func, keywords=words) if told and ast.unparse(func).endswith(
                    ("load_dotenv", "read_env")
                ):
                    if any(each.arg == "override" and ast.unparse(each.value) != "False" for each in words):
                        yield f"{file}:{node.lineno}"


def _text_value(node: ast.expr | None) -> Value:
    if isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float | str):
        return value_of(node.value) if isinstance(node.value, str) else node.value
    return None
