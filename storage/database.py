"""Opens the database of all studies, and keeps each trial in it whole whatever dies when. Optuna reads what is written.

Each method is one transaction, waits for locks, and fails only with a StorageError of one line. What a status or a
sampler is, is not known here: `records.py` writes and reads the meaning. One process writes a study (`lease.py`), all
read.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import optuna
import sqlalchemy
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from storage import sql
from storage.driver_errors import FOREIGN, explain, stored_json
from storage.errors import StorageError
from storage.local_times import local_times_notice
from storage.open_file import OpenFile
from storage.postgres import open_server
from storage.reader import KnownTrials, read_trials
from storage.revision import NewerTables, check_revision
from storage.sql import Created, OtherChoicesError, Stored
from storage.sqlite import OpenedStorage, check_pages, open_sqlite
from storage.sqlite_copies import copy_online
from storage.transactions import READING, RETRY_S, SERVER_RETRY_S, RetryPolicy, Transactions
from storage.url import Address, parse_address
from storage.wal import write_id_again

T = TypeVar("T")

Json = Mapping[str, Any]
"""Attributes by name; values of JSON. The one `Any` at this boundary: JSON has no better type."""

Finished = Literal["COMPLETE", "PRUNED", "FAIL"]
Unfinished = Literal["RUNNING", "WAITING"]

_METRIC_NAMES = "study:metric_names"  # what Study.set_metric_names, still experimental, writes
_OPEN = (TrialState.RUNNING, TrialState.WAITING)
_IS_GONE = "was deleted: in the dashboard, or with an older copy in its place. Start again to go on with what is there"


def open_database(
    where: Path | str, *, create: bool = True, check: bool = True, retry_s: float | None = None, read_only: bool = False
) -> Database:
    """Open the database at a path (SQLite) or a URL; `check` reads every page of a SQLite file for damage.

    `retry_s` is how long a lock or a lost server is waited for later on; what cannot be opened is told at once.
    `read_only` opens what cannot be written too: tables of a newer Optuna, with a notice, and a file without the right to.
    Raises StorageError for what is no database of Optuna's, or one that this release cannot use.
    """
    address = parse_address(where)
    try:
        if address.path is not None:
            opened = open_sqlite(address, create=create, check=check, read_only=read_only)
        else:
            opened = OpenedStorage(open_server(address, create=create))
        newer = check_revision(opened.rdb, address.shown)
        told = local_times_notice(opened.rdb.engine, address.shown)
    except FOREIGN as error:
        raise explain(address, error) from None  # no traceback of a driver: it may hold the URL
    if newer is not None and not read_only:
        opened.rdb.close()
        raise StorageError(newer.refusal)
    usual_s = RETRY_S if address.path is not None else SERVER_RETRY_S
    retry = RetryPolicy(usual_s if retry_s is None else retry_s)
    return Database(replace(opened, notices=(*opened.notices, *told)), address, retry, newer)


class Database:
    """An open database; close it when done. `notices` are lines that the user should see once.

    `retry` says how long a lock or a lost server is waited for, and whom to tell. `read_only` is the line that says why
    nothing may be written; "" if all may. `frozen`: not even our own two tables can, such as a lease.
    """

    def __init__(
        self, opened: OpenedStorage, address: Address, retry: RetryPolicy, newer: NewerTables | None = None
    ) -> None:
        # for Optuna's own readers: the dashboard, load_study
        self.storage: BaseStorage = optuna.storages.get_storage(opened.rdb)
        self.where, self.path = address.shown, address.path
        self.notices = (*opened.notices, *([newer.warning] if newer else []))
        self.read_only, self.frozen = opened.not_writable or (newer.refusal if newer else ""), bool(opened.not_writable)
        self._rdb = rdb = opened.rdb
        self._known: dict[int, KnownTrials] = {}
        files = [] if address.path is None or self.frozen else [OpenFile(address.path)]
        self._transactions = Transactions(rdb.engine, address, retry, *(file.check for file in files))
        self.check = self._transactions.check  # raises StorageError if the file is not what was opened
        self.retry = retry

    def __repr__(self) -> str:
        return f"Database({self.where!r})"

    def close(self) -> None:
        """Close every connection."""
        self._rdb.close()

    def transaction(self) -> AbstractContextManager[sqlalchemy.Connection]:
        """Return a context in which all writing methods become durable together, or none of them."""
        return self._transactions.block()

    def together(self, work: Callable[[], T], stands: Callable[[T], bool], kind: str = "write") -> T:
        """Make the writing methods that `work` calls durable together, or none; all of `work` again after a lost
        connection. `stands` says whether a result is in the database, for where the answer to a commit was lost; it
        may call methods.
        """
        return self.write(lambda _: work(), kind=kind, stands=lambda _, result: stands(result))

    def write(
        self,
        work: Callable[[sqlalchemy.Connection], T],
        *,
        kind: str = "write",
        stands: Callable[[sqlalchemy.Connection, T], bool] | None = None,
        ours: bool = False,
    ) -> T:
        """Run `work` in one transaction, again while it only has to wait; for the SQL of this package.

        Raises StorageError if the database is `read_only`. `ours`: it writes our own two tables, which every release may.
        """
        if self.read_only and kind not in READING and (self.frozen or not ours):
            raise StorageError(self.read_only)
        return self._transactions.write(work, kind, stands=stands)

    def rows(self, query: sqlalchemy.Executable, **values: object) -> list[tuple[Any, ...]]:
        """Return the rows that a query finds, with `values` in the place of its parameters."""

        def reading(connection: sqlalchemy.Connection) -> list[tuple[Any, ...]]:
            return [tuple(row) for row in connection.execute(query, values)]

        return self.write(reading, kind="read")

    def now(self) -> float:
        """Return the seconds since 1970 by the clock that all users of this database share."""
        if self.path is not None:
            return time.time()
        ((now,),) = self.rows(sqlalchemy.text("SELECT EXTRACT(EPOCH FROM clock_timestamp())"))
        return float(now)

    # Studies

    def study_names(self) -> list[str]:
        """Return the names of all studies, in the order of their creation."""
        names = sqlalchemy.select(sql.STUDIES.c.study_name).order_by(sql.STUDIES.c.study_id)
        return [name for (name,) in self.rows(names)]

    def find_study(self, name: str) -> int | None:
        """Return the id of the study of this name; None if there is none."""
        found = self.rows(sqlalchemy.select(sql.STUDIES.c.study_id).where(sql.STUDIES.c.study_name == name))
        return found[0][0] if found else None

    def create_study(self, name: str, direction: str, metric_name: str, attrs: Json | None = None) -> int:
        """Create a study with all its attributes and return its id. Raises StorageError if there is one of this name."""

        def create(connection: sqlalchemy.Connection) -> int:
            study_id = sql.insert_study(connection, name, direction)
            sql.put_attrs(connection, sql.STUDY_SYSTEM_ATTRS, study_id, {_METRIC_NAMES: [metric_name]})
            sql.put_attrs(connection, sql.STUDY_ATTRS, study_id, attrs or {})
            return study_id

        try:
            return self.write(create, stands=lambda connection, made: sql.has_study(connection, made, name))
        except StorageError as error:
            if isinstance(error.__cause__, sqlalchemy.exc.IntegrityError):
                raise StorageError(f"{self.where}: study {name!r} exists. Resume it, or choose another name") from None
            raise

    def delete_study(self, name: str) -> None:
        """Remove a study and its trials; `Artifacts.delete_study` removes their files as well."""
        if (study_id := self.find_study(name)) is None:
            return

        def delete(connection: sqlalchemy.Connection) -> None:
            sql.delete_study(connection, study_id)
            write_id_again(connection)

        self._known.pop(study_id, None)
        self.write(delete)

    def objective(self, study_id: int) -> tuple[str, str]:
        """Return the metric's name and its direction, "minimize" or "maximize"."""
        direction = self._transactions.run(lambda: self.storage.get_study_directions(study_id))[0]
        table = sql.STUDY_SYSTEM_ATTRS.c  # one row of many: the notes of trials are among them
        query = sqlalchemy.select(table.value_json).where(table.study_id == study_id, table.key == _METRIC_NAMES)
        names = [name for (text,) in self.rows(query) for name in stored_json(text, self.where)] or ["value"]
        return str(names[0]), direction.name.lower()

    def study_attrs(self, study_id: int) -> dict[str, Any]:
        """Return our attributes of a study."""
        return self.write(lambda connection: sql.study_attrs(connection, study_id), kind="read")

    def set_study_attr(self, study_id: int, key: str, value: object) -> None:
        self.write(lambda connection: sql.put_attrs(connection, sql.STUDY_ATTRS, study_id, {key: value}))

    def name_objective(self, study_id: int, metric_name: str) -> None:
        names, table = {_METRIC_NAMES: [metric_name]}, sql.STUDY_SYSTEM_ATTRS
        self.write(lambda connection: sql.put_attrs(connection, table, study_id, names))

    # Trials

    def create_trial(
        self,
        study_id: int,
        *,
        state: Unfinished,
        params: Mapping[str, Stored],
        choices: Mapping[str, Sequence[Stored]],
        attrs: Json | None = None,
    ) -> Created:
        """Create a trial with all its parameters and attributes, or none: nobody ever sees a part of it."""

        def create(connection: sqlalchemy.Connection) -> Created:
            created = sql.insert_trial(connection, study_id, TrialState[state], params, choices)
            sql.put_attrs(connection, sql.TRIAL_ATTRS, created.trial_id, attrs or {})
            return created

        try:
            return self.write(create, stands=lambda connection, made: sql.has_trial(connection, study_id, made))
        except OtherChoicesError as error:
            raise StorageError(f"{self.where}: {error}: the study has other choices. Start a new study") from None

    def start_waiting(self, trial_id: int) -> bool:
        """Change the state WAITING into RUNNING; False if the trial did not wait any more."""
        waiting, running = [TrialState.WAITING], TrialState.RUNNING
        return self.write(
            lambda connection: sql.change_state(connection, trial_id, waiting, running),
            stands=lambda connection, started: started and sql.state_of(connection, trial_id) is running,
        )

    def set_trial_attrs(self, trial_id: int, attrs: Json) -> None:
        self._change(trial_id, lambda connection: sql.put_attrs(connection, sql.TRIAL_ATTRS, trial_id, attrs))

    def report(self, trial_id: int, step: int, value: float) -> None:
        """Add a point of the learning curve; only a power cut can lose it, together with its running trial."""
        point = (trial_id, step, value)
        self._change(trial_id, lambda connection: sql.put_curve_point(connection, *point), kind="light")

    def finish_trial(
        self,
        trial_id: int,
        state: Finished,
        value: float | None = None,
        *,
        attrs: Json | None = None,
        artifacts: Mapping[str, str] | None = None,
    ) -> bool:
        """Write attributes, artifacts' metadata, value and state at once; False if somebody else had finished it."""
        if (state == "COMPLETE") != (value is not None and math.isfinite(value)):
            raise ValueError(f"{state} with value {value}: a finite value belongs to COMPLETE, and only to it")

        def finish(connection: sqlalchemy.Connection) -> bool:
            if not sql.change_state(connection, trial_id, _OPEN, TrialState[state]):
                return False
            sql.put_attrs(connection, sql.TRIAL_ATTRS, trial_id, attrs or {})
            sql.put_attrs(connection, sql.TRIAL_SYSTEM_ATTRS, trial_id, artifacts or {})
            if value is not None:
                sql.put_value(connection, trial_id, value)
            return True

        # finished in just this way: the answer to a first attempt was lost
        return self.write(finish) or self._is_finished_so(trial_id, state, value, attrs or {})

    def trials(self, study_id: int) -> list[FrozenTrial]:
        """Return the trials by number. Finished ones are read once and shared between calls: do not change them."""
        known = self._known.setdefault(study_id, KnownTrials(study_id))
        return self.write(known.update, kind="read")

    def find_trial(self, study_id: int, number: int) -> FrozenTrial | None:
        """Return the trial of this number; None if there is none."""
        where = (sql.TRIALS.c.study_id == study_id) & (sql.TRIALS.c.number == number)
        found = self.write(lambda connection: read_trials(connection, where), kind="read")
        return found[0] if found else None

    def trial(self, trial_id: int) -> FrozenTrial:
        """Return a trial by the database's id, as quickly in a study of any size. Raises StorageError if it is gone."""
        found = self.write(lambda connection: read_trials(connection, sql.TRIALS.c.trial_id == trial_id), kind="read")
        if not found:
            raise StorageError(f"{self.where}: trial id {trial_id} {_IS_GONE}")
        return found[0]

    def best_trials(self, study_id: int, count: int, skip: int = 0) -> list[FrozenTrial]:
        """Return the best COMPLETE trials, the earliest of equals first, but for the first to `skip`; no others are loaded."""
        _, direction = self.objective(study_id)
        best_first = sql.best_first(study_id, direction).limit(count).offset(skip)
        return [self.trial(trial_id) for (trial_id,) in self.rows(best_first)]

    def latest_trials(self, study_id: int, count: int) -> list[FrozenTrial]:
        """Return the newest trials by number, without loading the others."""
        return self.write(lambda connection: read_trials(connection, sql.among_latest(study_id, count)), kind="read")

    def counts(self, study_id: int) -> dict[str, int]:
        """Return how many trials are in each state, without loading any."""
        found = {each.name: count for each, count in self.rows(sql.count_states(study_id))}
        return {each.name: found.get(each.name, 0) for each in TrialState}

    def system_attrs(self, trial_id: int) -> dict[str, Any]:
        """Return what Optuna and programs beside it keep of a trial, artifacts' metadata included, as it was written."""
        return {key: stored_json(text, self.where) for key, text in self.rows(sql.system_attrs_of(trial_id))}

    # Maintenance

    def backup(self, to: Path) -> None:
        """Copy a SQLite database consistently while studies go on. Raises StorageError for a server's."""
        if self.path is None:
            raise StorageError(f"{self.where}: a server's database is copied by its own tool. Use pg_dump")
        copy_online(self.path, to)

    def integrity_check(self) -> list[str]:
        """Return what is wrong inside the file, [] if nothing; a server looks after itself."""
        return [] if self.path is None else check_pages(self.path, "integrity_check")

    def _change(self, trial_id: int, work: Callable[[sqlalchemy.Connection], None], kind: str = "write") -> None:
        """Do `work` on a trial that is not finished: readers keep finished trials, so those never change."""

        def change(connection: sqlalchemy.Connection) -> None:
            if sql.state_of(connection, trial_id) not in _OPEN:
                raise StorageError(f"{self.where}: trial id {trial_id} is finished, or {_IS_GONE}")
            work(connection)

        self.write(change, kind=kind)

    def _is_finished_so(self, trial_id: int, state: str, value: float | None, attrs: Json) -> bool:
        found = self._transactions.run(lambda: self._rdb.get_trial(trial_id))
        return found.state.name == state and found.value == value and attrs.items() <= found.user_attrs.items()
