"""What a tool answers is what the command of the same purpose prints, in the folder that the server was started for."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import anyio
import pytest

from optimize.errors import OptimizeError, StudyError
from optimize.mcp import command
from optimize.mcp.server import build
from optimize.mcp.tools import ServerFlags, Tools
from optimize.study.stored import StoredStudy
from tests.conftest import Driver
from tests.test_four_facts import at_the_edge
from tests.test_json_commands import PLAN, Typed, typed

__all__ = ["at_the_edge", "typed"]  # fixtures


ROOT = Path(__file__).parent.parent
FLAGS = ServerFlags("./profile.toml", "./workload", "./space.toml", None, Path("runs"))


@pytest.fixture
def tools(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> Tools:
    monkeypatch.chdir(driver.folder)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(driver.folder / "config"))
    return Tools(FLAGS)


def test_a_tool_answers_what_its_command_prints(tools: Tools, typed: Typed) -> None:
    typed.driver.run(trials=4)
    assert tools.read_trial(2) == typed.json("show", 2)
    assert tools.importance() == typed.json("importance")
    assert tools.noise() == typed.json("noise")
    setup = tools.check_setup("s")
    assert setup.pop("problems") == []
    assert setup == typed.json("check", *PLAN, "--study", "s")
    told = tools.read_study(latest=2)
    assert told.pop("cursor") == f"4~0~~{told['best']['number']}~"
    assert [told] == typed.json("status", "--study", "s", "--last", 2)["studies"]
    assert tools.export_best()["best"] == told["best"]
    (study,) = tools.list_studies()["studies"]
    assert (study["name"], study["states"], study["best_value"]) == ("s", {"COMPLETE": 4}, told["best"]["value"])


def test_a_study_moves_beyond_its_choices(tools: Tools, at_the_edge: StoredStudy) -> None:
    wider = tools.widen_space("s")
    assert wider["choices"] == {"X": [1, 2, 3, 4, 8]}
    moved = tools.migrate("s", wider["successor"], wider["space"])
    assert moved["study"] == wider["successor"]
    setup: dict[str, Any] = tools.check_setup(moved["study"])
    with pytest.raises(StudyError, match="exists already"):
        tools.migrate("s", wider["successor"], wider["space"])
    assert setup["trials_done"] == 0  # all of them were copied
    assert "run --study" in moved["next"]


def test_no_tool_can_accept_commands_or_name_a_file_to_write() -> None:
    names = {name for tool in anyio.run(build(FLAGS).list_tools) for name in tool.input_schema["properties"]}
    assert names == {
        "study", "latest", "number", "configurations", "by", "what", "trials", "hours", "start_from", "space", "finalists", "seeds",
        "now", "after", "until", "seconds", "to",
    }  # fmt: skip


def test_without_the_sdk_one_line_says_how_to_install_it(typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "find_spec", lambda name: None)
    assert typed.type("mcp") == 2
    assert typed.said.startswith("mcp: its SDK is not installed here. Run `")
    assert typed.said.endswith("'mcp>=2.3,<3'`.\n")


def test_a_script_that_nobody_has_accepted_is_not_started(tools: Tools, driver: Driver) -> None:
    for what in ("search", "confirm"):
        with pytest.raises(OptimizeError, match="only a person can"):
            tools.start(what)  # type: ignore[arg-type]
    assert not driver.settings.runs.exists()


def test_what_the_program_for_autoresearch_calls_is_there_with_its_arguments() -> None:
    page = (ROOT / "docs" / "agents.md").read_text("utf-8")
    (program,) = re.findall(r"^```markdown\n(.*?)^```", page, re.M | re.S)
    tools = {tool.name: tool.input_schema["properties"] for tool in anyio.run(build(FLAGS).list_tools)}
    called = re.findall(r"\b([a-z]+(?:_[a-z]+)*)\(([^()]*)\)", program)
    assert {name for name, _ in called} == set(tools) - {"list_studies", "read_trial"}
    for name, arguments in called:
        assert set(re.findall(r"(\w+)=", arguments)) <= set(tools[name]), (name, arguments)
    assert all(f"`{name}`" in page for name in tools)
