"""Writes what a study of a script needs, beside it or into another folder: workload.toml and space.toml. It overwrites nothing."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from optimize.errors import RenderError, WorkloadError
from optimize.runner.process import run_job
from optimize.runner.workdir import PYTHON
from optimize.script.chosen_modules import chosen_modules
from optimize.script.config_flags import GET_CONFIG, chosen_config, config_definitions, flag_of
from optimize.script.data_used import local_files, reader_of
from optimize.script.draft_space import draft_for
from optimize.script.draft_workload import ScriptFacts, WorkloadAnswers, script_facts, workload_text
from optimize.script.files_read import FilesRead
from optimize.script.home import Home, home_of
from optimize.script.load_workload import load_workload, ours
from optimize.script.pick_script import USUAL, could_be_trained, pick_script
from optimize.script.seeding import SEEDED
from optimize.script.source_names import read_names
from optimize.script.workload import Workload
from optimize.text import listed, meant
from optimize.trial import Limits, Metric, Outcome, Slot, Suggestion
from search_spaces import Draft
from storage import write_text

WORKLOAD, SPACE = "workload.toml", "space.toml"


@dataclass(frozen=True, slots=True)
class ScriptPlace:
    """A training script: its folder, its name there, and the workload that it has already, if it has one."""

    folder: Path
    script: str
    workload: Workload | None = None
    home: Home | None = None  # what led to the folder, where it is not the script's own


def find_script(given: str, words: Sequence[str] = (), to: Path | None = None) -> ScriptPlace:
    """Return the script that a path names, or the one that trains in a folder; `words` are its own. Raises WorkloadError.

    `to`: what is written goes there. In another folder, a workload.toml beside the script does not count, and its data may lie
    above the root of its repository.
    """
    path = Path(given).expanduser()
    if path.is_dir():
        return _in_folder(path, given, to)
    if not path.is_file():
        if given in ours():
            raise WorkloadError(
                f"{given}: has search spaces of its own. Give a script of yours: `optimize init train.py`"
            )
        raise WorkloadError(f"{given}: there is no such file or folder. Check the path.{meant(given, (), path=True)}")
    if path.suffix != ".py":
        raise WorkloadError(f"{given}: is no Python file. Give the training script itself, such as train.py.")
    home = Home(path.parent) if _is_kept(path.parent, to) else _home(path, words, beyond=to is not None)
    script = path.resolve().relative_to(home.folder.resolve()).as_posix() if home.reason else path.name
    if _is_kept(home.folder, to):
        workload = load_workload(f"{home.folder}/")
        if workload.script != script:
            raise WorkloadError(
                f"{home.folder / WORKLOAD}: is for {workload.script}. Write into another folder: `optimize init {given} --to DIR`"
            )
        return ScriptPlace(home.folder, script, workload)
    return ScriptPlace(home.folder, script, home=home if home.reason else None)


def _home(path: Path, words: Sequence[str], beyond: bool) -> Home:
    with suppress(OSError, UnicodeDecodeError, RenderError):  # which are told where the script is read
        return home_of(path, words, beyond)
    return Home(path.parent)


def _is_kept(folder: Path, to: Path | None) -> bool:
    """Return whether a folder has a workload.toml, and no other folder is written into."""
    return (folder / WORKLOAD).exists() and (to is None or to.resolve() == folder.resolve())


def _in_folder(folder: Path, given: str, to: Path | None) -> ScriptPlace:
    if (folder / WORKLOAD).exists():
        workload = load_workload(f"{folder}/")
        return ScriptPlace(folder, workload.script, workload if _is_kept(folder, to) else None)
    files = {path.name: text for path in sorted(folder.glob("*.py")) if (text := _text(path)) is not None}
    found = could_be_trained(files) if USUAL not in files else [USUAL]
    if len(found) != 1:
        which = f"which of {listed(found or files)} trains" if files else "no Python file in it"
        raise WorkloadError(f"{given}: {which}? Name the script: `optimize init {folder}/NAME.py`")
    return ScriptPlace(folder, pick_script(files))


def read_script(place: ScriptPlace, words: Sequence[str]) -> ScriptFacts:
    """Return what the text of a script says. Raises WorkloadError if it cannot be read as Python."""
    try:
        read = local_files(place.folder, place.script)
    except (OSError, UnicodeDecodeError) as error:
        raise WorkloadError(
            f"{place.folder / place.script}: cannot be read as text: {error}. Check the path."
        ) from None
    words = [*place.workload.command, *words] if place.workload is not None else words
    read, words, notes = _with_configuration(place.folder, read, words)
    for file in chosen_modules(read.files, words, lambda path: reader_of(place.folder)(path) is not None):
        more = local_files(place.folder, file)
        read.files.update({path: text for path, text in more.files.items() if path not in read.files})
    facts = script_facts(place.folder, place.script, read, words, place.home is not None and place.home.inside)
    if place.home is None:
        return replace(facts, notes=(*facts.notes, *notes))
    notes.insert(0, f"{place.script} belongs to the folder above: {place.home.reason}")
    return replace(facts, notes=(*notes, *facts.notes), as_module=place.home.as_module)


def _with_configuration(folder: Path, read: FilesRead, words: Sequence[str]) -> tuple[FilesRead, list[str], list[str]]:
    """Return the files with those that ml_collections reads a configuration from, the words that name them, and notes."""
    found, given, notes = FilesRead(dict(read.files), list(read.left)), list(words), list[str]()
    for file, text in read.files.items():
        for call in config_definitions(read_names(text, file)) if "DEFINE_config" in text else ():
            path = chosen_config(call, given)
            if not path and (path := _usual_configuration(folder)):
                given.append(f"--{flag_of(call)}={path}")
                notes.append(f"its configuration is {path}; another: behind the script, `-- --{flag_of(call)}=FILE`")
            if path and (folder / path).is_file():
                with suppress(OSError, UnicodeDecodeError):
                    more = local_files(folder, path)
                    found.files.update(more.files)
                    found.left += [each for each in more.left if each not in found.left]
    return found, given, notes


def _usual_configuration(folder: Path) -> str:
    """Return the file with a `get_config` that a script starts with, where only one can be meant; "" else."""
    paths = [path for each in ("configs/*.py", "config/*.py", "*.py") for path in sorted(folder.glob(each))]
    named = [path for path in paths if f"def {GET_CONFIG}(" in (_text(path) or "")]
    meant = named if len(named) == 1 else [path for path in named if path.stem == "default"]
    return meant[0].relative_to(folder).as_posix() if len(meant) == 1 else ""


def workload_in_memory(place: ScriptPlace, facts: ScriptFacts, python: str = PYTHON) -> Workload:
    """Return a workload of a script that has none yet, to read its settings and to run it once."""
    if place.workload is not None:
        return place.workload
    files = {
        **facts.imported,
        **({SEEDED: facts.start} if facts.start else {}),
        **{file: text for file in _texts(place, facts) if (text := _text(place.folder / file)) is not None},
    }
    links = {name: str((place.folder / name).resolve()) for name in facts.data.links}
    command = facts.started_by(python)
    name = place.folder.resolve().name
    return Workload(name, place.folder, place.script, files, command, (), Metric(), links=links)


def _texts(place: ScriptPlace, facts: ScriptFacts) -> list[str]:
    found = [path for each in (*facts.configs, *facts.data.files) for path in sorted(place.folder.glob(each))]
    return [path.relative_to(place.folder).as_posix() for path in found]


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return None


def draft_of(place: ScriptPlace, facts: ScriptFacts, made: str) -> Draft:
    """Return the draft of a script's search space. Raises WorkloadError if nothing could vary."""
    head = [
        f"What may vary in {place.script}: a first draft by {made}.",
        "A line for each setting, with the values that it may take; what it is now is among them. They are guesses by name and",
        "value: take out what does not matter to you, widen what does. Numbers rise, since samplers use their order.",
    ]
    return draft_for(workload_in_memory(place, facts), {}, head, facts.words)


