"""TOML tables: wrong types and unknown keys are collected, never raised one by one."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from optimize.toml import Table


def read(tmp_path: Path, text: str | bytes) -> tuple[Table, list[str]]:
    path = tmp_path / "t.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    problems: list[str] = []
    return Table.read(path, problems), problems


def test_every_wrong_type_and_unknown_key_is_one_line(tmp_path: Path) -> None:
    table, problems = read(tmp_path, "a = 1\nb = 'x'\nc = true\nd = 1.5\nunknown = 1\n[e]\nf = 1\n")
    assert table.text("a", "fallback") == "fallback"
    assert table.number("b", None) is None
    assert table.integer("c", 3) == 3
    assert table.words("d", ()) == ()
    assert table.table("e").integer("f", None) == 1
    table.finish()
    assert len(problems) == 5
    assert all("t.toml" in line for line in problems)
    assert "unknown key" in problems[-1]


def test_arrays_are_tuples_and_dates_are_refused(tmp_path: Path) -> None:
    table, problems = read(tmp_path, "[constants]\nA = [0.8, [1, 2]]\nB = 2020-01-01\nC = nan\n")
    assert table.table("constants").literals() == {"A": (0.8, (1, 2))}
    assert len(problems) == 2


def test_a_byte_order_mark_and_windows_line_ends_are_read_over(tmp_path: Path) -> None:
    (tmp_path / "t.toml").write_bytes(b"\xef\xbb\xbfa = 1\r\n[b]\r\nc = 2\r\n")
    problems: list[str] = []
    table = Table.read(tmp_path / "t.toml", problems)
    assert (table.integer("a", None), table.table("b").integer("c", None), problems) == (1, 2, [])


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    for broken in (b"\xff\xfe", b"a = ", b"x" * 2_000_000):
        assert len(read(tmp_path, broken)[1]) == 1
    problems: list[str] = []
    Table.read(tmp_path / "missing.toml", problems)
    assert "cannot be read" in problems[0]


@given(st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_no_bytes_raise(tmp_path_factory, data: bytes) -> None:  # type: ignore[no-untyped-def]
    table, _ = read(tmp_path_factory.mktemp("toml"), data)
    table.table("constants").literals()
    table.finish()
