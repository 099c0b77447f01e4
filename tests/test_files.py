"""Whoever reads a file or a folder that is being replaced sees the old or the new one, also after a kill."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from storage import StorageError, StorageFullError, replace_folder, write_bytes, write_text
from storage.files import heal_folder, os_failure
from storage.text import one_line
from tests.forked import Forked

ROOT = Path(__file__).parent.parent


def test_a_file_is_written_and_replaced_and_nothing_is_left_beside(tmp_path: Path) -> None:
    for text in ("first\n", "second ünï\n", ""):
        write_text(tmp_path / "results.tsv", text)
        assert (tmp_path / "results.tsv").read_text(encoding="utf-8") == text
    write_bytes(tmp_path / "data", b"\0\xff")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["data", "results.tsv"]


def test_line_ends_are_kept_and_lone_surrogates_replaced(tmp_path: Path) -> None:
    write_text(tmp_path / "x", "a\r\nb\n\udc80")
    assert (tmp_path / "x").read_bytes() == b"a\r\nb\n?"


def test_a_file_has_the_rights_that_other_new_files_have(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    write_text(tmp_path / "ours", "")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_write_that_fails_keeps_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError, match="folder"):
        write_text(tmp_path / "folder", "x")
    with pytest.raises(StorageError, match="Check that the path is right"):
        write_text(tmp_path / "missing" / "x", "x")
    assert [each.name for each in tmp_path.iterdir()] == ["folder"]


def test_what_a_kill_left_beside_is_removed_by_the_next_write_once_it_is_old(tmp_path: Path) -> None:
    old, young, other = (tmp_path / name for name in (".x.1.tmp", ".x.2.tmp", ".y.1.tmp"))
    for path in (old, young, other):
        path.write_text("half")
    for path in (old, other):
        os.utime(path, (time.time() - 61,) * 2)
    write_text(tmp_path / "x", "whole")
    assert sorted(each.name for each in tmp_path.iterdir()) == [".x.2.tmp", ".y.1.tmp", "x"]


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    best = tmp_path / "best"
    replace_folder(best, {"train.py": "1", "models/gpt.py": "2"})
    replace_folder(best, {"train.py": "3", "data.bin": b"\0"})
    assert {str(path.relative_to(best)): path.read_bytes() for path in best.rglob("*")} == {
        "train.py": b"3",
        "data.bin": b"\0",
    }
    assert [each.name for each in tmp_path.iterdir()] == ["best"]


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "", "a\\b", "x\0"])
def test_a_file_of_a_folder_never_lies_outside_of_it(tmp_path: Path, name: str) -> None:
    replace_folder(tmp_path / "best", {"train.py": "old"})
    with pytest.raises(StorageError, match="not a file name inside a folder"):
        replace_folder(tmp_path / "best", {"train.py": "new", name: "x"})
    assert (tmp_path / "best" / "train.py").read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["best"]


def test_a_file_in_the_place_of_a_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "best").write_text("mine")
    with pytest.raises(StorageError, match="a file stands where a folder belongs"):
        replace_folder(tmp_path / "best", {"train.py": "x"})
    assert (tmp_path / "best").read_text() == "mine"


def test_without_an_exchange_of_names_there_are_two_renames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.files._exchange", lambda one, other: False)
    for text in ("1", "2"):
        replace_folder(tmp_path / "best", {"train.py": text})
        assert (tmp_path / "best" / "train.py").read_text() == text
    assert [each.name for each in tmp_path.iterdir()] == ["best"]


def test_a_kill_between_two_renames_is_healed(tmp_path: Path) -> None:
    best, old = tmp_path / "best", tmp_path / ".best.old"
    old.mkdir()
    (old / "train.py").write_text("old")
    heal_folder(best)
    assert (best / "train.py").read_text() == "old"
    old.mkdir()  # killed one step later: the new folder is in its place
    replace_folder(best, {"train.py": "new"})
    assert (best / "train.py").read_text() == "new"
    assert [each.name for each in tmp_path.iterdir()] == ["best"]


def test_a_reader_never_sees_a_missing_or_mixed_folder(tmp_path: Path) -> None:
    best, stop, whole, mixed = tmp_path / "best", threading.Event(), [], []
    replace_folder(best, {"a": "0", "b": "0"})

    def look() -> None:
        while not stop.is_set():
            folder = os.open(best, os.O_RDONLY)  # one folder, whatever its name does meanwhile
            texts = [text for name in "ab" if (text := read_in(folder, name)) is not None]
            os.close(folder)
            (mixed if len(set(texts)) > 1 else whole if len(texts) == 2 else []).append(texts)

    reader = threading.Thread(target=look)
    reader.start()
    for number in range(10_000):
        replace_folder(best, {"a": str(number), "b": str(number)})
        if number >= 40 and len(whole) >= 5:
            break
    stop.set()
    reader.join()
    assert len(whole) >= 5
    assert not mixed


def read_in(folder: int, name: str) -> bytes | None:
    """What a file of an open folder holds; None if it is gone, because the folder is being removed."""
    try:
        file = os.open(name, os.O_RDONLY, dir_fd=folder)
    except FileNotFoundError:
        return None
    with os.fdopen(file, "rb") as opened:
        return opened.read()


def test_a_full_disk_is_told_apart() -> None:
    for code in (28, 122, 27):  # no space, quota, file size limit
        assert isinstance(os_failure(Path("x"), OSError(code, "")), StorageFullError)
    assert "not writable" in str(os_failure(Path("x"), PermissionError(13, "")))


WRITER = """
import sys
from pathlib import Path
from storage import replace_folder, write_text
root = Path(sys.argv[1])
for number in range(10**9):
    text = f"{number}\\n" * 20000
    write_text(root / "results.tsv", text)
    replace_folder(root / "best", {"train.py": text, "prepare.py": text})
    print(number, flush=True)
"""


@pytest.mark.slow
def test_a_kill_at_any_moment_leaves_whole_files_and_folders(tmp_path: Path) -> None:
    for seed in range(15):
        with Forked(["-c", WRITER, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(random.Random(seed).random() / 5)
            process.send_signal(signal.SIGKILL)
        texts = [(tmp_path / name).read_text() for name in ("results.tsv", "best/train.py", "best/prepare.py")]
        assert all(len(set(text.split())) == 1 and text.count("\n") == 20000 for text in texts)
        assert texts[1] == texts[2]


def test_text_from_anywhere_fits_into_one_line() -> None:
    assert one_line("a\tb\r\n c\x1b[31m\u202ed\u2028e\ud800  f ") == "a b c [31m d e f"
    assert one_line("x" * 500, 10) == "xxxxxxx..."
    assert one_line(" plain  text ") == "plain text"


def test_what_was_left_beside_is_known_by_its_name_even_with_brackets(tmp_path: Path) -> None:
    mine, other = tmp_path / ".a[1].1.tmp", tmp_path / ".a1.1.tmp"
    for path in (mine, other):
        path.write_text("half")
        os.utime(path, (time.time() - 61,) * 2)
    write_text(tmp_path / "a[1]", "whole")
    assert sorted(each.name for each in tmp_path.iterdir()) == [".a1.1.tmp", "a[1]"]
