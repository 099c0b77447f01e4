"""A study moved to a changed search space keeps its history; what would not stay comparable is refused in one line."""

from __future__ import annotations

from dataclasses import replace

import optuna
import pytest

from optimize.config.plan import make_plan
from optimize.errors import SettingsError, StudyError
from optimize.reporting.files import write_views
from optimize.study.stored import find_study
from optimize.transfer.copy import migrate
from optimize.trial import Outcome, TrialStatus
from storage import Artifacts, StorageError, StudyPaths, TrialRecord
from tests.conftest import Driver, complete
from tests.transfers import nothing_changes, records, rewrite, run_with_endings, studies

ENDINGS = {
    4: TrialStatus.OUT_OF_MEMORY,
    6: TrialStatus.CRASHED,  # and once more at 7
    9: TrialStatus.CANCELLED,  # still waiting at the end
}
TRIALS = 10


@pytest.fixture
def old(driver: Driver) -> Driver:
    """A driver whose study `s` has trials of every ending, and one that waits."""

    driver.once("migrate", lambda: run_with_endings(driver, TRIALS, ENDINGS))
    return driver


def move(driver: Driver, to: str = "new", old: str = "s") -> list[str]:
    plan = make_plan(replace(driver.settings, study=to))
    with driver.database() as database:
        return list(migrate(old, plan, database))


def wide(driver: Driver) -> None:
    """Choices added and reordered, and a parameter added with the constant that the script has."""
    rewrite(driver, "space.toml", "X = [1, 2, 3, 4]", "X = [8, 4, 3, 2, 1]\nSIZE = [8, 16]")


def refused(driver: Driver, match: str, old: str = "s", to: str = "new") -> str:
    with nothing_changes(driver), pytest.raises(StudyError, match=match) as caught:
        move(driver, to, old)
    (line,) = caught.value.problems
    return line


HISTORY = (
    "state",
    "status",
    "value",
    "reason",
    "attempt",
    "started",
    "finished",
    "seconds",
    "slot",
    "script",
    "summary",
    "curve",
)


def history(found: list[TrialRecord]) -> list[list[object]]:
    return [[getattr(record, key) for key in HISTORY] for record in found]


def test_every_trial_is_there_with_its_history_and_the_old_study_stays(old: Driver) -> None:
    before = records(old, "s")
    wide(old)
    assert move(old) == [
        "study new: 10 finished trials of study s, which stays as it is",
        "study new: 1 more are queued as they were",
    ]
    after = records(old, "new")
    assert records(old, "s") == before
    assert history(after) == history(before)
    assert [record.kind for record in after] == [record.kind for record in before]
    assert [record.requeue_of for record in after] == [record.requeue_of for record in before]
    assert [record.params for record in after] == [{**record.params, "SIZE": 8} for record in before]
    assert [record.taken_from for record in after] == [f"study s, trial {n}" for n in range(TRIALS)] + [""]


def test_optunas_own_reader_finds_one_set_of_choices(old: Driver) -> None:
    wide(old)
    move(old)
    with old.database() as database:
        trials = optuna.load_study(study_name="new", storage=database.storage).trials
    assert {trial.distributions["X"].choices for trial in trials} == {(8, 4, 3, 2, 1)}  # type: ignore[attr-defined]
    assert len({str(sorted(trial.distributions.items())) for trial in trials}) == 1


def test_the_moved_study_goes_on_with_what_waited_and_repeats_nothing(old: Driver) -> None:
    waiting = records(old, "s")[-1]
    wide(old)
    move(old)
    old.set(study="new")
    old.run(trials=4)
    found = records(old, "new")
    assert found[TRIALS].state == "COMPLETE"
    assert found[TRIALS].params == {**waiting.params, "SIZE": 8}
    assert [record.kind for record in found].count("baseline") == 1
    again = {record.number for record in found if record.requeue_of is not None}
    distinct = {tuple(record.params.items()) for record in found}
    assert len(distinct) == len(found) - len(again)


