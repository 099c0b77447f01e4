"""Reads the seed in a script's calls, and writes another one over it, exactly.

A script without a constant for its seed may have a literal in calls such as `torch.manual_seed(42)`, or in those that give
a generator its seed: `np.random.default_rng(42)`, or an estimator: `RandomForestClassifier(random_state=42)`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress

from optimize.errors import RenderError
from optimize.script.bindings import parse
from optimize.script.constants import Constant, around, line_offsets, span_of
from optimize.script.seeding import OF_DATA, SEEDED, without_start
from optimize.script.trees import assigned_values, walk

SEED_CALLS = "manual_seed"  # the name that such a seed has among the constants
_TORCH = ("", "torch.", "torch.cuda.", "torch.mps.", "torch.xpu.")
_SEEDING = {f"{module}{name}" for module in _TORCH for name in ("manual_seed", "manual_seed_all")}
_SEEDING |= {"random.seed", "np.random.seed", "numpy.random.seed", "mx.random.seed"}
# What gives a generator of its own its seed. It counts where nothing seeds the whole script: there it may be that of a split.
_GENERATORS = {
    f"{module}{name}" for module in ("np.random.", "numpy.random.", "") for name in ("default_rng", "RandomState")
}
_GENERATORS |= {"random.Random", "jax.random.key", "jax.random.PRNGKey", "random.PRNGKey", "jr.PRNGKey", "PRNGKey"}
_TORCH_GENERATORS = ("torch.Generator", "Generator")
# Functions that seed all, of scripts and of packages: set_seed, seed_everything, tf.keras.utils.set_random_seed, fix_seeds
_SEEDS_BY_NAME = re.compile(
    r"(?:set|fix|init|setup|same)_?\w*seeds?(?:_all|_everything)?|seed_?(?:everything|all|every\w*|torch)", re.I
)
# keywords of classes of scikit-learn, XGBoost, CatBoost and transformers; those of a generator are known by its name
_OF_ESTIMATORS = ("random_state", "random_seed", "seed")
_GENERATOR = re.compile(r"\w*(?:Generator|Random|RandomState)")


def seeds_all(text: str, where: str) -> bool:
    """Return whether a literal in a call seeds the whole script. Raises RenderError if such calls disagree."""
    found = any(_is_for_all(call) for call, _ in _of_script(parse(text, where)))
    return found and read_seed_calls(text, where) is not None


def read_seed_calls(text: str, where: str) -> int | None:
    """Return the seed in the script's calls, None if it has none with a literal.

    Raises RenderError if they disagree: then it is unknown which one is the script's seed.
    """
    found = _seeds(text, where)
    if len({int(seed.expression) for seed in found}) > 1:
        calls = ", ".join(f"{seed.name}({seed.expression}) in line {seed.line}" for seed in found)
        raise RenderError(
            f"{where}: several seeds: {calls}. Give the script one constant SEED, or name it: seed in workload.toml."
        )
    return int(found[0].expression) if found else None


def seed_of_calls(script: str, files: Mapping[str, str], where: str) -> int | None:
    """Return the seed in the script's calls, else the one number by which calls of the files that it reads seed all.

    Raises RenderError if the script's own calls disagree.
    """
    own = read_seed_calls(files[script], where)
    return own if own is not None else next(iter(_seeds_of_others(script, files).values()), None)


def _seeds_of_others(script: str, files: Mapping[str, str]) -> dict[str, int]:
    """Return the seeds of other files than the script, by file; {} where they are not all the same."""
    found: dict[str, int] = {}
    for file, text in files.items():
        if file not in (script, SEEDED) and file.endswith(".py") and "seed" in text:
            with suppress(RenderError):
                seed = read_seed_calls(text, file) if seeds_all(text, file) else None
                found |= {file: seed} if seed is not None else {}
    return found if len(set(found.values())) == 1 else {}


def files_with_seed_calls(script: str, files: Mapping[str, str], command: Sequence[str]) -> list[str]:
    """Return the files with the seed: the script, and its start where that seeds by a literal what the script leaves.

    Where the script's own calls have none, it is those of the files that it reads.
    """
    if read_seed_calls(files[script], script) is None and (others := _seeds_of_others(script, files)):
        return list(others)
    starts = without_start(command) != tuple(command) and read_seed_calls(files.get(SEEDED, ""), SEEDED) is not None
    return [script, *([SEEDED] if starts else [])]


def render_seed_calls(text: str, seed: int, where: str) -> str:
    """Return `text` with `seed` in every call that seeds. Raises RenderError if there is none."""
    numbers = _numbers(text, where)
    chosen = _chosen(numbers)
    found = [numbers[index][0] for index in chosen]
    if not found or type(seed) is not int or seed < 0:
        raise RenderError(
            f"{where}: {SEED_CALLS}: {seed!r} cannot be written. Use a whole number from 0, and a script with such a call."
        )
    rest = around(text.encode(), found)
    rendered = str(seed).encode().join(rest).decode()
    again = [number for number, _ in _numbers(rendered, where)]
    again = [again[index] for index in chosen] if len(again) == len(numbers) else []
    written = [(each.name, each.expression) for each in again]
    if written != [(each.name, str(seed)) for each in found] or around(rendered.encode(), again) != rest:
        raise RenderError(f"{where}: {SEED_CALLS}: the seed did not survive rendering. Report this as a bug.")
    return rendered


def _seeds(text: str, where: str) -> list[Constant]:
    numbers = _numbers(text, where)
    return [numbers[index][0] for index in _chosen(numbers)]


def _numbers(text: str, where: str) -> list[tuple[Constant, bool]]:
    """Return each number that may be the seed, in the order of the text, and whether it is that of an estimator."""
    tree, offsets = parse(text, where), line_offsets(text.encode())
    found = [
        (Constant(_shown(call), str(number.value), number.lineno, *span_of(number, offsets)), of_estimator)
        for of_estimator, calls in ((False, _of_script(tree)), (True, _of_estimators(tree)))
        for call, number in calls
    ]
    return sorted(found, key=lambda each: each[0].start)


def _chosen(numbers: Sequence[tuple[Constant, bool]]) -> list[int]:
    """Return which of the numbers are the seed: where the script has one, an estimator with another keeps its own."""
    of_script = {number.expression for number, of_estimator in numbers if not of_estimator}
    return [
        index
        for index, (number, of_estimator) in enumerate(numbers)
        if not of_estimator or not of_script or number.expression in of_script
    ]


def _shown(call: ast.Call) -> str:
    return "".join(ast.unparse(call.func).split())


def _of_script(tree: ast.Module) -> Iterator[tuple[ast.Call, ast.Constant]]:
    """Yield calls whose seed holds exactly one whole number: `42`, or `1337 + rank`, where only 1337 changes."""
    calls = [node for node in walk(tree) if isinstance(node, ast.Call)]
    seeding = [call for call in calls if ast.unparse(call.func) in _SEEDING]
    by_name = [call for call in calls if call not in seeding and _is_for_all(call)]
    generators = [] if seeding or by_name else _of_generators(tree, calls)
    for group in (seeding, by_name, generators):
        found = [(call, number) for call in group for number in _number(_given(call))]
        yield from found
        if found:
            break


def _is_for_all(call: ast.Call) -> bool:
    name = ast.unparse(call.func)
    return name in _SEEDING or _SEEDS_BY_NAME.fullmatch(name.rpartition(".")[2]) is not None


def _given(call: ast.Call) -> list[ast.expr]:
    return [*call.args, *(each.value for each in call.keywords if each.arg == "seed")]


def _of_estimators(tree: ast.Module) -> Iterator[tuple[ast.Call, ast.Constant]]:
    for node in walk(tree):
        if isinstance(node, ast.Call) and _makes_estimator(node):
            given = [each.value for each in node.keywords if each.arg in _OF_ESTIMATORS]
            yield from ((node, number) for number in _number(given))


def _number(given: Sequence[ast.expr]) -> list[ast.Constant]:
    """Return the whole number in what a call is given as its seed, [] if that is anything else."""
    if len(given) != 1 or not _is_sum(given[0]):
        return []
    inside = [n for n in ast.walk(given[0]) if isinstance(n, ast.Constant) and type(n.value) is int]
    return inside if len(inside) == 1 else []


def _makes_estimator(call: ast.Call) -> bool:
    name = ast.unparse(call.func).rpartition(".")[2]
    return name[:1].isupper() and not OF_DATA.search(name) and not _GENERATOR.fullmatch(name)


def _of_generators(tree: ast.Module, calls: Sequence[ast.Call]) -> list[ast.Call]:
    """Return the calls that seed a generator, of torch also through the name that it is given."""
    named = {name for node in walk(tree) for name, value in assigned_values(node) if _makes_generator(value)}
    return [call for call in calls if ast.unparse(call.func) in _GENERATORS or _seeds_generator(call, named)]


def _seeds_generator(call: ast.Call, named: Collection[str]) -> bool:
    match call.func:
        case ast.Attribute(value=made, attr="manual_seed"):
            return _makes_generator(made) or (isinstance(made, ast.Name) and made.id in named)
    return False


def _makes_generator(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func) in _TORCH_GENERATORS


def _is_sum(argument: ast.expr) -> bool:
    return isinstance(argument, ast.Constant) or (
        isinstance(argument, ast.BinOp)
        and isinstance(argument.op, ast.Add)
        and all(isinstance(side, ast.Constant | ast.Name) for side in (argument.left, argument.right))
    )
