"""Drafts a first search space for a script that has none, as the text of a TOML file that is meant to be edited.

It writes no file and reads no script: it is given constants with their values and comments. `parse_space` loads the
text, and the present values are a configuration that keeps its rules.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from search_spaces.choices import MEASURE, Choices, choices_for, is_of_measuring
from search_spaces.expressions import SearchSpaceError, Value, parse_rule
from search_spaces.numbers_around import WIDTHS

MOST = 60  # parameters; nobody edits more, and a file has a limit
LONGEST = 60  # of a name
SMALL = 1e-3
_WIDTH = 110  # of a line of names
WIDE = 84  # where comments stand at most, unless their own line is longer
HEADS = ("n_head", "n_heads", "num_heads", "num_attention_heads")
TOTALS = ("total_batch_size",)
PARTS = ("device_batch_size",)
CONTEXTS = ("max_seq_len", "block_size", "seq_len", "sequence_len", "sequence_length", "context_length")
PRIVATE = "private, by its name"
_SHARE = re.compile(r"\b(?:probability|prob)\b", re.IGNORECASE)  # what is said of a zero that is a share
_ROLLOUT = re.compile(r"rollout|forward steps|per (?:update|env)|each env", re.IGNORECASE)  # steps between two updates
TOO_MANY = f"more than {MOST} are too many to begin with"


@dataclass(frozen=True, slots=True)
class ScriptConstant:
    """A setting as it stands in a script: a constant of a module, or what `place` says."""

    name: str
    value: Value
    comment: str = ""  # at the end of its line
    heading: str = ""  # above it and its neighbours
    aside: str = ""  # why it is surely not meant to vary
    kind: str = ""  # of its place, such as flag; "": a constant of this name
    place: str = ""  # in the words of that kind, such as --lr
    options: tuple[Value, ...] = ()  # the only values that the script takes, if it says so
    real: bool = False  # a fraction, even where 0 or 1 stands
    certain: bool = True  # where it stands says that it is a setting; else its name has to
    baseline: bool = False  # its present value has to be written down
    own: str = ""  # its name where it stands, if it got a longer one to be told from another


@dataclass(frozen=True, slots=True)
class Draft:
    """The text of the file. `varied` are its parameters; `waiting` are constants that need a person's help to become
    some.
    """

    text: str
    varied: Sequence[str]
    waiting: Sequence[str]
    left: int = 0  # how many settings stay as they are
    size: int = 1  # how many configurations there are, the infeasible ones included


def draft_space(found: Sequence[ScriptConstant], others: Mapping[str, Value], head: Sequence[str]) -> Draft:
    """Draft a file for the constants in `found`.

    `others` are constants that rules may name, `head` the lines it begins with. Without `varied` parameters the text is
    no search space: there is nothing that could vary.
    """
    known = {**others, **{each.name: each.value for each in found if not each.aside}}
    proposed, left = _proposed(found, known)
    known = {**others, **{each.name: each.value for each, choices in proposed if not choices.missing}}
    varied = [each.name for each, choices in proposed if not choices.missing]
    waiting = [each.name for each, choices in proposed if choices.missing]
    parts = [
        _commented(_plain(line, 400) for line in head),
        "[parameters]\n" + "\n".join(_parameter_lines(proposed)),
        *_rules(varied, known),
        _start(found, varied),
        _left_alone(left),
    ]
    size = math.prod(len(choices.values) for _, choices in proposed if not choices.missing)
    text = "\n\n".join(part for part in parts if part) + "\n"
    return Draft(text, varied, waiting, sum(map(len, left.values())), size)


def _proposed(
    found: Sequence[ScriptConstant], known: Mapping[str, Value]
) -> tuple[list[tuple[ScriptConstant, Choices]], dict[str, list[str]]]:
    """Return the constants with choices, in the script's order, and the names of the others by the reason."""
    proposed: list[tuple[ScriptConstant, Choices]] = []
    left: dict[str, list[str]] = {}
    for each in found:
        idea: Choices | str
        if each.aside:
            idea = each.aside
        elif each.name.startswith("_") or len(each.name) > LONGEST:
            idea = PRIVATE
        elif is_of_measuring(each.place):
            idea = MEASURE
        else:
            name = each.own or each.name
            if each.value == 0 and _SHARE.search(each.comment):
                name = f"{name}_probability"
            if name.lower() in ("num_steps", "n_steps") and _ROLLOUT.search(each.comment):
                name = "rollout_steps"
            idea = choices_for(name, each.value, known, each.options, each.real, each.certain)
        if isinstance(idea, Choices) and len(proposed) == MOST:
            idea = TOO_MANY
        if isinstance(idea, Choices):
            proposed.append((each, idea))
        else:
            left.setdefault(idea, []).append(each.place or each.name)
    return proposed, left


def _parameter_lines(proposed: Sequence[tuple[ScriptConstant, Choices]]) -> Iterable[str]:
    lines = [_choices_line(found, choices) for found, choices in proposed]
    column = max((len(line) for line in lines if len(line) <= WIDE), default=0) + 2
    heading = ""
    for line, (found, choices) in zip(lines, proposed, strict=True):
        if found.heading != heading:
            heading = found.heading
            yield from ("", f"# {_plain(heading)}") if heading else ("",)
        yield f"{line:<{column - 2}}  # {_remark(found, choices)}"


