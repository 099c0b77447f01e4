"""What a Python file imports, which names it takes of each module, and what it defines itself. Nothing is executed."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from optimize.script.bindings import parse
from optimize.script.trees import cached_by_text, walk

_RUNNERS = ("import_module", "__import__", "run_module", "run_path")
_BODIES = ("body", "orelse", "finalbody", "handlers", "cases")


@dataclass(frozen=True, slots=True)
class ImportedNames:
    """The imports of one file. Modules are written as the file names them: `conf`, `.conf`, `..conf.model`."""

    names: tuple[tuple[str, str, str], ...]  # module, name, what it is called here: `from module import name as alias`
    stars: tuple[str, ...]  # `from module import *`
    modules: tuple[tuple[str, str], ...]  # module, what it is called here; "" where `import a.b` has no name of its own
    defined: frozenset[str]  # what the module itself gives a value, other than by an import
    used: frozenset[str]  # every name that it reads
    attributes: Mapping[str, frozenset[str]]  # name -> what is taken of it; left out where it is used in another way
    run: tuple[str, ...]  # Python files and modules that it names in a text, to run or import them

    @property
    def imported(self) -> frozenset[str]:
        """The names that imports bind."""
        return frozenset((*(alias for _, _, alias in self.names), *(alias for _, alias in self.modules)))

    def taken(self, alias: str) -> frozenset[str] | None:
        """Return the names that are taken of a module called `alias`, None where that is not all."""
        return self.attributes.get(alias)


@cached_by_text
def imported_names(text: str, where: str) -> ImportedNames:
    """Return what a file imports. Raises RenderError if it is not Python."""
    tree = parse(text, where)
    names, stars, modules = list[tuple[str, str, str]](), list[str](), list[tuple[str, str]]()
    reads, taken = dict[str, int](), dict[str, list[str]]()
    run: list[str] = []
    for node in walk(tree):
        match node:
            case ast.Import():
                modules += [_imported(each) for each in node.names]
            case ast.ImportFrom():
                module = f"{'.' * node.level}{node.module or ''}"
                stars += [module for each in node.names if each.name == "*"]
                names += [(module, each.name, each.asname or each.name) for each in node.names if each.name != "*"]
            case ast.Name(id=name, ctx=ast.Load()):
                reads[name] = reads.get(name, 0) + 1
            case ast.Attribute(value=ast.Name(id=name), attr=attr):
                taken.setdefault(name, []).append(attr)
            case ast.Constant(value=str(value)) if value.endswith(".py") and "\n" not in value:
                run.append(value)
            case ast.Call(func=ast.Name() | ast.Attribute() as func, args=[ast.Constant(value=str(value)), *_]):
                run += [value] if _last(func) in _RUNNERS else []
    whole = {name: frozenset(each) for name, each in taken.items() if len(each) == reads.get(name)}
    defined = frozenset(_defined(tree.body))
    return ImportedNames(
        tuple(names), tuple(stars), tuple(modules), defined, frozenset(reads), whole, tuple(dict.fromkeys(run))
    )


def _imported(alias: ast.alias) -> tuple[str, str]:
    return alias.name, alias.asname or (alias.name if "." not in alias.name else "")


def _last(node: ast.Name | ast.Attribute) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id


def _defined(body: Sequence[ast.AST]) -> Iterator[str]:
    """Yield the names of functions, classes and assignments of a module, also those under a condition."""
    for node in body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.Assign() | ast.AnnAssign() | ast.AugAssign():
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                yield from (n.id for each in targets for n in ast.walk(each) if isinstance(n, ast.Name))
            case (
                ast.If()
                | ast.For()
                | ast.While()
                | ast.With()
                | ast.Try()
                | ast.ExceptHandler()
                | ast.Match()
                | ast.match_case()
            ):
                for part in _BODIES:
                    yield from _defined(getattr(node, part, []))
