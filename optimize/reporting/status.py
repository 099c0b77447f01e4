"""What `optimize status` prints: a study's trials, its best one, what pruning did, or a line for each study.

It opens nothing and prints nothing. The page about one trial is in `terminal.py`, the JSON in `status_json.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from optimize.reporting.hints import command_line
from optimize.search.pruner import CONFIDENCE, summarize_pruning
from optimize.study.best import BestTrial
from optimize.study.stored import Overview
from optimize.text import changes, duration, gain_text, value_text
from optimize.trial import Metric
from storage import TrialRecord

COLOURS = {"COMPLETE": "default", "PRUNED": "yellow", "FAIL": "red", "RUNNING": "cyan", "WAITING": "dim"}


def study_table(
    records: Sequence[TrialRecord], best: BestTrial | None, metric: Metric, baseline: Mapping[str, object]
) -> Table:
    """Return a table with a line for each of these trials; the study's best one is marked if it is among them."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title, justify in (("trial", "right"), (metric.name, "right"), ("ending", "left"), ("took", "right")):
        table.add_column(title, justify=justify)  # type: ignore[arg-type]
    table.add_column("parameters", overflow="fold")
    for record in records:
        is_best = best is not None and record.number == best.record.number
        style = "bold green" if is_best else COLOURS[record.state]
        value = "" if record.value is None else value_text(record.value)
        is_luckiest = best is not None and record.number == best.luckiest.number
        words = "best" if is_best else "best single value" if is_luckiest else record.status or record.state.lower()
        ending = words + (" (copied)" if record.taken_from else "")
        table.add_row(
            str(record.number),
            value,
            ending,
            "" if record.seconds is None else duration(record.seconds),
            changes(record.params, baseline) if record.params else record.reason,
            style=style,
        )
    return table


def overview_table(studies: Sequence[Overview]) -> RenderableType:
    """Return a table with a line for each study."""
    if not studies:
        return Text(f"no study yet; to run one: {command_line('run')}")
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title, justify in (
        ("study", "left"),
        ("complete", "right"),
        ("pruned", "right"),
        ("failed", "right"),
        ("best", "right"),
    ):
        table.add_column(title, justify=justify)  # type: ignore[arg-type]
    table.add_column("run by")
    for study in studies:
        counts = (str(study.counts[state]) for state in ("COMPLETE", "PRUNED", "FAIL"))
        table.add_row(
            study.name,
            *counts,
            study.no_best and "none" if study.best is None else value_text(study.best.record.value),
            study.driver or "nobody",
        )
    return table


def best_lines(best: BestTrial | None, metric: Metric) -> list[str]:
    """Return which trial is the best and how sure that is; and which has the best single value, if that is another one."""
    if best is None:
        return []
    value = value_text(best.record.value or 0.0)
    return [f"best {metric.name} {value} in trial {best.record.number}, {best}", *filter(None, [best.aside])]


def pruning_lines(records: Sequence[TrialRecord], metric: Metric) -> list[str]:
    """Return what pruning did in one line; none if it found no trial hopeless."""
    done = summarize_pruning(records, metric)
    if not done.cut and not done.ran_on:
        return []
    line = f"pruning: {done.cut} trial{'s' if done.cut != 1 else ''} cut, about {duration(done.saved_s)} saved"
    if done.ran_on:
        line += f"; {done.ran_on} more {'were' if done.ran_on != 1 else 'was'} hopeless and ran on"
        line += f", {done.missed} of them into the top quarter"
        line += f" (so at most {done.at_most:.0%} of hopeless trials belong there, {CONFIDENCE * 100:.0f} % confidence)"
    return [line]


def trial_line(
    record: TrialRecord,
    best_before: TrialRecord | None,
    metric: Metric,
    baseline: Mapping[str, object],
    but: Sequence[str] = (),
) -> Text:
    """Return one ended trial on one line; `but` are its caveats."""
    line = Text(f"{record.number:>5}  ")
    took = duration(record.seconds or 0.0)
    what = "again" if record.requeue_of is not None else record.kind
    params = ("" if what in ("sampler", "") else f"{what}: ") + changes(record.params, baseline)
    if record.value is not None:
        is_best = best_before is None or metric.better(record.value, best_before.value or 0.0)
        line.append(value_text(record.value), style="bold green" if is_best else "")
        line.append(f"  {_versus(record.value, best_before, is_best):<15}", style="green" if is_best else "dim")
        line.append(f"{took:>10}  {params}", style="" if is_best else "dim")
        return line.append("".join(f"  (but: {caveat})" for caveat in but), style="yellow")
    line.append(f"{record.status or record.state.lower():<25}", style=COLOURS[record.state])
    line.append(f"{took:>10}  {params}", style="dim")
    return line.append(f"\n{'':>7}{record.reason}", style=COLOURS[record.state])


def _versus(value: float, best: TrialRecord | None, is_best: bool) -> str:
    if best is None or best.value is None:
        return "first"
    return f"{'best ' if is_best else ''}{gain_text(value - best.value)}".strip()
