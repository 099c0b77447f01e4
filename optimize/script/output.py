"""What a script prints, as workload.toml describes it: where its metric stands, and what its progress lines look like.

Read and checked here, before any trial; what the lines of a running trial say is heard in `jobs/hearing.py`.
"""

from __future__ import annotations

from optimize.jobs.hearing import GROUPS
from optimize.script.derived import read_expression
from optimize.script.patterns import mistake
from optimize.script.toml_table import Table
from optimize.trial import Metric, ProgressFormat
from search_spaces import Expression

TAKES = ("last", "min", "max")


def read_metric(table: Table) -> Metric:
    """The keys `metric`, a name or `{ name, regex, take }`, and `direction`."""
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
            f"{table.where}: metric: {metric.name!r:.60} is no name. Give it a word, such as val_loss."
        )
    return metric


def read_progress(table: Table) -> tuple[ProgressFormat, Expression | None]:
    """The key `progress`, `{ regex, total }` or false; the total is an expression over the scripts' constants."""
    if not table.is_table("progress"):
        return ProgressFormat(none=not table.flag("progress", True)), None
    inner = table.table("progress")
    regex, total = inner.text("regex", ""), inner.text("total", "")
    inner.finish()
    if problem := mistake(regex, GROUPS):
        inner.problems.append(f"{inner.where} regex: {regex!r:.80} {problem}")
        regex = ""
    return ProgressFormat(regex), read_expression(total, f"{inner.where} total", inner.problems)
