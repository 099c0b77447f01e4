"""Plans: script, profile and search space must fit, and every misfit is a line before any trial starts."""

from __future__ import annotations

import pytest

from optimize.errors import SettingsError
from optimize.plan import make_plan
from optimize.settings import load_settings, profiles
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
    assert len(problems(driver, "[parameters]\nX = []\n")) == 2
