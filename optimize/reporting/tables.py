"""Studies, trials and plans as text for a terminal.

Values in, renderables out: it opens nothing and prints nothing. The page about one trial is in `terminal.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from optimize.config.plan import Plan
from optimize.config.settings import Settings
from optimize.confirm.caveats import caveats
from optimize.confirm.verdict import Verdict
from optimize.reporting.hints import command_line, given_flags, study_flags
from optimize.search.pruner import summarize_pruning
from optimize.study.best import BestTrial, baseline_of, find_best
from optimize.study.stopping import counted
from optimize.study.stored import Overview
from optimize.text import changes, duration, short
from optimize.trial import Metric, Slot
from storage import TrialRecord

COLOURS = {"COMPLETE": "default", "PRUNED": "yellow", "FAIL": "red", "RUNNING": "cyan", "WAITING": "dim"}
LONG_S = 900.0  # above, a study on a CPU gets a line on how to make it shorter


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
    params = ("" if what == "sampler" else f"{what}: ") + changes(record.params, baseline)
    if record.value is not None:
        is_best = best_before is None or metric.better(record.value, best_before.value or 0.0)
        line.append(f"{record.value:.6f}", style="bold green" if is_best else "")
        line.append(f"  {_versus(record.value, best_before, is_best):<15}", style="green" if is_best else "dim")
        line.append(f"{took:>10}  {params}", style="" if is_best else "dim")
        return line.append("".join(f"  (but: {caveat})" for caveat in but), style="yellow")
    line.append(f"{record.status or record.state.lower():<25}", style=COLOURS[record.state])
    line.append(f"{took:>10}  {params}", style="dim")
    return line.append(f"\n{'':>7}{record.reason}", style=COLOURS[record.state])


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
        value = "" if record.value is None else f"{record.value:.6f}"
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


def best_lines(best: BestTrial | None, metric: Metric) -> list[str]:
    """Return which trial is the best and how sure that is; and which has the best single value, if that is another one."""
    if best is None:
        return []
    value = f"{best.record.value or 0.0:.6f}"
    return [f"best {metric.name} {value} in trial {best.record.number}, {best}", *filter(None, [best.aside])]


def pruning_lines(records: Sequence[TrialRecord], metric: Metric) -> list[str]:
    """Return what pruning did in one line; none if it found no trial hopeless."""
    done = summarize_pruning(records, metric)
    if not done.cut and not done.ran_on:
        return []
    line = f"pruning: {done.cut} trials cut, about {duration(done.saved_s)} saved"
    if done.ran_on:
        line += f"; {done.ran_on} more were hopeless and ran on, {done.missed} of them into the top quarter"
        line += f" (so at most {done.at_most:.0%} of hopeless trials belong there, 95 % confidence)"
    return [line]


def plan_lines(plan: Plan, slots: Sequence[Slot]) -> list[str]:
    """Return what is about to happen in a few lines: which profile and why, the space, the slots, how long it will take."""
    settings, space = plan.settings, plan.space
    feasible = space.count_feasible(plan.constants)
    devices = ", ".join(sorted({slot.device for slot in slots}))
    limit = f"{settings.trials} trials" if settings.trials else "no limit of trials; Ctrl-C ends it"
    return [
        f"study {settings.study}: profile {settings.profile} ({settings.origins['profile']}), workload {plan.workload.name}",
        f"search space {settings.search_space}: {len(space.parameters)} parameters, {_count(space.size)} configurations"
        + (f", {_count(feasible)} feasible" if feasible is not None else ""),
        f"slots: {len(slots)} x {devices or 'none'}; {limit}" + (f", {settings.hours:g} h" if settings.hours else ""),
        *plan.notes,
        *_duration_lines(plan, max(len(slots), 1)),
    ]


def _duration_lines(plan: Plan, slots: int) -> list[str]:
    """Return how long it will take, where that is known, and how to make it shorter where a CPU would take long."""
    settings, one = plan.settings, plan.workload.duration_s(plan.constants)
    if one is None or settings.trials is None:
        return []
    seconds = one * -(-settings.trials // slots)
    lines = [f"about {duration(seconds)} in all: {settings.trials} trials of {duration(one)}, {slots} at a time"]
    if settings.device == "cpu" and seconds > LONG_S:
        fewer = max(2, int(settings.trials * LONG_S / seconds))
        shorter = command_line("run", {**given_flags(settings, search=True), "trials": fewer})
        lines.append(f"shorter: {shorter}, or a profile of your own with a smaller budget under [constants]")
    return lines


def check_report(plan: Plan, slots: Sequence[Slot], beginning: Sequence[str] = ()) -> RenderableType:
    """Return everything that `optimize check` shows; `beginning` is what `--from` would bring."""
    dead = [
        f"  {name} = {value!r}: the rules never allow it" for name, value in plan.space.dead_choices(plan.constants)
    ]
    return Group(
        *map(Text, plan_lines(plan, slots)),
        Text("\nchoices that no trial can have:\n" + "\n".join(dead), style="yellow") if dead else Text(""),
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
    """Return how it is predicted what will not fit; for a CPU nothing is, because its trials share one memory."""
    if plan.settings.device == "cpu":
        return []
    if plan.workload.memory is None:
        return ["memory: learned from the trials, roughly; an expression `memory` in workload.toml makes it exact"]
    return [f"memory: learned from the trials, with the expression {plan.workload.memory.text}"]


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

    `confirmable` says whether confirming is one way to go on.
    """
    metric, settings, records = plan.workload.metric, plan.settings, ended.records
    best = find_best(records, metric.direction, ended.verdict)
    lines: list[RenderableType] = [Text(f"study {settings.study}: {ended.reason}", style="bold")]
    if best is not None:
        lines += _best_and_why(best, baseline_of(records), metric)
        lines.append(_hint("runnable", f"{settings.runs / settings.study / 'best'}"))
        lines.append(_hint("more", command_line("show", study_flags(settings), best.record.number)))
    lines += [Text(f"  {line}", style="dim") for line in (*pruning_lines(records, metric), *ended.notes)]
    if confirmable and best is not None and best.open:
        lines.append(_hint("be sure", command_line("confirm", given_flags(settings))))
    lines.append(_hint("to send", command_line("report", study_flags(settings))))
    lines.append(_hint("view", command_line("dashboard", {"runs": settings.runs})))
    lines.append(
        _hint(
            "go on",
            command_line("run", {**given_flags(settings, search=True), "trials": _next_goal(settings, records)}),
        )
    )
    return Group(*lines)


