"""The dashboard over our storage, looked at in a real headless Chromium, before and during a study."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from optimize.dashboard import check_address
from optimize.errors import SettingsError
from tests.conftest import Driver
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
    argv = [sys.executable, "-m", "optimize", "dashboard", "--port", str(port)]
    with subprocess.Popen(argv, cwd=driver.folder, env=environment(driver), stderr=subprocess.DEVNULL) as process:
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(30)


def fetch(url: str) -> str:
    for _ in range(100):
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return str(answer.read().decode())
        except OSError:
            time.sleep(0.2)
    raise AssertionError(f"{url} does not answer")


def page(url: str, profile: Path) -> str:
    """The document as Chromium has it after its scripts have run."""
    fetch(url)
    argv = [
        str(CHROMIUM),
        *QUIET.split(),
        f"--user-data-dir={profile}",
        "--virtual-time-budget=20000",
        "--dump-dom",
        url,
    ]
    return subprocess.run(argv, capture_output=True, text=True, timeout=120, check=True).stdout


@pytest.mark.slow
def test_it_serves_before_there_is_a_study(driver: Driver) -> None:
    with dashboard(driver) as url:
        assert '"study_summaries": []' in fetch(f"{url}/api/studies") or '"study_summaries":[]' in fetch(
            f"{url}/api/studies"
        )


@pytest.mark.slow
@needs_chromium
def test_a_running_study_is_shown_and_goes_on(driver: Driver, tmp_path: Path) -> None:
    slow_down(driver, 0.1)
    process = start(driver)
    with dashboard(driver) as url:
        listed = page(f"{url}/dashboard/", tmp_path / "chromium")
        shown = page(f"{url}/dashboard/studies/1", tmp_path / "chromium")
        trial = page(f"{url}/dashboard/studies/1/trials?numbers=0", tmp_path / "chromium")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert ">s<" in listed or "s (id=1)" in shown
    assert "History" in shown
    assert "val_bpb" in shown
    assert "train.patch" in trial
    assert "Failed to" not in listed + shown + trial


@pytest.mark.slow
def test_ctrl_c_ends_it_also_while_it_answers(driver: Driver) -> None:
    run(driver, "--trials", "3")
    over = threading.Event()

    def look(url: str) -> None:
        while not over.is_set():
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{url}/api/studies/1?after=0", timeout=10).close()

    with dashboard(driver) as url:
        fetch(url)
        lookers = [threading.Thread(target=look, args=(url,)) for _ in range(2)]
        for looker in lookers:
            looker.start()
        time.sleep(0.5)
    over.set()
    for looker in lookers:
        looker.join()


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
        with pytest.raises(SettingsError, match="PORT="):
            check_address("127.0.0.1", taken.getsockname()[1], expose=False)