def _choices_line(found: ScriptConstant, choices: Choices) -> str:
    reals = [abs(each) for each in choices.values if isinstance(each, float) and each]
    small = 1e-2 if min(reals, default=1.0) < SMALL else SMALL  # all of a list written alike
    listed = ", ".join(literal(each, small) for each in choices.values)
    said = f"[{listed}]"
    if found.kind:
        baseline = f", baseline = {literal(found.value, small)}" if found.baseline else ""
        said = f"{{ {found.kind} = {literal(found.place)}, choices = {said}{baseline} }}"
    return f"{'# ' if choices.missing else ''}{_key(found.name)} = {said}"


def _remark(found: ScriptConstant, choices: Choices) -> str:
    """Return the comment of a parameter: its present value, what the script says of it, what is to be done."""
    said = [f"now {literal(found.value)}"] if len(choices.values) > 1 else []
    said += [_plain(found.comment)] if found.comment else []
    return "; ".join([*said, *([choices.missing] if choices.missing else [])])


def _rules(varied: Sequence[str], known: Mapping[str, Value]) -> Iterable[str]:
    """Return what such constants usually have to meet. A rule that the present values break is commented out."""
    for rule, why in _usual_rules(known):
        if not parse_rule(rule, why).expression.names & set(varied):
            continue
        lines = ["[[rules]]", f"rule = {literal(rule)}", f"why = {literal(why)}"]
        yield "\n".join(lines) if _holds(rule, known) else _commented([*lines, "(the present values break it)"])


def _usual_rules(known: Mapping[str, Value]) -> Iterable[tuple[str, str]]:
    total, part, context = (_first(names, known) for names in (TOTALS, PARTS, CONTEXTS))
    if total and part:
        parts = f"({part} * {context})" if context else part
        yield f"{total} % {parts} == 0", "a step is made of whole micro-batches"
    width, heads = _first(WIDTHS, known), _first(HEADS, known)
    if width and heads:
        yield f"{width} % {heads} == 0", "every head has the same width"
    least, rate = _first(("min_lr",), known), _first(("learning_rate", "max_lr", "lr"), known)
    if least and rate:
        yield f"{least} <= {rate}", "the rate falls to it"


def _first(names: Sequence[str], known: Mapping[str, Value]) -> str:
    """Return the constant of one of these names, however it is written, if it is a number above 0."""
    spelt = {name.lower(): name for name, value in known.items() if _is_number(value) and name.isascii()}
    return next((spelt[name] for name in names if name in spelt), "")


def _is_number(value: Value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


def _holds(rule: str, known: Mapping[str, Value]) -> bool:
    try:
        return parse_rule(rule, "").holds(known)
    except SearchSpaceError:
        return False


def _start(found: Sequence[ScriptConstant], varied: Sequence[str]) -> str:
    """Return how a known-good configuration would be written down."""
    first = next((f"{_key(each.name)} = {literal(each.value)}" for each in found if each.name in varied), "")
    if not first:
        return ""
    return _commented(
        [
            "A configuration that did well somewhere is tried right after the baseline:",
            "[[start]]",
            'source = "my notebook, 3 May"',
            f"params = {{ {first} }}",
        ]
    )


def _left_alone(left: Mapping[str, Sequence[str]]) -> str:
    if not left:
        return ""
    lines = ["Left as they are. To vary one all the same, give it a line under [parameters]: its place, and choices."]
    for reason, names in left.items():
        shown = [_plain(name) for name in names[:40]] + (["..."] if len(names) > 40 else [])
        lines += [f"  {reason}", *(f"    {line}" for line in _folded(shown))]
    return _commented(lines)


def _folded(names: Iterable[str]) -> Iterable[str]:
    line = ""
    for name in names:
        if line and len(line) + len(name) > _WIDTH:
            yield line.rstrip()
            line = ""
        line += f"{name}, "
    yield line.removesuffix(", ")


def _commented(lines: Iterable[str]) -> str:
    return "\n".join(f"# {line}".rstrip() for line in lines)


def _plain(text: str, limit: int = 140) -> str:
    """Return one line of printable text: what a script says must not end a comment."""
    line = " ".join("".join(mark if mark.isprintable() else " " for mark in text).split())
    return line if len(line) <= limit else line[: limit - 3].rstrip() + "..."


def _key(name: str) -> str:
    return name if name.isascii() else literal(name)


def literal(value: Value, small: float = SMALL) -> str:
    """Return a value as TOML has it, numbers as a person would write them: 131_072, 6e-4, 0.04.

    Numbers below `small` have an exponent.
    """
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return f"{value:_}" if abs(value) >= 10_000 else str(value)
        case float():
            return _real(value, small)
        case str():
            return json.dumps(value, ensure_ascii=False)
        case tuple():
            return f"[{', '.join(literal(each, small) for each in value)}]"
    return "None"


def _real(value: float, small: float) -> str:
    if value == 0 or small <= abs(value) < 1e6:
        return repr(value)
    shortest = next(text for digits in range(17) if float(text := f"{value:.{digits}e}") == value)
    digits, exponent = shortest.split("e")
    return f"{digits}e{int(exponent)}"
