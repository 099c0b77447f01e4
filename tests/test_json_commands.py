"""Every command that reads, writes or begins something has the same as one JSON document, on stdout and alone there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from optimize.cli import run
from optimize.commands.detached import _first_state, events_in
from optimize.confirm.verdict import Finalist, Verdict, verdict_attrs
from optimize.reporting.events import EventsFile
from optimize.trial import Outcome, TrialStatus
from storage import read_records
from tests.conftest import Driver, complete

PLAN = ("--profile", "./profile.toml", "--workload", "./workload", "--space", "./space.toml")


class Typed:
    """Commands as a program types them, in the driver's folder."""

    def __init__(self, driver: Driver, capsys: pytest.CaptureFixture[str]) -> None:
        self.driver, self._capsys = driver, capsys

    def json(self, *words: object, code: int = 0) -> Any:
        assert self.type(*words, "--json") == code
        return json.loads(self.out) if self.out else None

    def type(self, *words: object) -> int:
        """Run a command; return its exit code."""
        code = run([*map(str, words)])
        self.out, self.said = self._capsys.readouterr()
        return code


@pytest.fixture
def typed(driver: Driver, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Typed:
    monkeypatch.chdir(driver.folder)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(driver.folder / "config"))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent.parent))
    return Typed(driver, capsys)


def some_fail(job) -> Outcome:  # type: ignore[no-untyped-def]
    ended = Outcome(TrialStatus.OUT_OF_MEMORY, 1.0, "out of memory", log="x" * 9_000 + "\nlast words\n")
    return ended if job.number == 3 else complete(job)


def test_a_trial_has_its_patch_and_its_logs_end(typed: Typed) -> None:
    typed.driver.run(some_fail, trials=5)
    failed = typed.json("show", 3)
    assert (failed["study"], failed["trial"]["status"], failed["trial"]["value"]) == ("s", "out_of_memory", None)
    assert failed["log_end"].endswith("last words")
    assert 4_000 <= len(failed["log_end"]) < 4_010
    changed = failed["changed"]
    assert changed
    assert all(f"\n-{name} = " in failed["patch"] and f"\n+{name} = " in failed["patch"] for name in changed)
    assert typed.json("show", 0)["changed"] == {}
    assert typed.json("show", 99, code=2) is None
    assert "there is no trial 99" in typed.said


def test_noise_and_importance_say_why_there_is_none_and_then_what_was_found(typed: Typed) -> None:
    typed.driver.run(trials=3)
    assert typed.json("importance")["why_not"].startswith("3 trials have completed, and below 20")
    nothing = typed.json("noise")
    assert (nothing["confirmation"], nothing["repeats"]) == (None, None)
    assert nothing["why_not"]
    verdict = Verdict((Finalist(1, 3, 0.02, 0.01, 0.03, True),), 0.95, 0.004, 0.008)
    typed.driver.run(trials=24)
    with typed.driver.database() as database:
        for key, value in verdict_attrs(verdict).items():
            database.set_study_attr(database.find_study("s") or 0, key, value)
    found = typed.json("importance")
    assert {each["name"] for each in found["parameters"]} == {"X", "Y", "PAIR"}
    assert sum(each["share"] for each in found["parameters"]) == pytest.approx(1)
    assert found["parameters"][0]["name"] == "Y"  # it moves the value by up to 0.75, the others by 0.2 and 0.001
    noise = typed.json("noise")
    assert noise["confirmation"] == {"deviation": 0.004, "smallest_gain": 0.008, "level": 0.95}


def test_a_check_says_what_may_vary_and_whether_the_commands_may_run(typed: Typed) -> None:
    told = typed.json("check", *PLAN, "--study", "new")
    assert (told["study"], told["workload"]["trusted"], told["trials_done"]) == ("new", False, 0)
    by_name = {each["name"]: each for each in told["search_space"]["parameters"]}
    assert by_name["X"] == {"name": "X", "choices": [1, 2, 3, 4], "baseline": 4, "when": None}
    assert by_name["PAIR"]["choices"] == ["(0.8, 0.95)", "(0.9, 0.95)"]
    assert told["search_space"]["rules"] == [{"rule": "SIZE % X == 0", "why": "the script halves its size"}]
    assert (told["search_space"]["size"], told["search_space"]["feasible"]) == (32, 24)
    assert told["settings"]["search_space"] == {"value": "./space.toml", "origin": "flag"}
    assert told["slots"]
    assert not Path("runs").exists()


