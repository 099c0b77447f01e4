"""What won, how sure, what it cost, what next: right in every situation, the same words everywhere, and on one screen."""

from __future__ import annotations

import io
import json
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from optimize.confirm.verdict import Finalist, Verdict, verdict_attrs
from optimize.reporting.dashboard import DashboardWriter
from optimize.reporting.facts_shown import COMMAND, LINE, facts_in_terminal, facts_note
from optimize.reporting.four_facts import Fact, FourFacts, four_facts
from optimize.reporting.hints import Flags
from optimize.reporting.html.facts import gather
from optimize.reporting.html.page import render_page
from optimize.reporting.notes import study_note
from optimize.reporting.shown_study import ShownStudy
from optimize.reporting.standing import begun_from_here, read_standing, standing_of
from optimize.reporting.status_json import document
from optimize.study.comparable import ABOUT
from optimize.study.stored import StoredStudy, find_study
from optimize.trial import Job, Metric, Outcome, TrialStatus
from storage import TrialRecord
from tests.conftest import Driver, complete
from tests.replicating import SEEDED
from tests.test_dashboard_notes import study_note as kept_note
from tests.test_notes import ATTRS, BASE, BETTER, BROKEN, facts

CHOICES = {"X": (2, 4), "OTHER": ("a", "b")}  # more than are tried
LUCKY = Finalist(3, 3, 0.01, -0.02, 0.04, False)
REAL = Finalist(3, 3, 0.25, 0.2, 0.3, True, doubts=("saw its data twice",))


def told(
    *records: TrialRecord,
    running: bool = False,
    confirming: bool = False,
    verdict: Verdict | None = None,
    no_best: str = "",
    **attrs: object,
) -> FourFacts:
    known = {**ATTRS, **(verdict_attrs(verdict) if verdict else {}), **attrs}
    more = {"running": running, "confirming": confirming, "no_best": no_best, "lasting": True}
    return four_facts(standing_of("s", Metric(), known, records, CHOICES, **more))  # type: ignore[arg-type]


def of(*finalists: Finalist) -> Verdict:
    return Verdict(finalists, 0.95, 0.003, 0.006)


FAILED = replace(BROKEN, state="FAIL", status="crashed", reason="no GPU", seconds=5.0)
WON = "Trial 3: val_bpb 1.000000, 20.0 % better than the baseline"
SURE = WON.replace("20.0", "with other seeds on average 20.0")
DOUBTED = f"Nothing for sure. In its one training, t{WON[1:]}"
ONCE = "A candidate: it was trained once, with one seed"
UP_TO = "Up to trial 3: 2 trials, 10 s of device time"
ALL = "2 trials, 10 s of device time"


