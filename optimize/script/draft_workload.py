"""Drafts the workload.toml of a script: how it is run, what it prints, which files it needs. The text is for a person to edit."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from optimize.runner.metric_files import matches
from optimize.runner.workdir import PYTHON
from optimize.script.bare_numbers import UNNAMED, bare_number_named, likely_metrics
from optimize.script.data_above import folder_of, in_folder
from optimize.script.data_used import DataUsed, data_used, is_data, reader_of
from optimize.script.endless import endless_note
from optimize.script.environment_variables import DOTENV, LOADS_DOTENV, has_secrets, values_in_dotenv
from optimize.script.files_read import FilesRead, Reader, files_imported
from optimize.script.files_written import normal, written_texts
from optimize.script.flags import FlagDefinition
from optimize.script.home import module_of
from optimize.script.loop_total import total_of
from optimize.script.metric_guess import MetricGuess, guess_named
from optimize.script.metric_words import direction_of, same_name, words_in
from optimize.script.parsers import find_flag, flags_by_file, parser_facts
from optimize.script.process_parameters import as_given
from optimize.script.progress_guess import ProgressGuess, framework_progress, guess_progress
from optimize.script.result_files import file_with, result_files
from optimize.script.seeding import SEEDED, START_SEED, seed_note
from optimize.script.settings_in_files import config_files, hydra_app
from optimize.script.settings_of_process import command_of, variables_as_settings
from optimize.script.trees import ERRORS, parse_text
from optimize.script.variables import variables_read
from optimize.script.words_by_place import words_by_place_note
from optimize.text import listed, one_line
from optimize.trial import Value

MOST_OTHERS = 40  # scripts beside this one, which every trial would get as well
OF_TRAINER = "--per_device_train_batch_size"  # a flag of Hugging Face's TrainingArguments
# a flag for what a script writes: any folder does
_FOLDERS = (
    "workdir",
    "work_dir",
    "outdir",
    "out_dir",
    "output_dir",
    "save_dir",
    "logdir",
    "log_dir",
    "exp_dir",
    "model_dir",
)


@dataclass(frozen=True, slots=True)
class ScriptFacts:
    """What the text of a script says of how it is run and what it prints."""

    script: str
    files: Mapping[str, str]  # the Python files in which its settings can stand
    imported: Mapping[str, str]  # these, and all others that run with it
    metrics: Sequence[MetricGuess]
    progress: ProgressGuess | None
    total: str  # how many steps, in terms of constants or as a number; "" unknown
    data: DataUsed
    configs: Sequence[str]
    words: tuple[str, ...]  # behind the script, in its command
    patterns: tuple[str, ...]  # of Python files
    notes: tuple[str, ...]
    required: tuple[str, ...]  # flags that it does not start without
    as_module: bool = False  # it is started as `python -m`, from its folder
    inside: bool = False  # it is started in its own folder, which lies in that of the workload
    start: str = ""  # the text of a file that seeds and then runs it; "" without one

    def started_by(self, python: str) -> tuple[str, ...]:
        """Return the command that starts it."""
        if self.inside:
            return in_folder(folder_of(self.script), (python, self.script, *self.words), self.as_module)
        script = ("-m", module_of(self.script)) if self.as_module else (self.script,)
        return (python, *([SEEDED] if self.start else []), *script, *self.words)


@dataclass(frozen=True, slots=True)
class WorkloadAnswers:
    """What a person, a flag or the machine says of a workload."""

    metric: MetricGuess
    direction: str
    python: str = PYTHON
    total_s: float | None = None


def script_facts(
    folder: Path, script: str, read: FilesRead, given: Sequence[str] = (), inside: bool = False
) -> ScriptFacts:
    """Return what the files of a folder that were read, `script` among them, say. `given` are words of its command.

    `inside`: the script is started in its own folder.
    """
    files = read.files
    imported = {**files, **_imported(script, files, reader_of(folder))}
    facts = parser_facts(files, given)
    command = command_of(facts.subcommands, given)
    words = (*((command,) if command and command not in given else ()), *given)
    if find_flag(files, OF_TRAINER) and not any(word.startswith("--output_dir") for word in words):
        words = (*words, "--output_dir", "trainer_output")  # which some versions do not start without
    configs = config_files(files, folder, words)
    told, said = _dotenv(folder, imported)
    configs += [DOTENV] if told else []
    if app := hydra_app(files):
        configs = [*configs, f"{app.folder}/**/*.yaml"]
    progress = guess_progress(files)
    bases = dict.fromkeys((folder_of(script), "") if inside else ("", folder_of(script)))
    by_flag = _whole_paths(files, folder, list(bases), words)
    words = (*words, *(f"{name}={whole}" for name, whole in by_flag.values()))
    data = data_used(files, folder, words, (*configs, *imported), list(bases))
    data = replace(data, outside=tuple(each for each in data.outside if each not in by_flag))
    needed = [flag for flag in facts.required if flag.command in ("", command) and not _is_given(flag.names, words)]
    words = (*words, *(word for flag in needed if (word := _usual_word(flag))))
    needed = [flag for flag in needed if not _usual_word(flag)]
    return ScriptFacts(
        script,
        files,
        imported,
        likely_metrics(files),
        progress or framework_progress(files),
        total_of(progress, files, script, words) or ("" if progress else _epochs_of_trainer(files, words)),
        data,
        configs,
        words,
        _patterns(folder, imported),
        (
            *filter(None, [endless_note(files, words), seed_note(imported), words_by_place_note(files)]),
            *_not_read(read.left),
            *_notes(files, told, facts.known_only, facts.asks),
            *said,
            *data.notes,
        ),
        tuple(flag.names[0] for flag in needed),
        inside=inside,
    )


def _whole_paths(
    files: Mapping[str, str], folder: Path, bases: Sequence[str], words: Sequence[str]
) -> dict[str, tuple[str, Path]]:
    """Return flags whose default is data outside of the folder, and its whole path, which a trial finds; by that default."""
    found: dict[str, tuple[str, Path]] = {}
    written = written_texts(files, words)
    for flag in (each for _, flags in flags_by_file(files, words) for each in flags):
        name, default = flag.names[0], flag.default
        if not isinstance(default, str) or normal(default) in written:
            continue
        if name.startswith("--") and not _is_given(flag.names, words):
            there = next((each for each in bases if is_data(folder / each, default)), None)
            whole = (folder / (there or "") / default).resolve()
            if there is not None and not whole.is_relative_to(folder.resolve()):
                found[default] = (name, whole)
    return found


def _usual_word(flag: FlagDefinition) -> str:
    """Return what a flag is given without which a script does not start, where only one thing makes sense; "" where not."""
    name = flag.names[0]
    if not name.startswith("--"):
        return ""
    if name.lstrip("-").replace("-", "_") in _FOLDERS:
        return f"{name}={name.lstrip('-')}"
    return f"{name}=train" if "train" in flag.choices else ""


def _is_given(names: Sequence[str], words: Sequence[str]) -> bool:
    positional = not names[0].startswith("-")
    given = [word.partition("=")[0] for word in words]
    return any(name in given for name in names) or (positional and any(not word.startswith("-") for word in words))


def _patterns(folder: Path, files: Mapping[str, str]) -> tuple[str, ...]:
    """Return patterns for the Python files that run.

    Each has its own name where the folder has many others, or others that are not Python of today.
    """
    top = [path for path in sorted(folder.glob("*.py")) if path.name not in files]
    others = len(top) > MOST_OTHERS or any(not _parses(path) for path in top)
    inner = dict.fromkeys(f"{PurePosixPath(file).parts[0]}/**/*.py" for file in files if "/" in file)
    return (*(sorted(file for file in files if "/" not in file) if others else ("*.py",)), *inner)


def _parses(path: Path) -> bool:
    try:
        parse_text(path.read_text(encoding="utf-8-sig"))
    except (OSError, *ERRORS):
        return False
    return True


def _imported(script: str, files: Mapping[str, str], read: Reader) -> dict[str, str]:
    """Return the files that run with a script, and with those of its files that no import leads to."""
    found = files_imported(script, read)
    for file in files:
        found |= files_imported(file, read) if file not in found else set()
    return {file: text for file in sorted(found) if (text := read(file)) is not None}


def _not_read(left: Sequence[str]) -> tuple[str, ...]:
    if not left:
        return ()
    count = f"{len(left)} of the files that it imports were" if len(left) > 1 else "a file that it imports was"
    return (f"{count} not read, so no setting in {'them' if len(left) > 1 else 'it'} is proposed: {listed(left)}",)


def _dotenv(folder: Path, files: Mapping[str, str]) -> tuple[dict[str, Value], list[str]]:
    """Return what a file `.env` tells, if the script loads it and it may be copied; else a note on that."""
    try:
        text = (folder / DOTENV).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return {}, []
    if not any(LOADS_DOTENV.search(each) for each in files.values()):
        return {}, []
    if has_secrets(text):
        why = "may hold secrets, so trials get no copy: they find it where runs/ lies in this folder"
        return {}, [f"{DOTENV} {why}. What it sets is not varied"]
    return values_in_dotenv({DOTENV: text}), []


def _notes(files: Mapping[str, str], told: Mapping[str, Value], known_only: bool, asks: int) -> tuple[str, ...]:
    defaults = {each.place for each in variables_as_settings(files, told)} | set(told)
    named = {name for file, text in files.items() for name in variables_read(text, file) if name in text}
    read = sorted(named - defaults)
    found = (
        [f"it reads {', '.join(read[:12])} from the environment; a trial gets those that the profile passes on"]
        if read
        else []
    )
    if known_only:
        found.append("its parser passes over flags that it does not know: a misspelt one would change nothing")
    if asks:
        found.append(f"line {asks} waits for an answer from a person, which a trial does not give")
    return tuple(found)


def _epochs_of_trainer(files: Mapping[str, str], words: Sequence[str]) -> str:
    epochs = find_flag(files, "--num_train_epochs", words) if find_flag(files, OF_TRAINER) else None
    now = as_given(epochs, words).default if epochs else None
    return f"{now:g}" if isinstance(now, int | float) else ""


def metric_of(facts: ScriptFacts, name: str, direction: str = "") -> MetricGuess:
    """Return the metric of this name: the line that prints it, if one is found; else its name alone."""
    near = next((guess for guess in facts.metrics if same_name(guess.name, name)), None)
    near = near or bare_number_named(facts.files, name)
    near = near or next((guess for guess in facts.metrics if same_name(guess.name.split("_")[-1], name)), None)
    near = near or next((guess for guess in facts.metrics if words_in(name) <= words_in(guess.name)), None)
    near = near or guess_named(facts.files, name)
    if near is None and (written := file_with(result_files(facts.files), name)):
        said = f"written into {written.path}"
        own = facts.inside and not written.path.startswith("**")
        file = f"{folder_of(facts.script)}/{written.path}" if own else written.path
        return MetricGuess(name, "", direction or direction_of(name), said, written.where, file=file)
    near = near or next((guess for guess in facts.metrics if guess.name == UNNAMED), None)  # that a run has printed
    if near is None:
        return MetricGuess(name, "", direction or direction_of(name), "", "")
    return replace(
        near, name=name if near.regex else near.name, direction=direction or near.direction or direction_of(name)
    )


def workload_text(facts: ScriptFacts, answers: WorkloadAnswers, made: str, home: Path | None = None) -> str:
    """Return the text of workload.toml; `made` is the command that writes it.

    `home`: the script's own folder, where the file lies elsewhere.
    """
    command = list(facts.started_by(answers.python))
    data = [file for file in facts.data.files if not (answers.metric.file and matches(answers.metric.file, file))]
    files = [*facts.patterns, *facts.configs, *data]
    lines = [
        f"# How {facts.script} is run and what it prints, by {made}. Every key: docs/your-script.md",
        f"script = {_toml(facts.script)}",
        *([f"command = {_toml(command)}"] if command != [PYTHON, facts.script] else []),
        *(
            ["# It does not start without " + ", ".join(facts.required) + ": add them to `command`."]
            if facts.required
            else []
        ),
        *([f"files = {_toml(list(dict.fromkeys(files)))}"] if files != ["*.py"] else []),
        *([f"seed = {_toml(START_SEED)}  # a constant of {SEEDED}"] if START_SEED in facts.start else []),
        *_link_lines(facts, home),
        *metric_lines(answers.metric, answers.direction),
        *_progress_lines(facts),
        *([f"limits = {{ total_s = {answers.total_s:g} }}"] if answers.total_s is not None else []),
        *(f"# {one_line(note, 200)}" for note in facts.notes),
    ]
    return "\n".join(lines) + "\n"


def _link_lines(facts: ScriptFacts, home: Path | None) -> list[str]:
    if not facts.data.links:
        return []
    pairs = (f"{_toml(name)} = {_toml(str((home / name).resolve()))}" for name in facts.data.links) if home else ()
    said = f"{{ {', '.join(pairs)} }}" if home else _toml(list(facts.data.links))
    return [f"links = {said}  # data that trials read where it lies"]


def metric_lines(metric: MetricGuess, direction: str) -> list[str]:
    """Return the two lines of workload.toml on the metric."""
    where = f"  # {metric.where}: {one_line(metric.shown, 80)}" if metric.shown else ""
    if metric.file:
        said = f"metric = {{ name = {_toml(metric.name)}, file = {_toml(metric.file)} }}"
    elif metric.regex:
        said = f"metric = {{ name = {_toml(metric.name)}, regex = {_regex(metric.regex)} }}"
    else:
        said = f"metric = {_toml(metric.name)}"
    return [f"{said}{where}", f"direction = {_toml(direction)}"]


def _progress_lines(facts: ScriptFacts) -> list[str]:
    guess = facts.progress
    if guess is None:
        return ["progress = false  # no line of a loop tells how far it is"]
    total = f", total = {_toml(facts.total)}" if facts.total else ""
    return [f"progress = {{ regex = {_regex(guess.regex)}{total} }}"]


def _toml(value: str | list[str]) -> str:
    return json.dumps(value, ensure_ascii=False)


def _regex(text: str) -> str:
    return f"'{text}'" if "'" not in text else json.dumps(text, ensure_ascii=False)