def test_what_is_written_is_named(typed: Typed) -> None:
    typed.driver.run(trials=3)
    exported = typed.json("export")
    best = exported["best"]
    assert Path(exported["folder"], "train.py").read_text().count(f"X = {best['params']['X']}\n") == 1
    assert {Path(path).name for path in exported["written"]} == {"results.tsv", "trials.csv", "best"}
    assert (exported["confirmed"], exported["command"]) == (False, "sh run.sh")
    moved = typed.json("migrate", "s", "--to", "s-2", *PLAN)
    assert (moved["study"], moved["migrated_from"]) == ("s-2", "s")
    assert "run --study s-2" in moved["next"]
    assert typed.json("stop", "--study", "s", code=2) is None
    assert "no process drives it" in typed.said
    with typed.driver.open():
        assert typed.json("stop", "--study", "s", "--now")["now"] is True


@pytest.mark.slow
def test_a_run_of_its_own_process_is_waited_for_and_adds_what_happened_to_a_file(typed: Typed) -> None:
    words = ("run", *PLAN, "--trust", "--study", "s", "--trials", 4, "--slots", 1, "--events", "events.jsonl")
    Path("events.jsonl").write_text('{"event": "mine"}\n')
    begun = typed.json(*words, "--detach")
    assert (begun["study"], begun["state"]) == ("s", "running")
    while (told := typed.json("wait", "--study", "s", "--after", "0~0~~~", "--until", "end"))["running"]:
        pass
    (study,) = typed.json(*words)["studies"]  # once more, here: all is done
    assert study["states"]["COMPLETE"] == told["states"]["COMPLETE"] == 4
    events = list(events_in(Path("events.jsonl")))
    kinds = [each["event"] for each in events if each["event"] != "best"]
    assert kinds == ["mine", "start", *("trial_start", "trial_end") * 4, "end", "start", "end"]
    assert events[1]["pid"] == begun["pid"] != events[-1]["pid"]
    with typed.driver.database() as database:
        records = read_records(database, database.find_study("s") or 0)
    for source in (events, told["events"]):
        ended = [each["trial"] for each in source if each["event"] == "trial_end"]
        assert [(each["number"], each["value"], each["params"]) for each in ended] == [
            (record.number, record.value, record.params) for record in records
        ]
    bests = [each["value"] for each in events if each["event"] == "best"]
    assert bests == sorted(bests, reverse=True)
    assert bests[-1] == study["best"]["value"]
    assert (events[-1]["code"], events[-1]["reason"]) == (0, "4 trials are done")
    assert "study s: 4 trials are done\n" in Path(begun["log"]).read_text()


def test_a_process_that_is_begun_works_has_ended_or_takes_its_time(tmp_path: Path) -> None:
    events = tmp_path / "events.jsonl"
    assert _first_state(7, events, 0, 0.0, lambda: True) == ("preparing", {})
    assert _first_state(7, events, 0, 60.0, lambda: False) == ("ended", {})
    events.write_text('{"event": "end", "pid": 8, "code": 0}\n{"event": "end", "pid": 7, "code": 2}\n{"event": "sta')
    assert _first_state(7, events, 0, 60.0, lambda: True) == ("ended", {"event": "end", "pid": 7, "code": 2})
    assert _first_state(7, events, 100, 0.0, lambda: True) == ("preparing", {})


@pytest.mark.slow
def test_events_end_with_the_lines_of_an_error(typed: Typed) -> None:
    (typed.driver.folder / "workload" / "train.py").write_text("X = 4\nY = 0.5\nPAIR = (0.8, 0.95)\nSIZE = 8\nnone\n")
    words = ("run", *PLAN, "--trust", "--study", "s", "--trials", 3)
    assert typed.json(*words, "--events", "no/such/folder.jsonl", code=2) is None
    assert typed.said.startswith("--events: no/such/folder.jsonl: No such file or directory.")
    assert not Path("runs").exists()
    assert typed.json(*words, "--events", "events.jsonl", code=2) is None
    *_, end = events_in(Path("events.jsonl"))
    assert (end["event"], end["code"]) == ("end", 2)
    assert end["problems"][0] == typed.said.splitlines()[-len(end["problems"])]
    assert "the baseline did not complete" in end["problems"][0]


def test_a_full_disk_ends_no_study() -> None:
    said: list[str] = []
    full = EventsFile(Path("/dev/full"), said.append)
    full.write("mine")
    full.write("mine")
    full.close()
    assert said == ["--events: /dev/full: No space left on device (the study goes on)"]
