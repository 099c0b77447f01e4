"""A verdict as text for a terminal. It opens nothing and prints nothing."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from optimize.confirm.campaign import VerdictState
from optimize.confirm.verdict import FAILED, Finalist, Verdict
from optimize.text import amount, gain_text, value_text
from optimize.trial import Metric

_TITLES = {
    False: "finalists against the baseline, both with the same other seeds",
    True: "trials against the baseline, all trained again with other seeds",
}


def verdict_table(verdict: Verdict, metric: Metric) -> RenderableType:
    """Return every finalist on a line, then the noise, and the answer last."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title, justify in (
        ("trial" if verdict.beside else "finalist", "right"),
        ("seeds", "right"),
        ("gain", "right"),
        (f"{verdict.level:.0%} interval", "left"),
    ):
        table.add_column(title, justify=justify)  # type: ignore[arg-type]
    table.add_column("", overflow="fold")
    for each in verdict.finalists:
        interval = f"{gain_text(each.low)} to {gain_text(each.high)}"
        table.add_row(
            str(each.number),
            str(each.pairs),
            gain_text(each.gain),
            interval,
            _word(each),
            style=_style(each),
        )
    if not verdict.finalists:
        return Group(*map(Text, verdict.lines), Text(verdict_line(verdict, metric), style="bold yellow"))
    doubts = [f"  trial {each.number}, but: {doubt}" for each in verdict.finalists for doubt in each.doubts]
    noise = (
        f"noise: another seed moves {metric.name} by {value_text(verdict.noise)} (standard deviation); "
        f"a gain below the noise floor, {value_text(verdict.floor)},"
    )
    return Group(
        Text(f"{_TITLES[verdict.beside]}; gain in {metric.name}", style="bold"),
        table,
        *(Text(line, style="yellow") for line in doubts),
        Text(f"{noise} could not have been distinguished from it", style="dim"),
        *(Text(line) for line in verdict.lines),
        Text(verdict_line(verdict, metric), style="bold green" if verdict.winner else "bold yellow"),
    )


def verdict_line(verdict: Verdict, metric: Metric) -> str:
    """Return the answer in a line: whether there is a real gain, its mean, interval, and the noise floor."""
    winner, floor = verdict.winner, f"noise floor {value_text(verdict.floor)}"
    if winner is not None:
        return (
            f"confirmed: trial {winner.number} is better than the baseline by {value_text(winner.gain)} {metric.name} "
            f"({_interval(winner, verdict)}; {floor}), {amount(winner.pairs, 'other seed')}"
        )
    if not verdict.finalists:
        return "no verdict" if verdict.beside else "no verdict: too few trainings completed with other seeds"
    best = verdict.finalists[0]
    sure = (
        "which may be luck" if best.state is VerdictState.CANDIDATE else "which is no better than what it had to beat"
    )
    return (
        f"{best.state}: the best gain is {gain_text(best.gain)} {metric.name}, of trial {best.number} "
        f"({_interval(best, verdict)}; {floor}), {sure}"
    )


def _interval(finalist: Finalist, verdict: Verdict) -> str:
    return f"{verdict.level:.0%}: {gain_text(finalist.low)} to {gain_text(finalist.high)}"


def _word(finalist: Finalist) -> str:
    if finalist.state is not VerdictState.LUCK:
        return finalist.state
    if finalist.rejected and any(doubt.startswith(FAILED) for doubt in finalist.doubts):
        return f"{finalist.state}: it failed"
    lost = min(finalist.gain, finalist.high) <= 0
    return f"{finalist.state}: {'no better than the baseline' if lost else 'worse than what it had to beat'}"


def _style(finalist: Finalist) -> str:
    return "green" if finalist.confirmed else "dim" if finalist.rejected else ""
