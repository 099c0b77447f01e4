"""The dashboard over our storage, looked at in a real headless Chromium, before and during a study."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from optimize.errors import SettingsError
from optimize.reporting.dashboard import address, check_address, note_links, write_dashboard
from optimize.study.stored import find_study
from optimize.trial import Job, Outcome, TrialStatus
from tests.conftest import Driver, complete
from tests.forked import Forked
from tests.studies import many_trials, stored_study
from tests.test_cli import environment, optimize, run, slow_down, start

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium chromium-driver")
QUIET = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync"
)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def dashboard(driver: Driver) -> Iterator[str]:
    port = free_port()
    words = ["dashboard", "--port", str(port)]
    with Forked(words, cwd=driver.folder, env=environment(driver), stderr=subprocess.DEVNULL) as process:
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(120)


def fetch(url: str) -> str:
    for _ in range(900):  # it imports for a minute where many share a core
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return str(answer.read().decode())
        except OSError:
            time.sleep(0.2)
    raise AssertionError(f"{url} does not answer")


def page(url: str, profile: Path) -> str:
    """The document as Chromium has it after its scripts have run, without an error on its console or in a snackbar."""
    fetch(url)
    argv = [str(CHROMIUM), *QUIET.split(), f"--user-data-dir={profile}", "--virtual-time-budget=20000", "--dump-dom"]
    argv += ["--enable-logging=stderr", "--v=0", url]
    shown = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=True)
    assert [line for line in shown.stderr.splitlines() if "CONSOLE" in line] == []
    assert "SnackbarItem-variantError" not in shown.stdout
    assert "Failed to" not in shown.stdout
    return shown.stdout


def waits_until(true: Callable[[], bool]) -> None:
    for _ in range(1200):
        if true():
            return
        time.sleep(0.1)
    raise AssertionError("it did not come true within two minutes")


@pytest.mark.slow
def test_it_serves_before_there_is_a_study(driver: Driver) -> None:
    with dashboard(driver) as url:
        assert '"study_summaries": []' in fetch(f"{url}/api/studies") or '"study_summaries":[]' in fetch(
            f"{url}/api/studies"
        )


def test_the_links_of_notes_are_printed_the_newest_first(driver: Driver) -> None:
    with driver.database() as database:
        for number in range(7):
            database.create_study(f"n{number}", "minimize", "val_bpb")
        lines = note_links(database, address("::1", 8080))
    assert lines[0] == "study n6: http://[::1]:8080/dashboard/studies/7/note"
    assert lines[-1] == "and 2 more studies: http://[::1]:8080/dashboard"
    assert len(lines) == 6


@pytest.mark.slow
@pytest.mark.xdist_group("browser")
@needs_chromium
def test_a_running_study_is_shown_and_goes_on(driver: Driver, tmp_path: Path) -> None:
    slow_down(driver, 60.0)  # the second trial ends long after all that is looked at here
    train = driver.folder / "workload" / "train.py"
    train.write_text(train.read_text().replace("time.sleep(", "X == 4 or time.sleep("))  # but the baseline at once
    process = start(driver, "--trials", "100")
    with dashboard(driver) as url:
        waits_until(lambda: "dashboard:plot_data" in str(system_attrs(driver)))
        listed = page(f"{url}/dashboard/", tmp_path / "chromium")
        shown = page(f"{url}/dashboard/studies/1", tmp_path / "chromium")
        note = page(f"{url}/dashboard/studies/1/note", tmp_path / "chromium")
        trial = page(f"{url}/dashboard/studies/1/trials?numbers=0", tmp_path / "chromium")
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        assert any("no new trial starts" in line for line in process.stderr)
        process.send_signal(signal.SIGINT)  # what sleeps is not waited for
        process.communicate(timeout=300)
    assert process.returncode == 0
    assert ">s<" in listed or "s (id=1)" in shown
    assert "History" in shown
    assert "val_bpb" in shown
    assert "Best val_bpb so far" in shown
    assert "What it has cost" in shown
    for title in ("What won?", "How sure is that?", "What did it cost?", "What next?"):
        assert title in note
    assert "What varies" in note
    assert "the baseline, with which all others are compared" in trial
    assert "train.patch" in trial


def system_attrs(driver: Driver) -> dict[str, object]:
    if not driver.paths.database.exists():
        return {}
    with driver.database() as database:
        study_id = database.find_study("s")
        return database.storage.get_study_system_attrs(study_id) if study_id else {}


EVIL = """\
print("```\\n<script>document.title = 'evil'</script>\\n# heading", "x" * 5000, "\\x1b[31m\\x07\\x00", flush=True)
why = "<script>document.title = 'evil'</script> `<img src=x onerror=alert(1)>` **bold** "
assert X == 4, why + "[link](javascript:alert(1)) https://example.com | cell"
"""


@pytest.mark.slow
@pytest.mark.xdist_group("browser")
@needs_chromium
def test_what_a_script_prints_is_only_text(driver: Driver, tmp_path: Path) -> None:
    train = driver.folder / "workload" / "train.py"
    train.write_text(train.read_text().replace("value = 1.0", EVIL + "value = 1.0"))
    run(driver, "--trials", "4")
    with driver.database() as database:
        study = find_study(database, "s", driver.settings.runs)
        failed = next(record.number for record in study.records() if record.status == "infeasible")
    with dashboard(driver) as url:
        trial = page(f"{url}/dashboard/studies/1/trials?numbers={failed}", tmp_path / "chromium")
        drawn = page(f"{url}/dashboard/studies/1", tmp_path / "chromium")
    assert "language-diff" in trial
    assert "&lt;script&gt;document.title" in trial
    assert "<title>evil" not in trial
    assert "<img src" not in trial
    assert 'href="https://example.com' not in trial
    assert 'href="javascript' not in trial
    assert "<h1>heading" not in trial
    assert "infeasible" in drawn


@pytest.mark.slow
@pytest.mark.xdist_group("browser")
@needs_chromium
def test_a_thousand_trials_are_shown(driver: Driver, tmp_path: Path) -> None:
    with driver.database() as database:
        stored = stored_study(database, driver.settings.runs, many_trials(1_000))
        write_dashboard(stored, driver.said.append)
        shown = stored.best()
    assert shown is not None
    best = shown.record
    assert best.state == "COMPLETE"
    with dashboard(driver) as url:
        top = page(f"{url}/dashboard/studies/1", tmp_path / "chromium")
        analytics = page(f"{url}/dashboard/studies/1/analytics", tmp_path / "chromium")
        trial = page(f"{url}/dashboard/studies/1/trials?numbers={best.number}", tmp_path / "chromium")
    assert f"Best Trial (number={best.number})" in top
    assert "1,000 trials ended" in top
    assert "Slice" in analytics
    assert "1000 Trials" in trial  # the list beside it
    assert "better than the baseline" in trial


def some_diverge(job: Job) -> Outcome:
    """A third of them: with the best train loss of all, which is no value."""
    if job.number % 3 == 1:
        return Outcome(TrialStatus.DIVERGED, 1.0, "the loss is NaN", log="FAIL\n", curve=((0.5, 0.001),))
    return complete(job)


@pytest.mark.slow
def test_a_trial_without_a_value_is_never_among_the_best(driver: Driver) -> None:
    driver.run(some_diverge, trials=12)
    with dashboard(driver) as url:
        answer = json.loads(fetch(f"{url}/api/studies/1"))
    (best,) = answer["best_trials"]
    assert best["state"] == "Complete"
    assert all("values" not in trial for trial in answer["trials"] if trial["state"] != "Complete")


@pytest.mark.slow
def test_everything_that_a_trial_left_can_be_downloaded(driver: Driver) -> None:
    driver.run(trials=3)
    with dashboard(driver) as url:
        trial = json.loads(fetch(f"{url}/api/studies/1"))["trials"][1]
        texts = {
            each["filename"]: fetch(f"{url}/artifacts/1/{trial['trial_id']}/{each['artifact_id']}")
            for each in trial["artifacts"]
        }
    assert set(texts) == {"train.py", "train.patch", "params.toml", "log.txt", "curve.csv"}
    assert texts["log.txt"] == "a log\n"
    assert texts["train.patch"].startswith("--- a/train.py")
    assert texts["curve.csv"].startswith("fraction,train_loss\n")


@pytest.mark.slow
def test_ctrl_c_ends_it_also_while_it_answers(driver: Driver) -> None:
    run(driver, "--trials", "3")
    url, over, answered = f"http://127.0.0.1:{(port := free_port())}", threading.Event(), [0, 0]

    def look(which: int) -> None:
        while not over.is_set():
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{url}/api/studies/1?after=0", timeout=10).close()
                answered[which] += 1

    words = ["dashboard", "--port", str(port)]
    with Forked(words, cwd=driver.folder, env=environment(driver), stderr=subprocess.DEVNULL) as process:
        fetch(url)
        for which in range(2):
            threading.Thread(target=look, args=(which,), daemon=True).start()
        waits_until(lambda: min(answered) >= 3)
        process.send_signal(signal.SIGINT)
        try:
            assert process.wait(120) == 0
        finally:
            over.set()
            process.kill()


@pytest.mark.slow
def test_ctrl_c_is_its_end_and_no_error_and_requests_are_not_told(driver: Driver) -> None:
    port = free_port()
    words = ["dashboard", "--port", str(port)]
    with Forked(words, cwd=driver.folder, env=environment(driver), stderr=subprocess.PIPE) as process:
        fetch(f"http://127.0.0.1:{port}/api/studies")
        process.send_signal(signal.SIGINT)
        told = process.communicate(timeout=120)[1]
    assert (process.returncode, told.count("\n")) == (0, 1), told


@pytest.mark.slow
def test_the_objective_has_its_name_and_no_failed_trial_is_best(driver: Driver) -> None:
    train = driver.folder / "workload" / "train.py"
    train.write_text(train.read_text().replace("value = 1.0", "assert X != 2, 'no'\nvalue = 1.0"))
    run(driver, "--trials", "12")
    with dashboard(driver) as url:
        answer = fetch(f"{url}/api/studies/1")
    assert "val_bpb" in answer
    assert "infeasible" in answer
    assert '"best_trials"' in answer
    status = optimize(driver, "status").stdout
    assert not any("best" in line for line in status.splitlines() if "infeasible" in line)


def test_an_address_that_others_can_reach_needs_an_explicit_yes() -> None:
    with pytest.raises(SettingsError, match="--expose"):
        check_address("0.0.0.0", free_port(), expose=False)


def test_a_taken_port_is_one_clear_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(SettingsError, match="optimize dashboard --port 808"):
            check_address("127.0.0.1", taken.getsockname()[1], expose=False)
