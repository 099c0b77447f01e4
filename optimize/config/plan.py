"""Turns settings into a plan: workload, search space, constants, baseline. Finds all mistakes before a trial starts.

Nothing is started or written here: `optimize check` shows a plan, `optimize run` carries it out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from shlex import quote

from optimize.config.environment import script_environment
from optimize.config.extras import missing_packages
from optimize.config.here import HERE, SPACE, with_slash
from optimize.config.limits import startup_in, too_short, with_limits_of
from optimize.config.script_notes import script_notes
from optimize.config.settings import Settings, is_named
from optimize.config.space_fit import bad_rules, misfits, with_baselines
from optimize.errors import OptimizeError, SettingsError, WorkloadError
from optimize.executors import EXECUTORS
from optimize.script.command import RUN
from optimize.script.derived import mistakes, no_number
from optimize.script.device_batch import DeviceBatch, name_of_device_batch, wrong_device_batch
from optimize.script.load_workload import OURS, load_workload
from optimize.script.pick_script import INIT
from optimize.script.seed_calls import SEED_CALLS, seed_of_calls
from optimize.script.seeding import again_note, running, without_seed
from optimize.script.workload import Workload
from optimize.search import Starts, StoredSpace, Target, plan_starts, space_of, unfit
from optimize.search.pruners import unknown_pruner
from optimize.text import meant
from optimize.trial import Job, Suggestion, Value
from search_spaces import SearchSpace, SearchSpaceError, load_space
from storage import StorageError, StudyPaths, parent_of

SEED = "seed"  # in what `about` tells: what the script's is called, "" if it has none that could be another
AGAIN = "again"  # and why training the same again gives another value, "" if it does not

TRACKERS = ("tensorboard", "mlflow")  # each is the name of its package and of its extra as well
PACKAGES = {"tensorboard": "'tensorboard>=2.20'", "mlflow": "'mlflow-skinny>=3.17,<4'"}  # as in pyproject.toml


@dataclass(frozen=True, slots=True)
class Plan:
    """What a study will do. `constants` has every known value of the scripts, with the profile's values in place."""

    settings: Settings
    workload: Workload
    space: SearchSpace
    constants: Mapping[str, Value]
    baseline: Mapping[str, Value]
    starts: Starts = field(default_factory=Starts)  # the space's own
    notes: tuple[str, ...] = ()  # what a user should know before it begins
    earlier: tuple[str, ...] = ()  # lines about parts of an earlier version of ours

    @property
    def stored_space(self) -> StoredSpace:
        """The search space as the database of the study keeps it."""
        return space_of(self.space, self.constants)

    def job(self, suggestion: Suggestion, scale: int = 1) -> Job:
        """Return the job that trains `suggestion`; it may take `scale` times as long as the profile allows."""
        limits = self.settings.limits
        if limits.total_s is not None:
            limits = replace(limits, total_s=limits.total_s * scale)
        env = script_environment(self.settings.env_pass)
        job = self.workload.prepare(suggestion, self.settings.written, env, limits)
        return replace(job, startup_in=startup_in(self.workload, self.settings))

    @property
    def device_batch(self) -> str:
        """The constant that is the script's device batch, "" if there is none that can be written."""
        name = name_of_device_batch(self.workload.device_batch, self.constants)
        return "" if name and self.workload.problems([name]) else name

    def with_device_batch(self, batch: DeviceBatch) -> Plan:
        """Return the plan of the same study with this device batch, in its baseline and in all else."""
        value = {batch.name: batch.value}
        baseline = {**self.baseline, **value} if batch.name in self.space.names else self.baseline
        origins = {**self.settings.origins, "device_batch": f"study {self.settings.study}"}
        settings = replace(self.settings, device_batch=batch, origins=origins)
        return replace(self, settings=settings, constants={**self.constants, **value}, baseline=baseline)

    def about(self) -> dict[str, str]:
        """Return what a person wants to know of a study that follows it; paths as they were given."""
        here = self.settings.workload == HERE  # which says nothing to who reads it elsewhere
        return {
            "workload": str(Path.cwd()) if here else self.settings.workload,
            "script": self.workload.script,
            "search_space": self.settings.search_space,
            "profile": self.settings.profile,
            "command": self.settings.command(),
            SEED: self._seed_if_any(),
            AGAIN: self.again_note,
        }

    def seed(self) -> tuple[str, int]:
        """Return the name and the value of the script's seed. Raises WorkloadError if there is none to vary."""
        workload, where = self.workload, str(self.workload.folder / self.workload.script)
        name = workload.seed_name
        if name:
            problems = workload.problems([name])
            own = self.constants.get(name)
        else:
            problems, name, own = [], SEED_CALLS, seed_of_calls(workload.script, workload.files_read(), where)
        if problems:
            raise WorkloadError(*problems)
        if name in self.space.names:
            raise WorkloadError(
                f"{self.space.path}: {name}: the seed is a parameter, so no other seed is left. Take it out of the search space."
            )
        if type(own) is not int or own < 0:
            why = without_seed(self._running()) or (
                "it has no constant SEED, no flag --seed and no manual_seed(42). Without another seed every training gives the "
                'same value. Say in workload.toml where it is: seed = "SEED", "--seed", "conf.yaml:seed" or "Config.seed"'
            )
            raise WorkloadError(f"{where}: no seed: {why}.")
        return name, own

    @property
    def again_note(self) -> str:
        """A line where training a trial again gives another value, "" where it does not, as far as the script's words tell."""
        return again_note(self._running())

    def _running(self) -> dict[str, str]:
        return running(self.workload.script, self.workload.files, self.workload.command)

    def _seed_if_any(self) -> str:
        try:
            return self.seed()[0]
        except WorkloadError:
            return ""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a plan is made of; None is what cannot be loaded, and `problems` says why."""

    settings: Settings
    workload: Workload | None
    space: SearchSpace | None
    problems: Sequence[str] = ()
    earlier: tuple[str, ...] = ()


def load_parts(settings: Settings, space: SearchSpace | None = None) -> Parts:
    """Load workload and search space as they lie there today; a `space` that is given is taken for the one of its file."""
    problems: list[str] = []
    workload, space = _load(settings, problems, space)
    return Parts(settings, workload, space, problems)


def make_plan(settings: Settings, also: Sequence[str] = (), compare: bool = True) -> Plan:
    """Load and compare everything. Raises SettingsError with every problem, before anything is started.

    `also` has problems that are known already. Without `compare` the settings are known to be wrong, and only loading is tried.
    """
    return plan_of(load_parts(settings), also, compare)


def plan_of(parts: Parts, also: Sequence[str] = (), compare: bool = True) -> Plan:
    """Compare all parts, as `make_plan` does. Raises SettingsError with every problem."""
    settings, workload, space = parts.settings, parts.workload, parts.space
    if elsewhere := _in_best_folder(settings):
        raise SettingsError(*elsewhere)  # alone: what else is wrong is of another place
    problems = [*also, *_bad_study(settings), *parts.problems]
    if problem := unfit(settings.sampler, space):
        problems.append(problem)
    problems += filter(None, [unknown_pruner(settings.pruner)])
    problems += _bad_executor(settings)
    problems += unfit_trackers(settings.log)
    problems += missing_packages(settings, workload) if workload else []
    if workload is None or space is None or not compare:
        raise SettingsError(*problems)
    if line := _no_space(settings, workload, space):
        raise SettingsError(*problems, line)
    workload = workload.with_space(space)
    settings = with_limits_of(workload, settings)
    settings, notes = without_foreign_constants(settings, workload)
    constants = {**workload.constants(), **settings.constants}
    problems += workload.problems(settings.constants)
    if settings.trials_per_gpu > 1 and not workload.budget_is_work(constants):
        problems.append(
            f"profile {settings.profile}: [slots] trials_per_gpu: under a time budget a neighbour on the GPU changes "
            f"{workload.metric.name}. Use a budget of work (work_budget in workload.toml says which), or leave it out."
        )
    problems += mistakes(workload.derived, workload.memory, constants)
    problems += no_number(workload.total, constants) if workload.total else []
    problems += wrong_device_batch(workload.device_batch, constants, workload.folder)
    problems += workload.unstartable(_programs(settings))
    if workload.seed:
        problems += [f"{workload.folder}: seed: {line}" for line in workload.problems([workload.seed_name])]
    for name in (n for n in space.names if n not in settings.constants):
        problems += [f"{space.path}: {line}{_meant(name, constants)}" for line in workload.problems([name])]
    problems += [f"{space.path}: {line}" for line in workload.places.shared()]
    space = with_baselines(space, constants)
    known = [p for p in space.parameters if p.name in constants]
    for parameter in known:
        problems += misfits(parameter, constants[parameter.name], settings, space, workload)
    problems += bad_rules(space, constants, settings) if len(known) == len(space.parameters) else []
    if problems:
        raise SettingsError(*problems)
    baseline = {p.name: next(c for c in p.choices if c == constants[p.name]) for p in space.parameters}
    if settings.device != "cpu" or settings.executor != "local" or not settings.preload:
        workload = replace(workload, preload=())  # a CUDA context does not survive a fork
    starts = _starts(settings, space, constants, baseline)
    notes += script_notes(settings, workload, space.names)
    notes += too_short(settings, workload, workload.duration_s({**constants, **baseline}))
    batch, settings = settings.device_batch, replace(settings, device_batch=None)
    plan = Plan(settings, workload, space, constants, baseline, starts, notes, parts.earlier)
    if batch is None or batch.name != plan.device_batch or constants[batch.name] != batch.own:
        return plan  # another one was set since
    return replace(plan.with_device_batch(batch), notes=(*notes, f"device batch: {batch}"))


def _no_space(settings: Settings, workload: Workload, space: SearchSpace) -> str:
    """Return a line if nobody says what may vary in a script of the user's own, and it is none that the profile's space fits."""
    if is_named(settings, "search_space") or "/" in settings.search_space or workload.folder.parent == OURS:
        return ""
    lacking = [name for name in space.names if not workload.binds(name)]
    script, beside = with_slash(workload.folder / workload.script), with_slash(workload.folder / SPACE)
    line = (
        f"{beside}: there is no such file, so nothing says what may vary. Write a first one: `{INIT} {quote(script)}`."
    )
    if len(lacking) == len(space.names):
        return line
    of_profile = f"Search space {space.name} of profile {settings.profile} does not fit: the script"
    return f"{line} ({of_profile} has no {', '.join(lacking[:3])}.)" if lacking else ""


def without_foreign_constants(settings: Settings, workload: Workload) -> tuple[Settings, tuple[str, ...]]:
    """Leave the profile's constants out if the script lacks one of them: they are those of scripts like autoresearch's.

    Else they would change a script of another kind that happens to share a name.
    """
    lacking = [name for name in settings.constants if not workload.binds(name)]
    if "/" in settings.profile or not lacking:
        return settings, ()
    why = f"not those of profile {settings.profile}: the script has no {', '.join(lacking[:3])}"
    origins = {**settings.origins, "constants": why}
    kept = replace(settings, constants={}, prepare_args=(), origins=origins)
    is_related = len(lacking) < len(settings.constants)  # to those scripts: its user may expect the profile's values
    return kept, (f"constants: the script's own, {why}",) if is_related else ()


def _programs(settings: Settings) -> str | None:
    """The PATH on which a script's program is searched; None on a cluster, where each node has its own."""
    return None if settings.executor == "ray" else script_environment(settings.env_pass).get("PATH", "")


