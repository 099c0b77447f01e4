"""A regex that takes for ever on some line: refused before any trial, and bounded on every line that a trial prints."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from optimize.errors import WorkloadError
from optimize.executors.local import LocalExecutor
from optimize.runner.limited_regex import LINE_S, SAVED_S, LimitedRegex, _end_search, search_within
from optimize.runner.numbers import compile_pattern
from optimize.runner.process import run_job
from optimize.runner.progress import GROUPS, MetricParser
from optimize.script.load_workload import load_workload
from optimize.script.output import mistake
from optimize.script.regex_probe import is_slow, probes
from optimize.trial import Job, Metric, Outcome, ProgressFormat, Slot, TrialStatus
from tests.zoo import PATIENT, endings, zoo_job

FOR_EVER = r"(?:a+)+b([0-9])"
EVIL = "a" * 60  # two to the power of 59 ways to read it
MANY = 100  # lines, of which a regex gives up long before the last
NESTED = "(?:" * 30 + "a+" + ")+" * 30 + "([0-9])"


@pytest.mark.parametrize(
    "regex",
    [
        NESTED,
        FOR_EVER,
        r"val loss (?:[0-9]+\.?)+x([0-9])",  # only behind its prefix
        r"^iter (?:(?:[a-z]+,? ?)+): ([0-9])",
        r"step(?:\s*\d*)*:([0-9])",
        r"(?:[^|]+\|?)+=(\d)",
        r"(?=(?:a|aa)+$)(b)",
        r"x(?:.|[ab])*y(?:z|.)*!(\d)" + ".*" * 3 + "x",
        r"(?:(?P<q>['])?\w*\s*(?(q)'|\w*))*z",
        "(?:{number}[, ]?)+;",
    ],
)
def test_a_regex_that_takes_for_ever_somewhere_is_refused(regex: str) -> None:
    assert "takes too long" in mistake(regex, None)


@pytest.mark.parametrize("key", ["metric", "progress"])
def test_a_workload_with_one_is_refused_in_one_line(key: str, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("LR = 0.1\n")
    (tmp_path / "workload.toml").write_text(f"{key} = {{ regex = '{NESTED}' }}\n")
    with pytest.raises(WorkloadError) as caught:
        load_workload(str(tmp_path))
    (line,) = caught.value.problems
    assert key in line
    assert "takes too long" in line


def test_a_pattern_of_files_that_looks_everywhere_again_and_again_is_refused(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("LR = 0.1\n")
    (tmp_path.joinpath(*"abcdefghijklmnopqrst")).mkdir(parents=True)
    (tmp_path / "workload.toml").write_text(f"files = ['train.py', '{'**/' * 30}x']\n")
    with pytest.raises(WorkloadError, match=r"\*\* more than 2 times"):
        load_workload(str(tmp_path))


@pytest.mark.parametrize(
    "regex",
    [
        r"^.*loss.*?(\d+(?:\.\d+)?)\s*$",
        "{number} of {number} at {number}",
        r"(?:train|val)_loss\s*=\s*(-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)",
    ],
)
def test_one_that_is_slow_nowhere_is_taken(regex: str) -> None:
    assert mistake(regex, None) == ""


@pytest.fixture
def untried() -> Iterator[None]:
    """Have every regex tried anew: what was found of one is kept."""
    is_slow.cache_clear()
    yield
    is_slow.cache_clear()


def test_python_may_be_told_to_import_nothing_from_where_it_stands(
    untried: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONSAFEPATH", "1")
    assert mistake(r"val (\d+)", None) == ""
    assert "takes too long" in mistake(FOR_EVER, None)


def test_a_probe_that_fails_is_no_slow_regex(untried: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("optimize.script.regex_probe._ROOT", tmp_path)  # where no `optimize` is
    monkeypatch.delenv("PYTHONPATH", raising=False)
    assert mistake(r"val (\d+)", None) == (
        "cannot be tried in a process of its own: ModuleNotFoundError: No module named 'optimize'. Correct that and try again."
    )


def test_a_probe_that_says_nothing_is_told_by_its_exit_code(untried: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("optimize.script.regex_probe._START", "import sys; sys.exit(9)")
    with pytest.raises(ChildProcessError, match="exit code 9"):
        is_slow(r"val (\d+)")


@pytest.mark.parametrize("number", [signal.SIGXCPU, signal.SIGKILL])
def test_a_probe_that_the_limit_ends_is_a_slow_regex(
    untried: None, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    monkeypatch.setattr("optimize.script.regex_probe._START", f"import os; os.kill(os.getpid(), {int(number)})")
    assert is_slow(r"val (\d+)")


def test_one_that_is_slow_only_where_all_its_words_come_again_and_again_is_taken() -> None:
    assert mistake(r".*loss.*acc.*lr.*{number}$", None) == ""


def test_a_progress_regex_with_many_fields_is_taken() -> None:
    assert mistake(r"epoch (?P<step>\d+)/(?P<total>\d+).*train.*loss: (?P<loss>{number}).*acc", GROUPS) == ""


def test_a_probe_leads_to_the_repetition_and_repeats_what_it_repeats() -> None:
    regex = r"loss (?:[0-9]{3}-|x)+:"
    assert any(probe.startswith("loss 000-000-000-000-") for probe, _ in probes(regex, regex))


# --- on the lines of a trial --------------------------------------------------------------------------------------------


def test_a_line_that_takes_too_long_is_skipped_and_the_next_one_is_read() -> None:
    parser = MetricParser(Metric("loss", regex=FOR_EVER))
    for line in ("aab1", EVIL, "aab2"):
        parser.parse(line.encode())
    assert parser.found().value == 2.0
    assert parser.regex is not None
    assert (parser.regex.skipped, parser.regex.example, parser.regex.gave_up) == (1, EVIL, False)


def test_after_some_such_lines_the_regex_is_given_up() -> None:
    regex = LimitedRegex(FOR_EVER)
    for _ in range(MANY):
        regex.search(EVIL)
    assert regex.gave_up
    assert regex.skipped <= 2 * SAVED_S / LINE_S
    assert regex.search("aab1") is None


def test_a_sound_regex_is_never_given_up() -> None:
    regex = LimitedRegex("val loss {number}")
    assert sum(regex.search(f"step {n}: train loss 3.82, val loss 3.75") is not None for n in range(20_000)) == 20_000
    assert (regex.skipped, regex.gave_up) == (0, False)


def test_a_signal_that_comes_late_ends_nothing_else() -> None:
    search_within(compile_pattern(FOR_EVER), "aab1", LINE_S)
    assert signal.getsignal(signal.SIGVTALRM) is _end_search
    signal.raise_signal(signal.SIGVTALRM)
    assert signal.getitimer(signal.ITIMER_VIRTUAL) == (0.0, 0.0)


def test_another_thread_searches_without_a_signal() -> None:
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(LimitedRegex(FOR_EVER).search("aab7")))
    thread.start()
    thread.join()
    assert len(found) == 1
    assert found[0] is not None


def script(text: str, metric: Metric | None = None, progress: ProgressFormat | None = None) -> Job:
    job = replace(zoo_job("ok", limits=PATIENT), files={"train.py": text})
    return replace(job, metric=metric or job.metric, progress=progress or job.progress)


def test_a_trial_with_one_such_line_completes_and_its_reason_names_the_line(tmp_path: Path) -> None:
    job = script(f"print('{EVIL}')\nprint('aab7')\n", Metric("loss", regex=FOR_EVER))
    outcome = run_job(job, tmp_path / "work", Slot("a"))
    assert (outcome.status, outcome.summary) == (TrialStatus.COMPLETE, {"loss": 7.0})
    assert "metric.regex took too long on 1 of its lines, such as 'aaaa" in outcome.reason


SAYS_IT_FOR_EVER = f"while True:\n    print('{EVIL}', flush=True)\n"
ENDS = f"for _ in range({MANY}):\n    print('{EVIL}')\nprint('aab7')\nprint('---\\nval_bpb: 1.0')\n"


@pytest.mark.parametrize("text", [SAYS_IT_FOR_EVER, ENDS], ids=["goes on", "ends"])
@pytest.mark.parametrize(
    ("metric", "progress", "key"),
    [
        (Metric("loss", regex=FOR_EVER), ProgressFormat(), "metric.regex"),
        (Metric("loss", regex="loss {number}"), ProgressFormat(FOR_EVER.replace("(?:", "(?P<loss>")), "progress.regex"),
    ],
)
def test_a_trial_of_such_lines_is_ended_and_told_what_to_mend(
    metric: Metric, progress: ProgressFormat, key: str, text: str, tmp_path: Path
) -> None:
    outcome = run_job(script(text, metric, progress), tmp_path / "work", Slot("a"))
    assert outcome.status is TrialStatus.ENVIRONMENT
    assert f"{key} in workload.toml takes too long on lines such as 'aaaa" in outcome.reason
    assert "Repeat nothing that repeats itself" in outcome.reason


@pytest.mark.slow
def test_its_slot_is_free_for_the_next_trial(tmp_path: Path) -> None:
    with LocalExecutor((Slot("a"),), tmp_path) as executor:
        assert ended(executor, script(SAYS_IT_FOR_EVER, Metric("loss", regex=FOR_EVER))).status == "environment"
        assert ended(executor, replace(zoo_job("ok"), number=1)).status == "complete"


def ended(executor: LocalExecutor, job: Job) -> Outcome:
    executor.submit(job)
    return endings(executor)[0].outcome


@pytest.mark.parametrize("character", ["0", " ", ":", "a ", "exit status ", "File "])
def test_a_line_without_an_end_is_diagnosed_by_its_beginning_and_its_end(character: str, tmp_path: Path) -> None:
    text = f"import sys\nsys.stdout.write({character!r} * 200_000 + ' CUDA out of memory')\nsys.exit(1)\n"
    assert run_job(script(text), tmp_path / "work", Slot("a")).status is TrialStatus.OUT_OF_MEMORY
