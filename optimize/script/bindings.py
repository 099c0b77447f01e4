"""Finds everything that binds a name of a module: a constant may have only one such place.

The compiled code tells, so no way of binding is overlooked: assignments, loops, imports, `except ... as`, `case`, `:=` and
`global` in a function or class, however deep. What the code does to its names through `globals()`, `exec` or `setattr` is seen
in the syntax tree, as far as it is written there. Nothing is executed.
"""

from __future__ import annotations

import ast
import dis
import re
import sys
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from types import CodeType
from typing import TypeAlias

from optimize.errors import RenderError
from optimize.script.newer_syntax import read_around
from optimize.script.trees import ERRORS, cached_by_text, parse_text, walk

_IN_MODULE, _BY_GLOBAL = ("STORE_NAME", "DELETE_NAME"), ("STORE_GLOBAL", "DELETE_GLOBAL")
_COOKIE = re.compile(r"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)")  # of a source file's encoding: PEP 263
# words without which a script does not do such things, so that most files are not searched for them
_NESTED = re.compile(r"\bglobal\b|:=")  # binds a name of the module from within a function
_ITSELF = re.compile(r"globals|locals|\bvars\b|__dict__|__main__|import_module|__import__")
_STAR = re.compile(r"\bimport[\s\\]*\*")
_ASCII = ("ascii", "us-ascii")
_UTF_8 = ("utf-8", "utf8", "utf-8-sig", *_ASCII)
_OF_SCOPE = ("vars", "locals")  # without an argument, the names of the scope in which they are called
DICT_WRITERS = (
    "update",
    "setdefault",
    "pop",
    "popitem",
    "clear",
    "__setitem__",
    "__delitem__",
    "__ior__",
)  # of a dictionary
_WITH_SCOPE = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
Scopes: TypeAlias = tuple[ast.AST, ...]


@dataclass(frozen=True, slots=True)
class Binding:
    """A place that gives a name of the module a value, or deletes it."""

    name: str
    line: int
    how: str = ""  # in words, where it is no statement of the module itself


def parse(text: str, where: str) -> ast.Module:
    """Return the syntax tree of a script, without the statements that only a newer Python than ours can read.

    Raises RenderError if it is not Python, or not declared as UTF-8.
    """
    for encoding in _declared(text):
        if encoding.lower().replace("_", "-") not in _UTF_8:
            raise RenderError(f"{where}: declares the encoding {encoding}. Save it as UTF-8 and remove that line.")
    try:
        return parse_text(text)
    except ERRORS as error:
        around, unread = read_around(text)
        if not unread:
            raise _invalid(error, where) from None
        try:
            return parse_text(around)
        except ERRORS:  # what was left out was more than one statement
            raise _invalid(error, where) from None


def check_syntax(text: str, where: str) -> None:
    """Raise RenderError if our Python, which is to run this script, cannot parse it."""
    try:
        parse_text(text)
    except ERRORS as error:
        raise _invalid(error, where) from None


def encoding_of(text: str) -> str:
    """Return the encoding in which Python reads this script: `ascii` where it declares that, else `utf-8`."""
    return "ascii" if any(each.lower().replace("_", "-") in _ASCII for each in _declared(text)) else "utf-8"


@cached_by_text  # the same scripts are read for every trial
def module_bindings(text: str, where: str) -> tuple[Binding, ...]:
    """Return every binding of a name of the module, by line. Raises RenderError if it is not Python."""
    tree = parse(text, where)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the script's style
            code = compile(tree, where, "exec", dont_inherit=True)
    except ERRORS as error:
        raise _invalid(error, where) from None
    by_name = _written_by_name(tree) if _may_name_itself(text) else ()
    stores = dict(_stores(code, _NESTED.search(text) is not None, is_module=True)).values()
    found = [*stores, *by_name, *_of_unread(text)]
    return tuple(sorted(found, key=lambda binding: binding.line))


@cached_by_text
def star_imports(text: str, where: str) -> tuple[tuple[int, str], ...]:
    """Return the line and the module of each `from module import *`, which may bind any name."""
    nodes = walk(parse(text, where)) if _STAR.search(text) else ()
    found = [n for n in nodes if isinstance(n, ast.ImportFrom)]
    return tuple((n.lineno, f"{'.' * n.level}{n.module or ''}") for n in found if n.names[0].name == "*")


@cached_by_text
def hidden_writes(text: str, where: str) -> tuple[tuple[int, str], ...]:
    """Return line and text of what may bind names that only running the script shows: `exec`, `globals()[name] = ...`."""
    if "exec" not in text and not _may_name_itself(text):
        return ()
    nodes = ((n, own) for n, own in _with_own_names(parse(text, where)) if isinstance(n, ast.expr | ast.stmt))
    return tuple(sorted({(n.lineno, _shown(n)) for n, own in nodes if own.writes_any_name(n)}))


