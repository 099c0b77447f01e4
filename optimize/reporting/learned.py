"""What programs read as documents, for people in a terminal: importances, noise, events. It opens nothing and prints nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from optimize.reporting.events import BEST, TRIAL_END, VERDICT
from optimize.text import amount, value_text
from optimize.trial import Metric


def importance_table(document: Mapping[str, Any]) -> Table:
    """Return a line for each parameter, the most important first."""
    about = f"for being among the best {document['top']} of {amount(document['trials'], 'trial')}"
    table = Table(box=None, pad_edge=False, header_style="dim", title=f"share {about}", title_justify="left")
    for name, justify in (("parameter", "left"), ("share", "right"), ("by luck up to", "right")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    for each in document["parameters"]:
        style = "" if each["beyond_luck"] else "dim"
        table.add_row(Text(each["name"]), f"{each['share']:.0%}", f"{each['luck']:.0%}", style=style)
    return table


def noise_lines(document: Mapping[str, Any]) -> list[Text]:
    """Return what is known of the noise, a line each."""
    metric, found, repeats = document["metric"], document["confirmation"], document["repeats"]
    lines = []
    if found:
        lines.append(
            f"another seed moves {metric} by {value_text(found['deviation'])} (standard deviation); "
            f"a gain below {value_text(found['smallest_gain'])} could not have been distinguished from it"
        )
    if repeats:
        lines.append(
            f"{amount(repeats['trials'], 'trial')} of the search had parameters that were tried more than once: "
            f"their {metric} is {value_text(repeats['deviation'])} apart (standard deviation)"
        )
    return [Text(line) for line in lines or [document["why_not"]]]


def event_line(event: Mapping[str, Any], metric: Metric) -> Text:
    """Return an event in words."""
    study, what = event["study"], event["event"]
    if what == TRIAL_END:
        trial = event["trial"]
        value = f" {metric.name} {value_text(trial['value'])}" if trial["value"] is not None else ""
        why = f": {trial['reason']}" if trial["reason"] else ""
        return Text(f"study {study}: trial {trial['number']} {trial['status'] or trial['state'].lower()}{value}{why}")
    if what == BEST:
        sure = "confirmed" if event["confirmed"] else "unconfirmed"
        return Text(
            f"study {study}: the best is trial {event['number']}, {metric.name} {value_text(event['value'])}, {sure}"
        )
    if what == VERDICT:
        winner = event["confirmation"]["winner"]
        found = "no trial is confirmed" if winner is None else f"trial {winner} is confirmed"
        return Text(f"study {study}: {found}")
    return Text(f"study {study}: its driver has ended")
