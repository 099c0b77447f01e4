"""What others put into a queue: checked like any parameters, told at once, and taken in while a study runs."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from optimize.errors import StudyError, StudyMismatchError
from optimize.study import proposals
from optimize.study.proposals import AdoptWaiting, Proposal, propose
from storage import read_records
from tests.conftest import Driver
from tests.test_json_commands import PLAN, Typed, typed
from tests.test_study import enqueue

__all__ = ["typed"]  # a fixture


def proposed(driver: Driver, *given: Mapping[str, object]) -> list[Proposal]:
    with driver.database() as database:
        return propose(database, driver.plan, given, "somebody")


def test_what_is_proposed_is_tried_next_and_says_who_wanted_it(driver: Driver) -> None:
    driver.run(trials=1)
    first, second = proposed(driver, {"X": 2, "PAIR": [0.9, 0.95]}, {"Y": 1, "PAIR": "(0.8, 0.95)"})
    assert (first.number, first.known, second.number) == (1, None, 2)
    driver.run(trials=3)
    with driver.database() as database:
        records = read_records(database, 1)
    assert [(r.kind, r.source, r.params["X"], r.params["Y"], r.params["PAIR"]) for r in records[1:]] == [
        ("proposal", "somebody", 2, 0.5, "(0.9, 0.95)"),
        ("proposal", "somebody", 4, 1.0, "(0.8, 0.95)"),
    ]


def test_every_mistake_of_all_is_told_and_none_is_queued(driver: Driver) -> None:
    driver.run(trials=1)
    with pytest.raises(StudyError) as caught:
        proposed(driver, {"X": 2}, {"X": 99, "Z": 1}, {"X": 3}, {}, {"Y": True}, {"PAIR": [0.8]})
    told = list(caught.value.problems)
    assert told[0].startswith("configuration 2: X: 99 is none of its choices: 1, 2, 3, 4.")
    assert "configuration 2: " in told[1]
    assert "Z: no such parameter. There are X, Y, PAIR." in told[1]
    assert told[2] == "configuration 3: breaks the rule SIZE % X == 0 (the script halves its size)"
    assert told[3].startswith("configuration 4: it names no parameter")
    assert told[4].startswith("configuration 5: Y: True is none of its choices")
    assert told[5].startswith("configuration 6: PAIR: [0.8] is none of its choices")
    with driver.database() as database:
        assert len(read_records(database, 1)) == 1


def test_what_is_known_is_not_trained_again(driver: Driver) -> None:
    driver.run(trials=1)
    baseline, new, once_more = proposed(driver, {"X": 4}, {"X": 1}, {"X": 1, "Y": 0.5})[:2] + proposed(driver, {"X": 1})
    assert baseline.known is not None
    assert (baseline.number, baseline.known.state) == (0, "COMPLETE")
    assert (new.number, new.known) == (1, None)
    assert once_more.known is not None
    assert (once_more.number, once_more.known.state) == (1, "WAITING")


def test_a_queue_has_an_end(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    driver.run(trials=1)
    monkeypatch.setattr(proposals, "MOST_WAITING", 2)
    proposed(driver, {"X": 1})
    with pytest.raises(StudyError, match="1 trials wait already, and no more than 2 may"):
        proposed(driver, {"X": 2}, {"Y": 0.25})
    assert proposed(driver, {"X": 2})[0].known is None


def test_a_changed_script_takes_nothing_in(driver: Driver) -> None:
    with pytest.raises(StudyError, match="s"):
        proposed(driver, {"X": 1})  # there is no such study
    driver.run(trials=1)
    script = driver.folder / "workload" / "train.py"
    script.write_text(script.read_text() + "print(1)\n")
    with pytest.raises(StudyMismatchError, match="the scripts have changed"):
        proposed(driver, {"X": 1})


def test_a_driver_takes_in_what_others_queue_while_it_works(driver: Driver) -> None:
    driver.run(trials=1)
    said: list[str] = []
    with driver.database() as database, driver.open() as study:
        waiting = AdoptWaiting(study, database, 1, driver.plan, said.append)
        study.enqueue(driver.plan.baseline, "start")  # its own
        waiting.look()
        assert (len(study.queued()), said) == (1, [])
        proposed(driver, {"X": 2})
        enqueue(driver, {"Y": 0.25}, {"X": 99})
        waiting.look()
        waiting.look()
        assert [trial.number for trial in study.queued()] == [1, 2, 3]
        assert said[0] == "trial 2 was proposed by somebody: X=2"
        assert said[1] == "trial 3 of enqueue_trial is tried: Y=0.25, the rest as in the baseline"
        assert said[2].startswith("trial 4 of enqueue_trial is not tried: X: 99 is none of its choices")
        assert len(said) == 3
        assert [study.ask().params["X"] for _ in range(3)] == [4, 2, 4]


def test_a_person_proposes_by_name_and_value(typed: Typed) -> None:
    typed.driver.run(trials=1)
    told = typed.json("propose", "X=2", "PAIR=[0.9, 0.95]", *PLAN, "--study", "s")
    (queued,) = told["proposals"]
    assert queued == {
        "number": 1,
        "queued": True,
        "line": "trial 1 is queued",
        "params": {"X": 2, "Y": 0.5, "PAIR": "(0.9, 0.95)"},
        "known": None,
    }
    (known,) = typed.json("propose", "X=4", *PLAN, "--study", "s")["proposals"]
    assert (known["number"], known["queued"], known["known"]["status"]) == (0, False, "complete")
    assert typed.json("propose", "X", "Y=1", "Y=2", *PLAN, "--study", "s", code=2) is None
    assert typed.said.splitlines() == ["'X': is not NAME=VALUE. Correct it.", "Y: is given twice. Leave one out."]
