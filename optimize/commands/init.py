"""The command `init`: from a training script to the files that a study of it needs, with questions where a person is asked."""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from optimize.commands.flags import TrustFlag
from optimize.commands.terminal import is_asked, say, say_all
from optimize.errors import SettingsError, WorkloadError

if TYPE_CHECKING:
    from optimize.script.begin import ScriptPlace
    from optimize.script.draft_workload import ScriptFacts, WorkloadAnswers
    from optimize.script.metric_guess import MetricGuess
    from search_spaces import Draft

SHOWN = 6  # candidates for the metric
NAMED = 12  # of them, in a line
PROBE_S = 60.0


def init(
    script: Annotated[str, typer.Argument(help="A training script, or the folder that has it.")] = ".",
    words: Annotated[
        list[str] | None, typer.Argument(metavar="[-- WORDS]", help="What the script itself is given: -- fit --data x.")
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option(help="Another folder to write into; it gets a copy of the script. Default: beside it."),
    ] = None,
    metric: Annotated[str | None, typer.Option(help="The number that the script prints and a study is about.")] = None,
    direction: Annotated[str | None, typer.Option(help="minimize or maximize.")] = None,
    total: Annotated[
        float | None, typer.Option(help="Seconds that a trial may take. Default: the profile's limit.")
    ] = None,
    python: Annotated[
        str | None,
        typer.Option(help="The Python of the script. Default: VIRTUAL_ENV, CONDA_PREFIX, .venv beside it, ours."),
    ] = None,
    probe: Annotated[
        bool,
        typer.Option("--probe", help="Run the script once, to see what it prints; at most --total seconds, else 60."),
    ] = False,
    no_seed: Annotated[
        bool, typer.Option("--no-seed", help="Write no seeded.py for a script that sets no seed.")
    ] = False,
    trust: TrustFlag = False,
) -> None:
    """Write workload.toml and space.toml for a training script: how it is run, what it prints, what may vary. It reads the script.

    Example: optimize init train.py --metric val_loss --direction minimize
    """
    from optimize.script.trees import trees_kept

    _check(direction, total)
    if script.startswith("-"):  # behind `--`, without a script before
        script, words = ".", [script, *(words or [])]
    with trees_kept():
        _init(script, words or [], to, _Given(metric, direction, total, python, no_seed), probe, trust)


@dataclass(frozen=True, slots=True)
class _Given:
    """What flags say of a workload, None where they do not."""

    metric: str | None
    direction: str | None
    total: float | None
    python: str | None
    no_seed: bool = False

    @property
    def flags(self) -> Sequence[str]:
        return [f"--{name}" for name, _ in self._all]

    @property
    def words(self) -> Sequence[str]:
        """The flags with what they were given, for a shell."""
        return [f"--{name} {shlex.quote(f'{said:g}' if isinstance(said, float) else said)}" for name, said in self._all]

    @property
    def _all(self) -> Sequence[tuple[str, str | float]]:
        named = ((name, getattr(self, name)) for name in ("metric", "direction", "total", "python"))
        return [(name, said) for name, said in named if said is not None]


def _init(script: str, words: list[str], to: Path | None, given: _Given, probe: bool, trust: bool) -> None:
    from optimize.commands.probe import probe_kept, probed
    from optimize.script.begin import SPACE, draft_of, find_script, read_script, write_files
    from optimize.script.seeded_start import with_seeded_start

    place = find_script(script, words, to)
    facts = read_script(place, words)
    if place.workload is None and facts.required and is_asked():
        words = [*words, *_asked_words(facts.required)]
        facts = read_script(place, words)
    if place.workload is None:
        _refuse_data_outside(script, place, facts, to)
    behind = " ".join([*given.words, *(["--", *map(shlex.quote, words)] if words else [])])
    behind = f" {behind}" if behind else ""
    made = f"`optimize init {shlex.quote(place.script)}{behind}`"
    draft = draft_of(place, facts, made)
    answers = None
    if place.workload is None:
        interpreter = _python(place, given.python)
        if probe:
            facts = probed(place, facts, interpreter, given.total or PROBE_S, trust)
        answers = _answers(place, facts, given, interpreter)
    else:
        _refuse_unwritten(place, given.flags, words)
        if probe:
            say_all(probe_kept(place, facts, PROBE_S, trust))
            if (place.folder / SPACE).exists():
                return
    target = to or place.folder
    if answers is not None and not given.no_seed:
        facts = with_seeded_start(facts, (place.folder, target))
    written = write_files(place, facts, answers, draft, target, made)
    say_all([*_taken(script, place, facts), *_told(place, facts, answers, draft, written, target, probe)])


