"""The dashboard's notes as Markdown: one about the study, and one about each trial with what it tried and how it ended.

Values in, text out. Whatever a script printed is shown as plain text; `markdown.py` sees to that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from shlex import quote
from typing import Any

from optimize.confirm.caveats import caveats
from optimize.confirm.verdict import Finalist, Verdict, verdict_of
from optimize.reporting.baseline_words import baseline_words
from optimize.reporting.facts_shown import facts_note
from optimize.reporting.figures.data import ending_of, noise
from optimize.reporting.figures.style import style_of
from optimize.reporting.four_facts import four_facts
from optimize.reporting.hints import begun_flags, command_line, without_server
from optimize.reporting.markdown import block, changed_lines, code, code_lines, folded, folded_command, table, tail
from optimize.reporting.standing import standing_of
from optimize.reporting.study_cost import StudyCost
from optimize.reporting.trial_words import WIDTH, circumstances, what_changed
from optimize.search import stored_space
from optimize.study.best import BestTrial, baseline_of, find_best
from optimize.study.comparable import ABOUT, CONSTANTS, device_batch_of, is_confirmable
from optimize.study.left_files import LOG, PATCH, PROFILE_PATCH
from optimize.text import amount, changes, gain_text, short, value_text
from optimize.trial import BASELINE, Metric
from storage import Stored, TrialRecord

LONGEST = 2_000  # characters of a trial's note: the dashboard sends the notes of all trials at once
ROOM = ((900, 6), (700, 4), (400, 2), (150, 0))  # characters of the patch, lines of the log: the first pair that fits
FIGURES, FILES = 10, 8  # that a trial's note lists at most
NAMES = 40  # parameters and constants that a study's note lists
CHOICES = 12
DEVICES = 4


def trial_note(
    record: TrialRecord,
    metric: Metric,
    baseline: TrialRecord | None,
    texts: Mapping[str, str],
    links: Mapping[str, str],
) -> str:
    """Return the note about a trial. `texts` are its patch and its log by file name; `links` lead to all files that it left."""
    patch, log, profile = texts.get(PATCH), texts.get(LOG, ""), texts.get(PROFILE_PATCH, "")
    head = [_ending(record, metric, baseline), circumstances(record, profile)]
    head += [f"But: {code_lines(caveat, 200, WIDTH)}" for caveat in caveats(record, baseline)]
    head += [_figures(record, metric)]
    for characters, lines in ROOM:
        said = tail(log if record.value is None else _before_summary(log), lines, WIDTH) if lines else ""
        shown = profile if record.kind == "baseline" else patch or ""
        changed = changed_lines(shown, characters, WIDTH)
        parts = [
            *head,
            what_changed(record, changed) if patch is not None else "",
            f"The log's last lines:\n{block(said, 'text')}" if said else "",
            _links(links),
        ]
        note = "\n\n".join(filter(None, parts))
        if len(note) <= LONGEST:
            return note
    return head[0][:LONGEST]


def _links(links: Mapping[str, str]) -> str:
    shown = [f"[{code(name, 60)}]({link})" for name, link in links.items() if link][:FILES]
    return folded([f"Files: {shown[0]}", *shown[1:]], " · ", WIDTH) if shown else ""


def _ending(record: TrialRecord, metric: Metric, baseline: TrialRecord | None) -> str:
    if record.value is None:
        reason = f"\n\n{code_lines(record.reason, 300, WIDTH)}" if record.reason else ""
        return f"**{style_of(ending_of(record)).label}**{reason}\n\nIt has no value and is never the best trial."
    return f"**{code(metric.name, 40)} {value_text(record.value)}**{_versus(record, metric, baseline)}"


def _versus(record: TrialRecord, metric: Metric, baseline: TrialRecord | None) -> str:
    if record.kind == "baseline":
        return ", the baseline, with which all others are compared"
    if record.value is None or baseline is None or baseline.value is None:
        return ""
    if record.value == baseline.value:
        return ", as good as the baseline"
    word = "better" if metric.better(record.value, than=baseline.value) else "worse"
    return f", {_difference(record.value, baseline.value)} {word} than the baseline"


def _difference(value: float, baseline: float) -> str:
    """Return `0.012345 (1.2 %)`, without a sign."""
    share = f"\u00a0({abs(value - baseline) / abs(baseline):.1%})".replace("%", "\u00a0%") if baseline else ""
    return f"{value_text(abs(value - baseline))}{share}"


def _figures(record: TrialRecord, metric: Metric) -> str:
    """Return the key figures that the script printed, on one line."""
    shown = [(name, value) for name, value in record.summary.items() if name != metric.name][:FIGURES]
    return folded([f"{code(name, 30)} {_figure(value)}" for name, value in shown], " · ", WIDTH)


def _figure(value: object) -> str:
    return code(str(value), 40) if isinstance(value, str) else f"{value:.6g}"


def _before_summary(log: str) -> str:
    """Return the log without its last block of figures, which the note shows above it."""
    return log.rpartition("\n---")[0] or log


# --- a study ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StudyFacts:
    """What a study's note is made of; `attrs` are the study's attributes, `best_patch` is what its best trial changed."""

    name: str
    metric: Metric
    attrs: Mapping[str, object]
    records: Sequence[TrialRecord]
    choices: Mapping[str, Sequence[Stored]] = field(default_factory=dict)
    best_patch: str = ""
    folder: str = ""  # where best/ lies
    starts: str = "python train.py"  # the command that trains it again there
    here: str = ""  # the folder for the commands to go on with
    on_server: bool = False  # its database
    no_best: str = ""  # why no trial can be the best
    running: bool = True  # while it runs, the note changes with the best trial only
    settings: Mapping[str, Any] = field(default_factory=dict)  # of settings.json
    replicates: StudyCost = field(default_factory=StudyCost)  # what its confirmations cost
    others: Sequence[str] = ()  # names of all studies


def study_note(facts: StudyFacts) -> str:
    """Return the note about a study: the four facts, what is tuned, on what, the best trial, and how to go on.

    It changes with the best trial, not with every trial, so that it does not disturb a person who is editing it.
    """
    verdict, baseline = verdict_of(facts.attrs), baseline_of(facts.records)
    shown = find_best(facts.records, facts.metric.direction, verdict, stored_space(facts.attrs))
    best = shown.record if shown else None
    patch = changed_lines(facts.best_patch, 1500, WIDTH)
    parts = [
        f"## Study {code(facts.name)}",
        _four(facts),
        _what(facts),
        _standing(facts, shown, baseline),
        _how_sure(facts, shown, verdict),
        _stays(facts),
        f"### What the best trial changes in the baseline\n\n{block(patch, 'diff')}" if patch else "",
        _varies(facts, best),
        _go_on(facts, best),
        "Each trial has a note of its own with its ending, figures, patch and log.  \nThis note is rewritten when there is a new "
        "best trial and at the end, until somebody edits it.",
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def _four(facts: StudyFacts) -> str:
    """Return the four facts, with the commands of the last one: all that fits a window without scrolling."""
    of = standing_of(
        facts.name,
        facts.metric,
        facts.attrs,
        facts.records,
        facts.choices,
        settings=facts.settings,
        replicates=facts.replicates,
        running=facts.running,
        no_best=facts.no_best,
        lasting=True,
        others=facts.others,
        place=without_server(),
    )
    return facts_note(four_facts(of), facts.here)


def _what(facts: StudyFacts) -> str:
    about = _texts(facts.attrs.get(ABOUT))
    count = len(facts.choices) or len(_mapping(facts.attrs.get(BASELINE)))
    script = f" of {code(about['script'])}" if "script" in about else ""
    devices = sorted({record.device for record in facts.records if record.device})
    on = f" on {', '.join(map(code, devices[:DEVICES]))}" if devices else ""
    aim = "lower" if facts.metric.direction == "minimize" else "higher"
    named = [f"{word} {code(about[key])}" for key, word in _ABOUT.items() if key in about]
    where = [f"It has {', '.join(named)}."] if named else []
    tuned = (
        f"{'1 parameter' if count == 1 else f'{count} parameters'}{script} {'is' if count == 1 else 'are'} tuned{on}."
    )
    return folded([tuned, *where, f"The {aim} {code(facts.metric.name)}, the better."], " ", WIDTH)


_ABOUT = {"workload": "workload", "search_space": "search space", "profile": "profile"}


def _standing(facts: StudyFacts, shown: BestTrial | None, baseline: TrialRecord | None) -> str:
    if shown is None:
        return ""
    best, against = shown.record, baseline.params if baseline else _mapping(facts.attrs.get(BASELINE))

    def row(what: str, record: TrialRecord, mark: str = "") -> list[str]:
        value = f"{mark}{value_text(record.value or 0.0)}{mark}"
        return [f"{mark}{what}{mark}", value, str(record.number), code(changes(record.params, against))]

    rows = []
    if baseline is not None and baseline.value is not None:
        rows.append([*row("baseline", baseline)[:3], baseline_words(bool(_mapping(facts.attrs.get(CONSTANTS))))])
    if best is not baseline:
        rows.append(row(f"best, {shown.state}" if shown.state else "best", best, "**"))
    if shown.confirmed and shown.finalist is not None:
        rows.append(
            [
                "gain",
                gain_text(shown.finalist.gain),
                "",
                f"the mean over {shown.finalist.pairs} other seeds",
            ]
        )
    elif best is not baseline and baseline is not None and baseline.value is not None:
        rows.append(["gain", _difference(best.value or 0.0, baseline.value), "", ""])
    if shown.aside:
        rows.append(row("best single value", shown.luckiest))
    shown_rows = table(["", code(facts.metric.name), "trial", "what it changes"], rows, right=(1, 2))
    return f"### The baseline and the best\n\n{shown_rows}"


def _how_sure(facts: StudyFacts, shown: BestTrial | None, verdict: Verdict | None) -> str:
    if shown is None:
        return ""
    lines = _confirmed(verdict, shown) if verdict else _unconfirmed(facts, shown)
    return "\n".join(lines)


_DASHBOARD_CALLS = "the dashboard itself calls that one the best trial"


def _unconfirmed(facts: StudyFacts, shown: BestTrial) -> list[str]:
    if not shown.open:
        return ["- nothing was better than the baseline so far"]
    lines = [
        "- a **candidate**: each value is one training with one seed, so the best of many is partly luck",
    ]
    if shown.aside:
        lines.append(f"- {code(shown.aside)}; {_DASHBOARD_CALLS}")
    if repeated := noise(facts.records):
        apart = f"{value_text(repeated.deviation)} (standard deviation, {repeated.trials} trials)"
        lines.append(f"- values of equal parameters differ by {apart}")
    return lines


def _confirmed(verdict: Verdict, shown: BestTrial) -> list[str]:
    best, told = shown.record, [f"- {code(line)}" for line in verdict.lines]
    if not verdict.finalists:
        return [
            f"- **{shown.state}**: {code(shown.why)}" if shown.state else "- nothing was better than the baseline",
            *told,
        ]
    lines = [f"- {_finalist(each, verdict)}" for each in verdict.finalists]
    if shown.open and not shown.confirmed:
        lines.insert(0, f"- trial {best.number}, the best trial now, is a **candidate**: {shown.why}")
    if shown.aside:
        lines.append(f"- {code(shown.aside)}; {_DASHBOARD_CALLS}")
    noise = f"- values of two seeds differ by {value_text(verdict.noise)} (standard deviation)"
    lines.append(f"{noise}; a gain below {value_text(verdict.floor)} cannot be told from that")
    return lines + told


def _finalist(each: Finalist, verdict: Verdict) -> str:
    said = f"**{each.state}**"
    between = f"{verdict.level:.0%}".replace("%", " %") + f" between {gain_text(each.low)} and {gain_text(each.high)}"
    line = (
        f"trial {each.number}: {said}, gain {gain_text(each.gain)} ({between}) over {amount(each.pairs, 'other seed')}"
    )
    return line + "".join(f"; but: {code(caveat)}" for caveat in each.doubts)


def _varies(facts: StudyFacts, best: TrialRecord | None) -> str:
    baseline = _mapping(facts.attrs.get(BASELINE))
    names = list(dict.fromkeys([*facts.choices, *baseline]))
    if not names:
        return ""
    chosen = best.params if best else {}
    rows = [[code(name), _value(baseline, name), _new(baseline, chosen, name), _choices(facts, name)] for name in names]
    more = f"\n\nand {len(rows) - NAMES} more" if len(rows) > NAMES else ""
    return "### What varies\n\n" + table(["parameter", "baseline", "best", "choices"], rows[:NAMES]) + more


def _value(values: Mapping[str, object], name: str) -> str:
    return code(short(values[name]), 60) if name in values else ""


def _new(baseline: Mapping[str, object], chosen: Mapping[str, object], name: str) -> str:
    value = _value(chosen, name)
    return f"**{value}**" if value and value != _value(baseline, name) else value


def _choices(facts: StudyFacts, name: str) -> str:
    choices = facts.choices.get(name, ())
    more = f" and {len(choices) - CHOICES} more" if len(choices) > CHOICES else ""
    return code(" ".join(short(choice) for choice in choices[:CHOICES])) + more


def _stays(facts: StudyFacts) -> str:
    constants, batch = list(_mapping(facts.attrs.get(CONSTANTS)).items())[:NAMES], device_batch_of(facts.attrs)
    shown = ", ".join(code(f"{name} = {short(value)}", 80) for name, value in constants)
    found = f" (the study has {code(str(batch), 120)})" if batch else ""
    return f"### What the profile sets\n\nThe baseline is the script with {shown}{found}" if shown else ""


def _go_on(facts: StudyFacts, best: TrialRecord | None) -> str:
    study = {"study": facts.name, **without_server()}
    lines = [
        (command_line("run", _begun(facts)), "go on where it stopped"),
        (command_line("stop", study), "end it after the running trials"),
    ]
    if is_confirmable(facts.attrs):
        lines.append((command_line("confirm", _begun(facts)), "train the best trials again with other seeds"))
    if best is not None:
        lines.append((command_line("show", study, best.number), "everything about the best trial"))
    if best is not None and facts.folder:
        lines.append((f"cd {quote(facts.folder)}/best && {facts.starts}", "train the best trial again"))
    server = ", with `--storage` or `OPTIMIZE_STORAGE_URL` for this database" if facts.on_server else ""
    where = f"In the folder {code(facts.here)}{server}:\n\n" if facts.here else ""
    return f"### How to go on\n\n{where}" + block(
        "\n".join(f"# {why}\n{folded_command(command, WIDTH)}" for command, why in lines), "bash"
    )


def _begun(facts: StudyFacts) -> Mapping[str, object]:
    return {**begun_flags(facts.name, _mapping(facts.attrs.get(ABOUT)).get("command")), **without_server()}


def _mapping(found: object) -> Mapping[str, object]:
    return found if isinstance(found, Mapping) else {}


def _texts(found: object) -> Mapping[str, str]:
    return {key: value for key, value in _mapping(found).items() if isinstance(value, str) and value}
