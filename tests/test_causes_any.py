"""A known cause of death is told among whatever else a log says, and no cause is told where there is none."""

from __future__ import annotations

import re
import signal

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from optimize.runner.diagnosis import Exit, diagnose
from optimize.trial import Metric, TrialStatus
from tests.log_texts import CASES, CAUGHT, LAST_WORDS, NOISE, PROGRESS, TRACEBACK, lines_of
from tests.test_causes import SAID

BUT_PROGRESS = st.lists(CAUGHT | NOISE | LAST_WORDS | PROGRESS, max_size=4).map("".join)
RAISED = [(status, said) for status, all_of in SAID.items() for said in all_of]
RAISED += [(TrialStatus(case["expected"]), "\n".join(_)) for case in CASES if case["exit"] == 1 and (_ := lines_of(case)[3:])
           and lines_of(case)[0] == TRACEBACK.splitlines()[0] and "ChildFailed" not in _[0]]  # fmt: skip


def ending(log: str, code: int | None) -> TrialStatus:
    return diagnose(log, Exit(code, 9.0), Metric()).status


def ranked(log: str) -> str:
    """As torchrun's Python prints a traceback."""
    return "".join(f"[rank0]: {line}\n" for line in log.splitlines())


def coloured(log: str) -> str:
    """As Python 3.13 prints a traceback, and rich or loguru a line, where colours are forced."""
    log = re.sub(r'(?m)^  File ("[^"]+"), line (\d+)', "  File \x1b[35m\\1\x1b[0m, line \x1b[35m\\2\x1b[0m", log)
    log = re.sub(r"(?m)^    (\S.*)$", "    \x1b[31m\\1\x1b[0m", log)
    return re.sub(r"(?m)^([\w.]+)(: |$)", "\x1b[1;35m\\1\x1b[0m\\2", log)


DRESSES = st.sampled_from(
    [str, ranked, coloured, lambda log: coloured(ranked(log)), lambda log: log.replace("\n", "\r\n")]
)


@pytest.mark.slow
@settings(max_examples=200)
@given(BUT_PROGRESS, PROGRESS, st.sampled_from(RAISED), DRESSES, st.lists(NOISE, max_size=3).map("".join))
@example(
    "",
    "step 5 (5%)\n",
    (TrialStatus.CRASHED, "ValueError: no"),
    str,
    "hint: on out of memory, lower DEVICE_BATCH_SIZE\n",
)
def test_what_was_raised_last_is_told_among_whatever_surrounds_it(before, progress, raised, dress, after):  # type: ignore[no-untyped-def]
    status, said = raised
    assert ending(f"{before}{progress}{dress(f'{TRACEBACK}{said}' + chr(10))}{after}", 1) is status


@settings(max_examples=100)
@given(
    BUT_PROGRESS,
    PROGRESS,
    st.sampled_from(CASES),
    st.sampled_from(["\n", "\r\n"]),
    st.lists(st.sampled_from(["\n", "  \n"]), max_size=3).map("".join),
)
def test_the_last_words_of_each_known_ending_are_told_after_whatever_went_before(before, progress, case, end, after):  # type: ignore[no-untyped-def]
    words = "".join(f"{line}{end}" for line in lines_of(case))
    assert ending(f"{before}{progress}{words}{after}", case["exit"]) == case["expected"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["log"]).strip().splitlines()[-1][:60])
def test_colours_change_no_verdict(case: dict[str, str]) -> None:
    log = "\n".join(lines_of(case))
    assert ending(f"step 3 (1%)\n{coloured(log)}\n", int(case["exit"])) == case["expected"]


TOLD = {
    0: {TrialStatus.CRASHED, TrialStatus.OUT_OF_MEMORY, TrialStatus.DIVERGED},  # a script may end by itself at these
    -signal.SIGSEGV: {
        TrialStatus.CRASHED,
        TrialStatus.OUT_OF_MEMORY,
        TrialStatus.DIVERGED,
    },  # after an exception, in its teardown
    -signal.SIGTERM: {TrialStatus.CRASHED, TrialStatus.OUT_OF_MEMORY, TrialStatus.DIVERGED},
    -signal.SIGABRT: {
        TrialStatus.CRASHED,
        TrialStatus.OUT_OF_MEMORY,
        TrialStatus.DIVERGED,
        TrialStatus.ENVIRONMENT,
        TrialStatus.DEVICE_FAILED,
    },
    -signal.SIGKILL: {TrialStatus.OUT_OF_MEMORY},
}


@settings(max_examples=200)
@given(
    BUT_PROGRESS,
    st.sampled_from(RAISED),
    st.booleans(),
    st.lists(NOISE, max_size=2).map("".join),
    st.sampled_from(sorted(TOLD)),
    st.booleans(),
)
def test_a_cause_that_the_exit_contradicts_does_not_count(before, raised, is_raised, after, code, by_shell):  # type: ignore[no-untyped-def]
    log = f"{before}step 3 (1%)\n{TRACEBACK if is_raised else ''}{raised[1]}\n{after}"
    status = ending(log, 128 - code if by_shell and code else code)
    assert status in TOLD[code]
    is_bare = re.search(r"(?m)^[\w.]*[A-Z]\w*(?:Error|Exception)(?::|$)", raised[1])  # counts like a traceback
    if not is_raised and not is_bare and code in (0, -signal.SIGSEGV):
        assert status is TrialStatus.CRASHED


@settings(max_examples=100)
@given(
    st.lists(NOISE | PROGRESS | st.text("abc xyz 0123.,:-%", max_size=40).map("{}\n".format), max_size=8).map("".join),
    st.sampled_from([1, 2, 255, -6, -11, -15, 139]),
)
def test_a_log_without_a_cause_is_a_crash(log: str, code: int) -> None:
    assume("---\n" not in log)
    assert ending(log, code) is TrialStatus.CRASHED


def test_a_hint_behind_an_exception_is_no_cause() -> None:
    for hint in (
        "hint: on out of memory, lower DEVICE_BATCH_SIZE",
        "x.py:3: UserWarning: the loss is nan",
        "note: killed: 9 is memory",
    ):
        assert ending(f"{TRACEBACK}ValueError: no\n{hint}\n", 1) is TrialStatus.CRASHED
    assert ending(f"{TRACEBACK}RuntimeError: first line\nCUDA error: out of memory\n", 1) is TrialStatus.OUT_OF_MEMORY


def test_a_bad_address_is_not_explained_by_words_without_a_traceback() -> None:
    for case in CASES:
        if TRACEBACK.splitlines()[0] not in case["log"]:
            assert ending(case["log"], -signal.SIGSEGV) is TrialStatus.CRASHED
