"""Everything about one trial as text for a terminal.

Values in, renderables out: it opens nothing and prints nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from optimize.phrases import duration, short, visible
from optimize.script.starting import RUN
from optimize.showing.tables import COLOURS, whole
from optimize.stored_study import StoredStudy
from storage import TrialRecord

LOG_LINES = 15


def trial_page(record: TrialRecord, stored: StoredStudy, activate: str = "") -> RenderableType:
    """Everything about one trial, to be printed with `crop=False`; `activate` makes `optimize` a command of the shell."""
    texts, metric = stored.texts(record), stored.metric
    value = "" if record.value is None else f"   {metric.name} {record.value:.6f}"
    took = "" if record.seconds is None else f"   {duration(record.seconds)}"
    facts = [Text(f"{key} {short(value)}", style="dim") for key, value in record.summary.items()]
    folder = f"trial-{record.number}"
    how = f"sh {RUN}" if RUN in texts else "python train.py"
    again = (
        f"{activate}optimize export --study {stored.name} --trial {record.number} --to {folder} && cd {folder} && {how}"
    )
    return Group(
        Text(
            f"trial {record.number}   {record.status or record.state.lower()}{value}{took}",
            style="bold",
        ),
        *(Text(f"{what}: {where}", style="dim") for what, where in _origins(record) if where),
        Text(record.reason, style=COLOURS[record.state]),
        *(
            [Text(f"ran on, though condemned: {record.condemned}")]
            if record.condemned and record.value is not None
            else []
        ),
        _params_table(record, stored.baseline),
        Columns(facts, padding=(0, 2)),
        *(_section("patch", _indented(_patch(texts))) if texts else ()),
        *(_section("train loss", _sparkline(record.curve)) if texts or record.curve else ()),
        *(_section("log, its last lines", _indented(_log(texts))) if texts else ()),
        *(_section("train it again", _indented(Text(again))) if texts else ()),
    )


def _patch(texts: Mapping[str, str]) -> Text:
    return Syntax("", "diff", background_color="default").highlight(texts.get("train.patch", "").rstrip("\n"))


def _log(texts: Mapping[str, str]) -> Text:
    return Text("\n".join(visible(texts.get("log.txt", "")).splitlines()[-LOG_LINES:]), style="dim")


def _origins(record: TrialRecord) -> tuple[tuple[str, str], ...]:
    what = {"replicate": "a replicate of", "advisor": "advised by"}.get(record.kind, "a start")
    return (what, record.source), ("taken over from", record.taken_from)


def _section(title: str, content: RenderableType) -> tuple[RenderableType, ...]:
    return Text(f"\n{title}", style="bold"), content


def _indented(text: Text) -> Text:
    return whole(Text("\n").join(Text("  ") + line for line in text.split("\n")))


def _params_table(record: TrialRecord, baseline: Mapping[str, object]) -> Table:
    table = Table.grid(padding=(0, 2))
    for name, value in record.params.items():
        before = short(baseline.get(name))
        changed = short(value) != before
        note = f"baseline {before}" if changed and name in baseline else ""
        table.add_row(f"  {name}", short(value), note, style="bold" if changed else "dim")
    return table


def _sparkline(curve: Mapping[int, float]) -> RenderableType:
    """`5% 6.81  10% 5.92 ...`: the train loss at percents of the budget."""
    points = [f"{percent}% {loss:.3f}" for percent, loss in curve.items()] or ["none was printed"]
    return Padding(Columns(points, padding=(0, 2)), (0, 2))