def _best_and_why(best: BestTrial, baseline: TrialRecord | None, metric: Metric) -> list[RenderableType]:
    record, value = best.record, best.record.value or 0.0
    gain = ""
    if baseline is not None and baseline.value is not None:
        gain = f", the baseline {baseline.value:.6f} ({value - baseline.value:+.6f})"
    why = [str(best), best.aside] if record.kind != "baseline" else []
    return [
        Text(f"best {metric.name} {value:.6f} in trial {record.number}{gain}", style="green"),
        _indented_line(changes(record.params, baseline.params if baseline else {}, shown=99)),
        *(Text(f"  but: {caveat}", style="yellow") for caveat in caveats(record, baseline)),
        *(_indented_line(line) for line in why if line),
    ]


def _indented_line(text: str) -> Padding:
    return Padding(Text(text), (0, 0, 0, 2), expand=False)


def _next_goal(settings: Settings, records: Sequence[TrialRecord]) -> int | None:
    """How many trials the same call should end at next; None if this one had no such limit."""
    done = counted(records)
    return settings.trials if not settings.trials or done < settings.trials else 2 * done


def _hint(what: str, command: str) -> Text:
    return whole(Text(f"  {what + ':':<9} {command}", style="dim"))


def whole(text: Text) -> Text:
    """Return a text that Rich does not break, so that its lines can be copied. Print it with `crop=False`."""
    text.no_wrap, text.overflow = True, "ignore"
    return text


def _settings_table(plan: Plan) -> Table:
    table = Table.grid(padding=(0, 2))
    for name, origin in plan.settings.origins.items():
        value = getattr(plan.settings, name)
        if name == "storage" and value:
            value = "a database by URL"  # the URL may hold a password
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
