"""Reads the flags that scripts make of configuration objects: ml_collections' `--config.lr=0.1`, minGPT's `--trainer.lr=0.1`."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath

from optimize.script.config_objects import object_before, object_returned
from optimize.script.config_tables import ConfigEntry, ConfigObject
from optimize.script.flags import FlagDefinition, text_of, type_of
from optimize.script.rewritten import rewritten_entries
from optimize.script.source_names import SourceNames, read_names

ML_COLLECTIONS, MERGED = "ml_collections", "merge_from_args"
GET_CONFIG = "get_config"  # the function that ml_collections calls in a configuration file


def config_flags(
    names: SourceNames, where: str, files: Mapping[str, str], words: Sequence[str]
) -> Iterator[FlagDefinition]:
    """Yield the flags for entries of the objects that a file hands to such a library; `words` name a configuration file."""
    for call, _ in names.calls():
        last = names.qualified(call.func).rpartition(".")[2]
        if last == "DEFINE_config_file":
            path = chosen_config(call, words)
            made = object_returned(files, path, GET_CONFIG) if path in files else ConfigObject()
            yield from _flags(made, files, f"--{flag_of(call)}.", ML_COLLECTIONS)
        elif last == "DEFINE_config_dict" and len(call.args) > 1:
            made = object_before(files, where, call.args[1], call.lineno)
            yield from _flags(made, files, f"--{flag_of(call)}.", ML_COLLECTIONS)
        elif last == "merge_from_args" and isinstance(call.func, ast.Attribute) and _takes_argv(call):
            made = object_before(files, where, call.func.value, call.lineno)
            yield from _flags(made, files, "--", MERGED)


def config_definitions(names: SourceNames) -> list[ast.Call]:
    """Return the calls that define a flag for a configuration file of ml_collections."""
    return [call for call, _ in names.calls() if names.qualified(call.func).endswith("DEFINE_config_file")]


def unset_configurations(files: Mapping[str, str], words: Sequence[str]) -> list[str]:
    """Return the names of such flags for which neither the script nor its command names a file."""
    read = (read_names(text, file) for file, text in files.items() if file.endswith(".py") and "DEFINE_config" in text)
    return [flag_of(call) for names in read for call in config_definitions(names) if not chosen_config(call, words)]


def chosen_config(call: ast.Call, words: Sequence[str]) -> str:
    """Return the path of the configuration file that a command's words give, else the flag's default; "" without any."""
    given = dict(zip(("name", "default"), call.args, strict=False))
    given |= {each.arg: each.value for each in call.keywords if each.arg in ("name", "default")}
    text = text_of(given.get("default"))
    for word, after in zip(words, [*words, ""][1:], strict=True):
        flag, equals, value = word.partition("=")
        if flag in (f"--{flag_of(call)}", f"-{flag_of(call)}"):
            text = value if equals else after
    path, _, _ = text.partition(":")  # what follows is an argument of get_config
    return PurePosixPath(path).as_posix() if path else ""


def flag_of(call: ast.Call) -> str:
    """Return the name of the flag that a call defines."""
    named = next((each.value for each in call.keywords if each.arg == "name"), None)
    return text_of(call.args[0] if call.args else named)


def _takes_argv(call: ast.Call) -> bool:
    return bool(call.args) and ast.unparse(call.args[0]) == "sys.argv[1:]"


def _flags(made: ConfigObject, files: Mapping[str, str], prefix: str, parser: str) -> Iterator[FlagDefinition]:
    rewritten = rewritten_entries(files, made)
    for each in made.entries:
        yield FlagDefinition(
            (f"{prefix}{each.path}",),
            each.value,
            each.readable,
            "" if each.readable else each.expression,
            _style(each, parser),
            type=type_of(each.value),
            line=each.line,
            parser=parser,
            dest=f"{prefix.lstrip('-')}{each.path}",
            is_list=each.is_list,
            rewritten=rewritten.get(each.path, ("", 0))[1],
        )


def _style(entry: ConfigEntry, parser: str) -> str:
    """ml_collections takes a value by the type of the present one, and none in the place of a list or of None."""
    if parser == MERGED:
        return "literal"
    if isinstance(entry.value, tuple):
        return "other" if entry.is_list else "literal"
    if isinstance(entry.value, bool):
        return "text"
    return "other" if entry.readable and entry.value is None else "value"
