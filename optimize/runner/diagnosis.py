"""What a script's output means: its progress lines, its final summary, and how it came to its end.

Text in, values out. It runs nothing, reads no file and gives an ending no consequence (one table in `consequences.py` does).
A new cause of death is a `TrialStatus`, a row in `causes.py` and a row in `consequences.py`.
"""

from __future__ import annotations

import math
import re
import signal
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from optimize.runner.causes import CAUSES
from optimize.text import one_line
from optimize.trial import Metric, Progress, TrialStatus

_TRACEBACK = "Traceback (most recent call last)"
_CHAINED = re.compile(r"^(?:During handling of the above exception|The above exception was the direct cause)")
_RANK = re.compile(r"^\[rank\d+\]:\s?")  # torchrun
_BARE_ERROR = re.compile(r"^(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception)(?::|$)")
_FRAME = re.compile(r'^\s+File "([^"]+)", line \d+')


class Raised(NamedTuple):
    message: list[str]  # `SomeError: message`, and how it goes on
    file: str  # of the innermost frame
    source: str  # the line of code that raised


def exceptions(lines: list[str]) -> Iterator[Raised]:
    """The last exception, then those that it came from, back to the first of the chain."""
    starts = [i for i, line in enumerate(lines) if _TRACEBACK in line]
    if not starts and lines and (bare := [line for line in lines[-3:] if _BARE_ERROR.match(line)]):
        yield Raised(bare[-1:], "", "")  # a SyntaxError has no traceback
    end = len(lines)
    for start in reversed(starts):
        yield _raised(lines[start + 1 : end])
        end = start
        if not any(_CHAINED.match(_RANK.sub("", line)) for line in lines[max(start - 3, 0) : start]):
            return


def _raised(lines: list[str]) -> Raised:
    body = [_RANK.sub("", line) for line in lines]
    frames = [i for i, line in enumerate(body) if _FRAME.match(line)]
    first = next((i for i in range(len(body)) if not body[i].startswith(" ")), len(body))
    message = [line for line in body[first : first + 12] if not _CHAINED.match(line)]
    inner = [i for i in frames if i < first]
    file = _FRAME.match(body[inner[-1]])[1] if inner else ""  # type: ignore[index]
    source = body[inner[-1] + 1].strip() if inner and inner[-1] + 1 < first else ""
    return Raised(message, file, source)


def after_last_traceback(lines: list[str]) -> list[str]:
    starts = [i for i, line in enumerate(lines) if _TRACEBACK in line]
    return lines[starts[-1] :] if starts else lines


REASON_CHARS = 300
VALUE_CHARS = 200
LAST_WORD_CHARS = 60  # a number, its name, and the blanks that wipe a longer line
SUMMARY_KEYS = 64  # a summary is a dozen lines; a log that happens to look like one is not kept whole
TAIL_CHARS = 1 << 16  # where a cause of death is looked for: the last words, never a banner at the start
TAIL_LINES = 50  # of them, when there is no traceback


@dataclass(frozen=True, slots=True)
class Exit:
    """The bare facts of a process's end: what `judge` knows besides the log."""

    code: int | None  # as in Popen: negative is a signal; None: it never started
    seconds: float
    stopped: TrialStatus | None = None  # why we ended it; None: it ended by itself
    why: str = ""


class HeardMetric(NamedTuple):
    """What was heard of the metric while the script printed, the part of its log included that was cut."""

    value: float | str | None = None  # in the lines that say it; None: there was none
    has_block: bool = False  # was there ever a line `---`?


class Diagnosis(NamedTuple):
    status: TrialStatus
    reason: str
    summary: Mapping[str, float | str]


# --- progress ---------------------------------------------------------------------------------------------------------

_NUMBER = r"([-+]?(?:[\d,]*\.?\d+(?:e[-+]?\d+)?|(?:nan|inf)\b))"
_STEP = re.compile(r"^\s*step:?\s+(\d+)(?:\s*/\s*(\d+))?", re.IGNORECASE | re.ASCII)
_PERCENT = re.compile(r"\(\s*(\d+(?:\.\d+)?)\s*%\s*\)", re.ASCII)
_LOSS = re.compile(r"\b(?:train_)?loss:?\s*" + _NUMBER, re.IGNORECASE | re.ASCII)
_TOKENS = re.compile(r"\btok(?:ens)?/s(?:ec)?:?\s*" + _NUMBER, re.IGNORECASE | re.ASCII)
_REMAINING = re.compile(r"\bremaining:?\s*" + _NUMBER + r"\s*s", re.IGNORECASE | re.ASCII)
_LAST_WORD = re.compile(_REMAINING.pattern + r"\s*$", re.IGNORECASE | re.ASCII)


