"""From a best at an end of its choices to a study in a wider space, by the commands that are printed."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from optimize.errors import StudyError
from optimize.reporting.hints import parse_flags
from optimize.reporting.run_end import RunResult, end_report
from optimize.reporting.standing import space_beside
from optimize.study.stored import StoredStudy, find_study
from optimize.transfer.copy import migrate
from optimize.transfer.wider import write_wider
from tests.conftest import SPACE, Driver
from tests.test_four_facts import at_the_edge
from tests.transfers import records, rewrite

__all__ = ["at_the_edge"]  # a fixture


def test_the_end_of_a_run_says_it_with_the_commands(driver: Driver, at_the_edge: StoredStudy) -> None:
    ended = RunResult("done", at_the_edge.records(), others=["s", "s-2"])
    page = Console(file=io.StringIO(), width=200)
    page.print(end_report(driver.plan, ended), crop=False)
    text = page.file.getvalue()  # type: ignore[attr-defined]
    assert "  X = 4 is the largest of 1, 2, 3, 4: better ones may lie beyond. Wider: 1, 2, 3, 4, 8\n" in text
    assert "wider:    optimize space widen --study s --to s-3-space.toml\n" in text
    (words,) = re.findall("then:     optimize (migrate s .*)", text)
    _, flags = parse_flags(words.split())
    assert (flags["to"], flags["space"]) == ("s-3", "./s-3-space.toml")


def test_a_wider_space_is_written_and_the_study_goes_on_there(driver: Driver, at_the_edge: StoredStudy) -> None:
    written, further = write_wider(at_the_edge, None).lines
    before = at_the_edge.records()
    assert written == "written: s-2-space.toml: X = 1, 2, 3, 4, 8"
    (command, old), flags = parse_flags(further.partition(": optimize ")[2].split())
    assert (command, old, flags["to"], flags["space"]) == ("migrate", "s", "s-2", "./s-2-space.toml")
    assert Path("s-2-space.toml").read_text().partition("\n")[2] == SPACE.replace("3, 4]", "3, 4, 8]")
    driver.set(study="s-2", search_space="./s-2-space.toml")
    migrate("s", driver.plan, at_the_edge.database)
    assert [record.value for record in records(driver, "s-2")] == [record.value for record in before]
    driver.run(trials=1)
    assert driver.plan.space["X"].choices == (1, 2, 3, 4, 8)


def test_what_cannot_be_widened_is_one_line_and_no_file(driver: Driver, at_the_edge: StoredStudy) -> None:
    Path("there.toml").write_text("mine")
    with pytest.raises(StudyError, match=r"there.toml: exists already. Name another file with --to"):
        write_wider(at_the_edge, Path("there.toml"))
    rewrite(driver, "space.toml", "0.125, ", "")
    restore = r"Restore it \(`optimize space export --study s` writes it\), or"
    with pytest.raises(
        StudyError, match=rf"study s: its search space ./space.toml is not here, or has changed. {restore}"
    ):
        write_wider(at_the_edge, None)
    at_the_edge.database.create_study("few", "minimize", "val_bpb")
    with pytest.raises(StudyError, match="study few: its trials do not show that better ones lie beyond"):
        write_wider(find_study(at_the_edge.database, "few", driver.settings.runs), None)
    assert not Path("s-2-space.toml").exists()


def test_a_wider_space_lies_beside_the_studys_own(at_the_edge: StoredStudy) -> None:
    """The folder of a script may be on a disk that stays, and the current one on a machine that goes."""
    attrs = {"about": {"search_space": "./workload/space.toml", "workload": "./workload"}}
    assert space_beside(attrs, "s-2-space.toml") == Path("workload/s-2-space.toml")
    assert space_beside({"about": {"search_space": "cpu", "workload": "./workload"}}, "a.toml") == Path(
        "workload/a.toml"
    )
    assert space_beside({"about": {"search_space": "cpu", "workload": "gpt"}}, "a.toml") == Path("a.toml")
    assert space_beside({"about": {"search_space": "/gone/space.toml"}}, "a.toml") == Path("a.toml")
    at_the_edge.database.set_study_attr(
        at_the_edge.study_id,
        "about",
        {**at_the_edge.database.study_attrs(at_the_edge.study_id)["about"], **attrs["about"]},
    )
    wider = write_wider(at_the_edge, None)
    assert wider.path == Path("workload/s-2-space.toml")
    assert "--space workload/s-2-space.toml" in wider.next