@pytest.mark.parametrize(
    ("tell", "answers", "commands"),
    [
        pytest.param(
            partial(told, running=True),
            ("No trial has completed yet", "There is nothing to be sure of yet", "It is counted here from the first value on",
             "While it runs: wait for the first value"), ["stop"],
            id="running, no result yet",
        ),
        pytest.param(
            partial(told, BASE, BETTER, running=True),
            (WON, ONCE, UP_TO, "While it runs: let it go on. Then train the best again with other seeds"), ["confirm"],
            id="running, a best",
        ),
        pytest.param(
            partial(told, BASE, BETTER), (WON, ONCE, ALL, "Train it again with other seeds before you rely on it"), ["confirm"],
            id="ended, a candidate",
        ),
        pytest.param(
            partial(told, BASE, BETTER, running=True, confirming=True),
            (WON, ONCE, UP_TO, "Wait: the best trials are being trained with other seeds"), [],
            id="being confirmed",
        ),
        pytest.param(
            partial(told, BASE, BETTER, no_best="it has 2 objectives"),
            ("This study has no best trial: it has 2 objectives", "There is nothing to be sure of yet", ALL,
             "Compare its trials in the dashboard"), ["dashboard"],
            id="several objectives",
        ),
        pytest.param(
            partial(told, BASE, BETTER, verdict=of(REAL)),
            (SURE, "Confirmed: better than the baseline with 3 other seeds as well", ALL,
             "Use it: the study's folder best/ has it, ready to run"), ["show 3", "run"],
            id="ended, confirmed",
        ),
        pytest.param(
            partial(told, BASE, BETTER, verdict=of(LUCKY)),
            (DOUBTED, "A candidate: with 3 other seeds it is not clearly better than the baseline", ALL,
             "Train it with more seeds, or search on"), ["confirm", "run"],
            id="ended, a candidate still",
        ),
        pytest.param(
            partial(told, BASE, BETTER, verdict=of(replace(LUCKY, gain=-0.01, high=-0.001))),
            (DOUBTED, "Luck: no better than the baseline with 3 other seeds", ALL,
             "Search on: this gain is not real"), ["run"],
            id="ended, luck",
        ),
        pytest.param(
            partial(told, BASE, BETTER, verdict=of()),
            (WON, "A candidate: too few trainings completed with other seeds", ALL,
             "Train it again with other seeds before you rely on it"), ["confirm"],
            id="confirmed in vain",
        ),
        pytest.param(
            partial(told, BASE, replace(BETTER, number=2, value=1.1, params={"X": 1}), BETTER, verdict=of(replace(REAL, number=2))),
            ("Trial 2: val_bpb 1.100000, with other seeds on average 20.0 % better than the baseline",
             "Confirmed: better than the baseline with 3 other seeds as well", "3 trials, 10 s of device time",
             "Use it: the study's folder best/ has it, ready to run"), ["show 2", "confirm", "run"],
            id="a candidate since",
        ),
        pytest.param(
            partial(told, BASE, BETTER, verdict=replace(of(REAL), beside=True), running=True),
            (SURE, "Confirmed: better than the baseline with 3 other seeds as well", UP_TO,
             "While it runs: let it go on. It trains its best trials again beside the search"), ["stop"],
            id="confirmed beside the search",
        ),
        (
            partial(told, BASE, BETTER, verdict=Verdict((), 0.9, 0.0, 0.0, ("another seed changes nothing",), beside=True)),
            (WON, "A candidate: another seed changes nothing", ALL, "Search on"), ["run"],
        ),
        pytest.param(
            partial(told, FAILED),
            ("No trial has completed: 1 ended without a value", "There is nothing to be sure of yet",
             "1 trial, 5.0 s of device time", "Find out why no trial has a value"), ["show 5", "run"],
            id="failures only",
        ),
        pytest.param(
            partial(told, BASE, replace(BETTER, value=1.5)),
            ("Nothing beat the baseline: it has val_bpb 1.250000", "There is no gain to confirm", ALL,
             "Try more, or change what may vary"), ["run"],
            id="the baseline",
        ),
        pytest.param(
            partial(told, BASE, BETTER, about={"seed": ""}),
            (WON, ONCE, ALL, "Search on"), ["run"],
            id="a script without a seed",
        ),
        pytest.param(
            partial(told, BASE, BETTER, fingerprint={}), (WON, ONCE, ALL, "Begin a study of your script with its best trials"),
            ["run"],
            id="imported",
        ),
    ],
)  # fmt: skip
def test_each_situation_is_told_as_it_is(
    tell: Callable[[], FourFacts], answers: tuple[str, ...], commands: list[str]
) -> None:
    facts = tell()
    assert tuple(fact.answer for fact in facts.all) == answers
    assert [re.sub(r"^optimize ([a-z]+(?: \d+)?).*", r"\1", line) for _, line in facts.commands] == commands


def test_the_lines_below_say_what_a_person_asks_next() -> None:
    found = told(BASE, BETTER, FAILED, verdict=of(REAL))
    assert found.won.more == ("Changed: X=2", "The baseline has 1.250000. Lower is better.")
    assert found.sure.more == (
        "Mean gain over the baseline: +0.250000, with 95 % confidence between +0.200000 and +0.300000",
        "Noise: another seed moves val_bpb by 0.003000 (standard deviation)",
        "But: saw its data twice",
    )
    assert found.cost.more == ("1 of them without a value",)
    assert told(FAILED).next.more == ("Trial 5 ended as crashed: no GPU",)