def parse_progress(line: str, number: int = 0) -> Progress | None:
    """`step 00100 (33.3%) | loss: 3.456789 | ... | tok/sec: 1,234 | ... | remaining: 200s`, as autoresearch prints it.

    Forks leave fields out or print `n/a`: those are None. A line without a share of the budget is progress too, at 0.
    """
    step = _STEP.match(line[:VALUE_CHARS])
    if step is None:
        return None
    line = line[: 4 * VALUE_CHARS]
    return Progress(
        number=number,
        fraction=_fraction(line, step),
        step=_whole(step[1]),
        loss=_number(_LOSS, line),
        tokens_per_s=_number(_TOKENS, line),
        remaining_s=_number(_REMAINING, line),
    )


def is_whole_progress(line: str) -> bool:
    """Whether such a line, though it has not ended, holds all that a curve is made of: more of it could change nothing."""
    if _LAST_WORD.search(line[-LAST_WORD_CHARS:]) is None:
        return False
    said = line[: 4 * VALUE_CHARS]
    return all(pattern.search(said) for pattern in (_STEP, _PERCENT, _LOSS, _REMAINING))


def _fraction(line: str, step: re.Match[str]) -> float:
    if percent := _PERCENT.search(line):
        return min(round(float(percent[1]) / 100, 9), 1.0)
    done, total = _whole(step[1]), _whole(step[2])
    return min(done / total, 1.0) if done is not None and total else 0.0


def _whole(digits: str | None) -> int | None:
    return int(digits) if digits and len(digits) <= 15 else None


def _number(pattern: re.Pattern[str], line: str) -> float | None:
    found = pattern.search(line)
    return float(found[1].replace(",", "")) if found else None


# --- the final summary ------------------------------------------------------------------------------------------------

_ENTRY = re.compile(r"^([A-Za-z_][\w./ -]{0,60}?)\s*:\s+(\S.*?)\s*$")
_FLOAT = re.compile(
    r"^[-+]?(?:\d+\.?\d*(?:e[-+]?\d+)?|\.\d+(?:e[-+]?\d+)?|nan|inf|infinity)$", re.IGNORECASE | re.ASCII
)


def parse_summary(log: str) -> dict[str, float | str]:
    """The `key:   value` lines after the last line that is exactly `---`; numbers where they are numbers."""
    return _summary_and_rest(log)[0]


def _summary_and_rest(log: str) -> tuple[dict[str, float | str], str]:
    """The summary, and what the script printed after it."""
    start = _last_rule(log)
    if start is None:
        return {}, log
    summary: dict[str, float | str] = {}
    for match in re.finditer(r"([^\r\n]*)(?:\r\n|[\r\n]|$)", log[start:]):
        entry = _ENTRY.match(match[1][: 2 * VALUE_CHARS])
        if len(summary) >= SUMMARY_KEYS or (entry is None and (match[1] or summary)):
            return summary, log[start + match.start() :]
        if entry is not None:
            summary[entry[1]] = parse_value(entry[2])
    return summary, ""


def _last_rule(log: str) -> int | None:
    """Where the text after the last `---` line begins."""
    at = ("\n" + log.replace("\r", "\n") + "\n").rfind("\n---\n")
    return None if at < 0 else min(at + len("---\n"), len(log))


def parse_value(text: str) -> float | str:
    """A number where it is one, `nan` and `inf` included."""
    return float(text) if _FLOAT.match(text) else text[:VALUE_CHARS]


# --- endings ----------------------------------------------------------------------------------------------------------


def judge(log: str, end: Exit, metric: Metric, heard: HeardMetric | None = None) -> Diagnosis:
    """How a trial ended, why in one line, and its summary. One that completed is complete, whatever else was said.

    The metric is the summary's, unless it has lines of its own (`metric.regex`) or the script has no `---` at all.
    """
    summary, rest = _summary_and_rest(log)
    heard = heard if heard is not None else HeardMetric(has_block=True)
    in_lines = bool(metric.regex) or not heard.has_block
    if in_lines:
        summary = {name: value for name, value in summary.items() if name != metric.name}
        summary |= {} if heard.value is None else {metric.name: heard.value}
    value = summary.get(metric.name)
    is_final = end.stopped is None and end.code == 0 if in_lines else _is_last_word(log, rest, end)
    if isinstance(value, float) and math.isfinite(value) and is_final:
        reason = f"ended by us after its summary: {end.why}" if end.stopped else ""
        return Diagnosis(TrialStatus.COMPLETE, one_line(reason, REASON_CHARS), summary)
    status, reason = _stopped(end) or _cause_of(log, end) or _without_result(value, log, end, metric)
    return Diagnosis(status, one_line(reason, REASON_CHARS), summary)


