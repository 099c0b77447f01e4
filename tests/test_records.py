"""What is written of a trial is what is read; trials of other programs read as well; no train loss is ever a result."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import TrialState, create_trial

from storage import (
    Database,
    TrialRecord,
    best_record,
    condemned_attrs,
    ending_attrs,
    open_database,
    origin_attrs,
    read_records,
    record_of,
)
from tests.databases import CHOICES, PARAMS, empty_database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with closing(open_database(empty_database(tmp_path))) as database:
        database.create_study("cpu", "minimize", "val_bpb")
        yield database


def run_trial(database: Database, state: Any, value: float | None = None, **ending: Any) -> None:
    created = database.create_trial(1, state="RUNNING", params=PARAMS, choices=CHOICES, attrs=origin_attrs("sampler"))
    database.report(created.trial_id, 50, 0.001)
    database.finish_trial(created.trial_id, state, value, attrs=ending_attrs(**ending))


def test_a_record_is_what_was_written(database: Database) -> None:
    origin = origin_attrs("requeue", requeue_of=4, attempt=2, owner="gpu7")
    created = database.create_trial(1, state="RUNNING", params=PARAMS, choices=CHOICES, attrs=origin)
    database.report(created.trial_id, 75, 3.25)
    database.report(created.trial_id, 25, 4.5)
    ending = ending_attrs(
        "complete", reason="", seconds=12.5, slot="cpu0", script="0123456789abcdef",
        summary={"val_bpb": 0.9979, "peak_vram_mb": 1024.5, "mfu_percent": "n/a"},
    )  # fmt: skip
    assert database.finish_trial(created.trial_id, "COMPLETE", 0.9979, attrs=ending)
    (record,) = read_records(database, 1)
    assert record == TrialRecord(
        number=0, trial_id=created.trial_id, state="COMPLETE", status="complete", params=PARAMS, value=0.9979,
        reason="", kind="requeue", requeue_of=4, attempt=2, owner="gpu7", started=record.started,
        finished=record.finished, seconds=12.5, slot="cpu0", script="0123456789abcdef",
        summary={"val_bpb": 0.9979, "peak_vram_mb": 1024.5, "mfu_percent": "n/a"}, curve={25: 4.5, 75: 3.25},
    )  # fmt: skip
    assert list(record.curve) == [25, 75]


def test_a_trial_carries_five_attributes_and_a_sixth_if_it_was_condemned(database: Database) -> None:
    ending = {"status": "complete", "reason": "r", "seconds": 1.0, "slot": "s", "script": "x", "summary": {"a": 1}}
    run_trial(database, "COMPLETE", 1.0, **ending)
    condemned = database.create_trial(1, state="RUNNING", params=PARAMS, choices=CHOICES, attrs=origin_attrs("sampler"))
    database.set_trial_attrs(condemned.trial_id, condemned_attrs("train loss 9\nis hopeless"))
    database.finish_trial(condemned.trial_id, "COMPLETE", 1.0, attrs=ending_attrs(**ending))
    assert [len(trial.user_attrs) for trial in database.trials(1)] == [5, 6]
    assert [record.condemned for record in read_records(database, 1)] == ["", "train loss 9 is hopeless"]


def test_times_are_aware_and_utc(database: Database) -> None:
    before = datetime.now(UTC)
    run_trial(database, "FAIL", status="crashed")
    (record,), after = read_records(database, 1), datetime.now(UTC)
    assert record.started is not None
    assert record.finished is not None
    assert record.started.utcoffset() == record.finished.utcoffset() == timedelta(0)
    assert before <= record.started <= record.finished <= after


def test_the_seconds_of_a_trial_without_a_clock_are_those_of_its_record(database: Database) -> None:
    run_trial(database, "FAIL", status="lost")
    (record,) = read_records(database, 1)
    assert record.started is not None
    assert record.finished is not None
    assert record.seconds == (record.finished - record.started).total_seconds()


def test_only_a_complete_trial_has_a_value(database: Database) -> None:
    run_trial(database, "PRUNED", status="hopeless")
    # Optuna itself stores the last intermediate value as the value of a trial that it prunes.
    study = optuna.load_study(study_name="cpu", storage=database.storage)
    study.add_trial(create_trial(state=TrialState.PRUNED, value=0.001, intermediate_values={50: 0.001}))
    study.add_trial(create_trial(state=TrialState.COMPLETE, value=math.inf))
    run_trial(database, "COMPLETE", 1.0, status="complete")
    records = read_records(database, 1)
    assert [record.value for record in records] == [None, None, None, 1.0]
    best = best_record(records, "minimize")
    assert best is not None
    assert best.number == 3


def test_the_best_is_the_earliest_of_equals_in_either_direction() -> None:
    records = [TrialRecord(n, n, "COMPLETE", value=value) for n, value in enumerate((2.0, 1.0, 3.0, 1.0, 3.0))]
    lowest, highest = best_record(records, "minimize"), best_record(records, "maximize")
    assert lowest is not None
    assert highest is not None
    assert (lowest.number, highest.number) == (1, 2)
    assert best_record([TrialRecord(0, 0, "FAIL")], "minimize") is None


def test_trials_of_another_program_read_as_well(database: Database) -> None:
    study = optuna.load_study(study_name="cpu", storage=database.storage)
    study.enqueue_trial({"lr": 0.5})
    asked = study.ask()
    asked.suggest_float("lr", 0.0, 1.0)
    for key, value in {"origin": "theirs", "summary": [1], "ending": None, "status": 5, "reason": {}}.items():
        asked.set_user_attr(key, value)
    study.tell(asked, 1.5)
    (record,) = read_records(database, 1)
    assert (record.params, record.value, record.kind, record.status) == ({"lr": 0.5}, 1.5, "", "")
    assert (record.summary, record.reason, record.requeue_of, record.attempt) == ({}, "", None, 1)
    assert record.seconds is not None


def test_a_summary_of_another_program_is_numbers_and_short_texts() -> None:
    told = {"none": None, "list": [1, 2], "huge": 10**400, "nan": float("nan"), "one": 1}
    kept = ending_attrs("complete", summary=told)["summary"]  # type: ignore[arg-type]
    assert kept == {"list": "[1, 2]", "huge": str(10**400)[:197] + "...", "nan": "nan", "one": 1}


def test_what_a_script_printed_is_cut_and_cleaned() -> None:
    attrs = ending_attrs(
        "crashed",
        reason="boom\n\x1b[31mred\x1b[0m\t" + "x" * 1000,
        seconds=math.nan,
        summary={f"key {n}" + "y" * 100: "z\0" * 1000 for n in range(500)},
    )
    assert attrs["reason"].startswith("boom [31mred [0m xxx")
    assert len(attrs["reason"]) <= 300
    assert len(json.dumps(attrs)) < 12_000
    assert len(attrs["summary"]) == 40


@given(
    st.dictionaries(st.text(max_size=80), st.floats() | st.text(max_size=300), max_size=5),
    st.text(max_size=400),
    st.floats() | st.none(),
)
def test_any_ending_is_json_that_every_reader_knows(
    summary: dict[str, float | str], reason: str, seconds: float | None
) -> None:
    attrs = ending_attrs("complete", reason=reason, summary=summary, seconds=seconds)
    text = json.dumps(attrs, allow_nan=False)
    trial = create_trial(state=TrialState.FAIL, user_attrs=json.loads(text))
    record = record_of(trial)
    assert record.reason == attrs["reason"]
    assert dict(record.summary) == attrs["summary"]
    assert "\n" not in record.reason
    text.encode("utf-8")
