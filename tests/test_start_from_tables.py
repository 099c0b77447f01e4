"""Tables from elsewhere: what they offer is read, what they cannot is said, and a spoilt one is one line."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from optimize.errors import SettingsError
from optimize.study.named_sources import is_file, read_candidates
from optimize.trial import Metric
from search_spaces import parse_space
from storage import TrialRecord, write_results, write_trials

SPACE = parse_space(
    """
    [parameters]
    DEPTH = [2, 3, 4]
    LR = [0.01, 0.02, 0.04]
    PATTERN = ["L", "SSSL"]
    BETAS = [[0.8, 0.95], [0.9, 0.95]]
    TIED = [true, false]
    """,
    "x/space.toml",
)
HEADER = "commit\tval_bpb\tmemory_gb\tstatus\tdescription\n"


def read(tmp_path: Path, text: str | bytes, name: str = "results.tsv", metric: Metric = Metric()):  # type: ignore[no-untyped-def]  # noqa: B008
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_candidates(str(path), SPACE, metric)


def problem(tmp_path: Path, text: str | bytes, name: str = "results.tsv") -> str:
    with pytest.raises(SettingsError) as caught:
        read(tmp_path, text, name)
    (line,) = caught.value.problems
    assert line.isprintable()
    return line


def record(number: int, value: float | None, **params: object) -> TrialRecord:
    whole = {"DEPTH": 3, "LR": 0.02, "PATTERN": "L", "BETAS": "(0.8, 0.95)", "TIED": True, **params}
    state = "COMPLETE" if value is not None else "PRUNED"
    kind = "sampler" if params else "baseline"
    return TrialRecord(number, number, state, value=value, params=whole, kind=kind, summary={"steps": 3.0})  # type: ignore[arg-type]


OURS = [
    record(0, 1.0),
    record(1, 0.9, DEPTH=4, BETAS="(0.9, 0.95)"),
    record(2, None, DEPTH=2),
    record(3, 0.8, LR=0.04, PATTERN="SSSL", TIED=False),
]


def test_a_name_is_a_study_and_a_path_a_file() -> None:
    assert [is_file(source) for source in ("night", "results.tsv", "trials.CSV", "./x", "a/b.txt")] == [
        False,
        *[True] * 4,
    ]


def test_our_own_trials_csv_gives_whole_configurations_the_best_first(tmp_path: Path) -> None:
    write_trials(tmp_path / "trials.csv", OURS)
    table = read_candidates(str(tmp_path / "trials.csv"), SPACE, Metric())
    best = {"DEPTH": 3, "LR": 0.04, "PATTERN": "SSSL", "BETAS": (0.8, 0.95), "TIED": False}
    assert table.candidates[0].params == best
    assert [each.title.split("/")[-1] for each in table.candidates] == [
        "trials.csv line 5 (val_bpb 0.8)", "trials.csv line 3 (val_bpb 0.9)", "trials.csv line 2 (val_bpb 1)",
    ]  # fmt: skip
    assert table.note.endswith("3 of 4 rows can be tried (lines 2, 3, 5); not: 1 not complete with a value")


def test_a_column_that_had_to_give_way_to_one_of_ours_is_found(tmp_path: Path) -> None:
    space = parse_space("[parameters]\nnumber = [1, 2, 3]\n", "x.toml")
    write_trials(tmp_path / "t.csv", [TrialRecord(7, 7, "COMPLETE", value=0.5, params={"number": 2})], metric="seconds")
    table = read_candidates(str(tmp_path / "t.csv"), space, Metric("seconds"))
    assert [dict(each.params) for each in table.candidates] == [{"number": 2}]


def test_our_own_results_tsv_gives_what_differed_from_the_baseline(tmp_path: Path) -> None:
    write_results(tmp_path / "results.tsv", OURS)
    table = read_candidates(str(tmp_path / "results.tsv"), SPACE, Metric())
    assert [dict(each.params) for each in table.candidates] == [
        {"LR": 0.04, "PATTERN": "SSSL", "TIED": False},
        {"DEPTH": 4, "BETAS": (0.9, 0.95)},
    ]
    assert "2 of 4 rows can be tried" in table.note
    assert "1 the baseline, which is tried anyway; 1 not complete with a value" in table.note


def test_a_results_tsv_of_autoresearch_gives_what_its_descriptions_name(tmp_path: Path) -> None:
    table = read(
        tmp_path,
        HEADER
        + "a1b2c3d\t0.997900\t44.0\tkeep\tbaseline\n"
        + "b2c3d4e\t0.993200\t44.2\tkeep\tincrease LR to 0.04\n"
        + "c3d4e5f\t0.990000\t44.0\tdiscard\tDEPTH=4, LR: 2e-2 and GELU=1\n"
        + "d4e5f6g\t0.000000\t0.0\tcrash\tDEPTH=2 (OOM)\n"
        + "d4e5f6g\t0.000000\t0.0\tkeep\tDEPTH=2\n",
    )
    (only,) = table.candidates
    assert only.params == {"DEPTH": 4, "LR": 0.02, "GELU": "1"}
    assert "1 of 5 rows can be tried (line 4)" in table.note
    assert "1 name no parameter of the space (NAME=value); 2 not complete with a value" in table.note


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("DEPTH=2**2", {"DEPTH": 4}),
        ("DEPTH = 4.0.", {"DEPTH": 4}),
        ("BETAS=(0.9, 0.95)", {"BETAS": (0.9, 0.95)}),
        ("BETAS (0.8, 0.95) -> (0.9, 0.95)", {"BETAS": (0.9, 0.95)}),
        ("PATTERN='SSSL'", {"PATTERN": "SSSL"}),
        ("PATTERN=SLSL", {}),
        ("TIED=False", {"TIED": False}),
        ("LR=nan", {}),
        ("LR=1e999", {}),
        ("LR=" + "9" * 5000, {}),
        ("DEPTH=9**9**9", {}),
        ("DEPTH=__import__('os')", {}),
        ("DEPTH", {}),
        ("SDEPTH=3", {}),
    ],
)
def test_a_description_is_data(tmp_path: Path, text: str, value: dict[str, object]) -> None:
    table = read(tmp_path, f"{HEADER}a\t0.9\t1\tkeep\tLR=0.01\nb\t0.8\t1\tkeep\t{text}\n")
    assert [dict(each.params) for each in table.candidates] == [*([value] if value else []), {"LR": 0.01}]


def test_the_best_is_by_the_metrics_direction(tmp_path: Path) -> None:
    text = "accuracy,DEPTH\n0.5,2\n0.9,3\n0.7,4\n"
    table = read(tmp_path, text, "t.csv", Metric("accuracy", "maximize"))
    assert [each.params["DEPTH"] for each in table.candidates] == [3, 4, 2]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "empty"),
        ("\n\n  \n", "empty"),
        (HEADER, "has a header and no row"),
        ("val_bpb,loss\n1,2\n", "1 name no parameter of the space (NAME=value)"),
        ("loss,DEPTH\n1,2\n", "has neither val_bpb nor value"),
        ("val_bpb,DEPTH,DEPTH\n1,2,3\n", "has the column 'DEPTH' twice"),
        ("val_bpb,DEPTH\nnan,2\ninf,2\n,3\nlow,4\n0.000000,3\n", "5 not complete with a value"),
        ("val_bpb,DEPTH\n1,deep\n1,nan\n", "2 with a DEPTH that is like none of its choices"),
        ("val_bpb,DEPTH\n1,\n", "1 name no parameter of the space"),
        ("val_bpb,DEPTH\n1,2,3,4\n", "line 2 has 4 cells, the header 2"),
        ("val_bpb,DEPTH,state\n1,2,FAIL\n1,2,PRUNED\n1,2,RUNNING\n", "3 not complete with a value"),
        ('val_bpb,DEPTH\n1,"2\n', "not a line of a table"),
        ("val_bpb,DEPTH\n1," + "2" * 200_000 + "\n", "not a line of a table"),
        (b"val_bpb,DEPTH\n1,\xff\xfe\n", "byte 16 is not UTF-8"),
        ("val_bpb,DEPTH\n1,2\n".encode("utf-16"), "not UTF-8"),
        (b"PK\x03\x04\x14\x00\x06\x00\x08\x00", "has neither val_bpb nor value"),
        ("\x1b[2J\x1b[31m,\u202e\n1,2\n", "has neither val_bpb nor value"),
        (b"\0" * 1000, "has neither val_bpb nor value"),
    ],
)
def test_a_spoilt_table_is_one_line(tmp_path: Path, text: str | bytes, what: str) -> None:
    assert what in problem(tmp_path, text, "t.csv")


@pytest.mark.parametrize(
    "name", ["nothing.csv", ".", "pipe", "a\0b.csv", "~nobody-of-that-name/x.csv", "x" * 5000 + ".csv"]
)
def test_what_is_no_file_is_one_line(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    where = name if name.startswith("~") else f"{tmp_path}/{name}"
    with pytest.raises(SettingsError) as caught:
        read_candidates(where, SPACE, Metric())
    assert len(caught.value.problems) == 1
    assert "\n" not in caught.value.problems[0]


def test_a_byte_order_mark_and_windows_line_ends_are_read(tmp_path: Path) -> None:
    table = read(tmp_path, "\ufeffval_bpb,DEPTH\r\n1.5,3\r\n", "t.csv")
    assert [dict(each.params) for each in table.candidates] == [{"DEPTH": 3}]


def test_many_rows_are_counted_and_not_listed(tmp_path: Path) -> None:
    rows = "".join(f"{1 + i / 1000},{random.Random(i).choice([2, 3, 4])}\n" for i in range(20_000))
    table = read(tmp_path, "val_bpb,DEPTH\n" + rows, "t.csv")
    assert table.note.endswith("20000 of 20000 rows can be tried")


SOUND = (
    "commit\tval_bpb\tmemory_gb\tstatus\tdescription\nabc\t0.9\t1.0\tkeep\tDEPTH 3 -> 4, BETAS (0.8, 0.95) -> (0.9, 0.95)\n"
    * 2
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, len(SOUND)), st.integers(0, 20), st.binary(max_size=20))
def test_whatever_is_spoilt_is_read_or_refused(tmp_path: Path, at: int, gone: int, instead: bytes) -> None:
    raw = SOUND.encode()
    problems: list[str] = []
    try:
        found = len(read(tmp_path, raw[:at] + instead + raw[at + gone :]).candidates)
    except SettingsError as error:
        found, problems = 0, list(error.problems)
    assert (found > 0) != (len(problems) > 0)
    assert all(line.isprintable() for line in problems)


@pytest.mark.parametrize("end", ["...", "\u2026", "81...", ", MATRIX_LR 0.04 -> 0.0..."])
def test_a_description_that_was_cut_sets_nothing_and_is_said(tmp_path: Path, end: str) -> None:
    rows = [
        "commit\tval_bpb\tmemory_gb\tstatus\tdescription",
        f"\t1.0\t\tkeep\tDEPTH 4 -> 6{end}",
        "\t1.1\t\tkeep\tDEPTH 4 -> 8",
    ]
    (tmp_path / "results.tsv").write_text("\n".join(rows) + "\n")
    table = read_candidates(str(tmp_path / "results.tsv"), SPACE, Metric())
    assert "1 with a description that lacks its end" in table.note
    assert [dict(candidate.params)["DEPTH"] for candidate in table.candidates] == [8]
