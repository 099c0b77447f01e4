"""A workload: a folder with a training script, which turns parameters into jobs. It never writes to the folder.

It knows the script's constants and files, how data is prepared and which metric is reported, but not where or how a job runs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from optimize.errors import RenderError
from optimize.runner.prepare import Preparation, run_preparation
from optimize.script import constants as source
from optimize.script.bindings import hidden_writes
from optimize.script.byte_order_marks import with_boms
from optimize.script.command import FOLDER, flags_of, unstartable
from optimize.script.constants import SEED_CALLS, Constant, read_seed_calls, render_seed_calls
from optimize.script.derived import Derived, effective, number
from optimize.script.file_imports import files_used, is_named, names_config, writers_of
from optimize.script.places import Placement, Places
from optimize.script.seed import SEED, place_of_seed
from optimize.trial import Job, Limits, Metric, ProgressFormat, Suggestion, Value
from search_spaces import CONSTANT, Expression, Rule, SearchSpace, SearchSpaceError, parse_expression

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
    picked: bool = False  # the script, because it is the only one: nothing names it
    limits: Mapping[str, float] = field(default_factory=dict)  # that a trial of it needs: name in Limits -> value
    with_bom: frozenset[str] = frozenset()  # files that begin with a byte order mark, which `files` leaves out
    placed: Mapping[str, Placement] = field(default_factory=dict)  # parameters that are no constants of a module
    conditions: Mapping[str, Rule] = field(default_factory=dict)  # without its own a parameter has no effect
    device_batch: str | None = None  # the constant that is it; "": none is; None: the usual name, if the script has it
    known_as: str = ""  # the fingerprint that a study has of it, which another Python may have computed

    def with_space(self, space: SearchSpace) -> Workload:
        """Return this workload with the places and conditions of a search space's parameters."""
        placed = {
            p.name: Placement(p.name, p.location, p.baseline)
            for p in space.parameters
            if p.location.kind != CONSTANT or p.baseline is not None
        }
        return replace(self, placed={**self._placed_seed(space), **placed}, conditions=space.conditions)

    def _placed_seed(self, space: SearchSpace) -> dict[str, Placement]:
        """Return the place of the seed, if it is no constant of a module and nothing else has its name."""
        if SEED in space.names or (not self.seed and ("SEED" in self.constants() or self._seeds_in_calls())):
            return {}
        found = place_of_seed(self.seed, self.files, self.command)
        return (
            {SEED: found}
            if found and (self.seed or found.location not in {p.location for p in space.parameters})
            else {}
        )

    def _seeds_in_calls(self) -> bool:
        with suppress(RenderError, KeyError):
            return read_seed_calls(self.files[self.script], str(self.folder / self.script)) is not None
        return False

    @property
    def seed_name(self) -> str:
        """The name of the seed among the values that can be written, "" if it can only stand in calls that seed."""
        if SEED in self.placed:
            return SEED
        return self.seed or ("SEED" if "SEED" in self.constants() else "")

    @property
    def places(self) -> Places:
        """Where the parameters stand that are no constants of a module."""
        elsewhere = {name: each for name, each in self.placed.items() if each.location.kind != CONSTANT}
        return Places(self.files, self.command, elsewhere)

    def constants(self) -> dict[str, Value]:
        """Return the scripts' constants whose value is a literal or arithmetic on literals: name -> value."""
        values = {}
        for name, (_, constant) in self._owners().items():
            with suppress(SearchSpaceError):  # names or calls: unknown without running the script
                values[name] = parse_expression(constant.expression).evaluate({})
        flags = {name: value for name, value in flags_of(self.command).items() if name in values and value is not None}
        return {**values, **flags, **self._defaults()}

    def _defaults(self) -> dict[str, Value]:
        """Return the values, without us, of parameters that stand elsewhere, and those that their search space declares."""
        places = self.places
        found = {name: each.declared for name, each in self.placed.items() if name not in places.placed}
        for name in places.placed:
            with suppress(RenderError):
                found[name] = places.default(name)
        return found

    def effective(self, values: Mapping[str, Value], baseline: Mapping[str, Value]) -> dict[str, Value]:
        """Return `values` with that of the baseline for each parameter whose condition they do not meet.

        Raises SearchSpaceError where a condition cannot be computed.
        """
        return effective(self.conditions, values, baseline)

    def comments(self, names: Iterable[str]) -> dict[str, str]:
        """Return the comments on the lines that assign these constants."""
        owners = self._owners()
        mine = {name: owners[name] for name in names if name in owners and name not in self.places.placed}
        found = {name: source.comment_on(self.files[file], c) for name, (file, c) in mine.items()}
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
        owners, values, flags, places = self._owners(), self.constants(), flags_of(self.command), self.places
        lines = []
        for name in names:
            if name in places.placed:
                lines += places.problems(name)
            elif name in flags:
                lines.append(f"{self.folder}: {name}: --{name} in `command` would win over it. Leave the flag out.")
            elif name not in owners:
                lines.append(self._why_not(name))
            elif name not in values:
                file, constant = owners[name]
                lines.append(
                    f"{self.folder / file}:{constant.line}: {name}: `{constant.expression}` is not a literal. "
                    "Give it a plain value, so that the baseline is known."
                )
            else:
                lines += self._written_elsewhere(name, owners[name][0])
        return lines

    def unused(self, names: Iterable[str]) -> dict[str, list[str]]:
        """Return those of `names` whose file the script does not seem to import or to name, by file."""
        first = [self.script, self.overrides, *self._named_in_commands()]
        used, owners = files_used(self.files, first), self._owners()
        found: dict[str, list[str]] = {}
        for name in names:
            file = self.file_of(name)
            if (
                (name in owners or name in self.placed)
                and file not in used
                and not names_config(self.files, self.command, file)
            ):
                found.setdefault(file, []).append(name)
        return found

    def hidden_writes(self, names: Iterable[str]) -> list[tuple[str, int, str]]:
        """Return file, line and text of what may replace one of `names` when the script runs, such as `exec(...)`."""
        owners = self._owners()
        files = sorted({owners[name][0] for name in names if name in owners} - {self.overrides})
        found = [(f, *each) for f in files for each in hidden_writes(self.files[f], str(self.folder / f))]
        return [] if self.overrides else found  # a script with a file that wins reads it in such a way

    def file_of(self, name: str) -> str:
        """Return the file whose constant of this name wins, or in which the parameter stands; the script, if there is none."""
        if name in self.places.placed:
            with suppress(RenderError):
                return self.places.file_of(name) or self.script
        return self._owners().get(name, (self.script, None))[0]

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
        rendered = {file: self._rendered(file, values) for file in self.files}
        if isinstance(seed, int):
            where = str(self.folder / self.script)
            rendered[self.script] = render_seed_calls(rendered[self.script], seed, where)
        return with_boms(rendered, self.with_bom)

    def _rendered(self, file: str, values: Mapping[str, Value]) -> str:
        text, owners, places = self.files[file], self._owners(), self.places
        elsewhere = {
            name: value for name, value in values.items() if name in places.placed and places.file_of(name) == file
        }
        if not file.endswith(".py"):
            return places.write_keys(file, text, elsewhere)
        constants = {n: v for n, v in values.items() if n not in places.placed and owners[n][0] == file}
        mine = {**constants, **elsewhere}
        return source.render(text, mine, str(self.folder / file), places.finder(file)) if mine else text

    def prepare(
        self, suggestion: Suggestion, constants: Mapping[str, Value], env: Mapping[str, str], limits: Limits
    ) -> Job:
        """Return the job that trains `suggestion`: `constants` win over the script's, parameters over both."""
        baseline = {**self.constants(), **constants}
        values = effective(self.conditions, {**constants, **suggestion.params}, baseline)
        placed = {name: value for name, value in values.items() if name in self.places.placed}
        command, variables = self.places.with_values(placed)
        return Job(
            suggestion.number,
            dict(suggestion.params),
            self.render(values),
            self._at_home(command),
            {**env, **variables},
            self.metric,
            limits,
            preload=self.preload,
            alone=suggestion.alone,
            progress=self._progress(values),
            links=self.links,
            variables=variables,
            started=(
                *(f"{n}={v}" for n, v in variables.items()),
                *(word for word in command if word not in self.command),
            ),
        )

    def preparation(self, constants: Mapping[str, Value], arguments: Iterable[str]) -> Preparation | None:
        """Return how this workload's data is prepared, on any machine; None if it has neither `prepare` nor links."""
        if not self.prepare_command and not self.links:
            return None
        command = (*self._at_home(self.prepare_command), *arguments) if self.prepare_command else ()
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
        return self.known_as or self._fingerprint()

    def has_fingerprint(self, known: object) -> bool:
        """Tell whether `known` is the fingerprint of this workload on any Python."""
        if known == self.fingerprint():
            return True
        with suppress(RecursionError):  # nested more deeply than can be told
            return any(known == self._fingerprint(python) for python in source.PYTHONS)
        return False

    def _fingerprint(self, python: str = "") -> str:
        digest = hashlib.sha256(repr((self.command, self.prepare_command)).encode() + self.overrides.encode())
        for file, text in sorted(self.files.items()):
            tree = source.syntax_fingerprint(text, str(self.folder / file), python) if file.endswith(".py") else text
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

    def _at_home(self, command: tuple[str, ...]) -> tuple[str, ...]:
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
            lines += [f"{self.folder}: {key}: {line}" for line in unstartable(self._at_home(command), known, path)]
        return lines

    def _written_elsewhere(self, name: str, owner: str) -> list[str]:
        return [
            f"{self.folder / file}:{line}: {name}: replaces the constant of {owner} when the script runs. Remove that line."
            for file, line in writers_of(self.files, owner, name)
        ]

    def _named_in_commands(self) -> list[str]:
        words = " ".join([*self.command, *self.prepare_command])
        return [file for file in self.files if is_named(file, words)]

    def _why_not(self, name: str) -> str:
        reasons = [source.why_not(self.files[f], name, str(self.folder / f)) for f in self._python_files()]
        none = f"{self.folder}: {name}: there is no Python file. Name those that a trial needs in `files`."
        return next((line for line in reasons if "has no such constant" not in line), reasons[0] if reasons else none)

    def _python_files(self) -> list[str]:
        """Return the Python files; those whose constants win come first."""
        files = (f for f in self.files if f.endswith(".py"))
        return sorted(files, key=lambda f: (f != self.overrides, f != self.script, f))
