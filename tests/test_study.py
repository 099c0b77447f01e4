"""A study on a real SQLite file: what each ending is told as, what is queued again, and what a dead driver leaves."""

from __future__ import annotations

import json
import os
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from optimize.errors import StudyBusyError, StudyMismatchError
from optimize.search.endings import CONSEQUENCES, Again
from optimize.study.comparable import FINGERPRINT, changed_before_any_value
from optimize.study.study import CURVE_PERCENTS, Study
from optimize.trial import BASELINE, Outcome, Progress, TrialStatus
from storage import Artifacts, read_records, record_of
from tests.conftest import Driver, complete

BAD_PARAMETERS = [s for s, c in CONSEQUENCES.items() if c.state == "PRUNED"]
ONE = TrialStatus.ENVIRONMENT  # is judged with the trials before it: test_environment_endings.py
TRIED_AGAIN = [s for s, c in CONSEQUENCES.items() if c.again is Again.ALWAYS and s is not ONE]
TRIED_ONCE_MORE = [s for s, c in CONSEQUENCES.items() if c.again is Again.ONCE]


def end(driver: Driver, study: Study, status: TrialStatus):  # type: ignore[no-untyped-def]
    job = driver.job(study.ask())
    outcome = complete(job) if status is TrialStatus.COMPLETE else Outcome(status, 1.0, "because")
    return study.tell(job, outcome)


def test_every_ending_has_a_consequence() -> None:
    assert set(CONSEQUENCES) == set(TrialStatus)


def test_the_baseline_comes_first_and_the_scripts_own_values_are_it(driver: Driver) -> None:
    with driver.open() as study:
        assert study.ask().params == {"X": 4, "Y": 0.5, "PAIR": (0.8, 0.95)}


def test_nothing_infeasible_and_nothing_twice_is_ever_asked(driver: Driver) -> None:
    with driver.open() as study:
        asked = [tuple(study.ask().params.items()) for _ in range(24)]
    assert len(set(asked)) == 24
    assert all(dict(params)["X"] != 3 for params in asked)


def test_a_complete_trial_keeps_value_scripts_patch_log_and_curve(driver: Driver) -> None:
    with driver.open() as study:
        end(driver, study, TrialStatus.COMPLETE)
        record = end(driver, study, TrialStatus.COMPLETE)
    with driver.database() as database:
        artifacts = Artifacts(driver.paths.artifacts, database)
        texts = {name: artifacts.read(record.trial_id, name) for name in artifacts.names(record.trial_id)}
    assert record.state == "COMPLETE"
    assert f"X = {record.params['X']}" in texts["train.py"]
    assert texts["train.patch"].startswith("--- a/train.py")
    assert texts["log.txt"] == "a log\n"
    assert texts["curve.csv"].startswith("fraction,train_loss\n0.10")


@pytest.mark.parametrize("status", BAD_PARAMETERS)
def test_bad_parameters_are_pruned_without_a_value_and_not_tried_again(driver: Driver, status: TrialStatus) -> None:
    with driver.open() as study:
        end(driver, study, TrialStatus.COMPLETE)
        record = end(driver, study, status)
        assert (record.state, record.status, record.value, record.reason) == ("PRUNED", status, None, "because")
        assert study.ask().params != record.params


@pytest.mark.parametrize("status", TRIED_AGAIN)
def test_what_the_world_did_is_tried_again_with_the_same_parameters(driver: Driver, status: TrialStatus) -> None:
    with driver.open() as study:
        end(driver, study, TrialStatus.COMPLETE)
        for _ in range(3):
            record = end(driver, study, status)
            assert record.state == "FAIL"
        again = study.ask()
    with driver.database() as database:
        records = read_records(database, database.find_study("s") or 0)
    assert len({tuple(r.params.items()) for r in records[1:]}) == 1
    assert [r.requeue_of for r in records[2:]] == [1, 2, 3]
    assert again.number == 4


