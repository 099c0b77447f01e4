"""The four facts about a study that everybody wants first: what won, how sure that is, what it cost, what to do next.

The dashboard's note, the report and `status` begin with them, in these words. Values in, text out: nothing is read here, and each
of the three writes commands and markup in its own way.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from optimize.confirm.campaign import VerdictState
from optimize.confirm.caveats import caveats
from optimize.confirm.verdict import Finalist
from optimize.reporting.hints import Flags, command_line
from optimize.reporting.next_steps import (
    Step,
    beyond_choices,
    confirm_step,
    hardly_changes,
    metric_steps,
    more_seeds,
    run_step,
    show_step,
    wider_steps,
)
from optimize.reporting.standing import Standing
from optimize.reporting.worth_words import worth_words
from optimize.study.best import BestTrial
from optimize.study.comparable import FINGERPRINT, device_batch_of, differs_again, is_confirmable
from optimize.text import amount, changes, gain_text, value_text
from optimize.trial import BASELINE

Write = Callable[[str, Flags, int | str | None], str]
"""Writes a command: its name, its flags, and what it is about."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One of the four: a title, the answer in few words, and lines that say more."""

    title: str
    answer: str
    more: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FourFacts:
    """The facts, and the commands of the last one, each after what it is for."""

    won: Fact
    sure: Fact
    cost: Fact
    next: Fact
    commands: tuple[tuple[str, str], ...] = ()

    @property
    def all(self) -> tuple[Fact, Fact, Fact, Fact]:
        return self.won, self.sure, self.cost, self.next


def four_facts(of: Standing, write: Write = command_line) -> FourFacts:
    """Return the four facts; `write` writes a command as it can be pasted where they are read."""
    answer, more, steps = _next(of)
    lines, steps = _possible(of, [*steps, *(wider_steps(of) if of.edges else []), *metric_steps(of)])
    commands = tuple((step.why, write(step.command, step.flags, step.about)) for step in steps)
    return FourFacts(
        Fact("What won?", *_won(of)),
        Fact("How sure is that?", *_sure(of)),
        Fact("What did it cost?", *_cost(of)),
        Fact("What next?", answer, (*more, *hardly_changes(of), *_nothing_left(of), *beyond_choices(of), *lines)),
        commands,
    )


# --- what won ---------------------------------------------------------------------------------------------------------

Words = tuple[str, tuple[str, ...]]
"""An answer, and the lines that say more."""


def _won(of: Standing) -> Words:
    if of.best is None:
        return _nothing(of)
    best, metric = of.best.record, of.metric.name
    if of.is_baseline:
        soon = " so far" if of.running else ""
        return f"Nothing beat the baseline{soon}: it has {metric} {value_text(best.value)}", (_aim(of),)
    against = of.baseline.params if of.baseline else of.attrs.get(BASELINE)
    changed = changes(best.params, against if isinstance(against, Mapping) else {})
    lines = (f"Changed: {changed}",) if best.params else ()
    trial = f"rial {best.number}: {metric} {value_text(best.value)}{_gain(of, of.best)}"
    if of.best.finalist and not of.best.confirmed:
        return f"Nothing for sure. In its one training, t{trial}", (*lines, _against(of))
    return f"T{trial}", (*lines, _against(of))


def _nothing(of: Standing) -> Words:
    if of.no_best:
        return f"This study has no best trial: {of.no_best}", ()
    if of.running or not of.cost.trials:
        return "No trial has completed yet", ()
    return f"No trial has completed: {of.cost.trials:,} ended without a value", ()


def _gain(of: Standing, best: BestTrial) -> str:
    before = of.baseline.value if of.baseline else None
    if before is None or best.record.value is None:
        return ""
    gain, on_average = of.metric.sign * (before - best.record.value), ""
    if best.confirmed and best.finalist is not None:  # this gain is not the difference of the two values that are shown
        gain, on_average = best.finalist.gain, "with other seeds on average "
    share = f"{abs(gain / before):.1%}".replace("%", " %") if before else value_text(abs(gain))
    return f", {on_average}{share} {'better' if gain >= 0 else 'worse'} than the baseline"


