"""What the terminal shows of trials: one line each, readable, and without power over the terminal."""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.text import Text

from optimize.commands.terminal import open_console
from optimize.config.environment import interrupted_by
from optimize.confirm.caveats import caveats
from optimize.reporting.check import plan_lines
from optimize.reporting.console import OrderedConsole
from optimize.reporting.run_end import RunResult, end_report
from optimize.reporting.shown_study import ShownStudy
from optimize.reporting.status import study_table, trial_line
from optimize.reporting.study_cost import study_cost
from optimize.reporting.terminal import LiveView, trial_page
from optimize.study.best import find_best
from optimize.study.stopping import Budget, StopLevel
from optimize.study.stored import done_so_far, find_study
from optimize.text import changes, duration, visible
from optimize.trial import BASELINE, Job, Metric, Progress, Slot
from storage import TrialRecord, open_database, origin_attrs
from tests.conftest import Driver
from tests.databases import empty_database

PARAMS = {"DEPTH": 2, "BETAS": "(0.8, 0.95)", "LR": 0.04}


def record(number: int, value: float | None, **more: object) -> TrialRecord:
    state = "COMPLETE" if value is not None else "PRUNED"
    status = "complete" if value is not None else "diverged"
    given = {"params": PARAMS, "seconds": 12.3, **more}
    return TrialRecord(number, number + 1, state, status, value=value, **given)  # type: ignore[arg-type]


def test_durations_read_like_a_person_would_say_them() -> None:
    assert [duration(s) for s in (0.4, 9.96, 42, 200, 7500)] == ["0.4 s", "10.0 s", "42 s", "3 min 20 s", "2 h 05 min"]
    assert [duration(s) for s in (59.7, 119.6, 3599.7, 7199)] == [
        "1 min 00 s",
        "2 min 00 s",
        "1 h 00 min",
        "2 h 00 min",
    ]


def test_only_what_differs_from_the_baseline_is_named() -> None:
    assert changes(PARAMS, PARAMS) == "the baseline's parameters"
    assert changes({"DEPTH": 3, "BETAS": (0.8, 0.95), "LR": 0.02}, PARAMS) == "DEPTH=3 LR=0.02"


def test_a_better_trial_says_by_how_much() -> None:
    line = trial_line(record(3, 2.10), record(0, 2.15), Metric(), PARAMS).plain
    assert "2.100000" in line
    assert "best -0.050000" in line


