"""Beside a confirmation: which scripts can be confirmed, what is refused, and what others see of replicates."""

from __future__ import annotations

import io
import sqlite3
from contextlib import closing

import pytest
from rich.console import Console

from optimize.confirm.table import verdict_table
from optimize.errors import (
    NothingToConfirm,
    SettingsError,
    StudyBusyError,
    StudyError,
    StudyMismatchError,
    WorkloadError,
)
from optimize.reporting.files import write_views
from optimize.study.stored import find_study, main_studies, overview
from optimize.transfer.copy import Place, copy_to
from optimize.trial import Job, Outcome, TrialStatus
from storage import open_database
from tests.conftest import SCRIPT, SPACE, Driver
from tests.databases import empty_database, new_trial
from tests.replicating import SEEDED, Trainings, best, confirm, records


def test_too_few_trials_and_no_constants_are_a_line_each(driver: Driver) -> None:
    (driver.folder / "workload" / "train.py").write_text(SEEDED.replace("VAL_SPLIT = 0\nTIME_BUDGET = 100\n", ""))
    driver.run(Trainings(), trials=6)
    ended = confirm(driver, Trainings(), scale=2)
    assert ended.verdict is not None
    assert any("no constant VAL_SPLIT" in line for line in ended.verdict.lines)
    assert any("--scale: left out, the workload has no budget" in line for line in driver.said)
    (driver.folder / "workload" / "train.py").write_text(SEEDED)
    driver.set(study="t")
    driver.run(Trainings(), trials=6)
    confirm(driver, Trainings(), scale=2)
    assert any("an order needs 8" in line for line in driver.said)


def test_the_literal_seed_of_calls_is_written_where_there_is_no_constant(driver: Driver) -> None:
    text = SCRIPT.replace("import sys\n", "import random\nimport sys\nrandom.seed(42)\n")
    (driver.folder / "workload" / "train.py").write_text(text)
    driver.run(Trainings(), trials=5)
    jobs: list[Job] = []

    def run(job: Job) -> Outcome:
        jobs.append(job)
        seed = int(str(job.params["manual_seed"]))
        params = {name: job.params[name] for name in ("X", "Y", "PAIR")}
        return Outcome(TrialStatus.COMPLETE, 1.0, summary=Trainings().summary({**params, "SEED": seed}))

    assert confirm(driver, run, finalists=1).verdict is not None
    assert {
        job.files["train.py"].count(f"random.seed({seed})") for job in jobs for seed in (job.params["manual_seed"],)
    } == {1}
    assert {job.params["manual_seed"] for job in jobs} == {43, 44, 45}


def test_a_named_seed_constant_is_used(driver: Driver) -> None:
    (driver.folder / "workload" / "train.py").write_text(SEEDED.replace("SEED", "LUCK"))
    (driver.folder / "workload" / "workload.toml").write_text('seed = "LUCK"\n')
    driver.run(Trainings(), trials=5)
    seen: list[object] = []

    def run(job: Job) -> Outcome:
        seen.append(job.params["LUCK"])
        return Outcome(
            TrialStatus.COMPLETE, 1.0, summary=Trainings().summary({**job.params, "SEED": job.params["LUCK"]})
        )

    assert confirm(driver, run, finalists=1).verdict is not None
    assert set(seen) == {43, 44, 45}


@pytest.mark.parametrize(
    ("script", "says"),
    [
        (SCRIPT, "no seed: it has no constant SEED, no flag --seed and no manual_seed"),
        (SEEDED.replace("SEED = 42", "SEED = None"), "no seed"),
        (SCRIPT.replace("X = 4", "random.seed(1)\ntorch.manual_seed(2)\nX = 4"), "several seeds"),
    ],
)
def test_a_script_without_a_seed_is_one_line_before_anything(driver: Driver, script: str, says: str) -> None:
    (driver.folder / "workload" / "train.py").write_text(script)
    driver.run(Trainings(), trials=3)
    with pytest.raises(WorkloadError, match=says) as caught:
        confirm(driver, Trainings())
    assert len(caught.value.problems) == 1
    with driver.database() as database:
        assert database.study_names() == ["s"]


def test_a_seed_that_is_named_where_none_is_stops_the_search(driver: Driver) -> None:
    (driver.folder / "workload" / "train.py").write_text(SEEDED)
    (driver.folder / "workload" / "workload.toml").write_text('seed = "LUCK"')
    with pytest.raises(SettingsError, match=r"seed: .*LUCK: the script has no such constant"):
        driver.run(Trainings(), trials=3)


@pytest.mark.parametrize("named", ['"A.luck"', '{ field = "A.luck" }'])
def test_a_seed_may_be_named_as_a_search_space_names_a_place(driver: Driver, named: str) -> None:
    (driver.folder / "workload" / "train.py").write_text(f"{SCRIPT}class A:\n    luck = 1  # seed\n")
    (driver.folder / "workload" / "workload.toml").write_text(f"seed = {named}")
    assert driver.plan.seed() == ("seed", 1)


