"""A metric's line as people print it: its number counts, or the reason quotes the line with what workload.toml needs."""

from __future__ import annotations

import tomllib
from dataclasses import replace

import pytest

from optimize.runner.diagnosis import Exit, diagnose
from optimize.runner.progress import MetricParser, OutputParser
from optimize.trial import Metric, TrialStatus
from tests.zoo import zoo_job

ENDED = Exit(0, 9.0)
TORCHRUN, TQDM = "[default0]:", "100%|██████████| 10/10 [00:01<00:00,  9.61it/s]"
COUNTS = {
    "\x1b[32mval_bpb: 1.04\x1b[0m": 1.04,
    "val_bpb: \x1b[1m1.040000\x1b[0m": 1.04,
    f"{TORCHRUN}val_bpb: 1.04": 1.04,
    "[rank0]: val_bpb: 1.04": 1.04,
    "  val_bpb:  1.04": 1.04,
    "\x1b[2K\x1b[1Gval_bpb: 1.04\x1b[K": 1.04,
    "val_bpb=1.04": 1.04,
    "val_bpb : 1e-5": 1e-5,
    "val_bpb: 1,040.125": 1040.125,
    "val_bpb: tensor(1.0400)": 1.04,
    "val_bpb: tensor(-1.0400, device='cuda:0', dtype=torch.float64)": -1.04,
}
IS_QUOTED = (
    "val_bpb: 1.04 bits/byte",
    "val_bpb: 1.04 (best so far)",
    "val_bpb: [1.04]",
    "2026-01-01 12:00:00,123 - INFO - val_bpb: 1.04",
    "INFO:root:val_bpb 1.04",
    f"{TQDM}val_bpb: 1.04",
    "{'val_bpb': 1.04, 'steps': 3}",
    '{"steps": 3, "val_bpb": 1.04}',
    "| val_bpb | 1.04 |",
    "best val bpb 1.04",
    "Val_BPB\t->\t1.04",
    "epoch 3: train 3.1, val-bpb = tensor(1.04)",
    "x" * 300 + " val_bpb 1.04",
)


def parsed(metric: Metric, *lines: str) -> MetricParser:
    parser = MetricParser(metric)
    for line in lines:
        parser.parse(line.encode())
    return parser


def reason(*lines: str, metric: Metric = Metric()) -> str:  # noqa: B008  (frozen)
    told = diagnose("\n".join(lines) + "\n", ENDED, metric, parsed(metric, *lines).found())
    assert told.status is TrialStatus.CRASHED
    return told.reason


def written(reason: str) -> Metric:
    """The metric that the reason says to write into workload.toml."""
    table = tomllib.loads(reason.partition("In workload.toml write: ")[2])["metric"]
    return Metric(table["name"], regex=table["regex"])


@pytest.mark.parametrize("line", COUNTS)
def test_a_line_that_says_nothing_else_counts_however_it_is_dressed(line: str) -> None:
    assert parsed(Metric(), "train 3.1", line).found().value == COUNTS[line]
    told = diagnose(f"{line}\n", ENDED, Metric(), parsed(Metric(), line).found())
    assert (told.status, told.summary) == (TrialStatus.COMPLETE, {"val_bpb": COUNTS[line]})


@pytest.mark.parametrize("line", IS_QUOTED)
def test_any_other_line_with_a_number_is_quoted_with_the_regex_that_finds_it(line: str) -> None:
    said = reason("train 3.1", line)
    assert "val" in said.partition("`")[2].lower()
    assert parsed(written(said), line).found().value == 1.04


@pytest.mark.parametrize(
    "log",
    [
        ("---", "begins", "step 1", "val_bpb: 1.04"),
        ("---", "depth: 8", "", "val_bpb: 1.04"),
        ("---", "| depth | 8 |", "val_bpb: 1.04"),
        ("---", "  depth: 8", "  val_bpb: 1.04"),
    ],
    ids=["a banner", "a blank line", "a table", "indented"],
)
def test_a_block_that_cannot_be_read_quotes_the_line_that_has_the_metric(log: tuple[str, ...]) -> None:
    said = reason(*log)
    assert "---" in said
    assert parsed(written(said), *log).found().value == 1.04


def test_a_regex_that_does_not_match_is_told_with_one_that_does() -> None:
    said = reason("INFO val_loss 2.5", metric=Metric("val_loss", regex="val loss ([0-9.]+)"))
    assert parsed(written(said), "INFO val_loss 2.5").found().value == 2.5


@pytest.mark.parametrize("regex", ["val loss {number}", r"val loss \x1b\[1m{number}"])
def test_a_regex_sees_a_coloured_line_with_its_colours_and_without(regex: str) -> None:
    job = replace(zoo_job("ok"), metric=Metric("val_loss", regex=regex))
    parser = OutputParser(job, lambda progress: None)
    parser.feed(b"val loss \x1b[1m2.5\x1b[0m\n")
    assert parser.metric.found().value == 2.5


