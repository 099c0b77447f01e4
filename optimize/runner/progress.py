"""Reads a script's output while it prints: its metric, and its progress in whatever words it has.

It works line by line on the stream, because a log keeps its head and its tail only. The lowest of a thousand values may be
in what was cut. It keeps no text; what a value or its absence means is decided in `diagnosis.py`.
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Callable, Iterable

from optimize.runner.diagnosis import PrintedMetric, is_whole_progress, parse_progress, parse_value
from optimize.runner.limited_regex import LimitedRegex
from optimize.runner.metric_lines import LINE_CHARS, MetricColumn, MetricLine
from optimize.runner.numbers import whole_number
from optimize.text import one_line, without_colours
from optimize.trial import Job, Metric, Progress, ProgressFormat

LINE_BYTES = 4096  # of a line that is parsed at all, and kept while its end has not come
CURVE_POINTS = 200
SHOWN_CHARS = 60  # of a line that a regex took too long on
GROUPS = ("step", "total", "percent", "loss")  # of a progress regex
_NON_FINITE = re.compile(r"[-+]?\b(?:nan|inf(?:inity)?)\b", re.IGNORECASE)
_SOME_NUMBER = "0.0000"


class OutputParser:
    """Parse the output of one trial, in whatever pieces it comes. A `\\r` ends a line as well."""

    def __init__(self, job: Job, on_progress: Callable[[Progress], None]) -> None:
        self.metric, self._progress = MetricParser(job.metric), ProgressParser(job.progress, job.number)
        self.begun = False  # has there been a progress line, a summary, or the metric?
        self.curve: list[tuple[float, float]] = []
        self._on_progress, self._last = on_progress, ""
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """Take the next piece of output."""
        *lines, rest = (self._rest + data).replace(b"\r", b"\n").split(b"\n")
        for line in lines:
            self._parse(line[:LINE_BYTES])
        self._rest = rest[:LINE_BYTES]  # its beginning: a regex may match anywhere in a line
        if unfinished := self._progress.parse_unfinished(self._rest):
            self._report(unfinished)

    def close(self) -> None:
        """Take what is left as the last line."""
        self._parse(self._rest)
        self._rest = b""

    def tells_progress(self, line: str) -> bool:
        """Return whether this line of the log tells that the training went on: progress or the metric, in its own words."""
        data = line.encode()[:LINE_BYTES]
        return self._progress.parse(data) is not None or self.metric.holds(data)

    def gave_up(self) -> str:
        """Return why a regex of workload.toml is not applied any more, "" while all are."""
        for key, regex in self._regexes():
            if regex.gave_up:
                return (
                    f"{key}.regex in workload.toml takes too long on lines such as {one_line(regex.example, SHOWN_CHARS)!r}. "
                    "Repeat nothing that repeats itself, as in (a+)+"
                )
        return ""

    def skipped(self) -> str:
        """Return which lines were skipped because a regex took too long on them, "" if none."""
        return "; ".join(
            f"{key}.regex took too long on {regex.skipped} of its lines, such as {one_line(regex.example, SHOWN_CHARS)!r}: skipped"
            for key, regex in self._regexes()
            if regex.skipped
        )

    def _regexes(self) -> list[tuple[str, LimitedRegex]]:
        found = (("metric", self.metric.regex), ("progress", self._progress.regex))
        return [(key, regex) for key, regex in found if regex is not None]

    def _parse(self, line: bytes) -> None:
        if self.metric.parse(line) or _plain(line) == "---":
            self.begun = True
        if progress := self._progress.parse(line):
            self._report(progress)

    def _report(self, progress: Progress) -> None:
        shown = repr(progress)  # a loss that is nan does not equal itself
        if shown == self._last:
            return
        self.begun, self._last = True, shown
        self._extend_curve(progress)
        self._on_progress(progress)

    def _extend_curve(self, progress: Progress) -> None:
        reached = self.curve[-1][0] if self.curve else -1.0
        if progress.loss is None or not math.isfinite(progress.loss):
            return
        if progress.fraction - reached >= 1 / CURVE_POINTS or progress.fraction >= 1 > reached:
            self.curve.append((progress.fraction, progress.loss))


class MetricParser:
    """Find the metric in the lines of one trial."""

    def __init__(self, metric: Metric) -> None:
        self.regex, self._take = LimitedRegex(metric.regex) if metric.regex else None, metric.take
        self._start, self._line = f"{metric.name}:", MetricLine(metric.name)
        self._column, self._in_table = MetricColumn(metric.name), False
        self._value: float | str | None = None
        self._has_block = False
        self._named: deque[bytes] = deque(maxlen=8)  # the last lines that may have the metric's name beside a number

    def parse(self, line: bytes) -> bool:
        """Parse one line. Return whether it holds the metric."""
        if _plain(line) == "---":
            self._has_block = True
        if found := self._text(line):
            self._keep(parse_value(found))
        if (not found or self.regex is None) and self._line.may_be_in(line):
            self._named.append(line)
            self._in_table = True
        if self._in_table and not found:
            self._column.read(_plain(line))
        return bool(found)

    def read_file(self, lines: Iterable[bytes]) -> None:
        """Take the lines of a file, in the place of all that was printed."""
        self._value = None
        for line in lines:
            self.parse(line)

    def holds(self, line: bytes) -> bool:
        """Return whether a line holds the metric as a number."""
        found = self._text(line)
        return bool(found) and isinstance(parse_value(found or ""), float)

    def _text(self, line: bytes) -> str | None:
        if self.regex is not None:
            text = line[: 4 * LINE_CHARS].decode("utf-8", "replace")
            return _find(self.regex, text) or (_find(self.regex, without_colours(text)) if "\x1b" in text else None)
        if not self._line.may_be_in(line):
            return None
        text = _plain(line)
        number = self._line.number(text)
        return number or (text[len(self._start) : LINE_CHARS].strip() if text.startswith(self._start) else None)

    def found(self) -> PrintedMetric:
        """Return the value to take of all lines so far."""
        quotes = filter(None, (self._line.quote(_plain(line)) for line in reversed(self._named)))
        return PrintedMetric(self._value, self._has_block, next(quotes, "") or self._column.quote())

    def _keep(self, value: float | str) -> None:
        """Keep the value to take. One that is not finite stays, whatever comes before or after it."""
        before = self._value
        if self._take == "last" or not isinstance(before, float):
            self._value = value
        elif isinstance(value, float) and math.isfinite(before):
            self._value = value if not math.isfinite(value) else (min if self._take == "min" else max)(before, value)


def _find(regex: LimitedRegex, line: str) -> str | None:
    """Return what its group matches in the first LINE_CHARS of this line, a number whole even where the group cuts it.

    `nan` and `inf` count as numbers, whatever the regex says.
    """
    whole, line = line, line[:LINE_CHARS]
    small = line.lower()
    words = list(_NON_FINITE.finditer(line)) if "nan" in small or "inf" in small else []
    if words:
        found = regex.search(_NON_FINITE.sub(_SOME_NUMBER, line))
        shift = 0
        for word in words if found else ():
            start = word.start() + shift
            if found and found.start(1) < start + len(_SOME_NUMBER) and start < found.end(1):
                return word[0]
            shift += len(_SOME_NUMBER) - len(word[0])
    found = regex.search(line)
    return whole_number(whole, *found.span(1)) if found and found[1] is not None else None


class ProgressParser:
    """Parse the progress lines of one trial."""

    def __init__(self, form: ProgressFormat, number: int) -> None:
        self._form, self._number = form, number
        self.regex = LimitedRegex(form.regex) if form.regex else None

    def parse(self, line: bytes) -> Progress | None:
        """Return the progress that this line tells, None if it tells none."""
        if self._form.none:
            return None
        if self.regex is not None:
            text = line[: 4 * LINE_CHARS].decode("utf-8", "replace")
            return self._read(self.regex, text) or (self._read(self.regex, _plain(line)) if "\x1b" in text else None)
        if b"\x1b" not in line and line[:16].lstrip()[:4].lower() != b"step":
            return None
        return parse_progress(without_colours(line.decode("utf-8", "replace")), self._number)

    def parse_unfinished(self, line: bytes) -> Progress | None:
        """Return the progress of a line without its end yet: one that is rewritten ends only when the next one comes.

        Only autoresearch's lines are parsed so: their last field shows that they are whole.
        """
        if self.regex is not None or not is_whole_progress(without_colours(line.decode("utf-8", "replace"))):
            return None
        return self.parse(line)

    def _read(self, regex: LimitedRegex, line: str) -> Progress | None:
        found = regex.search(line[:LINE_CHARS])
        if found is None:
            return None
        named = {name: whole_number(line, *found.span(name)) for name, text in found.groupdict().items() if text}
        step, total, percent, loss = (_number(named.get(name)) for name in GROUPS)
        total = total or self._form.total
        share = percent / 100 if percent is not None else step / total if step is not None and total else 0.0
        fraction = min(max(share, 0.0), 1.0)
        return Progress(self._number, round(fraction, 9), int(step) if step is not None else None, loss)


def _plain(line: bytes) -> str:
    """The beginning of a line without its colours."""
    return without_colours(line[: 4 * LINE_CHARS].decode("utf-8", "replace"))


def _number(text: str | None) -> float | None:
    value = parse_value(text.replace(",", "")) if text else None
    return value if isinstance(value, float) and math.isfinite(value) else None
