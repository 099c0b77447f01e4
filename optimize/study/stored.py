"""A study as the database has it, for status, show, export, stop and clean. Nothing here drives it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from optimize.confirm.replicates import REPEAT
from optimize.confirm.verdict import Verdict, verdict_of
from optimize.errors import StudyError
from optimize.search import StoredSpace, stored_space
from optimize.study.best import BestTrial, Repeated, find_best, numbers_repeated, why_no_best
from optimize.study.comparable import ABOUT
from optimize.study.held import request_stop
from optimize.study.left_files import PATCH, BaselineFiles, to_take_away
from optimize.text import listed, meant
from optimize.trial import BASELINE, Metric
from storage import (
    Artifacts,
    Database,
    StorageError,
    Stored,
    StudyPaths,
    TrialRecord,
    count_done,
    count_objectives,
    first_baseline,
    holder_of,
    is_there,
    newest_trials,
    open_database,
    parent_of,
    ranked_records,
    read_choices,
    read_records,
    record_of,
    replace_folder,
    replicates_of,
)


@dataclass(frozen=True, slots=True)
class Overview:
    """One line about a study; `counts` has the number of trials by state."""

    name: str
    counts: Mapping[str, int]
    best: BestTrial | None
    driver: str  # the process that drives it now, "" if there is none
    no_best: str = ""  # why it can have no best trial


@dataclass(frozen=True, slots=True)
class StoredStudy:
    """Everything that is kept of one study."""

    name: str
    metric: Metric
    baseline: Mapping[str, object]  # as stored: tuples are text
    paths: StudyPaths
    database: Database
    study_id: int
    no_best: str = ""  # why it can have no best trial

    def records(self) -> list[TrialRecord]:
        """Return every trial, the running ones included, by number."""
        return read_records(self.database, self.study_id)

    def choices(self) -> dict[str, tuple[Stored, ...]]:
        """Return every parameter with its choices in the search space's order, tuples as text; () for a range."""
        return read_choices(self.database, self.study_id)

    def latest(self, count: int) -> list[TrialRecord]:
        """Return the newest trials, by number; no other is read."""
        return [record_of(trial) for trial in self.database.latest_trials(self.study_id, count)]

    def verdict(self) -> Verdict | None:
        """Return the verdict of the last confirmation; None if there is none."""
        return verdict_of(self.database.study_attrs(self.study_id))

    def best(self, records: Sequence[TrialRecord] | None = None) -> BestTrial | None:
        """Return the best trial of these records, and how sure that is. A study of replicates has none.

        Without records, no more are read than it takes.
        """
        if parent_of(self.name):
            return None
        attrs = self.database.study_attrs(self.study_id)
        verdict, space = verdict_of(attrs), stored_space(attrs)
        among = list(self._leaders(verdict, space)) if records is None else records
        return find_best(among, self.metric.direction, verdict, space)

    def children(self) -> list[str]:
        """Return the names of the studies that hold its replicates."""
        return [name for name in self.database.study_names() if parent_of(name) == self.name]

    def record(self, number: int) -> TrialRecord:
        """Return a trial by its number. Raises StudyError if there is no such trial."""
        trial = (
            self.database.find_trial(self.study_id, number) if 0 <= number < 2**31 else None
        )  # what databases can ask for
        if trial is None:
            lists = f"`optimize status --study {quote(self.name)}` lists those there are"
            raise StudyError(f"study {self.name}: there is no trial {number}. {lists}.")
        return record_of(trial)

    def count(self) -> int:
        """Return how many trials there are, in whatever state."""
        return sum(self.database.counts(self.study_id).values())

    def texts(self, record: TrialRecord) -> dict[str, str]:
        """Return the artifacts of a trial as text, by file name, its patches as `left_files.py` says.

        A complete trial that left no script, because another program told it, gets those that it would have left.
        """
        found, baseline = self._left(record), self.baseline_files()
        if PATCH in found or record.value is None or record.kind:
            return baseline.patched(found)
        about = self.database.study_attrs(self.study_id).get(ABOUT)
        script = str(about.get("script", "train.py")) if isinstance(about, dict) else "train.py"
        return {**baseline.render(record, script), **found}

    def baseline_files(self) -> BaselineFiles:
        """Return what the baseline has left."""
        baseline = first_baseline(self.database, self.study_id)
        with suppress(StorageError):  # a study that was copied without its artifacts
            return BaselineFiles(baseline, self._left(baseline) if baseline else {})
        return BaselineFiles(baseline)

    def _left(self, record: TrialRecord) -> dict[str, str]:
        artifacts = self.artifacts()
        return {name: artifacts.read(record.trial_id, name) for name in artifacts.names(record.trial_id)}

    def is_driven(self) -> bool:
        return holder_of(self.database, self.study_id) is not None

    def export_trial(self, number: int, to: Path) -> Sequence[Path]:
        """Write the artifacts of a trial, scripts included, to a new folder. Raises StudyError if that exists."""
        record = self.record(number)
        texts = to_take_away(self.texts(record), record)
        if to.exists():
            raise StudyError(f"{to}: exists already. Name a folder that does not; nothing was written.")
        replace_folder(to, texts)  # which refuses names that would leave the folder
        return [to / name for name in texts]

    def request_stop(self, now: bool) -> str:
        """Ask the driver to stop; return a line about it. Raises StudyError if no process drives the study."""
        holder = holder_of(self.database, self.study_id)
        if holder is None:
            raise StudyError(f"study {self.name}: no process drives it. There is nothing to stop.")
        request_stop(self.database, self.study_id, holder, "now" if now else "after")
        how = "its running trials are cancelled and queued again" if now else "it ends after its running trials"
        return f"study {self.name}: {holder} was asked to stop; {how}"

    def delete(self) -> str:
        """Delete trials, artifacts and files; return what had to stay. Raises StudyError while a process drives the study."""
        children = self.children()
        for name in (*children, self.name):
            study_id = self.database.find_study(name)
            holder = holder_of(self.database, study_id) if study_id is not None else None
            if holder is not None:
                raise StudyError(
                    f"study {name}: {holder} drives it. Stop it first: `optimize stop --study {quote(name)}`"
                )
        artifacts = self.artifacts()
        shutil.rmtree(self.paths.folder, ignore_errors=True)  # first: killed after it, the same call again goes on
        for name in (*children, self.name):
            artifacts.delete_study(name)
        others = ", ".join(artifacts.other_users())
        return f", but for the files in {artifacts.folder}, which {others} may need" if others else ""

    def _leaders(self, verdict: Verdict | None, space: StoredSpace) -> Iterator[TrialRecord]:
        """Yield the repeated trials, the baseline, and the best by value up to the first whole one that is none of these."""
        found = (self.database.find_trial(self.study_id, number) for number in sorted(numbers_repeated(verdict)))
        known = [record_of(trial) for trial in found if trial is not None]
        known += filter(None, [first_baseline(self.database, self.study_id)])
        repeated = Repeated(known, verdict)
        yield from known
        for record in ranked_records(self.database, self.study_id):
            yield record
            if not repeated.has(record) and not space.why_not(record):
                return

    def finished(self) -> list[TrialRecord]:
        """Return every trial that has ended, by number."""
        return [record for record in self.records() if record.is_finished]

    def artifacts(self) -> Artifacts:
        """Return the artifacts of its trials."""
        return Artifacts(self.paths.artifacts, self.database)