@pytest.mark.parametrize("name", ["Übergang", "VERLUST_Ä", "损失", "_", "-"])
def test_a_metric_may_have_any_name(name: str) -> None:
    assert parsed(Metric(name), f"{name}: 1.04").found().value == 1.04


def test_a_line_without_a_number_hides_no_earlier_one() -> None:
    assert "`INFO val_bpb 1.04`" in reason("INFO val_bpb 1.04", "the val_bpb is good")


def test_what_is_to_be_written_is_never_cut() -> None:
    metric = Metric("validation_bits_per_byte", regex="nothing of the kind " * 9)
    said = reason("x" * 200 + " validation bits per byte = 1.04", metric=metric)
    assert parsed(written(said), "validation bits per byte = 1.04").found().value == 1.04
    emoji = reason("the 🙂's loss 1.04", metric=Metric("🙂's loss"))
    assert written(emoji).name == "🙂's loss"


@pytest.mark.parametrize(
    "log",
    [
        (
            "  epoch |   loss | val_bpb",
            "--------+--------+--------",
            "      1 |    3.0 |    2.0 ",
            "      2 |    2.5 |  1.04 ",
        ),
        ("epoch  loss  val_bpb", "1  3.0  2.0", "2  2.5  1.04", "saved to out"),
        ("epoch,loss,val_bpb", "1,3.0,2.0", "2,2.5,1.04"),
        ("│ step │ val_bpb │", "│ 1 │ 1.04 │"),
        ("{", '  "val_bpb": 1.04,', '  "train_val_bpb": 3.0', "}"),
    ],
    ids=["bars", "blanks", "commas", "framed", "json"],
)
def test_a_column_of_a_table_and_a_key_of_json_are_quoted_with_a_regex_that_finds_no_other(
    log: tuple[str, ...],
) -> None:
    said = reason(*log)
    assert parsed(written(said), *log).found().value == 1.04
    assert parsed(Metric(), "val_bpb 3", "loss 4", "val_bpb", "7").found().value is None  # no table


@pytest.mark.parametrize("line", ["val_bpb@1: 3", "x_val_bpb: 3", "val_bpb: n/a", "val_bpbs 3", "the val_bpb is good"])
def test_other_names_and_texts_are_no_metric(line: str) -> None:
    assert not isinstance(parsed(Metric(), line).found().value, float)
    assert parsed(Metric(), line).found().quote == ""


@pytest.mark.parametrize(
    ("lines", "metric", "said"),
    [
        (
            ("12", " epoch 3 mse 0.1", "rmse is 0.3", "bye"), Metric(),
            "`val_bpb: ...`. Its last lines with a number: `epoch 3 mse 0.1`, `rmse is 0.3`. Name what it prints",
        ),
        (
            ("rmse is 0.3",), Metric("acc", regex="acc {number}"),
            "`acc {number}`. Correct it in workload.toml. Its last lines with a number: `rmse is 0.3`",
        ),
        (("---", "val_loss: 1.5", "model: small", "steps: 3"), Metric(), "after the last `---`. Its numbers are val_loss, steps"),
        (("bye",), Metric(), "`val_bpb: ...`. Name what it prints"),
        (("rmse is 0.3", TQDM, "bye"), Metric(), "Its last lines with a number: `rmse is 0.3`. Name"),
        ((TQDM,), Metric(), "Its last lines with a number: `100%"),
    ],
)  # fmt: skip
def test_a_script_that_tells_other_numbers_is_told_which(lines: tuple[str, ...], metric: Metric, said: str) -> None:
    assert said in reason(*lines, metric=metric)


@pytest.mark.parametrize("last", ["1.04", " 1.04 ", "tensor(1.0400, grad_fn=<MeanBackward0>)", "[1.04]"])
def test_a_number_without_a_word_at_the_end_is_quoted_with_the_lines_that_take_it(last: str) -> None:
    for metric in (Metric("val"), Metric("val", regex="val {number}")):
        said = reason("epoch 3", last, TQDM, metric=metric)
        assert "Its last line is a number: `" in said
        assert parsed(written(said), "epoch 3", last, TQDM).found().value == 1.04
    assert "Its last line is a number" not in reason("---", "loss: 3", "", "1.04")
    assert "Its last line is a number" not in reason("1.04", "saved to 3.pt")


def test_the_last_number_is_quoted_if_it_stands_alone_whatever_words_follow() -> None:
    for metric in (Metric("sloss"), Metric("sloss", regex="sloss {number}")):
        said = reason("num_params=11897", "2.538", "anna", "bo", metric=metric)
        assert "Its last number stands alone: `2.538`" in said
        assert parsed(written(said), "num_params=11897", "2.538", "anna", "bo").found().value == 2.538
    said = reason("num_params=11897", "27", "2.538", "epoch 3 ends")
    assert "Its last lines with a number: `2.538`, `epoch 3 ends`" in said
    assert "write:" not in said