def _refuse_data_outside(given: str, place: ScriptPlace, facts: ScriptFacts, to: Path | None) -> None:
    """Raise WorkloadError for data above the folder, which a trial would not find."""
    if not facts.data.outside:
        return
    named, folder = facts.data.outside[0], place.folder.resolve()
    again = "Name it by a whole path, or put it into that folder"
    if to is None:
        beside = shlex.quote(posixpath.normpath(place.folder / ".." / f"{folder.name}-tuned"))
        again = f"A folder with a copy of the script can have it: `optimize init {shlex.quote(given)} --to {beside}`"
    raise WorkloadError(
        f"{place.folder / place.script}: {named}: lies outside of {folder}, so no trial would find it. {again}"
    )


def _taken(given: str, place: ScriptPlace, facts: ScriptFacts) -> list[str]:
    """Return a line on the script that was taken of a folder, where it has others that this one does not use."""
    from optimize.script.pick_script import USUAL, is_never_trained

    if place.workload is not None or not Path(given).expanduser().is_dir():
        return []
    found = sorted(path.name for path in place.folder.glob("*.py") if path.name not in facts.files)
    others = [name for name in found if not is_never_trained(name)]
    why = "its name is usual" if place.script == USUAL else "it alone does something when it is run"
    again = (
        f"remove what was written, then `optimize init {shlex.quote(str(place.folder / others[0]))}`" if others else ""
    )
    return [f"script: {place.script}, as {why}. To take {' or '.join(others[:SHOWN])}, {again}"] if others else []


def _check(direction: str | None, total: float | None) -> None:
    problems = []
    if direction not in (None, "minimize", "maximize"):
        problems.append(f"--direction: {direction!r:.40}. Use minimize or maximize.")
    if total is not None and not 0 < total < 1e9:
        problems.append(f"--total: {total:g} is not a number of seconds above 0. Correct it.")
    if problems:
        raise SettingsError(*problems)


def _refuse_unwritten(place: ScriptPlace, flags: Sequence[str], words: Sequence[str]) -> None:
    """Raise WorkloadError if something is given that says what stands in the workload.toml that is there already."""
    assert place.workload is not None
    given, command = [*flags], place.workload.command
    given += [f"-- {' '.join(words)}"] if words and list(command[-len(words) :]) != [*words] else []
    if given:
        raise WorkloadError(
            f"{place.folder / 'workload.toml'}: exists already and is kept, so {' and '.join(given)} would change nothing. "
            "Write it there, or into another folder by --to DIR, or remove the file (and space.toml, to have it drafted again)."
        )


def _python(place: ScriptPlace, flag: str | None) -> str:
    from optimize.config.environment import script_python
    from optimize.script.command import PYTHON

    found, origin = script_python(place.folder, flag)
    if found:
        say(f"python: {found} ({origin})")
    return found or PYTHON


def _answers(place: ScriptPlace, facts: ScriptFacts, given: _Given, python: str) -> WorkloadAnswers:
    """Return what is known of the workload: by flags, by questions where there is a terminal, else by the script's text."""
    from optimize.script.draft_workload import WorkloadAnswers

    asks, direction, total = is_asked(), given.direction, given.total
    found = _metric(place, facts, given.metric, direction or "", asks)
    which = direction or found.direction
    if not which and asks:
        which = _asked_direction(found.name)
    if not which:
        where = f" ({found.where})" if found.shown else ""
        raise SettingsError(
            f"--direction: missing: is a low {found.name}{where} better, or a high one? Add minimize or maximize."
        )
    if total is None and asks:
        usual = f"{limit:g}, " if (limit := _usual_limit()) else ""
        words = f"How many seconds may a trial take? Nothing: {usual}as the profile says"
        total = float(typer.prompt(words, default="0", show_default=False, type=float, err=True)) or None
    return WorkloadAnswers(found, which, python, total)


def _asked_words(required: Sequence[str]) -> list[str]:
    """Ask for what a script does not start without; an empty answer leaves it out."""
    words: list[str] = []
    for name in required:
        answer = typer.prompt(f"It does not start without {name}. Give it", default="", show_default=False, err=True)
        words += [*([name] if name.startswith("-") else []), answer] if answer else []
    return words


def _asked_direction(name: str) -> str:
    """Ask until the answer is one of both."""
    while True:
        answer = typer.prompt(f"Which {name} is better? minimize or maximize", err=True).strip().lower()
        if found := [each for each in ("minimize", "maximize") if len(answer) > 1 and each.startswith(answer)]:
            return found[0]


def _metric(place: ScriptPlace, facts: ScriptFacts, name: str | None, direction: str, asks: bool) -> MetricGuess:
    from optimize.script.draft_workload import metric_of

    if name is None and asks and facts.metrics:
        for number, guess in enumerate(facts.metrics[:SHOWN], 1):
            say(f"  {number}  {guess.name:<24} {guess.shown:.70}")
        name = typer.prompt("Which number is the result? A number of this list, or a name", default="1", err=True)
    elif name is None and asks:
        if words := _bare_words(facts):
            say(words)
        name = typer.prompt("What is the result called, in the line that prints it?", err=True)
    if name is None and not facts.metrics:
        raise WorkloadError(
            f"{place.folder / place.script}: no line with a result was found. "
            f"{_bare_words(facts) or 'Say what it is called: --metric NAME'}"
        )
    if name is None:
        return facts.metrics[0]
    if name.isdecimal() and 0 < int(name) <= len(facts.metrics):
        return facts.metrics[int(name) - 1]
    return metric_of(facts, name, direction)