@pytest.mark.parametrize("status", TRIED_ONCE_MORE)
def test_a_crash_is_tried_once_more_and_then_stands(driver: Driver, status: TrialStatus) -> None:
    with driver.open() as study:
        end(driver, study, TrialStatus.COMPLETE)
        first, second = end(driver, study, status), end(driver, study, status)
        third = study.ask()
    assert (second.params, second.attempt) == (first.params, 2)
    assert third.params != {"X": first.params["X"], "Y": first.params["Y"], "PAIR": third.params["PAIR"]}


def test_the_train_loss_is_reported_at_eight_percents_at_most(driver: Driver) -> None:
    with driver.open() as study:
        job = driver.job(study.ask())
        for percent in range(101):
            study.report(Progress(job.number, percent / 100, loss=5 - percent / 100))
        record = study.tell(job, complete(job))
    assert list(record.curve) == list(CURVE_PERCENTS)
    assert record.curve[40] == pytest.approx(4.6)


def test_a_train_loss_is_never_taken_for_a_value(driver: Driver) -> None:
    with driver.open() as study:
        end(driver, study, TrialStatus.COMPLETE)
        job = driver.job(study.ask())
        study.report(Progress(job.number, 0.5, loss=0.001))
        record = study.tell(job, Outcome(TrialStatus.DIVERGED, 1.0, "nan"))
    assert record.value is None


def test_a_study_with_another_script_space_data_or_metric_is_refused_before_anything_is_asked(driver: Driver) -> None:
    with driver.open():
        pass
    (driver.folder / "space.toml").write_text((driver.folder / "space.toml").read_text().replace("1.0]", "2.0]"))
    train = driver.folder / "workload" / "train.py"
    train.write_text(train.read_text().replace("abs(X - 2)", "abs(X - 3)"))
    driver.data = "other"
    with pytest.raises(StudyMismatchError) as caught, driver.open():
        pass
    assert len(caught.value.problems) == 3
    with driver.database() as database:
        assert database.counts(database.find_study("s") or 0)["RUNNING"] == 0


def test_a_refusal_proposes_a_name_that_no_study_has(driver: Driver) -> None:
    with driver.open():
        pass
    with driver.database() as database:
        database.create_study("s-2", "minimize", "val_bpb")
    (driver.folder / "space.toml").write_text((driver.folder / "space.toml").read_text().replace("1.0]", "2.0]"))
    with pytest.raises(StudyMismatchError, match="`optimize migrate s --to s-3`"), driver.open():
        pass
    driver.data = "other"
    with pytest.raises(StudyMismatchError) as caught, driver.open():
        pass
    assert all("`optimize run --study s-3`" in line for line in caught.value.problems)


def test_what_a_first_failure_showed_to_be_missing_may_be_mended_but_nothing_once_there_is_a_value(
    driver: Driver,
) -> None:
    with driver.open() as study:
        end(driver, study, TrialStatus.CRASHED)
    train, toml = driver.folder / "workload" / "train.py", driver.folder / "workload" / "workload.toml"
    train.write_text(train.read_text().replace("val_bpb:", "val_loss:"))
    toml.write_text((toml.read_text() if toml.exists() else "") + 'metric = "val_loss"\n')
    with driver.open() as study:
        job = driver.job(study.ask())
        assert "; no trial has a value yet, so the study goes on with it" in driver.said[-1]
        study.tell(job, replace(complete(job), summary={"val_loss": 1.5}))
    with driver.database() as database:
        assert database.objective(database.find_study("s") or 0) == ("val_loss", "minimize")
    train.write_text(train.read_text().replace("abs(X - 2)", "abs(X - 3)"))
    with pytest.raises(StudyMismatchError, match="the scripts have changed"), driver.open():
        pass


def test_a_comment_in_the_script_changes_nothing(driver: Driver) -> None:
    with driver.open():
        pass
    train = driver.folder / "workload" / "train.py"
    train.write_text("# a comment\n" + train.read_text())
    with driver.open() as study:
        assert study.ask().number == 0


def test_a_second_driver_is_refused_and_told_who_the_first_is(driver: Driver) -> None:
    with driver.open(), pytest.raises(StudyBusyError, match=str(os.getpid())), driver.open():
        pass


