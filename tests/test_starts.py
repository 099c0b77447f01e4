"""Starts: fitted into the space, said in a line each, tried once after the baseline, whoever dies when."""

from __future__ import annotations

from pathlib import Path

import pytest

from optimize.config.plan import make_plan
from optimize.config.settings import load_settings
from optimize.errors import SettingsError
from optimize.study.study import Study
from optimize.trial import Outcome, TrialStatus
from storage import TrialRecord
from tests.conftest import SPACE, Driver, complete
from tests.transfers import records


def start(params: str, source: str = "a notebook", **more: object) -> str:
    lines = "".join(f"{key} = {value!r}\n" for key, value in more.items())
    return f'\n[[start]]\nsource = "{source}"\n{lines}params = {{ {params} }}\n'


def give(driver: Driver, *starts: str) -> None:
    (driver.folder / "space.toml").write_text(SPACE + "".join(starts))


def problems(driver: Driver) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        make_plan(driver.settings)
    return list(caught.value.problems)


def starts(driver: Driver) -> list[dict[str, object]]:
    return [dict(record.params) for record in records(driver, "s") if record.kind == "start"]


def end(driver: Driver, study: Study, status: TrialStatus = TrialStatus.COMPLETE) -> TrialRecord:
    job = driver.job(study.ask())
    return study.tell(job, complete(job) if status is TrialStatus.COMPLETE else Outcome(status, 1.0, "because"))


TWO = start("X = 2, Y = 0.26, PAIR = [0.9, 0.95]", val_bpb=0.9), start("Y = 0.9", val_bpb=0.8, script="a/fork")


def test_what_lies_between_choices_moves_and_says_so(driver: Driver) -> None:
    give(driver, *TWO)
    plan = make_plan(driver.settings)
    assert [dict(each.params) for each in plan.starts.planned] == [
        {"X": 4, "Y": 1.0, "PAIR": (0.8, 0.95)},  # what is missing is the baseline's
        {"X": 2, "Y": 0.25, "PAIR": (0.9, 0.95)},
    ]
    assert plan.starts.lines == (
        "start 2 (a notebook, val_bpb 0.8 on a/fork): Y 0.9 -> 1.0; the rest as in the baseline",
        "start 1 (a notebook, val_bpb 0.9): Y 0.26 -> 0.25",
    )


def test_the_baseline_is_first_then_the_starts_the_best_first_then_the_sampler(driver: Driver) -> None:
    give(driver, start("X = 1"), *TWO)
    driver.run(trials=6)
    found = records(driver, "s")
    assert [record.kind for record in found] == ["baseline", "start", "start", "start", "sampler", "sampler"]
    assert [record.params["Y"] for record in found[:4]] == [0.5, 1.0, 0.25, 0.5]
    assert found[1].source == "a notebook, val_bpb 0.8 on a/fork"
    assert driver.said == list(driver.plan.starts.lines)
    assert len({tuple(record.params.items()) for record in found}) == 6


def test_starts_that_become_the_same_configuration_or_the_baseline_are_tried_once(driver: Driver) -> None:
    give(driver, start("Y = 0.9"), start("Y = 1.1"), start("X = 4"))
    driver.run(trials=3)
    assert len(starts(driver)) == 1
    assert driver.said[1:] == [
        "start 2 (a notebook): Y 1.1 -> 1.0; the rest as in the baseline; the same as start 1 (a notebook), which is tried once",
        "start 3 (a notebook): as it is; the rest as in the baseline; the same as the baseline, which is tried once",
    ]


def test_a_start_that_breaks_a_rule_as_written_is_a_line_and_nothing_is_made(driver: Driver) -> None:
    give(driver, start("X = 3"), start("X = 2"), start("X = 5"))
    lines = problems(driver)
    assert len(lines) == 2
    assert "space.toml: start 1: breaks the rule SIZE % X == 0 (the script halves its size)" in lines[0]
    assert "start 3" in lines[1]
    assert not (driver.folder / "runs").exists()


def test_no_starts_leaves_them_out_and_the_broken_ones_too(driver: Driver) -> None:
    give(driver, start("X = 3"))
    driver.set(starts=False)
    driver.run(trials=2)
    assert starts(driver) == []


def test_a_profile_may_leave_the_starts_out(driver: Driver) -> None:
    (driver.folder / "mine.toml").write_text("starts = false\n")
    assert not load_settings(str(driver.folder / "mine.toml"), "", {}, {}).starts
    assert load_settings(str(driver.folder / "mine.toml"), "", {"starts": True}, {}).starts


