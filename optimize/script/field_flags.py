"""Reads the flags that libraries make of classes and functions: HfArgumentParser, tyro, simple-parsing, jsonargparse, fire.

Each library has a habit: how it joins the names of groups, which hyphens it uses, how it takes a boolean or a list.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from optimize.script.flags import FlagDefinition, ValueType, annotated_type, text_of, type_of, with_default
from optimize.script.source_names import FieldSource, SourceNames, UnreadableValue, parameters
from optimize.trial import Value


@dataclass(frozen=True, slots=True)
class Habit:
    """How a library makes flags of fields. `boolean` and `lists` are styles of a FlagDefinition."""

    parser: str
    boolean: str
    lists: str
    off: str = ""  # what comes before the name of a boolean that is off
    hyphens: bool = False  # --weight-decay is the first spelling
    both: bool = False  # the other spelling exists as well
    nested: str = ""  # "dotted": --optimizer.lr, "flat": --lr of a group; "": no groups
    positional: bool = False  # what has no default has no flag
    by_name: bool = False  # an Enum is given by the names of its members
    plain: str = "value"  # the style of what is neither a boolean nor a list


HF = Habit("HfArgumentParser", "text", "many", both=True)
TYRO = Habit("tyro", "pair", "many", "no-", hyphens=True, both=True, nested="dotted", by_name=True)
SIMPLE = Habit("simple-parsing", "text", "many", nested="flat")
JSONARGPARSE = Habit("jsonargparse", "text", "other", nested="dotted", positional=True, by_name=True)
PYRALLIS = Habit("pyrallis", "text", "other", nested="dotted", by_name=True)
TAP = Habit("tap", "true", "many")
FIRE = Habit("fire", "literal", "literal", plain="literal")
# The end of a call's name -> its habit, and the words among its arguments that name a class or a function; "": the first.
_CALLS: Mapping[str, tuple[Habit, str]] = {
    "HfArgumentParser": (HF, "dataclass_types"),
    "tyro.cli": (TYRO, "f"),
    "simple_parsing.parse": (SIMPLE, "config_class"),
    "add_arguments": (SIMPLE, "dataclass"),
    "jsonargparse.CLI": (JSONARGPARSE, "components"),
    "jsonargparse.auto_cli": (JSONARGPARSE, "components"),
    "pyrallis.parse": (PYRALLIS, "config_class"),
    "pyrallis.wrap": (PYRALLIS, ""),
    "draccus.parse": (PYRALLIS, "config_class"),
    "draccus.wrap": (PYRALLIS, ""),
    "fire.Fire": (FIRE, "component"),
}
# TrainingArguments of transformers, which all versions define so: https://huggingface.co/docs/transformers/main_classes/trainer
_TRAINING_ARGUMENTS: Mapping[str, Value] = {
    "learning_rate": 5e-5, "per_device_train_batch_size": 8, "gradient_accumulation_steps": 1, "weight_decay": 0.0,
    "adam_beta1": 0.9, "adam_beta2": 0.999, "adam_epsilon": 1e-8, "max_grad_norm": 1.0, "num_train_epochs": 3.0,
    "max_steps": -1, "lr_scheduler_type": "linear", "label_smoothing_factor": 0.0, "seed": 42,
}  # fmt: skip
_OF_PACKAGES = {"TrainingArguments": _TRAINING_ARGUMENTS, "Seq2SeqTrainingArguments": _TRAINING_ARGUMENTS}
_SKIPPED = ("dict", "Dict", "Callable", "Any")


def field_flags(names: SourceNames) -> Iterator[FlagDefinition]:
    """Yield the flags that such a library makes, in the order of its calls."""
    for call, _ in names.calls():
        if (found := _habit(call, names)) is not None and found[0] is FIRE:
            yield from _fire_flags(call, names)
        elif found is not None:
            for target in _targets(call, found[1], names):
                yield from _flags_of(target, found[0], call, names)
    yield from _tap_flags(names)
    yield from _lightning_flags(names)


def classes_with_flags(names: SourceNames) -> set[str]:
    """Return the classes and functions whose fields or parameters are flags, those of groups included."""
    waiting = [
        target
        for call, _ in names.calls()
        if (found := _habit(call, names))
        for target in _targets(call, found[1], names)
    ]
    found_classes: set[str] = set()
    while waiting:
        target = waiting.pop()
        if target not in found_classes:
            found_classes.add(target)
            owners = (annotated_type(each.annotation, names).owner for each in names.fields(target))
            waiting += [owner for owner in owners if owner]
    return found_classes


def _habit(call: ast.Call, names: SourceNames) -> tuple[Habit, str] | None:
    parts = names.qualified(call.func).split(".")
    return _CALLS.get(".".join(parts[-2:])) or _CALLS.get(parts[-1])


def _targets(call: ast.Call, word: str, names: SourceNames) -> Iterator[str]:
    """Yield the names of the classes or functions that a call is given, or that it decorates a user of."""
    given = next((each.value for each in call.keywords if each.arg == word), call.args[0] if call.args else None)
    if not word:
        yield from _wrapped(call, names)
    elif isinstance(given, ast.Tuple | ast.List):
        yield from (ast.unparse(each).rpartition(".")[2] for each in given.elts)
    elif isinstance(given, ast.Name | ast.Attribute):
        yield ast.unparse(given).rpartition(".")[2]


def _wrapped(call: ast.Call, names: SourceNames) -> Iterator[str]:
    """The class of the first parameter of the function under `@pyrallis.wrap()`."""
    for node in names.functions.values():
        if call in node.decorator_list:
            yield from (ast.unparse(each.annotation) for each in parameters(node)[:1] if each.annotation is not None)


def _flags_of(
    target: str, habit: Habit, call: ast.Call, names: SourceNames, group: str = ""
) -> Iterator[FlagDefinition]:
    if target in names.functions:
        sources: Iterable[FieldSource] = parameters(names.functions[target])
    else:
        sources = names.fields(target)
        yield from _of_package(target, habit, call, names)
    for source in sources:
        kind = annotated_type(source.annotation, names)
        if kind.owner and habit.nested:
            inner = f"{group}{source.name}." if habit.nested == "dotted" else ""
            yield from _flags_of(kind.owner, habit, call, names, inner)
        elif not _is_hidden(source):
            yield _flag(source, kind, habit, group, names)


def _fire_flags(call: ast.Call, names: SourceNames) -> Iterator[FlagDefinition]:
    """What fire makes of a function, of a class and its methods, of a dictionary of them, or of the whole module."""
    given = next((each.value for each in call.keywords if each.arg == "component"), call.args[0] if call.args else None)
    for command, target in _components(given, names):
        node = names.classes.get(target)
        if node is None or target in names.functions:
            yield from (replace(each, command=command) for each in _flags_of(target, FIRE, call, names))
            continue
        for source in _init_parameters(target, names):
            yield replace(_flag(source, annotated_type(source.annotation, names), FIRE, "", names), command=command)
        for method in [each for each in node.body if isinstance(each, ast.FunctionDef) and each.name[0] != "_"]:
            for source in parameters(method):
                flag = _flag(source, annotated_type(source.annotation, names), FIRE, "", names)
                yield replace(flag, command=command or method.name)


def _components(node: ast.expr | None, names: SourceNames) -> Iterator[tuple[str, str]]:
    """Yield the command, "" without one, and the function or class that it starts."""
    match node:
        case None:
            defined = (each for each in names.tree.body if isinstance(each, ast.FunctionDef | ast.ClassDef))
            yield from ((each.name, each.name) for each in defined if each.name[0] != "_")
        case ast.Dict(keys=keys, values=values):
            for key, value in zip(keys, values, strict=True):
                yield from ((text_of(key), target) for _, target in _components(value, names) if text_of(key))
        case ast.Call(func=made):
            yield "", ast.unparse(made).rpartition(".")[2]
        case ast.Name() | ast.Attribute():
            yield "", ast.unparse(node).rpartition(".")[2]


def _of_package(target: str, habit: Habit, call: ast.Call, names: SourceNames) -> Iterator[FlagDefinition]:
    """The fields of a class of a well-known package, or of one that is derived from it."""
    node, own = names.classes.get(target), {each.name for each in names.fields(target)}
    bases = [ast.unparse(base).rpartition(".")[2] for base in node.bases] if node else [target]
    known = {name: value for base in bases for name, value in _OF_PACKAGES.get(base, {}).items() if name not in own}
    for name, value in known.items():
        spelled = _spelled(name, "", habit)
        yield FlagDefinition(spelled, value, type=type_of(value), line=call.lineno, parser=habit.parser, dest=name)


def _is_hidden(source: FieldSource) -> bool:
    words = {each.arg: each.value for each in source.call.keywords} if source.call else {}
    hidden = isinstance(init := words.get("init"), ast.Constant) and init.value is False
    return hidden or source.name.startswith("_")


def _flag(source: FieldSource, kind: ValueType, habit: Habit, group: str, names: SourceNames) -> FlagDefinition:
    if source.annotation is None:
        kind = _guessed(source.default, names)
    members = habit.by_name and bool(kind.members)
    flag = FlagDefinition(
        (*_spelled(source.name, group, habit), *_aliases(source.call)),
        style=_style(kind, habit, source.annotation),
        type=kind.name,
        choices=kind.members if members else kind.choices,
        required=source.default is None,
        positional=habit.positional and source.default is None,
        help=_help(source.call) or source.doc,
        line=source.line,
        parser=habit.parser,
        dest=f"{group}{source.name}",
    )
    if flag.style == "pair":
        base = f"{group}{habit.off}{source.name}"
        flag = replace(flag, off=f"--{base.replace('_', '-') if habit.hyphens else base}")
    flag = with_default(flag, source.default, names)
    if members and flag.readable and source.default is not None:
        flag = replace(flag, default=ast.unparse(source.default).rpartition(".")[2])
    if habit is TAP and flag.default is True:
        flag = replace(flag, style="false")
    return flag


def _spelled(name: str, group: str, habit: Habit) -> tuple[str, ...]:
    plain, hyphened = f"--{group}{name}", f"--{group}{name}".replace("_", "-")
    first, second = (hyphened, plain) if habit.hyphens else (plain, hyphened)
    return (first, second) if habit.both and first != second else (first,)


def _style(kind: ValueType, habit: Habit, annotation: ast.expr | None) -> str:
    if kind.many:
        return habit.lists
    if annotation is not None and ast.unparse(annotation).partition("[")[0].rpartition(".")[2] in _SKIPPED:
        return "other"
    return habit.boolean if kind.name == "bool" else "other" if kind.owner else habit.plain


def _guessed(default: ast.expr | None, names: SourceNames) -> ValueType:
    try:
        found = names.value(default)
    except UnreadableValue:
        return ValueType()
    return ValueType(type_of(found), many=isinstance(found, tuple))


def _aliases(call: ast.Call | None) -> tuple[str, ...]:
    for each in call.keywords if call else ():
        if each.arg == "aliases":
            return tuple(text_of(one) for one in getattr(each.value, "elts", [each.value]) if text_of(one))
    return ()


def _help(call: ast.Call | None) -> str:
    for each in call.keywords if call else ():
        if each.arg in ("help", "description"):
            return text_of(each.value)
        if each.arg == "metadata" and isinstance(each.value, ast.Dict):
            for key, value in zip(each.value.keys, each.value.values, strict=True):
                if text_of(key) == "help":
                    return text_of(value)
    return ""


def _tap_flags(names: SourceNames) -> Iterator[FlagDefinition]:
    """The fields of each `class Args(Tap)`."""
    for name, node in names.classes.items():
        if any(names.qualified(base) in ("tap.Tap", "Tap", "tap.TypedArgs") for base in node.bases):
            yield from _flags_of(name, TAP, ast.Call(node.bases[0], [], [], lineno=node.lineno), names)


def _lightning_flags(names: SourceNames) -> Iterator[FlagDefinition]:
    """What `LightningCLI(Model, Data)` takes after `fit`: `--model.lr`, `--data.batch_size`, of their `__init__`."""
    for call, _ in names.calls():
        if names.qualified(call.func).rpartition(".")[2] != "LightningCLI":
            continue
        words = {each.arg: each.value for each in call.keywords}
        given = dict(zip(("model", "data"), call.args, strict=False))
        given |= {name: words[f"{name}_class"] for name in ("model", "data") if f"{name}_class" in words}
        alone = isinstance(word := words.get("run"), ast.Constant) and word.value is False
        for group, node in given.items():
            for source in _init_parameters(ast.unparse(node).rpartition(".")[2], names):
                kind = annotated_type(source.annotation, names)
                flag = _flag(source, kind, replace(JSONARGPARSE, positional=False), f"{group}.", names)
                yield replace(flag, parser="LightningCLI", command="" if alone else "fit")


def _init_parameters(name: str, names: SourceNames) -> tuple[FieldSource, ...]:
    node = names.classes.get(name)
    for each in node.body if node is not None else ():
        if isinstance(each, ast.FunctionDef) and each.name == "__init__":
            return parameters(each)
    return ()
