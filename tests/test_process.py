"""One job in one folder: what the script finds there, how it is ended, and what a later driver can read."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from optimize.runner.diagnosis import Exit
from optimize.runner.process import run_job
from optimize.runner.process_tree import MARK, kill_orphans, parse_ps
from optimize.runner.progress import CURVE_POINTS
from optimize.runner.stop import StopRequest
from optimize.runner.workdir import read_outcome, remove_folder, write_exit
from optimize.trial import Job, Limits, Outcome, Progress, Slot, TrialStatus
from tests.disks import mounting, small_disk
from tests.zoo import PATIENT, eventually, living, zoo_job

pytestmark = pytest.mark.slow  # real processes

SLOT = Slot("a")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "work" / "7"


def script_job(text: str, limits: Limits = PATIENT) -> Job:
    return replace(zoo_job("ok", limits=limits), files={"train.py": text})


class StopLevel:
    """A `StopSource` that a test gives by hand."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        self._stop: StopRequest | None = None

    def fileno(self) -> int:
        return self._reader

    def poll(self) -> StopRequest | None:
        return self._stop

    def say(self, stop: StopRequest) -> None:
        self._stop = stop
        os.write(self._writer, b"!")

    def close(self) -> None:
        os.close(self._reader)
        os.close(self._writer)


@pytest.fixture
def source() -> Iterator[StopLevel]:
    source = StopLevel()
    yield source
    source.close()


# --- what the script finds --------------------------------------------------------------------------------------------


def test_files_are_written_byte_for_byte_also_into_subfolders(folder: Path) -> None:
    files = {"train.py": "print('---\\nval_bpb: 1.0')\r\n# é \udcff\n", "src/model/a.py": "x = 1\n"}
    outcome = run_job(replace(zoo_job("ok"), files=files), folder, SLOT)
    assert outcome.status is TrialStatus.CRASHED  # Python refuses the byte, which is there as it was
    assert (folder / "files/train.py").read_bytes() == b"print('---\\nval_bpb: 1.0')\r\n# \xc3\xa9 \xff\n"
    assert (folder / "files/src/model/a.py").read_text() == "x = 1\n"


def test_the_folder_is_emptied_first(folder: Path) -> None:
    run_job(zoo_job("ok"), folder, SLOT)
    (folder / "files" / "left_by_an_earlier_trial").touch()
    outcome = run_job(zoo_job("prints_environment"), folder, SLOT)
    assert 'FILES ["train.py"]' in outcome.log


@pytest.mark.parametrize("name", ["../outside.py", "/tmp/outside.py", "a/../../outside.py"])
def test_a_file_outside_the_folder_is_refused(folder: Path, name: str) -> None:
    outcome = run_job(replace(zoo_job("ok"), files={name: "x"}), folder, SLOT)
    assert outcome.status is TrialStatus.ENVIRONMENT
    assert "would lie outside" in outcome.reason
    assert not (folder.parent / "outside.py").exists()


def test_the_environment_is_that_of_the_job_and_the_slot_and_the_slot_wins(folder: Path) -> None:
    job = replace(zoo_job("prints_environment"), env={"A": "job", "B": "job", "PATH": "/bin"})
    outcome = run_job(job, folder, Slot("a", {"B": "slot"}))
    said = json.loads(outcome.log.partition("ENVIRONMENT ")[2].splitlines()[0])
    said.pop("LC_CTYPE", None)  # Python's own doing where there is no locale
    assert said == {"A": "job", "B": "slot", "PATH": "/bin", MARK: str(folder)}


def test_a_folder_with_blanks_and_quotes_in_its_name_works(tmp_path: Path) -> None:
    assert run_job(zoo_job("ok"), tmp_path / 'it\'s a "folder" é', SLOT).status is TrialStatus.COMPLETE