def test_a_start_that_only_its_choices_make_break_a_rule_moves_on(driver: Driver) -> None:
    (driver.folder / "space.toml").write_text(
        SPACE.replace("SIZE % X == 0", "X < 3.5 or Y < 0.5") + start("X = 3.49, Y = 0.9")
    )
    (driver.folder / "workload" / "train.py").write_text(
        (driver.folder / "workload" / "train.py").read_text().replace("Y = 0.5", "Y = 0.25")
    )
    (planned,) = make_plan(driver.settings).starts.planned
    assert (planned.params["X"], planned.params["Y"]) == (3, 1.0)  # 4 is nearer, and breaks the rule
    assert "X 3.49 -> 3, Y 0.9 -> 1.0; moved on to keep every rule" in planned.title


def test_a_start_with_no_feasible_configuration_near_it_is_left_out(driver: Driver) -> None:
    text = SPACE.replace("[1, 2, 3, 4]", "[1, 5, 6, 7, 9, 10, 4]").replace("SIZE % X == 0", "X == 4 or X == 7.4")
    (driver.folder / "space.toml").write_text(text.replace("Y =", "W = [1.0, 2.0]\nY =") + start("X = 7.4"))
    train = driver.folder / "workload" / "train.py"
    train.write_text("W = 1.0\n" + train.read_text())
    plan = make_plan(driver.settings)
    assert plan.starts.planned == ()
    assert plan.starts.lines == ("start 1 (a notebook): left out: no configuration near it keeps every rule",)


def test_a_rule_that_cannot_be_computed_for_a_start_is_a_line(driver: Driver) -> None:
    text = SPACE.replace("SIZE % X == 0", "4 / (X - 8) < 0") + start("X = 8")
    (driver.folder / "space.toml").write_text(text)
    assert ["start 1" in line and "divides by zero" in line for line in problems(driver)] == [True]


def test_reopening_queues_nothing_again(driver: Driver) -> None:
    give(driver, *TWO)
    for _ in range(2):
        with driver.open():
            pass
    with driver.open() as study:
        end(driver, study)
        end(driver, study)
    driver.said.clear()
    driver.run(trials=5)
    assert len(starts(driver)) == 2
    assert driver.said == []


def test_a_driver_that_died_between_two_starts_is_made_up_for(driver: Driver) -> None:
    give(driver, TWO[0])
    with driver.open():
        pass
    give(driver, *TWO)  # as if the second had not been queued yet
    driver.run(trials=4)
    assert sorted(str(params["Y"]) for params in starts(driver)) == ["0.25", "1.0"]


def test_a_start_whose_configuration_was_tried_before_is_not_tried_again(driver: Driver) -> None:
    driver.set(sampler="grid")
    driver.run(trials=24)
    give(driver, *TWO)
    reason, _ = driver.run(trials=30)
    assert "all 24 feasible configurations" in reason
    assert starts(driver) == []


def test_a_start_that_the_world_broke_is_queued_again_and_keeps_its_source(driver: Driver) -> None:
    give(driver, *TWO)
    with driver.open() as study:
        end(driver, study)
        cancelled = end(driver, study, TrialStatus.CANCELLED)
        end(driver, study, TrialStatus.OUT_OF_MEMORY)
    driver.run(trials=4)
    again = [record for record in records(driver, "s") if record.requeue_of == cancelled.number]
    assert [(r.kind, r.source, r.state) for r in again] == [("start", cancelled.source, "COMPLETE")]
    assert len(starts(driver)) == 3


def test_two_slots_run_starts_side_by_side_after_the_baseline_alone(driver: Driver) -> None:
    give(driver, start("X = 1"), *TWO)
    _, told = driver.run(slots=2, trials=5)
    assert told.ended[0] == (0, "complete")
    assert len({tuple(record.params.items()) for record in records(driver, "s")}) == 5


def test_the_shipped_starts_fit_our_script_and_an_autoresearch_checkout() -> None:
    plan = make_plan(load_settings("h100", "", {}, {}))
    assert len(plan.starts.planned) == 7
    assert plan.starts.left_out == ()
    assert "val_bpb 0.969686 on karpathy/autoresearch" in plan.starts.lines[0]
    assert plan.starts.planned[0].params["ROPE_BASE"] == 200_000
    assert "val_bpb 0.97409 on karpathy/autoresearch" in plan.starts.lines[1]
    assert "ASPECT_RATIO 92 -> 96" in plan.starts.lines[1]
    assert all(plan.space.feasible(each.params, plan.constants) for each in plan.starts.planned)


def test_a_parameter_of_a_start_that_the_script_lacks_is_told_as_ever(driver: Driver, tmp_path: Path) -> None:
    (driver.folder / "space.toml").write_text(SPACE.replace("X = [", "Z = [1, 2]\nX = [") + start("Z = 1"))
    assert ["has no such constant" in line for line in problems(driver)] == [True]
