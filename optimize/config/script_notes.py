"""What a user should know of a script before its first trial: lines for a person, guessed from the script's text, never errors.

A script may build names when it runs, so any of these lines may be wrong.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Iterator
from pathlib import PurePosixPath
from shlex import quote

from optimize.config.environment import variables_not_passed
from optimize.config.settings import PROFILES, Settings
from optimize.executors.slots import SET_BY_SLOTS
from optimize.script.bindings import imported_modules
from optimize.script.files_written import ever_written, normal
from optimize.script.parsers import parser_facts
from optimize.script.seeding import without_start
from optimize.script.trees import ERRORS, parse_text
from optimize.script.variables import variables_read
from optimize.script.workload import Workload
from optimize.text import listed


def script_notes(settings: Settings, workload: Workload, parameters: Collection[str]) -> tuple[str, ...]:
    """Return lines on the script, files, the metric, constants and the environment that a trial may miss."""
    return (
        *_script(workload),
        *_files(workload),
        *_metric(workload),
        *_constants(workload, parameters),
        *_environment(settings, workload),
        *_start(workload, set(parameters)),
    )


def _script(workload: Workload) -> Iterator[str]:
    if workload.picked:
        where = workload.folder / "workload.toml"
        yield f"script: {workload.script}, the only one here that could be trained. To take another, write `script` in {where}"


def _constants(workload: Workload, parameters: Iterable[str]) -> Iterator[str]:
    for file, names in workload.unused(parameters).items():
        yield (
            f"constants: {', '.join(names)}: in {file}, which {workload.script} does not import. If nothing else reads that "
            "file, the value changes nothing: give the constant to a file that is used"
        )
    for file, line, text in workload.hidden_writes(parameters):
        yield f"constants: {file}:{line}: {text} may replace a trial's values when the script runs. Check that it does not"


def _start(workload: Workload, parameters: set[str]) -> Iterator[str]:
    """What the script waits for when it starts: words that the command lacks, or an answer."""
    facts = parser_facts(workload.files_read())
    tuned = {each.location.path for name, each in workload.places.placed.items() if name in parameters}
    given = {word.partition("=")[0] for word in workload.command} | tuned
    behind = [
        word for word in without_start(workload.command)[1:] if word != workload.script and not word.startswith("-")
    ]
    needed = [max(flag.names, key=len) for flag in facts.required if not flag.positional and not given & {*flag.names}]
    needed += [flag.names[0] for flag in facts.required if flag.positional and not behind]
    if needed and not facts.subcommands:
        yield f"command: {workload.script} may not start without {listed(needed)}. Add them to `command` in workload.toml"
    if facts.asks:
        yield f"script: line {facts.asks} waits for an answer, which a trial does not get. Make it a flag or a constant"


def _environment(settings: Settings, workload: Workload) -> Iterator[str]:
    scripts = {file: text for file, text in workload.files_read().items() if file.endswith(".py")}
    read = {name for file, text in scripts.items() for name in variables_read(text, str(workload.folder / file))}
    modules = {m for file, text in scripts.items() for m in imported_modules(text, str(workload.folder / file))}
    missing = variables_not_passed(settings.env_pass, read - SET_BY_SLOTS, modules)
    if missing:
        given = ", ".join(f'"{name}"' for name in missing)
        copy = f"cp {quote(str(PROFILES / settings.profile))}.toml ./mine.toml" if "/" not in settings.profile else ""
        how = f"{copy}, and begin ./mine.toml with" if copy else f"Begin {settings.profile} with"
        end = ". Then add --profile ./mine.toml" if copy else ""
        yield (
            f"environment: {listed(missing)} {'is' if len(missing) == 1 else 'are'} set here and read by the scripts, but trials "
            f"do not get {'it' if len(missing) == 1 else 'them'}. To pass: {how} `env_pass = [{given}]`{end}"
        )


def _files(workload: Workload) -> Iterator[str]:
    scripts = {file: text for file, text in workload.files_read().items() if file.endswith(".py")}
    named = {text for source in scripts.values() for text in _texts(source)}
    unfound = sorted(text for text in named if _is_left(workload, text))
    written = ever_written(scripts) if unfound else ()
    if left := [text for text in unfound if normal(text) not in written]:
        yield (
            f"files: the scripts name {', '.join(left)}, which a trial would not find. Name text by `files` in "
            f"{workload.folder / 'workload.toml'}, and other data by `links`"
        )


def _metric(workload: Workload) -> Iterator[str]:
    name, metric = workload.metric.name, workload.metric
    if not metric.regex and not metric.file and not any(name in source for source in workload.files.values()):
        yield (
            f"metric: no {name} in the scripts. If they print it under another name, say so by `metric` in "
            f"{workload.folder / 'workload.toml'} (docs/your-script.md)"
        )


def _texts(source: str) -> Iterator[str]:
    """The string literals of a Python file."""
    try:
        tree = parse_text(source)
    except ERRORS:
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isprintable():
            yield node.value


def _is_left(workload: Workload, text: str) -> bool:
    """Whether it is a file of the workload's folder that trials do not get."""
    path = PurePosixPath(text)
    if not text or len(text) > 200 or path.is_absolute() or ".." in path.parts or str(path) in workload.files:
        return False
    linked = any(PurePosixPath(link) in (path, *path.parents) for link in workload.links)
    return not linked and (workload.folder / path).is_file()
