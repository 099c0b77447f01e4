"""`optimize run --advisor` as a user types it: where advice is told of, and that a bad server or a key never shows."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from optimize.config.environment import advisor_key, script_environment
from optimize.config.settings import load_settings
from optimize.errors import SettingsError
from tests.advised_study import GOOD, KEY, enlarge
from tests.conftest import Driver
from tests.forked import Forked, run_forked
from tests.model_server import Asked, model_server, proposals, says
from tests.test_cli import environment, flags, optimize, slow_down
from tests.zoo import eventually

DEAD = "http://127.0.0.1:9/v1"


def start(driver: Driver, url: str, *words: str) -> subprocess.Popen[str]:
    pipe, words = subprocess.PIPE, ("run", "--trust", *flags(driver), "--advisor", "stub", *words)
    env = {**environment(driver), "OPENAI_BASE_URL": url, "OPENAI_API_KEY": KEY}
    return Forked(words, cwd=driver.folder, env=env, stdout=pipe, stderr=pipe)


def run(driver: Driver, url: str, *words: str) -> tuple[int, str, str]:
    process = start(driver, url, *words)
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def files_with(word: str, folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and word.encode() in path.read_bytes()]


@pytest.mark.slow
def test_a_study_with_advice_says_so_everywhere_and_its_key_nowhere(driver: Driver) -> None:
    enlarge(driver)
    slow_down(driver, 0.1)
    train = driver.folder / "workload" / "train.py"
    train.write_text(train.read_text() + "import os\nprint('whole environment', dict(os.environ))\n")
    with model_server(says(proposals(*GOOD))) as server:
        process = start(driver, server.url, "--advisor-share", "0.5", "--slots", "1")
        assert process.stderr is not None
        lines = []
        for line in process.stderr:  # until advice has been tried: how soon that is, the machine decides
            lines.append(line)
            if "advisor: X=2" in line:
                process.send_signal(signal.SIGINT)
                break
        out, rest = process.communicate(timeout=300)
        err = "".join(lines) + rest
    assert process.returncode == 0, err
    assert server.asked
    assert {each.headers["Authorization"] for each in server.asked} == {f"Bearer {KEY}"}
    assert f"advice: 50% of the proposals come from stub at {server.url}" in err
    assert "advice of stub:" in out
    assert "proposals were valid" in out
    assert "advice of stub:" in optimize(driver, "status").stdout
    settings = json.loads((driver.folder / "runs" / "s" / "settings.json").read_text())
    assert (settings["advisor"], settings["advisor_share"]) == ("stub", 0.5)
    rows = (driver.folder / "runs" / "s" / "trials.csv").read_text().splitlines()
    number = next(row.split(",")[0] for row in rows if ",advisor," in row)
    assert "proposed by: stub" in optimize(driver, "show", number).stdout
    assert files_with("whole environment", driver.folder / "runs")
    assert KEY not in out + err
    assert files_with(KEY, driver.folder) == []


@pytest.mark.slow
def test_a_dead_endpoint_costs_one_line(driver: Driver) -> None:
    code, out, err = run(driver, DEAD, "--trials", "12", "--slots", "1")
    assert code == 0, err
    assert "12 trials are done" in out
    assert [line for line in err.splitlines() if "no connection" in line][1:] == []
    assert KEY not in out + err


@pytest.mark.slow
@pytest.mark.parametrize("wish", [None, signal.SIGTERM])
def test_an_exit_does_not_wait_for_a_model_that_hangs(driver: Driver, wish: signal.Signals | None) -> None:
    came = driver.folder / "came"
    train = driver.folder / "workload" / "train.py"
    waits = f"import os, time\nwhile (X, Y) != (4, 0.5) and not os.path.exists({str(came)!r}): time.sleep(0.1)\n"
    train.write_text(train.read_text() + waits)  # all but the baseline run until the model has been asked

    def hangs(handler: BaseHTTPRequestHandler, asked: Asked) -> None:
        came.touch()
        handler.over.wait(600)  # type: ignore[attr-defined]

    with model_server(hangs) as server:
        more = ("--trials", "6") if wish is None else ()
        process = start(driver, server.url, "--advisor-share", "1", "--slots", "1", *more)
        if wish is not None:
            assert eventually(lambda: server.asked, 120)
            process.send_signal(wish)
        process.communicate(timeout=300)  # the model would take longer
        assert process.returncode == (0 if wish is None else 143)
        assert server.asked


@pytest.mark.slow
def test_without_a_key_or_a_url_it_is_one_line_before_any_trial(driver: Driver) -> None:
    ended = optimize(driver, "run", "--trust", *flags(driver), "--advisor", "stub")
    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()) == 1
    assert "OPENAI_API_KEY" in ended.stderr
    assert not (driver.folder / "runs").exists()


@pytest.mark.slow
def test_check_shows_the_model_its_server_and_its_share_and_asks_nothing(driver: Driver) -> None:
    with model_server(says(proposals(*GOOD))) as server:
        env = {**environment(driver), "OPENAI_BASE_URL": server.url, "OPENAI_API_KEY": KEY}
        ended = run_forked(["check", *flags(driver), "--advisor", "stub"], cwd=driver.folder, env=env)
        assert not server.asked
    assert server.url in ended.stdout
    assert "environment OPENAI_BASE_URL" in ended.stdout
    assert KEY not in ended.stdout + ended.stderr


# --- settings ---------------------------------------------------------------------------------------------------------


def load(environ: dict[str, str], **given: object):  # type: ignore[no-untyped-def]
    return load_settings("cpu", "", {"advisor": "stub", **given}, environ)


def test_a_key_alone_means_openai_and_a_url_alone_needs_no_key() -> None:
    assert load({"OPENAI_API_KEY": KEY}).advisor_url == "https://api.openai.com/v1"
    local = load({"OPENAI_BASE_URL": "http://localhost:11434/v1/"})
    assert (local.advisor_url, local.advisor, local.advisor_share) == ("http://localhost:11434/v1", "stub", 0.2)
    assert advisor_key({}) == ""
    assert advisor_key({"OPENAI_API_KEY": f" {KEY}\n"}) == KEY


@pytest.mark.parametrize(
    "url",
    [
        f"http://me:{KEY}@host/v1", f"http://host/v1?key={KEY}", f"http://host/v1#{KEY}", "ftp://host/v1", "localhost:8000",
        "http://", "http://host:notaport/v1", "http://ho st/v1", "http://[::1", "http://host/v1\n",
    ],
)  # fmt: skip
def test_a_url_that_cannot_be_asked_is_one_line_that_does_not_repeat_it(url: str) -> None:
    if url.endswith("\n"):
        assert load({"OPENAI_BASE_URL": url}).advisor_url == "http://host/v1"
        return
    with pytest.raises(SettingsError, match="OPENAI_BASE_URL: it") as caught:
        load({"OPENAI_BASE_URL": url, "OPENAI_API_KEY": KEY})
    assert len(caught.value.problems) == 1
    assert KEY not in str(caught.value)


def test_a_key_that_no_header_can_carry_is_refused_and_not_repeated() -> None:
    with pytest.raises(SettingsError, match="OPENAI_API_KEY") as caught:
        load({"OPENAI_API_KEY": f"{KEY}\nX-Other: 1"})
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("share", [0.0, -0.1, 1.1])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(SettingsError, match="--advisor-share"):
        load({"OPENAI_API_KEY": KEY}, advisor_share=share)


def test_a_profiles_advisor_counts_where_a_model_could_be_asked_and_none_turns_it_off(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('advisor = "stub"\nadvisor_share = 0.1\n')
    with pytest.raises(SettingsError, match="OPENAI_API_KEY"):
        load_settings(str(path), "", {"advisor": None}, {})
    assert load_settings(str(path), "", {"advisor": "none"}, {}).advisor is None
    assert load_settings(str(path), "", {}, {}).advisor == "stub"  # optimize prepare asks nobody
    settings = load_settings(str(path), "", {"advisor": None}, {"OPENAI_API_KEY": KEY})
    assert (settings.advisor, settings.advisor_share) == ("stub", 0.1)


def test_no_script_gets_the_key_and_no_setting_holds_it() -> None:
    environ = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": "http://localhost/v1", "PATH": os.defpath}
    settings = load(environ)
    assert KEY not in repr(settings)
    passed = script_environment(settings.env_pass, environ)
    assert not {"OPENAI_API_KEY", "OPENAI_BASE_URL"} & passed.keys()
