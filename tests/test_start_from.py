"""`--from`: a new study takes finished trials over where values are comparable, else tries the best parameters again."""

from __future__ import annotations

from pathlib import Path

import pytest

from optimize.errors import OptimizeError, SettingsError, StudyError
from optimize.reporting.files import write_tables, write_views
from optimize.study.start_from import BEST, describe_start_from
from optimize.study.stopping import counted
from optimize.study.stored import find_study
from optimize.trial import TrialStatus
from storage import Artifacts, StorageError
from tests.conftest import SPACE, Driver, val_bpb
from tests.spaces import configurations
from tests.transfers import nothing_changes, records, rewrite, run_with_endings, studies

TRIALS = 12


@pytest.fixture
def old(driver: Driver) -> Driver:
    """A driver whose study `s` has been run: 10 complete trials, one diverged, one cancelled that is still queued."""

    endings = {5: TrialStatus.DIVERGED, TRIALS - 1: TrialStatus.CANCELLED}
    driver.once("sources", lambda: run_with_endings(driver, TRIALS, endings))
    driver.set(study="new", start_from="s")
    return driver


def test_finished_trials_are_taken_over_whole_where_values_are_comparable(old: Driver) -> None:
    with old.open() as study:
        taken = study.records()
    before = [record for record in records(old, "s") if record.state in ("COMPLETE", "PRUNED")]
    kept = (
        "state",
        "status",
        "params",
        "value",
        "reason",
        "kind",
        "started",
        "finished",
        "seconds",
        "script",
        "curve",
        "summary",
    )
    assert [[getattr(r, key) for key in kept] for r in taken] == [[getattr(r, key) for key in kept] for r in before]
    assert [r.taken_from for r in taken] == [f"study s, trial {r.number}" for r in before]
    assert old.said == ["--from s: 11 trials copied, not counted against --trials; left out: "
                        "1 that failed; 1 waiting to be run"]  # fmt: skip


def test_what_was_taken_over_does_not_count_and_is_not_tried_again(old: Driver) -> None:
    reason, told = old.run(trials=4)
    assert reason == "4 trials are done"
    assert len(told.ended) == 4
    found = records(old, "new")
    assert counted(found) == 4
    assert len({tuple(record.params.items()) for record in found}) == len(found) == TRIALS - 1 + 4
    assert [record.kind for record in found].count("baseline") == 1


def test_the_sampler_learns_from_what_was_taken_over(old: Driver) -> None:
    """With the same history and seed two studies ask for the same; a study without it asks for something else."""
    asked = {}
    for study, source in (("new", "s"), ("new-too", "s"), ("bare", None)):
        old.set(study=study, start_from=source, sampler="tpe")
        with old.open() as opened:
            asked[study] = [opened.ask().params for _ in range(3)]
    assert asked["new"] == asked["new-too"] != asked["bare"]


def test_artifacts_of_a_trial_that_was_taken_over_are_read_and_outlive_the_old_study(old: Driver) -> None:
    with old.open():
        pass
    with old.database() as database:
        find_study(database, "s", old.settings.runs).delete()
        new = find_study(database, "new", old.settings.runs)
        assert new.texts(new.records()[1])["log.txt"] == "a log\n"
        assert [path.name for path in write_views(new)] == ["results.tsv", "trials.csv", "best"]
        new.delete()
        assert list(old.paths.artifacts.iterdir()) == []


def test_the_space_may_be_another_if_the_trials_fit_it(old: Driver) -> None:
    rewrite(old, "space.toml", "X = [1, 2, 3, 4]", "X = [8, 4, 2]\nSIZE = [8, 16]")
    with old.open() as study:
        taken = study.records()
        assert {record.params["SIZE"] for record in taken} == {8}
        assert {record.params["X"] for record in taken} == {2, 4}
        assert set(study.ask().params) == {"X", "Y", "PAIR", "SIZE"}
    assert len([r for r in records(old, "s") if r.params["X"] in (2, 4) and r.state in ("COMPLETE", "PRUNED")]) == len(
        taken
    )
    assert "with X = 1, which is no choice now" in old.said[0]


def test_with_another_script_the_best_are_tried_again_after_the_baseline(old: Driver) -> None:
    rewrite(old, "workload/train.py", "abs(X - 2)", "abs(X - 3)")
    old.run(trials=BEST + 2)
    found = records(old, "new")
    assert [record.kind for record in found] == ["baseline", *["start"] * BEST, "sampler"]
    complete_ones = sorted((r for r in records(old, "s") if r.value is not None), key=lambda r: r.value or 0)
    best = [dict(r.params) for r in complete_ones if r.kind != "baseline"][:BEST]
    assert [dict(record.params) for record in found[1 : BEST + 1]] == best
    assert all(record.taken_from == "" for record in found)
    assert found[1].source.startswith("study s, trial ")
    assert "the scripts have changed" in old.said[0]
    assert len(old.said) == BEST + 1


@pytest.mark.parametrize("what", ["data", "constants"])
def test_with_other_data_or_constants_the_best_are_tried_again(old: Driver, what: str) -> None:
    if what == "data":
        old.data = "other"
    else:
        old.set(constants={"SIZE": 16})
    with old.open() as study:
        assert study.records() == []
    assert ("the prepared data" if what == "data" else "SIZE was 8 and is 16") in old.said[0]


