"""A regex that cuts a number gets the whole one: 9.99e-07 is never 9.99, for the metric and for progress alike."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimize.runner.metric_lines import LINE_CHARS
from optimize.runner.numbers import compile_pattern, whole_number
from optimize.runner.progress import MetricParser, ProgressParser
from optimize.script.regex_probe import is_slow
from optimize.trial import Metric, ProgressFormat


def heard(regex: str, line: str) -> float | str | None:
    parser = MetricParser(Metric("val_loss", regex=regex))
    parser.parse(line.encode())
    return parser.found().value


@pytest.mark.parametrize(
    "regex", [r"val loss ([0-9.]+)", r"val loss (\d+\.?\d*)", r"val loss ([\d.]+)", r"loss\D*(\d)", "val loss {number}"]
)
@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("9.99e-07", 9.99e-07),
        ("1E-05", 1e-05),
        ("1.5e+3", 1500.0),
        ("2.E2", 200.0),
        ("1,234", 1234.0),
        ("1,234.5", 1234.5),
        ("12,345,678.25", 12345678.25),
        ("1_000", 1000.0),
        ("1_000.5e-3", 1.0005),
        ("0.25", 0.25),
        ("3", 3.0),
        ("7.", 7.0),
    ],
)
def test_a_number_is_read_whole_whatever_the_group_takes(regex: str, text: str, value: float) -> None:
    assert heard(regex, f"val loss {text}") == value
    assert heard(regex, f"step 1 | val loss {text} | 3 s") == value


@pytest.mark.parametrize(
    "regex", [r"val loss .?([0-9.]+)", r"val loss -?([0-9.]+)", r"val loss \D*([0-9.]+)", "val loss {number}"]
)
def test_a_sign_belongs_to_its_number(regex: str) -> None:
    assert heard(regex, "val loss -1.5") == -1.5
    assert heard(regex, "val loss -1.5e-3") == -0.0015


@pytest.mark.parametrize(
    ("regex", "line", "value"),
    [
        (r"loss=(\d+)", "loss=1,2,3", 1.0),  # a list, not thousands
        (r"loss: (\d+)", "loss: 12, 345 steps", 12.0),
        (r"iter-(\d+)", "iter-5", 5.0),  # a dash in a name
        (r"2024-(\d+)", "2024-07-15", 7.0),
        (r"(\d+)/\d+", "3/10", 3.0),
        (r"\d+/(\d+)", "3/10", 10.0),
        (r"step 0*(\d+)", "step 00100", 100.0),
        (r"(\d+)%", "12.5%", 12.5),
        (r"v(\d+)", "v2.1", 2.1),
        (r"loss ([0-9.]+)e", "loss 3e-4", 3e-4),
        (r"loss (\S+)", "loss 3e-4,", "3e-4,"),
        (r"loss ([0-9.]+)", "loss 1.2.3", "1.2.3"),
        (r"(\d+) ms", "loss 5e3ms 12 ms", 12.0),
    ],
)
def test_what_only_stands_beside_a_number_is_no_part_of_it(regex: str, line: str, value: float | str) -> None:
    assert heard(regex, line) == value


def test_a_line_that_is_cut_for_the_regex_does_not_cut_a_number() -> None:
    line = "x" * (LINE_CHARS - 13) + "val loss 9.99e-07"
    assert heard(r"val loss ([0-9.]+)", line) == 9.99e-07


def test_the_lowest_of_several_lines_is_the_lowest_number() -> None:
    parser = MetricParser(Metric("val_loss", regex=r"val loss ([0-9.]+)", take="min"))
    for text in ("val loss 0.5", "val loss 9.99e-07", "val loss 1.2"):
        parser.parse(text.encode())
    assert parser.found().value == 9.99e-07


def test_progress_is_read_whole_as_well() -> None:
    form = ProgressFormat(r"iter (?P<step>\d+)\S*/(?P<total>\d+)\S*: loss (?P<loss>[0-9.]+)")
    progress = ProgressParser(form, 7).parse(b"iter 1,000/4,000: loss 2.5e-01")
    assert progress is not None
    assert (progress.step, progress.fraction, progress.loss) == (1000, 0.25, 0.25)
    plain = ProgressParser(ProgressFormat(), 7).parse(b"step 1,000/4,000 | loss: 2.5e-01")
    assert plain is not None
    assert (plain.step, plain.fraction, plain.loss) == (1000, 0.25, 0.25)


def test_the_name_for_a_number_is_the_group_or_stands_in_one() -> None:
    assert compile_pattern("val loss {number}").groups == 1
    assert compile_pattern("{number} of {number}").groups == 1
    assert compile_pattern("(?P<loss>{number})").groupindex == {"loss": 1}
    assert heard("at {number}: loss ({number})", "at 3: loss 1e-3") == 1e-3
    assert heard("loss {number}", "loss nan") == pytest.approx(float("nan"), nan_ok=True)
    assert not is_slow("loss {number}")
    assert not is_slow("{number} {number} {number} x")


@given(
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["{!r}", "{:.3e}", "{:E}", "{:.2f}", "{:g}"]),
    st.randoms(),
)
def test_any_number_in_any_form_is_read_as_it_was_printed(number: float, form: str, draw: random.Random) -> None:
    text = form.format(number)
    line = f"epoch 3 | val loss {text} | lr 1e-3"
    regex = draw.choice([r"val loss -?([0-9.]+)", r"val loss .?([0-9.]+)", "val loss {number}"])
    assert heard(regex, line) == float(text)


def test_what_goes_on_after_a_number_is_no_part_of_it() -> None:
    assert whole_number("00E", 1, 3) == "0E"
    assert whole_number("loss -5.2.", 6, 10) == "-5.2"


@given(st.text("0123456789.,_eE+- x", max_size=40), st.integers(0, 40), st.integers(0, 40))
def test_a_part_of_any_text_is_itself_or_more(line: str, one: int, other: int) -> None:
    start, end = sorted((min(one, len(line)), min(other, len(line))))
    found = whole_number(line, start, end)
    bare = line[start:end].strip().replace(",", "").replace("_", "").rstrip(".")
    assert bare in found.replace(",", "").replace("_", "")
