"""The two tables: autoresearch's five columns, and everything."""

from __future__ import annotations

import csv
import io
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimize.importing.cells import settings_in
from storage import TrialRecord, changes, frame, number_text, write_results, write_trials
from storage.exports import results_text

START = datetime(2026, 1, 1, 12, tzinfo=UTC)
BASE = {"DEPTH": 2, "MATRIX_LR": 0.04, "ADAM_BETAS": "(0.8, 0.95)"}


def record(number: int, state: str = "COMPLETE", value: float | None = None, **more: object) -> TrialRecord:
    """A trial that ended `number` minutes after the start."""
    known: dict[str, object] = {
        "params": BASE,
        "kind": "sampler",
        "status": "complete",
        "script": f"{number:016x}",
        "started": START,
        "finished": START + timedelta(minutes=number),
    }
    return TrialRecord(number, number + 100, state, value=value, **{**known, **more})  # type: ignore[arg-type]


STUDY = [
    record(
        0, value=2.15, kind="baseline", script="abcdef0123456789", summary={"peak_vram_mb": 45060.2, "num_steps": 953}
    ),
    record(1, "PRUNED", status="out_of_memory", reason="CUDA out of memory", params={**BASE, "DEPTH": 9}),
    record(2, value=2.25, params={**BASE, "MATRIX_LR": 0.01}),
    record(3, value=2.0512345678, params={**BASE, "MATRIX_LR": 0.02, "DEPTH": 3}),
    record(4, "FAIL", status="crashed", reason='"quoted"\ttab\nline'),
    record(5, "PRUNED", status="hopeless", reason="loss at 45 % is among the worst", curve={45: 0.5}),
    record(6, "RUNNING", status="", finished=None),
    record(7, value=2.0512345678),
]


def test_results_have_autoresearchs_columns_and_say_what_was_kept(tmp_path: Path) -> None:
    write_results(tmp_path / "results.tsv", STUDY)
    assert (tmp_path / "results.tsv").read_text().splitlines() == [
        "commit\tval_bpb\tmemory_gb\tstatus\tdescription",
        "abcdef0\t2.150000\t44.0\tkeep\tbaseline",
        "0000000\t\t\tcrash\tout_of_memory: CUDA out of memory (DEPTH 2 -> 9)",
        "0000000\t2.250000\t\tdiscard\tMATRIX_LR 0.04 -> 0.01",
        "0000000\t2.0512345678\t\tkeep\tDEPTH 2 -> 3, MATRIX_LR 0.04 -> 0.02",
        "0000000\t\t\tcrash\tcrashed: 'quoted' tab line (the baseline again)",
        "0000000\t\t\tdiscard\thopeless: loss at 45 % is among the worst (the baseline again)",
        "0000000\t2.0512345678\t\tdiscard\tthe baseline again",
    ]


def test_what_was_kept_depends_on_when_it_ended_and_on_the_direction() -> None:
    late = [record(0, value=3.0, finished=START + timedelta(hours=1)), record(1, value=1.0), record(2, value=2.0)]
    rows = [line.split("\t") for line in results_text(late, metric="accuracy", direction="maximize").splitlines()]
    assert rows[0][1] == "accuracy"
    assert [(row[1], row[3]) for row in rows[1:]] == [("1.000000", "keep"), ("2.000000", "keep"), ("3.000000", "keep")]
    rows = [line.split("\t") for line in results_text(late).splitlines()]
    assert [row[3] for row in rows[1:]] == ["keep", "discard", "discard"]


def test_a_failure_never_has_a_value_that_sorts_as_a_result() -> None:
    table = pd.read_csv(io.StringIO(results_text(STUDY)), sep="\t")
    assert list(table["val_bpb"].dropna()) == [2.15, 2.25, 2.0512345678, 2.0512345678]
    assert len(table) == 7


@settings(max_examples=50)
@given(st.text(max_size=50), st.text(max_size=50), st.text(max_size=20))
def test_no_text_breaks_the_tables(reason: str, value: str, key: str) -> None:
    records = [record(0, "FAIL", reason=reason, params={"A": value}, summary={key: value}), record(1, value=1.0)]
    lines = results_text(records).split("\n")
    assert [line.count("\t") for line in lines[:-1]] == [4, 4, 4]
    assert len(list(csv.reader(io.StringIO(results_text(records)), delimiter="\t"))) == 3
    rows = list(csv.reader(io.StringIO(frame(records).to_csv(index=False), newline="")))
    assert len({len(row) for row in rows}) == 1


