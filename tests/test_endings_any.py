"""Whatever a script prints and however it ends: the diagnosis is total, one for one text, and its result the printed one."""

from __future__ import annotations

import math
import signal
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from optimize.runner.diagnosis import REASON_CHARS, Exit, diagnose
from optimize.runner.log import BoundedLog
from optimize.runner.progress import OutputParser
from optimize.runner.stop import StopRequest
from optimize.search.endings import CONSEQUENCES, CROWDED, consequence_of
from optimize.trial import Job, Metric, Outcome, TrialStatus
from tests.log_texts import CAUGHT, LAST_WORDS, NOISE, PROGRESS
from tests.strategies import FINITE

STATUSES = st.sampled_from([s for s in TrialStatus if s is not TrialStatus.COMPLETE])
CODES = st.sampled_from(
    [None, 0, 1, 2, 3, 9, 127, 128, 134, 137, 139, 143, 255, 256, -1, -6, -9, -11, -15, -64, -99]
) | st.integers(-300, 300)
STOPS = st.none() | st.builds(StopRequest, STATUSES, st.text(max_size=20), st.booleans())
EXITS = st.builds(Exit, CODES, st.just(9.0), STOPS)
METRICS = st.sampled_from(
    [
        Metric(),
        Metric("acc", "maximize"),
        Metric("val_loss", regex=r"val loss {number}", take="min"),
        Metric(regex=r"bpb=(\S+)"),
    ]
)
SUMMARIES = (
    "---\n", "---\nval_bpb: 0.5\n", "---\nval_bpb:    nan\nx: 1\n", "---\nval_bpb: inf\n", "---\nval_bpb: 0.5",
    "---\nacc: 1e999\n", "---\nacc: n/a\n", "---\nother: 3\n", "--- \nval_bpb: 3\n", "---\r\nval_bpb: 0.25\r\n",
    "val_bpb: 1.5\n", "val loss 2.5, lr 3\n", "val loss nan\n", "bpb=7\n", "bpb=x\n",
)  # fmt: skip
LOGS = st.lists(
    st.sampled_from(SUMMARIES) | PROGRESS | CAUGHT | LAST_WORDS | NOISE | st.text(max_size=30), max_size=6
).map("".join)


@pytest.fixture(scope="module")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("logs")


def printed(log: bytes, cuts: list[int], job: Job, end: Exit, folder: Path) -> Outcome:
    """The outcome of a script that printed this, in whatever pieces it came."""
    parser, kept = OutputParser(job, lambda progress: None), BoundedLog(folder / "log", 4.0)
    places = sorted({0, len(log), *(cut % (len(log) + 1) for cut in cuts)})
    for start, stop in pairwise(places):
        kept.write(log[start:stop])
        parser.feed(log[start:stop])
    parser.close()
    text = kept.text()
    kept.close()
    return diagnose(text, end, job.metric, parser.metric.found(), parser.tells_progress)


@settings(max_examples=150)
@given(LOGS, EXITS, METRICS, st.lists(st.integers(0, 5000), max_size=9), st.booleans())
def test_every_ending_has_one_diagnosis_and_one_consequence_however_its_log_came(
    shared_folder: Path, log: str, end: Exit, metric: Metric, cuts: list[int], shared: bool
) -> None:
    data, job = log.encode("utf-8", "replace"), Job(0, {}, {}, (), metric=metric)
    outcome = printed(data, cuts, job, end, shared_folder)
    assert repr(outcome) == repr(printed(data, [], job, end, shared_folder))
    assert outcome.reason.isprintable()
    assert len(outcome.reason) <= REASON_CHARS
    assert outcome.reason or outcome.status is TrialStatus.COMPLETE
    assert consequence_of(replace(outcome, shared=shared)) in (CONSEQUENCES[outcome.status], CROWDED)
    value = outcome.summary.get(metric.name)
    if outcome.status is TrialStatus.COMPLETE:
        assert isinstance(value, float)
        assert math.isfinite(value)
        assert consequence_of(outcome).state == "COMPLETE"
        assert end.stop or end.code == 0 or outcome.reason.endswith("after its summary")
    elif end.stop:
        assert outcome.status is end.stop.status


NUMBERS = FINITE | st.floats(0.5, 2.0)
FORMS = st.sampled_from(["{!r}", "{:.6f}", "{:.3e}", "{:g}", "{:+.4f}", "{:12.6f}   "])
ENTRIES = st.lists(
    st.sampled_from(
        ["num_steps:  953\n", "mfu_percent:   n/a\n", "peak_vram_mb: 4.5\n", "note: val_bpb: 3\n", "a b:  c: d\n"]
    ),
    max_size=3,
)


