"""The report as one HTML page that loads nothing else: no script, no font, no picture.

Facts and pictures in, text out. The head of the page is here, the rest in `sections.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from string import Template

from optimize.config.environment import in_notebook
from optimize.reporting.baseline_words import baseline_words
from optimize.reporting.figures.static import UNITS
from optimize.reporting.four_facts import Fact, four_facts
from optimize.reporting.hints import optimize_command
from optimize.reporting.html.facts import ReportFacts
from optimize.reporting.html.figures import Picture
from optimize.reporting.html.markup import Markup, join, tag
from optimize.reporting.html.sections import SECTIONS, number, written
from storage import TrialRecord

TEMPLATE = Path(__file__).with_name("page.html")


def render_page(facts: ReportFacts, pictures: Mapping[str, Picture]) -> str:
    """Return the whole page."""
    body = join(
        [_header(facts), _four(facts), _cards(facts), *(section(facts, pictures) for section in SECTIONS)], "\n"
    )
    title = join([facts.name, " \N{EM DASH} report"])
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(title=title, body=body)


def _header(facts: ReportFacts) -> Markup:
    lines = [tag("p", _counts_and_times(facts), class_="soft"), tag("p", _subject(facts), class_="soft")]
    if facts.driver:
        moment = f"{facts.now:%Y-%m-%d %H:%M:%S} UTC"
        lines.append(tag("p", f"The study is running ({facts.driver}). This page shows it at {moment}.", class_="warn"))
    return tag("header", tag("h1", facts.name), *lines)


def _counts_and_times(facts: ReportFacts) -> str:
    """Return `131 trials, 120 completed; 2026-11-22 13:53 to 14:43 UTC`."""
    records = facts.records
    states = {"completed": "COMPLETE", "running": "RUNNING", "waiting": "WAITING"}
    counts = {word: sum(record.state == state for record in records) for word, state in states.items()}
    parts = [f"{counted(len(records), 'trial')}", *(f"{count} {word}" for word, count in counts.items() if count)]
    times = [moment for record in records for moment in (record.started, record.finished) if moment]
    if not times:
        return ", ".join(parts)
    first, last = min(times), max(times)
    until = f"{last:%H:%M}" if first.date() == last.date() else f"{last:%Y-%m-%d %H:%M}"
    return f"{', '.join(parts)}; {first:%Y-%m-%d %H:%M} to {until} UTC"


def _subject(facts: ReportFacts) -> str:
    """Return what was tuned, on which device, with which constants."""
    workload = facts.settings.get("workload")
    of = f" of {written(workload)}" if workload and workload not in (".", "./") else ""  # a page is read elsewhere
    what = f"{counted(len(facts.choices), 'parameter')}{of}"
    devices = " and ".join(name for name in facts.devices if name)
    constants = ", ".join(
        f"{name} = {written(value)}" for name, value in facts.constants.items() if name not in facts.choices
    )
    return f"Tuned: {what}{f', on {devices}' if devices else ''}{f', with {constants}' if constants else ''}."


def counted(count: int, what: str) -> str:
    """Return `1 trial`, `3 trials`."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def _four(facts: ReportFacts) -> Markup:
    """Return the four facts, in the words of the dashboard's note and of `status`."""
    found = four_facts(facts.standing, optimize_command)
    pairs = [join([tag("dt", fact.title), tag("dd", *_lines(fact))]) for fact in found.all]
    commands = [tag("p", f"{why}: ", tag("code", command), class_="soft") for why, command in found.commands]
    cell = [tag("p", "In a cell of a notebook, put a ! before a command.", class_="soft")]
    return tag("section", tag("dl", *pairs, class_="facts"), *commands, *(cell if commands and in_notebook() else []))


def _lines(fact: Fact) -> list[Markup]:
    return [tag("b", fact.answer), *(tag("div", line, class_="soft") for line in fact.more)]


# --- cards ------------------------------------------------------------------------------------------------------------


def _cards(facts: ReportFacts) -> Markup:
    best, baseline = facts.best, facts.baseline
    cards = [
        _card(f"best {facts.metric.name}", _value(best), _about_best(facts)),
        _card("baseline", _value(baseline), _about_baseline(facts)),
    ]
    if best is not None and baseline is not None:
        cards.append(_gain(facts, best.value or 0.0, baseline.value or 0.0))
    return tag("div", *cards, class_="cards")


def _about_best(facts: ReportFacts) -> str:
    if facts.best_trial is None:
        return facts.no_best or "no trial has completed"
    side = "lower" if facts.metric.direction == "minimize" else "higher"
    unit = f"{UNITS[facts.metric.name]}; " if facts.metric.name in UNITS else ""
    aside = f"; {facts.best_trial.aside}" if facts.best_trial.aside else ""
    return f"trial {facts.best_trial.record.number}; {unit}{side} is better{aside}"


def _about_baseline(facts: ReportFacts) -> str:
    if facts.baseline is not None:
        return baseline_words(bool(facts.constants))
    return "it has not completed" if facts.ours else "this study names none"


def _gain(facts: ReportFacts, best: float, baseline: float) -> Markup:
    shown = facts.best_trial
    if shown is not None and shown.confirmed and shown.finalist is not None:
        mean = f"the mean over {counted(shown.finalist.pairs, 'pair')} with other seeds"
        return _card("gain", f"{shown.finalist.gain:.6g}", f"better than the baseline, {mean}")
    gain = abs(baseline - best)  # the baseline is among the trials: the best is no worse
    if not gain:
        return _card("gain", "none", "nothing was better than the baseline")
    share = f" by {gain / abs(baseline):.1%}".replace("%", " %") if baseline else ""
    return _card("gain", f"{gain:.6g}", f"better than the baseline{share}, in one training each")


def _card(title: str, figure: str, note: str) -> Markup:
    small = [tag("span", text, class_="soft") for text in (title, note)]
    return tag("div", small[0], tag("b", figure or "\N{EN DASH}"), small[1], class_="card")


def _value(record: TrialRecord | None) -> str:
    return number(record.value) if record else ""
