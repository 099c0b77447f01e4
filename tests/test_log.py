"""The log file: bounded, readable, and harmless to its writer."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from optimize.runner.log import MIN_BYTES, SPILL_BYTES, BoundedLog, wait_until_closed


@pytest.fixture
def log(tmp_path: Path) -> Iterator[BoundedLog]:
    with closing(BoundedLog(tmp_path / "log", limit_mb=1.0)) as log:
        yield log


def test_a_short_log_is_kept_as_it_is(log: BoundedLog, tmp_path: Path) -> None:
    log.write(b"first\r")
    log.write("zweité\n".encode())
    assert log.text() == "first\rzweité\n"
    assert (tmp_path / "log").read_bytes() == "first\rzweité\n".encode()


def test_a_long_log_keeps_its_head_and_its_tail_and_says_how_much_was_cut(log: BoundedLog, tmp_path: Path) -> None:
    lines = [f"line {i:07d}\n".encode() for i in range(400_000)]
    for start in range(0, len(lines), 1000):
        log.write(b"".join(lines[start : start + 1000]))
        assert (tmp_path / "log").stat().st_size <= 1_000_000 + 13_000
    head, mark, tail = _parts(log.text())
    assert b"".join(lines).startswith(head.encode())
    assert b"".join(lines).endswith(tail.encode())
    assert len(head) > 200_000
    assert len(tail) > 300_000
    assert int(mark.replace(",", "")) == len(b"".join(lines)) - len(head) - len(tail)


def test_what_is_on_disk_is_always_what_is_kept(log: BoundedLog, tmp_path: Path) -> None:
    for i in range(300):
        log.write(f"{i:06d} ".encode() * 1_000)
        assert (tmp_path / "log").read_text() == log.text()


def test_one_write_larger_than_the_limit_is_bounded_too(log: BoundedLog, tmp_path: Path) -> None:
    log.write(b"a" * 5_000_000 + b"end")
    assert (tmp_path / "log").stat().st_size <= 1_000_000
    assert log.text().endswith("end")


def test_a_limit_too_small_for_a_traceback_is_raised(tmp_path: Path) -> None:
    with closing(BoundedLog(tmp_path / "log", limit_mb=0)) as log:
        log.write(b"x" * 100_000)
        assert len(log.text()) == 100_000
        log.write(b"x" * MIN_BYTES)
        assert len(log.text()) <= MIN_BYTES


def test_a_full_disk_does_not_raise_and_the_last_words_are_kept_in_memory() -> None:
    with closing(BoundedLog(Path("/dev/full"), limit_mb=1.0)) as log:
        log.write(b"first words\n")
        assert "No space left on device" in log.text()
        assert log.text().endswith("first words\n")
        for _ in range(100):
            log.write(b"x" * 10_000)
        log.write(b"last words\n")
        assert len(log.text()) <= SPILL_BYTES + 100
        assert "No space left on device" in log.text()
        assert log.text().endswith("last words\n")


def test_a_deleted_file_can_still_be_read_by_its_writer(log: BoundedLog, tmp_path: Path) -> None:
    log.write(b"before ")
    (tmp_path / "log").unlink()
    log.write(b"after")
    assert log.text() == "before after"


def test_bytes_that_are_no_text_are_replaced(log: BoundedLog) -> None:
    log.write(b"a\xff\x00b")
    assert log.text() == "a\N{REPLACEMENT CHARACTER}\x00b"


def test_waiting_for_an_open_log_ends_at_the_time_out(log: BoundedLog, tmp_path: Path) -> None:
    assert not wait_until_closed(tmp_path / "log", wait_s=0.05)


def test_waiting_ends_when_the_writer_closes_it(log: BoundedLog, tmp_path: Path) -> None:
    BoundedLog(tmp_path / "other", limit_mb=1.0).close()
    assert wait_until_closed(tmp_path / "other", wait_s=0.0)


def test_waiting_ends_when_the_writer_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from optimize.runner.log import BoundedLog\n"
        "log = BoundedLog(Path(sys.argv[1]), 1.0); print('open', flush=True); time.sleep(3600)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "log")]
    root = Path(__file__).parent.parent
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "open\n"
        assert not wait_until_closed(tmp_path / "log", wait_s=0.0)
        writer.kill()
        assert wait_until_closed(tmp_path / "log", wait_s=60.0)


def _parts(text: str) -> tuple[str, str, str]:
    head, _, rest = text.partition("\n\n[...")
    mark, _, tail = rest.partition("bytes cut ...]\n\n")
    return head, mark.strip(), tail