def _starts(
    settings: Settings, space: SearchSpace, constants: Mapping[str, Value], baseline: Mapping[str, Value]
) -> Starts:
    try:
        return plan_starts(Target(space, constants, baseline)) if settings.starts else Starts()
    except SearchSpaceError as error:
        raise SettingsError(*error.problems) from None


def _bad_study(settings: Settings) -> list[str]:
    try:
        StudyPaths(settings.runs, settings.study)
    except StorageError as error:
        return [f"{error}."]
    parent = parent_of(settings.study)
    why = f"it has the replicates of {parent}, which only `optimize confirm --study {quote(parent)}` trains"
    return [f"study {settings.study}: {why}. Choose a name without a slash."] if parent else []


def _in_best_folder(settings: Settings) -> list[str]:
    """A line where the current folder is a study's best/: a study of another script would begin in it."""
    named = {"workload", "runs"} & {name for name, origin in settings.origins.items() if origin == "flag"}
    if named or not all(Path(name).is_file() for name in ("summary.toml", "params.toml", "train.patch")):
        return []
    here, starts = Path.cwd(), f"sh {RUN}" if Path(RUN).is_file() else "python train.py"
    return [
        f"{here}: this is the best trial of study {here.parent.name}: scripts to run, and no study. Train them again with "
        f"`{starts}`. Go on with the study in {here.parents[2]}, or name --workload."
    ]