def test_what_is_to_be_tried_alone_on_its_gpu_still_is(driver: Driver) -> None:
    with driver.open() as study:
        for number in range(4):  # the third is the second once more, the last one waits to be tried again
            job = driver.job(study.ask())
            crowded = Outcome(TrialStatus.OUT_OF_MEMORY, 1.0, "beside another", shared=True)
            study.tell(job, crowded if number in (1, 3) else complete(job))
    before = records(driver, "s")
    assert [record.alone for record in before] == [False, False, True, False, True]
    move(driver)
    assert [record.alone for record in records(driver, "new")] == [record.alone for record in before]
    driver.set(study="new")
    with driver.open() as study:
        assert study.ask().alone


def test_choices_that_are_gone_leave_their_trials_out_and_say_so(old: Driver) -> None:
    before = records(old, "s")
    rewrite(old, "space.toml", "X = [1, 2, 3, 4]", "X = [2, 4]")
    lines = move(old)
    after = records(old, "new")
    kept = [record for record in before if record.params["X"] != 1]
    assert 0 < len(kept) < len(before)
    assert history(after) == history(kept)
    assert lines[-1] == f"study new: left out: {len(before) - len(kept)} with X = 1, which is no choice now"
    numbers = {record.number: number for number, record in enumerate(kept)}
    assert [record.requeue_of for record in after] == [numbers.get(record.requeue_of or -1) for record in kept]


@pytest.mark.parametrize("where", ["script", "profile"])
def test_a_parameter_that_is_gone_keeps_the_trials_that_had_what_is_now_the_constant(old: Driver, where: str) -> None:
    before = records(old, "s")
    rewrite(old, "space.toml", "PAIR = [[0.8, 0.95], [0.9, 0.95]]\n", "")
    now = "(0.8, 0.95)" if where == "script" else "(0.9, 0.95)"
    if where == "profile":
        old.set(constants={"PAIR": (0.9, 0.95)})
    lines = move(old)
    kept = [record for record in before if record.params["PAIR"] == now]
    assert 0 < len(kept) < len(before)
    assert [record.params for record in records(old, "new")] == [
        {name: value for name, value in record.params.items() if name != "PAIR"} for record in kept
    ]
    other = "(0.9, 0.95)" if where == "script" else "(0.8, 0.95)"
    assert lines[-1] == f"study new: left out: {len(before) - len(kept)} with PAIR = {other}, now fixed at {now}"
    old.set(study="new")
    with old.open() as study:  # the old baseline is none any more where the profile says otherwise
        assert study.has_queued("baseline") == (where == "profile")


def test_a_parameter_that_is_added_had_the_profiles_constant_of_that_time(driver: Driver) -> None:
    driver.set(constants={"SIZE": 16})
    driver.run(trials=4)
    wide(driver)
    driver.set(constants={"SIZE": 8})  # the baseline of the new study
    move(driver)
    found = records(driver, "new")
    assert {record.params["SIZE"] for record in found} == {16}
    assert "baseline" not in {record.kind for record in found}
    driver.set(study="new")
    driver.run(trials=1)
    assert [r.params["SIZE"] for r in records(driver, "new") if r.kind == "baseline"] == [8]


def test_a_constant_of_that_time_that_is_no_choice_leaves_nothing_to_move(driver: Driver) -> None:
    driver.set(constants={"SIZE": 12})
    driver.run(trials=2)
    wide(driver)
    driver.set(constants={"SIZE": 8})
    assert "2 with SIZE = 12, which is no choice now" in refused(driver, "none of its trials fits")


def test_tuples_are_compared_as_values(old: Driver) -> None:
    rewrite(old, "space.toml", "[[0.8, 0.95], [0.9, 0.95]]", "[[1, 0.95], [0.90, 0.95], [0.8, 0.950]]")
    move(old)
    assert len(records(old, "new")) == TRIALS + 1


