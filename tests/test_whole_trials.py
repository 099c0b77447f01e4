"""Whole trials: what is read from one study and added to another is the same, and all of it or nothing is there."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial

from storage import (
    Artifacts,
    Database,
    StorageError,
    add_trials,
    ending_attrs,
    open_database,
    origin_attrs,
    read_whole_trials,
    sql,
    waiting_trial,
)
from tests.databases import CHOICES, PARAMS, empty_database, new_trial

FILES = {"train.py": "DEPTH = 3\n", "log.txt": "a log\n"}


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with closing(open_database(empty_database(tmp_path))) as database:
        database.create_study("old", "minimize", "val_bpb")
        database.create_study("new", "minimize", "val_bpb")
        yield database


@pytest.fixture
def artifacts(database: Database, tmp_path: Path) -> Artifacts:
    return Artifacts(tmp_path / "artifacts", database)


def fill(database: Database, artifacts: Artifacts, trials: int = 3) -> None:
    """Study `old`: COMPLETE trials with all that a trial has, then one of each other state."""
    for number in range(trials):
        trial_id = new_trial(database, 1, **origin_attrs("sampler"))
        database.report(trial_id, 25, 4.5)
        database.report(trial_id, 50, float("nan"))
        database.finish_trial(
            trial_id, "COMPLETE", 1.0 + number, attrs=ending_attrs("complete"), artifacts=artifacts.write(FILES)
        )
    database.finish_trial(new_trial(database, 1), "PRUNED", attrs=ending_attrs("diverged"))
    database.finish_trial(new_trial(database, 1), "FAIL", attrs=ending_attrs("crashed"))
    new_trial(database, 1, state="WAITING")


def rows(database: Database, study_id: int) -> list[list[tuple[object, ...]]]:
    """Every row of a study's trials, but for ids."""
    where = sql.TRIALS.c.study_id == study_id
    found = []
    for table in (sql.PARAMS, sql.VALUES, sql.CURVES, sql.TRIAL_ATTRS, sql.TRIAL_SYSTEM_ATTRS):
        query = table.select().join(sql.TRIALS, sql.TRIALS.c.trial_id == table.c.trial_id).where(where)
        found.append([row[2:] for row in database.rows(query.order_by(*table.primary_key))])
    t = sql.TRIALS.c
    heads = sql.TRIALS.select().where(where).order_by(t.number)
    return [*found, [(row[1], *row[3:]) for row in database.rows(heads)]]


def test_added_trials_have_every_row_that_they_had(database: Database, artifacts: Artifacts) -> None:
    fill(database, artifacts)
    created = add_trials(database, 2, read_whole_trials(database, 1))
    assert rows(database, 2) == rows(database, 1)
    assert [each.number for each in created] == list(range(6))
    assert [trial._trial_id for trial in database.trials(2)] == [each.trial_id for each in created]


def test_optuna_itself_reads_them_as_it_reads_the_old_ones(database: Database, artifacts: Artifacts) -> None:
    fill(database, artifacts)
    add_trials(database, 2, read_whole_trials(database, 1))
    old, new = (optuna.load_study(study_name=name, storage=database.storage).trials for name in ("old", "new"))
    keys = ("number", "state", "values", "params", "distributions", "user_attrs", "datetime_start", "datetime_complete")
    assert [[getattr(t, key) for key in keys] for t in new] == [[getattr(t, key) for key in keys] for t in old]
    assert json.dumps([t.intermediate_values for t in new]) == json.dumps([t.intermediate_values for t in old])


def test_trials_of_other_programs_keep_their_distributions(database: Database) -> None:
    foreign = optuna.load_study(study_name="old", storage=database.storage)
    for high in (1.0, 2.0):
        distributions = {"x": FloatDistribution(1e-3, high, log=True)}
        foreign.add_trial(create_trial(values=[float("inf")], params={"x": 0.5}, distributions=distributions))
    add_trials(database, 2, read_whole_trials(database, 1)[:1])
    assert rows(database, 2)[0] == rows(database, 1)[0][:1]
    assert database.trials(2)[0].values == [float("inf")]


def test_numbers_go_on_from_those_that_are_there(database: Database, artifacts: Artifacts) -> None:
    fill(database, artifacts)
    new_trial(database, 2)
    assert [each.number for each in add_trials(database, 2, read_whole_trials(database, 1))] == [1, 2, 3, 4, 5, 6]
    assert new_trial(database, 2) == max(trial._trial_id for trial in database.trials(2))