def printed(shown: RenderableType, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    console.print(shown, crop=False)
    return str(console.file.getvalue()).splitlines()  # type: ignore[attr-defined]


def test_commands_at_the_end_are_whole_lines_however_narrow_the_terminal_is(driver: Driver) -> None:
    plan = driver.plan
    flags = {"workload": "flag", "study": "flag"}
    given = {"workload": "./a folder with a long name", "runs": Path("runs")}
    plan = replace(plan, settings=replace(plan.settings, trials=4, origins=flags, **given))
    records = [
        record(0, 2.2, kind="baseline"),
        record(1, 2.1, kind="sampler", params={**PARAMS, "DEPTH": 4, "LR": 0.02}),
    ]
    lines = printed(end_report(plan, RunResult("done", records)), width=30)
    hints = {line.split(":")[0].strip(): line for line in lines if ": " in line}
    assert hints["go on"].endswith("optimize run --study s --workload './a folder with a long name' --trials 4")
    assert hints["be sure"].endswith("optimize confirm --study s --workload './a folder with a long name'")


def test_a_patch_is_shown_as_it_is_however_narrow_the_terminal_is(driver: Driver) -> None:
    driver.run(trials=2)
    with driver.database() as database:
        stored = find_study(database, "s", driver.settings.runs)
        trial = stored.record(1)
        lines = printed(trial_page(trial, stored), width=20)
        patch = stored.texts(trial)["train.patch"]
    changed = [f"  {line}" for line in patch.splitlines() if line[0] in "+-" and line[:3] not in ("---", "+++")]
    assert changed
    assert set(changed) <= set(lines)
    export = f"optimize export --study s --runs {driver.settings.runs} --trial 1 --to trial-1 && cd trial-1"
    assert lines[-1].startswith(f"  {export} && ")
    assert lines[-1].endswith("sh run.sh")


def test_a_failed_trial_says_why_and_shows_no_value() -> None:
    line = trial_line(record(3, None, reason="loss is NaN"), record(0, 2.15), Metric(), PARAMS).plain
    assert "diverged" in line
    assert "loss is NaN" in line
    assert "2.1" not in line


def test_the_best_of_a_table_is_marked_and_failures_never_are() -> None:
    console = Console(file=io.StringIO(), width=160)
    records = [record(0, 2.2), record(1, None), record(2, 2.1)]
    console.print(study_table(records, find_best(records, "minimize", None), Metric(), PARAMS))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert [line.split()[0] for line in lines if "best" in line] == ["2"]


def test_a_scripts_output_cannot_steer_the_terminal() -> None:
    assert visible("a\x1b[2Jb\rc\x07") == "a\\x1b[2Jb\nc\\x07"


def live_view(
    folder: Path, console: Console, earlier: Sequence[TrialRecord] = (), slots: Sequence[Slot] = (Slot("a"),)
) -> LiveView:
    database = open_database(empty_database(folder))
    database.create_study("night", "minimize", "val_bpb", {BASELINE: PARAMS})
    stored = find_study(database, "night", folder)
    return LiveView(console, ShownStudy(stored, lambda: earlier, print), Budget(trials=20), slots)


def test_the_live_view_shows_slots_the_best_and_what_is_left(tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=160)
    records = [record(0, 2.2), record(1, 2.1)]
    slots = (Slot("cpu:0"), Slot("cpu:1"))
    display = live_view(tmp_path, console, records, slots)
    display.on_start(Job(7, {"DEPTH": 4}, {}, ()), Slot("node-2/gpu:0"))
    display.on_start(Job(8, {"DEPTH": 3}, {}, ()), Slot("cpu:1"))
    display.on_progress(Progress(7, 0.42, 100, 3.456, 24_000, 6.0))
    console.print(display._view())
    text = console.file.getvalue()  # type: ignore[attr-defined]
    for part in ("night", "2 of 20", "2.100000", "left", "3.456", "24,000", "starting", "DEPTH=4", "node-2/gpu:0"):
        assert part in text


def test_a_value_that_is_not_like_the_others_says_so() -> None:
    baseline = record(0, 2.2, kind="baseline", summary={"epochs": 0.5, "device": "H100", "dtype": "bfloat16"})
    odd = record(1, 2.1, summary={"epochs": 1.5, "device": "T4", "dtype": "bfloat16"})
    assert caveats(odd, baseline) == ["saw its data 1.5 times", "device T4, the baseline's was H100"]
    assert caveats(baseline, baseline) == []
    assert "but: saw its data 1.5 times" in trial_line(odd, None, Metric(), PARAMS, caveats(odd, baseline)).plain


def test_of_more_slots_than_the_terminal_has_lines_some_are_shown_and_the_others_counted(tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=160, height=20)
    display = live_view(tmp_path, console, slots=(Slot("a"),) * 100)
    for number in range(100):
        display.on_start(Job(number, {"DEPTH": 4}, {}, ()), Slot("a"))
    console.print(display._view())
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert len(lines) < 20
    assert sum("starting" in line for line in lines) + 85 == 100
    assert "and 85 more" in lines[-2]
    assert lines[-1] == ""  # where a terminal writes its ^C


def test_the_live_view_counts_what_ended_and_what_earlier_calls_did(tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=160)
    display = live_view(tmp_path, console, [record(0, 2.2)])
    for number, value in ((1, 2.1), (2, None), (3, 2.3)):
        display.on_trial_end(record(number, value))
    headline = display._headline().plain
    assert "4 of 20" in headline
    assert "best val_bpb 2.100000 (trial 1, candidate)" in headline
    assert "about 3 min 17 s left" in headline  # sixteen of 12.3 s


def test_a_stop_request_is_answered_at_once(tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), width=160)
    display = live_view(tmp_path, console)
    display.on_start(Job(7, {"DEPTH": 4}, {}, ()), Slot("node-2/gpu:0"))
    display.on_stop(StopLevel.FINISH, "Ctrl-C")
    display.on_stop(StopLevel.CANCEL, "Ctrl-C")
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "the running trials (1) finish first" in text
    assert "cancelled; their parameters are queued" in text


def test_a_stop_request_says_that_nothing_runs_and_in_a_cell_names_no_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    console = Console(file=io.StringIO(), width=160)
    display = live_view(tmp_path, console)
    display.on_stop(StopLevel.FINISH, "Ctrl-C")
    display.on_stop(StopLevel.CANCEL, "Ctrl-C")
    monkeypatch.setenv("JPY_PARENT_PID", "1")
    display.on_stop(StopLevel.FINISH, interrupted_by())
    assert console.file.getvalue().splitlines() == [  # type: ignore[attr-defined]
        "Ctrl-C: no new trial starts; none is running.",
        "Ctrl-C: no trial is running.",
        "stopped by hand: no new trial starts; none is running.",
    ]