@pytest.mark.slow
def test_a_trial_that_a_dead_driver_left_running_is_lost_and_queued_once(driver: Driver) -> None:
    with driver.open() as study:
        end(driver, study, TrialStatus.COMPLETE)
        left = study.ask()
    for _ in range(2):
        with driver.open() as study:
            pass
    with driver.database() as database:
        records = read_records(database, database.find_study("s") or 0)
    assert [(r.number, r.state, r.status) for r in records[1:]] == [(1, "FAIL", "lost"), (2, "WAITING", "")]
    assert records[2].params == records[1].params
    with driver.open() as study:
        assert study.ask().params == left.params


def test_a_trial_that_finished_when_its_driver_died_is_told_with_its_result(driver: Driver) -> None:
    from optimize.runner.process import run_job
    from optimize.trial import Slot

    with driver.open() as study:
        job = driver.job(study.ask())
        run_job(job, driver.paths.work / str(job.number), Slot("cpu:0"))
    with driver.open() as study:
        record = study.records()[0]
    assert (record.state, record.value) == ("COMPLETE", pytest.approx(1.458))
    assert not (driver.paths.work / "0").exists()


@pytest.mark.slow
def test_a_result_that_is_kept_after_its_driver_died_is_not_proposed_again(driver: Driver) -> None:
    from optimize.runner.process import run_job
    from optimize.trial import Slot

    with driver.open() as study:
        end(driver, study, TrialStatus.COMPLETE)
        left = [driver.job(study.ask()) for _ in range(8)]
        for job in left:
            run_job(job, driver.paths.work / str(job.number), Slot("cpu:0"))
    with driver.open() as study:
        assert [record.state for record in study.records()] == ["COMPLETE"] * 9
        asked = [study.ask().params for _ in range(24 - 9)]
    assert not [job.params for job in left if job.params in asked]


@pytest.mark.slow
def test_a_guardian_that_is_still_busy_is_waited_for_and_its_script_not_taken_for_killed_by_the_kernel(
    driver: Driver,
) -> None:
    from optimize.runner.process import run_job
    from optimize.trial import Slot

    train = driver.folder / "workload" / "train.py"
    train.write_text(train.read_text().replace("import sys\n", "import sys, time\ntime.sleep(1)\n"))
    with driver.open() as study:
        job = driver.job(study.ask())
        folder = driver.paths.work / str(job.number)
        guardian = threading.Thread(target=run_job, args=(job, folder, Slot("cpu:0")))
        guardian.start()
        while not (folder / "log").exists():
            time.sleep(0.01)
    with driver.open() as study:
        assert [(record.state, record.status) for record in study.records()] == [("COMPLETE", "complete")]
    guardian.join()


@pytest.mark.slow
def test_a_resumed_study_goes_on_and_repeats_nothing(driver: Driver) -> None:
    asked = []
    for _ in range(8):
        with driver.open() as study:
            job = driver.job(study.ask())
            asked.append(tuple(job.params.items()))
            study.tell(job, complete(job))
    assert len(set(asked)) == 8


def test_another_programs_trials_are_left_alone(driver: Driver) -> None:
    import optuna

    with driver.open() as study:
        end(driver, study, TrialStatus.COMPLETE)
    with driver.database() as database:
        foreign = optuna.load_study(study_name="s", storage=database.storage)
        foreign.add_trial(optuna.trial.create_trial(value=0.1, params={}, distributions={}))
    with driver.open() as study:
        assert study.ask().number == 2


def enqueue(driver: Driver, *stop_requests: dict[str, object]) -> None:
    """As somebody does in Python who knows Optuna and not us."""
    import optuna

    with driver.database() as database:
        foreign = optuna.load_study(study_name="s", storage=database.storage)
        for wish in stop_requests:
            foreign.enqueue_trial(wish, user_attrs={"memo": "a guess"})


