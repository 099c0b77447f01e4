"""Parameters that are given when the process starts: flags, overrides such as Hydra's, and environment variables.

Words are added to the command; what it already says of the same flag is taken out, so that each flag is there once. What the
default is stands in the scripts' parsers (`parsers.py`), in the command itself, in YAML files, or in `os.environ.get`.
"""

from __future__ import annotations

import ast
import json
import keyword
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from pathlib import PurePosixPath

from optimize.errors import RenderError
from optimize.script.config_files import find_key
from optimize.script.constants import is_literal
from optimize.script.parsers import FlagDefinition
from optimize.trial import Value

_PLAIN = re.compile(r"[\w./:@+-]+")
_ONE_VALUE = ("value", "text", "literal", "true", "false", "pair")  # styles of flags that hold one
_SHELLS = ("sh", "bash", "zsh", "dash")
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")


def flag_words(flag: str, definition: FlagDefinition | None, value: Value) -> tuple[str, ...]:
    """Return the words that give a flag a value. Raises RenderError if the parser has no way to be told this value."""
    style = definition.style if definition else "many" if isinstance(value, tuple) else "text"
    if isinstance(value, tuple) and style in ("many", "repeated"):
        words = [_word_behind(flag, each) for each in value]
        return (flag, *words) if style == "many" else tuple(part for word in words for part in (flag, word))
    if style in ("true", "false"):
        return (flag,) if value is (style == "true") else ()
    if style == "pair" and definition is not None:
        return (flag,) if value is True else (definition.off,)
    if style == "literal":
        return (f"{flag}={_literal_word(flag, value, definition)}",)
    word = repr(value) if style == "value" and isinstance(value, bool) else word_of(value)
    return (f"{flag}={word}",) if flag.startswith("--") else (flag, _word_behind(flag, value))


def _literal_word(flag: str, value: Value, definition: FlagDefinition | None) -> str:
    """Return a value as Python reads it. Raises RenderError for text with a sign that the parser splits its words at."""
    word = literal_word(value, definition is not None and definition.is_list)
    if "=" in word and definition is not None and definition.parser == "merge_from_args":
        raise RenderError(f"{flag}: {word:.60} has a =, at which the script splits. Choose another value.")
    return word


def literal_word(value: Value, is_list: bool = False) -> str:
    """Return a value as Python's literal_eval reads it; a text that is a mere name may do without quotes."""
    if isinstance(value, tuple) and is_list:
        return f"[{','.join(map(repr, value))}]"
    if isinstance(value, str) and value.isidentifier() and not keyword.iskeyword(value):
        return value
    if isinstance(value, tuple):
        return f"({','.join(map(repr, value))}{',' if len(value) == 1 else ''})"
    return repr(value)


def _word_behind(flag: str, value: Value) -> str:
    """Return a value as a word of its own. Raises RenderError for text that argparse would take for a flag.

    It knows negative numbers by `^-\\d+$|^-\\d*\\.\\d+$` (CPython's argparse), without an exponent.
    """
    word = word_of(value)
    if isinstance(value, float) and value < 0 and "e" in word:
        return f"{Decimal(word):f}" if "." in f"{Decimal(word):f}" else f"{Decimal(word):f}.0"
    if isinstance(value, str) and word.startswith("-"):
        raise RenderError(
            f"{flag}: {word!r:.60} begins with a dash, so the parser would take it for a flag. Choose another."
        )
    return word


def word_of(value: Value) -> str:
    """Return a value as a word of a command line: true and false as YAML writes them, a tuple as a list."""
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    if isinstance(value, tuple):
        return f"[{','.join(map(word_of, value))}]"
    return value if isinstance(value, str) else repr(value)


def _spellings(flag: str, definition: FlagDefinition | None) -> tuple[str, ...]:
    off = (definition.off,) if definition and definition.off else ()
    return tuple(dict.fromkeys((flag, *(definition.names if definition else ()), *off)))


def without_flag(command: Sequence[str], flag: str, definition: FlagDefinition | None) -> tuple[str, ...]:
    """Return the command without what it says of a flag, whatever its spelling."""
    names = _spellings(flag, definition)
    alone = definition is not None and definition.style in ("true", "false", "pair")
    kept: list[str] = []
    words = list(command)
    while words:
        word = words.pop(0)
        if word in names:
            while words and not alone and not _is_flag(words[0]):
                words.pop(0)
                if definition is None or definition.style not in ("many", "other"):
                    break
        elif word.partition("=")[0] not in names or "=" not in word:
            kept.append(word)
    return tuple(kept)


def _is_flag(word: str) -> bool:
    return word.startswith("-") and not _NUMBER.fullmatch(word)


def given_flag(command: Sequence[str], flag: str, definition: FlagDefinition | None) -> str | bool | None:
    """Return what the command itself says of a flag: its text, whether it is there if it takes no value, None if it is not."""
    found: str | bool | None = None
    for index, word in enumerate(command):
        name, equals, text = word.partition("=")
        if name in _spellings(flag, definition):
            if definition is not None and definition.style in ("true", "false", "pair"):
                found = name != definition.off if definition.style == "pair" else definition.style == "true"
            else:
                found = text if equals else [*command, ""][index + 1]
    return found


def as_given(flag: FlagDefinition, command: Sequence[str]) -> FlagDefinition:
    """Return a flag with what the command gives it as its default; the flag itself where it gives nothing, or several values."""
    if flag.positional or flag.is_list or flag.style not in _ONE_VALUE:
        return flag
    given = given_flag(command, flag.names[0], flag)
    if given is None:
        return flag
    value: Value = given
    if isinstance(given, str) and flag.style == "literal":
        value = literal_value(given)
    elif isinstance(given, str) and flag.type not in ("str", "path") and not isinstance(flag.default, str):
        value = value_of(given)
    return replace(flag, default=_of_type(value, flag), readable=True)


