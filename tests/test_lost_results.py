"""Finished trials that the tables hold and the database lacks: nothing writes over them, and there are two ways out."""

from __future__ import annotations

import csv
import io
import re
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from rich.console import Console

from optimize.cli import run as command
from optimize.errors import SettingsError
from optimize.reporting.files import write_views
from optimize.session.run import run_study
from optimize.session.session import Caller
from optimize.study.stored import find_study
from optimize.transfer.copy import Place, copy_to
from optimize.transfer.repair import repair
from optimize.trial import Outcome, Slot, TrialStatus
from storage import Database, StorageError, StudyPaths, open_database
from tests.conftest import Driver, complete
from tests.databases import empty_database
from tests.imports import bring, written
from tests.test_earlier_release import folder as folder
from tests.test_earlier_release import opened

TABLES = ("results.tsv", "trials.csv")
VIEWS = (*TABLES, "best/train.py")


@pytest.fixture
def older(driver: Driver) -> Driver:
    """A study of five trials whose database is the copy that was made after three."""
    driver.run(trials=3)
    copy = driver.folder / "older.db"
    kept(driver.paths.database, copy)
    driver.run(trials=5)
    views(driver)
    kept(driver.paths.database, driver.folder / "newer.db")
    shutil.copyfile(copy, driver.paths.database)
    return driver


def kept(path: Path, to: Path) -> None:
    with closing(open_database(path)) as database:
        database.backup(to)


def views(driver: Driver, set_aside: bool = False) -> None:
    with driver.database() as database:
        write_views(find_study(database, "s", driver.paths.root), driver.said.append, set_aside)


def left(driver: Driver, suffix: str = "") -> dict[str, bytes]:
    """The views, or those that were set aside."""
    found = {}
    for name in VIEWS:
        first, _, rest = name.partition("/")
        found[name] = (driver.paths.folder / f"{first}{suffix}" / rest).read_bytes()
    return found


def run(driver: Driver, trials: int, set_aside: bool = False) -> list[str]:
    """One call of `optimize run`, whose trials take no time; what it said."""
    from optimize.executors.simulated import SimulatedExecutor

    said: list[str] = []
    driver.set(trials=trials)
    caller = Caller(
        Console(file=io.StringIO()), said.append, set_aside=set_aside,
        executor=lambda slots: SimulatedExecutor(complete, len(slots)), data=driver.data,
    )  # fmt: skip
    run_study(driver.plan, (Slot("a"),), caller)
    return said


def numbers(driver: Driver, name: str = "trials.csv") -> list[int]:
    rows = csv.DictReader((driver.paths.folder / name).read_text().splitlines())
    return [int(row["number"]) for row in rows]


def test_a_start_on_an_older_copy_stops_once_and_writes_nothing(older: Driver) -> None:
    before, database = left(older), older.paths.database.read_bytes()
    for _ in range(2):
        with pytest.raises(StorageError) as caught:
            run(older, 9)
        said = str(caught.value)
        assert said.startswith(f"{older.paths.folder}: its tables hold 2 finished trials that study s in ")
        assert "such as trial 4, val_bpb 1." in said
        assert "or a backup (`optimize restore BACKUP --runs NEW`)" in said
        assert "keep these tables as results.tsv.lost-1: `optimize ... --set-aside`" in said
        assert "\n" not in said
    assert left(older) == before
    assert len(database) == older.paths.database.stat().st_size


def test_the_flag_keeps_the_old_tables_and_goes_on(older: Driver) -> None:
    before = left(older)
    line = next(line for line in run(older, 6, set_aside=True) if "set aside" in line)
    assert line.startswith(f"{older.paths.folder}: set aside as results.tsv.lost-1, trials.csv.lost-1, best.lost-1")
    assert left(older, ".lost-1") == before
    assert numbers(older) == [*range(6)]
    assert not any("set aside" in line for line in run(older, 7, set_aside=True))
    assert not list(older.paths.folder.glob("*.lost-2"))


def test_what_was_set_aside_before_stays_when_it_happens_again(older: Driver) -> None:
    first = left(older)
    run(older, 6, set_aside=True)
    second = left(older)
    shutil.copyfile(older.folder / "older.db", older.paths.database)
    with pytest.raises(StorageError, match=r"results\.tsv\.lost-2"):
        run(older, 9)
    run(older, 4, set_aside=True)
    assert (left(older, ".lost-1"), left(older, ".lost-2")) == (first, second)
    assert numbers(older) == [*range(4)]


def test_the_right_database_put_back_goes_on_without_a_word(older: Driver) -> None:
    shutil.copyfile(older.folder / "newer.db", older.paths.database)
    assert not any("lacks" in line for line in run(older, 6))
    assert numbers(older) == [*range(6)]


