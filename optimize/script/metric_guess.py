"""Guesses from the lines that a script prints which number may be its metric.

Each guess comes with the regex for workload.toml. It is tried on a sample of every line that the script prints, so that it finds
that number and no other.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from optimize.runner.metric_lines import BARE, MetricLine, cells_of, column_regex
from optimize.runner.numbers import compile_pattern
from optimize.script.metric_words import (
    HELD_OUT,
    HIGHER,
    LOWER,
    NEITHER,
    OF_TRAINING,
    TEST,
    VALIDATION,
    clause,
    direction_of,
    is_object,
    last_name,
    short_name,
    without_unit,
    words_in,
)
from optimize.script.printed import OUTPUT, PrintedLine
from optimize.script.printed_by_calls import lines_by_calls
from optimize.script.printed_formats import PrintedValue
from optimize.script.source_names import read_names
from optimize.text import without_colours

OF_TEST = 4  # what a number of the test set weighs less beside one of validation: a study that sees it spoils it
_NUMBER = re.compile(r"(?<![\w.])[-+]?(?:\d[\d,]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w.]*[A-Za-z_]\w)")
_NO_RESULT = re.compile(
    r"\b(?:stopping|aborting|exiting|skipping|terminating|diverged|warning|failed|unable)\b", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class MetricGuess:
    """A number that may be the metric: its name, and the regex that finds it, "" for a line `name: value`."""

    name: str
    regex: str
    direction: str  # "" where its name does not say which is better
    shown: str  # the line, for a person
    where: str
    weight: float = 0.0
    file: str = ""  # that it is written into
    part: str = ""  # "validation" or "test", where its words or its function say of what it is


def guess_metrics(files: Mapping[str, str], log: str = "") -> list[MetricGuess]:
    """Return what may be the metric, the likeliest first: by what Python files print, and by a log of what they printed."""
    lines = [*lines_by_calls(files), *lines_of_log(log)]
    found = [guess for line in lines for index in range(len(line.values)) if (guess := _metric(line, index, lines))]
    found += _of_frameworks(files)
    if any(each.part == "validation" for each in found):
        found = [replace(each, weight=each.weight - OF_TEST * (each.part == "test")) for each in found]
    best: dict[str, MetricGuess] = {}
    for guess in found:
        if guess.name not in best or guess.weight >= best[guess.name].weight:
            best[guess.name] = guess
    return sorted(best.values(), key=lambda each: -each.weight)


def _metric(line: PrintedLine, index: int, lines: Sequence[PrintedLine]) -> MetricGuess | None:
    if any(isinstance(each, str) and _NO_RESULT.search(each) for each in line.pieces):
        return None
    label = clause(without_unit(line.label(index)) if index else line.label(index))
    expression = line.values[index].expression
    if is_object(expression) and not line.values[index].spec:
        return None
    by_label = any(map(str.isalpha, label))
    column = line.header[index] if line.header and not by_label else ""
    named = label if by_label else column or last_name(expression)
    name = short_name(named)
    words = words_in(named)
    if not words & (HIGHER | LOWER):
        words = words_in(last_name(expression))
        if not words & (HIGHER | LOWER) or words_in(named) & NEITHER:
            return None
    regex = _of_column(line, index, lines) if column else _regex(line, index, label, lines)
    if regex is None or not name or name[0].isdecimal():
        return None
    name = name if regex else label
    says_itself = bool((words | words_in(named)) & (HELD_OUT | OF_TRAINING))
    if not says_itself:  # then what the line begins with says it
        begins = {each.lower() for each in re.findall(r"(?<![\w'\"])[A-Za-z]+(?![\w'\"])", line.label(0))}
        words = words | begins & (HELD_OUT | OF_TRAINING)
    weight = _weight(line, words | words_in(named), expression) + 0.5 * says_itself
    part = _part(words | words_in(named) | words_in(expression)) or _part(words_in(line.function))
    which = direction_of(name) or direction_of(expression)
    return MetricGuess(name, regex, which, line.shown(), line.where, weight, part=part)


def _part(words: set[str]) -> str:
    return "validation" if words & VALIDATION else "test" if words & TEST else ""


def _weight(line: PrintedLine, words: set[str], expression: str) -> float:
    held_out = words & HELD_OUT or words_in(expression) & HELD_OUT or words_in(line.function) & HELD_OUT
    return (
        2
        + 3 * bool(held_out)
        + 1.5 * bool(words & {"final", "best"})
        + 1.0 * (not line.loop)
        - 2 * bool((words | words_in(expression)) & OF_TRAINING or words & {"running", "batch", "aux"})
        - 1.0 * bool(words & NEITHER)
        + line.line / 1e6
    )


def _regex(line: PrintedLine, index: int, label: str, lines: Sequence[PrintedLine]) -> str | None:
    """Return the shortest regex that finds this value in its line and none in others; "" where `name: value` does."""
    if _is_plain(line, index, label) and not any(
        _finds(rf"(?<!\w){re.escape(label)}\s*[:=]", each) for each in lines if _other(each, line)
    ):
        return ""
    if line.is_text:
        return None
    if is_bare(line):
        after = any(is_bare(each) and each.file == line.file and each.line > line.line for each in lines)
        return BARE if not after and is_exact(BARE, line, index, lines) else None
    before, bracket = line.label(index), _bracket(line.values[index])
    tail = before[before.rfind(label) :] if label else before
    for text in dict.fromkeys((tail, before)):
        if text.strip() and (regex := f"{escaped(text)}{bracket}{{number}}") and is_exact(regex, line, index, lines):
            return regex
    whole = "".join(escaped(piece) if isinstance(piece, str) else ".*?" for piece in _pieces_before(line, index))
    regex = f"{'' if line.logged else '^'}{whole}{bracket}{{number}}"
    if len(regex) <= 180 and is_exact(regex, line, index, lines):
        return regex
    regex = rf"{escaped(line.label(0))}(?:\s+\S+){{{index}}}\s+{{number}}"  # values beside one another, as in a table
    return regex if index and any(map(str.isalpha, line.label(0))) and is_exact(regex, line, index, lines) else None


def is_bare(line: PrintedLine) -> bool:
    """Return whether the line may be a number and nothing else."""
    is_value = len(line.pieces) == 1 and isinstance(line.pieces[0], PrintedValue)
    return is_value and not line.logged and not line.is_text


def _bracket(value: PrintedValue) -> str:
    """Return the regex of what may stand before the number of a value as Python prints it: a tensor, an array of one."""
    if value.spec:
        return ""
    return r"\[?" if value.expression.endswith("]") else r"(?:tensor\()?" if value.expression.isidentifier() else ""


def _of_column(line: PrintedLine, index: int, lines: Sequence[PrintedLine]) -> str | None:
    text = line.sample()[0]
    regex = column_regex(text, index) if not line.logged and len(cells_of(text)) == len(line.header) else ""
    return regex if regex and is_exact(regex, line, index, lines) else None


def guess_named(files: Mapping[str, str], name: str) -> MetricGuess | None:
    """Return the metric of a name that the text does not have: where a line is printed for each entry of a dictionary."""
    keys = {file: _keys_of_items(read_names(text, file).tree) for file, text in files.items()}
    for line in reversed(lines_by_calls(files)):
        for key, between, value in zip(line.pieces, line.pieces[1:], line.pieces[2:], strict=False):
            if isinstance(key, PrintedValue) and isinstance(between, str) and isinstance(value, PrintedValue):
                sign = between.strip(" \t'\"")
                if key.expression in keys[line.file] and sign in ("", ":", "=", "|", "->"):
                    quote = rf"{between[0]}" if between[:1] in ("'", '"') else ""
                    regex = rf"(?<!\w){re.escape(name)}{quote}\s*{re.escape(sign)}\s*{{number}}"
                    return MetricGuess(name, regex, direction_of(name), f"{name}{between}…", line.where)
    return None


def _keys_of_items(tree: ast.AST) -> set[str]:
    """Return the variables that run over the keys of a dictionary: `for key, value in metrics.items()`."""
    found: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case (ast.For() | ast.comprehension()) as loop if isinstance(loop.target, ast.Tuple):
                over = ast.unparse(loop.iter)
                if over.endswith(".items()") and isinstance(loop.target.elts[0], ast.Name):
                    found.add(loop.target.elts[0].id)
    return found


def _keys_returned(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Return) and isinstance(node.value, ast.Dict):
            yield from (str(each.value) for each in node.value.keys if isinstance(each, ast.Constant))


def has_trainer(text: str) -> bool:
    """Return whether files train with the Trainer of transformers: not with one of their own, such as minGPT's."""
    own = re.search(r"^class Trainer\b", text, re.MULTILINE)
    return bool(re.search(r"\btransformers\b", text)) and "Trainer(" in text and not own


