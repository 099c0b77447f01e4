"""The contract that every database keeps, and SQLite keeping it; another database overrides one fixture."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy
from optuna.distributions import CategoricalDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from storage import Database, StorageError, Stored, numbers_of, open_database, states_from
from tests.databases import CHOICES, PARAMS, empty_database, new_trial


class StorageContract:
    """What any database does; a subclass gives the fixture `database`, open and empty."""

    @pytest.fixture
    def study_id(self, database: Database) -> int:
        return database.create_study("cpu", "minimize", "val_bpb", {"fingerprint": {"script": "abc"}})

    def test_a_study_is_found_by_its_name(self, database: Database, study_id: int) -> None:
        database.create_study("other", "maximize", "accuracy")
        assert database.find_study("cpu") == study_id
        assert database.find_study("none") is None
        assert database.study_names() == ["cpu", "other"]

    def test_a_study_cannot_be_created_twice(self, database: Database, study_id: int) -> None:
        with pytest.raises(StorageError, match="study 'cpu' exists"):
            database.create_study("cpu", "minimize", "val_bpb")
        assert database.study_names() == ["cpu"]

    def test_study_attributes_are_kept_and_overwritten(self, database: Database, study_id: int) -> None:
        database.set_study_attr(study_id, "seed", 1)
        database.set_study_attr(study_id, "seed", [2, None, "x"])
        assert database.study_attrs(study_id) == {"fingerprint": {"script": "abc"}, "seed": [2, None, "x"]}

    def test_optuna_itself_opens_the_study_and_knows_the_metrics_name(self, database: Database, study_id: int) -> None:
        study = optuna.load_study(study_name="cpu", storage=database.storage)
        assert study.metric_names == ["val_bpb"]
        assert study.direction is StudyDirection.MINIMIZE
        assert database.objective(study_id) == ("val_bpb", "minimize")

    def test_a_trial_has_all_its_parameters_and_attributes_from_the_start(
        self, database: Database, study_id: int
    ) -> None:
        created = database.create_trial(
            study_id, state="RUNNING", params=PARAMS, choices=CHOICES, attrs={"origin": {"kind": "baseline"}}
        )
        (trial,) = database.trials(study_id)
        assert (trial._trial_id, trial.number) == (created.trial_id, created.number)
        assert trial.state is TrialState.RUNNING
        assert trial.params == PARAMS
        assert trial.user_attrs == {"origin": {"kind": "baseline"}}
        assert {type(value) for value in trial.params.values()} == {int, float, str, type(None)}

    def test_numbers_count_up_in_each_study(self, database: Database, study_id: int) -> None:
        other = database.create_study("other", "minimize", "val_bpb")
        numbers = []
        for study in (study_id, other, study_id, other, study_id):
            created = database.create_trial(study, state="WAITING", params=PARAMS, choices=CHOICES)
            numbers.append((study, created.number))
        assert numbers == [(study_id, 0), (other, 0), (study_id, 1), (other, 1), (study_id, 2)]
        assert [trial.number for trial in database.trials(study_id)] == [0, 1, 2]

    def test_a_value_that_is_no_choice_is_refused_and_leaves_nothing(self, database: Database, study_id: int) -> None:
        for wrong in (5, 3.0, True):  # 3.0 equals the choice 3, and is not it
            with pytest.raises(ValueError, match="DEPTH"):
                database.create_trial(study_id, state="RUNNING", params={**PARAMS, "DEPTH": wrong}, choices=CHOICES)
        assert database.trials(study_id) == []

    @pytest.mark.parametrize("changed", [[2, 3, 4, 5], [4, 3, 2], [2, 3.0, 4]])
    def test_other_choices_than_the_studys_are_refused_and_leave_nothing(
        self, database: Database, study_id: int, changed: list[Stored]
    ) -> None:
        new_trial(database, study_id)
        params: dict[str, Stored] = {**PARAMS, "DEPTH": 4}
        with pytest.raises(StorageError, match="DEPTH: the study has other choices"):
            database.create_trial(study_id, state="RUNNING", params=params, choices={**CHOICES, "DEPTH": changed})
        assert len(database.trials(study_id)) == 1

    def test_a_waiting_trial_is_started_once(self, database: Database, study_id: int) -> None:
        trial_id = new_trial(database, study_id, "WAITING")
        assert database.trials(study_id)[0].datetime_start is None
        assert database.start_waiting(trial_id)
        assert not database.start_waiting(trial_id)
        (trial,) = database.trials(study_id)
        assert trial.state is TrialState.RUNNING
        assert trial.datetime_start is not None

    def test_a_finished_trial_is_not_started_again(self, database: Database, study_id: int) -> None:
        trial_id = new_trial(database, study_id)
        database.finish_trial(trial_id, "FAIL")
        assert not database.start_waiting(trial_id)

    def test_an_ending_brings_value_attributes_and_artifacts_together(self, database: Database, study_id: int) -> None:
        trial_id = new_trial(database, study_id)
        database.report(trial_id, 50, 3.5)
        database.set_trial_attrs(trial_id, {"status": "early"})
        assert database.finish_trial(
            trial_id, "COMPLETE", 0.9979, attrs={"status": "complete"}, artifacts={"artifacts:x": "{}"}
        )
        (trial,) = database.trials(study_id)
        assert (trial.state, trial.value) == (TrialState.COMPLETE, 0.9979)
        assert trial.user_attrs == {"status": "complete"}
        assert trial.system_attrs == {"artifacts:x": "{}"}
        assert trial.intermediate_values == {50: 3.5}
        assert trial.datetime_complete is not None

    @pytest.mark.parametrize(
        ("state", "value"), [("COMPLETE", None), ("COMPLETE", math.nan), ("COMPLETE", math.inf), ("PRUNED", 1.0)]
    )
    def test_a_value_belongs_to_complete_and_is_finite(
        self, database: Database, study_id: int, state: Any, value: float | None
    ) -> None:
        trial_id = new_trial(database, study_id)
        with pytest.raises(ValueError, match="finite value"):
            database.finish_trial(trial_id, state, value)
        assert database.counts(study_id)["RUNNING"] == 1

    def test_a_trial_that_someone_else_finished_is_left_as_it_is(self, database: Database, study_id: int) -> None:
        trial_id = new_trial(database, study_id)
        optuna.load_study(study_name="cpu", storage=database.storage).tell(0, state=TrialState.FAIL)
        assert not database.finish_trial(trial_id, "COMPLETE", 1.0, attrs={"status": "complete"})
        (trial,) = database.trials(study_id)
        assert (trial.state, trial.value, trial.user_attrs) == (TrialState.FAIL, None, {})

    def test_finishing_again_in_the_same_way_is_no_contradiction(self, database: Database, study_id: int) -> None:
        trial_id = new_trial(database, study_id)
        for _ in range(2):  # as after an answer that was lost with the connection
            assert database.finish_trial(trial_id, "COMPLETE", 1.0, attrs={"status": "complete"})
        assert not database.finish_trial(trial_id, "COMPLETE", 2.0, attrs={"status": "complete"})

    def test_a_finished_trial_does_not_change(self, database: Database, study_id: int) -> None:
        trial_id = new_trial(database, study_id)
        database.finish_trial(trial_id, "PRUNED")
        with pytest.raises(StorageError, match="is finished, or was deleted"):
            database.set_trial_attrs(trial_id, {"late": 1})
        with pytest.raises(StorageError, match="is finished, or was deleted"):
            database.report(trial_id, 50, 1.0)

    def test_nan_is_refused_as_an_attribute(self, database: Database, study_id: int) -> None:
        with pytest.raises(ValueError, match="JSON"):
            database.set_study_attr(study_id, "x", math.nan)

    def test_a_curve_may_hold_what_no_result_may(self, database: Database, study_id: int) -> None:
        trial_id = new_trial(database, study_id)
        for step, value in enumerate((math.nan, math.inf, -math.inf, 2.0)):
            database.report(trial_id, step, 9.0)
            database.report(trial_id, step, value)
        (trial,) = database.trials(study_id)
        assert str(list(trial.intermediate_values.values())) == "[nan, inf, -inf, 2.0]"

    def test_finished_trials_are_read_once(self, database: Database, study_id: int) -> None:
        finished, running = new_trial(database, study_id), new_trial(database, study_id)
        database.finish_trial(finished, "COMPLETE", 1.0)
        before = database.trials(study_id)
        database.set_trial_attrs(running, {"new": 1})
        after = database.trials(study_id)
        assert after[0] is before[0]
        assert after[1].user_attrs == {"new": 1}

    def test_trials_stay_in_order_whichever_ends_first(self, database: Database, study_id: int) -> None:
        ids = [new_trial(database, study_id) for _ in range(6)]
        for trial_id in (ids[4], ids[1], ids[5], ids[0]):
            database.finish_trial(trial_id, "PRUNED")
            assert [trial.number for trial in database.trials(study_id)] == list(range(6))

    def test_trials_are_counted_without_being_loaded(self, database: Database, study_id: int) -> None:
        ids = [new_trial(database, study_id) for _ in range(3)]
        new_trial(database, study_id, "WAITING")
        database.finish_trial(ids[0], "COMPLETE", 1.0)
        database.finish_trial(ids[1], "FAIL")
        assert database.counts(study_id) == {"RUNNING": 1, "COMPLETE": 1, "PRUNED": 0, "FAIL": 1, "WAITING": 1}

    def test_the_best_trial_is_the_best_complete_one(self, database: Database, study_id: int) -> None:
        assert not database.best_trials(study_id, 1)
        for value in (2.0, 1.0, 3.0):
            database.finish_trial(new_trial(database, study_id), "COMPLETE", value)
        pruned = new_trial(database, study_id)
        database.report(pruned, 50, 0.1)
        database.finish_trial(pruned, "PRUNED")
        (best,) = database.best_trials(study_id, 1)
        assert (best.number, best.value) == (1, 1.0)

    @pytest.mark.parametrize("direction", ["minimize", "maximize"])
    def test_the_best_of_equals_is_the_earliest(self, database: Database, direction: str) -> None:
        study_id = database.create_study(direction, direction, "val_bpb")
        ids = [new_trial(database, study_id) for _ in range(4)]
        worst = 9.0 if direction == "minimize" else 0.0
        for trial_id, value in reversed(list(zip(ids, (worst, 1.0, 1.0, worst), strict=True))):
            database.finish_trial(trial_id, "COMPLETE", value)
        (best,) = database.best_trials(study_id, 1)
        assert best.number == 1

    def test_the_latest_trials_come_by_number_and_whole(self, database: Database, study_id: int) -> None:
        other = database.create_study("other", "minimize", "val_bpb")
        for study in (study_id, other) * 3:
            new_trial(database, study, origin={"kind": "start"})
        latest = database.latest_trials(study_id, 2)
        assert [trial.number for trial in latest] == [1, 2]
        assert latest == database.trials(study_id)[1:]
        assert len(database.latest_trials(study_id, 9)) == 3

    def test_trials_are_found_by_what_they_try_and_by_their_state(self, database: Database, study_id: int) -> None:
        for state in ("RUNNING", "WAITING"):
            new_trial(database, study_id, state)
        assert numbers_of(database, study_id, PARAMS, CHOICES) == [0, 1]
        other = next(choice for choice in CHOICES["DEPTH"] if choice != PARAMS["DEPTH"])
        assert numbers_of(database, study_id, {**PARAMS, "DEPTH": other}, CHOICES) == []
        assert [states_from(database, study_id, n) for n in (1, 2)] == [{1: "WAITING"}, {}]

    def test_a_trial_is_found_by_its_number_or_its_id(self, database: Database, study_id: int) -> None:
        trial_id = new_trial(database, study_id, origin={"kind": "start"})
        found = database.find_trial(study_id, 0)
        assert found is not None
        assert (found._trial_id, found.params, found.user_attrs) == (trial_id, PARAMS, {"origin": {"kind": "start"}})
        assert database.find_trial(study_id, 1) is None
        assert database.trial(trial_id) == found

    def test_the_clock_is_that_of_the_world(self, database: Database) -> None:
        before, now, after = time.time(), database.now(), time.time()
        assert before - 1 <= now <= after + 1  # a database that counts whole seconds

    def test_a_transaction_is_all_or_nothing(self, database: Database, study_id: int) -> None:
        lost = new_trial(database, study_id)
        with pytest.raises(KeyboardInterrupt):
            _requeue_and_be_interrupted(database, study_id, lost)
        assert [(trial.state.name, trial.user_attrs) for trial in database.trials(study_id)] == [("RUNNING", {})]
        with database.transaction():
            new_trial(database, study_id, "WAITING")
            database.finish_trial(lost, "FAIL", attrs={"status": "lost"})
        assert [trial.state.name for trial in database.trials(study_id)] == ["FAIL", "WAITING"]

    def test_a_deleted_study_is_gone_with_everything(self, database: Database, study_id: int) -> None:
        kept = database.create_study("kept", "minimize", "val_bpb")
        for study in (study_id, kept):
            database.report(trial_id := new_trial(database, study, a=1), 50, 1.0)
            database.finish_trial(trial_id, "COMPLETE", 1.0, artifacts={"artifacts:x": "{}"})
        database.delete_study("cpu")
        database.delete_study("cpu")
        assert database.study_names() == ["kept"]
        for table in ("trials", "trial_params", "trial_values", "trial_user_attributes", "trial_intermediate_values"):
            ((count,),) = database.rows(sqlalchemy.text(f"SELECT COUNT(*) FROM {table}"))
            assert count == (len(PARAMS) if table == "trial_params" else 1)
        with pytest.raises(StorageError, match="gone"):
            database.trials(study_id)
        with pytest.raises(StorageError, match="gone"):
            new_trial(database, study_id)

    def test_optuna_reads_what_we_write_as_if_it_had_written_it(self, database: Database, study_id: int) -> None:
        _write_by_us(database, study_id)
        by_optuna = database.storage.create_new_study([StudyDirection.MINIMIZE], "by optuna")
        _write_by_optuna(database, by_optuna)
        ours, optunas = _read_by_optuna(database, study_id), _read_by_optuna(database, by_optuna)
        assert list(map(_without_times, ours)) == list(map(_without_times, optunas))
        for table in ("trials", "trial_params", "trial_values", "trial_intermediate_values", "trial_user_attributes"):
            assert _raw(database, table, study_id) == _raw(database, table, by_optuna), table

    def test_we_read_what_optuna_reads(self, database: Database, study_id: int) -> None:
        _write_by_us(database, study_id)
        study = optuna.load_study(study_name="cpu", storage=database.storage)
        study.enqueue_trial({"DEPTH": 2})
        asked = study.ask()
        asked.suggest_float("MATRIX_LR_free", 1e-5, 1.0, log=True)
        asked.suggest_int("LAYERS", 1, 9)
        study.tell(asked, 3.0)
        study.add_trial(create_trial(value=-math.inf))
        optunas = list(map(str, _read_by_optuna(database, study_id)))  # as text, where NaN equals itself
        assert len(optunas) == 6
        assert list(map(str, database.trials(study_id))) == optunas
        assert list(map(str, database.storage.get_all_trials(study_id))) == optunas  # what the dashboard gets
        assert [trial.number for trial in database.storage.get_all_trials(study_id, states=(TrialState.PRUNED,))] == [2]


def _read_by_optuna(database: Database, study_id: int) -> list[FrozenTrial]:
    return optuna.storages.RDBStorage._get_trials(database._rdb, study_id, None, set(), -1)  # not our QuickStorage's


def _requeue_and_be_interrupted(database: Database, study_id: int, lost: int) -> None:
    with database.transaction():
        new_trial(database, study_id, "WAITING")
        database.finish_trial(lost, "FAIL", attrs={"status": "lost"})
        raise KeyboardInterrupt


def _write_by_us(database: Database, study_id: int) -> None:
    new_trial(database, study_id, "WAITING", origin={"kind": "start"})
    done = new_trial(database, study_id, origin={"kind": "baseline"})
    database.report(done, 25, 4.5)
    database.report(done, 50, math.nan)
    database.finish_trial(done, "COMPLETE", 0.9979, attrs={"status": "complete"}, artifacts={"artifacts:x": "{}"})
    database.finish_trial(new_trial(database, study_id), "PRUNED")
    new_trial(database, study_id)


def _write_by_optuna(database: Database, study_id: int) -> None:
    optunas = database.storage

    def create(state: TrialState, attrs: dict[str, Any]) -> int:
        template = FrozenTrial(
            number=-1, trial_id=-1, state=state, value=None, params=dict(PARAMS), user_attrs=attrs,
            datetime_start=datetime.now() if state is TrialState.RUNNING else None, datetime_complete=None,
            distributions={name: CategoricalDistribution(tuple(values)) for name, values in CHOICES.items()},
            system_attrs={}, intermediate_values={},
        )  # fmt: skip
        return optunas.create_new_trial(study_id, template)

    create(TrialState.WAITING, {"origin": {"kind": "start"}})
    done = create(TrialState.RUNNING, {"origin": {"kind": "baseline"}})
    optunas.set_trial_intermediate_value(done, 25, 4.5)
    optunas.set_trial_intermediate_value(done, 50, math.nan)
    optunas.set_trial_user_attr(done, "status", "complete")
    optunas.set_trial_system_attr(done, "artifacts:x", "{}")
    optunas.set_trial_state_values(done, TrialState.COMPLETE, [0.9979])
    optunas.set_trial_state_values(create(TrialState.RUNNING, {}), TrialState.PRUNED)
    create(TrialState.RUNNING, {})


def _without_times(trial: FrozenTrial) -> dict[str, Any]:
    """Everything else; NaN by its text, so that it equals itself."""
    parts = {key: str(value) for key, value in vars(trial).items() if key not in ("_trial_id", "datetime_start")}
    return parts | {"started": trial.datetime_start is not None, "_datetime_start": ""} | {"datetime_complete": ""}


def _raw(database: Database, table: str, study_id: int) -> list[tuple[Any, ...]]:
    """The rows of a study as they lie in the file, but for ids and times."""
    found = database.rows(
        sqlalchemy.text(f"SELECT t.number, x.* FROM {table} x JOIN trials t ON t.trial_id = x.trial_id "
                        "WHERE t.study_id = :study ORDER BY t.number"), study=study_id)  # fmt: skip
    first = 5 if table == "trials" else 3  # after the ids
    columns = slice(4, 5) if table == "trials" else slice(first, None)
    return [(row[0], *row[columns]) for row in found]


class TestSqlite(StorageContract):
    @pytest.fixture
    def database(self, tmp_path: Path) -> Iterator[Database]:
        with closing(open_database(empty_database(tmp_path))) as database:
            yield database