def test_an_empty_study_has_empty_tables(tmp_path: Path) -> None:
    write_results(tmp_path / "results.tsv", [], metric="loss")
    write_trials(tmp_path / "trials.csv", [], metric="loss")
    assert (tmp_path / "results.tsv").read_text() == "commit\tloss\tmemory_gb\tstatus\tdescription\n"
    assert (tmp_path / "trials.csv").read_text().startswith("number,state,status,kind,requeue_of,loss,")


def test_the_trials_table_has_a_column_for_everything_and_exact_numbers(tmp_path: Path) -> None:
    exact = record(1, value=0.1 + 0.2, params={"LR": 1e-05, "DEPTH": 3, "TIED": True, "PAIR": "(1, 2)"}, requeue_of=0,
                   seconds=12.5, slot="cpu0", summary={"peak_vram_mb": 1024.5, "mfu": "n/a"})  # fmt: skip
    write_trials(tmp_path / "trials.csv", [record(0, "FAIL", params={}), exact])
    rows = list(csv.DictReader(io.StringIO((tmp_path / "trials.csv").read_text())))
    assert rows[1] == {
        "number": "1", "state": "COMPLETE", "status": "complete", "kind": "sampler", "requeue_of": "0",
        "val_bpb": "0.30000000000000004", "started": "2026-01-01T12:00:00+00:00",
        "finished": "2026-01-01T12:01:00+00:00", "seconds": "12.5", "slot": "cpu0", "device": "", "script": "0000000000000001",
        "reason": "", "source": "", "taken_from": "",
        "LR": "1e-05", "DEPTH": "3", "TIED": "True", "PAIR": "(1, 2)", "peak_vram_mb": "1024.5",
        "mfu": "n/a",
    }  # fmt: skip
    assert rows[0]["val_bpb"] == ""
    assert rows[0]["LR"] == ""


def test_names_that_collide_are_told_apart() -> None:
    table = frame([record(0, params={"number": 1, "LR": 2, "param_number": 3}, summary={"LR": 4, "val_bpb": 5.0})])
    row = table.iloc[0]
    assert (row["number"], row["param_number"], row["param_param_number"]) == (0, 1, 3)
    assert (row["LR"], row["summary_LR"], row["summary_val_bpb"]) == (2, 4, 5.0)
    assert list(frame([record(0, value=1.0)], metric="seconds")["metric_seconds"]) == [1.0]


def test_changes_are_told_against_the_baseline() -> None:
    assert changes(record(1, params={**BASE, "NEW": 1}), record(0)) == "NEW 1"
    assert changes(record(1), record(0)) == ""
    assert changes(record(1, params={"DEPTH": 3}), None) == "DEPTH 3"


@pytest.mark.parametrize(
    ("value", "text"), [(None, ""), (0.9979, "0.997900"), (2.0, "2.000000"), (1e-9, "1e-09"), (math.pi, repr(math.pi))]
)
def test_a_number_has_six_decimals_unless_it_needs_more(value: float | None, text: str) -> None:
    assert number_text(value) == text


def test_a_description_is_never_cut_and_reads_back_whole(tmp_path: Path) -> None:
    names = {f"PARAMETER_NUMBER_{i}": float(i) for i in range(40)}
    baseline = TrialRecord(0, 1, "COMPLETE", "complete", dict.fromkeys(names, -1.0), value=1.0, kind="baseline")
    trial = TrialRecord(1, 2, "COMPLETE", "complete", names, value=0.9)
    line = results_text([baseline, trial]).splitlines()[2]
    assert settings_in(line.split("\t")[-1]) == {name: str(value) for name, value in names.items()}
    assert len(line) > 1_000


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_a_trial_that_is_only_as_good_as_the_best_is_not_kept(direction: str) -> None:
    trials = [TrialRecord(n, n, "COMPLETE", "complete", {"X": n}, value=1.0, kind="sampler") for n in range(3)]
    words = [line.split("\t")[3] for line in results_text(trials, direction=direction).splitlines()[1:]]
    assert words == ["keep", "discard", "discard"]
