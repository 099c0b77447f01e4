"""Plans: script, profile and search space must fit, and every misfit is a line before any trial starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from optimize.config import extras
from optimize.config.plan import make_plan
from optimize.config.settings import load_settings, profiles
from optimize.errors import SettingsError
from optimize.trial import Limits
from tests.conftest import Driver


def problems(driver: Driver, space: str, script: str | None = None, **settings: object) -> list[str]:
    (driver.folder / "space.toml").write_text(space)
    if script is not None:
        (driver.folder / "workload" / "train.py").write_text(script)
    driver.set(**settings)
    with pytest.raises(SettingsError) as caught:
        make_plan(driver.settings)
    return list(caught.value.problems)


@pytest.mark.parametrize("name", profiles())
def test_every_shipped_profile_fits_its_space_and_its_script(name: str) -> None:
    plan = make_plan(load_settings(name, "", {}, {}))
    assert plan.space.contains(plan.baseline)
    assert plan.space.feasible(plan.baseline, plan.constants)
    assert len(plan.space.names) >= 10


def test_the_profile_sets_the_baseline(driver: Driver) -> None:
    driver.set(constants={"X": 2})
    assert make_plan(driver.settings).baseline["X"] == 2


def test_a_parameter_that_the_script_lacks_is_named(driver: Driver) -> None:
    assert "has no such constant" in problems(driver, "[parameters]\nZ = [1, 2]\n")[0]


def test_a_constant_that_the_script_lacks_is_named(driver: Driver) -> None:
    lines = problems(driver, "[parameters]\nX = [2, 4]\n", constants={"BUDGET": 3})
    assert "BUDGET" in lines[0]


def test_a_baseline_outside_the_space_is_named_with_what_to_do(driver: Driver) -> None:
    assert "baseline 4 is not among the choices" in problems(driver, "[parameters]\nX = [1, 2]\n")[0]


def test_a_choice_of_another_type_than_the_scripts_is_named(driver: Driver) -> None:
    lines = problems(driver, "[parameters]\nX = [1.5, 4.0]\nY = ['a', 'b']\nPAIR = [1, 2]\n")
    assert len(lines) >= 3
    assert "whole number" in lines[0]


def test_a_rule_with_an_unknown_name_is_named(driver: Driver) -> None:
    lines = problems(driver, "[parameters]\nX = [2, 4]\n[[rules]]\nrule = 'X < NOTHING'\nwhy = 'w'\n")
    assert "NOTHING" in lines[0]


def test_a_baseline_that_breaks_a_rule_is_named_with_the_rule(driver: Driver) -> None:
    lines = problems(driver, "[parameters]\nX = [2, 4]\n[[rules]]\nrule = 'X < 3'\nwhy = 'too large'\n")
    assert "too large" in lines[0]


def test_mistakes_of_workload_space_and_sampler_come_together(driver: Driver) -> None:
    lines = problems(driver, "[parameters]\nX = [2, 4]\n", sampler="magic", workload=str(driver.folder / "nowhere"))
    assert len(lines) == 2
    assert len(problems(driver, "[parameters]\nX = []\n")) == 3


@pytest.mark.parametrize("name", ["colab", "gpu", "h100"])
def test_an_untouched_autoresearch_checkout_fits_the_gpu_profiles(name: str, tmp_path: Path) -> None:
    """Its constants as they stand there, in the same two files."""
    (tmp_path / "prepare.py").write_text(
        "MAX_SEQ_LEN = 2048\nTIME_BUDGET = 300\nEVAL_TOKENS = 40 * 524288\nVOCAB_SIZE = 8192\n"
    )
    (tmp_path / "train.py").write_text(
        'ASPECT_RATIO = 64\nHEAD_DIM = 128\nWINDOW_PATTERN = "SSSL"\nTOTAL_BATCH_SIZE = 2**19\nEMBEDDING_LR = 0.6\n'
        "UNEMBEDDING_LR = 0.004\nMATRIX_LR = 0.04\nSCALAR_LR = 0.5\nWEIGHT_DECAY = 0.2\nADAM_BETAS = (0.8, 0.95)\n"
        "WARMUP_RATIO = 0.0\nWARMDOWN_RATIO = 0.5\nFINAL_LR_FRAC = 0.0\nDEPTH = 8\nDEVICE_BATCH_SIZE = 128\n"
    )
    plan = make_plan(load_settings(name, "", {"workload": str(tmp_path)}, {}))
    assert plan.workload.metric.name == "val_bpb"
    assert plan.space.feasible(plan.baseline, plan.constants)
    assert "ROPE_BASE" not in plan.space.names


def test_a_limit_below_what_a_trial_takes_is_said_before_it(driver: Driver) -> None:
    (driver.folder / "workload" / "workload.toml").write_text('duration_s = "SIZE * 100"\n')
    driver.set(limits=Limits(total_s=60.0))
    (note,) = make_plan(driver.settings).notes
    assert "a trial takes about 800 s and would time out" in note
    driver.set(limits=Limits(total_s=3000.0))
    assert make_plan(driver.settings).notes == ()


@pytest.mark.parametrize("name", profiles())
def test_every_shipped_profile_lets_its_trials_end(name: str) -> None:
    assert make_plan(load_settings(name, "", {}, {})).notes == ()


def test_our_own_workload_says_what_to_install_and_others_need_none_of_it(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name in ("torch", "rustbpe") else name)
    with pytest.raises(SettingsError) as caught:
        make_plan(load_settings("cpu", "", {"workload": "gpt"}, {}))
    install = "`pip install 'torch>=2.6' 'rustbpe>=0.1'`"
    assert caught.value.problems == (f"workload gpt: needs torch, rustbpe, the extra gpt. Run {install}.",)
    assert driver.plan.workload.name == "workload"


def test_zero_is_a_seed(driver: Driver) -> None:
    train = driver.folder / "workload" / "train.py"
    train.write_text(f"SEED = 0\n{train.read_text()}")
    assert driver.plan.seed() == ("SEED", 0)
