"""What the tests of starts, sources and migration share: looking at a driver's studies, and at what must not change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from optimize.trial import Outcome, TrialStatus
from storage import TrialRecord, read_records
from tests.conftest import Driver, complete


def run_with_endings(driver: Driver, trials: int, endings: Mapping[int, TrialStatus]) -> None:
    """Run a study whose trials are complete, but for those in `endings`."""
    with driver.open() as study:
        for number in range(trials):
            job = driver.job(study.ask())
            status = endings.get(number, TrialStatus.COMPLETE)
            study.tell(job, complete(job) if status is TrialStatus.COMPLETE else Outcome(status, 1.0, "because"))


def records(driver: Driver, study: str) -> list[TrialRecord]:
    with driver.database() as database:
        return read_records(database, database.find_study(study) or 0)


def studies(driver: Driver) -> list[str]:
    with driver.database() as database:
        return database.study_names()


def rewrite(driver: Driver, file: str, before: str, after: str) -> None:
    """Change a text in one of the driver's files."""
    path = driver.folder / file
    assert before in path.read_text()
    path.write_text(path.read_text().replace(before, after))


@contextmanager
def nothing_changes(driver: Driver) -> Iterator[None]:
    """The database's bytes and the names of all that studies left are the same afterwards."""
    before = _everything(driver)
    yield
    assert _everything(driver) == before


def _everything(driver: Driver) -> tuple[bytes, list[str]]:
    database = driver.paths.database
    return database.read_bytes() if database.exists() else b"", sorted(map(str, driver.paths.root.rglob("*")))
