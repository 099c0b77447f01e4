"""Tries a regex on lines that may take it for ever, in a process of its own, which calls `main`.

The lines are made from the regex: what leads to each of its repetitions, then what that repeats, many times, then a character
that it does not expect. `runner/limited_regex.py` limits what a trial's real lines take.
"""

from __future__ import annotations

import errno
import functools
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from optimize.runner.limited_regex import RegexTooSlowError, search_within
from optimize.runner.metric_lines import LINE_CHARS
from optimize.runner.numbers import compile_pattern

PLAIN_S = 0.05  # of processor time on a whole line of one word; a sound regex takes some millionths
PROBE_S = 0.25  # on a few repetitions behind a prefix: exponential growth needs no more of them, and no script prints such lines
TOTAL_S = 5  # of processor time in all, the start of the process included; whole seconds
REPEATS, REPEATS_OF_ONE = 30, 48  # of a word; of a single character
MOST_PREFIXES, MOST_BODIES = 8, 48
_SLOW, _BAD = 3, 4  # exit codes
_TOO_LONG = (_SLOW, -signal.SIGXCPU, -signal.SIGKILL)  # the kernel sends either at the limit
_ROOT = Path(__file__).resolve().parents[2]  # where `optimize` is imported from
# Not `-m`, which finds nothing where PYTHONSAFEPATH is set.
_START = "import sys; sys.path.insert(0, sys.argv[1]); from optimize.script.regex_probe import main; sys.exit(main())"
_COMMON = ("0", "a", " ", ".", "-", "=", "_", "█", "0.", "a ", "0 ", "1,", "a: 0.1, ", "| ")
_LINES = (
    "step 00100 (33.3%) | loss: 3.456789 | lrm: 1.00 | dt: 310ms | tok/sec: 1,234,567 | mfu: 40.1% | remaining: 200s    ",
    "iter 1000: loss 4.4300, time 21.33ms, mfu -100.00%",
    " 42%|████▏     | 420/1000 [00:01<00:09, 10.00it/s, v_num=0, train_loss=2.31, val_loss=2.40]",
    "{'loss': 2.3012, 'grad_norm': 1.25e-01, 'learning_rate': 5e-05, 'epoch': 0.04}",
)


@functools.lru_cache(maxsize=64)
def is_slow(text: str) -> bool:
    """Return whether the regex takes too long on a line, or to compile. One that cannot be compiled does not.

    Raises OSError where no process can be started, and ChildProcessError where it fails for another reason.
    """
    ended = subprocess.run(
        [sys.executable, "-S", "-c", _START, str(_ROOT)],
        input=text.encode("utf-8", "surrogatepass"),
        cwd=_ROOT,
        capture_output=True,
        start_new_session=True,
    )
    if ended.returncode not in (0, _BAD, *_TOO_LONG):
        lines = ended.stderr.decode("utf-8", "replace").split("\n")
        said = next((line.strip() for line in reversed(lines) if line.strip()), f"exit code {ended.returncode}")
        raise ChildProcessError(errno.ECHILD, said)
    return ended.returncode in _TOO_LONG


def main() -> int:
    """Read a regex from stdin and try it. Return the exit code."""
    resource.setrlimit(resource.RLIMIT_CPU, (TOTAL_S, TOTAL_S))
    signal.signal(signal.SIGXCPU, signal.SIG_DFL)
    text = sys.stdin.buffer.read().decode("utf-8", "surrogatepass")
    try:
        regex = compile_pattern(text)
    except (re.error, RecursionError, OverflowError):
        return _BAD
    try:
        for line, limit_s in probes(text, regex.pattern):
            search_within(regex, line, limit_s)
    except RegexTooSlowError:
        return _SLOW
    return 0


