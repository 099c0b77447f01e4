"""What a confirmation leaves, however it ends: views of what is known, nothing over another driver's, nothing broken."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from rich.console import Console

from optimize.cli import run
from optimize.commands.run import _can_be_confirmed, _children
from optimize.session.run import reporting
from optimize.session.session import Caller, open_session
from optimize.study.stored import StoredStudy, find_study
from optimize.transfer.repair import repair
from optimize.trial import Job, Outcome, Slot, TrialStatus
from storage import LeaseLostError, StudyPaths, write_text
from storage.locks import this_process
from storage.sql import LEASES
from tests.conftest import Driver
from tests.finished import scalars
from tests.replicating import Killed, Trainings, best, confirm, jobs_of, ranked, records, verdict
from tests.test_lease import pretend


@contextmanager
def opened(driver: Driver, study: str = "s") -> Iterator[StoredStudy]:
    with driver.database() as database:
        yield find_study(database, study, driver.settings.runs)


def on_other_text(job: Job) -> bool:
    """Whether this is one of the last trainings, which come when the verdict is known."""
    return job.params["VAL_SPLIT"] == 1


def test_a_confirmation_that_breaks_off_leaves_its_verdict_in_best_and_hides_no_error(night: Driver) -> None:
    def dies(job: Job) -> Outcome | None:
        if on_other_text(job):
            raise Killed
        return None

    with pytest.raises(Killed):
        confirm(night, Trainings(dies))
    found = verdict(night)
    assert found is not None
    assert found.winner is not None
    assert (best(night)["trial"], best(night)["confirmed"]) == (found.winner.number, True)
    assert "confirmed" in (night.paths.folder / "best" / "summary.toml").read_text()
    child = StudyPaths(night.settings.runs, "s/confirm")
    assert len(child.results_tsv.read_text().splitlines()) > 4


def test_views_that_cannot_be_written_hide_no_other_error(night: Driver) -> None:
    def dies(job: Job) -> Outcome | None:
        if on_other_text(job):
            for path in night.paths.artifacts.iterdir():
                path.unlink()
            raise Killed
        return None

    with pytest.raises(Killed):
        confirm(night, Trainings(dies))
    assert any("the verdict is kept" in line for line in night.said)


@pytest.mark.parametrize("lost", ["s", "s/confirm"])
def test_a_confirmation_that_has_lost_its_study_writes_nothing_over_the_other_drivers_files(
    night: Driver, lost: str
) -> None:
    paths = StudyPaths(night.settings.runs, lost)

    def taken_over(job: Job) -> Outcome | None:
        if on_other_text(job):
            with opened(night, lost) as stored:
                pretend(stored.database, this_process(0.0), stored.study_id)
                stored.database.set_study_attr(stored.study_id, "theirs", 1)
            write_text(paths.results_tsv, "theirs")
            night.paths.best.mkdir(exist_ok=True)
            write_text(night.paths.best / "summary.toml", 'trial = "theirs"')
            raise LeaseLostError("another driver took this study over")
        return None

    with pytest.raises(LeaseLostError):
        confirm(night, Trainings(taken_over))
    assert paths.results_tsv.read_text() == "theirs"
    assert (best(night)["trial"] == "theirs") == (lost == "s")  # the other of the two is still its own


def test_a_driver_that_has_lost_its_study_writes_neither_files_nor_the_dashboards_notes(night: Driver) -> None:
    caller, slots = Caller(Console(file=io.StringIO()), night.said.append), (Slot("a"),)

    with night.open() as study, opened(night) as stored:
        write_text(night.paths.results_tsv, "theirs")
        before = notes(stored)
        with open_session(night.plan, caller) as session, reporting(session, caller, study, slots):
            pretend(stored.database, this_process(0.0), stored.study_id)
        assert night.paths.results_tsv.read_text() == "theirs"
        assert notes(stored) == before
        stored.database.write(lambda connection: connection.execute(LEASES.delete()))  # the other one has ended
    with night.open() as study, opened(night) as stored:  # who has the study writes both
        with open_session(night.plan, caller) as session, reporting(session, caller, study, slots):
            pass
        assert night.paths.results_tsv.read_text() != "theirs"
        assert notes(stored) != before


def notes(stored: StoredStudy) -> str:
    return json.dumps(stored.database.storage.get_study_system_attrs(stored.study_id), sort_keys=True)


def test_repair_mends_the_replicates_as_well(night: Driver) -> None:
    killed = Trainings()

    def dies(job: Job) -> Outcome | None:
        if killed.done == 3:
            raise Killed
        return None

    killed.ends = dies
    with pytest.raises(Killed):
        confirm(night, killed)
    child = StudyPaths(night.settings.runs, "s/confirm")
    child.results_tsv.unlink()
    assert [record.state for record in records(night, "s/confirm")].count("RUNNING") == 1
    repair(night.plan, night.said.append, _children(night.plan))
    after = [record.state for record in records(night, "s/confirm")]
    assert "RUNNING" not in after
    assert after.count("COMPLETE") == 3
    assert any(line.startswith("s/confirm: trial 3 was left by an earlier driver") for line in night.said)
    assert len(child.results_tsv.read_text().splitlines()) == 1 + 3 + 1
    whole = Trainings()
    assert confirm(night, whole).verdict is not None
    assert len(whole.jobs) + 3 == sum(record.state == "COMPLETE" for record in records(night, "s/confirm"))
    night.said.clear()
    repair(night.plan, night.said.append, _children(night.plan))
    assert night.said[-1] == "nothing was broken"


def test_repair_of_a_study_without_replicates_makes_none(driver: Driver) -> None:
    driver.run(trials=2)
    assert not _can_be_confirmed(driver.plan)  # no seed
    repair(driver.plan, driver.said.append, _children(driver.plan))
    with driver.database() as database:
        assert database.study_names() == ["s"]


def test_a_confirmation_says_what_it_was_called_with(night: Driver) -> None:
    confirm(night, Trainings(), finalists=2, seeds=4)
    told = json.loads(StudyPaths(night.settings.runs, "s/confirm").settings_json.read_text())
    assert (told["study"], told["finalists"], told["seeds"], told["scale"]) == ("s/confirm", 2, 4, None)
    assert told["origins"]["pruning"] == "optimize confirm"
    assert told["machine"]


@pytest.mark.slow
def test_replicates_are_logged_in_a_place_of_their_own(night: Driver) -> None:
    night.set(log=("tensorboard",))
    confirm(night, Trainings(), finalists=1, seeds=2)
    folder = StudyPaths(night.settings.runs, "s/confirm").tensorboard
    assert folder == night.paths.folder / "confirm" / "tensorboard"
    assert len(list(folder.iterdir())) == len(records(night, "s/confirm"))
    assert "val_bpb" in scalars(folder / "trial-0000")
    assert not night.paths.tensorboard.exists()  # nothing in it could be taken for the study's best
    assert confirm(night, Trainings(), finalists=1, seeds=2).verdict is not None  # again: nothing is written twice


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_mlflow_has_replicates_in_an_experiment_of_their_own(night: Driver, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    night.set(log=("mlflow",))
    confirm(night, Trainings(), finalists=1, seeds=2)
    client = MlflowClient(tracking_uri=f"sqlite:///{night.paths.mlflow}")
    assert client.get_experiment_by_name("s") is None
    experiment = client.get_experiment_by_name("s/confirm")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    assert len(runs) == len(records(night, "s/confirm"))
    assert {run.data.params["SEED"] for run in runs} == {"43", "44"}
    assert {run.data.tags.get("optimize.source") for run in runs} == {None, "the baseline", f"trial {ranked(night)[0]}"}


def test_a_finalist_that_fails_with_every_other_seed_is_not_the_best(night: Driver) -> None:
    first = ranked(night)[0]
    params = next(job.params for job in jobs_of(night) if job.number == first)

    def diverges(job: Job) -> Outcome | None:
        mine = all(job.params[name] == value for name, value in params.items())
        return Outcome(TrialStatus.DIVERGED, 1.0, "FAIL") if mine else None

    found = confirm(night, Trainings(diverges)).verdict
    assert found is not None
    assert found.winner is not None
    assert first not in {each.number for each in found.finalists}
    assert first in found.repeated
    assert (best(night)["trial"], best(night)["confirmed"]) == (found.winner.number, True)


NOTHING_TO_SEARCH = [
    ["--trials", "3"], ["--seed", "3"], ["--sampler", "tpe"], ["--from", "t"], ["--no-starts"], ["--no-pruning"],
    ["--advisor", "m"], ["--advisor-share", "0.5"],
]  # fmt: skip


@pytest.mark.parametrize("words", NOTHING_TO_SEARCH, ids=lambda words: words[0])
def test_confirm_refuses_flags_of_a_search(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["confirm", *words]) == 2
    assert f"No such option: {words[0]}" in capsys.readouterr().err