def _bad_executor(settings: Settings) -> list[str]:
    if settings.executor not in EXECUTORS:
        known, hint = " or ".join(EXECUTORS), meant(settings.executor, EXECUTORS)
        return [f"--executor: {settings.executor!r} is not an executor. Use {known}.{hint}"]
    if settings.executor != "ray":
        return []
    lines = []
    if settings.gpus is not None:
        lines.append("--gpus: on a cluster Ray says which GPU a trial gets. Use --slots to limit how many trials run.")
    if settings.keep_failed:
        lines.append(
            "keep_failed: a cluster's work folders do not come back. Leave it out; `optimize show NUMBER` has the log."
        )
    if settings.trials_per_gpu > 1:
        lines.append("[slots] trials_per_gpu: on a cluster each trial has its own GPU. Leave it out.")
    if settings.device == "mps":
        lines.append("[slots] device: Ray does not support mps. Use cpu, cuda or rocm.")
    return lines


def _meant(name: str, constants: Mapping[str, Value]) -> str:
    return meant(name, constants) if name not in constants else ""


def _load(
    settings: Settings, problems: list[str], space: SearchSpace | None
) -> tuple[Workload | None, SearchSpace | None]:
    workload = None
    try:
        workload = load_workload(settings.workload)
    except OptimizeError as error:
        problems += error.problems
    try:
        space = space or load_space(settings.search_space)
    except SearchSpaceError as error:
        problems += error.problems
    if workload and space and any(each.optional for each in space.parameters):
        with suppress(OptimizeError):  # told when the parts are compared
            space = space.fitting(workload.with_space(space).constants())
    return workload, space


def unfit_trackers(names: Sequence[str]) -> list[str]:
    """A line for each name that cannot be used here."""
    lines = []
    for name in names:
        if name not in TRACKERS:
            lines.append(f"--log: {name!r:.60} is not on offer. Use {' or '.join(TRACKERS)}.{meant(name, TRACKERS)}")
        elif find_spec(name) is None:
            lines.append(
                f"--log {name}: it is not installed here. Run `pip install {PACKAGES[name]}`, or leave it out."
            )
    return lines
