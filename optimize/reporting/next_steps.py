"""The commands that may come next for a study: search on, confirm, look at a trial, look beyond the choices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from optimize.config.here import with_slash
from optimize.confirm.campaign import VerdictState
from optimize.confirm.replicates import MOST_SEEDS
from optimize.confirm.verdict import Finalist
from optimize.reporting.hints import Flags
from optimize.reporting.standing import Standing
from optimize.study.comparable import ABOUT
from optimize.text import listed

EDGES = 2  # that are named
FEW, LONGEST = 3, 100  # further ones whose names are told, and the characters of that line
OTHERS = 6  # numbers beside a metric that are named


@dataclass(frozen=True, slots=True)
class Step:
    """A command, before it is written for a place."""

    why: str
    command: str
    flags: Flags
    about: int | str | None = None


def more_seeds(found: Finalist) -> int:
    """Return with how many seeds in all a trial may be told from the baseline; 0 where it is luck, or has had the most."""
    if found.state is not VerdictState.CANDIDATE or found.pairs >= MOST_SEEDS:
        return 0
    return min(max(2 * found.pairs, 2), MOST_SEEDS)


def run_step(of: Standing) -> Step:
    """Return the command that goes on searching, with as many trials again; with more choices where each has been tried."""
    if of.exhausted:
        return further_step(of)
    done = of.cost.trials if of.best else 0
    why = f"search on, to {2 * done} trials in all" if done else "run it"
    return Step(why, "run", {**of.trained, "trials": 2 * done if done else None})


def further_step(of: Standing) -> Step:
    """Return the command that goes on with a study whose every configuration has been tried, once its space has more."""
    flags = {**{key: value for key, value in of.begun.items() if key != "study"}, "to": of.successor}
    return Step("once its space has more choices", "migrate", flags, of.name)


def confirm_step(of: Standing) -> Step:
    """Return the command that trains the best trials again with other seeds."""
    return Step("train it again", "confirm", of.trained)


def show_step(of: Standing, number: int) -> Step:
    """Return the command that tells all about a trial."""
    return Step("all about it", "show", {"study": of.name, **of.place}, number)


def beyond_choices(of: Standing) -> tuple[str, ...]:
    """Return a line for each of the first parameters at an end of whose choices the best trial lies."""
    lines, more = [str(edge) for edge in of.edges[:EDGES]], [edge.parameter.name for edge in of.edges[EDGES:]]
    if not more:
        return tuple(lines)
    one = len(more) == 1
    end = f"{'is' if one else 'are'} at an end of {'its' if one else 'their'} choices"
    line = f"{listed(more)} {end} as well"
    if len(more) > FEW or len(line) > LONGEST:
        line = f"And {'another parameter' if one else f'{len(more)} more parameters'} {end}"
    return (*lines, line)


def wider_steps(of: Standing, to: Path | None = None) -> Sequence[Step]:
    """Return the commands that write a wider search space, to this file, and move the study there."""
    new, file = of.successor, to or of.wider_file
    moved = {**{key: value for key, value in of.begun.items() if key != "study"}, "to": new, "space": with_slash(file)}
    return [
        Step("write a wider space", "space widen", {"study": of.name, "to": str(file), **of.place}),
        Step("take the trials there", "migrate", moved, of.name),
    ]


# --- a metric that tells nothing apart --------------------------------------------------------------------------------


def hardly_changes(of: Standing) -> tuple[str, ...]:
    """Return a line where all values are the same, or all but one: it names other numbers that the script prints, if known."""
    same, count = of.equal
    if not same or of.running:
        return ()
    how = f"all {count}" if same == count else f"{same} of {count}"
    names = _other_numbers(of)[:OTHERS]
    other = f"It prints {', '.join(names)} as well" if names else "Another number that it prints may tell more"
    return (f"{of.metric.name} hardly changes: {how} values are the same. {other}",)


def metric_steps(of: Standing) -> Sequence[Step]:
    """Return the command that takes another number of the user's script, where this one hardly changes."""
    about = of.attrs.get(ABOUT)
    folder, script = (
        (str(about.get(key, "")) for key in ("workload", "script")) if isinstance(about, Mapping) else ("", "")
    )
    if not hardly_changes(of) or "/" not in folder or not script:
        return []
    path = script if Path(folder).expanduser().resolve() == Path.cwd() else str(Path(folder, script))
    flags = {"metric": next(iter(_other_numbers(of)), "NAME"), "to": "DIR"}
    return [Step("take another metric", "init", flags, path)]


def _other_numbers(of: Standing) -> Sequence[str]:
    summary = of.best.record.summary if of.best else {}
    return [name for name, value in summary.items() if isinstance(value, float) and name != of.metric.name]