def _against(of: Standing) -> str:
    if of.baseline is None or of.baseline.value is None:
        return _aim(of)
    batch = device_batch_of(of.attrs)
    return f"The baseline has {value_text(of.baseline.value)}{f', with {batch}' if batch else ''}. {_aim(of)}"


def _aim(of: Standing) -> str:
    return f"{'Lower' if of.metric.direction == 'minimize' else 'Higher'} is better."


# --- how sure ---------------------------------------------------------------------------------------------------------


def _sure(of: Standing) -> Words:
    if of.best is None:
        return "There is nothing to be sure of yet", ()
    if of.is_baseline:
        return "There is no gain to confirm", ()
    known = of.best.finalist.doubts if of.best.finalist else ()
    doubts = tuple(f"But: {each}" for each in dict.fromkeys([*known, *caveats(of.best.record, of.baseline)]))
    aside = (f"{of.best.aside[:1].upper()}{of.best.aside[1:]}",) if of.best.aside else ()
    answer, more = _confirmed(of, of.best)
    return answer, (*more, *aside, *doubts)


def _confirmed(of: Standing, best: BestTrial) -> Words:
    if best.finalist is not None:
        return _repeated(of, best.finalist)
    if of.verdict is not None and not of.verdict.finalists:
        return f"A candidate: {best.why}", ()
    told = "The best of many trials is partly luck."
    if of.verdict is not None:
        told = f"Of {len(of.verdict.finalists)} others, repeated with other seeds, none was surely better than the baseline."
    return "A candidate: it was trained once, with one seed", (told,)


def _repeated(of: Standing, found: Finalist) -> Words:
    level = f"{of.verdict.level:.0%}".replace("%", " %") if of.verdict else "95 %"
    span = f"{gain_text(found.low)} and {gain_text(found.high)}"
    gain = f"Mean gain over the baseline: {gain_text(found.gain)}, with {level} confidence between {span}"
    seeds = amount(found.pairs, "other seed")
    lines = (gain, *_noise(of)) if found.pairs else ()
    if found.state is VerdictState.CONFIRMED:
        return f"Confirmed: better than the baseline with {seeds} as well", lines
    if found.state is VerdictState.CANDIDATE:
        return f"A candidate: with {seeds} it is not clearly better than the baseline", lines
    than = "the baseline" if min(found.gain, found.high) <= 0 else "what it had to beat"
    return f"Luck: no better than {than} with {seeds}" if found.pairs else "Luck: it did not complete again", lines


def _noise(of: Standing) -> tuple[str, ...]:
    noise = of.verdict.noise if of.verdict is not None else 0.0
    return (f"Noise: another seed moves {of.metric.name} by {value_text(noise)} (standard deviation)",) if noise else ()


# --- what it cost -----------------------------------------------------------------------------------------------------


def _cost(of: Standing) -> Words:
    if of.running and of.lasting:
        if of.best is None:
            return "It is counted here from the first value on", ()
        return f"Up to trial {of.best.record.number}: {of.cost.text}", tuple(of.cost.more)
    return f"{'So far: ' if of.running else ''}{of.cost.text}{worth_words(of)}", tuple(of.cost.more)


# --- what next --------------------------------------------------------------------------------------------------------


Advice = tuple[str, tuple[str, ...], Sequence[Step]]


def _next(of: Standing) -> Advice:
    if of.no_best:
        return "Compare its trials in the dashboard", (), [Step("all of them", "dashboard", of.place)]
    if not of.attrs.get(FINGERPRINT):
        return _begin_with_it(of)
    if of.confirming:
        return "Wait: the best trials are being trained with other seeds", (), []
    if of.running:
        return _let_it_run(of)
    if of.best is None:
        return _find_out(of)
    if of.is_baseline:
        instead = "Look at another metric" if hardly_changes(of) else "Try more"
        return f"{instead}, or change what may vary", (), [run_step(of)]
    if of.best.confirmed:
        beyond = ", and look beyond its choices" if of.edges else ""
        newer = [confirm_step(of)] if of.best.open and _can_confirm(of) else []
        steps = [show_step(of, of.best.record.number), *newer, *([] if of.edges else [run_step(of)])]
        return f"Use it: the study's folder best/ has it, ready to run{beyond}", (), steps
    if of.best.open:
        return _be_sure(of, of.best)
    return _after_luck(of, of.best.finalist)