@cached_by_text
def imported_modules(text: str, where: str) -> frozenset[str]:
    """Return the modules that a script may import, as it names them: `conf`, `conf.model`, `.conf`, `..conf`.

    `from conf import model` may import `conf.model` as well.
    """
    found: set[str] = set()
    for node in walk(parse(text, where)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            inner = base if base.endswith(".") else f"{base}."
            found |= {base, *(f"{inner}{alias.name}" for alias in node.names)}
    return frozenset(found)


@cached_by_text
def attribute_writes(text: str, where: str) -> tuple[tuple[str, str, int], ...]:
    """Return module, name and line of each `module.NAME = ...` and `setattr(module, "NAME", ...)` on an imported module."""
    tree = parse(text, where)
    modules = _module_names(tree)
    found = []
    for node in walk(tree):
        match node:
            case ast.Attribute(value=base, attr=name, ctx=ast.Store() | ast.Del()):
                found.append((modules.get(ast.unparse(base), ""), name, node.lineno))
            case ast.Call(func=ast.Name(id="setattr"), args=[base, ast.Constant(value=str(name)), _]):
                found.append((modules.get(ast.unparse(base), ""), name, node.lineno))
    return tuple(each for each in found if each[0])


def _module_names(tree: ast.Module) -> dict[str, str]:
    """Return what may be a module, by the expression that stands for it: `conf`, `conf.model`, an alias."""
    found: dict[str, str] = {}
    for node in walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.asname or alias.name: alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (f"{node.module}." if node.module else "")
            found |= {alias.asname or alias.name: f"{base}{alias.name}" for alias in node.names}
    return found


def _declared(text: str) -> list[str]:
    return [cookie[1] for line in text.splitlines()[:2] if (cookie := _COOKIE.match(line))]


def _invalid(error: BaseException, where: str) -> RenderError:
    reason = error.msg if isinstance(error, SyntaxError) else str(error)
    line = f":{error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
    ours = f"{sys.version_info.major}.{sys.version_info.minor}"
    return RenderError(
        f"{where}{line}: not valid Python {ours}: {reason}. Correct the script. If it is for a newer Python, name that one by "
        "`command` in workload.toml."
    )


def _of_unread(text: str) -> Iterator[Binding]:
    for statement in read_around(text)[1]:
        for name in statement.names:
            yield Binding(name, statement.line, "in a statement that only a newer Python can read")


def _may_name_itself(text: str) -> bool:
    """Return whether a script may have an expression for its own module, or for the dictionary of its names."""
    return not text.isascii() or bool(_ITSELF.search(text)) or ("modules" in text and "__name__" in text)


def _stores(code: CodeType, nested: bool, is_module: bool = False) -> Iterator[tuple[object, Binding]]:
    """Yield each place with what tells it from others: what stands under `finally` is compiled twice."""
    for step in dis.get_instructions(code):
        if step.opname in _BY_GLOBAL or (is_module and step.opname in _IN_MODULE):
            line = (step.positions.lineno if step.positions else None) or code.co_firstlineno
            place = (step.positions, step.argval) if step.positions and step.positions.col_offset is not None else step
            yield place, Binding(str(step.argval), line, "" if is_module else _place(code))
    for constant in code.co_consts if nested else ():
        if isinstance(constant, CodeType):
            yield from _stores(constant, nested)


def _place(code: CodeType) -> str:
    """Where a `global` name is bound; a comprehension has a code of its own, and its `:=` binds outside of it."""
    return "by := in a comprehension" if code.co_name.startswith("<") else f"by `global` in {code.co_qualname}"


def _written_by_name(tree: ast.Module) -> Iterator[Binding]:
    """`globals()["X"] = ...` and `setattr(sys.modules[__name__], "X", ...)`, with the name written out."""
    for node, own in _with_own_names(tree):
        match node:
            case ast.Subscript(value=base, slice=ast.Constant(value=str(name)), ctx=ast.Store() | ast.Del()):
                if own.is_namespace(base):
                    yield Binding(name, node.lineno, f"by {_shown(node)}")
            case ast.Call(
                func=ast.Name(id="setattr" | "delattr" as how), args=[base, ast.Constant(value=str(name)), *_]
            ):
                if own.is_module(base):
                    yield Binding(name, node.lineno, f"by {how} on the module")
            case ast.Attribute(value=base, attr=name, ctx=ast.Store() | ast.Del()) if own.is_module(base):
                yield Binding(name, node.lineno, f"by {_shown(node)}")


@dataclass(frozen=True, slots=True)
class _OwnNames:
    """Tells what stands for the script's own module in a scope, or for the dictionary of its names, also under a given name."""

    in_module: bool  # in no function or class
    modules: frozenset[str] = frozenset()
    namespaces: frozenset[str] = frozenset()

    def is_namespace(self, node: ast.AST) -> bool:
        """Return whether this is the dictionary: `globals()`, or `sys.modules[__name__].__dict__`."""
        match node:
            case ast.Name(id=name):
                return name in self.namespaces
            case ast.Call(func=ast.Name(id=name), args=[]):
                return name == "globals" or (self.in_module and name in _OF_SCOPE)
            case ast.Call(func=ast.Name(id="vars"), args=[base]):
                return self.is_module(base)
            case ast.Attribute(value=base, attr="__dict__"):
                return self.is_module(base)
        return False

    def is_module(self, node: ast.AST) -> bool:
        """Return whether this is the module: `sys.modules[__name__]`, or `__main__` where that is imported."""
        match node:
            case ast.Name(id=name):
                return name in self.modules
            case ast.Subscript(value=ast.Attribute(attr="modules") | ast.Name(id="modules"), slice=key):
                return ast.unparse(key) in ("__name__", "'__main__'")
        return isinstance(node, ast.Call) and ast.unparse(node) in (
            "importlib.import_module(__name__)",
            "import_module(__name__)",
            "__import__(__name__)",
            "__import__('__main__')",
        )

    def writes_any_name(self, node: ast.AST) -> bool:
        """Return whether this binds names that only running the script shows."""
        match node:
            case ast.Call(func=ast.Name(id="exec") | ast.Attribute(value=ast.Name(id="builtins"), attr="exec")):
                return True
            case ast.Subscript(value=base, slice=key, ctx=ast.Store() | ast.Del()):
                return self.is_namespace(base) and not isinstance(key, ast.Constant)
            case ast.Call(func=ast.Attribute(value=base, attr=method)) if method in DICT_WRITERS:
                return self.is_namespace(base)
            case ast.Call(func=ast.Name(id="setattr" | "delattr"), args=[base, key, *_]):
                return self.is_module(base) and not isinstance(key, ast.Constant)
            case ast.AugAssign(target=base):
                return self.is_namespace(base)
        return False


def _with_own_names(tree: ast.Module) -> Iterator[tuple[ast.AST, _OwnNames]]:
    """Yield every node with what the script calls its module and the dictionary of its names there: `g = globals()`.

    What the module names so counts everywhere, what a function names so counts in that function only.
    """
    nodes = list(with_scopes(tree))
    imported = {name for name, module in _module_names(tree).items() if module == "__main__"}
    given = list(_given(nodes))
    own = {scopes: _OwnNames(not scopes, frozenset(imported)) for _, scopes in nodes}
    modules = [(scopes, name) for scopes, name, value, where in given if own[where].is_module(value)]
    own = {scopes: replace(each, modules=each.modules | _visible(modules, scopes)) for scopes, each in own.items()}
    spaces = [(scopes, name) for scopes, name, value, where in given if own[where].is_namespace(value)]
    own = {scopes: replace(each, namespaces=_visible(spaces, scopes)) for scopes, each in own.items()}
    return ((node, own[scopes]) for node, scopes in nodes)


def _visible(names: Iterable[tuple[Scopes, str]], scopes: Scopes) -> frozenset[str]:
    return frozenset(name for outer, name in names if scopes[: len(outer)] == outer)


def _given(nodes: Iterable[tuple[ast.AST, Scopes]]) -> Iterator[tuple[Scopes, str, ast.expr, Scopes]]:
    """Yield each `name = value`: the scopes that the name belongs to, both sides, and the scopes of the statement."""
    nodes = list(nodes)
    elsewhere: dict[tuple[Scopes, str], Scopes] = {}
    for node, scopes in nodes:
        if isinstance(node, ast.Global | ast.Nonlocal):
            elsewhere |= {(scopes, name): () if isinstance(node, ast.Global) else scopes[:1] for name in node.names}
    for node, scopes in nodes:
        for target in node.targets if isinstance(node, ast.Assign) else ():
            if isinstance(node, ast.Assign) and isinstance(target, ast.Name):
                yield elsewhere.get((scopes, target.id), scopes), target.id, node.value, scopes


def with_scopes(tree: ast.Module) -> Iterator[tuple[ast.AST, Scopes]]:
    """Yield every node with the functions and classes whose body it stands in, the outermost first.

    Defaults, decorators and annotations stand outside of the body.
    """
    waiting: list[tuple[ast.AST, Scopes]] = [(tree, ())]
    while waiting:
        node, scopes = waiting.pop()
        yield node, scopes
        for field, value in ast.iter_fields(node):
            inside = (*scopes, node) if field == "body" and isinstance(node, _WITH_SCOPE) else scopes
            children = value if isinstance(value, list) else [value]
            waiting += [(child, inside) for child in children if isinstance(child, ast.AST)]


def _shown(node: ast.AST) -> str:
    text = " ".join(ast.unparse(node).split())
    return f"`{text if len(text) <= 60 else text[:59] + '…'}`"
