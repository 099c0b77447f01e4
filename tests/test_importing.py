"""Tables and JSON lines from elsewhere become studies: every row is kept, nothing of a file is believed, all or nothing."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from optimize.errors import SettingsError
from optimize.reporting.files import write_views
from optimize.study.stored import find_study
from tests.conftest import Driver
from tests.imports import bring, database, results_tsv, study, written

HEADER = "commit\tval_bpb\tmemory_gb\tstatus\tdescription\n"


def problems(folder: Path, source: Path | str, **said: object) -> list[str]:
    """The lines that are said of a file that cannot be brought in; nothing is written."""
    with database(folder) as opened:
        before = opened.study_names()
    with pytest.raises(SettingsError) as refused:
        bring(folder, source, **said)  # type: ignore[arg-type]
    with database(folder) as opened:
        assert opened.study_names() == before
    assert all("\n" not in line and line.isprintable() for line in refused.value.problems)
    return list(refused.value.problems)


def test_every_row_of_a_results_tsv_of_300_is_a_trial(tmp_path: Path) -> None:
    said = bring(tmp_path, written(tmp_path, "results.tsv", results_tsv()))
    lines = results_tsv().splitlines()[1:]
    with study(tmp_path) as stored:
        records = stored.records()
        frozen = stored.database.trials(stored.study_id)
    assert len(records) == len(lines) == 300
    for record, trial, line in zip(records, frozen, lines, strict=True):
        commit, value, memory_gb, status, description = line.split("\t")
        assert record.state == ("FAIL" if status == "crash" else "COMPLETE")
        assert record.value == (None if status == "crash" else float(value))
        assert record.script == trial.user_attrs["commit"] == commit
        assert trial.user_attrs["description"] == record.reason == description
        assert trial.user_attrs["status_there"] == status
        assert record.summary.get("peak_vram_mb") == (float(memory_gb) * 1024 or None)
        assert record.taken_from == f"results.tsv line {record.number + 2}"
    assert records[0].kind == "baseline"
    assert records[10].params.keys() == {"DEPTH", "MATRIX_LR"}
    assert sum(bool(record.params) for record in records) == 29
    assert "300 trials (270 complete, 30 fail), val_bpb minimized; 29 name parameters (2 different)" in said[0]


def test_parameters_range_over_what_they_were(tmp_path: Path) -> None:
    told = ["A=2**3 B=1e-4 C=x D=True E=(0.8, 0.95) F=1", "A=12, B=0.5, C='y z', D=false, E=(0.9, 0.95), F=two"]
    rows = "".join(f"c{n}\t0.9\t1\tkeep\t{text}\n" for n, text in enumerate(told))
    bring(tmp_path, written(tmp_path, "r.tsv", HEADER + rows))
    with study(tmp_path) as stored:
        one, other = stored.database.trials(stored.study_id)
    assert one.params == {"A": 8, "B": 1e-4, "C": "x", "D": True, "E": "(0.8, 0.95)", "F": "1"}
    assert other.params == {"A": 12, "B": 0.5, "C": "y z", "D": False, "E": "(0.9, 0.95)", "F": "two"}
    assert one.distributions == other.distributions
    assert one.distributions["A"] == IntDistribution(8, 12)
    assert one.distributions["B"] == FloatDistribution(1e-4, 0.5, log=True)
    assert one.distributions["C"] == CategoricalDistribution(("x", "y z"))
    assert one.distributions["D"] == CategoricalDistribution((False, True))
    assert one.distributions["F"] == CategoricalDistribution(("1", "two"))


@pytest.mark.parametrize(
    ("value", "status", "state", "kept"),
    [
        ("0.97", "keep", "COMPLETE", 0.97),
        ("0.97", "discard", "COMPLETE", 0.97),
        ("0.97", "", "COMPLETE", 0.97),
        ("0.97", "reverted", "COMPLETE", 0.97),
        ("0.97", "crash", "FAIL", None),
        ("0.000000", "crash", "FAIL", None),
        ("0.000000", "keep", "FAIL", None),
        ("nan", "keep", "FAIL", None),
        ("inf", "keep", "FAIL", None),
        ("n/a", "keep", "FAIL", None),
        ("", "discard", "PRUNED", None),
        ("", "timed_out", "PRUNED", None),
        ("", "crashed", "FAIL", None),
    ],
)
def test_a_status_and_a_value_become_a_state(
    tmp_path: Path, value: str, status: str, state: str, kept: float | None
) -> None:
    bring(tmp_path, written(tmp_path, "r.tsv", f"{HEADER}a\t{value}\t1\t{status}\tDEPTH=2\n"))
    with study(tmp_path) as stored:
        (record,) = stored.records()
    assert (record.state, record.value, record.params) == (state, kept, {"DEPTH": 2})


def test_what_was_taken_otherwise_than_told_is_said(tmp_path: Path) -> None:
    rows = "a\t0.9\t1\treverted\tDEPTH=2\nb\tnone\t1\tkeep\tDEPTH=3\nc\t0.8\t1\treverted\t\n"
    said = bring(tmp_path, written(tmp_path, "r.tsv", HEADER + rows))
    assert said[1:] == [
        f"import {tmp_path}/r.tsv: 2 with the status reverted, judged by their value",
        f"import {tmp_path}/r.tsv: 1 without a value, kept as failed",
    ]


def test_a_tab_in_a_description_and_a_missing_last_cell_lose_no_row(tmp_path: Path) -> None:
    bring(tmp_path, written(tmp_path, "r.tsv", f"{HEADER}a\t0.9\t1\tkeep\tone\ttwo\nb\t0.8\t1\tkeep\n\n"))
    with study(tmp_path) as stored:
        assert [record.reason for record in stored.records()] == ["one two", ""]


def test_another_metric_of_the_five_columns_is_the_metric(tmp_path: Path) -> None:
    text = HEADER.replace("val_bpb", "accuracy") + "a\t0.5\t1\tkeep\t\nb\t0.9\t1\tkeep\t\nc\t0\t1\tkeep\t\n"
    bring(tmp_path, written(tmp_path, "r.tsv", text), direction="maximize")
    with study(tmp_path) as stored:
        assert (stored.metric.name, stored.metric.direction) == ("accuracy", "maximize")
        assert [record.value for record in stored.records()] == [0.5, 0.9, 0.0]
        best = stored.best()
    assert best is not None
    assert best.record.number == 1


def test_our_own_tables_come_back_as_they_were(driver: Driver, tmp_path: Path) -> None:
    driver.run(trials=6)
    with driver.database() as opened:
        original = find_study(opened, "s", driver.settings.runs)
        write_views(original)
        before = original.records()
    place = tmp_path / "place"
    place.mkdir()
    bring(place, driver.paths.trials_csv)
    bring(place, driver.paths.results_tsv, "tsv")
    with study(place) as stored:
        after = stored.records()
    for one, other in zip(before, after, strict=True):
        assert (one.state, one.status, one.value, one.params, one.kind) == (
            other.state, other.status, other.value, other.params, other.kind,
        )  # fmt: skip
        assert (one.started, one.finished, one.seconds, one.slot, one.script) == (
            other.started, other.finished, other.seconds, other.slot, other.script,
        )  # fmt: skip
        assert one.summary == other.summary
    with study(place, "tsv") as stored:
        assert [r.value for r in stored.records()] == pytest.approx([r.value for r in before])


def test_what_optuna_saves_as_a_dataframe_is_understood(tmp_path: Path) -> None:
    text = (
        ",number,value,datetime_start,datetime_complete,duration,params_lr,params_n,user_attrs_note,system_attrs_x,state\n"
        "0,0,0.5,2025-07-01 12:00:00,2025-07-01 12:05:00,0 days 00:05:00,0.1,3,hello,1,COMPLETE\n"
        "1,1,0.9,2025-07-01 12:05:00,2025-07-01 12:06:00,0 days 00:01:00,0.2,4,,1,PRUNED\n"
        "2,2,,2025-07-01 12:06:00,,,,,,,FAIL\n"
    )
    bring(tmp_path, written(tmp_path, "trials.csv", text), zone="Europe/Berlin")
    with study(tmp_path) as stored:
        one, two, three = stored.database.trials(stored.study_id)
        records = stored.records()
    assert one.params == {"lr": 0.1, "n": 3}
    assert one.user_attrs["note"] == "hello"
    assert not any("system" in key for key in one.user_attrs)
    assert records[0].started == datetime(2025, 7, 1, 10, 0, tzinfo=UTC)
    assert records[0].seconds == 300.0
    assert [r.state for r in records] == ["COMPLETE", "PRUNED", "FAIL"]
    assert two.user_attrs["value_there"] == 0.9
    assert three.params == {}


def test_a_table_may_tell_moments_as_seconds_since_1970(tmp_path: Path) -> None:
    rows = ("1.0,1751364000,1751364060.5", "1.1,1751364000000,2025-07-01T10:01:00Z", "1.2,20250701,soon")
    bring(tmp_path, written(tmp_path, "r.csv", "\n".join(["val_bpb,started,finished", *rows, ""])), zone="UTC")
    with study(tmp_path) as stored:
        records = stored.records()
    begun = datetime(2025, 7, 1, 10, 0, tzinfo=UTC)
    assert [r.started for r in records] == [begun, begun, begun.replace(hour=0)]
    assert [r.finished for r in records] == [
        begun.replace(minute=1, microsecond=500_000),
        begun.replace(minute=1),
        None,
    ]


def test_a_row_whose_time_cannot_be_read_is_kept_without_it_and_counted(tmp_path: Path) -> None:
    rows = ("1.0,yesterday,", "1.1,2025-07-01T10:00:00Z,31.12.2025", "1.2,,", "1.3,soon,later", "1.4,1751364000,")
    path = written(tmp_path, "r.csv", "\n".join(["val_bpb,started,finished", *rows, ""]))
    assert bring(tmp_path, path)[1:] == [f"import {path}: 3 with a time that cannot be read, kept without it"]
    with study(tmp_path) as stored:
        assert [r.value for r in stored.records()] == [1.0, 1.1, 1.2, 1.3, 1.4]
        assert [(r.started is None, r.finished is None) for r in stored.records()] == [
            (True, True), (False, True), (True, True), (True, True), (False, True),
        ]  # fmt: skip
    lines = '{"val_bpb": 1, "started": null}\n{"val_bpb": 2, "finished": [1]}\n{"val_bpb": 3, "started": 1e300}\n'
    said = bring(tmp_path, written(tmp_path, "r.jsonl", lines), "lines")
    assert said[1].endswith("2 with a time that cannot be read, kept without it")


def test_json_lines_of_several_manners_are_understood(tmp_path: Path) -> None:
    lines = [
        {"number": 7, "params": {"lr": 0.1, "betas": [0.9, 0.95]}, "val_bpb": 0.98, "status": "keep", "tokens": 5},
        {"trial": 8, "DEPTH": 6, "metrics": {"val_bpb": 0.97, "peak_vram_mb": 44.0}, "status": "discard"},
        {"config": {"lr": 0.2}, "status": "crash", "error": "OOM", "val_bpb": None},
        {"val_bpb": 0.99, "description": "DEPTH 8 -> 9", "timestamp": 1_751_364_000, "user_attrs": {"who": "me"}},
        {"state": "COMPLETE", "val_bpb": 1.0, "intermediate_values": {"1": 2.0, "2": 1.5}, "note": {"deep": [1, 2]}},
    ]
    text = "\n".join(map(json.dumps, lines)) + "\n"
    bring(tmp_path, written(tmp_path, "trials.jsonl", text))
    with study(tmp_path) as stored:
        trials, records = stored.database.trials(stored.study_id), stored.records()
    assert [t.params for t in trials] == [
        {"lr": 0.1, "betas": "(0.9, 0.95)"},
        {"DEPTH": 6},
        {"lr": 0.2},
        {"DEPTH": 9},
        {},
    ]
    assert [r.value for r in records] == [0.98, 0.97, None, 0.99, 1.0]
    assert records[0].taken_from == "trials.jsonl line 1 (trial 7)"
    assert trials[0].user_attrs["tokens"] == 5
    assert records[1].summary["peak_vram_mb"] == 44.0
    assert (records[2].state, records[2].reason) == ("FAIL", "OOM")
    assert trials[3].user_attrs["who"] == "me"
    assert records[3].finished == datetime(2025, 7, 1, 10, 0, tzinfo=UTC)
    assert records[4].curve == {1: 2.0, 2: 1.5}
    assert trials[4].user_attrs["note"] == {"deep": [1, 2]}


def test_columns_in_small_letters_are_parameters_where_the_user_says_so(tmp_path: Path) -> None:
    path = written(tmp_path, "t.csv", "val_bpb,lr,n_layer,note\n0.9,0.1,4,x\n0.8,0.2,6,y\n")
    bring(tmp_path, path, params=("lr", "n_layer"))
    with study(tmp_path) as stored:
        assert [dict(r.params) for r in stored.records()] == [{"lr": 0.1, "n_layer": 4}, {"lr": 0.2, "n_layer": 6}]
    assert "no row has depth (--params)" in problems(tmp_path, path, study="other", params=("lr", "depth"))[0]


@pytest.mark.parametrize(
    ("name", "text", "what"),
    [
        ("t.tsv", "", "it is empty"),
        ("t.tsv", HEADER, "has a header and no row"),
        ("t.csv", "loss,DEPTH\n1,2\n", "has neither val_bpb nor value. It has loss, DEPTH"),
        ("t.csv", "val_bpb,DEPTH,DEPTH\n1,2,3\n", "has the column 'DEPTH' twice"),
        ("t.csv", "val_bpb,DEPTH\n1,2\n1,2,3\n", "line 3 has 3 cells, the header 2"),
        ("t.csv", 'val_bpb,DEPTH\n1,"2\n', "not a line of a table"),
        ("t.csv", b"val_bpb,DEPTH\n1,\xff\xfe\n", "byte 16 is not UTF-8"),
        ("t.csv", "\x1b[2J\x1b[31m,\u202e\n1,2\n", "has neither val_bpb nor value"),
        ("t.jsonl", "", "it is empty"),
        ("t.jsonl", "{not json}\n", "line 1 is not JSON"),
        ("t.jsonl", '{"val_bpb": 1}\n\n[1]\n', "line 3 is not a JSON object"),
        ("t.jsonl", '{"val_bpb": 1, "params": 3}\n', "has params that is not an object"),
        ("t.jsonl", '{"values": [1, 2], "params": {}}\n', "studies here have one objective"),
        ("t.jsonl", '{"loss": 1, "status": "keep"}\n', "has neither val_bpb nor value"),
        ("t.jsonl", '{"val_bpb": 1}\n{"type": "config"}\n', "line 2 holds no trial"),
        ("t.jsonl", '{"val_bpb": 1}\n' + "[" * 100_000 + "\n", "line 2 is not JSON"),
        ("t.jsonl", '{"val_bpb": ' + "9" * 10_000 + "}\n", "line 1 is not JSON"),
        ("t.db", "SQLite format 3", "not a SQLite database"),
    ],
)  # fmt: skip
def test_a_spoilt_file_is_one_line(tmp_path: Path, name: str, text: str | bytes, what: str) -> None:
    (line,) = problems(tmp_path, written(tmp_path, name, text))
    assert line.startswith(f"import {tmp_path}/{name}: ")
    assert what in line


@pytest.mark.parametrize(
    "name", ["nothing.csv", "nothing.db", ".", "a\0b.csv", "~nobody-of-that-name/x.csv", "/dev/null"]
)
def test_what_is_no_file_is_one_line(tmp_path: Path, name: str) -> None:
    (line,) = problems(tmp_path, name if name.startswith(("~", "/")) else str(tmp_path / name))
    assert line.startswith("import ")


def test_a_pipe_is_one_line_and_blocks_nobody(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (line,) = problems(tmp_path, tmp_path / "pipe")
    assert "is not a file" in line


def test_many_bad_lines_are_told_at_once_and_cut(tmp_path: Path) -> None:
    told = problems(tmp_path, written(tmp_path, "t.jsonl", "nonsense\n" * 30))
    assert len(told) == 9
    assert told[-1].endswith("and 22 more such lines. Correct them.")


def test_all_that_is_wrong_with_a_call_is_told_at_once(tmp_path: Path) -> None:
    path = written(tmp_path, "t.csv", "loss\n1\n")
    bring(tmp_path, written(tmp_path, "r.tsv", results_tsv(5)), "there")
    told = problems(tmp_path, path, study="there", direction="down", zone="Mars/Olympus", source_study="x")
    assert [line.split(":")[0] for line in told] == [
        "study there",
        "--direction",
        "--source-study",
        "--zone",
        f"import {path}",
    ]
    (line,) = problems(tmp_path, tmp_path / "r.tsv", zone="../../etc/passwd")
    assert line.startswith("--zone: ")
    (line,) = problems(tmp_path, tmp_path / "r.tsv", study="..out")
    assert "not a name for a study" in line


def test_nothing_of_a_file_is_believed(tmp_path: Path) -> None:
    """Control characters, NaN, prose as a parameter, attributes of ours, endless ones."""
    evil = {
        "val_bpb": 0.9, "params": {"LR\x1b[31m": 1, "n": 2, "big": 10**400, "nan": float("nan")},
        "note": "a\x1b[2J\x00b\nline two", "origin": {"kind": "baseline"},
        "summary": {"x": float("inf"), "n": 10**400}, "huge": 10**4000,
        "ending": "mine", "many": {str(n): n for n in range(50_000)}, "long": "y" * 100_000, "deep": [[[[[[[[[[[1]]]]]]]]]]],
    }  # fmt: skip
    lines = [json.dumps(evil), *(json.dumps({"val_bpb": 1, "params": {"prose": f"text {n}"}}) for n in range(300))]
    said = bring(tmp_path, written(tmp_path, "t.jsonl", "\n".join(lines)))
    assert any("300 with prose, which has more than 200 texts and is kept as an attribute" in line for line in said)
    with study(tmp_path) as stored:
        trials, records = stored.database.trials(stored.study_id), stored.records()
        write_views(stored)
    first = trials[0].user_attrs
    assert records[0].kind == ""
    assert list(records[0].params) == ["LR [31m", "n", "big", "nan"]
    assert first["note"] == "a [2J b\nline two"
    assert first["origin_there"] == {"kind": "baseline"}
    assert records[0].summary == {"x": "inf", "n": str(10**400)[:100]}
    assert first["huge"] == str(10**4000)[:100]
    assert records[0].params["big"] == str(10**400)[:200]
    assert len(json.dumps(first, allow_nan=False)) < 20_000
    assert records[1].params == {}
    assert trials[1].user_attrs["prose"] == "text 0"


def test_a_value_of_zero_is_one_where_the_state_says_so(tmp_path: Path) -> None:
    bring(tmp_path, written(tmp_path, "t.csv", "number,state,val_bpb,DEPTH\n0,COMPLETE,0.0,2\n"), metric="val_bpb")
    with study(tmp_path) as stored:
        (record,) = stored.records()
    assert (record.state, record.value) == ("COMPLETE", 0.0)