def test_more_trials_than_go_in_one_piece_stay_in_order(database: Database) -> None:
    many = [replace(waiting_trial(PARAMS, CHOICES, {"n": n}), state="PRUNED") for n in range(2_345)]
    created = add_trials(database, 2, many)
    assert [each.number for each in created] == list(range(2_345))
    assert [trial.user_attrs["n"] for trial in database.trials(2)] == list(range(2_345))
    assert {trial.state for trial in database.trials(2)} == {TrialState.PRUNED}


def test_other_choices_than_the_studys_add_nothing(database: Database) -> None:
    new_trial(database, 2)
    other = {**CHOICES, "DEPTH": [3, 4]}
    with pytest.raises(StorageError, match="DEPTH: the study has other choices"):
        add_trials(database, 2, [waiting_trial(PARAMS, CHOICES), waiting_trial(PARAMS, other)])
    assert len(database.trials(2)) == 1


def test_choices_that_differ_among_the_added_add_nothing(database: Database) -> None:
    other = {**CHOICES, "DEPTH": [4, 3]}
    with pytest.raises(StorageError, match="DEPTH"):
        add_trials(database, 2, [waiting_trial(PARAMS, CHOICES), waiting_trial(PARAMS, other)])
    assert database.trials(2) == []


def test_a_study_that_is_gone_is_one_line(database: Database) -> None:
    for act in (
        lambda: add_trials(database, 9, [waiting_trial(PARAMS, CHOICES)]),
        lambda: read_whole_trials(database, 9),
    ):
        with pytest.raises(StorageError, match="is gone"):
            act()


def test_a_failure_in_the_middle_of_a_transaction_leaves_nothing(database: Database, artifacts: Artifacts) -> None:
    fill(database, artifacts)

    def create_and_fail() -> None:
        with database.transaction():
            study_id = database.create_study("third", "minimize", "val_bpb")
            add_trials(database, study_id, read_whole_trials(database, 1))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        create_and_fail()
    assert database.study_names() == ["old", "new"]
    assert sum(database.counts(1).values()) == len(database.rows(sql.TRIALS.select())) == 6


def test_deleting_one_of_two_studies_keeps_the_files_that_both_have(database: Database, artifacts: Artifacts) -> None:
    fill(database, artifacts)
    add_trials(database, 2, read_whole_trials(database, 1)[:2])
    artifacts.delete_study("old")
    assert not artifacts.dangling(now=1e12)
    taken = database.trials(2)
    assert [artifacts.read(trial._trial_id, "log.txt") for trial in taken] == ["a log\n"] * 2
    artifacts.delete_study("new")
    assert list(artifacts.folder.iterdir()) == []


def test_a_trial_that_moves_keeps_artifacts_and_leaves_strangers_notes(
    database: Database, artifacts: Artifacts
) -> None:
    fill(database, artifacts, trials=1)
    trial = read_whole_trials(database, 1)[0]
    trial = replace(trial, system_attrs={**trial.system_attrs, "dashboard:1:note": "x"})
    moved = trial.moved({"A": 2}, {"A": [1, 2]}, {"origin": {"kind": "sampler"}})
    add_trials(database, 2, [moved])
    (there,) = database.trials(2)
    assert there.params == {"A": 2}
    assert there.user_attrs == {"origin": {"kind": "sampler"}}
    assert artifacts.names(there._trial_id) == list(FILES)
    assert len(there.system_attrs) == len(FILES)


def test_a_study_cannot_be_deleted_while_its_trials_are_taken_over(database: Database, artifacts: Artifacts) -> None:
    fill(database, artifacts)
    with closing(open_database(database.path or "")) as other:
        deleting = threading.Thread(target=Artifacts(artifacts.folder, other).delete_study, args=("old",))
        with database.transaction():
            trials = read_whole_trials(database, 1)
            deleting.start()
            deleting.join(timeout=0.5)
            assert deleting.is_alive()
            add_trials(database, 2, trials)
        deleting.join()
    assert database.study_names() == ["new"]
    assert artifacts.read(database.trials(2)[0]._trial_id, "train.py") == "DEPTH = 3\n"