def _of_type(value: Value, flag: FlagDefinition | None) -> Value:
    """Return a value as a flag reads it: `--lr 2` is 2.0 to one of fractions."""
    of_fractions = flag is not None and (flag.type == "float" or isinstance(flag.default, float))
    return float(value) if of_fractions and type(value) is int else value


def flag_default(command: Sequence[str], flag: str, definition: FlagDefinition | None, known: Sequence[str]) -> Value:
    """Return a flag's value without us. Raises RenderError with what to do where the text does not say.

    `known`: the flags that the scripts' parsers define.
    """
    if (given := given_flag(command, flag, definition)) is not None:
        if isinstance(given, str) and definition is not None and definition.style == "literal":
            return literal_value(given)
        return _of_type(value_of(given), definition) if isinstance(given, str) else given
    if definition is None:
        raise RenderError(
            f"{flag}: no parser in the files defines it. {_known(known)} Correct it, or write baseline = ..."
        )
    if definition.style in ("true", "false") and definition.readable and definition.default is None:
        return definition.style == "false"
    if not definition.readable or definition.default is None:
        what = f"its default is `{definition.expression:.40}`" if definition.expression else "it has no default"
        raise RenderError(
            f"{flag}: {what}, which the text does not tell (line {definition.line}). Write it: baseline = ..."
        )
    return definition.default


def _known(flags: Sequence[str]) -> str:
    return f"They have {', '.join(flags[:12])}." if flags else "They have no parser that can be read."


def value_of(text: str) -> Value:
    """Return the value that a word stands for: a number, true or false, else the text itself."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if _NUMBER.fullmatch(text):
        return int(text) if re.fullmatch(r"[-+]?\d+", text) else float(text)
    return text


def literal_value(text: str) -> Value:
    """Return the value of a word that the script reads as Python: `(1, 2)`, `'a'`; else the text itself."""
    with suppress(ValueError, SyntaxError, RecursionError):
        found = ast.literal_eval(text)
        found = tuple(found) if isinstance(found, list) else found
        if is_literal(found):
            return found
    return text


def cannot_append(command: Sequence[str], files: Mapping[str, str]) -> str:
    """Return why words behind this command do not reach the script, "" if they do."""
    program = PurePosixPath(command[0]).name if command else ""
    if program not in _SHELLS:
        return ""
    if "-c" in command:
        if any("$@" in each for each in command[command.index("-c") + 1 :][:1]):
            return ""
        return 'a shell\'s `-c` takes no words behind it. Name the script itself: ["{python}", "train.py"]'
    script = next((word for word in command[1:] if not word.startswith("-")), "")
    if script in files and "$@" not in files[script] and "$*" not in files[script]:
        return f'{script} does not pass its words on. Write "$@" behind the training command in it'
    return ""


def with_override(command: Sequence[str], path: str, value: Value) -> tuple[str, ...]:
    """Return the command with `path=value`, as Hydra and OmegaConf read it. Raises RenderError for text they would not."""
    name = path.lstrip("+~")
    kept = (word for word in command if word.partition("=")[0].lstrip("+~") != name or "=" not in word)
    return (*kept, f"{path}={_override_text(value)}")


def _override_text(value: Value) -> str:
    if isinstance(value, tuple):
        return f"[{','.join(map(_override_text, value))}]"
    if not isinstance(value, str):
        return word_of(value)
    if _PLAIN.fullmatch(value) and isinstance(value_of(value), str) and value.lower() not in ("null", "none"):
        return value
    if "'" in value or "\\" in value:
        raise RenderError(
            f"{value!r:.60}: a quote or a backslash cannot be given as an override. Choose another value."
        )
    return f"'{value}'"


def override_default(command: Sequence[str], path: str, files: Mapping[str, str]) -> Value:
    """Return the value of an override without us: the command's own, or that of the YAML files, Hydra's groups included.

    Raises RenderError with what to do where the text does not say.
    """
    name = path.lstrip("+~")
    for word in reversed(command):
        given, equals, text = word.partition("=")
        if equals and given.lstrip("+~") == name:
            return value_of(text)
    found = dict(_in_configs(name, files))
    if len({repr(value) for value in found.values()}) == 1:
        return next(iter(found.values()))
    where = f"{' and '.join(sorted(found))} differ in it" if found else "no YAML file among `files` has it"
    raise RenderError(f"{name}: {where}, so its default is unknown. Write it: baseline = ...")


def _in_configs(path: str, files: Mapping[str, str]) -> Iterator[tuple[str, Value]]:
    configs = {file: text for file, text in files.items() if file.endswith((".yaml", ".yml"))}
    whole = [(file, path) for file in configs]
    parts = path.split(".")
    groups = [
        (file, ".".join(parts[depth:]))
        for depth in range(1, len(parts))
        for file in configs
        if PurePosixPath(file).parent.parts[-depth:] == tuple(parts[:depth]) and _is_chosen(file, depth, configs)
    ]
    for file, keys in (*whole, *groups):
        with suppress(RenderError):
            yield file, find_key(configs[file], keys, file).value


def _is_chosen(file: str, depth: int, configs: Mapping[str, str]) -> bool:
    """Whether a `defaults:` list of a config above chooses this file of its group: `- train: base`."""
    path = PurePosixPath(file)
    group, option = "/".join(path.parent.parts[-depth:]), path.stem
    entry = rf"/?{re.escape(group)}(?:@\S+)?\s*:\s*[\"']?{re.escape(option)}[\"']?"
    chosen = re.compile(rf"(?m)^\s*-\s*(?:override\s+)?{entry}\s*(?:#.*)?$")
    return any(chosen.search(text) for other, text in configs.items() if other != file)
