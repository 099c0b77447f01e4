"""What a script's output means: its progress lines, its final summary, and why it ended.

Text in, values out. It runs nothing, reads no file, and says nothing of what an outcome means for the study: the table
CONSEQUENCES in `search/endings.py` does. A new cause of death is a `TrialStatus`, a row in CONSEQUENCES,
and a row in `causes.py`.
"""

from __future__ import annotations

import math
import re
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from optimize.runner.causes import ASIDE, CAUSES, KILLED, MISTAKE, ONLY_IN_PYTHON, SHELL_SAYS_FAULT, Cause
from optimize.runner.metric_lines import quote_last, told_instead
from optimize.runner.stop import StopRequest
from optimize.runner.tracebacks import Raised, after_last_progress, after_last_traceback, exceptions
from optimize.text import one_line, without_colours
from optimize.trial import Metric, Outcome, Progress, TrialStatus

ENDED_WELL = "ended with exit code 0"  # begins the reason of a trial without a result whose script did not fail
REASON_CHARS = 300
VALUE_CHARS = 200
LINE_END_CHARS = 60  # a number, its name, and the blanks that overwrite a longer line
SUMMARY_KEYS = 64  # a summary is a dozen lines; longer is a log that happens to look like one
TAIL_CHARS = 1 << 16  # where a cause of death is looked for: at the end, never in a banner at the start
TAIL_LINES = 50  # of them, when there is no traceback
LINE_CHARS = 4096  # of a line that is diagnosed: half from its beginning, half from its end


@dataclass(frozen=True, slots=True)
class Exit:
    """How a script's process ended: what `diagnose` knows besides the log."""

    code: int | None  # as in Popen: negative is a signal; None: it never started
    seconds: float  # of wall clock
    stop: StopRequest | None = None  # why we ended it; None: it ended by itself


class PrintedMetric(NamedTuple):
    """What a script printed of its metric, read line by line: a log may have lost its middle."""

    value: float | str | None = None  # None: no line had it
    has_block: bool = False  # was there ever a line `---`?
    quote: str = ""  # the last line that has the metric's name beside a number, and the regex for it


# --- progress ---------------------------------------------------------------------------------------------------------

_NUMBER = r"([-+]?(?:[\d,]*\.?\d+(?:e[-+]?\d+)?|(?:nan|inf)\b))"
_STEP = re.compile(r"^\s*step:?\s+(\d[\d,_]*)(?:\s*/\s*(\d[\d,_]*))?", re.IGNORECASE | re.ASCII)
_PERCENT = re.compile(r"\(\s*(\d+(?:\.\d+)?)\s*%\s*\)", re.ASCII)
_LOSS = re.compile(r"\b(?:train_)?loss:?\s*" + _NUMBER, re.IGNORECASE | re.ASCII)
_TOKENS = re.compile(r"\btok(?:ens)?/s(?:ec)?:?\s*" + _NUMBER, re.IGNORECASE | re.ASCII)
_REMAINING = re.compile(r"\bremaining:?\s*" + _NUMBER + r"\s*s", re.IGNORECASE | re.ASCII)
_LINE_END = re.compile(_REMAINING.pattern + r"\s*$", re.IGNORECASE | re.ASCII)


