"""What `init --probe` does: it runs a script once, as a trial would, to see what it prints."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from optimize.commands.plans import accept_commands
from optimize.commands.terminal import say
from optimize.config.environment import script_environment
from optimize.config.settings import pick_profile, read_settings
from optimize.errors import ExecutorError, WorkloadError
from optimize.executors.slots import detect_device, find_slots
from optimize.runner.diagnosis import ENDED_WELL
from optimize.script.bare_numbers import UNNAMED, likely_metrics
from optimize.script.begin import ScriptPlace, run_once, workload_in_memory
from optimize.script.draft_workload import ScriptFacts, metric_lines
from optimize.script.metric_guess import MetricGuess
from optimize.script.metric_words import same_name
from optimize.script.parsers import parser_facts, read_flags
from optimize.script.workload import Workload
from optimize.trial import Metric, Outcome, Slot, TrialStatus

HELP_S = 60.0
MOST_NAMED = 12  # numbers of its output


def probed(place: ScriptPlace, facts: ScriptFacts, python: str, limit_s: float, trust: bool) -> ScriptFacts:
    """Return what is known of a script after it has run once. Raises WorkloadError if it fails."""
    metric = Metric(facts.metrics[0].name, regex=facts.metrics[0].regex) if facts.metrics else Metric()
    workload = replace(workload_in_memory(place, facts, python), metric=metric)
    ended = _run(place, workload, limit_s, trust)
    say(f"probe: {_how(ended)} after {ended.seconds:.1f} s, {len(ended.log.splitlines())} lines")
    facts = replace(facts, metrics=likely_metrics(facts.files, ended.log))
    if parser_facts(facts.files).parsers:
        helped = run_once(replace(workload, command=(*workload.command, "--help")), *_as_trials_have_it(), HELP_S).log
        facts = replace(facts, notes=(*facts.notes, *_unread_flags(facts, helped)))
    return facts


def probe_kept(place: ScriptPlace, facts: ScriptFacts, limit_s: float, trust: bool) -> list[str]:
    """Run a script once by the workload.toml that it has; return what it printed of the metric, or what to write there.

    Raises WorkloadError if it fails.
    """
    assert place.workload is not None
    metric, file = place.workload.metric, place.folder / "workload.toml"
    ended = _run(place, place.workload, limit_s, trust)
    lines = [f"probe: {_how(ended)} after {ended.seconds:.1f} s, {len(ended.log.splitlines())} lines"]
    if ended.status is TrialStatus.COMPLETE:
        return [*lines, f"metric: {metric.name} is {ended.summary[metric.name]}, as {file} has it"]
    found = _that_first(metric.name, likely_metrics(facts.files, ended.log))
    if not found:
        return [*lines, f"metric: no line of it has {metric.name}, nor another number that may be the metric"]
    written = metric_lines(found[0], found[0].direction or metric.direction)
    names = f"; it prints {', '.join(each.name for each in found[1:MOST_NAMED])} as well" if found[1:] else ""
    return [*lines, f"metric: no line of it has {metric.name}. In {file} write these two lines{names}:", *written]


def _that_first(name: str, found: Sequence[MetricGuess]) -> list[MetricGuess]:
    """Return the guesses, first the one that may be meant by a name: its own, else a number without a word."""
    named = [replace(each, name=name) if each.name == UNNAMED else each for each in found]
    return sorted(named, key=lambda each: not same_name(each.name, name))


def _run(place: ScriptPlace, workload: Workload, limit_s: float, trust: bool) -> Outcome:
    accept_commands(workload, trust)
    ended = run_once(workload, *_as_trials_have_it(), limit_s)
    if ended.status is TrialStatus.ENVIRONMENT or "Traceback (most recent call last)" in ended.log:
        raise WorkloadError(
            f"{place.folder / place.script}: fails as it is: {ended.reason}. Correct that; nothing was written."
        )
    return ended


def _how(ended: Outcome) -> str:
    return "ended well" if ended.reason.startswith(ENDED_WELL) else ended.status.value


def _as_trials_have_it() -> tuple[dict[str, str], Slot]:
    """Return the environment and the slot of a trial on this machine: on a core it has one thread."""
    settings, _ = read_settings(*pick_profile(detect_device()), {})
    try:
        slot = find_slots(settings.device, 1)[0]
    except ExecutorError:
        slot = Slot("probe")
    return script_environment(settings.env_pass), slot


def _unread_flags(facts: ScriptFacts, helped: str) -> Sequence[str]:
    """Return a note on flags that the script's --help names, and that its text does not show."""
    read = {
        name
        for file, text in facts.files.items()
        for flag in read_flags(text, file, facts.files)
        for name in (*flag.names, flag.off)
    }
    named = sorted(set(re.findall(r"(?<![\w-])--[A-Za-z][\w.-]*", helped)) - read - {"--help"})
    return [f"its --help names flags that its text does not show: {', '.join(named[:20])}"] if named else []
