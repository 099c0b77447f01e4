"""Reads what workload.toml says of a script's output: where its metric stands, and what its progress lines look like.

It checks the regular expressions before any trial, also for patterns that would take too long on a line (`regex_probe.py`).
`runner/progress.py` applies them to the lines of a running trial.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import PurePosixPath

from optimize.runner.numbers import compile_pattern
from optimize.runner.progress import GROUPS
from optimize.script.derived import read_expression
from optimize.script.regex_probe import is_slow
from optimize.toml import Table
from optimize.trial import Metric, ProgressFormat
from search_spaces import Expression

MAX_CHARS = 200


def mistake(text: str, groups: Collection[str] | None) -> str:
    """Return what is wrong with the regex and what to do, "" if nothing is.

    `groups`: the names of groups that it may have; None: it has one group, which needs no name.
    """
    if not text:
        return "is empty. Write one, or leave the key out."
    if len(text) > MAX_CHARS or "\n" in text:
        return f"is not one line of at most {MAX_CHARS} characters. Shorten it."
    try:
        if is_slow(text):  # before it is compiled here: that may take long as well
            return "takes too long on a line that it does not match. Repeat nothing that repeats itself, as in (a+)+."
        regex = compile_pattern(text)
    except ChildProcessError as error:
        return f"cannot be tried in a process of its own: {error.strerror}. Correct that and try again."
    except OSError as error:
        return f"cannot be tried in a process of its own: {error.strerror}. Close other programs and try again."
    except (re.error, RecursionError, OverflowError) as error:
        return f"is not a regular expression: {error}. Correct it."
    return _bad_groups(regex, groups)


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


TAKES = ("last", "min", "max")


def read_metric(table: Table) -> Metric:
    """Return the metric of the keys `metric`, a name or `{ name, regex, take, file }`, and `direction`."""
    direction = table.text("direction", "minimize")
    if direction not in ("minimize", "maximize"):
        table.problems.append(f"{table.where}: direction: {direction!r}. Use minimize or maximize.")
    if not table.is_table("metric"):
        return _named(Metric(table.text("metric", "val_bpb"), direction), table)
    inner = table.table("metric")
    name, regex, take = inner.text("name", "val_bpb"), inner.text("regex", ""), inner.text("take", "last")
    metric = Metric(name, direction, regex, take, inner.text("file", ""))
    inner.finish()
    path = PurePosixPath(metric.file)
    if metric.file and (path.is_absolute() or ".." in path.parts or not metric.file.isprintable()):
        inner.problems.append(
            f"{inner.where} file: {metric.file!r:.80} is not a path inside a trial's folder. Name one."
        )
    if metric.take not in TAKES:
        inner.problems.append(f"{inner.where} take: {metric.take!r}. Use {', '.join(TAKES)}.")
    if not metric.regex and not metric.file and metric.take in ("min", "max"):
        inner.problems.append(f"{inner.where} take: {metric.take!r} is of lines that a regex finds. Add one.")
    if problem := metric.regex and mistake(metric.regex, None):
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
