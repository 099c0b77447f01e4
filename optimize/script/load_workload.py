"""Loads a workload: reads `workload.toml` and the files of its folder, and finds every mistake in them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from shlex import quote

from optimize.errors import RenderError, WorkloadError
from optimize.runner.metric_files import matches
from optimize.runner.workdir import PYTHON
from optimize.script.bindings import check_syntax
from optimize.script.byte_order_marks import BOM, without_boms
from optimize.script.derived import read_derived, read_expression
from optimize.script.limits import read_limits, refuse_limits_outside
from optimize.script.output import read_metric, read_progress
from optimize.script.pick_script import USUAL, could_be_trained, pick_script
from optimize.script.workload import BUDGETS, Workload
from optimize.text import meant
from optimize.toml import Table
from search_spaces import Expression
from storage import RunsPaths, StudyPaths

OURS = Path(__file__).parents[1] / "workloads"
_UNNAMED = (PYTHON, "")  # the command of a workload that names none: its script
MOST_RECURSIONS = 2  # ** in a pattern: what it takes grows with the depth of the folder to the power of their number


def load_workload(name_or_path: str) -> Workload:
    """Load one of our workloads by its name, or a folder, which has a slash. Raises WorkloadError with all problems."""
    name_or_path = name_of_ours(name_or_path)
    is_path = "/" in name_or_path or name_or_path in (".", "..")
    folder = Path(name_or_path).expanduser() if is_path else OURS / name_or_path
    file = Path(name_or_path).expanduser()
    if len(file.name) < 256 and name_or_path not in ours() and file.is_file():
        raise WorkloadError(_no_folder(file))
    if not is_path and name_or_path not in ours():
        raise WorkloadError(
            f"{name_or_path or repr(name_or_path)}: no such workload. Use one of ours ({', '.join(ours())}) or a path with a "
            f"slash.{meant(name_or_path, ours(), path=True)}"
        )
    if not folder.is_dir():
        raise WorkloadError(f"{name_or_path}: there is no such folder. Check the path.")
    problems: list[str] = []
    path = folder / "workload.toml"
    table = Table.read(path, problems) if path.exists() else Table(str(path), {}, problems)
    return _workload(folder, table, _read_files(folder, table.words("files", ("*.py",)), problems))


def name_of_ours(name_or_path: str) -> str:
    """Return the name of our workload that a path leads to, however it is written; else what was given."""
    if "/" in name_or_path or name_or_path in (".", ".."):
        with suppress(OSError, RuntimeError):
            path = Path(name_or_path).expanduser().resolve()
            return path.name if path.parent == OURS.resolve() and path.name in ours() else name_or_path
    return name_or_path


def earlier_workload(path: Path, folder: Path, files: Mapping[str, str]) -> Workload:
    """Return our workload in `folder` as it was: with these files, described by the earlier workload.toml at `path`.

    Raises WorkloadError if that does not describe these files.
    """
    table = Table.read(path, [])
    table.words("files", ())
    return _workload(folder, table, files)


def _workload(folder: Path, table: Table, whole: Mapping[str, str]) -> Workload:
    """Raises WorkloadError with the table's problems so far and all others."""
    problems = table.problems
    files = without_boms(whole)
    has_prepare = table.has("prepare") or "prepare.py" in files
    metric, (progress, total) = read_metric(table), read_progress(table)
    command = table.words("command", _UNNAMED)
    named = table.text("script", "")
    script = named or pick_script(files, command)
    refuse_limits_outside(table)
    workload = Workload(
        name=folder.resolve().name,
        folder=folder,
        script=script,
        picked=not named and script != USUAL,
        files=files,
        with_bom=frozenset(file for file, text in whole.items() if text.startswith(BOM)),
        command=(PYTHON, script) if command == _UNNAMED else command,
        prepare_command=table.words("prepare", (PYTHON, "prepare.py")) if has_prepare else (),
        metric=metric,
        duration=_expression(table, "duration_s"),
        work_budget=_expression(table, "work_budget"),
        preload=table.words("preload", ()),
        memory=_expression(table, "memory"),
        derived=read_derived(table.table("derived")),
        seed=_read_seed(table),
        val_split=table.text("val_split", "VAL_SPLIT"),
        budget=table.words("budget", BUDGETS),
        overrides=table.text("overrides", ""),
        device_batch=table.text("device_batch", "") if table.has("device_batch") else None,
        progress=progress,
        total=total,
        links=_read_links(folder, table),
        limits=read_limits(limits := table.table("limits")),
    )
    limits.finish()
    table.finish()
    problems += _what_is_wrong(workload)
    if problems:
        raise WorkloadError(*problems)
    return workload


def ours() -> list[str]:
    """Return the names of the workloads in this package."""
    return sorted(path.name for path in OURS.iterdir() if (path / "train.py").exists())


def _no_folder(file: Path) -> str:
    """Return what to give in the place of a file."""
    parent = str(file.parent) if "/" in str(file.parent) or str(file.parent) == "." else f"./{file.parent}"
    named = (
        ""
        if file.name == "train.py" or file.suffix != ".py"
        else f', with `script = "{file.name}"` in its workload.toml'
    )
    return f"{file}: this is a file. Give its folder, {quote(parent)}{named}."