def test_artifacts_are_shared_and_cleaning_either_study_leaves_the_others(old: Driver) -> None:
    files = {path.name for path in old.paths.artifacts.iterdir()}
    wide(old)
    move(old)
    move(old, "newer", "new")
    with old.database() as database:
        for gone, left in (("s", "new"), ("new", "newer")):
            find_study(database, gone, old.settings.runs).delete()
            stored = find_study(database, left, old.settings.runs)
            assert "--- a/train.py" in stored.texts(stored.record(1))["train.patch"]
            assert not Artifacts(old.paths.artifacts, database).dangling(now=1e12)
        assert {path.name for path in old.paths.artifacts.iterdir()} == files
        find_study(database, "newer", old.settings.runs).delete()
    assert list(old.paths.artifacts.iterdir()) == []


def test_the_moved_study_opens_only_with_the_data_that_the_old_one_had(old: Driver) -> None:
    wide(old)
    move(old)
    old.set(study="new")
    old.data = "other"
    with pytest.raises(StudyError, match="the prepared data"), old.open():
        pass


def test_another_script_is_refused(old: Driver) -> None:
    rewrite(old, "workload/train.py", "abs(X - 2)", "abs(X - 3)")
    line = refused(old, "the scripts have changed")
    assert "optimize run --study new --from s" in line


def test_another_metric_is_refused(old: Driver) -> None:
    (old.folder / "workload" / "workload.toml").write_text('metric = "loss"\n')
    refused(old, "the metric or its direction is another")


def test_another_constant_is_refused_by_name(old: Driver) -> None:
    old.set(constants={"SIZE": 16})
    refused(old, "SIZE was 8 and is 16")


def test_a_study_that_is_not_there_or_a_name_that_is_taken_is_refused(old: Driver) -> None:
    assert "There are: s" in refused(old, "study nothing: there is no such study", old="nothing")
    refused(old, "study s: exists already", to="s")


def test_a_name_that_is_none_is_refused_before_anything_is_made(old: Driver) -> None:
    with nothing_changes(old), pytest.raises(SettingsError, match="not a name for a study"):
        move(old, to="../elsewhere")


def test_an_empty_study_and_another_programs_are_refused(driver: Driver) -> None:
    with driver.open():
        pass
    with driver.database() as database:
        database.create_study("theirs", "minimize", "val_bpb")
        database.delete_study("s")
    refused(driver, "made by another program", old="theirs")


def test_a_trial_that_is_running_stays_behind(old: Driver) -> None:
    with old.open() as study:
        study.ask()
        wide(old)
        assert "left out: 1 still running" in move(old)[-1]
    assert "RUNNING" not in {record.state for record in records(old, "new")}


def test_a_failure_on_the_way_leaves_nothing(old: Driver) -> None:
    wide(old)
    refuse = (
        "CREATE TRIGGER refuse BEFORE INSERT ON trial_params WHEN (SELECT COUNT(*) FROM trial_params) > 50 "
        "BEGIN SELECT RAISE(ABORT, 'the power has failed'); END"
    )
    with old.database() as database:
        database.write(lambda connection: connection.exec_driver_sql(refuse))
    with pytest.raises(StorageError, match="the power has failed"):
        move(old)
    assert studies(old) == ["s"]


def test_the_views_of_the_moved_study_are_whole(old: Driver) -> None:
    wide(old)
    move(old)
    with old.database() as database:
        write_views(find_study(database, "new", old.settings.runs))
    folder = StudyPaths(old.settings.runs, "new").folder
    assert len((folder / "trials.csv").read_text().splitlines()) == TRIALS + 1
    assert (folder / "best" / "train.py").exists()


def test_a_parameter_that_is_no_constant_can_be_taken_out(driver: Driver) -> None:
    rewrite(driver, "space.toml", "[parameters]", '[parameters]\nscale = { entry = "model.scale", choices = [2, 3] }')
    with (driver.folder / "workload" / "train.py").open("a") as file:
        file.write("model = make(scale=3)\n")
    driver.run(complete, trials=6)
    rewrite(driver, "space.toml", 'scale = { entry = "model.scale", choices = [2, 3] }', "")
    said = " ".join(move(driver))
    assert "with scale = 2, now fixed at 3" in said
    kept = [trial for trial in records(driver, "s") if trial.params["scale"] == 3]
    assert len(records(driver, "new")) == len(kept) > 0
