"""The sections of a report, one function each, in the order of SECTIONS: a figure or a table, with a caption.

A section without anything to show is one line that says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise

from optimize.confirm.caveats import caveats
from optimize.reporting.figures.data import HistoryPoint, ending_of
from optimize.reporting.figures.static import hours_scale
from optimize.reporting.figures.style import style_of
from optimize.reporting.hints import optimize_command
from optimize.reporting.html.facts import ReportFacts, here
from optimize.reporting.html.figures import MOST_SLICES, Picture
from optimize.reporting.html.markup import Markup, diff, join, table, tag
from optimize.reporting.status import pruning_lines
from optimize.text import amount, changes, duration
from storage import TrialRecord

BEST_SHOWN, STEPS_SHOWN, PATCH_LINES = 10, 40, 400
NO_VALUE = "No trial has completed yet."
Pictures = Mapping[str, Picture]


def progress(facts: ReportFacts, pictures: Pictures) -> Markup:
    title, steps = "Best so far", facts.history.steps
    if "progress" not in pictures:
        return _nothing(title, _no_value(facts) if facts.records else "The study has no trial yet.")
    caption = "Each dot is a trial, the line is the best single value so far. Marks at the lower edge are trials without a value."
    gains = ["", *(signed(abs((b.value or 0.0) - (a.value or 0.0))) for a, b in pairwise(steps))]
    rows = [(step.number, number(step.value), gain, _changed(step)) for step, gain in zip(steps, gains, strict=True)]
    head = ("trial", facts.metric.name, "gain", "what differs from the best before it")
    return _section(title, _figure(pictures["progress"], title, caption), table(head, rows[-STEPS_SHOWN:], (0, 1, 2)))


def _no_value(facts: ReportFacts) -> str:
    return f"There is nothing to draw: {facts.no_best}." if facts.no_best else NO_VALUE


def _changed(step: HistoryPoint) -> str:
    pairs = (f"{name} {written(a)} \N{RIGHTWARDS ARROW} {written(b)}" for name, (a, b) in step.changed.items())
    return ", ".join(pairs) or step.record.kind


def confirmation(facts: ReportFacts, pictures: Pictures) -> Markup:
    title, verdict, noise = "Is it real?", facts.verdict, facts.noise
    if verdict is None:
        line = "Nothing was confirmed yet. The best of many trials is partly luck."
        if facts.confirmable:
            line += " A confirmation trains the best trials and the baseline again with other seeds."
        if noise is not None:
            line += f" The values of {noise.trials} trials of equal parameters have a standard deviation of {noise.deviation:.3g}."
        return _nothing(title, line)
    more = [tag("p", each) for each in verdict.lines]
    if not verdict.finalists:
        few = () if verdict.beside else (tag("p", "Too few trainings completed with other seeds.", class_="soft"),)
        return _section(title, *few, *more)
    rows = [
        (f.number, f.pairs, signed(f.gain), f"{signed(f.low)} to {signed(f.high)}",
         f.state, "; ".join(f.doubts))
        for f in verdict.finalists
    ]  # fmt: skip
    head = ("trial", "repeats", "mean gain", f"{verdict.level:.0%} interval", "verdict", "but")
    seeds = "" if verdict.beside else " with the same seeds"
    line = (
        f"The gain is the mean difference to the baseline{seeds}; positive is better. The trial itself is not among "
        f"its repeats. The noise between seeds is {verdict.noise:.3g}; a gain below {verdict.floor:.3g} cannot be told from it."
    )
    return _section(title, table(head, rows, (0, 1, 2, 3)), tag("p", line, class_="soft"), *more)


def importance(facts: ReportFacts, pictures: Pictures) -> Markup:
    title, found = "Which parameters mattered", facts.importances
    if "importance" not in pictures:
        return _nothing(title, f"There is no answer: {found.why_not}.")
    caption = (
        f"PED-ANOVA: how much a parameter's values in the best {found.top} of {found.trials} completed trials differ from those in "
        "all. A mark shows what shuffled values stay below, 19 times of 20. A bar that does not pass its mark is grey and says "
        "nothing. Importance holds for these choices and these trials: a parameter that was set well from the start, or whose "
        "choices are close together, seems unimportant."
    )
    return _section(title, _figure(pictures["importance"], title, caption, "side"))


def slices(facts: ReportFacts, pictures: Pictures) -> Markup:
    title = "One parameter at a time"
    if "slices" not in pictures:
        return _nothing(title, _no_value(facts))
    caption = (
        f"{facts.metric.name} of completed trials over each choice, in the search space's order. A dot is a trial, a bar the "
        "median, the star the best trial; the baseline's choice is shaded. Trials differ in their other parameters as well."
    )
    if len(facts.slices) > MOST_SLICES:
        caption += f" These are the first {MOST_SLICES} of {len(facts.slices)} parameters."
    return _section(title, _figure(pictures["slices"], title, caption))


def curves(facts: ReportFacts, pictures: Pictures) -> Markup:
    title = "Learning curves"
    if "curves" not in pictures:
        return _nothing(
            title,
            "No trial has told a loss on its way. Where the script prints one, progress in workload.toml says so.",
        )
    caption = "Every trial that told a loss on its way. The colour and shape of the mark at its end show how it ended."
    return _section(title, _figure(pictures["curves"], title, caption))


def cost(facts: ReportFacts, pictures: Pictures) -> Markup:
    title = "What it cost"
    if not facts.costs:
        return _nothing(title, "No trial has ended here yet.")
    scale, unit = hours_scale(facts.costs)
    total = sum(each.hours for each in facts.costs)
    words = f"{scale * total:.3g} {facts.unit}-{'hours' if unit == 'h' else 'minutes'} in all"
    taken = sum(bool(record.taken_from) for record in facts.records)
    words += f"; {amount(taken, 'trial')} copied from another study cost nothing here." if taken else "."
    lines = [tag("p", line, class_="soft") for line in pruning_lines(facts.records, facts.metric)]
    rows = [
        (
            style_of(each.ending).label,
            each.trials,
            f"{scale * each.hours:.3g} {unit}",
            f"{each.hours / (total or 1):.0%}",
            _why(facts, each.ending),
        )
        for each in facts.costs
    ]
    head = ("ending", "trials", "time", "share", "the latest reason")
    shown = _figure(pictures["cost"], title, words, "side") if "cost" in pictures else tag("p", words)
    return _section(title, shown, table(head, rows, (1, 2, 3)), *lines)


def _why(facts: ReportFacts, ending: str) -> str:
    return next((r.reason for r in reversed(facts.records) if r.reason and ending_of(r) == ending), "")


def best_trials(facts: ReportFacts, pictures: Pictures) -> Markup:
    title, sign = "The best trials", facts.metric.sign
    ranked = sorted((sign * r.value, r.number, r) for r in facts.records if r.value is not None)
    if not ranked:
        return _nothing(title, _no_value(facts))
    shown = [record for *_, record in ranked[:BEST_SHOWN]]
    shown += [facts.best] if facts.best and facts.best not in shown else []  # a confirmed winner may lie below
    head = ("trial", facts.metric.name, "took", "differs from the baseline in", "")
    line = "Ordered by their single values; each is one training with one seed."
    rows = [_trial(facts, record) for record in shown]
    return _section(title, table(head, rows, (0, 1, 2)), tag("p", line, class_="soft"))


def _trial(facts: ReportFacts, record: TrialRecord) -> Sequence[object]:
    took = "" if record.seconds is None else duration(record.seconds)
    differs = changes(record.params, facts.default, shown=99)
    confirmed = (
        ["confirmed: the best"] if facts.best_trial and facts.best_trial.confirmed and record is facts.best else []
    )
    but = [f"but: {caveat}" for caveat in caveats(record, facts.baseline)]
    return record.number, number(record.value), took, differs, "; ".join([*confirmed, *but])


def patch(facts: ReportFacts, pictures: Pictures) -> Markup:
    title, best = "The best as a patch", facts.best
    if best is None:
        return _nothing(title, _no_value(facts))
    profile = _profile_patch(facts)
    if not facts.patch:
        line = "it is the baseline" if best.kind == "baseline" else "it has the baseline's parameters, or ran elsewhere"
        return _section(title, *profile, tag("p", f"Trial {best.number} has no patch: {line}.", class_="soft"))
    note = (
        f"What the search changed: trial {best.number} against the baseline. This gets a copy that runs on its own, in the folder "
        "where the study ran; optimize stands for this program, such as .venv/bin/optimize: "
    )
    flags = {"study": facts.name, "trial": best.number, "to": f"trial-{best.number}"}
    command = tag("code", optimize_command("export", flags))
    return _section(title, *profile, tag("p", note, command, class_="soft"), diff(facts.patch, PATCH_LINES))


def _profile_patch(facts: ReportFacts) -> list[Markup]:
    if not facts.profile_patch:
        return []
    note = "What the profile changed: the baseline against the script."
    return [tag("p", note, class_="soft"), diff(facts.profile_patch, PATCH_LINES)]


def space(facts: ReportFacts, pictures: Pictures) -> Markup:
    title = "What was tuned"
    if not facts.choices:
        return _nothing(title, "No trial has parameters yet.")
    best = facts.best.params if facts.best else {}
    rows = [
        (name, ", ".join(map(written, choices)) or "a range", written(facts.default.get(name, "")), written(best.get(name, "")))
        for name, choices in facts.choices.items()
    ]  # fmt: skip
    return _section(title, table(("parameter", "choices", "baseline", "best"), rows))


def settings(facts: ReportFacts, pictures: Pictures) -> Markup:
    title, kept, origins = "Settings", facts.settings, facts.settings.get("origins")
    if not isinstance(origins, dict):
        return _nothing(title, "There is no settings.json of this study here.")
    rows = [
        row
        for name, origin in origins.items()
        if name in kept and name != "origins"
        for row in _setting(name, kept[name], origin, origins)
    ]
    note = "Those of the last call."
    return _section(title, tag("p", note, class_="soft"), table(("setting", "value", "from"), rows))


def _setting(name: str, value: object, origin: object, origins: Mapping[str, object]) -> Iterable[Sequence[object]]:
    if isinstance(value, dict):
        keys = ((f"{name}.{key}", each) for key, each in value.items())
        return [(key, written(each), origins.get(key, origin)) for key, each in keys]
    if name == "storage" and origin != "default":
        return [(name, "a database by URL", origin)]  # it may hold a password, and is not kept
    return [(name, written(value), origin)]


def machine(facts: ReportFacts, pictures: Pictures) -> Markup:
    devices = {
        "devices": ", ".join(f"{name or 'unknown'} ({amount(count, 'trial')})" for name, count in facts.devices.items())
    }
    driven = {**facts.machine, **(devices if facts.devices else {})}
    of = "During the last call:" if facts.machine else "The trials ran on:"
    parts = [tag("p", of, class_="soft"), _pairs(driven)] if driven else []
    made = f"This report was made on {facts.now:%Y-%m-%d} at {facts.now:%H:%M} UTC, on:"
    return _section("Machine and versions", *parts, tag("p", made, class_="soft"), _pairs(here()))


SECTIONS: Sequence[Callable[[ReportFacts, Pictures], Markup]] = (
    progress, confirmation, importance, slices, curves, cost, best_trials, patch, space, settings, machine,
)  # fmt: skip


def number(value: float | None) -> str:
    """Return a value of the metric with six decimals, as everywhere; `trials.csv` has all digits."""
    if value is None:
        return ""
    return f"{value:.6f}" if 1e-3 <= abs(value) < 1e9 or not value else f"{value:.6g}"


def signed(gain: float) -> str:
    """Return a gain with its sign."""
    return f"{gain:+.4g}".replace("-", "\N{MINUS SIGN}")


def written(value: object) -> str:
    """Return a value of a parameter or a setting, in full: a page has room for it."""
    if isinstance(value, list):  # from settings.json; a stored tuple is text
        return ", ".join(map(written, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else "none" if value is None else str(value)


def _section(title: str, *content: object) -> Markup:
    return tag("section", tag("h2", title), *content)


def _nothing(title: str, line: str) -> Markup:
    return _section(title, tag("p", line, class_="soft"))


def _figure(picture: Picture, title: str, caption: str, kind: str = "figure") -> Markup:
    return tag(
        "figure", tag("div", picture.element, role="img", aria_label=title), tag("figcaption", caption), class_=kind
    )


def _pairs(known: Mapping[str, object]) -> Markup:
    return tag("dl", *(join([tag("dt", key), tag("dd", value)]) for key, value in known.items()))
