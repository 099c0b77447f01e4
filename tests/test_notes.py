"""The notes beside a study and its trials: what they tell, how long they are, and that a script cannot write them."""

from __future__ import annotations

import re
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimize.confirm.verdict import Finalist, Verdict, verdict_attrs
from optimize.reporting.notes import LONGEST, StudyFacts, study_note, trial_note
from optimize.study.comparable import ABOUT, CONSTANTS, FINGERPRINT
from optimize.trial import BASELINE, Metric
from storage import TrialRecord

METRIC = Metric()
BASE = TrialRecord(0, 1, "COMPLETE", "complete", {"X": 4}, 1.25, kind="baseline", seconds=10.0, device="a CPU")
BETTER = TrialRecord(3, 4, "COMPLETE", "complete", {"X": 2}, 1.0, kind="sampler", summary={"num_steps": 40.0})
BROKEN = TrialRecord(5, 6, "PRUNED", "infeasible", {"X": 9}, None, "AssertionError: <script>alert(1)</script> `x`")
PATCH = "--- a/train.py\t\n+++ b/train.py\t\n@@ -1 +1 @@\n-X = 4\n+X = 2\n"
LOG = "step 1\n---\nval_bpb: 1.0\n"
ATTRS = {
    FINGERPRINT: {"script": "0"},
    BASELINE: {"X": 4},
    CONSTANTS: {"TIME_BUDGET": 300},
    ABOUT: {"workload": "gpt", "script": "train.py", "profile": "cpu", "command": "optimize run --study s"},
}


def note(record: TrialRecord, baseline: TrialRecord | None = BASE, **texts: str) -> str:
    return trial_note(record, METRIC, baseline, {"train.patch": PATCH, "log.txt": LOG, **texts}, {})


def facts(*records: TrialRecord, **attrs: object) -> StudyFacts:
    return StudyFacts("s", METRIC, {**ATTRS, **attrs}, records, {"X": (2, 4)}, PATCH, "runs/s")


def test_a_trial_that_completed_is_measured_by_the_baseline() -> None:
    text = note(BETTER)
    assert "1.000000" in text
    assert "0.250000\u00a0(20.0\u00a0%) better than the baseline" in text
    assert "```diff\n--- a/train.py\n+++ b/train.py\n-X = 4\n+X = 2\n```" in text
    assert "`num_steps` 40" in text
    assert "step 1" in text
    assert "val_bpb:" not in text  # the figures stand above


@pytest.mark.parametrize(
    ("kind", "says"), [("advisor", "proposed by an advisor `m`"), ("start", "a start from `m`"), ("", "`m`")]
)
def test_who_proposed_a_trial_is_said(kind: str, says: str) -> None:
    assert f"\n\nOn `a GPU`, {says}\n\n" in note(replace(BETTER, kind=kind, source="m", device="a GPU"))


def test_higher_may_be_better() -> None:
    text = trial_note(replace(BETTER, value=1.5), Metric("accuracy", "maximize"), BASE, {}, {})
    assert "better than the baseline" in text


def test_a_trial_without_a_value_says_why_and_that_it_is_never_the_best() -> None:
    text = note(BROKEN)
    assert "**infeasible**" in text
    assert "never the best" in text
    assert "`` AssertionError: <script>alert(1)</script> `x` ``" in text


@given(st.text(), st.text(), st.text(), st.text(max_size=300))
def test_a_note_is_short_whatever_a_script_printed(patch: str, log: str, reason: str, name: str) -> None:
    record = replace(BROKEN, reason=reason, summary=dict.fromkeys((name, name + "x"), name))
    texts = {"train.patch": "".join(f"+{line}\n" for line in patch * 20), "log.txt": log * 200}
    assert len(trial_note(record, METRIC, BASE, texts, {"log.txt": "/artifacts/1/2/a"})) <= LONGEST


@pytest.mark.parametrize("log", ["```\n# not a heading\n````\n", "\x1b]0;title\x07", "~~~\n</pre><script>"])
def test_a_log_cannot_leave_its_block(log: str) -> None:
    text = note(BROKEN, **{"log.txt": log})
    fence = text.rpartition("\n")[2]
    assert set(fence) == {"`"}
    assert text.count(fence + "text\n") == 1
    assert "\x1b" not in text