def screen(written: str) -> list[str]:
    """The lines that a terminal shows of what was written: Rich moves up, and erases whole lines."""
    lines, row = [""], 0
    for part in re.split(r"(\r|\n|\x1b\[[0-9;?]*[A-Za-z])", written):
        if part == "\n":
            row += 1
            lines += [""] * (row == len(lines))
        elif part == "\x1b[1A":
            row -= 1
        elif part == "\x1b[2K":
            lines[row] = ""
        elif part and part != "\r" and not part.startswith("\x1b"):
            lines[row] += part
    return [line.rstrip() for line in lines]


def test_a_refresh_beside_a_line_that_is_printed_wipes_out_no_other_line(tmp_path: Path) -> None:
    """Once the baseline's line was lost: after a Ctrl-C trials ended, which makes the view shorter, and none began."""
    written = io.StringIO()
    console = OrderedConsole(file=written, force_terminal=True, width=400, height=30, color_system=None)
    display = live_view(tmp_path, console, slots=(Slot("a"), Slot("b")))
    with display:
        display.refresh()
        display.on_trial_end(record(0, 2.2, kind="baseline"))
        for number in (1, 2):
            display.on_start(Job(number, {"DEPTH": 4}, {}, ()), Slot("a"))
        display.on_stop(StopLevel.FINISH, "Ctrl-C")
        display.refresh()
        with console:  # as console.print does, whose text is written at its end
            display.on_trial_end(record(1, 2.1))
            other = threading.Thread(target=display.refresh)
            other.start()
            other.join(0.1)  # it would end at once, were it let in
            assert other.is_alive()
        other.join()
        shown = screen(written.getvalue())
    lines = [line for line in shown if line]
    assert lines[0].startswith("    0  2.200000")
    assert lines[1].startswith("Ctrl-C: no new trial starts")
    assert lines[2].startswith("    1  2.100000")
    assert [line for line in screen(written.getvalue()) if line] == lines[:3]  # the view is gone at the end


def test_commands_print_on_a_console_that_keeps_the_order() -> None:
    assert isinstance(open_console(), OrderedConsole)
    assert isinstance(open_console(stderr=True), OrderedConsole)


def test_the_last_trials_of_a_study_take_as_long_where_they_do_not_fill_the_slots(driver: Driver) -> None:
    (driver.folder / "workload" / "workload.toml").write_text("duration_s = '60'\n")
    driver.set(trials=5)
    lines = plan_lines(driver.plan, (Slot("a"), Slot("b")))
    assert "about 3 min 00 s in all: 5 trials of 1 min 00 s, 2 at a time" in lines


def test_a_study_that_goes_on_is_said_to_take_as_long_as_what_is_left(driver: Driver) -> None:
    (driver.folder / "workload" / "workload.toml").write_text("duration_s = '60'\n")
    driver.set(trials=8)
    driver.run(trials=4)
    done = done_so_far(driver.paths.database, "s")
    lines = plan_lines(driver.plan, (Slot("a"), Slot("b")), done)
    assert done == 4
    assert "about 2 min 00 s in all: 4 more trials of 1 min 00 s, 2 at a time" in lines
    assert any(line.endswith("; 8 trials, 4 of them done") for line in lines)
    assert not any("at a time" in line for line in plan_lines(driver.plan, (Slot("a"),), 8))
    assert "in all: 1 more trial of" in str(plan_lines(driver.plan, (Slot("a"),), 7))
    assert done_so_far(driver.paths.database, "another") == done_so_far(driver.folder / "no.db", "s") == 0


def test_trials_that_were_copied_from_another_study_are_not_done_here(driver: Driver) -> None:
    with driver.database() as database:
        study_id = database.create_study("s", "minimize", "loss")
        for taken_from in ("", "old, trial 3", ""):
            attrs = origin_attrs("sampler", taken_from=taken_from)
            trial = database.create_trial(study_id, state="RUNNING", params={}, choices={}, attrs=attrs)
            database.finish_trial(trial.trial_id, "COMPLETE", 1.0)
        database.create_trial(study_id, state="RUNNING", params={}, choices={})
    assert done_so_far(driver.paths.database, "s") == 2


def test_lines_of_a_pipe_end_without_blanks(capsys: pytest.CaptureFixture[str]) -> None:
    console = open_console()
    console.print(Padding(Text("word " * 80), (0, 2)))
    console.print("a  \n b")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 3
    assert lines == [line.rstrip() for line in lines]
    assert lines[-2:] == ["a", " b"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"device": "cpu"}, "1 trial, 30 s of wall time on cores"),  # not the CPU time that `time` shows
        ({"device": "cuda", "gpus_per_trial": 2, "trials_per_gpu": 1}, "1 trial, 1 min 00 s of GPU time"),
        ({}, "1 trial, 30 s of device time"),
    ],
)
def test_what_is_added_up_is_named_as_what_it_is(settings: dict[str, object], said: str) -> None:
    assert study_cost([TrialRecord(0, 1, "COMPLETE", value=1.0, seconds=30.0)], settings).text == said
