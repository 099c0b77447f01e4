"""Studies, trials and plans as text for a terminal.

Values in, renderables out: it opens nothing and prints nothing. Everything about one trial is in `trial_page.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from shlex import quote

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from optimize.config.plan import Plan
from optimize.config.settings import Settings
from optimize.confirm.caveats import caveats
from optimize.confirm.verdict import Verdict
from optimize.search.pruner import summarize_pruning
from optimize.study.best import BestTrial, baseline_of, find_best
from optimize.study.stopping import counted
from optimize.study.stored import Overview
from optimize.text import changes, duration, short
from optimize.trial import Metric, Slot
from storage import TrialRecord

COLOURS = {"COMPLETE": "default", "PRUNED": "yellow", "FAIL": "red", "RUNNING": "cyan", "WAITING": "dim"}
LONG_S = 900.0  # a laptop's owner would rather be told


def trial_line(
    record: TrialRecord,
    best_before: TrialRecord | None,
    metric: Metric,
    baseline: Mapping[str, object],
    but: Sequence[str] = (),
) -> Text:
    """One ended trial on one line."""
    line = Text(f"{record.number:>5}  ")
    took = duration(record.seconds or 0.0)
    what = "again" if record.requeue_of is not None else record.kind
    params = ("" if what == "sampler" else f"{what}: ") + changes(record.params, baseline)
    if record.value is not None:
        is_best = best_before is None or metric.better(record.value, best_before.value or 0.0)
        line.append(f"{record.value:.6f}", style="bold green" if is_best else "")
        line.append(f"  {_versus(record.value, best_before, is_best):<15}", style="green" if is_best else "dim")
        line.append(f"{took:>10}  {params}", style="" if is_best else "dim")
        return line.append("".join(f"  (but: {doubt})" for doubt in but), style="yellow")
    line.append(f"{record.status or record.state.lower():<25}", style=COLOURS[record.state])
    line.append(f"{took:>10}  {params}", style="dim")
    return line.append(f"\n{'':>7}{record.reason}", style=COLOURS[record.state])


def study_table(
    records: Sequence[TrialRecord], best: BestTrial | None, metric: Metric, baseline: Mapping[str, object]
) -> Table:
    """A line for each of these trials, the best one of the study marked if it is among them."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title, justify in (("trial", "right"), (metric.name, "right"), ("ending", "left"), ("took", "right")):
        table.add_column(title, justify=justify)  # type: ignore[arg-type]
    table.add_column("parameters", overflow="fold")
    for record in records:
        is_best = best is not None and record.number == best.record.number
        style = "bold green" if is_best else COLOURS[record.state]
        value = "" if record.value is None else f"{record.value:.6f}"
        is_luckiest = best is not None and record.number == best.luckiest.number
        words = "best" if is_best else "best single value" if is_luckiest else record.status or record.state.lower()
        ending = words + (" (taken over)" if record.taken_from else "")
        table.add_row(
            str(record.number),
            value,
            ending,
            "" if record.seconds is None else duration(record.seconds),
            changes(record.params, baseline) if record.params else record.reason,
            style=style,
        )
    return table


def best_lines(best: BestTrial | None, metric: Metric) -> list[str]:
    """Which trial is the best, how sure that is, and whose the best single value is where that is another's."""
    if best is None:
        return []
    value = f"{best.record.value or 0.0:.6f}"
    return [f"best {metric.name} {value} in trial {best.record.number}, {best}", *filter(None, [best.aside])]


def pruning_lines(records: Sequence[TrialRecord], metric: Metric) -> list[str]:
    """What pruning did, in one line; none if it condemned nothing."""
    cuts = summarize_pruning(records, metric)
    if not cuts.cut and not cuts.ran_on:
        return []
    line = f"pruning: {cuts.cut} trials cut, about {duration(cuts.saved_s)} saved"
    if cuts.ran_on:
        line += f"; {cuts.ran_on} more were condemned and ran on, {cuts.missed} of them into the top quarter"
        line += f" (so at most {cuts.at_most:.0%} of the condemned belong there, 95 % confidence)"
    return [line]