def test_a_seed_that_is_tuned_is_refused(driver: Driver) -> None:
    (driver.folder / "workload" / "train.py").write_text(SEEDED)
    (driver.folder / "space.toml").write_text(SPACE.replace("[parameters]", "[parameters]\nSEED = [42, 43]"))
    with pytest.raises(WorkloadError, match="the seed is a parameter"):
        confirm(driver, Trainings())


def test_nothing_better_than_the_baseline_is_one_line(night: Driver) -> None:
    night.set(study="flat")
    night.run(lambda job: Outcome(TrialStatus.COMPLETE, 1.0, summary={"val_bpb": 1.0}), trials=4)
    with pytest.raises(NothingToConfirm, match="nothing to confirm"):
        confirm(night, Trainings())
    night.set(study="none")
    with pytest.raises(StudyError, match="there is no such study"):
        confirm(night, Trainings())


def test_flags_that_make_no_sense_are_told_together(night: Driver) -> None:
    with pytest.raises(SettingsError) as caught:
        confirm(night, Trainings(), finalists=0, seeds=1, scale=11)
    assert len(caught.value.problems) == 3


def test_a_study_that_is_driven_is_refused_and_left_alone(night: Driver) -> None:
    with night.open(), pytest.raises(StudyBusyError):
        confirm(night, Trainings())
    with night.database() as database:
        assert database.study_names() == ["s"]


def test_a_study_cannot_be_driven_while_its_winners_are_confirmed(night: Driver) -> None:
    tried: list[str] = []

    def drive(job: Job) -> Outcome | None:
        if not tried:
            with pytest.raises(StudyBusyError) as caught, night.open():
                pass
            tried.append(str(caught.value))
        return None

    assert confirm(night, Trainings(drive)).verdict is not None
    assert tried


def test_other_data_or_scripts_are_refused(night: Driver) -> None:
    with pytest.raises(StudyMismatchError, match="data"):
        confirm(night, Trainings(), data="other")


def test_a_space_with_another_parameter_and_a_study_from_elsewhere_are_refused_in_one_line(night: Driver) -> None:
    space = night.folder / "space.toml"
    space.write_text(space.read_text().replace("[parameters]\n", "[parameters]\nSIZE = [8, 12]\n"))
    with pytest.raises(StudyMismatchError, match="choices or rules"):
        confirm(night, Trainings())
    with night.database() as database:
        empty = database.create_study("theirs", "minimize", "val_bpb", {})
        database.finish_trial(new_trial(database, empty), "COMPLETE", 1.0)
    night.set(study="theirs")
    with pytest.raises(StudyMismatchError, match="another program"):
        confirm(night, Trainings())


def test_a_trial_of_other_parameters_that_somebody_has_put_in_is_no_finalist(night: Driver) -> None:
    with night.database() as database:
        by_hand = new_trial(database, find_study(database, "s", night.settings.runs).study_id)
        database.finish_trial(by_hand, "COMPLETE", 0.0)
    found = confirm(night, Trainings()).verdict
    assert found is not None
    assert 10 not in {each.number for each in found.finalists}


def test_replicates_are_no_study_of_their_own_to_whoever_looks(night: Driver) -> None:
    confirm(night, Trainings())
    with night.database() as database:
        assert sorted(database.study_names()) == ["s", "s/confirm"]
        assert main_studies(database) == ["s"]
        assert [line.name for line in overview(database, night.settings.runs)] == ["s"]
        assert find_study(database, None, night.settings.runs).name == "s"
        child = find_study(database, "s/confirm", night.settings.runs)
        assert child.best() is None
        written = write_views(child)
        assert {path.name for path in written} == {"results.tsv", "trials.csv"}
        assert not child.paths.best.exists()
        find_study(database, "s", night.settings.runs).delete()
        assert database.study_names() == []


def test_a_copy_takes_replicates_and_verdict_along(night: Driver) -> None:
    found, to = confirm(night, Trainings()).verdict, night.folder / "elsewhere" / "optuna.db"
    to.parent.mkdir()
    with night.database() as database:
        copy_to(Place(database, night.settings.runs), "s", str(to), None, night.said.append)
    with closing(open_database(to)) as copy:
        assert sorted(copy.study_names()) == ["s", "s/confirm"]
        assert find_study(copy, "s", to.parent).verdict() == found
        assert find_study(copy, "s/confirm", to.parent).texts(find_study(copy, "s/confirm", to.parent).record(0))


