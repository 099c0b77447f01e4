"""What is heard of a script's output: a metric that is printed all along, and progress lines in other words."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from optimize.runner.diagnosis import Exit, PrintedMetric, diagnose
from optimize.runner.metric_lines import LINE_CHARS
from optimize.runner.progress import GROUPS, LINE_BYTES, MetricParser, OutputParser, ProgressParser
from optimize.runner.stop import StopRequest
from optimize.script.output import mistake
from optimize.trial import Job, Metric, Progress, ProgressFormat, TrialStatus

SUCCESS = Exit(0, 1.0)
REGEX = r"val loss ([0-9.]+)"
NANOGPT = ProgressFormat(r"iter (?P<step>\d+): loss (?P<loss>[0-9.eE+-]+)", total=400)


def printed(metric: Metric, *lines: str) -> PrintedMetric:
    parser = MetricParser(metric)
    for line in lines:
        parser.parse(line.encode())
    return parser.found()


def evaluation(step: int, loss: object) -> str:
    return f"step {step}: train loss 1.0000, val loss {loss}"


@pytest.mark.parametrize(("take", "value"), [("last", 2.5), ("min", 1.5), ("max", 4.0)])
def test_of_many_lines_the_last_the_lowest_or_the_highest_is_taken(take: str, value: float) -> None:
    lines = [evaluation(step, loss) for step, loss in enumerate([4.0, 1.5, 2.5])]
    assert printed(Metric("val_loss", regex=REGEX, take=take), *lines) == PrintedMetric(value, False)


@pytest.mark.parametrize("take", ["last", "min", "max"])
@pytest.mark.parametrize("said", ["nan", "inf", "-inf", "NaN"])
@pytest.mark.parametrize("regex", [REGEX, r"val loss (\S+)", r"val loss (\d+\.\d+)", r"val loss (\S+)$"])
def test_a_value_that_is_not_finite_is_found_though_the_regex_knows_digits_only(
    take: str, said: str, regex: str
) -> None:
    metric = Metric("val_loss", regex=regex, take=take)
    value = printed(metric, evaluation(0, 4.2), evaluation(1, said)).value
    assert isinstance(value, float)
    assert not math.isfinite(value)
    outcome = diagnose("", SUCCESS, metric, PrintedMetric(value))
    assert outcome.status is TrialStatus.DIVERGED
    assert "val_loss is" in outcome.reason


def test_one_that_is_not_finite_is_not_forgotten_for_a_low_one_but_a_later_one_replaces_it() -> None:
    lines = [evaluation(0, 4.0), evaluation(1, "nan"), evaluation(2, 1.0)]
    assert math.isnan(float(str(printed(Metric("v", regex=REGEX, take="min"), *lines).value)))
    assert printed(Metric("v", regex=REGEX, take="last"), *lines).value == 1.0


def test_another_number_on_the_line_may_be_nan() -> None:
    metric = Metric("v", regex=r"val loss ([0-9.]+)")
    assert printed(metric, "step 1: train loss nan, val loss 2.5").value == 2.5
    assert printed(metric, "nan-safe run: val loss 2.5").value == 2.5


def test_what_is_no_number_is_named() -> None:
    metric = Metric("v", regex=r"val loss (\S+)")
    outcome = diagnose("", SUCCESS, metric, printed(metric, "val loss n/a"))
    assert outcome.status is TrialStatus.CRASHED
    assert "v is not a number: n/a" in outcome.reason


def test_a_metric_that_never_appears_is_a_crash_that_names_the_regex() -> None:
    metric = Metric("val_loss", regex=REGEX)
    outcome = diagnose(
        "training\n---\nval_loss: 3.0\n", SUCCESS, metric, printed(metric, "training", "---", "val_loss: 3.0")
    )
    assert outcome.status is TrialStatus.CRASHED
    assert REGEX in outcome.reason
    assert "val_loss" not in outcome.summary


def test_a_script_without_a_summary_may_print_its_metric_anywhere() -> None:
    lines = ["val_bpb: 2.5", "val_bpb:1.5", "bye"]
    found = printed(Metric(), *lines)
    assert found[:2] == (1.5, False)
    outcome = diagnose("\n".join(lines), SUCCESS, Metric(), found)
    assert (outcome.status, outcome.summary) == (TrialStatus.COMPLETE, {"val_bpb": 1.5})


def test_where_there_is_a_summary_only_the_last_one_counts() -> None:
    lines = ["val_bpb: 0.1", "---", "steps: 3"]
    outcome = diagnose("\n".join(lines), SUCCESS, Metric(), printed(Metric(), *lines))
    assert outcome.status is TrialStatus.CRASHED
    assert "without `val_bpb` in its summary" in outcome.reason


@pytest.mark.parametrize("metric", [Metric(), Metric("val_loss", regex=REGEX)])
@pytest.mark.parametrize(
    ("end", "status"),
    [
        (Exit(1, 1.0), TrialStatus.CRASHED),
        (Exit(-15, 1.0, StopRequest(TrialStatus.TIMED_OUT, "too long")), TrialStatus.TIMED_OUT),
        (Exit(-9, 1.0, StopRequest(TrialStatus.LOST, "gone")), TrialStatus.LOST),
    ],
)
def test_a_value_on_the_way_is_no_result_of_a_script_that_did_not_end_well(
    metric: Metric, end: Exit, status: TrialStatus
) -> None:
    assert diagnose("val_bpb: 1.0\n", end, metric, PrintedMetric(1.0)).status is status


def test_the_rest_of_a_summary_is_kept_beside_a_metric_of_other_lines() -> None:
    metric = Metric("val_loss", regex=REGEX)
    outcome = diagnose("---\npeak_vram_mb: 100\nval_loss: 9\n", SUCCESS, metric, PrintedMetric(1.0, True))
    assert outcome.summary == {"peak_vram_mb": 100.0, "val_loss": 1.0}


# --- progress ---------------------------------------------------------------------------------------------------------


def test_progress_in_other_words_has_step_share_and_loss() -> None:
    parser = ProgressParser(NANOGPT, 7)
    line = b"iter 100: loss 1.8232, time 21.33ms, mfu -100.00%"
    assert parser.parse(line) == Progress(7, 0.25, 100, 1.8232)
    assert parser.parse(b"step 100: train loss 1.8, val loss 1.9") is None
    assert parser.parse(b"iter 500: loss 1.8") == Progress(7, 1.0, 500, 1.8)


@pytest.mark.parametrize(
    ("regex", "total", "line", "expected"),
    [
        (r"(?P<percent>[\d.]+)%.*loss=(?P<loss>\S+)", None, "12.5% done loss=2.5", Progress(0, 0.125, None, 2.5)),
        (r"epoch (?P<step>\d+)/(?P<total>\d+)", None, "epoch 3/4", Progress(0, 0.75, 3)),
        (r"epoch (?P<step>[\d.,]+)", 2000.0, "epoch 1,000", Progress(0, 0.5, 1000)),
        (r"epoch (?P<step>\d+)", None, "epoch 3", Progress(0, 0.0, 3)),
        (r"epoch (?P<step>\d+) loss (?P<loss>\S+)", 6.0, "epoch 3 loss nan", Progress(0, 0.5, 3, None)),
    ],
)
def test_share_and_loss_may_come_in_several_ways(
    regex: str, total: float | None, line: str, expected: Progress
) -> None:
    assert mistake(regex, GROUPS) == ""
    assert ProgressParser(ProgressFormat(regex, total), 0).parse(line.encode()) == expected


def test_a_script_that_tells_nothing_is_not_listened_to() -> None:
    assert ProgressParser(ProgressFormat(none=True), 0).parse(b"step 1 (50%) | loss: 1") is None
    assert ProgressParser(ProgressFormat(), 0).parse(b"step 1 (50%) | loss: 1.0") == Progress(0, 0.5, 1, 1.0)


# --- the stream, in whatever pieces it comes --------------------------------------------------------------------------

AUTORESEARCH = (  # its own words, of which the first step may be the only one for minutes
    "\rstep {step:05d} ({step}.0%) | lrm: 1.00 | loss: {loss} | dt: 310ms | tok/sec: 1,234,567 | mfu: 40.1% | "
    "epoch: 1 | remaining: {left}s    "
)
TQDM = "\r {step}%|█▉▏       | {step}/100 [00:01<00:09, 10.00it/s, loss={loss}]"
FORMS = (
    ProgressFormat(),
    ProgressFormat(r"iter (?P<step>\d+): loss (?P<loss>[0-9.a-z]+)", total=50),
    ProgressFormat(r"^ (?P<percent>\d+)%.*loss=(?P<loss>[^\]]+)"),
    ProgressFormat(r"step (?P<step>\d+).*: (?P<loss>[\d.]+)", total=50),
)
METRICS = (Metric("val_loss"), Metric("val_loss", regex=r"^val_loss: (\S+)$"), Metric("v", regex=REGEX, take="min"))

losses = st.sampled_from(["3.456789", "1e-3", "nan", "inf", "12."])
lines = st.one_of(
    st.builds(
        lambda step, loss: AUTORESEARCH.format(step=step, loss=loss, left=300 - step), st.integers(0, 99), losses
    ),
    st.builds(lambda step, loss: TQDM.format(step=step, loss=loss), st.integers(0, 99), losses),
    st.builds("iter {}: loss {}, time 21.33ms\n".format, st.integers(0, 60), losses),
    st.builds("step {}: train loss 1.8, val loss {}\n".format, st.integers(0, 60), losses),
    st.builds("{}val_loss: {}\n".format, st.sampled_from(["", "\n", "…", "x" * LINE_BYTES]), losses),
    st.sampled_from(
        ["FAIL\n", "---\n", "---\r\n", "\n", "\r", "é€😀", "." * LINE_BYTES, "step 7 (", "(50%)", "remaining: 5s"]
    ),
)


def told(metric: Metric, form: ProgressFormat, pieces: list[bytes]) -> tuple[object, ...]:
    progress: list[Progress] = []
    parser = OutputParser(Job(0, {}, {}, (), metric=metric, progress=form), progress.append)
    for piece in pieces:
        parser.feed(piece)
    parser.close()
    return repr(parser.metric.found()), parser.begun, parser.curve, repr(progress)


@given(
    said=st.lists(lines, max_size=12).map(lambda found: "".join(found).encode()),
    cuts=st.lists(st.integers(0, 12_000), max_size=30),
    metric=st.sampled_from(METRICS),
    form=st.sampled_from(FORMS),
)
@example(b"x" * 3 * LINE_BYTES + b"val_loss: 1.0\n", [3 * LINE_BYTES], METRICS[1], FORMS[0])
@example(b"step 5/100 | loss: 1.0 | remaining: 5s (80%)\n", [38], METRICS[0], FORMS[0])
@example(b"step 5 (5%) | remaining: 5s | loss: 2.0\n", [27], METRICS[0], FORMS[0])
@example(b"\rstep 5 (5%) | loss: nan | remaining: 5s  \r", [42], METRICS[0], FORMS[0])
@example("\r 5%|█".encode() + b" loss=1.0]", [6, 7], METRICS[0], FORMS[2])
@example(b"step 5 (5%) | loss: 2.0 | remaining: 5s | norm: 7.0", [39], METRICS[0], FORMS[3])
def test_however_the_bytes_are_cut_the_same_is_parsed(
    said: bytes, cuts: list[int], metric: Metric, form: ProgressFormat
) -> None:
    places = sorted({0, len(said), *(cut for cut in cuts if cut < len(said))})
    pieces = [said[a:b] for a, b in pairwise(places)]
    assert told(metric, form, pieces) == told(metric, form, [said])


def test_of_a_line_without_an_end_only_the_beginning_is_parsed() -> None:
    metric = Metric("v", regex=r"^val loss ([0-9.]+)")
    parser = OutputParser(Job(0, {}, {}, (), metric=metric), lambda progress: None)
    for _ in range(100):
        parser.feed(b"val loss 1.0 " * 1_000)
    parser.feed(b"\n")
    assert parser.metric.found().value == 1.0
    parser.feed(b"x" + b"val loss 2.0 " * 10_000)
    parser.feed(b"val loss 3.0\n")
    assert parser.metric.found().value == 1.0
    parser.feed(b"val loss 4.0\n")
    assert parser.metric.found().value == 4.0


def test_a_line_that_is_rewritten_is_parsed_before_the_next_one_comes() -> None:
    progress: list[Progress] = []
    parser = OutputParser(Job(0, {}, {}, ()), progress.append)
    parser.feed(AUTORESEARCH.format(step=3, loss="2.5", left=290).encode())
    assert [(each.step, each.fraction, each.loss, each.remaining_s) for each in progress] == [(3, 0.03, 2.5, 290.0)]


# --- regexes from outside ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "regex",
    [
        REGEX,
        r"val loss (\S+)",
        r"^\s*val_loss\s*[:=]\s*([-+0-9.eE]+)\s*$",
        r"epoch \d+.*?val_loss[:=]\s*([-+0-9.eE]+)",
        r"acc(?:uracy)?=(\d+\.\d+)",
        r"(?i)\| *perplexity *\| *([0-9.]+) *\|",
    ],
)
def test_sound_regexes_are_taken(regex: str) -> None:
    assert mistake(regex, None) == ""


@pytest.mark.parametrize(
    ("regex", "says"),
    [
        ("val loss", "no groups"),
        (r"(\w+) loss ([0-9.]+)", "2 groups"),
        ("val loss (", "not a regular expression"),
        ("", "is empty"),
        ("(a" + "a" * 300 + ")", "one line"),
        (r"(a+)+$", "too long"),
        (r"^(\w+\s?)*$", "too long"),
        (r"(?:ab|a|b)*(x)", "too long"),
        (r"(?:(?:\d+)*x)*y(1)", "too long"),
        (r".*.*.*.*loss ([0-9.]+)", "too long"),
    ],
)
def test_a_regex_that_cannot_be_used_says_why(regex: str, says: str) -> None:
    assert says in mistake(regex, None)


def test_a_progress_regex_has_named_groups_that_are_known() -> None:
    assert "(?P<step>...)" in mistake(r"iter \d+", GROUPS)
    assert "the group it" in mistake(r"iter (?P<it>\d+)", GROUPS)


def test_a_long_line_is_seen_in_its_beginning_only() -> None:
    metric = Metric("v", regex=REGEX)
    assert printed(metric, "x" * LINE_CHARS + "val loss 1.0").value is None
    assert printed(metric, "val loss 1.0" + "x" * 10**6).value == 1.0


@pytest.mark.parametrize(
    ("take", "lines"), [("min", ("inf", "0.5")), ("max", ("nan", "0.5")), ("min", ("0.5", "nan", "0.4"))]
)
def test_a_metric_that_was_not_finite_once_stays_so(take: str, lines: tuple[str, ...]) -> None:
    parser = MetricParser(Metric("loss", regex=r"loss (\S+)", take=take))
    for line in lines:
        parser.parse(f"loss {line}".encode())
    value = parser.found().value
    assert isinstance(value, float)
    assert not math.isfinite(value)
