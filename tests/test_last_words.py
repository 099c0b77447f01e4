"""What counts as a script's last words: nothing that progress follows, and nothing that its exit contradicts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimize.runner.diagnosis import Exit, PrintedMetric, diagnose
from optimize.runner.process import run_job
from optimize.runner.progress import OutputParser
from optimize.trial import Job, Metric, ProgressFormat, Slot, TrialStatus

CASES = json.loads((Path(__file__).parent / "data" / "causes.json").read_text("utf-8"))
TRACEBACK = 'Traceback (most recent call last):\n  File "/w/files/train.py", line 3, in <module>\n    step()\n'
WORDS = sorted({line.strip() for case in CASES for line in case["log"].splitlines() if not line.startswith("step ")})
EPOCHS = Job(0, {}, {}, (), progress=ProgressFormat(r"epoch (?P<step>\d+)"), metric=Metric(regex=r"score {number}"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["log"].strip().splitlines()[-1][:60])
def test_each_ending_is_told_by_its_last_words(case: dict[str, str]) -> None:
    assert diagnose(case["log"], Exit(int(case["exit"]), 9.0), Metric()).status == case["expected"]


@settings(deadline=None, max_examples=150)
@given(
    st.lists(st.tuples(st.booleans(), st.sampled_from(WORDS)), min_size=1, max_size=4),
    st.sampled_from(["\n", "\r"]),
    st.sampled_from([0, 1, 3, -6, -11, -15, 134, 139]),
)
def test_what_progress_follows_never_decides_the_ending(said: list[tuple[bool, str]], end: str, code: int) -> None:
    before = "".join((TRACEBACK if is_raised else "") + line + "\n" for is_raised, line in said)
    log = f"{before}step 00010 (1.0%) | loss: 3.4{end}step 00020 (2.0%) | loss: 3.3{end}"
    assert diagnose(log, Exit(code, 9.0), Metric()).status is TrialStatus.CRASHED


def ending(log: str, job: Job, code: int = 1) -> TrialStatus:
    parser = OutputParser(job, lambda progress: None)
    return diagnose(log, Exit(code, 9.0), job.metric, PrintedMetric(), parser.tells_progress).status


@pytest.mark.parametrize("line", ["epoch 3", "score 0.5"])
def test_a_script_s_own_progress_lines_count_as_well(line: str) -> None:
    caught = f"{TRACEBACK}ModuleNotFoundError: No module named 'flash_attn'\n"
    assert ending(f"{caught}{line}\nbye\n", EPOCHS) is TrialStatus.CRASHED
    assert ending(f"{line}\n{caught}", EPOCHS) is TrialStatus.ENVIRONMENT


def test_a_trial_is_diagnosed_with_the_progress_lines_of_its_workload(tmp_path: Path) -> None:
    script = (
        "import os, traceback\ntry:\n    import no_such_module\nexcept ImportError:\n    traceback.print_exc()\n"
        "print('epoch 1', flush=True)\nraise SystemExit(7)\n"
    )
    job = Job(0, {}, {"train.py": script}, ("{python}", "train.py"), progress=EPOCHS.progress)
    outcome = run_job(job, tmp_path / "work", Slot("0"))
    assert (outcome.status, outcome.reason) == (TrialStatus.CRASHED, "exit code 7: epoch 1")


@pytest.mark.parametrize("text", ["x", "nan ", "loss ", "a.", "Error: ", " ", "1:2 ", "File ", "remaining: 3"])
def test_a_line_of_any_length_is_read_once_and_told_shortly(text: str) -> None:
    ended = diagnose(text * 60_000, Exit(1, 9.0), Metric())  # a pattern that went back and forth would take hours
    assert ended.status is TrialStatus.CRASHED
    assert len(ended.reason) <= 300


def test_a_loose_progress_regex_hides_no_traceback() -> None:
    job = Job(0, {}, {}, (), progress=ProgressFormat(r"(?P<step>\d+)"))
    assert ending(f"{TRACEBACK}RuntimeError: Invalid buffer size: 24.00 GB\n", job) is TrialStatus.OUT_OF_MEMORY


@pytest.mark.parametrize("words", ["Killed", "terminate called after throwing an instance of 'std::bad_alloc'"])
def test_last_words_may_stand_on_a_progress_line_that_has_no_end(words: str) -> None:
    log = f"step 00010 (1.0%) | loss: 3.4 | remaining: 200s    {words}\n"
    assert diagnose(log, Exit(134, 9.0), Metric()).status is TrialStatus.OUT_OF_MEMORY


@pytest.mark.parametrize(("code", "status"), [(1, TrialStatus.DIVERGED), (-11, TrialStatus.CRASHED)])
def test_a_last_progress_line_whose_loss_is_no_number_is_a_cause(code: int, status: TrialStatus) -> None:
    for line in ("step 00010 (1.0%) | loss: nan", "step 3 (1%) | train_loss inf | remaining: 20s  "):
        assert diagnose(f"step 1 (0%) | loss: 3\n{line}\nbye\n", Exit(code, 9.0), Metric()).status is status
    assert diagnose("step 1 | loss: nan\nstep 2 | loss: 3\n", Exit(1, 9.0), Metric()).status is TrialStatus.CRASHED


def test_progress_of_another_thread_between_the_links_of_a_chain_hides_nothing() -> None:
    link = "\nThe above exception was the direct cause of the following exception:\n\n"
    chain = f"{TRACEBACK}torch.OutOfMemoryError: no{link}step 3 (1%)\n{TRACEBACK}RuntimeError: trial failed\n"
    assert diagnose(chain, Exit(1, 9.0), Metric()).status is TrialStatus.OUT_OF_MEMORY