def _possible(of: Standing, steps: Sequence[Step]) -> tuple[Sequence[str], Sequence[Step]]:
    """Return the steps that can be taken here, and a line where others cannot."""
    lines: list[str] = []
    if of.frozen:
        lines.append("Nothing can be written here: to go on, copy it to where you can write")
        steps = [
            *_without(steps, _WRITE),
            Step("copy it", "copy", {"study": of.name, "to": "DIR/optuna.db", **of.place}),
        ]
    if of.absent:
        flags = " ".join(f"--{name} {'DIR' if name == 'workload' else 'FILE.toml'}" for name in of.absent)
        lines.append(f"Not here: {', '.join(map(str, of.absent.values()))}. To go on, say where: {flags}")
        steps = _without(steps, _TRAIN)
    shown = any(step.command == "show" for step in steps)
    return lines, [*([show_step(of, of.best.record.number)] if lines and of.best and not shown else []), *steps]


_TRAIN = frozenset(("run", "confirm", "space widen", "migrate", "init"))  # commands that need what the study began with
_WRITE = _TRAIN | {"stop"}


def _without(steps: Sequence[Step], commands: Collection[str]) -> Sequence[Step]:
    return [step for step in steps if step.command not in commands]


def _begin_with_it(of: Standing) -> Advice:
    """It was imported, or another program made it."""
    start = {"study": of.successor, "from": of.name, **of.place}
    return "Begin a study of your script with its best trials", (), [Step("begin", "run", start)] if of.best else []


def _let_it_run(of: Standing) -> Advice:
    stop = Step("to end it now", "stop", {"study": of.name, **of.place})
    if of.best is None:
        return "While it runs: wait for the first value", (), [stop]
    if of.verdict is not None and of.verdict.beside:
        return "While it runs: let it go on. It trains its best trials again beside the search", (), [stop]
    if of.best.open and _can_confirm(of):
        return "While it runs: let it go on. Then train the best again with other seeds", (), [confirm_step(of)]
    return "While it runs: let it go on", (), [stop]


def _find_out(of: Standing) -> Advice:
    if of.latest is None:
        return "Run it", (), [run_step(of)]
    ended, why = of.latest.status or of.latest.state.lower(), of.latest.reason
    line = f"Trial {of.latest.number} ended as {ended}{f': {why}' if why else ''}"
    return "Find out why no trial has a value", (line,), [show_step(of, of.latest.number), run_step(of)]


def _be_sure(of: Standing, best: BestTrial) -> Advice:
    if _can_confirm(of):
        beyond = ", and look beyond its choices" if of.edges else ""
        return f"Train it again with other seeds before you rely on it{beyond}", (), [confirm_step(of)]
    again = differs_again(of.attrs)
    as_it_is = (
        ""
        if again is None
        else f". {again[:1].upper()}{again[1:]}"
        if again
        else ". As it is, every training is the same"
    )
    line = f"To confirm it, the script needs a seed that can be changed, such as SEED = 1{as_it_is}."
    further = "Look beyond its choices" if of.edges else "Search on"
    return further, (line,), [] if of.edges else [run_step(of)]


def _can_confirm(of: Standing) -> bool:
    """Return whether other seeds can tell: the script had one when the study began, or a verdict shows that it has one."""
    return is_confirmable(of.attrs) or (of.verdict is not None and bool(of.attrs.get(FINGERPRINT)))


def _after_luck(of: Standing, found: Finalist | None) -> Advice:
    if found is None:  # repeats could tell nothing of it
        return "Search on", (), [run_step(of)]
    seeds = more_seeds(found)
    if not seeds:
        return "Search on: this gain is not real", (), [run_step(of)]
    more = Step(f"{seeds} seeds in all", "confirm", {**of.trained, "seeds": seeds})
    return "Train it with more seeds, or search on", (), [more, run_step(of)]


def _nothing_left(of: Standing) -> tuple[str, ...]:
    return ("Every configuration has been tried: only more choices can find more",) if of.exhausted else ()
