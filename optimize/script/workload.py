"""Loads a workload, a folder with a training script, and turns parameters into jobs. It never writes to the folder.

It knows the script's constants and files, how data is prepared and which metric is reported, but not where or how a job runs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from optimize.errors import RenderError, WorkloadError
from optimize.runner.prepare import Preparation, run_preparation
from optimize.script import constants as source
from optimize.script.command import FOLDER, flags_of, unstartable
from optimize.script.constants import SEED_CALLS, Constant, render_seed_calls
from optimize.script.derived import Derived, number, read_derived, read_expression
from optimize.script.output import read_metric, read_progress
from optimize.text import meant
from optimize.toml import Table
from optimize.trial import Job, Limits, Metric, ProgressFormat, Suggestion, Value
from search_spaces import Expression, SearchSpaceError, parse_expression

OURS = Path(__file__).parents[1] / "workloads"
BUDGETS = ("FLOP_BUDGET", "TIME_BUDGET")


@dataclass(frozen=True, slots=True)
class Workload:
    """A training script and what it needs. `files` maps a path inside the folder to its text."""

    name: str
    folder: Path
    script: str
    files: Mapping[str, str]
    command: tuple[str, ...]
    prepare_command: tuple[str, ...]  # empty: nothing to prepare
    metric: Metric
    duration: Expression | None = None  # seconds a trial takes, in terms of the scripts' constants
    work_budget: Expression | None = None  # whether a trial ends after so much work, in terms of the same constants
    preload: tuple[str, ...] = ()  # modules that a trial on a CPU may find imported
    memory: Expression | None = None  # peak memory is nearly an affine function of it
    derived: tuple[Derived, ...] = ()
    seed: str = ""  # the constant that is the seed; "": SEED, if there is one, else the literal in calls that seed
    val_split: str = "VAL_SPLIT"  # the constant, 0 or 1, that says which half of the validation text is used
    budget: tuple[str, ...] = BUDGETS  # constants that limit the training; the first that is above 0 counts
    overrides: str = ""  # the file whose constants win over those of the script
    progress: ProgressFormat = field(default_factory=ProgressFormat)
    total: Expression | None = None  # steps of a whole run, in terms of the constants
    links: Mapping[str, str] = field(default_factory=dict)  # path in a trial's folder -> folder of data

    def constants(self) -> dict[str, Value]:
        """Return the scripts' constants whose value is a literal or arithmetic on literals: name -> value."""
        values = {}
        for name, (_, constant) in self._owners().items():
            with suppress(SearchSpaceError):  # names or calls: unknown without running the script
                values[name] = _value(constant.expression)
        return {
            **values,
            **{name: value for name, value in flags_of(self.command).items() if name in values and value is not None},
        }

    def comments(self, names: Iterable[str]) -> dict[str, str]:
        """Return the comments on the lines that assign these constants."""
        owners = self._owners()
        found = {name: source.comment_on(self.files[file], c) for name in names for file, c in [owners[name]]}
        return {name: comment for name, comment in found.items() if comment}

    def duration_s(self, constants: Mapping[str, Value]) -> float | None:
        """Return about how many seconds a trial takes, None if `duration_s` in workload.toml does not say."""
        seconds = self.duration.evaluate(constants) if self.duration else None
        return float(seconds) if isinstance(seconds, int | float) else None

    def budget_is_work(self, constants: Mapping[str, Value]) -> bool:
        """Return whether a trial ends after so much work, so that a slower device changes nothing (`work_budget`)."""
        return bool(self.work_budget.evaluate(constants)) if self.work_budget else False

    def problems(self, names: Iterable[str]) -> list[str]:
        """Return a line for each of `names` that cannot be written into the scripts, or whose value cannot be read."""
        owners, values, flags = self._owners(), self.constants(), flags_of(self.command)
        lines = []
        for name in names:
            if name in flags:
                lines.append(f"{self.folder}: {name}: --{name} in `command` would win over it. Leave the flag out.")
            elif name not in owners:
                lines.append(self._why_not(name))
            elif name not in values:
                file, constant = owners[name]
                lines.append(
                    f"{self.folder / file}:{constant.line}: {name}: `{constant.expression}` is not a literal. "
                    "Give it a plain value, so that the baseline is known."
                )
        return lines

    def binds(self, name: str) -> bool:
        """Return whether one of the scripts gives this name a value at module level, in whatever way."""
        return any(name in source.bound_names(self.files[f], str(self.folder / f)) for f in self._python_files())

    def render(self, values: Mapping[str, Value]) -> dict[str, str]:
        """Return every file with `values` written over its constants.

        A value named SEED_CALLS is written into the script's calls that seed. Raises RenderError with a line for each value
        that cannot be written.
        """
        values = dict(values)
        seed = values.pop(SEED_CALLS, None)
        problems = self.problems(values)
        if problems:
            raise RenderError(*problems)
        owners = self._owners()
        rendered = {}
        for file, text in self.files.items():
            mine = {name: value for name, value in values.items() if owners[name][0] == file}
            rendered[file] = source.render(text, mine, str(self.folder / file)) if mine else text
        if isinstance(seed, int):
            where = str(self.folder / self.script)
            rendered[self.script] = render_seed_calls(rendered[self.script], seed, where)
        return rendered

    def prepare(
        self, suggestion: Suggestion, constants: Mapping[str, Value], env: Mapping[str, str], limits: Limits
    ) -> Job:
        """Return the job that trains `suggestion`: `constants` win over the script's, parameters over both."""
        files = self.render({**constants, **suggestion.params})
        return Job(
            suggestion.number,
            dict(suggestion.params),
            files,
            self._placed(self.command),
            dict(env),
            self.metric,
            limits,
            preload=self.preload,
            alone=suggestion.alone,
            progress=self._progress({**constants, **suggestion.params}),
            links=self.links,
        )

    def preparation(self, constants: Mapping[str, Value], arguments: Iterable[str]) -> Preparation | None:
        """Return how this workload's data is prepared, on any machine; None if it has neither `prepare` nor links."""
        if not self.prepare_command and not self.links:
            return None
        command = (*self._placed(self.prepare_command), *arguments) if self.prepare_command else ()
        return Preparation(self.render(constants), command, self.links)

    def prepare_data(
        self,
        constants: Mapping[str, Value],
        arguments: Iterable[str],
        env: Mapping[str, str],
        say: Callable[[str], None],
    ) -> str:
        """Prepare the data on this machine. Return its fingerprint, "" if there is none. Raises WorkloadError."""
        preparation = self.preparation(constants, arguments)
        return run_preparation(preparation, env, say) if preparation is not None else ""

    def fingerprint(self) -> str:
        """Return a hash of the scripts' syntax trees, of the files that are not Python, and of the commands."""
        digest = hashlib.sha256(repr((self.command, self.prepare_command)).encode() + self.overrides.encode())
        for file, text in sorted(self.files.items()):
            tree = source.syntax_fingerprint(text, str(self.folder / file)) if file.endswith(".py") else text
            digest.update(f"{file}\0{tree}\0".encode())
        return digest.hexdigest()[:16]

    def _owners(self) -> dict[str, tuple[str, Constant]]:
        """Return name -> (file, constant that wins): the overrides' before the script's, the script's before others'."""
        owners: dict[str, tuple[str, Constant]] = {}
        for file in self._python_files():
            for name, constant in source.read_constants(self.files[file], str(self.folder / file)).items():
                owners.setdefault(name, (file, constant))
        if self.overrides in self.files:  # what it assigns in another way wins as well, and cannot be written
            for name in source.bound_names(self.files[self.overrides], str(self.folder / self.overrides)):
                if name in owners and owners[name][0] != self.overrides:
                    del owners[name]
        return owners

    def _progress(self, constants: Mapping[str, Value]) -> ProgressFormat:
        """Return the progress format with the total of a trial with these constants."""
        if self.total is None:
            return self.progress
        with suppress(SearchSpaceError):
            total = float(number(self.total, {**self.constants(), **constants}))
            return replace(self.progress, total=total if total > 0 else None)
        return self.progress

    def _placed(self, command: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(word.replace(FOLDER, str(self.folder.resolve())) for word in command)

    def overrides_are_read(self) -> bool:
        """Return whether a trial would read them, as far as the command and the scripts' text show."""
        name = Path(self.overrides).name
        texts = [*self.command, *(text for file, text in self.files.items() if file != self.overrides)]
        return self.overrides in self.files and any(name in text for text in texts)

    def unstartable(self, path: str | None) -> list[str]:
        """Return a line for each command whose program or script does not exist.

        `path`: where programs are looked for; None: nowhere.
        """
        lines = []
        for key, command in (("command", self.command), ("prepare", self.prepare_command)):
            known = {*self.files, *self.links}
            lines += [f"{self.folder}: {key}: {line}" for line in unstartable(self._placed(command), known, path)]
        return lines

    def _why_not(self, name: str) -> str:
        reasons = [source.why_not(self.files[f], name, str(self.folder / f)) for f in self._python_files()]
        none = f"{self.folder}: {name}: there is no Python file. Name those that a trial needs in `files`."
        return next((line for line in reasons if "has no such constant" not in line), reasons[0] if reasons else none)

    def _python_files(self) -> list[str]:
        """Return the Python files; those whose constants win come first."""
        files = (f for f in self.files if f.endswith(".py"))
        return sorted(files, key=lambda f: (f != self.overrides, f != self.script, f))


def load_workload(name_or_path: str) -> Workload:
    """Load one of our workloads by its name, or a folder, which has a slash. Raises WorkloadError with all problems."""
    is_path = "/" in name_or_path or name_or_path in (".", "..")
    folder = Path(name_or_path).expanduser() if is_path else OURS / name_or_path
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
    files = _read_files(folder, table.words("files", ("*.py",)), problems)
    has_prepare = table.has("prepare") or "prepare.py" in files
    metric, (progress, total) = read_metric(table), read_progress(table)
    workload = Workload(
        name=folder.resolve().name,
        folder=folder,
        script=table.text("script", "train.py"),
        files=files,
        command=table.words("command", ("{python}", "train.py")),
        prepare_command=table.words("prepare", ("{python}", "prepare.py")) if has_prepare else (),
        metric=metric,
        duration=_expression(table, "duration_s"),
        work_budget=_expression(table, "work_budget"),
        preload=table.words("preload", ()),
        memory=_expression(table, "memory"),
        derived=read_derived(table.table("derived")),
        seed=table.text("seed", ""),
        val_split=table.text("val_split", "VAL_SPLIT"),
        budget=table.words("budget", BUDGETS),
        overrides=table.text("overrides", ""),
        progress=progress,
        total=total,
        links=_read_links(folder, table),
    )
    table.finish()
    problems += _what_is_wrong(workload)
    if problems:
        raise WorkloadError(*problems)
    return workload


def ours() -> list[str]:
    """Return the names of the workloads in this package."""
    return sorted(path.name for path in OURS.iterdir() if (path / "train.py").exists())


def _what_is_wrong(workload: Workload) -> list[str]:
    lines = []
    if workload.script not in workload.files:
        lines.append(
            f"{workload.folder}: there is no {workload.script}. Name the training script in workload.toml (script = ...)."
        )
    if not workload.command or not all(workload.command):
        lines.append(f'{workload.folder}: command: it is empty. Give argv, such as ["{{python}}", "train.py"].')
    if workload.overrides and not workload.overrides_are_read():
        lines.append(
            f"{workload.folder}: overrides: {workload.overrides} is not among `files`, or neither `command` nor a script names it. "
            "Name it in both."
        )
    for link in workload.links:
        lines += [
            f"{workload.folder}: links: {link}: {file} of `files` lies in it. Leave one of them out."
            for file in workload.files
            if file == link or file.startswith(f"{link}/")
        ]
    return lines


def _read_files(folder: Path, patterns: tuple[str, ...], problems: list[str]) -> dict[str, str]:
    files = {}
    root = folder.resolve()
    for pattern in patterns:
        if not Path(pattern).parts or Path(pattern).is_absolute() or ".." in Path(pattern).parts:
            problems.append(f"{folder}: files: {pattern!r} is not a pattern inside the folder. Name files in it.")
            continue
        for path in sorted(folder.glob(pattern)):
            if not path.is_file() or not path.resolve().is_relative_to(root):
                continue
            try:
                # newline="" keeps CRLF: a file that is not changed travels byte for byte
                with path.open(encoding="utf-8-sig", newline="") as file:
                    files[path.relative_to(folder).as_posix()] = file.read()
            except (OSError, UnicodeDecodeError) as error:
                problems.append(f"{path}: cannot be read as text: {error}. Leave it out of `files` or correct it.")
    return files


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
        elif not Path(links[name]).is_dir():
            table.problems.append(
                f"{where}: there is no folder {links[name]}. Correct the path, or put the data there."
            )
    return links


def _lie_together(one: Path, other: Path) -> bool:
    return one.is_relative_to(other) or other.is_relative_to(one)


def _expression(table: Table, key: str) -> Expression | None:
    return read_expression(table.text(key, ""), f"{table.where}: {key}", table.problems)


def _value(expression: str) -> Value:
    """Return the value of an expression that is arithmetic on literals. Raises SearchSpaceError for any other."""
    return parse_expression(expression).evaluate({})
