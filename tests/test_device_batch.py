"""Which device batch is the next smaller one, and what follows from a baseline's last words; no study is driven."""

from __future__ import annotations

import pytest

from optimize.errors import SettingsError
from optimize.script.device_batch import smaller_batch
from optimize.search.endings import consequence_of
from optimize.study.baseline_fit import BaselineEnding, BaselineFit
from optimize.study.comparable import slots_of_one_model
from optimize.trial import Outcome, Slot, TrialStatus
from search_spaces import parse_space
from tests.conftest import Driver
from tests.smaller_gpu import ALONE, BESIDE, FIXED, FREE, SCRIPT, VARIED, plan, prepare


def judged(driver: Driver, reason: str = ALONE, has_values: bool = False) -> BaselineEnding:
    """What follows from a baseline of this study that ended with these words."""
    outcome = Outcome(TrialStatus.OUT_OF_MEMORY, 3.0, reason, log=f"Traceback\n{reason}\n")
    found = BaselineFit(plan(driver)).judge(0, "baseline", outcome, consequence_of(outcome), has_values)
    assert found is not None
    return found


def leads_to(driver: Driver, reason: str = ALONE) -> int | None:
    """The device batch that the study goes on with."""
    found = judged(driver, reason).plan
    return found.settings.device_batch.value if found and found.settings.device_batch else None


@pytest.mark.parametrize(
    ("batch", "choices", "smaller"),
    [
        (64, None, 32), (24, None, 12), (15, None, 5), (7, None, 1), (1, None, None),
        (16, (8, 12, 16), 8), (48, (16, 32, 48), 16), (12, (8, 12), None), (64, (8, 64), 8),
    ],
)  # fmt: skip
def test_the_next_device_batch_divides_every_total_that_this_one_divides(
    batch: int, choices: tuple[int, ...] | None, smaller: int | None
) -> None:
    space = parse_space(f"[parameters]\nB = {list(choices)}" if choices else "[parameters]\nX = [1, 2]", "space.toml")
    baseline = {"B": batch} if choices else {"X": 1}
    assert smaller_batch("B", space, {"B": batch}, baseline) == smaller


def test_a_rule_may_forbid_a_device_batch(driver: Driver) -> None:
    prepare(driver, FIXED + '[[rules]]\nrule = "DEVICE_BATCH_SIZE not in (8, 16)"\nwhy = "odd"\n')
    assert leads_to(driver) == 4


def test_a_batch_of_one_that_does_not_fit_is_told_what_to_do(driver: Driver) -> None:
    prepare(driver, FREE, SCRIPT.replace("= 32", "= 1"))
    assert (
        judged(driver).line
        == "DEVICE_BATCH_SIZE is 1 already. Or give the baseline a smaller DEPTH under [constants] in a profile of your own."
    )


def test_a_space_without_smaller_choices_is_named(driver: Driver) -> None:
    prepare(driver, VARIED, SCRIPT.replace("= 32", "= 8"))
    line = f"{driver.folder / 'space.toml'} has no smaller DEVICE_BATCH_SIZE that divides 8 and keeps the rules: begin "
    assert judged(driver).line.startswith(line)
    assert judged(driver).consequence.state == "PRUNED"


@pytest.mark.parametrize(
    ("script", "workload"),
    [(SCRIPT.replace("TOTAL_BATCH_SIZE", "STEPS"), ""), (SCRIPT, 'device_batch = ""')],
    ids=["without a total", "as workload.toml says"],
)
def test_a_script_without_a_device_batch_is_told_what_to_change(driver: Driver, script: str, workload: str) -> None:
    prepare(driver, FREE, script, workload)
    assert 'name it in workload.toml: device_batch = "..."' in judged(driver).line
    assert judged(driver).plan is None


def test_a_device_batch_of_another_name_is_what_workload_toml_says(driver: Driver) -> None:
    prepare(driver, FREE, SCRIPT.replace("DEVICE_BATCH_SIZE", "micro"), 'device_batch = "micro"')
    assert leads_to(driver) == 16
    (driver.folder / "workload" / "workload.toml").write_text('device_batch = "micr"')
    with pytest.raises(SettingsError, match=r"workload.toml: device_batch: .* is called micr .* Did you mean micro\?"):
        plan(driver)


def test_a_value_with_the_larger_device_batch_keeps_it(driver: Driver) -> None:
    prepare(driver)
    found = judged(driver, has_values=True)
    assert (found.plan, found.line) == (
        None, "Other trials have values with DEVICE_BATCH_SIZE 32, so it stays. Begin another study with a smaller one."
    )  # fmt: skip


def test_another_process_on_the_gpu_is_named(driver: Driver) -> None:
    prepare(driver)
    line = "The GPU is not its own: process 4711 held 11.8 of its 25.4 GB. End that, and give the same command again"
    assert judged(driver, BESIDE).line.startswith(line)
    assert leads_to(driver, BESIDE) is None


def test_the_memory_of_the_machine_is_no_matter_of_the_gpu(driver: Driver) -> None:
    prepare(driver)
    found = judged(driver, "killed by SIGKILL, not by us: most likely the kernel's out-of-memory killer")
    assert (found.plan, "that is the memory of the machine, not of a GPU" in found.line) == (None, True)


def test_our_profiles_have_one_for_smaller_gpus(driver: Driver) -> None:
    prepare(driver, FREE, SCRIPT.replace("= 32", "= 1"))
    driver.set(profile="h100")
    assert judged(driver).line.endswith("or take that for small GPUs: `optimize run --profile colab`.")


def test_of_several_gpus_the_baseline_gets_the_smallest(driver: Driver) -> None:
    driver.set(mixed_devices=True)
    slots = [Slot("gpu:0", device="H100", memory_mb=80_000.0), Slot("gpu:1", device="T4", memory_mb=16_000.0)]
    assert [slot.name for slot in slots_of_one_model(driver.plan, slots, [], print, list)] == ["gpu:1", "gpu:0"]