def _is_last_word(log: str, rest: str, end: Exit) -> bool:
    """Is the summary the script's own end, or a block that something else came after?

    A script that we had to end after its whole summary (it hung in its teardown, or the driver died) has a result too.
    """
    if end.stopped:
        return not rest.strip() and log.endswith(("\n", "\r"))  # a line cut short could be a number cut short
    return end.code == 0 and not any(parse_progress(line) for line in _lines(rest[-TAIL_CHARS:]))


def _stopped(end: Exit) -> tuple[TrialStatus, str] | None:
    return (end.stopped, end.why or str(end.stopped)) if end.stopped else None


def _cause_of(log: str, end: Exit) -> tuple[TrialStatus, str] | None:
    """The cause in the last words: in the traceback at the end if there is one, else in the last lines."""
    if end.code in (-signal.SIGKILL, 128 + signal.SIGKILL):  # the latter as a shell tells it
        return TrialStatus.OUT_OF_MEMORY, "killed by SIGKILL, not by us: most likely the kernel's out-of-memory killer"
    lines = list(_lines(log[-TAIL_CHARS:]))
    errors = list(exceptions(lines))
    if any(line == "FAIL" or line.endswith(" FAIL") for line in after_last_traceback(lines)[-5:]):
        return TrialStatus.DIVERGED, "the script printed FAIL: its loss was NaN or too high"
    if errors:
        return _match(line for error in errors for line in error.message) or _judge_exception(errors[0])
    return _match(reversed(lines[-TAIL_LINES:])) if end.code != 0 else None


def _match(lines: Iterable[str]) -> tuple[TrialStatus, str] | None:
    """The first line that names a cause, and what to do about it."""
    for line in lines:
        for cause in CAUSES:
            if cause.pattern.search(line):
                said = line.strip()[: REASON_CHARS - len(cause.advice) - 2]
                return cause.status, f"{said}. {cause.advice}" if cause.advice else said
    return None


def _without_result(value: float | str | None, log: str, end: Exit, metric: Metric) -> tuple[TrialStatus, str]:
    """No cause was named: what the metric and the exit code alone say."""
    if isinstance(value, float) and not math.isfinite(value):
        return TrialStatus.DIVERGED, f"{metric.name} is {value}"
    if end.code == 0:
        return TrialStatus.CRASHED, f"ended with exit code 0, but {_what_is_missing(value, log, metric)}"
    last = next(iter(reversed(list(_lines(log[-TAIL_CHARS:])))), "it printed nothing")
    return TrialStatus.CRASHED, f"{_exit_words(end.code)}: {last}"


def _what_is_missing(value: float | str | None, log: str, metric: Metric) -> str:
    if value is not None and not isinstance(value, float):
        return f"{metric.name} is not a number: {value}"
    if metric.regex:
        return f"no line of it matches the metric's regex `{metric.regex}`. Correct it in workload.toml"
    if value is not None:
        return "its summary (`---`) came before its training"
    if _last_rule(log) is None:
        return (
            f"without a summary (`---`) or a line `{metric.name}: ...`. `metric` in workload.toml says what to look for"
        )
    return f"without `{metric.name}` in its summary"


def _exit_words(code: int | None) -> str:
    if code is None or code >= 0:
        return f"exit code {code}"
    try:
        return f"ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"ended by signal {-code}"


def _judge_exception(error: Raised) -> tuple[TrialStatus, str]:
    """An assertion of the script's own is about its parameters; one inside a library is a crash like any other."""
    text = " ".join(error.message) or "a traceback without its last line"
    if not text.startswith("AssertionError"):
        return TrialStatus.CRASHED, text
    if re.search(r"site-packages|dist-packages|/lib/python\d|^<frozen", error.file):
        return TrialStatus.CRASHED, f"{text} ({error.file})"
    says = text if text.strip(": ") != "AssertionError" else f"AssertionError: {error.source}"
    return _match([error.source]) or (TrialStatus.INFEASIBLE, says)


def _lines(text: str) -> Iterator[str]:
    """Non-empty lines, trailing blanks off; a terminal's carriage return ends a line as well."""
    return (line for line in (raw.rstrip() for raw in re.split(r"[\r\n]+", text)) if line)