def plan_lines(plan: Plan, slots: Sequence[Slot]) -> list[str]:
    """What is about to happen, in a few lines: which profile and why, the space, the slots, how long it will take."""
    settings, space = plan.settings, plan.space
    feasible = space.count_feasible(plan.constants)
    devices = ", ".join(sorted({slot.device for slot in slots}))
    limit = f"{settings.trials} trials" if settings.trials else "no limit of trials; Ctrl-C or `make stop` ends it"
    return [
        f"study {settings.study}: profile {settings.profile} ({settings.origins['profile']}), workload {plan.workload.name}",
        f"search space {settings.search_space}: {len(space.parameters)} parameters, {_count(space.size)} configurations"
        + (f", {_count(feasible)} feasible" if feasible is not None else ""),
        f"slots: {len(slots)} x {devices or 'none'}; {limit}" + (f", {settings.hours:g} h" if settings.hours else ""),
        *plan.notes,
        *_duration_lines(plan, max(len(slots), 1)),
    ]


def _duration_lines(plan: Plan, slots: int) -> list[str]:
    """How long it will take, where that can be told; and how to shrink what a CPU would take long for."""
    settings, one = plan.settings, plan.workload.duration_s(plan.constants)
    if one is None or settings.trials is None:
        return []
    seconds = one * -(-settings.trials // slots)
    lines = [f"about {duration(seconds)} in all: {settings.trials} trials of {duration(one)}, {slots} at a time"]
    if settings.device == "cpu" and seconds > LONG_S:
        fewer = max(2, int(settings.trials * LONG_S / seconds))
        lines.append(
            f"shorter: TRIALS={fewer}, or a smaller budget under [constants] in a profile of your own (PROFILE=./my.toml)"
        )
    return lines


def check_report(plan: Plan, slots: Sequence[Slot], beginning: Sequence[str] = ()) -> RenderableType:
    """Everything that `optimize check` shows; `beginning` is what `--from` would bring."""
    dead = [
        f"  {name} = {value!r}: no rule ever lets it through" for name, value in plan.space.dead_choices(plan.constants)
    ]
    return Group(
        *map(Text, plan_lines(plan, slots)),
        Text("\nchoices that can never be used:\n" + "\n".join(dead), style="yellow") if dead else Text(""),
        Text("settings", style="bold"),
        _settings_table(plan),
        Text("\nparameters (the baseline marked)", style="bold"),
        _space_table(plan),
        *_listed("starts, after the baseline", (*beginning, *plan.starts.lines)),
        Text("\nslots", style="bold"),
        *(Text(f"  {slot.name}  {slot.device}{_gigabytes(slot)}") for slot in slots),
        *map(Text, _memory_lines(plan)),
    )


def _listed(title: str, lines: Sequence[str]) -> list[Text]:
    return [Text(f"\n{title}", style="bold"), *(Text(f"  {line}") for line in lines)] if lines else []


def _gigabytes(slot: Slot) -> str:
    return f"  {slot.memory_mb / 1000:.1f} GB" if slot.memory_mb else ""


def _memory_lines(plan: Plan) -> list[str]:
    """How it is foreseen what does not fit; a CPU's trials share a memory that nobody reports."""
    if plan.settings.device == "cpu":
        return []
    if plan.workload.memory is None:
        return ["memory: learned from the trials, roughly; `memory` in workload.toml would make it sharp"]
    return [f"memory: learned from the trials by {plan.workload.memory.text}"]


def overview_table(studies: Sequence[Overview]) -> RenderableType:
    """All studies, a line each."""
    if not studies:
        return Text("no study yet: make optimize")
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title, justify in (
        ("study", "left"),
        ("complete", "right"),
        ("pruned", "right"),
        ("failed", "right"),
        ("best", "right"),
    ):
        table.add_column(title, justify=justify)  # type: ignore[arg-type]
    table.add_column("driven by")
    for study in studies:
        counts = (str(study.counts[state]) for state in ("COMPLETE", "PRUNED", "FAIL"))
        table.add_row(
            study.name,
            *counts,
            "" if study.best is None else f"{study.best.record.value:.6f}",
            study.driver or "nobody",
        )
    return table


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a call of `optimize run` ended."""

    reason: str
    records: Sequence[TrialRecord]  # every finished trial
    verdict: Verdict | None = None  # of an earlier confirmation
    notes: Sequence[str] = ()  # what else to say, such as what an advisor did
    stopped: bool = False  # by somebody; else because its budget was spent


def end_report(plan: Plan, ended: RunResult, confirmable: bool = True) -> RenderableType:
    """Return why it ended, what was found and how sure that is, and how to go on.

    `confirmable` says whether `make confirm` is one way to go on.
    """
    metric, settings, records = plan.workload.metric, plan.settings, ended.records
    shown = find_best(records, metric.direction, ended.verdict)
    best = shown.record if shown else None
    baseline = baseline_of(records)
    which = f"STUDY={settings.study}" + (
        f" STORAGE={settings.storage}" if settings.origins.get("storage") == "flag" else ""
    )
    lines: list[RenderableType] = [Text(f"study {settings.study}: {ended.reason}", style="bold")]
    if best is not None and best.value is not None:
        gain = (
            f", the baseline {baseline.value:.6f} ({best.value - baseline.value:+.6f})"
            if baseline and baseline.value is not None
            else ""
        )
        lines += [
            Text(f"best {metric.name} {best.value:.6f} in trial {best.number}{gain}", style="green"),
            Padding(
                Text(changes(best.params, baseline.params if baseline else {}, shown=99)), (0, 0, 0, 2), expand=False
            ),
            *(Text(f"  but: {doubt}", style="yellow") for doubt in caveats(best, baseline)),
            *(
                Padding(Text(line), (0, 0, 0, 2))
                for line in ([str(shown), shown.aside] if shown and best.kind != "baseline" else [])
                if line
            ),
            _hint("runnable", f"{settings.runs / settings.study / 'best'}"),
            _hint("more", f"make show N={best.number} {which}"),
        ]
    lines += [Text(f"  {line}", style="dim") for line in (*pruning_lines(records, metric), *ended.notes)]
    done = counted(records)
    goal = settings.trials if settings.trials and done < settings.trials else 2 * done
    more = f" TRIALS={goal}" if settings.trials else ""
    if confirmable and shown is not None and shown.open:
        lines.append(_hint("be sure", f"make confirm{_variables(settings)}"))
    lines.append(_hint("to send", f"make report {which}"))
    lines.append(_hint("look", "make dashboard"))
    lines.append(_hint("go on", f"make optimize{_variables(settings)}{more}"))
    return Group(*lines)


def _hint(what: str, command: str) -> Text:
    return whole(Text(f"  {what + ':':<9} {command}", style="dim"))


def whole(text: Text) -> Text:
    """Text whose lines are to be copied: a terminal may break them, we do not. To be printed with `crop=False`."""
    text.no_wrap, text.overflow = True, "ignore"
    return text


def _variables(settings: Settings) -> str:
    """The make variables that lead back to this study."""
    given = {
        "STORAGE": "storage",
        "STUDY": "study",
        "PROFILE": "profile",
        "WORKLOAD": "workload",
        "SPACE": "search_space",
        "ADVISOR": "advisor",
    }
    return "".join(
        f" {name}={quote(getattr(settings, field) or 'none')}"
        for name, field in given.items()
        if settings.origins.get(field) == "flag"
    )


def _settings_table(plan: Plan) -> Table:
    table = Table.grid(padding=(0, 2))
    for name, origin in plan.settings.origins.items():
        value = getattr(plan.settings, name)
        if name == "storage" and value:
            value = "a database by URL"  # it may hold a password
        if name in ("constants", "limits"):
            for key, each in value.items() if isinstance(value, Mapping) else asdict(value).items():
                table.add_row(f"  {name}.{key}", "none" if each is None else str(each), Text(origin, style="dim"))
        elif name != "origins":
            shown = "none" if value is None or value in ("", (), {}) else str(value)
            table.add_row(f"  {name}", shown, Text(origin, style="dim"))
    return table


def _space_table(plan: Plan) -> Table:
    table = Table.grid(padding=(0, 2))
    for parameter in plan.space.parameters:
        choices = Text()
        for choice in parameter.choices:
            style = "bold green" if choice == plan.baseline[parameter.name] else ""
            choices.append(f"[{short(choice)}]" if style else short(choice), style=style).append("  ")
        table.add_row(f"  {parameter.name}", choices)
    return table


def _count(number: int) -> str:
    return f"{number:,}" if number < 10**7 else f"{number:.1e}"


def _versus(value: float, best: TrialRecord | None, is_best: bool) -> str:
    if best is None or best.value is None:
        return "first"
    return f"{'best ' if is_best else ''}{value - best.value:+.6f}".strip()