def _bare_words(facts: ScriptFacts) -> str:
    """Return which numbers are printed without a word, and can be taken by a name; "" if none can."""
    from optimize.script.bare_numbers import bare_numbers_offered

    found = bare_numbers_offered(facts.files)[:SHOWN]
    offers = (f"--metric {guess.name} takes the one of {guess.where}" for guess in found)
    return f"Numbers are printed without a word: {', '.join(offers)}" if found else ""


def _told(
    place: ScriptPlace,
    facts: ScriptFacts,
    answers: WorkloadAnswers | None,
    draft: Draft,
    written: Sequence[Path],
    target: Path,
    probe: bool,
) -> list[str]:
    """Return the lines that say what was written, what it rests on, and what comes next."""
    from optimize.script.bare_numbers import why_not_taken

    lines = [f"kept: {place.folder / 'workload.toml'}"] if answers is None else []
    if answers is not None and not answers.metric.shown:
        name, again = answers.metric.name, f"`optimize init {shlex.quote(str(target / place.script))} --probe`"
        unseen = f"nothing in the script prints {name}. Is the name right? {again} runs it once, to see"
        if probe:
            unseen = f"neither its text nor its output has {name}. Correct `metric` in {target / 'workload.toml'}"
        lines.append(f"metric: {why_not_taken(facts.files, name) or unseen}")
    for path in written:
        lines.append(
            f"written: {path}: {_space_line(draft) if path.name == 'space.toml' else _workload_line(facts, answers)}"
        )
    if answers is not None:
        mine = (answers.metric.name, answers.metric.regex)
        others = [g.name for g in facts.metrics if g.name != mine[0] and (not mine[1] or g.regex != mine[1])]
        more = f" and {len(others) - NAMED} more" if len(others) > NAMED else ""
        as_well = " as well" if answers.metric.shown else ""
        lines += (
            [f"metric: it prints {', '.join(others[:NAMED])}{more}{as_well}; --metric takes another"] if others else []
        )
        lines += [f"note: {note}" for note in facts.notes]
    if facts.required and answers is not None:
        lines.append(
            f"{place.script} does not start without {', '.join(facts.required)}: "
            f"add what it needs to `command` in {target / 'workload.toml'}"
        )
    return [*lines, _next(target)]


def _workload_line(facts: ScriptFacts, answers: WorkloadAnswers | None) -> str:
    if answers is None:
        return ""
    how = f"written into {answers.metric.file} in" if answers.metric.file else "printed in"
    where = f", {how} {answers.metric.where}" if answers.metric.shown else ""
    told = facts.progress.regex if facts.progress else ""
    unpruned = "" if "(?P<loss>" in told else ", which tell no loss, so no trial can be pruned"
    progress = f"progress by its lines{unpruned}" if told else "no progress"
    return f"{answers.metric.name}, {answers.direction}{where}; {progress}{_limit_words(answers.total_s)}"


def _limit_words(total_s: float | None) -> str:
    """Return how long a trial may take, and how to change it."""
    if total_s is not None:
        return f"; a trial may take {total_s:g} s"
    usual = _usual_limit()
    return f"; a trial may take {usual:g} s; else write `limits = {{ total_s = {2 * usual:g} }}` there" if usual else ""


def _usual_limit() -> float | None:
    """Return how many seconds the profile of this machine gives a trial, None if it sets no limit."""
    from optimize.config.settings import pick_profile, read_settings
    from optimize.executors.slots import detect_device

    settings, _ = read_settings(*pick_profile(detect_device()), {})
    return settings.limits.total_s


def _space_line(draft: Draft) -> str:
    waiting = f", {len(draft.waiting)} more are commented out" if draft.waiting else ""
    left = f"; {draft.left} more settings stay as they are, and the file says why" if draft.left > 1 else ""
    left = left or ("; one more setting stays as it is, and the file says why" if draft.left else "")
    count = len(draft.varied)
    return f"{count} parameter{'s' if count > 1 else ''}, {draft.size:,} configurations{waiting}{left}"


def _next(target: Path) -> str:
    """Return what comes next. The form of our notebook has its own number of trials, its own backup and study."""
    from optimize.config.environment import in_notebook

    here = target.resolve() == Path.cwd()
    folder = str(target) if "/" in str(target) else f"./{target}" if str(target) != "." else "./"
    trust = "" if is_asked() else " --trust"  # a person is asked there and then
    elsewhere = f"`optimize run --workload {shlex.quote(folder)} --trials 20{trust}`"
    if in_notebook():
        return (
            f"next: run the notebook's other cells, with {folder} in its field WORKLOAD. In a notebook without that form: "
            f"{elsewhere}"
        )
    return f"next: `optimize run --trials 20{trust}`" if here else f"next: {elsewhere}"