def test_what_enqueue_trial_wants_is_tried_next_under_its_own_number(driver: Driver) -> None:
    with driver.open() as study:
        end(driver, study, TrialStatus.COMPLETE)
    enqueue(driver, {"X": 2, "Y": 1, "PAIR": "(0.9, 0.95)"}, {"Y": 0.125})
    with driver.open() as study:
        whole, partly = study.ask(), study.ask()
        study.tell(driver.job(whole), complete(driver.job(whole)))
    assert (whole.number, whole.params) == (1, {"X": 2, "Y": 1.0, "PAIR": (0.9, 0.95)})
    assert (partly.number, partly.params) == (2, {**driver.plan.baseline, "Y": 0.125})
    assert driver.said[-2:] == [
        "trial 1 of enqueue_trial is tried: X=2 Y=1 PAIR=(0.9,0.95)",
        "trial 2 of enqueue_trial is tried: Y=0.125, the rest as in the baseline",
    ]
    with driver.open(), driver.database() as database:  # the driver died: what waits no longer is not taken in again
        told = database.find_trial(database.find_study("s") or 0, 1)
        assert told is not None
        assert (told.user_attrs["memo"], told.params["Y"]) == ("a guess", 1.0)


def test_no_trial_that_another_program_left_waiting_waits_for_ever(driver: Driver) -> None:
    """`enqueue_trial({})`, and trials that were added as WAITING: without parameters, with some, with all."""
    import optuna

    driver.run(trials=1)
    with driver.database() as database:
        foreign = optuna.load_study(study_name="s", storage=database.storage)
        known, choices = foreign.trials[0].params, foreign.trials[0].distributions
        foreign.enqueue_trial({})
        for params in ({}, {"X": 1}, {**known, "X": 2}):
            within = {name: choices[name] for name in params}
            waiting = optuna.trial.TrialState.WAITING
            foreign.add_trial(optuna.trial.create_trial(state=waiting, params=params, distributions=within))
    driver.said.clear()
    driver.run(trials=3)
    with driver.database() as database:
        records = read_records(database, 1)
    assert [record.state for record in records] == ["COMPLETE", "FAIL", "FAIL", "COMPLETE", "COMPLETE"]
    nothing = "it names no parameter, and the sampler proposes without it"
    assert [f"trial {number} of enqueue_trial is not tried: {nothing}" in driver.said for number in (1, 2)] == [
        True,
        True,
    ]
    assert "trial 3 of enqueue_trial is tried: X=1, the rest as in the baseline" in driver.said
    assert records[4].params["X"] == 2


def test_what_enqueue_trial_wants_and_cannot_have_is_closed_with_a_line(driver: Driver) -> None:
    with driver.open() as study:
        end(driver, study, TrialStatus.COMPLETE)
    enqueue(driver, {"X": 99}, {"X": 3}, {"Z": 1})
    with driver.open() as study:
        assert study.ask().number == 4
        assert [record.state for record in study.records()[1:]] == ["FAIL"] * 3
    assert driver.said[-3].startswith(
        "trial 1 of enqueue_trial is not tried: X: 99 is none of its choices: 1, 2, 3, 4."
    )
    assert driver.said[-2].startswith("trial 2 of enqueue_trial is not tried: breaks the rule SIZE % X == 0")
    assert "Z: no such parameter" in driver.said[-1]


def test_settings_and_messages_hold_no_secret(driver: Driver, tmp_path: Path) -> None:
    from optimize.session.session import settings_json

    driver.set(storage="postgresql://me:secret@localhost/db")
    assert "secret" not in json.dumps(settings_json(driver.settings))
    assert record_of is not None


@pytest.mark.parametrize(
    ("now", "changed"), [("minimize other", "the metric or its direction is another"), ("maximize loss", "")]
)
def test_a_study_without_a_value_may_get_another_metric_but_not_another_direction(now: str, changed: str) -> None:
    attrs = {FINGERPRINT: {"metric": "minimize loss"}, BASELINE: {"X": 1}}
    assert changed_before_any_value(attrs, {"metric": now}, {"X": 1}, now.partition(" ")[0]) == changed