def _what_is_wrong(workload: Workload) -> list[str]:
    lines = _unreadable(workload)
    if workload.script not in workload.files:
        several = could_be_trained(workload.files) if workload.script == USUAL else []
        which = (
            f", and {' or '.join(several[:4])} could be trained. Say which" if several else ". Name the training script"
        )
        lines.append(f"{workload.folder}: there is no {workload.script}{which} in workload.toml (script = ...).")
    if not workload.command or not all(workload.command):
        lines.append(f'{workload.folder}: command: it is empty. Give argv, such as ["{PYTHON}", "{workload.script}"].')
    if workload.overrides and not workload.overrides_are_read():
        lines.append(
            f"{workload.folder}: overrides: {workload.overrides} is not among `files`, or neither `command` nor a script names it. "
            "Name it in both."
        )
    for file in workload.files:
        if workload.metric.file and matches(workload.metric.file, file):
            lines.append(
                f"{workload.folder}: metric: {file} is among `files`, so a trial would begin with an old result. Leave it out."
            )
    for link in workload.links:
        lines += [
            f"{workload.folder}: links: {link}: {file} of `files` lies in it. Leave one of them out."
            for file in workload.files
            if file == link or file.startswith(f"{link}/")
        ]
    return lines


def _unreadable(workload: Workload) -> list[str]:
    """Return a line for each script that our Python is to run, and cannot read."""
    lines: list[str] = []
    for file, text in workload.files.items() if any(PYTHON in word for word in workload.command) else ():
        try:
            if file.endswith(".py"):
                check_syntax(text, str(workload.folder / file))
        except RenderError as error:
            lines += error.problems
    return lines


def _read_files(folder: Path, patterns: tuple[str, ...], problems: list[str]) -> dict[str, str]:
    files = {}
    root = folder.resolve()
    for pattern in patterns:
        if not Path(pattern).parts or Path(pattern).is_absolute() or ".." in Path(pattern).parts:
            problems.append(f"{folder}: files: {pattern!r} is not a pattern inside the folder. Name files in it.")
            continue
        if Path(pattern).parts.count("**") > MOST_RECURSIONS:
            problems.append(
                f"{folder}: files: {pattern!r:.80} has ** more than {MOST_RECURSIONS} times, which takes too long. Use fewer."
            )
            continue
        for path in sorted(folder.glob(pattern)):
            if not path.is_file() or not path.resolve().is_relative_to(root) or _is_written_by_us(path, folder):
                continue
            try:
                # newline="" keeps CRLF: a file that is not changed travels byte for byte
                with path.open(encoding="utf-8", newline="") as file:
                    files[path.relative_to(folder).as_posix()] = file.read()
            except (OSError, UnicodeDecodeError) as error:
                data = "" if path.suffix == ".py" else " Data belongs to `links`."
                problems.append(
                    f"{path}: cannot be read as text: {error}. Leave it out of `files` or correct it.{data}"
                )
    return files


def _is_written_by_us(path: Path, folder: Path) -> bool:
    """Whether a file lies among the studies of this folder: their best/ has scripts, and each study would change the next."""
    inside = [folder / each for each in path.relative_to(folder).parents if each != Path()]
    return any(RunsPaths(each).database.is_file() or _is_of_a_study(each) for each in inside)


def _is_of_a_study(folder: Path) -> bool:
    paths = StudyPaths(folder.parent, folder.name)
    return paths.results_tsv.is_file() and paths.settings_json.is_file()


def _read_seed(table: Table) -> str:
    """Return where the seed stands: a text, or as a search space writes a place, such as `{ flag = "--seed" }`."""
    if not table.is_table("seed"):
        return table.text("seed", "")
    place = table.table("seed")
    return next(filter(None, [place.text(kind, "") for kind in ("flag", "key", "field", "entry")]), "")


def _read_links(folder: Path, table: Table) -> dict[str, str]:
    """Return path in a trial's folder -> the data's own path. A relative one starts in the workload's folder."""
    links = {}
    for name, target in table.paths("links").items():
        path = Path(target).expanduser()
        links[name] = str(path if path.is_absolute() else (folder / path).resolve())
        parts, where = Path(name).parts, f"{table.where}: links: {name}"
        if not parts or Path(name).is_absolute() or ".." in parts:
            table.problems.append(f"{where}: is not a path inside a trial's folder. Name one.")
        elif any(other != name and _lie_together(Path(name), Path(other)) for other in links):
            table.problems.append(f"{where}: lies in another link. Leave one of them out.")
        elif not _is_there(Path(links[name])):
            table.problems.append(
                f"{where}: there is no folder and no file {links[name]}. Correct the path, or put the data there."
            )
    return links


def _is_there(path: Path) -> bool:
    try:
        return path.is_dir() or path.is_file()
    except OSError:
        return False


def _lie_together(one: Path, other: Path) -> bool:
    return one.is_relative_to(other) or other.is_relative_to(one)


def _expression(table: Table, key: str) -> Expression | None:
    return read_expression(table.text(key, ""), f"{table.where}: {key}", table.problems)
