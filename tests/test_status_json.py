"""`status --json` says what the study's own records say, as JSON that any program reads, without loading the study."""

from __future__ import annotations

import json
from collections import Counter

import optuna
import pytest
from optuna.trial import create_trial

from optimize.confirm.verdict import CONFIRMATION, Finalist, Verdict, verdict_attrs, verdict_of
from optimize.reporting.status import study_table
from optimize.reporting.status_json import document
from optimize.study.stored import find_study
from optimize.trial import Outcome, TrialStatus
from storage import best_record
from tests.conftest import Driver, complete
from tests.test_cli import optimize

TRIAL_KEYS = {"number", "state", "status", "value", "params", "kind", "reason", "seconds", "started", "finished"}


def some_fail(job) -> Outcome:  # type: ignore[no-untyped-def]
    if job.number == 3:
        return Outcome(TrialStatus.OUT_OF_MEMORY, 1.0, "out of memory")
    return Outcome(TrialStatus.CRASHED, 1.0, "it broke") if job.number == 2 else complete(job)


def facts(driver: Driver, last: int = 20) -> dict[str, object]:
    with driver.database() as database:
        studies = [find_study(database, name, driver.settings.runs) for name in sorted(database.study_names())]
        text = json.dumps(document(database.where, studies, last), allow_nan=False)
    return json.loads(text)  # type: ignore[no-any-return]


def test_it_says_what_the_records_say(driver: Driver) -> None:
    driver.run(some_fail, trials=8)
    with driver.database() as database:
        records = find_study(database, "s", driver.settings.runs).records()
    (study,) = facts(driver, last=3)["studies"]  # type: ignore[misc]
    assert (study["name"], study["metric"], study["direction"]) == ("s", "val_bpb", "minimize")
    assert {state: n for state, n in study["states"].items() if n} == Counter(r.state for r in records)
    assert study["statuses"] == Counter(r.status for r in records)
    best = best_record(records, "minimize")
    assert best is not None
    assert (study["best"]["number"], study["best"]["value"]) == (best.number, best.value)
    assert study["best"]["params"] == best.params
    assert study["baseline"]["number"] == 0
    assert study["driver"] is None
    assert [each["number"] for each in study["latest"]] == [r.number for r in records[-3:]]
    assert all(each.keys() == TRIAL_KEYS for each in (study["best"], study["baseline"], *study["latest"]))
    assert study["latest"][-1]["started"] == records[-1].started.isoformat()  # type: ignore[union-attr]


def test_a_driver_that_is_alive_is_named(driver: Driver) -> None:
    with driver.open() as study:
        study.ask()
        (told,) = facts(driver)["studies"]  # type: ignore[misc]
    assert told["driver"].keys() == {"host", "pid", "since"}
    assert told["best"] is told["baseline"] is None
    assert told["latest"][0]["state"] == "RUNNING"


def test_what_a_confirmation_found_is_in_it(driver: Driver) -> None:
    driver.run(trials=2)
    verdict = Verdict((Finalist(1, 3, 0.02, 0.01, 0.03, True, doubts=("x",)),), 0.95, 0.004, 0.008)
    assert facts(driver)["studies"][0]["confirmation"] is None  # type: ignore[index]
    with driver.database() as database:
        for key, value in verdict_attrs(verdict).items():
            database.set_study_attr(database.find_study("s") or 0, key, value)
    told = facts(driver)["studies"][0]["confirmation"]  # type: ignore[index]
    assert told.pop("winner") == 1
    assert told["finalists"][0].pop("verdict") == "confirmed"
    assert verdict_of({CONFIRMATION: told}) == verdict


def test_what_other_programs_keep_is_json_too(driver: Driver) -> None:
    with driver.database() as database:
        theirs = optuna.create_study(study_name="theirs", storage=database.storage)
        theirs.set_user_attr("baseline", "mine")
        far = optuna.distributions.CategoricalDistribution((float("inf"), 1.0))
        odd = {"status": ["odd"], "origin": '"baseline"'}
        theirs.add_trial(
            create_trial(value=float("inf"), params={"x": float("inf")}, distributions={"x": far}, user_attrs=odd)
        )
    (study,) = facts(driver)["studies"]  # type: ignore[misc]
    assert study["statuses"] == {}
    assert study["latest"][0]["params"] == {"x": None}
    assert study["latest"][0]["value"] is None
    assert study["best"] is None


def test_an_attribute_of_another_program_is_no_baseline_of_ours(driver: Driver) -> None:
    with driver.database() as database:
        theirs = optuna.create_study(study_name="theirs", storage=database.storage)
        theirs.set_user_attr("baseline", 0.9)
        theirs.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
        stored = find_study(database, "theirs", driver.settings.runs)
        assert stored.baseline == {}
        assert study_table(stored.latest(1), stored.best(), stored.metric, stored.baseline).row_count == 1


@pytest.mark.slow
def test_stdout_is_one_document_and_nothing_else(driver: Driver) -> None:
    driver.run(trials=2)
    shown = optimize(driver, "status", "--json", "--study", "s")
    assert shown.returncode == 0, shown.stderr
    assert shown.stderr == ""
    assert json.loads(shown.stdout)["schema"] == 1
    missing = optimize(driver, "status", "--json", "--study", "other")
    assert (missing.returncode, missing.stdout) == (2, "")
    assert len(missing.stderr.splitlines()) == 1
