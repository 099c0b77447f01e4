"""A study copied to another database, or moved to a changed search space. The original stays.

`copy_to` takes a study from a laptop's file to a server that a group shares, and back; `storage/study_copy.py` copies it.
`migrate` makes a new study for another search space from the trials that fit it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from optimize.config.plan import Plan
from optimize.errors import StudyBusyError, StudyError
from optimize.reporting.files import write_views
from optimize.study.comparable import FINGERPRINT, describe_study, differences, fingerprint
from optimize.study.held import busy_line
from optimize.study.retarget import RetargetedTrials, origin_of, retarget
from optimize.study.stored import find_study
from optimize.text import amount, listed, meant
from storage import (
    Artifacts,
    Database,
    Files,
    Lease,
    LeaseHeldError,
    RunsPaths,
    StorageError,
    StudyPaths,
    acquire,
    add_trials,
    check_place,
    copy_files,
    copy_study,
    holder_of,
    open_database,
    read_whole_trials,
    refuse_results_of_another,
    remove_files,
)


@dataclass(frozen=True, slots=True)
class Place:
    """A database and the folder of its studies' files."""

    database: Database
    runs: Path

    def artifacts(self) -> Artifacts:
        """Return what the trials of all its studies left."""
        return Artifacts(RunsPaths(self.runs).artifacts, self.database)


def copy_to(source: Place, study: str | None, to: str, runs: Path | None, say: Callable[[str], None]) -> None:
    """Copy a study with everything it left, its replicates too, or nothing.

    Raises StudyBusyError while a driver runs it, StudyError if the target has a study of this name.
    """
    stored = find_study(source.database, study, source.runs)
    if runs is not None:
        check_place(RunsPaths(runs).artifacts)  # before a database is made
    with closing(open_database(to)) as database:
        database.retry.say = say
        target = Place(database, runs or (source.runs if database.path is None else database.path.parent))
        if database.find_study(stored.name) is not None:
            raise StudyError(
                f"study {stored.name}: {database.where} has a study of this name; nothing was copied. Delete that one, or "
                "copy to another database."
            )
        names, elsewhere = [stored.name, *stored.children()], target.runs.resolve() != source.runs.resolve()
        for name in names if elsewhere else ():
            refuse_results_of_another(StudyPaths.of(target.runs, name), database.where)
        for line in _copy(source, target, names):
            say(line)
        if elsewhere:
            _write_views(target, stored.name, say)


def _write_views(target: Place, name: str, say: Callable[[str], None]) -> None:
    try:
        write_views(find_study(target.database, name, target.runs))
    except StorageError as error:  # a view that fails must not undo the copy
        say(f"{error} (the copy is complete; {_export(target, name)} writes the tables again)")


def _export(target: Place, name: str) -> str:
    """Return the command that writes a copy's views."""
    url = target.database.where if target.database.path is None else f"sqlite:///{target.database.path}"
    return f"`optimize export --study {quote(name)} --storage {quote(url)} --runs {quote(str(target.runs))}`"


def _copy(source: Place, target: Place, names: Sequence[str]) -> list[str]:
    """Copy all of them in one transaction and hold their leases, so that a kill leaves a whole copy or none."""
    files: list[Files] = []
    with ExitStack() as stack:
        leases = [stack.enter_context(_held(source, name)) for name in names]

        def renew() -> None:
            for lease in filter(None, leases):
                lease.renew()

        def copied() -> list[int]:
            return [copy_study(source.database, target.database, name, renew) for name in names]

        try:
            for name in names:
                files.append(copy_files(source.artifacts(), target.artifacts(), name, renew))
            counts = target.database.together(copied, lambda _: target.database.find_study(names[0]) is not None)
        except BaseException:
            for each in files:
                remove_files(each.new)
            raise
    return [_line(target, *of) for of in zip(names, counts, files, strict=True)]


@contextmanager
def _held(source: Place, name: str) -> Iterator[Lease | None]:
    """Hold a study while it is copied; nobody can where it cannot be written."""
    study_id = source.database.find_study(name)
    assert study_id is not None
    if source.database.frozen:
        if (holder := holder_of(source.database, study_id)) is not None:
            raise StudyBusyError(
                f"study {name}: {holder} drives it, and a study that cannot be written is copied only when nobody does. "
                "Wait for its end, or take a bundle: `optimize export --bundle --to FILE.zip`"
            )
        yield None
        return
    try:
        lease = acquire(source.database, study_id, lock=StudyPaths.of(source.runs, name).lock)
    except LeaseHeldError as error:
        raise StudyBusyError(busy_line(name, error)) from None
    try:
        yield lease
    finally:
        lease.release()


def _line(target: Place, name: str, trials: int, files: Files) -> str:
    lacking = f"; {files.missing} had no file" if files.missing else ""
    artifacts = amount(len(files.new), "artifact")
    return f"study {name}: {amount(trials, 'trial')} copied to {target.database.where}, {artifacts} to {target.runs}{lacking}"


STATES = ("COMPLETE", "PRUNED", "FAIL", "WAITING")  # of trials that `migrate` takes


def migrate(old: str, plan: Plan, database: Database) -> Sequence[str]:
    """Create the plan's study with the trials of study `old`, in one transaction; return what was done, in lines.

    Raises StudyError, and changes nothing, if the trials are not comparable or none fits the search space.
    """
    new, metric = plan.settings.study, plan.workload.metric
    paths = StudyPaths(plan.settings.runs, new)  # raises StorageError if it is no name for a study
    with database.transaction():
        study_id = database.find_study(old)
        if study_id is None:
            names = database.study_names()
            raise StudyError(
                f"study {old}: there is no such study. There are: {listed(names) or 'none yet'}.{meant(old, names)}"
            )
        if database.find_study(new) is not None:
            raise StudyError(
                f"study {new}: exists already. Go on with it: `optimize run --study {quote(new)}`. "
                "Or choose another name with --to."
            )
        refuse_results_of_another(paths, database.where)
        attrs = database.study_attrs(study_id)
        _refuse_incomparable(old, differences(attrs, plan.workload, plan.space, plan.settings.written, None), new)
        taken = retarget(read_whole_trials(database, study_id), STATES, origin_of(old, attrs, plan), plan)
        if not taken.trials:
            why = taken.why_not or "it has no trial"
            raise StudyError(f"study {old}: none of its trials fits {plan.space.path}: {why}. Nothing was moved.")
        parts = fingerprint(plan.workload, plan.space, plan.settings.constants, attrs[FINGERPRINT].get("data", ""))
        about = describe_study(plan, parts)
        add_trials(database, database.create_study(new, metric.direction, metric.name, about), taken.trials)
    return _lines(old, new, taken)


def _refuse_incomparable(old: str, differing: Sequence[str], new: str) -> None:
    if differing:
        raise StudyError(
            f"study {old}: {'; '.join(differing)}: its values would not be comparable. Restore what it had, or start "
            f"from its best trials: `optimize run --study {quote(new)} --from {quote(old)}`"
        )


def _lines(old: str, new: str, taken: RetargetedTrials) -> list[str]:
    waiting = len(taken.trials) - taken.finished
    lines = [f"study {new}: {taken.finished} finished trials of study {old}, which stays as it is"]
    if waiting:
        lines.append(f"study {new}: {waiting} more are queued as they were")
    if taken.left_out:
        lines.append(f"study {new}: left out: {taken.why_not}")
    return lines
