"""Reads what workload.toml says of a script's output: where its metric stands, and what its progress lines look like.

It checks the regular expressions before any trial, also for patterns that would take too long on a line (`is_slow`).
`runner/progress.py` applies them to the lines of a running trial.
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Iterator

from optimize.runner.numbers import compile_pattern
from optimize.runner.progress import GROUPS, LINE_CHARS
from optimize.script.derived import read_expression
from optimize.toml import Table
from optimize.trial import Metric, ProgressFormat
from search_spaces import Expression

MAX_CHARS = 200
MAX_S = 0.05  # of processor time on one line; a sound one takes some millionths


def mistake(text: str, groups: Collection[str] | None) -> str:
    """Return what is wrong with the regex and what to do, "" if nothing is.

    `groups`: the names of groups that it may have; None: it has one group, which needs no name.
    """
    if not text or len(text) > MAX_CHARS or "\n" in text:
        return f"is not one line of 1 to {MAX_CHARS} characters. Shorten it."
    try:
        regex = compile_pattern(text)
    except (re.error, RecursionError, OverflowError) as error:
        return f"is not a regular expression: {error}. Correct it."
    if problem := _bad_groups(regex, groups):
        return problem
    if is_slow(regex):
        return "takes too long on a line that it does not match. Repeat nothing that repeats itself, as in (a+)+."
    return ""


def _bad_groups(regex: re.Pattern[str], groups: Collection[str] | None) -> str:
    named = sorted(regex.groupindex)
    if groups is None:
        if regex.groups == 1:
            return ""
        return (
            f"has {regex.groups or 'no'} groups. Put the value, and nothing else, in one, such as: val loss {{number}}."
        )
    if foreign := [name for name in named if name not in groups]:
        return f"has the group {', '.join(foreign)}. Known are {', '.join(groups)}."
    return "" if named else f"has no named group. Use some of {', '.join(f'(?P<{name}>...)' for name in groups)}."


def is_slow(regex: re.Pattern[str]) -> bool:
    """Return whether the regex takes more than MAX_S of processor time on a line that it does not match."""
    for probe in _probes(regex.pattern):
        length = 8.0
        while length <= LINE_CHARS:
            line = (probe * (int(length) // len(probe) + 1))[: int(length) - 1] + "\0"
            if all(_cost_s(regex, line) > MAX_S for _ in range(2)):  # once may be a garbage collection
                return True
            length = length + 1 if length < 32 else length * 1.2
    return False


def _cost_s(regex: re.Pattern[str], line: str) -> float:
    began = time.thread_time()  # other threads of this process may be running
    regex.search(line)
    return time.thread_time() - began


def _probes(pattern: str) -> Iterator[str]:
    """Yield texts whose repetition may be slow to match: the regex's own characters and words, and those of numbers."""
    words = re.findall(r"[A-Za-z0-9_:=,.%/ -]+", pattern) + re.findall(r"[A-Za-z0-9]+", pattern)
    yield from sorted(
        {*"a0 .-", *(c for c in pattern if c.isprintable()), *words, *(f"{w} " for w in words), "0.", "a "}
    )


TAKES = ("last", "min", "max")


def read_metric(table: Table) -> Metric:
    """Return the metric of the keys `metric`, a name or `{ name, regex, take }`, and `direction`."""
    direction = table.text("direction", "minimize")
    if direction not in ("minimize", "maximize"):
        table.problems.append(f"{table.where}: direction: {direction!r}. Use minimize or maximize.")
    if not table.is_table("metric"):
        return _named(Metric(table.text("metric", "val_bpb"), direction), table)
    inner = table.table("metric")
    metric = Metric(inner.text("name", "val_bpb"), direction, inner.text("regex", ""), inner.text("take", "last"))
    inner.finish()
    if metric.take not in TAKES:
        inner.problems.append(f"{inner.where} take: {metric.take!r}. Use {', '.join(TAKES)}.")
    if problem := mistake(metric.regex, None):
        inner.problems.append(f"{inner.where} regex: {metric.regex!r:.80} {problem}")
        metric = Metric(metric.name, direction)
    return _named(metric, inner)


def _named(metric: Metric, table: Table) -> Metric:
    if not metric.name.strip() or not metric.name.isprintable():
        table.problems.append(
            f"{table.where}: metric: {metric.name!r:.60} is not a name. Use a word, such as val_loss."
        )
    return metric


def read_progress(table: Table) -> tuple[ProgressFormat, Expression | None]:
    """Return the format of the key `progress`, `{ regex, total }` or false, and its total over the scripts' constants."""
    if not table.is_table("progress"):
        return ProgressFormat(none=not table.flag("progress", True)), None
    inner = table.table("progress")
    regex, total = inner.text("regex", ""), inner.text("total", "")
    inner.finish()
    if problem := mistake(regex, GROUPS):
        inner.problems.append(f"{inner.where} regex: {regex!r:.80} {problem}")
        regex = ""
    return ProgressFormat(regex), read_expression(total, f"{inner.where} total", inner.problems)