def test_a_folder_that_cannot_be_made_is_the_environment(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    outcome = run_job(zoo_job("ok"), tmp_path / "file" / "7", SLOT)
    assert outcome.status is TrialStatus.ENVIRONMENT
    assert "cannot be made" in outcome.reason


def test_a_file_that_is_no_program_is_the_environment(folder: Path) -> None:
    outcome = run_job(replace(zoo_job("ok"), command=("./train.py",)), folder, SLOT)
    assert outcome.status is TrialStatus.ENVIRONMENT
    assert "Permission denied" in outcome.reason


# --- progress ---------------------------------------------------------------------------------------------------------


def test_progress_is_told_while_the_line_is_still_unfinished(folder: Path, source: StopLevel) -> None:
    """autoresearch ends a line by beginning the next one: the first step must not wait for the second."""

    def on_progress(progress: Progress) -> None:
        source.say(StopRequest(TrialStatus.HOPELESS, f"at step {progress.step}"))

    outcome = run_job(zoo_job("hang"), folder, SLOT, stop_source=source, on_progress=on_progress)
    assert (outcome.status, outcome.reason) == (TrialStatus.HOPELESS, "at step 1")


def test_the_curve_of_many_steps_is_thinned_evenly(folder: Path) -> None:
    text = "for i in range(20_001): print(f'step {i} ({i / 200:.3f}%) | loss: {5 - i / 10_000}')"
    told: list[Progress] = []
    curve = run_job(script_job(text), folder, SLOT, on_progress=told.append).curve
    assert len(told) == 20_001
    assert CURVE_POINTS <= len(curve) <= CURVE_POINTS + 1
    assert curve[0] == (0.0, 5.0)
    assert curve[-1] == (1.0, 3.0)


def test_the_curve_has_no_point_where_the_loss_is_no_number(folder: Path) -> None:
    text = "for i, loss in enumerate(('1.0', 'nan', 'inf', '2.0')): print(f'step {i} ({i}.0%) | loss: {loss}')"
    assert run_job(script_job(text), folder, SLOT).curve == ((0.0, 1.0), (0.03, 2.0))


# --- the end ----------------------------------------------------------------------------------------------------------


def test_a_stop_request_reaches_a_silent_script(folder: Path, source: StopLevel) -> None:
    timer = threading.Timer(0.1, source.say, [StopRequest(TrialStatus.CANCELLED, "enough")])
    timer.start()
    outcome = run_job(zoo_job("hang_silent"), folder, SLOT, stop_source=source)
    timer.join()
    assert (outcome.status, outcome.reason) == (TrialStatus.CANCELLED, "enough")


def test_the_last_words_of_a_script_that_handles_sigterm_are_in_the_log(folder: Path, source: StopLevel) -> None:
    stop = StopRequest(TrialStatus.CANCELLED, "enough")
    outcome = run_job(
        zoo_job("exits_on_sigterm"), folder, SLOT, stop_source=source, on_progress=lambda _: source.say(stop)
    )
    assert outcome.status is TrialStatus.CANCELLED
    assert outcome.log.endswith("last words\n")


def test_at_once_means_without_grace(folder: Path, source: StopLevel) -> None:
    job = zoo_job("exits_on_sigterm", limits=Limits(grace_s=3600.0))
    stop = StopRequest(TrialStatus.LOST, "the driver went away", at_once=True)
    outcome = run_job(job, folder, SLOT, stop_source=source, on_progress=lambda _: source.say(stop))
    assert outcome.status is TrialStatus.LOST
    assert "last words" not in outcome.log


def test_a_second_more_urgent_stop_request_ends_the_grace(folder: Path, source: StopLevel) -> None:
    job = zoo_job("ignores_sigterm", limits=Limits(grace_s=3600.0))

    def on_progress(progress: Progress) -> None:
        source.say(StopRequest(TrialStatus.CANCELLED, "first"))
        threading.Timer(0.1, source.say, [StopRequest(TrialStatus.LOST, "second", at_once=True)]).start()

    outcome = run_job(job, folder, SLOT, stop_source=source, on_progress=on_progress)
    assert (outcome.status, outcome.reason) == (TrialStatus.CANCELLED, "first")


def test_a_stop_request_that_came_before_starts_nothing(folder: Path, source: StopLevel) -> None:
    source.say(StopRequest(TrialStatus.CANCELLED, "before"))
    outcome = run_job(zoo_job("ok"), folder, SLOT, stop_source=source)
    assert (outcome.status, outcome.log) == (TrialStatus.CANCELLED, "")


def test_an_error_of_ours_on_the_way_leaves_no_process(folder: Path, tmp_path: Path) -> None:
    def on_progress(progress: Progress) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_job(zoo_job("spawns_child"), folder, SLOT, on_progress=on_progress)
    assert living(tmp_path) == []


@mounting
def test_on_a_full_disk_the_result_is_judged_and_kept(tmp_path: Path) -> None:
    text = (
        "print('before', flush=True)\n"
        "try: open('fill', 'wb').write(b'x' * 1_000_000)\n"
        "except OSError as error: print(error)\n"
        "print('x' * 300_000)\n"
        "print('---\\nval_bpb: 1.5')\n"
    )
    with small_disk(tmp_path / "disk", "256k") as disk:
        outcome = run_job(script_job(text), disk / "7", SLOT)
        assert outcome.status is TrialStatus.COMPLETE
        assert "not all of the rest could be written" in outcome.log
        later = read_outcome(disk / "7")
        assert later is not None
        assert (later.status, later.summary) == (TrialStatus.COMPLETE, {"val_bpb": 1.5})
        assert "not all of the rest could be written" in later.log
        assert later.log.endswith("x\n---\nval_bpb: 1.5\n")


# --- what a later driver reads ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("script", ["ok", "crash", "nan", "binary", "exits_by_sigkill", "removes_its_folder"])
def test_what_is_read_later_is_what_was_told_live(folder: Path, script: str) -> None:
    told = run_job(zoo_job(script), folder, SLOT)
    read = read_outcome(folder)
    if script == "removes_its_folder":
        told = replace(told, log="")
    assert repr(read) == repr(told)  # NaN is not equal to itself


def test_a_runs_folder_that_is_moved_takes_the_result_with_it_and_none_is_made_anew(folder: Path) -> None:
    root, elsewhere = folder.parent, folder.parent.with_name("moved")
    text = f"import os\nos.rename({str(root)!r}, {str(elsewhere)!r})\nprint('---\\nval_bpb: 1.5')\n"
    told = run_job(script_job(text), folder, SLOT)
    assert told.status is TrialStatus.COMPLETE
    assert not root.exists()
    assert read_outcome(elsewhere / "7") == told


def test_a_result_goes_before_last_words_that_are_too_long(folder: Path) -> None:
    outcome, end = Outcome(TrialStatus.COMPLETE, 1.0, summary={"val_bpb": 1.5}), Exit(0, 1.0)
    folder.parent.mkdir()
    write_exit(folder, outcome, end, "\x00" * 8_000)  # six bytes each in JSON
    assert read_outcome(folder) == outcome
    assert (folder / "exit.json").stat().st_size < 32_768


def test_the_exit_record_tells_how_the_process_ended(folder: Path) -> None:
    run_job(zoo_job("exits_by_sigkill"), folder, SLOT)
    record = json.loads((folder / "exit.json").read_text())
    assert record["exit"] == {"code": -9, "signal": "Killed", "stopped": None, "why": ""}


def test_what_has_no_exit_record_has_not_ended(folder: Path) -> None:
    assert read_outcome(folder) is None
    run_job(zoo_job("ok"), folder, SLOT)
    for broken in ("", "{}", "[]", '{"status": "unheard of"}', "\x00" * 100):
        (folder / "exit.json").write_text(broken)
        assert read_outcome(folder) is None
    (folder / "exit.json").unlink()
    assert read_outcome(folder) is None


def test_reading_waits_for_who_is_still_ending_it(folder: Path) -> None:
    results: list[Outcome] = []
    job = zoo_job("slow_ok", "0.2")
    thread = threading.Thread(target=lambda: results.append(run_job(job, folder, SLOT)))
    thread.start()
    assert eventually((folder / "log").exists)
    outcome = read_outcome(folder, wait_s=60.0)
    thread.join()
    assert outcome == results[0]


def test_reading_does_not_wait_for_ever(folder: Path, source: StopLevel) -> None:
    thread = threading.Thread(target=lambda: run_job(zoo_job("hang"), folder, SLOT, stop_source=source))
    thread.start()
    assert eventually((folder / "log").exists)
    assert read_outcome(folder, wait_s=0.05) is None
    source.say(StopRequest(TrialStatus.CANCELLED, "enough"))
    thread.join()


def test_leftovers_of_a_folder_are_ended_without_knowing_more(folder: Path, tmp_path: Path) -> None:
    env = {MARK: str(folder)}
    command = [sys.executable, "-S", "-c", "import time; time.sleep(3600)"]
    with subprocess.Popen(command, env=env) as leftover, subprocess.Popen(command, env={}) as other:
        kill_orphans(folder)
        assert leftover.wait(60.0) == -signal.SIGKILL
        assert other.poll() is None
        other.kill()
    assert living(tmp_path) == []


def test_the_process_table_of_ps_is_understood_as_well() -> None:
    """What macOS goes by. Linux's ps shows the environment by another flag."""
    env = {MARK: "/place/7"}
    command = [sys.executable, "-S", "-c", "import time; time.sleep(3600)"]
    with subprocess.Popen(command, env=env, start_new_session=True) as script:
        ps = ["ps", "axeww", "-o", "pid=,ppid=,pgid=,stat=,command="]
        assert eventually(lambda: f"{MARK}=" in Path(f"/proc/{script.pid}/environ").read_text())
        table = subprocess.run(ps, capture_output=True, text=True, check=True).stdout
        script.kill()
    marked = [process for process in parse_ps(table, f"{MARK}=/place/7") if process.marked]
    assert [(p.pid, p.parent, p.group, p.zombie) for p in marked] == [(script.pid, os.getpid(), script.pid, False)]
    assert not any(process.marked for process in parse_ps(table, f"{MARK}=/place/77"))


# --- folders ----------------------------------------------------------------------------------------------------------


def test_a_locked_folder_is_removed_and_what_it_links_to_is_not(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").touch()
    run_job(zoo_job("locks_its_folder"), folder, SLOT)
    (folder / "files" / "out").symlink_to(tmp_path / "precious")
    assert remove_folder(folder)
    assert not folder.exists()
    assert (tmp_path / "precious" / "file").exists()


def test_a_missing_package_names_the_python_that_lacks_it_and_what_starts_another(folder: Path) -> None:
    job = script_job("import a_package_that_is_not_there")
    ours, theirs = (
        run_job(replace(job, command=(*env, "{python}", "train.py")), folder, SLOT) for env in ((), ("env",))
    )
    assert ours.status is theirs.status is TrialStatus.ENVIRONMENT
    missing = "ModuleNotFoundError: No module named 'a_package_that_is_not_there'."
    other = 'start another Python: `command = ["/path/to/python", "train.py"]` in workload.toml'
    assert ours.reason == f"{missing} Install it into {sys.executable}, or {other}"
    assert theirs.reason == f"{missing} Install it for `env '{{python}}' train.py`, the command of workload.toml"


def test_where_a_reason_is_long_the_python_is_what_stays(folder: Path) -> None:
    job = script_job(f"raise ImportError('{'x' * 500}')")
    reason = run_job(job, folder, SLOT).reason
    assert len(reason) <= 300
    assert reason.endswith("in workload.toml")
    assert sys.executable in reason