def test_a_profile_may_give_the_constant_that_the_script_had(old: Driver) -> None:
    old.set(constants={"SIZE": 8})
    with old.open() as study:
        assert len(study.records()) == TRIALS - 1


def test_another_baseline_is_tried_and_the_old_one_is_a_start(old: Driver) -> None:
    old.set(constants={"Y": 0.25, "X": 1, "PAIR": (0.9, 0.95)})
    with old.open() as study:
        taken = [r for r in study.records() if r.params == {"X": 1, "Y": 0.25, "PAIR": "(0.9, 0.95)"}]
        old_baseline = next(r for r in study.records() if r.params == {"X": 4, "Y": 0.5, "PAIR": "(0.8, 0.95)"})
        assert old_baseline.kind == "start"
        if not taken:
            assert study.ask().params == {"X": 1, "Y": 0.25, "PAIR": (0.9, 0.95)}
        else:
            assert taken[0].kind == "baseline"


def test_the_spaces_own_starts_follow_those_of_the_source(old: Driver) -> None:
    rewrite(old, "workload/train.py", "abs(X - 2)", "abs(X - 3)")
    tried = {tuple(record.params.values()) for record in records(old, "s")}
    unseen = next(
        p for p in configurations(old.plan.space) if p["X"] != 3 and (p["X"], p["Y"], str(p["PAIR"])) not in tried
    )
    pair = list(unseen["PAIR"])  # type: ignore[arg-type]
    text = f'\n[[start]]\nsource = "me"\nparams = {{ X = {unseen["X"]}, Y = {unseen["Y"]}, PAIR = {pair} }}\n'
    (old.folder / "space.toml").write_text(SPACE + text)
    with old.open():
        pass
    assert [record.source for record in records(old, "new")][-1] == "me"


def test_the_same_call_again_goes_on_and_takes_nothing_twice(old: Driver) -> None:
    old.run(trials=2)
    old.said.clear()
    old.run(trials=4)
    assert old.said == ["study new: it began with s and goes on"]
    assert len(records(old, "new")) == TRIALS - 1 + 4


def test_it_goes_on_even_if_the_source_is_gone(old: Driver) -> None:
    old.run(trials=2)
    with old.database() as database:
        find_study(database, "s", old.settings.runs).delete()
    assert describe_start_from(old.plan) == ["study new: it began with s and goes on"]
    assert old.run(trials=3)[0] == "3 trials are done"


@pytest.mark.parametrize("before", [None, "other"])
def test_a_study_that_is_there_already_and_did_not_begin_so_is_refused(old: Driver, before: str | None) -> None:
    old.set(study="other", start_from=None)
    old.run(trials=1)
    old.set(study="new", start_from=before)
    old.run(trials=1)
    old.set(start_from="s")
    with nothing_changes(old), pytest.raises(StudyError, match="the study exists and began") as caught:
        describe_start_from(old.plan)
    assert len(caught.value.problems) == 1
    with pytest.raises(StudyError, match="the study exists"), old.open():
        pass
    assert counted(records(old, "new")) == 1


def test_a_source_that_is_not_there_is_one_line_and_makes_nothing(driver: Driver) -> None:
    driver.set(study="new", start_from="nothing")
    with nothing_changes(driver), pytest.raises(StudyError, match="is not there yet"):
        describe_start_from(driver.plan)
    driver.set(study="s", start_from=None)
    driver.run(trials=1)
    driver.set(study="new", start_from="nothing")
    with nothing_changes(driver), pytest.raises(StudyError, match="There are: s") as caught:
        describe_start_from(driver.plan)
    assert len(caught.value.problems) == 1


def test_a_study_without_a_complete_trial_is_nothing_to_begin_with(driver: Driver) -> None:
    with driver.open():
        pass
    driver.set(study="new", start_from="s")
    with nothing_changes(driver), pytest.raises(StudyError, match="it has no complete trial") as caught:
        describe_start_from(driver.plan)
    assert len(caught.value.problems) == 1
    with pytest.raises(StudyError), driver.open():
        pass
    assert studies(driver) == ["s"]


def test_a_failure_while_a_study_is_created_leaves_nothing_of_it(old: Driver) -> None:
    refuse = (
        "CREATE TRIGGER refuse BEFORE INSERT ON trial_system_attributes WHEN (SELECT COUNT(*) FROM studies) > 1 "
        "BEGIN SELECT RAISE(ABORT, 'the power has failed'); END"
    )
    with old.database() as database:
        database.write(lambda connection: connection.exec_driver_sql(refuse))
    with pytest.raises(StorageError, match="the power has failed"), old.open():
        pass
    assert studies(old) == ["s"]
    with old.database() as database:
        database.write(lambda connection: connection.exec_driver_sql("DROP TRIGGER refuse"))
    with old.open() as study:
        assert len(study.records()) == TRIALS - 1