@pytest.mark.parametrize(
    ("here", "commands", "line"),
    [
        ({"frozen": True}, ["show", "copy"], "Nothing can be written here: to go on, copy it to where you can write"),
        (
            {"absent": {"workload": "./mine", "profile": "./p.toml"}},
            ["show"],
            "Not here: ./mine, ./p.toml. To go on, say where: --workload DIR --profile FILE.toml",
        ),
        ({"named": {"workload": "/mine"}}, ["confirm"], ""),
    ],
)
def test_no_step_is_offered_that_cannot_be_taken_here(here: dict[str, Any], commands: list[str], line: str) -> None:
    of = standing_of("s", Metric(), ATTRS, [BASE, BETTER], CHOICES)
    found = four_facts(replace(of, **here))
    assert [shlex.split(command)[1] for _, command in found.commands] == commands
    assert line in ("", *found.next.more)
    assert ("--workload /mine" in found.commands[0][1]) == ("named" in here)


def test_what_a_study_was_begun_with_is_looked_for_from_where_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("mine/train.py", "mine/space.toml", "mine/sub/other.py", "moved/train.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()

    def seen(cwd: str, workload: str, *flags: str) -> tuple[Flags, Flags]:
        monkeypatch.chdir(tmp_path / cwd)
        command = " ".join(["optimize run --study s", *flags])
        return begun_from_here("s", {ABOUT: {"workload": workload, "script": "train.py", "command": command}})

    mine = str(tmp_path / "mine")
    assert seen("mine", mine) == ({}, {})
    assert seen("mine/sub", mine) == ({"workload": mine}, {})
    assert seen("moved", f"{mine}/gone") == ({}, {})  # the folder has another name now
    assert seen("mine/sub", f"{mine}/gone") == ({"workload": f"{mine}/gone"}, {"workload": f"{mine}/gone"})
    beside = ("--workload ./mine", "--space ./mine/space.toml")
    assert seen(".", "./mine", *beside) == ({}, {})
    assert seen("mine", "./mine", *beside) == ({}, {"workload": "./mine"})
    assert seen("mine", "gpt", "--profile ./p.toml") == ({}, {"profile": "./p.toml"})
    assert seen("mine", "gpt") == ({}, {})


def test_the_note_of_a_running_study_stays_true_while_others_end() -> None:
    now = datetime(2026, 3, 1, tzinfo=UTC)
    base, better = replace(BASE, finished=now), replace(BETTER, finished=now + timedelta(minutes=1))
    slow = replace(
        BROKEN, number=1, seconds=99.0, finished=now + timedelta(minutes=2)
    )  # began before the best, and ended after
    before = study_note(facts(base, better))
    assert study_note(facts(base, slow, better)) == before
    assert "Up to trial 3: 2 trials, 10 s" in before
    assert "3 trials, 1 min 49 s" in study_note(replace(facts(base, slow, better), running=False))


def test_a_trial_without_parameters_is_no_baseline() -> None:
    """A table that was imported may name none."""
    found = told(replace(BETTER, params={}), fingerprint={}, baseline={})
    assert found.won == Fact("What won?", "Trial 3: val_bpb 1.000000", ("Lower is better.",))


def test_a_new_study_gets_a_name_that_is_free() -> None:
    for name, others, successor in (("s", (), "s-2"), ("s", ("s-2",), "s-3"), ("s-2", ("s",), "s-3"), ("a b", (), "a-b-2"),
                                    ("run-20260301", (), "run-20260301-2"), ("-2", (), "2-2")):  # fmt: skip
        assert standing_of(name, Metric(), {}, [], {}, others=others).successor == successor


# --- of a study in a database -----------------------------------------------------------------------------------------


def deep(job: Job) -> Outcome:
    """The larger X, the better; one trial fails."""
    if job.number == 5:
        return Outcome(TrialStatus.CRASHED, 1.0, "it broke")
    return replace(
        complete(job),
        summary={"val_bpb": 2 - int(str(job.params["X"])) / 10 + abs(float(str(job.params["Y"])) - 0.25) / 100},
    )


@pytest.fixture
def at_the_edge(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> Iterator[StoredStudy]:
    """A study whose best trial has the largest X; it knows its files by relative paths."""
    monkeypatch.chdir(driver.folder)
    (driver.folder / "workload" / "train.py").write_text(SEEDED)
    driver.set(search_space="./space.toml", workload="./workload")
    driver.once("deep", lambda: driver.run(deep, trials=14))
    with driver.database() as database:
        yield find_study(database, "s", driver.settings.runs)


class Words(HTMLParser):
    """What a page says, as one text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.said: list[str] = []
        self.feed(page)

    def handle_data(self, data: str) -> None:
        self.said.append(data)


def lines_of(found: FourFacts) -> list[str]:
    return [line for fact in found.all for line in (fact.title, fact.answer, *fact.more)]


def test_note_report_and_status_begin_with_the_same_words(at_the_edge: StoredStudy) -> None:
    stored, found = at_the_edge, four_facts(read_standing(at_the_edge))
    DashboardWriter(ShownStudy(stored, stored.finished, print)).write()
    note = re.sub(r"\\(?=[^\w\s])", "", kept_note(stored)).split("```")[0]
    page = "\n".join(Words(render_page(gather(stored), {})).said).split("best val_bpb")[0]
    screen = Console(file=io.StringIO(), width=200)
    screen.print(facts_in_terminal(found), crop=False)
    told = json.loads(json.dumps(document("here", [stored], 3)))["studies"][0]
    assert found.next.more == (
        "X = 4 is the largest of 1, 2, 3, 4: better ones may lie beyond. Wider: 1, 2, 3, 4, 8",
    )  # a rule forbids those between
    assert found.cost.more == ("1 of them without a value",)
    for line in lines_of(found):
        assert line in note
        assert line in page
        assert line in screen.file.getvalue()  # type: ignore[attr-defined]
    assert list(told["facts"]) == ["what_won", "how_sure", "what_it_cost", "what_next"]
    lines = [line for fact in found.all for line in (fact.answer, *fact.more)]
    assert [line for lines in told["facts"].values() for line in lines] == lines
    assert [each["command"] for each in told["next_commands"]] == [command for _, command in found.commands]
    assert told["edges"] == [{"name": "X", "value": 4, "choices": [1, 2, 3, 4], "further": [8]}]
    assert (told["cost"]["trials"], told["cost"]["without_value"]) == (15, 1)


def test_the_four_facts_fit_a_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 1,280 x 800 pixels; where it is longest, with long names and an end of the choices."""
    monkeypatch.setattr(sys, "argv", ["/home/somebody/work/autoresearch/.venv/bin/optimize"])
    attrs = {
        "about": {
            "command": f"optimize run --workload ../{'w' * 30} --space ../{'w' * 30}/space.toml --study {'s' * 20}"
        }
    }
    baseline = {"baseline": {f"PARAMETER_{n}": 1 for n in range(14)}}
    choices: dict[str, Sequence[int]] = {f"PARAMETER_{n}": (1, 2, 3, 4) for n in range(14)}
    records = [
        TrialRecord(n, n, "COMPLETE", "complete", dict.fromkeys(choices, 1 + n % 4), 1 - (n % 4) / 10, seconds=99.0)
        for n in range(16)
    ]
    standing = standing_of("s" * 20, Metric(), {**ATTRS, **attrs, **baseline}, [BASE, *records], choices)
    assert len(standing.edges) == 14
    table, commands = facts_note(four_facts(standing), "/home/somebody/work").split("\n\n```bash\n")
    rows, block = table.splitlines(), commands.splitlines()[:-1]
    assert max(len(row.split("|")[2].strip().strip("*").replace("\\", "")) for row in rows) <= LINE
    assert max(map(len, block)) <= COMMAND
    assert 230 + 28 * (len(rows) - 1) + 50 + 24 * len(block) <= 784  # pixels: above the table, of a row, of a line