def probes(text: str, pattern: str) -> Iterator[tuple[str, float]]:
    """Yield lines that may be slow to match, and how long a match may take: `text` as it was written, `pattern` as compiled."""
    for line in _LINES:
        yield line, PLAIN_S
        yield (line * LINE_CHARS)[:LINE_CHARS], PLAIN_S
    tree = re._parser.parse(pattern)  # type: ignore[attr-defined]
    places = list(_repetitions(tree, ""))
    prefixes = list(islice(dict.fromkeys(["", *(prefix for prefix, _ in places)]), MOST_PREFIXES))
    samples = (_sample(body, turn) for _, body in places for turn in range(4))
    plain = [*_COMMON, *_words(text)]
    for body in islice(dict.fromkeys([*samples, *plain]), MOST_BODIES):
        if body in plain:
            yield (body * LINE_CHARS)[: LINE_CHARS - 1] + "\0", PLAIN_S
        for prefix in prefixes:
            whole = (prefix + body * (REPEATS if len(body) > 1 else REPEATS_OF_ONE))[: LINE_CHARS - 1]
            yield whole + "\0", PROBE_S
            yield whole, PROBE_S


def _words(text: str) -> Iterator[str]:
    """Yield the regex's words and characters."""
    words = re.findall(r"[A-Za-z0-9_:=,.%/ -]+", text) + re.findall(r"[A-Za-z0-9]+", text)
    yield from words
    yield from (f"{word} " for word in words)
    yield from (c for c in text if c.isprintable())


def _repetitions(items: Iterable[Any], prefix: str) -> Iterator[tuple[str, Any]]:
    """Yield for each repetition in a syntax tree of `re` a text that leads to it, and the tree of what it repeats."""
    for op, argument in items:
        if "REPEAT" in str(op):
            yield prefix, argument[2]
        for inner in _inside(op, argument):
            yield from _repetitions(inner, prefix)
        prefix += _sample([(op, argument)], 0)


def _inside(op: object, argument: Any) -> list[Any]:
    """Return the trees that a node holds."""
    match str(op):
        case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
            return [argument[2]]
        case "BRANCH":
            return list(argument[1])
        case "SUBPATTERN":
            return [argument[3]]
        case "ATOMIC_GROUP":
            return [argument]
        case "ASSERT" | "ASSERT_NOT":
            return [argument[1]]
        case "GROUPREF_EXISTS":
            return [tree for tree in argument[1:] if tree is not None]
    return []


def _sample(items: Iterable[Any], turn: int) -> str:
    """Return a text that a tree matches; another `turn` gives another one where there is a choice."""
    return "".join(_sample_of(op, argument, turn) for op, argument in items)[:LINE_CHARS]


def _sample_of(op: object, argument: Any, turn: int) -> str:
    match str(op):
        case "LITERAL":
            return chr(argument)
        case "NOT_LITERAL":
            return "a" if argument != ord("a") else "b"
        case "ANY":
            return "a0 ."[turn % 4]
        case "IN":
            members = _members(argument)
            return members[turn % len(members)]
        case "ASSERT" | "ASSERT_NOT":
            return ""  # it takes no text
    inside = _inside(op, argument)
    text = _sample(inside[turn % len(inside)], turn) if inside else ""
    return text * min(max(argument[0], 1), 8) if "REPEAT" in str(op) else text


_CATEGORIES = {
    "CATEGORY_DIGIT": "0123456789",
    "CATEGORY_SPACE": " \t",
    "CATEGORY_WORD": "abz_0123456789",
    "CATEGORY_NOT_DIGIT": "ab z.-=",
    "CATEGORY_NOT_SPACE": "abz0.-=",
    "CATEGORY_NOT_WORD": " .-=",
}


def _members(items: Iterable[Any]) -> str:
    """Return some characters of a set such as [0-9.]; its ends and what lies between them."""
    found, negated = "", False
    for op, argument in items:
        name = str(op)
        negated = negated or name == "NEGATE"
        if name == "LITERAL":
            found += chr(argument)
        elif name == "RANGE":
            found += "".join(chr(c) for c in (argument[0], argument[1], sum(argument) // 2))
        elif name == "CATEGORY":
            found += _CATEGORIES.get(str(argument), "")
    return ("".join(c for c in "ab0 .-=z\t" if c not in found) if negated else found) or "a"