def table(driver: Driver, name: str) -> Path:
    """`results.tsv` or `trials.csv` of study `s`, somewhere else."""
    finished = [record for record in records(driver, "s") if record.is_finished]
    driver.set(study="s")
    driver.paths.create()
    write_tables(driver.paths, finished, driver.plan.workload.metric)
    elsewhere = driver.folder / f"from-a-friend-{name}"
    elsewhere.write_bytes((driver.paths.folder / name).read_bytes())
    driver.set(study="new")
    return elsewhere


@pytest.mark.parametrize("name", ["results.tsv", "trials.csv"])
def test_the_best_rows_of_a_table_are_tried_first_and_believed_in_nothing(old: Driver, name: str) -> None:
    old.set(start_from=str(table(old, name)))
    with old.open() as study:
        assert study.records() == []
        asked = [study.ask().params for _ in range(1 + BEST)]
    values = [val_bpb(params) for params in asked]
    complete_ones = [r for r in records(old, "s") if r.value is not None and r.kind != "baseline"]
    assert values[1:] == sorted(r.value or 0 for r in complete_ones)[:BEST]
    assert asked[0] == old.plan.baseline
    assert "rows can be tried" in old.said[0]
    assert len(old.said) == 1 + BEST
    assert all(record.taken_from == "" and record.value is None for record in records(old, "new"))


def test_a_table_is_looked_at_without_a_database(driver: Driver) -> None:
    path = driver.folder / "a.csv"
    path.write_text("val_bpb,X,Y\n0.9,2,0.3\n0.8,1,0.11\n0.7,4,0.5\n0.6,9,0.5\n0.5,3,0.25\n")
    driver.set(start_from=str(path))
    with nothing_changes(driver):
        lines = describe_start_from(driver.plan)
    assert "5 of 5 rows can be tried" in lines[0]
    assert [line.removeprefix(f"{path} ") for line in lines[1:]] == [
        "line 6 (val_bpb 0.5): X 3 -> 4; moved on to keep every rule; the rest as in the baseline",
        "line 3 (val_bpb 0.8): Y 0.11 -> 0.125; the rest as in the baseline",
        "line 2 (val_bpb 0.9): Y 0.3 -> 0.25; the rest as in the baseline",
        "line 5 (val_bpb 0.6): X 9 -> 4; the rest as in the baseline; the same as the baseline, which is tried once",
        "line 4 (val_bpb 0.7): as it is; the rest as in the baseline; the same as the baseline, which is tried once",
    ]


@pytest.mark.parametrize(
    "text", [b"", b"\xff\xfe\0", b"val_bpb,Q\n1,2\n", b"val_bpb,X\nnan,2\n", b"val_bpb,X\n1,two\n"]
)
def test_a_spoilt_table_is_one_line_and_makes_nothing(driver: Driver, text: bytes) -> None:
    path = driver.folder / "a.csv"
    path.write_bytes(text)
    driver.set(start_from=str(path))
    with nothing_changes(driver), pytest.raises(SettingsError) as caught:
        describe_start_from(driver.plan)
    assert len(caught.value.problems) == 1
    with pytest.raises(OptimizeError), driver.open():
        pass
    assert studies(driver) == []


def test_a_table_whose_rows_are_all_the_baseline_is_nothing_to_begin_with(driver: Driver) -> None:
    path = driver.folder / "a.csv"
    path.write_text("val_bpb,X\n1,4\n")
    driver.set(start_from=str(path))
    with pytest.raises(StudyError, match=r"nothing to start with: .*the same as the baseline") as caught:
        describe_start_from(driver.plan)
    assert len(caught.value.problems) == 1


def test_a_study_of_before_constants_were_remembered_is_compared_by_their_hash(old: Driver) -> None:
    with old.database() as database:
        study_id = database.find_study("s") or 0
        database.set_study_attr(study_id, "constants", None)
    with old.open() as study:
        assert len(study.records()) == TRIALS - 1
    old.set(study="newer", constants={"SIZE": 8})
    with old.open() as study:
        assert study.records() == []


def test_trials_of_another_program_are_not_taken_for_ours(old: Driver) -> None:
    import optuna

    with old.database() as database:
        foreign = optuna.load_study(study_name="s", storage=database.storage)
        foreign.add_trial(optuna.trial.create_trial(value=0.0001, params={}, distributions={}))
    with old.open() as study:
        assert len(study.records()) == TRIALS - 1
    assert "1 of another program" in old.said[0]


def test_the_artifacts_folder_holds_no_second_copy(old: Driver) -> None:
    before = sorted(path.name for path in old.paths.artifacts.iterdir())
    with old.open():
        pass
    assert sorted(path.name for path in old.paths.artifacts.iterdir()) == before
    with old.database() as database:
        assert not Artifacts(old.paths.artifacts, database).dangling(now=1e12)


def test_a_study_that_took_trials_over_may_itself_be_a_source(old: Driver) -> None:
    old.run(trials=2)
    old.set(study="third", start_from="new")
    with old.open() as study:
        marks = [record.taken_from for record in study.records()]
    assert sum(mark.startswith("study s, ") for mark in marks) == TRIALS - 1  # where they ran, not where they lay
    assert sum(mark.startswith("study new, ") for mark in marks) == 2
