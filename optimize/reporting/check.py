"""What `optimize check` says of a plan, to people and to programs, and `optimize run` before its first trial.

It opens nothing and prints nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from optimize.config.here import HERE
from optimize.config.plan import SEED, Plan
from optimize.reporting.hints import command_line, given_flags, pasteable
from optimize.reporting.program import interrupt
from optimize.reporting.status_json import SCHEMA, as_json
from optimize.text import amount, duration, short
from optimize.trial import Slot

LONG_S = 900.0  # above, a study on a CPU gets a line on how to make it shorter


def check_report(plan: Plan, slots: Sequence[Slot], beginning: Sequence[str] = (), done: int = 0) -> RenderableType:
    """Return everything that `optimize check` shows; `beginning` is what `--from` would bring, `done` as in `plan_lines`."""
    dead = [
        f"  {name} = {value!r}: the rules never allow it" for name, value in plan.space.dead_choices(plan.constants)
    ]
    return Group(
        *(Text(pasteable(line)) for line in plan_lines(plan, slots, done)),
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


def plan_lines(plan: Plan, slots: Sequence[Slot], done: int = 0) -> list[str]:
    """Return what is about to happen in a few lines: which profile and why, the space, the slots, how long it will take.

    `done` trials of the study count against its limit already.
    """
    settings, space = plan.settings, plan.space
    feasible = space.count_feasible(plan.constants)
    devices = ", ".join(sorted({slot.device for slot in slots}))
    here = f" ({settings.origins['workload']})" if settings.workload == HERE else ""
    limit = amount(settings.trials, "trial") if settings.trials else f"no limit of trials; {interrupt()} ends it"
    limit += f", {done} of them done" if settings.trials and done else ""
    return [
        f"study {settings.study}: profile {settings.profile} ({settings.origins['profile']}), workload {plan.workload.name}{here}",
        f"search space {settings.search_space}: {amount(len(space.parameters), 'parameter')}, {_count(space.size)} configurations"
        + (f", {_count(feasible)} feasible" if feasible is not None else ""),
        f"slots: {len(slots)} x {devices or 'none'}; {limit}" + (f", {settings.hours:g} h" if settings.hours else ""),
        *plan.earlier,
        *plan.notes,
        *_duration_lines(plan, max(len(slots), 1), done),
    ]


def _duration_lines(plan: Plan, slots: int, done: int) -> list[str]:
    """Return how long it will take, where that is known, and how to make it shorter where a CPU would take long."""
    settings, one = plan.settings, plan.workload.duration_s(plan.constants)
    left = max(settings.trials - done, 0) if settings.trials else 0
    if one is None or not left:
        return []
    seconds = one * -(-left // slots)
    trials = f"{left} {'more ' if done else ''}trial{'s' if left != 1 else ''}"
    lines = [f"about {duration(seconds)} in all: {trials} of {duration(one)}, {slots} at a time"]
    if settings.device == "cpu" and seconds > LONG_S:
        fewer = done + max(2, int(left * LONG_S / seconds))
        shorter = command_line("run", {**given_flags(settings, search=True), "trials": fewer})
        lines.append(f"shorter: {shorter}, or a profile of your own with a smaller budget under [constants]")
    return lines


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


def check_document(plan: Plan, slots: Sequence[Slot], trusted: bool, done: int = 0) -> dict[str, Any]:
    """Return what `optimize check --json` prints: what a study would be; `trusted` says whether its commands may run."""
    settings, workload, space = plan.settings, plan.workload, plan.space
    return {
        "schema": SCHEMA,
        "study": settings.study,
        "trials_done": done,
        "workload": {
            "folder": str(workload.folder.resolve()),
            "script": workload.script,
            "command": list(workload.command),
            "metric": workload.metric.name,
            "direction": workload.metric.direction,
            "seed": plan.about()[SEED] or None,
            "trusted": trusted,
        },
        "search_space": {
            "path": settings.search_space,
            "size": space.size,
            "feasible": space.count_feasible(plan.constants),
            "parameters": [
                {
                    "name": each.name,
                    "choices": [as_json(choice) for choice in each.stored_choices],
                    "baseline": as_json(each.encode(plan.baseline[each.name])),
                    "when": None if each.when is None else each.when.text,
                }
                for each in space.parameters
            ],
            "rules": [{"rule": rule.text, "why": rule.why} for rule in space.rules],
        },
        "starts": list(plan.starts.lines),
        "slots": [{"name": slot.name, "device": slot.device, "memory_mb": slot.memory_mb or None} for slot in slots],
        "settings": {name: {"value": as_json(value), "origin": origin} for name, value, origin in _settings(plan)},
        "notes": [*plan.earlier, *plan.notes],
    }


def _settings_table(plan: Plan) -> Table:
    table = Table.grid(padding=(0, 2))
    for name, value, origin in _settings(plan):
        shown = "none" if value is None or value in ("", (), {}) else str(value)
        table.add_row(f"  {name}", shown, Text(origin, style="dim"))
    return table


def _settings(plan: Plan) -> Iterator[tuple[str, object, str]]:
    """Yield every setting with its value and its origin; constants and limits one by one."""
    for name, origin in plan.settings.origins.items():
        if name.startswith("limits."):
            continue
        value = getattr(plan.settings, name)
        if name == "device_batch" and value is None:
            continue
        if name == "storage" and value:
            value = "a database by URL"  # the URL may hold a password
        if name in ("constants", "limits"):
            for key, each in value.items() if isinstance(value, Mapping) else asdict(value).items():
                of_key = plan.settings.origins.get(f"limits.{key}", "default") if name == "limits" else origin
                yield f"{name}.{key}", each, of_key
        elif name != "origins":
            yield name, value, origin


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