def test_what_a_trial_left_can_be_reached() -> None:
    text = trial_note(BETTER, METRIC, BASE, {}, {"log.txt": "/artifacts/1/4/abc", "gone": ""})
    assert "[`log.txt`](/artifacts/1/4/abc)" in text
    assert "gone" not in text
    assert "as it is" not in text  # no patch was kept: nothing is said of one


def test_a_study_says_what_is_tuned_how_far_it_has_come_and_how_to_go_on() -> None:
    text = study_note(facts(BASE, BETTER, BROKEN))
    for words in ("1 parameter of `train.py` is tuned", "a CPU", "| baseline", "**1.000000**", "0.250000", "`TIME_BUDGET = 300`",
                  "optimize run --study s", "cd runs/s/best", "-X = 4", "`2 4`", "workload `gpt`"):  # fmt: skip
        assert words in text, words


def test_a_study_whose_best_is_not_confirmed_says_so() -> None:
    assert "a **candidate**" in study_note(facts(BASE, BETTER))
    assert "nothing was better" in study_note(facts(BASE))
    assert "No trial has completed" in study_note(facts(BROKEN))


def test_confirming_is_hinted_where_it_can_work_alone() -> None:
    hint = "optimize confirm --study s"
    assert study_note(facts(BASE, BETTER)).count(hint) == 2
    for attrs in ({FINGERPRINT: {}}, {ABOUT: {"seed": ""}}):  # of other programs; of a script without a seed
        text = study_note(facts(BASE, BETTER, **attrs))
        assert "a **candidate**" in text
        assert hint not in text


def test_commands_of_a_note_are_those_of_the_call_that_writes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    about = {ABOUT: {"command": "optimize run --study old --workload './a folder'"}}
    place = ["--runs", "my runs", "--storage", "sqlite:///a.db"]
    monkeypatch.setattr(sys, "argv", [".venv/bin/optimize", "run", *place])
    monkeypatch.setenv("PATH", "/usr/bin:/bin")  # where no `optimize` is
    where = "--storage sqlite:///a.db --runs 'my runs'"
    text = re.sub(
        r" \\\n +", " ", study_note(replace(facts(BASE, BETTER, **about), here="/home/me"))
    )  # a line for each
    assert "In the folder `/home/me`:" in text
    for line in (
        f"run --study s --workload './a folder' {where}",
        f"stop --study s {where}",
        f"show 3 --study s {where}",
    ):
        assert f".venv/bin/optimize {line}" in text, line


def test_a_note_names_no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["optimize", "run", "--storage", "postgresql://me@host/studies"])
    text = study_note(replace(facts(BASE, BETTER), here="/home/me", on_server=True))
    assert "with `--storage` or `OPTIMIZE_STORAGE_URL`" in text
    assert "postgresql" not in text


def test_a_verdict_is_told_with_its_interval_and_its_doubts() -> None:
    finalist = Finalist(3, 3, 0.25, 0.2, 0.3, confirmed=True, doubts=("it saw <b>more</b>",))
    verdict = Verdict((finalist,), 0.95, 0.003, 0.006, ("another split agrees",))
    text = study_note(facts(BASE, BETTER, **verdict_attrs(verdict)))
    assert "trial 3: **confirmed**, gain +0.250000 (95 % between +0.200000 and +0.300000)" in text
    assert "`it saw <b>more</b>`" in text
    later = replace(BETTER, number=9, params={"X": 1}, value=0.9)
    text = study_note(facts(BASE, BETTER, later, **verdict_attrs(verdict)))
    assert "the best single value, 0.900000, is that of trial 9, a candidate: never trained with another seed" in text
    assert "| **best, confirmed**" in text


def test_a_confirmation_in_which_nothing_completed_confirms_nothing() -> None:
    verdict = Verdict((), 0.95, 0.0, 0.0, ("all of them ran out of memory",))
    text = study_note(facts(BASE, BETTER, **verdict_attrs(verdict)))
    assert "**candidate**: `too few" in text
    assert "out of memory" in text


def test_a_note_changes_with_the_best_trial_only() -> None:
    worse = [replace(BASE, number=n, trial_id=n, kind="sampler", params={"X": n}, value=2.0) for n in range(10, 20)]
    assert study_note(facts(BASE, BETTER)) == study_note(facts(BASE, BETTER, *worse, BROKEN))


def test_a_study_of_another_program_has_a_note_too() -> None:
    foreign = StudyFacts("theirs", Metric("loss"), {}, [TrialRecord(0, 1, "COMPLETE", value=1.0)])
    assert "1.000000" in study_note(foreign)