def _is_plain(line: PrintedLine, index: int, label: str) -> bool:
    text, numbers = line.sample()
    return (
        not line.logged
        and bool(re.fullmatch(r"\w[\w-]*", label))
        and len(line.values) == 1
        and MetricLine(label).number(text) == numbers[index]
    )


def _other(line: PrintedLine, than: PrintedLine) -> bool:
    return line.pieces != than.pieces


def _finds(regex: str, line: PrintedLine) -> bool:
    return re.search(regex, line.sample()[0]) is not None


def is_exact(regex: str, line: PrintedLine, index: int, lines: Sequence[PrintedLine]) -> bool:
    """Return whether the regex finds this value in its line, and nothing in lines with other words."""
    pattern = compile_pattern(regex)
    text, numbers = line.sample()
    found = pattern.search(text)
    if found is None or found[1].strip() != numbers[index]:
        return False
    others = (
        each
        for each in lines
        if [p for p in each.pieces if isinstance(p, str)] != [p for p in line.pieces if isinstance(p, str)]
    )
    return not any(pattern.search(each.sample()[0]) for each in others)


def _pieces_before(line: PrintedLine, index: int) -> list[str | PrintedValue]:
    found: list[str | PrintedValue] = []
    seen = 0
    for piece in line.pieces:
        if isinstance(piece, PrintedValue):
            if seen == index:
                break
            seen += 1
        found.append(piece)
    return found