def parse_progress(line: str, number: int = 0) -> Progress | None:
    """Return the progress that a line tells as autoresearch prints it, None if it is no such line.

    `step 00100 (33.3%) | loss: 3.456789 | ... | tok/sec: 1,234 | ... | remaining: 200s`. Forks of it leave fields out or
    print `n/a`: those are None. A line without a share of the budget is progress too, at 0.
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
    """Return whether a progress line that has not ended yet holds all that a curve needs: more could change nothing."""
    if _LINE_END.search(line[-LINE_END_CHARS:]) is None:
        return False
    start = line[: 4 * VALUE_CHARS]
    return all(pattern.search(start) for pattern in (_STEP, _PERCENT, _LOSS, _REMAINING))


def _fraction(line: str, step: re.Match[str]) -> float:
    if percent := _PERCENT.search(line):
        return min(round(float(percent[1]) / 100, 9), 1.0)
    done, total = _whole(step[1]), _whole(step[2])
    return min(done / total, 1.0) if done is not None and total else 0.0


def _whole(digits: str | None) -> int | None:
    bare = digits.replace(",", "").replace("_", "") if digits else ""
    return int(bare) if bare and len(bare) <= 15 else None


def _number(pattern: re.Pattern[str], line: str) -> float | None:
    found = pattern.search(line)
    return float(found[1].replace(",", "")) if found else None


# --- the final summary ------------------------------------------------------------------------------------------------

_ENTRY = re.compile(r"^([A-Za-z_][\w./ -]{0,60}?)\s*:\s+(\S.*?)\s*$")
_FLOAT = re.compile(
    r"^[-+]?(?:\d+(?:\.\d*)?(?:e[-+]?\d+)?|\.\d+(?:e[-+]?\d+)?|nan|inf|infinity)$", re.IGNORECASE | re.ASCII
)


def parse_summary(log: str) -> dict[str, float | str]:
    """Return the `key:   value` lines after the last line that is exactly `---`, with numbers as floats."""
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
    """Return a number where the text is one, `nan` and `inf` included, else the text, cut to VALUE_CHARS."""
    return float(text) if _FLOAT.match(text) else text[:VALUE_CHARS]


# --- outcomes ---------------------------------------------------------------------------------------------------------


def diagnose(
    log: str,
    end: Exit,
    metric: Metric,
    printed: PrintedMetric | None = None,
    is_progress: Callable[[str], bool] = lambda line: False,
) -> Outcome:
    """Return how a trial ended: its status, the reason in one line, its summary and its log.

    A trial with a final value is COMPLETE, whatever else its log says. The metric is the summary's, unless it has lines of
    its own, a file, or the script has no `---` at all: then it is `printed`. `is_progress` knows the lines that
    count as progress beside autoresearch's: whatever stands before one did not end the script.
    """
    whole, log = log, without_colours(log)
    summary, rest = _summary_and_rest(log)
    printed = printed if printed is not None else PrintedMetric(has_block=True)
    in_lines = bool(metric.regex or metric.file) or not printed.has_block
    if in_lines:
        summary = {name: value for name, value in summary.items() if name != metric.name}
        summary |= {} if printed.value is None else {metric.name: printed.value}
    value = summary.get(metric.name)
    is_final = end.stop is None and end.code == 0 if in_lines else _is_final(log, rest, end)
    if isinstance(value, float) and math.isfinite(value) and is_final:
        status, reason = TrialStatus.COMPLETE, _after_its_summary(end)
    else:
        last = after_last_progress(
            list(_lines(log[-TAIL_CHARS:])),
            lambda line: bool(parse_progress(line)) or line.startswith(f"{metric.name}:") or is_progress(line),
        )
        status, reason = (
            _stopped(end) or _cause_of(last, end) or _without_result(value, log, end, metric, printed.quote, summary)
        )
    return Outcome(status, end.seconds, one_line(reason, REASON_CHARS), summary, whole)


def _is_final(log: str, rest: str, end: Exit) -> bool:
    """Whether the summary is the script's own end, and not a block that more training came after.

    A script has a result too that we had to end after its whole summary (it hung in its teardown, or the driver died), or that
    a signal ended there: NCCL and CUDA abort when a process group or a context goes.
    """
    is_whole = bool(rest) or log.endswith(("\n", "\r"))  # a line cut short could be a number cut short
    if end.stop:
        return is_whole and not rest.strip()
    goes_on = any(parse_progress(line) for line in _lines(rest[-TAIL_CHARS:]))
    return not goes_on and (end.code == 0 or (is_whole and _signal_of(end.code) is not None))


def _after_its_summary(end: Exit) -> str:
    """Why a process ended that had its result already; "" if by itself."""
    if end.stop:
        return f"ended by us after its summary: {end.stop.reason}"
    return f"{_exit_words(end.code)} after its summary" if end.code else ""


def _signal_of(code: int | None) -> int | None:
    """The signal that ended a process, by its exit code as Popen or a shell tells it."""
    if code is None or 0 <= code <= 128:
        return None
    number = -code if code < 0 else code - 128
    return number if number in signal.valid_signals() else None


def _stopped(end: Exit) -> tuple[TrialStatus, str] | None:
    if end.stop is None:
        return None
    return end.stop.status, one_line(end.stop.reason, REASON_CHARS) or str(end.stop.status)


_FAULTS = (signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGTRAP)


def _cause_of(lines: list[str], end: Exit) -> tuple[TrialStatus, str] | None:
    """The cause in the last words: in the traceback at the end if there is one, else in the last lines."""
    number = 0 if end.code == 0 else _signal_of(end.code)
    if number == signal.SIGKILL:
        return TrialStatus.OUT_OF_MEMORY, "killed by SIGKILL, not by us: most likely the kernel's out-of-memory killer"
    if end.code and any(SHELL_SAYS_FAULT.search(line) for line in lines[-3:]):
        number = signal.SIGSEGV
    errors = list(exceptions(lines))
    if any(line == "FAIL" or line.endswith(" FAIL") for line in after_last_traceback(lines)[-5:]):
        return TrialStatus.DIVERGED, "the script printed FAIL: its loss was NaN or too high"
    if errors:
        messages = [
            line
            for error in errors
            for i, line in enumerate(error.message)
            if _may_raise(line, number) and (i == 0 or not ASIDE.search(line))
        ]
        return (
            _match(messages, _statuses_of_exception(number))
            or _match(reversed(after_last_traceback(lines)), [TrialStatus.OUT_OF_MEMORY], [KILLED])
            or (_diagnose_exception(errors[0]) if number is None else None)
        )
    words = [line for line in lines[-TAIL_LINES:] if not ASIDE.search(line)]
    return _match(reversed(words), _statuses_of_last_lines(number)) if end.code != 0 else None


def _may_raise(line: str, number: int | None) -> bool:
    """Whether an exception's message names a cause: one that only Python raises ends a process with a code that is not 0."""
    return not MISTAKE.search(line) and (number is None or not ONLY_IN_PYTHON.search(line))


