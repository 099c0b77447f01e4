"""Summaries that say something else of a constant than its value are told once, and nothing that may mean the same is."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from optimize.executors.slots import find_slots
from optimize.session.run import run_study
from optimize.session.session import Caller
from optimize.study.ignored_constants import IgnoredConstants, contradicts
from optimize.trial import Value
from storage import TrialRecord
from tests.conftest import Driver


@pytest.mark.parametrize(
    ("key", "value", "found", "choices"),
    [
        ("device_batch_size", 32, 16.0, ()),
        ("DEPTH", 8, 7.0, ()),
        ("total_batch_size", 524_288, 262_144.0, ()),
        ("context", 1024, 1000.0, ()),
        ("dropout", 0.2, 0.1, ()),
        ("width", 100, 0.0, ()),
        ("n_layer", 4, 12.0, (4, 8)),
        ("window_pattern", "SSSL", "LLLL", ("SSSL", "LLLL")),
        ("adam_betas", (0.8, 0.95), "(0.9, 0.95)", ((0.8, 0.95), (0.9, 0.95))),
        ("tie_weights", True, "False", (True, False)),
        ("tie_weights", True, 0.0, (True, False)),
    ],
)
def test_another_value_contradicts(key: str, value: Value, found: float | str, choices: tuple[Value, ...]) -> None:
    assert contradicts(key, value, found, choices)


@pytest.mark.parametrize(
    ("key", "value", "found", "choices"),
    [
        ("depth", 8, 8.0, ()),
        ("dropout", 0.125, 0.13, ()),  # rounded to the digits that were printed
        ("dropout", 0.125, 0.12, ()),  # cut to them
        ("eps", 3.14e-10, 3e-10, ()),
        ("scale", 0.6, 1.0, ()),
        ("total_batch_size", 524_288, 520_000.0, ()),  # 5.2e5
        ("total_batch_size", 524_288, 524.3, ()),  # thousands
        ("total_batch_size", 524_288, 512.0, ()),  # kibi
        ("total_batch_size", 524_288, 0.5, ()),  # millions
        ("dropout", 0.1, 10.0, ()),  # percent
        ("vocab", 32_768, 32_760.0, ()),  # rounded to a multiple
        ("max_steps", 1000, 873.0, ()),  # what it reached
        ("time_budget", 300, 412.0, ()),
        ("weight_decay", 0.2, 0.0, ()),  # what a schedule came to
        ("learning_rate", 3e-4, 3e-5, ()),
        ("size", 8, float("nan"), ()),
        ("size", 8, float("inf"), ()),
        ("size", 8, "n/a", (8, 16)),
        ("optimizer", "adamw", "AdamW", ("adamw", "muon")),
        ("optimizer", "adamw", "AdamW (fused)", ("adamw", "muon")),
        ("dtype", "bf16", "torch.bfloat16", ("bf16", "fp32")),
        ("window", "SSSL", "'SSSL'", ("SSSL", "L")),
        ("betas", (0.8, 0.95), "[0.80, 0.95]", ((0.8, 0.95), (0.9, 0.95))),
        ("betas", (0.8, 0.95), "[0.8,0.95]", ((0.8, 0.95), (0.9, 0.95))),
        ("betas", (0.8, 0.95), 0.8, ((0.8, 0.95), (0.9, 0.95))),
        ("tie", True, "enabled", (True, False)),
        ("tie", True, 1.0, (True, False)),
        ("tie", False, "false", (True, False)),
        ("cap", None, "None", (None, 15)),
        ("cap", None, 2.5, (None, 15)),
    ],
)
def test_what_may_mean_the_same_does_not(
    key: str, value: Value, found: float | str, choices: tuple[Value, ...]
) -> None:
    assert not contradicts(key, value, found, choices)


SCRIPT = """\
DEPTH = 4
DEVICE_BATCH_SIZE = 32
WINDOW = "SL"
LIMIT = 7
UNTOUCHED = 5
batch = 16  # whatever DEVICE_BATCH_SIZE says
print("---")
print(f"val_bpb: {1 / DEPTH}")
print(f"depth: {DEPTH}")
print(f"device_batch_size: {batch}")
print(f"window: {WINDOW}")
print("limit: 9")
print("untouched: 6")
print(f"total_batch_M: {batch / 1e6}")
"""
SPACE = "[parameters]\nDEPTH = [2, 4]\nDEVICE_BATCH_SIZE = [16, 32, 64]\nWINDOW = ['SL', 'L']\n"


def run(driver: Driver, script: str, trials: int) -> tuple[list[str], list[TrialRecord]]:
    (driver.folder / "workload" / "train.py").write_text(script)
    (driver.folder / "space.toml").write_text(SPACE)
    driver.set(trials=trials, constants={"LIMIT": 7})
    said: list[str] = []
    with Path("/dev/null").open("w") as nowhere:
        ended = run_study(driver.plan, find_slots("cpu", 1, None), Caller(Console(file=nowhere), said.append))
    return [line for line in said if "may not use the constant" in line], list(ended.records)


@pytest.mark.slow
def test_a_real_trial_that_contradicts_two_constants_says_so_once_each(driver: Driver) -> None:
    lines, records = run(driver, SCRIPT, 4)
    assert [record.state for record in records] == ["COMPLETE"] * 4
    other = next(record for record in records if record.params["DEVICE_BATCH_SIZE"] != 32)
    assert lines == [
        "train.py: LIMIT was 7, the summary of trial 0 says limit 9: the script may not use the constant. If so, leave it out of "
        f"[constants] of profile {driver.settings.profile} and begin a new study, or correct the script.",
        f"train.py: DEVICE_BATCH_SIZE was 32 in trial 0 and {other.params['DEVICE_BATCH_SIZE']} in trial {other.number}, and both "
        "summaries say device_batch_size 16: the script may not use the constant. If so, leave it out of "
        f"{driver.folder / 'space.toml'} and begin a new study, or correct the script.",
    ]


@pytest.mark.slow
def test_a_baseline_that_agrees_by_chance_is_followed_by_a_trial_that_does_not(driver: Driver) -> None:
    lines, records = run(driver, SCRIPT.replace("batch = 16", "batch = 32").replace("limit: 9", "limit: 7"), 8)
    (line,) = lines
    first = next(record for record in records if record.params["DEVICE_BATCH_SIZE"] != 32)
    assert f"was 32 in trial 0 and {first.params['DEVICE_BATCH_SIZE']} in trial {first.number}, and both" in line


def told_of(driver: Driver, *trials: tuple[dict[str, int], dict[str, float | str]], **constants: Value) -> list[str]:
    """Return the lines about trials of these parameters and summaries."""
    names = "".join(f"{name} = {value}\n" for name, value in constants.items())
    (driver.folder / "workload" / "train.py").write_text(SCRIPT + names)
    (driver.folder / "space.toml").write_text(SPACE)
    driver.set(constants=constants)
    said: list[str] = []
    callback = IgnoredConstants(driver.plan, said.append)
    for number, (params, summary) in enumerate(trials):
        callback.on_trial_end(TrialRecord(number, number, "COMPLETE", params=params, summary=summary))
    return said


def test_one_trial_says_nothing_of_a_parameter(driver: Driver) -> None:
    two_devices = {"device_batch_size": 64.0}
    assert told_of(driver, ({"DEVICE_BATCH_SIZE": 32}, two_devices), ({"DEVICE_BATCH_SIZE": 32}, two_devices)) == []
    followed = ({"DEVICE_BATCH_SIZE": 64}, {"device_batch_size": 128.0})
    assert told_of(driver, ({"DEVICE_BATCH_SIZE": 32}, two_devices), followed) == []


def test_two_trials_of_different_values_that_show_the_same_are_named(driver: Driver) -> None:
    shows = {"device_batch_size": 16.0}
    (line,) = told_of(driver, *(({"DEVICE_BATCH_SIZE": size}, shows) for size in (16, 32, 64)))
    assert "DEVICE_BATCH_SIZE was 16 in trial 0 and 32 in trial 1, and both summaries say device_batch_size 16" in line


@pytest.mark.parametrize(
    ("name", "value", "found", "is_told"),
    [
        ("BATCH_SIZE", 32, 64.0, False),
        ("BATCH_SIZE", 32, 256.0, False),
        ("BATCH_SIZE", 32, 16.0, True),
        ("BATCH_SIZE", 32, 48.0, True),
        ("VOCAB_SIZE", 1000, 1024.0, False),
        ("VOCAB_SIZE", 1000, 2048.0, True),
        ("DROPOUT", 0.1, 0.0, False),
        ("DROPOUT", 0.1, 0.3, True),
        ("WIDTH", 64, 128.0, True),
    ],
)
def test_a_constant_of_the_profile_may_be_shown_for_all_devices_padded_or_in_evaluation(
    driver: Driver, name: str, value: Value, found: float, is_told: bool
) -> None:
    assert len(told_of(driver, ({}, {name.lower(): found}), **{name: value})) == is_told


@pytest.mark.slow
def test_a_script_that_uses_its_constants_hears_nothing(driver: Driver) -> None:
    honest = SCRIPT.replace("batch = 16", "batch = DEVICE_BATCH_SIZE").replace("limit: 9", "limit: 7")
    lines, _ = run(driver, honest, 4)
    assert lines == []
