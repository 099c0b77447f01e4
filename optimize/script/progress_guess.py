"""Guesses from the lines that a script prints which of them tell its progress, with the regex for workload.toml."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from optimize.script.metric_guess import escaped, has_trainer
from optimize.script.metric_words import HELD_OUT, LABEL, LOWER, clause, words_in
from optimize.script.printed import PrintedLine, loop_bounds
from optimize.script.printed_by_calls import lines_by_calls
from optimize.script.printed_formats import Piece, PrintedValue

_STEPS = ("step", "iter", "iteration", "epoch", "update", "batch", "round", "episode", "it", "ep")
_OF = re.compile(r"\s*(?:/|of|out of)\s*")
_RETRIES = re.compile(r"attempt|retry|retries|\btry\b|download|shard|\brank\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ProgressGuess:
    """The lines of progress: their regex, and what stands for the number of steps, where no line says it."""

    regex: str
    total: ast.expr | None = None


def guess_progress(files: Mapping[str, str]) -> ProgressGuess | None:
    """Return the lines that tell a script's progress, None if it prints none in a loop."""
    bounds = loop_bounds(files)  # a function may be called in a loop, and print its variable
    found = [
        (_weight(line, index, guess), guess)
        for line in lines_by_calls(files)
        for index in range(len(line.values))
        if _counts(line, index, bounds)
        for guess in [_guess(line, index, bounds)]
    ]
    return max(found, key=lambda each: each[0])[1] if found else None


def _counts(line: PrintedLine, index: int, bounds: Mapping[str, ast.expr]) -> bool:
    """Return whether a value is that of a step: by the words before it, or as the variable of a loop."""
    if _RETRIES.search(line.label(index)):
        return False
    if line.values[index].expression in (line.loop, *bounds) and line.label(index).strip():
        guess = _guess(line, index, bounds)
        if "<loss>" in guess.regex or "<total>" in guess.regex:
            return True
    named = clause(line.label(index).rstrip(" [(")) or ("" if index else line.values[0].expression.rpartition(".")[2])
    label = re.sub(r"[\W_]+", "_", named.lower()).strip("_")
    return bool(line.loop or line.values[index].expression in bounds) and any(
        re.fullmatch(rf"(?:\w+_)?{step}(?:_\w+)?", label) for step in _STEPS
    )


def _weight(line: PrintedLine, index: int, guess: ProgressGuess) -> int:
    words = words_in(" ".join(each for each in line.pieces if isinstance(each, str)))
    return (
        (line.loop in line.values[index].expression)
        + (guess.total is not None)
        + ("<loss>" in guess.regex)
        + ("<total>" in guess.regex)
        + (index == 0)  # of several counters, the first is the outermost
        - bool(words & HELD_OUT)
    )


def _guess(line: PrintedLine, index: int, bounds: Mapping[str, ast.expr]) -> ProgressGuess:
    before, expression = line.label(index), line.values[index].expression
    label = LABEL.split(before.rstrip(" [("))[-1].lstrip() if before.strip() else ""
    start = r"^\s*" if not before.strip() and not line.logged else ""
    regex = f"{start}{escaped(before[before.rfind(label) :] if label else before)}(?P<step>{{number}})"
    total, rest = _total(list(line.pieces)[_place(line, index) + 1 :])
    bound = line.bound if line.loop in re.findall(r"\w+", expression) else None
    known = None if total else bound or bounds.get(expression)
    percent = "" if total or known else _percent(rest)
    return ProgressGuess(regex + total + percent + _loss(rest), known)


def _place(line: PrintedLine, index: int) -> int:
    return [place for place, each in enumerate(line.pieces) if isinstance(each, PrintedValue)][index]


def _total(rest: Sequence[Piece]) -> tuple[str, Sequence[Piece]]:
    """Return the regex of `/ total` behind a step, and what follows it; "" where there is none."""
    words = rest[0] if rest and isinstance(rest[0], str) else ""
    if len(rest) > 1 and _OF.fullmatch(words):
        return rf"\s*{re.escape(words.strip())}\s*(?P<total>{{number}})", rest[2:]
    if fixed := re.match(r"\s*/\s*\d+", words):
        return r"\s*/\s*(?P<total>{number})", [words[fixed.end() :], *rest[1:]]
    return "", rest


def _percent(rest: Sequence[Piece]) -> str:
    """Return the regex of ` (33.3%)` right behind a step, "" where it is not there."""
    match list(rest[:3]):
        case [str(before), PrintedValue(), str(after)] if before.strip() == "(" and after.startswith("%"):
            return rf"{escaped(before)}(?P<percent>{{number}})%"
    return ""


def _loss(pieces: Sequence[Piece]) -> str:
    """Return the regex of the first loss in these pieces, "" if there is none."""
    for words, value in pairwise(pieces):
        if isinstance(words, str) and isinstance(value, PrintedValue) and words_in(clause(words)) & (LOWER - {"error"}):
            return f".*?{escaped(words[words.rfind(clause(words)) :])}(?P<loss>{{number}})"
    return ""


def framework_progress(files: Mapping[str, str]) -> ProgressGuess | None:
    """Return the progress lines that a framework prints by itself: Keras, Hugging Face's Trainer, a bar of tqdm."""
    text = "\n".join(files.values())
    if re.search(r"\bkeras\b", text) and ".fit(" in text:
        return ProgressGuess(r"Epoch (?P<step>{number})\s*/\s*(?P<total>{number})")
    if has_trainer(text):
        return ProgressGuess(r"'loss': '?(?P<loss>{number}).*'epoch': '?(?P<step>{number})")
    if re.search(r"\btqdm\b|\btrange\b|\blightning\b|\bpytorch_lightning\b", text):
        return ProgressGuess(r"(?P<percent>\d+)%\|")
    return None
