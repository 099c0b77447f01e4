"""A study goes on with the search space that it keeps where its file has gone, and never where another one lies in its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from optimize.commands.plans import plan_of_flags
from optimize.config.plan import Plan
from optimize.errors import SettingsError, StudyError, StudyMismatchError
from optimize.reporting.standing import begun_from_here
from optimize.study.comparable import SPACE_FILE
from optimize.study.resume import open_study, refuse_to_go_on
from optimize.study.stored import StoredStudy
from optimize.transfer.own_space import write_own_space
from optimize.transfer.wider import write_wider
from tests.conftest import SPACE, Driver
from tests.test_four_facts import at_the_edge

__all__ = ["at_the_edge"]  # a fixture
CALL = {"profile": "./profile.toml", "study": "s", "workload": "./workload"}


def plan(**flags: Any) -> Plan:
    return plan_of_flags({**CALL, **flags})


@pytest.fixture
def lost(driver: Driver, at_the_edge: StoredStudy) -> StoredStudy:
    """A study whose search space was `./space.toml`, which is there no longer."""
    (driver.folder / "space.toml").unlink()
    return at_the_edge


@pytest.mark.parametrize("named", [None, "./space.toml"])
def test_a_study_whose_space_is_lost_goes_on_with_its_own_and_says_so(
    driver: Driver, lost: StoredStudy, named: str | None
) -> None:
    kept = plan(search_space=named)
    assert kept.space["X"].choices == (1, 2, 3, 4)
    (line,) = kept.earlier
    assert line.startswith("study s: ./space.toml is not there, so it goes on with the search space that it keeps.")
    assert line.endswith("`optimize space export --study s`")
    with open_study(lost.database, kept, driver.data, driver.said.append) as study:
        assert len(study.records()) > 10


def test_of_a_folder_that_is_lost_the_study_says_what_it_keeps(driver: Driver, lost: StoredStudy) -> None:
    (driver.folder / "workload").rename(driver.folder / "gone")
    with pytest.raises(SettingsError) as caught:
        plan()
    assert caught.value.problems[-1].startswith(
        "study s: it keeps the scripts of its trials. Write those of its baseline: "
        "`optimize export --study s --trial 0 --to ./workload`."
    )
    with pytest.raises(SettingsError) as caught:
        plan(workload="./another")
    assert not any("it keeps the scripts" in line for line in caught.value.problems)


def test_another_space_that_is_named_or_lies_there_is_not_passed_over(driver: Driver, lost: StoredStudy) -> None:
    with pytest.raises(SettingsError, match="DEPTH: the script has no such constant"):
        plan(search_space="cpu")
    (driver.folder / "workload" / "space.toml").write_text(SPACE.replace("0.125, ", ""))
    other = plan()
    assert (other.space.path, other.earlier) == ("workload/space.toml", ())
    with pytest.raises(StudyMismatchError) as caught:
        refuse_to_go_on(other, [], print)
    assert "Go back to what it was (`optimize space export --study s` writes its own), or take" in str(caught.value)


def test_a_study_of_an_earlier_release_keeps_its_space_from_its_next_call_on(
    driver: Driver, at_the_edge: StoredStudy
) -> None:
    database, study_id = at_the_edge.database, at_the_edge.study_id
    for text in (None, "# an earlier text\n" + SPACE):
        database.set_study_attr(study_id, SPACE_FILE, text)
        with driver.open():
            pass
        assert database.study_attrs(study_id)[SPACE_FILE] == SPACE


def test_its_space_is_written_where_it_was_or_beside_what_lies_there(driver: Driver, lost: StoredStudy) -> None:
    written, go_on = write_own_space(lost, None).lines
    assert written == "written: space.toml: 3 parameters"
    assert go_on.endswith(" --space ./space.toml")  # which it was begun with
    assert Path("space.toml").read_text() == SPACE
    written, go_on = write_own_space(lost, None).lines
    assert written == "written: s-space.toml: 3 parameters; it is the study's without --space as ./space.toml"
    assert go_on.endswith(" --space ./s-space.toml")
    with pytest.raises(StudyError, match=r"s-space.toml: exists already. Name another file with --to"):
        write_own_space(lost, None)
    lost.database.set_study_attr(lost.study_id, SPACE_FILE, None)
    with pytest.raises(StudyError, match="study s: it keeps no search space"):
        write_own_space(lost, Path("new.toml"))


def test_what_needs_its_space_takes_the_one_that_it_keeps(lost: StoredStudy) -> None:
    wider = write_wider(lost, None)
    assert wider.choices == {"X": (1, 2, 3, 4, 8)}
    about = {"search_space": "./space.toml", "command": "optimize run --study s --space ./space.toml"}
    assert begun_from_here("s", {"about": about, SPACE_FILE: SPACE})[1] == {}
    assert begun_from_here("s", {"about": about})[1] == {"space": "./space.toml"}
