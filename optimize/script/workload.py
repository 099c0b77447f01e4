"""A workload: a folder with a training script, which turns parameters into jobs. It never writes to the folder.

It knows the script's constants and files, how data is prepared and which metric is reported, but not where or how a job runs.
"""

from __future__ import annotations

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
from optimize.script.derived import Derived, effective, number
from optimize.script.file_imports import files_used, named_in, names_config
from optimize.script.files_read import files_read
from optimize.script.owners import Owners, files_by_constant
from optimize.script.places import Placement, Places
from optimize.script.seed import SEED, place_of_seed, seed_constant
from optimize.script.seed_calls import SEED_CALLS, files_with_seed_calls, render_seed_calls, seeds_all
from optimize.script.trees import trees_kept
from optimize.trial import Job, Limits, Metric, ProgressFormat, Suggestion, Value
from search_spaces import CONSTANT, Expression, Rule, SearchSpace, SearchSpaceError

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
    links: Mapping[str, str] = field(default_factory=dict)  # path in a trial's folder -> folder or file of data
    picked: bool = False  # the script, because it is the only one: nothing names it
    limits: Mapping[str, float] = field(default_factory=dict)  # that a trial of it needs: name in Limits -> value
    with_bom: frozenset[str] = frozenset()  # files that begin with a byte order mark, which `files` leaves out
    placed: Mapping[str, Placement] = field(default_factory=dict)  # parameters that are no constants of a module
    conditions: Mapping[str, Rule] = field(default_factory=dict)  # without its own a parameter has no effect
    device_batch: str | None = None  # the constant that is it; "": none is; None: the usual name, if the script has it
    known_as: str = ""  # the fingerprint that a study has of it, which another Python may have computed
    named: frozenset[str] = frozenset()  # names of the search space, whose constants count in whatever file they stand

    def with_space(self, space: SearchSpace) -> Workload:
        """Return this workload with the places and conditions of a search space's parameters."""
        placed = {
            p.name: Placement(p.name, p.location, p.baseline)
            for p in space.parameters
            if p.location.kind != CONSTANT or p.baseline is not None
        }
        of_rules = (rule.expression.names for rule in (*space.rules, *space.conditions.values()))
        named = self.named.union(*of_rules, (p.name for p in space.parameters)) - {
            p.name for p in space.parameters if p.location.kind != CONSTANT
        }
        return replace(self, placed={**self._placed_seed(space), **placed}, conditions=space.conditions, named=named)

    def _placed_seed(self, space: SearchSpace) -> dict[str, Placement]:
        """Return the place of the seed, if it is no constant of a module and nothing else has its name."""
        if SEED in space.names or (not self.seed and (self._seed_constant == "SEED" or self._seeds_in_calls())):
            return {}
        found = place_of_seed(self.seed, self.files_read(), self.command)
        is_free = found and (self.seed or found.location not in {p.location for p in space.parameters})
        return {SEED: found} if found and is_free else {}

    def _seeds_in_calls(self) -> bool:
        with suppress(RenderError, KeyError):
            return seeds_all(self.files[self.script], str(self.folder / self.script))
        return False

    @property
    def seed_name(self) -> str:
        """The name of the seed among the values that can be written, "" if it can only stand in calls that seed."""
        if SEED in self.placed:
            return SEED
        name = self._seed_constant
        return self.seed or (name if name == "SEED" or not self._seeds_in_calls() else "")

    @property
    def _seed_constant(self) -> str:
        """The constant that is the seed by its name, "" if there is none."""
        return seed_constant(read := self.files_read(), self._owners().values(read, ["SEED"]))

    @property
    def places(self) -> Places:
        """Where the parameters stand that are no constants of a module."""
        elsewhere = {name: each for name, each in self.placed.items() if each.location.kind != CONSTANT}
        return Places(self.files, self.command, elsewhere, self.files_read())

    def files_read(self) -> dict[str, str]:
        """Return the files that settings can stand in: the Python files that the script takes names from, and all others."""
        first = (self.script, self.overrides, *self._named_in_commands())
        others = {file: text for file, text in self.files.items() if not file.endswith(".py")}
        return {**files_read(self.files, first), **others}

    def constants(self) -> dict[str, Value]:
        """Return constants whose value is a literal or arithmetic on literals: name -> value.

        They are those of the files that are read, and those that the workload or its search space names.
        """
        owners = self._owners()
        values = owners.values(self.files_read(), [*self.named, *self._named_in_expressions()])
        flags = {name: value for name, value in flags_of(self.command).items() if name in values and value is not None}
        return {**values, **flags, **self._defaults()}

    def _named_in_expressions(self) -> set[str]:
        given = (self.duration, self.work_budget, self.memory, self.total, *(each.expression for each in self.derived))
        used = {name for each in given if each for name in each.names}
        said = (self.seed or self._seed_constant, self.val_split, self.device_batch, *self.budget)
        return used.union(filter(None, said), *(each.replaces for each in self.derived))

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
        placed = self.places.placed
        mine = files_by_constant(self._owners(), [name for name in names if name not in placed])
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
        owners, flags, places = self._owners(), flags_of(self.command), self.places
        lines = []
        for name in names:
            owner = None if name in places.placed else owners.owner(name)
            if name in places.placed:
                lines += places.problems(name)
            elif name in flags:
                lines.append(f"{self.folder}: {name}: --{name} in `command` would win over it. Leave the flag out.")
            elif owner is None:
                lines.append(owners.why_not(name))
            elif name not in self.placed and not owners.values((), [name]):
                lines.append(
                    f"{self.folder / owner[0]}:{owner[1].line}: {name}: `{owner[1].expression}` is not a literal. "
                    "Give it a plain value, so that the baseline is known."
                )
            else:
                lines += owners.written_elsewhere(name, owner[0])
        return lines

    def unused(self, names: Iterable[str]) -> dict[str, list[str]]:
        """Return those of `names` whose file the script does not seem to import or to name, by file."""
        read, owners = self.files_read(), self._owners()
        found: dict[str, list[str]] = {}
        for name in names:
            file = self.file_of(name)
            if file.endswith(".py") and file in read:
                continue
            known = name in self.placed or owners.owner(name) is not None
            if known and not self._is_used(file) and not names_config(self.files, self.command, file):
                found.setdefault(file, []).append(name)
        return found

    def _is_used(self, file: str) -> bool:
        return file in files_used(self.files, [self.script, self.overrides, *self._named_in_commands()])

    def hidden_writes(self, names: Iterable[str]) -> list[tuple[str, int, str]]:
        """Return file, line and text of what may replace one of `names` when the script runs, such as `exec(...)`."""
        placed = self.places.placed
        owners = files_by_constant(self._owners(), [name for name in names if name not in placed])
        files = sorted({file for file, _ in owners.values()} - {self.overrides})
        found = [(f, *each) for f in files for each in hidden_writes(self.files[f], str(self.folder / f))]
        return [] if self.overrides else found  # a script with a file that wins reads it in such a way

    def file_of(self, name: str) -> str:
        """Return the file whose constant of this name wins, or in which the parameter stands; the script, if there is none."""
        if name in self.places.placed:
            with suppress(RenderError):
                return self.places.file_of(name) or self.script
        owner = self._owners().owner(name)
        return owner[0] if owner else self.script

    def binds(self, name: str) -> bool:
        """Return whether one of the scripts gives this name a value at module level, in whatever way."""
        return self._owners().binds(name)

    def render(self, values: Mapping[str, Value]) -> dict[str, str]:
        """Return every file with `values` written over its constants.

        A value named SEED_CALLS is written into the script's calls that seed. Raises RenderError with a line for each value
        that cannot be written.
        """
        with trees_kept():
            return self._render(dict(values))

    def _render(self, values: dict[str, Value]) -> dict[str, str]:
        seed = values.pop(SEED_CALLS, None)
        if problems := self.problems(values):
            raise RenderError(*problems)
        places, mine = self.places, dict[str, dict[str, Value]]()
        for name, value in values.items():
            mine.setdefault(self.file_of(name) if name not in places.placed else places.file_of(name), {})[name] = value
        rendered = {**self.files, **{file: self._rendered(file, mine[file], places) for file in mine if file}}
        if isinstance(seed, int):
            for file in files_with_seed_calls(self.script, {f: rendered[f] for f in self.files_read()}, self.command):
                rendered[file] = render_seed_calls(rendered[file], seed, str(self.folder / file))
        return with_boms(rendered, self.with_bom)

    def _rendered(self, file: str, values: Mapping[str, Value], places: Places) -> str:
        text = self.files[file]
        if not file.endswith(".py"):
            return places.write_keys(file, text, values)
        return source.render(text, values, str(self.folder / file), places.finder(file))

    def prepare(
        self, suggestion: Suggestion, constants: Mapping[str, Value], env: Mapping[str, str], limits: Limits
    ) -> Job:
        """Return the job that trains `suggestion`: `constants` win over the script's, parameters over both."""
        baseline = {**self.constants(), **constants}
        values = effective(self.conditions, {**constants, **suggestion.params}, baseline)
        places = self.places
        placed = {name: value for name, value in values.items() if name in places.placed}
        command, variables = places.with_values(placed)
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
        told = repr((self.command, self.prepare_command)) + self.overrides
        return source.files_fingerprint(told, tuple(sorted(self.files.items())), self.folder, python)

    def _owners(self) -> Owners:
        """Return the Python files; those whose constants win come first: the overrides' before the script's, before others'."""
        files = sorted(
            (file for file in self.files if file.endswith(".py")),
            key=lambda file: (file != self.overrides, file != self.script, file),
        )
        return Owners(tuple((file, self.files[file]) for file in files), self.folder, self.overrides)

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

    def _named_in_commands(self) -> list[str]:
        return named_in(" ".join([*self.command, *self.prepare_command]), tuple(self.files))