def write_files(
    place: ScriptPlace, facts: ScriptFacts, answers: WorkloadAnswers | None, draft: Draft, to: Path, made: str
) -> list[Path]:
    """Write the files that are not there. Return them. Raises WorkloadError if one would be overwritten."""
    texts: dict[str, str] = {SPACE: draft.text}
    elsewhere = to.resolve() != place.folder.resolve()
    if answers is not None:
        texts[WORKLOAD] = workload_text(facts, answers, made, place.folder if elsewhere else None)
    if elsewhere:
        texts |= workload_in_memory(place, facts).files
    elif facts.start and answers is not None:
        texts[SEEDED] = facts.start
    there = [name for name in texts if (to / name).exists() and not (name == SEEDED and facts.start)]
    if there:
        raise WorkloadError(
            f"{to / there[0]}: exists already. Remove it, or write elsewhere with --to; nothing was written."
        )
    for name, text in texts.items():
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        write_text(to / name, text)
    return [to / name for name in (WORKLOAD, SPACE) if name in texts]


def run_once(workload: Workload, env: Mapping[str, str], slot: Slot, limit_s: float) -> Outcome:
    """Run a workload's command once in a slot, as it is, for at most so many seconds, and return how that ended."""
    job = workload.prepare(Suggestion(0, {}), {}, env, Limits(total_s=limit_s))
    with tempfile.TemporaryDirectory(prefix="optimize-probe-") as folder:
        return run_job(job, Path(folder) / "trial", slot)