def escaped(text: str) -> str:
    """Return a regex for words; where they end with a blank or a sign, blanks may follow."""
    core = text.rstrip()
    runs = re.findall(r"\s+|\S", core)
    words = (" " if run == " " else r"\s+" if run.isspace() else re.escape(run) for run in runs)
    return "".join(words) + (r"\s*" if core else "")


def lines_of_log(text: str) -> list[PrintedLine]:
    """Return the lines that a script has printed, each kind of line once, with values where its numbers are."""
    found: dict[tuple[str, ...], list[PrintedLine]] = {}
    header: tuple[str, ...] = ()
    for number, raw in enumerate(re.split(r"[\r\n]+", without_colours(text))[:5000], 1):
        pieces: list[str | PrintedValue] = []
        place = 0
        for each in _NUMBER.finditer(raw[:400]):
            words, place = raw[place : each.start()], each.end()
            pieces += [*([words] if words else []), PrintedValue("value", ".4f" if "." in each[0] else "d", each[0])]
        pieces += [raw[place:400]] if raw[place:400] else []
        kind = tuple(each for each in pieces if isinstance(each, str))
        if len(pieces) > len(kind):
            line = PrintedLine(tuple(pieces), OUTPUT, number)
            line = replace(line, header=header) if len(header) == len(line.values) else line
            found.setdefault(kind, []).append(line)
        elif len(cells := cells_of(raw[:400])) > 1:
            header = cells
    return [replace(each[-1], loop="?" if len(each) > 1 else "") for each in found.values()]


def _of_frameworks(files: Mapping[str, str]) -> list[MetricGuess]:
    """What Hugging Face's Trainer, Keras and Lightning print by themselves."""
    text = "\n".join(files.values())
    found: list[MetricGuess] = []
    if has_trainer(text):
        names = [
            "eval_loss",
            *(f"eval_{name}" for name in re.findall(r"return \{\s*['\"](\w+)['\"]", text)),
            "train_loss",
        ]
        found += [_framework(name, f"'{name}': '?{{number}}", f"{{'{name}': …}}", "Trainer") for name in names]
    if "fire.Fire(" in text:  # which prints a dictionary that a function returns
        keys = [key for file in files for key in _keys_returned(read_names(files[file], file).tree)]
        found += [_framework(name, "", f"{name}: …", "fire") for name in keys if words_in(name) & (HIGHER | LOWER)]
    if re.search(r"\bkeras\b", text) and ".fit(" in text:
        measured = [
            name
            for each in re.findall(r"metrics\s*=\s*\[([^\]]*)\]", text)
            for name in re.findall(r"['\"](\w+)['\"]", each)
        ]
        validated = "val_" if re.search(r"validation_(?:data|split)", text) else ""
        for name in dict.fromkeys((*measured, "loss")):
            found.append(
                _framework(
                    f"{validated}{name}", rf"(?<!\w){validated}{name}:\s*{{number}}", f"{validated}{name}: …", "Keras"
                )
            )
    if re.search(r"\b(?:lightning|pytorch_lightning)\b", text):
        for name in dict.fromkeys(re.findall(r"self\.log\(\s*f?['\"](\w+)['\"]", text)):
            found.append(_framework(name, rf"(?<!\w){name}[\s=:│|]+{{number}}", f"{name}  …", "Lightning"))
    return found


def _framework(name: str, regex: str, shown: str, where: str) -> MetricGuess:
    weight = 2 + 2 * bool(words_in(name) & HELD_OUT) - 2 * ("train" in name)
    return MetricGuess(name, regex, direction_of(name), shown, where, weight, part=_part(words_in(name)))