def test_a_copy_under_runs_that_has_the_trials_is_named(older: Driver) -> None:
    place = older.paths.root / "kept" / "optuna.db"
    place.parent.mkdir()
    shutil.copyfile(older.folder / "older.db", older.paths.root / "optuna.db.old")
    shutil.copyfile(older.folder / "newer.db", place)
    with pytest.raises(StorageError) as caught:
        run(older, 9)
    assert f"Put the right database back ({place} has more of them)" in str(caught.value)


def test_another_studys_database_of_the_same_name_is_told(driver: Driver) -> None:
    driver.run(trials=4)
    views(driver)
    elsewhere = driver.settings.runs.with_name("elsewhere")
    mine, here = driver.paths.database, driver.settings.runs
    driver.set(runs=elsewhere, seed=7)
    driver.run(lambda job: Outcome(TrialStatus.COMPLETE, 1.0, summary={"val_bpb": 7.0 + job.number}), trials=6)
    shutil.copyfile(driver.paths.database, mine)
    driver.set(runs=here)
    with pytest.raises(StorageError, match="its tables hold 4 finished trials"):
        run(driver, 9)


LOSSES: dict[str, Callable[[Path], object]] = {
    "removed": Path.unlink,
    "emptied": lambda path: path.write_bytes(b""),
    "another": lambda path: (path.unlink(), empty_database(path.parent)),
}


@pytest.mark.parametrize("lose", LOSSES.values(), ids=LOSSES)
def test_a_study_whose_database_is_gone_begins_anew_beside_what_is_left(
    driver: Driver, lose: Callable[[Path], object]
) -> None:
    driver.run(trials=3)
    views(driver)
    before = left(driver)
    lose(driver.paths.database)
    with pytest.raises(
        StorageError, match=r"holds results of a study .* as results\.tsv\.lost-1: `optimize \.\.\. --set-aside`"
    ):
        run(driver, 4)
    assert left(driver) == before
    run(driver, 4, set_aside=True)
    assert left(driver, ".lost-1") == before
    assert numbers(driver) == [*range(4)]


def test_every_other_writer_of_the_tables_stops_too(older: Driver) -> None:
    before, words = left(older), ["--study", "s", "--runs", str(older.paths.root)]
    with pytest.raises(StorageError, match="its tables hold 2"):
        views(older)
    assert command(["export", *words]) == 2
    with pytest.raises(StorageError, match="its tables hold 2"):
        repair(older.plan, older.said.append)
    assert left(older) == before
    assert command(["status", *words]) == 0
    assert command(["export", *words, "--set-aside"]) == 0
    assert left(older, ".lost-1") == before
    assert numbers(older) == [*range(3)]


def test_a_copy_or_an_import_into_a_folder_with_such_tables_is_refused(older: Driver) -> None:
    there = older.folder / "there"
    shutil.copytree(older.paths.folder, there / "s")
    before = (there / "s" / "results.tsv").read_bytes()
    with older.database() as database, pytest.raises(StorageError, match="move this folder away"):
        copy_to(Place(database, older.paths.root), "s", str(there / "optuna.db"), there, older.said.append)
    rows = written(older.folder, "r.tsv", "commit\tval_bpb\tmemory_gb\tstatus\tdescription\na1\t1.0\t1\tkeep\tX\n")
    shutil.copytree(there / "s", older.paths.root / "new")
    with pytest.raises(SettingsError, match="move this folder away"):
        bring(older.folder, rows, "new")
    assert (there / "s" / "results.tsv").read_bytes() == before


def test_a_repair_keeps_the_files_of_trials_that_only_tables_know(older: Driver) -> None:
    there = set(older.paths.artifacts.iterdir())
    repair(older.plan, older.said.append, set_aside=True)
    assert set(older.paths.artifacts.iterdir()) >= there
    assert any("no file is removed, because tables that were set aside" in line for line in older.said)


# --- what people may do -----------------------------------------------------------------------------------------------


def edit(driver: Driver, name: str, change: Callable[[str], str]) -> None:
    path = driver.paths.folder / name
    text = change(path.read_text())
    path.write_text(text)


def as_a_spreadsheet(text: str) -> str:
    """Values to four decimals, a byte order mark, other line ends, every cell quoted."""
    table = [*csv.reader(text.splitlines())]
    for row in table[1:]:
        row[5] = f"{float(row[5]):.4f}" if row[5] else ""
    file = io.StringIO()
    csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\r\n").writerows(table)
    return "\ufeff" + file.getvalue()


def described_anew(text: str) -> str:
    head, *rows = text.splitlines()
    return "\n".join([head, *(row.rpartition("\t")[0] + "\tmy words" for row in rows), ""])


def with_remarks(text: str) -> str:
    return text + "# trial 3 looks odd\n\nsee the log\t\t\n\t\t\t\tasked on Monday\n"


def without_decimals(text: str) -> str:
    return re.sub(r"(?m)^((?:[^,]*,){5})([\d.]+)", lambda found: f"{found[1]}{float(found[2]):.0f}", text)


def to_one_decimal(text: str) -> str:
    return re.sub(r"(?m)^(\w{7}\t)([\d.]+)", lambda found: f"{found[1]}{float(found[2]):.1f}", text)