@settings(max_examples=120)
@given(
    LOGS,
    NUMBERS,
    FORMS,
    ENTRIES,
    ENTRIES,
    st.lists(NOISE | CAUGHT | LAST_WORDS, max_size=4).map("".join),
    st.sampled_from([0, -6, -11, 134]),
)
def test_a_value_that_was_printed_whole_is_stored_exactly_whatever_follows(
    before: str, value: float, form: str, over: list[str], under: list[str], after: str, code: int
) -> None:
    text = form.format(value)
    assume(math.isfinite(float(text)))  # the largest numbers may be rounded up to infinity
    block = "---\n" + "".join(over) + f"val_bpb: {text}\n" + "".join(under) + "\n"
    outcome = diagnose(f"{before}\n{block}{after}", Exit(code, 9.0), Metric())
    assert outcome.status is TrialStatus.COMPLETE
    assert outcome.summary["val_bpb"] == float(text)
    assert (
        diagnose(f"{before}\n{block}", Exit(None, 9.0, StopRequest(TrialStatus.LOST, "why")), Metric()).status
        is TrialStatus.COMPLETE
    )


@settings(max_examples=100)
@given(
    LOGS,
    st.sampled_from(["nan", "inf", "-inf", "NaN", "1e999", "-Infinity", "+nan"]),
    EXITS,
    st.lists(NOISE, max_size=3).map("".join),
)
def test_a_value_that_is_not_finite_never_completes(before: str, value: str, end: Exit, after: str) -> None:
    outcome = diagnose(f"{before}\n---\nval_bpb: {value}\n\n{after}", end, Metric())
    assert outcome.status is not TrialStatus.COMPLETE
    if end.stop is None and end.code == 0:
        assert outcome.status in (TrialStatus.DIVERGED, TrialStatus.OUT_OF_MEMORY)


@settings(max_examples=150)
@given(
    st.lists(PROGRESS | CAUGHT | LAST_WORDS | NOISE, max_size=5).map("".join),
    PROGRESS,
    st.lists(LAST_WORDS | NOISE | CAUGHT, max_size=3).map("".join),
    CODES,
)
def test_what_stands_before_the_last_progress_changes_nothing(
    before: str, progress: str, after: str, code: int | None
) -> None:
    alone = diagnose(progress + after, Exit(code, 9.0), Metric())
    outcome = diagnose(before + progress + after, Exit(code, 9.0), Metric())
    assert (outcome.status, cause(outcome)) == (alone.status, cause(alone))


def cause(outcome: Outcome) -> str:
    """Return the reason without the lines that it quotes to show what the script printed in the metric's place."""
    return outcome.reason.partition(". Its last line")[0]


@settings(max_examples=100)
@given(
    st.lists(CAUGHT | LAST_WORDS | NOISE, max_size=4).map("".join),
    st.lists(PROGRESS, min_size=1, max_size=3).map("".join),
    CODES,
)
def test_progress_after_whatever_a_script_caught_leaves_it_without_a_cause(
    before: str, progress: str, code: int | None
) -> None:
    assume(code not in (-signal.SIGKILL, 137))
    assert diagnose(before + progress, Exit(code, 9.0), Metric()).status is TrialStatus.CRASHED


def test_a_value_and_progress_in_colours_are_read(shared_folder: Path) -> None:
    log = b"\x1b[36mstep 5 (5%)\x1b[0m | loss: \x1b[33m2.5\x1b[0m\n---\n\x1b[1mval_bpb\x1b[0m:  \x1b[1;32m0.5\x1b[0m\n"
    outcome = printed(log, [], Job(0, {}, {}, ()), Exit(0, 9.0), shared_folder)
    assert (outcome.status, outcome.summary, outcome.log) == (TrialStatus.COMPLETE, {"val_bpb": 0.5}, log.decode())
    by_regex = Job(0, {}, {}, (), metric=Metric("val_loss", regex=r"val loss ([0-9.]+)$"))
    outcome = printed(b"val loss \x1b[32m2.5\x1b[0m\n", [12], by_regex, Exit(0, 9.0), shared_folder)
    assert (outcome.status, outcome.summary) == (TrialStatus.COMPLETE, {"val_loss": 2.5})
