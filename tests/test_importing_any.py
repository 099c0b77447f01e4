"""Whatever a file from elsewhere holds, it is read whole or refused: tables and JSON lines made at random."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimize.errors import SettingsError
from optimize.importing.csv_table import read_table
from optimize.importing.json_lines import read_lines
from optimize.importing.rows import TableReading, trials_from_rows

HEADER = "commit\tval_bpb\tmemory_gb\tstatus\tdescription\n"


@given(rows=st.lists(st.lists(st.text(max_size=12), min_size=1, max_size=5), max_size=6))
def test_any_table_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]]) -> None:
    path = tmp_path_factory.getbasetemp() / "any.tsv"
    body = "".join("\t".join(row) + "\n" for row in rows)
    path.write_bytes((HEADER + body).encode("utf-8", errors="replace"))
    try:
        told = read_table(str(path), "any", None, ())
    except SettingsError:
        return
    trials, _ = trials_from_rows(told.rows, TableReading("any.tsv", "minimize", None))
    assert len(trials) == len(told.rows)
    json.dumps([trial.attrs for trial in trials], allow_nan=False)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
KEYS = st.sampled_from(
    ["val_bpb", "value", "values", "params", "state", "status", "DEPTH", "summary", "curve", "started", "x"]
)


@given(objects=st.lists(st.dictionaries(KEYS, JSON, max_size=6), max_size=4))
def test_any_json_lines_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, objects: list[object]) -> None:
    path = tmp_path_factory.getbasetemp() / "any.jsonl"
    path.write_text("\n".join(map(json.dumps, objects)))
    try:
        told = read_lines(str(path), "any", None, ())
    except SettingsError:
        return
    trials, _ = trials_from_rows(told.rows, TableReading("any.jsonl", "minimize", None))
    assert len(trials) == len(objects)
    json.dumps([trial.attrs for trial in trials], allow_nan=False)