EDITS: dict[str, Callable[[Driver], object]] = {
    "nothing": lambda driver: None,
    "remarks": lambda driver: [edit(driver, name, with_remarks) for name in TABLES],
    "other descriptions": lambda driver: edit(driver, "results.tsv", described_anew),
    "descriptions that are cut": lambda driver: edit(driver, "results.tsv", lambda text: text.replace(" -> ", "")),
    "sorted": lambda driver: edit(driver, "results.tsv", lambda text: "\n".join(sorted(text.splitlines())) + "\n"),
    "a spreadsheet": lambda driver: edit(driver, "trials.csv", as_a_spreadsheet),
    "values without decimals": lambda driver: edit(driver, "trials.csv", without_decimals),
    "values to one decimal": lambda driver: edit(driver, "results.tsv", to_one_decimal),
    "rows taken out": lambda driver: edit(driver, "results.tsv", lambda text: "".join(text.splitlines(True)[:3])),
    "one table removed": lambda driver: (driver.paths.folder / "trials.csv").unlink(),
    "both removed": lambda driver: [(driver.paths.folder / name).unlink() for name in TABLES],
    "another file by the name": lambda driver: (driver.paths.folder / "trials.csv").write_bytes(b"\x00\xff\n1,2\n"),
    "the folder removed": lambda driver: shutil.rmtree(driver.paths.folder),
    "a folder of the day before": lambda driver: edit(
        driver, "trials.csv", lambda text: text[: text.rindex("\n4,") + 1]
    ),
    "another runs folder": lambda driver: moved(driver),
}


def test_a_number_of_any_length_in_a_table_is_a_trial_that_is_lost(driver: Driver) -> None:
    driver.run(trials=3)
    views(driver)
    edit(driver, "trials.csv", lambda text: re.sub(r"(?m)^1,", "0001,", text).replace("\n2,", f"\n{'9' * 5000},"))
    with pytest.raises(StorageError, match=r"hold 1 finished trial that study s .* such as trial 9999") as caught:
        run(driver, 4)
    assert len(str(caught.value)) < 1000


def moved(driver: Driver) -> None:
    driver.paths.root.rename(driver.folder / "moved")
    driver.set(runs=driver.folder / "moved")


@pytest.mark.parametrize("change", EDITS.values(), ids=EDITS)
def test_who_edits_or_removes_a_table_is_not_stopped(driver: Driver, change: Callable[[Driver], object]) -> None:
    driver.run(some_fail, trials=5)
    views(driver)
    change(driver)
    run(driver, 6)
    assert not list(driver.paths.folder.glob("*.lost-*"))
    assert len(numbers(driver)) >= 6


def some_fail(job) -> Outcome:  # type: ignore[no-untyped-def]
    endings = {1: TrialStatus.CRASHED, 2: TrialStatus.OUT_OF_MEMORY}
    return Outcome(endings[job.number], 1.0, "it broke") if job.number in endings else complete(job)


def test_a_study_that_was_deleted_restored_or_renamed_is_not_stopped(driver: Driver) -> None:
    driver.run(trials=3)
    views(driver)
    backup, words = driver.folder / "backup", ["--runs", str(driver.paths.root)]
    assert command(["backup", str(backup), *words]) == 0
    assert command(["clean", "--study", "s", "--yes", *words]) == 0
    run(driver, 3)
    shutil.rmtree(driver.paths.root)
    assert command(["restore", str(backup), *words]) == 0
    run(driver, 4)
    assert command(["copy", "--study", "s", "--to", str(driver.folder / "there" / "optuna.db"), *words]) == 0
    driver.set(runs=driver.folder / "there")
    run(driver, 5)
    driver.set(study="another")
    run(driver, 3)


def test_a_table_that_lacks_what_another_machine_told_is_not_stopped(older: Driver) -> None:
    """The database of a group is ahead of the tables of each machine."""
    shutil.copyfile(older.folder / "older.db", older.paths.database)
    for name in TABLES:
        (older.paths.folder / name).unlink()
    views(older)
    shutil.copyfile(older.folder / "newer.db", older.paths.database)
    run(older, 6)
    assert numbers(older) == [*range(6)]


def test_a_study_of_an_earlier_release_is_not_stopped(folder: Path) -> None:
    for name in ("small", "small/confirm"):
        with opened(folder / "runs", name) as stored:
            write_views(stored)


def test_tables_are_read_before_the_records_so_that_a_driver_may_go_on_meanwhile(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver.run(trials=2)
    views(driver)
    trials = Database.trials

    def slowly(self: Database, study_id: int, states: object = None) -> object:
        found = trials(self, study_id)
        path = StudyPaths(driver.paths.root, "s").trials_csv
        rows = path.read_text().splitlines(True)
        path.write_text("".join([*rows, "7" + rows[-1][1:]]))  # a driver has told one more trial
        return found

    monkeypatch.setattr(Database, "trials", slowly)
    views(driver)