def test_whoever_kills_a_copy_leaves_no_study_without_its_replicates(
    night: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    confirm(night, Trainings())
    to = empty_database(night.folder)
    seen: list[list[str]] = []

    def look() -> None:
        with closing(sqlite3.connect(to)) as stranger:
            seen.append([name for (name,) in stranger.execute("SELECT study_name FROM studies ORDER BY 1")])

    monkeypatch.setattr("storage.lease.Lease.renew", lambda lease: look())  # at every step of the way
    with night.database() as database:
        copy_to(Place(database, night.settings.runs), "s", str(to), None, night.said.append)
    assert [] in seen
    assert all(names == [] for names in seen)
    look()
    assert seen[-1] == ["s", "s/confirm"]


def test_the_sampler_never_sees_a_replicate(night: Driver) -> None:
    confirm(night, Trainings())
    told: list[int] = []

    def run(job: Job) -> Outcome:
        told.append(job.number)
        assert "SEED" not in job.params
        return Trainings()(job)

    night.run(run, trials=12)
    assert told == [10, 11]
    assert len(records(night, "s")) == 12


def test_a_later_and_better_trial_is_a_candidate_beside_the_winner(night: Driver) -> None:
    before = confirm(night, Trainings()).verdict
    assert before is not None
    assert before.winner is not None

    def better(job: Job) -> Outcome:
        return Outcome(TrialStatus.COMPLETE, 1.0, summary={"val_bpb": 0.5}, log="a log\n")

    night.run(better, trials=11)
    with night.database() as database:
        write_views(find_study(database, "s", night.settings.runs))
    assert best(night)["trial"] == before.winner.number
    assert best(night)["confirmed"] is True
    assert "trial 10, a candidate" in str(best(night)["beside"])
    ended = confirm(night, Trainings())
    assert ended.verdict is not None
    assert 10 in {each.number for each in ended.verdict.finalists}


def test_an_earlier_winner_stays_a_finalist_and_the_last_of_too_many_gives_way(
    night: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("optimize.confirm.replicates.MOST_FINALISTS", 2)
    before = confirm(night, Trainings(), finalists=2).verdict
    assert before is not None
    assert before.winner is not None
    values = {10: 0.5, 11: 0.6}
    night.run(lambda job: Outcome(TrialStatus.COMPLETE, 1.0, summary={"val_bpb": values[job.number]}), trials=12)
    after = confirm(night, Trainings(), finalists=2).verdict
    assert after is not None
    assert {each.number for each in after.finalists} == {10, before.winner.number}


def test_a_metric_that_is_to_grow_is_confirmed_the_same_way(driver: Driver) -> None:
    (driver.folder / "workload" / "train.py").write_text(SEEDED)
    (driver.folder / "workload" / "workload.toml").write_text('direction = "maximize"\n')
    driver.run(Trainings(), trials=10)
    ended = confirm(driver, Trainings(), finalists=1)
    assert ended.verdict is not None
    assert ended.verdict.finalists[0].gain > 0
    values = [record.value for record in records(driver, "s") if record.value is not None]
    assert records(driver, "s")[ended.verdict.finalists[0].number].value == max(values)


def test_doubts_are_said_beside_a_finalist(night: Driver) -> None:
    script = Trainings()

    def suspicious(job: Job) -> Outcome | None:
        if (job.params["X"], job.params["Y"]) == (4, 0.5):
            return None
        summary = {**script.summary(job.params), "training_seconds": 150.0, "epochs": 1.5, "dtype": "float16"}
        return Outcome(TrialStatus.COMPLETE, 1.0, summary=summary, device="another GPU")

    ended = confirm(night, Trainings(suspicious))
    assert ended.verdict is not None
    doubts = ended.verdict.finalists[0].doubts
    assert "saw its data 1.5 times" in doubts
    assert "training_seconds 150, its budget is 100" in doubts
    page = io.StringIO()
    Console(file=page, width=200).print(verdict_table(ended.verdict, night.plan.workload.metric))
    assert "but: saw its data 1.5 times" in page.getvalue()


def test_a_gain_that_is_bought_with_other_evaluation_tokens_is_doubted(driver: Driver) -> None:
    (driver.folder / "workload" / "train.py").write_text(SEEDED.replace("SIZE = 8", "SIZE = 8\nEVAL_TOKENS = 100"))
    (driver.folder / "space.toml").write_text(SPACE.replace("[parameters]", "[parameters]\nEVAL_TOKENS = [10, 100]"))
    driver.run(Trainings(), trials=10)
    cheap = {record.number for record in records(driver, "s") if record.params["EVAL_TOKENS"] == 10}
    ended = confirm(driver, Trainings(), finalists=5)
    assert ended.verdict is not None
    doubted = {
        each.number for each in ended.verdict.finalists if "EVAL_TOKENS 10, the baseline's was 100" in each.doubts
    }
    assert doubted
    assert doubted == cheap & {each.number for each in ended.verdict.finalists}


def test_artifacts_of_a_replicate_are_kept(night: Driver) -> None:
    confirm(night, Trainings())
    with night.database() as database:
        child = find_study(database, "s/confirm", night.settings.runs)
        texts = child.texts(child.record(0))
    assert "SEED = 43" in texts["train.py"]
    assert "SEED = 43" in texts["params.toml"]