def _statuses_of_exception(number: int | None) -> Iterable[TrialStatus]:
    """What a traceback may tell of a process that ended by this signal, or with the exit code 0, which has caught it.

    The teardown may have aborted after the exception, and a script may end by itself at a lack of memory or a NaN.
    """
    if number is None:
        return TrialStatus
    tells = [TrialStatus.OUT_OF_MEMORY, TrialStatus.DIVERGED]
    return [*tells, TrialStatus.ENVIRONMENT, TrialStatus.DEVICE_FAILED] if number == signal.SIGABRT else tells


def _statuses_of_last_lines(number: int | None) -> Iterable[TrialStatus]:
    """What lines without a traceback may tell: C++ aborts at an error of its own, a bad address is none that has words."""
    if number is None:
        return TrialStatus
    if number == signal.SIGABRT:
        return [TrialStatus.OUT_OF_MEMORY, TrialStatus.ENVIRONMENT, TrialStatus.DEVICE_FAILED]
    return [] if number in _FAULTS else [TrialStatus.OUT_OF_MEMORY]


def _match(
    lines: Iterable[str], statuses: Iterable[TrialStatus] = TrialStatus, causes: Iterable[Cause] = CAUSES
) -> tuple[TrialStatus, str] | None:
    """The first line that names a cause of one of these statuses, and what to do about it."""
    possible = [cause for cause in causes if cause.status in statuses]
    for line in lines:
        for cause in possible:
            if cause.pattern.search(line):
                shown = line.strip()[: REASON_CHARS - len(cause.advice) - 2]
                return cause.status, f"{shown.rstrip('.')}. {cause.advice}" if cause.advice else shown
    return None


def _without_result(
    value: float | str | None, log: str, end: Exit, metric: Metric, quote: str, summary: Mapping[str, float | str]
) -> tuple[TrialStatus, str]:
    """No cause was named: what the metric and the exit code alone say, with a line that may have the result."""
    if isinstance(value, float) and not math.isfinite(value):
        return TrialStatus.DIVERGED, f"{metric.name} is {value}"
    if end.code == 0:
        names, lines = [name for name in summary if isinstance(summary[name], float)], list(_lines(log[-TAIL_CHARS:]))
        quote = quote or ("" if names else quote_last(metric.name, lines))
        told = quote or told_instead(names, lines)
        return TrialStatus.CRASHED, f"{ENDED_WELL}, but {_what_is_missing(value, log, metric, quote, told)}"
    last = next(iter(reversed(list(_lines(log[-TAIL_CHARS:])))), "it printed nothing")
    return TrialStatus.CRASHED, f"{_exit_words(end.code)}: {last}"


def _what_is_missing(value: float | str | None, log: str, metric: Metric, quote: str, told: str) -> str:
    """Say it, and after it what the script told: a `quote` that may be the result, else what it told instead."""
    then = f". {told}" if told else ""
    if value is not None and not isinstance(value, float):
        return f"{metric.name} is not a number{then if quote else f': {value}'}"
    if metric.file:
        return (
            f"without {metric.name} in {metric.file}, which the script should write. Correct `metric` in workload.toml"
        )
    if metric.regex:
        matches = f"no line of it matches the metric's regex `{metric.regex:.80}`. Correct it in workload.toml{then}"
        return f"no line of it matches its regex `{metric.regex:.30}`{then}" if quote else matches
    if value is not None:
        return "its summary (`---`) came before its training"
    if _last_rule(log) is not None:
        return f"without `{metric.name}` in its summary, the lines after the last `---`{then}"
    advice = "" if quote else ". Name what it prints with `metric` in workload.toml"
    return f"without a summary (`---`) or a line `{metric.name}: ...`{then}{advice}"


def _exit_words(code: int | None) -> str:
    number = _signal_of(code)
    if number is None:
        return f"exit code {code}"
    try:
        return f"ended by {signal.Signals(number).name}"
    except ValueError:
        return f"ended by signal {number}"


def _diagnose_exception(error: Raised) -> tuple[TrialStatus, str]:
    """An assertion of the script's own is about its parameters; one inside a library is a crash like any other."""
    text = " ".join(error.message) or "a traceback without its last line"
    if not text.startswith("AssertionError"):
        return TrialStatus.CRASHED, text
    if re.search(r"site-packages|dist-packages|/lib/python\d|^<frozen", error.file):
        return TrialStatus.CRASHED, f"{text} ({error.file})"
    reason = text if text.strip(": ") != "AssertionError" else f"AssertionError: {error.source}"
    return _match([error.source]) or (TrialStatus.INFEASIBLE, reason)


def _lines(text: str) -> Iterator[str]:
    """Non-empty lines, trailing blanks off; a terminal's carriage return ends a line as well."""
    return (_bounded(line) for line in (raw.rstrip() for raw in re.split(r"[\r\n]+", text)) if line)


def _bounded(line: str) -> str:
    """The beginning and the end of a long line: what a pattern costs may grow with a power of the length."""
    half = LINE_CHARS // 2
    return line if len(line) <= LINE_CHARS else f"{line[:half]} ... {line[-half:]}"