def find_study(database: Database, name: str | None, runs: Path) -> StoredStudy:
    """Return the named study, or the only one, replicates aside. Raises StudyError that names those there are."""
    names = main_studies(database)
    if name is None and len(names) == 1:
        name = names[0]
    study_id = database.find_study(name) if name is not None else None
    if name is None or study_id is None:
        what = f"study {name}: there is no such study." if name else "--study: which one?"
        if not names:
            begin = f"`optimize run --study {quote(name)}`" if name else "`optimize run`"
            raise StudyError(f"{what} {database.where} holds no study yet. Begin one: {begin}")
        raise StudyError(f"{what} There are {listed(names)}.{meant(name or '', names)}")
    told = database.study_attrs(study_id).get(BASELINE)
    baseline = told if isinstance(told, dict) else {}  # another program's may be anything
    metric = Metric(*database.objective(study_id))
    no_best = why_no_best(count_objectives(database, study_id))
    return StoredStudy(name, metric, baseline, StudyPaths.of(runs, name), database, study_id, no_best)


def present_study(database: Database, driven: bool = False) -> tuple[str | None, str]:
    """Return the study of several that a command without --study is about, and a line that says which: the one that
    runs, else the latest. None where there are not several.

    `driven`: only one that runs will do. Raises StudyError where none does, or more than one.
    """
    names = main_studies(database)
    if len(names) < 2:
        return None, ""
    running = [name for name in names if _is_driven(database, name)]
    if driven and len(running) != 1:
        many = f"--study: which one? There are several that run: {listed(running)}."
        raise StudyError(
            many if running else f"none of the studies {listed(names)} is running. There is nothing to stop."
        )
    newest = newest_trials(database)
    ages = {name: max(newest[each] for each in newest if name in (each, parent_of(each))) for name in names}
    name = max(running or names, key=lambda each: ages[each])
    return name, f"study {name}, {'which runs' if running else 'the latest'} of {len(names)}; --study names another"


def _is_driven(database: Database, name: str) -> bool:
    study_id = database.find_study(name)
    return study_id is not None and holder_of(database, study_id) is not None


def done_so_far(where: Path | str, name: str) -> int:
    """Return how many trainings count against a limit of trials already, repeats included; 0 where there is no such study."""
    if not is_there(where):
        return 0
    with suppress(StorageError), closing(open_database(where, create=False, check=False, read_only=True)) as database:
        study_id, child = database.find_study(name), database.find_study(replicates_of(name))
        repeats = 0 if child is None else count_done(database, child, REPEAT)
        return repeats + (0 if study_id is None else count_done(database, study_id))
    return 0  # a server without tables yet


def main_studies(database: Database) -> list[str]:
    """Return the names of all studies but those that hold replicates of another one."""
    return [name for name in database.study_names() if not parent_of(name)]


def overview(database: Database, runs: Path) -> list[Overview]:
    """Return a line for each study; studies of replicates are left out."""
    lines = []
    for name in sorted(main_studies(database)):
        stored = find_study(database, name, runs)
        holder = holder_of(database, stored.study_id)
        driver = str(holder) if holder else ""
        lines.append(Overview(name, database.counts(stored.study_id), stored.best(), driver, stored.no_best))
    return lines
