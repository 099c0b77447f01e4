"""A table is read by one set of rules, whether its rows are brought in or tried again; so are its troubles told."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimize.errors import SettingsError
from optimize.importing import Request, read
from optimize.importing.cells import settings_in
from optimize.study.named_sources import read_candidates
from optimize.trial import Metric
from search_spaces import parse_space
from storage import TrialRecord, changes, from_cell, write_results, write_trials
from storage.text import to_cell
from tests.imports import bring, study, written

SPACE = parse_space('[parameters]\nDEPTH = [2, 3, 4]\nnumber = [1, 2, 3]\nNAME = ["a", "1e3"]\n', "x/space.toml")
FIVE = "commit\tval_bpb\tmemory_gb\tstatus\tdescription\n"

Params = list[dict[str, object]]


def tried(path: Path) -> Params:
    """What `--from` would try, in the order of the file."""
    candidates = read_candidates(str(path), SPACE, Metric()).candidates
    return [dict(each.params) for each in sorted(candidates, key=lambda each: each.title)]


def brought(folder: Path, path: Path) -> Params:
    """The parameters of the complete trials that `import` makes of it."""
    bring(folder, path, params=("number",) if "number" in path.read_text(errors="replace") else ())
    with study(folder) as stored:
        return [dict(record.params) for record in stored.records() if record.value is not None]


@pytest.mark.parametrize(
    ("text", "params"),
    [
        ("val_bpb,DEPTH\n1,2\n2,3\n", [{"DEPTH": 2}, {"DEPTH": 3}]),
        ("\n \nval_bpb,DEPTH\n\n1,2\n", [{"DEPTH": 2}]),
        ("\n\nval_bpb\tDEPTH\n1\t2\n", [{"DEPTH": 2}]),
        ("\ufeffval_bpb,DEPTH\r\n1,2\r\n", [{"DEPTH": 2}]),
        ("val_bpb\tDEPTH\r1\t2\r", [{"DEPTH": 2}]),
        ("val_bpb , DEPTH\n 1 , 2 \n", [{"DEPTH": 2}]),
        ('val_bpb,note,DEPTH\n1,"two\nlines, a comma",2\n', [{"DEPTH": 2}]),
        ("val_bpb,,DEPTH,,\n1,7,2,8,9\n", [{"DEPTH": 2}]),
        ("metric_val_bpb,val_bpb,DEPTH\n1,9,2\n", [{"DEPTH": 2}]),
        (",value,params_DEPTH,state\n0,1.5,2,COMPLETE\n1,1.4,3,PRUNED\n", [{"DEPTH": 2}]),
        ("number,val_bpb,param_number\n7,1,2\n", [{"number": 2}]),
        ("val_bpb,DEPTH,params_DEPTH\n1,3,2\n", [{"DEPTH": 2}]),
        ("val_bpb,NAME\n1,'a'\n", [{"NAME": "a"}]),
        ("val_bpb,DEPTH,description\n1,2,TODO: DEPTH=3\n2,,DEPTH=4\n", [{"DEPTH": 2}, {"DEPTH": 4}]),
        (FIVE + "a\t1\t0\tkeep\tDEPTH=2\tand a tab\nb\t0.5\t0\tout_of_memory\tDEPTH=3\n", [{"DEPTH": 2}]),
        ("val_bpb,status,DEPTH\n1,reverted,2\n2,Error,3\n0,keep,3\n3,running,3\n", [{"DEPTH": 2}]),
    ],
)
def test_both_understand_a_table_in_the_same_way(tmp_path: Path, text: str, params: Params) -> None:
    path = written(tmp_path, "t.csv", text)
    assert tried(path) == params
    assert brought(tmp_path, path) == params


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (b"", "it is empty. Give a table with a header."),
        (b"\xef\xbb\xbf\r\n \r\n", "it is empty. Give a table with a header."),
        (b"val_bpb,DEPTH\n", "has a header and no row. Give a table with rows."),
        (b"val_bpb,DEPTH,DEPTH\n1,2,3\n", "has the column 'DEPTH' twice. Remove one."),
        (b"val_bpb,a,a,DEPTH\n1,2,3,4\n", "has the column 'a' twice. Remove one."),
        (
            b"val_bpb,param_DEPTH,params_DEPTH\n1,2,3\n",
            "has DEPTH in the columns param_DEPTH and params_DEPTH. Remove one.",
        ),
        (b"val_bpb,DEPTH\n1,2\n1,2,3\n", "line 3 has 3 cells, the header 2. Correct it."),
        (b'val_bpb,DEPTH\n1,"2\n', "line 2 is not a line of a table: unexpected end of data. Save it as CSV or TSV."),
        (b"val_bpb,DEPTH\n1,\xff\n", "byte 16 is not UTF-8. Save it as UTF-8 text."),
        (b"\x7fELF\x02\x01\x01\x00\xf5", "byte 8 is not UTF-8. Save it as UTF-8 text."),
        (b"val_bpb,DEPTH\n" + b"1,2\n" * 100_001, "more than 100,000 rows. Cut it down."),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_both_say_the_same_of_a_spoilt_table(tmp_path: Path, text: bytes, what: str) -> None:
    both_refuse(written(tmp_path, "t.csv", text), what)


def test_both_say_the_same_of_a_table_of_100_mb(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    with path.open("wb") as file:
        file.truncate(100_000_000)
    both_refuse(path, "larger than 50 MB. Give a smaller file.")


def both_refuse(path: Path, what: str) -> None:
    with pytest.raises(SettingsError) as refused:
        read_candidates(str(path), SPACE, Metric())
    assert list(refused.value.problems) == [f"--from {path}: {what}"]
    assert read(Request(str(path), "new")).problems == [f"import {path}: {what}"]


def test_each_says_how_it_is_told_where_the_metric_is(tmp_path: Path) -> None:
    path = written(tmp_path, "t.csv", "loss,DEPTH\n1,2\n")
    with pytest.raises(SettingsError, match=r"It has loss, DEPTH\. Give a table of the workload"):
        read_candidates(str(path), SPACE, Metric())
    (line,) = read(Request(str(path), "new")).problems
    assert line.endswith("has neither val_bpb nor value. It has loss, DEPTH. Name its column or key with --metric.")


def test_a_text_that_looks_like_a_number_stays_the_choice_that_it_is(tmp_path: Path) -> None:
    assert tried(written(tmp_path, "t.csv", "val_bpb,NAME\n1,1e3\n")) == [{"NAME": "1e3"}]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("val_bpb,NAME\n1, a\n2,a\n3,a \n", [" a", "a", "a "]),  # what a program wrote
        ("val_bpb, NAME\n1, a\n2, b\n", ["a", "b"]),  # laid out by a person
        ("val_bpb,NAME\n1, a\n2, b\n", [" a", " b"]),
        ("val_bpb,NAME\n1,' a'\n2,b\n", [" a", "b"]),
        ("val_bpb,NAME\n1, 7\n2,a\n", [7, "a"]),  # a number has no spaces
    ],
)
def test_spaces_that_are_no_layout_are_part_of_a_choice(tmp_path: Path, text: str, names: list[object]) -> None:
    assert [each["NAME"] for each in brought(tmp_path, written(tmp_path, "t.csv", text))] == (
        names if 7 not in names else ["7", "a"]  # of several kinds all are texts
    )


@pytest.mark.parametrize(
    ("cell", "choice"), [(" a", " a"), ("a", "a"), ("a  ", "a"), ("'b'", "'b'"), ("'a'", "a"), ("-x", "-x")]
)
def test_a_cell_is_the_choice_that_it_is_exactly_else_the_one_that_it_means(
    tmp_path: Path, cell: str, choice: str
) -> None:
    space = parse_space("""[parameters]\nNAME = ["a", " a", "'b'", "-x"]\n""", "space.toml")
    path = written(tmp_path, "t.csv", f"val_bpb,NAME\n1,{cell}\n")
    (only,) = read_candidates(str(path), space, Metric()).candidates
    assert only.params["NAME"] == choice


def test_spaces_of_a_text_in_json_and_of_a_choice_in_a_database_stay(tmp_path: Path) -> None:
    lines = "".join(
        json.dumps({"val_bpb": i, "params": {"NAME": name}}) + "\n" for i, name in enumerate((" a", "a"), 1)
    )
    bring(tmp_path, written(tmp_path, "t.jsonl", lines), "lines")
    with study(tmp_path, "lines") as stored:
        assert [record.params["NAME"] for record in stored.records()] == [" a", "a"]
        where = stored.database.path
    assert where is not None
    other = tmp_path / "other"
    other.mkdir()
    bring(other, where, "again", source_study="lines")
    with study(other, "again") as stored:
        assert [record.params["NAME"] for record in stored.records()] == [" a", "a"]


TEXTS = ("=1+1", "+x", "-1.5", "-x", "@SUM(A1)", " =1", "'=1", "''-x", "\uff1d1", "a", " a", "a b, c", "n/a", "-")


def test_no_text_of_our_tables_is_computed_by_a_spreadsheet_and_all_come_back(tmp_path: Path) -> None:
    records = [
        TrialRecord(n, n, "COMPLETE", "complete", {"TEXT": text, "X": -n}, value=-1.5, kind="start", source=text,
                    taken_from="t.csv line 2", reason=text, summary={"=SUM(A1)": text})
        for n, text in enumerate(TEXTS)
    ]  # fmt: skip
    write_trials(tmp_path / "trials.csv", records)
    write_results(tmp_path / "results.tsv", records)
    for name, delimiter in (("trials.csv", ","), ("results.tsv", "\t")):
        with (tmp_path / name).open(newline="") as file:
            cells = [cell for row in csv.reader(file, delimiter=delimiter) for cell in row]
        risky = {cell for cell in cells if cell.lstrip()[:1] in (*"=+-@", "\uff1d")}
        assert all(is_number(cell) for cell in risky)
    bring(tmp_path, tmp_path / "trials.csv", "csv")
    bring(tmp_path, tmp_path / "results.tsv", "tsv")
    with study(tmp_path, "csv") as stored:
        back = stored.records()
    assert [record.params["TEXT"] for record in back] == list(TEXTS)
    assert [(record.params["X"], record.value) for record in back] == [(-n, -1.5) for n in range(len(TEXTS))]
    assert [record.summary["=SUM(A1)"] for record in back] == [float(t) if is_number(t) else t.strip() for t in TEXTS]
    with study(tmp_path, "tsv") as stored:
        assert [record.reason for record in stored.records()] == [text.strip() for text in TEXTS]


def is_number(text: str) -> bool:
    try:
        return bool(float(text)) or True
    except ValueError:
        return False


@given(st.text(st.sampled_from("'=+-@ a1"), max_size=6))
def test_any_text_comes_back_from_its_cell(text: str) -> None:
    assert from_cell(to_cell(text)) == text
    assert is_number(to_cell(text)) or to_cell(text).lstrip()[:1] not in ("=", "+", "-", "@")


def test_a_text_with_spaces_or_commas_comes_back_from_a_description() -> None:
    records = [
        TrialRecord(n, n, "COMPLETE", params={"NAME": name, "PAIR": "(1, 2)"})
        for n, name in enumerate(("a b", "c, D=7"))
    ]
    assert changes(records[1], records[0]) == "NAME 'a b' -> 'c, D=7'"
    assert settings_in(changes(records[1], records[0])) == {"NAME": "'c, D=7'"}


def test_what_is_called_like_a_parameter_beside_one_that_says_so_is_kept_beside_it(tmp_path: Path) -> None:
    bring(tmp_path, written(tmp_path, "t.csv", "val_bpb,DEPTH,params_DEPTH\n1,3,2\n"), "table")
    lines = '{"val_bpb": 1, "DEPTH": 3, "params": {"DEPTH": 2}, "config": {"DEPTH": 4}}\n'
    bring(tmp_path, written(tmp_path, "t.jsonl", lines), "lines")
    for name in ("table", "lines"):
        with study(tmp_path, name) as stored:
            (trial,) = stored.database.trials(stored.study_id)
        assert trial.params == {"DEPTH": 2}
        assert str(trial.user_attrs["DEPTH"]) == "3"


def test_names_that_a_space_has_not_are_told_and_cut(tmp_path: Path) -> None:
    names = ",".join(f"P{n}" for n in range(500))
    path = written(tmp_path, "t.csv", f"val_bpb,DEPTH,{names},params_\x1b[31m\n1,2,{','.join('1' * 500)},1\n")
    (only,) = read_candidates(str(path), SPACE, Metric()).candidates
    assert len(only.params) == 502
    assert all(name.isprintable() for name in only.params)
