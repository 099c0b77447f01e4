"""Finds the settings that stand inside functions: their variables, the defaults of their parameters, and what calls are given.

A number in a function may be anything, so a name alone has to say more here than at module level: `search_spaces` knows such
names. It reads the text and runs nothing.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from optimize.errors import RenderError
from optimize.script.aliases import last_name
from optimize.script.bindings import Scopes
from optimize.script.branches import Spot, at_times, calls_not_made, spot
from optimize.script.file_scopes import FileScopes, Function, arguments, bound_by, file_scopes
from optimize.script.parsers import flags_by_file
from optimize.script.process_parameters import as_given
from optimize.script.replacing import replaced_local
from optimize.script.settings_in_blocks import settings_in_blocks
from optimize.script.settings_in_modules import CONFIG, LISTS, OTHER_CHOICE, draws_data, entries_in, is_table, picks_one
from optimize.script.settings_in_modules import SEVERAL as CHANGED
from optimize.script.source_names import SourceNames, UnreadableValue, read_names
from optimize.script.spans_in_functions import RETURNED, NamedCall, constant_at, find_argument, named_calls
from optimize.script.trees import assigned_values
from optimize.trial import Value
from search_spaces import ScriptConstant, is_setting, is_state, is_telling, why_left_alone, words_of

IN_FUNCTION = 'numbers of functions, whose names say too little: one can vary by { local = "PLACE" }'
IN_CALL = 'arguments of calls, whose names say too little: one can vary by { argument = "PLACE" }'
SWITCHES = 'texts and switches of functions, zero and one among them: one can vary by { local = "PLACE" }'
AT_TIMES = "given in functions under a condition or in a loop: give them before that to vary them"
OF_OTHERS = "given in functions to a name outside of them, by `global` or `nonlocal`: give it a value there to vary it"
SEVERAL = (
    "arguments given to several calls of one name: call their results otherwise, or give each a constant, to vary it"
)
# what tunes itself by numbers of any name: optimizers, and schedules of a rate
_TUNES = re.compile(
    r"optim|sched|warmup|decay|^(SGD|ASGD|LBFGS|R?M?SProp|Rprop|Ada\w+|[NR]?Adam\w*|LAMB|LARS|Lion|\w*Muon|Sophia\w*|Shampoo|SOAP|Ftrl|"
    r"adam\w*|sgd|lion|lamb|rmsprop|adagrad|\w*LR|ReduceLROnPlateau|\w*WarmRestarts)$"
)
_FOLLOWS = ("T_max", "last_epoch", "num_training_steps", "total_iters", "start_factor", "end_factor", "num_train_steps")
# words of functions and results that measure, show or keep something, and train nothing
_OF_MEASURING = """
test tests eval evals evaluate evaluation val valid validate validation dev infer inference predict generate sample sampling plot
draw show visualize figure save log logs logger logging print display export convert report benchmark profile stopping stop
checkpoint tsne umap pca
"""
_ASIDE = frozenset(_OF_MEASURING.split())
_OF_LOGS = re.compile(r"\blog(?:s|ging)?\b|\bprint|\bdisplay", re.IGNORECASE)  # a comment on what is only shown
OF_TRAINING = 3  # so many defaults with telling names make a function one that trains, and its others settings as well
_LEAST_WIDTH = 8  # a smaller `dim` is that of a tensor
_DROPOUTS = ("Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout")
_POSITIONS = {
    "clip_grad_norm_": ((1, "max_norm"),),
    "clip_grad_value_": ((1, "clip_value"),),
    "StepLR": ((1, "step_size"), (2, "gamma")),
    "ExponentialLR": ((1, "gamma"),),
    **dict.fromkeys(_DROPOUTS, ((0, "dropout"),)),
}
_RATES = re.compile(r"^(SGD|R?M?SProp|Ada\w+|[NR]?Adam\w*|LAMB|LARS|Lion|Muon|adam\w*|sgd|lion|lamb|rmsprop|adagrad)$")


def settings_in_functions(files: Mapping[str, str], script: str, words: Sequence[str] = ()) -> Iterator[ScriptConstant]:
    """Yield the settings inside functions of a script, and those of optimizers and tables in the functions of its files.

    `words`: the command, whose flags say which calls are made.
    """
    found = list[ScriptConstant]()
    flags = {each.dest: as_given(each, words).default for _, flags in flags_by_file(files, words) for each in flags}
    left = {file: calls_not_made(read_names(text, file).tree, flags, _is_tuned) for file, text in files.items()}
    made = {each.called for each in named_calls(files[script], script) if spot(each.node) not in left[script]}
    others = {last_name(call.func) for call in left[script].values()} - made
    reached = _reached(files, script)
    for file, text in files.items():
        names, scopes = read_names(text, file), file_scopes(text, file)
        prefix = "" if file == script else f"{file}:"
        found += _tables(scopes, names, prefix, reached)
        if file == script:
            found += _variables(scopes, names, [line.decode() for line in text.encode().splitlines()])
            found += settings_in_blocks(scopes, names)
        found += _defaults(files, file, script, made)
        found += _arguments(text, file, prefix, left[file], others)
    order = list(dict.fromkeys(each.heading for each in found))
    yield from sorted(found, key=lambda each: order.index(each.heading))


def plain_number(node: ast.expr | None, names: SourceNames) -> Value:
    """Return a number, or a tuple of some, that an expression of literals stands for, else None; 0 and 1 are switches."""
    if node is None or any(isinstance(each, ast.Name | ast.Attribute | ast.Call) for each in ast.walk(node)):
        return None
    with suppress(UnreadableValue):
        value = names.value(node)
        if isinstance(value, tuple):
            every = all(isinstance(each, int | float) and not isinstance(each, bool) for each in value)
            return value if value and every and isinstance(node, ast.Tuple) else None
        if type(value) in (int, float) and (value not in (0, 1) or (value == 1 and isinstance(value, float))):
            return value
    return None


def _path(scopes: Scopes) -> str:
    return "".join(f"{getattr(each, 'name', '')}." for each in scopes)


def _is_aside(scopes: Scopes, *names: str) -> bool:
    words = (words_of(name) for name in (*names, *(getattr(each, "name", "") for each in scopes)))
    return any(each & _ASIDE for each in words)


def _heading(scopes: Scopes, prefix: str) -> str:
    where = f" in {prefix[:-1]}" if prefix else ""
    return f"in the function {_path(scopes)[:-1]}{where}" if scopes else f"in a block of the module{where}"


# --- variables and defaults ------------------------------------------------------------------------------------------


def _variables(found: FileScopes, names: SourceNames, lines: Sequence[str]) -> Iterator[ScriptConstant]:
    """Yield the variables of functions that are plain numbers; and others, with why they are not."""
    conditional, bound = at_times(names.tree), _bound(found)
    told: dict[str, ScriptConstant] = {}  # by its place: what is given another value later is refused once
    for node, scopes in _in_order(found, ast.Assign, ast.AnnAssign):
        of_class = not scopes or not isinstance(scopes[-1], Function)
        of_method = any(isinstance(each, ast.ClassDef) for each in scopes)
        of_logs = bool(_OF_LOGS.search(lines[(node.end_lineno or node.lineno) - 1].partition("#")[2]))
        for name, given in assigned_values(node) if not of_class else ():
            times = bound[name, found.owner_of(name, scopes)] if found.owner_of(name, scopes) == scopes else 0
            value, quiet, place = plain_number(given, names), of_logs or of_method, f"{_path(scopes)}{name}"
            if times != 1:
                is_written = isinstance(given, ast.Constant) and given.value is not None
                why = (
                    (CHANGED if times else OF_OTHERS)
                    if is_telling(name) and (is_written or value is not None)
                    else None
                )
            elif value is None or spot(node) in conditional or not is_setting(name) or is_state(name):
                why = _why_not(name, given, value, scopes, spot(node) in conditional)
            else:
                why = IN_FUNCTION if quiet or _is_aside(scopes, name) or not is_telling(name) else ""
            if why is not None and (place not in told or (told[place].aside and not why)):
                told[place] = _local(name, value, scopes, why)
    yield from told.values()


def _bound(found: FileScopes) -> Counter[tuple[str, Scopes]]:
    """Return how often each name of a function is bound: its parameters, and by functions within it, as well."""
    places = [(name, node, scopes) for node, scopes in found.nodes for name in bound_by(node)]
    bound = Counter(
        (name, found.owner_of(name, scopes)) for name, node, scopes in places if id(node) not in found.of_comprehensions
    )
    for node, scopes in found.nodes:
        if isinstance(node, Function):
            bound.update((each.arg, (*scopes, node)) for each in arguments(node))
    return bound


def _why_not(name: str, given: ast.expr, value: Value, scopes: Scopes, at_times: bool) -> str | None:
    """Return why a variable stays as it is, of what would be a setting at module level; None of any other variable."""
    if _is_aside(scopes):
        return None
    if at_times:
        return AT_TIMES if value is not None and is_telling(name) else None
    if isinstance(given, ast.List):
        numbers = given.elts and all(isinstance(each, ast.Constant) for each in given.elts)
        return LISTS if numbers and is_telling(name) else None
    if not isinstance(given, ast.Constant) or given.value is None:
        return None
    return why_left_alone(name) or (SWITCHES if is_telling(name) else None)


def _defaults(files: Mapping[str, str], file: str, script: str, called: Collection[str]) -> Iterator[ScriptConstant]:
    """Yield defaults that no call gives: of the functions of the script, and of what it calls of its files."""
    names = read_names(files[file], file)
    for known in file_scopes(files[file], file).definitions.values():
        for each in known:
            made = each.owner is not None and each.node.name == "__init__" and len(each.scopes) == 1
            of_class = each.owner.name in called if made and each.owner else False
            of_function = each.owner is None and (file == script or (not each.scopes and each.node.name in called))
            if isinstance(each.node, Function) and (of_class or of_function) and not _is_aside(each.inside):
                for name, value in _telling_defaults(each.node, names, of_class and file == script):
                    if not any(replaced_local(files, file, f"{_path(each.inside)}{name}")):
                        yield _local(name, value, each.inside, "", "" if file == script else f"{file}:")


def _telling_defaults(function: Function, names: SourceNames, makes: bool) -> Iterator[tuple[str, Value]]:
    given = function.args
    positional = [*given.posonlyargs, *given.args]
    pairs = [*zip(reversed(positional), reversed(given.defaults), strict=False)][::-1]
    every = (*pairs, *zip(given.kwonlyargs, given.kw_defaults, strict=True))
    found = [(each.arg, value) for each, default in every if (value := plain_number(default, names)) is not None]
    told = sum(is_telling(name) for name, _ in found)
    yield from ((name, value) for name, value in found if _is_telling(name, value, makes or told >= OF_TRAINING))


def _local(name: str, value: Value, scopes: Scopes, aside: str, prefix: str = "") -> ScriptConstant:
    heading, place = _heading(scopes, prefix), f"{prefix}{_path(scopes)}{name}"
    return ScriptConstant(name, value, "", heading, aside, kind="local", place=place, certain=False)


# --- arguments of calls ----------------------------------------------------------------------------------------------


def _arguments(
    text: str, file: str, prefix: str, left: Collection[Spot], others: Collection[str]
) -> Iterator[ScriptConstant]:
    """Yield what calls are given by keywords; of other files than the script what tunes itself only.

    `left` are calls of another choice, `others` the functions and classes that are called there only.
    """
    names = read_names(text, file)
    held, told = _held(names), set[str]()
    known = names.functions.keys() | names.classes.keys()
    for call in named_calls(text, file):
        tunes, is_held = bool(_TUNES.search(call.called)), spot(call.node) in held
        if is_table(call.node) or draws_data(call.node, call.result, names) or not (tunes or not (prefix or is_held)):
            continue
        heading = _heading(call.scopes, prefix) if call.scopes else f"in calls{f' in {prefix[:-1]}' if prefix else ''}"
        elsewhere = spot(call.node) in left or getattr((*call.scopes, None)[0], "name", "") in others
        for key, word, node in _words(call.node, call.called):
            value = plain_number(node, names)
            as_entry = is_held and is_setting(word) and not key.isdecimal()
            if value is None or as_entry or not (is_setting(word) or (tunes and word not in _FOLLOWS)):
                continue
            place = _place(text, file, call, key, node)
            telling = (
                tunes or key.isdecimal() or _is_telling(word, value, call.called[:1].isupper() or call.called in known)
            )
            quiet = _is_aside(call.scopes, call.called, call.result) or word in _FOLLOWS or not telling
            aside = OTHER_CHOICE if elsewhere else IN_CALL if quiet else "" if place else SEVERAL
            shown = f"{prefix}{place or f'{_path(call.scopes)}{call.called}.{key}'}"
            if shown not in told:
                certain = tunes and not aside
                yield ScriptConstant(word, value, "", heading, aside, kind="argument", place=shown, certain=certain)
            told.add(shown)


def _held(names: SourceNames) -> set[Spot]:
    """Return where the calls stand whose keywords are entries of constants."""
    values = names.constants.values()
    parts = (part for each in values if isinstance(each, ast.List | ast.Tuple) for part in each.elts)
    return {spot(each) for each in (*values, *parts)}


def _is_tuned(call: ast.Call) -> bool:
    return _TUNES.search(last_name(call.func)) is not None


def _is_telling(word: str, value: Value, makes: bool) -> bool:
    """Return whether a keyword is a setting and no axis; `makes`: of what a class makes, or a function of the script does."""
    if not makes:
        return is_telling(word)
    if word in ("dim", "dims"):
        return isinstance(value, int) and value >= _LEAST_WIDTH
    return is_setting(word) and word not in ("eps", "epsilon", "stride")


def is_setting_of_class(name: str, value: Value, owner: str) -> bool:
    """Return whether a number that a class gives its objects under a name is a setting of a training."""
    return _is_telling(name, value, True) and not words_of(name) & _ASIDE and not words_of(owner) & _ASIDE


def _words(call: ast.Call, called: str) -> Iterator[tuple[str, str, ast.expr]]:
    """Yield key, name and value of what a call is given by keywords, and by places that are known."""
    for each in call.keywords:
        if each.arg:
            yield each.arg, each.arg, each.value
    places = [*_POSITIONS.get(called, ())]
    if _RATES.search(called) and not any(
        "lr" in str(each.arg) or "learning" in str(each.arg) for each in call.keywords
    ):
        rates = (number for number, each in enumerate(call.args[:2]) if _is_fraction(each))
        places = [(place, "learning_rate") for place in rates][:1]
    yield from ((str(place), word, call.args[place]) for place, word in places if place < len(call.args))


def _is_fraction(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, float)


def _place(text: str, file: str, call: NamedCall, key: str, node: ast.expr) -> str:
    """Return the path that means this argument only, "" where there is none."""
    for name in filter(None, (call.called, call.result if call.result != RETURNED else "")):
        path = f"{_path(call.scopes)}{name}.{key}"
        with suppress(RenderError):
            if find_argument(text, path, file) == constant_at(text, path, node):
                return path
    return ""


# --- dictionaries ----------------------------------------------------------------------------------------------------


def _reached(files: Mapping[str, str], script: str) -> set[str]:
    """Return the names of the functions that a script calls, and of those that these call."""
    by_function: dict[str, set[str]] = {}
    for file, text in files.items():
        for call in named_calls(text, file):
            for around in call.scopes if file != script else ():
                by_function.setdefault(getattr(around, "name", ""), set()).add(call.called)
    waiting = [each.called for each in named_calls(files[script], script)]
    found = set(waiting)
    while waiting:
        more = by_function.get(waiting.pop(), set()) - found
        found |= more
        waiting += more
    return found


def _tables(found: FileScopes, names: SourceNames, prefix: str, reached: Collection[str]) -> Iterator[ScriptConstant]:
    """Yield the entries of dictionaries of settings that functions hold or return; in other files, of those `reached`."""
    for node, scopes in _in_order(found, ast.Assign, ast.AnnAssign, ast.Return):
        value: ast.expr | None = getattr(node, "value", None)
        if value is None or not scopes or not is_table(value):
            continue
        function = getattr(scopes[-1], "name", "")
        holder = RETURNED if isinstance(node, ast.Return) else _target(node)
        name = function if holder == RETURNED or CONFIG.search(function) else holder
        of_script = not prefix or (function in reached and CONFIG.search(f"{prefix}{function}"))
        if holder and of_script and CONFIG.search(name) and not _is_aside(scopes, name):
            for each in entries_in(f"{_path(scopes)}{holder}", name, value, names, prefix):
                aside = each.aside or (OTHER_CHOICE if picks_one(names.tree, holder, value) else "")
                yield replace(each, heading=f"entries of {name}, {_heading(scopes, prefix)}", aside=aside)


def _target(node: ast.stmt) -> str:
    """Return the name that a statement gives a value, "" where it is another one, or not one alone."""
    match node:
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            return name
    return ""


def _in_order(found: FileScopes, *kinds: type[ast.stmt]) -> list[tuple[ast.stmt, Scopes]]:
    nodes = [(node, scopes) for node, scopes in found.nodes if isinstance(node, kinds)]
    return sorted(nodes, key=lambda each: (each[0].lineno, each[0].col_offset))
