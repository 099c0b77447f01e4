"""What `optimize run` prints at its end: what was found, how sure that is, and how to go on. It opens nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from optimize.config.plan import Plan
from optimize.config.settings import Settings
from optimize.confirm.caveats import caveats
from optimize.confirm.verdict import Verdict
from optimize.reporting.hints import best_command, command_line, given_flags, study_flags
from optimize.reporting.next_steps import beyond_choices, further_step, hardly_changes, metric_steps, wider_steps
from optimize.reporting.standing import Standing, standing_of
from optimize.reporting.status import pruning_lines
from optimize.script.seeding import DIFFERS
from optimize.search import ALL_TRIED
from optimize.study.best import BestTrial, baseline_of, find_best
from optimize.study.comparable import describe_study
from optimize.study.stopping import counted
from optimize.text import changes, gain_text, value_text
from optimize.trial import Metric
from storage import TrialRecord


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a call of `optimize run` ended."""

    reason: str
    records: Sequence[TrialRecord]  # every finished trial
    verdict: Verdict | None = None  # of an earlier confirmation
    notes: Sequence[str] = ()  # what else to say, such as what an advisor did
    stopped: bool = False  # by somebody; else because its budget was spent
    code: int = 0  # of this process
    others: Sequence[str] = ()  # names of all studies
    plan: Plan | None = None  # that it ended with, where its baseline may have led to another one
    repeats: int = 0  # trainings of its trials with other seeds
    no_verdict: str = ""  # why there is no verdict, in a line; "" where there is one, or none was asked for


def end_report(
    plan: Plan, ended: RunResult, confirmable: bool = True, more: Mapping[str, object] | None = None
) -> RenderableType:
    """Return why it ended, what was found and how sure that is, and how to go on.

    `confirmable` says whether confirming is one way to go on. `more` are flags of the call that are not in the settings.
    """
    metric, settings, records = plan.workload.metric, plan.settings, ended.records
    best = find_best(records, metric.direction, ended.verdict, plan.stored_space)
    lines: list[RenderableType] = [Text(f"study {settings.study}: {ended.reason}", style="bold")]
    if best is not None:
        lines += _best_and_why(best, baseline_of(records), metric)
        if (note := plan.again_note) and not (best.open and DIFFERS in ended.no_verdict):
            lines.append(Text(f"  but: {note}", style="yellow"))
        lines.append(_hint("runnable", best_command(settings.runs / settings.study / "best")))
        lines.append(_hint("more", command_line("show", study_flags(settings), best.record.number)))
    lines += [Text(f"  {line}", style="dim") for line in (*pruning_lines(records, metric), *ended.notes)]
    if best is not None and best.open and ended.no_verdict:
        lines.append(_indented_line(ended.no_verdict))
    if confirmable and best is not None and best.open:
        lines.append(_hint("be sure", command_line("confirm", given_flags(settings))))
    of = _standing(plan, ended)
    lines += [*_beyond_choices(of), *_other_metric(of)]
    lines.append(_hint("report", command_line("report", study_flags(settings))))
    lines.append(_hint("view", command_line("dashboard", {**study_flags(settings), "study": None})))
    if ended.reason.endswith(ALL_TRIED):
        return Group(*lines, *([] if of.edges else [_more_choices(of)]))
    lines.append(
        _hint(
            "go on",
            command_line(
                "run",
                {
                    **given_flags(settings, search=True),
                    **(more or {}),
                    "trials": _next_goal(settings, counted(records) + ended.repeats),
                },
            ),
        )
    )
    return Group(*lines)


def _standing(plan: Plan, ended: RunResult) -> Standing:
    attrs = describe_study(plan, {"search space": plan.space.fingerprint()})
    metric, choices = plan.workload.metric, plan.space.stored_choices
    return standing_of(plan.settings.study, metric, attrs, ended.records, choices, others=ended.others)


def _more_choices(of: Standing) -> RenderableType:
    step = further_step(of)
    return whole(Text(f"  {step.why}: {command_line(step.command, step.flags, step.about)}", style="dim"))


def _beyond_choices(of: Standing) -> list[RenderableType]:
    """Return at which ends of their choices parameters of the best trial are, and the commands that look beyond."""
    if not of.edges:
        return []
    steps = zip(("wider", "then"), wider_steps(of), strict=True)
    return [
        *(_indented_line(line) for line in beyond_choices(of)),
        *(_hint(what, command_line(step.command, step.flags, step.about)) for what, step in steps),
    ]


def _other_metric(of: Standing) -> list[RenderableType]:
    """Return a line and a command where the metric hardly changes."""
    steps = (_hint("instead", command_line(step.command, step.flags, step.about)) for step in metric_steps(of))
    return [*map(_indented_line, hardly_changes(of)), *steps]


def _best_and_why(best: BestTrial, baseline: TrialRecord | None, metric: Metric) -> list[RenderableType]:
    record, value = best.record, best.record.value or 0.0
    gain = ""
    if baseline is not None and baseline.value is not None:
        gain = f", the baseline {value_text(baseline.value)} ({gain_text(value - baseline.value)})"
    doubts = best.finalist.doubts if best.finalist is not None else ()
    why = [str(best) if record.kind != "baseline" else "", best.aside]
    return [
        Text(f"best {metric.name} {value_text(value)} in trial {record.number}{gain}", style="green"),
        _indented_line(changes(record.params, baseline.params if baseline else {}, shown=99)),
        *(Text(f"  but: {each}", style="yellow") for each in dict.fromkeys([*caveats(record, baseline), *doubts])),
        *(_indented_line(line) for line in why if line),
    ]


def _indented_line(text: str) -> Padding:
    return Padding(Text(text), (0, 0, 0, 2), expand=False)


def _next_goal(settings: Settings, done: int) -> int | None:
    """How many trials the same call should end at next; None if this one had no such limit."""
    return settings.trials if not settings.trials or done < settings.trials else 2 * done


def _hint(what: str, command: str) -> Text:
    return whole(Text(f"  {what + ':':<9} {command}", style="dim"))


def whole(text: Text) -> Text:
    """Return a text that Rich does not break, so that its lines can be copied. Print it with `crop=False`."""
    text.no_wrap, text.overflow = True, "ignore"
    return text
